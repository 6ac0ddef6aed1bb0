/* feed.c - mails into the state of the screens. UI thread. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A run that was killed comes back to its last checkpoint and goes through the same steps again. */
static void points_cut(struct points *p, double after)
{
    while (p->n > 0 && p->x[p->n - 1] > after)
        p->n--;
}

void points_add(struct points *p, double x, double y)
{
    while (p->n > 0 && p->x[p->n - 1] >= x)
        p->n--;
    size_t cap = p->cap;
    p->x = mem_room(p->x, p->n, &cap, sizeof *p->x);
    cap = p->cap;
    p->y = mem_room(p->y, p->n, &cap, sizeof *p->y);
    p->cap = cap;
    p->x[p->n] = x;
    p->y[p->n++] = y;
}

static void points_free(struct points *p)
{
    mem_free(p->x);
    mem_free(p->y);
    *p = (struct points){0};
}

/* In the log alone; the text is clean. */
static void log_line(struct workbench *w, enum message_level level, char *text)
{
    if (w->n_log == LOG_MAX) {
        mem_free(w->log[0].text);
        memmove(w->log, w->log + 1, --w->n_log * sizeof *w->log);
    }
    w->log = mem_room(w->log, w->n_log, &w->cap_log, sizeof *w->log);
    struct log_row *row = &w->log[w->n_log++];
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    strftime(row->time, sizeof row->time, "%H:%M:%S", &local);
    row->level = level;
    row->text = text;
}

void feed_say(struct workbench *w, enum message_level level, const char *format, ...)
{
    struct str line = {0}, clean = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&line, format, args);
    va_end(args);
    text_clean(&clean, str_text(&line), line.len, false, false);
    snprintf(w->message, sizeof w->message, "%s", str_text(&clean));
    w->view.message.level = level;
    w->view.message.text = w->message;
    w->view.message.id++;
    w->view.message.time_s = clock_seconds();
    log_line(w, level, str_take(&clean));
    str_free(&line);
}

/* ---- training ---- */

static void set_form(struct ckpt_row *row, double rate, long n)
{
    bool known = rate >= 0 && rate <= 1 && n > 0;
    row->form_rate = known ? rate : NAN;
    row->form_n = known ? n : 0;
    rate_interval(known ? (int)lround(rate * (double)n) : 0, (int)row->form_n, &row->form_low, &row->form_high);
}

static void drop_ckpts(struct workbench *w)
{
    for (size_t i = 0; i < w->n_ckpts; i++)
        mem_free(w->ckpts[i].path);
    w->n_ckpts = 0;
}

/* The checkpoints as they stand on disk now, in place of those known before. */
static void set_ckpts(struct workbench *w, const struct run_info *r)
{
    drop_ckpts(w);
    for (int i = 0; i < r->n_checkpoints; i++) {
        const struct checkpoint_info *c = &r->checkpoints[i];
        w->ckpts = mem_room(w->ckpts, w->n_ckpts, &w->cap_ckpts, sizeof *w->ckpts);
        struct ckpt_row *row = &w->ckpts[w->n_ckpts++];
        *row = (struct ckpt_row){.step = c->step, .path = mem_copy(c->path), .val_loss = c->val_loss, .bytes = (size_t)c->bytes,
                                 .best_loss = c->best_loss, .best_form = c->best_form};
        snprintf(row->name, sizeof row->name, "%d", c->step);
        set_form(row, c->form_rate, c->form_n);
    }
}

static void set_run_name(struct workbench *w, const char *name)
{
    char *clean = clean_copy(name, false);
    snprintf(w->run_name, sizeof w->run_name, "%s", clean);
    mem_free(clean);
}

static enum run_state state_of(const char *name)
{
    return strcmp(name, "finished") == 0 ? RUN_DONE : strcmp(name, "running") == 0 ? RUN_ELSEWHERE : RUN_STOPPED;
}

static void feed_run(struct workbench *w, const struct run_info *r)
{
    struct view_run *run = &w->view.run;
    set_ckpts(w, r);
    if (w->trainer_started)
        return; /* how far it is we know better */
    run->state = state_of(r->state);
    run->step = r->last_step > run->step ? r->last_step : run->step;
    run->iters = r->iters;
    set_run_name(w, r->name);
}

static void on_started(struct workbench *w, const struct train_event *e)
{
    for (int i = 0; i < CURVE_COUNT; i++)
        points_cut(&w->curves[i], e->step);
    w->view.run.step = e->step;
    w->view.run.iters = e->iters;
    w->view.curves.version++;
}

/* Where the time goes, over some twenty steps. */
static void on_parts(struct workbench *w, const struct step_parts *p)
{
    const double weight = 0.9;
    struct step_parts *to = &w->parts;
    bool same = to->n == p->n;
    for (int i = 0; same && i < p->n; i++)
        same = to->part[i].name == p->part[i].name;
    if (p->n == 0 || !same) {
        *to = *p;
        return;
    }
    to->seconds = weight * to->seconds + (1 - weight) * p->seconds;
    for (int i = 0; i < p->n; i++) {
        to->part[i].seconds = weight * to->part[i].seconds + (1 - weight) * p->part[i].seconds;
        to->part[i].flops = weight * to->part[i].flops + (1 - weight) * p->part[i].flops;
    }
}

static void on_step(struct workbench *w, const struct train_event *e)
{
    struct view_run *run = &w->view.run;
    double took = e->tokens_per_second > 0 ? (double)e->tokens / e->tokens_per_second : NAN;
    if (took > 0)
        w->step_seconds = w->step_seconds > 0 ? 0.95 * w->step_seconds + 0.05 * took : took;
    points_add(&w->curves[CURVE_LOSS], e->step, e->loss);
    points_add(&w->curves[CURVE_LEARNING_RATE], e->step, e->learning_rate);
    points_add(&w->curves[CURVE_GRAD_NORM], e->step, e->grad_norm);
    points_add(&w->curves[CURVE_SPEED], e->step, e->tokens_per_second);
    if (isfinite(e->loss)) {
        w->ema = 0.9 * w->ema + 0.1 * e->loss;
        w->ema_weight = 0.9 * w->ema_weight + 0.1;
    }
    run->step = e->step;
    run->iters = e->iters > 0 ? e->iters : run->iters; /* a journal does not repeat it */
    run->loss = e->loss;
    run->ema = w->ema_weight > 0 ? w->ema / w->ema_weight : NAN;
    run->learning_rate = e->learning_rate;
    run->grad_norm = e->grad_norm;
    run->tokens_per_s = e->tokens_per_second;
    run->epoch = e->epoch;
    run->elapsed_s = e->time_s;
    run->steps_per_s = w->step_seconds > 0 ? 1 / w->step_seconds : NAN;
    run->eta_s = w->step_seconds > 0 ? w->step_seconds * (double)(run->iters - e->step) : NAN;
    if (run->state == RUN_LOADING)
        run->state = RUN_TRAINING;
    w->view.curves.version++;
}

static void on_eval(struct workbench *w, const struct train_event *e)
{
    struct view_run *run = &w->view.run;
    points_add(&w->curves[CURVE_VAL_LOSS], e->step, e->loss);
    run->val_loss = e->loss;
    run->val_step = e->step;
    if (!(e->loss >= run->best_val_loss)) {
        run->best_val_loss = e->loss;
        run->best_val_step = e->step;
    }
    if (run->state == RUN_LOADING)
        run->state = RUN_TRAINING;
    w->view.curves.version++;
}

static void on_form(struct workbench *w, const struct train_event *e)
{
    points_add(&w->curves[CURVE_FORM_RATE], e->step, e->rate);
    points_add(&w->curves[CURVE_FORM_N], e->step, e->n);
    w->view.curves.version++;
}

static void add_sample(struct workbench *w, struct mail *m, int step)
{
    w->samples = mem_room(w->samples, w->n_samples, &w->cap_samples, sizeof *w->samples);
    struct sample_row *row = &w->samples[w->n_samples++];
    *row = (struct sample_row){.step = step, .temperature = (double)m->sample.temperature, .seconds = m->sample.seconds, .seed = m->sample.seed,
                               .tokens = m->sample.n_tokens};
    row->prompt = line_copy(m->text2);
    verse_set(&row->verse, w->syllables, m->sample.text, strlen(m->sample.text));
}

static void feed_train(struct workbench *w, struct mail *m)
{
    const struct train_event *e = &m->event;
    switch (e->kind) {
    case TRAIN_STARTED:
        on_started(w, e);
        break;
    case TRAIN_STEP:
        on_step(w, e);
        on_parts(w, &m->parts);
        break;
    case TRAIN_EVAL:
        on_eval(w, e);
        break;
    case TRAIN_SAMPLE:
        add_sample(w, m, e->step);
        break;
    case TRAIN_FORM:
        on_form(w, e);
        break;
    case TRAIN_CHECKPOINT:
        feed_say(w, MESSAGE_INFO, "checkpoint %d written", e->step);
        break;
    case TRAIN_WARNING:
        feed_say(w, MESSAGE_WARN, "%s", m->text ? m->text : "");
        break;
    case TRAIN_PAUSED:
    case TRAIN_RESUMED:
        if (w->view.run.state != RUN_STOPPING)
            w->view.run.state = e->kind == TRAIN_PAUSED ? RUN_PAUSED : RUN_TRAINING;
        break;
    case TRAIN_ENDED:
        feed_say(w, MESSAGE_INFO, "training ended: %s", m->text ? m->text : "");
        break;
    }
}

/* ---- export ---- */

void feed_reset_export(struct workbench *w)
{
    for (int i = 0; i < w->n_export_lines; i++)
        mem_free((char *)(uintptr_t)w->export_lines[i].text);
    w->n_export_lines = 0;
}

/* What was written stands in front of the notes, which several formats may share. */
static void feed_export_line(struct workbench *w, const struct mail *m)
{
    struct view_export_line line = {clean_copy(m->text, false), (enum export_said)m->number};
    int at = w->n_export_lines;
    bool known = at == EXPORT_LINES;
    for (int i = 0; i < w->n_export_lines && line.kind == EXPORT_NOTE; i++)
        known |= strcmp(w->export_lines[i].text, line.text) == 0;
    while (line.kind != EXPORT_NOTE && at > 0 && w->export_lines[at - 1].kind == EXPORT_NOTE)
        at--;
    if (line.kind == EXPORT_NOTE)
        log_line(w, MESSAGE_INFO, mem_printf("note: %s", line.text));
    else
        feed_say(w, line.kind == EXPORT_FAULT ? MESSAGE_ERROR : MESSAGE_INFO, "%s", line.text);
    if (known) {
        mem_free((char *)(uintptr_t)line.text);
    } else {
        memmove(w->export_lines + at + 1, w->export_lines + at, (size_t)(w->n_export_lines++ - at) * sizeof line);
        w->export_lines[at] = line;
    }
    if (m->text2) {
        mem_free(w->export_path);
        w->export_path = clean_copy(m->text2, false);
    }
}

static void feed_export_over(struct workbench *w, const struct mail *m)
{
    w->view.export_form.state = (enum job_state)m->number;
    if (m->text) { /* several: the folder that they are in */
        mem_free(w->export_path);
        w->export_path = clean_copy(m->text, false);
    }
    if (m->number == JOB_DONE)
        feed_say(w, MESSAGE_INFO, "exported and proved: %s (6, then y copies the path)", w->export_path ? w->export_path : "");
    else if (m->number == JOB_STOPPED)
        feed_say(w, MESSAGE_INFO, "export stopped: nothing half written is left");
}

/* ---- chat ---- */

static struct chat_turn *last_turn(struct workbench *w)
{
    return w->n_turns > 0 ? &w->turns[w->n_turns - 1] : NULL;
}

static void feed_chat_text(struct workbench *w, const char *text)
{
    struct chat_turn *t = last_turn(w);
    if (!t || !t->streaming)
        return;
    if (w->asked_s > 0)
        lateness_add(&w->first_text, clock_seconds() - w->asked_s);
    w->asked_s = 0;
    str_add(&t->raw, text);
    verse_set(&t->verse, w->syllables, str_text(&t->raw), t->raw.len);
}

static void feed_chat_over(struct workbench *w, struct mail *m)
{
    struct chat_turn *t = last_turn(w);
    w->answering = false;
    if (t && t->streaming) {
        t->streaming = false;
        if (m->text) {
            t->who = CHAT_NOTE;
            str_clear(&t->raw);
            str_add(&t->raw, m->text);
        } else {
            str_clear(&t->raw);
            str_add(&t->raw, m->sample.text);
            t->tokens = m->sample.n_tokens;
            t->seconds = m->sample.seconds;
            t->stopped = m->sample.stop == STOP_CANCELLED;
            t->cut = m->sample.stop == STOP_LENGTH;
        }
        verse_set(&t->verse, w->syllables, str_text(&t->raw), t->raw.len);
    }
    if (m->text)
        feed_say(w, MESSAGE_ERROR, "%s", m->text);
}

/* ---- the rest ---- */

/* What the validation curve measures. */
static void set_val_note(struct workbench *w)
{
    const struct dataset *d = w->tools.dataset;
    int leaks = d ? dataset_leaks(d, SPLIT_VALID) : 0;
    w->val_note[0] = 0;
    if (d && d->count[SPLIT_VALID]) { /* short: it has to fit in a border of 80 columns */
        size_t n = (size_t)snprintf(w->val_note, sizeof w->val_note, "valid: %d rows%s", d->count[SPLIT_VALID], d->split_made ? " split off" : "");
        if (leaks)
            snprintf(w->val_note + n, sizeof w->val_note - n, ", %d leaked", leaks);
    }
    w->view.curves.val_note = w->val_note[0] ? w->val_note : NULL;
}

/* What the data is called is worked out once: for that the disk is asked. */
static void set_tools(struct workbench *w, const struct tools *t)
{
    char *title = dataset_title(t->options->data);
    text_clean_fixed(w->data_name, sizeof w->data_name, title, strlen(title));
    mem_free(title);
    w->tools = *t;
}

static void feed_trainer(struct workbench *w, struct trainer *t)
{
    w->trainer = t;
    set_tools(w, &(struct tools){.model = trainer_model(t), .tokenizer = trainer_tokenizer(t), .tpl = trainer_template(t),
                                 .dataset = trainer_dataset(t), .options = trainer_options(t), .run_dir = trainer_run_dir(t), .trainer = t});
    forecast_line(trainer_forecast(t), w->plan);
    feed_say(w, MESSAGE_INFO, "plan: %s", w->plan);
    w->chat_adapter = ADAPTER_LIVE;
    w->chat_who[0] = 0;
    set_val_note(w);
    taster_add(w, &(struct job){.kind = TASTE_CHECK_ROWS});
    set_run_name(w, path_base(trainer_run_dir(t)));
}

/* Chat and samples come from a run that does not train here: from its best checkpoint. */
static void adopt(struct workbench *w, const struct tools *t)
{
    set_tools(w, t);
    w->tools.owned = NULL;
    w->plan[0] = 0;
    w->chat_adapter = ADAPTER_BASE;
    w->chat_who[0] = 0;
    const struct ckpt_row *row = w->n_ckpts > 0 && t->whole_step == 0 ? &w->ckpts[w->n_ckpts - 1] : NULL;
    for (size_t i = 0; row && i < w->n_ckpts; i++)
        if (w->ckpts[i].best_loss)
            row = &w->ckpts[i];
    if (row) {
        mem_free(w->chat_folder);
        w->chat_folder = mem_copy(row->path);
        w->chat_adapter = ADAPTER_FOLDER;
        w->chat_step = (int)row->step;
    }
    set_val_note(w);
    taster_add(w, &(struct job){.kind = TASTE_CHECK_ROWS});
}

static void feed_over(struct workbench *w, const struct mail *m)
{
    struct view_run *run = &w->view.run;
    bool opened = w->trainer != NULL;
    runner_reap(w);
    run->state = m->flag ? RUN_DONE : m->number != 0 ? RUN_STOPPED : opened || w->state_before == RUN_NONE ? RUN_FAILED : w->state_before;
    run->eta_s = NAN;
    if (m->text) {
        snprintf(w->failure, sizeof w->failure, "%s", m->text);
        feed_say(w, MESSAGE_ERROR, "%s", m->text);
    }
    if (w->leaving || w->quit_when_done)
        w->quit = true;
    else if (!opened && !w->tools.model && w->opened) /* to be looked at again, at least */
        adopt(w, w->opened);
    else if (!opened && !w->tools.model && w->resume_dir)
        taster_add(w, &(struct job){.kind = TASTE_LOAD_RUN, .folder = mem_copy(w->resume_dir), .tools_only = true});
}

/* The old trainer of the run is gone, and its lock with it. */
static void feed_retired(struct workbench *w)
{
    struct gm_error err = {0};
    w->retiring = false;
    if (!w->leaving && !runner_start(w, &err))
        feed_say(w, MESSAGE_ERROR, "%s", err.text);
    w->quit |= w->leaving;
}

static void feed_tools(struct workbench *w, struct tools *t)
{
    if (w->opened || w->trainer_started) { /* training began meanwhile */
        tools_free(t);
        return;
    }
    w->opened = t;
    adopt(w, t);
}

static void feed_rows(struct workbench *w, struct rows *rows)
{
    if (w->retiring) { /* of the data set that goes with its trainer */
        rows_free(rows);
        return;
    }
    rows_free(w->rows);
    w->rows = rows;
    w->view.data.version++;
}

static void feed_start(struct workbench *w, struct start_list *l)
{
    if (!w->view.start.active) {
        start_list_free(l);
        return;
    }
    start_list_free(w->start);
    w->start = l;
    w->view.start.rows = l->rows;
    w->view.start.count = l->n;
}

static void *taken(struct mail *m)
{
    void *pointer = m->pointer;
    m->pointer = NULL;
    return pointer;
}

void feed_mail(struct workbench *w, struct mail *m)
{
    w->dirty = true;
    switch (m->kind) {
    case MAIL_TRAIN:
        feed_train(w, m);
        break;
    case MAIL_TRAINER:
        w->peak_gflops = m->number;
        feed_trainer(w, taken(m));
        break;
    case MAIL_TRAIN_OVER:
        feed_over(w, m);
        break;
    case MAIL_RETIRED:
        feed_retired(w);
        break;
    case MAIL_RUN:
        feed_run(w, m->pointer);
        break;
    case MAIL_TOOLS:
        feed_tools(w, taken(m));
        break;
    case MAIL_DATA:
        feed_rows(w, taken(m));
        break;
    case MAIL_START:
        feed_start(w, taken(m));
        break;
    case MAIL_BUSY:
        snprintf(w->busy, sizeof w->busy, "%s", m->text ? m->text : "");
        break;
    case MAIL_CHAT_WHO:
        snprintf(w->chat_who, sizeof w->chat_who, "%s", m->text);
        break;
    case MAIL_CHAT_TEXT:
        feed_chat_text(w, m->text);
        break;
    case MAIL_CHAT_OVER:
        feed_chat_over(w, m);
        break;
    case MAIL_SAMPLE:
        w->samples_left = (int)m->number;
        add_sample(w, m, m->event.step);
        break;
    case MAIL_SAMPLES_OVER:
        w->samples_left = 0;
        if (m->text)
            feed_say(w, MESSAGE_ERROR, "%s", m->text);
        break;
    case MAIL_EXPORT_AT:
        w->view.export_form.progress = m->number;
        snprintf(w->export_stage, sizeof w->export_stage, "%s", m->text ? m->text : "");
        break;
    case MAIL_EXPORT_LINE:
        feed_export_line(w, m);
        break;
    case MAIL_EXPORT_OVER:
        feed_export_over(w, m);
        break;
    case MAIL_EXPORT_PLACE:
        snprintf(w->export_folder, sizeof w->export_folder, "%s", m->text);
        w->view.export_form.free_bytes = (size_t)m->number;
        break;
    case MAIL_NOTE:
        feed_say(w, m->flag ? MESSAGE_ERROR : MESSAGE_INFO, "%s", m->text);
        break;
    }
}

void feed_reset_run(struct workbench *w)
{
    struct view_run *run = &w->view.run;
    *run = (struct view_run){.state = RUN_NONE, .loss = NAN, .ema = NAN, .val_loss = NAN, .best_val_loss = NAN, .val_step = -1, .best_val_step = -1,
                             .tokens_per_s = NAN, .steps_per_s = NAN, .eta_s = NAN, .epoch = NAN, .learning_rate = NAN, .grad_norm = NAN};
    w->ema = w->ema_weight = w->step_seconds = 0;
    w->parts.n = 0;
}

void feed_free(struct workbench *w)
{
    for (int i = 0; i < CURVE_COUNT; i++)
        points_free(&w->curves[i]);
    for (size_t i = 0; i < w->n_samples; i++) {
        verse_free(&w->samples[i].verse);
        mem_free(w->samples[i].prompt);
    }
    for (size_t i = 0; i < w->n_turns; i++) {
        str_free(&w->turns[i].raw);
        verse_free(&w->turns[i].verse);
    }
    drop_ckpts(w);
    for (size_t i = 0; i < w->n_log; i++)
        mem_free(w->log[i].text);
    feed_reset_export(w);
    mem_free(w->export_path);
    mem_free(w->samples);
    mem_free(w->sample_views);
    mem_free(w->turns);
    mem_free(w->turn_views);
    mem_free(w->ckpts);
    mem_free(w->ckpt_views);
    mem_free(w->log);
    mem_free(w->log_views);
    mem_free(w->chat_folder);
    mem_free(w->resume_dir);
}
