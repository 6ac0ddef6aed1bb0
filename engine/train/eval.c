/* eval.c - see eval.h. */
#include "engine/train/eval.h"

#include <math.h>

bool eval_run(struct pass *p, const struct compute *c, const struct lora *lora, struct batcher *b,
              int rows_per_batch, int max_batches, const atomic_bool *stop, struct eval_result *r)
{
    int n = batcher_rows(b);
    double nll = 0;
    *r = (struct eval_result){0};
    for (int at = 0, k = 0; at < n && (max_batches < 0 || k < max_batches);
         at += rows_per_batch, k++) {
        if (stop && atomic_load(stop))
            return false;
        int rows = n - at < rows_per_batch ? n - at : rows_per_batch;
        const struct batch *batch = batcher_fill(b, at, rows);
        nll += pass_loss(p, c, lora, batch, NULL);
        r->tokens += batch->n_targets;
        r->rows += rows;
    }
    r->loss = r->tokens ? nll / (double)r->tokens : NAN;
    return true;
}
