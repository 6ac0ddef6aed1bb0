/* taster.c - the second computing thread: jobs one after another. A job is copied in; what its texts point to goes over to it. */
#include "src/workbench/state.h"

#include "engine/base/condition.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/cli.h"

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

/* Waits for a job. NULL: a second is over, and there is a run to be followed. */
static struct job *next_job(struct workbench *w)
{
    double until = clock_seconds() + 1;
    pthread_mutex_lock(&w->job_lock);
    for (bool over = false; !w->jobs && !over;) {
        if (atomic_load(&w->following))
            over = !condition_wait(&w->job_ready, &w->job_lock, until);
        else
            pthread_cond_wait(&w->job_ready, &w->job_lock);
    }
    struct job *j = w->jobs;
    if (j) {
        w->jobs = j->next;
        atomic_store(&w->cancel, j->number <= w->cancelled_upto);
    }
    pthread_mutex_unlock(&w->job_lock);
    return j;
}

static bool carry_out(struct workbench *w, struct kitchen *k, struct job *j)
{
    switch (j->kind) {
    case TASTE_START_PAGE:
        taste_start_page(w);
        break;
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
    case TASTE_RETIRE:
        taste_retire(w, k, j);
        break;
    case TASTE_QUIT:
        return false;
    }
    return true;
}

static void *taste_thread(void *arg)
{
    struct workbench *w = arg;
    struct kitchen *k = kitchen_new();
    thread_background();
    for (bool more = true; more;) {
        struct job *j = next_job(w);
        if (!j) {
            taste_follow(w);
            continue;
        }
        more = carry_out(w, k, j);
        job_free(j);
    }
    kitchen_free(k);
    follow_free(w->follow);
    w->follow = NULL;
    return NULL;
}

bool taster_start(struct workbench *w, struct gm_error *err)
{
    pthread_mutex_init(&w->job_lock, NULL);
    condition_init(&w->job_ready);
    int failed = signals_thread(&w->taster, taste_thread, w);
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
    copy->tools = w->tools;
    copy->training = w->trainer_started;
    pthread_mutex_lock(&w->job_lock);
    copy->number = ++w->jobs_added;
    struct job **end = &w->jobs;
    while (*end)
        end = &(*end)->next;
    *end = copy;
    pthread_cond_signal(&w->job_ready);
    pthread_mutex_unlock(&w->job_lock);
}

void taster_cancel(struct workbench *w)
{
    pthread_mutex_lock(&w->job_lock);
    w->cancelled_upto = w->jobs_added;
    atomic_store(&w->cancel, true);
    pthread_mutex_unlock(&w->job_lock);
}

void taster_stop(struct workbench *w)
{
    if (!w->taster_runs)
        return;
    pthread_mutex_lock(&w->job_lock);
    while (w->jobs) { /* what has not begun is not begun any more; a trainer that waits to be put away still is the workbench's */
        struct job *j = w->jobs;
        w->jobs = j->next;
        if (j->kind == TASTE_RETIRE)
            w->trainer = j->tools.trainer;
        job_free(j);
    }
    pthread_mutex_unlock(&w->job_lock);
    taster_cancel(w);
    taster_add(w, &(struct job){.kind = TASTE_QUIT});
    pthread_join(w->taster, NULL);
    w->taster_runs = false;
    pthread_cond_destroy(&w->job_ready);
    pthread_mutex_destroy(&w->job_lock);
}
