/* share.h - the share of the last second in which something was so, from the intervals in which it was.
 *
 * Time is cut into twenty bins of 50 ms in a ring. Memory: a plain value. Threads: the owner locks.
 *
 *     share_add(&s, began, ended);             // seconds of clock_seconds()
 *     double part = share_of_last_second(&s, now);
 */
#ifndef GM_BASE_SHARE_H
#define GM_BASE_SHARE_H

#include <stdint.h>

enum { SHARE_BINS = 20 };

struct share {
    int64_t bin[SHARE_BINS];    /* which bin of time the slot holds */
    double seconds[SHARE_BINS]; /* how long it was so in that bin */
};

void share_add(struct share *s, double began, double ended);
double share_of_last_second(const struct share *s, double now); /* 0..1; the oldest bin counts by the part still in view */

#endif
