#!/bin/sh
# Does the demo learn what the prompts say, or only what haiku sound like? The same training with the answers of the training rows moved to other prompts: the demo's validation
# loss must be below that control's. Usage: demo_control.sh PROGRAM [TRAIN OPTIONS: those of the demo]
set -eu
program=$1
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GEMMAIKU_RUNS="$work/runs"
mkdir "$work/shuffled"
awk '{ at = index($0, "{\"role\": \"assistant\""); question[NR] = substr($0, 1, at - 1); answer[NR] = substr($0, at) }
     END { for (i = 1; i <= NR; i++) print question[i] answer[(i + 100) % NR + 1] }' "$here/engine/builtin/haiku/train.jsonl" >"$work/shuffled/train.jsonl"
cp "$here/engine/builtin/haiku/valid.jsonl" "$work/shuffled/"
for data in haiku "$work/shuffled"; do
    name=$(basename "$data")
    "$program" train --data "$data" --run "$name" --sample-every 0 --quiet --json "$@" | sed "s/.*\"best_val_loss\": *\([0-9.]*\).*/$name \1/"
done
