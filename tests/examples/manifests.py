#!/usr/bin/env python3
"""The manifests of examples/cloudrun and examples/kubernetes: against schemas, each other, and hotlayerd.

    python3 tests/examples/manifests.py HOTLAYERD MODEL.hot

schemas.json is written by hand and refuses every unknown field. To prove that, each field of each manifest is
misspelled once. Needs python3-yaml and python3-jsonschema. If only the distribution's Python has them, that Python runs
this. The last line is "N passed, N failed, N skipped".
"""

import copy
import glob
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

SYSTEM_PYTHON = "/usr/bin/python3"
try:
    import jsonschema
    import yaml
except ImportError:
    if sys.executable == SYSTEM_PYTHON or not os.path.exists(SYSTEM_PYTHON):
        print("skip manifests: python3-yaml or python3-jsonschema is not installed")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples")
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "server"))

from serving import HOTLAYERD, MODEL, Server, ask, check, tally  # noqa: E402

with open(os.path.join(HERE, "schemas.json")) as f:
    SCHEMAS = json.load(f)["$defs"]
FREE = ("labels", "annotations", "matchLabels", "substitutions", "selector")  # their fields have free names


def read(path):
    with open(os.path.join(EXAMPLES, path)) as f:
        return f.read()


def load():
    """Returns (file, schema's name, document) of every manifest."""
    found = []
    for path in sorted(glob.glob(os.path.join(EXAMPLES, "cloudrun/*.yaml")) + glob.glob(
            os.path.join(EXAMPLES, "kubernetes/*.yaml"))):
        name = os.path.relpath(path, EXAMPLES)
        for document in yaml.safe_load_all(read(name)):
            kind = ("Cloud Build" if "steps" in document else
                    "Cloud Run Service" if name == "cloudrun/service.yaml" else
                    "%s %s" % (document.get("apiVersion"), document.get("kind")))
            found.append((name, kind, document))
    return found


def valid(kind, document):
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": SCHEMAS,
              "$ref": "#/$defs/" + kind.replace("/", "~1").replace(" ", "%20")}
    return next(iter(jsonschema.Draft202012Validator(schema).iter_errors(document)), None)


def misspellings(node, where=()):
    """Yields copies of a document's root, each with one field renamed."""
    for key, value in (node.items() if isinstance(node, dict) else enumerate(node)):
        path = (*where, key)
        if isinstance(node, dict):
            yield path
        if isinstance(value, (dict, list)) and key not in FREE:
            yield from misspellings(value, path)


def misspell(document, path):
    spoilt = copy.deepcopy(document)
    node = spoilt
    for key in path[:-1]:
        node = node[key]
    node[path[-1] + "s"] = node.pop(path[-1])
    return spoilt


def test_schemas(manifests):
    for name, kind, document in manifests:
        error = valid(kind, document)
        check("%s is a %s" % (name, kind), error is None, error)
        missed = [p for p in misspellings(document) if valid(kind, misspell(document, p)) is None]
        check("  and is refused with a misspelled field", not missed, missed)


# ---- consistency ----


def containers(document):
    return document["spec"]["template"]["spec"].get("containers", []) if "template" in document["spec"] else []


def environment(container):
    return {e["name"]: e["value"] for e in container.get("env", [])}


def parallel(container):
    args = container.get("args", [])
    if "--parallel" in args:
        return int(args[args.index("--parallel") + 1])
    return int(environment(container)["OLLAMA_NUM_PARALLEL"])


def test_concurrency(manifests):
    numbers = set()
    for name, kind, document in manifests:
        for container in containers(document) if kind != "Cloud Build" else []:
            numbers.add(parallel(container))
            wanted = document["spec"]["template"]["spec"].get("containerConcurrency")
            if wanted is not None:
                check("%s: as many requests are sent as are computed at once" % name, wanted == parallel(container),
                      (wanted, parallel(container)))
    text = read("cloudrun/README.md")
    flags = [int(n) for n in re.findall(r"(?:--concurrency[ =]|OLLAMA_NUM_PARALLEL=)(\d+)", text)]
    check("all files name the same number", len(numbers | set(flags)) == 1 and len(flags) >= 2, (numbers, flags))


def test_ports(manifests):
    ports = set()
    for name, kind, document in manifests:
        for container in containers(document) if kind != "Cloud Build" else []:
            (port,) = container["ports"]
            ports.add(port["containerPort"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                action = container.get(probe, {})
                action = action.get("httpGet") or action.get("tcpSocket") or {}
                check("%s: %s goes to the container's port" % (name, probe), action.get("port") in (
                    None, port["name"], port["containerPort"]), action)
            host = environment(container).get("OLLAMA_HOST")
            check("%s: listens on all addresses, on that port" % name, host in (
                None, "0.0.0.0:%d" % port["containerPort"]), host)
    for dockerfile in ("docker/Dockerfile", "docker/Dockerfile.append"):
        text = read(dockerfile)
        ports.update(int(n) for n in re.findall(r"(?:EXPOSE |OLLAMA_HOST=0\.0\.0\.0:)(\d+)", text))
        check("%s sets it twice" % dockerfile, len(re.findall(r"EXPOSE |OLLAMA_HOST=0\.0\.0\.0:", text)) == 2)
    check("all files name one port, Cloud Run's own", ports == {8080}, ports)


PROBES = (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz"))


def test_probes(manifests):
    with Server() as server:
        server.wait_log("ready")
        for name, kind, document in manifests:
            for container in containers(document) if kind != "Cloud Build" else []:
                for probe, path in PROBES:
                    wanted = container.get(probe, {}).get("httpGet", {}).get("path")
                    if wanted:
                        check("%s: %s asks %s, which answers" % (name, probe, path), wanted == path
                              and ask(server, "GET", wanted)[0] == 200, wanted)


def test_environments(manifests):
    """The server starts with the manifests' environments, and with that of Google's tutorial."""
    tutorial = {"OLLAMA_HOST": "0.0.0.0:8080", "OLLAMA_MODELS": "/models", "OLLAMA_DEBUG": "false",
                "OLLAMA_KEEP_ALIVE": "-1", "MODEL": "gemma3:4b", "OLLAMA_NUM_PARALLEL": "4"}
    cases = [("the tutorial", tutorial, 4)]
    cases += [(name, environment(container), parallel(container)) for name, kind, document in manifests
              if kind != "Cloud Build" for container in containers(document)]
    for name, variables, wanted in cases:
        server = Server(env={**variables, "PORT": "0"})
        ready, listening = server.wait_log("ready"), server.wait_log("listening")
        check("%s: the server starts with its variables" % name, ready and ready["parallel"] == wanted
              and listening["address"] == "0.0.0.0" and {l["severity"] for l in server.log} == {"INFO"}, server.log)
        server.stop()
    text = read("cloudrun/README.md")
    for variable in (v for v in tutorial if v.startswith("OLLAMA_")):
        check("cloudrun/README.md tells of %s" % variable, variable in text)


def test_kubernetes(manifests):
    for name, kind, document in manifests:
        if kind == "apps/v1 Deployment":
            spec = document["spec"]
            labels = spec["template"]["metadata"]["labels"]
            check("%s: the selector finds its pods" % name, spec["selector"]["matchLabels"].items() <= labels.items())
            check("%s: there is time to drain" % name, spec["template"]["spec"]["terminationGracePeriodSeconds"] > 10)
            services = [d for n, k, d in manifests if n == name and k == "v1 Service"]
            for service in services:
                check("%s: so does the Service" % name, service["spec"]["selector"].items() <= labels.items())
                names = {p["name"] for c in containers(document) for p in c["ports"]}
                check("%s: and their port" % name, {p["targetPort"] for p in service["spec"]["ports"]} <= names)
        if kind in ("apps/v1 Deployment", "serving.knative.dev/v1 Service") and name.startswith("kubernetes/"):
            pod = document["spec"]["template"]["spec"]
            for container in containers(document):
                security = {**pod.get("securityContext", {}), **container["securityContext"]}
                check("%s: no unneeded permissions" % name, security["runAsNonRoot"]
                      and security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
                      and security["capabilities"] == {"drop": ["ALL"]} and security["runAsUser"] == 65532, security)
                check("%s: one GPU" % name, container["resources"]["limits"]["nvidia.com/gpu"] == "1")


def test_image_volume(manifests, folder):
    """The volume mounted in hotlayerd's model folder is an image of a model alone."""
    (document,) = [d for n, _, d in manifests if n == "kubernetes/image-volume.yaml"]
    pod = document["spec"]["template"]["spec"]
    (mount,), (volume,) = pod["containers"][0]["volumeMounts"], pod["volumes"]
    check("image-volume.yaml: the mount is of the volume", mount["name"] == volume["name"] and mount["readOnly"])
    check("  at the folder where hotlayerd looks for models", mount["mountPath"] == "/models")
    layout = os.path.join(folder, "model-only")
    done = subprocess.run([os.path.join(os.path.dirname(HOTLAYERD), "hotlayer"), "image", MODEL, "--model-only", "-o",
                           "oci:" + layout], capture_output=True, text=True)
    names = set()
    for blob in glob.glob(layout + "/blobs/sha256/*"):
        if tarfile.is_tarfile(blob):
            with tarfile.open(blob) as tar:
                names.update(m.name for m in tar if m.isfile())
    check("  an image of --model-only has the models there, and nothing else", done.returncode == 0 and names and all(
        n.startswith(mount["subPath"] + "/") for n in names), (done.stderr, names))


def test_cloud_build(manifests):
    for name, kind, document in manifests:
        if kind != "Cloud Build":
            continue
        used = set()
        for step in document["steps"]:
            used.update(re.findall(r"\$\{?(_[A-Z_]+)", " ".join(step.get("env", []) + step.get("args", []))))
            script = step.get("script", "")
            check("%s: the script of '%s' is one" % (name, step["id"]), subprocess.run(
                ["sh", "-n"], input=script, text=True).returncode == 0)
            # Cloud Build does not substitute in scripts: the step's environment has their variables.
            known = {e.split("=")[0] for e in step.get("env", [])} | {"BUILDER_OUTPUT"}
            set_there = set(re.findall(r"^\s*(?:\[.*\|\| )?([a-z]+)=", script, re.M))
            wanted = set(re.findall(r"\$\{?([A-Za-z_]+)", script))
            check("  all variables that it uses are set", wanted <= known | set_there, wanted - known - set_there)
        used.update(re.findall(r"\$\{?(_[A-Z_]+)", " ".join(document.get("images", []))))
        check("%s: all substitutions are used, and all used ones are defined" % name, used == set(document["substitutions"]),
              (used, document["substitutions"]))
    (docker,) = [d for n, _, d in manifests if n == "cloudrun/cloudbuild-docker.yaml"]
    args = docker["steps"][0]["args"]
    dockerfile = read(re.sub(r"^--file=examples/", "", next(a for a in args if a.startswith("--file="))))
    for arg in re.findall(r"--build-arg=(\w+)=", " ".join(args)):
        known = re.search(r"^ARG .*\b%s=" % arg, dockerfile, re.M)
        check("cloudbuild-docker.yaml: the Dockerfile knows %s" % arg, known)


def main():
    manifests = load()
    test_schemas(manifests)
    test_concurrency(manifests)
    test_ports(manifests)
    test_probes(manifests)
    test_environments(manifests)
    test_kubernetes(manifests)
    with tempfile.TemporaryDirectory() as folder:
        test_image_volume(manifests, folder)
    test_cloud_build(manifests)
    print("%(passed)d passed, %(failed)d failed, 0 skipped" % tally)
    return tally["failed"] != 0


if __name__ == "__main__":
    sys.exit(main())
