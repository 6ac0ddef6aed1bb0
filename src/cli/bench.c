/* bench.c - `gemmaiku bench`: how fast this machine is, and how near its limits the program comes; the command. */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/model_source.h"
#include "engine/kernel/probe.h"
#include "src/cli/shapes.h"
#include "src/cli/train_args.h"
#include "src/cli/while_training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct bench_args {
    const char *model;
    bool quick, while_training, steps_given, tokens_given;
    struct bench_train train;
    struct bench_decode decode;
};

/* Options that mean here what they mean for `train`. */
static bool is_of_train(const char *name)
{
    static const char *const names[] = {"--rank", "--keys", "--dropout", "--fine-tune-type", "--num-layers", "--memory-budget"};
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

static bool run_train(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, json_t *into,
                      struct gm_error *err)
{
    struct bench_step *step = mem_new(1, sizeof *step);
    bool ok = bench_train(a, g, m, c, step, err);
    if (ok && g->json)
        json_object_update_new(into, bench_train_json(a, m, c, step));
    else if (ok)
        bench_train_print(a, m, c, step);
    mem_free(step);
    return ok;
}

static bool run_products(const struct bench_args *a, const struct general *g, const struct model *m, const char *name, const struct compute *c,
                         json_t *rows, struct gm_error *err)
{
    struct bench_products p;
    const int64_t T = (int64_t)a->train.seq * a->train.batch;
    const double seconds = a->quick ? 0.02 : 0.1;
    if (m)
        bench_products(m, name, c, T, seconds, &p);
    else if (!bench_products_of_shape(name, a->train.weights, c, T, seconds, &p, err))
        return false;
    if (g->json)
        bench_products_json(&p, rows);
    else
        bench_products_print(&p);
    return true;
}

static bool run_latency(const struct bench_args *a, const struct general *g, json_t *into, struct gm_error *err)
{
    struct bench_latency l;
    if (!bench_latency(a->quick ? 40 : 200, g, &l, err))
        return false;
    if (g->json)
        json_object_set_new(into, "while_training", bench_latency_json(&l));
    else
        bench_latency_print(&l);
    return true;
}

/* An answer while the model trains. */
static bool run_chat(const struct bench_args *a, const struct general *g, const char *name, const struct model *m, struct pool *pool, json_t *into,
                     struct gm_error *err)
{
    struct while_training_result r;
    if (!while_training(m, pool, general_mode(g), general_family(g), a->train.seq, a->quick ? 1 : 3, &r, err))
        return false;
    if (g->json)
        json_object_set_new(into, "chat_while_training", while_training_json(&r));
    else
        while_training_print(name, &r);
    return true;
}

/* A model, or three shapes: the limits, the products of a layer, a step, decoding, the limits again. */
static bool everything(struct bench_args *a, const struct general *g, const struct compute *c, json_t *into, struct gm_error *err)
{
    static const char *const shapes[] = {"gemma3-270m", "gemma3-1b", "tinyllama"};
    struct bench_machine machine = {0};
    json_t *products = json_array(), *train = json_object(), *decode = json_array();
    struct model *m = NULL;
    a->train.shape = a->decode.shape = a->model ? a->model : shapes[0];
    bool ok = bench_machine(&machine, c, err);
    if (ok && !g->json)
        bench_machine_print(&machine, c);
    for (int i = 0; ok && !a->model && i < (a->quick ? 1 : 3); i++)
        ok = run_products(a, g, NULL, shapes[i], c, products, err);
    ok = ok && (m = a->model ? model_open(a->model, err) : shape_model(a->train.shape, a->train.weights, err))
         && (!a->model || run_products(a, g, m, a->model, c, products, err));
    if (ok && !g->json)
        puts("");
    ok = ok && run_train(&a->train, g, m, c, train, err);
    if (ok && !g->json)
        puts("");
    ok = ok && bench_decode(&a->decode, g, m, c, decode, err) && bench_machine_after(&machine, c, err);
    if (ok && !g->json)
        bench_machine_after_print(&machine, c);
    if (ok && g->json)
        json_object_update_new(into, bench_machine_json(&machine, c));
    json_object_set_new(into, "products", products);
    json_object_set_new(into, "train", train);
    json_object_set_new(into, "decode", decode);
    model_free(m);
    if (ok && !a->quick && !g->json)
        puts("");
    ok = ok && (a->quick || run_latency(a, g, into, err));
    return ok;
}

/* False, before anything is measured, where a name is neither a shape nor a path. */
static bool shape_or_path(const char *shape, struct gm_error *err)
{
    struct model_config config;
    return !shape || path_exists(shape) || shape_config(shape, &config, err);
}

/* The same of a model, and of words that leave no choice of what to measure. */
static bool check_subject(const struct bench_args *a, struct gm_error *err)
{
    const char *shape = a->train.shape ? a->train.shape : a->decode.shape;
    struct model_source source;
    if (!shape_or_path(a->train.shape, err) || !shape_or_path(a->decode.shape, err))
        return false;
    if (a->model && shape)
        return error_set(err, GM_E_USAGE, "bench %s: a model is told, and a shape (only one of the two)", a->model);
    if (a->train.shape && a->decode.shape)
        return error_set(err, GM_E_USAGE, "bench --train-shape %s: --decode-shape is told, too (one at a time; without either, both are measured)", shape);
    for (int i = 0; i < a->decode.sequences.n; i++)
        if (a->decode.sequences.items[i] != floorf(a->decode.sequences.items[i]))
            return error_set(err, GM_E_USAGE, "read option --sequences: %g is no whole number", (double)a->decode.sequences.items[i]);
    if (a->model && !model_source_open(&source, a->model, err))
        return false;
    if (a->model)
        model_source_close(&source);
    return true;
}

/* A shape by its name, else a model by its path. */
static struct model *model_of(const char *shape, enum dtype weights, struct gm_error *err)
{
    return !shape_known(shape) && path_exists(shape) ? model_open(shape, err) : shape_model(shape, weights, err);
}

static bool run(struct bench_args *a, const struct general *g, json_t *into, struct gm_error *err)
{
    struct compute c = {0};
    struct model *m = NULL;
    const char *shape = a->decode.shape ? a->decode.shape : a->train.shape;
    if (a->while_training && !run_latency(a, g, into, err))
        return false;
    if (a->while_training && !shape)
        shape = "gemma3-270m";
    probe_kernels(g);
    struct pool *pool = pool_new(g->threads, err);
    bool ok = pool && compute_init(&c, pool, GM_TRAIN, general_mode(g), general_family(g), err);
    if (a->while_training)
        ok = ok && (m = model_of(shape, a->train.weights, err)) && run_chat(a, g, shape, m, pool, into, err);
    else if (shape)
        ok = ok && (m = model_of(shape, a->train.weights, err))
             && (a->decode.shape ? bench_decode(&a->decode, g, m, &c, NULL, err) : run_train(&a->train, g, m, &c, into, err));
    else
        ok = ok && everything(a, g, &c, into, err);
    model_free(m);
    compute_free(&c);
    pool_free(pool);
    return ok;
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
    struct bench_args a = {.train = {.seq = 512, .batch = 1, .steps = 5, .supervised = 1.0 / 3, .checkpoint = -1},
                           .decode = {.packed = -1, .prompt = 32, .tokens = 32}};
    struct arg table[25] = {
        {"--quick", ARG_FLAG, &a.quick, NULL, "a few seconds: fewer shapes, steps and tokens", 0, 0, NULL, NULL},
        {"--model", ARG_TEXT, &a.model, "MODEL", "measure with this model instead of shapes with random weights", 0, 0, NULL, NULL},
        {"--while-training", ARG_FLAG, &a.while_training, NULL, "only how long a key takes to the screen, and an answer to come, while the machine trains", 0, 0, NULL, NULL},
        {"--train-shape", ARG_TEXT, &a.train.shape, "NAME", "a training step only; NAME: " SHAPE_NAMES ", or the path of a model", 0, 0, NULL, NULL},
        {"--seq", ARG_INT, &a.train.seq, "N", "tokens of a row", 2, 65536, NULL, NULL},
        {"--batch", ARG_INT, &a.train.batch, "N", "rows of a step", 1, 1024, NULL, NULL},
        {"--supervised", ARG_DOUBLE, &a.train.supervised, "SHARE", "share of each row that carries loss", 0.001, 1, NULL, NULL},
        {"--weights", ARG_CHOICE, &weights, SHAPE_WEIGHT_CHOICES, "storage type of the random weights", 0, 0, NULL, NULL},
        {"--grad-checkpoint", ARG_TRI, &a.train.checkpoint, NULL, "of every layer keep the input only and compute the rest again; auto: of as many as --memory-budget wants", 0, 0, NULL, NULL},
        {"--steps", ARG_INT, &a.train.steps, "N", "measured steps", 1, BENCH_STEPS_MAX, &a.steps_given, NULL},
        {"--decode-shape", ARG_TEXT, &a.decode.shape, "NAME", "generating only; the same names", 0, 0, NULL, NULL},
        {"--sequences", ARG_FLOATS, &a.decode.sequences, "N,N,...", "sequences generated at once: 1,4,16,64", 1, 1024, NULL, NULL},
        {"--packed", ARG_TRI, &a.decode.packed, NULL, "generate with a second, packed copy of the weights", 0, 0, NULL, NULL},
        CLI_HEAD_ARG(a.decode.head),
        {"--tokens", ARG_INT, &a.decode.tokens, "N", "tokens that each sequence takes", 1, 4096, &a.tokens_given, NULL}};
    int n = 15;
    for (int i = 0; train_rows[i].kind != ARG_NONE; i++)
        if (is_of_train(train_rows[i].name))
            table[n++] = train_rows[i];
    struct arg_spec spec = {.command = "bench", .positional = "", .table = table,
                            .summary = "How fast this machine is, and how near its limits the program comes: products, a training step part by part, "
                                       "generating. Random weights in the shapes of published models; no model file is needed."};
    if (!cli_begin(&spec, argc, argv, &g, &status)) {
        train_options_free(&t.o);
        return status;
    }
    a.train.lora = t.o.lora;
    a.train.lora.dora = t.fine_tune == TUNE_DORA;
    a.train.memory_budget = t.o.memory_budget;
    train_options_free(&t.o);
    a.train.weights = shape_weights(weights);
    if (a.quick && !a.steps_given)
        a.train.steps = 2;
    if (a.quick && !a.tokens_given)
        a.decode.tokens = 8;
    if (a.quick && a.decode.sequences.n == 0)
        a.decode.sequences = (struct float_list){.items = {1, 16}, .n = 2};
    json_t *result = json_object();
    bool ok = true;
    if (t.fine_tune == TUNE_FULL)
        ok = error_set(&err, GM_E_USAGE, "bench --fine-tune-type full: only adapters are measured (lora or dora)");
    ok = ok && check_subject(&a, &err) && run(&a, &g, result, &err);
    if (ok && g.json && json_object_size(result) > 0)
        cli_print_json(json_incref(result));
    json_decref(result);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
