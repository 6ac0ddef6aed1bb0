/* run_files.c - see run_files.h. */
#include "engine/train/run_files.h"

#include "engine/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT = 1, RUN_JSON_MAX = 16 << 20, TRIES = 100 };

/* "org/SmolLM2-135M.gguf" -> "SmolLM2-135M": letters, digits, '.', '_', '-' of the last part. */
static void add_stem(struct str *out, const char *name)
{
    char *path = path_trimmed(name);
    const char *base = path_base(path);
    static const char *const ENDINGS[] = {".gguf", ".jsonl", ".json", ".csv", ".tsv"};
    size_t n = strlen(base);
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        size_t e = strlen(ENDINGS[i]);
        if (n > e && strcmp(base + n - e, ENDINGS[i]) == 0)
            n -= e;
    }
    size_t before = out->len;
    for (size_t i = 0; i < n && i < 60; i++)
        if (isalnum((unsigned char)base[i]) || base[i] == '_' || (i > 0 && strchr(".-+", base[i])))
            str_add_char(out, base[i]);
    if (out->len == before)
        str_add(out, "x");
    mem_free(path);
}

/* mkdir decides: of two that start at once, one gets the name. */
static bool make_new(const char *dir, bool *exists, struct gm_error *err)
{
    *exists = false;
    if (mkdir(dir, 0755) == 0)
        return true;
    *exists = errno == EEXIST;
    if (*exists)
        return error_set(
            err, GM_E_INPUT,
            "make run %s: it is already there (choose another name, or: gemmaiku resume %s)", dir,
            path_base(dir));
    return error_errno(err, "make run %s", dir);
}

static char *make_named(const char *root, const char *name, struct gm_error *err)
{
    bool exists, path = strchr(name, '/') != NULL;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        error_set(err, GM_E_USAGE, "make run: \"%s\" is no name", name);
        return NULL;
    }
    if (path) {
        char *parent = mem_copy(name), *slash = strrchr(parent, '/');
        *slash = 0;
        bool ok = !*parent || dir_make(parent, err);
        mem_free(parent);
        if (!ok)
            return NULL;
    } else if (!dir_make(root, err)) {
        return NULL;
    }
    char *dir = path ? mem_copy(name) : path_join(root, name);
    if (make_new(dir, &exists, err))
        return dir;
    mem_free(dir);
    return NULL;
}

/* The number behind "stem-"; 0: the name is another. */
static long number_of(const char *name, const char *stem)
{
    const size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0 || name[n] != '-')
        return 0;
    const char *digits = name + n + 1;
    const size_t many = strspn(digits, "0123456789");
    return many > 0 && many < 10 && !digits[many] ? atol(digits) : 0;
}

/* "stem-007" after 6. */
static char *next_name(const char *root, const char *stem, struct gm_error *err)
{
    char **names;
    size_t n;
    long highest = 0;
    if (!dir_list(root, &names, &n, err))
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const long number = number_of(names[i], stem);
        highest = number > highest ? number : highest;
        mem_free(names[i]);
    }
    mem_free(names);
    return mem_printf("%s-%03ld", stem, highest + 1);
}

static char *make_numbered(const char *root, const char *stem, struct gm_error *err)
{
    char *dir = NULL;
    bool exists = true;
    for (int i = 0; i < TRIES && !dir && exists; i++) {
        char *name = next_name(root, stem, err);
        exists = name != NULL;
        dir = name ? path_join(root, name) : NULL;
        mem_free(name);
        if (dir && !make_new(dir, &exists, err)) {
            mem_free(dir);
            dir = NULL;
        }
    }
    return dir;
}

static char *stem_of(const struct train_options *o)
{
    struct str stem = {0};
    char *title = dataset_title(o->data);
    add_stem(&stem, o->model);
    str_add_char(&stem, '-');
    add_stem(&stem, title);
    mem_free(title);
    return str_take(&stem);
}

char *run_create(const char *root, const struct train_options *o, struct lock *lock, struct gm_error *err)
{
    char *name = o->run ? path_trimmed(o->run) : o->run_stem ? mem_copy(o->run_stem) : stem_of(o);
    char *dir = o->run ? make_named(root, name, err) : dir_make(root, err) ? make_numbered(root, name, err) : NULL;
    mem_free(name);
    if (!dir)
        return NULL;
    char *path = path_join(dir, "LOCK"), *checkpoints = path_join(dir, "checkpoints");
    bool ok = lock_take(lock, path, err) && dir_make(checkpoints, err);
    mem_free(path);
    mem_free(checkpoints);
    if (ok)
        return dir;
    run_uncreate(dir, lock);
    mem_free(dir);
    return NULL;
}

void run_uncreate(const char *dir, struct lock *lock)
{
    dir_remove(dir, NULL);
    lock_release(lock);
}

/* ---- run.json ---- */

bool run_origin_of(struct run_origin *o, const struct model_source *source,
                   const struct tokenizer *t, const struct dataset *d, bool weights,
                   struct gm_error *err)
{
    *o = (struct run_origin){0};
    char *text = tokenizer_to_json(t);
    sha256_bytes(text, strlen(text), o->tokenizer_sha256);
    mem_free(text);
    memcpy(o->data_sha256, d->hash, sizeof o->data_sha256);
    if (weights)
        return model_source_hash(source, o->model_sha256, err);
    char *config = json_line(source->config); /* random weights: the shape is all there is */
    sha256_bytes(config, strlen(config), o->model_sha256);
    mem_free(config);
    return true;
}

bool run_write_json(const char *dir, const struct train_options *o, const struct run_origin *origin,
                    const struct dataset *d, const char *created, struct gm_error *err)
{
    char now[32];
    time_t t = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    json_t *j = json_object();
    json_object_set_new(j, "format", json_integer(FORMAT));
    json_object_set_new(j, "program", json_string("gemmaiku " GM_VERSION));
    json_object_set_new(j, "name", json_string(path_base(dir)));
    json_object_set_new(j, "created", json_string(created ? created : now));
    json_object_set_new(j, "model_sha256", json_string(origin->model_sha256));
    json_object_set_new(j, "tokenizer_sha256", json_string(origin->tokenizer_sha256));
    json_object_set_new(j, "data_sha256", json_string(origin->data_sha256));
    json_object_set_new(j, "rows",
                        json_pack("{s:i, s:i, s:i}", "train", d->count[SPLIT_TRAIN], "valid",
                                  d->count[SPLIT_VALID], "test", d->count[SPLIT_TEST]));
    json_object_set_new(j, "options", train_options_to_json(o));
    return json_write_in(dir, "run.json", j, err);
}

static bool read_hash(const json_t *j, const char *key, char out[65], struct gm_error *err)
{
    const char *text = NULL;
    if (!json_get_string(j, key, REQUIRED, &text, err))
        return false;
    snprintf(out, 65, "%s", text);
    return true;
}

bool run_read_json(const char *dir, struct train_options *o, struct run_origin *origin,
                   char **created, struct gm_error *err)
{
    char *path = path_join(dir, "run.json");
    json_t *j = json_load_file_checked(path, RUN_JSON_MAX, err);
    const json_t *options = NULL;
    const char *when = "";
    int64_t format = 0;
    *created = NULL;
    bool ok = j && json_get_int(j, "format", REQUIRED, 1, INT32_MAX, &format, err) &&
              read_hash(j, "model_sha256", origin->model_sha256, err) &&
              read_hash(j, "tokenizer_sha256", origin->tokenizer_sha256, err) &&
              read_hash(j, "data_sha256", origin->data_sha256, err) &&
              json_get_string(j, "created", OPTIONAL, &when, err) &&
              json_get_object(j, "options", REQUIRED, &options, err);
    if (j && !ok)
        error_context(err, "read %s", path);
    if (ok && format != FORMAT)
        ok = error_set(err, GM_E_UNSUPPORTED,
                       "read %s: format %d is not known here (a newer gemmaiku wrote it)", path,
                       (int)format);
    *o = train_options_default();
    ok = ok && train_options_from_json(o, (json_t *)options, path, err);
    if (ok)
        *created = mem_copy(when);
    else
        train_options_free(o);
    json_decref(j);
    mem_free(path);
    return ok;
}

bool run_origin_check(const struct run_origin *then, const struct run_origin *now,
                      const struct train_options *o, struct gm_error *err)
{
    const char *what = strcmp(then->model_sha256, now->model_sha256) != 0           ? "model"
                       : strcmp(then->tokenizer_sha256, now->tokenizer_sha256) != 0 ? "tokenizer"
                       : strcmp(then->data_sha256, now->data_sha256) != 0           ? "data"
                                                                                    : NULL;
    if (!what)
        return true;
    return error_set(err, GM_E_INPUT,
                     "resume run: the %s is not what the run began with: %s has changed (put the "
                     "old files back, or start a new run)",
                     what, strcmp(what, "data") == 0 ? o->data : o->model);
}
