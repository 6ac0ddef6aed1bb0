/* view_fill.c - the state as the view that the screens read: pointers set, nothing computed that takes time. UI thread, before every drawing. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct view_series series(const struct points *p)
{
    return (struct view_series){p->x, p->y, p->n};
}

static void fact(struct workbench *w, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fact(struct workbench *w, const char *label, const char *format, ...)
{
    size_t n = w->view.run.fact_count;
    if (n == FACTS_MAX)
        return;
    va_list args;
    va_start(args, format);
    struct str s = {0}, clean = {0};
    str_vprintf(&s, format, args);
    va_end(args);
    text_clean(&clean, str_text(&s), s.len, false, false);
    snprintf(w->fact_values[n], sizeof w->fact_values[n], "%s", str_text(&clean));
    w->facts[n] = (struct view_fact){label, w->fact_values[n]};
    w->view.run.fact_count = n + 1;
    str_free(&s);
    str_free(&clean);
}

static void fill_facts(struct workbench *w, const struct train_options *o)
{
    static const char *const schedules[] = {"constant", "linear", "cosine"}, *const optimisers[] = {"AdamW", "Adam", "SGD"};
    w->view.run.fact_count = 0;
    fact(w, "model", "%s", path_base(o->model));
    fact(w, "data", "%s", w->data_name);
    if (o->tune != TUNE_FULL)
        fact(w, "adapter", "%s r%d  scale %g", o->lora.dora ? "DoRA" : "LoRA", o->lora.rank, (double)o->lora.scale);
    else
        fact(w, "adapter", "none: all weights");
    fact(w, "rate", "%g %s", o->learning_rate, schedules[o->schedule]);
    fact(w, "optimiser", "%s  clip %g", optimisers[o->optimizer], o->max_grad_norm);
    fact(w, "batch", "%d x %d  seq %d", o->batch_size, o->grad_accumulation, o->max_seq_length);
    fact(w, "kernel", "%s %s  %d threads", compute_mode_name(o->compute), family_name(o->kernel), pool_threads(w->pool));
    if (w->plan[0] && w->trainer) {
        const struct forecast *f = trainer_forecast(w->trainer);
        char a[24], b[24];
        fact(w, "plan", "%s a step, done in %s", forecast_seconds(f->time.step, a), forecast_seconds(f->time.total, b));
        fact(w, "takes", "%s of memory, %s on disk", forecast_bytes(f->memory.total, a), forecast_bytes(f->disk.total, b));
    }
    fact(w, "seed", "%llu", (unsigned long long)o->seed);
    w->view.run.facts = w->facts;
}

static double share_of(double flops, double seconds, double gflops)
{
    return flops > 0 && seconds > 0 && gflops > 0 ? flops / seconds * 1e-9 / gflops : NAN;
}

static void fill_parts(struct workbench *w)
{
    struct view_run *run = &w->view.run;
    const struct step_parts *p = &w->parts;
    double flops = 0;
    _Static_assert((int)STEP_PARTS <= (int)VIEW_PARTS_MAX, "a view holds all parts");
    for (int i = 0; i < p->n; i++) {
        w->part_views[i] = (struct view_part){.name = p->part[i].name, .ms = 1000 * p->part[i].seconds,
                                              .share_of_peak = share_of(p->part[i].flops, p->part[i].seconds, w->peak_gflops)};
        flops += p->part[i].flops;
    }
    run->parts = w->part_views;
    run->part_count = (size_t)p->n;
    run->share_of_peak = share_of(flops, p->seconds, w->peak_gflops);
}

static void fill_run(struct workbench *w)
{
    struct view_run *run = &w->view.run;
    const struct train_options *o = w->tools.options;
    run->name = w->run_name[0] ? w->run_name : NULL;
    run->busy = w->busy[0] ? w->busy : NULL;
    run->memory_bytes = mem_rss_bytes();
    run->memory_peak_bytes = mem_rss_peak_bytes();
    fill_parts(w);
    run->waits_share = run->state == RUN_TRAINING ? pool_training_held_share(w->pool) : 0;
    if (!o)
        return;
    char *model = clean_copy(path_base(o->model), false);
    snprintf(w->model_name, sizeof w->model_name, "%s", model);
    mem_free(model);
    run->model = w->model_name;
    if (o->tune != TUNE_FULL)
        snprintf(w->about, sizeof w->about, "%s r%d  %d threads", o->lora.dora ? "DoRA" : "LoRA", o->lora.rank, pool_threads(w->pool));
    else
        snprintf(w->about, sizeof w->about, "all weights  %d threads", pool_threads(w->pool));
    run->about = w->about;
    run->plan = w->plan[0] ? w->plan : NULL;
    fill_facts(w, o);
}

static void *room(void *array, size_t have, size_t need, size_t size)
{
    return need > have ? mem_grow(array, have, need, size) : array;
}

static void fill_samples(struct workbench *w)
{
    struct view_samples *v = &w->view.samples;
    w->sample_views = room(w->sample_views, v->count, w->n_samples, sizeof *w->sample_views);
    for (size_t i = 0; v->count != w->n_samples && i < w->n_samples; i++) { /* samples are only ever added */
        const struct sample_row *r = &w->samples[i];
        w->sample_views[i] = (struct view_sample){.step = r->step, .temperature = r->temperature, .seed = r->seed, .prompt = r->prompt,
                                                  .verse = verse_view(&r->verse), .seconds = r->seconds, .tokens = r->tokens};
    }
    v->rows = w->sample_views;
    v->count = w->n_samples;
    v->running = w->samples_left > 0;
    v->running_note = v->running ? "sampling" : NULL;
}

static void fill_chat(struct workbench *w)
{
    struct view_chat *v = &w->view.chat;
    w->turn_views = room(w->turn_views, v->count, w->n_turns, sizeof *w->turn_views);
    for (size_t i = 0; i < w->n_turns; i++) {
        const struct chat_turn *t = &w->turns[i];
        w->turn_views[i] = (struct view_chat_turn){.who = t->who, .text = t->verse.text, .tokens = t->tokens, .seconds = t->seconds,
                                                   .tokens_per_s = t->seconds > 0 ? t->tokens / t->seconds : NAN, .streaming = t->streaming,
                                                   .stopped = t->stopped, .cut = t->cut};
        if (t->who == CHAT_MODEL)
            w->turn_views[i].verse = verse_view(&t->verse);
    }
    v->turns = w->turn_views;
    v->count = w->n_turns;
    if (w->chat_adapter == ADAPTER_FOLDER)
        snprintf(w->chat_who, sizeof w->chat_who, "checkpoint %d", w->chat_step);
    else if (w->chat_adapter == ADAPTER_BASE && w->tools.whole_step > 0)
        snprintf(w->chat_who, sizeof w->chat_who, "checkpoint %d", w->tools.whole_step);
    else if (w->chat_adapter == ADAPTER_BASE)
        snprintf(w->chat_who, sizeof w->chat_who, "base");
    else if (!w->chat_who[0] || strncmp(w->chat_who, "live", 4) != 0)
        snprintf(w->chat_who, sizeof w->chat_who, "live");
    v->who = w->chat_who;
    v->temperature = (double)w->chat_sampling.temperature;
    v->top_p = (double)w->chat_sampling.top_p;
    v->answering = w->answering;
}

static struct view_ckpt ckpt_view(const struct workbench *w, const struct ckpt_row *c)
{
    bool loaded = w->chat_adapter == ADAPTER_FOLDER && w->chat_folder && strcmp(w->chat_folder, c->path) == 0;
    return (struct view_ckpt){.name = c->name, .step = c->step, .val_loss = c->val_loss, .form_rate = c->form_rate, .form_low = c->form_low,
                              .form_high = c->form_high, .form_n = c->form_n, .bytes = c->bytes, .best_loss = c->best_loss, .best_form = c->best_form && c->form_rate > 0,
                              .loaded = loaded, .can_export = true};
}

/* The value before any training; NaN where nothing was measured then. */
static double at_start(const struct points *p)
{
    return p->n > 0 && p->x[0] == 0 ? p->y[0] : NAN;
}

/* Newest first, then the live weights and the base. act.c counts in the same order. */
static void fill_ckpts(struct workbench *w)
{
    struct view_ckpts *v = &w->view.ckpts;
    bool live = w->trainer_started && w->trainer;
    size_t n = 0, extra = 2;
    w->ckpt_views = room(w->ckpt_views, v->count, w->n_ckpts + extra, sizeof *w->ckpt_views);
    if (live)
        w->ckpt_views[n++] = (struct view_ckpt){.name = "live", .step = w->view.run.step, .val_loss = NAN, .form_rate = NAN, .form_low = NAN,
                                                .form_high = NAN, .loaded = w->chat_adapter == ADAPTER_LIVE, .note = "as it is now"};
    for (size_t i = w->n_ckpts; i > 0; i--)
        w->ckpt_views[n++] = ckpt_view(w, &w->ckpts[i - 1]);
    bool sampled = at_start(&w->curves[CURVE_FORM_N]) > 0;
    struct view_ckpt base = {.name = "base", .val_loss = at_start(&w->curves[CURVE_VAL_LOSS]), .form_rate = at_start(&w->curves[CURVE_FORM_RATE]),
                             .form_n = sampled ? (long)at_start(&w->curves[CURVE_FORM_N]) : 0, .loaded = w->chat_adapter == ADAPTER_BASE, .note = "no adapter"};
    rate_interval(sampled ? (int)lround(base.form_rate * (double)base.form_n) : 0, (int)base.form_n, &base.form_low, &base.form_high);
    w->ckpt_views[n++] = base;
    v->rows = w->ckpt_views;
    v->count = n;
}

/* A format with its storage types, what the base would take first. */
static struct view_format format_view(const struct workbench *w, enum export_to to)
{
    const struct export_target *target = export_target(to);
    struct view_format f = {.name = target->name, .about = target->about, .on = to == EXPORT_PEFT};
    struct export_request r = {.to = to, .model = w->tools.model};
    enum export_type first = export_type_for(w->tools.model, EXPORT_AS_BASE);
    for (int turn = 0; target->types && turn < 2; turn++)
        for (int t = EXPORT_AS_BASE + 1; t < EXPORT_TYPE_COUNT && f.type_count < FORMAT_TYPES_MAX; t++) {
            if (!(target->types >> t & 1) || (t == (int)first) != (turn == 0))
                continue;
            r.type = (enum export_type)t;
            f.types[f.type_count] = export_storage(r.type)->name;
            f.bytes[f.type_count++] = (size_t)export_bytes_estimate(&r);
        }
    return f;
}

static void fill_export(struct workbench *w)
{
    struct view_export *v = &w->view.export_form;
    v->stage = w->export_stage[0] ? w->export_stage : NULL;
    v->results = w->export_lines;
    v->result_count = (size_t)w->n_export_lines;
    v->path = w->export_path;
    if (!w->tools.model || !w->export_folder[0]) {
        v->format_count = 0;
        return;
    }
    if (v->format_count == 0) { /* made once */
        for (int i = 0; i < EXPORT_TO_COUNT; i++)
            w->formats[i] = format_view(w, (enum export_to)i);
        v->formats = w->formats;
        v->format_count = EXPORT_TO_COUNT;
        v->folder = w->export_folder;
        v->version++;
    }
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        if (!export_target((enum export_to)i)->whole_model) /* known once there is a checkpoint: it holds the moments, too */
            w->formats[i].bytes[0] = w->n_ckpts > 0 ? w->ckpts[0].bytes / 3 : 0;
}

static void fill_log(struct workbench *w)
{
    struct view_log *v = &w->view.log;
    w->log_views = room(w->log_views, v->count, w->n_log, sizeof *w->log_views);
    for (size_t i = 0; i < w->n_log; i++)
        w->log_views[i] = (struct view_log_line){w->log[i].time, w->log[i].level, w->log[i].text};
    v->rows = w->log_views;
    v->count = w->n_log;
}

void view_fill(struct workbench *w)
{
    struct view_curves *c = &w->view.curves;
    w->view.now_s = clock_seconds();
    c->loss = series(&w->curves[CURVE_LOSS]);
    c->val_loss = series(&w->curves[CURVE_VAL_LOSS]);
    c->form_rate = series(&w->curves[CURVE_FORM_RATE]);
    c->learning_rate = series(&w->curves[CURVE_LEARNING_RATE]);
    c->grad_norm = series(&w->curves[CURVE_GRAD_NORM]);
    c->tokens_per_s = series(&w->curves[CURVE_SPEED]);
    fill_run(w);
    data_view_fill(w);
    fill_samples(w);
    fill_chat(w);
    fill_ckpts(w);
    fill_export(w);
    fill_log(w);
}
