/* lora_save.c - writes the MLX layout: adapters.safetensors + adapter_config.json, as mlx-lm reads them. */
#include "engine/model/lora_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

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

/* The modules that are adapted, as the tensors' names have them. */
static json_t *adapted_modules(const struct lora *l)
{
    json_t *keys = json_array();
    for (int i = 0; i < l->set.n_params; i++) {
        int used = 0;
        const char *name = l->set.params[i].name, *end = strstr(name, ".lora_a");
        if (!end || sscanf(name, "model.layers.%*d.%n", &used) != 0 || used == 0)
            continue;
        bool known = false;
        for (size_t k = 0; k < json_array_size(keys) && !known; k++)
            known = strncmp(json_string_value(json_array_get(keys, k)), name + used, (size_t)(end - name - used)) == 0;
        if (!known)
            json_array_append_new(keys, json_stringn(name + used, (size_t)(end - name - used)));
    }
    return keys;
}

static bool write_config(const struct lora *l, const char *path, const char *model_name, struct gm_error *err)
{
    json_t *parameters = json_object(), *o = json_object();
    json_object_set_new(parameters, "rank", json_integer(l->options.rank));
    json_object_set_new(parameters, "scale", json_f32(l->options.scale));
    json_object_set_new(parameters, "dropout", json_f32(l->options.dropout));
    json_object_set_new(parameters, "keys", adapted_modules(l));
    json_object_set_new(parameters, "alpha", json_f32(l->options.alpha));
    json_object_set_new(parameters, "rslora", json_boolean(l->options.rslora));
    json_object_set_new(o, "fine_tune_type", json_string(l->options.dora ? "dora" : "lora"));
    json_object_set_new(o, "model", json_string(model_name ? model_name : ""));
    json_object_set_new(o, "num_layers", json_integer(l->n_layers - l->first_layer));
    json_object_set_new(o, "lora_parameters", parameters);
    json_t *origin = lora_origin_json(&l->origin);
    if (origin)
        json_object_set_new(o, "gemmaiku", origin);
    bool ok = json_write_file(path, o, err);
    json_decref(o);
    return ok;
}

bool lora_save_mlx(const struct lora *l, const char *dir, const char *model_name, struct gm_error *err)
{
    int n = l->set.n_params;
    const size_t matrices = l->set.count - l->dora.n_rows;
    struct tensor_out *out = mem_new((size_t)n, sizeof *out);
    struct transposed *turned = mem_new((size_t)n, sizeof *turned);
    char **names = mem_new((size_t)n, sizeof *names);
    for (int i = 0; i < n; i++) {
        const struct param *p = &l->set.params[i];
        const float *from = l->set.w + p->offset;
        names[i] = mem_printf("%s%s", l->multimodal ? "language_model." : "", p->name);
        out[i] = (struct tensor_out){.name = names[i], .type = DT_F32};
        if (p->offset >= matrices) { /* DoRA's m */
            out[i].n_dims = 1;
            out[i].shape[0] = p->cols;
            out[i].data = from;
            continue;
        }
        turned[i] = (struct transposed){.from = from, .rows = p->rows, .cols = p->cols};
        out[i].n_dims = 2;
        out[i].shape[0] = p->cols;
        out[i].shape[1] = p->rows;
        out[i].produce = write_transposed;
        out[i].arg = &turned[i];
    }
    const char *meta[2 + 2 * LORA_ORIGIN_PAIRS] = {"format", "mlx"};
    int n_meta = 1 + lora_origin_pairs(&l->origin, meta + 2);
    char *file = path_join(dir, LORA_MLX_FILE), *config = path_join(dir, LORA_CONFIG_FILE);
    bool ok = safetensors_write(file, out, n, meta, n_meta, err) && write_config(l, config, model_name, err);
    for (int i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    mem_free(file);
    mem_free(config);
    mem_free(out);
    mem_free(turned);
    return ok;
}
