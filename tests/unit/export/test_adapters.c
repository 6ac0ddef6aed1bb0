/* Adapters as the libraries write them, from each layout into the other: the same tensors, scales, names of modules. */
#include "desk.h"

static void adapter_as_the_library_writes_it(const char *model, const char *name, enum export_to to, const char *layout, const char *file)
{
    struct desk d;
    struct safetensors ours, theirs;
    struct gm_error err = {0};
    char *source = mem_printf("%s/%s", name, to == EXPORT_PEFT ? "mlx" : "peft"); /* from the other layout */
    char *library = mem_printf("%s/adapters/%s/%s", fixtures_dir(), name, layout);
    desk_open(&d, model, source);
    d.request.to = to;
    struct export_result r = done(&d);
    assert_true(r.mean_kl < 1e-9);
    assert_true(r.greedy_agreement == 1);
    assert_int_equal(r.files, 4);
    file_open(&ours, d.out, file);
    file_open(&theirs, library, file);
    same_tensors(&ours, &theirs);
    safetensors_close(&ours);
    safetensors_close(&theirs);
    struct lora *back = lora_load(d.out, &d.model->config, &err);
    assert_non_null(back);
    assert_true(back->options.scale == d.lora->options.scale);
    assert_int_equal(back->options.keys, d.lora->options.keys);
    assert_memory_equal(back->set.w, d.lora->set.w, d.lora->set.count * sizeof(float));
    lora_free(back);
    json_t *ours_config = json_of(d.out, "adapter_config.json"), *theirs_config = json_of(library, "adapter_config.json");
    if (to == EXPORT_PEFT) {
        static const char *const keys[] = {"r", "lora_alpha", "use_rslora", "use_dora", "bias", "peft_type", "task_type", "fan_in_fan_out"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!json_equal(json_object_get(ours_config, keys[i]), json_object_get(theirs_config, keys[i])))
                fail_msg("adapter_config.json: %s differs", keys[i]);
    } else {
        const json_t *a = json_object_get(ours_config, "lora_parameters"), *b = json_object_get(theirs_config, "lora_parameters");
        assert_true((float)json_number_value(json_object_get(a, "scale")) == (float)json_number_value(json_object_get(b, "scale")));
        assert_true(json_equal(json_object_get(a, "rank"), json_object_get(b, "rank")));
    }
    json_decref(ours_config);
    json_decref(theirs_config);
    mem_free(source);
    mem_free(library);
    desk_close(&d);
}

static void peft_of_gemma(void **state)
{
    adapter_as_the_library_writes_it("models/gemma3_text", "gemma3_text", EXPORT_PEFT, "peft", "adapter_model.safetensors");
}
static void peft_of_llama(void **state)
{
    adapter_as_the_library_writes_it("models/llama", "llama", EXPORT_PEFT, "peft", "adapter_model.safetensors");
}
static void mlx_of_gemma(void **state)
{
    adapter_as_the_library_writes_it("models/gemma3_text", "gemma3_text", EXPORT_MLX, "mlx", "adapters.safetensors");
}
static void mlx_of_llama(void **state)
{
    adapter_as_the_library_writes_it("models/llama", "llama", EXPORT_MLX, "mlx", "adapters.safetensors");
}

/* alpha / sqrt(rank): PEFT is told so, MLX gets the factor; either way the logits are those of the library. */
static void rank_stabilised(void **state)
{
    struct desk d;
    struct safetensors expected;
    struct gm_error err = {0};
    desk_open(&d, "models/llama", "llama_rslora/peft");
    char *rslora = mem_printf("%s/adapters/llama_rslora", fixtures_dir());
    file_open(&expected, rslora, "expected.safetensors");
    json_t *told = json_of(rslora, "peft/adapter_config.json");
    double alpha = json_number_value(json_object_get(told, "lora_alpha")), scale = alpha / sqrt(json_number_value(json_object_get(told, "r")));
    json_decref(told);
    mem_free(rslora);
    const struct tensor_info *ids = tensor(&expected, "ids.1"), *want = tensor(&expected, "logits.1");
    for (int to = EXPORT_MLX; to <= EXPORT_PEFT; to++) {
        d.request.to = (enum export_to)to;
        d.request.force = to == EXPORT_PEFT;
        done(&d);
        json_t *config = json_of(d.out, "adapter_config.json");
        if (to == EXPORT_PEFT) {
            assert_true(json_is_true(json_object_get(config, "use_rslora")));
            assert_true(json_number_value(json_object_get(config, "lora_alpha")) == alpha);
        } else {
            assert_true(fabs(json_number_value(json_object_get(json_object_get(config, "lora_parameters"), "scale")) - scale) < 1e-6);
        }
        json_decref(config);
        struct lora *back = lora_load(d.out, &d.model->config, &err);
        float *logits = logits_of(d.model, back, &d.tools.compute, ids->data, ids->shape[0], NULL, NULL);
        near("logits with the adapter", logits, want->data, tensor_elements(want), 5e-4);
        mem_free(logits);
        lora_free(back);
    }
    safetensors_close(&expected);
    desk_close(&d);
}

/* A scale that no whole alpha gives comes back to the bit. */
static void any_scale(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.to = EXPORT_PEFT;
    for (int rslora = 0; rslora < 2; rslora++) {
        d.lora->options.scale = 0.7431f;
        d.lora->options.alpha = 11;
        d.lora->options.rslora = rslora;
        d.request.force = true;
        done(&d);
        struct lora *back = lora_load(d.out, &d.model->config, &err);
        assert_true(back->options.scale == 0.7431f);
        lora_free(back);
    }
    desk_close(&d);
}

/* DoRA, from each layout into the other, as the libraries write it; where it comes from goes along. */
static void dora_both_ways(void **state)
{
    adapter_as_the_library_writes_it("models/llama", "llama_dora", EXPORT_PEFT, "peft", "adapter_model.safetensors");
    adapter_as_the_library_writes_it("models/llama", "llama_dora", EXPORT_MLX, "mlx", "adapters.safetensors");
    static const enum export_to to[] = {EXPORT_MLX, EXPORT_PEFT, EXPORT_GGUF_LORA};
    for (int i = 0; i < 3; i++) {
        struct desk d;
        struct gm_error err = {0};
        desk_open(&d, "models/llama", "llama/mlx");
        snprintf(d.lora->origin.base, sizeof d.lora->origin.base, "models/llama");
        snprintf(d.lora->origin.run, sizeof d.lora->origin.run, "autumn");
        snprintf(d.lora->origin.step, sizeof d.lora->origin.step, "600");
        memset(d.lora->origin.data_sha256, 'd', 64);
        d.request.to = to[i];
        done(&d);
        struct lora *back = lora_load(d.out, &d.model->config, &err);
        if (!back)
            fail_msg("%s", err.text);
        assert_memory_equal(&back->origin, &d.lora->origin, sizeof back->origin);
        lora_free(back);
        desk_close(&d);
    }
}

/* An adapter made here, on all modules of the last two layers, with a B that does something. */
static struct lora *adapter_on(const struct model *m, const struct tools *tools)
{
    struct gm_error err = {0};
    struct lora_options o = {.rank = 4, .alpha = 8, .scale = 2, .keys = (1u << PROJ_COUNT) - 1, .num_layers = 2};
    struct lora *l = lora_new(&m->config, &o, 7, &err);
    if (!l)
        fail_msg("%s", err.text);
    for (int i = 1; i < l->set.n_params; i += 2)
        for (int64_t k = 0; k < l->set.params[i].rows * l->set.params[i].cols; k++)
            l->set.w[l->set.params[i].offset + (size_t)k] = 0.01f * (float)(k % 7 - 3);
    lora_bind(l, m, &tools->compute);
    return l;
}

/* Names where transformers, mlx-lm and llama.cpp have the modules: beside a vision tower, and where projections are fused. */
static void names_of_modules(void **state)
{
    static const struct { const char *model; enum export_to to; const char *file, *before, *behind, *pattern; } rows[] = {
        {"models/gemma3_mm", EXPORT_PEFT, "adapter_model.safetensors", "base_model.model.model.language_model.layers.", ".self_attn.q_proj.lora_A.weight", ".*language_model"},
        {"models/gemma3_mm", EXPORT_MLX, "adapters.safetensors", "language_model.model.layers.", ".mlp.up_proj.lora_b", NULL},
        {"models/phi3", EXPORT_PEFT, "adapter_model.safetensors", "base_model.model.model.layers.", ".self_attn.qkv_proj.lora_B.weight", NULL},
        {"models/phi3", EXPORT_MLX, "adapters.safetensors", "model.layers.", ".mlp.gate_up_proj.lora_a", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct desk d;
        struct safetensors s;
        char name[128];
        desk_open(&d, rows[i].model, NULL);
        d.request.lora = d.lora = adapter_on(d.model, &d.tools);
        d.request.to = rows[i].to;
        struct export_result r = done(&d);
        assert_true(r.mean_kl < 1e-9);
        file_open(&s, d.out, rows[i].file);
        snprintf(name, sizeof name, "%s%d%s", rows[i].before, d.model->config.n_layers - 1, rows[i].behind);
        tensor(&s, "%s", name);
        if (rows[i].to == EXPORT_PEFT) {
            json_t *config = json_of(d.out, "adapter_config.json");
            const json_t *targets = json_object_get(config, "target_modules"), *layers = json_object_get(config, "layers_to_transform");
            assert_true(rows[i].pattern ? json_is_string(targets) && json_is_null(layers) : json_is_array(targets));
            if (rows[i].pattern) {
                snprintf(name, sizeof name, "layers\\.(%d|%d)\\.", d.model->config.n_layers - 2, d.model->config.n_layers - 1);
                assert_non_null(strstr(json_string_value(targets), rows[i].pattern));
                assert_non_null(strstr(json_string_value(targets), name));
            }
            json_decref(config);
        }
        safetensors_close(&s);
        desk_close(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_of_gemma), cmocka_unit_test(peft_of_llama), cmocka_unit_test(mlx_of_gemma), cmocka_unit_test(mlx_of_llama),
        cmocka_unit_test(rank_stabilised), cmocka_unit_test(any_scale), cmocka_unit_test(dora_both_ways), cmocka_unit_test(names_of_modules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
