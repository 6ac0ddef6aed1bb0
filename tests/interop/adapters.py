"""Adapters of every kind against the libraries that have them: ours opened by PEFT and mlx-lm, theirs opened by us, and DoRA trained by both.

    adapters.py PROGRAM FIXTURES [--models llama,phi3] [--kinds dora,rslora]
"""
import argparse, json, os, sys, tempfile

from interop import Ours, by_mlx, by_mlx_adapter, by_peft, transformers_model
import numpy as np

LIMIT = 2e-3  # of a logit, everything in f32
KINDS = {
    "lora": [],
    "rslora": ["--rslora"],
    "dora": ["--fine-tune-type", "dora"],
    "dora last layer": ["--fine-tune-type", "dora", "--num-layers", "1"],
    "dora rslora": ["--fine-tune-type", "dora", "--rslora"],
}
MODELS = ["llama", "llama_bias", "gemma3_text", "gemma3_mm", "gemma2", "phi3", "qwen2", "qwen3", "smollm2"]
IDS = [1, 17, 40, 99, 120, 33, 250, 61, 8, 140, 77, 5]


def rows_of(path):
    with open(path, "w") as f:
        for k in range(4):
            ids = [1] + [(7 * i * i + 31 * k + 3 * i) % 300 + 3 for i in range(11 + 3 * k)]
            f.write(json.dumps({"input_ids": ids, "labels": [-100] * 4 + ids[4:]}) + "\n")


def train(ours, work, name, *more):
    data = os.path.join(work, "data")
    os.makedirs(data, exist_ok=True)
    rows_of(os.path.join(data, "train.jsonl"))
    rows_of(os.path.join(data, "valid.jsonl"))
    ours.run("train", "--model", ours.model, "--data", data, "--run", name, "--sample-every", "0", "--steps-per-eval", "1000", "--compute", "f32",
             "--no-shuffle", "--batch-size", "4", "--quiet", *more)


def difference(theirs, ours):
    v = min(theirs.shape[1], ours.shape[1])
    return float(np.abs(theirs[:, :v] - ours[:, :v]).max())


def runs_the_base(folder):
    try:
        by_mlx(folder, folder)(IDS)
        return True
    except Exception:
        return False  # mlx-lm's Gemma 3 wants at least as many layers as its pattern is long


def ours_by_them(ours, work, folder, kind, model):
    run = "ours-" + kind.replace(" ", "").replace(",", "-")
    train(ours, work, run, "--iters", "5", "--learning-rate", "2e-2", "--rank", "3", *KINDS[kind])
    mine, base, out = ours.logits(IDS, run + ":last"), ours.logits(IDS), {}
    for to, opener in (("peft", by_peft), ("mlx", by_mlx_adapter)):
        where = os.path.join(work, f"{run}-{to}")
        ours.run("export", run + ":last", "--to", to, "--out", where, "--quiet")
        limit = LIMIT
        if to == "mlx" and not runs_the_base(folder):
            print(f"      {model}: mlx-lm does not run the base itself", flush=True)
            continue
        if to == "mlx" and model.startswith("gemma"):
            limit = 0.2  # mlx-lm rounds the embedding's scale to bf16
        out[to] = (difference(opener(folder, where)(IDS), mine), limit)
    out["moved"] = (float(np.abs(mine - base).max()), None)
    return out


def theirs_by_us(ours, work, folder):
    """What PEFT saves: DoRA, and ranks and alphas of their own."""
    import torch
    from peft import LoraConfig, get_peft_model
    out = {}
    for name, more in (("dora", {"use_dora": True}), ("patterns", {"rank_pattern": {"q_proj": 5}, "alpha_pattern": {"layers.1.self_attn.v_proj": 11, "up_proj": 2}}),
                       ("rslora patterns", {"use_rslora": True, "rank_pattern": {"v_proj": 2}})):
        torch.manual_seed(5)
        m = get_peft_model(transformers_model(folder), LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM", **more))
        for n, p in m.named_parameters():
            if "lora_B" in n:
                p.data.normal_(0, 0.1)
            if "magnitude" in n:
                p.data.mul_(1 + 0.1 * torch.randn_like(p))
        where = os.path.join(work, "peft-" + name.replace(" ", "-"))
        m.save_pretrained(where)
        with torch.no_grad():
            theirs = m.eval()(torch.tensor([IDS])).logits[0].numpy()
        out[name] = (difference(theirs, ours.logits(IDS, where)), LIMIT)
    return out


def both_train(ours, work, folder):
    """Five updates of AdamW on DoRA, by torch with PEFT and by us, from one start; the weights afterwards."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.numpy import load_file
    torch.manual_seed(6)
    m = get_peft_model(transformers_model(folder), LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "o_proj", "down_proj"], task_type="CAUSAL_LM", use_dora=True))
    for n, p in m.named_parameters():
        if "lora_B" in n:
            p.data.normal_(0, 0.1)
    start = os.path.join(work, "start")
    m.save_pretrained(start)
    train(ours, work, "both", "--iters", "5", "--learning-rate", "1e-2", "--lr-schedule", "constant", "--warmup", "0", "--rank", "3", "--alpha", "6", "--weight-decay", "0.01",
          "--keys", "q_proj,o_proj,down_proj", "--fine-tune-type", "dora", "--resume-adapter-file", start)
    params = [p for p in m.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=1e-2, weight_decay=0.01)
    rows = [json.loads(x) for x in open(os.path.join(work, "data", "train.jsonl"))]
    m.train()
    for _ in range(5):
        nll = n = 0
        for r in rows:
            logits, labels = m(torch.tensor([r["input_ids"]])).logits[0, :-1], torch.tensor(r["labels"][1:])
            nll = nll + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
            n += int((labels != -100).sum())
        opt.zero_grad()
        (nll / n).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
    have = load_file(os.path.join(work, "runs", "both", "checkpoints", "0000005", "adapters.safetensors"))
    worst = 0.0
    for name, p in m.named_parameters():
        if not p.requires_grad:
            continue
        key = name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight")
        key = key.replace("lora_magnitude_vector", "m").replace("lora_A", "lora_a").replace("lora_B", "lora_b")
        x = have[key]
        worst = max(worst, float(np.abs((x.T if x.ndim == 2 else x) - p.detach().numpy()).max()))
    return {"weights": (worst, 1e-4)}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("fixtures")
    a.add_argument("--models", default=",".join(MODELS))
    a.add_argument("--kinds", default="")
    a = a.parse_args()
    kinds = [k for k in KINDS if not a.kinds or k in a.kinds.split(",")]
    bad = 0

    def tell(what, results):
        nonlocal bad
        for part, (d, limit) in results.items():
            wrong = limit is not None and not d <= limit
            bad += wrong
            print(f"{'FAIL' if wrong else 'ok  '}  {what}: {part}  {d:.3g}" + (f"  (at most {limit:g})" if limit is not None else ""), flush=True)

    for model in a.models.split(","):
        folder = os.path.abspath(os.path.join(a.fixtures, "models", model))
        with tempfile.TemporaryDirectory() as work:
            ours = Ours(a.program, work, folder)
            for kind in kinds:
                try:
                    tell(f"{model}, {kind}", ours_by_them(ours, work, folder, kind, model))
                except Exception as e:
                    bad += 1
                    print(f"FAIL  {model}, {kind}: {type(e).__name__}: {str(e)[:300]}", flush=True)
            if model in ("llama", "smollm2", "llama_bias"):
                tell(f"{model}, saved by PEFT", theirs_by_us(ours, work, folder))
                tell(f"{model}, DoRA trained by both", both_train(ours, work, folder))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
