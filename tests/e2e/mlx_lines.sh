#!/bin/sh
# Command lines of mlx-lm, as its documents and published recipes print them, with the names of models and data replaced by tiny ones: each runs, or
# answers with what to do instead. Usage: mlx_lines.sh PROGRAM FIXTURES (GEMMAIKU_FIXTURES: another set)
set -u
g=$(realpath "$1") fixtures=$(realpath "${GEMMAIKU_FIXTURES:-$2}")
. "$(dirname "$0")/begin.sh"
lines=0
M=$fixtures/models/smollm2
mkdir set text
for split in train valid test; do
    for i in 1 2 3 4 5 6; do
        echo "{\"messages\": [{\"role\": \"user\", \"content\": \"rain $i $split\"}, {\"role\": \"assistant\", \"content\": \"soft rain $i on the roof\"}]}"
    done >set/$split.jsonl
    for i in 1 2 3 4 5 6; do
        echo "{\"text\": \"quote $i of $split, by nobody\"}"
    done >text/$split.jsonl
done
cat >lora.yaml <<'YAML'
# as mlx_lm/examples/lora_config.yaml
model: "MODEL"
train: true
fine_tune_type: lora
optimizer: adamw
optimizer_config:
  adamw:
    betas: [0.9, 0.98]
    eps: 1e-6
    weight_decay: 0.05
    bias_correction: true
data: "set"
seed: 0
num_layers: 16
batch_size: 2
iters: 4
val_batches: 25
learning_rate: 1e-5
steps_per_report: 10
steps_per_eval: 200
resume_adapter_file: null
adapter_path: "from-yaml"
save_every: 100
test: false
test_batches: 100
max_seq_length: 2048
grad_checkpoint: false
lora_parameters:
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0
lr_schedule:
  name: cosine_decay
  warmup: 2 # 0 for no warmup
  warmup_init: 1e-7
  arguments: [1e-5, 1000, 1e-7]
YAML
sed -i "s|MODEL|$M|" lora.yaml
cat >old.yaml <<YAML
model: "$M"
train: yes
data: "text"
iters: 2
batch_size: 2
lora_layers: 16
lora_parameters: {keys: ["self_attn.q_proj"], rank: 4, scale: 10.0, dropout: 0.0}
report_to: null
hf_dataset: null
wandb: null
YAML
cat >long.yaml <<YAML
model: "$M"
data: "set"
adapter_path: "long"
fine_tune_type: "lora"
train: true
mask_prompt: true
grad_checkpoint: true
batch_size: 4
iters: 2
learning_rate: 0.0002
clear_cache_threshold: 10
num_layers: -1
lora_parameters:
  rank: 16
  alpha: 99.0     # mlx-lm looks at the scale alone
  dropout: 0.0
  scale: 2.0
  keys:
    # attention
    - self_attn.q_proj
    - self_attn.o_proj
    # the rest
    - mlp.gate_proj
YAML
printf '{"model": "%s", "data": "set", "train": true, "iters": 2, "batch_size": 2, "lora_parameters": {"rank": 4, "scale": 2.0}}' "$M" >lora.json

# EXIT | WHAT STANDS THERE AFTERWARDS ("file NAME") OR ON STDOUT OR STDERR ("says TEXT") | LINE
table() {
    cat <<'TABLE'
0 | file adapters/adapters.safetensors | lora --model $M --train --data set --iters 2
0 | file adapters/adapter_config.json | lora --model $M --train --data set --iters 2 --batch-size 1 --num-layers 4
0 | file adapters/0000002_adapters.safetensors | lora --model $M --train --data set --iters 3 --save-every 2
0 | says Test ppl | lora --model $M --adapter-path adapters --data set --test
0 | says Test loss | lora --model $M --adapter-path "" --data set --test --test-batches 1 --batch-size 2
0 | file fused_model/model.safetensors | fuse --model $M
0 | file fused_model/model.safetensors | fuse --model $M
0 | file lora_fused/config.json | fuse --model $M --adapter-path adapters --save-path lora_fused --dequantize
0 | says tok | generate --model $M --adapter-path adapters --prompt "Write a haiku about rain." --max-tokens 4 --temp 0.7
0 | | generate --model fused_model -p "rain" -m 4 --temp 0.0 --top-p 1.0 --min-p 0.0 --seed 3 --trust-remote-code --verbose False
0 | | generate --model $M --adapter-path adapters --prompt rain --max-tokens 4 --system-prompt "Be brief." --xtc-probability 0.0
0 | | generate --model $M --prompt rain --max-tokens 4 --ignore-chat-template
0 | | chat --model $M --adapter-path adapters --max-tokens 4 --temp 0.6 --system-prompt "Be brief."
0 | file a1/adapters.safetensors | lora --model $M --train --data set --iters 2 --mask-prompt --grad-checkpoint --seed 7 --adapter-path a1
0 | file a2/adapters.safetensors | lora --model $M --train --data set --iters 2 --resume-adapter-file adapters/adapters.safetensors --adapter-path a2
0 | says mlx-lm counts micro-batches: this makes 2 updates of 2 | lora --model $M --train --data set --iters 4 --batch-size 1 --grad-accumulation-steps 2 --adapter-path a3
0 | file a4/adapters.safetensors | lora --model $M --train --data set --iters 2 --optimizer adamw --learning-rate 1e-4 --max-seq-length 512 --steps-per-report 5 --steps-per-eval 20 --val-batches -1 --adapter-path a4
0 | file a5/adapters.safetensors | lora --model $M --train --data text --batch-size 1 --lora-layers 16 --iters 2 --seed 42 --learning-rate 1e-4 --adapter-path a5
0 | file a6/adapters.safetensors | lora --model $M --train --data set --iters 2 --lora-parameters.rank 4 --lora_parameters.scale 10 --lora-parameters.keys q_proj,v_proj --lr-schedule.warmup 1 --adapter_path a6
0 | file a7/adapters.safetensors | lora --model $M --train --test --data set --iters 2 --adapter-path a7 --clear-cache-threshold 0 --report-to none
0 | file full/model.safetensors | lora --model $M --train --data set --iters 2 --fine-tune-type full --optimizer sgd --adapter-path full
0 | file from-yaml/adapters.safetensors | lora --config lora.yaml
0 | file over/adapters.safetensors | lora -c lora.yaml --iters 2 --adapter-path over
0 | file o2/adapters.safetensors | lora -c old.yaml --adapter-path o2
0 | file j/adapters.safetensors | lora -c lora.json --adapter-path j
0 | | train -c lora.yaml --run by-train --iters 2
0 | says Test ppl | lora -c lora.yaml --test --iters 2
2 | says hf upload | fuse --model $M --upload-repo mlx-community/my-lora-mistral-7b
2 | says hf upload | fuse --model $M --upload-name mlx-community/my-lora-mistral-7b
2 | says leave it out | fuse --model $M --hf-path mistralai/Mistral-7B-v0.1 --save-path other
2 | says journal.jsonl | lora --model $M --train --data set --report-to wandb,swanlab
2 | says journal.jsonl | lora --model $M --train --data set --wandb project
2 | says --train or --test | lora --model $M --data set
2 | says not downloaded | lora --model $M --train --data mlx-community/wikisql
2 | says micro-batches | lora --model $M --train --data set --iters 3 --grad-accumulation-steps 8
2 | says key/value cache | generate --model $M --prompt x --max-kv-size 512
2 | says one model | generate --model $M --prompt x --draft-model $M
0 | | generate --model $M --prompt x --max-tokens 4 --extra-eos-token "</s>"
0 | | generate --model $M --adapter-path ./adapters --max-token 4 --prompt "Why do chameleons change colors? " --eos-token "<end>"
0 | | generate --model $M --prompt x -m 4 --temp 0.05 --repetition-penalty 1.1 --top_p 0.9 --colorize
0 | file a8/adapters.safetensors | lora --model $M --train --data ./set --mask-prompt --batch-size 1 --num-layers 8 --iters 2 --adapter-path a8
0 | says Test ppl | lora --model $M --test --data set --adapter-path a8
0 | file a9/adapters.safetensors | lora --model $M --train --data set/train.jsonl --iters 3 --batch-size 4 --num-layers 16 --learning-rate 1e-4 --steps-per-report 25 --steps-per-eval 100 --save-every 100 --adapter-path a9
0 | file a10/adapters.safetensors | lora --model $M --train --data set --fine-tune-type dora --batch-size 1 --num-layers 4 --iters 2 --grad-checkpoint --adapter-path a10
0 | file long/adapters.safetensors | lora -c long.yaml
0 | file fused2/model.safetensors | fuse --model $M --adapter-path a9 --save-path ./fused2 --de-quantize
0 | file fused3/ggml-model-f16.gguf | fuse --model $M --adapter-path a9 --save-path fused3 --export-gguf
0 | file fused3/mine.gguf | fuse --model $M --adapter-path a9 --save-path fused3 --export-gguf --gguf-path mine.gguf
2 | says gemmaiku export | convert --hf-path mistralai/Mistral-7B-v0.1 --mlx-path m -q --q-bits 4
2 | says --to ollama | server --model fused_model --port 8080
2 | says gemmaiku eval | perplexity --model $M
2 | says hf upload | upload --path fused_model --upload-repo a/b
2 | says name the folder | lora --model $M --train --data set --adapter-file adapters.npz
2 | says adamw|adam|sgd | lora --model $M --train --data set --optimizer muon
1 | says hf download | lora --model mlx-community/Mistral-7B-Instruct-v0.3-4bit --train --data set
1 | says test.jsonl | lora --model $M --test --adapter-path "" --data valid-only
TABLE
}
mkdir valid-only && cp set/train.jsonl set/valid.jsonl valid-only
table >lines
while IFS='|' read -r code what line; do
    code=${code% } line=${line# } what=${what# } what=${what% }
    lines=$((lines + 1))
    # texts with a bar stand in the table as they are told: the line is what stands behind the last one
    while case $line in *\|*) true ;; *) false ;; esac; do
        what="$what|${line%%|*}" line=${line#*|}
    done
    what=${what% } line=${line# }
    (eval "exec \"$g\" $line") >out 2>&1 </dev/null
    have=$?
    [ "$have" = "$code" ] || {
        fail "exit $have, not $code: $line"
        tail -3 out | sed 's/^/    /'
    }
    case $what in
    file\ *) [ -s "${what#file }" ] || fail "no ${what#file }: $line" ;;
    says\ *) grep -qF -- "${what#says }" out || {
        fail "\"${what#says }\" is not said: $line"
        tail -3 out | sed 's/^/    /'
    } ;;
    esac
done <lines

# what the words meant
setting() { grep -q "\"$2\": *$3" "runs/$1/run.json" || fail "run $1: $2 is not $3 but $(grep "\"$2\"" "runs/$1/run.json")"; }
expect() {
    "$g" "$@" --quiet >out 2>&1 </dev/null || {
        fail "$*"
        tail -3 out
    }
}
expect lora --model "$M" --train --data set --iters 2 --run defaults --adapter-path d
for pair in "rank 8" "scale 20.0" "num_layers 16" "optimizer \"adam\"" "adam_bias_correction false" "learning_rate 1e-05" \
    "lr_schedule \"constant\"" "warmup 0.0" "max_grad_norm 0.0" "batch_size 4" "max_seq_length 2048" "mask_prompt false" "seed 0" \
    "steps_per_report 10" "steps_per_eval 200" "val_batches 25" "save_every 100" "weight_decay 0.0"; do
    setting defaults "${pair%% *}" "${pair#* }"
done
cmp -s d/adapters.safetensors runs/defaults/checkpoints/0000002/adapters.safetensors || fail "the adapter is not that of the run"
[ ! -e d/optimizer.safetensors ] || fail "the adapter's folder holds what only a resume needs"
expect train -c lora.yaml --run layers --iters 3 --lora-parameters.rank 4
for pair in "rank 4" "iters 3" "scale 20.0" "beta2 0.98" "weight_decay 0.05" "lr_schedule \"cosine\"" "warmup 2.0"; do
    setting layers "${pair%% *}" "${pair#* }"
done
expect lora --model "$M" --train --data set --iters 8 --grad-accumulation-steps 2 --steps-per-eval 4 --save-every 2 --run micro --adapter-path m
for pair in "iters 4" "steps_per_eval 2" "save_every 1"; do
    setting micro "${pair%% *}" "${pair#* }"
done
expect lora --model "$M" --train --data set --iters 1 --optimizer adamw --run decay --adapter-path m
setting decay weight_decay 0.01
expect train --preset quotes --model "$M" --data text --iters 1 --run quotes
for pair in "rank 8" "scale 20.0" "batch_size 1" "max_seq_length 512" "seed 42" "steps_per_report 5" "steps_per_eval 20" "optimizer \"adam\""; do
    setting quotes "${pair%% *}" "${pair#* }"
done
printf 'preset: quotes\nmodel: %s\ndata: text\nrank: 2\nalpha: 4\niters: 9\n' "$M" >own.yaml
expect train -c own.yaml --iters 1 --run own
for pair in "rank 2" "scale 2.0" "iters 1" "seed 42"; do
    setting own "${pair%% *}" "${pair#* }"
done

# stopped, it leaves what was saved
"$g" lora --model "$M" --train --data set --iters 1000000 --run stopped --adapter-path left --quiet 2>err &
pid=$!
for _ in $(seq 200); do
    grep -q '"event":"step"' runs/stopped/journal.jsonl 2>/dev/null && break
    sleep 0.1
done
kill -TERM $pid
wait $pid
[ $? = 143 ] || fail "a stopped lora does not end with 143: $(cat err)"
[ -s left/adapters.safetensors ] || fail "a stopped lora leaves no adapter"

# a base in 4 bits: fused, it is in 4 bits again, unless it is to be expanded
for q in "$fixtures"/quantised/*4bit_g64; do
    [ -f "$q/tokenizer.json" ] || continue
    expect lora --model "$q" --train --data set --iters 1 --adapter-path q4
    rm -rf q4-fused q4-expanded
    expect fuse --model "$q" --adapter-path q4 --save-path q4-fused
    grep -q '"bits": *4' q4-fused/config.json || fail "fuse of $q: not in 4 bits"
    expect fuse --model "$q" --adapter-path q4 --save-path q4-expanded --dequantize
    grep -q '"quantization"' q4-expanded/config.json && fail "fuse --dequantize of $q: still quantised"
done
mkdir kept && echo mine >kept/file
"$g" fuse --model "$M" --adapter-path a9 --save-path kept >out 2>&1 </dev/null && fail "fuse replaces a folder that it did not make"
[ -s kept/file ] || fail "fuse removed what it did not make"

# settings that cannot be are told with file, line and the nearest name
wrong() { # TEXT SAYS
    printf 'model: x\n%b\n' "$1" >wrong.yaml
    "$g" train -c wrong.yaml >out 2>&1 </dev/null
    [ $? = 2 ] || [ $? = 1 ] || fail "settings \"$1\": they pass"
    grep -q "^gemmaiku: read wrong.yaml:2: .*$2" out || {
        fail "settings \"$1\": \"$2\" is not said"
        sed 's/^/    /' out
    }
}
wrong 'lerning_rate: 1e-5' 'did you mean learning_rate?'
wrong 'lora_parameters: {rnak: 8}' 'lora_parameters.rnak'
wrong 'iters: many' 'no whole number'
wrong 'rank: [1, 2]' 'no whole number'
wrong 'mask_prompt: 3' 'neither on nor off'
wrong 'hf_dataset: {path: billsum}' 'train.jsonl'
wrong 'prompt_feature: question' 'rename the fields'
wrong 'rank: &a 8' 'anchor'
wrong 'lora_parameters: {keys: [{a: 1}]}' 'item 1'
wrong 'optimizer_config: {adam: {momentum: 1}}' 'optimizer_config.adam.momentum'

[ $failures = 0 ] && echo "$lines lines of mlx-lm: all as they should be"
exit $((failures > 0))
