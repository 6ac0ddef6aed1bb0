/* head_packed.c - BF16 mode of the head: one walk over the vocabulary gives the loss and the
 * gradient of the hidden states, and no logits are kept.
 *
 * With p_v = softmax(l)_v the gradient of a row is sum_v p_v W_v - W_target. The vocabulary is
 * cut into parts; a part's logits are made tile by tile, become e = exp(l - c) in bf16, and e
 * times the same rows of W, which are still in the cache, is added to an accumulator. The
 * reference c of a row is moved only when a logit would outgrow it (softmax_tile: by whole
 * powers of two, which rounds nothing); the sum of e, hence p, is known when the walk ends. It
 * is the softmax of attention with W as keys and values. The target's own term, (p - 1)
 * W_target, is added at the end in f32, so that a confident prediction has a small gradient and
 * not the difference of two rounded ones.
 *
 * Order: part q belongs to lane q mod LANES, and a lane adds its parts up in order, whoever
 * computes them: a block waits until the block before it in its lane is done. The pool hands out
 * blocks in order, so that one is done or running. Lanes are summed in order at the end. Groups
 * of rows, which give work to more threads, change no bits.
 *
 * The gradient of W itself (full fine-tuning) needs p while a part's logits are there: a second
 * walk makes the logits again.
 */
#include "engine/base/number.h"
#include "engine/kernel/head_private.h"
#include "engine/kernel/matmul_packed.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum {
    LANES = 8,
    ROWS_MOST = 256,
    PART_LEAST = 64,
    PART_MOST = 256, /* columns of a part: its rows of W stay in the second cache */
    GROUPS_MOST = ROWS_MOST / ROW_PAD,
    BACK_COLS = 128,         /* of W, packed at a time for the way back */
    BACK_COLS_BLOCKED = 256, /* where the storage has blocks of as many */
    STRIP_LEAST = 12         /* rows of a strip: two tiles of sums, or a family's own step */
};
/* A new reference leaves this room: logits may grow by so many powers of two until the next. */
static const float SHIFT_ROOM = 24;

struct workspace {
    struct softmax_row *state; /* [LANES, rows] */
    float *sums;               /* [LANES, rows, depth]: of e W */
    float *target_logit;       /* [rows], as the product gave it */
    float *shift;              /* [rows]: log2 of the sum of all exp(l) */
    atomic_int *done;          /* [LANES * GROUPS_MOST]: parts of this lane and group */
};

static size_t lay_out(struct workspace *ws, void *base, int64_t rows, int64_t depth, bool gradient)
{
    unsigned char *p = base;
    size_t r = (size_t)rows, state = align64(LANES * r * sizeof(struct softmax_row)),
           sums = gradient ? align64(LANES * r * (size_t)depth * sizeof(float)) : 0,
           floats = align64(r * sizeof(float)), done = LANES * GROUPS_MOST * sizeof(atomic_int);
    if (p)
        *ws = (struct workspace){.state = (void *)p,
                                 .sums = gradient ? (void *)(p + state) : NULL,
                                 .target_logit = (void *)(p + state + sums),
                                 .shift = (void *)(p + state + sums + floats),
                                 .done = (void *)(p + state + sums + 2 * floats)};
    return state + sums + 2 * floats + done;
}

int64_t head_packed_rows(int64_t n)
{
    int64_t chunks = (n + ROWS_MOST - 1) / ROWS_MOST;
    return chunks > 1 ? (n + chunks - 1) / chunks : n;
}

size_t head_packed_bytes(int64_t rows, int64_t depth, bool gradient)
{
    return lay_out(NULL, NULL, rows, depth, gradient);
}

struct walk {
    const struct head_task *t;
    struct workspace ws;
    size_t element;        /* bytes of one of a left operand */
    const void *h;         /* converted hidden states, rows lda apart */
    int64_t lda, stretch;
    int64_t part_cols, parts, group_rows, groups;
    int64_t e_stride, back_cols;
    size_t tile_at, e_at; /* in the scratch of a thread, behind its panel */
    unsigned char *hidden_panel; /* gradient of W: h as right operand */
    int64_t hidden_kpad;
};

/* The part of W that will be packed next. It is asked for while the rows of a product pass, strip
 * by strip, so that reading W costs no time of its own. */
struct next {
    int64_t row, rows, col, cols;
};

/* Always inline: gcc drops the call of a function that only prefetches, as one without effect. */
static inline __attribute__((always_inline)) void ask_for(const struct walk *w, struct next n,
                                                          int64_t strip, int64_t strips)
{
    const struct mat *m = w->t->head;
    size_t first = m->row_bytes * (size_t)n.col / (size_t)m->cols,
           last = m->row_bytes * (size_t)(n.col + n.cols) / (size_t)m->cols;
    for (int64_t r = n.rows * strip / strips; r < n.rows * (strip + 1) / strips; r++) {
        const char *row = (const char *)m->data + (size_t)(n.row + r) * m->row_bytes;
        for (size_t b = first; b < last; b += 64)
            __builtin_prefetch(row + b, 0, 3);
    }
}

static inline __attribute__((always_inline)) void ask_for_sums(const float *c, int64_t ldc,
                                                               int64_t rows, int cols)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int j = 0; j < cols; j += 16)
            __builtin_prefetch(c + r * ldc + j, 1, 3);
    }
}

/* The family's product, strip by strip. */
static void multiply(const struct walk *w, const unsigned char *a, int64_t lda, const void *panel,
                     int64_t depth, float *c, int64_t ldc, int64_t rows, int cols, bool accumulate,
                     struct next next)
{
    const struct kernel_table *k = w->t->c->k;
    const int64_t strip = k->step_rows > STRIP_LEAST ? k->step_rows : STRIP_LEAST,
                  strips = (rows + strip - 1) / strip;
    for (int64_t i = 0, r = 0; r < rows; i++, r += strip) {
        ask_for(w, next, i, strips);
        if (accumulate && rows - r > strip)
            ask_for_sums(c + (r + strip) * ldc, ldc, min64(strip, rows - r - strip), cols);
        multiply_panels(k, a + (size_t)(r * lda) * w->element, lda, panel, (int)round_up(depth, 32),
                        c + r * ldc, ldc, (int)min64(strip, rows - r), cols, accumulate);
    }
}

/* Logits of up to HEAD_TILE columns from v0 on, to tile[rows, HEAD_TILE]. */
static void logits_of_tile(const struct walk *w, void *panel, float *tile, int64_t v0, int cols,
                           int64_t r0, int64_t rows)
{
    const struct kernel_table *k = w->t->c->k;
    const int64_t behind = v0 + cols, columns = min64(HEAD_TILE, w->t->vocab - behind);
    for (int64_t k0 = 0; k0 < w->t->depth; k0 += w->stretch) {
        int depth = (int)min64(w->stretch, w->t->depth - k0);
        k->pack_nt(panel, w->t->head, v0, cols, k0, depth);
        multiply(w, (const unsigned char *)w->h + (size_t)(r0 * w->lda + k0) * w->element, w->lda,
                 panel, depth, tile, HEAD_TILE, rows, cols, k0 > 0,
                 (struct next){behind, columns, k0, depth});
    }
}

/* What one block works on. */
struct part {
    int64_t v0, cols, r0, rows;
    struct softmax_row *state; /* [rows] */
    float *sums;               /* [rows, depth] or NULL */
    bool first;                /* of its lane: `sums` holds nothing yet */
    unsigned char *e;          /* [rows, e_stride] */
};

/* Row r has outgrown its reference: it gets another, and what was added with the old one is scaled.
 * `before`: columns of e that are filled. */
static void move_reference(const struct walk *w, const struct part *p, int64_t r,
                           const float *logits, int cols, int64_t before)
{
    struct softmax_row *s = &p->state[r];
    float most = -INFINITY;
    for (int i = 0; i < cols; i++)
        most = logits[i] > most ? logits[i] : most;
    if (w->t->softcap > 0)
        most = head_cap(most, w->t->softcap, NULL);
    float shift = rintf(most * 1.44269504f), factor = exp2f(s->shift - shift);
    float limit = (shift + SHIFT_ROOM) * 0.693147181f;
    for (int i = 0; i < (int)(sizeof s->sum / sizeof *s->sum); i++)
        s->sum[i] *= factor;
    if (p->sums && !p->first) {
        for (int64_t i = 0; i < w->t->depth; i++)
            p->sums[r * w->t->depth + i] *= factor;
    }
    for (int64_t i = 0; p->sums && i < before; i++) {
        if (w->t->c->k->vnni) {
            uint16_t *e = (uint16_t *)(void *)p->e + r * w->e_stride + i;
            *e = f32_to_bf16(bf16_to_f32(*e) * factor);
        } else {
            ((float *)(void *)p->e)[r * w->e_stride + i] *= factor;
        }
    }
    s->shift = shift;
    s->limit = limit > most ? limit : most * 1.0001f;
}

/* Logits of a part, its sums of exponentials, and e. */
static void forward_part(const struct walk *w, const struct part *p, void *panel, float *tile)
{
    const struct head_task *t = w->t;
    const int32_t *targets = t->targets + p->r0;
    for (int64_t j = 0; j < p->cols; j += HEAD_TILE) {
        int cols = (int)min64(HEAD_TILE, p->cols - j);
        unsigned char *e = p->sums ? p->e + (size_t)j * w->element : NULL;
        logits_of_tile(w, panel, tile, p->v0 + j, cols, p->r0, p->rows);
        for (int64_t r = 0;;) {
            r = t->c->k->softmax_tile(p->state, e, w->e_stride, tile, r, p->rows, cols, t->softcap);
            if (r == p->rows)
                break;
            move_reference(w, p, r, tile + r * HEAD_TILE, cols, j);
        }
        for (int64_t r = 0; r < p->rows; r++) { /* the target's term is added at the end */
            int64_t target = targets[r] - p->v0 - j;
            if (target < 0 || target >= cols)
                continue;
            w->ws.target_logit[p->r0 + r] = tile[r * HEAD_TILE + target];
            if (e)
                memset(e + (size_t)(r * w->e_stride + target) * w->element, 0, w->element);
        }
    }
}

static void backward_part(const struct walk *w, const struct part *p, void *panel)
{
    const struct head_task *t = w->t;
    const struct kernel_table *k = t->c->k;
    for (int64_t n0 = 0; n0 < t->depth; n0 += w->back_cols) {
        int cols = (int)min64(w->back_cols, t->depth - n0);
        k->pack_nn(panel, t->head, n0, cols, p->v0, (int)p->cols);
        struct next next = {p->v0, p->cols, n0 + cols, min64(w->back_cols, t->depth - n0 - cols)};
        multiply(w, p->e, w->e_stride, panel, p->cols, p->sums + n0, t->depth, p->rows, cols,
                 !p->first, next);
    }
}

/* No sum of exponentials, and no reference, is another than before the part: to rounding, its
 * probabilities are 0. */
static bool changed_nothing(const struct part *p, const struct softmax_row *before)
{
    return memcmp(before, p->state, (size_t)p->rows * sizeof *before) == 0;
}

static void wait_until(atomic_int *count, int value)
{
    for (unsigned turns = 1; atomic_load_explicit(count, memory_order_acquire) < value; turns++) {
        if (turns % 64 == 0)
            sched_yield();
    }
}

static void block_part(void *arg, int block, int slot)
{
    const struct walk *w = arg;
    int64_t part = block / w->groups, group = block % w->groups, lane = part % LANES;
    atomic_int *done = &w->ws.done[lane * w->groups + group];
    int64_t r0 = group * w->group_rows;
    unsigned char *scratch = w->t->c->scratch->slot[slot].data;
    struct part p = {.v0 = part * w->part_cols,
                     .cols = min64(w->part_cols, w->t->vocab - part * w->part_cols),
                     .r0 = r0,
                     .rows = min64(w->group_rows, w->t->rows - r0),
                     .state = w->ws.state + lane * w->t->rows + r0,
                     .sums = w->ws.sums
                                 ? w->ws.sums + (lane * w->t->rows + r0) * w->t->depth
                                 : NULL,
                     .first = part < LANES,
                     .e = scratch + w->e_at};
    struct softmax_row before[ROWS_MOST];
    wait_until(done, (int)(part / LANES));
    if (w->t->c->head_skip)
        memcpy(before, p.state, (size_t)p.rows * sizeof *before);
    forward_part(w, &p, scratch, (void *)(scratch + w->tile_at));
    if (p.sums && !(w->t->c->head_skip && !p.first && changed_nothing(&p, before)))
        backward_part(w, &p, scratch);
    atomic_store_explicit(done, (int)(part / LANES) + 1, memory_order_release);
}

/* One row: the lanes' sums of exponentials to the loss, and their sums of e W to the gradient. */
static void block_finish(void *arg, int block, int slot)
{
    const struct walk *w = arg;
    const struct head_task *t = w->t;
    int64_t r = block;
    int lanes = (int)min64(LANES, w->parts);
    double most = -INFINITY, total = 0, lane_sum[LANES];
    for (int i = 0; i < lanes; i++) {
        const struct softmax_row *s = &w->ws.state[i * t->rows + r];
        lane_sum[i] = 0;
        for (int k = 0; k < (int)(sizeof s->sum / sizeof *s->sum); k++)
            lane_sum[i] += (double)s->sum[k];
        most = s->shift > most ? s->shift : most;
    }
    for (int i = 0; i < lanes; i++)
        total += lane_sum[i] * exp2((double)w->ws.state[i * t->rows + r].shift - most);
    float slope, logit = head_cap(w->ws.target_logit[r], t->softcap, &slope);
    t->nll[r] = most * 0.69314718055994531 + log(total) - (double)logit;
    w->ws.shift[r] = (float)(most + log2(total));
    if (!t->dh)
        return;
    float *dh = t->dh + r * t->depth, *row = t->c->scratch->slot[slot].data;
    mat_row_to_f32(t->head, t->targets[r], row);
    float at_target = (float)((exp(-t->nll[r]) - 1) * t->weight) * slope;
    for (int64_t i = 0; i < t->depth; i++)
        dh[i] = at_target * row[i];
    for (int lane = 0; lane < lanes; lane++) {
        const float *sums = w->ws.sums + (lane * t->rows + r) * t->depth;
        float factor = (float)(
            t->weight * exp2((double)w->ws.state[lane * t->rows + r].shift - most) / total);
        for (int64_t i = 0; i < t->depth; i++)
            dh[i] += factor * sums[i];
    }
}

/* Gradient of W: h as panels of the right operand, BACK_COLS columns a block. */
static void block_pack_hidden(void *arg, int block, int slot)
{
    const struct walk *w = arg;
    const struct mat h = mat_f32(w->t->h, w->t->rows, w->t->depth);
    int64_t n0 = (int64_t)block * BACK_COLS;
    w->t->c->k->pack_nn(w->hidden_panel + (size_t)(n0 * w->hidden_kpad) * w->element, &h, n0,
                        (int)min64(BACK_COLS, w->t->depth - n0), 0, (int)w->t->rows);
}

/* tile[k, HEAD_TILE], `rows` columns of it, to rows of a left operand. */
static void transpose_tile(const struct walk *w, void *to, int64_t ld, const float *tile, int rows,
                           float *turned)
{
    const struct kernel_table *k = w->t->c->k;
    int64_t depth = w->t->rows;
    if (k->convert_transposed) {
        k->convert_transposed(to, ld, tile, HEAD_TILE, rows, depth, 1);
        return;
    }
    for (int r = 0; r < rows; r++) {
        for (int64_t i = 0; i < depth; i++)
            turned[r * depth + i] = tile[i * HEAD_TILE + r];
    }
    k->convert(to, ld, turned, depth, rows, depth, w->hidden_kpad);
}

/* Gradient of HEAD_TILE rows of W. */
static void block_weight_gradient(void *arg, int block, int slot)
{
    const struct walk *w = arg;
    const struct head_task *t = w->t;
    int64_t v0 = (int64_t)block * HEAD_TILE, ld = packed_stride(t->rows);
    int cols = (int)min64(HEAD_TILE, t->vocab - v0);
    unsigned char *scratch = t->c->scratch->slot[slot].data;
    float *tile = (void *)(scratch + w->tile_at), *turned = tile + t->rows * HEAD_TILE;
    logits_of_tile(w, scratch, tile, v0, cols, 0, t->rows);
    for (int64_t r = 0; r < t->rows; r++) {
        float *row = tile + r * HEAD_TILE, slope;
        int64_t target = t->targets[r] - v0;
        if (target >= 0 && target < cols)
            head_cap(row[target], t->softcap, &slope);
        t->c->k->softmax_gradient(row, t->softcap, w->ws.shift[r], t->weight);
        if (target >= 0 && target < cols)
            row[target] -= t->weight * slope;
    }
    transpose_tile(w, scratch + w->e_at, ld, tile, cols, turned);
    multiply_panels(t->c->k, scratch + w->e_at, ld, w->hidden_panel, (int)w->hidden_kpad,
                      t->d_head + v0 * t->depth, t->depth, cols, (int)t->depth, true);
}

static void weight_gradient(struct walk *w)
{
    const struct head_task *t = w->t;
    w->hidden_kpad = round_up(t->rows, 32);
    w->hidden_panel = scratch_shared(
        t->c, 1, (size_t)(round_up(t->depth, PANEL) * w->hidden_kpad) * w->element);
    size_t tile = (size_t)(t->rows * HEAD_TILE) * sizeof(float);
    w->e_at = align64(w->tile_at + 2 * tile);
    scratch_slots(t->c, w->e_at + packed_bytes(t->c, HEAD_TILE, t->rows));
    pool_run(t->c->pool, t->c->role, block_pack_hidden, w,
             (int)((t->depth + BACK_COLS - 1) / BACK_COLS));
    pool_run(t->c->pool, t->c->role, block_weight_gradient, w,
             (int)((t->vocab + HEAD_TILE - 1) / HEAD_TILE));
}

/* Parts as long as a block of the pool may last; rows in groups where a part is too much or threads
 * would have nothing to do. Parts must not follow the number of threads: they are the order of the
 * sums. Nor may groups that decide together what to leave out. */
static void choose_cut(struct walk *w)
{
    const struct head_task *t = w->t;
    double most = 10 * t->c->k->block_flops, column = 4.0 * (double)(t->rows * t->depth);
    int64_t cols = (int64_t)(most / column) / HEAD_TILE * HEAD_TILE;
    w->part_cols = cols < PART_LEAST ? PART_LEAST : cols > PART_MOST ? PART_MOST : cols;
    w->parts = (t->vocab + w->part_cols - 1) / w->part_cols;
    int64_t groups = (int64_t)(column * (double)w->part_cols / most) + 1;
    while (!t->c->head_skip && groups * min64(LANES, w->parts) < 2 * pool_threads(t->c->pool))
        groups++;
    w->group_rows = round_up((t->rows + groups - 1) / groups, ROW_PAD);
    w->groups = (t->rows + w->group_rows - 1) / w->group_rows;
    w->back_cols = dtype_block(t->head->type) > 32 ? BACK_COLS_BLOCKED : BACK_COLS;
}

void head_packed(const struct head_task *t, void *workspace)
{
    const struct compute *c = t->c;
    struct walk w = {.t = t,
                     .element = c->k->vnni ? 2 : 4,
                     .lda = packed_stride(t->depth),
                     .stretch = packed_stretch(t->depth, t->head->type)};
    lay_out(&w.ws, workspace, t->rows, t->depth, t->dh != NULL);
    choose_cut(&w);
    struct packed_operand h = {.data = scratch_shared(c, 0, packed_bytes(c, t->rows, t->depth)),
                               .ld = w.lda,
                               .depth = t->depth,
                               .source = t->h,
                               .source_ld = t->depth};
    w.h = h.data;
    packed_convert(c, &h, 1, t->rows);

    int64_t forward = HEAD_TILE * min64(w.stretch, round_up(t->depth, 32)),
            backward = w.back_cols * round_up(w.part_cols, 32);
    w.e_stride = packed_stride(w.part_cols);
    w.tile_at = align64((size_t)(forward > backward ? forward : backward) * w.element);
    w.e_at = align64(w.tile_at + (size_t)(w.group_rows * HEAD_TILE) * sizeof(float));
    size_t row = (size_t)t->depth * sizeof(float),
           slot = w.e_at + (t->dh ? (size_t)(w.group_rows * w.e_stride) * w.element : 0);
    scratch_slots(c, slot > row ? slot : row);

    for (int64_t i = 0; i < LANES * t->rows; i++)
        w.ws.state[i] = (struct softmax_row){.shift = -INFINITY, .limit = -INFINITY};
    for (int i = 0; i < LANES * GROUPS_MOST; i++)
        atomic_init(&w.ws.done[i], 0);
    pool_run(c->pool, c->role, block_part, &w, (int)(w.parts * w.groups));
    pool_run(c->pool, c->role, block_finish, &w, (int)t->rows);
    if (t->d_head)
        weight_gradient(&w);
}
