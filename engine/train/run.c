/* run.c - what is on disk of a run, for those who read: names, checkpoints with the best ones
 * marked, how far it came. */
#include "engine/train/run.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/checkpoint.h"
#include "engine/train/journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN_JSON_MAX = 16 << 20, TAIL_BYTES = 256 << 10 };

/* ---- names ---- */

static bool holds_run(const char *dir)
{
    char *path = path_join(dir, "run.json");
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

/* The folder that `name` means: a path, or a name under the root. NULL: neither. */
static char *find_run(const char *root, const char *name)
{
    if (holds_run(name))
        return mem_copy(name);
    char *under = path_join(root, name);
    if (*name && !strchr(name, '/') && holds_run(under))
        return under;
    mem_free(under);
    return NULL;
}

static bool is_selector(const char *text)
{
    if (strcmp(text, "best") == 0 || strcmp(text, "best-form") == 0 || strcmp(text, "last") == 0)
        return true;
    size_t n = strspn(text, "0123456789");
    return n > 0 && n < 10 && !text[n];
}

/* As find_run; *selector points behind the ':' of name, or is NULL. */
static char *find_selected(const char *root, const char *name, const char **selector)
{
    *selector = NULL;
    char *dir = find_run(root, name);
    const char *colon = strrchr(name, ':');
    if (dir || !colon || !is_selector(colon + 1))
        return dir;
    char *plain = mem_copy_n(name, (size_t)(colon - name));
    dir = find_run(root, plain);
    mem_free(plain);
    if (dir)
        *selector = colon + 1;
    return dir;
}

static bool no_run(const char *root, const char *name, struct gm_error *err)
{
    return error_set(err, GM_E_INPUT,
                     "open run %s: no run.json there, and no run of that name in %s (gemmaiku runs "
                     "list shows them)",
                     name, root);
}

char *run_resolve(const char *root, const char *name, struct gm_error *err)
{
    const char *selector;
    char *dir = find_selected(root, name, &selector);
    if (!dir)
        no_run(root, name, err);
    return dir;
}

/* ---- how far it came ---- */

struct tail {
    struct run_info *run;
    char last[24], reason[64]; /* the last of start, resume, end */
};

static bool take_event(void *arg, json_t *event)
{
    struct tail *t = arg;
    const char *name = json_string_value(json_object_get(event, "event"));
    json_t *step = json_object_get(event, "step"), *loss = json_object_get(event, "loss");
    if (!name)
        return true;
    if (json_is_integer(step) && json_integer_value(step) >= 0 &&
        json_integer_value(step) < 1000000000)
        t->run->last_step = (int)json_integer_value(step);
    if (strcmp(name, "eval") == 0 && json_is_number(loss))
        t->run->last_val_loss = json_number_value(loss);
    if (strcmp(name, "start") == 0 || strcmp(name, "resume") == 0 || strcmp(name, "end") == 0) {
        const char *reason = json_string_value(json_object_get(event, "reason"));
        snprintf(t->last, sizeof t->last, "%s", name);
        snprintf(t->reason, sizeof t->reason, "%s", reason ? reason : "");
    }
    return true;
}

/* Does a process hold the lock? Asked for a moment only, and only of runs whose journal has no end.
 */
static bool is_locked(const char *dir)
{
    char *path = path_join(dir, "LOCK");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    mem_free(path);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

static void read_progress(struct run_info *r)
{
    struct tail t = {.run = r};
    char *path = path_join(r->dir, "journal.jsonl");
    journal_read_tail(path, TAIL_BYTES, take_event, &t,
                      NULL); /* a run without a readable journal is still a run */
    mem_free(path);
    const char *state = "stopped";
    if (strcmp(t.last, "end") == 0)
        state = strcmp(t.reason, "finished") == 0 || strcmp(t.reason, "early stop") == 0
                    ? "finished"
                    : "stopped";
    else
        state = is_locked(r->dir) ? "running" : "killed";
    snprintf(r->state, sizeof r->state, "%s", state);
}

/* ---- checkpoints ---- */

static bool better_form(const struct checkpoint_info *a, const struct checkpoint_info *b)
{
    if (a->form_rate != b->form_rate)
        return a->form_rate > b->form_rate;
    return isfinite(a->val_loss) && !(a->val_loss >= b->val_loss);
}

static void mark_best(struct run_info *r)
{
    struct checkpoint_info *loss = NULL, *form = NULL;
    for (int i = 0; i < r->n_checkpoints; i++) {
        struct checkpoint_info *c = &r->checkpoints[i];
        if (isfinite(c->val_loss) && (!loss || c->val_loss < loss->val_loss))
            loss = c;
        if (isfinite(c->form_rate) && (!form || better_form(c, form)))
            form = c;
    }
    if (loss)
        loss->best_loss = true;
    if (form)
        form->best_form = true;
}

static bool read_checkpoints(struct run_info *r, struct gm_error *err)
{
    int *steps, n;
    if (!checkpoint_steps(r->dir, &steps, &n, err))
        return false;
    r->checkpoints = mem_new((size_t)n + 1, sizeof *r->checkpoints);
    for (int i = 0; i < n; i++) {
        struct checkpoint_state s;
        struct checkpoint_info *c = &r->checkpoints[r->n_checkpoints];
        char *path = checkpoint_path(r->dir, steps[i]);
        if (checkpoint_read_state(path, &s, &c->bytes, NULL) && s.step == steps[i]) {
            c->step = s.step;
            c->path = path;
            c->val_loss = s.val_loss;
            c->form_rate = s.form_rate;
            c->form_n = s.form_n;
            r->n_checkpoints++;
        } else {
            mem_free(path); /* damaged: resume names it */
        }
    }
    mem_free(steps);
    mark_best(r);
    return true;
}

bool run_info_open(struct run_info *r, const char *dir, struct gm_error *err)
{
    *r = (struct run_info){.last_val_loss = NAN};
    char *path = path_join(dir, "run.json");
    r->json = json_load_file_checked(path, RUN_JSON_MAX, err);
    const json_t *options = NULL;
    int64_t iters = 0;
    const char *name = path_base(dir);
    bool ok = r->json && json_get_object(r->json, "options", REQUIRED, &options, err) &&
              json_get_int(options, "iters", REQUIRED, 1, 1000000000, &iters, err) &&
              json_get_string(r->json, "name", OPTIONAL, &name, err);
    if (r->json && !ok)
        error_context(err, "read %s", path);
    mem_free(path);
    r->dir = mem_copy(dir);
    r->name = mem_copy(name);
    r->iters = (int)iters;
    ok = ok && read_checkpoints(r, err);
    if (ok)
        read_progress(r);
    else
        run_info_free(r);
    return ok;
}

void run_info_free(struct run_info *r)
{
    for (int i = 0; i < r->n_checkpoints; i++)
        mem_free(r->checkpoints[i].path);
    mem_free(r->checkpoints);
    mem_free(r->name);
    mem_free(r->dir);
    json_decref(r->json);
    *r = (struct run_info){0};
}

/* ---- lists ---- */

struct dated {
    struct run_info run;
    struct timespec when;
};

static int newest_first(const void *a, const void *b)
{
    const struct dated *x = a, *y = b;
    if (x->when.tv_sec != y->when.tv_sec)
        return x->when.tv_sec < y->when.tv_sec ? 1 : -1;
    if (x->when.tv_nsec != y->when.tv_nsec)
        return x->when.tv_nsec < y->when.tv_nsec ? 1 : -1;
    return strcmp(x->run.name, y->run.name);
}

static struct timespec last_change(const char *dir)
{
    struct stat st;
    char *path = path_join(dir, "journal.jsonl");
    bool known = stat(path, &st) == 0 || stat(dir, &st) == 0;
    mem_free(path);
    return known ? st.st_mtim : (struct timespec){0};
}

bool run_list(const char *root, struct run_info **runs, int *n, struct gm_error *err)
{
    char **names;
    size_t count;
    *runs = NULL;
    *n = 0;
    if (!dir_exists(root)) {
        *runs = mem_new(1, sizeof **runs);
        return true;
    }
    if (!dir_list(root, &names, &count, err))
        return false;
    struct dated *found = mem_new(count + 1, sizeof *found);
    for (size_t i = 0; i < count; i++) {
        char *dir = path_join(root, names[i]);
        if (holds_run(dir) &&
            run_info_open(&found[*n].run, dir,
                          NULL)) /* what is no run, or a broken one, is no part of the list */
            found[(*n)++].when = last_change(dir);
        mem_free(dir);
        mem_free(names[i]);
    }
    mem_free(names);
    qsort(found, (size_t)*n, sizeof *found, newest_first);
    *runs = mem_new((size_t)*n + 1, sizeof **runs);
    for (int i = 0; i < *n; i++)
        (*runs)[i] = found[i].run;
    mem_free(found);
    return true;
}

/* ---- ADAPTER ---- */

static const struct checkpoint_info *select_checkpoint(const struct run_info *r,
                                                       const char *selector, struct gm_error *err)
{
    const struct checkpoint_info *last =
        r->n_checkpoints ? &r->checkpoints[r->n_checkpoints - 1] : NULL;
    if (!last) {
        error_set(err, GM_E_INPUT, "open run %s: it has no checkpoint yet (wait for the first one; a stopped run goes on with "
                                        "gemmaiku resume)",
                  r->name);
        return NULL;
    }
    if (selector && strcmp(selector, "last") == 0)
        return last;
    bool form = selector && strcmp(selector, "best-form") == 0,
         number = selector && isdigit((unsigned char)*selector);
    for (int i = 0; i < r->n_checkpoints; i++) {
        const struct checkpoint_info *c = &r->checkpoints[i];
        if (number ? c->step == atoi(selector) : form ? c->best_form : c->best_loss)
            return c;
    }
    if (number)
        error_set(err, GM_E_INPUT,
                  "open run %s: no checkpoint of step %s (gemmaiku runs show %s lists them)",
                  r->name, selector, r->name);
    else if (form)
        error_set(err, GM_E_INPUT,
                  "open run %s: no checkpoint has samples to judge (name a step, or last)",
                  r->name);
    return number || form
               ? NULL
               : last; /* without validation rows the last one is the best that is known */
}

char *run_adapter_path(const char *root, const char *adapter, bool *is_run, int *step,
                       struct gm_error *err)
{
    const char *selector;
    struct run_info r;
    *is_run = false;
    *step = -1;
    if (file_exists(adapter) || (dir_exists(adapter) && !holds_run(adapter)))
        return mem_copy(adapter);
    char *dir = find_selected(root, adapter, &selector), *path = NULL;
    if (!dir) {
        error_set(err, GM_E_INPUT,
                  "open adapter %s: no such file or folder, and no run of that name in %s", adapter,
                  root);
        return NULL;
    }
    if (run_info_open(&r, dir, err)) {
        const struct checkpoint_info *c = select_checkpoint(&r, selector, err);
        if (c) {
            path = mem_copy(c->path);
            *step = c->step;
            *is_run = true;
        }
        run_info_free(&r);
    }
    mem_free(dir);
    return path;
}
