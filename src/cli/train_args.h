/* train_args.h - the options of a training run on the command line, shared by train, demo and the workbench. */
#ifndef GM_CLI_TRAIN_ARGS_H
#define GM_CLI_TRAIN_ARGS_H

#include "engine/train/options.h"
#include "src/cli/args.h"

enum { TRAIN_ARG_ROWS = 64 };

struct train_args {
    struct train_options o;
    const char *model, *run, *system, *chat_template, *resume_adapter, *preset;
    int fine_tune, schedule, optimizer, on_hangup;
    float alpha, scale;
    bool alpha_given, scale_given, preset_scale, sample_every_given, optimizer_given, init_seed_given, init_given;
    int init;
    struct float_list temps;
    struct text_list data; /* more than one: a mixture */
};

/* Defaults, then the preset that argv names (if any). */
bool train_args_init(struct train_args *a, int argc, char **argv, struct gm_error *err);
void train_args_demo(struct train_args *a); /* where the demo differs from the defaults */
/* The table, with its row of zeros. */
void train_args_table(struct train_args *a, struct arg rows[TRAIN_ARG_ROWS]);
/* After parsing: options that o holds and owns (train_options_free). */
bool train_args_finish(struct train_args *a, const struct general *g, struct gm_error *err);

#endif
