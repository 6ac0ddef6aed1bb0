/* adapter.c - adapters in the PEFT layout: adapter_model.safetensors with A [rank, in] and B [out, rank], and adapter_config.json. */
#include "engine/export/parts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"

#include <math.h>
#include <string.h>

/* PEFT multiplies by alpha / rank (or its root). The alpha that was asked for, where it gives the scale to the bit. */
static double peft_alpha(const struct lora_options *o)
{
    double by = o->rslora ? sqrt(o->rank) : o->rank;
    return (float)((double)o->alpha / by) == o->scale ? (double)o->alpha : (double)o->scale * by;
}

static bool is_multimodal(const struct model *m) { return strcmp(m->prefix, "model.") != 0; }

/* Plain names, or, where a vision tower has modules of the same names, a pattern that leaves those alone. PEFT takes no list of layers beside a
 * pattern, so it names them, too. */
static json_t *target_modules(const struct export_request *r)
{
    struct module modules[MODULE_COUNT_MAX];
    int n = model_modules(&r->model->config, modules);
    json_t *list = json_array();
    const struct lora *l = r->lora;
    struct str pattern = {0};
    str_add(&pattern, ".*language_model.*");
    for (int i = l->first_layer; l->first_layer > 0 && i < l->n_layers; i++)
        str_printf(&pattern, "%s%d%s", i == l->first_layer ? "layers\\.(" : "|", i, i == l->n_layers - 1 ? ")\\..*" : "");
    for (int i = 0, named = 0; i < n; i++) {
        if (!(l->options.keys >> modules[i].first & 1))
            continue;
        const char *name = strchr(modules[i].name, '.') + 1;
        json_array_append_new(list, json_string(name));
        str_printf(&pattern, "%s%s", named++ ? "|" : "\\.(", name);
    }
    str_add(&pattern, ")");
    if (is_multimodal(r->model)) {
        json_decref(list);
        list = json_string(str_text(&pattern));
    }
    str_free(&pattern);
    return list;
}

static json_t *peft_config(const struct export_request *r)
{
    const struct lora *l = r->lora;
    json_t *o = json_object(), *layers = json_null();
    if (l->first_layer > 0 && !is_multimodal(r->model)) {
        json_decref(layers);
        layers = json_array();
        for (int i = l->first_layer; i < l->n_layers; i++)
            json_array_append_new(layers, json_integer(i));
    }
    double alpha = peft_alpha(&l->options);
    json_object_set_new(o, "peft_type", json_string("LORA"));
    json_object_set_new(o, "task_type", json_string("CAUSAL_LM"));
    json_object_set_new(o, "base_model_name_or_path", json_string(r->model_name ? r->model_name : ""));
    json_object_set_new(o, "r", json_integer(l->options.rank));
    json_object_set_new(o, "lora_alpha", alpha == floor(alpha) && fabs(alpha) < 1e9 ? json_integer((json_int_t)alpha) : json_real(alpha));
    json_object_set_new(o, "lora_dropout", json_f32(l->options.dropout));
    json_object_set_new(o, "target_modules", target_modules(r));
    json_object_set_new(o, "layers_to_transform", layers);
    json_object_set_new(o, "layers_pattern", json_null());
    json_object_set_new(o, "use_rslora", json_boolean(l->options.rslora));
    json_object_set_new(o, "use_dora", json_boolean(l->options.dora));
    json_object_set_new(o, "bias", json_string("none"));
    json_object_set_new(o, "fan_in_fan_out", json_false());
    json_object_set_new(o, "init_lora_weights", json_true());
    json_object_set_new(o, "inference_mode", json_true());
    json_object_set_new(o, "modules_to_save", json_null());
    json_object_set_new(o, "rank_pattern", json_object());
    json_object_set_new(o, "alpha_pattern", json_object());
    json_object_set_new(o, "revision", json_null());
    return o;
}

struct peft_list {
    struct tensor_out *tensors;
    char **names;
    int n;
};

static void add(struct peft_list *list, const char *layers, int layer, const struct module *m, const char *part, const float *data, int64_t rows,
                int64_t cols)
{
    char *name = list->names[list->n] = mem_printf("base_model.model.%slayers.%d.%s.%s", layers, layer, m->name, part);
    list->tensors[list->n++] = (struct tensor_out){.name = name, .type = DT_F32, .n_dims = cols ? 2 : 1, .shape = {rows, cols}, .data = data};
}

bool export_write_peft(struct export_job *j, const char *folder, struct gm_error *err)
{
    const struct lora *l = j->r.lora;
    const char *meta[2 + 2 * LORA_ORIGIN_PAIRS] = {"format", "pt"};
    const int n_meta = 1 + lora_origin_pairs(&l->origin, meta + 2); /* its configuration has no place for it: PEFT warns of keys it does not know */
    const char *layers = is_multimodal(j->r.model) ? "model.language_model." : "model."; /* where transformers has them, whatever the file says */
    const size_t most = (size_t)l->n_layers * PROJ_COUNT * 3;
    struct module modules[MODULE_COUNT_MAX];
    int n = model_modules(&j->r.model->config, modules);
    struct peft_list list = {.tensors = mem_new(most, sizeof *list.tensors), .names = mem_new(most, sizeof *list.names)};
    for (int layer = 0; layer < l->n_layers; layer++)
        for (int k = 0; k < n; k++) { /* the products of a fused module have one A, and their rows of one B */
            const struct module *m = &modules[k];
            const struct lora_pair *pair = lora_at(l, layer, m->first);
            if (!pair)
                continue;
            add(&list, layers, layer, m, "lora_A.weight", l->set.w + pair->a, l->options.rank, m->in);
            add(&list, layers, layer, m, "lora_B.weight", l->set.w + pair->b, m->out, l->options.rank);
            if (pair->m >= 0)
                add(&list, layers, layer, m, "lora_magnitude_vector", l->set.w + pair->m, m->out, 0);
        }
    char *file = path_join(folder, "adapter_model.safetensors");
    bool ok = safetensors_write(file, list.tensors, list.n, meta, n_meta, err) && json_write_in(folder, "adapter_config.json", peft_config(&j->r), err);
    for (int i = 0; i < list.n; i++)
        mem_free(list.names[i]);
    mem_free(list.names);
    mem_free(list.tensors);
    mem_free(file);
    return ok;
}
