"""Writes families/: small random models of every family as Hugging Face's transformers writes them, the same weights as
GGUF, and the logits that transformers computes.

    python3 make_families.py [NAME...]     needs torch, transformers, safetensors and gguf

families/NAME/ is a folder to pack; README.md describes each and its files. The logits are those of float32 arithmetic
on the stored weights, with attn_implementation="eager". A Gemma multiplies its embeddings by sqrt(width) rounded to the
embeddings' stored type, as transformers does when it computes in that type.
"""
import json
import os
import shutil
import sys
import zlib

import gguf
import numpy as np
import torch
import transformers

import family_gguf
import family_tokenizers
from make_fixtures import round_to_bf16, write_json

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "families")

GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'] + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
LLAMA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def gemma_tokenizer(count):
    return family_tokenizers.spm(GEMMA, count, prefix=False), "GemmaTokenizer", GEMMA_TEMPLATE


def llama2_tokenizer(count):
    return family_tokenizers.spm(("<unk>", "<s>", "</s>"), count, prefix=True), "LlamaTokenizer", LLAMA_TEMPLATE


def llama3_tokenizer():
    specials = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    made = family_tokenizers.bytes_bpe(
        specials, specials[0], "<|eot_id|>", None, True, family_tokenizers.LLAMA3, "llama-bpe"
    )
    return made, "PreTrainedTokenizerFast", LLAMA3_TEMPLATE


def qwen_tokenizer():
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    made = family_tokenizers.bytes_bpe(
        specials, None, "<|im_end|>", "<|endoftext|>", False, family_tokenizers.QWEN, "qwen2"
    )
    return made, "Qwen2Tokenizer", QWEN_TEMPLATE


def shape(width, heads, kv_heads, head_dim, ffn, blocks, vocabulary=283, **more):
    """The fields that all families have; head_dim None: not written."""
    fields = dict(
        hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads, intermediate_size=ffn,
        num_hidden_layers=blocks, vocab_size=vocabulary, max_position_embeddings=more.pop("context", 128),
    )
    if head_dim:
        fields["head_dim"] = head_dim
    return fields | more


def rope(theta, kind="default", **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def ropes(full, sliding=10000.0):
    return {"full_attention": full, "sliding_attention": rope(sliding)}


# family, tokenizer, the config's fields, and: stored, the type of the matrices (default F32); gguf (default True);
# gguf_old, without the fields that older converters did not write; folder False, a GGUF alone; published, with a
# config.old.json; nested, as Gemma3ForConditionalGeneration.
VARIANTS = {
    "gemma-mqa": dict(
        family="gemma", tokenizer=gemma_tokenizer(283), published=True,
        fields=shape(28, 4, 1, 10, 36, 2, rms_norm_eps=1e-3, rope_parameters=rope(10000.0)),
    ),
    "gemma-mha-bf16": dict(
        family="gemma", tokenizer=gemma_tokenizer(283), stored="BF16",
        fields=shape(34, 3, 3, 8, 44, 2, rms_norm_eps=1e-5, rope_parameters=rope(10000.0)),
    ),
    "gemma2": dict(
        family="gemma2", tokenizer=gemma_tokenizer(283), published=True,
        fields=shape(
            28, 4, 2, 14, 36, 4, rms_norm_eps=1e-5, query_pre_attn_scalar=14, sliding_window=11,
            attn_logit_softcapping=2.0, final_logit_softcapping=4.0, rope_parameters=rope(10000.0),
        ),
    ),
    "gemma2-scalar": dict(
        family="gemma2", tokenizer=gemma_tokenizer(281), published=True, gguf=False, stored="F16",
        fields=shape(
            20, 4, 1, 10, 28, 3, 281, rms_norm_eps=1e-4, query_pre_attn_scalar=7, sliding_window=8,
            attn_logit_softcapping=None, final_logit_softcapping=3.0, rope_parameters=rope(5000.0),
        ),
    ),
    "gemma2-46": dict(
        family="gemma2", tokenizer=gemma_tokenizer(283), folder=False,
        fields=shape(
            8, 2, 1, 6, 10, 46, rms_norm_eps=1e-5, query_pre_attn_scalar=4, sliding_window=9,
            attn_logit_softcapping=2.0, final_logit_softcapping=4.0, rope_parameters=rope(10000.0),
        ),
    ),
    "gemma3-linear": dict(
        family="gemma3_text", tokenizer=gemma_tokenizer(283), published=True,
        fields=shape(
            20, 4, 1, 12, 28, 7, rms_norm_eps=1e-5, query_pre_attn_scalar=12, sliding_window=9,
            rope_parameters=ropes(rope(100000.0, "linear", factor=8.0), 5000.0),
        ),
    ),
    "gemma3-plain": dict(
        family="gemma3_text", tokenizer=gemma_tokenizer(283), gguf_old=True,
        fields=shape(
            20, 4, 2, 10, 28, 7, rms_norm_eps=1e-6, query_pre_attn_scalar=10, sliding_window=12,
            rope_parameters=ropes(rope(1000000.0)),
        ),
    ),
    "gemma3-pattern": dict(
        family="gemma3_text", tokenizer=gemma_tokenizer(281), published=True, gguf=False,
        fields=shape(
            21, 3, 3, 10, 28, 4, 281, rms_norm_eps=1e-4, query_pre_attn_scalar=23, sliding_window=7,
            layer_types=["sliding_attention", "full_attention"] * 2, final_logit_softcapping=3.0,
            rope_parameters=ropes(rope(20000.0), 300.0),
        ),
    ),
    "gemma3-nested": dict(
        family="gemma3_text", tokenizer=gemma_tokenizer(279), published=True, nested=True,
        fields=shape(
            16, 8, 4, 6, 20, 7, query_pre_attn_scalar=6, sliding_window=10,
            rope_parameters=ropes(rope(1000000.0, "linear", factor=8.0)),
        ),
    ),
    "gemma3-62": dict(
        family="gemma3_text", tokenizer=gemma_tokenizer(283), folder=False,
        fields=shape(
            8, 2, 1, 6, 8, 62, rms_norm_eps=1e-5, query_pre_attn_scalar=4, sliding_window=9,
            rope_parameters=ropes(rope(1000000.0, "linear", factor=8.0)),
        ),
    ),
    "llama2-mha": dict(
        family="llama", tokenizer=llama2_tokenizer(283), published=True, gguf_old=True,
        fields=shape(
            24, 4, 4, None, 36, 2, rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters=rope(10000.0)
        ),
    ),
    "llama-bias-f16": dict(
        family="llama", tokenizer=llama2_tokenizer(283), stored="F16",
        fields=shape(
            36, 4, 2, 10, 44, 2, rms_norm_eps=1e-4, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
            rope_parameters=rope(10000.0),
        ),
    ),
    "llama3-bands": dict(
        family="llama", tokenizer=llama3_tokenizer(), published=True,
        fields=shape(
            28, 4, 2, 14, 36, 2, rms_norm_eps=1e-5, tie_word_embeddings=True,
            rope_parameters=rope(
                600.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=96,
            ),
        ),
    ),
    "llama3-8192": dict(
        family="llama", tokenizer=llama3_tokenizer(), published=True, gguf_old=True,
        fields=shape(
            30, 3, 1, 16, 36, 2, context=131072, rms_norm_eps=1e-5, tie_word_embeddings=False,
            rope_parameters=rope(
                500000.0, "llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=8192,
            ),
        ),
    ),
    "mistral-window": dict(
        family="mistral", tokenizer=llama2_tokenizer(283), published=True, gguf=False,
        fields=shape(
            28, 4, 2, 14, 36, 2, rms_norm_eps=1e-5, sliding_window=13, tie_word_embeddings=False,
            rope_parameters=rope(10000.0),
        ),
    ),
    "mistral-full-q8": dict(
        family="mistral", tokenizer=llama2_tokenizer(283), published=True, stored="Q8_0",
        fields=shape(
            32, 4, 2, 16, 64, 2, rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False,
            rope_parameters=rope(1000000.0),
        ),
    ),
    "qwen2-tied": dict(
        family="qwen2", tokenizer=qwen_tokenizer(), published=True,
        fields=shape(
            28, 2, 1, None, 36, 2, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(1000000.0)
        ),
    ),
    "qwen2-slide": dict(
        family="qwen2", tokenizer=qwen_tokenizer(), published=True, gguf=False,
        fields=shape(
            30, 3, 1, None, 36, 4, rms_norm_eps=1e-5, tie_word_embeddings=False, use_sliding_window=True,
            sliding_window=10, max_window_layers=2, rope_parameters=rope(10000.0),
        ),
    ),
    "qwen2-untied": dict(
        family="qwen2", tokenizer=qwen_tokenizer(), gguf_old=True,
        fields=shape(
            24, 4, 4, None, 36, 2, rms_norm_eps=1e-6, tie_word_embeddings=False, use_sliding_window=False,
            sliding_window=6, max_window_layers=1, rope_parameters=rope(1000000.0),
        ),
    ),
    "qwen3": dict(
        family="qwen3", tokenizer=qwen_tokenizer(), published=True,
        fields=shape(
            28, 4, 2, 14, 36, 2, rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters=rope(1000000.0)
        ),
    ),
    "qwen3-tied": dict(
        family="qwen3", tokenizer=qwen_tokenizer(),
        fields=shape(28, 4, 1, 8, 36, 2, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(10000.0)),
    ),
}


def random_values(rng, name, size, config):
    """Makes weights as in a trained model: attention scores and logits spread by one or two, and a block changes the
    residual stream by less than the stream is. So the next block does not amplify the rounding of the last.
    """
    gemma = config.model_type.startswith("gemma")
    width = config.hidden_size
    if name.endswith("norm.weight"):
        gain = 1.0
        if name == "model.norm.weight" and config.tie_word_embeddings:
            gain = 2.0 if gemma else 2 / np.sqrt(width)
        elif config.model_type in ("gemma2", "gemma3_text") and ".post_" in name:
            gain = 1.2 / np.sqrt(config.num_hidden_layers)
        values = rng.uniform(0.6, 1.4, size) * gain
        return values - 1 if gemma else values
    if name.endswith("bias"):
        return rng.normal(0, 4.0 if config.model_type == "qwen2" and "k_proj" in name else 0.3, size)
    gains = dict(
        embed_tokens=1.0 if gemma else np.sqrt(width), q_proj=1.1, k_proj=1.1, v_proj=1.0, o_proj=0.4, gate_proj=1.2,
        up_proj=1.0, down_proj=0.3, lm_head=2.0,
    )
    return rng.normal(0, gains[name.split(".")[-2]] / np.sqrt(size[-1]), size)


def as_stored(values, stored):
    """Returns the float32 values of a matrix after it is stored."""
    values = np.ascontiguousarray(values, np.float32)
    if stored == "BF16":
        return round_to_bf16(values)
    kind = gguf.GGMLQuantizationType[stored if values.ndim == 2 else "F16" if stored == "F16" else "F32"]
    return gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)


def text_config(v):
    t = v["tokenizer"][0]
    ids = {f"{name}_token_id": t[name] for name in ("bos", "eos", "pad")}
    return transformers.AutoConfig.for_model(v["family"], **v["fields"], **ids)


def nest(config):
    """Writes the same text model with the smallest image model that the library accepts."""
    vision = dict(
        hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        model_type="siglip_vision_model",
    )
    return transformers.Gemma3Config(
        text_config=config.to_dict(), vision_config=vision, mm_tokens_per_image=4, boi_token_index=280,
        eoi_token_index=281, image_token_index=282, bos_token_id=2, eos_token_id=[1, 5], pad_token_id=0,
    )


def torch_type(v):
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(v["stored"], torch.float32)


def build(config, tensors=None):
    """Makes a model in float32 with these weights, named as in a text-only model."""
    torch.manual_seed(1)
    kind = transformers.AutoModelForCausalLM
    if config.model_type == "gemma3":
        kind = transformers.AutoModelForImageTextToText
    model = kind.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    if tensors:
        nested = config.model_type == "gemma3"
        names = {name: name.replace("model.", "model.language_model.", 1) if nested else name for name in tensors}
        state = {names[name]: torch.from_numpy(values.copy()) for name, values in tensors.items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        assert all("lm_head" in name or "vision" in name or "multi_modal" in name for name in missing), missing
        model.tie_weights()
    return model


def round_scale(model, config, v):
    scale = torch.tensor(config.hidden_size**0.5).to(torch_type(v)).float()
    (model.model.language_model if v.get("nested") else model.model).embed_tokens.embed_scale = scale
    return scale.item()


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()


def published_rope(config):
    """Writes rope_parameters as rope_theta, rope_local_base_freq and rope_scaling."""
    old, rope_of_all = {}, dict(config.rope_parameters)
    if config.model_type == "gemma3_text":
        old["rope_local_base_freq"] = rope_of_all["sliding_attention"]["rope_theta"]
        rope_of_all = dict(rope_of_all["full_attention"])
    old["rope_theta"] = rope_of_all.pop("rope_theta")
    old["rope_scaling"] = None if rope_of_all["rope_type"] == "default" else rope_of_all
    return old


def published_config(config, v):
    """Writes config.json as in models published before transformers 5."""
    family, values = config.model_type, config.to_dict()
    said = [key for key in values if key in v["fields"] or key.endswith("_token_id")]
    old = {"architectures": [type(build(config)).__name__]}
    old |= {key: values[key] for key in said if key not in ("layer_types", "rope_parameters")}
    old |= published_rope(config) | {"model_type": family}
    if family == "gemma":
        old |= {"hidden_act": "gelu", "hidden_activation": None}
    if family == "gemma2":
        old |= {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}
    if family == "gemma3_text" and "layer_types" in v["fields"]:
        old["sliding_window_pattern"] = 2
    if v.get("nested"):
        old = published_nested(config, old)
    return old | {"torch_dtype": str(torch_type(v)).split(".")[1], "transformers_version": "4.50.0", "use_cache": True}


def published_nested(config, text):
    """Writes of the text model only the fields that differ from the library's defaults, as in the published 4B."""
    defaults = type(config)().to_dict() | published_rope(type(config)())
    whole = nest(config).to_dict()
    keys = ("boi_token_index", "eoi_token_index", "eos_token_id", "image_token_index", "mm_tokens_per_image")
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    text = {key: value for key, value in text.items() if key == "model_type" or value != defaults.get(key)}
    text.pop("architectures")
    return {key: whole[key] for key in keys} | {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": {key: whole["vision_config"][key] for key in sizes} | {"model_type": "siglip_vision_model"},
    }


def make_weights(name, v, config):
    rng = np.random.default_rng([2026, zlib.crc32(name.encode())])
    tensors = {}
    for key, parameter in build(config).state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        tensors[key] = as_stored(random_values(rng, key, tuple(parameter.shape), config), v["stored"])
    return rng, tensors


def save_folder(folder, model, v):
    model.to(torch_type(v)).save_pretrained(folder)
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    family_tokenizers.write_files(folder, *v["tokenizer"])


def make(name, v):
    v = {"stored": "F32", "name": name, **v}
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    config = text_config(v)
    rng, tensors = make_weights(name, v, config)
    whole = nest(config) if v.get("nested") else config
    model = build(whole, tensors)
    expected = {}
    if name.startswith("gemma"):
        expected["embedding_scale"] = round_scale(model, config, v)
    # First, last and repeated rows of the table, after BOS; more tokens than any window has.
    rows = v["tokenizer"][0]["tokens"]
    count = min(config.vocab_size, len(rows)) if config.model_type == "gemma3_text" else config.vocab_size
    first = v["tokenizer"][0]["bos"] or 0
    tokens = [first, count - 1, 0, 7, 7, *rng.integers(3, count, 43).tolist()]
    logits = logits_of(model, tokens)
    assert np.isfinite(logits).all()
    print(f"{name:<16} logits spread by {logits.std():.2f}", end="")

    if v.get("published"):
        old = published_config(config, v)
        write_json(os.path.join(folder, "config.old.json"), old, indent=1)
        again = build(transformers.AutoConfig.for_model(**old), tensors)
        if name.startswith("gemma"):
            round_scale(again, config, v)
        again = logits_of(again, tokens)
        difference = np.linalg.norm(again - logits) / np.linalg.norm(logits)
        assert difference < 1e-6, f"the published configuration says something else: {difference}"
    expected |= {"tokens": tokens, "vocabulary": config.vocab_size, "stored": v["stored"]}
    if v.get("gguf", True):
        path = os.path.join(HERE, name + ".gguf")
        tokenizer, _, template = v["tokenizer"]
        expected["gguf_vocabulary"] = family_gguf.write(path, config, tensors, tokenizer, template, v)
    if v.get("folder", True):
        save_folder(folder, model, v)
    logits.astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    write_json(os.path.join(folder, "expected.json"), expected)
    print(f", {sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder)) // 1024} KiB")


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in sys.argv[1:] or VARIANTS:
        make(name, VARIANTS[name])


if __name__ == "__main__":
    main()
