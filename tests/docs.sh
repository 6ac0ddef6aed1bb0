#!/bin/sh
# The documents say what the program does: docs/options.md is its own output, every sub-command is in the manual, and every link between the
# documents leads somewhere. Usage: docs.sh PROGRAM SOURCE_FOLDER
set -eu
program=$1
cd "$2"
fail=0
bad() { echo "$*"; fail=1; }
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

"$program" --help=markdown >"$temp/options.md"
diff -u docs/options.md "$temp/options.md" || bad "docs/options.md is out of date: gemmaiku --help=markdown > docs/options.md"

"$program" --help | sed -n 's/^  \([a-z][a-z0-9-]*\)  .*/\1/p' | grep -v '^gemmaiku$' >"$temp/commands"
[ "$(wc -l <"$temp/commands")" -ge 10 ] || bad "gemmaiku --help lists no commands"
while read -r name; do
    grep -q "gemmaiku $name" docs/manual.md || bad "docs/manual.md does not tell of: gemmaiku $name"
done <"$temp/commands"

# The name that a heading has in a link: small letters, blanks to hyphens, of the rest letters, digits, - and _ only.
anchors() {
    sed -n '/^```/,/^```/d; s/^##* *//p' "$1" | tr 'A-Z ' 'a-z-' | sed 's/[^a-z0-9_-]//g'
}
find . -name '*.md' -not -path './build*' -not -path './.git/*' -not -path './runs/*' -not -path './out/*' | sort >"$temp/files"
[ "$(wc -l <"$temp/files")" -ge 5 ] || bad "no documents found"
while read -r file; do
    sed '/^```/,/^```/d; s/`[^`]*`//g' "$file" | grep -o '\](\([^)]*\))' | sed 's/^](//; s/)$//' >"$temp/links"
    while read -r link; do
        case $link in
        http:* | https:* | mailto:*) continue ;;
        esac
        target=${link%%#*} anchor=''
        case $link in *'#'*) anchor=${link#*#} ;; esac
        path=$file
        [ -z "$target" ] || path=$(dirname "$file")/$target
        if [ ! -e "$path" ]; then
            bad "$file: the link $link leads nowhere"
        elif [ -n "$anchor" ] && ! anchors "$path" | grep -qxF "$anchor"; then
            bad "$file: the link $link names no heading of $path"
        fi
    done <"$temp/links"
done <"$temp/files"
exit $fail
