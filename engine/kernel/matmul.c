/* matmul.c - the products: which path a shape takes.
 *
 * F32 mode goes to matmul_f32.c. In BF16 mode most shapes go to the packed driver
 * (matmul_packed.c); with few rows (decoding) W is not packed but read once, row by row. Everything
 * is a joined product: a list of outputs, each a sum of terms.
 */
#include "engine/kernel/matmul.h"

#include "engine/base/number.h"
#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/matmul_few.h"
#include "engine/kernel/matmul_packed.h"

#include <assert.h>
#include <string.h>

enum { OPERANDS = MATMUL_OUTPUTS * MATMUL_TERMS };

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
            o->list[i].source_type == t->a_type && o->list[i].depth == term_depth(t, nn))
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
                o->list[o->n++] = (struct packed_operand){.source = t->a,
                                                          .source_ld = t->lda,
                                                          .source_type = t->a_type,
                                                          .depth = term_depth(t, nn)};
        }
    }
}

/* Where each operand is to be read: the source itself if that will do, else a place in the scratch. */
static void place_operands(const struct compute *c, struct operands *o, int64_t T)
{
    size_t bytes[OPERANDS] = {0}, all = 0;
    for (int i = 0; i < o->n; i++) {
        if (!packed_in_place(c, &o->list[i]))
            bytes[i] = (size_t)round_up((int64_t)packed_bytes(c, T, o->list[i].depth), 64);
        all += bytes[i];
    }
    unsigned char *at = scratch_shared(c, 0, all);
    for (int i = 0; i < o->n; i++) {
        struct packed_operand *operand = &o->list[i];
        operand->data = bytes[i] ? at : operand->source;
        operand->ld = bytes[i] ? packed_stride(operand->depth) : operand->source_ld;
        at += bytes[i];
    }
}

static void packed(const struct compute *c, bool nn, const struct matmul_output *outputs, int n,
                   int64_t T)
{
    struct operands o;
    collect_operands(&o, outputs, n, nn);
    place_operands(c, &o, T);
    packed_convert(c, o.list, o.n, T);
    struct packed_target targets[PACKED_TARGETS];
    for (int i = 0; i < n; i++) {
        targets[i] = (struct packed_target){.c = outputs[i].y,
                                            .ldc = outputs[i].ldy,
                                            .c_type = outputs[i].y_type,
                                            .accumulate = outputs[i].accumulate,
                                            .n_terms = outputs[i].n_terms};
        for (int k = 0; k < outputs[i].n_terms; k++) {
            const struct matmul_term *t = &outputs[i].terms[k];
            targets[i].terms[k] =
                (struct packed_term){.a = o.list[find_operand(&o, t, nn)], .w = t->w};
        }
    }
    if (!nn && few_applies(c, T, targets, n))
        few_multiply(c, T, targets, n);
    else
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
    bool rounded = out->y_type == DT_BF16;
    float *y = rounded ? j->c->scratch->slot[slot].data : (float *)out->y + n0;
    int64_t ldy = rounded ? n : out->ldy;
    for (int k = 0; k < out->n_terms; k++) {
        const struct packed_operand *a =
            &j->operands->list[find_operand(j->operands, &out->terms[k], false)];
        struct mat w = mat_rows(out->terms[k].w, n0, n);
        j->c->k->small(y, ldy, a->data, a->ld, j->T, &w, 0, n, out->accumulate || k > 0);
    }
    if (rounded)
        j->c->k->round_rows((uint16_t *)out->y + n0, out->ldy, y, ldy, j->T, n);
}

/* Long enough to be read as a stream, short enough that the threads end together. */
static int64_t small_block_bytes(int64_t all, int threads)
{
    enum { LEAST = 16 << 10, MOST = 192 << 10, BLOCKS = 24 };
    int64_t each = all / ((int64_t)threads * BLOCKS);
    return each < LEAST ? LEAST : min64(each, MOST);
}

static void small(const struct compute *c, const struct matmul_output *outputs, int n, int T)
{
    struct operands o;
    collect_operands(&o, outputs, n, false);
    int64_t floats = 0, widest = 0;
    for (int i = 0; i < o.n; i++) {
        floats += T * round_up(o.list[i].depth, 32);
        widest = o.list[i].source_type == DT_BF16 && o.list[i].depth > widest ? o.list[i].depth : widest;
    }
    float *at = scratch_shared(c, 0, (size_t)(floats + T * widest) * sizeof *at),
          *wide = at + floats;
    for (int i = 0; i < o.n; i++) {
        struct packed_operand *a = &o.list[i];
        const float *from = a->source;
        int64_t ld = a->source_ld;
        if (a->source_type == DT_BF16) {
            for (int t = 0; t < T; t++)
                dtype_to_f32(DT_BF16, (const uint16_t *)a->source + t * a->source_ld,
                             wide + t * a->depth, (size_t)a->depth);
            from = wide;
            ld = a->depth;
        }
        a->data = at;
        a->ld = round_up(a->depth, 32);
        c->k->convert_small(at, a->ld, from, ld, T, a->depth);
        at += T * a->ld;
    }
    struct small_job j = {.c = c, .T = T, .outputs = outputs, .operands = &o};
    int64_t rounded = 0, all = 0;
    for (int i = 0; i < n; i++)
        all += (int64_t)mat_bytes(outputs[i].terms[0].w);
    const int64_t block_bytes = small_block_bytes(all, pool_threads(c->pool));
    for (int i = 0; i < n; i++) {
        const struct mat *w = outputs[i].terms[0].w;
        int64_t cols = block_bytes / ((int64_t)mat_bytes(w) / (w->rows + 1) + 1);
        j.block_cols[i] = cols < 4 ? 4 : cols / 4 * 4;
        j.first_block[i + 1] =
            j.first_block[i] + (int)((w->rows + j.block_cols[i] - 1) / j.block_cols[i]);
        if (outputs[i].y_type == DT_BF16 && j.block_cols[i] > rounded)
            rounded = j.block_cols[i];
    }
    if (rounded > 0)
        scratch_slots(c, (size_t)(T * rounded) * sizeof(float));
    pool_run(c->pool, c->role, block_small, &j, j.first_block[n]);
}

static bool is_activation(enum dtype t)
{
    return t == DT_F32 || t == DT_BF16;
}

static void check_shapes(const struct compute *c, const struct matmul_output *outputs, int n,
                         bool nn)
{
    const bool exact = c->mode == GM_COMPUTE_F32;
    assert(n >= 1 && n <= MATMUL_OUTPUTS);
    for (int i = 0; i < n; i++) {
        const struct matmul_output *o = &outputs[i];
        assert(is_activation(o->y_type) && !(o->y_type == DT_BF16 && (exact || o->accumulate)));
        for (int k = 0; k < o->n_terms; k++) {
            assert(nn ? o->terms[k].w->cols == o->terms[0].w->cols
                      : o->terms[k].w->rows == o->terms[0].w->rows);
            assert(is_activation(o->terms[k].a_type) && !(o->terms[k].a_type == DT_BF16 && exact));
        }
    }
}

static void joined(const struct compute *c, bool nn, const struct matmul_output *outputs, int n,
                   int64_t T)
{
    check_shapes(c, outputs, n, nn);
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
    } else if (!nn && T <= SMALL_ROWS && !few_panel(c, outputs[0].terms[0].w, 0, 0)) {
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

int64_t matmul_stride(int64_t depth)
{
    return packed_stride(depth);
}

int64_t matmul_rows(int64_t T)
{
    return round_up(T, ROW_PAD);
}
