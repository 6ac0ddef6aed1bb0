/* head.c - the cross-entropy head: rows a chunk at a time through one of two modes, and the logits
 * of sampling.
 *
 * BF16 mode: head_packed.c. F32 mode, the reference: the f32 logits of a chunk of rows become their
 * gradient in place, by expf and double sums.
 */
#include "engine/kernel/head_private.h"

#include "engine/base/number.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/matmul_f32.h"

#include <assert.h>
#include <math.h>

enum { F32_ROWS_MANY = 128, F32_ROWS_FEW = 64, F32_MANY_BELOW_VOCAB = 65536 };

static int64_t rows_at_a_time(int64_t n, int64_t vocab, enum compute_mode mode)
{
    if (mode == GM_COMPUTE_BF16)
        return head_packed_rows(n);
    return min64(n, vocab <= F32_MANY_BELOW_VOCAB ? F32_ROWS_MANY : F32_ROWS_FEW);
}

/* Losses of the rows, then what the mode needs. */
static size_t nll_bytes(int64_t rows)
{
    return ((size_t)rows * sizeof(double) + 63) & ~(size_t)63;
}

static size_t bytes_in_mode(int64_t n, int64_t vocab, int64_t depth, bool gradient,
                            enum compute_mode mode)
{
    int64_t rows = rows_at_a_time(n, vocab, mode);
    return nll_bytes(rows) + 64 +
           (mode == GM_COMPUTE_BF16 ? head_packed_bytes(rows, depth, gradient)
                                    : (size_t)rows * (size_t)vocab * sizeof(float));
}

size_t head_workspace_bytes(int64_t n, int64_t vocab, int64_t depth, bool gradient,
                            enum compute_mode mode)
{
    if (mode != GM_COMPUTE_AUTO)
        return bytes_in_mode(n, vocab, depth, gradient, mode);
    size_t bf16 = bytes_in_mode(n, vocab, depth, gradient, GM_COMPUTE_BF16),
           f32 = bytes_in_mode(n, vocab, depth, gradient, GM_COMPUTE_F32);
    return bf16 > f32 ? bf16 : f32;
}

float head_cap(float logit, float softcap, float *slope)
{
    float ratio = softcap > 0 ? tanhf(logit / softcap) : 0;
    if (slope)
        *slope = 1 - ratio * ratio;
    return softcap > 0 ? softcap * ratio : logit;
}

struct f32_rows {
    const struct head_task *t;
    float *logits; /* [rows, vocab] */
};

static void block_softmax_f32(void *arg, int block, int slot)
{
    const struct f32_rows *f = arg;
    const struct head_task *t = f->t;
    int64_t r = block, target = t->targets[r];
    float *l = f->logits + r * t->vocab, slope, most = -INFINITY;
    double logit = head_cap(l[target], t->softcap, &slope), sum = 0;
    for (int64_t i = 0; i < t->vocab; i++) {
        if (t->softcap > 0)
            l[i] = t->softcap * tanhf(l[i] / t->softcap);
        most = l[i] > most ? l[i] : most;
    }
    for (int64_t i = 0; i < t->vocab; i++)
        sum += expf(l[i] - most);
    double lse = most + log(sum);
    t->nll[r] = lse - logit;
    if (!t->dh && !t->d_head)
        return;
    for (int64_t i = 0; i < t->vocab; i++) {
        float ratio = t->softcap > 0 ? l[i] / t->softcap : 0;
        l[i] = t->weight * expf(l[i] - (float)lse) * (1 - ratio * ratio);
    }
    l[target] -= t->weight * slope;
}

static void head_f32(const struct head_task *t, void *workspace)
{
    const struct compute *c = t->c;
    struct f32_rows f = {.t = t, .logits = workspace};
    f32_nt(c, f.logits, t->vocab, t->h, t->depth, t->rows, t->head, false);
    pool_run(c->pool, c->role, block_softmax_f32, &f, (int)t->rows);
    if (t->dh)
        f32_nn(c, t->dh, t->depth, f.logits, t->vocab, t->rows, t->head, false);
    if (t->d_head)
        f32_tn(c, t->d_head, t->depth, f.logits, t->vocab, t->vocab, t->h, t->depth, t->depth,
               t->rows, 1.0f, true);
}

double head_loss(const struct compute *c, const struct mat *head, float softcap, const float *h,
                 const int32_t *targets, int64_t n, float weight, float *nll, float *dh,
                 float *d_head, void *workspace)
{
    unsigned char *base = (unsigned char *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    const int64_t depth = head->cols, most = rows_at_a_time(n, head->rows, c->mode);
    double total = 0;
    for (int64_t r0 = 0; r0 < n; r0 += most) {
        const struct head_task t = {.c = c,
                                    .head = head,
                                    .softcap = softcap,
                                    .weight = weight,
                                    .rows = min64(most, n - r0),
                                    .vocab = head->rows,
                                    .depth = depth,
                                    .h = h + r0 * depth,
                                    .targets = targets + r0,
                                    .dh = dh ? dh + r0 * depth : NULL,
                                    .d_head = d_head,
                                    .nll = (void *)base};
        for (int64_t r = 0; r < t.rows; r++)
            assert(t.targets[r] >= 0 && t.targets[r] < t.vocab);
        (c->mode == GM_COMPUTE_F32 ? head_f32 : head_packed)(&t, base + nll_bytes(most));
        for (int64_t r = 0; r < t.rows; r++) {
            total += t.nll[r];
            if (nll)
                nll[r0 + r] = (float)t.nll[r];
        }
    }
    return total;
}

struct cap {
    float *logits, softcap;
    int64_t vocab;
};

enum { CAP_COLUMNS = 8192 };
static void block_cap(void *arg, int block, int slot)
{
    const struct cap *p = arg;
    int64_t pieces = (p->vocab + CAP_COLUMNS - 1) / CAP_COLUMNS;
    int64_t i0 = block % pieces * CAP_COLUMNS, i1 = min64(i0 + CAP_COLUMNS, p->vocab);
    float *row = p->logits + block / pieces * p->vocab;
    for (int64_t i = i0; i < i1; i++)
        row[i] = p->softcap * tanhf(row[i] / p->softcap);
}

void head_cap_rows(const struct compute *c, float softcap, float *logits, int64_t n, int64_t vocab)
{
    struct cap p = {.logits = logits, .softcap = softcap, .vocab = vocab};
    if (softcap > 0 && n > 0)
        pool_run(c->pool, c->role, block_cap, &p, (int)(n * ((vocab + CAP_COLUMNS - 1) / CAP_COLUMNS)));
}

void head_logits(const struct compute *c, const struct mat *head, float softcap, float *logits,
                 const float *h, int64_t n)
{
    matmul_nt(c, logits, head->rows, h, head->cols, n, head, false);
    head_cap_rows(c, softcap, logits, n, head->rows);
}
