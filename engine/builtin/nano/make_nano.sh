#!/bin/sh
# Makes the built-in model: vocabulary, training from random weights, bf16 weights. One command:
#     engine/builtin/nano/make_nano.sh VERSE.txt.xz FOLDER [TRAIN OPTIONS]
# VERSE: public-domain verse, a line a line, an empty line between poems. Every 50th line (number mod 50 = 0) is held out and never trained on.
# FOLDER gets: model/ (tokenizer, config), data/ (rows), runs/nano (the run with its journal), out/ (the fused bf16 model). The committed nano
# files are out/*, and runs/nano/{run.json,journal.jsonl}.
set -eu
verse=$1 folder=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
gemmaiku=${GEMMAIKU:-$here/../../../build/gemmaiku}
marks=${NANO_MARKS:-$here/../../../build-test/tests/tools/nano_marks}   # ./bootstrap test builds it
mkdir -p "$folder/model" "$folder/data"

# Rows of at most 900 bytes of whole lines: about 256 tokens.
rows() { # 0: held-out lines, 1: the others
    xz -dc "$verse" | awk -v keep="$1" '
        function flush() { if (row != "") print "{\"text\": \"" row "\"}"; row = ""; size = 0 }
        keep == (NR % 50 != 0) {
            line = $0
            bytes = length(line) + 1
            gsub(/\\/, "", line); gsub(/"/, "\\\"", line); gsub(/\t/, " ", line); gsub(/[\001-\037]/, "", line)
            if (size + bytes > 900) flush()
            row = row line "\\n"
            size += bytes
        }
        END { flush() }'
}
export LC_ALL=C
if [ ! -s "$folder/data/valid.jsonl" ]; then
    rows 1 >"$folder/data/train.jsonl"
    rows 0 >"$folder/data/valid.jsonl"
fi
if [ ! -s "$folder/model/tokenizer.json" ]; then
    xz -dc "$verse" | awk 'NR % 50 != 0' >"$folder/data/verse.txt"
    "$gemmaiku" vocab --text "$folder/data/verse.txt" --size 4096 --out "$folder/model"
    rm "$folder/data/verse.txt"
fi
cp "$here/config.json" "$folder/model/config.json"

cd "$folder"
GEMMAIKU_RUNS=runs "$gemmaiku" train --model model --data data --run nano --init random --fine-tune-type full \
    --seed 1 --batch-size 32 --iters 3800 --max-seq-length 384 --learning-rate 3e-3 --lr-schedule cosine --warmup 200 \
    --weight-decay 0.1 --max-grad-norm 1 --steps-per-report 20 --steps-per-eval 500 --save-every 500 --sample-every 0 "$@"
GEMMAIKU_RUNS=runs "$gemmaiku" export --adapter nano:last --to safetensors --type bf16 --out out --force
"$marks" out
"$gemmaiku" eval --model out --data data --split valid --no-samples
