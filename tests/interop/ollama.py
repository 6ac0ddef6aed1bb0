"""A folder for Ollama against llama.cpp, which Ollama runs: the prompt of the Modelfile's TEMPLATE (the interpreter that runs it is held against Ollama's own by
tests/tools/ollama), tokenised by llama.cpp from the GGUF with its own rules for BOS and special tokens, has to be the ids that gemmaiku was trained on.

    ollama.py PROGRAM FIXTURES
"""
import json, os, subprocess, sys, tempfile

from llama_cpp import Llama

program, fixtures = sys.argv[1:3]
CONVERSATIONS = [[("user", "Write a haiku about rain.")], [("user", "a"), ("assistant", "b c"), ("user", "two\nlines  and  spaces")],
                 [("system", "Be brief."), ("user", "\u02bbO ke kai"), ("assistant", "x"), ("user", "7,5")]]
bad = 0
for model in sorted(os.listdir(os.path.join(fixtures, "models"))):
    path = os.path.join(fixtures, "models", model)
    with tempfile.TemporaryDirectory() as work:
        out, chat = os.path.join(work, "out"), os.path.join(work, "chat.json")
        made = subprocess.run([program, "export", "--model", path, "--to", "ollama", "--type", "f16", "--out", out, "--quiet"], capture_output=True, text=True)
        if made.returncode:
            print(f"{model:14} no export: {made.stderr.strip()[:160]}")
            continue
        llama, equal = Llama(os.path.join(out, "model.gguf"), vocab_only=True, verbose=False), 0
        for conversation in CONVERSATIONS:
            with open(chat, "w") as f:
                json.dump({"messages": [{"role": r, "content": c} for r, c in conversation]}, f)
            asked = subprocess.run([program, "tokenize", "--model", path, "--chat", chat, "--modelfile", os.path.join(out, "Modelfile"), "--json", "--quiet"], capture_output=True, text=True)
            if asked.returncode:
                continue  # the template refuses it
            row = json.loads(asked.stdout)
            theirs = llama.tokenize(row["modelfile"]["text"].encode(), add_bos=True, special=True)
            if theirs == row["chat"]["ids"] and row["equal"]:
                equal += 1
            else:
                bad += 1
                print(f"{model:14} {len(conversation)} messages: trained {row['chat']['ids']}, llama.cpp {theirs}")
        print(f"{model:14} {equal} prompts: the ids of the training")
sys.exit(1 if bad else 0)
