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

/* Two sources of 20 and 10 rows, weights 2.25 and 0.3: in each pass every row of the first comes twice and five of them once
 * more, three of the second come; in 20 passes all have come equally often. */
static void mixtures_come_by_weight(void **state)
{
    struct str text[2] = {{0}};
    char *folder = new_folder(), *path[2];
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < (s ? 10 : 20); i++)
            str_printf(&text[s], "{\"text\": \"set %d row %d\"}\n", s, i);
        char *sub = mem_printf("%s/%d", folder, s);
        assert_true(dir_make(sub, NULL));
        path[s] = put_file(sub, "train.jsonl", str_text(&text[s]));
        mem_free(path[s]);
        mem_free(put_file(sub, "valid.jsonl", "{\"text\": \"valid\"}\n"));
        path[s] = sub;
        str_free(&text[s]);
    }
    struct dataset_options o = {.max_seq_length = 64, .mask_prompt = true, .seed = 1};
    char *spec = mem_printf("%s:2.25\n%s:0.3", path[0], path[1]);
    struct dataset *d = dataset_open(spec, &o, tools.tokenizer, tools.tpl, NULL);
    assert_non_null(d);
    struct batcher *b = batcher_new(d, SPLIT_TRAIN, PER_BATCH, true, 5, NULL), *v = batcher_new(d, SPLIT_VALID, PER_BATCH, false, 0, NULL);
    assert_int_equal(batcher_rows(b), 48);
    assert_int_equal(batcher_rows(v), 2); /* weights are for training */
    int seen[32] = {0};
    for (int pass = 0; pass < 20; pass++) {
        int now[32] = {0}, of[2] = {0};
        for (int i = 0; i < 48; i++) {
            const struct row *r = batcher_row(b, pass * 48 + i);
            now[r - d->rows]++;
            seen[r - d->rows]++;
            of[r->source]++;
        }
        assert_int_equal(of[0], 45);
        for (int i = 0; i < d->n_rows; i++)
            if (d->rows[i].split == SPLIT_TRAIN && d->rows[i].source == 0)
                assert_true(now[i] == 2 || now[i] == 3);
    }
    for (int i = 0; i < d->n_rows; i++)
        if (d->rows[i].split == SPLIT_TRAIN)
            assert_int_equal(seen[i], d->rows[i].source == 0 ? 45 : 6);
    batcher_free(b);
    batcher_free(v);
    dataset_free(d);
    mem_free(spec);
    mem_free(path[0]);
    mem_free(path[1]);
    remove_folder(folder);
}

/* A long row among two short ones, and batches of up to five passes: what a pass of the model has room for is met, at the end
 * of passes as well, where the long row stands in a batch once more. */
static void a_long_row_fits_as_often_as_it_comes(void **state)
{
    struct str text = {0};
    str_add(&text, "{\"text\": \"");
    for (int i = 0; i < 200; i++)
        str_add(&text, "long ");
    str_add(&text, "\"}\n{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
    char *folder = new_folder(), *path = put_file(folder, "train.jsonl", str_text(&text)),
         *valid = put_file(folder, "valid.jsonl", "{\"text\": \"v\"}\n");
    struct dataset_options o = {.max_seq_length = 512, .mask_prompt = true, .seed = 1};
    struct dataset *d = dataset_open(folder, &o, tools.tokenizer, tools.tpl, NULL);
    assert_non_null(d);
    for (int n = 1; n <= 15; n++) {
        struct batcher *b = batcher_new(d, SPLIT_TRAIN, n, true, 5, NULL);
        struct pass_limits limits = {0};
        batcher_limits(b, &limits);
        int64_t most = 0;
        for (int64_t at = 0; at < 300 * n; at += n) {
            const struct batch *batch = batcher_fill(b, at, n);
            most = batch->T > most ? batch->T : most;
            assert_true(batch->T <= limits.max_tokens && batch->n_targets <= limits.max_targets);
        }
        int64_t times = n == 1 ? 1 : n % 3 == 0 ? n / 3 : (n - 2) / 3 + 2; /* it happens */
        assert_true(most >= times * limits.max_seq_tokens && most < (times + 1) * limits.max_seq_tokens);
        batcher_free(b);
    }
    dataset_free(d);
    mem_free(path);
    mem_free(valid);
    remove_folder(folder);
    str_free(&text);
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
        cmocka_unit_test(mixtures_come_by_weight),
        cmocka_unit_test(a_long_row_fits_as_often_as_it_comes),
        cmocka_unit_test(rows_are_packed),
        cmocka_unit_test(labels_are_targets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
