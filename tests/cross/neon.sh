#!/bin/sh
# The engine for 64-bit Arm, built by a cross compiler and tested under qemu-user: the kernel families neon and neonbf16 against their plain twins.
# Usage: neon.sh [BUILD_FOLDER [CTEST_REGEX]]   (build-aarch64, unit_kernel: some five minutes on two cores). Exit 77: skipped, the reason is printed.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$source/build-aarch64} tests=${2:-unit_kernel}
skip() {
    echo "skipped: $1"
    echo "Debian: dpkg --add-architecture arm64 && apt-get update && apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user \\"
    echo "        libcmocka-dev:arm64 libopenblas-dev:arm64 libjansson-dev:arm64"
    exit 77
}
command -v aarch64-linux-gnu-gcc >/dev/null || skip "there is no aarch64-linux-gnu-gcc"
command -v qemu-aarch64 >/dev/null || skip "there is no qemu-aarch64"
for library in cmocka openblas jansson; do
    [ -e /usr/lib/aarch64-linux-gnu/lib$library.so ] || skip "there is no lib$library for arm64"
done
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$source/tests/cross/aarch64.cmake" -DGM_PROGRAM=OFF >/dev/null
if [ "$tests" = unit_kernel ]; then # nothing above the room is needed
    targets=$(ninja -C "$build" -t targets all | sed -n 's/^\(test_kernel_[a-z0-9_]*\):.*/\1/p' | sort -u)
fi
ninja -C "$build" ${targets:-}
ctest --test-dir "$build" -j"$(nproc)" -R "$tests" --timeout 1500 --output-on-failure
# a processor without bf16 instructions: the family is refused, and the others run
for cpu in max cortex-a72; do
    echo "$cpu:"
    qemu-aarch64 -cpu $cpu "$build/tests/test_kernel_probe" | grep "^neon"
done
if qemu-aarch64 -cpu cortex-a72 "$build/tests/test_kernel_probe" | grep '^neonbf16' | grep -qv 'does not have it'; then
    echo "neonbf16 runs on a processor that has no bf16 instructions"
    exit 1
fi
