/* Runs on disk: journals with torn ends, checkpoints that are whole or not there, names, the best
 * ones, locks. */
#include "tests/unit/train/train_test.h"

#include "engine/train/checkpoint.h"
#include "engine/train/journal.h"
#include "engine/train/run_files.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- journal ---- */

struct lines {
    int n;
    json_int_t last;
};

static bool count_line(void *arg, json_t *event)
{
    struct lines *l = arg;
    l->n++;
    l->last = json_integer_value(json_object_get(event, "step"));
    return l->n < 1000;
}

static void append(const char *path, const char *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void append_text(const char *path, const char *text)
{
    append(path, text, strlen(text));
}

static void journal_survives_a_torn_end(void **state)
{
    static const char *const TORN[] = {"{\"event\": \"st", "{\"event\": \"step\", \"step\": 9}",
                                       "\0\0\0\0\0\0\0\0"};
    char *folder = new_folder(), *path = path_join(folder, "journal.jsonl");
    struct gm_error err = {0};
    for (int k = 0; k < 3; k++) {
        struct journal j;
        struct lines l = {0};
        unlink(path);
        assert_true(journal_open(&j, path, &err));
        for (int i = 1; i <= 3; i++)
            assert_true(journal_write(&j, json_pack("{s:s, s:i}", "event", "step", "step", i),
                                      i == 3, &err));
        journal_close(&j);
        append(path, TORN[k], k == 2 ? 8 : strlen(TORN[k]));
        if (!journal_read(path, count_line, &l,
                          &err)) /* a line without its end does not count, whatever it holds */
            fail_msg("%s", err.text);
        assert_int_equal(l.n, 3);
        assert_true(journal_open(&j, path, &err)); /* cuts it off */
        assert_true(
            journal_write(&j, json_pack("{s:s, s:i}", "event", "step", "step", 4), false, &err));
        journal_close(&j);
        l = (struct lines){0};
        assert_true(journal_read(path, count_line, &l, &err));
        assert_int_equal(l.n, 4);
        assert_int_equal(l.last, 4);
    }
    append_text(path, "nonsense\n"); /* the last line, whole but broken: dropped; in the middle: an
                                        error that names it */
    struct lines l = {0};
    assert_true(journal_read(path, count_line, &l, &err));
    assert_int_equal(l.n, 4);
    append_text(path, "{\"event\": \"step\", \"step\": 5}\n");
    l = (struct lines){0};
    assert_false(journal_read(path, count_line, &l, &err));
    assert_non_null(strstr(err.text, "journal.jsonl:5"));
    mem_free(path);
    remove_folder(folder);
}

static void journal_tail_begins_with_a_whole_line(void **state)
{
    char *folder = new_folder(), *path = path_join(folder, "journal.jsonl");
    struct journal j;
    struct lines l = {0};
    assert_true(journal_open(&j, path, NULL));
    for (int i = 0; i < 500; i++)
        assert_true(journal_write(
            &j, json_pack("{s:s, s:i, s:s}", "event", "step", "step", i, "text", "some more text"),
            false, NULL));
    journal_close(&j);
    assert_true(journal_read_tail(path, 1000, count_line, &l, NULL));
    assert_in_range(l.n, 10, 30);
    assert_int_equal(l.last, 499);
    struct str all = read_whole(path); /* more than a page was searched for the last line end */
    append(path, all.data, 20000);
    append_text(path, "x");
    str_free(&all);
    mem_free(path);
    remove_folder(folder);
}

/* ---- checkpoints ---- */

struct parts {
    struct model *model;
    struct lora *lora;
    struct optimizer *optimizer;
    struct checkpoint_parts p;
};

static struct parts make_parts(uint64_t seed)
{
    struct parts x = {0};
    struct gm_error err = {0};
    struct train_options o = train_options_default();
    o.lora.rank = 4;
    x.model = model_open(FIXTURES "/models/smollm2", &err);
    if (!x.model)
        fail_msg("%s", err.text);
    x.lora = lora_new(&x.model->config, &o.lora, seed, &err);
    x.optimizer = optimizer_new(&o, x.lora->set.count, &err);
    for (size_t i = 0; i < x.lora->set.count; i++) {
        x.lora->set.w[i] += (float)(i % 17) * 1e-3f * (float)seed;
        x.optimizer->m[i] = (float)(i % 13) * 1e-5f;
        x.optimizer->v[i] = (float)(i % 7) * 1e-7f;
    }
    x.optimizer->updates = 5;
    x.p = (struct checkpoint_parts){.lora = x.lora,
                                    .model = x.model,
                                    .optimizer = x.optimizer,
                                    .model_name = "smollm2",
                                    .source = x.model->source};
    return x;
}

static void free_parts(struct parts *x)
{
    lora_free(x->lora);
    optimizer_free(x->optimizer);
    model_free(x->model);
}

static struct checkpoint_state state_at(int step, double val_loss, double form_rate)
{
    return (struct checkpoint_state){.step = step,
                                     .optimizer_updates = 5,
                                     .rows_seen = 4 * step,
                                     .tokens_seen = 100 * step,
                                     .elapsed_s = 1.5,
                                     .evaluated = true,
                                     .val_loss = val_loss,
                                     .form_rate = form_rate,
                                     .form_n = 4,
                                     .best_loss = val_loss,
                                     .best_form = NAN,
                                     .best_form_loss = NAN,
                                     .evals_without_better = 2,
                                     .why = "schedule"};
}

static void checkpoint_there_and_back(void **state)
{
    char *folder = new_folder();
    struct gm_error err = {0};
    struct parts a = make_parts(1), b = make_parts(2);
    struct checkpoint_state s = state_at(7, 2.5, NAN), back;
    if (!checkpoint_save(folder, &a.p, &s, &err) || !checkpoint_load(folder, 7, &b.p, &back, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(a.lora->set.w, b.lora->set.w, a.lora->set.count * sizeof(float));
    assert_memory_equal(a.optimizer->m, b.optimizer->m, a.lora->set.count * sizeof(float));
    assert_memory_equal(a.optimizer->v, b.optimizer->v, a.lora->set.count * sizeof(float));
    assert_true(back.step == 7 && back.rows_seen == 28 && back.val_loss == 2.5 &&
                isnan(back.form_rate) && back.evals_without_better == 2);
    assert_string_equal(back.why, "schedule");

    char *file = mem_printf("%s/checkpoints/0000007/optimizer.safetensors",
                            folder); /* one flipped bit is seen */
    struct str bytes = read_whole(file);
    bytes.data[bytes.len - 1] ^= 1;
    assert_true(file_replace(file, bytes.data, bytes.len, NULL));
    assert_false(checkpoint_load(folder, 7, &b.p, &back, &err));
    assert_non_null(strstr(err.text, "optimizer.safetensors: it is not the file that was saved"));
    unlink(file);
    assert_false(checkpoint_load(folder, 7, &b.p, &back, &err));
    assert_true(checkpoint_save(folder, &a.p, &s, &err)); /* over the damaged one */
    assert_true(checkpoint_load(folder, 7, &b.p, &back, &err));

    a.lora->set.w[3] = NAN; /* nothing that is not finite is ever saved */
    s.step = 8;
    assert_false(checkpoint_save(folder, &a.p, &s, &err));
    assert_non_null(strstr(err.text, "not finite"));
    int *steps, n;
    assert_true(checkpoint_steps(folder, &steps, &n, &err));
    assert_int_equal(n, 1);
    mem_free(steps);
    str_free(&bytes);
    mem_free(file);
    free_parts(&a);
    free_parts(&b);
    remove_folder(folder);
}

static void full_disk_leaves_nothing_half(void **state)
{
    char *folder = new_folder(), *parent = path_join(folder, "checkpoints");
    struct gm_error err = {0};
    struct parts a = make_parts(1);
    struct checkpoint_state s = state_at(1, 2, NAN), back;
    assert_true(checkpoint_save(folder, &a.p, &s, &err));
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t size = 0; size < 70000;
         size += 1400) { /* the write that fails: in each of the files */
        small = before;
        small.rlim_cur = size;
        for (int step = 1; step <= 2; step++) {
            s.step = step;
            err = (struct gm_error){0};
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
            bool ok = checkpoint_save(folder, &a.p, &s, &err);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
            assert_false(ok);
            assert_non_null(strstr(err.text, "save checkpoint"));
        }
        char **names;
        size_t n;
        assert_true(dir_list(parent, &names, &n, NULL));
        assert_int_equal(n, 1);
        assert_string_equal(names[0], "0000001");
        mem_free(names[0]);
        mem_free(names);
        assert_true(checkpoint_load(folder, 1, &a.p, &back, &err));
    }
    free_parts(&a);
    mem_free(parent);
    remove_folder(folder);
}

/* ---- runs ---- */

static char *make_run(const char *root, const char *name)
{
    struct lock lock;
    struct gm_error err = {0};
    struct run_origin origin = {"a", "b", "c"};
    struct dataset none = {0};
    struct train_options o = train_options_default();
    o.model = mem_copy("org/nano.gguf");
    o.data = mem_copy("haiku");
    o.run = name ? mem_copy(name) : NULL;
    char *dir = run_create(root, &o, &lock, &err);
    if (!dir || !run_write_json(dir, &o, &origin, &none, NULL, &err))
        fail_msg("%s", err.text);
    lock_release(&lock);
    train_options_free(&o);
    return dir;
}

static void expect_refused(const char *root, char *name, const char *because)
{
    struct lock lock;
    struct gm_error err = {0};
    const struct train_options o = {.run = name, .model = name, .data = name};
    assert_null(run_create(root, &o, &lock, &err));
    if (!strstr(err.text, because))
        fail_msg("%s: %s", name, err.text);
}

enum { AT_ONCE = 8 };
struct start {
    const char *root;
    pthread_rwlock_t *gate;
    char *dir;
};

static void *start_one(void *arg)
{
    struct start *s = arg;
    const struct train_options o = {.run_stem = "demo"};
    struct lock lock;
    pthread_rwlock_rdlock(s->gate);
    s->dir = run_create(s->root, &o, &lock, NULL);
    pthread_rwlock_unlock(s->gate);
    if (s->dir)
        lock_release(&lock);
    return NULL;
}

/* Who starts at the same instant gets the next number, not an error. */
static void starts_at_once(void **state)
{
    char *root = new_folder();
    pthread_rwlock_t gate;
    pthread_t thread[AT_ONCE];
    struct start start[AT_ONCE];
    bool seen[AT_ONCE + 1] = {false};
    pthread_rwlock_init(&gate, NULL);
    pthread_rwlock_wrlock(&gate);
    for (int i = 0; i < AT_ONCE; i++) {
        start[i] = (struct start){.root = root, .gate = &gate};
        assert_int_equal(pthread_create(&thread[i], NULL, start_one, &start[i]), 0);
    }
    pthread_rwlock_unlock(&gate);
    for (int i = 0; i < AT_ONCE; i++) {
        int number = 0;
        pthread_join(thread[i], NULL);
        assert_non_null(start[i].dir);
        assert_int_equal(sscanf(path_base(start[i].dir), "demo-%d", &number), 1);
        assert_in_range(number, 1, AT_ONCE);
        assert_false(seen[number]);
        seen[number] = true;
        mem_free(start[i].dir);
    }
    pthread_rwlock_destroy(&gate);
    remove_folder(root);
}

static void names_are_found(void **state)
{
    char *root = new_folder();
    struct gm_error err = {0};
    char *a = make_run(root, NULL), *b = make_run(root, NULL), *c = make_run(root, "my run");
    assert_string_equal(path_base(a), "nano-haiku-001");
    assert_string_equal(path_base(b), "nano-haiku-002");
    expect_refused(root, (char[]){"my run"}, "already there");
    expect_refused(root, (char[]){".."}, "is no name");
    expect_refused(root, (char[]){""}, "is no name");

    const char *const NAMES[] = {"nano-haiku-001",      "nano-haiku-001:best",
                                 "nano-haiku-001:last", "nano-haiku-001:best-form",
                                 "nano-haiku-001:600",  a};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char *dir = run_resolve(root, NAMES[i], &err);
        if (!dir)
            fail_msg("%s: %s", NAMES[i], err.text);
        assert_string_equal(dir, a);
        mem_free(dir);
    }
    const char *const NO[] = {"nano-haiku-009", "nano-haiku-001:worst", "", ":", ":best",
                              "../x",           "nano-haiku-001:"};
    for (size_t i = 0; i < sizeof NO / sizeof *NO; i++)
        assert_null(run_resolve(root, NO[i], &err));
    struct run_info *runs;
    int n;
    assert_true(run_list(root, &runs, &n, &err));
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) {
        assert_string_equal(runs[i].state, "killed"); /* no journal, no lock */
        run_info_free(&runs[i]);
    }
    mem_free(runs);
    assert_true(run_list("/nowhere/at/all", &runs, &n, &err));
    assert_int_equal(n, 0);
    mem_free(runs);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    remove_folder(root);
}

static void expect_step(const char *root, const char *adapter, int step)
{
    struct gm_error err = {0};
    bool is_run;
    int got;
    char *path = run_adapter_path(root, adapter, &is_run, &got, &err);
    if (!path)
        fail_msg("%s: %s", adapter, err.text);
    assert_true(is_run);
    assert_int_equal(got, step);
    assert_true(dir_exists(path));
    mem_free(path);
}

static void best_checkpoints_are_marked(void **state)
{
    char *root = new_folder(), *dir = make_run(root, "r"),
         *journal = path_join(dir, "journal.jsonl");
    struct gm_error err = {0};
    struct parts a = make_parts(1);
    static const struct {
        int step;
        double loss, form;
    } SAVED[] = {{100, 3.0, 0.25}, {200, 2.5, 0.5}, {300, 2.75, 0.5}, {350, NAN, NAN}};
    bool is_run;
    int step;
    assert_null(run_adapter_path(root, "r", &is_run, &step, &err));
    assert_non_null(strstr(err.text, "no checkpoint yet"));
    for (int i = 0; i < 4; i++) {
        struct checkpoint_state s = state_at(SAVED[i].step, SAVED[i].loss, SAVED[i].form);
        assert_true(checkpoint_save(dir, &a.p, &s, &err));
    }
    expect_step(root, "r", 200);
    expect_step(root, "r:best", 200);
    expect_step(root, "r:best-form", 200); /* as many as at 300, with the lower loss */
    expect_step(root, "r:last", 350);
    expect_step(root, "r:300", 300);
    assert_null(run_adapter_path(root, "r:301", &is_run, &step, &err));
    assert_non_null(strstr(err.text, "no checkpoint of step 301"));
    assert_null(run_adapter_path(root, "nobody", &is_run, &step, &err));
    char *plain = run_adapter_path(root, root, &is_run, &step, &err);
    assert_true(plain && !is_run && step == -1);
    mem_free(plain);

    char *torn =
        path_join(dir, "checkpoints/0000400"); /* a folder without state.json is no checkpoint */
    assert_true(dir_make(torn, &err));
    append_text(
        journal,
        "{\"event\":\"start\",\"step\":0}\n{\"event\":\"eval\",\"step\":350,\"loss\":2.25}\n");
    struct run_info r;
    assert_true(run_info_open(&r, dir, &err));
    assert_int_equal(r.n_checkpoints, 4);
    assert_true(r.checkpoints[1].best_loss && r.checkpoints[1].best_form &&
                !r.checkpoints[2].best_form);
    assert_true(r.checkpoints[1].bytes > 1000 && r.last_step == 350 && r.last_val_loss == 2.25 &&
                r.iters == 600);
    assert_string_equal(r.state, "killed");
    run_info_free(&r);

    struct lock lock, second;
    char *lock_path = path_join(dir, "LOCK");
    assert_true(lock_take(&lock, lock_path, &err));
    assert_true(run_info_open(&r, dir, &err));
    assert_string_equal(r.state, "running");
    run_info_free(&r);
    assert_false(lock_take(&second, lock_path, &err));
    assert_int_equal(err.code, GM_E_BUSY);
    lock_release(&lock);
    append_text(journal, "{\"event\":\"end\",\"step\":350,\"reason\":\"stopped\"}\n");
    assert_true(run_info_open(&r, dir, &err));
    assert_string_equal(r.state, "stopped");
    run_info_free(&r);
    append_text(journal, "{\"event\":\"end\",\"step\":600,\"reason\":\"finished\"}\n");
    assert_true(run_info_open(&r, dir, &err));
    assert_string_equal(r.state, "finished");
    run_info_free(&r);
    mem_free(put_file(dir, "run.json", "{\"format\": 1}\n"));
    assert_false(run_info_open(&r, dir, &err));
    assert_non_null(strstr(err.text, "run.json"));
    mem_free(lock_path);
    mem_free(torn);
    mem_free(journal);
    mem_free(dir);
    free_parts(&a);
    remove_folder(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_survives_a_torn_end),
        cmocka_unit_test(journal_tail_begins_with_a_whole_line),
        cmocka_unit_test(checkpoint_there_and_back),
        cmocka_unit_test(full_disk_leaves_nothing_half),
        cmocka_unit_test(starts_at_once), cmocka_unit_test(names_are_found),
        cmocka_unit_test(best_checkpoints_are_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
