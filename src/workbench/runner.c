/* runner.c - the thread that trains, and its listener: events become mails. */
#include "src/workbench/state.h"

#include "engine/base/mem.h"
#include "src/cli/cli.h"

#include <signal.h>
#include <string.h>

static void on_event(void *arg, const struct train_event *e)
{
    struct workbench *w = arg;
    struct mail m = {.kind = MAIL_TRAIN, .event = *e};
    m.text = e->text ? clean_copy(e->text, false) : e->path ? clean_copy(e->path, false) : e->best ? NULL : NULL;
    m.text2 = e->kind == TRAIN_CHECKPOINT && e->best ? mem_copy(e->best) : NULL;
    if (e->sample) {
        m.sample = *e->sample;
        m.sample.text = mem_copy(e->sample->text);
        m.text2 = mem_copy(e->sample->prompt_text ? e->sample->prompt_text : "");
    }
    m.event.text = m.event.path = m.event.best = NULL;
    m.event.sample = NULL;
    mail_post(w, &m);
}

static void *run_thread(void *arg)
{
    struct workbench *w = arg;
    struct gm_error err = {0};
    struct train_listener listener = {on_event, w};
    thread_background();
    struct trainer *t = w->resume_dir ? trainer_resume(w->resume_dir, 0, w->pool, &listener, &err)
                                      : trainer_new(&w->start_options, cli_runs_root(), w->pool, &listener, &err);
    if (!t) {
        mail_post(w, &(struct mail){.kind = MAIL_TRAIN_OVER, .text = mem_copy(err.text)});
        return NULL;
    }
    mail_post(w, &(struct mail){.kind = MAIL_TRAINER, .pointer = t});
    bool ok = trainer_run(t, &err);
    bool stopped = !ok && err.code == GM_E_CANCELLED;
    mail_post(w, &(struct mail){.kind = MAIL_TRAIN_OVER, .flag = ok, .number = stopped, .text = ok || stopped ? NULL : mem_copy(err.text)});
    return NULL;
}

bool runner_start(struct workbench *w, struct gm_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals belong to the UI thread */
    int failed = pthread_create(&w->trainer_thread, NULL, run_thread, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_set(err, GM_E_IO, "start training: %s", strerror(failed));
    w->trainer_started = true;
    w->trainer_over = false;
    w->view.run.state = RUN_LOADING;
    return true;
}

void runner_join(struct workbench *w)
{
    if (!w->trainer_started)
        return;
    if (w->trainer)
        trainer_ask_stop(w->trainer);
    pthread_join(w->trainer_thread, NULL);
    struct mail m;
    while (mail_take(w, &m)) { /* the last words; a trainer that came late belongs to us, too */
        if (m.kind == MAIL_TRAINER)
            w->trainer = m.pointer;
        mail_free(&m);
    }
    trainer_free(w->trainer);
    w->trainer = NULL;
    w->trainer_started = false;
}
