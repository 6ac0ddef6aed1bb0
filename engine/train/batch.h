/* batch.h - rows of a split as packed batches.
 *
 * A batcher walks over the usable rows of one split (those with a supervised token) as over an
 * endless tape: position p is row order(e)[p mod n] of pass e = p / n, where order(e) is a shuffle
 * that depends on (seed, e) alone, or file order. Where the tape stands is one number, so resuming
 * needs nothing else. In a mixture a train row of a source with weight w comes floor(w) times in each
 * pass; the rest of the weight takes that share of the source's rows, a different part each pass, in
 * a fixed shuffled order, until all have come. Batches may reach over the end of a pass; no row is
 * dropped. Memory: owned, planned once: filling allocates nothing. Threads: one batcher belongs to one
 * thread.
 *
 *     struct batcher *b = batcher_new(dataset, SPLIT_TRAIN, 4, true, seed, &err);
 *     const struct batch *batch = batcher_fill(b, position, 4);     // valid until the next fill
 */
#ifndef GM_TRAIN_BATCH_H
#define GM_TRAIN_BATCH_H

#include "engine/model/pass.h"
#include "engine/train/dataset.h"

struct batcher;
/* NULL with GM_E_INPUT when the split has no usable row. */
struct batcher *batcher_new(const struct dataset *d, enum split split, int rows_per_batch,
                            bool shuffle, uint64_t seed, struct gm_error *err);
void batcher_free(struct batcher *b);
int batcher_rows(const struct batcher *b); /* length of one pass: usable rows, weighted */
const struct row *batcher_row(struct batcher *b,
                              int64_t position); /* the row at a place of the tape */
int64_t batcher_supervised(struct batcher *b, int64_t position,
                           int n); /* targets of the n rows from position on */
const struct batch *batcher_fill(struct batcher *b, int64_t position,
                                 int n); /* n <= rows_per_batch */
/* The largest batch that can come: of the rows_per_batch longest rows. Raises what stands in
 * limits. */
void batcher_limits(const struct batcher *b, struct pass_limits *limits);
/* For plans: the same with other batches, of rows cut at `longest` tokens (0: as they are); and how long a row of the tape is on
 * average, with how many targets. */
void batcher_limits_of(const struct batcher *b, int rows_per_batch, int longest,
                       struct pass_limits *limits);
void batcher_means(const struct batcher *b, int longest, double *tokens, double *targets);

#endif
