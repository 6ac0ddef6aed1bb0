# begin.sh - what the tests from outside begin with: an empty folder of their own to be in, runs and home in it, and a count of what failed.
# Usage, with the paths of PROGRAM and the like made absolute before: . "$(dirname "$0")/begin.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export GEMMAIKU_RUNS="$work/runs" HOME="$work" LC_ALL=C.UTF-8
failures=0
fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}
