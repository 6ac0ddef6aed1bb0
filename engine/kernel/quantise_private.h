/* quantise_private.h - private to quantise*.c: codes of a block, and how they are packed. */
#ifndef GM_KERNEL_QUANTISE_PRIVATE_H
#define GM_KERNEL_QUANTISE_PRIVATE_H

#include "engine/kernel/dtype_private.h"

/* v, not below 0, rounded by adding a half, at most top. A NaN gives 0. */
static inline unsigned char quantise_code(float v, int top)
{
    v += 0.5f;
    return (unsigned char)(v > 0 ? (v < (float)top ? (int)v : top) : 0);
}

static inline void store_f16(unsigned char *p, float f)
{
    uint16_t h = f32_to_f16(f);
    memcpy(p, &h, sizeof h);
}

/* Value j in the low half of byte j, value j + half in the high half. */
static inline void pack_nibbles(const unsigned char *codes, int half, unsigned char *dst)
{
    for (int j = 0; j < half; j++)
        dst[j] = (unsigned char)((codes[j] & 15) | (codes[j + half] & 15) << 4);
}

void quantise_q4_k(const float *src, unsigned char *dst);
void quantise_q5_k(const float *src, unsigned char *dst);
void quantise_q6_k(const float *src, unsigned char *dst);
void quantise_iq4_nl(const float *src, unsigned char *dst);

#endif
