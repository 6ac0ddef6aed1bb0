/* matmul.c - the products: which path a shape takes.
 *
 * F32 mode goes to matmul_f32.c. In BF16 mode most shapes go to the packed driver
 * (matmul_packed.c); with few rows (decoding) W is not packed but read once, row by row. Everything
 * is a joined product: a list of outputs, each a sum of terms.
 */
#include "engine/kernel/matmul.h"

#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/matmul_packed.h"

#include <assert.h>
#include <string.h>

enum { SMALL_BLOCK_BYTES = 48 << 10, OPERANDS = MATMUL_OUTPUTS * MATMUL_TERMS };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Left operands of a job, each once: terms that name the same rows share one conversion. */
struct operands {
    struct packed_operand list[OPERANDS];
    int n;
};

static int64_t term_depth(const struct matmul_term *t, bool nn)
{
    return nn ? t->w->rows : t->w->cols;
}

static int find_operand(const struct operands *o, const struct matmul_term *t, bool nn)
{
    for (int i = 0; i < o->n; i++) {
        if (o->list[i].source == t->a && o->list[i].source_ld == t->lda &&
            o->list[i].depth == term_depth(t, nn))
            return i;
    }
    return -1;
}

static void collect_operands(struct operands *o, const struct matmul_output *outputs, int n,
                             bool nn)
{
    o->n = 0;
    for (int i = 0; i < n; i++) {
        assert(outputs[i].n_terms >= 1 && outputs[i].n_terms <= MATMUL_TERMS);
        for (int k = 0; k < outputs[i].n_terms; k++) {
            const struct matmul_term *t = &outputs[i].terms[k];
            if (find_operand(o, t, nn) < 0)
                o->list[o->n++] = (struct packed_operand){
                    .source = t->a, .source_ld = t->lda, .depth = term_depth(t, nn)};
        }
    }
}

static void packed(const struct compute *c, bool nn, const struct matmul_output *outputs, int n,
                   int64_t T)
{
    struct operands o;
    collect_operands(&o, outputs, n, nn);
    size_t bytes = 0;
    for (int i = 0; i < o.n; i++)
        bytes += round_up((int64_t)packed_bytes(c, T, o.list[i].depth), 64);
    unsigned char *at = scratch_shared(c, 0, bytes);
    for (int i = 0; i < o.n; i++) {
        o.list[i].data = at;
        o.list[i].ld = packed_stride(o.list[i].depth);
        at += round_up((int64_t)packed_bytes(c, T, o.list[i].depth), 64);
    }
    packed_convert(c, o.list, o.n, T);
    struct packed_target targets[PACKED_TARGETS];
    for (int i = 0; i < n; i++) {
        targets[i] = (struct packed_target){.c = outputs[i].y,
                                            .ldc = outputs[i].ldy,
                                            .accumulate = outputs[i].accumulate,
                                            .n_terms = outputs[i].n_terms};
        for (int k = 0; k < outputs[i].n_terms; k++) {
            const struct matmul_term *t = &outputs[i].terms[k];
            targets[i].terms[k] =
                (struct packed_term){.a = o.list[find_operand(&o, t, nn)], .w = t->w};
        }
    }
    packed_multiply(c, T, targets, n, nn);
}

/* Few rows: every block computes some columns of one output, all its terms. */
struct small_job {
    const struct compute *c;
    int T;
    const struct matmul_output *outputs;
    const struct operands *operands;
    int first_block[MATMUL_OUTPUTS + 1];
    int64_t block_cols[MATMUL_OUTPUTS];
};

static void block_small(void *arg, int block, int slot)
{
    const struct small_job *j = arg;
    int which = 0;
    while (block >= j->first_block[which + 1])
        which++;
    const struct matmul_output *out = &j->outputs[which];
    int64_t n0 = (block - j->first_block[which]) * j->block_cols[which];
    int n = (int)min64(j->block_cols[which], out->terms[0].w->rows - n0);
    for (int k = 0; k < out->n_terms; k++) {
        const struct packed_operand *a =
            &j->operands->list[find_operand(j->operands, &out->terms[k], false)];
        j->c->k->small(out->y, out->ldy, a->data, a->ld, j->T, out->terms[k].w, n0, n,
                       out->accumulate || k > 0);
    }
}

static void small(const struct compute *c, const struct matmul_output *outputs, int n, int T)
{
    struct operands o;
    collect_operands(&o, outputs, n, false);
    int64_t floats = 0;
    for (int i = 0; i < o.n; i++)
        floats += T * round_up(o.list[i].depth, 32);
    float *at = scratch_shared(c, 0, (size_t)floats * sizeof *at);
    for (int i = 0; i < o.n; i++) {
        o.list[i].data = at;
        o.list[i].ld = round_up(o.list[i].depth, 32);
        c->k->convert_small(at, o.list[i].ld, o.list[i].source, o.list[i].source_ld, T,
                            o.list[i].depth);
        at += T * o.list[i].ld;
    }
    struct small_job j = {.c = c, .T = T, .outputs = outputs, .operands = &o};
    for (int i = 0; i < n; i++) {
        const struct mat *w = outputs[i].terms[0].w;
        int64_t cols = SMALL_BLOCK_BYTES / ((int64_t)mat_bytes(w) / (w->rows + 1) + 1);
        j.block_cols[i] = cols < 4 ? 4 : cols / 4 * 4;
        j.first_block[i + 1] =
            j.first_block[i] + (int)((w->rows + j.block_cols[i] - 1) / j.block_cols[i]);
    }
    pool_run(c->pool, c->role, block_small, &j, j.first_block[n]);
}

static void check_shapes(const struct matmul_output *outputs, int n, bool nn)
{
    assert(n >= 1 && n <= MATMUL_OUTPUTS);
    for (int i = 0; i < n; i++) {
        for (int k = 1; k < outputs[i].n_terms; k++)
            assert(nn ? outputs[i].terms[k].w->cols == outputs[i].terms[0].w->cols
                      : outputs[i].terms[k].w->rows == outputs[i].terms[0].w->rows);
    }
}

static void joined(const struct compute *c, bool nn, const struct matmul_output *outputs, int n,
                   int64_t T)
{
    check_shapes(outputs, n, nn);
    if (T <= 0)
        return;
    if (c->mode == GM_COMPUTE_F32) {
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < outputs[i].n_terms; k++) {
                const struct matmul_term *t = &outputs[i].terms[k];
                (nn ? f32_nn : f32_nt)(c, outputs[i].y, outputs[i].ldy, t->a, t->lda, T, t->w,
                                       outputs[i].accumulate || k > 0);
            }
        }
    } else if (!nn && T <= SMALL_ROWS) {
        small(c, outputs, n, (int)T);
    } else {
        packed(c, nn, outputs, n, T);
    }
}

void matmul_nt_joined(const struct compute *c, const struct matmul_output *outputs, int n_outputs,
                      int64_t T)
{
    joined(c, false, outputs, n_outputs, T);
}

void matmul_nn_joined(const struct compute *c, const struct matmul_output *outputs, int n_outputs,
                      int64_t T)
{
    joined(c, true, outputs, n_outputs, T);
}

void matmul_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx,
               int64_t T, const struct mat *w, bool accumulate)
{
    struct matmul_output o = {
        .y = y, .ldy = ldy, .accumulate = accumulate, .n_terms = 1, .terms = {{x, ldx, w}}};
    joined(c, false, &o, 1, T);
}

void matmul_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy,
               int64_t T, const struct mat *w, bool accumulate)
{
    struct matmul_output o = {
        .y = dx, .ldy = ldx, .accumulate = accumulate, .n_terms = 1, .terms = {{dy, ldy, w}}};
    joined(c, true, &o, 1, T);
}

void matmul_nt_multi(const struct compute *c, int n, float *const *y, const int64_t *ldy,
                     const float *x, int64_t ldx, int64_t T, const struct mat *const *w)
{
    assert(n >= 1 && n <= MATMUL_OUTPUTS);
    struct matmul_output o[MATMUL_OUTPUTS];
    for (int i = 0; i < n; i++)
        o[i] = (struct matmul_output){
            .y = y[i], .ldy = ldy[i], .n_terms = 1, .terms = {{x, ldx, w[i]}}};
    joined(c, false, o, n, T);
}

/* In BF16 mode a gradient of some size takes bf16 operands, summed in f32; small ones are not worth
 * the packing. */
static bool is_large(int64_t m, int64_t n, int64_t T)
{
    return m * n >= 4096 && T >= 16;
}

void matmul_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda,
               int64_t m, const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
               bool accumulate)
{
    if (T <= 0) {
        for (int64_t i = 0; i < m && !accumulate; i++)
            memset(dw + i * lddw, 0, (size_t)n * sizeof *dw);
        return;
    }
    if (c->mode == GM_COMPUTE_F32 || !is_large(m, n, T)) {
        f32_tn(c, dw, lddw, a, lda, m, b, ldb, n, T, scale, accumulate);
        return;
    }
    struct mat right = {
        .data = b, .type = DT_F32, .rows = T, .cols = n, .row_bytes = (size_t)ldb * sizeof *b};
    struct packed_operand left = {.data = scratch_shared(c, 0, packed_bytes(c, m, T)),
                                  .ld = packed_stride(T),
                                  .depth = T,
                                  .source = a,
                                  .source_ld = lda};
    packed_convert_transposed(c, &left, m, scale);
    struct packed_target t = {.c = dw,
                              .ldc = lddw,
                              .accumulate = accumulate,
                              .n_terms = 1,
                              .terms = {{.a = left, .w = &right}}};
    packed_multiply(c, m, &t, 1, true);
}
