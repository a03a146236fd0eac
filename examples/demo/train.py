#!/usr/bin/env python3
"""Makes the demo model: a byte-level BPE tokenizer and a small Llama, trained from scratch on stories.py's text and
written as a Hugging Face folder. Needs torch and tokenizers; the few bytes of safetensors' format are written here.

Each story is one row: <|begin_of_text|> story <|end_of_text|>, positions from 0. Rows are never joined, since the model
is used with one story at a time.
"""

import argparse
import itertools
import json
import math
import pathlib
import random
import struct
import time

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

from stories import stories

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 344,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "num_attention_heads": 8,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 1000,
}


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"] - 2, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(BOS, special=True), AddedToken(EOS, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    return tokenizer


def rope(length):
    half = CONFIG["head_dim"] // 2
    frequencies = CONFIG["rope_theta"] ** (-torch.arange(half) / half)
    angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def linear(rows, cols, std):
    weight = nn.Linear(cols, rows, bias=False)
    nn.init.normal_(weight.weight, std=std)
    return weight


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        n, kv, d, std = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["initializer_range"]
        self.n, self.kv, self.d = n, kv, d
        self.q_proj = linear(n * d, c["hidden_size"], std)
        self.k_proj = linear(kv * d, c["hidden_size"], std)
        self.v_proj = linear(kv * d, c["hidden_size"], std)
        self.o_proj = linear(c["hidden_size"], n * d, std / math.sqrt(2 * c["num_hidden_layers"]))

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q, k, v = (proj(x).view(batch, length, -1, self.d).transpose(1, 2)
                   for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (t.repeat_interleave(self.n // self.kv, 1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        wide, narrow, std = c["intermediate_size"], c["hidden_size"], c["initializer_range"]
        self.gate_proj = linear(wide, narrow, std)
        self.up_proj = linear(wide, narrow, std)
        self.down_proj = linear(narrow, wide, std / math.sqrt(2 * c["num_hidden_layers"]))

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Its parameters' names, after "model.", are those of the Hugging Face format."""

    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=c["initializer_range"])
        self.layers = nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        cos, sin = rope(tokens.shape[1])
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def batches(tokenizer, seed, size, pool=64):
    """Yields rows of tokens, padded with -1. Stories of similar length share a batch, so there is little padding."""
    rng = random.Random(seed)
    bos, eos, source = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS), stories(seed)
    while True:
        texts = list(itertools.islice(source, size * pool))
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        rows = sorted(([bos, *row.ids, eos] for row in encoded), key=len)
        cuts = [rows[i:i + size] for i in range(0, len(rows), size)]
        rng.shuffle(cuts)
        for cut in cuts:
            yield nn.utils.rnn.pad_sequence([torch.tensor(row) for row in cut], True, -1)


def loss_of(model, rows):
    logits = model(rows[:, :-1].clamp(min=0))
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=-1)


def train(model, tokenizer, args):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98))
    source, start, seen, mean = batches(tokenizer, args.seed, args.batch), time.monotonic(), 0, None
    for step in range(args.steps):
        rate = args.rate * min((step + 1) / args.warmup, 0.5 + 0.5 * math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = next(source)
        loss = loss_of(model, rows)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += int((rows >= 0).sum())
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            took = time.monotonic() - start
            print(f"step {step + 1:6} loss {mean:.4f} rate {rate:.5f} tokens {seen} seconds {took:.0f}", flush=True)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_safetensors(path, tensors):
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.detach().to(torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(blobs))


def write_model(folder, model, tokenizer):
    ids = {"bos_token_id": tokenizer.token_to_id(BOS), "eos_token_id": tokenizer.token_to_id(EOS)}
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", {f"model.{name}": p for name, p in model.named_parameters()})
    write_json(folder / "config.json", {**CONFIG, **ids})
    write_json(folder / "generation_config.json", {**ids, "do_sample": True, "temperature": 0.8, "top_p": 0.9})
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "clean_up_tokenization_spaces": False, "model_max_length": CONFIG["max_position_embeddings"],
        "added_tokens_decoder": {str(tokenizer.token_to_id(token)): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True} for token in (BOS, EOS)},
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="the folder to write the model to")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    tokenizer = make_tokenizer(itertools.islice(stories(args.seed), 20000))
    model = Llama(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    train(model, tokenizer, args)
    with torch.no_grad():
        model.to(torch.bfloat16).float()
        held_out = itertools.islice(batches(tokenizer, args.seed + 1, args.batch), 20)
        print(f"held-out loss with bfloat16 weights {sum(loss_of(model, rows).item() for rows in held_out) / 20:.4f}")
    write_model(args.folder, model, tokenizer)


if __name__ == "__main__":
    main()
