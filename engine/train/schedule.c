/* schedule.c - the learning rate as a pure function of the update's number: nothing to save,
 * nothing to restore. */
#include "engine/train/options.h"

#include <math.h>

/* Updates of rising rate: W. */
static int64_t warmup_updates(const struct train_options *o, int64_t last)
{
    double w = ceil(o->warmup_percent ? o->warmup * (double)last : o->warmup);
    return w < (double)last ? (int64_t)w : last;
}

static double lr_by_arguments(const struct train_options *o, int64_t t, int64_t last)
{
    const double *a = o->lr_arguments;
    double s = (double)(t - 1), w = (double)warmup_updates(o, last);
    if (w > 0 && s <= w)
        return o->warmup_init + (a[0] - o->warmup_init) * s / w;
    if (w > 0)
        s -= w + 1;
    switch (o->schedule) {
    case LR_COSINE: {
        double end = o->n_lr_arguments > 2 ? a[2] : 0;
        return end + (a[0] - end) * 0.5 * (1 + cos(acos(-1.0) * fmin(s, a[1]) / a[1]));
    }
    case LR_LINEAR:
        return a[0] + (a[1] - a[0]) * fmin(s, a[2]) / a[2];
    case LR_EXPONENTIAL:
        return a[0] * pow(a[1], s);
    case LR_STEP:
        return a[0] * pow(a[1], floor(s / a[2]));
    default:
        return a[0];
    }
}

double lr_at(const struct train_options *o, int64_t t, int64_t last)
{
    const double floor_share = 0.1;
    if (o->n_lr_arguments > 0)
        return lr_by_arguments(o, t, last);
    int64_t w = warmup_updates(o, last);
    if (t <= w)
        return o->learning_rate * (double)t / (double)w;
    if (o->schedule == LR_CONSTANT || t >= last)
        return o->schedule == LR_CONSTANT ? o->learning_rate : floor_share * o->learning_rate;
    double x = (double)(t - w) / (double)(last - w); /* 0 after the warm-up, 1 at the last update */
    double fall = o->schedule == LR_LINEAR ? 1 - x : 0.5 * (1 + cos(acos(-1.0) * x));
    return o->learning_rate * (floor_share + (1 - floor_share) * fall);
}
