/* attention_kernels.h - private to attention*: what one block of attention computes, and its kernels for one instruction set.
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
    struct attention_out out;
    float *lse;                     /* rows of ld_lse; may be NULL in forward */
    int64_t ld_lse;
    /* backward only */
    const float *delta;             /* dout·out of a row and head, as lse; NULL: computed where it is needed */
    struct attention_in dout;
    struct attention_out dq, dk, dv;
    int key_step;                   /* keys of a block: a multiple of 16 */
};

struct attention_kernels {
    int pair;  /* numbers in one word: 1 (f32) or 2 (bf16) */
    int speed; /* how fast products are, in units of those of f32 */
    /* Query rows first .. first+n-1, where row i of q, out and lse stands at position past+i; n * group may be anything. */
    void (*forward)(const struct attention_part *p, int past, int first, int n, float *scratch);
    /* The rows 0 .. n-1 (one tile) against the keys begin .. end-1 alone, to attention_partial_floats; and `parts` such to out. */
    void (*forward_partial)(const struct attention_part *p, int past, int n, int64_t begin, int64_t end, float *partial, float *scratch);
    void (*merge)(const struct attention_part *p, int n, int parts, const float *partials, float *scratch);
    /* dout·out of one row and head */
    float (*delta)(struct attention_in dout, int64_t at, struct attention_out out, int64_t out_at, int d);
    /* dk and dv of the keys first .. first+n-1 (at most key_step) of a sequence. spill (or NULL) takes the gradients of the scores,
     * attention_spill_words of them; with_dq: the keys are all of the sequence, dq is written as well. */
    void (*backward_keys)(const struct attention_part *p, int length, int first, int n, float *spill, bool with_dq, float *scratch);
    /* dq of a range of queries, from what all blocks of keys spilled one after another, or (NULL) from new scores. */
    void (*backward_queries)(const struct attention_part *p, int length, int first, int n, const float *spill, float *scratch);
};

static inline const void *attention_element(const void *data, enum dtype type, int64_t index)
{
    return (const unsigned char *)data + index * (type == DT_BF16 ? 2 : 4);
}
/* Queries of one tile: the most that fit, at least one (a group of more than ATTENTION_ROWS heads is cut inside the kernels). */
static inline int attention_tile_queries(int group)
{
    return group >= ATTENTION_ROWS ? 1 : ATTENTION_ROWS / group;
}
static inline int64_t attention_padded(int head_dim)
{
    return ((int64_t)head_dim + 31) / 32 * 32;
}
/* Behind the last query that sees any of the keys first .. first+n-1. */
static inline int attention_last_query(const struct attention_shape *a, int length, int first, int n)
{
    const int64_t seen = (int64_t)first + n - 1 + a->window;
    return a->window > 0 && seen < length ? (int)seen : length;
}
/* Words that the blocks of keys before key `end` leave behind, `pair` gradients each. */
static inline int64_t attention_spill_words(const struct attention_part *p, int length, int end, int pair)
{
    int64_t rows = 0;
    for (int j = 0; j < end; j += p->key_step)
        rows += attention_last_query(p->a, length, j, length - j < p->key_step ? length - j : p->key_step) - j;
    return rows * p->group * (p->key_step / pair);
}
/* A partial result of a tile: sums of values row by row, maxima, sums of probabilities; rows rounded up to whole vectors. */
static inline int attention_partial_rows(int rows)
{
    return (rows + 15) / 16 * 16;
}
static inline int64_t attention_partial_floats(int head_dim, int rows)
{
    return attention_partial_rows(rows) * (attention_padded(head_dim) + 2);
}
/* Floats of scratch of any kernel. */
static inline size_t attention_scratch_floats(int head_dim)
{
    return (size_t)(attention_padded(head_dim) * (5 * ATTENTION_ROWS + 7 * ATTENTION_KEYS) + 4 * ATTENTION_ROWS * ATTENTION_KEYS)
         + 8 * ATTENTION_ROWS;
}

extern const struct attention_kernels attention_kernels_base;
/* NULL where the compiler cannot make them. */
const struct attention_kernels *attention_kernels_amx(void);
const struct attention_kernels *attention_kernels_avx512bf16(void);
const struct attention_kernels *attention_kernels_avx512(void);
const struct attention_kernels *attention_kernels_avx2(void);

#endif
