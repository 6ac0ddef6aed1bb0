/* start.c - the start page: the demo at once; recent runs and models as soon as the taster has looked for them. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_SHOWN = 40, MODELS_SHOWN = 40, TEXTS = 4 };

static void add(struct start_list *l, enum start_kind kind, const char *name, char *about, char *how)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 32;
        l->rows = mem_grow(l->rows, l->cap, cap, sizeof *l->rows);
        l->texts = mem_grow(l->texts, TEXTS * l->cap, TEXTS * cap, sizeof *l->texts);
        l->cap = cap;
    }
    char **texts = l->texts + TEXTS * l->n;
    texts[0] = clean_copy(name, false);
    texts[1] = about;
    texts[2] = how;
    texts[3] = mem_copy(name); /* as it is: it is opened by this name */
    l->rows[l->n++] = (struct view_start_row){kind, texts[0], about, how};
}

static struct start_list *new_list(void)
{
    struct start_list *l = mem_new(1, sizeof *l);
    add(l, START_DEMO, "demo", mem_copy("a built-in model learns haiku, now"), NULL);
    return l;
}

void start_list_free(struct start_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < TEXTS * l->n; i++)
        mem_free(l->texts[i]);
    mem_free(l->texts);
    mem_free(l->rows);
    mem_free(l);
}

/* ---- what there is, on the taster's thread ---- */

static void add_runs(struct workbench *w, struct start_list *l)
{
    struct run_info *runs;
    struct gm_error err = {0};
    int n;
    if (!run_list(cli_runs_root(), &runs, &n, &err)) {
        mail_post(w, &(struct mail){.kind = MAIL_NOTE, .flag = true, .text = mem_copy(err.text)});
        return;
    }
    for (int i = 0; i < n; i++) {
        const struct run_info *r = &runs[i];
        char loss[32] = "";
        if (isfinite(r->last_val_loss))
            snprintf(loss, sizeof loss, ", val %.3f", r->last_val_loss);
        if (i < RUNS_SHOWN)
            add(l, START_RUN, path_base(r->dir), mem_printf("%s at %d/%d%s", r->state, r->last_step, r->iters, loss), NULL);
        run_info_free(&runs[i]);
    }
    mem_free(runs);
}

static void add_model(struct start_list *l, const char *path, int *left)
{
    if (*left <= 0)
        return;
    (*left)--;
    char *clean = clean_copy(path, false);
    add(l, START_MODEL, path, mem_copy("model"), mem_printf("gemmaiku train --model %s --data DATA", clean));
    mem_free(clean);
}

/* .gguf files and Hugging Face folders of a folder. */
static void add_models_of(struct start_list *l, const char *folder, int *left)
{
    char **names;
    size_t n;
    if (!dir_exists(folder) || !dir_list(folder, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = strcmp(folder, ".") == 0 ? mem_copy(names[i]) : path_join(folder, names[i]), *config = path_join(path, "config.json");
        if (text_ends(names[i], ".gguf") || file_exists(config))
            add_model(l, path, left);
        mem_free(path);
        mem_free(config);
        mem_free(names[i]);
    }
    mem_free(names);
}

/* models--ORG--NAME folders of the hub cache. */
static void add_cached(struct start_list *l, int *left)
{
    const char *hub = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    char *folder = hub && *hub ? mem_copy(hub) : home && *home ? path_join(home, "hub") : user ? path_join(user, ".cache/huggingface/hub") : NULL;
    char **names;
    size_t n;
    if (folder && dir_exists(folder) && dir_list(folder, &names, &n, NULL)) {
        for (size_t i = 0; i < n; i++) {
            char *split = strncmp(names[i], "models--", 8) == 0 ? strstr(names[i] + 8, "--") : NULL;
            if (split) {
                *split = 0;
                char *id = mem_printf("%s/%s", names[i] + 8, split + 2);
                add_model(l, id, left);
                mem_free(id);
            }
            mem_free(names[i]);
        }
        mem_free(names);
    }
    mem_free(folder);
}

void taste_start_page(struct workbench *w)
{
    int left = MODELS_SHOWN;
    struct start_list *l = new_list();
    add_runs(w, l);
    add_models_of(l, ".", &left);
    add_models_of(l, "models", &left);
    add_cached(l, &left);
    mail_post(w, &(struct mail){.kind = MAIL_START, .pointer = l});
}

/* ---- the page ---- */

void start_show(struct workbench *w)
{
    w->start = new_list();
    w->view.start = (struct view_start){.active = true, .rows = w->start->rows, .count = w->start->n};
    taster_add(w, &(struct job){.kind = TASTE_START_PAGE});
}

void start_open(struct workbench *w, long index)
{
    struct gm_error err = {0};
    if (index < 0 || (size_t)index >= w->start->n)
        return;
    const struct view_start_row *row = &w->start->rows[index];
    if (row->kind == START_MODEL) {
        feed_say(w, MESSAGE_INFO, "%s", row->how);
        return;
    }
    w->view.start.active = false;
    ui_go(w->ui, SCREEN_TRAIN);
    if (row->kind == START_DEMO) {
        if (!runner_start(w, &err))
            feed_say(w, MESSAGE_ERROR, "%s", err.text);
        return;
    }
    start_load(w, path_join(cli_runs_root(), w->start->texts[TEXTS * index + 3]));
}

void start_load(struct workbench *w, char *folder)
{
    atomic_store(&w->following, true);
    taster_add(w, &(struct job){.kind = TASTE_LOAD_RUN, .folder = folder});
}
