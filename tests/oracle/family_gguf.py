"""Writes a Hugging Face model's weights as a GGUF, as llama.cpp's convert_hf_to_gguf.py does. Needs gguf and numpy.

A GGUF cannot state these fields, so a variant with a GGUF must not need them:
    - query_pre_attn_scalar: a reader takes key_length, and embedding_length / head_count when Gemma 2 has 46 blocks or
      Gemma 3 has 62 (the 27B models);
    - which blocks of Gemma 2 and 3 slide: every 2nd and every 6th are full;
    - the sliding blocks' rope base of Gemma 3 in older files: 10000;
    - windows of Mistral and Qwen: not written at all.
"""
import gguf
import numpy as np

import family_tokenizers

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


def interleave(values, heads):
    """Moves the rows of each head from halves to neighbours: i and i + d/2 become 2i and 2i + 1."""
    d = values.shape[0] // heads
    return values.reshape(heads, 2, d // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def rope_divisors(config):
    """Returns llama3 scaling as one divisor of the frequency per pair. The converter takes 8192 for the original
    context whatever rope_parameters contain; this uses rope_parameters, or the file would be of another model.
    """
    rope = config.rope_parameters
    frequencies = 1 / rope["rope_theta"] ** (np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def add_fields(writer, config, v):
    family = config.model_type
    head_dim = getattr(config, "head_dim", None)
    writer.add_type("model")
    writer.add_name(v["name"])
    writer.add_size_label("1M")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if head_dim and not (v.get("gguf_old") and head_dim * config.num_attention_heads == config.hidden_size):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if family in ("llama", "mistral"):
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)
    rope = config.rope_parameters
    if family == "gemma3_text":
        if not v.get("gguf_old"):
            writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    if family not in ("gemma", "gemma2"):
        writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if family in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config.sliding_window)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_file_type(FILE_TYPES[v["stored"]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tensors(writer, config, tensors, v, rows):
    arch = ARCHITECTURES[config.model_type]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    if arch == gguf.MODEL_ARCH.LLAMA and config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_divisors(config))
    for name, values in tensors.items():
        if arch == gguf.MODEL_ARCH.LLAMA and ("q_proj" in name or "k_proj" in name):
            values = interleave(values, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
            values = values + np.float32(1)
        if name.endswith("embed_tokens.weight"):
            values = values[:rows]
        short = names.get_name(name, try_suffixes=(".weight", ".bias"))
        kind = gguf.GGMLQuantizationType[v["stored"] if values.ndim == 2 else "F32"]
        packed = gguf.quants.quantize(np.ascontiguousarray(values, np.float32), kind)
        assert np.array_equal(gguf.quants.dequantize(packed, kind), values), name
        writer.add_tensor(short, packed, raw_dtype=kind)


def write(path, config, tensors, tokenizer, template, v):
    """config: the text model's; tensors: its weights by their names in a Llama-like folder, without a tied head."""
    rows = len(tokenizer["tokens"]) if config.model_type == "gemma3_text" else config.vocab_size
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]])
    add_fields(writer, config, v)
    spm = tokenizer["kind"] == "spm"
    family_tokenizers.add_to_gguf(
        writer, tokenizer, rows, template, spm or not v.get("gguf_old"), config.model_type.startswith("gemma")
    )
    add_tensors(writer, config, tensors, v, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return rows
