#!/usr/bin/env python3
"""Drives llama.cpp through its bindings, one measurement per process; prints one JSON line.

    python llamacpp.py info
    python llamacpp.py first MODEL.gguf WORD [OPTIONS]        process start -> model loaded -> first token
    python llamacpp.py bench MODEL.gguf P N [OPTIONS]         P tokens at once, then N one by one
    python llamacpp.py quantize BF16.gguf OUT.gguf TYPE       Q4_0, Q8_0 or Q4_K_M

Needs the package llama-cpp-python. Everything is llama.cpp's default (memory-mapped, weights repacked for this CPU,
batches of 2048 in parts of 512, KV in f16), except for swa_full, which its own programs turn off, too. The clock starts
after Python has imported the bindings, and the memory that Python uses by then is not counted as llama.cpp's.
"""
import argparse
import json
import os
import resource
import time

import llama_cpp
import numpy as np

FLASH = {"auto": -1, "off": 0, "on": 1}
KV = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0, "f32": llama_cpp.GGML_TYPE_F32}
FILE_TYPES = {"Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
              "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M}


def memory():
    """Returns bytes: peak, now, and the part of that which is not a file's."""
    with open("/proc/self/status") as file:
        rows = dict(line.split(":", 1) for line in file)
    return {name: int(rows[key].split()[0]) * 1024 for name, key in (("peak", "VmHWM"), ("now", "VmRSS"), ("anonymous", "RssAnon"))}


class Session:
    def __init__(self, args):
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.use_extra_bufts = not args.no_repack
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), options)
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {args.model}")
        self.loaded = time.perf_counter()
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_threads, options.n_threads_batch = args.ctx, args.threads, args.threads
        options.flash_attn_type, options.swa_full = FLASH[args.flash], False
        options.type_k = options.type_v = KV[args.kv]
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        if not self.context:
            raise SystemExit("llama.cpp makes no context")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.anonymous = 0

    def decode(self, tokens):
        """Decodes at the positions that follow; waits for the last token's logits, the only ones."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise SystemExit("llama_decode fails")
        return llama_cpp.llama_get_logits_ith(self.context, -1)

    def forget(self):
        self.anonymous = max(self.anonymous, memory()["anonymous"])
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def tokenize(self, text):
        tokens = (llama_cpp.llama_token * 64)()
        n = llama_cpp.llama_tokenize(self.vocabulary, text.encode(), len(text.encode()), tokens, 64, True, False)
        return tokens[:n]

    def text(self, token):
        buffer = (llama_cpp.llama_cpp.ctypes.c_char * 256)()
        n = llama_cpp.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
        return buffer.raw[:max(n, 0)].decode(errors="replace")


def first(args):
    session = Session(args)
    made = time.perf_counter()
    tokens = session.tokenize(args.word)
    logits = session.decode(tokens)
    token = int(np.argmax(np.ctypeslib.as_array(logits, (llama_cpp.llama_vocab_n_tokens(session.vocabulary),))))
    done = time.perf_counter()
    return {"load": session.loaded - BEGIN, "context": made - session.loaded, "prompt": done - made, "first_token": done - BEGIN,
            "prompt_tokens": len(tokens), "text": session.text(token)}


def bench(args):
    session = Session(args)
    n = llama_cpp.llama_vocab_n_tokens(session.vocabulary)
    tokens = [i * 2654435761 % (1 << 32) % n for i in range(max(args.p, args.n))]  # those of `hotlayerd bench`
    for steps in (4, args.n):  # the first time is the warm-up: touches every page, allocates every buffer
        start = time.perf_counter()
        session.decode(tokens[:args.p])
        middle = time.perf_counter()
        for i in range(steps):
            session.decode(tokens[i:i + 1])
        end = time.perf_counter()
        session.forget()
    return {"prefill": args.p / (middle - start), "decode": args.n / (end - middle),
            "anonymous": session.anonymous - PYTHON["anonymous"]}


def quantize(args):
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread, options.ftype = args.threads, FILE_TYPES[args.type]
    before = resource.getrusage(resource.RUSAGE_SELF)
    if llama_cpp.llama_model_quantize(args.model.encode(), args.out.encode(), options) != 0:
        raise SystemExit("llama_model_quantize fails")
    quantized = time.perf_counter()
    with open(args.out, "rb") as file:  # as `hotlayer pack` does it, and llama.cpp does not
        os.fsync(file.fileno())
    stored = time.perf_counter()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"wall": quantized - BEGIN, "stored": stored - BEGIN, "written": (after.ru_oublock - before.ru_oublock) * 512,
            "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def info(_):
    return {"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    arguments = {first: ["word"], bench: ["p", "n"], quantize: ["out", "type"], info: None}
    for function, names in arguments.items():
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        command.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
        command.add_argument("--ctx", type=int, default=1024)
        command.add_argument("--flash", choices=FLASH, default="auto")
        command.add_argument("--kv", choices=KV, default="f16")
        command.add_argument("--no-repack", action="store_true", help="weights stay as they are in the file, and mapped")
        for name in ["model", *names] if names is not None else []:
            command.add_argument(name, type=int if name in ("p", "n") else str)
    args = parser.parse_args()
    result = args.function(args)
    print(json.dumps({**result, "peak": memory()["peak"] - PYTHON["now"], "python": PYTHON["now"]}))


llama_cpp.llama_log_set(llama_cpp.llama_log_callback(0), None)  # the library's own function, instead of one in Python for every line
PYTHON, BEGIN = memory(), time.perf_counter()
main()
