#!/bin/sh
# Runs that end before their end: by a signal (saved, told, the shell's exit codes), by kill -9 at any moment, by a full disk. Resumed, each gives the
# very files of a run that was never disturbed, whatever the number of threads. Usage: resume.sh PROGRAM
set -u
g=$(realpath "$1")
. "$(dirname "$0")/begin.sh"
iters=90
how="--iters $iters --batch-size 2 --save-every 24 --steps-per-eval 30 --val-batches 6 --sample-temps 0.7 --seed 3 --quiet"
kernel=auto
train() {
    run=$1
    shift
    "$g" train --run "$run" --kernel $kernel $how "$@"
}
digest() { cat "runs/$1/checkpoints/00000$iters/adapters.safetensors" "runs/$1/checkpoints/00000$iters/optimizer.safetensors" | sha256sum; }
same() { [ -s "runs/$1/checkpoints/00000$iters/optimizer.safetensors" ] && [ "$(digest whole)" = "$(digest "$1")" ] || fail "$1: other bits than the undisturbed run"; }
steps() { grep -c '"event":"step"' "runs/$1/journal.jsonl" 2>/dev/null || true; }
wait_for_steps() { # RUN N PID
    for _ in $(seq 400); do
        n=$(steps "$1")
        [ "${n:-0}" -ge "$2" ] && return
        kill -0 "$3" 2>/dev/null || return
        sleep 0.02
    done
}

train whole --threads 2 2>err || fail "whole: $(cat err)"
# the same kernels for all: which are fastest is measured at the start, and two starts may find otherwise
kernel=$(sed -n 's/.*"kernel": "\([a-z0-9]*\)".*/\1/p' runs/whole/run.json)
for n in 1 4; do
    train threads-$n --threads $n 2>err || fail "threads $n: $(cat err)"
    same threads-$n
done
train other --threads 2 --seed 4 2>err # (the later --seed wins)
[ "$(digest whole)" != "$(digest other)" ] || fail "another seed gives the same bits: the comparison sees nothing"

for signal in INT:130 TERM:143 HUP:129; do
    name=${signal%:*}
    # a shell starts background commands with SIGINT ignored; env gives it back
    env --default-signal=INT "$g" train --run "$name" --kernel $kernel $how 2>err &
    pid=$!
    wait_for_steps "$name" 11 $pid
    kill -"$name" $pid
    wait $pid
    code=$?
    [ $code = "${signal#*:}" ] || fail "$name: exit $code, not ${signal#*:}: $(cat err)"
    tail -1 "runs/$name/journal.jsonl" | grep -q '"event":"end".*"reason":"stopped"' || fail "$name: the journal has no end"
    "$g" resume "$name" --quiet 2>err || fail "resume after $name: $(cat err)"
    same "$name"
done

kills=0
for round in 1 2 3 4; do
    run=killed-$round
    "$g" train --run $run --kernel $kernel $how --threads $((1 + round % 3)) 2>/dev/null &
    pid=$!
    for wanted in $((round * 5)) $((round * 5 + 27)) $((round * 5 + 40)); do
        wait_for_steps $run $wanted $pid
        kill -9 $pid 2>/dev/null && kills=$((kills + 1))
        wait $pid 2>/dev/null
        "$g" resume $run --threads 2 --quiet 2>/dev/null &
        pid=$!
    done
    wait $pid || fail "$run: the last resume failed"
    same $run
    [ -z "$(find "runs/$run" -name '.*')" ] || fail "$run: something half is left: $(find "runs/$run" -name '.*')"
done
[ $kills -ge 8 ] || fail "only $kills of 12 kills met a running program"

# a full disk: files cannot grow beyond 1 MiB, a checkpoint needs more
(ulimit -f 1024; train full 2>err)
code=$?
[ $code = 1 ] || fail "full disk: exit $code, not 1"
grep -q "^gemmaiku: .*checkpoint" err || fail "full disk: $(cat err)"
[ -z "$(ls -A runs/full/checkpoints)" ] || fail "full disk: half a checkpoint: $(ls -A runs/full/checkpoints)"
"$g" resume full --quiet 2>err || fail "resume after a full disk: $(cat err)"
same full

[ $failures = 0 ] && echo "all well, $kills kills"
exit $((failures > 0))
