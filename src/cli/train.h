/* train.h - a run from its options to its end, for `train` and for mlx-lm's `lora`. */
#ifndef GM_CLI_TRAIN_H
#define GM_CLI_TRAIN_H

#include "src/cli/evaluate.h"
#include "src/cli/train_args.h"

/* Trains, copies the adapter where it was asked for, tests where that was; tells how it went. Gives the exit status. */
int train_run(struct train_args *a, const struct general *g);
/* Loss on the test rows of the options' data, of batches of its size. model NULL: that of the adapter's run; adapter NULL: the base. */
bool train_test(const struct train_args *a, const struct general *g, const char *model, const char *adapter, struct evaluation *e,
                struct gm_error *err);
void train_test_print(const struct evaluation *e);

#endif
