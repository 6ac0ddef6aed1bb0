#!/bin/sh
# Ours and the usual peer (transformers + PEFT) in one run, alternating five times; prints medians and ratios of tokens per second.
# Usage: peers.sh PROGRAM PYTHON PEFT_SCRIPT [SHAPE]      SHAPE: smollm2 (default), g270m, tinyllama
# PYTHON has torch, transformers and peft; PEFT_SCRIPT is peft_lora.py beside this file.
set -eu
program=$1 python=$2 script=$3 shape=${4:-smollm2}
case $shape in
smollm2) ours="--train-shape smollm2-135m --rank 16" ;;
g270m) ours="--train-shape gemma3-270m --rank 16" ;;
tinyllama) ours="--train-shape tinyllama --rank 8 --keys q_proj,v_proj" ;;
*) echo "unknown shape $shape" >&2; exit 2 ;;
esac
a='' b=''
for i in 1 2 3 4 5; do
    x=$("$program" bench $ours --seq 512 --steps 5 --quiet --json | sed 's/.*"tokens_per_second": *\([0-9.]*\).*/\1/')
    y=$("$python" "$script" "$shape" bf16 512 2>/dev/null | sed 's/.*, \([0-9.]*\) tok\/s.*/\1/')
    echo "run $i: ours $x tok/s, peft $y tok/s"
    a="$a $x" b="$b $y"
done
median() { printf '%s\n' "$@" | sort -n | sed -n 3p; }
# shellcheck disable=SC2086
x=$(median $a) y=$(median $b)
awk -v x="$x" -v y="$y" 'BEGIN { printf "medians: ours %.1f, peft %.1f tok/s, ratio %.2f\n", x, y, x / y }'
