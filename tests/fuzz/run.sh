#!/bin/sh
# One fuzz target over its seeds and mutations of them.   run.sh PROGRAM FIXTURES [-runs=N | -seconds=N] [-seed=N] [-out=FOLDER]
# Seeds are the files of seeds/NAME, and fixtures, put together where a target takes several files at once.
set -eu
program=$1 fx=$2
shift 2
name=${program##*/fuzz_}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

n=0
parts() { # FILE...: one seed
    n=$((n + 1))
    sep=''
    for f; do
        [ -z "$sep" ] || printf '%%%%%%%%\n'
        cat "$f"
        sep=1
    done >"$work/seed$n"
}
case $name in
gguf) for f in "$fx"/quantised/gguf/*.gguf; do parts "$f"; done ;;
safetensors) for f in "$fx"/models/llama_f32/model.safetensors "$fx"/models/llama_sharded/model-*.safetensors "$fx"/adapters/*/mlx/*.safetensors; do parts "$f"; done ;;
json) for f in "$fx"/models/llama/config.json "$fx"/models/llama/tokenizer_config.json "$fx"/models/*/special_tokens_map.json; do parts "$f"; done ;;
model) for d in "$fx"/models/*/ "$fx"/quantised/*/; do
    [ -f "$d/model.safetensors" ] || continue
    if [ -f "$d/tokenizer.json" ]; then parts "$d/config.json" "$d/model.safetensors" "$d/tokenizer.json"; else parts "$d/config.json" "$d/model.safetensors"; fi
done ;;
tokenizer) for d in "$fx"/models/*/; do [ ! -f "$d/tokenizer.json" ] || parts "$d/tokenizer.json" "$d/tokenizer_config.json"; done ;;
jinja) for f in "$fx"/tokenizers/*/template_*.jinja; do parts "$f"; done ;;
config) for f in "$fx"/models/*/config.json "$fx"/quantised/*/config.json; do parts "$f"; done ;;
theme) for f in "$here"/../../themes/*.theme; do parts "$f"; done ;;
tokenizer_model) for d in "$fx"/models/*/; do [ ! -f "$d/tokenizer.model" ] || parts "$d/tokenizer.model" "$d/tokenizer_config.json"; done ;;
adapter)
    for f in "$fx"/quantised/gguf/*_lora.gguf; do [ ! -f "$f" ] || parts "$f"; done
    ;;
esac
[ ! -d "$here/seeds/$name" ] || set -- "$@" "$here/seeds/$name"
"$program" -max-bytes=500000 "$@" "$work"
