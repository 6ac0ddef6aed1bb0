/* lora.c - `gemmaiku lora`: mlx-lm's command line, with what its words mean there: its defaults, iterations that are micro-batches, a scale that is
 * a plain factor, loss on every token unless --mask-prompt. The run stands under runs/ as always; the adapter is copied to --adapter-path. */
#include "src/cli/train.h"

#include "engine/base/file.h"
#include "engine/format/json.h"

#include <math.h>
#include <string.h>

/* A data set by its name on a hub is the one thing that mlx-lm would fetch. */
static bool check_data(const struct train_args *a, struct gm_error *err)
{
    const char *slash = strchr(a->o.data, '/');
    bool hub = slash && slash != a->o.data && !strchr(slash + 1, '/') && a->o.data[0] != '.' && a->o.data[0] != '~' && !path_exists(a->o.data) && !strpbrk(a->o.data, ":\n") && !strchr(slash, '.');
    return !hub || error_set(err, GM_E_USAGE,
                             "read data %s: there is no such folder, and data sets are not downloaded (save it as a folder with train.jsonl and valid.jsonl, "
                             "and name that as --data)",
                             a->o.data);
}

static int test_only(const struct train_args *a, const struct general *g)
{
    struct evaluation e = {0};
    struct gm_error err = {0};
    if (!train_test(a, g, a->o.model, *a->adapter_path ? a->adapter_path : NULL, &e, &err))
        return cli_fail(&err);
    if (g->json)
        cli_print_json(json_pack("{s:o, s:o, s:I, s:i}", "test_loss", json_number(e.loss), "test_perplexity", json_number(exp(e.loss)), "tokens",
                                 (json_int_t)e.tokens, "rows", e.rows));
    else
        train_test_print(&e);
    return cli_end(EXIT_DONE);
}

int command_lora(int argc, char **argv)
{
    struct general g = {0};
    struct train_args a;
    struct gm_error err = {0};
    struct arg table[TRAIN_ARG_ROWS] = {{0}};
    int status;
    train_args_init(&a);
    a.mlx_lm = true;
    a.adapter_path = "adapters";
    train_args_table(&a, table);
    struct arg_spec spec = {.command = "lora", .positional = "", .table = table, .mlx_lm = true,
                            .summary = "mlx-lm's `mlx_lm.lora` with its options, its meaning of them and its defaults (those of --preset mlx-lm): an iteration is a "
                                       "micro-batch; the adapter is copied to --adapter-path, by default the folder `adapters`; --test without --train tests the "
                                       "adapter that is there (\"\": the base)."};
    bool ok = train_args_layers(&a, &spec, "mlx-lm", argc, argv, &g, &err);
    if (ok && !cli_begin(&spec, argc, argv, &g, &status)) {
        train_args_free(&a);
        return status;
    }
    if (ok && !a.train && !a.test)
        ok = error_set(&err, GM_E_USAGE, "read command line: lora trains, tests, or does both (give --train or --test)");
    ok = ok && train_args_finish(&a, &g, &err) && check_data(&a, &err);
    if (ok && a.o.grad_accumulation > 1 && a.train)
        cli_note(&g, "mlx-lm counts micro-batches: this makes %d updates of %d", a.o.iters, a.o.grad_accumulation);
    status = !ok ? cli_fail(&err) : a.train ? train_run(&a, &g) : test_only(&a, &g);
    train_args_free(&a);
    return status;
}
