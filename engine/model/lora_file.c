/* lora_file.c - adapters on disk: reads the MLX and the PEFT layout, writes the MLX layout.
 *
 *   MLX   adapters.safetensors        model.layers.0.self_attn.q_proj.lora_a [in, rank], .lora_b
 * [rank, out]; `scale` multiplies PEFT  adapter_model.safetensors
 * base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [rank, in], .lora_B.weight [out,
 * rank]; alpha / rank multiplies (alpha / sqrt(rank): rsLoRA)
 */
#include "engine/model/lora_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 4 << 20 };
static const char MLX_FILE[] = "adapters.safetensors", PEFT_FILE[] = "adapter_model.safetensors",
                  CONFIG_FILE[] = "adapter_config.json";
static const char PEFT_PREFIX[] = "base_model.model.";

struct reading {
    const struct model_config *config;
    struct safetensors file;
    bool peft;
    struct lora_options options;
    bool *present;                     /* [n_layers * PROJ_COUNT] */
    const struct tensor_info **a, **b; /* likewise */
};

/* "model.layers.3.mlp.up_proj.lora_b" -> layer, projection, half. */
static bool parse_name(const struct reading *r, const char *name, int *index, char *half)
{
    if (r->peft) {
        if (strncmp(name, PEFT_PREFIX, sizeof PEFT_PREFIX - 1) != 0)
            return false;
        name += sizeof PEFT_PREFIX - 1;
    }
    int layer = 0, used = 0;
    char module[64];
    if (sscanf(name, "model.layers.%4d.%n", &layer, &used) != 1 || used == 0 || layer < 0 ||
        layer >= r->config->n_layers)
        return false;
    const char *rest = name + used, *tail = strstr(rest, r->peft ? ".lora_A.weight" : ".lora_a");
    *half = 'a';
    if (!tail) {
        tail = strstr(rest, r->peft ? ".lora_B.weight" : ".lora_b");
        *half = 'b';
    }
    if (!tail || strcmp(tail + 7, r->peft ? ".weight" : "") != 0 ||
        (size_t)(tail - rest) >= sizeof module)
        return false;
    memcpy(module, rest, (size_t)(tail - rest));
    module[tail - rest] = 0;
    enum proj p;
    if (!strchr(module, '.') || !proj_parse(module, &p))
        return false;
    *index = layer * PROJ_COUNT + (int)p;
    return true;
}

static bool is_peft(const struct safetensors *s)
{
    for (int i = 0; i < s->n_tensors; i++)
        if (strncmp(s->tensors[i].name, PEFT_PREFIX, sizeof PEFT_PREFIX - 1) == 0)
            return true;
    return false;
}

static bool sort_tensors(struct reading *r, struct gm_error *err)
{
    for (int i = 0; i < r->file.n_tensors; i++) {
        const struct tensor_info *t = &r->file.tensors[i];
        int index;
        char half;
        if (!parse_name(r, t->name, &index, &half))
            return error_set(err, GM_E_UNSUPPORTED,
                             "tensor \"%s\" is not supported (known: lora_a and lora_b of the "
                             "seven projections of layers 0 to %d)",
                             t->name, r->config->n_layers - 1);
        if (t->n_dims != 2)
            return error_set(err, GM_E_INPUT, "tensor \"%s\" is no matrix", t->name);
        (half == 'a' ? r->a : r->b)[index] = t;
        r->present[index] = true;
    }
    if (r->file.n_tensors == 0)
        return error_set(err, GM_E_INPUT, "there is no tensor in it");
    return true;
}

/* Rank, keys and layers as the tensors have them. */
static bool read_shape(struct reading *r, struct gm_error *err)
{
    int first = r->config->n_layers;
    for (int i = 0; i < r->config->n_layers * PROJ_COUNT; i++) {
        if (!r->present[i])
            continue;
        const struct tensor_info *a = r->a[i], *b = r->b[i];
        if (!a || !b)
            return error_set(err, GM_E_INPUT,
                             "tensor \"%s\" has no partner (A and B come in pairs)",
                             (a ? a : b)->name);
        int64_t rank = a->shape[r->peft ? 0 : 1], out, in;
        proj_shape(r->config, (enum proj)(i % PROJ_COUNT), &out, &in);
        if (r->options.rank == 0 && rank >= 1 && rank <= LORA_MAX_RANK)
            r->options.rank = (int)rank;
        if (rank != r->options.rank)
            return error_set(err, GM_E_UNSUPPORTED,
                             "tensor \"%s\" has rank %lld, others %d, which is not supported "
                             "(known: one rank from 1 to %d)",
                             a->name, (long long)rank, r->options.rank, LORA_MAX_RANK);
        struct mat m;
        if (!tensor_mat_expect(a, r->peft ? rank : in, r->peft ? in : rank, &m, err) ||
            !tensor_mat_expect(b, r->peft ? out : rank, r->peft ? rank : out, &m, err) ||
            !tensor_check_finite(a, err) || !tensor_check_finite(b, err))
            return false;
        r->options.keys |= 1u << (i % PROJ_COUNT);
        first = i / PROJ_COUNT < first ? i / PROJ_COUNT : first;
    }
    r->options.num_layers = r->config->n_layers - first;
    return true;
}

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static bool read_peft_config(struct reading *r, const json_t *o, struct gm_error *err)
{
    static const char *const empty[] = {"use_dora",
                                        "rank_pattern",
                                        "alpha_pattern",
                                        "modules_to_save",
                                        "lora_bias",
                                        "fan_in_fan_out",
                                        "use_qalora",
                                        "layer_replication",
                                        "target_parameters",
                                        "trainable_token_indices",
                                        "alora_invocation_tokens",
                                        "use_bdlora"};
    const char *type = "LORA", *bias = "none";
    double alpha = 0, dropout = 0;
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        if (!is_empty(json_object_get(o, empty[i])))
            return json_unsupported(json_object_get(o, empty[i]), empty[i], "absent, null, false or empty", err);
    if (!json_get_string(o, "peft_type", OPTIONAL, &type, err) ||
        !json_get_string(o, "bias", OPTIONAL, &bias, err) ||
        !json_get_double(o, "lora_alpha", REQUIRED, -1e6, 1e6, &alpha, err) ||
        !json_get_double(o, "lora_dropout", OPTIONAL, 0, 0.999, &dropout, err) ||
        !json_get_bool(o, "use_rslora", OPTIONAL, &r->options.rslora, err))
        return false;
    if (strcmp(type, "LORA") != 0)
        return json_unsupported(json_object_get(o, "peft_type"), "peft_type", "LORA", err);
    if (strcmp(bias, "none") != 0)
        return json_unsupported(json_object_get(o, "bias"), "bias", "none", err);
    double rank = r->options.rank;
    r->options.alpha = (float)alpha;
    r->options.scale = (float)(alpha / (r->options.rslora ? sqrt(rank) : rank));
    r->options.dropout = (float)dropout;
    return true;
}

static bool read_mlx_config(struct reading *r, const json_t *o, struct gm_error *err)
{
    const json_t *p = NULL;
    const char *type = "lora";
    double scale = 0, alpha, dropout = 0;
    if (!json_get_string(o, "fine_tune_type", OPTIONAL, &type, err) ||
        !json_get_object(o, "lora_parameters", REQUIRED, &p, err))
        return false;
    if (strcmp(type, "lora") != 0)
        return json_unsupported(json_object_get(o, "fine_tune_type"), "fine_tune_type", "lora", err);
    if (!json_get_double(p, "scale", REQUIRED, -1e6, 1e6, &scale, err) ||
        !json_get_double(p, "dropout", OPTIONAL, 0, 0.999, &dropout, err))
        return error_context(err, "\"lora_parameters\"");
    alpha = scale * r->options.rank;
    if (!json_get_double(p, "alpha", OPTIONAL, -1e6, 1e6, &alpha, err) ||
        !json_get_bool(p, "rslora", OPTIONAL, &r->options.rslora, err))
        return error_context(err, "\"lora_parameters\"");
    r->options.scale = (float)scale;
    r->options.alpha = (float)alpha;
    r->options.dropout = (float)dropout;
    return true;
}

static bool read_config(struct reading *r, const char *folder, struct gm_error *err)
{
    char *path = path_join(folder, CONFIG_FILE);
    json_t *o = json_load_file_checked(path, CONFIG_MAX_BYTES, err);
    bool ok = o != NULL;
    if (ok)
        ok = (r->peft ? read_peft_config : read_mlx_config)(r, o, err) ||
             error_context(err, "read %s", path);
    json_decref(o);
    mem_free(path);
    return ok;
}

/* dst [rows, cols] from t, which is the same or its transpose. */
static void copy_values(float *dst, const struct tensor_info *t, int64_t rows, int64_t cols,
                        bool transposed)
{
    struct mat m;
    if (!tensor_mat(t, &m, NULL))
        return; /* cannot be: the shape was checked */
    if (!transposed) {
        for (int64_t i = 0; i < rows; i++)
            mat_row_to_f32(&m, i, dst + i * cols);
        return;
    }
    float *row = mem_new((size_t)rows, sizeof *row);
    for (int64_t j = 0; j < cols; j++) {
        mat_row_to_f32(&m, j, row);
        for (int64_t i = 0; i < rows; i++)
            dst[i * cols + j] = row[i];
    }
    mem_free(row);
}

static struct lora *build(struct reading *r, struct gm_error *err)
{
    struct lora *l = lora_lay_out(r->config, &r->options, r->present, err);
    for (int i = 0; l && i < r->config->n_layers * PROJ_COUNT; i++) {
        if (!r->present[i])
            continue;
        const struct lora_pair *pair = &l->pairs[i];
        copy_values(l->set.w + pair->a, r->a[i], r->options.rank, pair->in, !r->peft);
        copy_values(l->set.w + pair->b, r->b[i], pair->out, r->options.rank, !r->peft);
    }
    return l;
}

/* The weights file of an adapter folder, or `path` itself when it is a file; *folder: where its
 * configuration stands. Both: mem_free. */
static char *find_file(const char *path, char **folder, struct gm_error *err)
{
    if (!dir_exists(path)) {
        size_t n = (size_t)(path_base(path) - path);
        *folder = n == 0 ? mem_copy(".") : mem_copy_n(path, n);
        return mem_copy(path);
    }
    *folder = mem_copy(path);
    char *mlx = path_join(path, MLX_FILE), *peft = path_join(path, PEFT_FILE), *chosen = NULL;
    if (file_exists(mlx))
        chosen = mem_copy(mlx);
    else if (file_exists(peft))
        chosen = mem_copy(peft);
    else
        error_set(err, GM_E_INPUT, "read adapter %s: neither %s nor %s is there", path, MLX_FILE,
                  PEFT_FILE);
    mem_free(mlx);
    mem_free(peft);
    return chosen;
}

struct lora *lora_load(const char *path, const struct model_config *c, struct gm_error *err)
{
    struct reading r = {.config = c};
    struct lora *l = NULL;
    char *folder, *file = find_file(path, &folder, err);
    if (file && safetensors_open(&r.file, file, err)) {
        size_t n = (size_t)c->n_layers * PROJ_COUNT;
        r.present = mem_new(n, sizeof *r.present);
        r.a = mem_new(n, sizeof *r.a);
        r.b = mem_new(n, sizeof *r.b);
        r.peft = is_peft(&r.file);
        bool ok =
            (sort_tensors(&r, err) && read_shape(&r, err)) || error_context(err, "read %s", file);
        if (ok && read_config(&r, folder, err))
            l = build(&r, err);
        mem_free(r.present);
        mem_free(r.a);
        mem_free(r.b);
        safetensors_close(&r.file);
    }
    mem_free(folder);
    mem_free(file);
    return l;
}

struct transposed { /* a matrix [rows, cols] that is written as [cols, rows] */
    const float *from;
    int64_t rows, cols;
};

static bool write_transposed(void *arg, struct writer *w, struct gm_error *err)
{
    (void)err;
    const struct transposed *t = arg;
    float *row = mem_new((size_t)t->rows, sizeof *row);
    for (int64_t j = 0; j < t->cols; j++) {
        for (int64_t i = 0; i < t->rows; i++)
            row[i] = t->from[i * t->cols + j];
        writer_write(w, row, (size_t)t->rows * sizeof *row);
    }
    mem_free(row);
    return true;
}

static bool write_mlx_config(const struct lora *l, const char *path, const char *model_name,
                             struct gm_error *err)
{
    json_t *keys = json_array(), *parameters = json_object(), *o = json_object();
    for (int p = 0; p < PROJ_COUNT; p++)
        if (l->options.keys >> p & 1)
            json_array_append_new(keys, json_string(proj_name((enum proj)p)));
    json_object_set_new(parameters, "rank", json_integer(l->options.rank));
    json_object_set_new(parameters, "scale", json_real((double)l->options.scale));
    json_object_set_new(parameters, "dropout", json_real((double)l->options.dropout));
    json_object_set_new(parameters, "keys", keys);
    json_object_set_new(parameters, "alpha", json_real((double)l->options.alpha));
    json_object_set_new(parameters, "rslora", json_boolean(l->options.rslora));
    json_object_set_new(o, "fine_tune_type", json_string("lora"));
    json_object_set_new(o, "model", json_string(model_name ? model_name : ""));
    json_object_set_new(o, "num_layers", json_integer(l->n_layers - l->first_layer));
    json_object_set_new(o, "lora_parameters", parameters);
    bool ok = json_write_file(path, o, err);
    json_decref(o);
    return ok;
}

bool lora_save_mlx(const struct lora *l, const char *dir, const char *model_name,
                   struct gm_error *err)
{
    int n = l->set.n_params;
    struct tensor_out *out = mem_new((size_t)n, sizeof *out);
    struct transposed *turned = mem_new((size_t)n, sizeof *turned);
    for (int i = 0; i < n; i++) {
        const struct param *p = &l->set.params[i];
        turned[i] =
            (struct transposed){.from = l->set.w + p->offset, .rows = p->rows, .cols = p->cols};
        out[i] = (struct tensor_out){.name = p->name,
                                     .type = DT_F32,
                                     .n_dims = 2,
                                     .shape = {p->cols, p->rows},
                                     .produce = write_transposed,
                                     .arg = &turned[i]};
    }
    static const char *const meta[] = {"format", "mlx"};
    char *file = path_join(dir, MLX_FILE), *config = path_join(dir, CONFIG_FILE);
    bool ok = safetensors_write(file, out, n, meta, 1, err) &&
              write_mlx_config(l, config, model_name, err);
    mem_free(file);
    mem_free(config);
    mem_free(out);
    mem_free(turned);
    return ok;
}

struct lora *lora_load_for(const char *path, const char *called, const char *model,
                           const struct model_config *c, struct gm_error *err)
{
    struct lora *l = lora_load(path, c, err);
    if (!l && err && (err->code == GM_E_INPUT || err->code == GM_E_UNSUPPORTED))
        error_context(err, "use adapter %s with %s (was it made for this model?)", called, model);
    return l;
}
