/* peak.h - what this processor could do at best: products from registers, for each kernel family, and reading memory.
 *
 * The loops hold all operands in registers (tiles, for amx), so nothing but the arithmetic units bounds them; all threads of the pool run at once.
 * A figure is the best of several short runs: neighbours on a shared machine only ever take away. What is measured against a limit should measure
 * the limit before and after, and use the mean.
 *
 *     double gflops = peak_gflops(pool, FAMILY_AVX512BF16, 0.05);
 *     double bytes_per_s = peak_read(pool, 0, 256 << 20, 0.1, &err);      // 0: that did not go
 *
 * Threads: one at a time, the trainer's role at the gate.
 */
#ifndef GM_KERNEL_PEAK_H
#define GM_KERNEL_PEAK_H

#include "engine/kernel/compute.h"

/* GFLOP/s of the family's multiply-add on all threads of the pool; 0 where it cannot run. Takes about `seconds`. */
double peak_gflops(struct pool *pool, enum family family, double seconds);
/* Bytes a second that `threads` threads (1, or 0: all of the pool) read from a block of `bytes`, far larger than the caches. */
double peak_read(struct pool *pool, int threads, size_t bytes, double seconds, struct gm_error *err);

#endif
