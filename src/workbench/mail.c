/* mail.c - the box in which other threads leave what the UI thread should know: a list, so that putting in and taking out cost the same at any length. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <fcntl.h>
#include <unistd.h>

enum { MAIL_MAX = 8192 };

void mail_init(struct workbench *w)
{
    pthread_mutex_init(&w->mail_lock, NULL);
    pthread_cond_init(&w->mail_room, NULL);
    if (pipe2(w->wake, O_CLOEXEC | O_NONBLOCK) != 0)
        w->wake[0] = w->wake[1] = -1;
}

static void free_pointer(struct mail *m)
{
    switch (m->kind) {
    case MAIL_TRAINER:
        trainer_free(m->pointer);
        break;
    case MAIL_RUN:
        run_info_free(m->pointer);
        mem_free(m->pointer);
        break;
    case MAIL_TOOLS:
        tools_free(m->pointer);
        break;
    case MAIL_DATA:
        rows_free(m->pointer);
        break;
    case MAIL_START:
        start_list_free(m->pointer);
        break;
    default:
        break;
    }
}

void mail_free(struct mail *m)
{
    if (!m)
        return;
    if (m->pointer)
        free_pointer(m);
    mem_free(m->text);
    mem_free(m->text2);
    mem_free(m->sample.text);
    mem_free(m);
}

/* The oldest plot point; it stands near the front, because little else is ever left lying. */
static struct mail *unlink_oldest_step(struct workbench *w)
{
    struct mail *before = NULL;
    for (struct mail *m = w->mails; m; before = m, m = m->next) {
        if (m->kind != MAIL_TRAIN || m->event.kind != TRAIN_STEP)
            continue;
        *(before ? &before->next : &w->mails) = m->next;
        if (w->last_mail == m)
            w->last_mail = before;
        w->n_mails--;
        return m;
    }
    return NULL;
}

static void post(struct workbench *w, const struct mail *mail, bool patient)
{
    struct mail *m = mem_new(1, sizeof *m), *dropped = NULL;
    *m = *mail;
    m->next = NULL;
    m->posted_s = clock_seconds();
    pthread_mutex_lock(&w->mail_lock);
    while (patient && w->n_mails >= MAIL_MAX && !w->mail_closed)
        pthread_cond_wait(&w->mail_room, &w->mail_lock);
    if (w->n_mails >= MAIL_MAX)
        dropped = unlink_oldest_step(w);
    *(w->last_mail ? &w->last_mail->next : &w->mails) = m;
    w->last_mail = m;
    w->n_mails++;
    pthread_mutex_unlock(&w->mail_lock);
    mail_free(dropped);
    if (write(w->wake[1], "", 1) < 0) {
        /* full: the UI thread is awake already */
    }
}

void mail_post(struct workbench *w, const struct mail *m)
{
    post(w, m, false);
}

void mail_post_patient(struct workbench *w, const struct mail *m)
{
    post(w, m, true);
}

struct mail *mail_take(struct workbench *w)
{
    pthread_mutex_lock(&w->mail_lock);
    struct mail *m = w->mails;
    if (m) {
        w->mails = m->next;
        if (!w->mails)
            w->last_mail = NULL;
        if (w->n_mails-- == MAIL_MAX)
            pthread_cond_signal(&w->mail_room);
    }
    pthread_mutex_unlock(&w->mail_lock);
    return m;
}

void mail_close_door(struct workbench *w)
{
    pthread_mutex_lock(&w->mail_lock);
    w->mail_closed = true;
    pthread_cond_broadcast(&w->mail_room);
    pthread_mutex_unlock(&w->mail_lock);
}

void mail_end(struct workbench *w)
{
    for (struct mail *m; (m = mail_take(w));)
        mail_free(m);
    close(w->wake[0]);
    close(w->wake[1]);
    pthread_cond_destroy(&w->mail_room);
    pthread_mutex_destroy(&w->mail_lock);
}
