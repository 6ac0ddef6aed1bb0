/* runs.c - `gemmaiku runs list|show`. */
#include "src/cli/cli.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/train/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *run_json(const struct run_info *r)
{
    json_t *o = json_object(), *list = json_array();
    json_object_set_new(o, "run", json_text(r->name));
    json_object_set_new(o, "path", json_text(r->dir));
    json_object_set_new(o, "state", json_string(r->state));
    json_object_set_new(o, "step", json_integer(r->last_step));
    json_object_set_new(o, "iters", json_integer(r->iters));
    json_object_set_new(o, "val_loss", json_number(r->last_val_loss));
    for (int i = 0; i < r->n_checkpoints; i++) {
        const struct checkpoint_info *c = &r->checkpoints[i];
        json_t *k = json_object();
        json_object_set_new(k, "step", json_integer(c->step));
        json_object_set_new(k, "path", json_text(c->path));
        json_object_set_new(k, "loss", json_number(c->val_loss));
        json_object_set_new(k, "form_rate", json_number(c->form_rate));
        json_object_set_new(k, "form_n", json_integer(c->form_n));
        json_object_set_new(k, "best", c->best_loss && c->best_form ? json_string("both")
                                       : c->best_loss               ? json_string("loss")
                                       : c->best_form               ? json_string("form")
                                                                    : json_null());
        json_object_set_new(k, "bytes", json_integer((json_int_t)c->bytes));
        json_array_append_new(list, k);
    }
    json_object_set_new(o, "checkpoints", list);
    return o;
}

static void print_number(double x, int width, int decimals)
{
    if (isfinite(x))
        printf("%*.*f", width, decimals, x);
    else
        printf("%*s", width, "-");
}

static void print_list(const struct run_info *runs, int n)
{
    if (n == 0)
        printf("no runs in %s\n", cli_runs_root());
    else
        printf("%-28s %-9s %12s %9s %6s\n", "run", "state", "step", "val loss", "saved");
    for (int i = 0; i < n; i++) {
        char steps[32];
        snprintf(steps, sizeof steps, "%d/%d", runs[i].last_step, runs[i].iters);
        cli_print_clean(runs[i].name, strlen(runs[i].name));
        for (size_t k = strlen(runs[i].name); k < 28; k++)
            putchar(' ');
        printf(" %-9s %12s ", runs[i].state, steps);
        print_number(runs[i].last_val_loss, 9, 4);
        printf(" %6d\n", runs[i].n_checkpoints);
    }
}

static void print_run(const struct run_info *r)
{
    printf("run    ");
    cli_print_clean(r->dir, strlen(r->dir));
    printf("\nstate  %s, step %d of %d\n", r->state, r->last_step, r->iters);
    if (r->n_checkpoints)
        printf("\n%8s %9s %9s %5s %10s  %s\n", "step", "val loss", "5-7-5", "n", "bytes", "best");
    for (int i = 0; i < r->n_checkpoints; i++) {
        const struct checkpoint_info *c = &r->checkpoints[i];
        printf("%8d ", c->step);
        print_number(c->val_loss, 9, 4);
        putchar(' ');
        print_number(c->form_rate, 9, 3);
        printf(" %5d %10llu  %s\n", c->form_n, (unsigned long long)c->bytes,
               c->best_loss && c->best_form ? "loss, form" : c->best_loss ? "loss" : c->best_form ? "form" : "");
    }
    char *options = json_dumps(json_object_get(r->json, "options"), JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    if (options) {
        printf("\noptions ");
        cli_print_clean(options, strlen(options));
        putchar('\n');
    }
    free(options);
}

int command_runs(int argc, char **argv)
{
    struct general g = {0};
    int status;
    const struct arg table[] = {{0}};
    struct arg_spec spec = {.command = "runs", .positional = "list | show RUN", .table = table, .min_words = 1, .max_words = 2,
                            .summary = "The runs under ./runs (GEMMAIKU_RUNS overrides), newest first, or one of them with its checkpoints."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    bool list = strcmp(spec.words[0], "list") == 0, show = strcmp(spec.words[0], "show") == 0;
    if ((!list && !show) || (list && spec.n_words != 1) || (show && spec.n_words != 2)) {
        error_set(&err, GM_E_USAGE, "read command line: runs takes list, or show RUN (gemmaiku runs --help)");
        return cli_fail(&err);
    }
    if (list) {
        struct run_info *runs;
        int n;
        if (!run_list(cli_runs_root(), &runs, &n, &err))
            return cli_fail(&err);
        if (g.json)
            for (int i = 0; i < n; i++)
                cli_print_json(run_json(&runs[i]));
        else
            print_list(runs, n);
        for (int i = 0; i < n; i++)
            run_info_free(&runs[i]);
        mem_free(runs);
    } else {
        struct run_info r;
        char *dir = run_resolve(cli_runs_root(), spec.words[1], &err);
        bool ok = dir && run_info_open(&r, dir, &err);
        mem_free(dir);
        if (!ok)
            return cli_fail(&err);
        if (g.json)
            cli_print_json(run_json(&r));
        else
            print_run(&r);
        run_info_free(&r);
    }
    return cli_end(EXIT_DONE);
}
