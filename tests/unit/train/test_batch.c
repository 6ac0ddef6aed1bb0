/* Batches: every row once a pass, in an order that the seed decides; packing; positions that can be
 * taken up anywhere. */
#include "tests/unit/train/train_test.h"

#include "engine/train/batch.h"

enum { ROWS = 37, PER_BATCH = 4 };

static struct text_tools tools;
static struct dataset *data;

static void every_row_once_a_pass(void **state)
{
    struct batcher *b = batcher_new(data, SPLIT_TRAIN, PER_BATCH, true, 5, NULL),
                   *same = batcher_new(data, SPLIT_TRAIN, PER_BATCH, true, 5, NULL);
    struct batcher *other = batcher_new(data, SPLIT_TRAIN, PER_BATCH, true, 6, NULL),
                   *plain = batcher_new(data, SPLIT_TRAIN, PER_BATCH, false, 5, NULL);
    assert_int_equal(batcher_rows(b), ROWS);
    int moved = 0, differs = 0, again = 0;
    for (int pass = 0; pass < 3; pass++) {
        int seen[ROWS] = {0};
        for (int i = 0; i < ROWS; i++) {
            const struct row *r = batcher_row(b, pass * ROWS + i);
            seen[r - data->rows]++;
            assert_ptr_equal(batcher_row(same, pass * ROWS + i), r);
            assert_ptr_equal(batcher_row(plain, pass * ROWS + i), &data->rows[i]);
            moved += r != &data->rows[i];
            differs += r != batcher_row(other, pass * ROWS + i);
        }
        for (int i = 0; i < ROWS; i++)
            assert_int_equal(seen[i], 1);
    }
    for (int i = 0; i < ROWS; i++)
        again += batcher_row(b, i) ==
                 batcher_row(
                     same, ROWS + i); /* another order in the second pass; also a jump backwards */
    assert_true(moved > ROWS && differs > ROWS && again < ROWS / 2);
    batcher_free(b);
    batcher_free(same);
    batcher_free(other);
    batcher_free(plain);
}

static void rows_are_packed(void **state)
{
    struct batcher *b = batcher_new(data, SPLIT_TRAIN, PER_BATCH, true, 5, NULL);
    struct pass_limits limits = {0};
    batcher_limits(b, &limits);
    uint64_t allocations = 0;
    for (int64_t at = 0; at < 5 * ROWS;
         at += PER_BATCH) { /* batches reach over the ends of passes */
        const struct batch *batch = batcher_fill(b, at, PER_BATCH);
        int64_t T = 0, targets = 0;
        assert_int_equal(batch->n_seqs, PER_BATCH);
        for (int k = 0; k < PER_BATCH; k++) {
            const struct row *r = batcher_row(b, at + k);
            assert_int_equal(batch->seq_start[k], T);
            for (int t = 0; t < r->n; t++) {
                assert_int_equal(batch->ids[T + t], r->ids[t]);
                assert_int_equal(batch->positions[T + t], t);
                if (!r->supervised[t])
                    continue;
                assert_int_equal(batch->target_row[targets], T + t - 1);
                assert_int_equal(batch->target_id[targets++], r->ids[t]);
            }
            T += r->n;
        }
        assert_int_equal(batch->T, T);
        assert_int_equal(batch->seq_start[PER_BATCH], T);
        assert_int_equal(batch->n_targets, targets);
        assert_int_equal(batcher_supervised(b, at, PER_BATCH), targets);
        assert_true(T <= limits.max_tokens && targets <= limits.max_targets &&
                    PER_BATCH <= limits.max_seqs);
        if (at == 0)
            allocations = mem_allocations();
    }
    assert_int_equal(mem_allocations(), allocations);
    batcher_free(b);
}

static void labels_are_targets(void **state)
{
    char *folder = new_folder(),
         *path = put_file(folder, "train.jsonl",
                          "{\"input_ids\": [5, 6, 7], \"labels\": [-100, 8, 9]}\n");
    struct dataset_options o = {.max_seq_length = 64};
    struct dataset *d = dataset_open(folder, &o, tools.tokenizer, tools.tpl, NULL);
    struct batcher *b =
        batcher_new(d, SPLIT_TRAIN, 2, true, 0, NULL); /* more rows a batch than there are */
    const struct batch *batch = batcher_fill(b, 0, 2);
    assert_int_equal(batch->n_targets, 4);
    assert_int_equal(batch->target_row[0], 0);
    assert_int_equal(batch->target_id[0], 8);
    assert_int_equal(batch->target_id[1], 9);
    assert_int_equal(batch->target_row[3], 4);
    struct gm_error err = {0};
    assert_null(batcher_new(d, SPLIT_VALID, 2, true, 0, &err));
    assert_non_null(strstr(err.text, "no valid row"));
    batcher_free(b);
    dataset_free(d);
    mem_free(path);
    remove_folder(folder);
}

static int setup(void **state)
{
    tools = open_tools(FIXTURES "/models/smollm2");
    char *text = many_rows(ROWS), *folder = new_folder();
    mem_free(put_file(folder, "train.jsonl", text));
    mem_free(put_file(folder, "valid.jsonl", "{\"text\": \"alone\"}\n"));
    struct dataset_options o = {.max_seq_length = 512, .mask_prompt = true};
    data = dataset_open(folder, &o, tools.tokenizer, tools.tpl, NULL);
    mem_free(text);
    remove_folder(folder);
    return data ? 0 : -1;
}

static int teardown(void **state)
{
    dataset_free(data);
    close_tools(&tools);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_once_a_pass),
        cmocka_unit_test(rows_are_packed),
        cmocka_unit_test(labels_are_targets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
