/* taster_jobs.c - chat, samples and exports, on the tasting thread. They go first at the gate; training has a small share meanwhile. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SAMPLE_PLACES = 12 };

/* Kept between jobs, because making it costs more than a token. */
struct kitchen {
    struct compute compute;
    bool computes;
    const struct model *model; /* what the generator is for */
    struct generator *generator; /* remembers conversations, as long as the adapter is the same */
    struct lora *lora;           /* what was loaded or copied last; NULL: the base, or all weights are trained */
    enum adapter_of adapter;     /* what that is */
    char *folder;                /* where it came from */
    int step;                    /* of a copy of the live one */
};

struct kitchen *kitchen_new(void)
{
    struct kitchen *k = mem_new(1, sizeof *k);
    k->adapter = ADAPTER_BASE;
    return k;
}

/* Takes the adapter; what was computed with the one before is of no use any more. */
static void take_adapter(struct kitchen *k, enum adapter_of adapter, struct lora *lora, const char *folder, int step)
{
    char *copy = folder ? mem_copy(folder) : NULL;
    lora_free(k->lora);
    mem_free(k->folder);
    k->lora = lora;
    k->adapter = adapter;
    k->folder = copy;
    k->step = step;
    if (k->generator)
        generator_forget(k->generator);
}

static void forget_model(struct kitchen *k)
{
    generator_free(k->generator);
    k->generator = NULL;
    k->model = NULL;
    take_adapter(k, ADAPTER_BASE, NULL, NULL, 0);
}

void kitchen_free(struct kitchen *k)
{
    forget_model(k);
    if (k->computes)
        compute_free(&k->compute);
    mem_free(k);
}

static bool open_compute(struct workbench *w, struct kitchen *k, const struct train_options *o, struct gm_error *err)
{
    enum family family = o->kernel == FAMILY_AUTO || family_runs_here(o->kernel) ? o->kernel : FAMILY_AUTO; /* the run may come from another machine */
    if (!k->computes)
        k->computes = compute_init(&k->compute, w->pool, GM_TASTE, o->compute, family, err);
    return k->computes;
}

static int context_of(const struct tools *t)
{
    int most = t->model->config.max_positions;
    return most > 0 && most < CHAT_CONTEXT ? most : CHAT_CONTEXT;
}

/* Weights are packed where that pays and memory is free, but not beside training: a run takes what its plan says. */
static bool prepare(struct workbench *w, struct kitchen *k, const struct job *j, struct gm_error *err)
{
    const struct tools *t = &j->tools;
    if (!open_compute(w, k, t->options, err))
        return false;
    if (!t->tpl)
        return error_set(err, GM_E_UNSUPPORTED, "ask the model: it has no chat template that is known here (train with --chat-template)");
    if (k->model != t->model) {
        forget_model(k);
        k->generator = generator_new(t->model, t->tokenizer, SAMPLE_PLACES, context_of(t), &k->compute, err);
        if (!k->generator)
            return false;
        k->model = t->model;
        generator_judge(k->generator, w->syllables, form_find("haiku"));
        generator_remember(k->generator, true);
    }
    generator_packing(k->generator, j->training ? 0 : -1);
    return true;
}

static bool load_adapter(struct workbench *w, struct kitchen *k, const struct job *j, struct gm_error *err)
{
    struct lora *lora = lora_load(j->folder, &j->tools.model->config, err);
    if (!lora)
        return false;
    struct str why = {0};
    if (!lora_fits(lora, j->tools.model->source, &why))
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(str_text(&why))});
    str_free(&why);
    lora_bind(lora, j->tools.model, &k->compute);
    take_adapter(k, ADAPTER_FOLDER, lora, j->folder, j->step);
    return true;
}

/* The adapter that a job asked for, in k->lora (NULL: the base); *step and who, for the screen. */
static bool fetch(struct workbench *w, struct kitchen *k, const struct job *j, int *step, char *who, size_t size, struct gm_error *err)
{
    *step = 0;
    if (j->adapter == ADAPTER_LIVE && j->tools.trainer) {
        struct lora *copy = trainer_adapter_copy(j->tools.trainer, step);
        if (k->adapter == ADAPTER_LIVE && k->step == *step)
            lora_free(copy); /* no update since */
        else
            take_adapter(k, ADAPTER_LIVE, copy, NULL, *step);
        snprintf(who, size, "live @%d", *step);
        return true;
    }
    if (j->adapter != ADAPTER_FOLDER) {
        if (k->adapter != ADAPTER_BASE)
            take_adapter(k, ADAPTER_BASE, NULL, NULL, 0);
        snprintf(who, size, "base");
        return true;
    }
    if ((k->adapter != ADAPTER_FOLDER || strcmp(k->folder, j->folder) != 0) && !load_adapter(w, k, j, err))
        return false;
    *step = j->step;
    snprintf(who, size, "checkpoint %d", j->step);
    return true;
}

static void post_text(void *arg, int request, const char *bytes, size_t n)
{
    mail_post(arg, &(struct mail){.kind = MAIL_CHAT_TEXT, .text = mem_copy_n(bytes, n)});
}

/* Ids of the conversation behind the run's system message, its oldest turns left out until the answer fits too. */
static bool conversation(const struct job *j, struct id_list *ids, struct gm_error *err)
{
    struct chat_message *all = mem_new(j->n_messages + 1, sizeof *all);
    const char *system = j->tools.options->system;
    size_t lead = system && *system ? 1 : 0, from = 0;
    bool ok = true, fits = false;
    while (ok && !fits) {
        if (lead)
            all[0] = (struct chat_message){"system", system};
        memcpy(all + lead, j->messages + from, (j->n_messages - from) * sizeof *all);
        ok = chat_encode(j->tools.tpl, j->tools.tokenizer, all, lead + j->n_messages - from, true, ids, NULL, err);
        fits = (int64_t)ids->n + j->sampling.max_tokens < context_of(&j->tools) || j->n_messages - from < 3;
        from += 2;
    }
    mem_free(all);
    return ok;
}

void taste_chat(struct workbench *w, struct kitchen *k, struct job *j)
{
    struct gm_error err = {0};
    struct id_list ids = {0};
    struct generated result = {0};
    int32_t stop_ids[8];
    char who[48];
    int step;
    bool ok = prepare(w, k, j, &err) && fetch(w, k, j, &step, who, sizeof who, &err);
    if (ok)
        mail_post(w, &(struct mail){.kind = MAIL_CHAT_WHO, .text = mem_copy(who)});
    ok = ok && conversation(j, &ids, &err);
    if (ok) {
        struct generate_request r = {.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = k->lora, .sampling = j->sampling, .stop_ids = stop_ids,
                                     .n_stop_ids = (int)chat_stop_ids(j->tools.tpl, j->tools.tokenizer, stop_ids)};
        struct generate_hooks hooks = {.text = post_text, .arg = w, .cancel = &w->cancel};
        ok = generator_run(k->generator, &k->compute, &r, 1, &result, &hooks, &err);
    }
    mail_post(w, &(struct mail){.kind = MAIL_CHAT_OVER, .sample = result, .text = ok ? NULL : mem_copy(err.text)});
    id_list_free(&ids);
}

void taste_sample(struct workbench *w, struct kitchen *k, struct job *j)
{
    struct gm_error err = {0};
    struct id_list ids = {0};
    struct generate_request requests[LIST_MAX];
    struct generated results[LIST_MAX] = {{0}};
    int32_t stop_ids[8];
    char who[48];
    int step = 0, n = j->temps.n;
    j->messages = mem_new(1, sizeof *j->messages); /* goes with the job */
    j->messages[0] = (struct chat_message){"user", mem_copy(j->text)};
    j->n_messages = 1;
    bool ok = prepare(w, k, j, &err) && fetch(w, k, j, &step, who, sizeof who, &err) && conversation(j, &ids, &err);
    if (ok) {
        int n_stop = (int)chat_stop_ids(j->tools.tpl, j->tools.tokenizer, stop_ids);
        for (int i = 0; i < n; i++) {
            requests[i] = (struct generate_request){.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = k->lora, .sampling = j->sampling,
                                                    .stop_ids = stop_ids, .n_stop_ids = n_stop};
            requests[i].sampling.temperature = j->temps.items[i];
            requests[i].sampling.seed = j->sampling.seed + (uint64_t)i;
        }
        struct generate_hooks hooks = {.cancel = &w->cancel};
        ok = generator_run(k->generator, &k->compute, requests, n, results, &hooks, &err);
    }
    for (int i = 0; ok && i < n; i++) {
        if (results[i].stop == STOP_CANCELLED && results[i].n_tokens == 0)
            generated_free(&results[i]); /* never begun */
        else
            mail_post(w, &(struct mail){.kind = MAIL_SAMPLE, .sample = results[i], .text2 = mem_copy(j->text), .event.step = step,
                                        .number = n - 1 - i});
    }
    mail_post(w, &(struct mail){.kind = MAIL_SAMPLES_OVER, .text = ok ? NULL : mem_copy(err.text)});
    id_list_free(&ids);
}

/* A run is to go on: what the kitchen holds is made again when it is wanted, and the trainer of before, if there is one, gives its lock back. */
void taste_retire(struct workbench *w, struct kitchen *k, struct job *j)
{
    forget_model(k);
    trainer_free(j->tools.trainer);
    mail_post(w, &(struct mail){.kind = MAIL_RETIRED});
}

/* ---- export ---- */

struct export_watch {
    struct workbench *w;
    double from, share; /* of all formats together */
};

static void on_progress(void *arg, double share, const char *what)
{
    struct export_watch *watch = arg;
    mail_post(watch->w, &(struct mail){.kind = MAIL_EXPORT_AT, .number = watch->from + watch->share * share, .text = clean_copy(what, false)});
}

/* Where exports of a run go unless told otherwise, and how much room there is. */
void post_export_place(struct workbench *w, const char *run_dir)
{
    uint64_t free_bytes = 0;
    char *name = clean_copy(path_base(run_dir), false), *folder = mem_printf("out/%s", name);
    disk_free_bytes(".", &free_bytes, NULL);
    mail_post(w, &(struct mail){.kind = MAIL_EXPORT_PLACE, .text = folder, .number = (double)free_bytes});
    mem_free(name);
}

static enum job_state export_one(struct workbench *w, struct kitchen *k, const struct job *j, enum export_to to, int step, struct export_watch *watch)
{
    struct gm_error err = {0};
    enum export_type type = export_target(to)->whole_model ? export_type_for(j->tools.model, j->types[to]) : EXPORT_AS_BASE;
    char *name = export_default_name(to, type), *out = path_join(j->text, name), *line;
    struct export_result result;
    if (k->lora) /* it leaves its run */
        text_clean_fixed(k->lora->origin.run, sizeof k->lora->origin.run, path_base(j->tools.run_dir), strlen(path_base(j->tools.run_dir)));
    struct export_request r = {.to = to, .type = j->types[to], .sampling = &j->sampling, .model = j->tools.model, .lora = k->lora, .tokenizer = j->tools.tokenizer,
                               .tpl = j->tools.tpl, .system = j->tools.options->system, .run_dir = j->tools.run_dir, .step = step, .model_name = j->tools.options->model,
                               .out = out, .progress = on_progress, .arg = watch, .cancel = &w->cancel};
    bool ok = export_run(&r, &k->compute, &result, &err);
    if (ok)
        line = mem_printf("%s  %.1f MB  proved: KL %.2g, same token %.0f %%", out, (double)result.bytes / 1e6, result.mean_kl,
                          100 * result.greedy_agreement);
    else if (err.code == GM_E_CANCELLED)
        line = mem_printf("%s  stopped, nothing of it is kept", out);
    else
        line = mem_printf("%s%s", err.text, err.code == GM_E_INPUT && path_exists(out) ? " (choose another folder)" : "");
    mail_post(w, &(struct mail){.kind = MAIL_EXPORT_LINE, .text = line, .text2 = ok ? mem_copy(out) : NULL,
                               .number = ok || err.code == GM_E_CANCELLED ? EXPORT_WROTE : EXPORT_FAULT});
    for (int i = 0; ok && i < result.n_notes; i++)
        mail_post(w, &(struct mail){.kind = MAIL_EXPORT_LINE, .text = mem_copy(result.notes[i]), .number = EXPORT_NOTE});
    export_result_free(&result);
    mem_free(name);
    mem_free(out);
    return ok ? JOB_DONE : err.code == GM_E_CANCELLED ? JOB_STOPPED : JOB_FAILED;
}

void taste_export(struct workbench *w, struct kitchen *k, struct job *j)
{
    struct gm_error err = {0};
    char who[48];
    int step, n = 0, done = 0;
    enum job_state state = open_compute(w, k, j->tools.options, &err) && fetch(w, k, j, &step, who, sizeof who, &err) ? JOB_DONE : JOB_FAILED;
    if (state == JOB_FAILED)
        mail_post(w, &(struct mail){.kind = MAIL_EXPORT_LINE, .text = mem_copy(err.text), .number = EXPORT_FAULT});
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        n += j->formats >> i & 1;
    for (int i = 0; state == JOB_DONE && i < EXPORT_TO_COUNT; i++) {
        if (!(j->formats >> i & 1))
            continue;
        struct export_watch watch = {w, (double)done / n, 1.0 / n};
        state = export_one(w, k, j, (enum export_to)i, step, &watch);
        done++;
    }
    mail_post(w, &(struct mail){.kind = MAIL_EXPORT_OVER, .number = state, .text = state == JOB_DONE && n > 1 ? mem_copy(j->text) : NULL});
    post_export_place(w, j->tools.run_dir);
}
