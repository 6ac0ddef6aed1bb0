/* Whole runs on a tiny model: stopped and resumed at any step, killed at any moment, on 1, 2 and 4
 * threads, the files of the last checkpoint are the same; journal and samples have their shapes;
 * what goes wrong leaves the last good checkpoint.
 *
 * Started with arguments, this program is the trainer that gets killed: test_train_trainer
 * train|resume ROOT NAME DATA ITERS THREADS
 */
#include "tests/unit/train/train_test.h"

#include "engine/train/checkpoint.h"
#include "engine/train/trainer.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { ITERS = 14, ROWS = 23 };

static char *root, *data;

static struct train_options options(const char *name)
{
    struct train_options o = train_options_default();
    o.model = mem_copy(FIXTURES "/models/smollm2");
    o.data = mem_copy(data);
    o.run = name ? mem_copy(name) : NULL;
    o.iters = ITERS;
    o.batch_size = 2;
    o.grad_accumulation = 2; /* 4 of 23 rows an update: passes end inside updates */
    o.learning_rate = 5e-3;
    o.lora.rank = 4;
    o.lora.dropout = 0.1f;
    o.steps_per_eval = 5;
    o.save_every = 4;
    o.sample_every = 5;
    o.samples_per_temp = 2;
    o.sample_max_tokens = 8;
    o.seed = 11;
    o.compute = GM_COMPUTE_F32;
    return o;
}

/* ---- a listener that remembers, and stops at a step ---- */

struct seen {
    struct trainer *t;
    int stop_at;
    int count[TRAIN_ENDED + 1], last_step;
    double eval_0, last_eval, last_loss;
    char end[256], warning[512];
    uint64_t allocations[ITERS + 1];
};

static void on_event(void *arg, const struct train_event *e)
{
    struct seen *s = arg;
    s->count[e->kind]++;
    if (e->kind == TRAIN_EVAL) {
        s->last_eval = e->loss;
        if (e->step == 0)
            s->eval_0 = e->loss;
    }
    if (e->kind == TRAIN_STEP) {
        s->last_loss = e->loss;
        s->last_step = e->step;
        if (e->step <= ITERS)
            s->allocations[e->step] = mem_allocations();
        if (e->step == s->stop_at && s->t)
            trainer_ask_stop(s->t);
    }
    if (e->kind == TRAIN_WARNING)
        snprintf(s->warning, sizeof s->warning, "%s", e->text);
    if (e->kind == TRAIN_ENDED)
        snprintf(s->end, sizeof s->end, "%s", e->text);
}

struct outcome {
    bool ok;
    struct gm_error err;
    struct seen seen;
};

static struct outcome run_with(struct train_options *o, const char *resume_dir, int iters,
                               int threads, int stop_at)
{
    struct outcome out = {.seen.stop_at = stop_at};
    struct pool *pool = pool_new(threads, &out.err);
    struct train_listener l = {on_event, &out.seen};
    struct trainer *t = resume_dir ? trainer_resume(resume_dir, iters, pool, &l, &out.err)
                                   : trainer_new(o, root, pool, &l, &out.err);
    out.seen.t = t;
    if (t)
        out.ok = trainer_run(t, &out.err);
    trainer_free(t);
    pool_free(pool);
    if (o)
        train_options_free(o);
    return out;
}

static char *dir_of(const char *name)
{
    return path_join(root, name);
}

static void must_finish(const struct outcome *o)
{
    if (!o->ok)
        fail_msg("%s", o->err.text);
    assert_string_equal(o->seen.end, "finished");
}

static void assert_same_checkpoint(const char *a, const char *b, int step)
{
    static const char *const FILES[] = {"adapters.safetensors", "optimizer.safetensors",
                                        "adapter_config.json"};
    for (int i = 0; i < 3; i++) {
        char *x = mem_printf("%s/%s/checkpoints/%07d/%s", root, a, step, FILES[i]),
             *y = mem_printf("%s/%s/checkpoints/%07d/%s", root, b, step, FILES[i]);
        if (!same_file(x, y))
            fail_msg("%s and %s differ", x, y);
        mem_free(x);
        mem_free(y);
    }
}

/* ---- tests ---- */

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
    struct model *m = model_open(FIXTURES "/models/smollm2", &err);
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

static void stopped_at_any_step_it_goes_on_the_same(void **state)
{
    for (int stop = 1; stop < ITERS;
         stop += 2) { /* before, at and after evaluations and checkpoints; twice in one run */
        char *name = mem_printf("stop-%d", stop), *dir = dir_of(name);
        struct train_options o = options(name);
        struct outcome r = run_with(&o, NULL, 0, 1, stop);
        assert_int_equal(r.err.code, GM_E_CANCELLED);
        assert_string_equal(r.seen.end, "stopped");
        assert_int_equal(r.seen.last_step, stop);
        if (stop + 1 < ITERS) {
            r = run_with(NULL, dir, 0, 2, stop + 1);
            assert_int_equal(r.err.code, GM_E_CANCELLED);
        }
        r = run_with(NULL, dir, 0, stop % 4 == 1 ? 4 : 1, 0);
        must_finish(&r);
        assert_same_checkpoint("whole", name, ITERS);
        if (stop < 4)
            assert_same_checkpoint("whole", name, 8);
        mem_free(name);
        mem_free(dir);
    }
}

static void threads_change_nothing(void **state)
{
    for (int threads = 1; threads <= 4; threads += 3) {
        char *name = mem_printf("threads-%d", threads);
        struct train_options o = options(name);
        struct outcome r = run_with(&o, NULL, 0, threads, 0);
        must_finish(&r);
        assert_same_checkpoint("whole", name, ITERS);
        mem_free(name);
    }
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

/* ---- killed ---- */

extern char **environ;

static pid_t start(const char *self, const char *what, const char *name, int iters, int threads)
{
    char n[16], k[16];
    pid_t pid;
    snprintf(n, sizeof n, "%d", iters);
    snprintf(k, sizeof k, "%d", threads);
    char *argv[] = {(char *)self, (char *)what, root, (char *)name, data, n, k, NULL};
    assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
    return pid;
}

static int child(char **argv)
{
    struct gm_error err = {0};
    root = argv[2];
    data = argv[4];
    struct pool *pool = pool_new(atoi(argv[6]), &err);
    struct train_options o = options(argv[3]);
    o.iters = atoi(argv[5]);
    char *dir = path_join(root, argv[3]);
    struct trainer *t = strcmp(argv[1], "resume") == 0 ? trainer_resume(dir, 0, pool, NULL, &err)
                                                       : trainer_new(&o, root, pool, NULL, &err);
    bool ok = t && trainer_run(t, &err);
    if (!ok)
        fprintf(stderr, "child: %s\n", err.text);
    trainer_free(t);
    train_options_free(&o);
    mem_free(dir);
    pool_free(pool);
    return ok ? 0 : 1;
}

/* True: it ended by itself within the time. */
static bool wait_or_kill(pid_t pid, double seconds)
{
    int status;
    for (double until = clock_seconds() + seconds; clock_seconds() < until;) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("the trainer ended with status %d", status);
            return true;
        }
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return false;
}

/* Its last checkpoint is whole: the process was killed on its way out. */
static bool has_ended(const char *dir, int last)
{
    struct checkpoint_state s;
    char *path = checkpoint_path(dir, last);
    bool ended = dir_exists(path) && checkpoint_read_state(path, &s, NULL, NULL) && strcmp(s.why, "end") == 0;
    if (ended)
        checkpoint_sweep(dir);
    mem_free(path);
    return ended;
}

static void killed_at_any_moment_it_goes_on_the_same(void **state)
{
    enum { LONG = 60, ROUNDS = 6 };
    struct train_options o = options("long");
    o.iters = LONG;
    double began = clock_seconds();
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    double whole = clock_seconds() - began;
    must_finish(&r);
    struct rng moments = rng_stream((uint64_t)getpid(), "moments", 0);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    int kills = 0;
    for (int k = 0; k < ROUNDS; k++) {
        char *name = mem_printf("killed-%d", k), *dir = dir_of(name),
             *run_json = path_join(dir, "run.json");
        bool done = false;
        for (int tries = 0; !done && tries < 40; tries++) {
            bool begun = file_exists(run_json);
            if (!begun)
                dir_remove(dir, NULL); /* killed before there was a run */
            done = wait_or_kill(start(self, begun ? "resume" : "train", name, LONG, 1 + k % 3),
                                tries < 6 ? rng_uniform(&moments) * whole : 120);
            kills += !done;
            done = done || has_ended(dir, LONG);
        }
        assert_true(done);
        assert_same_checkpoint("long", name, LONG);
        char **names; /* nothing half stays behind */
        size_t count;
        char *checkpoints = path_join(dir, "checkpoints");
        assert_true(dir_list(checkpoints, &names, &count, NULL));
        for (size_t i = 0; i < count; i++) {
            assert_true(names[i][0] != '.');
            mem_free(names[i]);
        }
        mem_free(names);
        mem_free(checkpoints);
        mem_free(name);
        mem_free(dir);
        mem_free(run_json);
    }
    print_message("%d kills in %d runs\n", kills, ROUNDS);
    assert_true(kills > 0);
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
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&w->mutex);
    while (*value < at_least)
        if (pthread_cond_timedwait(&w->wake, &w->mutex, &until) != 0)
            fail_msg("waited in vain");
    pthread_mutex_unlock(&w->mutex);
}

static void pause_save_copy_stop_from_another_thread(void **state)
{
    struct watch w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
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

/* ---- what goes wrong ---- */

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

static void changed_or_damaged_things_are_named(void **state)
{
    struct train_options o = options("changed");
    char *folder = new_folder(), *text = many_rows(9),
         *path = put_file(folder, "train.jsonl", text), *dir = dir_of("changed");
    mem_free(o.data);
    o.data = mem_copy(path);
    struct outcome r = run_with(&o, NULL, 0, 1, 9);
    assert_int_equal(r.err.code, GM_E_CANCELLED);
    mem_free(put_file(folder, "train.jsonl",
                      "{\"text\": \"something else\"}\n{\"text\": \"and more\"}\n"));
    r = run_with(NULL, dir, 0, 1, 0);
    assert_false(r.ok);
    assert_non_null(strstr(r.err.text, "data"));
    assert_non_null(strstr(r.err.text, "has changed"));
    mem_free(put_file(folder, "train.jsonl", text));

    char *newest = mem_printf("%s/checkpoints/%07d/adapters.safetensors", dir,
                              9); /* the one before is used, and the damage told */
    struct str bytes = read_whole(newest);
    assert_true(file_replace(newest, bytes.data, bytes.len / 2, NULL));
    r = run_with(NULL, dir, 0, 1, 0);
    must_finish(&r);
    assert_non_null(strstr(r.seen.warning, "checkpoint 9 cannot be used"));
    str_free(&bytes);
    mem_free(newest);
    mem_free(text);
    mem_free(path);
    mem_free(dir);
    remove_folder(folder);
}

static void full_disk_ends_the_run_and_keeps_it(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    struct train_options o = options("full");
    struct outcome r = run_with(&o, NULL, 0, 1, 5);
    assert_int_equal(r.err.code, GM_E_CANCELLED);
    char *dir = dir_of("full");
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 30000; /* the journal still fits, a checkpoint does not */
    setrlimit(RLIMIT_FSIZE, &small);
    r = run_with(NULL, dir, 0, 1, 0);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(r.ok);
    assert_int_equal(r.err.code, GM_E_IO);
    assert_non_null(strstr(r.err.text, "save checkpoint"));
    r = run_with(NULL, dir, 0, 1, 0);
    must_finish(&r);
    assert_same_checkpoint("whole", "full", ITERS);
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

static void full_fine_tuning_resumes_and_opens_as_a_model(void **state)
{
    for (int random = 0; random < 2; random++) {
        const char *whole = random ? "random-whole" : "full-whole",
                   *parts = random ? "random-parts" : "full-parts";
        for (int k = 0; k < 2; k++) {
            struct train_options o = options(k ? parts : whole);
            o.tune = TUNE_FULL;
            o.init_random = random;
            o.learning_rate = 1e-3;
            struct outcome r = run_with(&o, NULL, 0, 1 + k, k ? 6 : 0);
            if (k) {
                char *dir = dir_of(parts);
                assert_int_equal(r.err.code, GM_E_CANCELLED);
                r = run_with(NULL, dir, 0, 1, 0);
                mem_free(dir);
            }
            must_finish(&r);
            assert_true(r.seen.last_eval < r.seen.eval_0 || k);
        }
        char *a = mem_printf("%s/%s/checkpoints/%07d/model.safetensors", root, whole, ITERS),
             *b = mem_printf("%s/%s/checkpoints/%07d/model.safetensors", root, parts, ITERS);
        assert_true(same_file(a, b));
        char *dir = mem_printf("%s/%s/checkpoints/%07d", root, whole, ITERS);
        struct gm_error err = {0};
        struct model *m = model_open(dir, &err);
        if (!m)
            fail_msg("%s", err.text);
        struct tokenizer *t = tokenizer_open(m->source, &err);
        assert_non_null(t);
        tokenizer_free(t);
        model_free(m);
        mem_free(a);
        mem_free(b);
        mem_free(dir);
    }
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

/* The magnitudes are trained, saved and found again; a run says which kind of adapter it has. */
static void dora_goes_on_the_same(void **state)
{
    struct gm_error err = {0};
    struct train_options o = options("dora");
    train_options_tune(&o, TUNE_DORA);
    struct outcome r = run_with(&o, NULL, 0, 1, 0);
    must_finish(&r);
    o = options("dora-stop");
    train_options_tune(&o, TUNE_DORA);
    r = run_with(&o, NULL, 0, 4, 3);
    assert_int_equal(r.err.code, GM_E_CANCELLED);
    char *dir = dir_of("dora-stop"), *whole = mem_printf("%s/dora/checkpoints/%07d", root, ITERS);
    r = run_with(NULL, dir, 0, 2, 0);
    must_finish(&r);
    assert_same_checkpoint("dora", "dora-stop", ITERS);

    struct model *m = model_open(FIXTURES "/models/smollm2", &err);
    struct pool *pool = pool_new(2, &err);
    struct compute c;
    assert_true(m && compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_F32, FAMILY_AUTO, &err));
    struct lora *l = lora_load(whole, &m->config, &err);
    assert_true(l && l->options.dora);
    lora_bind(l, m, &c);
    size_t moved = 0;
    for (size_t i = 0; i < l->dora.n_rows; i++)
        moved += l->set.w[l->set.count - l->dora.n_rows + i] != sqrtf(l->dora.length2[i]);
    assert_true(moved > l->dora.n_rows / 2);
    lora_free(l);
    compute_free(&c);
    pool_free(pool);
    model_free(m);

    o = options("dora-further"); /* weights only, a fresh optimiser */
    train_options_tune(&o, TUNE_DORA);
    o.resume_adapter = mem_copy(whole);
    r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    o = options("not-dora");
    o.resume_adapter = mem_copy(whole);
    r = run_with(&o, NULL, 0, 2, 0);
    assert_false(r.ok);
    assert_non_null(strstr(r.err.text, "--fine-tune-type dora"));
    mem_free(dir);
    mem_free(whole);
}

static void a_new_goal_goes_on(void **state)
{
    char *dir = dir_of("threads-1");
    struct outcome r = run_with(NULL, dir, ITERS + 6, 2, 0);
    must_finish(&r);
    assert_int_equal(r.seen.last_step, ITERS + 6);
    struct run_info info;
    assert_true(run_info_open(&info, dir, NULL));
    assert_int_equal(info.iters, ITERS + 6);
    run_info_free(&info);
    mem_free(dir);
}

static int setup(void **state)
{
    root = new_folder();
    data = path_join(root, "data");
    char *text = many_rows(ROWS + 6), *cut = text;
    for (int i = 0; i < ROWS; i++)
        cut = strchr(cut, '\n') + 1;
    char *valid = mem_copy(cut);
    *cut = 0;
    assert_true(dir_make(data, NULL));
    mem_free(put_file(data, "train.jsonl", text));
    mem_free(put_file(data, "valid.jsonl", valid));
    mem_free(valid);
    mem_free(text);
    return 0;
}

static int teardown(void **state)
{
    mem_free(data);
    remove_folder(root);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7)
        return child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_leaves_what_it_should),
        cmocka_unit_test(journal_and_samples_have_their_shapes),
        cmocka_unit_test(stopped_at_any_step_it_goes_on_the_same),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(sampling_and_evaluating_change_nothing),
        cmocka_unit_test(killed_at_any_moment_it_goes_on_the_same),
        cmocka_unit_test(pause_save_copy_stop_from_another_thread),
        cmocka_unit_test(a_loss_that_is_not_finite_stops),
        cmocka_unit_test(changed_or_damaged_things_are_named),
        cmocka_unit_test(full_disk_ends_the_run_and_keeps_it),
        cmocka_unit_test(refusals_leave_no_run),
        cmocka_unit_test(early_stop_and_pruning),
        cmocka_unit_test(full_fine_tuning_resumes_and_opens_as_a_model),
        cmocka_unit_test(adapter_to_start_from),
        cmocka_unit_test(dora_goes_on_the_same),
        cmocka_unit_test(a_new_goal_goes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
