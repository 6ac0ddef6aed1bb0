/* Exports: what is written is what was meant, to the bit; it appears whole or not at all; what was damaged on the way is refused. */
#include "desk.h"

#include "engine/model/model_items.h"

/* Two files hold the same tensors, to the bit. */
static void same_tensors(const struct safetensors *a, const struct safetensors *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor_info *x = &a->tensors[i], *y = tensor(b, "%s", x->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->shape, y->shape, sizeof *x->shape * (size_t)x->n_dims);
        assert_int_equal(x->bytes, y->bytes);
        if (memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s differs", x->name);
    }
}

/* ---- adapters ---- */

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

/* ---- fused models ---- */

static void expect_rows(const struct desk *d, const struct tensor_info *written, enum dtype type, int layer, enum proj p)
{
    const struct mat *w = &d->model->layers[layer].w[p];
    float *row = mem_new(2 * (size_t)w->cols, sizeof *row);
    assert_int_equal(written->type, type);
    for (int64_t o = 0; o < w->rows; o++) {
        export_fused_row(d->model, d->lora, layer, p, o, row, row + w->cols);
        for (int64_t i = 0; i < w->cols; i++) {
            if (type == DT_F32)
                assert_true(((const float *)written->data)[o * w->cols + i] == row[i]);
            else
                assert_int_equal(((const uint16_t *)written->data)[o * w->cols + i], type == DT_BF16 ? f32_to_bf16(row[i]) : f32_to_f16(row[i]));
        }
    }
    mem_free(row);
}

static void fused_with(const char *base, const char *name, const char *layout, enum export_type type)
{
    struct desk d;
    struct safetensors expected, written;
    struct gm_error err = {0};
    char *model = mem_printf("models/%s", base), *adapter = mem_printf("%s/%s", name, layout), *folder = mem_printf("%s/adapters/%s", fixtures_dir(), name);
    desk_open(&d, model, adapter);
    d.request.type = type;
    struct export_result r = done(&d);
    assert_true(r.mean_kl <= r.kl_allowed && r.positions >= 4 && r.random_positions == 96);
    file_open(&written, d.out, "model.safetensors");
    file_open(&expected, folder, "expected.safetensors");
    int last = d.model->config.n_layers - 1;
    for (int i = 0; i < expected.n_tensors; i++) {
        const struct tensor_info *t = &expected.tensors[i];
        unsigned keys;
        char layer[24], proj[48];
        snprintf(layer, sizeof layer, "layers.%d.", last);
        const char *at = strstr(t->name, layer), *end = strstr(t->name, ".weight");
        if (!at || !end || strncmp(t->name, "fused_mlx", 9) == 0)
            continue;
        snprintf(proj, sizeof proj, "%.*s", (int)(end - at - (long)strlen(layer)), at + strlen(layer));
        assert_true(module_parse(proj, &keys) && (keys & (keys - 1)) == 0);
        enum proj p = (enum proj)__builtin_ctz(keys);
        const struct tensor_info *w = tensor(&written, "model.layers.%d.%s.weight", last, proj);
        enum dtype want = type == EXPORT_F32 ? DT_F32 : type == EXPORT_F16 ? DT_F16 : DT_BF16;
        expect_rows(&d, w, want, last, p);
        if (strncmp(t->name, "fused_f32.", 10) == 0 && want == DT_F32) {
            near(t->name, w->data, t->data, tensor_elements(t), 2e-6);
        } else if (strncmp(t->name, "fused_bf16.", 11) == 0 && want == DT_BF16) { /* theirs is summed in f64: a tie may fall to the other side */
            int64_t off = 0;
            for (int64_t k = 0; k < tensor_elements(t); k++) {
                int step = abs((int)((const uint16_t *)w->data)[k] - (int)((const uint16_t *)t->data)[k]);
                assert_true(step <= 1);
                off += step;
            }
            assert_true(off <= tensor_elements(t) / 1000);
        }
    }
    struct model *m = model_open(d.out, &err);
    if (!m)
        fail_msg("%s", err.text);
    const struct tensor_info *ids = tensor(&expected, "ids.1");
    const struct tensor_info *logits = tensor(&expected, type == EXPORT_AS_BASE ? "logits_fused_bf16.1" : "logits.1");
    float *have = logits_of(m, NULL, &d.tools.compute, ids->data, ids->shape[0], NULL, NULL);
    if (type != EXPORT_F16)
        near("logits of the fused model", have, logits->data, tensor_elements(logits), type == EXPORT_AS_BASE ? 5e-3 : 2e-4);
    mem_free(have);
    model_free(m);
    safetensors_close(&written);
    safetensors_close(&expected);
    mem_free(model);
    mem_free(adapter);
    mem_free(folder);
    desk_close(&d);
}

static void fused(const char *name, enum export_type type) { fused_with(name, name, "mlx", type); }

static void fused_gemma(void **state) { fused("gemma3_text", EXPORT_AS_BASE); }
static void fused_gemma_f32(void **state) { fused("gemma3_text", EXPORT_F32); }
static void fused_llama(void **state) { fused("llama", EXPORT_AS_BASE); }
static void fused_llama_f16(void **state) { fused("llama", EXPORT_F16); }
static void fused_llama_f32(void **state) { fused("llama", EXPORT_F32); }

static void fused_other_kinds(void **state)
{
    fused_with("llama", "llama_dora", "peft", EXPORT_F32);
    fused_with("llama", "llama_dora", "mlx", EXPORT_F32);
    fused_with("llama", "llama_rslora", "peft", EXPORT_F32);
    fused_with("llama", "llama_scale20", "mlx", EXPORT_F32);
    fused_with("gemma3_text", "gemma3_text_last2", "peft", EXPORT_F32);
    fused_with("llama_f32", "llama_f32_mlx_lm_dora", "second", EXPORT_F32);
}

/* Without an adapter a Hugging Face folder comes out as it went in, in its own type: weights, norms, files beside them. */
static void a_copy_is_a_copy(void **state)
{
    static const char *const names[] = {"gemma3_text", "smollm2", "llama_f32", "llama_f16"};
    for (int k = 0; k < 4; k++) {
        struct desk d;
        struct safetensors ours, theirs;
        char *model = mem_printf("models/%s", names[k]), *folder = mem_printf("%s/models/%s", fixtures_dir(), names[k]);
        desk_open(&d, model, NULL);
        struct export_result r = done(&d);
        assert_true(r.max_logit_difference == 0);
        file_open(&ours, d.out, "model.safetensors");
        file_open(&theirs, folder, "model.safetensors");
        same_tensors(&ours, &theirs);
        safetensors_close(&ours);
        safetensors_close(&theirs);
        static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"};
        for (int i = 0; i < 4; i++) {
            struct str a = {0}, b = {0};
            struct gm_error err = {0};
            char *x = path_join(d.out, files[i]), *y = path_join(folder, files[i]);
            assert_true(file_read_all(x, 1 << 22, &a, &err) && file_read_all(y, 1 << 22, &b, &err));
            assert_int_equal(a.len, b.len);
            assert_memory_equal(a.data, b.data, a.len);
            str_free(&a);
            str_free(&b);
            mem_free(x);
            mem_free(y);
        }
        mem_free(model);
        mem_free(folder);
        desk_close(&d);
    }
}

/* From a GGUF: q and k in Hugging Face's order again, the tokenizer rebuilt. */
static void gguf_llama_comes_home(void **state)
{
    struct desk d;
    struct safetensors ours, theirs;
    struct gm_error err = {0};
    desk_open(&d, "quantised/gguf/llama_f32_f32.gguf", NULL);
    done(&d);
    file_open(&ours, d.out, "model.safetensors");
    char *origin = mem_printf("%s/models/llama_f32", fixtures_dir());
    file_open(&theirs, origin, "model.safetensors");
    same_tensors(&ours, &theirs);
    safetensors_close(&ours);
    safetensors_close(&theirs);
    struct model *a = model_open(d.out, &err), *b = model_open(origin, &err);
    mem_free(origin);
    if (!a || !b)
        fail_msg("%s", err.text);
    const int32_t ids[] = {1, 7, 60, 33, 200, 5};
    float *x = logits_of(a, NULL, &d.tools.compute, ids, 6, NULL, NULL), *y = logits_of(b, NULL, &d.tools.compute, ids, 6, NULL, NULL);
    assert_memory_equal(x, y, 6 * (size_t)a->config.vocab_size * sizeof *x);
    struct tokenizer *p = tokenizer_open(a->source, &err), *q = tokenizer_open(b->source, &err);
    assert_true(p && q);
    static const char text[] = "The old pond; a frog -- 12 splashes?";
    struct id_list i = {0}, j = {0};
    assert_true(tokenizer_encode(p, text, sizeof text - 1, TOKENIZE_ADD_SPECIAL, &i, &err) && tokenizer_encode(q, text, sizeof text - 1, TOKENIZE_ADD_SPECIAL, &j, &err));
    assert_int_equal(i.n, j.n);
    assert_memory_equal(i.ids, j.ids, i.n * sizeof *i.ids);
    id_list_free(&i);
    id_list_free(&j);
    tokenizer_free(p);
    tokenizer_free(q);
    mem_free(x);
    mem_free(y);
    model_free(a);
    model_free(b);
    desk_close(&d);
}

/* A GGUF of Gemma stores 1 + w in its norms; the folder has w again, and the logits are those of the fixture. */
static void gguf_gemma_norms(void **state)
{
    struct desk d;
    struct safetensors written, expected;
    struct gm_error err = {0};
    if (!fixture_there("quantised/gguf/gemma3_mm_f16.gguf"))
        return;
    desk_open(&d, "quantised/gguf/gemma3_mm_f16.gguf", NULL);
    done(&d);
    file_open(&written, d.out, "model.safetensors");
    const struct tensor_info *norm = tensor(&written, "model.norm.weight");
    struct mat m;
    float *row = mem_new((size_t)norm->shape[0], sizeof *row);
    assert_true(tensor_mat_expect(norm, 0, norm->shape[0], &m, &err));
    mat_row_to_f32(&m, 0, row);
    for (int64_t i = 0; i < norm->shape[0]; i++)
        assert_true(fabsf(row[i] + 1 - d.model->norm_final[i]) < 4e-3f);
    mem_free(row);
    char *from = mem_printf("%s/quantised/gguf", fixtures_dir());
    file_open(&expected, from, "gemma3_mm_f16.expected.safetensors");
    mem_free(from);
    const struct tensor_info *ids = tensor(&expected, "ids.1"), *want = tensor(&expected, "logits.1");
    struct model *back = model_open(d.out, &err);
    if (!back)
        fail_msg("%s", err.text);
    float *have = logits_of(back, NULL, &d.tools.compute, ids->data, ids->shape[0], NULL, NULL);
    near("logits", have, want->data, tensor_elements(want), 0.1); /* norms rounded to f16 or bf16 once more */
    mem_free(have);
    model_free(back);
    safetensors_close(&written);
    safetensors_close(&expected);
    desk_close(&d);
}

/* A quantised base comes out in bf16 unless told otherwise, with a proof of what that costs. */
static void quantised_base(void **state)
{
    struct desk d;
    struct safetensors written;
    desk_open(&d, "quantised/gguf/smollm2_q8_0.gguf", NULL);
    struct export_result r = done(&d);
    assert_true(r.mean_kl > 0 && r.mean_kl < 1e-2);
    file_open(&written, d.out, "model.safetensors");
    assert_int_equal(tensor(&written, "model.layers.0.self_attn.q_proj.weight")->type, DT_BF16);
    safetensors_close(&written);
    json_t *proof = json_of(d.out, "proof.json");
    assert_true(fabs(json_number_value(json_object_get(proof, "mean_kl")) - r.mean_kl) < 1e-12);
    json_decref(proof);
    d.request.type = EXPORT_F32;
    d.request.force = true;
    r = done(&d);
    assert_true(r.mean_kl < 1e-9);
    desk_close(&d);
}

/* ---- whole or not at all ---- */

static void the_target_exists(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_result result;
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.to = EXPORT_PEFT;
    assert_true(dir_make(d.out, &err));
    char *mine = path_join(d.out, "mine"), *deep = path_join(d.folder, "deep");
    assert_true(file_replace(mine, "x", 1, &err));
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_non_null(strstr(err.text, "it exists"));
    assert_true(file_exists(mine));
    assert_int_equal(count_names(d.out), 1);
    d.request.force = true; /* what is not ours is not removed, whatever is told */
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_non_null(strstr(err.text, "no export"));
    assert_true(file_exists(mine));
    char *proof = path_join(d.out, "proof.json");
    assert_true(file_replace(proof, "{}", 2, &err));
    mem_free(proof);
    done(&d);
    assert_false(file_exists(mine));
    assert_int_equal(count_names(d.out), 4);
    assert_int_equal(count_names(deep), 1); /* nothing beside it */
    d.request.out = mine; /* a file in the way of a folder */
    assert_true(file_replace(mine, "x", 1, &err));
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_non_null(strstr(err.text, "no folder"));
    assert_true(file_exists(mine));
    d.request.out = "/"; /* no name at all */
    d.request.force = false;
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    d.request.out = "";
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    mem_free(mine);
    mem_free(deep);
    desk_close(&d);
}

static void a_slash_at_the_end(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.to = EXPORT_MLX;
    char *out = mem_printf("%s//", d.out);
    d.request.out = out;
    done(&d);
    assert_int_equal(count_names(d.out), 4);
    mem_free(out);
    desk_close(&d);
}

struct saboteur {
    atomic_bool cancel;
    const char *stage; /* at the first report that begins so: */
    const char *file;  /* damages this file of the folder that is being made; NULL: cancels */
    long at;           /* which byte is flipped, from the end when negative; 0: the file is cut in half */
    const char *folder;
    int calls;
    double last;
};

static void sabotage(void *arg, double share, const char *what)
{
    struct saboteur *s = arg;
    assert_true(share >= s->last && share <= 1); /* never backwards */
    s->last = share;
    if (strncmp(what, s->stage, strlen(s->stage)) != 0 || s->calls++ > 0)
        return;
    if (!s->file) {
        atomic_store(&s->cancel, true);
        return;
    }
    char **names, *made = NULL;
    size_t n;
    assert_true(dir_list(s->folder, &names, &n, NULL));
    for (size_t i = 0; i < n; i++) {
        if (strstr(names[i], "making"))
            made = mem_printf("%s/%s/%s", s->folder, names[i], s->file);
        mem_free(names[i]);
    }
    mem_free(names);
    assert_non_null(made);
    FILE *f = fopen(made, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = s->at < 0 ? size + s->at : s->at;
    if (s->at == 0) {
        assert_int_equal(ftruncate(fileno(f), size / 2), 0);
    } else {
        fseek(f, at, SEEK_SET);
        int c = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(c ^ 0x10, f);
    }
    fclose(f);
    mem_free(made);
}

static void with(struct desk *d, struct saboteur *s)
{
    static char deep[128];
    snprintf(deep, sizeof deep, "%s/deep", d->folder);
    s->folder = deep;
    d->request.progress = sabotage;
    d->request.arg = s;
    d->request.cancel = &s->cancel;
}

static void cancelled(void **state)
{
    struct desk d;
    desk_open(&d, "models/gemma3_text", "gemma3_text/mlx");
    static const char *const stages[] = {"model.", "reading back", "comparing"};
    for (int i = 0; i < 3; i++) {
        struct saboteur s = {.stage = stages[i]};
        with(&d, &s);
        refused(&d, GM_E_CANCELLED, "cancelled");
        assert_true(s.calls > 0);
    }
    d.request.to = EXPORT_PEFT;
    struct saboteur s = {.stage = "reading back"};
    with(&d, &s);
    refused(&d, GM_E_CANCELLED, "cancelled");
    desk_close(&d);
}

/* One bit anywhere between writing and reading back: the weights, the tokenizer, the adapter. A cut file, too. */
static void damage_is_refused(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", "llama/mlx");
    static const long places[] = {-1, -70000, 0};
    for (int i = 0; i < 3; i++) {
        struct saboteur s = {.stage = "reading back", .file = "model.safetensors", .at = places[i]};
        with(&d, &s);
        refused(&d, places[i] ? GM_E_CHECK : GM_E_INPUT, places[i] ? "not what was written" : "model.safetensors");
        assert_int_equal(s.calls, 1);
    }
    struct saboteur tokenizer = {.stage = "reading back", .file = "tokenizer.json"};
    with(&d, &tokenizer);
    refused(&d, GM_E_INPUT, "tokenizer.json");
    static const char *const files[] = {"adapters.safetensors", "adapter_model.safetensors"};
    for (int to = EXPORT_MLX; to <= EXPORT_PEFT; to++) {
        struct saboteur s = {.stage = "reading back", .file = files[to], .at = -5};
        d.request.to = (enum export_to)to;
        with(&d, &s);
        refused(&d, GM_E_CHECK, "another one");
    }
    desk_close(&d);
}

static void no_adapter(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", NULL);
    d.request.to = EXPORT_MLX;
    refused(&d, GM_E_USAGE, "no adapter");
    desk_close(&d);
}

static void names(void **state)
{
    enum export_to to;
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        assert_true(export_to_parse(export_target((enum export_to)i)->name, &to) && to == (enum export_to)i);
    assert_false(export_to_parse("gguf2", &to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_of_gemma), cmocka_unit_test(peft_of_llama), cmocka_unit_test(mlx_of_gemma), cmocka_unit_test(mlx_of_llama),
        cmocka_unit_test(rank_stabilised), cmocka_unit_test(any_scale), cmocka_unit_test(names_of_modules), cmocka_unit_test(fused_gemma), cmocka_unit_test(fused_gemma_f32),
        cmocka_unit_test(fused_llama), cmocka_unit_test(fused_llama_f16), cmocka_unit_test(fused_llama_f32), cmocka_unit_test(fused_other_kinds), cmocka_unit_test(dora_both_ways), cmocka_unit_test(a_copy_is_a_copy),
        cmocka_unit_test(gguf_llama_comes_home), cmocka_unit_test(gguf_gemma_norms), cmocka_unit_test(quantised_base),
        cmocka_unit_test(the_target_exists), cmocka_unit_test(a_slash_at_the_end), cmocka_unit_test(cancelled), cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(no_adapter), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
