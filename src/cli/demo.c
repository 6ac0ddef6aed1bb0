/* demo.c - `gemmaiku demo`: the built-in model learns the built-in haiku. With a terminal in the workbench; without, to the end, and then the report: what the base could do
 * and what the tuned model can, honestly. */
#include "src/cli/evaluate.h"
#include "src/cli/progress.h"
#include "src/cli/train_args.h"
#include "src/workbench/workbench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ANSWERS = 160 };

static bool train(const struct train_options *options, const struct general *g, char **run_dir, struct gm_error *err)
{
    struct progress p;
    progress_init(&p, g);
    struct train_listener listener = {progress_event, &p};
    struct pool *pool = pool_new(g->threads, err);
    struct trainer *t = pool ? trainer_new(options, cli_runs_root(), pool, &listener, err) : NULL;
    bool ok = false;
    if (t) {
        ok = progress_run(&p, t, err);
        *run_dir = mem_copy(trainer_run_dir(t));
        trainer_free(t);
    }
    pool_free(pool);
    return ok;
}

static bool evaluate(const char *adapter, const struct train_options *options, const struct general *g, atomic_bool *cancel, struct evaluation *e,
                     struct gm_error *err)
{
    struct session s;
    struct session_options o = {.model = options->model, .adapter = adapter, .chat_template = options->chat_template,
                                .chat_template_config = options->chat_template_config, .needs_template = true,
                                .needs_weights = true};
    if (!session_open(&s, &o, g, err))
        return false;
    struct dataset_options d = {.max_seq_length = options->max_seq_length, .mask_prompt = options->mask_prompt, .seed = options->seed};
    struct dataset *data = dataset_open(options->data, &d, s.tokenizer, s.tpl, err);
    struct sampling sampling = sampling_default();
    sampling.max_tokens = 64;
    sampling.seed = options->seed;
    bool ok = data && evaluate_loss(&s, data, SPLIT_VALID, cancel, e, err)
              && evaluate_answers(&s, data, 1u << SPLIT_VALID | 1u << SPLIT_TEST, options->system, &sampling, ANSWERS, cancel, e, err);
    dataset_free(data);
    session_close(&s);
    return ok;
}

static void print_row(const char *name, const struct evaluation *e)
{
    double low, high;
    rate_interval(e->strict, e->n, &low, &high);
    printf("%-6s %9.4f %11.1f %% %8.1f %% (%.1f..%.1f)\n", name, e->loss, 100.0 * e->three_lines / e->n, 100.0 * e->strict / e->n, 100 * low, 100 * high);
}

static void report(const char *run, double seconds, const struct evaluation *base, const struct evaluation *tuned, const struct general *g)
{
    if (g->json) {
        json_t *o = json_object();
        json_object_set_new(o, "run", json_text(run));
        json_object_set_new(o, "seconds", json_real(seconds));
        json_object_set_new(o, "base", evaluation_json(base));
        json_object_set_new(o, "tuned", evaluation_json(tuned));
        cli_print_json(o);
        return;
    }
    cli_print_clean(run, strlen(run));
    printf(": trained in %.0f s\n\n%-6s %9s %13s %10s\n", seconds, "", "val loss", "three lines", "5-7-5");
    print_row("base", base);
    print_row("tuned", tuned);
    printf("\nTuned is the last checkpoint. %d answers each at temperature 0.7, to prompts that were not trained on; intervals are 95 %%.\n", tuned->n);
    printf("Go on: gemmaiku RUN    gemmaiku chat RUN    gemmaiku export RUN --to peft --out FOLDER    with RUN = ");
    cli_print_clean(path_base(run), strlen(path_base(run)));
    putchar('\n');
}

int command_demo(int argc, char **argv)
{
    struct general g = {0};
    struct train_args a;
    struct gm_error err = {0};
    struct arg all[TRAIN_ARG_ROWS] = {{0}}, table[4] = {{0}};
    int status, n = 0;
    train_args_init(&a);
    train_args_demo(&a);
    train_args_table(&a, all);
    for (int i = 0; all[i].kind != ARG_NONE; i++)
        if (strcmp(all[i].name, "--iters") == 0 || strcmp(all[i].name, "--run") == 0)
            table[n++] = all[i];
    for (int i = 0; i < n; i++)
        if (strcmp(table[i].name, "--run") == 0)
            table[i].help = "name of the run; default demo-NNN";
    struct arg_spec spec = {.command = "demo", .positional = "", .table = table,
                            .summary = "The built-in model learns the built-in haiku: in the workbench, or without a terminal to the end, with a report."};
    if (!cli_begin(&spec, argc, argv, &g, &status)) {
        train_options_free(&a.o);
        return status;
    }
    bool ok = train_args_finish(&a, &g, &err);
    if (ok && workbench_possible(&g)) {
        status = workbench_train(&a.o, &g);
        train_options_free(&a.o);
        return status;
    }
    char *run_dir = NULL;
    struct evaluation base = {0}, tuned = {0};
    double began = clock_seconds(), seconds = 0;
    signals_install();
    if (ok) {
        ok = train(&a.o, &g, &run_dir, &err);
        seconds = clock_seconds() - began;
    }
    atomic_bool cancel = false;
    signals_on_interrupt(&cancel);
    char *last = run_dir ? mem_printf("%s:last", run_dir) : NULL;
    ok = ok && evaluate(NULL, &a.o, &g, &cancel, &base, &err) && evaluate(last, &a.o, &g, &cancel, &tuned, &err);
    mem_free(last);
    signals_on_interrupt(NULL);
    if (ok)
        report(run_dir, seconds, &base, &tuned, &g);
    if (!ok && err.code == GM_E_CANCELLED && signals_caught()) {
        cli_note(&g, "stopped and saved; go on with: gemmaiku resume %s", run_dir ? run_dir : "");
        status = signals_exit(signals_caught());
    } else {
        status = ok ? EXIT_DONE : cli_fail(&err);
    }
    mem_free(run_dir);
    train_options_free(&a.o);
    return cli_end(status);
}
