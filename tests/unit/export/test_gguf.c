/* GGUF files: the tensors that gguf-py's converter writes, byte for byte; every family and type back through the reader; what falls back is named. */
#include "desk.h"

#include "engine/export/plan.h"
#include "engine/format/gguf_write.h"
#include "engine/kernel/quantise.h"
#include "engine/model/model_items.h"

static void open_gguf(struct gguf *g, const char *path)
{
    struct gm_error err = {0};
    if (!gguf_open(g, path, &err))
        fail_msg("%s", err.text);
}

static const struct tensor_info *gguf_tensor(const struct gguf *g, const char *name)
{
    const struct tensor_info *t = gguf_find(g, name);
    if (!t)
        fail_msg("%s has no %s", g->path, name);
    return t;
}

static void same_gguf_tensors(const struct gguf *a, const struct gguf *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor_info *x = &a->tensors[i], *y = gguf_tensor(b, x->name);
        if (x->type != y->type || x->n_dims != y->n_dims || x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s: %s differs", b->path, x->name);
    }
}

static void request_gguf(struct desk *d, enum export_type type)
{
    mem_free(d->out);
    d->out = path_join(d->folder, "deep/model.gguf");
    d->request.to = EXPORT_GGUF;
    d->request.type = type;
    d->request.out = d->out;
}

/* The fixtures were converted by other programs from the same models. */
static void as_the_converter_writes_it(void **state)
{
    static const struct { const char *model, *file; enum export_type type; } files[] = {
        {"gemma3_mm", "gemma3_mm_f16", EXPORT_F16}, {"gemma3_mm", "gemma3_mm_q8_0", EXPORT_Q8_0}, {"llama", "llama_f16", EXPORT_F16},
        {"llama", "llama_q8_0", EXPORT_Q8_0},       {"llama_f32", "llama_f32_f32", EXPORT_F32},   {"smollm2", "smollm2_q8_0", EXPORT_Q8_0}};
    int done_files = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *inner = mem_printf("quantised/gguf/%s.gguf", files[i].file), *model = mem_printf("models/%s", files[i].model);
        char *path = path_join(fixtures_dir(), inner);
        if (fixture_there(inner)) {
            struct desk d;
            struct gguf ours, theirs;
            desk_open(&d, model, NULL);
            request_gguf(&d, files[i].type);
            done(&d);
            open_gguf(&ours, d.out);
            open_gguf(&theirs, path);
            same_gguf_tensors(&ours, &theirs);
            gguf_close(&ours);
            gguf_close(&theirs);
            desk_close(&d);
            done_files++;
        }
        mem_free(inner);
        mem_free(model);
        mem_free(path);
    }
    assert_true(done_files >= 4);
}

static void adapters_as_the_converter_writes_them(void **state)
{
    static const char *const names[] = {"gemma3_text", "llama"};
    for (int i = 0; i < 2; i++) {
        struct desk d;
        struct gguf ours, theirs;
        char *model = mem_printf("models/%s", names[i]), *adapter = mem_printf("%s/peft", names[i]);
        char *path = mem_printf("%s/quantised/gguf/%s_lora.gguf", fixtures_dir(), names[i]);
        desk_open(&d, model, adapter);
        request_gguf(&d, EXPORT_AS_BASE);
        d.request.to = EXPORT_GGUF_LORA;
        struct export_result r = done(&d);
        assert_true(r.mean_kl < 1e-9 && r.greedy_agreement == 1);
        open_gguf(&ours, d.out);
        open_gguf(&theirs, path);
        same_gguf_tensors(&ours, &theirs);
        static const char *const keys[] = {"general.architecture", "general.type", "adapter.type"};
        for (int k = 0; k < 3; k++) {
            struct gguf_text x, y;
            assert_true(gguf_string(&ours, keys[k], REQUIRED, &x, NULL) && gguf_string(&theirs, keys[k], REQUIRED, &y, NULL));
            assert_true(x.len == y.len && memcmp(x.data, y.data, x.len) == 0);
        }
        double a = 0, b = 0;
        assert_true(gguf_f64(&ours, "adapter.lora.alpha", REQUIRED, 0, 1e6, &a, NULL) && gguf_f64(&theirs, "adapter.lora.alpha", REQUIRED, 0, 1e6, &b, NULL));
        assert_true(a == b);
        gguf_close(&ours);
        gguf_close(&theirs);
        mem_free(model);
        mem_free(adapter);
        mem_free(path);
        desk_close(&d);
    }
}

/* ---- every family and type ---- */

/* What the file means is the fused row, brought to the type of its tensor: read by the model room, which turns rows of q and k itself. */
static void expect_projection(const struct desk *d, const struct model *back, int layer, enum proj p)
{
    const struct mat *w = &d->model->layers[layer].w[p], *have = &back->layers[layer].w[p];
    float *row = mem_new(4 * (size_t)w->cols, sizeof *row), *want = row + 2 * w->cols, *got = row + 3 * w->cols;
    unsigned char *bytes = mem_new((size_t)w->cols * 4, 1);
    const bool adapted = d->lora && lora_at(d->lora, layer, p);
    for (int64_t o = 0; o < w->rows; o++) {
        export_fused_row(d->model, d->lora, layer, p, o, row, row + w->cols);
        quantise_row(have->type, row, bytes, (size_t)w->cols);
        dtype_to_f32(have->type, bytes, want, (size_t)w->cols);
        if (!adapted && w->type == have->type)
            mat_row_to_f32(w, o, want); /* copied as it is */
        mat_row_to_f32(have, o, got);
        if (memcmp(want, got, (size_t)w->cols * sizeof *got) != 0)
            fail_msg("layer %d, %s, row %d differs", layer, proj_name(p), (int)o);
    }
    mem_free(row);
    mem_free(bytes);
}

static void check_back(const struct desk *d, const char *name, enum export_type type, const struct safetensors *expected)
{
    struct gm_error err = {0};
    struct model *back = model_open(d->out, &err);
    if (!back)
        fail_msg("%s: %s", name, err.text);
    for (int layer = 0; layer < back->config.n_layers; layer++)
        for (int p = 0; p < PROJ_COUNT; p++)
            expect_projection(d, back, layer, (enum proj)p);
    if (expected && type == EXPORT_F32) { /* the numbers of another program */
        for (int k = 0; k < 3; k++) {
            const struct tensor_info *ids = tensor(expected, "ids.%d", k), *want = tensor(expected, "logits.%d", k);
            float *have = logits_of(back, NULL, &d->tools.compute, ids->data, ids->n_dims == 2 ? ids->shape[1] : ids->shape[0], NULL, NULL);
            int64_t skip = (ids->shape[0] - want->shape[0]) * want->shape[1];
            near(name, have + skip, want->data, tensor_elements(want), 5e-4);
            mem_free(have);
        }
    }
    model_free(back);
}

static void every_model_and_type(void **state)
{
    static const enum export_type types[] = {EXPORT_F32, EXPORT_F16, EXPORT_BF16, EXPORT_Q8_0, EXPORT_Q4_0, EXPORT_Q4_K_M};
    for (int m = 0; m < N_MODELS; m++) {
        char *inner = mem_printf("models/%s", MODELS[m]), *file = mem_printf("%s/%s/expected.safetensors", fixtures_dir(), inner);
        struct safetensors expected;
        struct gm_error err = {0};
        if (!safetensors_open(&expected, file, &err))
            fail_msg("%s", err.text);
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            struct desk d;
            desk_open(&d, inner, NULL);
            request_gguf(&d, types[t]);
            done(&d);
            check_back(&d, MODELS[m], types[t], &expected);
            desk_close(&d);
        }
        safetensors_close(&expected);
        mem_free(inner);
        mem_free(file);
    }
}

/* With an adapter, and from every kind of base. */
static void adapters_are_folded_in(void **state)
{
    static const struct { const char *model, *tokenizer, *adapter; } pairs[] = {
        {"models/gemma3_text", "models/gemma3_text", "gemma3_text/mlx"},
        {"models/llama", "models/llama", "llama/peft"},
        {"models/llama", "models/llama", "llama_dora/peft"},
        {"quantised/gguf/llama_q8_0.gguf", "quantised/gguf/llama_q8_0.gguf", "llama/mlx"},
        {"quantised/gguf/llama_f16.gguf", "quantised/gguf/llama_f16.gguf", "llama_rslora/peft"},
        {"quantised/llama_4bit_g64", "models/llama", "llama/mlx"},
        {"quantised/llama_custom", "models/llama", "llama/mlx"},
        {"quantised/gemma3_text_4bit_g64", "models/gemma3_text", "gemma3_text/peft"},
        {"quantised/gemma3_text_mxfp4", "models/gemma3_text", "gemma3_text/peft"}};
    static const enum export_type types[] = {EXPORT_F32, EXPORT_Q8_0, EXPORT_Q4_K_M};
    int folded = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types && fixture_there(pairs[i].model); t++) {
            struct desk d;
            desk_open_with(&d, pairs[i].model, pairs[i].tokenizer, pairs[i].adapter);
            request_gguf(&d, types[t]);
            if (tokenizer_vocab_size(d.tokenizer) <= d.model->config.vocab_size) { /* the quantised models of the second set have fewer rows */
                done(&d);
                check_back(&d, pairs[i].model, types[t], NULL);
                folded++;
            }
            desk_close(&d);
        }
    assert_true(folded >= 12);
}

/* The bar for real models: 8 bits cost less than a thousandth of a nat. GEMMAIKU_SMOLLM2: a GGUF of that model. */
static void eight_bits_of_trained_models(void **state)
{
    const char *models[] = {"nano", getenv("GEMMAIKU_SMOLLM2")};
    for (int i = 0; i < 2 && models[i]; i++) {
        struct desk d;
        desk_open(&d, models[i], NULL);
        request_gguf(&d, EXPORT_Q8_0);
        struct export_result r = done(&d);
        if (!(r.mean_kl <= 1e-3 && r.greedy_agreement > 0.95))
            fail_msg("%s: mean KL %g, same best token %g", models[i], r.mean_kl, r.greedy_agreement);
        desk_close(&d);
    }
}

/* ---- the rules of the mixes ---- */

static void mixes(void **state)
{
    struct { const char *name; bool tied; enum dtype want; } rows[] = {
        {"output.weight", false, DT_Q6_K},         {"token_embd.weight", true, DT_Q6_K},       {"token_embd.weight", false, DT_Q4_K},
        {"blk.0.attn_v.weight", true, DT_Q6_K},    {"blk.3.ffn_down.weight", true, DT_Q6_K},   {"blk.4.attn_v.weight", true, DT_Q4_K},
        {"blk.5.attn_v.weight", true, DT_Q4_K},    {"blk.6.attn_v.weight", true, DT_Q6_K},     {"blk.27.ffn_down.weight", true, DT_Q6_K},
        {"blk.28.attn_v.weight", true, DT_Q6_K},   {"blk.0.attn_k.weight", true, DT_Q4_K},     {"blk.0.attn_output.weight", true, DT_Q4_K},
        {"blk.31.ffn_up.weight", true, DT_Q4_K},   {"blk.7.attn_qkv.weight", true, DT_Q5_K}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (storage_wanted(EXPORT_Q4_K_M, rows[i].name, 32, rows[i].tied) != rows[i].want)
            fail_msg("%s is %s", rows[i].name, dtype_name(storage_wanted(EXPORT_Q4_K_M, rows[i].name, 32, rows[i].tied)));
    assert_int_equal(storage_wanted(EXPORT_Q4_0, "output.weight", 32, false), DT_Q6_K);
    assert_int_equal(storage_wanted(EXPORT_Q4_0, "blk.0.attn_v.weight", 32, false), DT_Q4_0);
    assert_int_equal(storage_wanted(EXPORT_Q8_0, "output.weight", 32, false), DT_Q8_0);
    assert_int_equal(storage_that_fits(DT_Q4_K, 512), DT_Q4_K);
    assert_int_equal(storage_that_fits(DT_Q4_K, 576), DT_Q5_0);
    assert_int_equal(storage_that_fits(DT_Q5_K, 576), DT_Q5_1);
    assert_int_equal(storage_that_fits(DT_Q6_K, 576), DT_Q8_0);
    assert_int_equal(storage_that_fits(DT_Q4_0, 576), DT_Q4_0);
    assert_int_equal(storage_that_fits(DT_Q8_0, 72), DT_F16);
    assert_int_equal(storage_that_fits(DT_Q4_K, 80), DT_F16);
    assert_int_equal(storage_that_fits(DT_BF16, 7), DT_BF16);
}

/* ---- names ---- */

static void expect_name(struct desk *d, const char *base, const char *want, bool phi)
{
    struct gguf g;
    struct gguf_text name;
    struct gm_error err = {0};
    d->request.model_name = base;
    d->request.force = true;
    done(d);
    open_gguf(&g, d->out);
    assert_true(gguf_string(&g, "general.name", REQUIRED, &name, &err));
    char *text = mem_copy_n(name.data, name.len);
    if (want)
        assert_string_equal(text, want);
    assert_true((strcasestr(text, "phi-3") || strcasestr(text, "phi3")) == phi);
    mem_free(text);
    gguf_close(&g);
}

/* llama.cpp strips white space behind special tokens by the sight of "phi-3" in the name: it is there where the tokenizer strips, and only there. */
static void names_of_files(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", NULL);
    request_gguf(&d, EXPORT_AS_BASE);
    expect_name(&d, "org/tiny-llama", "tiny-llama", false);
    expect_name(&d, "some/folder/tiny.Q4_1.gguf", "tiny.Q4_1", false);
    expect_name(&d, "distilled-from-Phi-3-mini", NULL, false);
    expect_name(&d, "myPHI3", NULL, false);
    desk_close(&d);
    desk_open(&d, "models/phi3", NULL);
    request_gguf(&d, EXPORT_AS_BASE);
    expect_name(&d, "tiny", NULL, tokenizer_strips_like_phi3(d.tokenizer));
    desk_close(&d);
}

/* ---- what cannot be is said ---- */

static bool has_note(const struct export_result *r, const char *word)
{
    for (int i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], word))
            return true;
    return false;
}

/* Weights beyond F16: F32 for that tensor in a GGUF, and said; no F16 folder at all. */
static void beyond_f16(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_result r;
    struct gguf g;
    desk_open(&d, "models/llama_f32", NULL);
    assert_true(model_make_trainable(d.model, &err));
    ((float *)(uintptr_t)d.model->layers[0].w[PROJ_UP].data)[5] = -65520;
    ((float *)(uintptr_t)d.model->layers[0].w[PROJ_GATE].data)[5] = 65519;
    request_gguf(&d, EXPORT_F16);
    if (!export_run(&d.request, &d.tools.compute, &r, &err))
        fail_msg("%s", err.text);
    assert_true(has_note(&r, "beyond the range of F16: ffn_up"));
    assert_false(has_note(&r, "ffn_gate"));
    export_result_free(&r);
    open_gguf(&g, d.out);
    assert_int_equal(gguf_tensor(&g, "blk.0.ffn_up.weight")->type, DT_F32);
    assert_int_equal(gguf_tensor(&g, "blk.0.ffn_gate.weight")->type, DT_F16);
    gguf_close(&g);
    d.request.to = EXPORT_SAFETENSORS;
    d.request.force = false;
    d.request.out = d.folder;
    char *folder = path_join(d.folder, "folder");
    d.request.out = folder;
    assert_false(export_run(&d.request, &d.tools.compute, &r, &err));
    assert_non_null(strstr(err.text, "beyond the range of F16"));
    assert_false(dir_exists(folder));
    export_result_free(&r);
    mem_free(folder);
    desk_close(&d);
}

static void fallbacks_are_named(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_result r;
    desk_open(&d, "models/smollm2", NULL);
    request_gguf(&d, EXPORT_Q4_K_M);
    if (!export_run(&d.request, &d.tools.compute, &r, &err))
        fail_msg("%s", err.text);
    assert_true(has_note(&r, "Q5_0 instead of Q4_K") && has_note(&r, "Q8_0 instead of Q6_K") && has_note(&r, "attn_q"));
    char *proof_file = mem_printf("%s.proof.json", d.out);
    json_t *proof = json_load_file_checked(proof_file, 1 << 20, &err);
    assert_int_equal(json_array_size(json_object_get(proof, "notes")), r.n_notes);
    assert_string_equal(json_string_value(json_object_get(proof, "type")), "q4_k_m");
    json_decref(proof);
    mem_free(proof_file);
    export_result_free(&r);
    desk_close(&d);
}

/* No place for DoRA in a GGUF adapter; no blocks in a Hugging Face folder; no MLX codes in a GGUF. */
static void what_does_not_go(void **state)
{
    struct desk d;
    if (fixture_there("adapters/llama_dora")) {
        desk_open(&d, "models/llama", "llama_dora/peft");
        request_gguf(&d, EXPORT_AS_BASE);
        d.request.to = EXPORT_GGUF_LORA;
        refused(&d, GM_E_UNSUPPORTED, "DoRA");
        desk_close(&d);
    }
    desk_open(&d, "models/llama", NULL);
    request_gguf(&d, EXPORT_MLX4);
    refused(&d, GM_E_USAGE, "mlx4");
    d.request.to = EXPORT_SAFETENSORS;
    d.request.type = EXPORT_Q8_0;
    refused(&d, GM_E_USAGE, "q8_0");
    desk_close(&d);
}

/* A file that is in the way, and one that may be replaced: with its proof, and nothing beside it. */
static void the_file_exists(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_result r;
    desk_open(&d, "models/llama", "llama/mlx");
    request_gguf(&d, EXPORT_AS_BASE);
    d.request.to = EXPORT_GGUF_LORA;
    char *deep = path_join(d.folder, "deep");
    assert_true(dir_make(deep, &err) && file_replace(d.out, "x", 1, &err));
    assert_false(export_run(&d.request, &d.tools.compute, &r, &err));
    assert_non_null(strstr(err.text, "it exists"));
    export_result_free(&r);
    assert_int_equal(count_names(deep), 1);
    d.request.force = true;
    assert_int_equal(done(&d).files, 2);
    assert_int_equal(count_names(deep), 2);
    d.request.out = deep; /* a folder in the way of a file */
    assert_false(export_run(&d.request, &d.tools.compute, &r, &err));
    assert_non_null(strstr(err.text, "no file"));
    export_result_free(&r);
    mem_free(deep);
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_converter_writes_it), cmocka_unit_test(adapters_as_the_converter_writes_them), cmocka_unit_test(every_model_and_type),
        cmocka_unit_test(adapters_are_folded_in),     cmocka_unit_test(eight_bits_of_trained_models), cmocka_unit_test(mixes),                                 cmocka_unit_test(beyond_f16),
        cmocka_unit_test(names_of_files),  cmocka_unit_test(fallbacks_are_named),        cmocka_unit_test(what_does_not_go),                      cmocka_unit_test(the_file_exists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
