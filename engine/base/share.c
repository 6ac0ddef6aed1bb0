/* share.c - a ring of time bins. */
#include "engine/base/share.h"

#include <math.h>

static const double BIN = 1.0 / SHARE_BINS;

void share_add(struct share *s, double began, double ended)
{
    if (began < ended - 1)
        began = ended - 1; /* older parts are out of view */
    while (began < ended) {
        int64_t bin = (int64_t)floor(began / BIN);
        double until = (double)(bin + 1) * BIN;
        if (until > ended)
            until = ended;
        if (until <= began) { /* began sits on a border that rounding put one bin too low */
            bin++;
            until = fmin((double)(bin + 1) * BIN, ended);
        }
        int slot = (int)(bin % SHARE_BINS);
        if (s->bin[slot] != bin) {
            s->bin[slot] = bin;
            s->seconds[slot] = 0;
        }
        s->seconds[slot] += until - began;
        began = until;
    }
}

double share_of_last_second(const struct share *s, double now)
{
    double sum = 0;
    for (int i = 0; i < SHARE_BINS; i++) {
        double begins = (double)s->bin[i] * BIN, age = now - begins; /* in view: began less than a second ago */
        if (age >= 0 && age < 1)
            sum += s->seconds[i];
    }
    /* The bin of one second ago has been overwritten by the present one, if anything happened in it: the view is 0.95 to 1 s long. */
    double view = 1 - BIN + (now / BIN - floor(now / BIN)) * BIN;
    double part = sum / view;
    return part > 1 ? 1 : part;
}
