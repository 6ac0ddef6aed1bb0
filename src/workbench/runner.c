/* runner.c - the thread that trains, and its listener: events become mails. */
#include "src/workbench/state.h"

#include "engine/base/mem.h"
#include "engine/kernel/peak.h"
#include "src/cli/cli.h"

#include <math.h>
#include <string.h>

struct listener { /* on the stack of the trainer's thread */
    struct workbench *w;
    struct trainer *trainer; /* NULL while it is being opened */
    bool look_again;         /* what a new checkpoint surpasses is removed after its event */
};

static void on_event(void *arg, const struct train_event *e)
{
    struct listener *l = arg;
    struct mail m = {.kind = MAIL_TRAIN, .event = *e};
    if (e->text)
        m.text = clean_copy(e->text, false);
    if (e->sample) {
        m.sample = *e->sample;
        m.sample.text = mem_copy(e->sample->text);
        m.text2 = mem_copy(e->sample->prompt_text ? e->sample->prompt_text : "");
    }
    m.event.text = m.event.path = m.event.best = NULL;
    m.event.sample = NULL;
    if (e->parts)
        m.parts = *e->parts;
    m.event.parts = NULL;
    mail_post(l->w, &m);
    bool checkpoint = e->kind == TRAIN_CHECKPOINT;
    if (l->trainer && (checkpoint || l->look_again))
        post_run(l->w, trainer_run_dir(l->trainer));
    l->look_again = checkpoint;
}

/* What the kernels of the run could do, before its first step: the best of two short looks, since threads that just began may share a core for a while. */
static double peak_of(const struct workbench *w, const struct train_options *o)
{
    const double seconds = 0.01;
    return o->compute == GM_COMPUTE_F32 ? NAN : fmax(peak_gflops(w->pool, o->kernel, seconds), peak_gflops(w->pool, o->kernel, seconds));
}

static void *run_thread(void *arg)
{
    struct workbench *w = arg;
    struct gm_error err = {0};
    struct listener l = {.w = w};
    struct train_listener listener = {on_event, &l};
    thread_background();
    struct trainer *t = w->resume_dir ? trainer_resume(w->resume_dir, 0, w->pool, &listener, &err)
                                      : trainer_new(&w->start_options, cli_runs_root(), w->pool, &listener, &err);
    if (!t) {
        mail_post(w, &(struct mail){.kind = MAIL_TRAIN_OVER, .text = mem_copy(err.text)});
        return NULL;
    }
    atomic_store(&w->running, t);
    if (atomic_load(&w->stop_training)) /* asked while it was being opened */
        trainer_ask_stop(t);
    l.trainer = t;
    mail_post(w, &(struct mail){.kind = MAIL_TRAINER, .pointer = t, .number = peak_of(w, trainer_options(t))});
    bool ok = trainer_run(t, &err), stopped = !ok && err.code == GM_E_CANCELLED;
    if (l.look_again)
        post_run(w, trainer_run_dir(t));
    mail_post(w, &(struct mail){.kind = MAIL_TRAIN_OVER, .flag = ok, .number = stopped, .text = ok || stopped ? NULL : mem_copy(err.text)});
    return NULL;
}

bool runner_start(struct workbench *w, struct gm_error *err)
{
    atomic_store(&w->running, NULL);
    atomic_store(&w->stop_training, false);
    int failed = signals_thread(&w->trainer_thread, run_thread, w);
    if (failed)
        return error_set(err, GM_E_IO, "start training: %s", strerror(failed));
    w->trainer_started = true;
    w->view.run.state = RUN_LOADING;
    return true;
}

void runner_reap(struct workbench *w)
{
    if (w->trainer_started)
        pthread_join(w->trainer_thread, NULL);
    w->trainer_started = false;
}

void runner_ask_stop(struct workbench *w)
{
    atomic_store(&w->stop_training, true); /* whichever of the two threads comes first, the other one sees it */
    struct trainer *t = atomic_load(&w->running);
    if (t)
        trainer_ask_stop(t);
}

void runner_end(struct workbench *w)
{
    runner_ask_stop(w);
    runner_reap(w);
    trainer_free(w->trainer);
    w->trainer = NULL;
}
