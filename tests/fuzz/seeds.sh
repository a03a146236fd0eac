#!/bin/sh
# seeds.sh TARGET DIR HOTLAYER: fills DIR with good inputs for fuzz target TARGET. Makes them from the fixtures of
# tests/oracle and tests/tokenizer, and from models that HOTLAYER packs from these. A target that this script does not
# know gets none.
set -eu
[ $# -eq 3 ] || { echo "usage: $0 TARGET DIR HOTLAYER" >&2; exit 2; }
target=$1 dir=$2 hotlayer=$3
tests=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$dir"

# Copies every file of this name; names the copy after its folder.
# shellcheck disable=SC2231 # the name may be a pattern
copies() {
    for file in "$tests"/oracle/fixtures/*/$1 "$tests"/tokenizer/*/$1; do
        [ -f "$file" ] && cp "$file" "$dir/$(basename "$(dirname "$file")")-$(basename "$file")"
    done
    return 0
}

# Packs every fixture, and calls "$1 HEAD NAME" for it.
heads() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for folder in "$tests"/oracle/fixtures/*/; do
        for quant in keep q8; do
            "$hotlayer" pack "$folder" -o "$work/m.hot" --quant $quant >/dev/null 2>&1
            "$1" "$work/m.hot" "$(basename "$folder")-$quant"
        done
    done
}

# number FILE OFFSET BYTES
number() { od -An -v -j "$2" -N "$3" -t "u$3" "$1" | tr -d ' '; }

# section FILE INDEX: prints the bytes of a section, found through the header's table (include/hotlayer/layout.h)
section() {
    row=$((40 + 24 * $2))
    tail -c "+$(($(number "$1" $row 8) + 1))" "$1" | head -c "$(number "$1" $((row + 8)) 8)"
}

head_file() { cp "$1" "$dir/$2"; }

tokenizer_section() { section "$1" 3 >"$dir/$2"; }

# Every table of kernels, zeros and noise as weights, both types of cache.
program() {
    for choices in 1 3 7 13 19 23 31; do
        # shellcheck disable=SC2059 # the format is the bytes
        { printf "\\$(printf %o "$(number "$1" 32 4)")\\007\\002\\$(printf %o $choices)"; section "$1" 2; section "$1" 1; } \
            >"$dir/$2-$choices"
    done
}

# Chat templates: those of the families, and those of cases.json, one or eight in a file.
templates() {
    cp "$tests"/template/families/*.jinja "$dir"
    python3 - "$tests/template/cases.json" "$dir" <<'END'
import json, sys
templates = sorted({case[0] for case in json.load(open(sys.argv[1]))["cases"] if len(case[0]) < 400})
for i in range(0, len(templates), 8):
    with open(f"{sys.argv[2]}/cases-{i}", "w") as out:
        out.write("\n".join(templates[i:i + 8] if i % 16 else templates[i:i + 1]))
END
}

# Images of the first fixture, one of them on the other: their documents, or their configs alone.
images() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for folder in "$tests"/oracle/fixtures/*/; do
        "$hotlayer" pack "$folder" -o "$work/m.hot" --quant keep >/dev/null 2>&1
        break
    done
    "$hotlayer" image "$work/m.hot" --runtime "${hotlayer}d" -o "oci:$work/scratch" >/dev/null 2>&1
    "$hotlayer" image "$work/m.hot" --runtime "${hotlayer}d" --base "oci:$work/scratch" --compress zstd:1 \
        -o "oci:$work/based" >/dev/null 2>&1
    python3 - "$work" "$dir" "$1" <<'END'
import json, sys
work, out, what = sys.argv[1:]
for name in ("scratch", "based"):
    read = lambda path: open(f"{work}/{name}/{path}", "rb").read()
    blob = lambda descriptor: read("blobs/sha256/" + descriptor["digest"][7:])
    index = read("index.json")
    entry = json.loads(index)["manifests"][0]
    manifest = blob(entry)
    config = blob(json.loads(manifest)["config"])
    if what == "configs":
        open(f"{out}/{name}", "wb").write(config)
        continue
    open(f"{out}/{name}", "wb").write(b"\0".join((index, manifest, config)))
    # An index that leads to itself comes first, for two platforms.
    inner = dict(entry, mediaType="application/vnd.oci.image.index.v1+json")
    platforms = [dict(inner, platform={"os": os, "architecture": "amd64"}) for os in ("unknown", "linux")]
    index = json.dumps({"schemaVersion": 2, "manifests": platforms[::-1]}).encode()
    open(f"{out}/{name}-index", "wb").write(b"\0".join((index, manifest, config)))
    docker = manifest.replace(b"vnd.oci.image.layer.v1.tar", b"vnd.docker.image.rootfs.diff.tar")
    docker = docker.replace(b"vnd.oci.image.config.v1+json", b"vnd.docker.container.image.v1+json")
    open(f"{out}/{name}-docker", "wb").write(b"\0".join((index, docker, config)))
END
}

# Layers, plain, gzip and zstd (if zstd is installed): with a model, with whiteouts, with links and long names.
layers() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$hotlayer" pack "$tests/oracle/fixtures/f16-sharded" -o "$work/model.hot" --quant keep --shard-size 64K >/dev/null 2>&1
    python3 - "$work" "$dir" <<'END'
import glob, gzip, io, os, shutil, subprocess, sys, tarfile

work, out = sys.argv[1:]
model = [("models/m/" + os.path.basename(path), open(path, "rb").read()) for path in sorted(glob.glob(work + "/model.hot*"))]

def layer(entries, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            else:
                info.type, info.linkname = content
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()

layers = {
    "model": layer([("models", (tarfile.DIRTYPE, "")), ("models/m", (tarfile.DIRTYPE, ""))] + model, tarfile.USTAR_FORMAT),
    "whiteouts": layer([("models/.wh.m", b""), ("models/m/.wh..wh..opq", b""), (".wh.models", b"")]),
    "links": layer([("./models/m/model.hot", (tarfile.SYMTYPE, "/etc/passwd")), ("models/m/a.hot.001", (tarfile.LNKTYPE, "x")),
                    ("dev/null", (tarfile.CHRTYPE, ""))]),
    "long": layer([("models/" + "n" * 90 + "/" + "f" * 120 + ".hot", b"HOTLAYER"), ("../a", b"")], tarfile.GNU_FORMAT),
    "utf8": layer([("models/\u00e4/\u20ac.hot", b"HOTLAYER"), ("models/m/model.hot", b"HOTLAYER")]),
}
for name, tar in layers.items():
    packed = {0: tar, 1: gzip.compress(tar, mtime=0)}
    if shutil.which("zstd"):
        packed[2] = subprocess.run(["zstd", "-q"], input=tar, stdout=subprocess.PIPE, check=True).stdout
    for kind, data in packed.items():
        for pull in (0, 66):  # a multiple of 3 with bit 64 set
            with open("%s/%s-%d-%d" % (out, name, kind, pull), "wb") as file:
                file.write(bytes([kind + pull]) + data)
END
}

case $target in
layer) layers ;;
jinja) templates ;;
template)
    templates
    for file in "$dir"/*; do
        printf '\0\200\001\000\001' >>"$file"
    done
    ;;
safetensors) copies 'model-*.safetensors' ;; # the small ones
config) copies config.json ;;
gguf) PYTHONDONTWRITEBYTECODE=1 python3 "$tests/gguf/make_tiny.py" "$dir" ;;
spm) copies tokenizer.model ;;
tokenizer_json) copies tokenizer.json ;;
tokenizer_gguf) copies tokenizer.gguf ;;
encode) # the first byte: which tokenizer, which flags
    python3 - "$tests/tokenizer" "$dir" <<'END'
import sys

for name in ("bytes", "metaspace"):
    with open(f"{sys.argv[1]}/{name}/cases.tsv") as cases:
        for number, line in enumerate(cases):
            text = line.split("\t")[1]
            if number % 12 == 0 and text != "-":
                with open(f"{sys.argv[2]}/{name}-{number}", "wb") as out:
                    out.write(bytes([number // 12 % 16]) + bytes.fromhex(text)[:200])
END
    ;;
document) images documents ;;
base)
    images configs
    printf '{"architecture":"amd64","os":"linux","config":{"User":"0","Env":["PATH=/x","A=b","LD_LIBRARY_PATH=/l"],%s},%s}' \
        '"Cmd":["sh"],"WorkingDir":"/w","Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"OnBuild":["RUN x"]' \
        '"container_config":{"Hostname":"x"},"variant":"v2"' >"$dir/docker"
    printf '{"ARCHITECTURE":"x","config":{"ENV":["A=b"],"User":"1000:5","entrypoint":["x"]},"Config":null,"history":[{%s}],%s}' \
        '"empty_layer":true' '"rootfs":{"diff_ids":[]}' >"$dir/spellings"
    ;;
hot) heads head_file ;;
program) heads program ;;
tokenizer_section) heads tokenizer_section ;;
gotemplate)
    cp "$tests"/template-go/*.gotmpl "$dir"
    sed -n 's/^   "template": "\(.*\)",$/\1/p' "$tests/template-go/cases.json" | grep -n . |
        while IFS=: read -r line text; do
            printf %b "$(printf %s "$text" | sed 's/\\"/"/g')" >"$dir/case-$line"
        done
    ;;
http_body)
    printf '{"model":"m","prompt":"why is the sky blue?"}' >"$dir/plain"
    printf '{"model":"m","prompt":"","keep_alive":"5m","stream":false}' >"$dir/load"
    printf '{"model":"m","prompt":"\\u00e9\\ud83d\\ude00","system":"s","suffix":"","template":"{{ .Prompt }}","options":{"temperature":0.5,"top_k":40,%s}}' \
        '"top_p":0.9,"min_p":0.1,"seed":1,"num_predict":5,"num_ctx":64,"stop":["\n","x"],"repeat_penalty":1.1' >"$dir/all"
    printf '{"model":"m","messages":[{"role":"System","content":"s"},{"role":"user","content":[{"type":"text","text":"t"}]},%s],%s}' \
        '{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"x":1.0}}}]},{"role":"tool","tool_name":"f","content":"1"}' \
        '"tools":[{"type":"function","function":{"name":"f"}}],"_debug_render_only":true' >"$dir/chat"
    ;;
challenge)
    printf 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"' >"$dir/docker"
    printf 'Basic realm="Registry, \\"private\\""' >"$dir/basic"
    printf 'Negotiate YII/+==, Digest realm=d, nonce="a,b", Basic realm=x, Bearer realm=https://r/t?a=b , error="invalid_token"' >"$dir/several"
    printf ' ,bearer  REALM = "\\h\\"", service\t=\ts,,' >"$dir/odd"
    ;;
location)
    printf 'https://r.example:8443/v2/a/b/blobs/uploads/\n/u/1?_state=a%%2Fb==&x=../y#f' >"$dir/path"
    printf 'https://r.example/v2/a?b\nhttp://r.example/../c/./d' >"$dir/absolute"
    printf 'http://localhost:5000/v2/\nlocalhost:5000/v2/a/b?c' >"$dir/host"
    printf 'https://[::1]:80/v2/a/b\n//0x7f.1/../c' >"$dir/network"
    printf 'oci://eu-docker.pkg.dev/p/r/i:tag\ndocker.io/ubuntu@sha256:%064d' 0 >"$dir/names"
    printf '[2001:db8::1]:5000/a__b/c---d.e:f\nlocalhost:1/a' >"$dir/more-names"
    ;;
docker_config)
    auth=$(printf 'user:password' | base64)
    printf 'r.example\nteam/app\n{"auths":{"https://r.example/v1/":{"auth":"%s"},"r.example/team":{"auth":"%s","identitytoken":"t"}}}' \
        "$auth" "$auth" >"$dir/auths"
    printf 'registry-1.docker.io\nlibrary/a\n{"auths":{"https://index.docker.io/v1/":{"username":"u","password":"p"},"docker.io/library":{"registrytoken":"t"}}}' >"$dir/hub"
    printf 'eu-docker.pkg.dev\np/r/i\n{"credsStore":"desktop","credHelpers":{"eu-docker.pkg.dev":"gcloud","gcr.io":""},"auths":{"eu-docker.pkg.dev":{}}}' >"$dir/helpers"
    ;;
esac
