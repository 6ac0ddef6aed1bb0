/* progress.c - the trainer's events as lines on stderr. */
#include "src/cli/progress.h"

#include "engine/base/file.h"
#include "engine/train/forecast.h"
#include "src/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 20 };

void progress_init(struct progress *p, const struct general *g)
{
    *p = (struct progress){.general = g, .terminal = isatty(2) && !g->plain, .began = clock_seconds(), .first_step = -1};
    p->first_loss = p->last_loss = p->last_val_loss = p->best_val_loss = NAN;
}

static void close_line(struct progress *p)
{
    if (p->open_line)
        fputc('\n', stderr);
    p->open_line = false;
}

static void step_line(struct progress *p, const struct train_event *e)
{
    double now = clock_seconds(), every = p->terminal ? 0.1 : 5;
    if (p->first_step < 0) {
        p->first_step = e->step - 1;
        p->began = now;
    }
    if (now - p->shown < every && e->step < e->iters)
        return;
    p->shown = now;
    int done = e->step - p->first_step;
    double left = done > 1 ? (now - p->began) / (done - 1) * (e->iters - e->step) : NAN;
    char eta[32] = "", time[24];
    if (left < 6000) /* NaN: not known yet */
        snprintf(eta, sizeof eta, "%d:%02d left", (int)left / 60, (int)left % 60);
    else if (isfinite(left))
        snprintf(eta, sizeof eta, "%s left", forecast_seconds(left, time));
    if (!p->terminal) {
        cli_note(p->general, "step %d/%d  loss %.4f  %.0f tok/s  %.0f MB  %s", e->step, e->iters, e->loss, e->tokens_per_second,
                 (double)e->memory_bytes / 1e6, eta);
        return;
    }
    char bar[BAR + 1];
    int full = e->iters > 0 ? (int)((double)e->step / e->iters * BAR) : 0;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR] = 0;
    char line[160];
    snprintf(line, sizeof line, "%s %d/%d  loss %.4f  %.0f tok/s  %.0f MB  %s   ", bar, e->step, e->iters, e->loss, e->tokens_per_second,
             (double)e->memory_bytes / 1e6, eta);
    fprintf(stderr, "\r%.*s", cli_columns(STDERR_FILENO) - 1, line); /* a line that wraps could not be written over */
    fflush(stderr);
    p->open_line = true;
}

static void sample_lines(struct progress *p, const struct train_event *e)
{
    close_line(p);
    struct str line = {0};
    str_printf(&line, "  %.1f %s ", (double)e->sample->temperature, e->sample->verdict.strict ? "+" : e->sample->verdict.possible ? "?" : "!");
    for (const char *c = e->sample->text; *c; c++) {
        if (*c == '\n')
            str_add(&line, " / ");
        else
            str_add_char(&line, *c);
    }
    cli_note(p->general, "%s", str_text(&line));
    str_free(&line);
}

void progress_event(void *arg, const struct train_event *e)
{
    struct progress *p = arg;
    p->last_step = e->step;
    if (e->kind == TRAIN_STEP) {
        p->last_loss = e->loss;
    } else if (e->kind == TRAIN_EVAL) {
        if (isnan(p->first_loss))
            p->first_loss = e->loss;
        p->last_val_loss = e->loss;
        if (!(e->loss >= p->best_val_loss))
            p->best_val_loss = e->loss;
    } else if (e->kind == TRAIN_ENDED) {
        text_clean_fixed(p->reason, sizeof p->reason, e->text ? e->text : "", e->text ? strlen(e->text) : 0);
    }
    if (p->general->quiet)
        return;
    switch (e->kind) {
    case TRAIN_STEP:
        step_line(p, e);
        break;
    case TRAIN_EVAL:
        close_line(p);
        cli_note(p->general, "validation at %d: loss %.4f", e->step, e->loss);
        break;
    case TRAIN_SAMPLE:
        sample_lines(p, e);
        break;
    case TRAIN_FORM:
        close_line(p);
        cli_note(p->general, "5-7-5 at %d: %.0f %% of %d (%.0f..%.0f %%)", e->step, 100 * e->rate, e->n, 100 * e->rate_low, 100 * e->rate_high);
        break;
    case TRAIN_CHECKPOINT:
        close_line(p);
        cli_note(p->general, "saved %s%s%s", e->path, e->best ? ", best so far by " : "",
                 !e->best ? "" : strcmp(e->best, "both") == 0 ? "loss and form" : e->best);
        break;
    case TRAIN_WARNING:
        close_line(p);
        cli_note(p->general, "warning: %s", e->text);
        break;
    default:
        break;
    }
}

static void stop(void *trainer)
{
    trainer_ask_stop(trainer);
}

bool progress_run(struct progress *p, struct trainer *t, struct gm_error *err)
{
    signals_watch(stop, t); /* those that came while it was opened lie in the pipe */
    bool ok = trainer_run(t, err);
    signals_unwatch();
    progress_end(p);
    return ok;
}

void progress_end(struct progress *p)
{
    close_line(p);
}
