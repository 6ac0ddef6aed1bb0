/* head.c - cross-entropy fused with the vocabulary projection, a block of rows at a time.
 *
 * BF16 mode, for each block of rows: pass 1 takes the vocabulary in blocks of VOCAB_BLOCK columns;
 * logits of a block live in the thread's scratch, and what is kept per row and block is the largest
 * logit m_b, the sum of exp(l - m_b), and (for a gradient) exp(l - m_b) in bf16, already times the
 * slope of the soft-cap. Then lse = log sum_b S_b exp(m_b), and the gradient is that stored value
 * times exp(m_b - lse): exp is computed once. Pass 2 takes the vocabulary in parts of VOCAB_PART
 * columns: the part of the gradient of the logits becomes the left operand of one or two packed
 * products.
 *
 * F32 mode keeps the f32 logits of a block of rows and uses expf and double sums: the reference.
 */
#include "engine/kernel/head.h"

#include "engine/kernel/matmul.h"
#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/matmul_packed.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    VOCAB_BLOCK = 128,
    VOCAB_PART = 4096,
    PANEL_COLS = 64,
    ROWS_MANY = 256,
    ROWS_FEW = 128,
    MANY_BELOW_VOCAB = 65536
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t blocks_of(int64_t vocab)
{
    return (vocab + VOCAB_BLOCK - 1) / VOCAB_BLOCK;
}

static int64_t rows_at_a_time(int64_t n, int64_t vocab)
{
    return min64(n, vocab <= MANY_BELOW_VOCAB ? ROWS_MANY : ROWS_FEW);
}

struct stat {
    float max, sum;
};

/* Sections of the workspace for `rows` rows. The f32 logits of F32 mode share the place of the bf16
 * values of twice as many rows. */
struct workspace {
    uint16_t *values;    /* [rows, vocab] */
    struct stat *stats;  /* [rows, blocks] */
    float *target_logit; /* [rows] */
    float *target_slope; /* [rows] derivative of the soft-cap at the target */
    double *lse;         /* [rows] */
};

static size_t align64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static size_t lay_out(struct workspace *ws, void *base, int64_t rows, int64_t vocab)
{
    unsigned char *p = base;
    size_t r = (size_t)rows;
    size_t values = align64((r + 1) / 2 * 2 * (size_t)vocab * sizeof(uint16_t));
    size_t stats = align64(r * (size_t)blocks_of(vocab) * sizeof(struct stat));
    size_t floats = align64(r * sizeof(float)), doubles = align64(r * sizeof(double));
    if (p) {
        ws->values = (void *)p;
        ws->stats = (void *)(p + values);
        ws->target_logit = (void *)(p + values + stats);
        ws->target_slope = (void *)(p + values + stats + floats);
        ws->lse = (void *)(p + values + stats + 2 * floats);
    }
    return values + stats + 2 * floats + doubles;
}

size_t head_workspace_bytes(int64_t n_rows, int64_t vocab)
{
    return lay_out(NULL, NULL, rows_at_a_time(n_rows, vocab), vocab) + 64;
}

struct task {
    const struct compute *c;
    const struct mat *head;
    float softcap, weight;
    const int32_t *targets; /* of this block of rows, like all below */
    int64_t rows, vocab, depth;
    struct workspace ws;
    bool want_gradient;
    /* pass 1 */
    const void *a;
    int64_t lda, stretch, group_rows;
    int groups; /* of rows, per block of the vocabulary: keeps a block of the pool short */
    /* pass 2 */
    int64_t part0, part_cols, part_lda;
    void *part;         /* [rows, part_lda] in the family's layout */
    float *part_floats; /* [rows, VOCAB_PART]: for d_head */
    float *logits;      /* F32 mode: [rows, vocab] */
};

static size_t element_bytes(const struct compute *c)
{
    return c->k->vnni ? 2 : 4;
}

static void remember_target(struct task *t, int64_t row, float logit)
{
    t->ws.target_logit[row] = t->softcap > 0 ? t->softcap * tanhf(logit / t->softcap) : logit;
    float ratio = t->softcap > 0 ? t->ws.target_logit[row] / t->softcap : 0;
    t->ws.target_slope[row] = 1 - ratio * ratio;
}

/* Pass 1: one block of the vocabulary, one group of rows. */
static void block_logits(void *arg, int block, int slot)
{
    struct task *t = arg;
    const struct kernel_table *k = t->c->k;
    int64_t r0 = block % t->groups * t->group_rows, rows = min64(t->group_rows, t->rows - r0);
    block /= t->groups;
    int64_t n0 = (int64_t)block * VOCAB_BLOCK;
    int cols = (int)min64(VOCAB_BLOCK, t->vocab - n0);
    unsigned char *panel = t->c->scratch->slot[slot].data;
    float *tile = (float *)(void *)(panel + (size_t)PANEL_COLS * KC * element_bytes(t->c));
    for (int j = 0; j < cols; j += PANEL_COLS) {
        int n = (int)min64(PANEL_COLS, cols - j);
        for (int64_t k0 = 0; k0 < t->depth; k0 += t->stretch) {
            int depth = (int)min64(t->stretch, t->depth - k0);
            k->pack_nt(panel, t->head, n0 + j, n, k0, depth);
            k->multiply(
                (const unsigned char *)t->a + (size_t)(r0 * t->lda + k0) * element_bytes(t->c),
                t->lda, panel, (depth + 31) & ~31, tile + j, VOCAB_BLOCK, (int)rows, n, k0 > 0);
        }
    }
    for (int64_t r = r0; r < r0 + rows; r++) {
        float *row = tile + (r - r0) * VOCAB_BLOCK;
        int64_t target = t->targets[r] - n0;
        if (target >= 0 && target < cols)
            remember_target(t, r, row[target]);
        struct stat *s = &t->ws.stats[r * blocks_of(t->vocab) + block];
        k->softmax_row(t->want_gradient ? t->ws.values + r * t->vocab + n0 : NULL, row, cols,
                       t->softcap, &s->max, &s->sum);
    }
}

static void combine_row(struct task *t, int64_t row)
{
    const struct stat *s = &t->ws.stats[row * blocks_of(t->vocab)];
    int64_t blocks = blocks_of(t->vocab);
    float most = s[0].max;
    for (int64_t b = 1; b < blocks; b++)
        most = s[b].max > most ? s[b].max : most;
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++)
        sum += s[b].sum * exp((double)s[b].max - most);
    t->ws.lse[row] = most + log(sum);
}

enum { COMBINE_ROWS = 8 };
static void block_combine(void *arg, int block, int slot)
{
    struct task *t = arg;
    for (int64_t r = (int64_t)block * COMBINE_ROWS;
         r < t->rows && r < (int64_t)(block + 1) * COMBINE_ROWS; r++)
        combine_row(t, r);
}

/* Pass 2: one row of a part of the gradient of the logits, to the layout of a left operand. */
static void block_part(void *arg, int block, int slot)
{
    struct task *t = arg;
    int64_t r = block;
    float *row = t->part_floats ? t->part_floats + r * VOCAB_PART : t->c->scratch->slot[slot].data;
    const struct stat *s = &t->ws.stats[r * blocks_of(t->vocab) + t->part0 / VOCAB_BLOCK];
    for (int64_t j = 0; j < t->part_cols; j += VOCAB_BLOCK, s++) {
        float factor = (float)(t->weight * exp(s->max - t->ws.lse[r]));
        t->c->k->scale_row(row + j, t->ws.values + r * t->vocab + t->part0 + j, factor,
                           (int)min64(VOCAB_BLOCK, t->part_cols - j));
    }
    int64_t target = t->targets[r] - t->part0;
    if (target >= 0 && target < t->part_cols)
        row[target] -= t->weight * t->ws.target_slope[r];
    t->c->k->convert((unsigned char *)t->part + (size_t)(r * t->part_lda) * element_bytes(t->c),
                     t->part_lda, row, VOCAB_PART, 1, t->part_cols,
                     (t->part_cols + 31) & ~(int64_t)31);
}

static void packed_gradient(struct task *t, const float *h, float *dh, float *d_head)
{
    const struct compute *c = t->c;
    t->part_lda = packed_stride(min64(VOCAB_PART, t->vocab));
    size_t part_bytes = packed_bytes(c, t->rows, min64(VOCAB_PART, t->vocab));
    size_t float_bytes = d_head ? (size_t)t->rows * VOCAB_PART * sizeof(float) : 0;
    unsigned char *shared = scratch_shared(c, 1, part_bytes + float_bytes);
    t->part = shared;
    t->part_floats = d_head ? (float *)(void *)(shared + part_bytes) : NULL;
    memset(shared, 0, part_bytes); /* rows of padding */
    struct packed_operand left = {.ld = packed_stride(t->rows),
                                  .depth = t->rows,
                                  .source = t->part_floats,
                                  .source_ld = VOCAB_PART};
    left.data = d_head ? scratch_shared(c, 2, packed_bytes(c, VOCAB_PART, t->rows)) : NULL;
    struct mat hidden = mat_f32(h, t->rows, t->depth);
    scratch_slots(c, VOCAB_PART * sizeof(float));
    for (t->part0 = 0; t->part0 < t->vocab; t->part0 += VOCAB_PART) {
        t->part_cols = min64(VOCAB_PART, t->vocab - t->part0);
        pool_run(c->pool, c->role, block_part, t, (int)t->rows);
        if (dh) {
            struct packed_operand part = {
                .data = t->part, .ld = t->part_lda, .depth = t->part_cols};
            struct packed_target target = {
                .c = dh,
                .ldc = t->depth,
                .accumulate = t->part0 > 0,
                .n_terms = 1,
                .terms = {{.a = part, .w = t->head, .w_row0 = t->part0}}};
            packed_multiply(c, t->rows, &target, 1, true);
        }
        if (d_head) {
            packed_convert_transposed(c, &left, t->part_cols, 1.0f);
            struct packed_target target = {.c = d_head + t->part0 * t->depth,
                                           .ldc = t->depth,
                                           .accumulate = true,
                                           .n_terms = 1,
                                           .terms = {{.a = left, .w = &hidden}}};
            packed_multiply(c, t->part_cols, &target, 1, true);
        }
    }
}

static void packed_block(struct task *t, const float *h, float *dh, float *d_head)
{
    const struct compute *c = t->c;
    t->lda = packed_stride(t->depth);
    t->stretch = packed_stretch(t->depth, t->head->type);
    struct packed_operand a = {.data = scratch_shared(c, 0, packed_bytes(c, t->rows, t->depth)),
                               .ld = t->lda,
                               .depth = t->depth,
                               .source = h,
                               .source_ld = t->depth};
    t->a = a.data;
    packed_convert(c, &a, 1, t->rows);
    int64_t group =
        (int64_t)(c->k->block_flops / (2.0 * VOCAB_BLOCK * (double)t->depth)) / ROW_PAD * ROW_PAD;
    t->group_rows = group > ROW_PAD ? group : ROW_PAD;
    t->groups = (int)((t->rows + t->group_rows - 1) / t->group_rows);
    scratch_slots(c, (size_t)PANEL_COLS * KC * element_bytes(c) +
                         (size_t)(min64(t->group_rows, t->rows) * VOCAB_BLOCK) * sizeof(float));
    pool_run(c->pool, c->role, block_logits, t, (int)blocks_of(t->vocab) * t->groups);
    pool_run(c->pool, c->role, block_combine, t,
             (int)((t->rows + COMBINE_ROWS - 1) / COMBINE_ROWS));
    if (t->want_gradient)
        packed_gradient(t, h, dh, d_head);
}

/* F32 mode: logits of a row become its gradient in place. */
static void block_softmax_f32(void *arg, int block, int slot)
{
    struct task *t = arg;
    int64_t r = block, target = t->targets[r];
    float *l = t->logits + r * t->vocab;
    remember_target(t, r, l[target]);
    float most = -INFINITY;
    for (int64_t i = 0; i < t->vocab; i++) {
        if (t->softcap > 0)
            l[i] = t->softcap * tanhf(l[i] / t->softcap);
        most = l[i] > most ? l[i] : most;
    }
    double sum = 0;
    for (int64_t i = 0; i < t->vocab; i++)
        sum += expf(l[i] - most);
    t->ws.lse[r] = most + log(sum);
    if (!t->want_gradient)
        return;
    float lse = (float)t->ws.lse[r];
    for (int64_t i = 0; i < t->vocab; i++) {
        float ratio = t->softcap > 0 ? l[i] / t->softcap : 0;
        l[i] = t->weight * expf(l[i] - lse) * (1 - ratio * ratio);
    }
    l[target] -= t->weight * t->ws.target_slope[r];
}

static void f32_block(struct task *t, const float *h, float *dh, float *d_head)
{
    const struct compute *c = t->c;
    t->logits = (float *)(void *)t->ws.values;
    f32_nt(c, t->logits, t->vocab, h, t->depth, t->rows, t->head, false);
    pool_run(c->pool, c->role, block_softmax_f32, t, (int)t->rows);
    if (dh)
        f32_nn(c, dh, t->depth, t->logits, t->vocab, t->rows, t->head, false);
    if (d_head)
        f32_tn(c, d_head, t->depth, t->logits, t->vocab, t->vocab, h, t->depth, t->depth, t->rows,
               1.0f, true);
}

double head_loss(const struct compute *c, const struct mat *head, float softcap, const float *h,
                 const int32_t *targets, int64_t n, float weight, float *nll, float *dh,
                 float *d_head, void *workspace)
{
    struct task t = {.c = c,
                     .head = head,
                     .softcap = softcap,
                     .weight = weight,
                     .vocab = head->rows,
                     .depth = head->cols,
                     .want_gradient = dh || d_head};
    int64_t most = rows_at_a_time(n, t.vocab);
    unsigned char *base = (unsigned char *)align64((size_t)(uintptr_t)workspace);
    lay_out(&t.ws, base, most, t.vocab);
    if (c->mode == GM_COMPUTE_F32)
        most = most > 1 ? most / 2 : 1;
    double total = 0;
    for (int64_t r0 = 0; r0 < n; r0 += most) {
        t.rows = min64(most, n - r0);
        t.targets = targets + r0;
        for (int64_t r = 0; r < t.rows; r++)
            assert(t.targets[r] >= 0 && t.targets[r] < t.vocab);
        (c->mode == GM_COMPUTE_F32 ? f32_block : packed_block)(
            &t, h + r0 * t.depth, dh ? dh + r0 * t.depth : NULL, d_head);
        for (int64_t r = 0; r < t.rows; r++) {
            double value = t.ws.lse[r] - t.ws.target_logit[r];
            total += value;
            if (nll)
                nll[r0 + r] = (float)value;
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

void head_logits(const struct compute *c, const struct mat *head, float softcap, float *logits,
                 const float *h, int64_t n)
{
    matmul_nt(c, logits, head->rows, h, head->cols, n, head, false);
    if (softcap > 0 && n > 0) {
        struct cap p = {.logits = logits, .softcap = softcap, .vocab = head->rows};
        pool_run(c->pool, c->role, block_cap, &p,
                 (int)(n * ((head->rows + CAP_COLUMNS - 1) / CAP_COLUMNS)));
    }
}
