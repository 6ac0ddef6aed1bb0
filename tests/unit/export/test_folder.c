/* Folders of fused models: MLX codes as mlx-lm's converter makes them, byte for byte; shards; what stands beside the text model; DoRA; a template that was told;
 * every form at once. */
#include "desk.h"

static char *fixture_path(const char *inner) { return path_join(fixtures_dir(), inner); }

static struct model *opened(const char *path)
{
    struct gm_error err = {0};
    struct model *m = model_open(path, &err);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

/* Of the same weights: the codes, scales and biases of another program. */
static void mlx_as_the_converter_makes_it(void **state)
{
    static const struct { const char *model, *quantised; enum export_type type; } pairs[] = {
        {"models/llama", "quantised/llama_4bit_g64", EXPORT_MLX4}, {"models/llama", "quantised/llama_8bit_g64", EXPORT_MLX8},
        {"models/gemma3_text", "quantised/gemma3_text_4bit_g64", EXPORT_MLX4}, {"models/gemma3_text", "quantised/gemma3_text_8bit_g64", EXPORT_MLX8}};
    int same = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct desk d;
        struct safetensors ours, theirs;
        if (!fixture_there(pairs[i].quantised))
            continue;
        char *library = fixture_path(pairs[i].quantised);
        file_open(&theirs, library, "model.safetensors");
        desk_open(&d, pairs[i].model, NULL);
        const struct tensor_info *embed = tensor(&theirs, "model.embed_tokens.weight");
        if (embed->shape[0] != d.model->config.vocab_size) { /* the second set quantised models of its own */
            desk_close(&d);
            safetensors_close(&theirs);
            mem_free(library);
            continue;
        }
        d.request.type = pairs[i].type;
        done(&d);
        file_open(&ours, d.out, "model.safetensors");
        assert_int_equal(ours.n_tensors, theirs.n_tensors);
        for (int k = 0; k < ours.n_tensors; k++) {
            const struct tensor_info *x = &ours.tensors[k], *y = tensor(&theirs, "%s", x->name);
            if (x->type != y->type || x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0)
                fail_msg("%s: %s differs", pairs[i].quantised, x->name);
        }
        json_t *a = json_of(d.out, "config.json"), *b = json_of(library, "config.json");
        assert_true(json_equal(json_object_get(a, "quantization"), json_object_get(b, "quantization")));
        assert_true(json_equal(json_object_get(a, "quantization_config"), json_object_get(b, "quantization_config")));
        json_decref(a);
        json_decref(b);
        safetensors_close(&ours);
        safetensors_close(&theirs);
        mem_free(library);
        desk_close(&d);
        same++;
    }
    if (same < 2)
        skip();
}

/* A quantised folder that is asked for as it is comes out as it went in; as bf16 it has no quantisation any more. */
static void from_mlx(void **state)
{
    struct desk d;
    struct safetensors ours, theirs;
    desk_open_with(&d, "quantised/llama_4bit_g64", "models/llama", "llama/mlx");
    if (tokenizer_vocab_size(d.tokenizer) > d.model->config.vocab_size) {
        desk_close(&d);
        skip();
    }
    d.request.to = EXPORT_SAFETENSORS;
    d.request.lora = NULL;
    d.request.type = EXPORT_MLX4;
    struct gm_error err = {0};
    struct export_result r;
    char *library = fixture_path("quantised/llama_4bit_g64");
    bool ok = export_run(&d.request, &d.tools.compute, &r, &err);
    if (!ok && strstr(err.text, "tokenizer")) { /* the folder has none of its own to send along */
        assert_int_equal(count_names(d.folder), 0);
    } else {
        assert_true(ok);
        assert_true(r.max_logit_difference == 0);
        file_open(&ours, d.out, "model.safetensors");
        file_open(&theirs, library, "model.safetensors");
        for (int k = 0; k < ours.n_tensors; k++) {
            const struct tensor_info *x = &ours.tensors[k], *y = tensor(&theirs, "%s", x->name);
            assert_int_equal(x->bytes, y->bytes);
            assert_memory_equal(x->data, y->data, x->bytes);
        }
        safetensors_close(&ours);
        safetensors_close(&theirs);
    }
    export_result_free(&r);
    mem_free(library);
    desk_close(&d);
}

static void every_model_and_type(void **state)
{
    static const enum export_type types[] = {EXPORT_F32, EXPORT_F16, EXPORT_BF16, EXPORT_MLX4, EXPORT_MLX8};
    for (int m = 0; m < N_MODELS; m++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            struct desk d;
            char *inner = mem_printf("models/%s", MODELS[m]);
            desk_open(&d, inner, NULL);
            d.request.type = types[t];
            struct export_result r = done(&d);
            if (types[t] == EXPORT_F32 && !(r.max_logit_difference == 0))
                fail_msg("%s in f32 differs by %g", MODELS[m], r.max_logit_difference);
            struct model *back = opened(d.out);
            assert_int_equal(back->config.n_layers, d.model->config.n_layers);
            model_free(back);
            mem_free(inner);
            desk_close(&d);
        }
}

static void in_shards(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.type = EXPORT_F32;
    d.request.shard_bytes = 100000;
    done(&d);
    json_t *index = json_of(d.out, "model.safetensors.index.json"), *map = json_object_get(index, "weight_map");
    char *single = path_join(d.out, "model.safetensors");
    assert_false(file_exists(single));
    assert_int_equal(json_array_size(json_object_get(index, "weight_map")), 0); /* an object */
    uint64_t sum = 0;
    size_t tensors = 0;
    int shards = 0;
    char **names;
    size_t n;
    assert_true(dir_list(d.out, &names, &n, &err));
    for (size_t i = 0; i < n; i++) {
        size_t k = strlen(names[i]);
        if (k > 12 && strcmp(names[i] + k - 12, ".safetensors") == 0) {
            struct safetensors s;
            file_open(&s, d.out, names[i]);
            shards++;
            for (int t = 0; t < s.n_tensors; t++, tensors++) {
                sum += s.tensors[t].bytes;
                assert_string_equal(json_string_value(json_object_get(map, s.tensors[t].name)), names[i]);
            }
            safetensors_close(&s);
        }
        mem_free(names[i]);
    }
    mem_free(names);
    assert_true(shards > 2);
    assert_int_equal(tensors, json_object_size(map));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")), sum);
    json_decref(index);
    model_free(opened(d.out));
    mem_free(single);
    desk_close(&d);
}

/* A multimodal checkpoint keeps its names and its vision tower, bit for bit; its GGUF has the text part only. */
static void pictures_go_along(void **state)
{
    struct desk d;
    struct model_source back;
    struct gm_error err = {0};
    desk_open(&d, "models/gemma3_mm", NULL);
    d.request.type = EXPORT_F32;
    done(&d);
    assert_true(model_source_open(&back, d.out, &err));
    const struct model_source *from = d.model->source;
    assert_int_equal(back.n_tensors, from->n_tensors);
    int pictures = 0;
    for (int i = 0; i < from->n_tensors; i++) {
        const struct tensor_info *x = model_source_tensor(from, i), *y = model_source_find(&back, x->name);
        assert_non_null(y);
        bool picture = strstr(x->name, "vision") || strstr(x->name, "projector");
        pictures += picture;
        assert_int_equal(y->type, picture ? x->type : DT_F32);
        if (picture)
            assert_memory_equal(x->data, y->data, x->bytes);
    }
    assert_true(pictures > 0);
    model_source_close(&back);
    char *file = path_join(d.folder, "text.gguf");
    d.request.to = EXPORT_GGUF;
    d.request.out = file;
    done(&d);
    struct gguf g;
    assert_true(gguf_open(&g, file, &err));
    assert_int_equal(g.n_tensors, from->n_tensors - pictures);
    gguf_close(&g);
    mem_free(file);
    desk_close(&d);
}

/* W' of DoRA is that of the library, and gives its logits. */
static void dora_is_folded_in(void **state)
{
    struct desk d;
    struct safetensors expected, written;
    if (!fixture_there("adapters/llama_dora"))
        skip();
    char *folder = fixture_path("adapters/llama_dora");
    desk_open(&d, "models/llama", "llama_dora/peft");
    d.request.type = EXPORT_F32;
    done(&d);
    file_open(&expected, folder, "expected.safetensors");
    file_open(&written, d.out, "model.safetensors");
    int fused = 0;
    for (int i = 0; i < expected.n_tensors; i++) {
        const struct tensor_info *t = &expected.tensors[i];
        if (strncmp(t->name, "fused_f32.", 10) != 0)
            continue;
        const char *name = t->name + 10;
        const struct tensor_info *w = tensor(&written, strstr(name, "weight") ? "model.%s" : "model.%s.weight", name);
        near(t->name, w->data, t->data, tensor_elements(t), 2e-6);
        fused++;
    }
    assert_true(fused > 0);
    struct model *back = opened(d.out);
    const struct tensor_info *ids = tensor(&expected, "ids.1"), *want = tensor(&expected, "logits.1");
    float *have = logits_of(back, NULL, &d.tools.compute, ids->data, ids->shape[0], NULL, NULL);
    near("logits", have, want->data, tensor_elements(want), 5e-4);
    mem_free(have);
    model_free(back);
    safetensors_close(&expected);
    safetensors_close(&written);
    mem_free(folder);
    desk_close(&d);
}

/* A template that was told goes along instead of the base's own. */
static void another_template(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    desk_open(&d, "models/llama", NULL);
    const char *told = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    struct chat_template *tpl = chat_template_from_text(told, d.tokenizer, &err);
    if (!tpl)
        fail_msg("%s", err.text);
    d.request.tpl = tpl;
    done(&d);
    json_t *config = json_of(d.out, "tokenizer_config.json");
    assert_string_equal(json_string_value(json_object_get(config, "chat_template")), told);
    json_decref(config);
    chat_template_free(tpl);
    desk_close(&d);
}

/* ---- every form at once ---- */

struct measured {
    int calls;
    bool refuses;
    enum dtype seen[8];
};

static bool measure(void *arg, const struct model *m, const struct lora *l, struct export_measurement *out, struct gm_error *err)
{
    struct measured *s = arg;
    s->seen[s->calls] = m->layers[0].w[PROJ_UP].type;
    assert_true((l != NULL) == (s->calls == 0)); /* unfused first, then what was written */
    *out = (struct export_measurement){.loss = 2 + s->calls, .form_rate = 0.5, .n = 10};
    s->calls++;
    return !s->refuses || error_set(err, GM_E_CANCELLED, "cancelled");
}

static void all_of_them(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct measured m = {0};
    struct export_all_result result;
    desk_open(&d, "models/llama", "llama/mlx");
    struct export_all_request a = {.each = d.request, .measure = measure, .arg = &m};
    if (!export_all(&a, &d.tools.compute, &result, &err))
        fail_msg("%s", err.text);
    assert_true(m.calls >= 5);
    assert_int_equal(m.seen[0], DT_BF16);
    assert_int_equal(m.seen[1], DT_BF16); /* safetensors, as the base */
    assert_int_equal(m.seen[2], DT_F16);
    assert_int_equal(m.seen[3], DT_Q8_0);
    assert_string_equal(result.rows[0].target, "unfused");
    static const char *const names[] = {"mlx", "peft", "adapter.gguf", "safetensors", "model-f16.gguf", "model-q8_0.gguf", "model-q4_k_m.gguf", "ollama", "README.md", "fuse_loss.json"};
    for (int i = 0; i < 10; i++) {
        char *path = path_join(d.out, names[i]);
        if (!file_exists(path) && !dir_exists(path))
            fail_msg("there is no %s", names[i]);
        mem_free(path);
    }
    json_t *table = json_of(d.out, "fuse_loss.json"), *rows = json_object_get(table, "fuse_loss");
    assert_int_equal((int)json_array_size(rows), m.calls);
    const json_t *second = json_array_get(rows, 1);
    assert_true(json_number_value(json_object_get(second, "loss_change")) == 1);
    assert_true(json_number_value(json_object_get(second, "mean_kl")) > 0);
    json_decref(table);
    export_all_free(&result);
    desk_close(&d);
}

/* DoRA has no GGUF adapter: the others are there, and it is said. */
static void what_cannot_be_is_left_out(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_all_result result;
    if (!fixture_there("adapters/llama_dora"))
        skip();
    desk_open(&d, "models/llama", "llama_dora/peft");
    struct export_all_request a = {.each = d.request};
    if (!export_all(&a, &d.tools.compute, &result, &err))
        fail_msg("%s", err.text);
    bool told = false;
    for (int i = 0; i < result.n_notes; i++) {
        told = told || (strncmp(result.notes[i], "adapter.gguf: left out", 22) == 0 && strstr(result.notes[i], "DoRA"));
        assert_null(strstr(result.notes[i], "making-")); /* no name that is gone by now */
    }
    assert_true(told);
    char *path = path_join(d.out, "adapter.gguf"), *other = path_join(d.out, "model-q8_0.gguf");
    assert_false(file_exists(path));
    assert_true(file_exists(other));
    mem_free(path);
    mem_free(other);
    export_all_free(&result);
    desk_close(&d);
}

static void all_or_nothing(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct measured m = {.refuses = true};
    struct export_all_result result;
    desk_open(&d, "models/llama", "llama/mlx");
    struct export_all_request a = {.each = d.request, .measure = measure, .arg = &m};
    assert_false(export_all(&a, &d.tools.compute, &result, &err));
    assert_int_equal(err.code, GM_E_CANCELLED);
    assert_int_equal(count_names(d.folder), 0);
    export_all_free(&result);
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlx_as_the_converter_makes_it), cmocka_unit_test(from_mlx),          cmocka_unit_test(every_model_and_type),
        cmocka_unit_test(in_shards),                     cmocka_unit_test(pictures_go_along), cmocka_unit_test(dora_is_folded_in),
        cmocka_unit_test(another_template),              cmocka_unit_test(all_of_them), cmocka_unit_test(what_cannot_be_is_left_out),       cmocka_unit_test(all_or_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
