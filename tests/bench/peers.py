#!/usr/bin/env python3
"""Ours and the peers on this machine in one run, alternating; prints rows of a Markdown table: medians, spreads, ratios of tokens a second.

  peers.py PROGRAM PYTHON [ROW ...] [--rounds 5] [--steps 3] [--gguf FILE] [--torch SCRIPT] [--peft SCRIPT]

PYTHON has torch (for the rows against PEFT also transformers and peft). Rows, all where none is told:
"""
import argparse
import datetime
import json
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# row: what is trained, ours, the peer's script, its arguments
ROWS = {
    "g270m": ("Gemma 3 270M, r16 x 7", "--train-shape gemma3-270m --rank 16", "torch", "--model g270m --rank 16"),
    "g270m-peft": ("Gemma 3 270M, r16 x 7", "--train-shape gemma3-270m --rank 16", "peft", "g270m bf16 512"),
    "g1b": ("Gemma 3 1B, r16 x 7", "--train-shape gemma3-1b --rank 16", "torch", "--model g1b --rank 16"),
    "tinyllama": ("TinyLlama, r8 q+v x 16 layers", "--train-shape tinyllama --rank 8 --keys q_proj,v_proj --num-layers 16", "torch",
                  "--model tinyllama --rank 8 --qv-layers 16"),
    "smollm2": ("SmolLM2 135M, r16 x 7, ours from Q4_1", "--train-shape {gguf} --rank 16", "torch", "--model smollm2 --rank 16"),
    "smollm2-peft": ("SmolLM2 135M, r16 x 7, ours from bf16", "--train-shape smollm2-135m --rank 16", "peft", "smollm2 bf16 512"),
}
PEERS = {"torch": "PyTorch bf16", "peft": "transformers + PEFT bf16"}


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def ours(a, options):
    shape = options.format(gguf=a.gguf) if a.gguf else options.replace("{gguf}", "smollm2-135m --weights q4_1")
    return json.loads(run([a.program, "bench", *shape.split(), "--seq", "512", "--steps", str(a.steps), "--quiet", "--json"]))


def theirs(a, peer, options):
    command = [a.python, a.torch if peer == "torch" else a.peft, *options.split()]
    if peer == "torch":
        command += ["--seq", "512", "--steps", str(a.steps), "--threads", str(a.threads)]
    said = run(command)
    speed, memory = re.search(r"([\d.]+) tok/s", said), re.search(r"peak ([\d.]+) GB", said)
    version = re.search(r"pytorch (\S+)", said)
    return float(speed[1]), float(memory[1]), version[1].split("+")[0] if version else ""


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def row(a, name):
    what, our_options, peer, their_options = ROWS[name]
    mine, other, pairs = [], [], []
    for i in range(a.rounds):
        x, y = ours(a, our_options), theirs(a, peer, their_options)
        mine.append(x)
        other.append(y)
        pairs.append(x["tokens_per_second"] / y[0])
        print(f"{name}, round {i + 1}: ours {x['tokens_per_second']:.1f}, theirs {y[0]:.1f} tok/s", file=sys.stderr, flush=True)
    fast, slow = [x["tokens_per_second"] for x in mine], [y[0] for y in other]
    ratio = statistics.median(fast) / statistics.median(slow)
    last = mine[-1]
    print(f"| {datetime.date.today()} | {a.processor}, {last['threads']} threads, {last['kernel']} | {what}, 512 tokens | {PEERS[peer]} {other[-1][2]} | "
          f"{spread(fast)} | {spread(slow)} | {ratio:.2f}x ({min(pairs):.2f}..{max(pairs):.2f}) | "
          f"{statistics.median(x['share_of_peak'] for x in mine):.0%} of {statistics.median(x['peak_gflops'] for x in mine):.0f} GFLOP/s | "
          f"{last['peak_memory_bytes'] / 1e9:.2f}, {other[-1][1]:.2f} |", flush=True)


def main():
    epilog = "\n".join(f"  {name:13} {what} against {PEERS[peer]}" for name, (what, _, peer, _) in ROWS.items())
    p = argparse.ArgumentParser(description=__doc__, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("python")
    p.add_argument("rows", nargs="*", metavar="ROW")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=3, help="counted steps of each run; the first one comes on top")
    p.add_argument("--gguf", help="SmolLM2-135M in Q4_1; without it: random weights of that type")
    p.add_argument("--torch", default=str(HERE / "torch_lora.py"))
    p.add_argument("--peft", default=str(HERE / "peft_lora.py"))
    a = p.parse_args()
    for name in a.rows:
        if name not in ROWS:
            p.error(f"no row {name}: {', '.join(ROWS)}")
    machine = json.loads(run([a.program, "bench", "--quick", "--model", "nano", "--seq", "32", "--quiet", "--json"]))
    a.processor, a.threads = machine["processor"], machine["threads"]
    print("| date | processor | work | peer | ours, tok/s | theirs | ratio | ours of the peak | peak memory, GB |\n|---|---|---|---|---|---|---|---|---|")
    for name in a.rows or ROWS:
        row(a, name)


main()
