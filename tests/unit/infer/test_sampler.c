/* Each filter alone against a distribution worked out here, and frequencies of many draws. */
#include "engine/base/mem.h"
#include "engine/infer/sampler.h"
#include "engine/kernel/choose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 6, DRAWS = 40000 };
static const float LOGITS[N] = {0, 1, 2, 2.5f, -1, -30};

static void draw_many(const struct sampling *s, double frequency[N])
{
    _Alignas(64) static char scratch[1 << 16];
    assert_true(sampler_scratch_bytes(N) <= sizeof scratch);
    struct rng rng = rng_stream(7, "sample", 0);
    int count[N] = {0};
    for (int i = 0; i < DRAWS; i++) {
        float logits[N];
        memcpy(logits, LOGITS, sizeof logits);
        count[sample_token(logits, N, s, &rng, NULL, 0, scratch)]++;
    }
    for (int i = 0; i < N; i++)
        frequency[i] = (double)count[i] / DRAWS;
}

/* kept: bit i = id i may come. */
static void expect(const struct sampling *s, unsigned kept)
{
    double f[N], p[N], total = 0;
    draw_many(s, f);
    for (int i = 0; i < N; i++)
        total += p[i] = kept >> i & 1 ? exp((double)LOGITS[i] / (double)s->temperature) : 0;
    for (int i = 0; i < N; i++) {
        double want = p[i] / total, deviation = sqrt(want * (1 - want) / DRAWS);
        if (fabs(f[i] - want) > 5 * deviation + 1e-9)
            fail_msg("id %d: frequency %.4f, probability %.4f", i, f[i], want);
    }
}

static void temperature(void **state)
{
    struct sampling s = sampling_default();
    s.temperature = 1;
    expect(&s, 0x3f);
    s.temperature = 0.5f;
    expect(&s, 0x3f);
    s.temperature = 3;
    expect(&s, 0x3f);
}

static void filters(void **state)
{
    struct sampling s = sampling_default();
    s.temperature = 1; /* p: 0.044 0.119 0.325 0.535 0.016 0 */
    s.top_k = 2;
    expect(&s, 0x0c);
    s.top_k = 100;
    expect(&s, 0x3f);
    s.top_k = 0;
    s.top_p = 0.5f;
    expect(&s, 0x08);
    s.top_p = 0.6f;
    expect(&s, 0x0c);
    s.top_p = 0.97f;
    expect(&s, 0x0f);
    s.top_p = 1;
    s.min_p = 0.2f; /* of the most likely */
    expect(&s, 0x0e);
    s.min_p = 0;
    s.top_k = 3; /* top-p counts within what top-k left: 0.546, 0.332, 0.122 */
    s.top_p = 0.85f;
    expect(&s, 0x0c);
}

static void greedy_and_ties(void **state)
{
    struct sampling s = sampling_default();
    s.temperature = 0;
    _Alignas(64) static char scratch[1 << 16];
    struct rng rng = rng_stream(1, "sample", 0);
    float tie[4] = {1, 3, 3, NAN};
    assert_int_equal(sample_token(tie, 4, &s, &rng, NULL, 0, scratch), 1);
    assert_int_equal(rng.index > 0, 1);
    float first_nan[3] = {NAN, 1, 2};
    assert_int_equal(sample_token(first_nan, 3, &s, &rng, NULL, 0, scratch), 2);
    s.temperature = 1;
    for (int i = 0; i < 200; i++) {
        float some_nan[3] = {NAN, 1, 1};
        assert_true(sample_token(some_nan, 3, &s, &rng, NULL, 0, scratch) > 0);
    }
}

static void repeat_penalty(void **state)
{
    struct sampling s = sampling_default();
    s.temperature = 0;
    s.repeat_penalty = 2;
    _Alignas(64) static char scratch[1 << 16];
    struct rng rng = rng_stream(1, "sample", 0);
    const int32_t recent[] = {0, 0, 2, 9, -1}; /* twice the same counts once; foreign ids are passed over */
    float logits[3] = {4, 1.5f, -1};
    assert_int_equal(sample_token(logits, 3, &s, &rng, recent, 5, scratch), 0);
    assert_true(logits[0] == 2 && logits[1] == 1.5f && logits[2] == -2);
}

static void same_seed_same_ids(void **state)
{
    struct sampling s = sampling_default();
    _Alignas(64) static char scratch[1 << 16];
    struct rng a = rng_stream(5, "sample", 0), b = rng_stream(5, "sample", 0);
    for (int i = 0; i < 500; i++) {
        float x[N], y[N];
        memcpy(x, LOGITS, sizeof x);
        memcpy(y, LOGITS, sizeof y);
        assert_int_equal(sample_token(x, N, &s, &a, NULL, 0, scratch), sample_token(y, N, &s, &b, NULL, 0, scratch));
    }
}

/* ---- large vocabularies ---- */

enum { LARGE = 20000 };

static int by_probability(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id < y->id ? -1 : 1;
}

/* The ids that top-k, top-p and min-p leave of p, by sorting all; returns how many. */
static int kept_by_sorting(const float *p, int n, const struct sampling *s, bool *kept)
{
    struct candidate *all = mem_new((size_t)n, sizeof *all);
    double total = 0, sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++) {
        all[i] = (struct candidate){p[i], i};
        kept[i] = false;
    }
    qsort(all, (size_t)n, sizeof *all, by_probability);
    int most = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    for (int i = 0; i < most; i++)
        total += (double)all[i].p;
    for (int i = 0; i < most && (i == 0 || s->top_p >= 1 || sum < (double)s->top_p * total); i++) {
        sum += (double)all[i].p;
        if (all[i].p > 0 && all[i].p >= s->min_p) {
            kept[all[i].id] = true;
            count++;
        }
    }
    mem_free(all);
    return count;
}

/* What is drawn over and over is what sorting keeps, and all of it where that is little. Flat, peaked and tied logits. */
static void large_filters(void **state)
{
    static const struct sampling settings[] = {
        {.temperature = 1, .top_k = 40, .top_p = 1},     {.temperature = 1, .top_k = 0, .top_p = 0.9f},
        {.temperature = 1, .top_k = 3, .top_p = 0.5f},   {.temperature = 0.5f, .top_k = 0, .top_p = 1, .min_p = 0.3f},
        {.temperature = 2, .top_k = 500, .top_p = 0.7f}, {.temperature = 1, .top_k = 7, .top_p = 1, .min_p = 0.9f},
    };
    static float logits[LARGE], p[LARGE], work[LARGE];
    static bool kept[LARGE], drawn[LARGE];
    void *scratch = mem_new(sampler_scratch_bytes(LARGE), 1);
    double *sums = mem_new((size_t)choose_chunks(LARGE), sizeof *sums);
    struct rng rng = rng_stream(3, "test", 0);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < LARGE; i++) {
            float u = (float)rng_uniform(&rng);
            logits[i] = kind == 0 ? u : kind == 1 ? 30 * u * u * u : (float)(int)(6 * u);
        }
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
            struct sampling s = settings[k];
            s.repeat_penalty = 1;
            choose_weigh(p, logits, LARGE, logits[choose_greatest(logits, LARGE)], 1 / s.temperature, sums);
            int want = kept_by_sorting(p, LARGE, &s, kept), seen = 0;
            memset(drawn, 0, sizeof drawn);
            for (int i = 0; i < 400; i++) {
                memcpy(work, logits, sizeof work);
                int32_t id = sample_token(work, LARGE, &s, &rng, NULL, 0, scratch);
                if (!kept[id])
                    fail_msg("kind %d, setting %d: id %d was cut off", kind, (int)k, id);
                seen += !drawn[id];
                drawn[id] = true;
            }
            if (want <= 8 && kind != 1)
                assert_int_equal(seen, want);
        }
    }
    mem_free(scratch);
    mem_free(sums);
}

/* Without filters the numbers fall where the sums say: the n-th part of the mass has the n-th part of the draws. */
static void large_plain(void **state)
{
    enum { PARTS = 8, MANY = 4000 };
    static float logits[LARGE], work[LARGE];
    struct sampling s = sampling_default();
    s.temperature = 1;
    void *scratch = mem_new(sampler_scratch_bytes(LARGE), 1);
    struct rng rng = rng_stream(4, "test", 0);
    int count[PARTS] = {0};
    for (int i = 0; i < LARGE; i++) /* each part twice as likely as the one before */
        logits[i] = (float)(i / (LARGE / PARTS)) * 0.69314718f;
    for (int i = 0; i < MANY; i++) {
        memcpy(work, logits, sizeof work);
        count[sample_token(work, LARGE, &s, &rng, NULL, 0, scratch) / (LARGE / PARTS)]++;
    }
    for (int i = 0; i < PARTS; i++) {
        double want = (double)(1 << i) / ((1 << PARTS) - 1);
        assert_true(fabs((double)count[i] / MANY - want) < 5 * sqrt(want * (1 - want) / MANY) + 1e-9);
    }
    mem_free(scratch);
}

/* Rows drawn together are what each is alone, whatever the threads. */
static void rows_together(void **state)
{
    enum { ROWS = 7, WIDE = 3000 };
    static float logits[ROWS][WIDE], copy[ROWS][WIDE];
    struct sampling s[ROWS];
    struct rng source = rng_stream(5, "test", 0);
    int32_t alone[ROWS];
    for (int r = 0; r < ROWS; r++) {
        s[r] = sampling_default();
        s[r].top_k = r % 3 == 1 ? 20 : 0;
        s[r].top_p = r % 3 == 2 ? 0.8f : 1;
        for (int i = 0; i < WIDE; i++)
            logits[r][i] = 4 * (float)rng_uniform(&source);
    }
    for (int threads = 1; threads <= 4; threads *= 2) {
        struct pool *pool = pool_new(threads, NULL);
        struct compute c;
        assert_true(compute_init(&c, pool, GM_TASTE, GM_COMPUTE_F32, FAMILY_PLAIN, NULL));
        void *scratch = mem_new(sampler_draw_scratch_bytes(&c, WIDE), 1);
        struct rng rngs[ROWS];
        struct draw rows[ROWS];
        for (int r = 0; r < ROWS; r++) {
            rngs[r] = rng_stream((uint64_t)r, "sample", 0);
            rows[r] = (struct draw){.logits = copy[r], .sampling = &s[r], .rng = &rngs[r]};
        }
        if (threads == 1)
            for (int r = 0; r < ROWS; r++) {
                struct rng rng = rngs[r];
                memcpy(copy, logits, sizeof copy);
                alone[r] = sample_token(copy[r], WIDE, &s[r], &rng, NULL, 0, scratch);
            }
        memcpy(copy, logits, sizeof copy);
        sampler_draw(&c, rows, ROWS, WIDE, scratch);
        for (int r = 0; r < ROWS; r++)
            assert_int_equal(rows[r].id, alone[r]);
        mem_free(scratch);
        compute_free(&c);
        pool_free(pool);
    }
}

static void ranges(void **state)
{
    struct gm_error err = {0};
    struct sampling s = sampling_default();
    assert_true(sampling_check(&s, &err));
    s.temperature = NAN;
    assert_false(sampling_check(&s, &err));
    s = sampling_default();
    s.top_p = 0;
    assert_false(sampling_check(&s, &err));
    s = sampling_default();
    s.max_tokens = 0;
    assert_false(sampling_check(&s, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(temperature), cmocka_unit_test(filters), cmocka_unit_test(greedy_and_ties),
                                       cmocka_unit_test(repeat_penalty), cmocka_unit_test(same_seed_same_ids), cmocka_unit_test(large_filters),
                                       cmocka_unit_test(large_plain), cmocka_unit_test(rows_together), cmocka_unit_test(ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
