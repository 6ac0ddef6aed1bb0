/* plan.c - `gemmaiku plan`: what a run with these options of `train` would take, measured and computed before it starts. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/trainer.h"
#include "src/cli/shapes.h"
#include "src/cli/train_args.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PLAN_SECONDS 1.0 /* of measuring: more than a run takes before its first step */

struct plan_args {
    const char *shape;
    int weights;
    double supervised;
    bool of_shape; /* one of the two was told */
};

/* Who is planned: names for the head line. */
struct subject {
    const struct train_options *o;
    const struct compute *compute;
    const char *model, *data;
    int threads;
};

/* ---- a published shape: no file is needed, a few layers of random weights are measured ---- */

struct shape_plan {
    struct model_config config;
    struct compute compute;
    struct forecast_input input;
    struct forecast plan;
    enum dtype type;
};

/* As stored, of n layers: the weights of two small models say what a layer takes. */
static bool measure_shape(struct shape_plan *s, struct train_options *o, struct gm_error *err)
{
    enum { FEW = 3 };
    struct model_config one = s->config, few = s->config;
    one.n_layers = 1;
    few.n_layers = s->config.n_layers < FEW ? s->config.n_layers : FEW;
    const size_t resident = mem_rss_bytes(), file = mem_rss_file_bytes();
    s->input.program = resident;
    s->input.own = resident - file;
    s->input.available = mem_available_bytes();
    struct model *m = model_random(&one, s->type, 1, err);
    const uint64_t bottom = m ? m->weight_bytes : 0;
    model_free(m);
    m = bottom ? model_random(&few, s->type, 1, err) : NULL;
    if (!m)
        return false;
    s->input.weights = few.n_layers > 1 ? bottom + (m->weight_bytes - bottom) * (uint64_t)(s->config.n_layers - 1) / (uint64_t)(few.n_layers - 1) : bottom;
    s->input.own += s->input.weights; /* a model of random numbers is in no file */
    s->input.available = s->input.available > s->input.weights ? s->input.available - s->input.weights : 0;
    struct probe_request probe = {.model = m, .options = o, .compute = &s->compute, .seconds = PLAN_SECONDS};
    forecast_limits(&s->input, o, &probe.limits);
    bool ok = probe_run(&probe, &s->input.probe, err);
    model_free(m);
    return ok;
}

static bool plan_shape(struct shape_plan *s, const struct plan_args *a, struct train_options *o, struct pool *pool, const struct general *g,
                       struct gm_error *err)
{
    struct gm_error too_much = {0};
    *s = (struct shape_plan){.type = shape_weights(a->weights)};
    if (o->tune == TUNE_FULL)
        return error_set(err, GM_E_USAGE, "plan --train-shape: only adapters are planned without a model (lora or dora)");
    if (!shape_config(a->shape, &s->config, err) || !compute_init(&s->compute, pool, GM_TRAIN, general_mode(g), general_family(g), err))
        return false;
    o->compute = s->compute.mode;
    o->kernel = s->compute.family;
    s->input = (struct forecast_input){.config = &s->config, .options = o, .mode = s->compute.mode, .supervised = a->supervised, .samples_s = NAN};
    if (!measure_shape(s, o, err))
        return false;
    forecast_choose(&s->input, &s->plan, &too_much);
    return true;
}

/* ---- the report ---- */

static void row(const char *label, uint64_t bytes, const char *about)
{
    char text[24];
    if (bytes > 0)
        printf("  %-28s %10s%s%s\n", label, forecast_bytes(bytes, text), about[0] ? "  " : "", about);
}

static void print_memory(const struct forecast *f)
{
    char total[24], budget[24], about[64] = "";
    printf("memory  %s, and %s may be used\n", forecast_bytes(f->memory.total, total), forecast_bytes(f->budget, budget));
    row("weights, as stored", f->memory.weights, "");
    row("program, tokenizer, data", f->memory.program, "");
    snprintf(about, sizeof about, "%llu weights, gradients, moments", (unsigned long long)f->parameters);
    row("what is trained", f->memory.trained, about);
    snprintf(about, sizeof about, f->recomputed ? "%d of %d layers computed again" : "no layer computed again", f->recomputed, f->walked);
    row("activations, loss", f->memory.activations, about);
    row("packing of products", f->memory.packing, "");
    row("caches of samples", f->memory.samples, "");
}

static void part(const char *label, int times, double each)
{
    char one[24], all[24];
    if (times > 0)
        printf("  %-28s %10s  %d x %s\n", label, forecast_seconds(times * each, all), times, forecast_seconds(each, one));
}

static void print_time(const struct forecast *f, const struct subject *s, bool whole)
{
    char step[24], total[24];
    printf("\ntime    %s a step of %.0f tokens, %.0f of them with loss: %.0f tok/s\n        measured now: %s %s, %d threads\n",
           forecast_seconds(f->time.step, step), f->tokens, f->targets, f->tokens / f->time.step, compute_mode_name(s->compute->mode),
           family_name(s->compute->family), s->threads);
    if (!whole)
        return;
    part("steps", f->times.steps, f->time.step);
    part("evaluations", f->times.evaluations, f->time.evaluation);
    part("samples", f->times.samples, f->time.samples);
    part("checkpoints", f->times.checkpoints, f->time.checkpoint);
    printf("  %-28s %10s\n", "in all", forecast_seconds(f->time.total, total));
}

static void print_disk(const struct forecast *f)
{
    char total[24], each[24], journals[24];
    printf("\ndisk    %s: %d checkpoints of %s, journals %s\n", forecast_bytes(f->disk.total, total), f->times.checkpoints,
           forecast_bytes(f->disk.checkpoint, each), forecast_bytes(f->disk.journals, journals));
}

static void print_changes(const struct forecast *now, const struct forecast_change *changes, int n, bool whole)
{
    char memory[24], step[24], total[24];
    printf("\n%-38s %10s %10s%s\n", "with", "memory", "a step", whole ? "     in all" : "");
    for (int i = -1; i < n; i++) {
        const struct forecast *f = i < 0 ? now : &changes[i].f;
        printf("  %-36s %10s %10s", i < 0 ? "these options" : changes[i].what, forecast_bytes(f->memory.total, memory), forecast_seconds(f->time.step, step));
        if (whole)
            printf(" %10s", forecast_seconds(f->time.total, total));
        puts(f->memory.total > now->budget ? "  does not fit" : "");
    }
}

/* The cheapest change that helps is the least of those that fit. */
static void print_verdict(const struct forecast *now, const struct forecast_change *changes, int n)
{
    char need[24], budget[24], saved[24];
    const int fitting = forecast_fitting(now, changes, n);
    printf("\nIt does not fit: %s are needed, %s may be used.\n", forecast_bytes(now->memory.total, need), forecast_bytes(now->budget, budget));
    if (fitting > 0)
        printf("The cheapest change that helps: %s, which saves %s.\n", changes[fitting - 1].what,
               forecast_bytes(now->memory.total - changes[fitting - 1].f.memory.total, saved));
    else
        printf("No single change of these is enough: take several, or a smaller model.\n");
}

static void print_plan(const struct forecast *f, const struct forecast_change *changes, int n, const struct subject *s)
{
    const struct train_options *o = s->o;
    const bool whole = s->data != NULL, fits = f->memory.total <= f->budget;
    struct str head = {0};
    str_printf(&head, "%s%s%s: ", s->model, whole ? " on " : "", whole ? s->data : "");
    if (o->tune == TUNE_FULL)
        str_add(&head, "all weights");
    else
        str_printf(&head, "%s r%d", o->lora.dora ? "DoRA" : "LoRA", o->lora.rank);
    str_printf(&head, o->grad_accumulation > 1 ? ", %d x %d rows a step" : ", %d rows a step", o->batch_size, o->grad_accumulation);
    cli_print_clean(str_text(&head), head.len);
    str_free(&head);
    printf("\n\n");
    print_memory(f);
    print_time(f, s, whole);
    if (whole)
        print_disk(f);
    print_changes(f, changes, n, whole);
    if (!fits)
        print_verdict(f, changes, n);
}

static json_t *plan_json(const struct forecast *f, const struct forecast_change *changes, int n, const struct subject *s)
{
    json_t *o = forecast_json(f), *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *c = forecast_json(&changes[i].f);
        json_object_set_new(c, "change", json_string(changes[i].what));
        json_array_append_new(list, c);
    }
    json_object_set_new(o, "model", json_text(s->model));
    json_object_set_new(o, "data", s->data ? json_text(s->data) : json_null());
    json_object_set_new(o, "compute", json_string(compute_mode_name(s->compute->mode)));
    json_object_set_new(o, "kernel", json_string(family_name(s->compute->family)));
    json_object_set_new(o, "threads", json_integer(s->threads));
    json_object_set_new(o, "changes", list);
    return o;
}

static int tell(const struct forecast *f, const struct forecast_change *changes, int n, const struct subject *s, const struct general *g)
{
    if (g->json)
        cli_print_json(plan_json(f, changes, n, s));
    else
        print_plan(f, changes, n, s);
    return cli_end(f->memory.total <= f->budget ? EXIT_DONE : EXIT_CHECK);
}

static int run_plan(const struct plan_args *a, struct train_args *t, const struct general *g)
{
    struct gm_error err = {0};
    struct forecast_change changes[FORECAST_CHANGES];
    struct pool *pool = pool_new(g->threads, &err);
    if (pool && !g->json)
        cli_note(g, "measures a few layers of %s", a->shape ? a->shape : t->o.model); /* half a minute, where a layer is large */
    struct subject s = {.o = &t->o, .model = t->o.model, .threads = pool ? pool_threads(pool) : 0};
    int status = -1;
    if (pool && a->shape) {
        struct shape_plan shape;
        s.model = a->shape;
        s.compute = &shape.compute;
        if (plan_shape(&shape, a, &t->o, pool, g, &err))
            status = tell(&shape.plan, changes, forecast_changes(&shape.input, &shape.plan, changes), &s, g);
        compute_free(&shape.compute);
    } else if (pool) {
        struct trainer *trainer = trainer_plan(&t->o, PLAN_SECONDS, pool, &err);
        char *title = dataset_title(t->o.data);
        s.data = title;
        if (trainer) {
            s.compute = trainer_compute(trainer);
            status = tell(trainer_forecast(trainer), changes, trainer_changes(trainer, changes), &s, g);
        }
        mem_free(title);
        trainer_free(trainer);
    }
    pool_free(pool);
    return status >= 0 ? status : cli_fail(&err);
}

/* A shape, or a model and data. */
static bool check_subject(const struct plan_args *a, const struct train_args *t, struct gm_error *err)
{
    if (a->shape && (t->model || t->data.n > 0))
        return error_set(err, GM_E_USAGE, "plan --train-shape %s: a model or data are told, too (only one of the two)", a->shape);
    if (!a->shape && a->of_shape)
        return error_set(err, GM_E_USAGE, "plan: --weights and --supervised are of a shape (give --train-shape, too)");
    return true;
}

int command_plan(int argc, char **argv)
{
    struct general g = {0};
    struct train_args t;
    struct plan_args a = {.supervised = 1.0 / 3};
    struct gm_error err = {0};
    enum { OWN = 3 };
    struct arg table[TRAIN_ARG_ROWS + OWN] = {
        {"--train-shape", ARG_TEXT, &a.shape, "NAME", SHAPE_NAMES ": instead of a model and data; rows of --max-seq-length tokens", 0, 0, NULL, NULL},
        {"--weights", ARG_CHOICE, &a.weights, SHAPE_WEIGHT_CHOICES, "with --train-shape: how its weights are stored", 0, 0, &a.of_shape, NULL},
        {"--supervised", ARG_DOUBLE, &a.supervised, "SHARE", "with --train-shape: share of each row that carries loss", 0.001, 1, &a.of_shape, NULL}};
    int status;
    train_args_init(&t);
    train_args_table(&t, table + OWN);
    struct arg_spec spec = {.command = "plan", .positional = "", .table = table, .mlx_lm = true,
                            .summary = "What a run would take, with the options of `train`: peak memory, time and disk, and what other options would "
                                       "change. Nothing is written. Exit status 3: it does not fit."};
    if (!train_args_layers(&t, &spec, NULL, argc, argv, &g, &err))
        status = cli_fail(&err);
    else if (cli_begin(&spec, argc, argv, &g, &status))
        status = check_subject(&a, &t, &err) && train_args_finish(&t, &g, &err) ? run_plan(&a, &t, &g) : cli_fail(&err);
    train_args_free(&t);
    return status;
}
