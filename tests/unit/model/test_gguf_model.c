/* Every tiny model as a GGUF: metadata, names, turned rows and computed tensors written as llama.cpp's converter does, read back, and
 * the logits again those of the Hugging Face folder. Then what other writers spell differently. */
#include "model_test.h"

#include "engine/format/gguf_write.h"
#include "engine/model/model_items.h"

/* The items of a model in f32, in GGUF's order of rows, with Gemma's +1. */
struct written {
    struct gguf_out *g;
    float **values;
    int n;
};

static void add_tensor(struct written *w, const char *name, float *values, int n_dims, int64_t rows, int64_t cols)
{
    struct tensor_out t = {.name = name, .type = DT_F32, .n_dims = n_dims, .shape = {n_dims == 1 ? cols : rows, n_dims == 1 ? 0 : cols}, .data = values};
    gguf_out_tensor(w->g, &t);
    w->values[w->n++] = values;
}

static void add_item(struct written *w, const struct item *i)
{
    float *values = mem_new((size_t)(i->rows * i->cols), sizeof *values), *from = mem_new((size_t)(i->rows * i->cols), sizeof *from);
    const int64_t rows = i->vector ? i->cols : i->rows, cols = i->vector ? 1 : i->cols;
    struct mat m = i->vector ? mat_f32(*i->vector, rows, 1) : item_mat(i);
    for (int64_t r = 0; r < rows; r++)
        mat_row_to_f32(&m, r, from + r * cols);
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r;
        if (i->turned_heads > 0) { /* row h D + b D/2 + k goes to h D + 2k + b */
            int64_t head = rows / i->turned_heads, half = head / 2;
            at = r / head * head + 2 * (r % half) + r % head / half;
        }
        memcpy(values + at * cols, from + r * cols, (size_t)cols * sizeof *from);
    }
    mem_free(from);
    add_tensor(w, i->gguf, values, i->vector ? 1 : 2, i->rows, i->cols);
}

/* The metadata of Gemma 3 as Ollama's converter writes it for a multimodal model: no epsilon, no linear factor, bases under other
 * names, pictures in the same file. */
static void write_as_ollama(const struct model_config *c, struct gguf_out *g)
{
    const struct {
        const char *key;
        int value;
    } sizes[] = {{"gemma3.block_count", c->n_layers},
                 {"gemma3.context_length", c->max_positions},
                 {"gemma3.embedding_length", c->d_model},
                 {"gemma3.feed_forward_length", c->d_ff},
                 {"gemma3.attention.head_count", c->n_heads},
                 {"gemma3.attention.head_count_kv", c->n_kv_heads},
                 {"gemma3.attention.key_length", c->head_dim},
                 {"gemma3.attention.value_length", c->head_dim},
                 {"gemma3.attention.sliding_window", c->sliding_window},
                 {"gemma3.mm.tokens_per_image", 4}};
    bool slides[MODEL_MAX_LAYERS];
    for (int i = 0; i < c->n_layers; i++)
        slides[i] = c->sliding[i];
    gguf_out_text(g, "general.architecture", "gemma3");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        gguf_out_u32(g, sizes[i].key, (uint32_t)sizes[i].value);
    gguf_out_f32(g, "gemma3.rope.global.freq_base", (float)c->rope_theta);
    gguf_out_f32(g, "gemma3.rope.local.freq_base", (float)c->rope_theta_local);
    gguf_out_bools(g, "gemma3.attention.sliding_window_pattern", slides, (size_t)c->n_layers);
}

static void write_model(struct model *m, const char *path, bool ollama)
{
    struct gm_error err = {0};
    struct config_tensor computed[2];
    int n, n_computed = model_config_tensors(&m->config, computed);
    struct item *items = model_items(m, &n);
    struct written w = {.g = gguf_out_new(), .values = mem_new((size_t)n + 3, sizeof *w.values)};
    if (ollama) {
        write_as_ollama(&m->config, w.g);
        add_tensor(&w, "v.patch_embedding.weight", mem_new(64, sizeof(float)), 2, 8, 8);
    } else if (!model_config_to_gguf(&m->config, w.g, &err)) {
        fail_msg("%s", err.text);
    }
    if (m->config.bos_id >= 0)
        gguf_out_u32(w.g, "tokenizer.ggml.bos_token_id", (uint32_t)m->config.bos_id);
    if (m->config.n_eos > 0)
        gguf_out_u32(w.g, "tokenizer.ggml.eos_token_id", (uint32_t)m->config.eos_ids[0]);
    for (int i = 0; i < n; i++)
        add_item(&w, &items[i]);
    for (int i = 0; i < n_computed; i++) {
        float *values = mem_new((size_t)computed[i].n, sizeof *values);
        memcpy(values, computed[i].values, (size_t)computed[i].n * sizeof *values);
        add_tensor(&w, computed[i].name, values, 1, 1, computed[i].n);
    }
    if (!gguf_write(w.g, path, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < w.n; i++)
        mem_free(w.values[i]);
    mem_free(w.values);
    gguf_out_free(w.g);
    mem_free(items);
}

static void test_round_trip(void **state)
{
    struct tools t;
    char *folder = new_folder(), *path = path_join(folder, "model.gguf");
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < N_MODELS; i++) {
        struct gm_error err = {0};
        struct fixture f;
        fixture_open(&f, MODELS[i]);
        write_model(f.model, path, false);
        struct model *m = model_open(path, &err);
        if (!m)
            fail_msg("%s: %s", MODELS[i], err.text);
        struct model_config want = f.model->config;
        want.n_eos = m->config.n_eos; /* a GGUF has one, or two */
        memcpy(want.eos_ids, m->config.eos_ids, sizeof want.eos_ids);
        if (fabs(want.rope.attention_factor - m->config.rope.attention_factor) < 1e-7)
            want.rope.attention_factor = m->config.rope.attention_factor; /* a float in the file */
        if (memcmp(&want, &m->config, sizeof want) != 0)
            fail_msg("%s: the configuration is not the same again", MODELS[i]);
        check_logits(m, NULL, &t.compute, &f.expected, MODELS[i], 2e-4);
        model_free(m);
        fixture_close(&f);
    }
    mem_free(path);
    drop_folder(folder);
    tools_free(&t);
}

static void test_ollama(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    char *folder = new_folder(), *path = path_join(folder, "model.gguf");
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_mm");
    write_model(f.model, path, true);
    struct model *m = model_open(path, &err);
    if (!m)
        fail_msg("%s", err.text);
    check_logits(m, NULL, &t.compute, &f.expected, "as Ollama", 2e-4);
    assert_int_equal(m->n_notes, 1);
    model_free(m);
    fixture_close(&f);
    mem_free(path);
    drop_folder(folder);
    tools_free(&t);
}

/* Divisors that no published setting gives are kept as they are, through both kinds of files. */
static void test_other_divisors(void **state)
{
    struct gm_error err = {0};
    struct fixture f;
    struct config_tensor before[2], after[2];
    struct model_config again;
    char *folder = new_folder(), *path = path_join(folder, "model.gguf");
    fixture_open(&f, "llama3_rope");
    f.model->config.rope.low_freq_factor = 1.375;
    assert_int_equal(model_config_tensors(&f.model->config, before), 1);
    write_model(f.model, path, false);
    struct model *m = model_open(path, &err);
    if (!m)
        fail_msg("%s", err.text);
    assert_int_equal(m->config.rope.kind, ROPE_LONG);
    assert_int_equal(model_config_tensors(&m->config, after), 1);
    assert_string_equal(after[0].name, "rope_freqs.weight");
    assert_memory_equal(after[0].values, before[0].values, (size_t)before[0].n * sizeof(float));
    json_t *o = model_config_to_json(&m->config);
    char *text = json_pretty(o);
    assert_true(model_config_parse(&again, text, strlen(text), "again", &err));
    assert_memory_equal(&again, &m->config, sizeof again);
    json_decref(o);
    mem_free(text);
    model_free(m);
    fixture_close(&f);
    mem_free(path);
    drop_folder(folder);
}

/* A file that holds metadata and an embedding only: enough for the configuration, told by the complaint that follows. */
struct gguf_case {
    const char *arch;
    struct {
        const char *key;
        double value;
    } keys[12];
    const char *says;
};

static void test_refused(void **state)
{
    static const struct gguf_case cases[] = {
        {"gemma3", {{"attention.sliding_window", 16}, {"attention.head_count", 2}}, "tensor \"blk.0.attn_norm.weight\""},
        {"gemma3", {{"attention.head_count", 2}}, "attention.sliding_window"},
        {"llama", {{"attention.head_count", 2}, {"attention.sliding_window", 16}, {"attention.layer_norm_rms_epsilon", 1e-5}}, "sliding_window"},
        {"llama", {{"attention.head_count", 2}, {"rope.dimension_count", 2}, {"attention.layer_norm_rms_epsilon", 1e-5}}, "rope dimensions 2"},
        {"llama", {{"attention.head_count", 2}, {"expert_count", 8}, {"attention.layer_norm_rms_epsilon", 1e-5}}, "expert_count"},
        {"phi3", {{"attention.head_count", 2}, {"rope.dimension_count", 3}, {"attention.layer_norm_rms_epsilon", 1e-5}}, "rotated in pairs"},
        {"mamba", {{"attention.head_count", 2}}, "qwen3"}};
    char *folder = new_folder(), *path = path_join(folder, "model.gguf");
    static const float embed[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gm_error err = {0};
        char key[96];
        struct gguf_out *g = gguf_out_new();
        gguf_out_text(g, "general.architecture", cases[i].arch);
        static const struct {
            const char *name;
            uint32_t value;
        } sizes[] = {{"block_count", 1}, {"embedding_length", 8}, {"feed_forward_length", 8}, {"context_length", 32}};
        for (int k = 0; k < 4; k++) {
            snprintf(key, sizeof key, "%s.%s", cases[i].arch, sizes[k].name);
            gguf_out_u32(g, key, sizes[k].value);
        }
        for (int k = 0; cases[i].keys[k].key; k++) {
            snprintf(key, sizeof key, "%s.%s", cases[i].arch, cases[i].keys[k].key);
            double v = cases[i].keys[k].value;
            if (v == floor(v))
                gguf_out_u32(g, key, (uint32_t)v);
            else
                gguf_out_f32(g, key, (float)v);
        }
        struct tensor_out t = {.name = "token_embd.weight", .type = DT_F32, .n_dims = 2, .shape = {8, 8}, .data = embed};
        gguf_out_tensor(g, &t);
        assert_true(gguf_write(g, path, &err));
        gguf_out_free(g);
        assert_null(model_open(path, &err));
        if (!strstr(err.text, cases[i].says))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].says);
    }
    mem_free(path);
    drop_folder(folder);
}

/* What GGUF cannot say is refused; where llama.cpp differs is told. */
static void test_caveats(void **state)
{
    static const struct {
        const char *name, *says;
    } told[] = {{"gemma2", "head dimension"}, {"phi3", "window"}, {"phi3_long", "size of its context"}, {"llama3_rope", NULL}, {"qwen3", NULL}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct fixture f;
        const char *caveats[CONFIG_CAVEATS_MAX];
        fixture_open(&f, told[i].name);
        int n = model_config_gguf_caveats(&f.model->config, caveats);
        bool found = !told[i].says && n == 0;
        for (int k = 0; k < n && told[i].says; k++)
            found = found || strstr(caveats[k], told[i].says);
        if (!found)
            fail_msg("%s: %d caveats", told[i].name, n);
        fixture_close(&f);
    }
    struct gm_error err = {0};
    struct fixture f;
    fixture_open(&f, "gemma2");
    f.model->config.attn_softcap = 0;
    struct gguf_out *g = gguf_out_new();
    assert_false(model_config_to_gguf(&f.model->config, g, &err));
    assert_non_null(strstr(err.text, "soft caps"));
    gguf_out_free(g);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_ollama), cmocka_unit_test(test_other_divisors),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_caveats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
