/* Random numbers: the published vectors, the place of every number in its stream, and the shape of
 * what is made from them. All seeds are fixed: the bounds (about one chance in 10,000) are met or
 * missed the same way every time. */
#include "base_test.h"

#include "engine/base/rng.h"

#include <math.h>

/* kat_vectors of the Random123 distribution, philox4x32 with 10 rounds. */
static void test_known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        rng_philox(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* Runs of older programs resume: what a seed means must never change. Values from a second
 * implementation. */
static void test_pinned(void **state)
{
    assert_int_equal(hash64("", 0, 0), 0x48218226ff3cd4bf);
    assert_int_equal(hash64("a", 1, 0), 0x0f78416e40240bf4);
    assert_int_equal(hash64("a", 1, 1), 0x75b7e8c354fe65d9);
    assert_int_equal(hash64("shuffle", 7, 42), 0xbc8d3f5543396c15);
    assert_int_equal(hash64("12345678", 8, 7), 0x1fcb12535835d486);
    assert_int_equal(hash64("123456789", 9, 7), 0x4a608187ab9db6ba);
    static const uint32_t first[] = {0xed1be041, 0x5c79282d, 0x46ed8e27, 0xfccba079,
                                     0xdb571ae8, 0x429bd6f5, 0xaec6b49f, 0x9d70f702};
    struct rng r = rng_stream(42, "shuffle", (uint64_t)1 << 32 | 3);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(rng_u32(&r), first[i]);
    assert_int_equal(r.index, 8);
    r.index = ((uint64_t)5 << 32 | 0xffffffff) << 2; /* the counter's upper word counts, too */
    assert_int_equal(rng_u32(&r), 0xe048a96e);
    assert_int_equal(rng_u32(&r), 0xd20890de);
}

/* A 64-bit draw is numbers i (low) and i + 1 (high), wherever it begins. */
static void test_lanes(void **state)
{
    for (uint64_t at = 0; at < 9; at++) {
        struct rng r = rng_stream(7, "lanes", 0), s = r, t = r;
        r.index = s.index = t.index = at;
        uint64_t low = rng_u32(&r), high = rng_u32(&r);
        assert_true(rng_uniform(&s) == (double)((high << 32 | low) >> 11) * 0x1p-53);
        assert_int_equal(s.index, at + 2);
        double radius = sqrt(-2 * log(((double)low + 0.5) / 4294967296.0)),
               angle = 2 * acos(-1) * (double)high / 4294967296.0;
        assert_true(fabs(rng_normal(&t) - radius * cos(angle)) < 1e-12);
        assert_int_equal(t.index, at + 2);
    }
}

static void test_resume(void **state)
{
    struct rng r = rng_stream(1, "resume", 9);
    double seen[100];
    for (int i = 0; i < 100; i++) {
        struct rng again = rng_stream(1, "resume", 9);
        again.index = r.index; /* all that a checkpoint keeps */
        switch (i % 4) {
        case 0:
            seen[i] = rng_u32(&r);
            assert_true(seen[i] == rng_u32(&again));
            break;
        case 1:
            seen[i] = rng_uniform(&r);
            assert_true(seen[i] == rng_uniform(&again));
            break;
        case 2:
            seen[i] = (double)rng_below(&r, 1000);
            assert_true(seen[i] == (double)rng_below(&again, 1000));
            break;
        default:
            seen[i] = rng_normal(&r);
            assert_true(seen[i] == rng_normal(&again));
            break;
        }
        assert_int_equal(r.index, again.index);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_streams_differ(void **state)
{
    enum { N = 3000 };
    uint64_t first[N];
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i % 10);
        struct rng r = rng_stream((uint64_t)(i / 10 % 30), name,
                                  (uint64_t)(i / 300) << (i / 300 % 2 ? 32 : 0));
        uint64_t a = rng_u32(&r);
        first[i] = a << 32 | rng_u32(&r);
    }
    qsort(first, N, sizeof *first, by_value);
    for (int i = 1; i < N; i++)
        assert_int_not_equal(first[i - 1], first[i]);
    /* Neighbours (names, numbers, seeds) share no more bits than chance: 32,000 bits, deviation 89.
     */
    for (int kind = 0; kind < 3; kind++) {
        struct rng a = rng_stream(1, "a", 1),
                   b = rng_stream(kind == 0 ? 2 : 1, kind == 1 ? "b" : "a", kind == 2 ? 2 : 1);
        int differ = 0;
        for (int i = 0; i < 1000; i++)
            differ += __builtin_popcount(rng_u32(&a) ^ rng_u32(&b));
        assert_true(abs(differ - 16000) < 360);
    }
}

static double chi_square(const int *count, int n, double expected)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (count[i] - expected) * (count[i] - expected) / expected;
    return sum;
}

static void test_below(void **state)
{
    enum { DRAWS = 100000 };
    struct rng r = rng_stream(3, "below", 0);
    int count[10] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = rng_below(&r, 10);
        assert_true(v < 10);
        count[v]++;
    }
    double x = chi_square(count, 10, DRAWS / 10.0);
    assert_true(x < 33.7 && x > 0.5); /* 9 degrees of freedom; too even would be as wrong */
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    }
    /* Three quarters of 2^64: without a second draw, every third value comes twice as often, and a
     * remainder favours the low third. */
    uint64_t n = (uint64_t)3 << 62;
    int by_remainder[3] = {0}, by_third[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = rng_below(&r, n);
        assert_true(v < n);
        by_remainder[v % 3]++;
        by_third[v >> 62]++;
    }
    assert_true(chi_square(by_remainder, 3, DRAWS / 3.0) < 18.4);
    assert_true(chi_square(by_third, 3, DRAWS / 3.0) < 18.4);
}

static void test_uniform(void **state)
{
    enum { DRAWS = 200000, BINS = 20 };
    struct rng r = rng_stream(5, "uniform", 0);
    int count[BINS] = {0}, odd = 0;
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        assert_true(ldexp(u, 53) == floor(ldexp(u, 53)));
        odd += (int)((uint64_t)ldexp(u, 53) & 1);
        count[(int)(u * BINS)]++;
        sum += u;
    }
    assert_true(chi_square(count, BINS, (double)DRAWS / BINS) < 50.0); /* 19 degrees of freedom */
    assert_true(fabs(sum / DRAWS - 0.5) < 0.0026);
    assert_true(abs(odd - DRAWS / 2) < 900); /* all 53 bits are random */
}

static void test_normal(void **state)
{
    enum { DRAWS = 200000 };
    struct rng r = rng_stream(11, "normal", 0);
    double sum = 0, square = 0, cube = 0, fourth = 0, before = 0, together = 0;
    int within[4] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_normal(&r);
        assert_true(isfinite(x) && fabs(x) < 7);
        sum += x;
        square += x * x;
        cube += x * x * x;
        fourth += x * x * x * x;
        together += x * before;
        before = x;
        for (int k = 1; k < 4; k++)
            within[k] += fabs(x) < k;
    }
    double s = 1 / sqrt(DRAWS);
    assert_true(fabs(sum / DRAWS) < 3.9 * s);
    assert_true(fabs(square / DRAWS - 1) < 3.9 * s * sqrt(2));
    assert_true(fabs(cube / DRAWS) < 3.9 * s * sqrt(15));
    assert_true(fabs(fourth / DRAWS - 3) < 3.9 * s * sqrt(96));
    assert_true(fabs(together / DRAWS) < 3.9 * s);
    assert_true(fabs((double)within[1] / DRAWS - 0.682689) < 3.9 * s * 0.4655);
    assert_true(fabs((double)within[2] / DRAWS - 0.954500) < 3.9 * s * 0.2084);
    assert_true(fabs((double)within[3] / DRAWS - 0.997300) < 3.9 * s * 0.0519);
}

static int below_nothing(void *arg)
{
    struct rng r = rng_stream(0, "", 0);
    return (int)rng_below(&r, 0);
}

static void test_below_nothing(void **state)
{
    assert_int_equal(in_child(below_nothing, NULL), 256 + SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),  cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_lanes),          cmocka_unit_test(test_resume),
        cmocka_unit_test(test_streams_differ), cmocka_unit_test(test_below),
        cmocka_unit_test(test_uniform),        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_below_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
