/* pools.h - thread pools of 1, 2 and (where instructions are not slow) 4 for the tests of the kernels: start_pools and stop_pools are a group's fixtures. */
#ifndef GM_TESTS_POOLS_H
#define GM_TESTS_POOLS_H

#include "engine/base/pool.h"

#ifdef SLOW_INSTRUCTIONS /* tests/cross: emulated ones */
enum { POOLS = 2 };
#else
enum { POOLS = 3 };
#endif
static struct pool *pools[POOLS];

static int start_pools(void **state)
{
    (void)state;
    for (int i = 0; i < POOLS; i++)
        if (!(pools[i] = pool_new(1 << i, NULL)))
            return -1;
    return 0;
}

static int stop_pools(void **state)
{
    (void)state;
    for (int i = 0; i < POOLS; i++)
        pool_free(pools[i]);
    return 0;
}

#endif
