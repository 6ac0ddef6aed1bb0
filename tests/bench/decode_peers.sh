#!/bin/sh
# Generating: ours and llama.cpp in one run, alternating five times; prints medians and ratios of tokens per second, and our share of the bandwidth.
# Usage: decode_peers.sh PROGRAM PYTHON FOLDER [SHAPE [TYPE [SEQUENCES]]]      SHAPE: gemma3-270m, smollm2-135m; TYPE: bf16, q8_0, q4_1
# PYTHON has gguf, numpy and llama-cpp-python. FOLDER takes the GGUF with random weights that llama.cpp reads; ours makes its own in memory, the same
# shape and type. Ours samples its tokens, llama.cpp only computes the logits.
set -eu
program=$1 python=$2 folder=$3 shape=${4:-gemma3-270m} type=${5:-bf16} sequences=${6:-1} here=$(dirname "$0")
file=$folder/$shape-$type.gguf
[ -e "$file" ] || "$python" "$here/decode_gguf.py" "$shape" "$type" "$file"
field() { sed "s/.*\"$1\": *\([0-9.]*\).*/\1/"; }
a='' b='' c=''
for i in 1 2 3 4 5; do
    line=$("$program" bench --decode-shape "$shape" --weights "$type" --sequences "$sequences" --quiet --json)
    x=$(echo "$line" | field tokens_per_second) share=$(echo "$line" | field bandwidth_share)
    y=$("$python" "$here/decode_llama.py" "$file" "$sequences" 2>/dev/null)
    echo "run $i: ours $x tok/s ($share of the bandwidth), llama.cpp $y tok/s"
    a="$a $x" b="$b $y" c="$c $share"
done
median() { printf '%s\n' "$@" | sort -n | sed -n 3p; }
# shellcheck disable=SC2086
x=$(median $a) y=$(median $b) share=$(median $c)
awk -v s="$shape $type, $sequences at once" -v x="$x" -v y="$y" -v c="$share" \
    'BEGIN { printf "%s: ours %.1f, llama.cpp %.1f tok/s, ratio %.2f; share of the bandwidth %.2f\n", s, x, y, x / y, c }'
