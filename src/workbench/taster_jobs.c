/* taster_jobs.c - chat, samples and exports, on the tasting thread. They go first at the gate; training waits meanwhile. */
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
    struct generator *generator;
    struct lora *lora; /* what was loaded or copied last */
    char *folder;      /* where it came from; NULL: a copy of the live one */
};

struct kitchen *kitchen_new(void)
{
    return mem_new(1, sizeof(struct kitchen));
}

void kitchen_free(struct kitchen *k)
{
    generator_free(k->generator);
    if (k->computes)
        compute_free(&k->compute);
    lora_free(k->lora);
    mem_free(k->folder);
    mem_free(k);
}

static bool prepare(struct workbench *w, struct kitchen *k, const struct tools *t, struct gm_error *err)
{
    if (!k->computes) {
        if (!compute_init(&k->compute, w->pool, GM_TASTE, t->options->compute, t->options->kernel, err))
            return false;
        k->computes = true;
    }
    if (k->model == t->model)
        return true;
    generator_free(k->generator);
    int context = t->model->config.max_positions;
    k->generator = generator_new(t->model, t->tokenizer, SAMPLE_PLACES, context > 0 && context < CHAT_CONTEXT ? context : CHAT_CONTEXT, &k->compute,
                                 err);
    k->model = k->generator ? t->model : NULL;
    if (k->generator)
        generator_judge(k->generator, w->syllables, form_find("haiku"));
    return k->generator != NULL;
}

/* The adapter that a job asked for, in k->lora (NULL: the base); *step and who, for the screen. */
static bool fetch(struct kitchen *k, const struct job *j, int *step, char *who, size_t size, struct gm_error *err)
{
    *step = 0;
    if (j->adapter == ADAPTER_FOLDER && k->folder && strcmp(k->folder, j->folder) == 0) {
        *step = j->step;
        snprintf(who, size, "checkpoint %d", j->step);
        return true;
    }
    lora_free(k->lora);
    mem_free(k->folder);
    k->lora = NULL;
    k->folder = NULL;
    if (j->adapter == ADAPTER_LIVE && j->tools->trainer) {
        k->lora = trainer_adapter_copy(j->tools->trainer, step);
        snprintf(who, size, "live @%d", *step);
        return true;
    }
    if (j->adapter != ADAPTER_FOLDER) {
        snprintf(who, size, "base");
        return true;
    }
    k->lora = lora_load(j->folder, &j->tools->model->config, err);
    if (!k->lora)
        return false;
    k->folder = mem_copy(j->folder);
    *step = j->step;
    snprintf(who, size, "checkpoint %d", j->step);
    return true;
}

static void post_text(void *arg, int request, const char *bytes, size_t n)
{
    mail_post(arg, &(struct mail){.kind = MAIL_CHAT_TEXT, .text = mem_copy_n(bytes, n)});
}

/* Ids of the conversation, its oldest turns left out until the answer fits too. */
static bool conversation(const struct job *j, int room, struct id_list *ids, struct gm_error *err)
{
    for (size_t from = 0;; from += 2) {
        if (!chat_encode(j->tools->tpl, j->tools->tokenizer, j->messages + from, j->n_messages - from, true, ids, NULL, err))
            return false;
        if ((int)ids->n + j->sampling.max_tokens < room || j->n_messages - from < 3)
            return true;
    }
}

void taste_chat(struct workbench *w, struct kitchen *k, struct job *j)
{
    struct gm_error err = {0};
    struct id_list ids = {0};
    struct generated result = {0};
    int32_t stop_ids[8];
    char who[48];
    int step, context = j->tools->model->config.max_positions;
    bool ok = prepare(w, k, j->tools, &err) && fetch(k, j, &step, who, sizeof who, &err);
    if (ok)
        mail_post(w, &(struct mail){.kind = MAIL_CHAT_WHO, .text = mem_copy(who)});
    ok = ok && conversation(j, context > 0 && context < CHAT_CONTEXT ? context : CHAT_CONTEXT, &ids, &err);
    if (ok) {
        struct generate_request r = {.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = k->lora, .sampling = j->sampling, .stop_ids = stop_ids,
                                     .n_stop_ids = (int)chat_stop_ids(j->tools->tpl, j->tools->tokenizer, stop_ids)};
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
    struct chat_message message = {"user", j->text};
    bool ok = prepare(w, k, j->tools, &err) && fetch(k, j, &step, who, sizeof who, &err)
              && chat_encode(j->tools->tpl, j->tools->tokenizer, &message, 1, true, &ids, NULL, &err);
    if (ok) {
        int n_stop = (int)chat_stop_ids(j->tools->tpl, j->tools->tokenizer, stop_ids);
        for (int i = 0; i < n; i++) {
            requests[i] = (struct generate_request){.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = k->lora, .sampling = j->sampling,
                                                    .stop_ids = stop_ids, .n_stop_ids = n_stop};
            requests[i].sampling.temperature = j->temps.items[i];
            requests[i].sampling.seed = j->sampling.seed + (uint64_t)i;
        }
        struct generate_hooks hooks = {.cancel = &w->cancel};
        ok = generator_run(k->generator, &k->compute, requests, n, results, &hooks, &err);
    }
    for (int i = 0; ok && i < n; i++)
        mail_post(w, &(struct mail){.kind = MAIL_SAMPLE, .sample = results[i], .text2 = mem_copy(j->text), .event.step = step, .number = n - 1 - i});
    mail_post(w, &(struct mail){.kind = MAIL_SAMPLES_OVER, .text = ok ? NULL : mem_copy(err.text)});
    id_list_free(&ids);
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

static bool export_one(struct workbench *w, struct kitchen *k, const struct job *j, enum export_to to, struct export_watch *watch)
{
    struct gm_error err = {0};
    char *out = path_join(j->text, export_to_name(to)), *line;
    struct export_result result;
    struct export_request r = {.to = to, .type = DT_COUNT, .model = j->tools->model, .lora = k->lora, .tokenizer = j->tools->tokenizer,
                               .template_text = chat_template_text(j->tools->tpl), .model_name = j->tools->options->model, .out = out,
                               .progress = on_progress, .arg = watch, .cancel = &w->cancel};
    bool ok = export_run(&r, &k->compute, &result, &err);
    if (ok)
        line = mem_printf("%s  %.1f MB  proved: KL %.2g, same best token at %.0f %%", out, (double)result.bytes / 1e6, result.mean_kl,
                          100 * result.greedy_agreement);
    else
        line = mem_copy(err.text);
    mail_post(w, &(struct mail){.kind = MAIL_EXPORT_LINE, .text = line});
    mem_free(out);
    return ok;
}

void taste_export(struct workbench *w, struct kitchen *k, struct job *j)
{
    struct gm_error err = {0};
    char who[48];
    int step, n = 0, done = 0;
    bool ok = prepare(w, k, j->tools, &err) && fetch(k, j, &step, who, sizeof who, &err);
    if (!ok)
        mail_post(w, &(struct mail){.kind = MAIL_EXPORT_LINE, .text = mem_copy(err.text)});
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        n += j->formats >> i & 1;
    for (int i = 0; ok && i < EXPORT_TO_COUNT; i++) {
        if (!(j->formats >> i & 1))
            continue;
        struct export_watch watch = {w, (double)done / n, 1.0 / n};
        ok = export_one(w, k, j, (enum export_to)i, &watch);
        done++;
    }
    mail_post(w, &(struct mail){.kind = MAIL_EXPORT_OVER, .flag = ok});
}
