/* whole.c - see whole.h. */
#include "engine/export/whole.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *parent_of(const char *path)
{
    const char *base = path_base(path);
    if (base == path)
        return mem_copy(".");
    return base - path == 1 ? mem_copy("/") : mem_copy_n(path, (size_t)(base - path - 1));
}

/* The folders above the target that are not there yet: those that a failure takes away again. */
static int missing_above(const char *path)
{
    int n = 0;
    char *at = mem_copy(path);
    while (!dir_exists(at)) {
        char *up = parent_of(at);
        n++;
        mem_free(at);
        at = up;
    }
    mem_free(at);
    return n;
}

static void remove_empty(const char *path, int n)
{
    char *at = mem_copy(path);
    for (; n > 0 && rmdir(at) == 0; n--) { /* stays when something else is in it by now */
        char *up = parent_of(at);
        mem_free(at);
        at = up;
    }
    mem_free(at);
}

bool whole_begin(struct whole *w, const char *out, struct gm_error *err)
{
    w->out = path_trimmed(out);
    w->parent = parent_of(w->out);
    w->made = mem_printf("%s.making-%ld", w->out, (long)getpid());
    w->missing = missing_above(w->parent);
    return *w->out || error_set(err, GM_E_USAGE, "the target has no name");
}

bool whole_make(struct whole *w, struct gm_error *err)
{
    if (dir_exists(w->made) && !dir_remove(w->made, err)) /* of a process that was killed and had our number */
        return false;
    return dir_make(w->parent, err) && dir_make(w->made, err);
}

bool whole_place(const struct whole *w, const char *from, const char *to, bool force, struct gm_error *err)
{
    char *old = mem_printf("%s.old-%ld", to, (long)getpid());
    bool had = force && rename(to, old) == 0;
    if (rename(from, to) != 0) {
        error_errno(err, "rename %s to %s", from, to);
        if (had && rename(old, to) != 0)
            error_remedy(err, "what stood there is now %s", old);
        mem_free(old);
        return false;
    }
    bool ok = dir_sync(w->parent, err);
    if (had)
        ok = (dir_exists(old) ? dir_remove(old, err) : unlink(old) == 0 || error_errno(err, "remove %s", old)) && ok;
    mem_free(old);
    return ok;
}

void whole_end(struct whole *w, bool ok)
{
    if (dir_exists(w->made))
        dir_remove(w->made, NULL);
    if (!ok)
        remove_empty(w->parent, w->missing);
    mem_free(w->out);
    mem_free(w->parent);
    mem_free(w->made);
    *w = (struct whole){0};
}
