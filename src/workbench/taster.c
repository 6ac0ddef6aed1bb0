/* taster.c - the second computing thread: jobs one after another. A job is copied in; what its texts point to goes over to it. */
#include "src/workbench/state.h"

#include "engine/base/mem.h"
#include "engine/format/model_source.h"

#include <signal.h>
#include <string.h>

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->n_messages; i++)
        mem_free((void *)j->messages[i].content);
    mem_free(j->messages);
    mem_free(j->folder);
    mem_free(j->text);
    mem_free(j);
}

static struct job *next_job(struct workbench *w)
{
    pthread_mutex_lock(&w->job_lock);
    while (!w->jobs)
        pthread_cond_wait(&w->job_ready, &w->job_lock);
    struct job *j = w->jobs;
    w->jobs = j->next;
    pthread_mutex_unlock(&w->job_lock);
    return j;
}

static void *taste_thread(void *arg)
{
    struct workbench *w = arg;
    struct kitchen *k = kitchen_new();
    thread_background();
    for (bool more = true; more;) {
        struct job *j = next_job(w);
        switch (j->kind) {
        case TASTE_LOAD_RUN:
            taste_load_run(w, j);
            break;
        case TASTE_CHECK_ROWS:
            taste_check_rows(w, j);
            break;
        case TASTE_CHAT:
            taste_chat(w, k, j);
            break;
        case TASTE_SAMPLE:
            taste_sample(w, k, j);
            break;
        case TASTE_EXPORT:
            taste_export(w, k, j);
            break;
        case TASTE_NONE:
        case TASTE_QUIT:
            more = false;
            break;
        }
        job_free(j);
    }
    kitchen_free(k);
    return NULL;
}

bool taster_start(struct workbench *w, struct gm_error *err)
{
    sigset_t all, before;
    pthread_mutex_init(&w->job_lock, NULL);
    pthread_cond_init(&w->job_ready, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&w->taster, NULL, taste_thread, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_set(err, GM_E_IO, "start the tasting thread: %s", strerror(failed));
    w->taster_runs = true;
    return true;
}

void taster_add(struct workbench *w, struct job *job)
{
    struct job *copy = mem_new(1, sizeof *copy);
    *copy = *job;
    copy->next = NULL;
    pthread_mutex_lock(&w->job_lock);
    struct job **end = &w->jobs;
    while (*end)
        end = &(*end)->next;
    *end = copy;
    pthread_cond_signal(&w->job_ready);
    pthread_mutex_unlock(&w->job_lock);
}

void taster_stop(struct workbench *w)
{
    if (!w->taster_runs)
        return;
    pthread_mutex_lock(&w->job_lock);
    while (w->jobs) { /* what has not begun is not begun any more */
        struct job *j = w->jobs;
        w->jobs = j->next;
        job_free(j);
    }
    pthread_mutex_unlock(&w->job_lock);
    atomic_store(&w->cancel, true);
    taster_add(w, &(struct job){.kind = TASTE_QUIT});
    pthread_join(w->taster, NULL);
    w->taster_runs = false;
    pthread_cond_destroy(&w->job_ready);
    pthread_mutex_destroy(&w->job_lock);
}
