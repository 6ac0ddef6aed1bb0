#!/bin/sh
# Arrows only point down: every #include "room/..." is held against the table of docs/design.md. Usage: arrows.sh SOURCE_FOLDER
set -eu
cd "$1"
fail=0
# room: rooms it may include besides itself
table() {
    cat <<'TABLE'
engine/builtin:
engine/base:
engine/kernel: engine/base
engine/format: engine/base engine/builtin engine/kernel
engine/text: engine/base engine/builtin engine/kernel engine/format
engine/verse: engine/base engine/builtin engine/kernel engine/format
engine/model: engine/base engine/builtin engine/kernel engine/format engine/text engine/verse
engine/infer: engine/base engine/builtin engine/kernel engine/format engine/text engine/verse engine/model
engine/train: engine/base engine/builtin engine/kernel engine/format engine/text engine/verse engine/model engine/infer
engine/export: engine/base engine/builtin engine/kernel engine/format engine/text engine/verse engine/model engine/infer engine/train
ui/core: engine/base
ui/screens: engine/base ui/core
ui/term: engine/base ui/core ui/screens
TABLE
}
for room in engine/builtin engine/base engine/kernel engine/format engine/text engine/verse engine/model engine/infer engine/train engine/export \
    ui/core ui/screens ui/term; do
    allowed=" $room $(table | sed -n "s|^$room:||p") "
    for file in "$room"/*.[ch] "$room"/*.inc; do
        [ -f "$file" ] || continue
        for target in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$file"); do
            from=${target%/*}
            case $allowed in
            *" $from "*) ;;
            *)
                [ "$from" != "$target" ] || [ ! -f "$room/$target" ] || continue # a generated or same-folder file
                echo "$file includes $target: $room may not see $from"
                fail=1
                ;;
            esac
        done
        case $file in ui/term/*) continue ;; esac
        if grep -nE '^ *# *include *<(n?curses|readline)' "$file"; then
            echo "$file: only ui/term may include curses and readline"
            fail=1
        fi
    done
done
if grep -rnE '\b(printf|puts|putchar|exit|abort|getenv) *\(' engine --include='*.c' | grep -vE 'engine/base/mem.c|engine/format/(model_source|hub)|snprintf|str_printf|^[^:]*:[0-9]+: *(\*|//|/\*)'; then
    echo "engine/ neither prints nor exits nor reads the environment"
    fail=1
fi
exit $fail
