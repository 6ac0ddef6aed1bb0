#!/bin/sh
# Does `plan` say what then happens? For each case: the forecast, then the thing itself, and forecast / actual of peak memory, of a step and of
# the whole run. Good: memory 0.9 to 1.1, time 0.75 to 1.25, on a machine that does nothing else.
#
#     tests/bench/plan_check.sh PROGRAM [CASE...]
# CASE: a shape as `bench --train-shape` takes it, with options behind colons (gemma3-270m:--weights:q4_0), or train:OPTIONS with colons for
# blanks (train:--model:FILE:--iters:20). Without cases: shapes and runs that take about a minute.
set -eu
program=$1
shift
[ $# -gt 0 ] || set -- smollm2-135m gemma3-270m gemma3-270m:--grad-checkpoint:on smollm2-135m:--weights:q4_1 train:--iters:100 \
    train:--iters:60:--batch-size:8:--rank:4
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
export GEMMAIKU_RUNS="$runs"

# number KEY: the first one behind "KEY" in a line of JSON on stdin
number() {
    sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p" | head -1
}
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'
}

printf '%-44s %22s %8s %22s %8s %8s\n' case 'memory MB plan/actual' ratio 'step ms plan/actual' ratio 'run'
for case in "$@"; do
    words=$(printf %s "$case" | tr : ' ')
    case $words in
    train*)
        options=${words#train}
        # shellcheck disable=SC2086 # words are meant to be split
        plan=$("$program" plan $options --json) || [ $? -eq 3 ]
        # shellcheck disable=SC2086
        done=$("$program" train --run check $options --json --quiet)
        memory=$(printf %s "$done" | number peak_memory_bytes)
        actual=$(printf %s "$done" | number seconds)
        step=$(sed -n 's/.*"event":"step".*"tokens":\([0-9]*\).*"tokens_per_second":\([0-9.]*\).*/\1 \2/p' "$runs/check/journal.jsonl" |
            awk '{ s += $1 / $2; n++ } END { print 1000 * s / n }')
        run=$(ratio "$(printf %s "$plan" | sed 's/.*"seconds": *{\([^}]*\)}.*/{\1}/; s/"changes".*//' | number total)" "$actual")
        rm -rf "$runs/check"
        ;;
    *)
        # shellcheck disable=SC2086
        plan=$("$program" plan --batch-size 1 --train-shape $words --json) || [ $? -eq 3 ]
        # shellcheck disable=SC2086
        done=$("$program" bench --train-shape $words --json --quiet)
        memory=$(printf %s "$done" | number peak_memory_bytes)
        step=$(printf %s "$done" | number step_ms)
        run=-
        ;;
    esac
    plan=$(printf %s "$plan" | sed 's/"changes".*//')
    total=$(printf %s "$plan" | sed 's/.*"memory_bytes": *{\([^}]*\)}.*/\1/' | number total)
    each=$(printf %s "$plan" | sed 's/.*"seconds": *{\([^}]*\)}.*/\1/' | number step)
    printf '%-44s %10.0f /%10.0f %8s %10.1f /%10.1f %8s %8s\n' "$case" "$(awk "BEGIN { print $total / 1e6 }")" "$(awk "BEGIN { print $memory / 1e6 }")" \
        "$(ratio "$total" "$memory")" "$(awk "BEGIN { print 1000 * $each }")" "$step" "$(awk "BEGIN { printf \"%.2f\", 1000 * $each / $step }")" "$run"
done
