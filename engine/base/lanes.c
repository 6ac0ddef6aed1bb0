/* lanes.c - see lanes.h. A lane is one word: its first unit and how many are left; taking from either end is one compare-and-swap. */
#include "engine/base/lanes.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

struct lane {
    alignas(64) atomic_uint_least64_t units; /* first << 32 | left */
};
struct lanes {
    lanes_fn fn;
    void *arg;
    const struct pool *pool;
    int n, most, block;
    struct lane lane[POOL_LANES];
};

int lanes_first(const struct pool *p, int n_units, int lane)
{
    return (int)((int64_t)n_units * lane / pool_lanes(p));
}

/* Up to `most` units from the front or the end; towards the end fewer, so that there is something left for everybody. 0: the lane is empty. */
static int take(struct lane *l, int most, bool front, int *first)
{
    uint64_t units = atomic_load_explicit(&l->units, memory_order_relaxed);
    for (;;) {
        const int begin = (int)(units >> 32), left = (int)(uint32_t)units;
        if (left == 0)
            return 0;
        const int n = left >= 2 * most ? most : (left + 1) / 2;
        const uint64_t rest = (uint64_t)(uint32_t)(front ? begin + n : begin) << 32 | (uint32_t)(left - n);
        if (atomic_compare_exchange_weak_explicit(&l->units, &units, rest, memory_order_relaxed, memory_order_relaxed)) {
            *first = front ? begin : begin + left - n;
            return n;
        }
    }
}

/* A block of the pool; its number does not matter: together they take every unit once. */
static void walk(void *arg, int block, int slot)
{
    struct lanes *l = arg;
    const int mine = pool_lane(l->pool, slot);
    (void)block;
    for (int i = 0, done = 0; i < l->n; i++) {
        int first, n;
        while (done < l->block && (n = take(&l->lane[(mine + i) % l->n], l->most, i == 0, &first)) > 0) {
            l->fn(l->arg, first, n, slot);
            done += n;
        }
    }
}

void lanes_run(struct pool *p, enum gm_role role, lanes_fn fn, void *arg, int n_units, int most, int block)
{
    assert(n_units >= 0 && most >= 1 && block >= most);
    struct lanes l = {.fn = fn, .arg = arg, .pool = p, .n = pool_lanes(p), .most = most, .block = block};
    for (int i = 0; i < l.n; i++) {
        const int first = lanes_first(p, n_units, i);
        atomic_init(&l.lane[i].units, (uint64_t)first << 32 | (uint32_t)(lanes_first(p, n_units, i + 1) - first));
    }
    /* A block ends when it has had its units, or none are left: with so many of them, none can be left after the last. */
    pool_run(p, role, walk, &l, n_units > 0 ? l.n + n_units / block : 0);
}
