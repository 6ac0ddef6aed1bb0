/* Each filter alone against a distribution worked out here, and frequencies of many draws. */
#include "engine/base/mem.h"
#include "engine/infer/sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { N = 6, DRAWS = 40000 };
static const float LOGITS[N] = {0, 1, 2, 2.5f, -1, -30};

static void draw_many(const struct sampling *s, double frequency[N])
{
    char scratch[N * 8];
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
    char scratch[64];
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
    char scratch[64];
    struct rng rng = rng_stream(1, "sample", 0);
    const int32_t recent[] = {0, 0, 2, 9, -1}; /* twice the same counts once; foreign ids are passed over */
    float logits[3] = {4, 1.5f, -1};
    assert_int_equal(sample_token(logits, 3, &s, &rng, recent, 5, scratch), 0);
    assert_true(logits[0] == 2 && logits[1] == 1.5f && logits[2] == -2);
}

static void same_seed_same_ids(void **state)
{
    struct sampling s = sampling_default();
    char scratch[64];
    struct rng a = rng_stream(5, "sample", 0), b = rng_stream(5, "sample", 0);
    for (int i = 0; i < 500; i++) {
        float x[N], y[N];
        memcpy(x, LOGITS, sizeof x);
        memcpy(y, LOGITS, sizeof y);
        assert_int_equal(sample_token(x, N, &s, &a, NULL, 0, scratch), sample_token(y, N, &s, &b, NULL, 0, scratch));
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
                                       cmocka_unit_test(repeat_penalty), cmocka_unit_test(same_seed_same_ids), cmocka_unit_test(ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
