/* Adapters from files: every layout against the logits of the programs that wrote it, variations of spelling, and the exact complaint
 * about what is not read. */
#include "model_test.h"

static struct lora *load(const char *path, const struct model_config *c)
{
    struct gm_error err = {0};
    struct lora *l = lora_load(path, c, &err);
    if (!l)
        fail_msg("%s", err.text);
    return l;
}

static void test_logits_with(void **state)
{
    static const struct {
        const char *model, *numbers, *file;
        double tolerance;
    } all[] = {{"gemma3_text", "gemma3_text", "adapters/gemma3_text/mlx", 5e-4},
               {"gemma3_text", "gemma3_text", "adapters/gemma3_text/peft", 5e-4},
               {"gemma3_text", "gemma3_text", "quantised/gguf/gemma3_text_lora.gguf", 5e-4},
               {"gemma3_text", "gemma3_text_last2", "adapters/gemma3_text_last2/mlx", 5e-4},
               {"gemma3_text", "gemma3_text_last2", "adapters/gemma3_text_last2/peft", 5e-4},
               {"llama", "llama", "adapters/llama/mlx", 5e-4},
               {"llama", "llama", "adapters/llama/peft", 5e-4},
               {"llama", "llama", "quantised/gguf/llama_lora.gguf", 5e-4},
               {"llama", "llama_dora", "adapters/llama_dora/mlx", 5e-4},
               {"llama", "llama_dora", "adapters/llama_dora/peft", 5e-4},
               {"llama", "llama_rslora", "adapters/llama_rslora/peft", 5e-4},
               {"llama", "llama_scale20", "adapters/llama_scale20/mlx", 5e-4},
               {"llama_f32", "llama_f32_mlx_lm_dora", "adapters/llama_f32_mlx_lm_dora/second", 5e-4}};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct gm_error err = {0};
        struct fixture f;
        struct safetensors expected;
        char *path = mem_printf("%s/%s", fixtures_dir(), all[i].file);
        char *numbers = mem_printf("%s/adapters/%s/expected.safetensors", fixtures_dir(), all[i].numbers);
        fixture_open(&f, all[i].model);
        struct lora *l = load(path, &f.model->config);
        if (!safetensors_open(&expected, numbers, &err))
            fail_msg("%s", err.text);
        lora_bind(l, f.model, &t.compute);
        check_logits(f.model, l, &t.compute, &expected, path, all[i].tolerance);
        lora_free(l);
        safetensors_close(&expected);
        fixture_close(&f);
        mem_free(path);
        mem_free(numbers);
    }
    tools_free(&t);
}

static void test_round_trip(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_text");
    for (int dora = 0; dora < 2; dora++) {
        struct lora_options o = {.rank = dora ? 1 : 3, .alpha = 6, .scale = 2, .dropout = 0.125f, .keys = 1u << PROJ_Q | 1u << PROJ_UP,
                                 .num_layers = 2, .dora = dora};
        struct lora *l = lora_new(&f.model->config, &o, 11, &err);
        lora_bind(l, f.model, &t.compute);
        for (size_t i = 0; i < l->set.count; i++)
            l->set.w[i] += (float)i / 64;
        char *folder = new_folder();
        assert_true(lora_save_mlx(l, folder, "models/gemma3_text", &err));
        struct lora *again = load(folder, &f.model->config);
        assert_memory_equal(&again->options, &l->options, sizeof l->options);
        assert_int_equal(again->set.count, l->set.count);
        assert_memory_equal(again->set.w, l->set.w, l->set.count * sizeof(float));
        assert_int_equal(again->first_layer, l->first_layer);
        lora_bind(again, f.model, &t.compute); /* its m are its own */
        assert_memory_equal(again->set.w, l->set.w, l->set.count * sizeof(float));
        struct lora *copy = lora_copy(again);
        assert_memory_equal(copy->set.w, l->set.w, l->set.count * sizeof(float));
        lora_free(copy);
        lora_free(again);
        char *file = path_join(folder, "adapters.safetensors"); /* the file names the adapter as well as its folder */
        lora_free(load(file, &f.model->config));
        struct fixture other; /* and does not fit another model */
        fixture_open(&other, "smollm2");
        assert_null(lora_load(file, &other.model->config, &err));
        assert_non_null(strstr(err.text, "layers."));
        fixture_close(&other);
        mem_free(file);
        lora_free(l);
        drop_folder(folder);
    }
    fixture_close(&f);
    tools_free(&t);
}

/* Where it comes from is kept, and held against the base; a file without it says nothing. */
static void test_origin(void **state)
{
    struct gm_error err = {0};
    struct fixture f, other;
    struct str why = {0};
    fixture_open(&f, "llama");
    fixture_open(&other, "llama_f32");
    struct lora_options o = {.rank = 2, .scale = 2, .keys = 1};
    struct lora *l = lora_new(&f.model->config, &o, 11, &err);
    assert_true(lora_fits(l, f.model->source, &why) && why.len == 0);
    assert_null(lora_origin_json(&l->origin));
    snprintf(l->origin.base, sizeof l->origin.base, "a\x1b[31mbase");
    model_source_fingerprint(f.model->source, l->origin.base_fingerprint);
    snprintf(l->origin.step, sizeof l->origin.step, "600");
    memset(l->origin.run_id, 'f', sizeof l->origin.run_id - 1);
    char *folder = new_folder();
    assert_true(lora_save_mlx(l, folder, "models/llama", &err));
    struct lora *again = load(folder, &f.model->config);
    assert_string_equal(again->origin.base_fingerprint, l->origin.base_fingerprint);
    assert_string_equal(again->origin.run_id, l->origin.run_id);
    assert_string_equal(again->origin.step, "600");
    assert_string_equal(again->origin.data_sha256, "");
    assert_null(strchr(again->origin.base, 27));
    assert_true(lora_fits(again, f.model->source, &why) && lora_fits(again, NULL, &why) && why.len == 0);
    assert_false(lora_fits(again, other.model->source, &why));
    assert_non_null(strstr(str_text(&why), "base"));
    const char *pairs[2 * LORA_ORIGIN_PAIRS];
    assert_int_equal(lora_origin_pairs(&again->origin, pairs), 4);
    assert_string_equal(pairs[0], "gemmaiku.base");
    str_free(&why);
    lora_free(l);
    lora_free(again);
    drop_folder(folder);
    fixture_close(&f);
    fixture_close(&other);
}

/* ---- the same adapter, written in other ways ---- */

/* An adapter of llama as a folder of our own: renamed, in another type, with another configuration. */
struct variant {
    const char *base;                              /* fixture */
    const char *from, *to;                         /* in names; NULL: as they are */
    enum dtype type;
    const char *config;                            /* fields that replace those of adapter_config.json; NULL: none */
};

static void write_variant(const struct variant *v, const char *folder)
{
    struct gm_error err = {0};
    struct safetensors s;
    char *source = mem_printf("%s/adapters/%s", fixtures_dir(), v->base), *weights = path_join(source, "adapter_model.safetensors"),
         *config = path_join(source, "adapter_config.json");
    assert_true(safetensors_open(&s, weights, &err));
    struct tensor_out *out = mem_new((size_t)s.n_tensors, sizeof *out);
    for (int i = 0; i < s.n_tensors; i++) {
        const struct tensor_info *t = &s.tensors[i];
        const char *at = v->from ? strstr(t->name, v->from) : NULL;
        char *name = at ? mem_printf("%.*s%s%s", (int)(at - t->name), t->name, v->to, at + strlen(v->from)) : mem_copy(t->name);
        size_t n = (size_t)tensor_elements(t);
        const float *x = t->data;
        uint16_t *half = mem_new(n, sizeof *half);
        for (size_t k = 0; k < n; k++)
            half[k] = v->type == DT_BF16 ? f32_to_bf16(x[k]) : f32_to_f16(x[k]);
        out[i] = (struct tensor_out){.name = name, .type = v->type, .n_dims = t->n_dims, .data = v->type == DT_F32 ? t->data : half};
        memcpy(out[i].shape, t->shape, sizeof t->shape);
        if (v->type == DT_F32)
            mem_free(half);
    }
    json_t *o = json_load_file_checked(config, 1 << 20, &err), *more = v->config ? json_parse(v->config, strlen(v->config), "more", &err) : json_object();
    assert_true(o && more);
    json_object_update(o, more);
    char *to = path_join(folder, "adapter_model.safetensors"), *to_config = path_join(folder, "adapter_config.json");
    assert_true(safetensors_write(to, out, s.n_tensors, NULL, 0, &err) && json_write_file(to_config, o, &err));
    for (int i = 0; i < s.n_tensors; i++) {
        mem_free((void *)(uintptr_t)out[i].name);
        if (v->type != DT_F32)
            mem_free((void *)(uintptr_t)out[i].data);
    }
    mem_free(out);
    json_decref(o);
    json_decref(more);
    mem_free(source);
    mem_free(weights);
    mem_free(config);
    mem_free(to);
    mem_free(to_config);
    safetensors_close(&s);
}

/* Fused projections are one module with one A: PEFT's names, MLX's, and a part of them is refused. */
static void test_fused(void **state)
{
    struct gm_error err = {0};
    struct fixture f;
    fixture_open(&f, "phi3");
    struct lora *l = fixture_lora(&f);
    assert_true(lora_at(l, 0, PROJ_Q)->a == lora_at(l, 0, PROJ_V)->a && lora_at(l, 0, PROJ_GATE)->a == lora_at(l, 0, PROJ_UP)->a);
    char *folder = new_folder(), *file = path_join(folder, "adapter_model.safetensors"), *config = path_join(folder, "adapter_config.json");
    struct tensor_out out[64];
    char *names[64];
    assert_true(l->set.n_params <= 64);
    for (int i = 0; i < l->set.n_params; i++) {
        const struct param *p = &l->set.params[i];
        int stem = (int)strlen(p->name) - 1;
        names[i] = mem_printf("base_model.model.%.*s%c.weight", stem, p->name, p->name[stem] == 'a' ? 'A' : 'B');
        out[i] = (struct tensor_out){.name = names[i], .type = DT_F32, .n_dims = 2, .shape = {p->rows, p->cols}, .data = l->set.w + p->offset};
    }
    char *text = mem_printf("{\"peft_type\":\"LORA\",\"r\":%d,\"lora_alpha\":%g,\"target_modules\":[\"qkv_proj\",\"o_proj\",\"gate_up_proj\",\"down_proj\"]}",
                            l->options.rank, (double)l->options.alpha);
    assert_true(safetensors_write(file, out, l->set.n_params, NULL, 0, &err) && file_replace(config, text, strlen(text), &err));
    for (int mlx = 0; mlx < 2; mlx++) {
        struct lora *again = load(folder, &f.model->config);
        assert_true(again->set.count == l->set.count && again->options.keys == l->options.keys && again->options.scale == l->options.scale);
        assert_memory_equal(again->set.w, l->set.w, l->set.count * sizeof(float));
        if (!mlx)
            assert_true(lora_save_mlx(again, folder, "phi3", &err)); /* it is found before the other */
        lora_free(again);
    }
    json_t *o = json_load_file_checked(config, 1 << 16, &err);
    const json_t *keys = json_object_get(json_object_get(o, "lora_parameters"), "keys");
    assert_int_equal(json_array_size(keys), 4);
    assert_string_equal(json_string_value(json_array_get(keys, 0)), "self_attn.qkv_proj");
    json_decref(o);
    struct lora_options part = {.rank = 2, .scale = 1, .keys = 1u << PROJ_Q};
    assert_null(lora_new(&f.model->config, &part, 1, &err));
    assert_non_null(strstr(err.text, "--keys qkv_proj"));
    for (int i = 0; i < l->set.n_params; i++)
        mem_free(names[i]);
    mem_free(text);
    mem_free(file);
    mem_free(config);
    drop_folder(folder);
    lora_free(l);
    fixture_close(&f);
}

static void test_spellings(void **state)
{
    static const struct variant same[] = {
        {"llama_dora/peft", "lora_magnitude_vector", "lora_magnitude_vector.weight", DT_F32, NULL},
        {"llama_dora/peft", "base_model.model.model.layers", "base_model.model.model.language_model.layers", DT_F32, NULL},
        {"llama_rslora/peft", "base_model.model.model.layers", "base_model.model.language_model.model.layers", DT_F32, NULL},
        {"llama_rslora/peft", "base_model.model.model.layers", "model.layers", DT_F32, NULL},
        {"llama/peft", NULL, NULL, DT_F32, "{\"target_modules\": \"all-linear\", \"layers_to_transform\": 1}"},
        {"llama/peft", NULL, NULL, DT_F32, "{\"target_modules\": \".*\\\\.(q|v|down)_proj\", \"layers_pattern\": \"layers\"}"},
        {"llama/peft", NULL, NULL, DT_BF16, NULL},
        {"llama/peft", NULL, NULL, DT_F16, NULL}};
    struct fixture f;
    fixture_open(&f, "llama");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char *folder = new_folder(), *path = mem_printf("%s/adapters/%s", fixtures_dir(), same[i].base);
        write_variant(&same[i], folder);
        struct lora *l = load(folder, &f.model->config), *want = load(path, &f.model->config);
        assert_memory_equal(&l->options, &want->options, sizeof l->options);
        assert_int_equal(l->set.count, want->set.count);
        for (size_t k = 0; k < l->set.count; k++) {
            float x = want->set.w[k];
            assert_true(l->set.w[k] == (same[i].type == DT_BF16  ? bf16_to_f32(f32_to_bf16(x))
                                        : same[i].type == DT_F16 ? f16_to_f32(f32_to_f16(x))
                                                                 : x));
        }
        lora_free(l);
        lora_free(want);
        mem_free(path);
        drop_folder(folder);
    }
    fixture_close(&f);
}

/* alpha_pattern: what the named modules add is multiplied; the rest stays, or goes where the common alpha is 0. */
static void test_alpha_pattern(void **state)
{
    static const char pattern[] = "{\"model.layers.1.mlp.up_proj\": 4, \"up_proj\": 16, \"self_attn.k_proj\": 24}";
    struct fixture f;
    fixture_open(&f, "llama");
    for (int alpha = 0; alpha <= 8; alpha += 8) {
        char *folder = new_folder(), *path = mem_printf("%s/adapters/llama_rslora/peft", fixtures_dir()),
             *config = mem_printf("{\"lora_alpha\": %d, \"alpha_pattern\": %s}", alpha, pattern);
        write_variant(&(struct variant){"llama_rslora/peft", NULL, NULL, DT_F32, config}, folder);
        struct lora *l = load(folder, &f.model->config), *want = load(path, &f.model->config);
        if (alpha > 0)
            assert_true(l->options.scale == (float)lora_scale_of(alpha, l->options.rank, true));
        for (int layer = 0; layer < l->n_layers; layer++)
            for (int p = 0; p < PROJ_COUNT; p++) {
                const struct lora_pair *pair = lora_at(l, layer, (enum proj)p);
                double own = p == PROJ_K ? 24 : p == PROJ_UP ? layer == 1 ? 4 : 16 : alpha;
                for (int64_t k = 0; k < (int64_t)pair->out * l->options.rank; k++) {
                    double have = (double)l->options.scale * (double)l->set.w[pair->b + k],
                           wanted = lora_scale_of(own, l->options.rank, true) * (double)want->set.w[pair->b + k];
                    assert_true(fabs(have - wanted) <= 1e-6 * fabs(wanted));
                }
            }
        lora_free(l);
        lora_free(want);
        mem_free(path);
        mem_free(config);
        drop_folder(folder);
    }
    fixture_close(&f);
}

/* Two ranks in one file: the smaller is filled up with zeros, and alpha / rank is its own. */
static void test_rank_pattern(void **state)
{
    struct gm_error err = {0};
    struct fixture f;
    fixture_open(&f, "llama");
    enum { BIG = 4, SMALL = 2 };
    int64_t out_q, in_q, out_v, in_v;
    proj_shape(&f.model->config, PROJ_Q, &out_q, &in_q);
    proj_shape(&f.model->config, PROJ_V, &out_v, &in_v);
    size_t most = (size_t)(out_q * in_q * BIG);
    float *values = mem_new(most, sizeof *values);
    for (size_t i = 0; i < most; i++)
        values[i] = 1 + (float)(i % 97);
    const struct tensor_out out[] = {
        {.name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", .n_dims = 2, .shape = {BIG, in_q}, .data = values},
        {.name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", .n_dims = 2, .shape = {out_q, BIG}, .data = values},
        {.name = "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", .n_dims = 2, .shape = {SMALL, in_v}, .data = values},
        {.name = "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", .n_dims = 2, .shape = {out_v, SMALL}, .data = values}};
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"init_lora_weights\": \"gaussian\", \"rank_pattern\": {\"v_proj\": 2}}";
    char *folder = new_folder(), *file = path_join(folder, "adapter_model.safetensors"), *json = path_join(folder, "adapter_config.json");
    assert_true(safetensors_write(file, out, 4, NULL, 0, &err) && file_replace(json, config, sizeof config - 1, &err));
    struct lora *l = load(folder, &f.model->config);
    assert_int_equal(l->options.rank, BIG);
    assert_true(l->options.scale == 2);
    const struct lora_pair *v = lora_at(l, 0, PROJ_V);
    for (int64_t o = 0; o < out_v; o++)
        for (int k = 0; k < BIG; k++)
            assert_true(l->set.w[v->b + o * BIG + k] == (k < SMALL ? 2 * values[o * SMALL + k] : 0)); /* 8/2 against 8/4 */
    for (int64_t k = 0; k < BIG * in_v; k++)
        assert_true(l->set.w[v->a + k] == (k < SMALL * in_v ? values[k] : 0));
    lora_free(l);
    mem_free(values);
    mem_free(file);
    mem_free(json);
    drop_folder(folder);
    fixture_close(&f);
}

static void test_config_refused(void **state)
{
    static const struct {
        struct variant v;
        const char *says[2];
    } bad[] = {
        {{"llama/peft", NULL, NULL, DT_F32, "{\"modules_to_save\": [\"lm_head\"]}"}, {"modules_to_save", "merge"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"bias\": \"lora_only\"}"}, {"bias", "lora_only"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"init_lora_weights\": \"pissa_niter_4\"}"}, {"pissa_niter_4", "convert it"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"peft_type\": \"LOHA\"}"}, {"peft_type", "LOHA"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"use_dora\": true}"}, {"magnitude", "DoRA"}},
        {{"llama_dora/peft", NULL, NULL, DT_F32, "{\"use_dora\": false}"}, {"magnitude", "says LoRA"}},
        {{"llama_dora/peft", ".mlp.", ".lm_head.", DT_F32, NULL}, {"lm_head", "merge"}},
        {{"llama/peft", "self_attn.q_proj.lora_A", "self_attn.z_proj.lora_A", DT_F32, NULL}, {"z_proj", "the projections"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"alpha_pattern\": {\"layers.[01].*\": 3}}"}, {"alpha_pattern", "regular expression"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"alpha_pattern\": {\"q_proj\": \"x\"}}"}, {"alpha_pattern", "no number"}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"lora_alpha\": null}"}, {"lora_alpha", ""}},
        {{"llama/peft", NULL, NULL, DT_F32, "{\"use_rslora\": 3}"}, {"use_rslora", ""}}};
    struct fixture f;
    fixture_open(&f, "llama");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gm_error err = {0};
        char *folder = new_folder();
        write_variant(&bad[i].v, folder);
        assert_null(lora_load(folder, &f.model->config, &err));
        for (int k = 0; k < 2; k++)
            if (!strstr(err.text, bad[i].says[k]) || !strstr(err.text, folder))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, bad[i].says[k]);
        drop_folder(folder);
    }
    fixture_close(&f);
}

static void test_tensors_refused(void **state)
{
    struct gm_error err = {0};
    struct fixture f;
    fixture_open(&f, "llama");
    char *folder = new_folder(), *file = path_join(folder, "adapters.safetensors"),
         *config = path_join(folder, "adapter_config.json");
    enum { IN = -1, OUT = -2, HALF = -3 }; /* of q_proj */
    int64_t out_q, in_q;
    proj_shape(&f.model->config, PROJ_Q, &out_q, &in_q);
    const int64_t sizes[] = {0, in_q, out_q, out_q / 2};
    float *values = mem_new((size_t)(2 * (in_q + out_q)), sizeof *values);
    static const struct {
        const char *name[2];
        int64_t shape[2][2];
        const char *config, *says;
    } bad[] = {
        {{"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.q_proj.lora_b"},
         {{IN, 2}, {2, HALF}},
         "{\"lora_parameters\":{\"scale\":1}}",
         "lora_b\" has shape"},
        {{"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.k_proj.lora_b"},
         {{IN, 2}, {2, HALF}},
         "{\"lora_parameters\":{\"scale\":1}}",
         "partner"},
        {{"model.layers.99.self_attn.q_proj.lora_a", "model.layers.99.self_attn.q_proj.lora_b"},
         {{IN, 2}, {2, OUT}},
         "{\"lora_parameters\":{\"scale\":1}}",
         "layers.99"},
        {{"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.q_proj.m"},
         {{IN, 2}, {2, OUT}},
         "{\"lora_parameters\":{\"scale\":1}}",
         "partner"},
        {{"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.q_proj.lora_b"},
         {{IN, 2}, {2, OUT}},
         "{\"lora_parameters\":{}}",
         "scale"},
        {{"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.q_proj.lora_b"},
         {{IN, 2}, {2, OUT}},
         "{\"fine_tune_type\":\"full\",\"lora_parameters\":{\"scale\":1}}",
         "full"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tensor_out out[2];
        for (int k = 0; k < 2; k++)
            out[k] = (struct tensor_out){.name = bad[i].name[k],
                                         .type = DT_F32,
                                         .n_dims = 2,
                                         .data = values};
        for (int k = 0; k < 4; k++) {
            int64_t x = bad[i].shape[k / 2][k % 2];
            out[k / 2].shape[k % 2] = x < 0 ? sizes[-x] : x;
        }
        assert_true(safetensors_write(file, out, 2, NULL, 0, &err) &&
                    file_replace(config, bad[i].config, strlen(bad[i].config), &err));
        err = (struct gm_error){0};
        assert_null(lora_load(folder, &f.model->config, &err));
        if (!strstr(err.text, bad[i].says) || !strstr(err.text, folder))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, bad[i].says);
    }
    assert_null(lora_load("/nowhere", &f.model->config, &err));
    assert_null(lora_load(f.dir, &f.model->config, &err));
    struct lora_options none = {.rank = 4, .scale = 1}, flat = {.scale = 1, .keys = 1};
    assert_null(lora_new(&f.model->config, &none, 1, &err));
    assert_null(lora_new(&f.model->config, &flat, 1, &err));
    mem_free(values);
    mem_free(file);
    mem_free(config);
    drop_folder(folder);
    fixture_close(&f);
}

/* A GGUF that is a model, one of another architecture, and one that does not end. */
static void test_gguf_refused(void **state)
{
    static const struct {
        const char *model, *file, *says;
    } bad[] = {{"llama", "llama_f16.gguf", "--model"}, {"gemma3_text", "llama_lora.gguf", "it is for \"llama\""}};
    for (size_t i = 0; i < 2; i++) {
        struct gm_error err = {0};
        struct fixture f;
        fixture_open(&f, bad[i].model);
        char *path = mem_printf("%s/quantised/gguf/%s", fixtures_dir(), bad[i].file);
        assert_null(lora_load(path, &f.model->config, &err));
        if (!strstr(err.text, bad[i].says))
            fail_msg("\"%s\" lacks \"%s\"", err.text, bad[i].says);
        mem_free(path);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logits_with),    cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_fused),          cmocka_unit_test(test_origin),
                                       cmocka_unit_test(test_spellings),      cmocka_unit_test(test_alpha_pattern),
                                       cmocka_unit_test(test_rank_pattern),   cmocka_unit_test(test_config_refused),
                                       cmocka_unit_test(test_tensors_refused), cmocka_unit_test(test_gguf_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
