/* checkpoint_state.c - see checkpoint_state.h. Written last: a folder with state.json was complete
 * once, and what became of it since shows in the hashes. Numbers that are not known are null. */
#include "engine/train/checkpoint_state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1, STATE_MAX = 1 << 20 };

static bool add_file(json_t *files, const char *dir, const char *name, struct gm_error *err)
{
    char hex[65], *path = path_join(dir, name);
    uint64_t bytes;
    bool ok = sha256_file(path, hex, &bytes, err);
    mem_free(path);
    if (ok)
        json_object_set_new(files, name,
                            json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "sha256", hex));
    return ok;
}

static json_t *list_files(const char *dir, struct gm_error *err)
{
    char **names;
    size_t n;
    bool ok = dir_list(dir, &names, &n, err);
    if (!ok)
        return NULL;
    json_t *files = json_object();
    for (size_t i = 0; i < n; i++) {
        if (ok && names[i][0] != '.' && strcmp(names[i], "state.json") != 0)
            ok = add_file(files, dir, names[i], err);
        mem_free(names[i]);
    }
    mem_free(names);
    if (ok)
        return files;
    json_decref(files);
    return NULL;
}

bool checkpoint_state_write(const char *dir, const struct checkpoint_state *s, struct gm_error *err)
{
    json_t *files = list_files(dir, err), *j = json_object();
    if (!files) {
        json_decref(j);
        return false;
    }
    json_object_set_new(j, "format", json_integer(FORMAT));
    json_object_set_new(j, "step", json_integer(s->step));
    json_object_set_new(j, "why", json_string(s->why));
    json_object_set_new(j, "optimizer_updates", json_integer(s->optimizer_updates));
    json_object_set_new(j, "rows_seen", json_integer(s->rows_seen));
    json_object_set_new(j, "tokens_seen", json_integer(s->tokens_seen));
    json_object_set_new(j, "elapsed_s", json_real(s->elapsed_s));
    json_object_set_new(j, "evaluated", json_boolean(s->evaluated));
    json_object_set_new(j, "sampled", json_boolean(s->sampled));
    json_object_set_new(j, "val_loss", json_number(s->val_loss));
    json_object_set_new(j, "form_rate", json_number(s->form_rate));
    json_object_set_new(j, "form_n", json_integer(s->form_n));
    json_object_set_new(j, "best_loss", json_number(s->best_loss));
    json_object_set_new(j, "best_form", json_number(s->best_form));
    json_object_set_new(j, "best_form_loss", json_number(s->best_form_loss));
    json_object_set_new(j, "evals_without_better", json_integer(s->evals_without_better));
    json_object_set_new(j, "files", files);
    return json_write_in(dir, "state.json", j, err);
}

static json_t *load_state(const char *dir, struct gm_error *err)
{
    char *path = path_join(dir, "state.json");
    json_t *j = json_load_file_checked(path, STATE_MAX, err);
    int64_t format = 0;
    if (j &&
        (!json_get_int(j, "format", REQUIRED, 1, INT32_MAX, &format, err) || format != FORMAT)) {
        if (format)
            error_set(err, GM_E_UNSUPPORTED,
                      "read %s: format %" PRId64 " is not known here (a newer gemmaiku wrote it)",
                      path, format);
        else
            error_context(err, "read %s", path);
        json_decref(j);
        j = NULL;
    }
    mem_free(path);
    return j;
}

static bool read_fields(const json_t *j, struct checkpoint_state *s, struct gm_error *err)
{
    int64_t step = 0, form_n = 0, stale = 0;
    const char *why = "";
    *s = (struct checkpoint_state){.val_loss = NAN,
                                   .form_rate = NAN,
                                   .best_loss = NAN,
                                   .best_form = NAN,
                                   .best_form_loss = NAN};
    if (!json_get_int(j, "step", REQUIRED, 0, 1000000000, &step, err) ||
        !json_get_string(j, "why", OPTIONAL, &why, err) ||
        !json_get_int(j, "optimizer_updates", REQUIRED, 0, INT64_MAX, &s->optimizer_updates, err) ||
        !json_get_int(j, "rows_seen", REQUIRED, 0, INT64_MAX / 2, &s->rows_seen, err) ||
        !json_get_int(j, "tokens_seen", REQUIRED, 0, INT64_MAX / 2, &s->tokens_seen, err) ||
        !json_get_double(j, "elapsed_s", REQUIRED, 0, 1e12, &s->elapsed_s, err) ||
        !json_get_bool(j, "evaluated", REQUIRED, &s->evaluated, err) ||
        !json_get_bool(j, "sampled", REQUIRED, &s->sampled, err) ||
        !json_get_double(j, "val_loss", OPTIONAL, -1e300, 1e300, &s->val_loss, err) ||
        !json_get_double(j, "form_rate", OPTIONAL, 0, 1, &s->form_rate, err) ||
        !json_get_int(j, "form_n", OPTIONAL, 0, INT32_MAX, &form_n, err) ||
        !json_get_double(j, "best_loss", OPTIONAL, -1e300, 1e300, &s->best_loss, err) ||
        !json_get_double(j, "best_form", OPTIONAL, 0, 1, &s->best_form, err) ||
        !json_get_double(j, "best_form_loss", OPTIONAL, -1e300, 1e300, &s->best_form_loss, err) ||
        !json_get_int(j, "evals_without_better", OPTIONAL, 0, INT32_MAX, &stale, err))
        return false;
    s->step = (int)step;
    s->form_n = (int)form_n;
    s->evals_without_better = (int)stale;
    snprintf(s->why, sizeof s->why, "%s", why);
    return true;
}

bool checkpoint_read_state(const char *dir, struct checkpoint_state *s, uint64_t *bytes,
                           struct gm_error *err)
{
    json_t *j = load_state(dir, err), *file;
    const json_t *files = NULL;
    const char *name;
    if (!j)
        return false;
    bool ok = read_fields(j, s, err) && json_get_object(j, "files", REQUIRED, &files, err);
    if (!ok)
        error_context(err, "read %s/state.json", dir);
    if (ok && bytes) {
        *bytes = 0;
        json_object_foreach((json_t *)files, name, file) *bytes +=
            (uint64_t)json_integer_value(json_object_get(file, "bytes"));
    }
    json_decref(j);
    return ok;
}

static bool verify_file(const char *dir, const char *name, const json_t *file, struct gm_error *err)
{
    const char *wanted = NULL;
    int64_t bytes = 0;
    char hex[65];
    uint64_t there;
    if (strchr(name, '/') || name[0] == '.')
        return error_set(err, GM_E_INPUT, "read %s/state.json: \"%s\" is no file of a checkpoint",
                         dir, name);
    if (!json_get_int(file, "bytes", REQUIRED, 0, INT64_MAX, &bytes, err) ||
        !json_get_string(file, "sha256", REQUIRED, &wanted, err))
        return error_context(err, "read %s/state.json", dir);
    char *path = path_join(dir, name);
    bool ok = sha256_file(path, hex, &there, err);
    if (ok && (there != (uint64_t)bytes || strcmp(hex, wanted) != 0))
        ok = error_set(err, GM_E_INPUT, "read %s: it is not the file that was saved", path);
    mem_free(path);
    return ok;
}

bool checkpoint_state_verify(const char *dir, struct gm_error *err)
{
    json_t *j = load_state(dir, err), *file;
    const json_t *files = NULL;
    const char *name;
    if (!j)
        return false;
    bool ok = json_get_object(j, "files", REQUIRED, &files, err);
    if (ok)
        json_object_foreach((json_t *)files, name, file) ok =
            ok && verify_file(dir, name, file, err);
    json_decref(j);
    return ok;
}
