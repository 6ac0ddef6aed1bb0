#!/bin/sh
# Drives ui_live in tmux: keys, the readline line, resize, paste, suspend, crash. Usage: live.sh PROGRAM
set -u
command -v tmux >/dev/null || exit 77
program=$1
dir=$(mktemp -d) || exit 1
socket=$dir/tmux
export LC_ALL=C.UTF-8
unset TMUX NO_COLOR
T() { tmux -S "$socket" -f /dev/null "$@"; }
trap 'T kill-server 2>/dev/null; rm -rf "$dir"' EXIT
fails=0

screen() { T capture-pane -p -t main; }
# see TEXT: waits until the screen holds it
see() {
    for _ in $(seq 100); do
        screen | grep -qF -- "$1" && return 0
        sleep 0.05
    done
    echo "FAIL: not on the screen: $1"; screen; fails=$((fails + 1))
}
gone() {
    for _ in $(seq 100); do
        screen | grep -qF -- "$1" || return 0
        sleep 0.05
    done
    echo "FAIL: still on the screen: $1"; screen; fails=$((fails + 1))
}
logged() {
    for _ in $(seq 100); do
        grep -qF -- "$1" "$dir/log" && return 0
        sleep 0.05
    done
    echo "FAIL: not in the log: $1"; cat "$dir/log"; fails=$((fails + 1))
}
keys() { T send-keys -t main "$@"; }

T new-session -d -s main -x 80 -y 24 "env TERM=tmux-256color PS1='shell> ' sh"
run="$program $dir/log $dir"
keys "$run" Enter
see '[2 Train]'
see 'smooth 0.9'

# screens and keys
keys 1;  see 'train.jsonl  40 rows'
keys j t; see 'counts in the loss'
keys Escape 3; see 'samples  1 of 9'
keys p;  see 'PAUSED'
keys p;  see '> TRAIN'
keys '?'; see 'help  SAMPLES'
keys 2;  see '[2 Train]'

# the line: completion, errors, history
keys :; keys th Tab; see ':theme'
keys washi Enter; logged 'theme number=0 text=washi'
keys :; keys paws Enter; see 'did you mean pause?'
keys :; keys Up; see ':paws'
keys Escape; gone ':paws'
keys :; keys s Tab; see 'samples'; see 'smooth'
keys C-c C-c; gone 'smooth 0..'

# chat: kanji, Ctrl-A, Ctrl-R, Alt-digit with a draft, slash commands
keys 4; see 'haiku>'
keys '池 pond' C-a 'old ' Enter; logged 'chat number=0 text=old 池 pond'
keys C-r '池'; see 'i-search'; see 'old 池 pond'
keys Escape; gone 'i-search'
keys 'half a line' M-2; see '[2 Train]'
keys 4; see 'haiku> half a line'
keys C-c '/temp 0.5' Enter; logged 'temp number=0 text=0.5'
keys '/te' Tab; see 'haiku> /temp'
keys C-c

# a pasted burst with line ends is one line
printf 'one\ntwo\033[31m\nthree' | T load-buffer -
T paste-buffer -p -t main
see 'haiku> one two'; see 'three'
keys Enter; logged 'text=one two'
[ "$(grep -c 'chat number' "$dir/log")" = 2 ] || { echo "FAIL: a paste was taken apart"; fails=$((fails + 1)); }

# resize: larger, too small, back
keys Escape 2
T resize-window -t main -x 120 -y 40; see 'learning rate'
T resize-window -t main -x 40 -y 8; see 'too small'
keys p; see 'PAUSED'
keys p; gone 'PAUSED'
T resize-window -t main -x 80 -y 24; see '[2 Train]'
for i in $(seq 25); do T resize-window -t main -x $((60 + i)) -y $((12 + i)); done
T resize-window -t main -x 80 -y 24; see 'smooth 0.9'; see '? all keys'

# suspend and back
keys C-z; see 'Stopped'
keys fg Enter; see '[2 Train]'

# quit asks, Esc stays, s leaves; the terminal is sane afterwards
keys q; see 'save a checkpoint and quit'
keys Escape; gone 'save a checkpoint and quit'
keys Q s; see 'shell>'; logged 'quit number=1'
keys 'stty -a | grep -c -- "-icanon\|-echo "' Enter; see '0'
[ "$(stat -c %a "$dir/history-chat")" = 600 ] || { echo "FAIL: history mode"; fails=$((fails + 1)); }

# the history was kept; a crash leaves the terminal sane
keys "$run" Enter; see '[2 Train]'
keys 4; keys Up; see 'haiku> one two'
keys C-c crash Enter; see 'shell>'
keys 'echo sane''again' Enter; see 'saneagain'

# without colour, in ASCII, on a plain terminal
keys "NO_COLOR=1 LC_ALL=C TERM=vt100 $run" Enter; see '[2 Train]'; see '+= loss'
keys Q s; see 'shell>'
keys "TERM=dumb $run" Enter; see 'cannot move a cursor'
keys "TERM=nosuchterm $run" Enter; see 'is not known here'
keys "$run </dev/null" Enter; see 'is no terminal'

[ $fails = 0 ] && echo "all seen"
exit $((fails > 0))
