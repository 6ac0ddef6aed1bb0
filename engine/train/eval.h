/* eval.h - the loss over a split: the sum of -log p over all supervised tokens, divided by their
 * number. Deterministic; draws no random numbers. */
#ifndef GM_TRAIN_EVAL_H
#define GM_TRAIN_EVAL_H

#include "engine/train/batch.h"

#include <stdatomic.h>

struct eval_result {
    double loss;
    int64_t tokens; /* supervised ones */
    int rows;
};
/* rows_per_batch as the batcher was made; max_batches < 0: all. False: *stop became true meanwhile,
 * and there is no result. */
bool eval_run(struct pass *p, const struct compute *c, const struct lora *lora, struct batcher *b,
              int rows_per_batch, int max_batches, const atomic_bool *stop, struct eval_result *r);

#endif
