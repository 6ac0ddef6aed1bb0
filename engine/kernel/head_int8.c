/* head_int8.c - see head_int8.h. Three jobs: all logits with the bounds of every panel; of each row the panels that may matter; those again, exactly. */
#include "engine/kernel/head_int8.h"

#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/kernel/head_int8_kernels.h"
#include "engine/kernel/head_private.h"
#include "engine/kernel/matmul_columns.h"
#include "engine/kernel/matmul_few.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { DEPTH_MAX = 65536, BUILD_PANELS = 4, SCORE_PANELS = 16, EXACT_PANELS = 8, BEST_MAX = 1024, PANELS_MIN = 64, PANELS_SHARE = 4, ROWS_PACKED = 12 };

/* Between these all products and sums of f32 are normal numbers, and what falls below them is less than the rounding that is allowed for. */
static const float SMALLEST = 1e-15f, LARGEST = 1e15f;

struct head_int8 {
    int64_t rows, depth, panels;
    int kpad;
    int8_t *q;
    float *scale, *error, *norm; /* [panels * 16] */
    int32_t *sum;
};

static size_t panel_bytes(const struct mat *head)
{
    return (size_t)round_up(head->cols, 4) * INT8_PANEL;
}

size_t head_int8_bytes(const struct mat *head)
{
    const size_t panels = (size_t)round_up(head->rows, INT8_PANEL) / INT8_PANEL;
    return panels * (panel_bytes(head) + INT8_PANEL * (3 * sizeof(float) + sizeof(int32_t)));
}

/* Never below the number. */
static float upwards(double x)
{
    return isfinite(x) ? (float)(x * (1 + 1e-6)) : INFINITY;
}

struct build {
    const struct compute *c;
    const struct mat *head;
    struct head_int8 *h;
};

static void quantise_row(struct head_int8 *h, int64_t row, const float *w)
{
    int8_t *to = h->q + (size_t)(row / INT8_PANEL) * (size_t)h->kpad * INT8_PANEL + row % INT8_PANEL * 4;
    float most = 0;
    double error = 0, norm = 0;
    int32_t sum = 0;
    bool finite = true;
    for (int64_t k = 0; k < h->depth; k++) {
        most = fabsf(w[k]) > most ? fabsf(w[k]) : most;
        finite = finite && fabsf(w[k]) <= LARGEST;
    }
    const float scale = finite && most >= SMALLEST ? most / 127 : 0;
    for (int64_t k = 0; k < h->depth; k++) {
        const int32_t q = scale > 0 ? (int32_t)lrintf(w[k] / scale) : 0;
        const double seen = (double)scale * q, off = (double)w[k] - seen;
        to[k / 4 * 4 * INT8_PANEL + k % 4] = (int8_t)q;
        sum += q;
        error += off * off;
        norm += seen * seen;
    }
    h->scale[row] = scale;
    h->error[row] = finite ? upwards(sqrt(error)) : INFINITY;
    h->norm[row] = upwards(sqrt(norm));
    h->sum[row] = sum;
}

static void block_build(void *arg, int block, int slot)
{
    const struct build *b = arg;
    float *row = b->c->scratch->slot[slot].data;
    const int64_t first = (int64_t)block * BUILD_PANELS * INT8_PANEL, end = first + BUILD_PANELS * INT8_PANEL;
    for (int64_t r = first; r < end && r < b->h->rows; r++) {
        mat_row_to_f32(b->head, r, row);
        for (int64_t k = 0; k < b->h->depth; k++)
            row[k] = bf16_to_f32(f32_to_bf16(row[k])); /* as the exact product sees it */
        quantise_row(b->h, r, row);
    }
}

struct head_int8 *head_int8_new(const struct compute *c, const struct mat *head, struct gm_error *err)
{
    if (c->mode != GM_COMPUTE_BF16 || head->cols > DEPTH_MAX) {
        error_set(err, GM_E_UNSUPPORTED, "make int8 head: it stands beside products in bf16 of rows of up to %d (--head exact)", DEPTH_MAX);
        return NULL;
    }
    struct head_int8 *h = mem_new(1, sizeof *h);
    *h = (struct head_int8){.rows = head->rows, .depth = head->cols, .kpad = (int)round_up(head->cols, 4)};
    h->panels = round_up(head->rows, INT8_PANEL) / INT8_PANEL;
    if (!(h->q = mem_alloc(head_int8_bytes(head), "int8 head", err))) {
        mem_free(h);
        return NULL;
    }
    const size_t columns = (size_t)h->panels * INT8_PANEL;
    h->scale = (float *)(void *)(h->q + (size_t)h->panels * panel_bytes(head));
    h->error = h->scale + columns;
    h->norm = h->error + columns;
    h->sum = (int32_t *)(void *)(h->norm + columns);
    struct build b = {.c = c, .head = head, .h = h};
    scratch_slots(c, (size_t)h->depth * sizeof(float));
    pool_run(c->pool, c->role, block_build, &b, (int)((h->panels + BUILD_PANELS - 1) / BUILD_PANELS));
    return h;
}

void head_int8_free(struct head_int8 *h)
{
    if (!h)
        return;
    mem_free(h->q);
    mem_free(h);
}

/* A row as it is met, and the panels of it that are computed exactly. */
struct meeting {
    float step, reach, spread;
    bool whole;             /* no bound, or all is wanted */
    float *least, *most;    /* [panels] */
    int32_t *exact;         /* [panels]: their numbers, in order */
    int n_exact, first_job; /* of the jobs of EXACT_PANELS */
};
struct rows {
    const struct head_int8 *h;
    const struct compute *c;
    float softcap, *logits;
    int n;
    const struct head_want *wants;
    struct meeting *met;
    uint8_t *x;
    int8_score_fn score;
    const struct columns *columns;
};

/* X of row t into x [kpad/4][n][2][4], and the factors of the bound.
 * Rounding of the exact product: a product of two bf16 fits f32 but for its exponent, each of `depth` additions loses at most 2^-24 of the sum of absolutes so
 * far, in some families twice; 2^-22 depth |w| |x| is well above. Of the approximation: three roundings of 256 high and low, together
 * below |s q| (|p X| + 512 p sqrt(depth)); again the bound takes four times of what there is. */
static void meet_row(const struct rows *j, int t, const float *hidden)
{
    const struct head_int8 *h = j->h;
    struct meeting *m = &j->met[t];
    const double root = sqrt((double)h->depth), lost = (double)h->depth * 0x1p-22;
    double norm = 0, error = 0;
    float most = 0;
    bool finite = true;
    for (int64_t k = 0; k < h->depth; k++) {
        const float v = bf16_to_f32(f32_to_bf16(hidden[k]));
        most = fabsf(v) > most ? fabsf(v) : most;
        finite = finite && fabsf(v) <= LARGEST;
    }
    m->whole = j->wants[t].best <= 0 || j->wants[t].best > BEST_MAX || !finite || most < SMALLEST;
    m->step = m->whole ? 0 : most / 32767;
    for (int64_t k = 0; k < h->kpad; k++) {
        const double v = k < h->depth ? (double)bf16_to_f32(f32_to_bf16(hidden[k])) : 0;
        const int whole = m->step > 0 ? (int)lrint(v / (double)m->step) : 0, shifted = (whole > 32767 ? 32767 : whole < -32768 ? -32768 : whole) + 32768;
        uint8_t *to = j->x + (k / 4 * j->n + t) * 8 + k % 4;
        const double off = v - (double)m->step * (shifted - 32768);
        to[0] = (uint8_t)(shifted >> 8);
        to[4] = (uint8_t)(shifted & 255);
        norm += v * v;
        error += off * off;
    }
    norm = sqrt(norm);
    error = sqrt(error);
    m->reach = upwards(norm * (1 + lost) * (1 + 0x1p-20));
    m->spread = upwards(error + lost * norm + 0x1p-20 * (norm + error + 512 * (double)m->step * root));
}

static void block_score(void *arg, int block, int slot)
{
    const struct rows *j = arg;
    const struct head_int8 *h = j->h;
    const size_t bytes = (size_t)h->kpad * INT8_PANEL;
    const int64_t first = (int64_t)block * SCORE_PANELS, end = first + SCORE_PANELS < h->panels ? first + SCORE_PANELS : h->panels;
    struct int8_row *rows = j->c->scratch->slot[slot].data;
    for (int64_t p = first; p < end; p++) {
        const int64_t n0 = p * INT8_PANEL;
        struct int8_panel panel = {.q = h->q + (size_t)p * bytes, .kpad = h->kpad, .cols = (int)(h->rows - n0 < INT8_PANEL ? h->rows - n0 : INT8_PANEL),
                                   .scale = h->scale + n0, .error = h->error + n0, .norm = h->norm + n0, .sum = h->sum + n0};
        panel.next = p + 1 < end ? panel.q + bytes : NULL;
        for (int t = 0; t < j->n; t++) {
            const struct meeting *m = &j->met[t];
            rows[t] = (struct int8_row){.step = m->step, .reach = m->reach, .spread = m->spread, .logits = j->logits + t * h->rows + n0,
                                        .least = &m->least[p], .most = &m->most[p]};
        }
        j->score(&panel, j->x, rows, j->n);
    }
}

/* The n-th greatest; there are n panels, each with a token above it. -infinity: there are fewer. */
static float nth_greatest(const float *v, int64_t count, int n)
{
    float top[BEST_MAX];
    int have = 0;
    for (int64_t i = 0; i < count; i++) {
        if (have == n && !(v[i] > top[n - 1]))
            continue;
        int at = have < n ? have++ : n - 1;
        for (; at > 0 && top[at - 1] < v[i]; at--)
            top[at] = top[at - 1];
        top[at] = v[i];
    }
    return have == n ? top[n - 1] : -INFINITY;
}

/* What lies below this cannot be wanted, given a lower bound of the last of the best. The cap flattens what is above it: there the bound goes as far
 * down as two capped numbers that differ by more than tanhf rounds. */
static float lowest_wanted(float least, float window, float softcap)
{
    if (softcap <= 0)
        return least - window - 0x1p-20f * fabsf(least);
    const double cap = (double)softcap, capped = tanh((double)least / cap) - (double)window / cap - 0x1p-18;
    return capped <= -1 ? -INFINITY : (float)(cap * atanh(capped) - 0x1p-20 * fabs((double)least));
}

static int may_matter(const struct meeting *m, int64_t panels, float floor, int64_t limit)
{
    int n = 0;
    for (int64_t p = 0; p < panels; p++)
        if (!(m->most[p] < floor)) {
            if (n == limit)
                return -1;
            m->exact[n++] = (int32_t)p;
        }
    return n;
}

static void block_choose(void *arg, int block, int slot)
{
    const struct rows *j = arg;
    const struct head_want *want = &j->wants[block];
    struct meeting *m = &j->met[block];
    const int64_t panels = j->h->panels, limit = panels / PANELS_SHARE > PANELS_MIN ? panels / PANELS_SHARE : PANELS_MIN;
    m->n_exact = -1;
    if (!m->whole) {
        for (int i = 0; i < want->n_ids; i++)
            if (want->ids[i] >= 0 && want->ids[i] < j->h->rows)
                m->most[want->ids[i] / INT8_PANEL] = INFINITY;
        m->n_exact = may_matter(m, panels, lowest_wanted(nth_greatest(m->least, panels, want->best), want->window, j->softcap), limit);
    }
    if (m->n_exact < 0)
        for (m->n_exact = 0; m->n_exact < panels; m->n_exact++)
            m->exact[m->n_exact] = m->n_exact;
}

static void block_exact(void *arg, int block, int slot)
{
    const struct rows *j = arg;
    int t = 0;
    while (t + 1 < j->n && block >= j->met[t + 1].first_job)
        t++;
    const struct meeting *m = &j->met[t];
    const int first = (block - m->first_job) * EXACT_PANELS;
    for (int i = first; i < first + EXACT_PANELS && i < m->n_exact; i++)
        columns_multiply(j->columns, t, (int64_t)m->exact[i] * INT8_PANEL, j->logits + t * j->h->rows + (int64_t)m->exact[i] * INT8_PANEL, slot);
}

bool head_int8_pays(const struct compute *c, const struct mat *head, int n)
{
    return n <= ROWS_PACKED || !few_panel(c, head, 0, 0);
}

void head_int8_logits(const struct head_int8 *h, const struct compute *c, const struct mat *head, float softcap, float *logits, const float *hidden,
                      int n, const struct head_want *wants)
{
    assert(head->rows == h->rows && head->cols == h->depth && c->mode == GM_COMPUTE_BF16);
    bool any = false;
    for (int t = 0; t < n; t++)
        any = any || wants[t].best > 0;
    if (!any) {
        head_logits(c, head, softcap, logits, hidden, n);
        return;
    }
    const size_t count = (size_t)n, panels = (size_t)h->panels, met_bytes = (count * sizeof(struct meeting) + 63) & ~(size_t)63;
    unsigned char *memory = scratch_shared(c, 1, met_bytes + count * (panels * 12 + 2 * (size_t)h->kpad));
    const int8_score_fn vector = int8_score_avx512vnni();
    struct rows j = {.h = h, .c = c, .softcap = softcap, .logits = logits, .n = n, .wants = wants, .met = (void *)memory,
                     .score = vector && c->family != FAMILY_PLAIN ? vector : int8_score_base};
    float *bounds = (float *)(void *)(memory + met_bytes);
    j.x = (uint8_t *)(bounds + 3 * count * panels);
    for (int t = 0; t < n; t++, bounds += 3 * panels) {
        j.met[t] = (struct meeting){.least = bounds, .most = bounds + panels, .exact = (int32_t *)(void *)(bounds + 2 * panels)};
        meet_row(&j, t, hidden + (int64_t)t * h->depth);
    }
    scratch_slots(c, count * sizeof(struct int8_row));
    pool_run(c->pool, c->role, block_score, &j, (int)((h->panels + SCORE_PANELS - 1) / SCORE_PANELS));
    pool_run(c->pool, c->role, block_choose, &j, n);
    int jobs = 0;
    for (int t = 0; t < n; t++) {
        j.met[t].first_job = jobs;
        jobs += (j.met[t].n_exact + EXACT_PANELS - 1) / EXACT_PANELS;
    }
    const struct columns columns = columns_begin(c, head, hidden, n);
    j.columns = &columns;
    pool_run(c->pool, c->role, block_exact, &j, jobs);
    head_cap_rows(c, softcap, logits, n, h->rows);
}
