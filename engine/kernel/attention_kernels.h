/* attention_kernels.h - private to attention*.c: what one block of attention computes, and its kernels for one instruction set.
 *
 * All query heads that read one key head go together: a tile has up to ATTENTION_ROWS rows, row r = (query r /
 * heads, head r % heads), and meets keys in stretches of ATTENTION_KEYS. So keys and values are read once for the group.
 */
#ifndef GM_KERNEL_ATTENTION_KERNELS_H
#define GM_KERNEL_ATTENTION_KERNELS_H

#include "engine/kernel/attention.h"

enum { ATTENTION_ROWS = 64, ATTENTION_KEYS = 64 };

/* One sequence, one key head: operands stand at row 0 of the sequence and at the first column of the (first) head. */
struct attention_part {
    const struct attention_shape *a;
    int group;                      /* query heads of this key head */
    struct attention_in q, k, v;
    struct attention_out out;       /* read by backward */
    float *lse;                     /* rows of ld_lse; may be NULL in forward */
    int64_t ld_lse;
    struct attention_in dout;       /* backward only, as the rest */
    struct attention_out dq, dk, dv;
};

static inline const void *attention_element(const void *data, enum dtype type, int64_t index)
{
    return (const unsigned char *)data + index * (type == DT_BF16 ? 2 : 4);
}

struct attention_kernels {
    /* Query rows first .. first+n-1, where row i of q, out and lse stands at position past+i; n * group may be anything. */
    void (*forward)(const struct attention_part *p, int past, int first, int n, float *scratch);
    /* dk and dv of the keys first .. first+n-1 of a sequence; with_dq: the keys are all of the sequence, dq is
     * written as well. */
    void (*backward_keys)(const struct attention_part *p, int length, int first, int n, bool with_dq, float *scratch);
    void (*backward_queries)(const struct attention_part *p, int first, int n, float *scratch); /* dq of a range of queries */
};

/* Queries of one tile: the most that fit, at least one (a group of more than ATTENTION_ROWS heads is cut inside the kernels). */
static inline int attention_tile_queries(int group)
{
    return group >= ATTENTION_ROWS ? 1 : ATTENTION_ROWS / group;
}
static inline int64_t attention_padded(int head_dim)
{
    return ((int64_t)head_dim + 31) / 32 * 32;
}
/* Floats of scratch for tiles that meet `keys` keys at a time (forward, backward_queries: ATTENTION_KEYS). */
static inline size_t attention_scratch_floats(int head_dim, int keys)
{
    return (size_t)(attention_padded(head_dim) * (5 * ATTENTION_ROWS + 4 * (int64_t)keys) + 2 * ATTENTION_ROWS * (int64_t)keys)
         + 8 * ATTENTION_ROWS;
}

extern const struct attention_kernels attention_kernels_base;
/* NULL where the compiler cannot make them. */
const struct attention_kernels *attention_kernels_avx512(void);
const struct attention_kernels *attention_kernels_avx2(void);

#endif
