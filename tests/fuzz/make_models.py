#!/usr/bin/env python3
"""Seeds for the targets `model` and `gguf`: a model of every family, as small as it can be, so that a mutation has a chance to hit something.

    make_models.py PROGRAM      writes seeds/model/* (config.json, model.safetensors, tokenizer.json) and seeds/gguf/*

Only the standard library. The weights are small numbers from a fixed seed; the GGUFs are what PROGRAM exports from the folders.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LAYERS, VOCAB, HEADS = 2, 24, 2
PIECES = ["<s>", "</s>", "a", "b", "o", "n", "d", "l", "p", "An", "Ġ", "Ġo", "ld", "Ġp", "on", "'", "Ċ", "x"]
MERGES = ["Ġ o", "l d", "Ġ p", "o n"]
BASE = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=1, head_dim=8, vocab_size=VOCAB,
            max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, bos_token_id=0, eos_token_id=1, hidden_act="silu")
GEMMA = dict(hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=8, sliding_window=4, rms_norm_eps=1e-6)
WIDE = dict(hidden_size=32, intermediate_size=32, head_dim=16)  # for types in blocks of 32
LONG = dict(type="longrope", short_factor=[1.0 + i / 8 for i in range(4)], long_factor=[2.0 + i for i in range(4)])
MODELS = {
    "llama": dict(model_type="llama", tie_word_embeddings=False),
    "llama_bias": dict(model_type="llama", tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "llama3_rope": dict(model_type="llama", tie_word_embeddings=True, rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                                                       original_max_position_embeddings=32)),
    "qwen2": dict(model_type="qwen2", tie_word_embeddings=True),
    "qwen3": dict(WIDE, model_type="qwen3", tie_word_embeddings=False),
    "phi3": dict(model_type="phi3", num_key_value_heads=HEADS, sliding_window=8, original_max_position_embeddings=64),
    "phi3_long": dict(model_type="phi3", num_key_value_heads=HEADS, original_max_position_embeddings=32, rope_scaling=LONG),
    "gemma2": dict(GEMMA, model_type="gemma2", attn_logit_softcapping=50.0, final_logit_softcapping=30.0),
    "gemma3_text": dict(GEMMA, model_type="gemma3_text", rope_local_base_freq=10000.0, layer_types=["sliding_attention", "full_attention"]),
    "llama_4bit": dict(WIDE, model_type="llama", tie_word_embeddings=True, quantization=dict(group_size=32, bits=4)),
    "gemma3_mixed": dict(WIDE, **GEMMA, model_type="gemma3_text", rope_local_base_freq=10000.0, layer_types=["sliding_attention", "full_attention"],
                         quantization={"group_size": 32, "bits": 4, "model.layers.1.mlp.down_proj": {"group_size": 32, "bits": 8}, "model.embed_tokens": {"group_size": 32, "bits": 8}}),
    "qwen2_mxfp4": dict(WIDE, model_type="qwen2", tie_word_embeddings=True, quantization=dict(group_size=32, bits=4, mode="mxfp4")),
}


def shapes(c):
    d, ff = c["hidden_size"], c["intermediate_size"]
    kv, q = c["num_key_value_heads"] * c["head_dim"], HEADS * c["head_dim"]
    gemma, phi, family = c["model_type"].startswith("gemma"), c["model_type"] == "phi3", c["model_type"]
    yield "model.embed_tokens.weight", [VOCAB, d]
    yield "model.norm.weight", [d]
    if not c.get("tie_word_embeddings", gemma):
        yield "lm_head.weight", [VOCAB, d]
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        linear = {"self_attn.o_proj": [d, q], "mlp.down_proj": [d, ff]}
        if phi:
            linear.update({"self_attn.qkv_proj": [q + 2 * kv, d], "mlp.gate_up_proj": [2 * ff, d]})
        else:
            linear.update({"self_attn.q_proj": [q, d], "self_attn.k_proj": [kv, d], "self_attn.v_proj": [kv, d], "mlp.gate_proj": [ff, d], "mlp.up_proj": [ff, d]})
        for name, shape in linear.items():
            yield p + name + ".weight", shape
            attention = name.startswith("self_attn")
            if c.get("attention_bias") and attention or c.get("mlp_bias") and not attention or family == "qwen2" and name[-6] in "qkv" and attention:
                yield p + name + ".bias", shape[:1]
        for name in ["input_layernorm", "post_attention_layernorm"] + ["pre_feedforward_layernorm", "post_feedforward_layernorm"] * gemma:
            yield p + name + ".weight", [d]
        if family in ("qwen3", "gemma3_text"):
            yield p + "self_attn.q_norm.weight", [c["head_dim"]]
            yield p + "self_attn.k_norm.weight", [c["head_dim"]]


def bf16(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def tensors(c, r):
    """name -> (type, shape, bytes)"""
    quantised = c.get("quantization")
    for name, shape in shapes(c):
        n = 1
        for s in shape:
            n *= s
        module = name[: -len(".weight")]
        if not quantised or len(shape) < 2:
            yield name, "BF16", shape, bf16(r.uniform(-0.2, 0.2) for _ in range(n))
            continue
        q = quantised.get(module, quantised)
        groups = [shape[0], shape[1] // q["group_size"]]
        yield name, "U32", [shape[0], shape[1] * q["bits"] // 32], r.randbytes(n * q["bits"] // 8)
        if q.get("mode") == "mxfp4":
            yield module + ".scales", "U8", groups, bytes(r.randrange(118, 124) for _ in range(groups[0] * groups[1]))
        else:
            for part in ".scales", ".biases":
                yield module + part, "BF16", groups, bf16(r.uniform(-0.02, 0.02) for _ in range(groups[0] * groups[1]))


def safetensors(c, r):
    header, body = {}, b""
    for name, kind, shape, data in sorted(tensors(c, r), key=lambda t: (t[1] not in ("U32",), t[0])):
        header[name] = dict(dtype=kind, shape=shape, data_offsets=[len(body), len(body) + len(data)])
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def tokenizer():
    special = [dict(id=i, content=PIECES[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i in (0, 1)]
    split = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    model = dict(type="BPE", dropout=None, unk_token=None, fuse_unk=False, byte_fallback=False, vocab={p: i for i, p in enumerate(PIECES)}, merges=MERGES)
    return dict(version="1.0", added_tokens=special, normalizer=None, pre_tokenizer=split, post_processor=None, decoder=split, model=model)


def gguf_types(r):
    """A GGUF with one row of every storage type: (number, elements and bytes of a block)."""
    types = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
             20: (32, 18), 23: (256, 136), 30: (1, 2), 39: (32, 17)}
    text = lambda t: struct.pack("<Q", len(t)) + t
    out, body = b"GGUF" + struct.pack("<IQQ", 3, len(types), 1) + text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"), b""
    for number, (block, size) in types.items():
        out += text(b"t%d" % number) + struct.pack("<IQQIQ", 2, 256, 1, number, len(body))
        row = r.randbytes(256 // block * size)
        body += row + bytes(-len(row) % 32)
    return out + bytes(-len(out) % 32) + body


def main():
    program = os.path.abspath(sys.argv[1])
    for kind in "model", "gguf":
        os.makedirs(f"{HERE}/seeds/{kind}", exist_ok=True)
    with open(f"{HERE}/seeds/gguf/types", "wb") as out:
        out.write(gguf_types(random.Random("types")))
    for name, options in MODELS.items():
        c = {**BASE, **options}
        files = {"config.json": json.dumps(c, indent=1).encode(), "model.safetensors": safetensors(c, random.Random(name)),
                 "tokenizer.json": json.dumps(tokenizer(), ensure_ascii=False, separators=(",", ":")).encode()}
        with open(f"{HERE}/seeds/model/{name}", "wb") as out:
            out.write(b"%%%%\n".join(files.values()))
        with tempfile.TemporaryDirectory() as above:
            folder = f"{above}/{name}"  # a GGUF says what its model is called
            os.mkdir(folder)
            for file, data in files.items():
                with open(f"{folder}/{file}", "wb") as out:
                    out.write(data)
            if "quantization" not in c:
                storage = ["--type", "q8_0" if name == "qwen3" else "f16" if name == "phi3" else "bf16"]
                subprocess.run([program, "export", "--model", folder, "--to", "gguf", *storage, "--out", f"{folder}/x.gguf", "--quiet"], check=True, stdout=subprocess.DEVNULL)
                os.replace(f"{folder}/x.gguf", f"{HERE}/seeds/gguf/{name}")
            else:
                subprocess.run([program, "logits", "--model", folder, "--ids", "1,2,3", "--out", f"{folder}/l.safetensors", "--quiet"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
