#!/bin/sh
# Runs an image from an OCI layout without Docker and without a registry: umoci unpacks it, runc runs it.
#
#   examples/run-image.sh OCI_DIR[:TAG] PORT
#
# The container is as on Cloud Run: the image's entry point and user, a read-only root, no capabilities, and PORT in its
# environment. It shares the host's network, so http://127.0.0.1:PORT reaches it. SIGTERM or SIGINT to this script is
# passed on to the program, whose exit status becomes this script's. If the host allows no containers, the program runs
# under chroot (root only), and stderr says so.
#
# Needs umoci, runc, python3, and free space for the image in ${TMPDIR:-/tmp}.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 OCI_DIR[:TAG] PORT" >&2
    exit 2
fi
image=$1
port=$2
case ${image##*/} in
*:*) ;;
*) image=$image:latest ;;
esac

work=$(mktemp -d)
id=hotlayer-$$
pid=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    runc --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'stopped=1; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true' TERM INT
stopped=

rootless=
[ "$(id -u)" -eq 0 ] || rootless=--rootless
# shellcheck disable=SC2086 # empty or one word
umoci unpack $rootless --image "$image" "$work/bundle" >"$work/umoci.log" 2>&1 || {
    cat "$work/umoci.log" >&2
    exit 1
}

# umoci describes an interactive container with a network of its own; change that.
python3 - "$work/bundle/config.json" "$port" "${rootless:-root}" <<'EOF'
import json, sys

path, port, rootless = sys.argv[1], sys.argv[2], sys.argv[3] == "--rootless"
config = json.load(open(path))
process, linux = config["process"], config["linux"]
process["terminal"] = False
process["env"] = [e for e in process["env"] if not e.startswith(("PORT=", "TERM=", "HOME="))] + ["PORT=" + port]
process["capabilities"] = {}
process["noNewPrivileges"] = True
process.pop("rlimits", None)
if rootless:  # the only user of this namespace is the one who runs this
    process["user"] = {"uid": 0, "gid": 0}
config["root"]["readonly"] = True
wanted = {"pid", "ipc", "uts", "mount"} | ({"user"} if rootless else set())
linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] in wanted]
linux.pop("resources", None)
linux.pop("seccomp", None)
# With the host's network, a user namespace cannot mount /sys again; the host's resolver files are not needed.
config["mounts"] = [m for m in config["mounts"]
                    if m["type"] not in ("cgroup", "bind") and not (rootless and m["type"] == "sysfs")]
if rootless:
    for mount in config["mounts"]:
        mount["options"] = [o for o in mount.get("options", []) if not o.startswith("gid=")]
json.dump(config, open(path, "w"))
EOF

# Starts the command in the background, waits until it ends, and returns its status.
supervise() {
    "$@" &
    pid=$!
    [ -z "$stopped" ] || kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    # A signal to this script ends the wait, not the program; another wait returns the program's status.
    while [ -n "$stopped" ] && [ "$status" -gt 128 ]; do
        again=0
        wait "$pid" || again=$?
        if [ "$again" -eq 127 ] || [ "$again" -eq "$status" ]; then break; fi
        status=$again
    done
    pid=
    return "$status"
}

# runc logs its own failures; a program that fails inside the container leaves no line there. Without a cgroup file
# system runc fails before it writes a log.
if [ -d /sys/fs/cgroup ]; then
    status=0
    supervise runc --root "$work/state" --log "$work/runc.log" run --bundle "$work/bundle" "$id" || status=$?
    grep -q 'level=error' "$work/runc.log" 2>/dev/null || exit "$status"
    why=$(sed -n 's/.*msg=//p' "$work/runc.log" | tail -n 1)
else
    why="/sys/fs/cgroup does not exist"
fi

echo "run-image: this host cannot run a container ($why); using chroot" >&2
status=0
supervise python3 -c '
import json, os, sys
bundle = sys.argv[1]
process = json.load(open(bundle + "/config.json"))["process"]
os.chroot(bundle + "/rootfs")
os.chdir("/")
os.setgroups([])
os.setgid(process["user"]["gid"])
os.setuid(process["user"]["uid"])
os.execve(process["args"][0], process["args"], dict(e.split("=", 1) for e in process["env"]))
' "$work/bundle" || status=$?
exit "$status"
