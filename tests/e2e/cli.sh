#!/bin/sh
# The command line from outside: results on stdout, messages on stderr, exit codes; broken inputs give one clear line and leave nothing behind.
# Usage: cli.sh PROGRAM FIXTURES
set -u
g=$1 fixtures=$2
. "$(dirname "$0")/begin.sh"
export XDG_CACHE_HOME=$work/cache
unset GEMMAIKU_PROBE

# expect CODE NAME COMMAND...: the exit code; out and err are kept
expect() {
    code=$1 name=$2
    shift 2
    "$@" >stdout 2>err </dev/null
    have=$?
    [ "$have" = "$code" ] || {
        fail "$name: exit $have, not $code"
        sed 's/^/    /' err | head -3
    }
}
# broken NAME WORD COMMAND...: exit 1, one line "gemmaiku: ... WORD ..." on stderr, nothing on stdout
broken() {
    name=$1 word=$2
    shift 2
    expect 1 "$name" "$@" --quiet
    grep -q "^gemmaiku: .*$word" err || {
        fail "$name: stderr does not name \"$word\""
        sed 's/^/    /' err | head -3
    }
    [ ! -s stdout ] || fail "$name: something on stdout"
}
has() { grep -q -- "$2" stdout || fail "$1: stdout lacks $2"; }

# usage
expect 0 version "$g" --version
expect 0 help "$g" --help
has help "tokenize"
for c in demo train resume plan generate chat eval data syllables tokenize logits export runs bench; do
    expect 0 "$c --help" "$g" $c --help
    has "$c --help" "--threads"
done
wide() { awk 'length($0) > 80 { exit 1 }' stdout || fail "$1: a line is wider than 80 columns"; }
for c in train export check bench tokenize; do
    expect 0 "$c --help" "$g" $c --help
    wide "$c --help"
done
expect 2 "unknown option" "$g" train --itres 5
grep -q -- "--iters" err || fail "unknown option: the nearest is not named"
expect 2 "option without value" "$g" train --iters
expect 2 "neither on nor off" "$g" train --mask-prompt yes
grep -q '"yes" is neither on nor off' err || fail "neither on nor off: $(cat err)"
expect 2 "neither on nor off nor auto" "$g" bench --grad-checkpoint maybe
grep -q '"maybe" is neither on nor off nor auto' err || fail "neither on nor off nor auto: $(cat err)"
expect 2 "value out of range" "$g" generate --temp -3 --prompt x
expect 2 "alpha and scale" "$g" train --alpha 1 --scale 2
expect 1 "no terminal" "$g"
expect 2 "a command mistyped" "$g" trian
grep -q "did you mean train" err || fail "a command mistyped: it is not named"
expect 2 "a command mistyped, with options" "$g" trian --iters 5
grep -q '"trian" is no command.*did you mean train' err || fail "a command mistyped, with options: it is not named"
expect 2 "a seed that JSON cannot hold" "$g" generate --prompt x --seed 18446744073709551615
expect 1 "no such run" "$g" demo-077

# syllables
printf 'an old silent pond\na frog jumps into the pond\nsplash silence again\n' >poem
expect 0 syllables sh -c "\"$g\" syllables --json <poem"
sh -c "\"$g\" syllables --json <poem" >stdout
has syllables '"strict":true'
printf '{"text": "one"}\n{"no": 1}\nnot json\n' >rows
"$g" syllables --jsonl <rows >stdout 2>err
[ $? = 1 ] || fail "syllables --jsonl with bad rows: exit is not 1"
[ "$(grep -c '"error"' stdout)" = 2 ] || fail "syllables --jsonl: two rows should fail, one pass"

# tokenize and logits
m=$fixtures/models/smollm2
expect 0 tokenize "$g" tokenize --model "$m" --json "hello world"
has tokenize '"ids"'
echo '[{"role": "user", "content": "rain"}, {"role": "assistant", "content": "soft rain"}]' >chat.json
expect 0 "x-ray" "$g" tokenize --model "$m" --chat chat.json --check
has "x-ray" "training      chat    Ollama"
printf 'FROM ./none.gguf\nTEMPLATE """{{ range .Messages }}{{ .Content }}{{ end }}"""\n' >Modelfile
expect 3 "x-ray of another Modelfile" "$g" tokenize --model "$m" --chat chat.json --modelfile Modelfile --check --json
has "x-ray of another Modelfile" '"equal":false'
printf 'FROM ./none.gguf\nTEMPLATE """x{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}y<|im_start|>assistant\n"""\n' >Modelfile
echo '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "rain"}]' >brief.json
expect 3 "x-ray of two letters more" "$g" tokenize --model "$m" --chat brief.json --modelfile Modelfile --check
[ "$(grep -c '^\*' stdout)" = 2 ] || fail "x-ray of two letters more: what is the same again is not side by side"
expect 2 "x-ray without a conversation" "$g" tokenize --model "$m" --check rain
l=$fixtures/tokenizers/llama3
expect 0 "a template with variables" "$g" tokenize --model "$l" --chat-template "$l/template_llama3.2.jinja" --chat-template-config '{"date_string": "5 May 1955"}' --chat chat.json --json
has "a template with variables" "Today Date: 5 May 1955"
expect 2 "variables that are no object" "$g" tokenize --model "$l" --chat-template-config '[1]' --chat chat.json
printf 'a\n{{ x | xmlattr }}' >bad.jinja
broken "a filter that is not supported" "bad.jinja:2: filter 'xmlattr'" "$g" tokenize --model "$m" --chat-template bad.jinja --chat chat.json
printf '{%% for m in messages %%}\n{%% if m %%}' >bad.jinja
broken "a template without an end" "bad.jinja:2: the block that begins here" "$g" tokenize --model "$m" --chat-template bad.jinja --chat chat.json
expect 2 "a name that is no template" "$g" tokenize --model "$m" --chat-template nope --chat chat.json
expect 0 logits "$g" logits --model "$m" --ids 1,5,9 --out l.safetensors --compute f32
[ -s l.safetensors ] || fail "logits: no file"
expect 2 "logits without ids" "$g" logits --model "$m"
broken "id outside" "vocabulary" "$g" logits --model "$m" --ids 1,99999 --out no.safetensors
[ ! -e no.safetensors ] || fail "logits: a file after an error"

# data
cat >rows.jsonl <<'ROWS'
{"messages": [{"role": "user", "content": "rain"}, {"role": "assistant", "content": "soft rain on the roof\nthe cat listens to the drops\nand sleeps until noon"}]}
{"messages": [{"role": "user", "content": "snow"}, {"role": "assistant", "content": "snow on the old road\nmy steps are the only words\nthe wind reads them twice"}]}
{"messages": [{"role": "user", "content": "tea"}, {"role": "assistant", "content": "steam from the tea cup\ndraws a small cloud on the glass\nand then it is gone"}]}
{"messages": [{"role": "user", "content": "moon"}, {"role": "assistant", "content": "moon above the barn\na dog barks at its own bark\nand the night says no"}]}
ROWS
mkdir -p set && cp rows.jsonl set/train.jsonl && cp rows.jsonl set/valid.jsonl
expect 0 data "$g" data set --model "$m" --json
has data '"rows":8'
expect 3 "the gate" "$g" data set --model "$m" --gate
has "the gate" duplicate
printf 'prompt,completion\nbirds,"wings over the hill"\n' >more.csv
expect 0 mixture "$g" data set more.csv:2.5 --model "$m" --json
has mixture '"weight":2.5'
expect 0 "train on a mixture" "$g" train --model "$m" --data set:2 --data more.csv --iters 1 --sample-every 0 --compute f32 --quiet
[ -d runs/smollm2-set+more-001 ] || fail "train on a mixture: its name is $(ls runs)"

# a run, its resume, its exports
# plan: before anything is there; what does not fit is told with what would help
expect 0 plan "$g" plan --model "$m" --data set --iters 6 --batch-size 2 --rank 4 --compute f32 --json
has plan '"fits":true'
has plan '"change":"--rank 2"'
has plan '"trained_layers":'
[ ! -e runs/smollm2-set-001 ] || fail "plan: it left a run"
expect 0 "plan as text" "$g" plan --model "$m" --data set --iters 6
has "plan as text" "a step of"
has "plan as text" "in all"
expect 3 "plan that does not fit" "$g" plan --model "$m" --data set --memory-budget 1MB
has "plan that does not fit" "It does not fit"
expect 0 "plan of a shape" "$g" plan --train-shape smollm2-135m --weights q4_0 --max-seq-length 64 --batch-size 1 --json
has "plan of a shape" '"recompute_layers":0'
expect 2 "budget" "$g" plan --memory-budget much
expect 2 "two prompts" "$g" generate --prompt rain --packed maybe
grep -q "takes one prompt" err || fail "two prompts: $(cat err)"
expect 2 "shape" "$g" bench --train-shape none
grep -q "it is not known" err || fail "shape: $(cat err)"
broken "train over its budget" "raise --memory-budget" "$g" train --model "$m" --data set --memory-budget 1MB
[ ! -e runs/smollm2-set-001 ] || fail "train over its budget: it left a run"

train="$g train --model $m --data set --iters 6 --batch-size 2 --steps-per-eval 3 --save-every 3 --sample-every 0 --rank 4 --compute f32 --quiet"
expect 0 train $train --run one --json
has train '"step":6'
[ -s runs/one/checkpoints/0000006/adapters.safetensors ] || fail "train: no checkpoint"
broken "existing name" "one" $train --run one
expect 0 "threads 1" $train --run single --threads 1
cmp -s runs/one/checkpoints/0000006/adapters.safetensors runs/single/checkpoints/0000006/adapters.safetensors || fail "threads change the bits"
expect 0 "more iters" "$g" resume one --iters 8 --quiet
# a run that was trained with a system message is asked with it; --system "" leaves it out
expect 0 "system" $train --run told --system "Write of rain only, and of nothing else at all."
"$g" generate --adapter told --prompt rain --temp 0 --max-tokens 12 --json --quiet 2>err | sed 's/"seconds.*//' >a
"$g" generate --adapter told --prompt rain --temp 0 --max-tokens 12 --json --quiet --system "Write of rain only, and of nothing else at all." 2>err | sed 's/"seconds.*//' >b
"$g" generate --adapter told --prompt rain --temp 0 --max-tokens 12 --json --quiet --system "" 2>err | sed 's/"seconds.*//' >c
cmp -s a b || fail "the system message of a run is not used"
cmp -s a c && fail "an empty system message changes nothing"
# the help tells the defaults, whatever else stands on the line
expect 0 "defaults" "$g" train --iters 5 --help
has defaults "updates; default 600"
has defaults "default cosine"
expect 0 "demo help" "$g" demo --help
has "demo help" "default demo-NNN"
# machine output: round numbers as told, the step even where no report was due
expect 0 "no report" $train --run unreported --steps-per-report 50 --json
has "no report" '"step":6'
expect 0 "temperature" "$g" generate --model "$m" --prompt rain --temp 0.7 --max-tokens 4 --json --quiet
has temperature '"temperature":0.7,'
expect 0 "an answer of the longest length" "$g" generate --model "$m" --prompt rain --max-tokens 1
grep -q "1 token, cut" err || fail "generate: it does not say that the answer is cut: $(cat err)"
expect 2 "alpha, scale and preset" "$g" train --preset quotes --alpha 16 --scale 2
expect 2 "type of an adapter" "$g" export --adapter one --to mlx --type f16 --out out/f16
# flags win over presets
expect 0 "preset" "$g" train --preset quotes --alpha 16 --model "$m" --data set --iters 1 --sample-every 0 --run preset --quiet
grep -q '"scale": *2.0' runs/preset/run.json || fail "--alpha does not win over the preset's scale"
# other kernels than the run began with are told
expect 0 "resume --kernel" "$g" resume told --kernel plain --iters 7 --quiet
grep -q "on the kernels of plain" runs/told/journal.jsonl || fail "resume --kernel: the journal does not tell"
# a family that this processor lacks: refused with the remedy, and nothing of the run is touched
lacking=neon
[ "$(uname -m)" = x86_64 ] || lacking=avx2
cp -r runs/told runs/foreign
sed -i "s/\"kernel\": *\"[a-z0-9]*\"/\"kernel\": \"$lacking\"/" runs/foreign/run.json
cp runs/foreign/run.json foreign.json
broken "resume with kernels of another machine" "kernels of $lacking, which this processor lacks.*--kernel auto" "$g" resume foreign --iters 8
cmp -s foreign.json runs/foreign/run.json || fail "resume with kernels of another machine: run.json changed"
expect 0 "resume with kernels of another machine --kernel" "$g" resume foreign --kernel auto --iters 8 --quiet
# the fastest family is measured once and remembered; a file that is nonsense, or cannot be, does no harm
ls "$XDG_CACHE_HOME"/gemmaiku/kernels-* >/dev/null 2>&1 || fail "the probe is not remembered"
for f in "$XDG_CACHE_HOME"/gemmaiku/kernels-*; do
    sed "s/^plain .*/plain 99999/" "$f" >f && cp f "$f"
    expect 0 "remembered kernel" "$g" logits --model "$m" --ids 1,2 --out l.safetensors --json
    has "remembered kernel" '"kernel":"plain"'
    expect 0 "--kernel wins" env GEMMAIKU_PROBE=again "$g" logits --model "$m" --ids 1,2 --out l.safetensors --json --kernel plain
    grep -q "^plain 99999" "$f" || fail "--kernel asked the probe"
    expect 0 "GEMMAIKU_PROBE=again" env GEMMAIKU_PROBE=again "$g" logits --model "$m" --ids 1,2 --out l.safetensors --json
    ! grep -q "^plain 99999" "$f" || fail "GEMMAIKU_PROBE=again did not measure"
    echo nonsense >"$f"
    expect 0 "nonsense for a probe" "$g" logits --model "$m" --ids 1,2 --out l.safetensors --json
    ! grep -q nonsense "$f" || fail "nonsense for a probe: not measured anew"
done
expect 0 "no place for a probe" env XDG_CACHE_HOME=/dev/null/cache "$g" logits --model "$m" --ids 1,2 --out l.safetensors --json
[ ! -s err ] || fail "no place for a probe: something on stderr"
expect 0 "runs list" "$g" runs list
has "runs list" one
expect 0 "runs show" "$g" runs show one --json
has "runs show" '"checkpoints"'
expect 0 generate "$g" generate --adapter one --prompt "rain" --max-tokens 8 -n 2 --json --quiet
[ "$(wc -l <stdout)" = 2 ] || fail "generate -n 2 --json: not two lines"
expect 0 eval "$g" eval --adapter one --data set --split valid --json --quiet --max-tokens 8
has eval '"perplexity"'
for to in mlx peft safetensors; do
    expect 0 "export $to" "$g" export --adapter one --to $to --out out/$to --quiet
    [ -s out/$to/proof.json ] || fail "export $to: no proof"
done
expect 0 "export gguf" "$g" export --adapter one --to gguf --type q8_0 --out out/one.gguf --json --quiet
has "export gguf" '"type":"q8_0"'
[ -s out/one.gguf.proof.json ] || fail "export gguf: no proof"
expect 0 "generate from the GGUF" "$g" generate --model out/one.gguf --prompt rain --max-tokens 4 --quiet
expect 0 "export ollama" "$g" export --adapter one --to ollama --type q8_0 --out out/ollama --json --quiet --temp 0.4 --system "Other words."
has "export ollama" '"prompts_verified"'
has "export ollama" 'SYSTEM line was not in training'
for f in model.gguf Modelfile README.md proof.json; do [ -s out/ollama/$f ] || fail "export ollama: no $f"; done
grep -q "^PARAMETER temperature 0.4" out/ollama/Modelfile || fail "export ollama: the temperature is not the one told"
expect 0 "check of an Ollama folder" "$g" check out/ollama
expect 0 "x-ray of an export" "$g" tokenize --model nano --chat chat.json --modelfile out/ollama/Modelfile --json --quiet
has "x-ray of an export" '"source":"out/ollama/Modelfile"'
expect 0 "export gguf-lora" "$g" export --adapter one --to gguf-lora --out out/lora.gguf --quiet
expect 0 "generate with the GGUF adapter" "$g" generate --model "$m" --adapter out/lora.gguf --prompt rain --max-tokens 4 --quiet
expect 0 "export mlx8" "$g" export --adapter one --to safetensors --type mlx8 --out out/mlx8 --quiet
grep -q '"quantization"' out/mlx8/config.json || fail "export mlx8: config.json does not say so"
expect 2 "blocks in safetensors" "$g" export --adapter one --to safetensors --type q8_0 --out out/no
expect 2 "unknown type" "$g" export --adapter one --to gguf --type q9 --out out/no
expect 0 "export all" "$g" export one --to all --out out/all --json --quiet
has "export all" '"loss_change"'
for part in mlx peft adapter.gguf safetensors model-f16.gguf model-q8_0.gguf model-q4_k_m.gguf ollama fuse_loss.json; do
    [ -e out/all/$part ] || fail "export all: no $part"
done
expect 0 "export all, as a table" "$g" export one --to all --out out/all --force -n 2 --quiet
has "export all, as a table" "^model-q8_0.gguf   *q8_0 "
wide "export all, as a table"
expect 2 "a type that a GGUF cannot have" "$g" export one --to gguf --type mlx4 --out out/no
grep -q "known: f32, f16" err || fail "a type that a GGUF cannot have: the known ones are not named"
"$g" export one --to all -n 100000 --out out/stopped --quiet 2>err &
pid=$!
while ! ls -d out/stopped.making-* >/dev/null 2>&1 && kill -0 $pid 2>/dev/null; do sleep 0.05; done
kill -TERM $pid
wait $pid
code=$?
[ $code = 143 ] || fail "an export that was stopped: exit $code"
ls -d out/stopped* 2>/dev/null | grep -q . && fail "an export that was stopped left something"
broken "existing target" "exists" "$g" export --adapter one --to peft --out out/peft
expect 0 "force" "$g" export --adapter one --to peft --out out/peft --force --quiet
expect 0 "generate from the fused model" "$g" generate --model out/safetensors --prompt rain --max-tokens 4 --quiet
printf 'rain\n/quit\n' | "$g" chat one --quiet --max-tokens 4 >stdout 2>err || fail "chat from a pipe"

# what a conversation keeps: asked again, and behind a cleared past, the answers are those of a first question
ask() { "$g" chat --model nano --json --quiet --temp 0 --compute f32 --max-tokens 12 2>err | grep -o '"text":.*,"tokens"' >"$1"; }
a='Once upon a time there was a king' b='O my love, my love'
printf '%s\n' "$a" "$b" /retry /clear "$a" "$b" /clear "$b" | ask long
printf '%s\n' "$b" | ask short
[ "$(wc -l <long)" = 6 ] || fail "a conversation: six answers"
[ "$(sed -n 1p long)" != "$(sed -n 2p long)" ] || fail "a conversation: it says one thing only"
[ "$(sed -n 2p long)" = "$(sed -n 3p long)" ] || fail "a conversation: /retry says something else"
[ "$(sed -n 1,2p long)" = "$(sed -n 4,5p long)" ] || fail "a conversation: the same one after /clear says something else"
[ "$(sed -n 6p long)" = "$(cat short)" ] || fail "a conversation: after /clear it still knows the past"

# stopping
$train --run stopped --iters 1000000 &
pid=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.3
    [ -s runs/stopped/journal.jsonl ] && grep -q '"step"' runs/stopped/journal.jsonl && break
done
broken "a run in use" "stopped" "$g" resume stopped
kill -TERM $pid
wait $pid
[ $? = 143 ] || fail "SIGTERM: exit is not 143"
ls runs/stopped/checkpoints | grep -q . || fail "SIGTERM: nothing was saved"

# escape sequences, in whatever comes from outside, do not reach the terminal
e=$(printf '\033[31mred\007')
printf '{"prompt": "\\u001b[31m", "completion": "b\\u009b\\u001b]0;x\\u0007"}\n{"prompt": "\\u001b[31m", "completion": "c"}\n' >escape.jsonl
calm() {
    name=$1
    shift
    "$@" >stdout 2>err </dev/null
    cat stdout err | tr -d '\n\t' | LC_ALL=C grep -q '[[:cntrl:]]' && fail "$name: a control byte reaches the terminal"
}
calm "a run's name" $train --run "$e" --iters 1 --data escape.jsonl --system "$e"
[ -s "runs/$e/run.json" ] || fail "a run's name: $(cat err)"
calm "runs list" "$g" runs list
for c in "runs show" inspect check "inspect --json"; do calm "$c" "$g" $c "$e"; done
calm "a rows' text" "$g" data escape.jsonl --model "$m"
calm "generate" "$g" generate --adapter "$e" --prompt "$e" --temp 5 --max-tokens 60 -n 4
calm "tokenize" "$g" tokenize --model "$m" "$e"
calm "syllables" "$g" syllables "$e"
calm "an export" "$g" export "$e" --to mlx --out "out/$e"
[ -s "out/$e/proof.json" ] || fail "an export: $(cat err)"
calm "an option" "$g" train "--$e"
calm "a value" "$g" train --iters "$e"
rm -rf "runs/$e"

# broken inputs
broken "no such model" "nowhere" "$g" generate --model nowhere --prompt x
broken "no such data" "nodata" "$g" train --model "$m" --data nodata.jsonl --run bad
: >empty.jsonl
broken "empty data" "empty.jsonl" "$g" train --model "$m" --data empty.jsonl --run bad
printf '{"messages": [{"role": "user", "content": "x"}]}\n' >noanswer.jsonl
broken "no answer" "no train row has a token to learn from" "$g" train --model "$m" --data noanswer.jsonl --run bad
printf '{"messages": [\n' >torn.jsonl
broken "broken JSON" "torn.jsonl:1" "$g" train --model "$m" --data torn.jsonl --run bad
cp -r "$m" cut && chmod -R u+w cut
head -c 1000 "$m/model.safetensors" >cut/model.safetensors
broken "cut weights" "model.safetensors" "$g" generate --model cut --prompt x
printf '\377\377\377\377\377\377\377\177' >cut/model.safetensors
broken "lying header" "model.safetensors" "$g" generate --model cut --prompt x
: >cut/model.safetensors
broken "empty weights" "model.safetensors" "$g" generate --model cut --prompt x
cp "$m/model.safetensors" cut/model.safetensors
sed 's/"llama"/"gpt9"/' "$m/config.json" >cut/config.json
broken "unknown architecture" "gpt9" "$g" generate --model cut --prompt x
cp "$fixtures/models/gemma3_text/tokenizer.json" cut/tokenizer.json
cp "$m/config.json" cut/config.json
broken "a tokenizer that does not match" "do not belong together" "$g" generate --model cut --prompt x
broken "a tokenizer that does not match, train" "do not belong together" "$g" train --model cut --data set --run bad
printf '{' >cut/config.json
broken "broken config" "config.json" "$g" generate --model cut --prompt x
head -c 500 "$fixtures/quantised/gguf/smollm2_q8_0.gguf" >cut.gguf
broken "cut GGUF" "cut.gguf" "$g" generate --model cut.gguf --prompt x
# ids that are no tokens of the model; an adapter of another model; a rate that breaks the weights
printf '{"input_ids": [1, 500000, 6], "labels": [-100, 5, 6]}\n' >bigid.jsonl
printf '{"input_ids": [1, 5, 6], "labels": [-100, 5, 99999]}\n' >biglabel.jsonl
for d in bigid biglabel; do
    broken "$d, train" "$d.jsonl:1" "$g" train --model "$m" --data $d.jsonl --run bad
    broken "$d, eval" "$d.jsonl:1" "$g" eval --model "$m" --data $d.jsonl --split train
done
broken "adapter of another model" "made for this model" "$g" generate --model "$fixtures/models/gemma3_text" --adapter one --prompt x
broken "start from an adapter of another model" "made for this model" "$g" train --model "$fixtures/models/gemma3_text" --data set --run bad \
    --resume-adapter-file runs/one/checkpoints/0000006
# DoRA: trained, said again, folded in; a run of the other kind does not start from it
expect 0 "dora" $train --run dora --fine-tune-type dora --iters 3
expect 0 "dora generates" "$g" generate --adapter dora --prompt rain --max-tokens 8 --temp 0 --compute f32 --json --quiet
sed 's/"adapter".*"text"/"text"/; s/"seconds".*//' stdout >said
expect 0 "dora fused" "$g" export dora --to safetensors --type f32 --out out/dora --quiet
expect 0 "dora fused generates" "$g" generate --model out/dora --prompt rain --max-tokens 8 --temp 0 --compute f32 --json --quiet
sed 's/"adapter".*"text"/"text"/; s/"seconds".*//' stdout | cmp -s - said || fail "DoRA folded in says something else"
broken "LoRA from DoRA" "fine-tune-type dora" $train --run bad --resume-adapter-file runs/dora/checkpoints/0000003
# an adapter knows its base: on weights with another fingerprint it works and warns, once; on its own it is silent
cp -r "$m" near && printf 'Z' | dd of=near/model.safetensors bs=1 seek=$(($(wc -c <near/model.safetensors) - 1)) conv=notrunc 2>/dev/null
"$g" logits --model "$m" --adapter one --ids 1,2,3 --out l.safetensors 2>err && [ ! -s err ] || fail "an adapter on its own base says something: $(cat err)"
"$g" logits --model near --adapter runs/one/checkpoints/0000006 --ids 1,2,3 --out l.safetensors 2>err || fail "an adapter on weights that are nearly its base's is refused"
[ "$(grep -c 'trained on other weights' err)" = 1 ] || fail "an adapter on another base does not warn: $(cat err)"
broken "a rate far too high" "not finite" "$g" train --model "$m" --data set --iters 90 --learning-rate 10 --lr-schedule constant --weight-decay 10 \
    --warmup 0 --sample-every 0 --run burst
[ ! -e runs/bad ] || fail "a run that could not start left a folder"
# what this machine can do
expect 0 "bench" "$g" bench --quick --model nano --seq 32 --steps 1 --tokens 1 --quiet
wide "bench"
has "bench" "where the time goes"
expect 0 "bench --json" "$g" bench --quick --model nano --seq 32 --steps 1 --tokens 1 --quiet --json
for field in processor families read_bytes_per_second '"pass":"backward"' share_of_peak '"name":"clip and update"' bandwidth_share; do has "bench --json" "$field"; done
[ "$(wc -l <stdout)" = 1 ] || fail "bench --json: not one object"
expect 2 "bench of a shape that nobody knows" "$g" bench --train-shape nosuch
expect 0 "bench of a model's training step" "$g" bench --train-shape "$m" --seq 16 --steps 1 --quiet
expect 2 "bench of a model and a shape" "$g" bench --model nano --train-shape tinyllama
# a closed pipe and a full disk
"$g" --help >/dev/full 2>err
[ $? = 1 ] || fail "a full disk behind stdout is no failure"
(ulimit -f 1; "$g" export --adapter one --to safetensors --type f32 --out out/full --quiet 2>err) && fail "a file limit is no failure"
[ ! -e out/full ] || fail "a failed export left its folder"
ls -d out/full* 2>/dev/null | grep -q . && fail "a failed export left a temporary folder"

[ $failures = 0 ] && echo "command line: all as it should be"
exit $((failures > 0))
