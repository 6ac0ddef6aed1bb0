/* head_int8_kernels.h - private to head_int8*.c: one panel of 16 tokens with some rows. */
#ifndef GM_KERNEL_HEAD_INT8_KERNELS_H
#define GM_KERNEL_HEAD_INT8_KERNELS_H

#include <stdint.h>

enum { INT8_PANEL = 16 };

/* Bytes [kpad/4][16][4]: four of each token side by side. */
struct int8_panel {
    const int8_t *q;
    int kpad; /* a multiple of 4, zeros behind the depth */
    int cols; /* tokens of this panel */
    const float *scale, *error, *norm; /* s, |w - s q|, |s q| */
    const int32_t *sum;                /* of q */
    const int8_t *next;                /* what will be read then, or NULL */
};
/* A logit is off by at most error * reach + norm * spread. */
struct int8_row {
    float step, reach, spread; /* p, and factors of the bound */
    float *logits;             /* of the first token of the panel */
    float *least, *most;       /* the greatest lower bound of the panel, the greatest upper one */
};
/* x [kpad/4][n][2][4]: the high, then the low bytes of X + 32768, four and four of each row. */
typedef void (*int8_score_fn)(const struct int8_panel *p, const uint8_t *x, const struct int8_row *rows, int n);
void int8_score_base(const struct int8_panel *p, const uint8_t *x, const struct int8_row *rows, int n);
int8_score_fn int8_score_avx512vnni(void); /* NULL: compiler or processor lack it; the same bits */

#endif
