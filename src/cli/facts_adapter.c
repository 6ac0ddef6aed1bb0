/* facts_adapter.c - facts of an adapter: MLX, PEFT or GGUF, with or without its base at hand. */
#include "src/cli/facts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/model/lora.h"

#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX = 4 << 20, SEEN_MAX = 64 };

/* What the tensors' names and shapes say. */
struct shape_facts {
    int n_a, n_b, n_m, first_layer, last_layer;
    int64_t rank, parameters;
    bool peft, gguf, other_rank;
    char keys[SEEN_MAX][64];
    int n_keys;
    const char *stranger; /* a tensor that belongs to no adapter */
};

static void add_key(struct shape_facts *s, const char *key, size_t n)
{
    if (n == 0 || n >= sizeof s->keys[0])
        return;
    for (int i = 0; i < s->n_keys; i++)
        if (strlen(s->keys[i]) == n && memcmp(s->keys[i], key, n) == 0)
            return;
    if (s->n_keys < SEEN_MAX)
        snprintf(s->keys[s->n_keys++], sizeof s->keys[0], "%.*s", (int)n, key);
}

/* "...layers.3.self_attn.q_proj.lora_a", "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", "blk.3.attn_q.weight.lora_a" */
static void see(struct shape_facts *s, const struct tensor_info *t)
{
    static const struct {
        const char *tail;
        char half;
        bool peft;
    } tails[] = {{".lora_a", 'a', false},        {".lora_b", 'b', false},        {".m", 'm', false},
                 {".lora_A.weight", 'a', true},  {".lora_B.weight", 'b', true},  {".lora_magnitude_vector", 'm', true},
                 {".lora_magnitude_vector.weight", 'm', true}};
    size_t n = strlen(t->name);
    const char *block = strstr(t->name, "layers.");
    size_t skip = block ? 7 : 4;
    if (!block)
        block = strncmp(t->name, "blk.", 4) == 0 ? t->name : NULL;
    int layer = -1, used = 0;
    for (size_t i = 0; block && i < sizeof tails / sizeof *tails; i++) {
        size_t m = strlen(tails[i].tail);
        if (n < m || strcmp(t->name + n - m, tails[i].tail) != 0 || sscanf(block + skip, "%5d.%n", &layer, &used) != 1 || used == 0 || layer < 0)
            continue;
        const char *key = block + skip + used;
        size_t length = (size_t)(t->name + n - m - key);
        if (skip == 4 && length > 7 && memcmp(key + length - 7, ".weight", 7) == 0)
            length -= 7;
        s->gguf = s->gguf || skip == 4;
        s->peft = s->peft || tails[i].peft;
        s->n_a += tails[i].half == 'a';
        s->n_b += tails[i].half == 'b';
        s->n_m += tails[i].half == 'm';
        s->parameters += tensor_elements(t);
        s->first_layer = layer < s->first_layer ? layer : s->first_layer;
        s->last_layer = layer > s->last_layer ? layer : s->last_layer;
        add_key(s, key, length);
        if (tails[i].half == 'a' && t->n_dims == 2) {
            int64_t rank = tails[i].peft || skip == 4 ? t->shape[0] : t->shape[1];
            s->other_rank = s->other_rank || (s->rank && s->rank != rank);
            s->rank = rank > s->rank ? rank : s->rank;
        }
        return;
    }
    s->stranger = t->name;
}

static void tell_shape(struct facts *f, const struct shape_facts *s, json_t *o)
{
    json_t *keys = json_array();
    for (int i = 0; i < s->n_keys; i++)
        json_array_append_new(keys, json_text(s->keys[i]));
    json_object_set_new(o, "layout", json_string(s->gguf ? "GGUF" : s->peft ? "PEFT" : "MLX"));
    json_object_set_new(o, "type", json_string(s->n_m ? "dora" : "lora"));
    json_object_set_new(o, "rank", json_integer(s->rank));
    json_object_set_new(o, "pairs", json_integer(s->n_a));
    json_object_set_new(o, "parameters", json_integer(s->parameters));
    json_object_set_new(o, "first_layer", json_integer(s->first_layer));
    json_object_set_new(o, "last_layer", json_integer(s->last_layer));
    json_object_set_new(o, "keys", keys);
    if (s->other_rank)
        facts_note(f, "its matrices have several ranks; the highest is told");
}

static bool check_shape(const struct facts *f, const struct shape_facts *s, struct gm_error *err)
{
    if (s->stranger)
        return error_set(err, GM_E_INPUT, "read %s: tensor \"%s\" belongs to no adapter", f->path, s->stranger);
    if (s->n_a == 0 || s->n_a != s->n_b)
        return error_set(err, GM_E_INPUT, "read %s: it has %d A and %d B matrices (they come in pairs: copy the file again)", f->path, s->n_a, s->n_b);
    if (s->rank < 1)
        return error_set(err, GM_E_INPUT, "read %s: its matrices have no rank (copy the file again)", f->path);
    return true;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* Scale and base, as the configuration of the layout tells them. */
static void tell_config(const struct shape_facts *s, const json_t *config, json_t *o)
{
    const json_t *mlx = json_object_get(config, "lora_parameters");
    const char *base = json_string_value(json_object_get(config, s->peft ? "base_model_name_or_path" : "model"));
    if (s->peft && s->rank > 0) {
        double alpha = number(config, "lora_alpha");
        bool rslora = json_is_true(json_object_get(config, "use_rslora"));
        json_object_set_new(o, "alpha", json_number(alpha));
        json_object_set_new(o, "rslora", json_boolean(rslora));
        json_object_set_new(o, "scale", json_number((double)(float)lora_scale_of(alpha, (int)s->rank, rslora)));
        json_object_set_new(o, "dropout", json_number(number(config, "lora_dropout")));
    } else if (json_is_object(mlx)) {
        json_object_set_new(o, "scale", json_number(number(mlx, "scale")));
        json_object_set_new(o, "alpha", json_number(json_object_get(mlx, "alpha") ? number(mlx, "alpha") : number(mlx, "scale") * (double)s->rank));
        json_object_set_new(o, "dropout", json_number(number(mlx, "dropout")));
    }
    if (base && *base)
        json_object_set_new(o, "base", json_text(base));
}

static void see_all(struct facts *f, struct shape_facts *s, const struct tensor_info *tensors, int n, struct gm_error *err)
{
    const struct tensor_info **list = mem_new((size_t)n + 1, sizeof *list);
    bool finite = true;
    *s = (struct shape_facts){.first_layer = INT32_MAX, .last_layer = -1};
    for (int i = 0; i < n; i++) {
        list[i] = &tensors[i];
        see(s, &tensors[i]);
        finite = finite && (!f->o->verify || tensor_check_finite(&tensors[i], err) || error_context(err, "read %s", f->path));
    }
    facts_tensors(f, list, n);
    mem_free(list);
    if (!finite || !check_shape(f, s, err))
        facts_fault(f, err);
    if (s->last_layer < 0)
        s->first_layer = -1;
}

/* With its base: every shape, by the loader itself. A base that is not here is said. */
static void try_on_base(struct facts *f, const char *path, const char *base)
{
    struct gm_error err = {0};
    struct model_source source;
    struct model_config c;
    if (f->o->base)
        base = f->o->base;
    if (!base || !*base) {
        facts_note(f, "it does not say what its base is: shapes were not compared (check --model BASE)");
        return;
    }
    if (!model_source_open(&source, base, &err)) {
        if (f->o->base)
            facts_fault(f, &err);
        else
            facts_note(f, "its base %s is not here: shapes were not compared (check --model BASE)", base);
        return;
    }
    if (model_config_read(&c, &source, &err)) {
        struct lora *l = lora_load_for(path, f->path, base, &c, &err);
        struct str why = {0};
        if (!l)
            facts_fault(f, &err);
        else if (lora_fits(l, &source, &why))
            facts_summary(f, "fits its base %s", base);
        else
            facts_warn(f, "%s", str_text(&why));
        str_free(&why);
        lora_free(l);
    } else {
        facts_note(f, "its base %s cannot be opened: shapes were not compared (%s)", base, err.text);
    }
    model_source_close(&source);
}

void facts_adapter_gguf(struct facts *f, const char *path)
{
    struct gguf g;
    struct gm_error err = {0};
    struct shape_facts s;
    if (!gguf_open(&g, path, &err)) {
        facts_fault(f, &err);
        return;
    }
    json_t *o = json_object();
    double alpha = 0;
    struct gguf_text base = {"", 0}, ours = {"", 0};
    facts_metadata_gguf(f, &g);
    see_all(f, &s, g.tensors, g.n_tensors, &err);
    tell_shape(f, &s, o);
    err = (struct gm_error){0};
    if (!gguf_f64(&g, "adapter.lora.alpha", REQUIRED, -1e9, 1e9, &alpha, &err) || !gguf_string(&g, "general.base_model.0.name", OPTIONAL, &base, &err) ||
        !gguf_string(&g, "gemmaiku.base", OPTIONAL, &ours, &err))
        facts_fault(f, &err);
    json_object_set_new(o, "alpha", json_number(alpha));
    json_object_set_new(o, "scale", json_number(alpha == 0 || s.rank == 0 ? 1 : alpha / (double)s.rank));
    if (base.len > 0)
        json_object_set_new(o, "base", json_stringn(base.data, base.len));
    json_object_set_new(f->out, "format", json_sprintf("GGUF, version %u", g.version));
    json_object_set_new(f->out, "adapter", o);
    facts_summary(f, "GGUF LoRA, rank %lld, %d pairs", (long long)s.rank, s.n_a);
    char *named = ours.len > 0 ? mem_copy_n(ours.data, ours.len) : NULL;
    if (f->o->verify && facts_works(f->out))
        try_on_base(f, path, named);
    mem_free(named);
    gguf_close(&g);
}

void facts_adapter(struct facts *f, const char *path)
{
    struct gm_error err = {0};
    struct safetensors file;
    struct shape_facts s;
    bool folder = dir_exists(path);
    char *weights = lora_find_file(path, &err), *home = folder ? mem_copy(path) : path_folder(path);
    char *config_path = path_join(home, "adapter_config.json");
    json_t *config = NULL, *o = json_object();
    if (!weights || !safetensors_open(&file, weights, &err)) {
        facts_fault(f, &err);
    } else {
        see_all(f, &s, file.tensors, file.n_tensors, &err);
        tell_shape(f, &s, o);
        err = (struct gm_error){0};
        facts_metadata_safetensors(f, &file);
        config = json_load_file_checked(config_path, CONFIG_MAX, &err);
        if (config)
            tell_config(&s, config, o);
        else
            facts_fault(f, &err);
        facts_summary(f, "%s %s, rank %lld, scale %g, %d pairs in layers %d to %d", s.peft ? "PEFT" : "MLX", s.n_m ? "DoRA" : "LoRA", (long long)s.rank,
                      json_number_value(json_object_get(o, "scale")), s.n_a, s.first_layer, s.last_layer);
        safetensors_close(&file);
    }
    json_object_set_new(f->out, "format", json_string(folder ? "folder" : "safetensors"));
    if (f->o->verify && facts_works(f->out))
        try_on_base(f, path, json_string_value(json_object_get(o, "base")));
    json_object_set_new(f->out, "adapter", o);
    json_decref(config);
    mem_free(config_path);
    mem_free(home);
    mem_free(weights);
}
