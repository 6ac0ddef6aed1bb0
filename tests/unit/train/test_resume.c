/* Runs that did not come to their end: stopped and resumed at any step, killed at any moment, on 1, 2 and 4 threads, the files of the last checkpoint
 * are those of a run that was never disturbed; what has changed meanwhile is named.
 *
 * Started with arguments, this program is the trainer that gets killed: test_train_resume
 * train|resume ROOT NAME DATA ITERS THREADS
 */
#include "tests/unit/train/trainer_test.h"

#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

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

/* ---- what may have changed meanwhile ---- */

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

    struct model *m = fixture_model();
    struct pool *pool = pool_new(2, &err);
    struct compute c;
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_F32, FAMILY_AUTO, &err));
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

/* What decides about the bits is in run.json, and a resume computes with that: not with what is the default, or the fastest now. */
static void what_decides_is_pinned(void **state)
{
    struct train_options o = options("pinned");
    o.compute = GM_COMPUTE_BF16;
    o.kernel = FAMILY_PLAIN;
    o.head_skip = true;
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    o = options("pinned-stop");
    o.compute = GM_COMPUTE_BF16;
    o.kernel = FAMILY_PLAIN;
    o.head_skip = true;
    r = run_with(&o, NULL, 0, 1, 6);
    assert_int_equal(r.err.code, GM_E_CANCELLED);
    char *dir = dir_of("pinned-stop");
    struct run_info info;
    assert_true(run_info_open(&info, dir, &r.err));
    const json_t *told = json_object_get(info.json, "options");
    assert_true(json_is_true(json_object_get(told, "head_skip")));
    assert_string_equal(json_string_value(json_object_get(told, "kernel")), "plain");
    assert_string_equal(json_string_value(json_object_get(told, "compute")), "bf16");
    run_info_free(&info);

    struct pool *pool = pool_new(2, NULL);
    struct trainer *t = trainer_resume(dir, 0, pool, NULL, &r.err);
    if (!t)
        fail_msg("%s", r.err.text);
    const struct compute *c = trainer_compute(t);
    assert_true(c->head_skip && c->family == FAMILY_PLAIN && c->mode == GM_COMPUTE_BF16);
    assert_true(trainer_run(t, &r.err));
    trainer_free(t);
    pool_free(pool);
    assert_same_checkpoint("pinned", "pinned-stop", ITERS);
    mem_free(dir);
}

/* A family that this processor lacks is refused; who asks for another one gets it, and is told that the bits are others. */
static void a_kernel_that_is_not_here(void **state)
{
    struct gm_error err = {0};
    struct train_options o = options("elsewhere");
    struct outcome r = run_with(&o, NULL, 0, 1, 5);
    assert_int_equal(r.err.code, GM_E_CANCELLED);
    enum family lacking = FAMILY_AUTO + 1;
    while (lacking < FAMILY_COUNT && family_runs_here(lacking))
        lacking++;
    assert_true(lacking < FAMILY_COUNT); /* no processor has those of x86 and of Arm */
    char *dir = dir_of("elsewhere"), *path = path_join(dir, "run.json");
    json_t *j = json_load_file_checked(path, 1 << 20, &err);
    json_object_set_new(json_object_get(j, "options"), "kernel", json_string(family_name(lacking)));
    assert_true(json_write_in(dir, "run.json", j, &err));

    r = run_with(NULL, dir, 0, 1, 0);
    assert_false(r.ok);
    assert_int_equal(r.err.code, GM_E_UNSUPPORTED);
    assert_non_null(strstr(r.err.text, family_name(lacking)));
    assert_non_null(strstr(r.err.text, "--kernel auto"));

    struct pool *pool = pool_new(1, NULL);
    struct seen seen = {0};
    const struct train_listener l = {on_event, &seen};
    const struct resume_options how = {.new_kernel = true, .kernel = FAMILY_PLAIN};
    struct trainer *t = trainer_resume_with(dir, &how, pool, &l, &err);
    if (!t)
        fail_msg("%s", err.text);
    assert_true(trainer_run(t, &err));
    trainer_free(t);
    pool_free(pool);
    assert_non_null(strstr(seen.warning, "not bit for bit"));
    struct run_info info;
    assert_true(run_info_open(&info, dir, &err));
    assert_string_equal(json_string_value(json_object_get(json_object_get(info.json, "options"), "kernel")), "plain");
    run_info_free(&info);
    mem_free(path);
    mem_free(dir);
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

static int setup_whole(void **state)
{
    setup(state);
    struct train_options o = options("whole");
    struct outcome r = run_with(&o, NULL, 0, 2, 0);
    must_finish(&r);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7)
        return child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_at_any_step_it_goes_on_the_same),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(killed_at_any_moment_it_goes_on_the_same),
        cmocka_unit_test(changed_or_damaged_things_are_named),
        cmocka_unit_test(full_disk_ends_the_run_and_keeps_it),
        cmocka_unit_test(full_fine_tuning_resumes_and_opens_as_a_model),
        cmocka_unit_test(dora_goes_on_the_same),
        cmocka_unit_test(what_decides_is_pinned),
        cmocka_unit_test(a_kernel_that_is_not_here),
        cmocka_unit_test(a_new_goal_goes_on),
    };
    return cmocka_run_group_tests(tests, setup_whole, teardown);
}
