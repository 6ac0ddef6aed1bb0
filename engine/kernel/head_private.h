/* head_private.h - private: what the two modes of the head share. */
#ifndef GM_KERNEL_HEAD_PRIVATE_H
#define GM_KERNEL_HEAD_PRIVATE_H

#include "engine/kernel/head.h"

/* Rows that are computed at once. */
struct head_task {
    const struct compute *c;
    const struct mat *head;
    float softcap, weight;
    int64_t rows, vocab, depth;
    const float *h;
    const int32_t *targets;
    float *dh, *d_head; /* may be NULL */
    double *nll;        /* [rows] */
};

/* The logit of a target after the cap, and the derivative of the cap there. */
float head_cap(float logit, float softcap, float *slope);
/* The cap over rows of logits (softcap 0: none). */
void head_cap_rows(const struct compute *c, float softcap, float *logits, int64_t n, int64_t vocab);

int64_t head_packed_rows(int64_t n);
size_t head_packed_bytes(int64_t rows, int64_t depth, bool gradient);
void head_packed(const struct head_task *t, void *workspace);

#endif
