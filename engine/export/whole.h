/* whole.h - private to engine/export: a target that appears whole or not at all.
 *
 * What is to be written is made in a folder beside the target, which then takes its place (or a file out of it does). What stood there is moved aside first
 * and removed last; a failure takes away all that was made, folders above the target included.
 *
 *     struct whole w;
 *     bool ok = whole_begin(&w, "out/haiku/", err) && write_into(w.made, err) && whole_place(&w, w.made, w.out, force, err);
 *     whole_end(&w, ok);
 */
#ifndef GM_EXPORT_WHOLE_H
#define GM_EXPORT_WHOLE_H

#include "engine/base/error.h"

struct whole {
    char *out;    /* the target, without a slash at its end */
    char *parent; /* made when it is not there */
    char *made;   /* the folder beside it */
    int missing;  /* folders above the target that were not there */
};
bool whole_begin(struct whole *w, const char *out, struct gm_error *err);
bool whole_make(struct whole *w, struct gm_error *err); /* the folders; nothing stands on disk before */
bool whole_place(const struct whole *w, const char *from, const char *to, bool force, struct gm_error *err);
void whole_end(struct whole *w, bool ok);

#endif
