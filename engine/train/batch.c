/* batch.c - see batch.h. */
#include "engine/train/batch.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct batcher {
    const struct dataset *dataset;
    int *rows, n_rows; /* usable rows in file order */
    int rows_per_batch;
    bool shuffle;
    uint64_t seed;
    int *order; /* of pass `pass`, -1: not made yet */
    int64_t pass;
    int64_t max_tokens, max_targets, longest_row;
    struct batch batch;
    int32_t *ids, *positions, *seq_start, *target_row, *target_id;
};

static int descending(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x < y) - (x > y);
}

/* Sum of the k largest of n numbers; sorts them. */
static int64_t sum_of_largest(int *numbers, int n, int k)
{
    int64_t sum = 0;
    qsort(numbers, (size_t)n, sizeof *numbers, descending);
    for (int i = 0; i < k; i++)
        sum += numbers[i % n]; /* more rows a batch than rows there are: they come again */
    return sum;
}

static void plan_sizes(struct batcher *b)
{
    int *numbers = mem_new((size_t)b->n_rows, sizeof *numbers);
    for (int i = 0; i < b->n_rows; i++)
        numbers[i] = b->dataset->rows[b->rows[i]].n;
    b->max_tokens = sum_of_largest(numbers, b->n_rows, b->rows_per_batch);
    b->longest_row = numbers[0];
    for (int i = 0; i < b->n_rows; i++)
        numbers[i] = b->dataset->rows[b->rows[i]].n_supervised;
    b->max_targets = sum_of_largest(numbers, b->n_rows, b->rows_per_batch);
    mem_free(numbers);
}

static bool allocate(struct batcher *b, struct gm_error *err)
{
    size_t tokens = (size_t)b->max_tokens * sizeof(int32_t),
           targets = (size_t)b->max_targets * sizeof(int32_t);
    b->order = mem_new((size_t)b->n_rows, sizeof *b->order);
    b->seq_start = mem_new((size_t)b->rows_per_batch + 1, sizeof *b->seq_start);
    b->ids = mem_alloc(tokens, "token ids of a batch", err);
    b->positions = b->ids ? mem_alloc(tokens, "positions of a batch", err) : NULL;
    b->target_row = b->positions ? mem_alloc(targets, "targets of a batch", err) : NULL;
    b->target_id = b->target_row ? mem_alloc(targets, "targets of a batch", err) : NULL;
    return b->target_id != NULL;
}

struct batcher *batcher_new(const struct dataset *d, enum split split, int rows_per_batch,
                            bool shuffle, uint64_t seed, struct gm_error *err)
{
    static const char *const NAMES[SPLIT_COUNT] = {"train", "valid", "test"};
    assert(rows_per_batch > 0);
    struct batcher *b = mem_new(1, sizeof *b);
    *b = (struct batcher){.dataset = d,
                          .rows_per_batch = rows_per_batch,
                          .shuffle = shuffle,
                          .seed = seed,
                          .pass = -1};
    b->rows = mem_new((size_t)d->n_rows + 1, sizeof *b->rows);
    for (int i = 0; i < d->n_rows; i++)
        if (d->rows[i].split == split && d->rows[i].n_supervised > 0)
            b->rows[b->n_rows++] = i;
    bool ok = b->n_rows > 0;
    if (!ok)
        error_set(err, GM_E_INPUT,
                  "plan batches: no %s row has a token to learn from (add rows, or raise "
                  "--max-seq-length)",
                  NAMES[split]);
    if (ok) {
        plan_sizes(b);
        ok = b->max_tokens < INT32_MAX
                 ? allocate(b, err)
                 : error_set(
                       err, GM_E_USAGE,
                       "plan batches: a batch of %d rows can have %lld tokens (lower --batch-size)",
                       rows_per_batch, (long long)b->max_tokens);
    }
    if (!ok) {
        batcher_free(b);
        return NULL;
    }
    return b;
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    void *blocks[] = {b->rows,      b->order,      b->ids,       b->positions,
                      b->seq_start, b->target_row, b->target_id, b};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(blocks[i]);
}

int batcher_rows(const struct batcher *b)
{
    return b->n_rows;
}

void batcher_limits(const struct batcher *b, struct pass_limits *limits)
{
    if (b->max_tokens > limits->max_tokens)
        limits->max_tokens = b->max_tokens;
    if (b->max_targets > limits->max_targets)
        limits->max_targets = b->max_targets;
    if (b->longest_row > limits->max_seq_tokens)
        limits->max_seq_tokens = b->longest_row;
    if (b->rows_per_batch > limits->max_seqs)
        limits->max_seqs = b->rows_per_batch;
}

/* Fisher-Yates, from a stream of its own for each pass. */
static void make_order(struct batcher *b, int64_t pass)
{
    memcpy(b->order, b->rows, (size_t)b->n_rows * sizeof *b->order);
    b->pass = pass;
    if (!b->shuffle)
        return;
    struct rng r = rng_stream(b->seed, "shuffle", (uint64_t)pass);
    for (int i = b->n_rows - 1; i > 0; i--) {
        int j = (int)rng_below(&r, (uint64_t)i + 1), kept = b->order[i];
        b->order[i] = b->order[j];
        b->order[j] = kept;
    }
}

const struct row *batcher_row(struct batcher *b, int64_t position)
{
    int64_t pass = position / b->n_rows;
    if (pass != b->pass)
        make_order(b, pass);
    return &b->dataset->rows[b->order[position % b->n_rows]];
}

int64_t batcher_supervised(struct batcher *b, int64_t position, int n)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += batcher_row(b, position + i)->n_supervised;
    return sum;
}

static void append_row(struct batcher *b, const struct row *r)
{
    struct batch *batch = &b->batch;
    int64_t at = batch->T;
    memcpy(b->ids + at, r->ids, (size_t)r->n * sizeof *b->ids);
    for (int t = 0; t < r->n; t++)
        b->positions[at + t] = t;
    for (int t = 1; t < r->n; t++) {
        if (!r->supervised[t])
            continue;
        b->target_row[batch->n_targets] = (int32_t)(at + t - 1);
        b->target_id[batch->n_targets++] = r->targets ? r->targets[t] : r->ids[t];
    }
    batch->T += r->n;
    b->seq_start[++batch->n_seqs] = (int32_t)batch->T;
}

const struct batch *batcher_fill(struct batcher *b, int64_t position, int n)
{
    assert(n > 0 && n <= b->rows_per_batch && position >= 0);
    b->batch = (struct batch){.ids = b->ids,
                              .positions = b->positions,
                              .seq_start = b->seq_start,
                              .target_row = b->target_row,
                              .target_id = b->target_id};
    b->seq_start[0] = 0;
    for (int i = 0; i < n; i++)
        append_row(b, batcher_row(b, position + i));
    return &b->batch;
}
