/* Base and adapter in one: what is written is what was meant, to the bit, whatever form the base has; a GGUF comes home. */
#include "desk.h"

#include "engine/model/model_items.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_gemma), cmocka_unit_test(fused_gemma_f32), cmocka_unit_test(fused_llama), cmocka_unit_test(fused_llama_f16),
        cmocka_unit_test(fused_llama_f32), cmocka_unit_test(fused_other_kinds), cmocka_unit_test(a_copy_is_a_copy),
        cmocka_unit_test(gguf_llama_comes_home), cmocka_unit_test(gguf_gemma_norms), cmocka_unit_test(quantised_base)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
