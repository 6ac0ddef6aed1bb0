#!/bin/sh
# Makes the built-in model: vocabulary, training from random weights, bf16 weights. One command:
#     engine/builtin/nano/make_nano.sh VERSE.txt.xz FOLDER [TRAIN OPTIONS]
# VERSE: public-domain verse, a line a line, an empty line between poems. Every 50th line (number mod 50 = 0) is held out and never trained on.
# FOLDER gets: model/ (tokenizer, config), data/ and data2/ (rows), runs/nano and runs/nano2 (the two stages with their journals), out/ (the bf16 model).
# What is committed: out/{model.safetensors,config.json,tokenizer.json,tokenizer_config.json}, and of each run run.json and journal.jsonl.
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
export GEMMAIKU_RUNS=runs
# First stage: plain verse, the first 2,000 updates of a schedule of 3,800.
"$gemmaiku" train --model model --data data --run nano --init random --fine-tune-type full \
    --seed 1 --batch-size 32 --iters 3800 --max-seq-length 384 --learning-rate 3e-3 --lr-schedule cosine --warmup 200 \
    --weight-decay 0.1 --max-grad-norm 1 --steps-per-report 20 --steps-per-eval 500 --save-every 500 --sample-every 0 "$@" &
while [ ! -d runs/nano/checkpoints/0002000 ]; do
    kill -0 $! || exit 1
    sleep 1
done
kill -TERM $!
wait $! || [ $? = 143 ]
# Second stage: half of the rows get lines that say what a stanza is about.
mkdir -p data2
awk -f "$here/titles.awk" pass=1 data/train.jsonl pass=2 data/train.jsonl >data2/train.jsonl
cp data/valid.jsonl data2/
"$gemmaiku" train --model runs/nano/checkpoints/0002000 --data data2 --run nano2 --fine-tune-type full \
    --seed 2 --batch-size 32 --iters 1700 --max-seq-length 384 --learning-rate 2e-3 --lr-schedule cosine --warmup 100 \
    --weight-decay 0.1 --max-grad-norm 1 --steps-per-report 20 --steps-per-eval 425 --save-every 425 --sample-every 0 "$@"
"$gemmaiku" export --adapter nano2:last --to safetensors --type bf16 --out out --force
"$marks" out
"$gemmaiku" eval --model out --data data --split valid --no-samples
