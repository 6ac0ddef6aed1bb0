/* lora_config.c - adapter_config.json, as PEFT and as mlx-lm write it: what multiplies B A, and the refusal of what would change the
 * numbers and is not known here. Which projections are adapted is not asked of it: the tensors say so. */
#include "engine/model/lora_private.h"

#include "engine/base/mem.h"

#include <string.h>

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

/* ---- PEFT ---- */

static bool refuse(const char *key, const char *value, const char *remedy, struct gm_error *err)
{
    return error_set(err, GM_E_UNSUPPORTED, "\"%s\" is \"%.80s\", which is not supported (%s)", key, value, remedy);
}

static bool check_peft(struct lora_reading *r, const json_t *o, struct gm_error *err)
{
    static const char *const empty[] = {"modules_to_save", "lora_bias", "trainable_token_indices", "fan_in_fan_out", "use_qalora",
                                        "layer_replication", "target_parameters", "alora_invocation_tokens", "use_bdlora", "arrow_config",
                                        "kasa_config", "monteclora_config", "velora_config"};
    /* Others take part of the base's weights into A and B: what they multiply is not the base as it is. */
    static const char *const beginnings[] = {"gaussian", "eva", "orthogonal"};
    const char *type = "LORA", *bias = "none", *begun = json_string_value(json_object_get(o, "init_lora_weights"));
    bool usual = !begun;
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        if (!is_empty(json_object_get(o, empty[i])))
            return error_set(err, GM_E_UNSUPPORTED,
                             "\"%s\" is set, which is not supported (merge the adapter into its base with PEFT, merge_and_unload, and open that "
                             "as the model)",
                             empty[i]);
    if (!json_get_string(o, "peft_type", OPTIONAL, &type, err) || !json_get_string(o, "bias", OPTIONAL, &bias, err) ||
        !json_get_bool(o, "use_rslora", OPTIONAL, &r->options.rslora, err) || !json_get_bool(o, "use_dora", OPTIONAL, &r->options.dora, err))
        return false;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        usual = usual || strcmp(begun, beginnings[i]) == 0;
    if (!usual)
        return refuse("init_lora_weights", begun, "convert it with PEFT, path_initial_model_for_weight_conversion", err);
    if (strcmp(type, "LORA") != 0)
        return refuse("peft_type", type, "merge it into its base with PEFT", err);
    if (strcmp(bias, "none") != 0)
        return refuse("bias", bias, "merge it into its base with PEFT", err);
    return true;
}

/* PEFT takes a key as the regular expression (.*\.)?(KEY)$; those in use are plain names, and others are refused. */
static bool is_plain(const char *key)
{
    return *key && strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == strlen(key);
}

static bool matches(const char *module, const char *key)
{
    size_t n = strlen(module), k = strlen(key);
    return n >= k && strcmp(module + n - k, key) == 0 && (n == k || module[n - k - 1] == '.');
}

/* alpha of every part: alpha_pattern's, where one of its keys names the part; the first that does counts, as in PEFT. */
static bool read_alphas(struct lora_reading *r, const json_t *o, double alpha, double *alphas, struct gm_error *err)
{
    const json_t *pattern = NULL;
    const char *key;
    json_t *value;
    if (!json_get_object(o, "alpha_pattern", OPTIONAL, &pattern, err))
        return false;
    json_object_foreach((json_t *)pattern, key, value)
    {
        if (!is_plain(key))
            return error_set(err, GM_E_UNSUPPORTED, "\"alpha_pattern\": \"%.80s\" is a regular expression, which is not supported (name the modules, "
                                                    "or merge the adapter into its base with PEFT)", key);
        if (!json_is_number(value))
            return error_set(err, GM_E_INPUT, "\"alpha_pattern\": \"%.80s\" is no number", key);
    }
    for (int i = 0; i < r->config->n_layers * PROJ_COUNT; i++) {
        struct module m;
        if (!module_of(r->config, (enum proj)(i % PROJ_COUNT), &m))
            continue;
        char *module = mem_printf("model.layers.%d.%s", i / PROJ_COUNT, m.name);
        bool found = false;
        alphas[i] = alpha;
        json_object_foreach((json_t *)pattern, key, value) if (!found && matches(module, key))
        {
            alphas[i] = json_number_value(value);
            found = true;
        }
        mem_free(module);
    }
    return true;
}

static bool scale_peft(struct lora_reading *r, const json_t *o, struct gm_error *err)
{
    double alpha = 0, dropout = 0;
    if (!json_get_double(o, "lora_alpha", REQUIRED, -1e6, 1e6, &alpha, err) ||
        !json_get_double(o, "lora_dropout", OPTIONAL, 0, 0.999, &dropout, err))
        return false;
    double *alphas = mem_new((size_t)r->config->n_layers * PROJ_COUNT, sizeof *alphas);
    bool ok = read_alphas(r, o, alpha, alphas, err);
    if (ok)
        lora_scale_parts(r, alphas, alpha);
    mem_free(alphas);
    r->options.dropout = (float)dropout;
    return ok;
}

/* ---- MLX ---- */

static bool check_mlx(struct lora_reading *r, const json_t *o, struct gm_error *err)
{
    const char *type = "lora";
    if (!json_get_string(o, "fine_tune_type", OPTIONAL, &type, err))
        return false;
    r->options.dora = strcmp(type, "dora") == 0;
    if (strcmp(type, "full") == 0)
        return refuse("fine_tune_type", type, "fuse it with mlx-lm, and open the result as the model", err);
    return r->options.dora || strcmp(type, "lora") == 0 ||
           json_unsupported(json_object_get(o, "fine_tune_type"), "fine_tune_type", "lora, dora", err);
}

static bool scale_mlx(struct lora_reading *r, const json_t *o, struct gm_error *err)
{
    const json_t *p = NULL;
    double scale = 0, dropout = 0;
    if (!json_get_object(o, "lora_parameters", REQUIRED, &p, err))
        return false;
    if (!json_get_double(p, "scale", REQUIRED, -1e6, 1e6, &scale, err) || !json_get_double(p, "dropout", OPTIONAL, 0, 0.999, &dropout, err))
        return error_context(err, "\"lora_parameters\"");
    double alpha = scale * r->options.rank;
    if (!json_get_double(p, "alpha", OPTIONAL, -1e6, 1e6, &alpha, err) || !json_get_bool(p, "rslora", OPTIONAL, &r->options.rslora, err))
        return error_context(err, "\"lora_parameters\"");
    r->options.scale = (float)scale;
    r->options.alpha = (float)alpha;
    r->options.dropout = (float)dropout;
    return true;
}

/* ---- both ---- */

bool lora_config_check(struct lora_reading *r, const json_t *config, struct gm_error *err)
{
    return (r->layout == LAYOUT_PEFT ? check_peft : check_mlx)(r, config, err);
}

bool lora_config_scale(struct lora_reading *r, const json_t *config, struct gm_error *err)
{
    return (r->layout == LAYOUT_PEFT ? scale_peft : scale_mlx)(r, config, err);
}
