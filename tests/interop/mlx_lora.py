"""The same command line to `gemmaiku lora` and to `mlx_lm lora`: the same adapter.

Both start from one adapter, in f32, on rows that are all cut to one length (mlx-lm puts a target of padding behind shorter ones, and forms its
batches in an order of its own; rows of one text are in any order the same). Compared are the weights at the end.

    mlx_lora.py PROGRAM FIXTURES
"""
import json, os, subprocess, sys, tempfile

import numpy as np
from safetensors.numpy import load_file

ROW = "an old silent pond, a frog jumps into the pond, splash, silence again; rain falls on the roof and the cat listens to it"
PLAIN = ["--iters", "6", "--batch-size", "4", "--learning-rate", "1e-3", "--num-layers", "-1"]
FILE = """
batch_size: 2
grad_accumulation_steps: 2
iters: 13
num_layers: 1
optimizer: adamw
optimizer_config:
  adamw: {weight_decay: 0.1, betas: [0.8, 0.95], eps: 1e-6, bias_correction: true}
lora_parameters: {keys: ["self_attn.q_proj", "mlp.down_proj"], rank: 4, scale: 7.5, dropout: 0.0}
lr_schedule: {name: cosine_decay, warmup: 2, warmup_init: 1e-5, arguments: [5e-3, 4, 1e-4]}
"""
SCHEDULE = "lr_schedule: {name: %s, arguments: [5e-4, %s]}\nnum_layers: 2\nbatch_size: 4\niters: 6\n"
CASES = [("defaults", None, PLAIN), ("AdamW of its own defaults", None, PLAIN + ["--optimizer", "adamw"]), ("SGD", None, PLAIN + ["--optimizer", "sgd"]),
         ("DoRA", None, PLAIN + ["--fine-tune-type", "dora"]), ("file: schedule, accumulation, betas", FILE, []),
         ("file, Adam by a flag", FILE, ["--optimizer", "adam"]), ("linear schedule", SCHEDULE % ("linear_schedule", "0.0, 4"), []),
         ("exponential schedule", SCHEDULE % ("exponential_decay", "0.7"), []), ("step schedule", SCHEDULE % ("step_decay", "0.5, 2"), [])]
WORST = 1e-3  # rounding, which Adam's first steps make larger where a gradient is next to nothing; another rate or decay would be a part in ten


def main():
    program, fixtures = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        env = dict(os.environ, GEMMAIKU_RUNS=os.path.join(work, "runs"))

        def call(*words):
            p = subprocess.run(words, capture_output=True, text=True, env=env)
            if p.returncode:
                sys.exit(f"{' '.join(words)}: {(p.stderr or p.stdout)[-500:]}")
            return p.stdout + p.stderr

        call(program, "export", "--model", os.path.join(fixtures, "models", "smollm2"), "--to", "safetensors", "--type", "f32", "--out", "base", "--quiet")
        os.mkdir("rows")
        for split in "train", "valid", "test":
            with open(f"rows/{split}.jsonl", "w") as f:
                f.writelines(json.dumps({"text": ROW}) + "\n" for _ in range(4))
        common = ["--model", "base", "--data", "rows", "--train", "--max-seq-length", "32", "--steps-per-report", "1", "--steps-per-eval", "100"]
        for i, (name, text, words) in enumerate(CASES):
            line = list(words)
            if text:
                with open(f"case{i}.yaml", "w") as f:
                    f.write(text)
                line = ["-c", f"case{i}.yaml"] + line
            ours = [program, "lora", *line, *common, "--compute", "f32", "--quiet"]
            call(*ours, "--iters", "2", "--adapter-path", f"start{i}")
            resume = ["--resume-adapter-file", f"start{i}/adapters.safetensors"]
            call(*ours, *resume, "--adapter-path", f"ours{i}", "--run", f"case{i}")
            call(sys.executable, "-m", "mlx_lm", "lora", *line, *common, *resume, "--adapter-path", f"theirs{i}")
            a, b, start = (load_file(f"{d}{i}/adapters.safetensors") for d in ("ours", "theirs", "start"))
            same = set(a) == set(b)
            distance = lambda x, y: sum(float(((x[k] - y[k]) ** 2).sum()) for k in y) ** 0.5
            apart = distance(a, b) / distance(b, start) if same else float("inf")
            good = apart <= WORST
            failures += not good
            print(f"lora against mlx_lm lora, {name}: apart by {apart:.2g} of the way that was gone: {'equal' if good else 'NOT EQUAL'}", flush=True)
    sys.exit(failures > 0)


main()
