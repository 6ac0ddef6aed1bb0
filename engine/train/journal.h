/* journal.h - writing the append-only files of a run, one JSON object a line. Reading: run.h.
 *
 * A line is written with one write(2), so that a reader never sees half of two. What a killed
 * process left of a line is cut off when the file is opened again. Threads: the trainer's.
 */
#ifndef GM_TRAIN_JOURNAL_H
#define GM_TRAIN_JOURNAL_H

#include "engine/train/run.h"

struct journal {
    int fd;
    char *path;
    char *line; /* where events are rendered: grows at first, then stays */
    size_t size;
};
bool journal_open(struct journal *j, const char *path, struct gm_error *err);
void journal_close(struct journal *j);
/* Takes the reference of `event`. sync: the line is on the disk when this returns. */
bool journal_write(struct journal *j, json_t *event, bool sync, struct gm_error *err);
/* As journal_read, from the last `bytes` of the file on. */
bool journal_read_tail(const char *path, size_t bytes, bool (*fn)(void *arg, json_t *event),
                       void *arg, struct gm_error *err);

#endif
