/* quantise.h - f32 values to storage types: what dtype.h reads, written.
 *
 * Rows stand alone: no state, any thread, the same bytes for the same values everywhere. Values must
 * be finite. F16 and BF16 round to the nearest; Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 give the bytes of
 * ggml's reference code and MLX codes those of mlx.core.quantize, bit for bit; the K types and
 * IQ4_NL are searched for the least squared error (quantise_k.c).
 *
 *     size_t bytes;
 *     if (!quantise_can(t) || !dtype_row_bytes(t, n, &bytes)) ...   // n: whole blocks
 *     quantise_row(t, row, out, n);
 */
#ifndef GM_KERNEL_QUANTISE_H
#define GM_KERNEL_QUANTISE_H

#include "engine/kernel/dtype.h"

/* F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, IQ4_NL. */
bool quantise_can(enum dtype t);
void quantise_row(enum dtype t, const float *src, void *dst, size_t n);

/* A row of n values (a multiple of the group) in MLX's affine codes of 2, 3, 4, 5, 6 or 8 bits: n bits / 32 words, n / group
 * scales and biases of scale_type (F32, F16, BF16). MLX rounds weights to that type before; so does this. */
void quantise_mlx_row(int bits, int group, enum dtype scale_type, const float *src, uint32_t *codes,
                      void *scales, void *biases, size_t n);

#endif
