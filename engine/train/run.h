/* run.h - a run on disk: run.json, journal.jsonl, samples.jsonl, checkpoints/, LOCK.
 *
 * Append-only journals (a torn last line is dropped on reading); a checkpoint appears whole or not
 * at all. One writer, by LOCK; readers need none. RUN names: a path, or a name under ./runs
 * (GEMMAIKU_RUNS overrides; the caller passes the root).
 */
#ifndef GM_TRAIN_RUN_H
#define GM_TRAIN_RUN_H

#include "engine/train/options.h"

struct checkpoint_info {
    int step;
    char *path;       /* .../checkpoints/0000600 */
    double val_loss;  /* NaN: not evaluated */
    double form_rate; /* NaN: no samples */
    int form_n;
    bool best_loss, best_form;
    uint64_t bytes;
};
struct run_info { /* what a reader sees */
    char *name, *dir;
    json_t *json; /* run.json */
    struct checkpoint_info *checkpoints;
    int n_checkpoints;
    int last_step, iters;
    char state[24]; /* "running" (LOCK held), "stopped", "finished", "killed" */
    double last_val_loss;
};
/* "RUN", "RUN:best", "RUN:best-form", "RUN:last", "RUN:600"; fills dir of the run and the step (-1:
 * none asked). */
char *run_resolve(const char *root, const char *name,
                  struct gm_error *err); /* directory; mem_free */
bool run_info_open(struct run_info *r, const char *dir, struct gm_error *err);
void run_info_free(struct run_info *r);
bool run_list(const char *root, struct run_info **runs, int *n,
              struct gm_error *err); /* newest first */
/* An ADAPTER argument that names a run: path of the checkpoint folder; *is_run false when it is a
 * plain path. */
char *run_adapter_path(const char *root, const char *adapter, bool *is_run, int *step,
                       struct gm_error *err);
/* Calls fn for each whole line of a journal; stops and fails when fn returns false. */
bool journal_read(const char *path, bool (*fn)(void *arg, json_t *event), void *arg,
                  struct gm_error *err);

#endif
