/* act.c - what the person asked for, carried out: a question to the trainer, a job for the taster, or a change of the state. UI thread, never waits. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool ready(struct workbench *w)
{
    if (!w->tools.model)
        feed_say(w, MESSAGE_WARN, "no model is open yet");
    else if (w->trainer_started && w->tools.options->tune == TUNE_FULL)
        feed_say(w, MESSAGE_WARN, "all weights are being trained: the model can be asked when the run has stopped");
    else
        return true;
    return false;
}

/* ---- training ---- */

/* Before a run goes on the taster puts away what it made of the model: training finds the memory that its plan reckons with. Of a run that ended here it frees the
 * trainer, too, which holds the lock. Then the new one begins (feed_retired). */
static void retire(struct workbench *w)
{
    taster_add(w, &(struct job){.kind = TASTE_RETIRE});
    data_view_free(w); /* its data set goes, too */
    w->view.data = (struct view_data){.version = w->view.data.version + 1};
    w->tools = (struct tools){0};
    w->trainer = NULL;
    atomic_store(&w->running, NULL);
    atomic_store(&w->following, false); /* before a line of ours is written */
    w->retiring = true;
    w->chat_adapter = ADAPTER_BASE;
    w->state_before = w->view.run.state;
    w->view.run.state = RUN_LOADING;
}

static const char *why_not_trained(const struct workbench *w)
{
    enum run_state s = w->view.run.state;
    return s == RUN_DONE        ? "the run is finished (gemmaiku resume RUN --iters N goes further)"
           : s == RUN_ELSEWHERE ? "another process trains this run"
                                : NULL;
}

static void resume(struct workbench *w)
{
    if (w->trainer_started) {
        if (w->trainer)
            trainer_ask_pause(w->trainer, false);
        return;
    }
    if (w->retiring)
        return;
    const char *why = why_not_trained(w);
    if (why || !w->tools.run_dir) {
        feed_say(w, MESSAGE_WARN, "%s", why ? why : "there is no run to go on with");
        return;
    }
    mem_free(w->resume_dir);
    w->resume_dir = mem_copy(w->tools.run_dir);
    retire(w);
}

static void pause_training(struct workbench *w)
{
    const char *why = why_not_trained(w);
    if (!w->trainer_started)
        feed_say(w, MESSAGE_WARN, "%s", why ? why : "nothing trains here");
    else if (w->trainer)
        trainer_ask_pause(w->trainer, true);
}

static void ask_trainer(struct workbench *w, void (*ask)(struct trainer *), const char *what)
{
    if (!w->trainer_started || !w->trainer) {
        const char *why = why_not_trained(w);
        feed_say(w, MESSAGE_WARN, "%s", why ? why : "nothing trains here");
        return;
    }
    ask(w->trainer);
    feed_say(w, MESSAGE_INFO, "%s at the next step border", what);
}

static void leave(struct workbench *w, long how)
{
    if (!w->trainer_started && !w->retiring) {
        w->quit = true;
    } else if (how == QUIT_WHEN_DONE) {
        w->quit_when_done = true;
        if (w->trainer)
            trainer_ask_pause(w->trainer, false); /* a paused run is never done */
        feed_say(w, MESSAGE_INFO, "quits when training is done");
    } else {
        w->leaving = true;
        w->view.run.state = RUN_STOPPING;
        feed_say(w, MESSAGE_INFO, "saving a checkpoint, then leaving");
        taster_cancel(w); /* neither the last step nor what is put away waits for an answer */
        runner_ask_stop(w);
    }
}

/* ---- chat and samples ---- */

static struct chat_turn *add_turn(struct workbench *w, enum chat_who who, const char *text)
{
    w->turns = mem_room(w->turns, w->n_turns, &w->cap_turns, sizeof *w->turns);
    struct chat_turn *t = &w->turns[w->n_turns++];
    *t = (struct chat_turn){.who = who};
    str_add(&t->raw, text);
    verse_set(&t->verse, w->syllables, text, strlen(text));
    return t;
}

static void drop_turns(struct workbench *w, size_t keep)
{
    while (w->n_turns > keep) {
        struct chat_turn *t = &w->turns[--w->n_turns];
        str_free(&t->raw);
        verse_free(&t->verse);
    }
}

static struct job adapter_job(struct workbench *w, enum job_kind kind)
{
    struct job j = {.kind = kind, .adapter = w->chat_adapter, .step = w->chat_step};
    if (j.adapter == ADAPTER_FOLDER)
        j.folder = mem_copy(w->chat_folder);
    return j;
}

static void ask_model(struct workbench *w)
{
    struct job j = adapter_job(w, TASTE_CHAT);
    w->asked_s = clock_seconds();
    j.messages = mem_new(w->n_turns ? w->n_turns : 1, sizeof *j.messages);
    for (size_t i = 0; i < w->n_turns; i++) {
        const struct chat_turn *t = &w->turns[i];
        if (t->who == CHAT_NOTE)
            continue;
        const char *role = t->who == CHAT_USER ? "user" : "assistant";
        if (j.n_messages > 0 && strcmp(j.messages[j.n_messages - 1].role, role) == 0)
            mem_free((void *)j.messages[--j.n_messages].content); /* an answer that failed: the later question counts */
        j.messages[j.n_messages++] = (struct chat_message){role, mem_copy(str_text(&t->raw))};
    }
    j.sampling = w->chat_sampling;
    w->chat_sampling.seed++;
    add_turn(w, CHAT_MODEL, "")->streaming = true;
    w->answering = true;
    taster_add(w, &j);
}

static void say(struct workbench *w, const char *text)
{
    if (!*text || !ready(w))
        return;
    if (w->answering) {
        feed_say(w, MESSAGE_WARN, "the model is still answering (Ctrl-C stops it)");
        return;
    }
    if (!utf8_valid(text, strlen(text))) {
        feed_say(w, MESSAGE_ERROR, "that line is not valid UTF-8");
        return;
    }
    add_turn(w, CHAT_USER, text);
    ask_model(w);
}

static void retry(struct workbench *w)
{
    if (w->answering || w->n_turns < 2 || !ready(w))
        return;
    size_t last = w->n_turns;
    while (last > 0 && w->turns[last - 1].who != CHAT_USER)
        last--;
    if (last == 0)
        return;
    drop_turns(w, last);
    ask_model(w);
}

static void set_temperature(struct workbench *w, const char *text)
{
    char *end;
    float t = strtof(text, &end);
    if (end == text || *end || !(t >= 0 && t <= 100)) {
        feed_say(w, MESSAGE_ERROR, "a temperature is a number from 0 to 100");
        return;
    }
    feed_say(w, MESSAGE_INFO, "temperature %g (was %g)", (double)t, (double)w->chat_sampling.temperature);
    w->chat_sampling.temperature = t;
}

/* A prompt of the validation rows, another one each time. */
static const char *own_prompt(struct workbench *w)
{
    const struct dataset *d = w->tools.dataset;
    static const char fallback[] = "Write a haiku about rain.";
    int seen = 0, n = d ? d->count[SPLIT_VALID] : 0;
    for (int i = 0; n > 0 && i < d->n_rows; i++)
        if (d->rows[i].split == SPLIT_VALID && seen++ == (int)(w->chat_sampling.seed % (uint64_t)n))
            return *d->rows[i].prompt ? d->rows[i].prompt : fallback;
    return fallback;
}

static void sample(struct workbench *w, const char *prompt)
{
    if (!ready(w))
        return;
    if (w->samples_left > 0) {
        feed_say(w, MESSAGE_WARN, "samples are on their way (Ctrl-C stops them)");
        return;
    }
    struct job j = adapter_job(w, TASTE_SAMPLE);
    const struct train_options *o = w->tools.options;
    j.text = mem_copy(*prompt ? prompt : own_prompt(w));
    j.sampling = w->chat_sampling;
    for (int i = 0; i < o->n_temps && i < LIST_MAX; i++)
        j.temps.items[j.temps.n++] = o->temps[i];
    w->chat_sampling.seed += (uint64_t)j.temps.n;
    w->samples_left = j.temps.n;
    taster_add(w, &j);
}

/* ---- checkpoints and export ---- */

/* Row of the Ckpts screen, counted as view_fill.c lays them out; NULL with *adapter set for live and base. */
static const struct ckpt_row *row_of(struct workbench *w, long index, enum adapter_of *adapter)
{
    bool live = w->trainer_started && w->trainer;
    *adapter = ADAPTER_BASE;
    if (live && index == 0) {
        *adapter = ADAPTER_LIVE;
        return NULL;
    }
    index -= live;
    if (index < 0 || (size_t)index >= w->n_ckpts)
        return NULL;
    *adapter = ADAPTER_FOLDER;
    return &w->ckpts[w->n_ckpts - 1 - (size_t)index];
}

static void load(struct workbench *w, long index)
{
    enum adapter_of adapter;
    const struct ckpt_row *row = row_of(w, index, &adapter);
    if (w->tools.options && w->tools.options->tune == TUNE_FULL && adapter != ADAPTER_BASE) {
        feed_say(w, MESSAGE_WARN, "all weights were trained: open it with `gemmaiku chat %s:%ld`", w->run_name, row ? row->step : 0L);
        return;
    }
    w->chat_adapter = adapter;
    mem_free(w->chat_folder);
    w->chat_folder = row ? mem_copy(row->path) : NULL;
    w->chat_step = row ? (int)row->step : 0;
    w->chat_who[0] = 0;
    feed_say(w, MESSAGE_INFO, "chat and samples now come from %s %s", row ? "checkpoint" : "the", row ? row->name : adapter == ADAPTER_LIVE ? "live weights" : "base");
}

static void export_row(struct workbench *w, const struct command *c)
{
    enum adapter_of adapter;
    const struct ckpt_row *row = row_of(w, c->number, &adapter);
    if (!ready(w))
        return;
    if (!row) {
        feed_say(w, MESSAGE_WARN, "choose a checkpoint first (screen 5)");
        return;
    }
    if (w->view.export_form.state == JOB_RUNNING) {
        feed_say(w, MESSAGE_WARN, "an export is running");
        return;
    }
    if (w->tools.options->tune == TUNE_FULL) {
        feed_say(w, MESSAGE_WARN, "all weights were trained: the checkpoint folder is a model already: %s", row->path);
        return;
    }
    feed_reset_export(w);
    const char *folder = c->text.len ? str_text(&c->text) : w->export_folder;
    struct job j = {.kind = TASTE_EXPORT, .adapter = ADAPTER_FOLDER, .folder = mem_copy(row->path), .step = (int)row->step,
                    .formats = c->flags ? c->flags : 1u << EXPORT_PEFT, .sampling = w->chat_sampling};
    for (int i = 0; i < EXPORT_TO_COUNT && c->flags; i++) /* by their names: the form does not know ours */
        if (w->formats[i].type_count > c->choices[i])
            export_type_parse(w->formats[i].types[c->choices[i]], &j.types[i]);
    j.text = mem_copy(folder);
    w->view.export_form.state = JOB_RUNNING;
    w->view.export_form.progress = 0;
    w->export_stage[0] = 0;
    taster_add(w, &j);
}

/* ---- the rest ---- */

static void set_theme(struct workbench *w, const char *name)
{
    struct theme t;
    if (!theme_builtin(&t, name)) {
        feed_say(w, MESSAGE_ERROR, "there is no theme %s (sumi and washi are)", name);
        return;
    }
    w->theme = t;
    term_set_theme(w->term, &w->theme);
}

static void shot(struct workbench *w, const char *file)
{
    struct str text = {0};
    canvas_dump(term_canvas(w->term), &text, NULL);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644); /* no flush to the disk: that takes as long as it takes */
    bool ok = fd >= 0 && write(fd, str_text(&text), text.len) == (ssize_t)text.len;
    if (ok)
        feed_say(w, MESSAGE_INFO, "screen written to %s", file);
    else
        feed_say(w, MESSAGE_ERROR, "write %s: %s", file, fd < 0 && errno == EEXIST ? "it exists" : strerror(errno));
    if (fd >= 0)
        close(fd);
    str_free(&text);
}

static void cancel(struct workbench *w)
{
    if (w->answering || w->samples_left > 0 || w->view.export_form.state == JOB_RUNNING)
        taster_cancel(w);
    else
        feed_say(w, MESSAGE_INFO, "nothing to cancel; q leaves");
}

void act_suspend(struct workbench *w)
{
    term_suspend(w->term);
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP); /* here the process sleeps */
    signals_watch_window();
    term_resume(w->term);
    w->dirty = true;
}

void act(void *arg, const struct command *c)
{
    struct workbench *w = arg;
    w->dirty = true;
    switch (c->id) {
    case COMMAND_PAUSE:
        pause_training(w);
        break;
    case COMMAND_RESUME:
        resume(w);
        break;
    case COMMAND_SAVE:
        ask_trainer(w, trainer_ask_save, "a checkpoint");
        break;
    case COMMAND_EVAL:
        ask_trainer(w, trainer_ask_eval, "an evaluation");
        break;
    case COMMAND_STOP:
        ask_trainer(w, trainer_ask_stop, "stops, with a checkpoint,");
        break;
    case COMMAND_QUIT:
        leave(w, c->number);
        break;
    case COMMAND_CHAT:
        say(w, str_text(&c->text));
        break;
    case COMMAND_RETRY:
        retry(w);
        break;
    case COMMAND_CLEAR:
        if (!w->answering)
            drop_turns(w, 0);
        break;
    case COMMAND_TEMP:
        set_temperature(w, str_text(&c->text));
        break;
    case COMMAND_SAMPLE:
        sample(w, str_text(&c->text));
        break;
    case COMMAND_LOAD:
        load(w, c->number);
        break;
    case COMMAND_EXPORT:
        export_row(w, c);
        break;
    case COMMAND_OPEN:
        start_open(w, c->number);
        break;
    case COMMAND_THEME:
        set_theme(w, str_text(&c->text));
        break;
    case COMMAND_SHOT:
        shot(w, str_text(&c->text));
        break;
    case COMMAND_COPY:
        feed_say(w, MESSAGE_INFO, term_copy(w->term, str_text(&c->text)) ? "copied" : "too long to copy");
        break;
    case COMMAND_CANCEL:
        cancel(w);
        break;
    case COMMAND_SUSPEND:
        act_suspend(w);
        break;
    default:
        break;
    }
}
