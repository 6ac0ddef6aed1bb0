/* random_batch.h - a packed batch of rows of random tokens, loss on the last share of each: what is measured does not depend on the tokens. */
#ifndef GM_CLI_RANDOM_BATCH_H
#define GM_CLI_RANDOM_BATCH_H

#include "engine/model/pass.h"

struct random_batch {
    struct batch b;
    int32_t *memory;
};
void random_batch_init(struct random_batch *r, int seq, int n_rows, double supervised, int vocab);
void random_batch_free(struct random_batch *r);

#endif
