/* forecast.c - see forecast.h. */
#include "engine/train/forecast.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of journals: of a line for an update, of a sample; measured over runs of the built-in model. */
enum { JOURNAL_STEP = 250, JOURNAL_SAMPLE = 450, RUN_FILES = 8192, CHECKPOINT_FILES = 6 };
static const double DAY_SECONDS = 86400, YEAR_SECONDS = 365.2425 * 86400;
static const double FILE_SECONDS = 0.004; /* to have a file flushed and renamed */

/* ---- sizes ---- */

static bool is_full(const struct train_options *o)
{
    return o->tune == TUNE_FULL;
}

void forecast_limits(const struct forecast_input *in, const struct train_options *o, struct pass_limits *l)
{
    *l = (struct pass_limits){.kind = is_full(o) ? PASS_FULL : PASS_LORA, .mode = in->mode};
    if (!in->train) {
        int64_t supervised = llround(in->supervised * o->max_seq_length);
        l->max_seqs = o->batch_size;
        l->max_seq_tokens = o->max_seq_length;
        l->max_tokens = (int64_t)o->batch_size * o->max_seq_length;
        l->max_targets = o->batch_size * (supervised < 1 ? 1 : supervised);
        return;
    }
    int longest = o->max_seq_length < in->options->max_seq_length ? o->max_seq_length : 0;
    batcher_limits_of(in->train, o->batch_size, longest, l);
    if (in->valid)
        batcher_limits_of(in->valid, o->batch_size, longest, l);
}

static void means(const struct forecast_input *in, const struct batcher *b, const struct train_options *o, double *tokens, double *targets)
{
    if (b) {
        batcher_means(b, o->max_seq_length < in->options->max_seq_length ? o->max_seq_length : 0, tokens, targets);
    } else {
        *tokens = o->max_seq_length;
        *targets = in->supervised * o->max_seq_length;
    }
}

/* Numbers that are trained, and the bytes that they and what goes with them take. */
static uint64_t trained_bytes(const struct model_config *c, const struct train_options *o, uint64_t *parameters)
{
    const uint64_t arrays = o->optimizer == OPT_SGD ? 2 : 4; /* values, gradients, two moments */
    uint64_t count = 0, rows = 0;
    if (is_full(o)) {
        *parameters = (uint64_t)model_config_parameters(c);
        return arrays * mem_block_bytes(sizeof(float) * *parameters);
    }
    struct module modules[MODULE_COUNT_MAX];
    for (int i = 0, n = model_modules(c, modules); i < n; i++)
        if (o->lora.keys & module_bits(&modules[i])) {
            count += (uint64_t)(modules[i].in + modules[i].out) * (uint64_t)o->lora.rank;
            rows += o->lora.dora ? (uint64_t)modules[i].out : 0;
        }
    const uint64_t layers = (uint64_t)(c->n_layers - lora_first_layer(c, &o->lora));
    *parameters = (count + rows) * layers;
    return arrays * mem_block_bytes(sizeof(float) * *parameters) + 2 * sizeof(float) * rows * layers; /* DoRA: lengths and gains */
}

/* Layers that gradients go back through. */
static int walked_layers(const struct model_config *c, const struct train_options *o)
{
    return is_full(o) ? c->n_layers : c->n_layers - lora_first_layer(c, &o->lora);
}

static void plan_memory(const struct forecast_input *in, const struct train_options *o, int recompute, struct forecast *f)
{
    struct pass_limits limits, asked;
    forecast_limits(in, o, &limits);
    forecast_limits(in, in->options, &asked);
    limits.recompute_layers = recompute;
    f->memory.weights = in->weights;
    f->memory.program = in->program;
    f->memory.trained = trained_bytes(in->config, o, &f->parameters);
    f->memory.activations = mem_block_bytes(pass_bytes(in->config, is_full(o) ? NULL : &o->lora, &limits));
    f->memory.packing = (uint64_t)((double)in->probe.packing * (double)limits.max_tokens / (double)asked.max_tokens);
    f->memory.samples = in->samples;
    f->memory.total = f->memory.weights + f->memory.program + f->memory.trained + f->memory.activations + f->memory.packing + f->memory.samples;
}

/* ---- time and disk ---- */

/* Borders of steps at which something comes every n updates, and at the end. */
static int times_due(int from, int to, int every)
{
    return every <= 0 ? 0 : to / every - from / every + (to % every != 0);
}

static void plan_time(const struct forecast_input *in, const struct train_options *o, struct forecast *f)
{
    const struct probe *p = &in->probe;
    double rows = 0, tokens = 0, targets = 0;
    const double rank = 1 + p->adapters * ((double)o->lora.rank / in->options->lora.rank - 1);
    f->time.step = f->time.evaluation = f->time.samples = f->time.checkpoint = f->time.total = NAN;
    if (p->tokens <= 0)
        return;
    f->time.step = (is_full(o) ? 1 : rank) * probe_step(p, f->layers, f->walked, f->recomputed, f->tokens, 0)
                   + probe_step(p, 0, 1, 0, 0, f->targets) + p->parameter * (double)f->parameters;
    if (f->times.evaluations > 0) {
        means(in, in->valid, o, &tokens, &targets);
        rows = batcher_rows(in->valid);
        if (o->val_batches >= 0 && (double)o->val_batches * o->batch_size < rows)
            rows = (double)o->val_batches * o->batch_size;
    }
    f->time.evaluation = probe_loss(p, f->layers, rows * tokens, rows * targets);
    f->time.samples = f->times.samples > 0 ? in->samples_s : 0;
    f->time.checkpoint = CHECKPOINT_FILES * FILE_SECONDS + in->byte_s * (double)f->disk.checkpoint;
    f->time.total = f->times.steps * f->time.step + f->times.evaluations * f->time.evaluation + f->times.samples * f->time.samples
                    + f->times.checkpoints * f->time.checkpoint;
}

static void plan_disk(const struct forecast_input *in, const struct train_options *o, struct forecast *f)
{
    const int goal = o->iters > in->start ? o->iters : in->start, first = in->start == 0;
    f->times.steps = goal - in->start;
    f->times.evaluations = in->valid ? first + times_due(in->start, goal, o->steps_per_eval) : 0;
    f->times.samples = in->samples > 0 ? first + times_due(in->start, goal, o->sample_every) : 0;
    f->times.checkpoints = times_due(in->start, goal, o->save_every);
    if (in->valid && o->steps_per_eval % o->save_every != 0)
        f->times.checkpoints += 2; /* the best ones, which fall between */
    f->disk.checkpoint = f->parameters * sizeof(float) * (o->optimizer == OPT_SGD ? 1 : 3) + (4096 * CHECKPOINT_FILES);
    f->disk.checkpoints = f->disk.checkpoint * (uint64_t)f->times.checkpoints;
    f->disk.journals = RUN_FILES + (uint64_t)(f->times.steps / o->steps_per_report) * JOURNAL_STEP
                       + (uint64_t)f->times.samples * (uint64_t)(o->n_temps * o->samples_per_temp) * JOURNAL_SAMPLE;
    f->disk.total = f->disk.checkpoints + f->disk.journals;
}

static uint64_t budget_of(const struct forecast_input *in, double margin)
{
    if (in->options->memory_budget > 0)
        return in->options->memory_budget;
    return in->own + (uint64_t)((1 - margin) * (double)in->available);
}

void forecast_make(const struct forecast_input *in, const struct train_options *o, int recompute, struct forecast *f)
{
    *f = (struct forecast){.layers = in->config->n_layers, .walked = walked_layers(in->config, o)};
    f->recomputed = recompute < f->walked ? recompute : f->walked;
    f->budget = budget_of(in, FORECAST_MARGIN);
    means(in, in->train, o, &f->tokens, &f->targets);
    f->tokens *= (double)o->batch_size * o->grad_accumulation;
    f->targets *= (double)o->batch_size * o->grad_accumulation;
    plan_memory(in, o, recompute, f);
    plan_disk(in, o, f);
    plan_time(in, o, f);
}

/* ---- the choice ---- */

/* The fewest recomputed layers that fit; all where none do. */
static void make_fitting(const struct forecast_input *in, const struct train_options *o, struct forecast *f)
{
    const int walked = walked_layers(in->config, o);
    if (o->checkpoint_layers >= 0) {
        forecast_make(in, o, o->checkpoint_layers ? RECOMPUTE_ALL : 0, f);
        return;
    }
    for (int k = 0; k <= walked; k++) {
        forecast_make(in, o, k, f);
        if (f->memory.total <= f->budget)
            return;
    }
}

static int by_memory(const void *a, const void *b)
{
    uint64_t x = ((const struct forecast_change *)a)->f.memory.total, y = ((const struct forecast_change *)b)->f.memory.total;
    return (x > y) - (x < y);
}

int forecast_changes(const struct forecast_input *in, const struct forecast *now, struct forecast_change changes[FORECAST_CHANGES])
{
    const struct train_options *told = in->options;
    struct pass_limits limits;
    struct forecast_change *c = changes;
    forecast_limits(in, told, &limits);
    if (now->recomputed < now->walked) {
        snprintf(c->what, sizeof c->what, "--grad-checkpoint on");
        forecast_make(in, told, RECOMPUTE_ALL, &(c++)->f);
    }
    if (now->recomputed > 0) {
        snprintf(c->what, sizeof c->what, "--grad-checkpoint off");
        forecast_make(in, told, 0, &(c++)->f);
    }
    struct train_options o = *told; /* borrows the texts */
    if ((o.batch_size = told->batch_size / 2) >= 1) {
        snprintf(c->what, sizeof c->what, "--batch-size %d", o.batch_size);
        make_fitting(in, &o, &(c++)->f);
    }
    o = *told;
    o.max_seq_length = (int)(limits.max_seq_tokens + 1) / 2;
    if (o.max_seq_length >= 8 && o.max_seq_length < limits.max_seq_tokens) {
        snprintf(c->what, sizeof c->what, "--max-seq-length %d", o.max_seq_length);
        make_fitting(in, &o, &(c++)->f);
    }
    o = *told;
    if (!is_full(told) && (o.lora.rank = told->lora.rank / 2) >= 1) {
        snprintf(c->what, sizeof c->what, "--rank %d", o.lora.rank);
        make_fitting(in, &o, &(c++)->f);
    }
    o = *told;
    o.lora.num_layers = now->walked / 2;
    if (!is_full(told) && o.lora.num_layers >= 1) {
        snprintf(c->what, sizeof c->what, "--num-layers %d", o.lora.num_layers);
        make_fitting(in, &o, &(c++)->f);
    }
    struct forecast_input quantised = *in;
    quantised.weights = (uint64_t)((double)model_config_parameters(in->config) * 4.5 / 8); /* blocks of 32 with a scale of 16 bits */
    if (!is_full(told) && quantised.weights < in->weights * 3 / 4) {
        snprintf(c->what, sizeof c->what, "a 4-bit base (export --type q4_0)");
        make_fitting(&quantised, told, &(c++)->f);
    }
    qsort(changes, (size_t)(c - changes), sizeof *changes, by_memory);
    return (int)(c - changes);
}

int forecast_fitting(const struct forecast *now, const struct forecast_change *changes, int n)
{
    int fitting = 0;
    while (fitting < n && changes[fitting].f.memory.total <= now->budget)
        fitting++;
    return fitting;
}

/* Names the changes that are enough by themselves; where none is, what each saves. */
static bool refuse(const struct forecast_input *in, const struct forecast *f, struct gm_error *err)
{
    struct forecast_change changes[FORECAST_CHANGES];
    char need[24], may[24], each[24], text[512] = "";
    size_t n = 0;
    const int count = forecast_changes(in, f, changes), fitting = forecast_fitting(f, changes, count);
    for (int i = 0; i < (fitting > 0 ? fitting : count); i++)
        if (changes[i].f.memory.total < f->memory.total && n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s saves %s", n ? "; " : fitting > 0 ? "" : "no single change is enough: ", changes[i].what,
                                  forecast_bytes(f->memory.total - changes[i].f.memory.total, each));
    return error_set(err, GM_E_MEMORY, "plan memory: %s are needed with %s layers computed again, %s may be used (%s%sor raise --memory-budget)",
                     forecast_bytes(f->memory.total, need), f->recomputed == 0 ? "no" : f->recomputed == f->walked ? "all" : "some",
                     forecast_bytes(f->budget, may), text, n ? "; " : "");
}

bool forecast_choose(const struct forecast_input *in, struct forecast *f, struct gm_error *err)
{
    make_fitting(in, in->options, f);
    if (f->memory.total <= f->budget)
        return true;
    bool told = in->options->memory_budget > 0;
    if (!told && (in->available == 0 || f->memory.total <= budget_of(in, 0)))
        return true; /* into the margin: it is there to be used before a run is refused */
    return refuse(in, f, err);
}

/* ---- words ---- */

const char *forecast_bytes(uint64_t bytes, char out[24])
{
    double x = (double)bytes;
    if (x < 1e6)
        snprintf(out, 24, "%.0f kB", ceil(x / 1e3));
    else if (x < 1e9)
        snprintf(out, 24, x < 9.95e6 ? "%.1f MB" : "%.0f MB", x / 1e6);
    else
        snprintf(out, 24, "%.2f GB", x / 1e9);
    return out;
}

const char *forecast_seconds(double s, char out[24])
{
    if (!isfinite(s))
        snprintf(out, 24, "unknown");
    else if (s < 0.995)
        snprintf(out, 24, s < 0.0995 ? "%.0f ms" : "%.2f s", s < 0.0995 ? 1000 * s : s);
    else if (s < 99.5)
        snprintf(out, 24, s < 9.95 ? "%.1f s" : "%.0f s", s);
    else if (s < 5970)
        snprintf(out, 24, s < 597 ? "%.1f min" : "%.0f min", s / 60);
    else if (s < 48 * 3600.0)
        snprintf(out, 24, "%.1f h", s / 3600);
    else if (s < 2 * YEAR_SECONDS)
        snprintf(out, 24, s < 9.95 * DAY_SECONDS ? "%.1f days" : "%.0f days", s / DAY_SECONDS);
    else
        snprintf(out, 24, s < 9.95 * YEAR_SECONDS ? "%.1f years" : "%.0f years", s / YEAR_SECONDS);
    return out;
}

const char *forecast_line(const struct forecast *f, char out[FORECAST_LINE])
{
    char memory[24], step[24], total[24], disk[24];
    forecast_bytes(f->memory.total, memory);
    forecast_bytes(f->disk.total, disk);
    if (isfinite(f->time.total))
        snprintf(out, FORECAST_LINE, "%s, %s a step, done in %s, %s on disk", memory, forecast_seconds(f->time.step, step),
                 forecast_seconds(f->time.total, total), disk);
    else
        snprintf(out, FORECAST_LINE, "%s, %s on disk", memory, disk);
    return out;
}

static json_t *seconds_json(double s)
{
    return json_number(isfinite(s) ? round(s * 1e5) / 1e5 : s);
}

json_t *forecast_json(const struct forecast *f)
{
    json_t *memory = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)f->memory.weights, "program", (json_int_t)f->memory.program,
                               "trained", (json_int_t)f->memory.trained, "activations", (json_int_t)f->memory.activations, "packing",
                               (json_int_t)f->memory.packing, "samples", (json_int_t)f->memory.samples, "total", (json_int_t)f->memory.total);
    json_t *time = json_pack("{s:o, s:o, s:o, s:o, s:o}", "step", seconds_json(f->time.step), "evaluation", seconds_json(f->time.evaluation), "samples",
                             seconds_json(f->time.samples), "checkpoint", seconds_json(f->time.checkpoint), "total", seconds_json(f->time.total));
    json_t *times = json_pack("{s:i, s:i, s:i, s:i}", "steps", f->times.steps, "evaluations", f->times.evaluations, "samples", f->times.samples,
                              "checkpoints", f->times.checkpoints);
    json_t *disk = json_pack("{s:I, s:I, s:I, s:I}", "checkpoint", (json_int_t)f->disk.checkpoint, "checkpoints", (json_int_t)f->disk.checkpoints, "journals",
                             (json_int_t)f->disk.journals, "total", (json_int_t)f->disk.total);
    return json_pack("{s:o, s:o, s:o, s:o, s:f, s:f, s:I, s:i, s:i, s:i, s:I, s:b}", "memory_bytes", memory, "seconds", time, "times", times, "disk_bytes",
                     disk, "tokens", round(f->tokens * 10) / 10, "supervised_tokens", round(f->targets * 10) / 10, "parameters",
                     (json_int_t)f->parameters, "layers", f->layers, "trained_layers", f->walked, "recompute_layers", f->recomputed, "budget_bytes",
                     (json_int_t)f->budget, "fits", f->memory.total <= f->budget);
}
