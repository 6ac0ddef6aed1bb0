/* batch.c - see batch.h. */
#include "engine/train/batch.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Usable rows of one source, rows[first .. first + n), and how a pass takes them. */
struct share {
    int first, n;
    int whole;        /* times every row comes */
    int extra;        /* rows that come once more */
    const int *round; /* [n] the order in which they have their turn; NULL: extra is 0 */
};

struct batcher {
    const struct dataset *dataset;
    int *rows, n_rows; /* usable rows in file order */
    struct share *shares;
    int n_shares, n_pass; /* length of a pass */
    int *rounds;          /* memory of the shares */
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

/* The most that k rows of the tape can add up to, when each comes up to `times` times; sorts the numbers. */
static int64_t sum_of_largest(int *numbers, int n, int k, int64_t times)
{
    int64_t sum = 0;
    qsort(numbers, (size_t)n, sizeof *numbers, descending);
    for (int i = 0; i < k; i++)
        sum += numbers[i / times];
    return sum;
}

/* Sizes of the largest batch of k rows, each cut at `longest` tokens (0: none is). */
struct sizes {
    int64_t tokens, targets, row;
};

static struct sizes sizes_of(const struct batcher *b, int k, int longest)
{
    struct sizes most = {0};
    int64_t times = 1;
    const int cut = longest > 0 ? longest : INT32_MAX;
    for (const struct share *s = b->shares; s < b->shares + b->n_shares; s++)
        times = s->whole + (s->extra > 0) > times ? s->whole + (s->extra > 0) : times;
    times *= k > 1 ? (k - 2) / b->n_pass + 2 : 1; /* passes that k rows in a row can touch */
    int *numbers = mem_new((size_t)b->n_rows, sizeof *numbers);
    for (int i = 0; i < b->n_rows; i++)
        numbers[i] = b->dataset->rows[b->rows[i]].n < cut ? b->dataset->rows[b->rows[i]].n : cut;
    most.tokens = sum_of_largest(numbers, b->n_rows, k, times);
    most.row = numbers[0];
    for (int i = 0; i < b->n_rows; i++)
        numbers[i] = b->dataset->rows[b->rows[i]].n_supervised < cut ? b->dataset->rows[b->rows[i]].n_supervised : cut;
    most.targets = sum_of_largest(numbers, b->n_rows, k, times);
    mem_free(numbers);
    return most;
}

static void plan_sizes(struct batcher *b)
{
    struct sizes most = sizes_of(b, b->rows_per_batch, 0);
    b->max_tokens = most.tokens;
    b->max_targets = most.targets;
    b->longest_row = most.row;
}

static bool allocate(struct batcher *b, struct gm_error *err)
{
    size_t tokens = (size_t)b->max_tokens * sizeof(int32_t),
           targets = (size_t)b->max_targets * sizeof(int32_t);
    b->order = mem_new((size_t)b->n_pass, sizeof *b->order);
    b->seq_start = mem_new((size_t)b->rows_per_batch + 1, sizeof *b->seq_start);
    b->ids = mem_alloc(tokens, "token ids of a batch", err);
    b->positions = b->ids ? mem_alloc(tokens, "positions of a batch", err) : NULL;
    b->target_row = b->positions ? mem_alloc(targets, "targets of a batch", err) : NULL;
    b->target_id = b->target_row ? mem_alloc(targets, "targets of a batch", err) : NULL;
    return b->target_id != NULL;
}

/* Weights are for training; rows of other splits come once. */
static bool plan_shares(struct batcher *b, enum split split, struct gm_error *err)
{
    const struct dataset *d = b->dataset;
    b->shares = mem_new((size_t)d->n_sources, sizeof *b->shares);
    b->rounds = mem_new((size_t)b->n_rows, sizeof *b->rounds);
    int64_t pass = 0;
    for (int at = 0; at < b->n_rows;) {
        struct share *s = &b->shares[b->n_shares++];
        int source = d->rows[b->rows[at]].source;
        double weight = split == SPLIT_TRAIN ? d->sources[source].weight : 1;
        *s = (struct share){.first = at, .whole = (int)weight};
        while (at < b->n_rows && d->rows[b->rows[at]].source == source)
            at++;
        s->n = at - s->first;
        s->extra = (int)((weight - s->whole) * s->n + 0.5);
        if (s->whole == 0 && s->extra == 0)
            s->extra = 1;
        if (s->extra > 0) {
            int *round = b->rounds + s->first;
            for (int i = 0; i < s->n; i++)
                round[i] = b->rows[s->first + i];
            rng_shuffle(round, s->n, rng_stream(b->seed, "mixture", (uint64_t)source));
            s->round = round;
        }
        pass += (int64_t)s->whole * s->n + s->extra;
    }
    b->n_pass = (int)pass;
    return pass < 1 << 30 || error_set(err, GM_E_USAGE,
                                       "plan batches: a pass over the mixture would have %lld rows (lower the weights)",
                                       (long long)pass);
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
    if (ok && (ok = plan_shares(b, split, err))) {
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
    void *blocks[] = {b->rows,      b->shares,     b->rounds,    b->order, b->ids, b->positions,
                      b->seq_start, b->target_row, b->target_id, b};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(blocks[i]);
}

int batcher_rows(const struct batcher *b)
{
    return b->n_pass;
}

void batcher_limits(const struct batcher *b, struct pass_limits *limits)
{
    batcher_limits_of(b, b->rows_per_batch, 0, limits);
}

static void raise_to(int64_t *most, int64_t n)
{
    *most = n > *most ? n : *most;
}

void batcher_limits_of(const struct batcher *b, int rows_per_batch, int longest, struct pass_limits *limits)
{
    struct sizes most = rows_per_batch == b->rows_per_batch && longest == 0 ? (struct sizes){b->max_tokens, b->max_targets, b->longest_row}
                                                                            : sizes_of(b, rows_per_batch, longest);
    raise_to(&limits->max_tokens, most.tokens);
    raise_to(&limits->max_targets, most.targets);
    raise_to(&limits->max_seq_tokens, most.row);
    limits->max_seqs = rows_per_batch > limits->max_seqs ? rows_per_batch : limits->max_seqs;
}

void batcher_means(const struct batcher *b, int longest, double *tokens, double *targets)
{
    const int cut = longest > 0 ? longest : INT32_MAX;
    *tokens = *targets = 0;
    for (const struct share *s = b->shares; s < b->shares + b->n_shares; s++) {
        double each = (double)s->whole + (double)s->extra / s->n; /* times that a row comes in a pass */
        for (int i = s->first; i < s->first + s->n; i++) {
            const struct row *r = &b->dataset->rows[b->rows[i]];
            *tokens += each * (r->n < cut ? r->n : cut);
            *targets += each * (r->n_supervised < cut ? r->n_supervised : cut);
        }
    }
    *tokens /= b->n_pass;
    *targets /= b->n_pass;
}

/* Shuffled from a stream of its own for each pass. */
static void make_order(struct batcher *b, int64_t pass)
{
    int n = 0;
    for (const struct share *s = b->shares; s < b->shares + b->n_shares; s++) {
        for (int k = 0; k < s->whole; k++, n += s->n)
            memcpy(b->order + n, b->rows + s->first, (size_t)s->n * sizeof *b->order);
        int64_t turn = s->extra ? pass * s->extra % s->n : 0;
        for (int k = 0; k < s->extra; k++)
            b->order[n++] = s->round[(turn + k) % s->n];
    }
    assert(n == b->n_pass);
    b->pass = pass;
    if (b->shuffle)
        rng_shuffle(b->order, n, rng_stream(b->seed, "shuffle", (uint64_t)pass));
}

const struct row *batcher_row(struct batcher *b, int64_t position)
{
    int64_t pass = position / b->n_pass;
    if (pass != b->pass)
        make_order(b, pass);
    return &b->dataset->rows[b->order[position % b->n_pass]];
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
