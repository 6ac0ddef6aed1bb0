/* condition.c - see condition.h. */
#include "engine/base/condition.h"

#include "engine/base/file.h"

#include <errno.h>
#include <time.h>

void condition_init(pthread_cond_t *c)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
#ifndef __APPLE__ /* has no such attribute: there the wait is told how long, not until when */
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

bool condition_wait(pthread_cond_t *c, pthread_mutex_t *m, double until)
{
#ifdef __APPLE__
    until -= clock_seconds();
    if (until <= 0)
        return false;
#endif
    const struct timespec t = {.tv_sec = (time_t)until, .tv_nsec = (long)((until - (double)(time_t)until) * 1e9)};
#ifdef __APPLE__
    return pthread_cond_timedwait_relative_np(c, m, &t) != ETIMEDOUT;
#else
    return pthread_cond_timedwait(c, m, &t) != ETIMEDOUT;
#endif
}
