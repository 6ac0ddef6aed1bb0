/* adapter_copy.c - files of checkpoints into a folder beside the target, and from there into place. */
#include "src/cli/adapter_copy.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/checkpoint.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool copy_file(const char *from_dir, const char *name, const char *to_dir, const char *new_name, struct gm_error *err)
{
    char *from = path_join(from_dir, name), *to = path_join(to_dir, new_name);
    struct mapping m = {0};
    struct writer w;
    bool ok = mapping_open(&m, from, err);
    if (ok && (ok = writer_open(&w, to, err))) {
        writer_write(&w, m.data, m.size);
        ok = writer_commit(&w, err);
    }
    mapping_close(&m);
    mem_free(from);
    mem_free(to);
    return ok;
}

/* All of a checkpoint but what only a resume needs. */
static bool copy_last(const char *checkpoint, const char *to, struct gm_error *err)
{
    char **names;
    size_t n;
    if (!dir_list(checkpoint, &names, &n, err))
        return false;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        bool of_resume = strcmp(names[i], "state.json") == 0 || strcmp(names[i], "optimizer.safetensors") == 0 || names[i][0] == '.';
        ok = ok && (of_resume || copy_file(checkpoint, names[i], to, names[i], err));
        mem_free(names[i]);
    }
    mem_free(names);
    return ok;
}

static bool gather(const char *run_dir, const char *to, struct gm_error *err)
{
    int *steps, n;
    if (!checkpoint_steps(run_dir, &steps, &n, err))
        return false;
    bool ok = n > 0 || error_set(err, GM_E_INPUT, "copy the adapter of %s: it has no checkpoint", run_dir);
    for (int i = 0; ok && i < n; i++) {
        char *checkpoint = checkpoint_path(run_dir, steps[i]), *adapter = path_join(checkpoint, "adapters.safetensors"), name[48];
        snprintf(name, sizeof name, "%07d_adapters.safetensors", steps[i]);
        if (i == n - 1)
            ok = copy_last(checkpoint, to, err);
        if (ok && file_exists(adapter))
            ok = copy_file(checkpoint, "adapters.safetensors", to, name, err);
        mem_free(adapter);
        mem_free(checkpoint);
    }
    mem_free(steps);
    return ok;
}

/* File by file into a folder that is there; the configuration comes first in the order of names, as its readers want. */
static bool move_in(const char *made, const char *to, struct gm_error *err)
{
    char **names;
    size_t n;
    if (!dir_list(made, &names, &n, err))
        return false;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        char *a = path_join(made, names[i]), *b = path_join(to, names[i]);
        if (ok && rename(a, b) != 0)
            ok = error_errno(err, "rename %s to %s", a, b);
        mem_free(a);
        mem_free(b);
        mem_free(names[i]);
    }
    mem_free(names);
    return ok && dir_sync(to, err);
}

bool adapter_copy(const char *run_dir, const char *to, struct gm_error *err)
{
    char *plain = path_trimmed(to), *made = mem_printf("%s.new-%ld", plain, (long)getpid());
    bool ok = dir_make(made, err) && gather(run_dir, made, err);
    if (ok && dir_exists(to))
        ok = move_in(made, to, err);
    else if (ok && rename(made, to) != 0)
        ok = error_errno(err, "rename %s to %s", made, to);
    if (dir_exists(made))
        dir_remove(made, NULL);
    mem_free(made);
    mem_free(plain);
    return ok || error_context(err, "write %s", to);
}
