"""Rows for test_modelfile.c: Modelfiles of ours, read by the oracle (oracle.go beside this).

    make_modelfile.py ORACLE fix tests/fixtures/text/modelfile.jsonl
    make_modelfile.py ORACLE fuzz FILE SEED COUNT          # random ones; GEMMAIKU_MODELFILES=FILE test_export_modelfile
"""
import json, random, subprocess, sys
F = [
    "FROM ./model.gguf\n", "from x", "FROM x\r\nPARAMETER stop a\r\n", "# c\nFROM x\n#d\n\n\nSYSTEM hello  world  \n", "FROM", "FROM ", "SYSTEM x", "", "FROM x\nTEMPLATE \"\"\"a\nb\"\"\"\n",
    "FROM x\nTEMPLATE \"\"\"a \"\"\" b\"\"\"\nSYSTEM \"q\"\n", "FROM x\nTEMPLATE \"\"\"a\"\"\"\nb\"\"\"\n", "FROM x\nTEMPLATE \"\"\"\"\"\"\n", "FROM x\nTEMPLATE \"\"\"\n\"\"\"\n", "FROM x\nSYSTEM \"open\nstill\"\n", "FROM x\nSYSTEM \"never\n",
    "FROM x\nPARAMETER temperature 0.5\nPARAMETER stop \"<|x|>\"\nPARAMETER stop  two words \n", "FROM x\nPARAMETER\n", "FROM x\nPARAMETER top_k\n", "FROM x\nPARAMETER top-k 1\n", "FROM x\nMESSAGE user hi\nMESSAGE assistant \"\"\"a\nb\"\"\"\n", "FROM x\nMESSAGE tool hi\n",
    "FROM x\nMESSAGE user\n", "BOGUS x\n", "FROM x\nFR0M y\n", "FROM x # no comment\n", "FROM x\n  SYSTEM indented\n\tLICENSE tab\n", "FROM x\nSYSTEM a\u00a0b\u200dc\u3000d\n", "\ufeffFROM x\n", "FROM x\nLICENSE \"\"\"\nline\n\"\"\"\n", "FROM x\nSYSTEM \"\"\"\"quoted\"\"\"\"\n", "FROM x\nSYSTEM \"a\" b\n",
    "FROM x\nSYSTEM \"\"\n", "FROM x\nSYSTEM \"\n", "FROM x\nSYSTEM \"\"\"\n", "FROM x\nADAPTER ./a.gguf\nRENDERER r\nPARSER p\nREQUIRES 0.14.0\n", "From x\nfrOM y\nsystem z\nTeMpLaTe t\n", "FROM x\nSYSTEM a\tb\x07c\n", "FROM x y\n", "FROM \"x y\"\n", "FROM x\nSYSTEM", "FROM x\nPARAMETER stop", "FROM x\n#", "FROM x\n# c", "1FROM x\n", "FROM x\nSYSTEM \u00e9\U0001f600\n",
]
def emit(rows, out):
    p = subprocess.run([sys.argv[1]], input="".join(json.dumps({"Modelfile": m}) + "\n" for m in rows), capture_output=True, text=True)
    results = [json.loads(line) for line in p.stdout.splitlines()]
    assert len(results) == len(rows)
    with open(out, "w") as f:
        for m, r in zip(rows, results):
            f.write(json.dumps({"modelfile": m, **r}) + "\n")
if sys.argv[2] == "fix":
    emit([m for m in F if m], sys.argv[3])
else:
    rnd = random.Random(int(sys.argv[4]))
    words = ["FROM x\n", "SYSTEM ", "TEMPLATE ", "PARAMETER stop ", "PARAMETER ", "MESSAGE user ", "MESSAGE ", "\"\"\"", "\"", "a", " ", "\n", "\r\n", "\t", "#", "b c", "LICENSE ", "system", "_", "1", "\u00a0", "\u200d", "\u00e9", "\n\n"]
    emit(["FROM x\n" * (rnd.random() < .8) + "".join(rnd.choice(words) for _ in range(rnd.randint(1, 14))) or "a" for _ in range(int(sys.argv[5]))], sys.argv[3])
