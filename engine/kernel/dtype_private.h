/* dtype_private.h - private to the kernel room: what dtype.c and its parts share. */
#ifndef GM_KERNEL_DTYPE_PRIVATE_H
#define GM_KERNEL_DTYPE_PRIVATE_H

#include "engine/kernel/dtype.h"

#include <string.h>

static inline float load_f16(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return f16_to_f32(h);
}

static inline uint32_t load_u32(const unsigned char *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* One block of a block type of GGUF: dtype_block(t) values. */
void dtype_expand_block(enum dtype t, const unsigned char *block, float *dst);
/* Scales and minima of the 8 sub-blocks of Q4_K and Q5_K: 6 bits each, packed in 12 bytes. Four at a
 * time: the first four lie in the low 6 bits of bytes, of the others 4 bits in nibbles and 2 above. */
static inline void dtype_sub_scales(const unsigned char *packed, unsigned char scales[8],
                                    unsigned char mins[8])
{
    uint32_t a = load_u32(packed), b = load_u32(packed + 4), c = load_u32(packed + 8);
    uint32_t out[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 6 & 0x03030303u) << 4,
                       b & 0x3f3f3f3fu, (c >> 4 & 0x0f0f0f0fu) | (b >> 6 & 0x03030303u) << 4};
    memcpy(scales, out, 8);
    memcpy(mins, out + 2, 8);
}

/* Signed scales (6 bits) of the 16 sub-blocks of Q3_K: 4 low bits in nibbles of bytes 0..7, 2 high bits
 * in bytes 8..11. */
static inline void dtype_q3_k_scales(const unsigned char *packed, signed char scales[16])
{
    for (int s = 0; s < 16; s++) {
        int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
        scales[s] = (signed char)((low | (packed[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32);
    }
}

static inline float dtype_float_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* E8M0, a power of two in a byte: 2^(e - 127), 255 is no number. */
static inline float dtype_e8m0(unsigned char e)
{
    return dtype_float_of_bits(e == 0 ? 0x400000u : e == 255 ? 0x7fc00000u : (uint32_t)e << 23);
}

/* Half of it, for doubled E2M1 values, as ggml has it: 255 is a power like the others. */
static inline float dtype_e8m0_half(unsigned char e)
{
    return dtype_float_of_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

/* Signed scale (6 bits) of sub-block s of IQ4_XS: 2 high bits in a word of 16, 4 low bits in nibbles
 * behind it. */
static inline int dtype_iq4_xs_scale(const unsigned char *block, int s)
{
    unsigned high = block[2] | (unsigned)block[3] << 8;
    return ((block[4 + s / 2] >> s % 2 * 4 & 15) | (int)(high >> 2 * s & 3) << 4) - 32;
}

/* Eight codes of an MLX run of 32 codes: number i (0..3) of them, low bits first. Reads inside the
 * run only, and eight bytes at a time. */
static inline uint64_t dtype_mlx_eight(const unsigned char *run, int i, const int bits)
{
    const int at = i * bits, start = at < 4 * bits - 8 ? at : 4 * bits - 8;
    uint64_t word;
    memcpy(&word, run + start, sizeof word);
    return word >> 8 * (at - start);
}

/* mat_part_to_f32 for DT_MLX*. */
void dtype_expand_mlx(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst);

/* The 16 steps of IQ4_NL and IQ4_XS. */
extern const signed char dtype_iq4_levels[16];
/* E2M1, the 4-bit floats of MXFP4, doubled: 0, 1/2, 1, 3/2, 2, 3, 4, 6 and their negatives. */
extern const signed char dtype_e2m1_doubled[16];

#endif
