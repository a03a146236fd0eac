#!/bin/sh
# The packer's memory does not grow with the model: a model of 1.3 GB (a sparse file of zeros) packs in less than 512
# MiB.
#
#   sh tests/pack/memory.sh BUILD
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"

if grep -q __tsan_init "$1/hotlayer"; then
    for quant in keep q8 q4; do
        skip "pack --quant $quant: ThreadSanitizer needs several times the memory of the program"
    done
    tally
    exit
fi
cp tests/oracle/fixtures/f32-mha/tokenizer* "$work"
python3 - "$work" <<'END'
import json, struct, sys

# One wide block: its matrices are larger than a shard, and larger than the allowed memory.
width, ffn, heads, vocabulary = 4096, 16384, 32, 4096
shapes = {
    "model.embed_tokens.weight": [vocabulary, width],
    "model.norm.weight": [width],
    "model.layers.0.input_layernorm.weight": [width],
    "model.layers.0.post_attention_layernorm.weight": [width],
    "model.layers.0.mlp.gate_proj.weight": [ffn, width],
    "model.layers.0.mlp.up_proj.weight": [ffn, width],
    "model.layers.0.mlp.down_proj.weight": [width, ffn],
}
for name in "qkvo":
    shapes[f"model.layers.0.self_attn.{name}_proj.weight"] = [width, width]
header, at = {}, 0
for name, shape in shapes.items():
    size = 4
    for dim in shape:
        size *= dim
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
    at += size
text = json.dumps(header).encode()
with open(sys.argv[1] + "/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + at)
json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": ffn,
           "num_hidden_layers": 1, "num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocabulary,
           "max_position_embeddings": 512, "tie_word_embeddings": True, "hidden_act": "silu"},
          open(sys.argv[1] + "/config.json", "w"))
END
# keep writes 1.3 GB; q8 a quarter of it, q4 an eighth.
for quant in keep q8 q4; do
    peak=$(/usr/bin/time -f %M "$1/hotlayer" pack "$work" -o "$work/m.hot" --quant $quant --shard-size 256M 2>&1 >/dev/null |
        tail -n 1)
    if [ "${peak:-999999999}" -lt $((512 * 1024)) ]; then
        ok "pack --quant $quant: peak $((peak / 1024)) MiB"
    else
        fail "pack --quant $quant: peak $peak KiB"
    fi
done
tally
