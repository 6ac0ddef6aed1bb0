/* run_files.h - making the folder of a run and its run.json. Private to this room. */
#ifndef GM_TRAIN_RUN_FILES_H
#define GM_TRAIN_RUN_FILES_H

#include "engine/base/file.h"
#include "engine/format/model_source.h"
#include "engine/train/dataset.h"
#include "engine/train/run.h"

/* Makes a folder that was not there before, and takes its LOCK: o->run, a path or a plain name under root, or else the next number behind
 * o->run_stem or MODEL-DATA, of which nobody else has the folder, however many ask at once. Returns the folder. */
char *run_create(const char *root, const struct train_options *o, struct lock *lock, struct gm_error *err);
void run_uncreate(const char *dir,
                  struct lock *lock); /* after a failure: removes what run_create made */

/* What a run was made of, to be found again by a resume. */
struct run_origin {
    char model_sha256[65], tokenizer_sha256[65], data_sha256[65];
};
bool run_origin_of(struct run_origin *o, const struct model_source *source,
                   const struct tokenizer *t, const struct dataset *d, bool weights,
                   struct gm_error *err);
bool run_write_json(const char *dir, const struct train_options *o, const struct run_origin *origin,
                    const struct dataset *d, const char *created, struct gm_error *err);
/* Options, origin and time of making of an existing run; created: mem_free. */
bool run_read_json(const char *dir, struct train_options *o, struct run_origin *origin,
                   char **created, struct gm_error *err);
/* What has changed since the run began is refused, by name. */
bool run_origin_check(const struct run_origin *then, const struct run_origin *now,
                      const struct train_options *o, struct gm_error *err);

#endif
