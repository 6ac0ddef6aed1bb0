/* folder.c - a fused model as a Hugging Face or MLX folder: weights in one file or in shards with an index, config.json, tokenizer.
 *
 * Files of the base go along as they are, but for what the export changes: the type in config.json, the quantisation, the chat template that was told.
 */
#include "engine/export/plan.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <stdio.h>
#include <string.h>

enum { SMALL_FILE_MAX = 64 << 20 };
static const uint64_t SHARD_BYTES = 5000000000; /* "5GB" */

static uint64_t tensor_size(const struct planned *t) { return (uint64_t)t->rows * t->row_bytes; }

/* ---- weights ---- */

/* The shard of each tensor, in the order planned; how many there are. */
static int share_out(const struct plan *p, int *shard)
{
    uint64_t limit = p->job->r.shard_bytes ? p->job->r.shard_bytes : SHARD_BYTES, full = 0;
    int n = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint64_t bytes = tensor_size(&p->tensors[i]);
        if (i > 0 && full + bytes > limit) {
            n++;
            full = 0;
        }
        full += bytes;
        shard[i] = n;
    }
    return n + 1;
}

static char *shard_name(int i, int n)
{
    return n == 1 ? mem_copy("model.safetensors") : mem_printf("model-%05d-of-%05d.safetensors", i + 1, n);
}

static bool write_shard(struct plan *p, const int *shard, int i, int n, const char *folder, struct gm_error *err)
{
    static const char *const pt[] = {"format", "pt"}, *const mlx[] = {"format", "mlx"};
    struct tensor_out *tensors = mem_new(p->n, sizeof *tensors);
    int count = 0;
    for (size_t k = 0; k < p->n; k++)
        if (shard[k] == i)
            tensors[count++] = plan_tensor_out(&p->tensors[k]);
    char *name = shard_name(i, n), *file = path_join(folder, name);
    bool ok = safetensors_write(file, tensors, count, p->mlx == DT_COUNT ? pt : mlx, 1, err);
    mem_free(name);
    mem_free(file);
    mem_free(tensors);
    return ok;
}

static bool write_index(const struct plan *p, const int *shard, int n, const char *folder, struct gm_error *err)
{
    json_t *o = json_object(), *map = json_object();
    json_object_set_new(o, "metadata", json_pack("{s:I}", "total_size", (json_int_t)p->bytes_all));
    for (size_t i = 0; i < p->n; i++) {
        char *name = shard_name(shard[i], n);
        json_object_set_new(map, p->tensors[i].name, json_string(name));
        mem_free(name);
    }
    json_object_set_new(o, "weight_map", map);
    return json_write_in(folder, "model.safetensors.index.json", o, err);
}

static bool write_weights(struct plan *p, const char *folder, struct gm_error *err)
{
    int *shard = mem_new(p->n, sizeof *shard), n = share_out(p, shard);
    bool ok = true;
    for (int i = 0; ok && i < n; i++)
        ok = write_shard(p, shard, i, n, folder, err);
    ok = ok && (n == 1 || write_index(p, shard, n, folder, err));
    mem_free(shard);
    return ok;
}

/* ---- what stands beside them ---- */

static void set_quantization(const struct plan *p, json_t *config)
{
    json_object_del(config, "quantization");
    json_object_del(config, "quantization_config");
    if (p->mlx == DT_COUNT)
        return;
    json_t *q = json_pack("{s:i, s:i, s:s}", "group_size", p->group, "bits", p->mlx == DT_MLX4 ? 4 : 8, "mode", "affine");
    json_object_set_new(config, "quantization", q);
    json_object_set(config, "quantization_config", q);
}

static bool write_config(const struct plan *p, const char *folder, struct gm_error *err)
{
    const struct model *m = p->job->r.model;
    json_t *config = m->source && m->source->config ? json_deep_copy(m->source->config) : model_config_to_json(&m->config);
    const char *name = p->floats == DT_F32 ? "float32" : p->floats == DT_F16 ? "float16" : "bfloat16";
    json_object_set_new(config, "torch_dtype", json_string(name));
    json_t *text = json_object_get(config, "text_config");
    json_t *const places[] = {config, text};
    for (int i = 0; i < 2; i++) {
        if (places[i] && json_object_get(places[i], "dtype"))
            json_object_set_new(places[i], "dtype", json_string(name));
        if (places[i] && json_object_get(places[i], "torch_dtype"))
            json_object_set_new(places[i], "torch_dtype", json_string(name));
    }
    set_quantization(p, config);
    return json_write_in(folder, "config.json", config, err);
}

static bool copy_file(const struct model_source *source, const char *name, const char *folder, struct gm_error *err)
{
    struct str text = {0};
    bool ok = model_source_read_file(source, name, SMALL_FILE_MAX, &text, err) && file_replace_in(folder, name, str_text(&text), text.len, err);
    str_free(&text);
    return ok;
}

/* A template that was told instead of the base's own, in both places where readers look. */
static bool write_template(const struct export_request *r, const char *folder, struct gm_error *err)
{
    const char *text = r->tpl ? chat_template_text(r->tpl) : NULL;
    char *file = path_join(folder, "tokenizer_config.json"), *own_file = path_join(folder, "chat_template.jinja");
    struct str own = {0};
    json_t *config = file_exists(file) ? json_load_file_checked(file, SMALL_FILE_MAX, err) : json_object();
    bool ok = config != NULL && (!file_exists(own_file) || file_read_all(own_file, SMALL_FILE_MAX, &own, err));
    const char *in_config = ok ? json_string_value(json_object_get(config, "chat_template")) : NULL;
    const char *now = own.data ? str_text(&own) : in_config;
    if (ok && text && (!now || strcmp(now, text) != 0)) {
        json_object_set_new(config, "chat_template", json_string(text));
        ok = json_write_file(file, config, err) && (!own.data || file_replace(own_file, text, strlen(text), err));
    }
    json_decref(config);
    str_free(&own);
    mem_free(file);
    mem_free(own_file);
    return ok;
}

/* The base's own files as they are; from a GGUF, rebuilt. */
static bool write_tokenizer(const struct export_request *r, const char *folder, struct gm_error *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                                        "tokenizer.model", "chat_template.jinja", "added_tokens.json", "vocab.json", "merges.txt",
                                        "preprocessor_config.json", "processor_config.json", "LICENSE"};
    const struct model_source *source = r->model->source;
    bool ok = true;
    if (source && source->kind == SOURCE_HF) {
        for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
            if (model_source_has_file(source, names[i]))
                ok = copy_file(source, names[i], folder, err);
        return ok && write_template(r, folder, err);
    }
    char *tokenizer = tokenizer_to_json(r->tokenizer), *config = tokenizer_config_to_json(r->tokenizer, r->tpl ? chat_template_text(r->tpl) : NULL);
    ok = file_replace_in(folder, "tokenizer.json", tokenizer, strlen(tokenizer), err)
         && file_replace_in(folder, "tokenizer_config.json", config, strlen(config), err);
    mem_free(tokenizer);
    mem_free(config);
    return ok;
}

bool export_write_safetensors(struct export_job *j, const char *folder, struct gm_error *err)
{
    return write_weights(j->plan, folder, err) && write_config(j->plan, folder, err) && write_tokenizer(&j->r, folder, err);
}

bool export_check_safetensors(struct export_job *j, const char *folder, struct gm_error *err)
{
    struct plan *p = j->plan;
    struct model_source written;
    if (!model_source_open(&written, folder, err))
        return false;
    bool ok = (size_t)written.n_tensors == p->n
              || error_set(err, GM_E_CHECK, "it holds %d tensors, not %zu", written.n_tensors, p->n);
    for (size_t i = 0; ok && i < p->n; i++)
        ok = plan_check(&p->tensors[i], model_source_find(&written, p->tensors[i].name), err);
    model_source_close(&written);
    return ok;
}
