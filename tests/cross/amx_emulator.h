/* amx_emulator.h - the tile instructions in software, so that the compiled kernels of the family amx run, and are tested, on any Linux on x86-64 with
 * AVX-512-BF16.
 *
 * A program that is linked with amx_emulator.c (tests/cross/CMakeLists.txt) believes that its processor has AMX: kernel families are amx and plain, and
 * FAMILY_AUTO is amx. Where the processor has it, nothing is emulated. Where not, each tile instruction raises SIGILL; the handler decodes it, does its work
 * on tiles of the thread's own, and goes on behind it (about 2 microseconds each). What a processor would refuse (tiles that do not fit together, a bad
 * configuration) ends the program with a line that says so. A processor that cannot even run the vectors around the tiles: the program ends with 77, skipped.
 *
 * Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18 (tiles), volume 2, LDTILECFG to TILEZERO; tdpbf16ps
 * as its "Operation" says: two chains of fused multiply-adds, of the even and of the odd elements, from zero, then their sum added to the destination; round
 * to nearest even, denormal numbers read and written as zero.
 *
 * The counts tell how a kernel uses the instructions, which no clock here can: loads per product, and bytes that would not have come from the first cache.
 */
#ifndef GM_TESTS_AMX_EMULATOR_H
#define GM_TESTS_AMX_EMULATOR_H

#include <stdbool.h>
#include <stdint.h>

struct amx_counts {
    uint64_t products, loads, stores, zeros, configures;
    uint64_t lines, missed; /* cache lines of the loads; not in a first cache of 48 KB, 12 ways, which sees nothing but tiles */
};

bool amx_is_emulated(void);
/* Of all threads since the start; zeros on a processor that needs no emulator. */
struct amx_counts amx_counts(void);

/* c[rows][16] += a[rows][pairs] b[pairs][16], pairs of bf16, with the bits of tdpbf16ps. */
void amx_multiply(float c[16][16], const uint16_t a[16][32], const uint16_t b[16][32], int rows, int pairs);

#endif
