/* model_source.c - finding out what MODEL names, and giving access to what was found. Shards stand
 * in model_shards.c. */
#include "engine/format/model_source.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/builtin/builtin.h"
#include "engine/format/hub_cache.h"
#include "engine/format/model_shards.h"
#include "engine/format/sniff.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX = 4 << 20 };

/* What a fused model takes from an embedded one, where it is there. */
static const char *const known_files[] = {
    "LICENSE",
    "README.md",
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
};

static const struct builtin_file *builtin_of(const char *model, const char *name)
{
    char *key = mem_printf("%s/%s", model, name);
    const struct builtin_file *f = builtin_find(key);
    mem_free(key);
    return f;
}

/* Names come from callers and from files: only the plain ones may become part of a path. */
bool model_file_name_plain(const char *name)
{
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > 255)
        return false;
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

bool model_source_has_file(const struct model_source *s, const char *name)
{
    if (s->kind != SOURCE_HF || !model_file_name_plain(name))
        return false;
    if (s->builtin)
        return builtin_of(s->path, name) != NULL;
    char *path = path_join(s->path, name);
    bool there = file_exists(path);
    mem_free(path);
    return there;
}

bool model_source_read_file(const struct model_source *s, const char *name, size_t max_bytes,
                            struct str *out, struct gm_error *err)
{
    if (s->kind != SOURCE_HF)
        return error_set(err, GM_E_USAGE,
                         "read %s: a GGUF file has no %s beside it (name a model folder)", s->path,
                         name);
    if (!model_file_name_plain(name))
        return error_set(err, GM_E_USAGE,
                         "read %s: \"%s\" is no plain file name (leave out the folders)", s->name,
                         name);
    if (!s->builtin) {
        char *path = path_join(s->path, name);
        bool ok = file_read_all(path, max_bytes, out, err);
        mem_free(path);
        return ok;
    }
    const struct builtin_file *f = builtin_of(s->path, name);
    if (!f)
        return error_set(err, GM_E_INPUT,
                         "read %s: the built-in model has no %s (ask for another file)", s->path,
                         name);
    if (f->size > max_bytes)
        return error_set(err, GM_E_INPUT, "read %s/%s: it has %zu bytes, at most %zu are read here",
                         s->path, name, f->size, max_bytes);
    *out = (struct str){0};
    str_add_n(out, (const char *)f->data, f->size);
    return true;
}

json_t *model_source_read_json(const struct model_source *s, const char *name, size_t max_bytes,
                               struct gm_error *err)
{
    if (s->kind == SOURCE_HF && !s->builtin && model_file_name_plain(name)) {
        char *path = path_join(s->path, name);
        json_t *value = json_load_file_checked(path, max_bytes, err);
        mem_free(path);
        return value;
    }
    struct str text = {0};
    if (!model_source_read_file(s, name, max_bytes, &text, err))
        return NULL;
    char *label = mem_printf("%s/%s", s->path, name);
    json_t *value = json_parse(str_text(&text), text.len, label, err);
    mem_free(label);
    str_free(&text);
    return value;
}

static bool is_weights(const char *name)
{
    static const char *const ends[] = {".safetensors", ".safetensors.index.json",
                                       ".bin",         ".bin.index.json",
                                       ".pt",          ".pth",
                                       ".gguf",        ".onnx",
                                       ".h5",          ".msgpack",
                                       ".ckpt",        ".pkl"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n >= m && strcmp(name + n - m, ends[i]) == 0)
            return true;
    }
    return false;
}

bool model_source_files(const struct model_source *s, char ***names, size_t *count,
                        struct gm_error *err)
{
    char **all = NULL;
    size_t n = 0, kept = 0;
    if (s->kind == SOURCE_HF && !s->builtin && !dir_list(s->path, &all, &n, err))
        return false;
    if (s->builtin) {
        n = sizeof known_files / sizeof *known_files;
        all = mem_new(n, sizeof *all);
        for (size_t i = 0; i < n; i++)
            all[i] = mem_copy(known_files[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (all[i][0] != '.' && !is_weights(all[i]) && model_source_has_file(s, all[i]))
            all[kept++] = all[i];
        else
            mem_free(all[i]);
    }
    *names = all ? all : mem_new(1, sizeof *all);
    *count = kept;
    return true;
}

static bool open_builtin(struct model_source *s, const char *model, bool weights,
                         struct gm_error *err)
{
    s->kind = SOURCE_HF;
    s->builtin = true;
    s->name = mem_copy(model);
    s->path = mem_copy(model);
    if (model_source_has_file(s, "config.json")) {
        s->config = model_source_read_json(s, "config.json", CONFIG_MAX, err);
        if (!s->config)
            return false;
    }
    if (!weights)
        return true;
    const struct builtin_file *f = builtin_of(model, "model.safetensors");
    if (!f || !s->config)
        return error_set(err, GM_E_UNSUPPORTED,
                         "open %s: this build has no built-in model (name a model folder or file)",
                         model);
    return model_shards_add_bytes(s, f->data, f->size, err);
}

static bool open_gguf(struct model_source *s, const char *path, struct gm_error *err)
{
    s->kind = SOURCE_GGUF;
    s->name = mem_copy(path_base(path));
    s->path = mem_copy(path);
    s->gguf = mem_new(1, sizeof *s->gguf);
    if (!gguf_open(s->gguf, path, err)) {
        mem_free(s->gguf);
        s->gguf = NULL;
        return false;
    }
    s->n_tensors = s->gguf->n_tensors;
    return true;
}

/* A folder without weights that we read: what does it hold instead? */
static bool refuse_folder(const struct model_source *s, struct gm_error *err)
{
    if (model_source_has_file(s, "adapter_config.json"))
        return error_set(err, GM_E_INPUT,
                         "open %s: it is an adapter, not a model (name its base as the model, and "
                         "this as --adapter)",
                         s->path);
    if (model_source_has_file(s, "pytorch_model.bin") ||
        model_source_has_file(s, "pytorch_model.bin.index.json"))
        return error_set(err, GM_E_UNSUPPORTED,
                         "open %s: its weights are pickles (convert them to safetensors)", s->path);
    char **names;
    size_t n;
    if (!dir_list(s->path, &names, &n, err))
        return false;
    char *gguf = NULL;
    int n_gguf = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        if (len > 5 && strcmp(names[i] + len - 5, ".gguf") == 0 && n_gguf++ == 0)
            gguf = path_join(s->path, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    if (gguf)
        error_set(
            err, GM_E_INPUT,
            n_gguf == 1 ? "open %s: the folder holds no config.json and safetensors, but a GGUF file (name %s)"
                        : "open %s: the folder holds no config.json and safetensors, but GGUF files (name one of them, as %s)",
            s->path, gguf);
    else
        error_set(err, GM_E_INPUT,
                  "open %s: there is no %s in it (name a folder with config.json, "
                  "model.safetensors and tokenizer.json)",
                  s->path,
                  model_source_has_file(s, "config.json") ? "model.safetensors" : "config.json");
    mem_free(gguf);
    return false;
}

static bool open_folder(struct model_source *s, const char *name, const char *path, bool weights,
                        struct gm_error *err)
{
    s->kind = SOURCE_HF;
    s->path = path_trimmed(path);
    s->name = mem_copy(name ? name : path_base(s->path));
    bool has_config = model_source_has_file(s, "config.json");
    if (has_config) {
        s->config = model_source_read_json(s, "config.json", CONFIG_MAX, err);
        if (!s->config)
            return false;
        if (!json_is_object(s->config))
            return error_set(err, GM_E_INPUT,
                             "read %s/config.json: it is no JSON object (download the file again)",
                             s->path);
    }
    if (!weights) {
        if (has_config || model_source_has_file(s, "tokenizer.json") ||
            model_source_has_file(s, "tokenizer.model"))
            return true;
        return error_set(err, GM_E_INPUT,
                         "open %s: there is no tokenizer.json in it (name a folder that has one)",
                         s->path);
    }
    bool has_index = model_source_has_file(s, "model.safetensors.index.json"),
         has_single = model_source_has_file(s, "model.safetensors");
    if (!has_config || (!has_index && !has_single))
        return refuse_folder(s, err);
    return has_index ? model_shards_open_index(s, has_single, err)
                     : model_shards_add(s, "model.safetensors", err);
}

static bool open_file(struct model_source *s, const char *path, struct gm_error *err)
{
    struct mapping map;
    if (!mapping_open(&map, path, err))
        return false;
    size_t n = strlen(path);
    bool gguf = sniff_is_gguf(map.data, map.size) || (n > 5 && strcmp(path + n - 5, ".gguf") == 0);
    bool ok = gguf || sniff_refuse(map.data, map.size, SNIFF_GGUF, path, err);
    mapping_close(&map);
    if (gguf)
        return open_gguf(s, path, err);
    if (ok)
        error_set(err, GM_E_INPUT,
                  "open %s: it is no GGUF file (name a .gguf file, or the folder of a model)",
                  path);
    return false;
}

static bool open_any(struct model_source *s, const char *model, bool weights, struct gm_error *err)
{
    if (!model || !*model)
        return error_set(
            err, GM_E_USAGE,
            "open a model: its name is empty (give a folder, a .gguf file, a hub id, or nano)");
    if (strcmp(model, "nano") == 0 ||
        (model_file_name_plain(model) && builtin_of(model, "config.json")))
        return open_builtin(s, model, weights, err);
    if (dir_exists(model))
        return open_folder(s, NULL, model, weights, err);
    if (file_exists(model) || !hub_id_valid(model))
        return open_file(s, model, err);
    char *snapshot = hub_cache_find(model, err);
    bool ok = snapshot && (!weights || hub_cache_whole(snapshot, model, err));
    if (ok && !(ok = open_folder(s, model, snapshot, weights, err)))
        error_context(err, "open %s from the cache", model);
    mem_free(snapshot);
    return ok;
}

static bool open_or_close(struct model_source *s, const char *model, bool weights,
                          struct gm_error *err)
{
    *s = (struct model_source){0};
    if (open_any(s, model, weights, err))
        return true;
    model_source_close(s);
    return false;
}

bool model_source_open(struct model_source *s, const char *model, struct gm_error *err)
{
    return open_or_close(s, model, true, err);
}

bool model_source_open_tokenizer(struct model_source *s, const char *model, struct gm_error *err)
{
    return open_or_close(s, model, false, err);
}

void model_source_close(struct model_source *s)
{
    model_shards_close(s);
    if (s->gguf)
        gguf_close(s->gguf);
    mem_free(s->gguf);
    json_decref(s->config);
    mem_free(s->name);
    mem_free(s->path);
    *s = (struct model_source){0};
}

const struct tensor_info *model_source_find(const struct model_source *s, const char *name)
{
    if (s->gguf)
        return gguf_find(s->gguf, name);
    const struct tensor_info *t = NULL;
    for (int i = 0; i < s->n_shards && !t; i++)
        t = safetensors_find(&s->shards[i], name);
    return t;
}

const struct tensor_info *model_source_tensor(const struct model_source *s, int i)
{
    if (i < 0 || i >= s->n_tensors)
        return NULL;
    if (s->gguf)
        return &s->gguf->tensors[i];
    int shard = 0;
    while (i >= s->shards[shard].n_tensors)
        i -= s->shards[shard++].n_tensors;
    return &s->shards[shard].tensors[i];
}

bool model_source_hash(const struct model_source *s, char hex[65], struct gm_error *err)
{
    if (s->gguf) {
        sha256_bytes(s->gguf->bytes, s->gguf->size, hex);
        return true;
    }
    if (s->n_shards == 0)
        return error_set(
            err, GM_E_USAGE,
            "hash %s: its weights are not open (open the model, not the tokenizer alone)", s->name);
    if (s->n_shards == 1) {
        sha256_bytes(s->shards[0].bytes, s->shards[0].size, hex);
        return true;
    }
    struct str lines = {0};
    for (int i = 0; i < s->n_shards; i++) {
        sha256_bytes(s->shards[i].bytes, s->shards[i].size, hex);
        str_printf(&lines, "%s  %s\n", hex, s->shard_names[i]);
    }
    sha256_bytes(str_text(&lines), lines.len, hex);
    str_free(&lines);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor_info *const *)a)->name, (*(const struct tensor_info *const *)b)->name);
}

void model_source_fingerprint(const struct model_source *s, char hex[65])
{
    enum { PLACES = 4, SAMPLE = 64 };
    const struct tensor_info **tensors = mem_new(s->n_tensors ? (size_t)s->n_tensors : 1, sizeof *tensors);
    struct str text = {0};
    for (int i = 0; i < s->n_tensors; i++)
        tensors[i] = model_source_tensor(s, i);
    qsort(tensors, (size_t)s->n_tensors, sizeof *tensors, by_name);
    for (int i = 0; i < s->n_tensors; i++) {
        const struct tensor_info *t = tensors[i];
        char shape[96];
        str_printf(&text, "%s %s %s\n", t->name, dtype_name(t->type), tensor_shape_text(t, shape, sizeof shape));
        if (t->bytes <= PLACES * SAMPLE) {
            str_add_n(&text, t->data, t->bytes);
            continue;
        }
        for (size_t k = 0; k < PLACES; k++)
            str_add_n(&text, (const char *)t->data + (t->bytes - SAMPLE) / (PLACES - 1) * k, SAMPLE);
    }
    sha256_bytes(str_text(&text), text.len, hex);
    str_free(&text);
    mem_free(tensors);
}
