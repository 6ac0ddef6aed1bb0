/* train.c - `gemmaiku train` and `gemmaiku resume`: a run without a screen. */
#include "src/cli/cli.h"
#include "src/cli/progress.h"
#include "src/cli/train_args.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/train/trainer.h"

#include <signal.h>

/* Runs a trainer to its end and tells how it went; frees it. */
static int run_trainer(struct trainer *t, struct progress *p, const struct general *g)
{
    struct gm_error err = {0};
    double began = clock_seconds();
    bool ok = progress_run(p, t, &err);
    if (g->json) {
        json_t *o = json_object();
        json_object_set_new(o, "run", json_text(trainer_run_dir(t)));
        json_object_set_new(o, "step", json_integer(p->last_step));
        json_object_set_new(o, "loss", json_number(p->last_loss));
        json_object_set_new(o, "val_loss", json_number(p->last_val_loss));
        json_object_set_new(o, "best_val_loss", json_number(p->best_val_loss));
        json_object_set_new(o, "seconds", json_real(clock_seconds() - began));
        json_object_set_new(o, "reason", json_string(p->reason));
        cli_print_json(o);
    } else if (ok) {
        cli_note(g, "run %s: %s at step %d, %.1f s", trainer_run_dir(t), p->reason, p->last_step, clock_seconds() - began);
    }
    int status = EXIT_DONE, stopped = signals_caught();
    if (!ok && err.code == GM_E_CANCELLED && stopped) {
        cli_note(g, "stopped and saved; go on with: gemmaiku resume %s", trainer_run_dir(t));
        status = signals_exit(stopped);
    } else if (!ok) {
        status = cli_fail(&err);
    }
    trainer_free(t);
    return cli_end(status);
}

int command_train(int argc, char **argv)
{
    struct general g = {0};
    struct train_args a;
    struct gm_error err = {0};
    struct arg table[TRAIN_ARG_ROWS] = {{0}};
    int status;
    if (!train_args_init(&a, argc, argv, &err))
        return cli_fail(&err);
    train_args_table(&a, table);
    struct arg_spec spec = {.command = "train", .positional = "", .table = table,
                            .summary = "A training run without a screen. SIGINT, SIGTERM and a hang-up save and stop; `resume` goes on."};
    if (!cli_begin(&spec, argc, argv, &g, &status)) {
        train_options_free(&a.o);
        return status;
    }
    if (a.on_hangup == 1)
        signal(SIGHUP, SIG_IGN);
    signals_install();
    struct progress p;
    progress_init(&p, &g);
    struct train_listener listener = {progress_event, &p};
    struct pool *pool = NULL;
    struct trainer *t = NULL;
    if (train_args_finish(&a, &g, &err) && (pool = pool_new(g.threads, &err)))
        t = trainer_new(&a.o, cli_runs_root(), pool, &listener, &err);
    status = t ? run_trainer(t, &p, &g) : cli_fail(&err);
    pool_free(pool);
    train_options_free(&a.o);
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
    status = t ? run_trainer(t, &p, &g) : cli_fail(&err);
    pool_free(pool);
    mem_free(dir);
    return status;
}
