/* forecast.h - what a run will take before it starts: memory, time, disk; and how many layers have to be computed again to fit a budget.
 *
 * Memory is computed by the functions that lay out the workspace themselves. Time rests on a measurement of this machine (probe.h), never on
 * a table. Everything is a plain value and a pure function of its arguments: a plan for other options is made by asking again.
 *
 *     struct forecast f;
 *     if (forecast_choose(&input, &f, &err)) ... f.memory.total, f.time.step, f.recomputed
 *     forecast_line(&f, line);              // "0.7 GB, 0.45 s a step, done in 4 min, 12 MB on disk"
 */
#ifndef GM_TRAIN_FORECAST_H
#define GM_TRAIN_FORECAST_H

#include "engine/train/batch.h"
#include "engine/train/options.h"
#include "engine/train/probe.h"

#define FORECAST_MARGIN 0.2 /* of what the machine has free, kept for other programs when the budget is auto */

struct forecast_input {
    const struct model_config *config;
    const struct train_options *options;
    enum compute_mode mode;
    const struct batcher *train, *valid; /* valid NULL: no evaluation; train NULL: all rows have max_seq_length tokens and */
    double supervised;                   /* this share of them with loss */
    int start;                           /* updates that are done already */
    /* bytes */
    uint64_t weights; /* as stored; mapped pages count */
    uint64_t program; /* what else is resident before the run takes its own memory */
    uint64_t samples; /* caches and logits of those who write samples */
    uint64_t own;     /* of weights and program: no pages of files, which the system counts as free; and: */
    uint64_t available;
    /* seconds */
    struct probe probe; /* probe.tokens 0: nothing was measured, times are NaN */
    double samples_s;   /* of one set of samples; NaN: not known */
    double byte_s;      /* of a checkpoint, to hash and write */
};

struct forecast {
    struct {
        uint64_t weights, program, trained, activations, packing, samples, total;
    } memory;
    struct { /* NaN: not measured */
        double step, evaluation, samples, checkpoint, total;
    } time;
    struct {
        int steps, evaluations, samples, checkpoints;
    } times;
    struct {
        uint64_t checkpoint, checkpoints, journals, total;
    } disk;
    double tokens, targets;             /* of an update, on average */
    uint64_t parameters;                /* that are trained */
    int layers, walked, recomputed;     /* walked: that gradients go back through; recomputed: of those, computed again */
    uint64_t budget;                    /* bytes that may be used in all */
};

/* For the input's options, or others; recompute: as in pass_limits. */
void forecast_make(const struct forecast_input *in, const struct train_options *o, int recompute, struct forecast *f);
/* The fewest recomputed layers that fit the budget (--memory-budget, --grad-checkpoint). False: nothing fits; f is the leanest there is, and the
 * error names the cheapest changes. */
bool forecast_choose(const struct forecast_input *in, struct forecast *f, struct gm_error *err);

struct forecast_change {
    char what[48]; /* "--batch-size 2" */
    struct forecast f;
};
enum { FORECAST_CHANGES = 8 };
/* What other options would take, most memory saved first; layers as few recomputed as fit. */
int forecast_changes(const struct forecast_input *in, const struct forecast *now, struct forecast_change changes[FORECAST_CHANGES]);
/* How many of them, the first ones, are enough by themselves to fit; the last of those changes least. */
int forecast_fitting(const struct forecast *now, const struct forecast_change *changes, int n);

void forecast_limits(const struct forecast_input *in, const struct train_options *o, struct pass_limits *limits); /* of the largest batch */
enum { FORECAST_LINE = 128 };
const char *forecast_line(const struct forecast *f, char out[FORECAST_LINE]);
const char *forecast_bytes(uint64_t bytes, char out[24]);   /* "12 MB", "0.71 GB": powers of ten */
const char *forecast_seconds(double s, char out[24]);       /* "46 ms", "0.45 s", "4.2 min", "2.2 h", "3.5 days", "12 years" */
json_t *forecast_json(const struct forecast *f); /* docs/formats.md; a new reference */

#endif
