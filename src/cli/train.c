/* train.c - `gemmaiku train` and `gemmaiku resume`: a run without a screen. */
#include "src/cli/train.h"

#include "src/cli/adapter_copy.h"
#include "src/cli/progress.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/train/trainer.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>

bool train_test(const struct train_args *a, const struct general *g, const char *model, const char *adapter, struct evaluation *e,
                struct gm_error *err)
{
    struct session s;
    struct session_options o = {.model = model, .adapter = adapter, .chat_template = a->o.chat_template,
                                .chat_template_config = a->o.chat_template_config, .needs_weights = true};
    if (!session_open(&s, &o, g, err))
        return false;
    struct gm_error none = {0}; /* text rows need no template */
    if (!s.tpl)
        session_template(&s, &o, &none);
    struct dataset_options options = {.max_seq_length = a->o.max_seq_length, .mask_prompt = a->o.mask_prompt, .system = a->o.system, .seed = a->o.seed,
                                      .pool = s.pool};
    struct dataset *d = dataset_open(a->o.data, &options, s.tokenizer, s.tpl, err);
    bool ok = d && dataset_check_ids(d, s.model->config.vocab_size, err);
    if (ok && d->count[SPLIT_TEST] == 0)
        ok = error_set(err, GM_E_INPUT, "test on %s: it has no test rows (add test.jsonl to the folder)", a->o.data);
    ok = ok && evaluate_batches(&s, d, SPLIT_TEST, a->o.batch_size, a->test_batches, NULL, e, err);
    dataset_free(d);
    session_close(&s);
    return ok;
}

void train_test_print(const struct evaluation *e)
{
    printf("Test loss %.3f, Test ppl %.3f.\n", e->loss, exp(e->loss));
}

static void note_plan(const struct trainer *t, const struct general *g)
{
    char line[FORECAST_LINE];
    cli_note(g, "plan: %s", forecast_line(trainer_forecast(t), line));
}

/* What a run leaves behind for its caller. */
struct ending {
    int status;
    char *dir;
    json_t *told;
};

/* Runs a trainer to its end and tells how it went; frees it. */
static struct ending run_trainer(struct trainer *t, struct progress *p, const struct general *g)
{
    struct gm_error err = {0};
    double began = clock_seconds();
    note_plan(t, g);
    bool ok = progress_run(p, t, &err);
    struct ending e = {.dir = mem_copy(trainer_run_dir(t)), .told = json_object()};
    json_object_set_new(e.told, "run", json_text(e.dir));
    json_object_set_new(e.told, "step", json_integer(p->last_step));
    json_object_set_new(e.told, "loss", json_number(p->last_loss));
    json_object_set_new(e.told, "val_loss", json_number(p->last_val_loss));
    json_object_set_new(e.told, "best_val_loss", json_number(p->best_val_loss));
    json_object_set_new(e.told, "seconds", json_real(clock_seconds() - began));
    json_object_set_new(e.told, "reason", json_string(p->reason));
    json_object_set_new(e.told, "peak_memory_bytes", json_integer((json_int_t)mem_rss_peak_bytes()));
    if (ok && !g->json)
        cli_note(g, "run %s: %s at step %d, %.1f s", e.dir, p->reason, p->last_step, clock_seconds() - began);
    int stopped = signals_caught();
    if (!ok && err.code == GM_E_CANCELLED && stopped) {
        cli_note(g, "stopped and saved; go on with: gemmaiku resume %s", e.dir);
        e.status = signals_exit(stopped);
    } else if (!ok) {
        e.status = cli_fail(&err);
    }
    trainer_free(t);
    return e;
}

static int end(struct ending *e, const struct general *g)
{
    if (g->json)
        cli_print_json(e->told);
    else
        json_decref(e->told);
    mem_free(e->dir);
    return cli_end(e->status);
}

/* mlx-lm's two wishes for the time after: the adapter in a folder of its own, also of a run that was stopped, and the test. */
static void after_training(const struct train_args *a, const struct general *g, struct ending *e)
{
    struct gm_error err = {0};
    bool ok = true;
    if (a->adapter_path && *a->adapter_path && e->status != EXIT_FAILED && (ok = adapter_copy(e->dir, a->adapter_path, &err))) {
        json_object_set_new(e->told, "adapter_path", json_text(a->adapter_path));
        cli_note(g, "adapter in %s", a->adapter_path);
    }
    if (ok && a->test && e->status == EXIT_DONE) {
        struct evaluation test = {0};
        char *last = mem_printf("%s:last", e->dir);
        ok = train_test(a, g, NULL, last, &test, &err);
        mem_free(last);
        if (ok) {
            json_object_set_new(e->told, "test_loss", json_number(test.loss));
            json_object_set_new(e->told, "test_perplexity", json_number(exp(test.loss)));
            if (!g->json)
                train_test_print(&test);
        }
    }
    if (!ok)
        e->status = cli_fail(&err);
}

int train_run(struct train_args *a, const struct general *g)
{
    struct gm_error err = {0};
    if (a->on_hangup == 1)
        signal(SIGHUP, SIG_IGN);
    signals_install();
    struct progress p;
    progress_init(&p, g);
    struct train_listener listener = {progress_event, &p};
    struct pool *pool = pool_new(g->threads, &err);
    struct trainer *t = pool ? trainer_new(&a->o, cli_runs_root(), pool, &listener, &err) : NULL;
    if (!t) {
        pool_free(pool);
        return cli_fail(&err);
    }
    struct ending e = run_trainer(t, &p, g);
    pool_free(pool);
    after_training(a, g, &e);
    return end(&e, g);
}

int command_train(int argc, char **argv)
{
    struct general g = {0};
    struct train_args a;
    struct gm_error err = {0};
    struct arg table[TRAIN_ARG_ROWS] = {{0}};
    int status;
    train_args_init(&a);
    train_args_table(&a, table);
    struct arg_spec spec = {.command = "train", .positional = "", .table = table, .mlx_lm = true,
                            .summary = "A training run without a screen. SIGINT, SIGTERM and a hang-up save and stop; `resume` goes on."};
    if (!train_args_layers(&a, &spec, NULL, argc, argv, &g, &err))
        status = cli_fail(&err);
    else if (cli_begin(&spec, argc, argv, &g, &status))
        status = train_args_finish(&a, &g, &err) ? train_run(&a, &g) : cli_fail(&err);
    train_args_free(&a);
    return status;
}

int command_resume(int argc, char **argv)
{
    struct general g = {0};
    int iters = 0, status;
    const struct arg table[] = {{"--iters", ARG_INT, &iters, "N", "a new goal", 1, 1e9, NULL, NULL}, {0}};
    struct arg_spec spec = {.command = "resume", .positional = "RUN", .table = table, .min_words = 1, .max_words = 1,
                            .summary = "Goes on where the last checkpoint of a run stands, with the same bits as if it had never stopped."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    signals_install();
    struct gm_error err = {0};
    struct progress p;
    progress_init(&p, &g);
    struct train_listener listener = {progress_event, &p};
    struct pool *pool = pool_new(g.threads, &err);
    char *dir = pool ? run_resolve(cli_runs_root(), spec.words[0], &err) : NULL;
    struct resume_options how = {.iters = iters, .new_kernel = g.kernel_given, .kernel = general_family(&g)};
    struct trainer *t = dir ? trainer_resume_with(dir, &how, pool, &listener, &err) : NULL;
    if (t) {
        struct ending e = run_trainer(t, &p, &g);
        status = end(&e, &g);
    } else {
        status = cli_fail(&err);
    }
    pool_free(pool);
    mem_free(dir);
    return status;
}
