/* Weights and adapters from files: what is read, and the exact complaint about what
 * is not. */
#include "model_test.h"

static const char GEMMA[] = "{\"model_type\":\"gemma3_text\",\"vocab_size\":40,\"hidden_size\":8,"
                            "\"intermediate_size\":12,\"num_hidden_layers\":7,"
                            "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4";

static bool parse(struct model_config *c, const char *form, const char *more, struct gm_error *err)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s%s", form, more,
             form[0] == '[' ? "]" : "}"); /* forms are left open at the end */
    return model_config_parse(c, text, strlen(text), "config.json", err);
}

/* smollm2's weights, with one tensor changed, left out, or added. */
struct change {
    const char *tensor;
    enum { REMOVE, RESHAPE, POISON, ADD } how;
    bool unsupported;
    const char *says[3];
};

static void write_changed(const struct fixture *f, const char *folder, const struct change *change)
{
    struct gm_error err = {0};
    const struct model_source *s = f->model->source;
    struct tensor_out *out = mem_new((size_t)s->n_tensors + 1, sizeof *out);
    void *copy = NULL;
    int n = 0;
    for (int i = 0; i < s->n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(s, i);
        out[n] = (struct tensor_out){
            .name = t->name, .type = t->type, .n_dims = t->n_dims, .data = t->data};
        memcpy(out[n].shape, t->shape, sizeof t->shape);
        if (strcmp(t->name, change->tensor) == 0) {
            if (change->how == REMOVE)
                continue;
            if (change->how == RESHAPE)
                out[n].shape[0] /= 2;
            if (change->how == POISON) {
                copy = mem_new(1, t->bytes);
                memcpy(copy, t->data, t->bytes);
                ((uint16_t *)copy)[t->bytes / 2 - 1] = 0x7fc0;
                out[n].data = copy;
            }
        }
        n++;
    }
    static const float bias[96];
    if (change->how == ADD)
        out[n++] = (struct tensor_out){
            .name = change->tensor, .type = DT_F32, .n_dims = 1, .shape = {96}, .data = bias};
    char *file = path_join(folder, "model.safetensors"), *config = path_join(folder, "config.json");
    assert_true(safetensors_write(file, out, n, NULL, 0, &err));
    assert_true(json_write_file(config, s->config, &err));
    mem_free(file);
    mem_free(config);
    mem_free(copy);
    mem_free(out);
}

static void test_weights_refused(void **state)
{
    static const struct change changes[] = {
        {"model.layers.1.mlp.up_proj.weight",
         REMOVE,
         false,
         {"model.layers.1.mlp.up_proj.weight", "missing", ""}},
        {"model.layers.0.self_attn.k_proj.weight",
         RESHAPE,
         false,
         {"model.layers.0.self_attn.k_proj.weight", "has shape", "asks for"}},
        {"model.norm.weight", RESHAPE, false, {"model.norm.weight", "has shape", "asks for"}},
        {"model.layers.1.self_attn.o_proj.weight",
         POISON,
         false,
         {"model.layers.1.self_attn.o_proj.weight", "", ""}},
        {"model.layers.1.input_layernorm.weight",
         POISON,
         false,
         {"model.layers.1.input_layernorm.weight", "", ""}},
        {"model.embed_tokens.weight", POISON, false, {"model.embed_tokens.weight", "", ""}},
        {"model.layers.0.self_attn.q_proj.bias",
         ADD,
         true,
         {"model.layers.0.self_attn.q_proj.bias", "not supported", "llama"}}};
    struct fixture f;
    fixture_open(&f, "smollm2");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct gm_error err = {0};
        char *folder = new_folder();
        write_changed(&f, folder, &changes[i]);
        struct model *m = model_open(folder, &err);
        assert_null(m);
        assert_int_equal(err.code, changes[i].unsupported ? GM_E_UNSUPPORTED : GM_E_INPUT);
        for (int k = 0; k < 3; k++)
            if (!strstr(err.text, changes[i].says[k]))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, changes[i].says[k]);
        drop_folder(folder);
    }
    fixture_close(&f);
}

/* The text part of a multimodal model is found under each of the names that writers gave it, with the configuration nested or flat. */
static void test_prefixes(void **state)
{
    static const struct {
        const char *text, *pictures;
        bool flat;
    } spellings[] = {{"language_model.model.", "", false}, {"model.language_model.", "model.", false}, {"model.", "", false}, {"model.", NULL, true}};
    struct fixture f;
    struct tools t;
    tools_init(&t, 1, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_mm");
    const struct model_source *source = f.model->source;
    const struct tensor_info *ids = tensor(&f.expected, "ids.1");
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct gm_error err = {0};
        char *folder = new_folder(), *file = path_join(folder, "model.safetensors"), *path = path_join(folder, "config.json");
        struct tensor_out *out = mem_new((size_t)source->n_tensors, sizeof *out);
        char **names = mem_new((size_t)source->n_tensors, sizeof *names);
        int n = 0;
        for (int k = 0; k < source->n_tensors; k++) {
            static const char inner[] = "language_model.model.";
            const struct tensor_info *tensor = model_source_tensor(source, k);
            bool text = strncmp(tensor->name, inner, strlen(inner)) == 0;
            if (!text && !spellings[i].pictures)
                continue;
            names[n] = text ? mem_printf("%s%s", spellings[i].text, tensor->name + strlen(inner)) : mem_printf("%s%s", spellings[i].pictures, tensor->name);
            out[n] = (struct tensor_out){.name = names[n], .type = tensor->type, .n_dims = tensor->n_dims, .data = tensor->data};
            memcpy(out[n++].shape, tensor->shape, sizeof tensor->shape);
        }
        json_t *config = json_deep_copy(source->config);
        if (spellings[i].flat) {
            json_t *inner = json_incref(json_object_get(config, "text_config"));
            json_object_del(config, "text_config");
            json_object_del(config, "vision_config");
            json_object_del(inner, "model_type");
            json_object_update(config, inner);
            json_decref(inner);
        }
        assert_true(safetensors_write(file, out, n, NULL, 0, &err) && json_write_file(path, config, &err));
        struct model *m = model_open(folder, &err);
        if (!m)
            fail_msg("%s: %s", spellings[i].text, err.text);
        assert_string_equal(m->prefix, spellings[i].text);
        assert_int_equal(m->n_notes, spellings[i].pictures ? 1 : 0);
        float *logits = logits_of(m, NULL, &t.compute, ids->data, ids->shape[0], NULL, NULL);
        near(spellings[i].text, logits, tensor(&f.expected, "logits.1")->data, ids->shape[0] * m->config.vocab_size, 2e-4);
        mem_free(logits);
        model_free(m);
        json_decref(config);
        for (int k = 0; k < n; k++)
            mem_free(names[k]);
        mem_free(names);
        mem_free(out);
        mem_free(file);
        mem_free(path);
        drop_folder(folder);
    }
    fixture_close(&f);
    tools_free(&t);
}

static void test_gguf_config(void **state)
{
    struct gm_error err = {0};
    char *path = path_join(fixtures_dir(), "quantised/gguf/smollm2_q8_0.gguf");
    struct model *m = model_open(path, &err);
    mem_free(path);
    struct fixture f;
    fixture_open(&f, "smollm2");
    struct model_config want = f.model->config;
    if (!m)
        fail_msg("%s", err.text);
    assert_int_equal(m->layers[0].w[PROJ_Q].type, DT_Q8_0);
    assert_int_equal(m->config.d_model, want.d_model);
    assert_int_equal(m->config.n_kv_heads, want.n_kv_heads);
    assert_true(m->config.rope_theta == want.rope_theta && m->config.tied_head &&
                m->config.attn_scale == want.attn_scale);
    assert_true(m->config.rms_norm_eps == want.rms_norm_eps);
    model_free(m);
    fixture_close(&f);
}

static void test_random(void **state)
{
    struct gm_error err = {0};
    struct model_config c;
    assert_true(parse(&c, GEMMA, "", &err));
    for (int i = 0; i < 3; i++) {
        static const enum dtype types[] = {DT_F32, DT_BF16, DT_F16};
        struct model *m = model_random(&c, types[i], 3, &err),
                     *again = model_random(&c, types[i], 3, &err);
        float row[8], other[8];
        mat_row_to_f32(&m->embed, 7, row);
        mat_row_to_f32(&again->embed, 7, other);
        assert_memory_equal(row, other, sizeof row);
        assert_true(fabs((double)row[0]) < 0.2 && row[0] != row[1] && m->norm_final[0] == 1);
        assert_true(model_make_trainable(m, &err));
        mat_row_to_f32(&m->embed, 7, other);
        assert_memory_equal(row, other, sizeof row);
        assert_true(m->norm_final[3] == 1 && m->head.data == m->embed.data);
        const struct param *last = &m->full.params[m->full.n_params - 1];
        assert_string_equal(last->name, "model.norm.weight");
        m->full.w[last->offset + 3] = 0.5f;
        model_norms_changed(m);
        assert_true(m->norm_final[3] == 1.5f); /* Gemma: 1 + w */
        model_free(m);
        model_free(again);
    }
}

/* Stored forms: rows are made of blocks that fit, the same numbers from the same seed, bytes counted as they lie. */
static void test_random_stored(void **state)
{
    struct gm_error err = {0};
    struct model_config c;
    static const enum dtype types[] = {DT_Q8_0, DT_Q4_1, DT_MLX4, DT_MLX8};
    static const double bits[] = {8.5, 5, 4.5, 8.5};
    assert_true(parse(&c, GEMMA, "", &err));
    assert_null(model_random(&c, DT_MLX4, 3, &err));
    assert_non_null(strstr(err.text, "is 8 wide, MLX4 needs a multiple of 64"));
    assert_null(model_random(&c, DT_Q2_K, 3, &err));
    static const char wide[] =
        "{\"model_type\":\"gemma3_text\",\"vocab_size\":40,\"hidden_size\":128,\"intermediate_size\":192,"
        "\"num_hidden_layers\":3,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":64";
    assert_true(parse(&c, wide, "", &err));
    for (int i = 0; i < 4; i++) {
        struct model *m = model_random(&c, types[i], 3, &err), *again = model_random(&c, types[i], 3, &err);
        float row[192], other[192];
        double sum = 0;
        const struct mat *w = &m->layers[2].w[PROJ_DOWN];
        assert_int_equal(w->type, types[i]);
        mat_row_to_f32(w, 7, row);
        mat_row_to_f32(&again->layers[2].w[PROJ_DOWN], 7, other);
        assert_memory_equal(row, other, sizeof row);
        for (int k = 0; k < 192; k++)
            sum += (double)row[k] * row[k];
        assert_true(sum / 192 > 0.0002 && sum / 192 < 0.0008); /* 0.02 squared */
        assert_true((double)mat_bytes(w) * 8 == bits[i] * 128 * 192);
        size_t all = mat_bytes(&m->embed);
        for (int l = 0; l < c.n_layers; l++)
            for (int p = 0; p < PROJ_COUNT; p++)
                all += mat_bytes(&m->layers[l].w[p]);
        assert_int_equal(m->weight_bytes, all);
        model_free(m);
        model_free(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_refused), cmocka_unit_test(test_prefixes), cmocka_unit_test(test_gguf_config),
        cmocka_unit_test(test_random), cmocka_unit_test(test_random_stored)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
