"""A GGUF with random weights in a model's real shape, for measuring other programs: decode_gguf.py SHAPE TYPE FILE
SHAPE: gemma3-270m, gemma3-1b, smollm2-135m; TYPE: bf16, q8_0, q4_1. Needs the packages gguf and numpy. The vocabulary is made up: only ids are used."""
import sys

import gguf
import numpy as np

SHAPES = {  # arch, vocabulary, width, hidden, layers, heads, key heads, head size
    "gemma3-270m": ("gemma3", 262144, 640, 2048, 18, 4, 1, 256),
    "gemma3-1b": ("gemma3", 262144, 1152, 6912, 26, 4, 1, 256),
    "smollm2-135m": ("llama", 49152, 576, 1536, 30, 9, 3, 64),
}
TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_1": gguf.GGMLQuantizationType.Q4_1}


def main(shape, type_name, path):
    arch, vocab, width, hidden, layers, heads, kv_heads, head = SHAPES[shape]
    gemma, kind = arch == "gemma3", TYPES[type_name]
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(32768)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(hidden)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6)
    w.add_vocab_size(vocab)
    if gemma:
        w.add_sliding_window(512)
    else:
        w.add_rope_dimension_count(head)
    special = [b"<pad>", b"<eos>", b"<bos>", b"<unk>"]
    bytes_ = [b"<0x%02X>" % i for i in range(256)]
    words = [b"\xe2\x96\x81t%d" % i for i in range(vocab - len(special) - 256)]
    w.add_tokenizer_model("llama")
    w.add_token_list(special + bytes_ + words)
    w.add_token_scores([-float(i) for i in range(vocab)])
    w.add_token_types([3, 3, 3, 2] + [6] * 256 + [1] * len(words))
    w.add_bos_token_id(2)
    w.add_eos_token_id(1)
    w.add_unk_token_id(3)
    rng = np.random.default_rng(1)
    block = rng.standard_normal(1 << 22, dtype=np.float32) * 0.02

    def matrix(name, rows, cols):
        data = np.resize(block, (rows, cols))
        w.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)

    def norm(name, n):
        w.add_tensor(name, np.ones(n, dtype=np.float32))

    matrix("token_embd.weight", vocab, width)
    norm("output_norm.weight", width)
    for i in range(layers):
        b = f"blk.{i}."
        matrix(b + "attn_q.weight", heads * head, width)
        matrix(b + "attn_k.weight", kv_heads * head, width)
        matrix(b + "attn_v.weight", kv_heads * head, width)
        matrix(b + "attn_output.weight", width, heads * head)
        matrix(b + "ffn_gate.weight", hidden, width)
        matrix(b + "ffn_up.weight", hidden, width)
        matrix(b + "ffn_down.weight", width, hidden)
        norm(b + "attn_norm.weight", width)
        norm(b + "ffn_norm.weight", width)
        if gemma:
            norm(b + "attn_q_norm.weight", head)
            norm(b + "attn_k_norm.weight", head)
            norm(b + "post_attention_norm.weight", width)
            norm(b + "post_ffw_norm.weight", width)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
