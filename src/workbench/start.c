/* start.c - the start page: the demo, recent runs, models that are here. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_SHOWN = 40, MODELS_SHOWN = 40 };

static void add(struct workbench *w, enum start_kind kind, const char *name, char *about, char *how)
{
    if (w->n_start_rows == w->cap_start_rows) {
        size_t cap = w->cap_start_rows ? 2 * w->cap_start_rows : 32;
        w->start_rows = mem_grow(w->start_rows, w->cap_start_rows, cap, sizeof *w->start_rows);
        w->start_texts = mem_grow(w->start_texts, 3 * w->cap_start_rows, 3 * cap, sizeof *w->start_texts);
        w->cap_start_rows = cap;
    }
    char **texts = w->start_texts + 3 * w->n_start_rows;
    texts[0] = clean_copy(name, false);
    texts[1] = about;
    texts[2] = how;
    w->start_rows[w->n_start_rows++] = (struct view_start_row){kind, texts[0], about, how};
}

static void add_runs(struct workbench *w)
{
    struct run_info *runs;
    struct gm_error err = {0};
    int n;
    if (!dir_exists(cli_runs_root()))
        return;
    if (!run_list(cli_runs_root(), &runs, &n, &err)) {
        feed_say(w, MESSAGE_WARN, "%s", err.text);
        return;
    }
    for (int i = 0; i < n; i++) {
        const struct run_info *r = &runs[i];
        char loss[32] = "";
        if (isfinite(r->last_val_loss))
            snprintf(loss, sizeof loss, ", val %.3f", r->last_val_loss);
        if (i < RUNS_SHOWN)
            add(w, START_RUN, r->name, mem_printf("%s at %d/%d%s", r->state, r->last_step, r->iters, loss), NULL);
        run_info_free(&runs[i]);
    }
    mem_free(runs);
}

static void add_model(struct workbench *w, const char *path, int *left)
{
    if (*left <= 0)
        return;
    (*left)--;
    char *clean = clean_copy(path, false);
    add(w, START_MODEL, path, mem_copy("model"), mem_printf("gemmaiku train --model %s --data DATA", clean));
    mem_free(clean);
}

/* .gguf files and Hugging Face folders of a folder. */
static void add_models_of(struct workbench *w, const char *folder, int *left)
{
    char **names;
    size_t n;
    if (!dir_exists(folder) || !dir_list(folder, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = strcmp(folder, ".") == 0 ? mem_copy(names[i]) : path_join(folder, names[i]), *config = path_join(path, "config.json");
        size_t length = strlen(names[i]);
        if ((length > 5 && strcmp(names[i] + length - 5, ".gguf") == 0) || file_exists(config))
            add_model(w, path, left);
        mem_free(path);
        mem_free(config);
        mem_free(names[i]);
    }
    mem_free(names);
}

/* models--ORG--NAME folders of the hub cache. */
static void add_cached(struct workbench *w, int *left)
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
                add_model(w, id, left);
                mem_free(id);
            }
            mem_free(names[i]);
        }
        mem_free(names);
    }
    mem_free(folder);
}

void start_fill(struct workbench *w)
{
    int left = MODELS_SHOWN;
    add(w, START_DEMO, "demo", mem_copy("a built-in model learns haiku, now"), NULL);
    add_runs(w);
    add_models_of(w, ".", &left);
    add_models_of(w, "models", &left);
    add_cached(w, &left);
    w->view.start = (struct view_start){.active = true, .rows = w->start_rows, .count = w->n_start_rows};
}

void start_open(struct workbench *w, long index)
{
    struct gm_error err = {0};
    if (index < 0 || (size_t)index >= w->n_start_rows)
        return;
    const struct view_start_row *row = &w->start_rows[index];
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
    char *dir = run_resolve(cli_runs_root(), row->name, &err);
    if (dir)
        taster_add(w, &(struct job){.kind = TASTE_LOAD_RUN, .folder = dir});
    else
        feed_say(w, MESSAGE_ERROR, "%s", err.text);
}

void start_free(struct workbench *w)
{
    for (size_t i = 0; i < 3 * w->n_start_rows; i++)
        mem_free(w->start_texts[i]);
    mem_free(w->start_texts);
    mem_free(w->start_rows);
}
