/* mail.c - the box in which other threads leave what the UI thread should know. */
#include "src/workbench/state.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { MAIL_MAX = 8192 };

void mail_init(struct workbench *w)
{
    pthread_mutex_init(&w->mail_lock, NULL);
    if (pipe2(w->wake, O_CLOEXEC | O_NONBLOCK) != 0)
        w->wake[0] = w->wake[1] = -1;
}

void mail_free(struct mail *m)
{
    mem_free(m->text);
    mem_free(m->text2);
    mem_free(m->sample.text);
    m->text = m->text2 = m->sample.text = NULL;
}

/* Room for one more: the oldest plot point goes. */
static void make_room(struct workbench *w)
{
    for (size_t i = 0; i < w->n_mails; i++)
        if (w->mails[i].kind == MAIL_TRAIN && w->mails[i].event.kind == TRAIN_STEP) {
            mail_free(&w->mails[i]);
            memmove(w->mails + i, w->mails + i + 1, (w->n_mails - i - 1) * sizeof *w->mails);
            w->n_mails--;
            return;
        }
}

void mail_post(struct workbench *w, const struct mail *m)
{
    pthread_mutex_lock(&w->mail_lock);
    if (w->n_mails >= MAIL_MAX)
        make_room(w);
    if (w->n_mails == w->cap_mails) {
        size_t cap = w->cap_mails ? 2 * w->cap_mails : 64;
        w->mails = mem_grow(w->mails, w->cap_mails, cap, sizeof *w->mails);
        w->cap_mails = cap;
    }
    w->mails[w->n_mails++] = *m;
    pthread_mutex_unlock(&w->mail_lock);
    if (write(w->wake[1], "", 1) < 0) {
        /* full: the UI thread is awake already */
    }
}

bool mail_take(struct workbench *w, struct mail *m)
{
    pthread_mutex_lock(&w->mail_lock);
    bool any = w->n_mails > 0;
    if (any) {
        *m = w->mails[0];
        memmove(w->mails, w->mails + 1, --w->n_mails * sizeof *w->mails);
    }
    pthread_mutex_unlock(&w->mail_lock);
    return any;
}

void mail_close(struct workbench *w)
{
    struct mail m;
    while (mail_take(w, &m))
        mail_free(&m);
    mem_free(w->mails);
    close(w->wake[0]);
    close(w->wake[1]);
    pthread_mutex_destroy(&w->mail_lock);
}
