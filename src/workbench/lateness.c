/* lateness.c - see lateness.h. */
#include "src/workbench/lateness.h"

#include <math.h>

static const double LEAST_S = 10e-6, STEPS_PER_OCTAVE = 4;

void lateness_add(struct lateness_count *l, double seconds)
{
    double step = seconds > LEAST_S ? ceil(STEPS_PER_OCTAVE * log2(seconds / LEAST_S)) : 0;
    l->n[step < LATENESS_STEPS - 1 ? (int)step : LATENESS_STEPS - 1]++;
    l->most = fmax(l->most, seconds);
}

double lateness_quantile(const struct lateness_count *l, double q)
{
    long all = 0, below = 0;
    for (int i = 0; i < LATENESS_STEPS; i++)
        all += l->n[i];
    for (int i = 0; i < LATENESS_STEPS; i++) {
        below += l->n[i];
        if ((double)below >= q * (double)all)
            return fmin(l->most, LEAST_S * exp2(i / STEPS_PER_OCTAVE));
    }
    return l->most;
}

void lateness_tell(const struct lateness_count *l, const char *what, struct str *out)
{
    long all = 0;
    for (int i = 0; i < LATENESS_STEPS; i++)
        all += l->n[i];
    str_printf(out, "%s, of %ld: %.2f ms (median), %.2f ms (99 %%), %.2f ms at most", what, all, 1e3 * lateness_quantile(l, 0.5),
               1e3 * lateness_quantile(l, 0.99), 1e3 * l->most);
}
