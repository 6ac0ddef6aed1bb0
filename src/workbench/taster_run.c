/* taster_run.c - opening a run that is on disk: its journal and samples are told as if they happened now, then model and data are opened; and the checking of
 * rows for the Data screen. On the tasting thread. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct opened { /* what tools_free gives back */
    struct train_options options;
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat_template *tpl;
    struct dataset *dataset;
    char *dir;
};

void tools_free(struct tools *t)
{
    if (!t)
        return;
    struct opened *o = t->owned;
    dataset_free(o->dataset);
    chat_template_free(o->tpl);
    tokenizer_free(o->tokenizer);
    model_free(o->model);
    train_options_free(&o->options);
    mem_free(o->dir);
    mem_free(o);
    mem_free(t);
}

static void busy(struct workbench *w, const char *what)
{
    mail_post(w, &(struct mail){.kind = MAIL_BUSY, .text = what ? mem_copy(what) : NULL});
}

static double number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static bool tell_event(void *arg, json_t *o)
{
    struct workbench *w = arg;
    const char *kind = text_of(o, "event");
    struct mail m = {.kind = MAIL_TRAIN};
    struct train_event *e = &m.event;
    e->step = (int)number(o, "step");
    e->iters = w->view.run.iters > 0 ? (int)w->view.run.iters : 0;
    e->time_s = number(o, "time_s");
    e->loss = number(o, "loss");
    if (strcmp(kind, "step") == 0) {
        e->kind = TRAIN_STEP;
        e->grad_norm = number(o, "grad_norm");
        e->learning_rate = number(o, "learning_rate");
        e->tokens_per_second = number(o, "tokens_per_second");
        e->tokens = (int64_t)number(o, "tokens");
        e->epoch = NAN;
    } else if (strcmp(kind, "eval") == 0) {
        e->kind = TRAIN_EVAL;
    } else if (strcmp(kind, "form") == 0) {
        e->kind = TRAIN_FORM;
        e->rate = number(o, "rate");
        e->n = (int)number(o, "n");
        rate_interval((int)lround(e->rate * e->n), e->n, &e->rate_low, &e->rate_high);
    } else if (strcmp(kind, "warning") == 0) {
        e->kind = TRAIN_WARNING;
        m.text = clean_copy(text_of(o, "text"), false);
    } else {
        return true;
    }
    mail_post(w, &m);
    return true;
}

static bool tell_sample(void *arg, json_t *o)
{
    struct mail m = {.kind = MAIL_TRAIN, .event.kind = TRAIN_SAMPLE, .event.step = (int)number(o, "step")};
    m.sample.temperature = (float)number(o, "temperature");
    m.sample.seed = (uint64_t)json_integer_value(json_object_get(o, "seed"));
    m.sample.n_tokens = (int)number(o, "tokens");
    m.sample.seconds = number(o, "seconds");
    m.sample.text = mem_copy(text_of(o, "text"));
    m.text2 = mem_copy(text_of(o, "prompt"));
    mail_post(arg, &m);
    return true;
}

static enum run_state state_of(const char *name)
{
    if (strcmp(name, "finished") == 0)
        return RUN_DONE;
    return strcmp(name, "running") == 0 ? RUN_TRAINING : RUN_STOPPED;
}

static bool tell_run(struct workbench *w, const char *dir, struct train_options *options, struct gm_error *err)
{
    struct run_info r;
    if (!run_info_open(&r, dir, err))
        return false;
    mail_post(w, &(struct mail){.kind = MAIL_STATE, .number = state_of(r.state), .text = clean_copy(r.name, false), .event.step = r.last_step,
                                .event.iters = r.iters});
    char *journal = path_join(dir, "journal.jsonl"), *samples = path_join(dir, "samples.jsonl");
    bool ok = journal_read(journal, tell_event, w, err);
    if (ok && file_exists(samples))
        ok = journal_read(samples, tell_sample, w, err);
    for (int i = 0; ok && i < r.n_checkpoints; i++) {
        const struct checkpoint_info *c = &r.checkpoints[i];
        const char *best = c->best_loss && c->best_form ? "both" : c->best_loss ? "loss" : c->best_form ? "form" : NULL;
        mail_post(w, &(struct mail){.kind = MAIL_CHECKPOINT, .event.step = c->step, .number = (double)c->bytes, .text = clean_copy(c->path, false),
                                    .text2 = best ? mem_copy(best) : NULL});
    }
    *options = train_options_default();
    ok = ok && train_options_from_json(options, json_object_get(r.json, "options"), dir, err);
    if (strcmp(r.state, "running") == 0)
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .text = mem_copy("another process trains this run; what is shown is as of now")});
    run_info_free(&r);
    mem_free(journal);
    mem_free(samples);
    return ok;
}

static bool open_model(struct opened *o, struct gm_error *err)
{
    o->model = model_open(o->options.model, err);
    return o->model && (o->tokenizer = tokenizer_open(o->model->source, err))
           && (o->tpl = chat_template_open(o->model->source, o->tokenizer, o->options.chat_template, err));
}

void taste_load_run(struct workbench *w, struct job *job)
{
    struct gm_error err = {0};
    struct opened *o = mem_new(1, sizeof *o);
    struct tools *t = mem_new(1, sizeof *t);
    t->owned = o;
    o->dir = mem_copy(job->folder);
    busy(w, "reading the run");
    bool ok = tell_run(w, job->folder, &o->options, &err);
    if (ok) {
        busy(w, "opening the model");
        ok = open_model(o, &err);
    }
    if (ok) {
        struct dataset_options d = {.max_seq_length = o->options.max_seq_length, .mask_prompt = o->options.mask_prompt, .system = o->options.system,
                                    .seed = o->options.seed};
        struct gm_error data_error = {0};
        busy(w, "reading the data");
        o->dataset = dataset_open(o->options.data, &d, o->tokenizer, o->tpl, &data_error);
        if (!o->dataset) /* the run can be tasted without */
            mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(data_error.text)});
    }
    busy(w, NULL);
    if (!ok) {
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(err.text)});
        tools_free(t);
        return;
    }
    t->model = o->model;
    t->tokenizer = o->tokenizer;
    t->tpl = o->tpl;
    t->dataset = o->dataset;
    t->options = &o->options;
    t->run_dir = o->dir;
    mail_post(w, &(struct mail){.kind = MAIL_TOOLS, .pointer = t});
}

/* ---- rows of the Data screen ---- */

static void check_row(struct rows *all, size_t i, const struct syllables *s, const struct form *form)
{
    const struct row *r = &all->dataset->rows[i];
    struct view_row *v = &all->rows[i];
    struct verdict verdict;
    form_judge(s, form, r->answer, strlen(r->answer), &verdict);
    char *prompt = clean_copy(r->prompt, false), *first = NULL;
    size_t at = 0, length;
    const char *line;
    if (form_next_line(r->answer, strlen(r->answer), &at, &line, &length)) {
        char *copy = mem_copy_n(line, length);
        first = clean_copy(copy, false);
        mem_free(copy);
    }
    all->texts[2 * i] = prompt;
    all->texts[2 * i + 1] = first;
    *v = (struct view_row){.id = (long)i + 1, .split = r->split == SPLIT_TRAIN ? VIEW_TRAIN : r->split == SPLIT_VALID ? VIEW_VALID : VIEW_TEST,
                           .tokens = r->n_full, .supervised = r->n_supervised, .line_count = verdict.n_lines, .truncated = r->n_full > r->n,
                           .leak = r->leak, .duplicate_of = r->duplicate_of >= 0 ? r->duplicate_of + 1 : 0, .prompt = prompt, .first_line = first};
    for (int k = 0; k < verdict.n_lines && k < VIEW_LINES_MAX; k++) {
        v->syllables[k] = (int8_t)(verdict.syllables[k] < 127 ? verdict.syllables[k] : 127);
        v->want[k] = (int8_t)(k < form->n_lines ? form->syllables[k] : 0);
        v->unsure[k] = verdict.min[k] != verdict.max[k];
    }
    if (!*r->answer) {
        v->verdict = VERDICT_NONE;
        return;
    }
    v->verdict = verdict.strict ? VERDICT_STRICT : verdict.possible ? VERDICT_POSSIBLE : verdict.n_lines != form->n_lines ? VERDICT_LINES : VERDICT_WRONG;
    all->strict += verdict.strict;
    all->possible += verdict.possible && !verdict.strict;
    all->wrong += !verdict.possible;
}

void rows_free(struct rows *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < 2 * r->n; i++)
        mem_free(r->texts[i]);
    mem_free(r->texts);
    mem_free(r->rows);
    mem_free(r);
}

void taste_check_rows(struct workbench *w, struct job *job)
{
    const struct dataset *d = job->tools->dataset;
    const struct form *form = form_find("haiku");
    if (!d)
        return;
    struct rows *all = mem_new(1, sizeof *all);
    all->dataset = d;
    all->n = (size_t)d->n_rows;
    all->rows = mem_new(all->n ? all->n : 1, sizeof *all->rows);
    all->texts = mem_new(all->n ? 2 * all->n : 1, sizeof *all->texts);
    for (size_t i = 0; i < all->n; i++) {
        check_row(all, i, w->syllables, form);
        if (i % 4096 == 4095) {
            char note[48];
            snprintf(note, sizeof note, "checking rows %d %%", (int)(100 * i / all->n));
            busy(w, note);
        }
    }
    busy(w, NULL);
    mail_post(w, &(struct mail){.kind = MAIL_DATA, .pointer = all});
}
