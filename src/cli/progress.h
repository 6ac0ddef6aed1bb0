/* progress.h - how training without a screen tells what it does: a bar where stderr is a terminal, else a line every few seconds. */
#ifndef GM_CLI_PROGRESS_H
#define GM_CLI_PROGRESS_H

#include "engine/train/trainer.h"
#include "src/cli/args.h"

struct progress {
    const struct general *general;
    bool terminal, open_line;
    double began, shown;
    int first_step;
    double first_loss, last_loss, last_val_loss, best_val_loss; /* NaN: none yet; first: validation at the start */
    int last_step;
    char reason[256];
};

void progress_init(struct progress *p, const struct general *g);
/* A train_listener's event function; arg = struct progress. */
void progress_event(void *arg, const struct train_event *e);
/* trainer_run; a signal stops it, after saving. */
bool progress_run(struct progress *p, struct trainer *t, struct gm_error *err);
void progress_end(struct progress *p);

#endif
