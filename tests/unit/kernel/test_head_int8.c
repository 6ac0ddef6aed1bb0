/* The head in one byte a weight: bounds hold for every family's exact logits, also where rows are made to defeat them; the best, their bits and their ties are
 * those of head_logits(); vector code and twin, 1, 2 and 4 threads the same bits. */
#include "engine/kernel/head_int8.c" /* its bounds are private */

#include "engine/kernel/choose.h"
#include "engine/kernel/panels.h"
#include <stdlib.h>
#include "tests/unit/kernel/kernel_test.h"
#include "tests/unit/kernel/pools.h"

enum { V = 2077, D = 171, ROWS = 19 };

/* Kinds of heads: 0 random; 1 near ties: rows a few last bits apart; 2 outliers; 3 zeros, tiny, huge, no numbers. */
enum { HEADS = 4 };
static float *make_head_of(int kind)
{
    float *w = test_floats(V * D, (uint64_t)(31 + kind));
    uint64_t seed = 7;
    for (int64_t r = 0; r < V; r++)
        for (int64_t k = 0; k < D; k++) {
            float *v = &w[r * D + k];
            if (kind == 1 && r % 5 != 0)
                *v = w[(r - r % 5) * D + k] * (test_random(&seed) % 97 == 0 ? 1 + 0x1p-7f : 1);
            else if (kind == 2 && (k == 3 || k == r % D))
                *v *= k == 3 ? 40 : 300;
            else if (kind == 3)
                *v = r % 7 == 0 ? 0 : r % 7 == 1 ? *v * 1e-18f : r % 7 == 2 && k == 5 ? *v * 1e9f : *v;
        }
    if (kind == 3)
        w[17 * D + 2] = INFINITY, w[900 * D + 8] = NAN;
    return w;
}

static float *make_hidden(void)
{
    float *x = test_floats(ROWS * D, 99);
    for (int t = 0; t < ROWS; t++)
        for (int k = 0; k < D; k++) {
            float *v = &x[t * D + k];
            *v *= t % 4 == 1 ? 30 : t % 4 == 2 ? 1e-4f : 1;
            if (t % 5 == 2 && k % 60 == 1)
                *v *= 500; /* few carry all */
            if (t == 7)
                *v = 0;
            if (t == 8)
                *v *= 1e-20f;
        }
    x[11 * D + 1] = NAN;
    x[12 * D] = INFINITY;
    return x;
}

static struct mat stored(const float *w, enum dtype type, void **owned)
{
    *owned = NULL;
    if (type == DT_F32)
        return mat_f32(w, V, D);
    uint16_t *b = mem_new(V * D, sizeof *b);
    for (int64_t i = 0; i < V * D; i++)
        b[i] = f32_to_bf16(w[i]);
    *owned = b;
    return (struct mat){.data = b, .type = DT_BF16, .rows = V, .cols = D, .row_bytes = D * 2};
}

static void bounds_hold(void **state)
{
    float *x = make_hidden();
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (int kind = 0; kind < HEADS && family_runs_here((enum family)f); kind++) {
            struct compute c;
            void *owned;
            float *w = make_head_of(kind), *exact = mem_new(ROWS * V, sizeof *exact);
            struct mat head = stored(w, DT_BF16, &owned);
            assert_true(compute_init(&c, pools[1], GM_TASTE, GM_COMPUTE_BF16, (enum family)f, NULL));
            struct head_int8 *h = head_int8_new(&c, &head, NULL);
            assert_non_null(h);
            head_logits(&c, &head, 0, exact, x, ROWS);
            int useful = 0;
            for (int t = 0; t < ROWS; t++) {
                const struct head_want want = {.best = 1};
                struct meeting met = {0};
                uint8_t *bytes = mem_new((size_t)h->kpad * 2, 1);
                struct rows j = {.h = h, .c = &c, .n = 1, .wants = &want, .met = &met, .x = bytes};
                meet_row(&j, 0, x + t * D);
                assert_int_equal(met.whole, t == 7 || t == 8 || t == 11 || t == 12);
                for (int64_t p = 0; p < h->panels && !met.whole; p++) {
                    const int64_t n0 = p * INT8_PANEL;
                    float got[INT8_PANEL], least, most;
                    struct int8_panel panel = {.q = h->q + (size_t)(n0 * h->kpad), .kpad = h->kpad, .cols = (int)(V - n0 < INT8_PANEL ? V - n0 : INT8_PANEL),
                                               .scale = h->scale + n0, .error = h->error + n0, .norm = h->norm + n0, .sum = h->sum + n0};
                    struct int8_row row = {.step = met.step, .reach = met.reach, .spread = met.spread, .logits = got, .least = &least, .most = &most};
                    int8_score_base(&panel, bytes, &row, 1);
                    for (int i = 0; i < panel.cols; i++) {
                        const double off = (double)panel.error[i] * (double)met.reach + (double)panel.norm[i] * (double)met.spread;
                        const double want_logit = (double)exact[t * V + n0 + i], far = fabs(want_logit - (double)got[i]);
                        if (isfinite(want_logit) ? far > off : isfinite(off))
                            fail_msg("%s, head %d, row %d, token %d: %g for %g, off by more than %g", family_name((enum family)f), kind, t, (int)n0 + i,
                                     (double)got[i], want_logit, off);
                        useful += off > 0 && far > off / 100; /* the bound is no mere infinity */
                    }
                }
                mem_free(bytes);
            }
            assert_true(useful > ROWS * V / 20);
            head_int8_free(h);
            compute_free(&c);
            mem_free(w), mem_free(exact), mem_free(owned);
        }
    mem_free(x);
}

/* The same bits; zeros by value: what underflows may be either. */
static bool same(const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(a[i] == 0 && b[i] == 0))
            return false;
    return true;
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The best k of `got` are those of `exact`, bit for bit, ties and all, and no other reaches them; the same for what lies in the window, and for the ids. */
static void same_best(const char *name, const float *exact, const float *got, const struct head_want *want, float window)
{
    static float sorted[V];
    memcpy(sorted, exact, sizeof sorted);
    for (int i = 0; i < V; i++)
        sorted[i] = isnan(sorted[i]) ? -INFINITY : sorted[i];
    qsort(sorted, V, sizeof *sorted, descending);
    const float last = sorted[want->best - 1] - window;
    for (int i = 0; i < V; i++) {
        bool asked = false;
        for (int k = 0; k < want->n_ids; k++)
            asked = asked || want->ids[k] == i;
        if (((exact[i] >= last || asked) && !same(&exact[i], &got[i], 1)) || (exact[i] < last && got[i] >= last))
            fail_msg("%s, best %d: token %d has %.9g, exactly %.9g; the last is %.9g", name, want->best, i, (double)got[i], (double)exact[i], (double)last);
    }
    assert_int_equal(choose_greatest(exact, V), choose_greatest(got, V));
}

static void compare(enum family f, int kind, enum dtype type, bool packed, float softcap, int n)
{
    static const int32_t ids[] = {5, V - 1, 1000, -3, V};
    static const struct head_want asked[] = {{.best = 1}, {.best = 40}, {.best = 3, .window = 0.5f}, {.best = 1, .ids = ids, .n_ids = 5}, {.best = 0}, {.best = 5000}};
    static float exact[ROWS * V], got[ROWS * V], first[ROWS * V], alone[V];
    float *w = make_head_of(kind), *x = make_hidden();
    void *owned, *memory = NULL;
    struct mat head = stored(w, type, &owned);
    struct panels panels;
    struct head_want wants[ROWS];
    for (int t = 0; t < POOLS; t++) {
        struct compute c;
        assert_true(compute_init(&c, pools[t], GM_TASTE, GM_COMPUTE_BF16, f, NULL));
        if (packed && t == 0 && panels_help(&c)) {
            memory = mem_new(panels_bytes(&head), 1);
            panels = panels_pack(&c, &head, memory);
            head.panels = &panels;
        }
        struct head_int8 *h = head_int8_new(&c, &head, NULL);
        for (int r = 0; r < ROWS; r++)
            wants[r] = asked[r % 6];
        memset(got, 0, sizeof got);
        head_logits(&c, &head, softcap, exact, x, n);
        head_int8_logits(h, &c, &head, softcap, got, x, n, wants);
        memcpy(t == 0 ? first : exact, t == 0 ? got : exact, sizeof got);
        assert_memory_equal(first, got, sizeof got);
        for (int r = 0; r < n && t == 0; r++) {
            if (wants[r].best == 0 || wants[r].best > BEST_MAX)
                assert_true(same(exact + r * V, got + r * V, V));
            else
                same_best(family_name(f), exact + r * V, got + r * V, &wants[r], wants[r].window);
            if (head.panels || n <= SMALL_ROWS) { /* alone the same bits */
                head_int8_logits(h, &c, &head, softcap, alone, x + r * D, 1, &wants[r]);
                assert_true(same(alone, got + r * V, V));
            }
        }
        head_int8_free(h);
        compute_free(&c);
    }
    mem_free(w), mem_free(x), mem_free(owned), mem_free(memory);
}

static void the_best_are_exact(void **state)
{
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (int kind = 0; kind < HEADS && family_runs_here((enum family)f); kind++)
            for (int packed = 0; packed < 2; packed++)
                for (int n = 1; n <= ROWS; n += 9)
                    compare((enum family)f, kind, packed ? DT_BF16 : DT_F32, packed, kind % 2 ? 0 : 3, n);
}

/* Vector code beside its twin: every number of rows. */
static void the_twin(void **state)
{
    enum { KPAD = 4 * 37, N = 17 };
    const int8_score_fn vector = int8_score_avx512vnni();
    if (!vector)
        skip();
    static _Alignas(64) int8_t q[KPAD * INT8_PANEL];
    static uint8_t x[KPAD * 2 * N];
    float numbers[3][INT8_PANEL], out[2][N][INT8_PANEL + 2];
    int32_t sum[INT8_PANEL] = {0};
    uint64_t seed = 3;
    for (int i = 0; i < KPAD * INT8_PANEL; i++) {
        q[i] = (int8_t)(i % 11 == 0 ? (i % 2 ? 127 : -127) : (int)(test_random(&seed) % 255) - 127);
        sum[i / 4 % INT8_PANEL] += q[i];
    }
    for (int i = 0; i < KPAD * 2 * N; i++)
        x[i] = (uint8_t)(i % 7 == 0 ? 255 : test_random(&seed));
    for (int i = 0; i < 3 * INT8_PANEL; i++)
        numbers[i / INT8_PANEL][i % INT8_PANEL] = fabsf(test_uniform(&seed));
    for (int n = 1; n <= N; n++)
        for (int cols = 1; cols <= INT8_PANEL; cols++) {
            struct int8_panel p = {.q = q, .kpad = KPAD, .cols = cols, .scale = numbers[0], .error = numbers[1], .norm = numbers[2], .sum = sum, .next = q};
            memset(out, 0, sizeof out);
            for (int way = 0; way < 2; way++) {
                struct int8_row rows[N];
                for (int t = 0; t < n; t++)
                    rows[t] = (struct int8_row){.step = 0.01f * (float)(t + 1), .reach = 2, .spread = 0.5f, .logits = out[way][t],
                                                .least = &out[way][t][INT8_PANEL], .most = &out[way][t][INT8_PANEL + 1]};
                (way ? vector : int8_score_base)(&p, x, rows, n);
            }
            assert_memory_equal(out[0], out[1], sizeof out[0]);
        }
}

static void refusals(void **state)
{
    struct compute c;
    struct gm_error err = {0};
    float w[8] = {0};
    const struct mat head = mat_f32(w, 2, 4);
    assert_true(compute_init(&c, pools[0], GM_TASTE, GM_COMPUTE_F32, FAMILY_AUTO, NULL));
    assert_null(head_int8_new(&c, &head, &err));
    assert_non_null(strstr(err.text, "--head exact"));
    compute_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bounds_hold), cmocka_unit_test(the_best_are_exact), cmocka_unit_test(the_twin), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
