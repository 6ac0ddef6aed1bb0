/* train_args.h - the options of a training run on the command line, shared by train, lora, demo and the workbench. */
#ifndef GM_CLI_TRAIN_ARGS_H
#define GM_CLI_TRAIN_ARGS_H

#include "engine/train/options.h"
#include "src/cli/config_file.h"

enum { TRAIN_ARG_ROWS = 64 };

struct train_args {
    struct train_options o;
    const char *model, *run, *system, *chat_template, *chat_template_config, *resume_adapter, *preset, *config;
    int fine_tune, schedule, optimizer, on_hangup;
    float alpha, scale;
    bool use_scale; /* the scale was told, not alpha */
    bool alpha_given, scale_given, sample_every_given, init_seed_given, init_given, warmup_given, weight_decay_given;
    int init;
    struct float_list temps;
    struct text_list data; /* more than one: a mixture */
    /* mlx-lm's way */
    bool mlx_lm; /* iterations are micro-batches */
    const char *adapter_path;
    bool train, test;
    int test_batches;
    struct config_file file; /* texts above may point into it */
};

void train_args_init(struct train_args *a); /* defaults */
void train_args_demo(struct train_args *a); /* where the demo differs from the defaults */
/* The table, with its row of zeros. */
void train_args_table(struct train_args *a, struct arg rows[TRAIN_ARG_ROWS]);
/* What counts less than the flags on the line: the preset, then the file of -c, that the line names. `preset`: where none is named. */
bool train_args_layers(struct train_args *a, const struct arg_spec *spec, const char *preset, int argc, char **argv, struct general *g,
                       struct gm_error *err);
/* After parsing: options that o holds and owns. */
bool train_args_finish(struct train_args *a, const struct general *g, struct gm_error *err);
void train_args_free(struct train_args *a);

#endif
