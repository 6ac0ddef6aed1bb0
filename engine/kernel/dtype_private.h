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
/* mat_part_to_f32 for DT_MLX*. */
void dtype_expand_mlx(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst);

/* The 16 steps of IQ4_NL and IQ4_XS. */
extern const signed char dtype_iq4_levels[16];
/* E2M1, the 4-bit floats of MXFP4, doubled: 0, 1/2, 1, 3/2, 2, 3, 4, 6 and their negatives. */
extern const signed char dtype_e2m1_doubled[16];

#endif
