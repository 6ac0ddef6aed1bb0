#!/bin/sh
# `plan`, `bench` and `generate` from outside: what they refuse, and the keys that scripts hold on to; what a run pins of the kernels, and numbers of runs that
# start at once. Usage: plan_bench.sh PROGRAM FIXTURES (GEMMAIKU_FIXTURES: another set)
set -u
g=$(realpath "$1") fixtures=$(realpath "${GEMMAIKU_FIXTURES:-$2}")
. "$(dirname "$0")/begin.sh"
# refused CODE WORDS COMMAND...: exit CODE, one line on stderr that has the words, nothing on stdout
refused() {
    code=$1 words=$2
    shift 2
    "$@" --quiet >stdout 2>err </dev/null
    have=$?
    [ $have = "$code" ] || fail "$*: exit $have, not $code"
    grep -q -- "^gemmaiku: .*$words" err || fail "$*: \"$words\" is not said: $(cat err)"
    [ ! -s stdout ] || fail "$*: something on stdout"
}
# tells NAME COMMAND...: works, one JSON object a line on stdout
tells() {
    name=$1
    shift
    "$@" --json --quiet >stdout 2>err </dev/null || fail "$name: exit $?: $(cat err)"
    grep -vq '^{.*}$' stdout && fail "$name: a line that is no object"
}
# has WORDS: in what the last one told
has() { grep -q -- "$1" stdout || fail "$name: $1 is missing"; }
m=$fixtures/models/smollm2
mkdir set
for split in train valid; do
    for i in 1 2 3 4 5 6; do
        echo "{\"messages\": [{\"role\": \"user\", \"content\": \"rain $i $split\"}, {\"role\": \"assistant\", \"content\": \"soft rain $i on the roof\"}]}"
    done >set/$split.jsonl
done

# plan: what cannot be planned
refused 1 "open /nowhere" "$g" plan --model /nowhere
refused 1 "open /nowhere" "$g" plan --model "$m" --data /nowhere
refused 1 "open /nowhere" "$g" plan --model "$m" --data set --resume-adapter-file /nowhere
echo '{"messages": 5}' >bad.jsonl
refused 1 "bad.jsonl:1" "$g" plan --model "$m" --data bad.jsonl
refused 2 "find shape none.*smollm2-135m" "$g" plan --train-shape none
refused 2 "only adapters are planned" "$g" plan --train-shape smollm2-135m --fine-tune-type full
refused 2 "only one of the two" "$g" plan --train-shape smollm2-135m --model "$m"
refused 2 "only one of the two" "$g" plan --train-shape smollm2-135m --data set
refused 2 "give --train-shape" "$g" plan --model "$m" --weights q8_0
refused 2 "is none of" "$g" plan --train-shape smollm2-135m --weights q9
refused 2 "lies outside" "$g" plan --iters 0
refused 2 "no amount of memory" "$g" plan --memory-budget 2potatoes
refused 2 "write 20GB or 20MB" "$g" plan --memory-budget 20
refused 2 "no further word" "$g" plan smollm2

# bench: before anything is measured
refused 1 "open /nowhere" "$g" bench --model /nowhere
refused 2 "one at a time" "$g" bench --train-shape tinyllama --decode-shape tinyllama
refused 2 "only one of the two" "$g" bench --model "$m" --decode-shape tinyllama
refused 2 "1.5 is no whole number" "$g" bench --decode-shape tinyllama --sequences 1,1.5

# generate: one prompt
refused 2 "2 are told" "$g" generate --model "$m" --prompt rain --prompt snow
refused 2 "2 are told" "$g" generate --model "$m" --prompt rain snow
refused 2 "the workbench takes no further word" "$g" rain snow
[ ! -e runs ] || fail "plan: it made a folder"

# what is needed and what is there; a thousand million updates are told in years or days
tells "plan" "$g" plan --model "$m" --data set --iters 4 --rank 4
for key in '"memory_bytes":{' '"total":' '"seconds":{' '"step":' '"times":{' '"disk_bytes":{' '"fits":true' '"changes":\[' '"kernel":"' '"compute":"'; do has "$key"; done
"$g" plan --model "$m" --data set --iters 1000000000 >stdout 2>err || fail "a plan of many updates: $(cat err)"
grep -q 'in all  *[0-9.]* \(days\|years\)' stdout || fail "a plan of many updates: $(grep 'in all' stdout)"

# bench: the keys of docs and scripts
tells "bench --train-shape" "$g" bench --train-shape "$m" --seq 16 --steps 3 --kernel plain --threads 1
for key in tokens_per_second step_ms step_ms_min step_ms_max peak_memory_bytes share_of_peak recompute_layers; do has "\"$key\":[0-9]"; done
has '"kernel":"plain"'
has '"threads":1'
has '"parts":\[{"name":"embedding","ms":[0-9.e-]*,"gflops":[0-9.]*,"flops":[0-9.]*,"bytes":[0-9.]*,'
for part in "forward: products" "forward: attention" "head and loss" "backward: products" "clip and update"; do has "{\"name\":\"$part\",\"ms\":[0-9]"; done
awk '{
    match($0, /"step_ms_min":[0-9.]*/); least = substr($0, RSTART + 14, RLENGTH - 14)
    match($0, /"step_ms":[0-9.]*/); middle = substr($0, RSTART + 10, RLENGTH - 10)
    match($0, /"step_ms_max":[0-9.]*/); most = substr($0, RSTART + 14, RLENGTH - 14)
    exit !(least > 0 && least <= middle && middle <= most)
}' stdout || fail "bench --train-shape: least, middle and most are in no order: $(cut -c 1-300 stdout)"
tells "bench --decode-shape" "$g" bench --decode-shape "$m" --sequences 1,3 --tokens 2
[ "$(wc -l <stdout)" = 2 ] || fail "bench --decode-shape: not a line a number of sequences"
for n in 1 3; do has "\"sequences\":$n,\"tokens_per_second\":[0-9.]*,\"bytes_per_token\":[0-9.]*,\"bandwidth_share\":[0-9.]*"; done

# as many layers computed again as the memory wants: none, some, all; and what even that does not fit is refused
tells "bench with room" "$g" bench --train-shape "$m" --seq 8192 --steps 1 --memory-budget 4GB
has '"recompute_layers":0,'
peak() { sed 's/.*"peak_memory_bytes":\([0-9]*\).*/\1/' stdout; }
most=$(peak)
tells "bench without" "$g" bench --train-shape "$m" --seq 8192 --steps 1 --grad-checkpoint on
has '"recompute_layers":[1-9]'
least=$(peak)
[ "$least" -lt "$most" ] || fail "bench --grad-checkpoint on takes no less memory"
refused 1 "raise --memory-budget" "$g" bench --train-shape "$m" --seq 8192 --steps 1 --memory-budget 1MB
needed=$(sed -n 's/.*plan memory: \([0-9]*\) MB are needed.*/\1/p' err)
tells "bench with less room" "$g" bench --train-shape "$m" --seq 8192 --steps 1 --memory-budget "$((needed + 3))MB" # all layers kept want 12 more
has '"recompute_layers":[1-9]'

# a run pins its kernels; on a processor without them it is refused, and --kernel is the way on
how="--model $m --data set --batch-size 2 --rank 2 --sample-every 0 --quiet"
# shellcheck disable=SC2086
"$g" train --run pinned --iters 4 $how --kernel plain 2>err || fail "train: $(cat err)"
grep -q '"kernel": "plain"' runs/pinned/run.json || fail "run.json does not pin the kernels"
case $(uname -m) in x86_64 | amd64) foreign=neon ;; *) foreign=avx2 ;; esac
sed "s/\"kernel\": \"plain\"/\"kernel\": \"$foreign\"/" runs/pinned/run.json >changed && cp changed runs/pinned/run.json
refused 1 "kernels of $foreign.*--kernel auto" "$g" resume pinned --iters 6
"$g" resume pinned --iters 6 --kernel plain --quiet 2>err || fail "resume with other kernels: $(cat err)"
grep '"event":"warning"' runs/pinned/journal.jsonl | grep -q 'not bit for bit' || fail "resume with other kernels: the journal does not say so"
grep -q '"kernel": "plain"' runs/pinned/run.json || fail "resume with other kernels: run.json names the old ones"

# runs that start at the same instant get a number each
for i in 1 2 3 4; do
    # shellcheck disable=SC2086
    "$g" train --iters 1 $how --threads 1 2>err-$i &
done
wait
[ -d runs/smollm2-set-004 ] && [ ! -e runs/smollm2-set-005 ] || fail "four runs at once: $(ls runs) $(cat err-*)"

[ $failures = 0 ] && echo "plan and bench: all as it should be"
exit $((failures > 0))
