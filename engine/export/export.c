/* export.c - the way of every export: check, write beside the target, prove, rename. */
#include "engine/export/export.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const NAMES[EXPORT_TO_COUNT] = {"mlx", "peft", "safetensors"};

const char *export_to_name(enum export_to to) { return NAMES[to]; }

bool export_to_parse(const char *name, enum export_to *to)
{
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        if (strcmp(name, NAMES[i]) == 0) {
            *to = (enum export_to)i;
            return true;
        }
    return false;
}

static enum dtype fused_type(const struct export_request *r)
{
    if (r->type != DT_COUNT)
        return r->type;
    enum dtype base = r->model->layers[0].w[PROJ_Q].type;
    return base == DT_F32 || base == DT_F16 ? base : DT_BF16;
}

uint64_t export_bytes_estimate(const struct export_request *r)
{
    if (r->to != EXPORT_SAFETENSORS)
        return (uint64_t)r->lora->set.count * sizeof(float) + 65536;
    return (uint64_t)model_config_parameters(&r->model->config) * (fused_type(r) == DT_F32 ? 4 : 2) + (8 << 20);
}

static bool check_request(const struct export_request *r, struct gm_error *err)
{
    if (r->to != EXPORT_SAFETENSORS && !r->lora)
        return error_set(err, GM_E_USAGE, "export to %s: there is no adapter to write (name one with --adapter, or --to safetensors for a whole model)", export_to_name(r->to));
    struct stat st;
    if (lstat(r->out, &st) == 0 && !r->force)
        return error_set(err, GM_E_INPUT, "export to %s: it exists", r->out);
    if (lstat(r->out, &st) == 0 && !S_ISDIR(st.st_mode))
        return error_set(err, GM_E_INPUT, "export to %s: it is no folder (choose another name)", r->out);
    return true;
}

static bool check_disk(const struct export_request *r, const char *parent, struct gm_error *err)
{
    uint64_t free_bytes, need = export_bytes_estimate(r);
    if (!disk_free_bytes(parent, &free_bytes, err))
        return false;
    if (need > free_bytes)
        return error_set(err, GM_E_IO, "%.1f MB are needed, %.1f MB are free (make room, or choose another --out)", (double)need / 1e6,
                         (double)free_bytes / 1e6);
    return true;
}

static void count_files(const char *folder, struct export_result *out)
{
    char **names;
    size_t n;
    if (!dir_list(folder, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(folder, names[i]);
        struct stat st;
        if (stat(path, &st) == 0)
            out->bytes += (uint64_t)st.st_size;
        out->files++;
        mem_free(path);
        mem_free(names[i]);
    }
    mem_free(names);
}

/* The new folder takes the place of the old one, if that may be; the old one is moved aside first and removed last. */
static bool put_in_place(const char *made, const char *out, const char *parent, bool force, struct gm_error *err)
{
    char *old = mem_printf("%s.old-%ld", out, (long)getpid());
    bool had = force && rename(out, old) == 0;
    if (rename(made, out) != 0) {
        error_errno(err, "rename %s to %s", made, out);
        if (had && rename(old, out) != 0)
            error_remedy(err, "what stood there is now %s", old);
        mem_free(old);
        return false;
    }
    bool ok = dir_sync(parent, err);
    if (had)
        ok = dir_remove(old, err) && ok;
    mem_free(old);
    return ok;
}

static bool write_files(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err)
{
    switch (r->to) {
    case EXPORT_MLX:
        return lora_save_mlx(r->lora, folder, r->model_name, err);
    case EXPORT_PEFT:
        return export_write_peft(r, folder, err);
    default:
        return export_write_fused(r, type, folder, err);
    }
}

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

static bool check_cancel(const struct export_request *r, struct gm_error *err)
{
    return !r->cancel || !atomic_load(r->cancel) || error_set(err, GM_E_CANCELLED, "export to %s: cancelled", r->out);
}

/* Everything behind the checks of what was asked, in the folder `made` beside the target. */
static bool make(const struct export_request *r, const struct compute *c, const char *parent, const char *made, struct export_result *result,
                 struct gm_error *err)
{
    enum dtype type = fused_type(r);
    if (dir_exists(made) && !dir_remove(made, err)) /* of a process that was killed and had our number */
        return false;
    if (!dir_make(parent, err) || !check_disk(r, parent, err) || !dir_make(made, err) || !write_files(r, type, made, err))
        return false;
    if (r->progress)
        r->progress(r->arg, 0.6, "reading back");
    if (!check_cancel(r, err) || !export_prove(r, c, type, made, result, err) || !dir_sync(made, err) || !check_cancel(r, err))
        return false;
    count_files(made, result);
    return put_in_place(made, r->out, parent, r->force, err);
}

bool export_run(const struct export_request *request, const struct compute *c, struct export_result *result, struct gm_error *err)
{
    struct export_request r = *request;
    size_t n = strlen(r.out);
    while (n > 1 && r.out[n - 1] == '/')
        n--;
    char *out = mem_copy_n(r.out, n), *parent = parent_of(out), *made = mem_printf("%s.making-%ld", out, (long)getpid());
    r.out = out;
    *result = (struct export_result){0};
    bool ok = n > 0 ? check_request(&r, err) : error_set(err, GM_E_USAGE, "export to \"\": the target has no name");
    int missing = missing_above(parent);
    if (ok && !(ok = make(&r, c, parent, made, result, err)) && err && err->code != GM_E_CANCELLED && err->code != GM_E_CHECK)
        error_context(err, "export to %s", out); /* a refused proof and a cancel say the target themselves */
    if (!ok) {
        if (dir_exists(made))
            dir_remove(made, NULL);
        remove_empty(parent, missing);
    }
    mem_free(out);
    mem_free(parent);
    mem_free(made);
    return ok;
}
