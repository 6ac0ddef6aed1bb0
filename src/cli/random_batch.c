/* random_batch.c - see random_batch.h. */
#include "src/cli/random_batch.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

void random_batch_init(struct random_batch *r, int seq, int n_rows, double supervised, int vocab)
{
    int64_t T = (int64_t)seq * n_rows;
    int first = (int)((1 - supervised) * seq), each = seq - first;
    if (first < 1) {
        first = 1;
        each = seq - 1;
    }
    r->memory = mem_new((size_t)(4 * T + n_rows + 1), sizeof(int32_t));
    int32_t *ids = r->memory, *positions = ids + T, *rows = positions + T, *targets = rows + T, *borders = targets + T;
    struct rng rng = rng_stream(1, "bench", 0);
    int64_t n = 0;
    for (int s = 0; s < n_rows; s++) {
        borders[s] = s * seq;
        for (int i = 0; i < seq; i++) {
            ids[s * seq + i] = (int32_t)rng_below(&rng, (uint64_t)vocab);
            positions[s * seq + i] = i;
        }
        for (int i = first; i < seq; i++, n++) {
            rows[n] = s * seq + i - 1;
            targets[n] = ids[s * seq + i];
        }
    }
    borders[n_rows] = (int32_t)T;
    r->b = (struct batch){.T = T, .ids = ids, .positions = positions, .n_seqs = n_rows, .seq_start = borders,
                          .n_targets = (int64_t)each * n_rows, .target_row = rows, .target_id = targets};
}

void random_batch_free(struct random_batch *r)
{
    mem_free(r->memory);
    r->memory = NULL;
}
