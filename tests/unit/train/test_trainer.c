/* Whole runs on a tiny model: what they leave, the shapes of journal and samples, what is asked of them from other threads, what they refuse and how
 * they end. */
#include "tests/unit/train/trainer_test.h"

#include "engine/base/condition.h"

#include <pthread.h>
#include <time.h>

static void run_leaves_what_it_should(void **state)
{
    struct train_options o = options("whole");
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    assert_int_equal(r.seen.count[TRAIN_STARTED], 1);
    assert_int_equal(r.seen.count[TRAIN_STEP], ITERS);
    assert_int_equal(r.seen.count[TRAIN_EVAL], 4); /* 0, 5, 10, 14 */
    assert_int_equal(r.seen.count[TRAIN_SAMPLE], 4 * 3 * 2);
    assert_int_equal(r.seen.count[TRAIN_FORM], 4);
    assert_true(r.seen.last_eval < r.seen.eval_0 - 0.3);
    for (int k = 2; k <= 8; k++) /* an update takes no memory; its line in the journal is one small
                                    block, given back at once */
        assert_true(k % 5 == 1 || k % 4 == 1 ||
                    r.seen.allocations[k] - r.seen.allocations[k - 1] <= 1);

    char *dir = dir_of("whole");
    struct run_info info;
    struct gm_error err = {0};
    assert_true(run_info_open(&info, dir, &err));
    assert_string_equal(info.state, "finished");
    assert_int_equal(info.last_step, ITERS);
    assert_int_equal(info.iters, ITERS);
    for (int i = 0, found = 0; i < 3; i++) {
        static const int STEPS[] = {4, 8, 12};
        for (int k = 0; k < info.n_checkpoints; k++)
            found += info.checkpoints[k].step == STEPS[i];
        assert_int_equal(found, i + 1);
    }
    assert_int_equal(info.checkpoints[info.n_checkpoints - 1].step, ITERS);
    int best = 0;
    for (int k = 0; k < info.n_checkpoints; k++)
        best += info.checkpoints[k].best_loss;
    assert_int_equal(best, 1);
    run_info_free(&info);

    bool is_run;
    int step;
    char *adapter = run_adapter_path(root, "whole", &is_run, &step, &err);
    struct model *m = fixture_model();
    struct lora *l = lora_load(adapter, &m->config, &err);
    assert_non_null(l);
    lora_free(l);
    model_free(m);
    mem_free(adapter);

    struct train_options again = options("whole"); /* the name is taken */
    struct outcome second = run_with(&again, NULL, 0, 1, 0);
    assert_false(second.ok);
    assert_non_null(strstr(second.err.text, "already there"));
    second = run_with(NULL, dir, 0, 1, 0); /* and there is nothing left to do */
    assert_int_equal(second.err.code, GM_E_USAGE);
    assert_non_null(strstr(second.err.text, "--iters"));
    mem_free(dir);
}

static bool check_shape(void *arg, json_t *e)
{
    static const struct {
        const char *event, *keys;
    } SHAPES[] = {
        {"start", "iters model data kernel"},
        {"step",
         "loss grad_norm learning_rate tokens supervised_tokens tokens_per_second memory_bytes"},
        {"eval", "loss tokens"},
        {"form", "rate n"},
        {"checkpoint", "path best"},
        {"end", "reason"},
        {"warning", "text"},
    };
    int *n = arg;
    const char *event = json_string_value(json_object_get(e, "event"));
    assert_non_null(event);
    assert_true(json_is_integer(json_object_get(e, "step")) &&
                json_is_number(json_object_get(e, "time_s")));
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        if (strcmp(event, SHAPES[i].event) != 0)
            continue;
        char *keys = mem_copy(SHAPES[i].keys);
        for (char *k = strtok(keys, " "); k; k = strtok(NULL, " "))
            if (!json_object_get(e, k))
                fail_msg("%s has no %s", event, k);
        mem_free(keys);
        (*n)++;
        return true;
    }
    fail_msg("unknown event %s", event);
    return false;
}

static bool check_sample(void *arg, json_t *s)
{
    static const char *const KEYS[] = {"prompt", "adapter", "step", "temperature", "seed",
                                       "text",   "tokens",  "stop", "verdict",     "seconds"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!json_object_get(s, KEYS[i]))
            fail_msg("a sample has no %s", KEYS[i]);
    json_t *v = json_object_get(s, "verdict");
    assert_string_equal(json_string_value(json_object_get(v, "form")), "haiku");
    assert_true(json_is_boolean(json_object_get(v, "strict")) &&
                json_is_array(json_object_get(v, "syllables")));
    (*(int *)arg)++;
    return true;
}

static void journal_and_samples_have_their_shapes(void **state)
{
    struct gm_error err = {0};
    int n = 0;
    char *dir = dir_of("whole"), *journal = path_join(dir, "journal.jsonl"),
         *samples = path_join(dir, "samples.jsonl");
    assert_true(journal_read(journal, check_shape, &n, &err));
    assert_true(n >= ITERS + 4 + 4 + 4 + 2);
    n = 0;
    assert_true(journal_read(samples, check_sample, &n, &err));
    assert_int_equal(n, 24);
    mem_free(dir);
    mem_free(journal);
    mem_free(samples);
}

static void sampling_and_evaluating_change_nothing(void **state)
{
    struct train_options o = options("quiet");
    o.sample_every = 0;
    o.steps_per_eval = 1000;
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    assert_int_equal(r.seen.count[TRAIN_SAMPLE], 0);
    assert_same_checkpoint("whole", "quiet", ITERS);
    o = options("other-seed");
    o.seed = 12;
    r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    char *a = mem_printf("%s/whole/checkpoints/%07d/adapters.safetensors", root, ITERS),
         *b = mem_printf("%s/other-seed/checkpoints/%07d/adapters.safetensors", root, ITERS);
    assert_false(same_file(a, b)); /* the comparison can tell */
    mem_free(a);
    mem_free(b);
}

/* ---- asks ---- */

struct driver {
    struct trainer *t;
    struct pool *pool;
    bool ok;
    struct gm_error err;
};

static void *drive(void *arg)
{
    struct driver *d = arg;
    d->ok = trainer_run(d->t, &d->err);
    return NULL;
}

struct watch {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int paused, resumed, steps, checkpoints;
};

static void watch_event(void *arg, const struct train_event *e)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->mutex);
    w->paused += e->kind == TRAIN_PAUSED;
    w->resumed += e->kind == TRAIN_RESUMED;
    w->checkpoints += e->kind == TRAIN_CHECKPOINT;
    if (e->kind == TRAIN_STEP)
        w->steps = e->step;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_for(struct watch *w, const int *value, int at_least)
{
    const double until = clock_seconds() + 60;
    pthread_mutex_lock(&w->mutex);
    while (*value < at_least)
        if (!condition_wait(&w->wake, &w->mutex, until))
            fail_msg("waited in vain");
    pthread_mutex_unlock(&w->mutex);
}

static void pause_save_copy_stop_from_another_thread(void **state)
{
    struct watch w = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    condition_init(&w.wake);
    struct train_listener l = {watch_event, &w};
    struct train_options o = options("asked");
    o.iters = 1000000;
    o.save_every = 1000000;
    o.steps_per_eval = o.sample_every = 1000000;
    struct driver d = {.pool = pool_new(2, NULL)};
    d.t = trainer_new(&o, root, d.pool, &l, &d.err);
    if (!d.t)
        fail_msg("%s", d.err.text);
    train_options_free(&o);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drive, &d), 0);
    wait_for(&w, &w.steps, 2);
    trainer_ask_pause(d.t, true);
    wait_for(&w, &w.paused, 1);
    int step_a, step_b;
    struct lora *a = trainer_adapter_copy(d.t, &step_a);
    clock_t busy = clock();
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    assert_true((double)(clock() - busy) / CLOCKS_PER_SEC < 0.05); /* a pause costs no CPU */
    struct lora *b = trainer_adapter_copy(d.t, &step_b);
    assert_int_equal(step_a, step_b);
    assert_memory_equal(a->set.w, b->set.w, a->set.count * sizeof(float));
    trainer_ask_save(d.t); /* also while paused */
    wait_for(&w, &w.checkpoints, 1);
    int before = w.steps;
    trainer_ask_pause(d.t, false);
    wait_for(&w, &w.resumed, 1);
    wait_for(&w, &w.steps, before + 3);
    lora_free(b);
    b = trainer_adapter_copy(d.t, &step_b);
    assert_true(step_b > step_a && memcmp(a->set.w, b->set.w, a->set.count * sizeof(float)) != 0);
    char *dir = dir_of("asked");
    struct gm_error err = {0};
    struct pool *other = pool_new(1, NULL);
    assert_null(trainer_resume(dir, 0, other, NULL, &err)); /* in use */
    assert_int_equal(err.code, GM_E_BUSY);
    trainer_ask_pause(d.t, true); /* a stop ends a pause */
    wait_for(&w, &w.paused, 2);
    trainer_ask_stop(d.t);
    pthread_join(thread, NULL);
    assert_int_equal(d.err.code, GM_E_CANCELLED);
    trainer_free(d.t);
    struct run_info info;
    assert_true(run_info_open(&info, dir, &err));
    assert_string_equal(info.state, "stopped");
    assert_int_equal(info.n_checkpoints, 2);
    assert_int_equal(info.checkpoints[0].step, step_a);
    run_info_free(&info);
    lora_free(a);
    lora_free(b);
    pool_free(other);
    pool_free(d.pool);
    mem_free(dir);
}

/* ---- what goes wrong, and other ways to end and to begin ---- */

static void a_loss_that_is_not_finite_stops(void **state)
{
    struct train_options o = options("wild");
    o.tune = TUNE_FULL;
    o.learning_rate = 10;
    o.optimizer = OPT_SGD;
    o.max_grad_norm = 0;
    o.iters = 200;
    o.save_every = 1;
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    assert_false(r.ok);
    assert_int_equal(r.err.code, GM_E_INPUT);
    assert_non_null(strstr(r.err.text, "not finite"));
    assert_non_null(strstr(r.err.text, "train.jsonl:"));
    assert_non_null(strstr(r.seen.end, "not finite"));
    char *dir = dir_of("wild");
    struct run_info info; /* what was saved before is whole */
    assert_true(run_info_open(&info, dir, NULL));
    assert_true(info.n_checkpoints > 0);
    struct model *m = model_open(info.checkpoints[info.n_checkpoints - 1].path,
                                 &r.err); /* opening refuses what is not finite */
    if (!m)
        fail_msg("%s", r.err.text);
    model_free(m);
    run_info_free(&info);
    mem_free(dir);
}

static void refusals_leave_no_run(void **state)
{
    static const char *const NAMES[] = {"no-model", "no-data", "no-rows", "bad-id"};
    for (int k = 0; k < 4; k++) {
        struct train_options o = options(NAMES[k]);
        char *folder = new_folder();
        if (k == 0) {
            mem_free(o.model);
            o.model = mem_copy("/nowhere/model");
        } else {
            mem_free(o.data);
            char *path =
                put_file(folder, "train.jsonl",
                         k == 2 ? "{\"text\": \"a\"}\n{\"oops\": 1}\n"
                                : "{\"input_ids\": [1, 100000], \"labels\": [1, 100000]}\n");
            o.data = k == 1 ? mem_copy("/nowhere/data.jsonl") : mem_copy(folder);
            mem_free(path);
        }
        struct outcome r = run_with(&o, NULL, 0, 1, 0);
        assert_false(r.ok);
        assert_true(strlen(r.err.text) > 10);
        char *dir = dir_of(NAMES[k]);
        assert_false(dir_exists(dir));
        mem_free(dir);
        remove_folder(folder);
    }
    struct outcome r = run_with(NULL, root, 0, 1, 0);
    assert_false(r.ok);
}

static void early_stop_and_pruning(void **state)
{
    struct train_options o = options("early");
    o.iters = 400;
    o.steps_per_eval = 2;
    o.save_every = 1000;
    o.sample_every = 0;
    o.early_stop = 3;
    o.learning_rate = 0.05;
    o.schedule = LR_CONSTANT;
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    if (!r.ok)
        fail_msg("%s", r.err.text);
    assert_string_equal(r.seen.end, "early stop");
    assert_true(r.seen.last_step < 400);
    char *dir = dir_of("early");
    struct run_info info; /* the best one, six updates before the end, and the last one */
    assert_true(run_info_open(&info, dir, NULL));
    assert_string_equal(info.state, "finished");
    assert_int_equal(info.n_checkpoints, 2);
    assert_true(info.checkpoints[0].best_loss);
    assert_int_equal(info.checkpoints[0].step, r.seen.last_step - 6);
    assert_int_equal(info.checkpoints[1].step, r.seen.last_step);
    run_info_free(&info);
    mem_free(dir);
}

static void adapter_to_start_from(void **state)
{
    struct train_options o = options("second");
    o.resume_adapter = mem_printf("%s/whole/checkpoints/%07d", root, ITERS);
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    struct train_options w = options("third");
    w.lora.rank = 8;
    w.resume_adapter = mem_printf("%s/whole/checkpoints/%07d", root, ITERS);
    struct outcome bad = run_with(&w, NULL, 0, 2, 0);
    assert_false(bad.ok);
    assert_non_null(strstr(bad.err.text, "--rank"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_leaves_what_it_should),
        cmocka_unit_test(journal_and_samples_have_their_shapes),
        cmocka_unit_test(sampling_and_evaluating_change_nothing),
        cmocka_unit_test(pause_save_copy_stop_from_another_thread),
        cmocka_unit_test(a_loss_that_is_not_finite_stops),
        cmocka_unit_test(refusals_leave_no_run),
        cmocka_unit_test(early_stop_and_pruning),
        cmocka_unit_test(adapter_to_start_from),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
