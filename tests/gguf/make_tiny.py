"""Writes the smallest .gguf of each family and type, as seeds for fuzzing: one block, four columns, or a block of Q8_0.

    python3 make_tiny.py OUTDIR
"""
import os
import sys

from container import ARRAY, BOOL, F32, I32, STRING, U32, assemble, size_of

WIDTH, HEADS, FFN, ROWS, BLOCKS = 4, 2, 4, 3, 1
FAMILIES = "llama", "gemma", "gemma2", "gemma3", "qwen2", "qwen3"


def keys(family, width):
    fields = {
        "block_count": (U32, BLOCKS), "context_length": (U32, 16), "embedding_length": (U32, width),
        "feed_forward_length": (U32, FFN * width // WIDTH), "attention.head_count": (U32, HEADS),
        "attention.head_count_kv": (U32, 1), "attention.layer_norm_rms_epsilon": (F32, 1e-6),
    }
    if family == "llama":
        fields |= {"rope.dimension_count": (U32, width // HEADS), "vocab_size": (U32, ROWS)}
    if family in ("gemma2", "gemma3"):
        fields["attention.sliding_window"] = U32, 8
        fields["attention.key_length"] = fields["attention.value_length"] = U32, width // HEADS
    if family == "gemma2":
        fields |= {"attn_logit_softcapping": (F32, 50.0), "final_logit_softcapping": (F32, 30.0)}
    if family == "gemma3":
        fields |= {"rope.freq_base_swa": (F32, 1e4), "rope.scaling.type": (STRING, "linear"),
                   "rope.scaling.factor": (F32, 8.0), "attention.sliding_window_pattern": ((ARRAY, BOOL), [1])}
    if family.startswith("qwen"):
        fields["rope.freq_base"] = F32, 1e6
    return {
        "general.architecture": (STRING, family), "general.alignment": (U32, 8),
        **{f"{family}.{key}": value for key, value in fields.items()},
        "tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "default"),
        "tokenizer.ggml.tokens": ((ARRAY, STRING), ["a", "b", "<end_of_turn>"]),
        "tokenizer.ggml.token_type": ((ARRAY, I32), [1, 1, 3]),
        "tokenizer.ggml.merges": ((ARRAY, STRING), []),
        "tokenizer.ggml.eos_token_id": (U32, 2),
    }


def shapes(family, width):
    """Dimensions innermost first."""
    q, kv, ffn = width, width // HEADS, FFN * width // WIDTH
    block = {
        "attn_norm.weight": [width], "attn_q.weight": [width, q], "attn_k.weight": [width, kv],
        "attn_v.weight": [width, kv], "attn_output.weight": [q, width], "ffn_norm.weight": [width],
        "ffn_gate.weight": [width, ffn], "ffn_up.weight": [width, ffn], "ffn_down.weight": [ffn, width],
    }
    if family in ("gemma2", "gemma3"):
        block |= {"post_attention_norm.weight": [width], "post_ffw_norm.weight": [width]}
    if family in ("gemma3", "qwen3"):
        block |= {"attn_q_norm.weight": [width // HEADS], "attn_k_norm.weight": [width // HEADS]}
    if family == "qwen2":
        block |= {"attn_q.bias": [q], "attn_k.bias": [kv], "attn_v.bias": [kv]}
    beside = {"token_embd.weight": [width, ROWS], "output_norm.weight": [width]}
    if family == "llama":
        beside |= {"output.weight": [width, ROWS], "rope_freqs.weight": [width // HEADS // 2]}
    return {**beside, **{f"blk.0.{name}": dims for name, dims in block.items()}}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for family in FAMILIES:
        for kind in "F32", "BF16", "Q8_0":
            width = 64 if kind == "Q8_0" else WIDTH
            tensors = {}
            for name, dims in shapes(family, width).items():
                own = kind if len(dims) == 2 else "F32"
                raw = b"\x01\x3c" * size_of(own, dims)
                tensors[name] = own, dims, raw[: size_of(own, dims)]
            with open(os.path.join(sys.argv[1], f"{family}-{kind}"), "wb") as file:
                file.write(assemble(keys(family, width), tensors, alignment=8))


if __name__ == "__main__":
    main()
