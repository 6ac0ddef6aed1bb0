"""Our exports, opened by the programs they are meant for, and compared with what gemmaiku itself computes.

For every model: a few steps of training make an adapter; it is exported in every layout; each export is loaded by its program, which continues
one prompt greedily; gemmaiku's logits of those tokens (base + adapter, f32) must have the same best token at each place. The largest difference of a
logit is recorded. Programs that quantise activations or keep a cache in half precision differ a little: for them greedy tokens may part where the
two best logits lie closer than the difference (it is said so).

    interop.py PROGRAM FIXTURES [--work DIR] [--models llama,nano] [--only peft,gguf] [--json FILE] [--markdown FILE]
"""
import argparse, ctypes, gc, json, os, shutil, subprocess, sys, tempfile, warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
warnings.simplefilter("ignore")
import numpy as np

PROMPT, MORE = 9, 20
TRAIN = ["--iters", "8", "--batch-size", "2", "--learning-rate", "5e-3", "--sample-every", "0", "--rank", "4", "--compute", "f32", "--quiet", "--no-shuffle"]
ROWS = [("rain", "soft rain on the roof\nthe cat listens to the drops\nand sleeps until noon"), ("snow", "snow on the old road\nmy steps are the only words\nthe wind reads them twice"),
        ("tea", "steam from the tea cup\ndraws a small cloud on the glass\nand then it is gone"), ("moon", "moon above the barn\na dog barks at its own bark\nand the night says no")]


class Ours:
    def __init__(self, program, work, model):
        self.program, self.work, self.model = program, work, model
        self.env = dict(os.environ, GEMMAIKU_RUNS=os.path.join(work, "runs"))

    def run(self, *args):
        p = subprocess.run([self.program, *args], capture_output=True, text=True, env=self.env)
        if p.returncode:
            raise RuntimeError(f"gemmaiku {' '.join(args)}: {p.stderr.strip()[-300:]}")
        return p.stdout

    def logits(self, ids, adapter=None):
        from safetensors.numpy import load_file
        out = os.path.join(self.work, "ours.safetensors")
        self.run("logits", "--model", self.model, "--ids", ",".join(map(str, ids)), "--out", out, "--compute", "f32", *(["--adapter", adapter] if adapter else []))
        return load_file(out)["logits"]


def config_of(path):
    return json.load(open(os.path.join(path, "config.json")))


# ---- the programs: each gives a function ids -> logits [T, V] ----

def transformers_model(path):
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging
    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def transformers_logits(model):
    import torch
    with torch.no_grad():
        return lambda ids: model(torch.tensor([ids])).logits[0].detach().float().numpy()


def by_transformers(base, export):
    return transformers_logits(transformers_model(export))


def by_peft(base, export):
    from peft import PeftModel
    return transformers_logits(PeftModel.from_pretrained(transformers_model(base), export).eval())


def by_mlx(base, export, adapter=False):
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm import load
    mx.set_default_device(mx.cpu)
    text = config_of(base if adapter else export).get("text_config", {})
    extra = {"vocab_size": text["vocab_size"]} if "vocab_size" in text else {}  # of a multimodal model mlx-lm looks for it at the top level
    model, _ = load(base, adapter_path=export, model_config=extra) if adapter else load(export, model_config=extra)
    model.update(tree_map(lambda a: a.astype(mx.float32) if mx.issubdtype(a.dtype, mx.floating) else a, model.parameters()))
    return lambda ids: np.array(model(mx.array([ids]))[0].astype(mx.float32))


def by_mlx_adapter(base, export):
    return by_mlx(base, export, adapter=True)


def by_llama_cpp(base, export, lora=None):
    import llama_cpp as l
    if not getattr(by_llama_cpp, "quiet", None):
        by_llama_cpp.quiet = l.llama_log_callback(lambda level, text, data: None)
        l.llama_log_set(by_llama_cpp.quiet, ctypes.c_void_p(0))
        l.llama_backend_init()
    params = l.llama_model_default_params()
    params.use_extra_bufts, params.n_gpu_layers = False, 0
    model = l.llama_model_load_from_file(export.encode(), params)
    if not model:
        raise RuntimeError("llama.cpp does not load it")
    c = l.llama_context_default_params()
    c.n_ctx, c.n_batch, c.n_threads, c.n_threads_batch = 256, 256, 2, 2
    context = l.llama_init_from_model(model, c)
    if lora:
        adapter = l.llama_adapter_lora_init(model, lora.encode())
        if not adapter:
            raise RuntimeError("llama.cpp does not load the adapter")
        set_lora(l, context, adapter)
    vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))

    def logits(ids):
        l.llama_memory_clear(l.llama_get_memory(context), True)
        batch = l.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, t in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = t, i, 1, 0, 1
        if l.llama_decode(context, batch):
            raise RuntimeError("llama.cpp does not decode")
        out = np.stack([np.ctypeslib.as_array(l.llama_get_logits_ith(context, i), (vocab,)).copy() for i in range(len(ids))])
        l.llama_batch_free(batch)
        return out
    return logits


def set_lora(l, context, adapter):
    if hasattr(l, "llama_set_adapter_lora"):
        l.llama_set_adapter_lora(context, adapter, ctypes.c_float(1.0))
    else:
        one = (ctypes.c_float * 1)(1.0)
        many = (ctypes.c_void_p * 1)(adapter)
        l.llama_set_adapters_lora(context, many, 1, one)


def by_llama_cpp_lora(base, export):
    return by_llama_cpp(base, base, lora=export)


# name: (export arguments, file or folder, who opens it, largest difference of a logit that rounding explains; None: recorded only)
EXPORTS = {
    "peft": (["--to", "peft"], "", by_peft, 2e-3),
    "mlx": (["--to", "mlx"], "", by_mlx_adapter, 2e-3),
    "safetensors f32": (["--to", "safetensors", "--type", "f32"], "", by_transformers, 2e-3),
    "safetensors bf16": (["--to", "safetensors", "--type", "bf16"], "", by_transformers, None),
    "safetensors f32, mlx-lm": (["--to", "safetensors", "--type", "f32"], "", by_mlx, 2e-3),
    "mlx 8-bit": (["--to", "safetensors", "--type", "mlx8"], "", by_mlx, None),
    "mlx 4-bit": (["--to", "safetensors", "--type", "mlx4"], "", by_mlx, None),
    "gguf f32": (["--to", "gguf", "--type", "f32"], ".gguf", by_llama_cpp, 0.2),
    "gguf f16": (["--to", "gguf", "--type", "f16"], ".gguf", by_llama_cpp, None),
    "gguf bf16": (["--to", "gguf", "--type", "bf16"], ".gguf", by_llama_cpp, None),
    "gguf q8_0": (["--to", "gguf", "--type", "q8_0"], ".gguf", by_llama_cpp, None),
    "gguf q4_k_m": (["--to", "gguf", "--type", "q4_k_m"], ".gguf", by_llama_cpp, None),
    "gguf-lora": (["--to", "gguf-lora"], ".gguf", by_llama_cpp_lora, 0.2),
    "ollama's gguf": (["--to", "ollama", "--type", "f16"], "/model.gguf", by_llama_cpp, None),
}


def greedy(logits, prompt):
    ids = list(prompt)
    for _ in range(MORE):
        ids.append(int(np.argmax(logits(ids)[-1])))
    return ids


def compare(theirs, ours, ids):
    """Largest difference, and at how many places the best token is another one though its lead is larger than twice that difference."""
    v = min(theirs.shape[1], ours.shape[1])  # vocabularies padded to the rows
    d = float(np.abs(theirs[:, :v] - ours[:, :v]).max())
    same = parted = 0
    for t in range(PROMPT - 1, len(ids) - 1):
        a, b = int(ours[t, :v].argmax()), int(theirs[t, :v].argmax())
        same += a == b
        parted += a != b and ours[t, a] - ours[t, b] > 2 * d
    return d, same, parted


def no_reference(opener, config):
    """What the program is known to compute otherwise than the model's own code, whatever the file says. None: nothing."""
    text = config.get("text_config", config)
    if "mlx" in opener.__name__ and config.get("model_type") == "gemma3" and "vocab_size" not in text:
        return "mlx-lm puts the published vocabulary, 262208, where the configuration tells none"
    if "llama_cpp" in opener.__name__ and config.get("model_type") == "gemma2" and text.get("query_pre_attn_scalar", 256) != text.get("head_dim", 256):
        return "llama.cpp scales Gemma 2's attention by the head dimension"
    return None


def check(name, base, gguf_base, ours, adapter, work):
    args, ending, opener, limit = EXPORTS[name]
    why = no_reference(opener, config_of(base))
    if why:
        return {"ok": True, "left_out": why}
    if "mlx" in opener.__name__ and "gemma" in str(config_of(base).get("model_type")):
        limit = None  # mlx-lm rounds the embedding's scale, sqrt(d), to bf16 in any mode
    out = os.path.join(work, "x-" + name.replace(" ", "-").replace(",", "").replace("'", ""))
    target = out + ".gguf" if ending == ".gguf" else out
    ours.run("export", "--model", ours.model, "--adapter", adapter, "--out", target, "--force", "--quiet", *args)
    opened = target if ending in ("", ".gguf") else out + ending
    logits = opener(gguf_base if "lora" in name else base, opened)
    rng = np.random.default_rng(1)
    vocab = ours.logits([1]).shape[1]
    prompt = [int(x) for x in rng.integers(3, min(vocab, 300), PROMPT)]
    ids = greedy(logits, prompt)
    d, same, parted = compare(logits(ids), ours.logits(ids, adapter), ids)
    ok = parted == 0 and (limit is None or d <= limit) and (limit is None or same == MORE or d > 0 and same + 1 >= MORE)
    return {"max_logit_difference": d, "same_greedy": same, "of": MORE, "limit": limit, "ok": bool(ok)}


def base_folder(ours, name, fixtures, work):
    """The base as a folder that transformers and mlx-lm open, and as a GGUF for llama.cpp."""
    folder = os.path.join(fixtures, "models", name)
    if not os.path.isdir(folder):  # built in, or a GGUF: as we write it
        folder = os.path.join(work, "base")
        ours.run("export", "--model", ours.model, "--to", "safetensors", "--type", "f32", "--out", folder, "--force", "--quiet")
    gguf = os.path.join(work, "base.gguf")
    try:
        ours.run("export", "--model", ours.model, "--to", "gguf", "--type", "f32", "--out", gguf, "--force", "--quiet")
    except RuntimeError as e:
        print(f"  {name}: no GGUF of the base: {e}")
    return folder, gguf


def train(ours, work, dora):
    rows = os.path.join(work, "rows.jsonl")
    with open(rows, "w") as f:
        for q, a in ROWS * 3:
            f.write(json.dumps({"prompt": q, "completion": a}) + "\n")
    run = "dora" if dora else "lora"
    ours.run("train", "--model", ours.model, "--data", rows, "--run", run, *TRAIN, *(["--fine-tune-type", "dora"] if dora else []))
    return run + ":last"


def write_table(f, results):
    """A row a model and adapter, a column an export: largest difference of a logit, and greedy tokens that are the same where not all are."""
    rows = sorted({tuple(k.split(" ", 2)[:2]) for k in results})
    f.write("| model | adapter | " + " | ".join(EXPORTS) + " |\n" + "|---" * (len(EXPORTS) + 2) + "|\n")
    for model, kind in rows:
        cells = []
        for export in EXPORTS:
            r = results.get(f"{model} {kind} {export}")
            if r is None or "left_out" in r:
                cells.append("-")
            elif "error" in r:
                cells.append("FAILS")
            else:
                cells.append(f"{r['max_logit_difference']:.0e}" + ("" if r["same_greedy"] == r["of"] else f", {r['same_greedy']}/{r['of']}"))
        f.write(f"| {model} | {kind} | " + " | ".join(cells) + " |\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("fixtures")
    p.add_argument("--work")
    p.add_argument("--models", help="fixtures, nano, or files", default="gemma3_text,gemma3_mm,gemma2,llama,llama3_rope,smollm2,phi3,qwen2,qwen3,nano")
    p.add_argument("--only", help="exports whose name begins with one of these, separated by commas")
    p.add_argument("--json")
    p.add_argument("--markdown")
    a = p.parse_args()
    work = a.work or tempfile.mkdtemp(prefix="interop-")
    results, bad = {}, 0
    for name in a.models.split(","):
        here = os.path.join(work, os.path.basename(name))
        name, path = os.path.basename(name), name
        shutil.rmtree(here, ignore_errors=True)
        os.makedirs(here)
        fixture = os.path.join(a.fixtures, "models", name)
        ours = Ours(os.path.abspath(a.program), here, fixture if os.path.isdir(fixture) else path)
        base, gguf = base_folder(ours, name, a.fixtures, here)
        for kind in ("lora", "dora"):
            try:
                adapter = train(ours, here, kind == "dora")
            except RuntimeError as e:
                print(f"{name:12} {kind}: {e}")
                bad += 1
                continue
            for export in EXPORTS:
                if a.only and not any(export.startswith(x) for x in a.only.split(",")):
                    continue
                if kind == "dora" and export == "gguf-lora":
                    continue  # cannot be expressed
                try:
                    r = check(export, base, gguf, ours, adapter, here)
                    if "left_out" in r:
                        print(f"{name:12} {kind} {export:24} left out: {r['left_out']}", flush=True)
                        continue
                    print(f"{name:12} {kind} {export:24} max |d logit| {r['max_logit_difference']:.2e}, greedy {r['same_greedy']}/{r['of']}  {'ok' if r['ok'] else 'DIFFERS'}", flush=True)
                except Exception as e:  # what a library throws is the result
                    r = {"ok": False, "error": f"{type(e).__name__}: {e}"}
                    print(f"{name:12} {kind} {export:24} FAILS: {str(e)[:300]}", flush=True)
                bad += not r["ok"]
                results[f"{name} {kind} {export}"] = r
                gc.collect()
    if a.json:
        json.dump(results, open(a.json, "w"), indent=1)
    if a.markdown:
        with open(a.markdown, "w") as f:
            write_table(f, results)
    print(f"{len(results)} checks, {bad} bad")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
