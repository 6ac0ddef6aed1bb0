/* head_int8_base.c - the plain twin: sums of whole numbers, then few roundings in the order of the vector code. */
#include "engine/kernel/head_int8_kernels.h"

#include <math.h>

void int8_score_base(const struct int8_panel *p, const uint8_t *bytes, const struct int8_row *rows, int n)
{
    for (int r = 0; r < n; r++) {
        const struct int8_row *x = &rows[r];
        int32_t high[INT8_PANEL] = {0}, low[INT8_PANEL] = {0};
        for (int k = 0; k < p->kpad; k += 4) {
            const uint8_t *b = bytes + (k / 4 * n + r) * 8;
            for (int j = 0; j < INT8_PANEL; j++)
                for (int i = 0; i < 4; i++) {
                    const int32_t q = p->q[k * INT8_PANEL + 4 * j + i];
                    high[j] += q * b[i];
                    low[j] += q * b[4 + i];
                }
        }
        float least = -INFINITY, most = -INFINITY;
        for (int j = 0; j < p->cols; j++) {
            const int32_t centred = high[j] - 128 * p->sum[j];
            const float logit = (256 * (float)centred + (float)low[j]) * (p->scale[j] * x->step);
            const float off = p->error[j] * x->reach + p->norm[j] * x->spread;
            x->logits[j] = logit;
            least = logit - off > least ? logit - off : least;
            most = logit + off > most ? logit + off : most;
        }
        *x->least = least;
        *x->most = most;
    }
}
