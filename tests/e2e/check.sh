#!/bin/sh
# `gemmaiku check` and `inspect`: what a path is, whether it would work, and one clear line for each way in which it would not.
# Usage: check.sh PROGRAM FIXTURES   (GEMMAIKU_FIXTURES: another set of the same kind)
set -u
g=$(realpath "$1") fixtures=$(realpath "${GEMMAIKU_FIXTURES:-$2}")
. "$(dirname "$0")/begin.sh"
export HF_HOME=$work/hf LC_ALL=C
# good SAYS PATH: it works
good() {
    "$g" check "$2" >out 2>err </dev/null || {
        fail "$2: it would not work"
        sed 's/^/    /' err
    }
    grep -q "^$2: .*$1.*: works\$" out || {
        fail "$2: \"$1\" is not said"
        sed 's/^/    /' out
    }
}
# bad SAYS PATH: exit 1, and a line on stderr that says it
bad() {
    "$g" check "$2" >out 2>err </dev/null
    [ $? = 1 ] || fail "$2: the exit status is not 1"
    grep -q "^gemmaiku: .*$1" err || {
        fail "$2: \"$1\" is not said"
        sed 's/^/    /' err
    }
    [ "$(grep -vc '^gemmaiku: warning' err)" -le 2 ] || fail "$2: more than two lines"
    quiet "$2"
}
# quiet NAME: no control byte in what was said
quiet() {
    cat out err | tr -d '\n\t' | grep -q '[[:cntrl:]]' && fail "$1: a control byte reaches the terminal"
}
# use SAYS PATH COMMAND...: the same of another command, which leaves nothing behind; both in little memory
use() {
    says=$1 path=$2
    shift 2
    (
        $limit
        "$g" "$@" "$path" >out 2>err </dev/null
    )
    [ $? = 1 ] || fail "$1 $path: the exit status is not 1"
    grep -q "^gemmaiku: .*$says" err || {
        fail "$1 $path: \"$says\" is not said"
        sed 's/^/    /' err
    }
    [ "$(wc -l <err)" = 1 ] || fail "$1 $path: not one line"
    quiet "$path"
    [ ! -e runs/hostile ] || fail "$1 $path: a run is left"
}
# A sanitizer maps terabytes; other builds make do with little.
limit=:
(ulimit -v 1500000 && "$g" --version) >/dev/null 2>&1 && limit="ulimit -v 1500000"
f=$fixtures

# all that there is
for m in "$f"/models/*; do good "model, .* parameters, .*tokenizer.*chat template" "$m"; done
for q in "$f"/quantised/gguf/*_q8_0.gguf; do good "GGUF, .*Q8_0" "$q"; done
for a in "$f"/adapters/*/mlx "$f"/adapters/*/peft; do [ ! -d "$a" ] || good "adapter, .*RA, rank [0-9]*, scale" "$a"; done
good "tokenizer, " "$f/tokenizers/gemma3"
good "tokenizer, " "$f/tokenizers/llama2/tokenizer.json"
good "model config, llama" "$f/models/llama/config.json"
good "data, 587 rows of messages" haiku
good "model, gemma3_text" nano
"$g" train --model "$f/models/smollm2" --iters 2 --sample-every 0 --run one --quiet 2>err || fail "train: $(cat err)"
good "run, finished at step 2 of 2, 1 checkpoint" one
good "checkpoint, step 2, .*fits its base" one:last
good "adapter, MLX LoRA" runs/one/checkpoints/0000002/adapters.safetensors
good "journal, [0-9]* lines" runs/one/journal.jsonl
printf 'model: nano\niters: 7\nbatch_size: 2\n' >good.yaml
good "settings, model nano, 7 updates of 2 rows" good.yaml
printf 'name plain\ninherit washi\n' >plain.theme
good "theme, plain" plain.theme
printf '{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n' >rows.jsonl
good "data, 3 rows of text" rows.jsonl
printf 'FROM %s\nPARAMETER temperature 0.7\nPARAMETER stop "<|im_end|>"\n' "$f/quantised/gguf/smollm2_q8_0.gguf" >Modelfile
good "Modelfile, from .*smollm2_q8_0.gguf (llama, .*Q8_0" Modelfile
printf '{%% for m in messages %%}<{{ m.role }}>{{ m.content }}{%% endfor %%}' >plain.jinja
good "chat template, " plain.jinja
cp "$f/models/smollm2/config.json" "half.json"
good "model config, llama" half.json

# model folders that are damaged in one place each; the header is text, so sed can damage it without moving a byte
damage() { # NAME SED-SCRIPT [FILE]: a copy of the f32 model
    rm -rf "$1"
    cp -r "$f/models/llama_f32" "$1"
    chmod -R u+w "$1"
    sed -i "$2" "$1/${3:-model.safetensors}"
}
damage missing 's/"model\.norm\.weight"/"model.nrom.weight"/'
bad 'tensor "model.norm.weight" .*is missing' missing
damage type 's/"dtype":"F32"/"dtype":"F99"/'
bad 'F99' type
damage nofloat 's/"dtype":"F32"/"dtype":"I32"/'
bad 'I32' nofloat
damage shape 's/"hidden_size": *[0-9]*/"hidden_size": 16/' config.json
bad 'tensor ".*" .*\[' shape
damage overlap 's/"data_offsets":\[0,/"data_offsets":[4,/'
bad 'model.safetensors' overlap
damage config 's/"model_type"/"model_tyqe"/' config.json
bad 'model_type' config
damage family 's/"model_type": *"llama"/"model_type": "gpt9"/' config.json
bad 'gpt9.*not supported' family
damage twice 's/"vocab_size"/"hidden_size"/' config.json
bad 'config.json:[0-9]*:.*duplicate' twice
rm -rf vocabulary && cp -r "$f/models/llama_f32" vocabulary && chmod -R u+w vocabulary
cp "$f/models/gemma3_text/tokenizer.json" "$f/models/gemma3_text/tokenizer_config.json" vocabulary
bad 'they do not belong together' vocabulary
rm -rf notokenizer && cp -r "$f/models/llama_f32" notokenizer && chmod -R u+w notokenizer && rm notokenizer/tokenizer*
bad 'tokenizer.json' notokenizer
rm -rf noweights && cp -r "$f/models/llama_f32" noweights && chmod -R u+w noweights && rm noweights/model.safetensors
bad 'there is no model.safetensors' noweights
rm -rf nan && cp -r "$f/models/llama_f32" nan && chmod -R u+w nan
size=$(stat -c %s nan/model.safetensors)
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
bad 'is not a finite number' nan
rm -rf shard && cp -r "$f/models/llama_sharded" shard && chmod -R u+w shard && rm "shard/$(ls shard | grep -m1 '^model-.*safetensors$')"
bad 'model-0' shard

# safetensors files made by hand: header, then that many bytes of zeros
st() { # NAME HEADER BYTES
    n=$(printf %s "$2" | wc -c)
    { printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))\000\000\000\000\000\000%s" "$2"; head -c "$3" /dev/zero; } >"$1"
}
st ok.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' 8
good "weights, 1 tensors" ok.safetensors
st twice.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}' 16
bad '"a".*twice\|"a".*duplicate\|"a".*second' twice.safetensors
st overlap.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}' 12
bad 'overlap' overlap.safetensors
st gap.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}' 20
bad 'read gap.safetensors' gap.safetensors
st size.safetensors '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}' 8
bad '"a"' size.safetensors
st unknown.safetensors '{"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,8]}}' 8
bad 'Q9' unknown.safetensors
st short.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' 4
bad 'cut short' short.safetensors
st huge.safetensors '{"a":{"dtype":"F32","shape":[4611686018427387904,16],"data_offsets":[0,8]}}' 8
bad 'read huge.safetensors' huge.safetensors
printf '\377\377\377\377\377\377\377\177' >header.safetensors
bad 'header.safetensors' header.safetensors

# GGUF
head -c 500 "$f/quantised/gguf/smollm2_q8_0.gguf" >cut.gguf
bad 'cut.gguf' cut.gguf
printf 'GGUF\003\000\000\000\377\377\377\377\377\377\377\177\001\000\000\000\000\000\000\000' >counts.gguf
bad 'counts.gguf' counts.gguf
sed 's/output_norm\.weight/output_nrom.weight/' "$f/quantised/gguf/smollm2_q8_0.gguf" >missing.gguf
bad 'output_norm.weight.*is missing' missing.gguf
sed 's/llama\.block_count/llama.blokc_count/' "$f/quantised/gguf/smollm2_q8_0.gguf" >key.gguf
bad 'llama.block_count' key.gguf

# adapters
adapter() { # NAME SED-SCRIPT FILE
    rm -rf "$1"
    cp -r runs/one/checkpoints/0000002 "$1"
    rm -f "$1/state.json" "$1/optimizer.safetensors"
    sed -i "$2" "$1/$3"
}
adapter partner 's/model\.layers\.0\.self_attn\.q_proj\.lora_a/model.layers.0.self_attn.q_proj.lora_c/' adapters.safetensors
bad 'lora_c' partner
adapter module 's/model\.layers\.0\.self_attn\.q_proj\.lora/model.layers.0.self_attn.x_proj.lora/g' adapters.safetensors
bad 'x_proj' module
adapter noscale 's/"scale"/"scael"/' adapter_config.json
bad 'scale' noscale
rm -rf noconfig && cp -r partner noconfig && cp runs/one/checkpoints/0000002/adapters.safetensors noconfig && rm noconfig/adapter_config.json
bad 'adapter_config.json' noconfig/adapters.safetensors

# a GGUF adapter is known by what it holds, and is no model
"$g" export one --to gguf-lora --out lora --quiet 2>err || fail "export gguf-lora: $(cat err)"
good "adapter, GGUF LoRA, rank" lora
"$g" generate --model lora --prompt x >out 2>err </dev/null && fail "a GGUF adapter is taken for a model"
grep -q "it is an adapter, not a model" err || fail "a GGUF adapter as a model: $(cat err)"

# an adapter and the base that it is said to be for
"$g" check --model "$f/models/smollm2" runs/one/checkpoints/0000002/adapters.safetensors >out 2>err </dev/null || fail "check --model: $(cat err)"
grep -q "fits its base" out || fail "check --model: the base is not looked at"
"$g" check --model "$f/models/llama" runs/one/checkpoints/0000002/adapters.safetensors >out 2>err </dev/null && fail "an adapter fits another model"
rm -rf other && cp -r "$f/models/smollm2" other && chmod -R u+w other
for at in 9 2000 9000 40000 100000; do # other weights of the same shape
    printf '\001\001' | dd of=other/model.safetensors bs=1 seek=$(($(stat -c %s other/model.safetensors) - at)) conv=notrunc 2>/dev/null
done
"$g" check --model other runs/one/checkpoints/0000002 >out 2>err </dev/null || fail "check on other weights: $(cat err)"
grep -q "warning" err || fail "an adapter on other weights than its own is not warned about"
for a in "$f"/quantised/gguf/*_lora.gguf; do
    [ ! -f "$a" ] || "$g" check --model "$f/models/$(basename "$a" _lora.gguf)" "$a" >out 2>err </dev/null || fail "check --model of $a: $(cat err)"
done

# a run whose checkpoint was changed
cp -r runs/one runs/two
printf x >>runs/two/checkpoints/0000002/adapters.safetensors
bad 'adapters.safetensors' two
echo '{' >runs/two/run.json
bad 'run.json' runs/two

# small files
: >empty.jsonl
bad 'empty' empty.jsonl
printf '{"messages": [\n' >torn.jsonl
bad 'torn.jsonl:1' torn.jsonl
printf '{"no": 1}\n' >form.jsonl
bad 'form.jsonl:1' form.jsonl
printf 'model: nano\nlerning_rate: 1\n' >wrong.yaml
bad 'wrong.yaml:2: there is no setting "lerning_rate" (did you mean learning_rate' wrong.yaml
printf 'rank: 4\nrank: 8\n' >twice.yaml
bad 'twice.yaml:2: .*second time' twice.yaml
printf 'name x\ncolor text nosuch\n' >wrong.theme
bad 'wrong.theme:2' wrong.theme
printf '{"version": "1.0", "added_tokens": [], "pre_tokenizer": null, "model": {"type": "WordPiece", "vocab": {}}}' >wordpiece.json
bad 'read wordpiece.json: ' wordpiece.json
printf 'FROM ./gone.gguf\n' >Modelfile.gone
bad 'gone.gguf' Modelfile.gone
printf 'FROM ./Modelfile.self\n' >Modelfile.self
bad 'leads to a Modelfile' Modelfile.self
printf 'PARAMETER temperature 1\n' >Modelfile.empty
bad 'FROM' Modelfile.empty
printf 'FROM x\nSYSTEM """never closed\n' >Modelfile.open
bad 'Modelfile.open' Modelfile.open
printf '{%% for m in messages %%}{{ m.content }}' >open.jinja
bad 'open.jinja' open.jinja
printf '{{ messages | no_such_filter }}' >filter.jinja
bad 'no_such_filter' filter.jinja
printf '<!doctype html><html>' >page
bad 'web page' page
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n' >pointer.gguf
bad 'git-lfs pointer' pointer.gguf
printf 'hello' >letter
bad 'nothing that is known here' letter
mkdir -p nothing
bad 'the folder is empty' nothing
bad 'no such file or folder' nowhere
bad 'hf download org/name' org/name

# what is not a file, or not where one looks for it
copy() { # NAME: a whole model to do harm to
    rm -rf "$1"
    cp -r "$f/models/smollm2" "$1"
    chmod -R u+w "$1"
}
train="train --iters 1 --run hostile --quiet"
for file in model.safetensors config.json tokenizer.json; do
    copy fifo && rm "fifo/$file" && mkfifo "fifo/$file"
    bad 'not a regular file' fifo
    use 'not a regular file' fifo generate --prompt x --model
    copy folder && rm "folder/$file" && mkdir "folder/$file"
    bad "folder" folder
    use "folder" folder $train --model
done
copy circle && rm circle/model.safetensors && ln -s model.safetensors circle/model.safetensors
bad 'circle' circle
ln -s self self
bad 'self' self
copy endless && ln -sf /dev/zero endless/tokenizer_config.json
bad 'endless/tokenizer_config.json' endless
for end in jsonl gguf yaml jinja safetensors; do
    mkfifo "pipe.$end"
    bad 'not a regular file' "pipe.$end"
done
use 'not a regular file' pipe.jsonl $train --data
use 'not a regular file' pipe.yaml $train -c
truncate -s 10G holes.jsonl holes.gguf holes.yaml holes.safetensors
for end in jsonl gguf yaml safetensors; do bad "holes.$end" "holes.$end"; done
use 'holes.yaml' holes.yaml $train -c

# small files with large claims
st claim.safetensors '{"a":{"dtype":"F32","shape":[2684354560],"data_offsets":[0,10737418240]}}' 900
bad 'cut short' claim.safetensors
printf 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000t\002\000\000\000\000\000\000\100\000\000\000\000\000\000\000\100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' >claim.gguf
head -c 900 /dev/zero >>claim.gguf
bad 'claim.gguf.* "t"' claim.gguf
use 'claim.gguf.* "t"' claim.gguf generate --prompt x --model
head -c 300000 /dev/zero | tr '\0' '[' >brackets
for name in rows.json deep.jsonl config.json adapter_config.json proof.json settings.json; do
    mkdir -p deep
    { printf '{"messages": '; cat brackets; } >"deep/$name"
    bad 'deeper than 64 levels' "deep/$name"
done
use 'deeper than 64 levels' deep/deep.jsonl $train --data
copy many && sed -i 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 2147483647/' many/config.json
bad 'many/config.json.*num_hidden_layers' many
copy wide && sed -i 's/"num_attention_heads": *[0-9]*/"num_attention_heads": 1/; s/"num_key_value_heads": *[0-9]*/"num_key_value_heads": 1/; s/"hidden_size": *[0-9]*/"hidden_size": 65536/' wide/config.json
bad 'wide/config.json.*head dimension' wide
copy ends && echo '{"eos_token_id": "</s>"}' >ends/generation_config.json
bad 'ends/generation_config.json.*eos_token_id' ends

# templates and patterns that never end, or never stop writing
jinja() { # SAYS TEMPLATE
    printf '%s' "$2" >endless.jinja
    bad "endless.jinja.*$1" endless.jinja
    use "$1" endless.jinja generate --prompt x --chat-template
    use "were not looked at" endless.jinja $train --chat-template
}
jinja 'takes more than' '{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}'
jinja 'takes more than' '{% set ns = namespace(x="aaaaaaaa") %}{% for a in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}'
jinja 'takes more than' '{{ "a" * 10000000000 }}'
jinja 'deeper than' '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}'
jinja 'too big' '{{ range(1000000000000) | list | length }}'
pattern() { # REGEX: instead of the pre-tokeniser of a tokenizer.json
    copy bomb
    sed -i 's/"pre_tokenizer":.*,"post_processor"/"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'"$1"'"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},"post_processor"/' bomb/tokenizer.json
}
pattern '(a*)*b' && bad 'bomb/tokenizer.json.*loop over something that may be empty' bomb
pattern '(((a{999}){999}){999})' && bad 'bomb/tokenizer.json.*instructions' bomb
pattern '(a+)+b'
use 'steps a byte' bomb generate --prompt "$(head -c 100000 /dev/zero | tr '\0' a)" --model

# escape sequences in names and texts
e=$(printf '\033[31mred\007')
st escape.safetensors '{"'"$(printf '\\u001b[31m')"'":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}' 4
bad 'escape.safetensors.*F99' escape.safetensors
st escape.safetensors '{"'"$(printf '\\u001b[31m')"'":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"a":"\u001b[2J"}}' 4
good "weights" escape.safetensors
quiet "a tensor's name"
for what in check inspect "inspect --tensors" "inspect --json"; do
    "$g" $what escape.safetensors >out 2>err </dev/null
    quiet "$what"
done
mkdir "$e"
bad 'the folder is empty' "$e"
use 'no config.json' "$e" generate --prompt x --model
printf '{"%s": 1}\n' "$e" >"$e.jsonl"
bad 'read' "$e.jsonl"
printf 'name %s\ncolor %s\n' "$e" "$e" >escape.theme
bad 'escape.theme:' escape.theme
printf 'FROM %s\n' "$e" >Modelfile.escape
"$g" check Modelfile.escape >out 2>err </dev/null
quiet Modelfile.escape
printf '{{ raise_exception("%s") }}' "$e" >escape.jinja
bad 'escape.jinja' escape.jinja
use 'red' escape.jinja generate --prompt x --chat-template

# several at once: each is told, and the last word is the worst
"$g" check nano nowhere haiku >out 2>err </dev/null
[ $? = 1 ] || fail "several: the exit status is not 1"
[ "$(grep -c ': works$' out)" = 2 ] || fail "several: two should work"
"$g" check --json nano nowhere >out 2>err </dev/null
[ "$(grep -c '"works":true' out)" = 1 ] && [ "$(grep -c '"works":false' out)" = 1 ] || fail "check --json: $(cat out)"

# a TEMPLATE that asks otherwise than the model was trained; one that does not
"$g" export one --to ollama --out ollama --quiet >out 2>err || fail "export to ollama: $(cat err)"
good "Modelfile, from ./model.gguf" ollama
grep -q "another prompt" err && fail "the TEMPLATE of an export is said to differ: $(cat err)"
good "proof, of an export to ollama" ollama/proof.json
printf 'FROM ./model.gguf\nTEMPLATE """<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"""\nSYSTEM Be brief.\n' >ollama/Modelfile
good "Modelfile, from ./model.gguf" ollama
[ "$(grep -c "warning: .*builds another prompt" err)" = 3 ] || fail "a TEMPLATE that differs is not told: $(cat err)"

# inspect
"$g" inspect --json "$f/models/gemma3_text" >out 2>err </dev/null || fail "inspect: $(cat err)"
for word in '"family":"gemma3_text"' '"type":"BF16"' '"pieces":' '"template":{"name":'; do
    grep -q "$word" out || fail "inspect --json: no $word"
done
"$g" inspect --tensors "$f/models/llama_f32" >out 2>err </dev/null || fail "inspect --tensors: $(cat err)"
grep -q "F32 .*\[[0-9]*\].*model.norm.weight" out || fail "inspect --tensors: no model.norm.weight"
"$g" inspect "$f/quantised/gguf/smollm2_q8_0.gguf" >out 2>err </dev/null || fail "inspect GGUF: $(cat err)"
grep -q "length *[0-9]" out || fail "inspect GGUF: long arrays are not shortened"
"$g" inspect one:last --json >out 2>err </dev/null || fail "inspect adapter: $(cat err)"
grep -q '"layout":"MLX".*"rank":16' out || fail "inspect adapter: no layout"
"$g" inspect one >out 2>err </dev/null || fail "inspect run: $(cat err)"
grep -q "model_sha256" out || fail "inspect run: no lineage"
"$g" train --model "$f/models/smollm2" --iters 2 --sample-every 0 --run child --resume-adapter-file runs/one/checkpoints/0000002 --quiet 2>err || fail "child: $(cat err)"
"$g" train --model "$f/models/smollm2" --iters 2 --sample-every 0 --run grandchild --resume-adapter-file runs/child/checkpoints/0000002/adapters.safetensors --quiet 2>err || fail "grandchild: $(cat err)"
"$g" inspect grandchild --json >out 2>err </dev/null || fail "inspect grandchild: $(cat err)"
grep -q '"parents":\[{[^}]*"run":"child"[^}]*},{[^}]*"run":"one"' out || fail "inspect: the parents are not told: $(cat out)"
cp -r "$f/models/smollm2" base && chmod -R u+w base
"$g" train --model base --iters 2 --sample-every 0 --run based --quiet 2>err || fail "based: $(cat err)"
printf '\001' | dd of=base/model.safetensors bs=1 seek=$(($(stat -c %s base/model.safetensors) - 8)) conv=notrunc 2>/dev/null
"$g" check based >out 2>err </dev/null || fail "check based: $(cat err)"
grep -q "warning: based: its base base is another one" err || fail "check: a base that changed is not told: $(cat err)"
rm -r base
"$g" check based >out 2>err </dev/null || fail "check based: $(cat err)"
grep -q "warning: based: its base is not here" err || fail "check: a base that is gone is not told: $(cat err)"
"$g" inspect missing >out 2>err </dev/null # a damaged model is told as far as it can be
grep -q "parameters" out || fail "inspect of a damaged model says nothing"
"$g" inspect --template --json "$f/models/gemma3_text" >out 2>err </dev/null
grep -q '"text":' out || fail "inspect --template: no text"

[ $failures = 0 ] && echo "check: all as it should be"
exit $((failures > 0))
