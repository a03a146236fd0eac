#!/usr/bin/env python3
"""Makes the same weights for both sides, from a model of `hotlayer synth`: NAME-TYPE.gguf by llama.cpp, and
NAME-TYPE.hot from that.

    bench/peers/models.py [--build build] [--dir build/peers] [--venv build/peers-venv] [--models A,B] [--types Q4_0] [--keep]

A module for bench/peers/run and bench/pack. Run by itself, it makes the files, each only if it is missing: a folder,
from that a BF16 .gguf (write_gguf.py), from that the types by llama.cpp's own quantizer, and from each of these a .hot
with `--quant keep`. Deletes folder and BF16 when nothing needs them any more, unless they existed before or --keep is
given. llama.cpp is the package llama-cpp-python, built on and for this machine (with g++); makes a virtual environment
for it if there is none.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ("llama3.2-1b", "gemma3-4b", "llama3.1-8b")
TYPES = ("Q4_0", "Q8_0", "Q4_K_M")


def run(*command):
    """Runs a command; shows its output only if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def python_of(folder):
    """Returns the Python of an environment with the packages."""
    python = os.path.join(folder, "bin/python")
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import gguf, llama_cpp, numpy"], stderr=subprocess.DEVNULL).returncode:
        print("building llama.cpp, some minutes", file=sys.stderr)
        os.environ["CMAKE_ARGS"] = "-DGGML_NATIVE=on"  # built for this CPU, and so not a prebuilt wheel
        run(python, "-m", "pip", "install", "-q", "--no-binary", "llama-cpp-python", "llama-cpp-python", "gguf", "numpy")
    return python


def llamacpp(python, *arguments):
    return [python, os.path.join(HERE, "llamacpp.py"), *map(str, arguments)]


class Files:
    """The files of one model, each made when it is asked for."""

    def __init__(self, args, name):
        self.args, self.name, self.made = args, name, set()
        os.makedirs(args.dir, exist_ok=True)

    def make(self, ending, command):
        """Returns the path; command(path of a new file) writes the file, which is renamed when it is complete."""
        path = os.path.join(self.args.dir, self.name + ending)
        if not os.path.exists(path):
            new = os.path.join(self.args.dir, f"new-{self.name}{ending}")
            words = command(new)
            print(f"making {os.path.basename(path)}", file=sys.stderr)
            shutil.rmtree(new, ignore_errors=True)
            run(*words)
            os.rename(new, path)
            self.made.add(ending)
        return path

    def folder(self):
        return self.make("-folder", lambda new: [self.args.build + "/hotlayer", "synth", self.name, "-o", new])

    def bf16(self):
        script = os.path.join(HERE, "write_gguf.py")
        return self.make("-BF16.gguf", lambda new: [self.args.python, script, self.folder(), new])

    def gguf(self, kind):
        return self.make(f"-{kind}.gguf", lambda new: llamacpp(self.args.python, "quantize", self.bf16(), new, kind))

    def hot(self, kind):
        """`hotlayer pack` writes the head file last, under its own name, when the shards are there."""
        path = os.path.join(self.args.dir, f"{self.name}-{kind}.hot")
        if not os.path.exists(path):
            source = self.gguf(kind)
            print(f"making {os.path.basename(path)}", file=sys.stderr)
            run(self.args.build + "/hotlayer", "pack", source, "--quant", "keep", "-o", path)
        return path

    def forget(self, ending):
        """Deletes only files that this process has made: older ones were kept on purpose."""
        path = os.path.join(self.args.dir, self.name + ending)
        if ending not in self.made:
            return
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)
        self.made.remove(ending)

    def all(self, keep=False):
        """Makes .hot and .gguf of all types. Makes every .gguf before the first .hot, so that the sources are deleted
        by then.
        """
        for kind in self.args.types:
            self.gguf(kind)
            if not keep:
                self.forget("-folder")
        if not keep:
            self.forget("-BF16.gguf")
        return {kind: (self.hot(kind), self.gguf(kind)) for kind in self.args.types}


def parts(hot):
    """Makes all files of a model."""
    return [hot, *sorted(glob.glob(glob.escape(hot) + ".[0-9][0-9][0-9]"))]


def step_bytes(build, hot):
    """Returns the bytes of weights that decoding one token reads: all, but only one row of an embedding that is not
    also the head.
    """
    tensors = json.loads(run(build + "/hotlayer", "inspect", hot, "--json"))["tensors"]
    untied = any(tensor["name"] == "head" for tensor in tensors)
    return sum(tensor["bytes"] for tensor in tensors if not (untied and tensor["name"] == "embed"))


def add_options(parser, models, types):
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="build/peers", help="where the models are kept (build/peers)")
    parser.add_argument("--venv", default=os.environ.get("PEERS_VENV", "build/peers-venv"),
                        help="a virtual environment with llama-cpp-python, made if it is not there (PEERS_VENV, build/peers-venv)")
    parser.add_argument("--models", type=lambda text: text.split(","), default=models)
    parser.add_argument("--types", type=lambda text: text.split(","), default=types)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, MODELS, TYPES)
    parser.add_argument("--keep", action="store_true", help="the folder and BF16, for bench/pack")
    args = parser.parse_args()
    args.python = python_of(args.venv)
    for name in args.models:
        Files(args, name).all(args.keep)


if __name__ == "__main__":
    main()
