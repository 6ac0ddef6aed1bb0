/* bench.c - `gemmaiku bench`: how fast this machine is; the command. */
#include "src/cli/bench.h"

#include "engine/kernel/probe.h"
#include "src/cli/shapes.h"
#include "src/cli/train_args.h"

#include <string.h>

/* Options that mean here what they mean for `train`. */
static bool is_of_train(const char *name)
{
    static const char *const names[] = {"--rank", "--keys", "--fine-tune-type", "--num-layers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Measures the kernel families, for this run and for all that come; says how fast each is. */
static void probe_kernels(const struct general *g)
{
    const struct probe *p = probe_again();
    struct str line = {0};
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        if (p->gflops[f] > 0)
            str_printf(&line, "%s%s %.0f", line.len ? ", " : "", family_name((enum family)f), p->gflops[f]);
    cli_note(g, "kernels, GFLOP/s of one thread: %s", str_text(&line));
    str_free(&line);
}

int command_bench(int argc, char **argv)
{
    struct general g = {0};
    struct train_args t;
    struct gm_error err = {0};
    int status, weights = 0;
    train_args_init(&t);
    struct arg train_rows[TRAIN_ARG_ROWS] = {{0}};
    train_args_table(&t, train_rows);
    struct bench_train a = {.seq = 512, .batch = 1, .steps = 5, .supervised = 1.0 / 3, .checkpoint = -1};
    struct bench_decode decode = {.packed = -1, .prompt = 32, .tokens = 32};
    struct arg table[20] = {
        {"--train-shape", ARG_TEXT, &a.shape, "NAME", SHAPE_NAMES, 0, 0, NULL, NULL},
        {"--seq", ARG_INT, &a.seq, "N", "tokens of a row", 2, 65536, NULL, NULL},
        {"--batch", ARG_INT, &a.batch, "N", "rows of a step", 1, 1024, NULL, NULL},
        {"--supervised", ARG_DOUBLE, &a.supervised, "SHARE", "share of each row that carries loss", 0.001, 1, NULL, NULL},
        {"--weights", ARG_CHOICE, &weights, SHAPE_WEIGHT_CHOICES, "storage type of the random weights", 0, 0, NULL, NULL},
        {"--grad-checkpoint", ARG_TRI, &a.checkpoint, NULL, "recompute instead of keeping", 0, 0, NULL, NULL},
        {"--steps", ARG_INT, &a.steps, "N", "measured steps", 1, BENCH_STEPS_MAX, NULL, NULL},
        {"--decode-shape", ARG_TEXT, &decode.shape, "NAME", "generating instead of training: the same names", 0, 0, NULL, NULL},
        {"--sequences", ARG_FLOATS, &decode.sequences, "N,N,...", "sequences generated at once: 1,4,16,64", 1, 1024, NULL, NULL},
        {"--packed", ARG_TRI, &decode.packed, NULL, "generate with a second, packed copy of the weights", 0, 0, NULL, NULL},
        {"--tokens", ARG_INT, &decode.tokens, "N", "tokens that each sequence takes", 1, 4096, NULL, NULL}};
    int n = 11;
    for (int i = 0; train_rows[i].kind != ARG_NONE; i++)
        if (is_of_train(train_rows[i].name))
            table[n++] = train_rows[i];
    struct arg_spec spec = {.command = "bench", .positional = "", .table = table,
                            .summary = "One training step of a model's real shape, random weights, measured; no model file is needed."};
    if (!cli_begin(&spec, argc, argv, &g, &status)) {
        train_options_free(&t.o);
        return status;
    }
    a.lora = t.o.lora;
    a.lora.dora = t.fine_tune == TUNE_DORA;
    train_options_free(&t.o);
    a.weights = decode.weights = shape_weights(weights);
    struct pool *pool = NULL;
    struct compute c = {0};
    struct model *m = NULL;
    bool ok = true;
    if (t.fine_tune == TUNE_FULL)
        ok = error_set(&err, GM_E_USAGE, "bench --fine-tune-type full: only adapters are measured (lora or dora)");
    else if (!a.shape && !decode.shape) {
        ok = error_set(&err, GM_E_USAGE, "find a shape to bench: none is told");
        error_remedy(&err, "--train-shape or --decode-shape with " SHAPE_NAMES);
    }
    if (ok)
        probe_kernels(&g);
    ok = ok && (pool = pool_new(g.threads, &err)) && compute_init(&c, pool, GM_TRAIN, general_mode(&g), general_family(&g), &err)
         && (m = shape_model(decode.shape ? decode.shape : a.shape, a.weights, &err))
         && (decode.shape ? bench_decode(&decode, &g, m, &c, &err) : bench_train(&a, &g, m, &c, &err));
    model_free(m);
    compute_free(&c);
    pool_free(pool);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
