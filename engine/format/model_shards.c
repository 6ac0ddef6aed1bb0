/* model_shards.c - opening the shards that an index names, and holding both against each other:
 * each name of the index stands in the shard that it says, and the shards hold no other. */
#include "engine/format/model_shards.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_MAX = 64 << 20, SHARDS_MAX = 4096 };

static const char index_name[] = "model.safetensors.index.json";

static struct safetensors *grow(struct model_source *s, const char *name)
{
    size_t n = (size_t)s->n_shards;
    s->shards = mem_grow(s->shards, n, n + 1, sizeof *s->shards);
    s->shard_names = mem_grow(s->shard_names, n, n + 1, sizeof *s->shard_names);
    s->shard_names[n] = mem_copy(name);
    s->n_shards++;
    return &s->shards[n];
}

bool model_shards_add(struct model_source *s, const char *name, struct gm_error *err)
{
    char *path = path_join(s->path, name);
    bool ok = safetensors_open(grow(s, name), path, err);
    mem_free(path);
    if (ok)
        s->n_tensors += s->shards[s->n_shards - 1].n_tensors;
    return ok;
}

bool model_shards_add_bytes(struct model_source *s, const void *data, size_t size,
                            struct gm_error *err)
{
    char *label = mem_printf("%s/model.safetensors", s->path);
    bool ok = safetensors_open_bytes(grow(s, "model.safetensors"), data, size, label, err);
    mem_free(label);
    if (ok)
        s->n_tensors = s->shards[0].n_tensors;
    return ok;
}

void model_shards_close(struct model_source *s)
{
    for (int i = 0; i < s->n_shards; i++) {
        safetensors_close(&s->shards[i]);
        mem_free(s->shard_names[i]);
    }
    mem_free(s->shards);
    mem_free(s->shard_names);
    s->shards = NULL;
    s->shard_names = NULL;
    s->n_shards = 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The file names in the index, each once, sorted; *names points into the tree. */
static bool file_names(const json_t *map, const char *path, const char ***names, int *n,
                       struct gm_error *err)
{
    const char *tensor;
    json_t *file, *object = (json_t *)(uintptr_t)map;
    size_t total = json_object_size(map), i = 0;
    const char **all = mem_new(total + 1, sizeof *all);
    json_object_foreach(object, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !model_file_name_plain(name)) {
            error_set(err, GM_E_INPUT,
                      "read %s: tensor \"%s\" is said to be in \"%s\", which is no plain file name "
                      "(download the file again)",
                      path, tensor, name ? name : "(no text)");
            mem_free(all);
            return false;
        }
        all[i++] = name;
    }
    qsort(all, total, sizeof *all, by_text);
    int kept = 0;
    for (i = 0; i < total; i++)
        if (kept == 0 || strcmp(all[kept - 1], all[i]) != 0)
            all[kept++] = all[i];
    *names = all;
    *n = kept;
    return true;
}

static int shard_of(const struct model_source *s, const char *name)
{
    for (int i = 0; i < s->n_shards; i++)
        if (strcmp(s->shard_names[i], name) == 0)
            return i;
    return -1;
}

/* Index -> shards: every name is where the index says. */
static bool check_index(const struct model_source *s, const json_t *map, const char *path,
                        struct gm_error *err)
{
    const char *tensor;
    json_t *file, *object = (json_t *)(uintptr_t)map;
    json_object_foreach(object, tensor, file)
    {
        int i = shard_of(s, json_string_value(file));
        if (i < 0 || !safetensors_find(&s->shards[i], tensor))
            return error_set(
                err, GM_E_INPUT,
                "read %s: tensor \"%s\" is said to be in %s and is not (download both files again)",
                path, tensor, json_string_value(file));
    }
    return true;
}

/* Shards -> index: no shard holds a name that the index puts elsewhere or does not know. */
static bool check_shards(const struct model_source *s, const json_t *map, const char *path,
                         struct gm_error *err)
{
    for (int i = 0; i < s->n_shards; i++) {
        for (int k = 0; k < s->shards[i].n_tensors; k++) {
            const char *tensor = s->shards[i].tensors[k].name,
                       *file = json_string_value(json_object_get(map, tensor));
            if (!file)
                return error_set(err, GM_E_INPUT,
                                 "read %s: %s holds tensor \"%s\", which the index does not name "
                                 "(download both files again)",
                                 path, s->shard_names[i], tensor);
            if (strcmp(file, s->shard_names[i]) != 0)
                return error_set(err, GM_E_INPUT,
                                 "read %s: tensor \"%s\" stands twice, in %s and in %s (download "
                                 "the files again)",
                                 path, tensor, file, s->shard_names[i]);
        }
    }
    return true;
}

static bool open_named(struct model_source *s, const json_t *map, const char *path, bool has_single,
                       struct gm_error *err)
{
    const char **names;
    int n;
    if (!file_names(map, path, &names, &n, err))
        return false;
    bool ok =
        n > 0 || error_set(err, GM_E_INPUT,
                           "read %s: weight_map names no tensor (download the file again)", path);
    if (ok && n > SHARDS_MAX)
        ok = error_set(err, GM_E_UNSUPPORTED,
                       "read %s: it names %d files, at most %d are read (merge them)", path, n,
                       SHARDS_MAX);
    bool single_named = ok && n == 1 && strcmp(names[0], "model.safetensors") == 0;
    if (ok && has_single && !single_named)
        ok = error_set(err, GM_E_INPUT,
                       "open %s: it holds model.safetensors and an index of other files (remove "
                       "the one that is old)",
                       s->path);
    for (int i = 0; ok && i < n; i++) {
        if (!model_source_has_file(s, names[i]))
            ok = error_set(err, GM_E_INPUT,
                           "read %s: it names %s, which is not there (download that file, too)",
                           path, names[i]);
        else
            ok = model_shards_add(s, names[i], err);
    }
    mem_free(names);
    return ok && check_index(s, map, path, err) && check_shards(s, map, path, err);
}

bool model_shards_open_index(struct model_source *s, bool has_single, struct gm_error *err)
{
    char *path = path_join(s->path, index_name);
    json_t *index = json_load_file_checked(path, INDEX_MAX, err);
    const json_t *map = NULL;
    bool ok = index != NULL;
    if (ok && !json_get_object(index, "weight_map", REQUIRED, &map, err))
        ok = error_context(err, "read %s", path);
    ok = ok && open_named(s, map, path, has_single, err);
    json_decref(index);
    mem_free(path);
    return ok;
}
