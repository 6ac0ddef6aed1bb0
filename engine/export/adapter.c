/* adapter.c - adapters in the PEFT layout: adapter_model.safetensors with A [rank, in] and B [out, rank], and adapter_config.json. */
#include "engine/export/export.h"

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

static json_t *peft_config(const struct export_request *r)
{
    const struct lora *l = r->lora;
    json_t *o = json_object(), *targets = json_array(), *layers = json_null();
    for (int p = 0; p < PROJ_COUNT; p++)
        if (l->options.keys >> p & 1)
            json_array_append_new(targets, json_string(strchr(proj_name((enum proj)p), '.') + 1));
    if (l->first_layer > 0) {
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
    json_object_set_new(o, "lora_dropout", json_real((double)l->options.dropout));
    json_object_set_new(o, "target_modules", targets);
    json_object_set_new(o, "layers_to_transform", layers);
    json_object_set_new(o, "layers_pattern", json_null());
    json_object_set_new(o, "use_rslora", json_boolean(l->options.rslora));
    json_object_set_new(o, "use_dora", json_false());
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

bool export_write_peft(const struct export_request *r, const char *folder, struct gm_error *err)
{
    const struct lora *l = r->lora;
    struct tensor_out *tensors = mem_new((size_t)l->n_layers * PROJ_COUNT * 2, sizeof *tensors);
    char **names = mem_new((size_t)l->n_layers * PROJ_COUNT * 2, sizeof *names);
    int n = 0;
    for (int layer = 0; layer < l->n_layers; layer++)
        for (int p = 0; p < PROJ_COUNT; p++) {
            const struct lora_pair *pair = lora_at(l, layer, (enum proj)p);
            if (!pair)
                continue;
            for (int half = 0; half < 2; half++, n++) {
                names[n] = mem_printf("base_model.model.model.layers.%d.%s.lora_%c.weight", layer, proj_name((enum proj)p), half ? 'B' : 'A');
                tensors[n] = (struct tensor_out){.name = names[n], .type = DT_F32, .n_dims = 2,
                                                 .shape = {half ? pair->out : l->options.rank, half ? l->options.rank : pair->in},
                                                 .data = l->set.w + (half ? pair->b : pair->a)};
            }
        }
    static const char *const meta[] = {"format", "pt"};
    char *file = path_join(folder, "adapter_model.safetensors"), *config_file = path_join(folder, "adapter_config.json");
    json_t *config = peft_config(r);
    bool ok = safetensors_write(file, tensors, n, meta, 1, err) && json_write_file(config_file, config, err);
    json_decref(config);
    for (int i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    mem_free(tensors);
    mem_free(file);
    mem_free(config_file);
    return ok;
}
