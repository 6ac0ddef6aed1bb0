/* taster_run.c - opening a run that is on disk: its journal and samples are told as if they happened now, then model and data are opened. What is written to
 * the journals later is told as it comes. And the checking of rows for the Data screen. On the tasting thread. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Whole numbers of a file are anybody's: what is none, or lies outside, is 0. */
static int whole(json_t *o, const char *key)
{
    double x = number(o, key);
    return x >= -1e9 && x <= 1e9 ? (int)x : 0;
}

/* ---- the journals: read once from the start, then what is added ---- */

struct tailed {
    char *path;
    int fd; /* -1: not there yet */
    off_t at;
    int64_t line;
    struct str kept; /* of a line whose end has not been written yet */
    bool spoilt;     /* said already that a line is no JSON */
};
struct follow {
    char *dir;
    struct tailed journal, samples;
    int turns;
};

static void take_line(struct workbench *w, struct tailed *t, void (*tell)(struct workbench *, json_t *))
{
    struct gm_error err = {0};
    t->line++;
    json_t *o = t->kept.len ? json_parse_at(str_text(&t->kept), t->kept.len, t->path, t->line, &err) : NULL;
    if (o) {
        tell(w, o);
    } else if (t->kept.len && !t->spoilt) {
        t->spoilt = true;
        mail_post_patient(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_printf("%s (left out)", err.text)});
    }
    json_decref(o);
    str_clear(&t->kept);
}

/* Tells what was written since. True: there was something. */
static bool read_on(struct workbench *w, struct tailed *t, void (*tell)(struct workbench *, json_t *))
{
    enum { PIECE = 65536, LINE_MAX_BYTES = 16 << 20 };
    struct stat st;
    off_t before = t->at;
    if (t->fd < 0)
        t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (t->fd < 0 || fstat(t->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (st.st_size < t->at) { /* half a line of a killed process was cut off */
        t->at = st.st_size;
        str_clear(&t->kept);
    }
    char *piece = mem_new(PIECE, 1);
    for (ssize_t n; (n = pread(t->fd, piece, PIECE, t->at)) > 0; t->at += n) {
        const char *p = piece, *end = piece + n;
        for (const char *stop; (stop = memchr(p, '\n', (size_t)(end - p))); p = stop + 1) {
            str_add_n(&t->kept, p, (size_t)(stop - p));
            take_line(w, t, tell);
        }
        str_add_n(&t->kept, p, (size_t)(end - p));
        if (t->kept.len > LINE_MAX_BYTES)
            str_clear(&t->kept); /* no line of ours; its end will be no JSON and is left out */
    }
    mem_free(piece);
    return t->at != before;
}

static void tell_event(struct workbench *w, json_t *o)
{
    const char *kind = text_of(o, "event");
    struct mail m = {.kind = MAIL_TRAIN};
    struct train_event *e = &m.event;
    e->step = whole(o, "step");
    e->time_s = number(o, "time_s");
    e->loss = number(o, "loss");
    e->epoch = NAN;
    if (strcmp(kind, "start") == 0 || strcmp(kind, "resume") == 0) {
        e->kind = TRAIN_STARTED;
        e->iters = whole(o, "iters");
    } else if (strcmp(kind, "step") == 0) {
        e->kind = TRAIN_STEP;
        e->grad_norm = number(o, "grad_norm");
        e->learning_rate = number(o, "learning_rate");
        e->tokens_per_second = number(o, "tokens_per_second");
        e->tokens = whole(o, "tokens");
    } else if (strcmp(kind, "eval") == 0) {
        e->kind = TRAIN_EVAL;
    } else if (strcmp(kind, "form") == 0) {
        e->kind = TRAIN_FORM;
        e->rate = number(o, "rate");
        e->n = whole(o, "n");
    } else if (strcmp(kind, "warning") == 0) {
        e->kind = TRAIN_WARNING;
        m.text = clean_copy(text_of(o, "text"), false);
    } else {
        return;
    }
    mail_post_patient(w, &m);
}

static void tell_sample(struct workbench *w, json_t *o)
{
    struct mail m = {.kind = MAIL_TRAIN, .event.kind = TRAIN_SAMPLE, .event.step = whole(o, "step")};
    m.sample.temperature = (float)number(o, "temperature");
    m.sample.seed = (uint64_t)json_integer_value(json_object_get(o, "seed"));
    m.sample.n_tokens = whole(o, "tokens");
    m.sample.seconds = number(o, "seconds");
    m.sample.text = mem_copy(text_of(o, "text"));
    m.text2 = mem_copy(text_of(o, "prompt"));
    mail_post_patient(w, &m);
}

void post_run(struct workbench *w, const char *dir)
{
    struct run_info *r = mem_new(1, sizeof *r);
    if (run_info_open(r, dir, NULL))
        mail_post(w, &(struct mail){.kind = MAIL_RUN, .pointer = r});
    else
        mem_free(r);
}

static struct follow *follow_new(const char *dir)
{
    struct follow *f = mem_new(1, sizeof *f);
    f->dir = mem_copy(dir);
    f->journal = (struct tailed){.path = path_join(dir, "journal.jsonl"), .fd = -1};
    f->samples = (struct tailed){.path = path_join(dir, "samples.jsonl"), .fd = -1};
    return f;
}

static void tailed_free(struct tailed *t)
{
    if (t->fd >= 0)
        close(t->fd);
    mem_free(t->path);
    str_free(&t->kept);
}

void follow_free(struct follow *f)
{
    if (!f)
        return;
    tailed_free(&f->journal);
    tailed_free(&f->samples);
    mem_free(f->dir);
    mem_free(f);
}

void taste_follow(struct workbench *w)
{
    enum { LOOK_EVERY = 5 }; /* a process that dies writes nothing */
    struct follow *f = w->follow;
    if (!f || !atomic_load(&w->following))
        return;
    bool news = read_on(w, &f->journal, tell_event);
    news |= read_on(w, &f->samples, tell_sample);
    if ((news || ++f->turns % LOOK_EVERY == 0) && atomic_load(&w->following))
        post_run(w, f->dir);
}

/* ---- opening ---- */

/* The curve first: it is what a person looks at while model and data are opened. *checkpoint: the folder of the best one, NULL: none. */
static bool tell_run(struct workbench *w, const char *dir, bool tools_only, struct train_options *options, char **checkpoint, int *step,
                     struct gm_error *err)
{
    struct run_info *r = mem_new(1, sizeof *r);
    if (!run_info_open(r, dir, err)) {
        mem_free(r);
        return false;
    }
    const struct checkpoint_info *best = r->n_checkpoints ? &r->checkpoints[r->n_checkpoints - 1] : NULL;
    for (int i = 0; i < r->n_checkpoints; i++)
        if (r->checkpoints[i].best_loss)
            best = &r->checkpoints[i];
    if (best) {
        *checkpoint = mem_copy(best->path);
        *step = best->step;
    }
    bool running = strcmp(r->state, "running") == 0, ok = train_options_from_json(options, json_object_get(r->json, "options"), dir, err);
    if (tools_only || !ok) {
        run_info_free(r);
        mem_free(r);
        return ok;
    }
    mail_post(w, &(struct mail){.kind = MAIL_RUN, .pointer = r});
    follow_free(w->follow);
    w->follow = follow_new(dir);
    read_on(w, &w->follow->journal, tell_event);
    read_on(w, &w->follow->samples, tell_sample);
    if (running)
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .text = mem_copy("another process trains this run; it is followed as it goes")});
    return true;
}

/* All weights trained: the checkpoint is the model. */
static bool open_model(struct opened *o, const char *checkpoint, struct gm_error *err)
{
    struct gm_error none = {0};
    bool whole_model = o->options.tune == TUNE_FULL;
    if (whole_model && !checkpoint)
        return error_set(err, GM_E_INPUT, "open model of %s: it has no checkpoint yet (wait for the first one)", path_base(o->dir));
    o->model = model_open(whole_model ? checkpoint : o->options.model, err);
    if (!o->model || !(o->tokenizer = model_tokenizer(o->model, o->model->source, o->options.model, err)))
        return false;
    o->tpl = chat_template_open(o->model->source, o->tokenizer, o->options.chat_template, &none); /* the curve can be looked at without */
    if (o->tpl && o->options.chat_template_config && !chat_template_set_variables(o->tpl, o->options.chat_template_config, err))
        return false;
    return true;
}

static void open_data(struct workbench *w, struct opened *o)
{
    struct gm_error err = {0};
    struct dataset_options d = {.max_seq_length = o->options.max_seq_length, .mask_prompt = o->options.mask_prompt, .system = o->options.system,
                                .seed = o->options.seed};
    o->dataset = dataset_open(o->options.data, &d, o->tokenizer, o->tpl, &err);
    if (!o->dataset) /* the run can be tasted without */
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(err.text)});
}

void taste_load_run(struct workbench *w, struct job *job)
{
    struct gm_error err = {0};
    struct opened *o = mem_new(1, sizeof *o);
    struct tools *t = mem_new(1, sizeof *t);
    char *checkpoint = NULL;
    int step = 0;
    t->owned = o;
    o->dir = mem_copy(job->folder);
    o->options = train_options_default();
    busy(w, "reading the run");
    bool ok = tell_run(w, job->folder, job->tools_only, &o->options, &checkpoint, &step, &err);
    if (ok) {
        busy(w, "opening the model");
        ok = open_model(o, checkpoint, &err);
    }
    if (ok) {
        busy(w, "reading the data");
        open_data(w, o);
    }
    busy(w, NULL);
    *t = (struct tools){.model = o->model, .tokenizer = o->tokenizer, .tpl = o->tpl, .dataset = o->dataset, .options = &o->options, .run_dir = o->dir,
                        .whole_step = o->options.tune == TUNE_FULL ? step : 0, .owned = o};
    if (ok) {
        mail_post(w, &(struct mail){.kind = MAIL_TOOLS, .pointer = t});
    } else {
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(err.text)});
        tools_free(t);
    }
    mem_free(checkpoint);
}

/* ---- rows of the Data screen ---- */

static void check_row(struct rows *all, size_t i, const struct syllables *s, const struct form *form)
{
    const struct row *r = &all->dataset->rows[i];
    struct view_row *v = &all->rows[i];
    struct verdict verdict;
    form_judge(s, form, r->answer, strlen(r->answer), &verdict);
    char *prompt = line_copy(r->prompt), *first = NULL;
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
                           .leak = row_found(r, FIND_LEAK), .duplicate_of = r->duplicate_of >= 0 ? r->duplicate_of + 1 : 0, .prompt = prompt, .first_line = first};
    for (int k = 0; k < verdict.n_lines && k < VIEW_LINES_MAX; k++) {
        v->syllables[k] = (int8_t)(verdict.syllables[k] < 127 ? verdict.syllables[k] : 127);
        v->want[k] = (int8_t)(k < form->n_lines ? form->syllables[k] : 0);
        v->unsure[k] = verdict.min[k] != verdict.max[k];
    }
    if (!*r->answer) {
        v->verdict = VERDICT_NONE;
        return;
    }
    v->verdict = verse_decide(&verdict, form, r->answer, strlen(r->answer));
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
    const struct dataset *d = job->tools.dataset;
    const struct form *form = form_find("haiku");
    post_export_place(w, job->tools.run_dir);
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
