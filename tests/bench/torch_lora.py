#!/usr/bin/env python3
"""A LoRA training step written by hand in PyTorch: what somebody who knows the library gets from it on a CPU.

  torch_lora.py --model g270m|g1b|tinyllama|smollm2 [--seq 512] [--rank 16] [--qv-layers N] [--steps 5] [--threads 2]

Weights in bf16, random, in the true shape of the model; adapters on all seven projections (or on q and v of the last N layers); Adam; the
vocabulary is projected at the last third of the positions only. The first step is not counted. The last line: tokens a second of the median step.
"""
import argparse
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

# layers, width, feed-forward width, heads, key heads, head width, vocabulary, norms around and inside each part (Gemma)
SHAPES = {
    "g270m": (18, 640, 2048, 4, 1, 256, 262144, True),
    "g1b": (26, 1152, 6912, 4, 1, 256, 262144, True),
    "tinyllama": (22, 2048, 5632, 32, 4, 64, 32000, False),
    "smollm2": (30, 576, 1536, 9, 3, 64, 49152, False),
}
BF16 = torch.bfloat16


def frozen(*shape):
    return nn.Parameter(torch.randn(*shape, dtype=torch.float32).mul_(0.02).to(BF16), requires_grad=False)


class Linear(nn.Module):
    def __init__(self, n_in, n_out, rank):
        super().__init__()
        self.weight = frozen(n_out, n_in)
        if rank:
            self.a = nn.Parameter(torch.randn(rank, n_in).mul_(n_in**-0.5).to(BF16))
            self.b = nn.Parameter(torch.zeros(n_out, rank, dtype=BF16))
        self.rank = rank

    def forward(self, x):
        y = F.linear(x, self.weight)
        return y.add(F.linear(F.linear(x, self.a), self.b), alpha=2.0) if self.rank else y


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=BF16), requires_grad=False)

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class Layer(nn.Module):
    def __init__(self, shape, rank, keys):
        super().__init__()
        _, d, ff, self.heads, self.key_heads, self.head, _, self.gemma = shape
        sizes = {"q": (d, self.heads * self.head), "k": (d, self.key_heads * self.head), "v": (d, self.key_heads * self.head),
                 "o": (self.heads * self.head, d), "gate": (d, ff), "up": (d, ff), "down": (ff, d)}
        self.p = nn.ModuleDict({name: Linear(*size, rank if name in keys else 0) for name, size in sizes.items()})
        self.norms = nn.ModuleList(Norm(d) for _ in range(4 if self.gemma else 2))
        self.norm_q, self.norm_k = Norm(self.head), Norm(self.head)

    def turned(self, x, n_heads, norm, cos, sin):
        x = x.unflatten(-1, (n_heads, self.head)).transpose(1, 2)
        if self.gemma:
            x = norm(x)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    def forward(self, x, cos, sin):
        h = self.norms[0](x)
        q = self.turned(self.p["q"](h), self.heads, self.norm_q, cos, sin)
        k = self.turned(self.p["k"](h), self.key_heads, self.norm_k, cos, sin)
        v = self.p["v"](h).unflatten(-1, (self.key_heads, self.head)).transpose(1, 2)
        o = self.p["o"](F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(-2))
        x = x + (self.norms[2](o) if self.gemma else o)
        h = self.norms[1](x)
        gate = self.p["gate"](h)
        gate = F.gelu(gate, approximate="tanh") if self.gemma else F.silu(gate)
        y = self.p["down"](gate * self.p["up"](h))
        return x + (self.norms[3](y) if self.gemma else y)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True, choices=SHAPES)
    p.add_argument("--seq", type=int, default=512)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--qv-layers", type=int, default=0)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    shape = SHAPES[a.model]
    n_layers, d, _, _, _, head, vocabulary, _ = shape
    everything = {"q", "k", "v", "o", "gate", "up", "down"}
    layers = [Layer(shape, a.rank, everything if not a.qv_layers else {"q", "v"} if i >= n_layers - a.qv_layers else set()) for i in range(n_layers)]
    embedding = frozen(vocabulary, d)
    output = frozen(vocabulary, d) if a.model == "tinyllama" else embedding
    last_norm = Norm(d)
    adam = torch.optim.Adam([w for layer in layers for w in layer.parameters() if w.requires_grad], lr=1e-4)
    angle = torch.arange(a.seq)[:, None] * 1e4 ** (-torch.arange(0, head, 2) / head)
    cos, sin = angle.cos().to(BF16), angle.sin().to(BF16)
    supervised = a.seq // 3
    seconds = []
    for _ in range(a.steps + 1):
        ids = torch.randint(0, vocabulary, (1, a.seq + 1))
        began = time.perf_counter()
        x = F.embedding(ids[:, :-1], embedding)
        for layer in layers:
            x = layer(x, cos, sin)
        logits = F.linear(last_norm(x[:, -supervised:]), output)
        adam.zero_grad()
        F.cross_entropy(logits.float().flatten(0, 1), ids[0, -supervised:]).backward()
        adam.step()
        seconds.append(time.perf_counter() - began)
    seconds = sorted(seconds[1:])
    middle = seconds[len(seconds) // 2]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"pytorch {torch.__version__} bf16 {a.model}: step {middle:.3f} s ({seconds[0]:.3f} .. {seconds[-1]:.3f}), {a.seq / middle:.1f} tok/s, peak {peak:.2f} GB")


main()
