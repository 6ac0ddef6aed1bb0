/* Lanes: every unit once, whatever the number of threads, of units and of those taken at a time; a slow thread is helped; hints of what comes next change nothing. */
#include "base_test.h"

#include "engine/base/lanes.h"

#include <stdatomic.h>

enum { MAX_UNITS = 3000, MAX_THREADS = 5 };

struct watch {
    int most, slow; /* slow: the slot that loses time, -1: none */
    atomic_int ran[MAX_UNITS], calls[MAX_THREADS + 1], bad;
};

static void watched(void *arg, int first, int n, int slot)
{
    struct watch *w = arg;
    if (n < 1 || n > w->most || first < 0 || first + n > MAX_UNITS || slot < 0 || slot > MAX_THREADS) {
        atomic_fetch_add(&w->bad, 1);
        return;
    }
    for (int i = first; i < first + n; i++)
        atomic_fetch_add(&w->ran[i], 1);
    for (volatile int i = 0; slot == w->slow && i < 20000; i++)
        ;
    atomic_fetch_add(&w->calls[slot], 1);
}

static void run_once(struct pool *p, enum gm_role role, int units, int most, int block, int slow)
{
    struct watch *w = mem_new(1, sizeof *w);
    w->most = most;
    w->slow = slow;
    lanes_run(p, role, watched, w, units, most, block);
    assert_int_equal(w->bad, 0);
    for (int i = 0; i < MAX_UNITS; i++)
        if (w->ran[i] != (i < units))
            fail_msg("%d threads, %d units, %d at a time, blocks of %d: unit %d ran %d times", pool_threads(p), units, most, block, i, w->ran[i]);
    mem_free(w);
}

static void test_every_unit_once(void **state)
{
    static const int units[] = {0, 1, 2, 3, 5, 18, 60, 61, 997, MAX_UNITS}, mosts[] = {1, 4, 7};
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        struct pool *p = make_pool(threads);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++)
            for (size_t m = 0; m < sizeof mosts / sizeof *mosts; m++)
                for (int role = GM_TRAIN; role <= GM_TASTE; role++) {
                    run_once(p, (enum gm_role)role, units[u], mosts[m], mosts[m], -1);
                    run_once(p, (enum gm_role)role, units[u], mosts[m], 64, -1);
                    run_once(p, (enum gm_role)role, units[u], mosts[m], MAX_UNITS, threads - 1);
                }
        pool_free(p);
    }
}

static void test_lanes_cover_all(void **state)
{
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        struct pool *p = make_pool(threads);
        assert_int_equal(pool_lanes(p), threads);
        assert_int_equal(pool_lane(p, 0), 0);
        assert_int_equal(pool_lane(p, threads), 0); /* the taster's slot */
        for (int i = 1; i < threads; i++)
            assert_int_equal(pool_lane(p, i), i);
        assert_int_equal(lanes_first(p, 100, 0), 0);
        assert_int_equal(lanes_first(p, 100, threads), 100);
        for (int i = 0; i < threads; i++)
            assert_true(lanes_first(p, 100, i) < lanes_first(p, 100, i + 1));
        pool_free(p);
    }
}

/* Asking for memory is a hint: neither addresses that are nobody's nor new ones at any moment do harm. */
static void test_hints(void **state)
{
    static const char real[1 << 16];
    const struct pool_bytes ranges[POOL_AHEAD] = {{real, sizeof real}, {(const void *)(uintptr_t)64, 1 << 16}, {(const void *)(UINTPTR_MAX - 4096), 1 << 16}};
    struct pool *p = make_pool(MAX_THREADS);
    for (int again = 0; again < 200; again++) {
        for (int lane = 0; lane < pool_lanes(p); lane++)
            pool_ahead(p, lane, ranges, again % (POOL_AHEAD + 1));
        run_once(p, again & 1 ? GM_TASTE : GM_TRAIN, 100 + again, 4, 64, -1);
    }
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_unit_once), cmocka_unit_test(test_lanes_cover_all), cmocka_unit_test(test_hints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
