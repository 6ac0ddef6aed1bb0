/* lateness.h - how long a person waits. How late the UI thread is: for a timer, how long after it was due; for a mail, how long it lay in the box. And how long it
 * took from a question to the first text of the answer. Counted in steps of a quarter octave, so it
 * costs no memory and a few nanoseconds. GEMMAIKU_LATENESS=1 tells it on stderr at the end (bench --while-training and tests/bench/latency read it). UI thread only.
 */
#ifndef GM_WORKBENCH_LATENESS_H
#define GM_WORKBENCH_LATENESS_H

#include "engine/base/str.h"

enum { LATENESS_STEPS = 80 }; /* 10 us to 10 s */

struct lateness_count {
    long n[LATENESS_STEPS];
    double most;
};
void lateness_add(struct lateness_count *l, double seconds);
double lateness_quantile(const struct lateness_count *l, double q); /* the upper border of the step it lies in */
void lateness_tell(const struct lateness_count *l, const char *what, struct str *out);

#endif
