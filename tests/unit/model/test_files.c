/* Configurations, weights and adapters from files: what is read, and the exact complaint about what
 * is not. */
#include "model_test.h"

static const char LLAMA[] = "{\"model_type\":\"llama\",\"vocab_size\":40,\"hidden_size\":8,"
                            "\"intermediate_size\":12,\"num_hidden_layers\":2,"
                            "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_"
                            "embeddings\":64,\"tie_word_embeddings\":true";
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

static void test_config(void **state)
{
    struct gm_error err = {0};
    struct model_config c;
    assert_true(parse(&c, LLAMA, "", &err));
    assert_int_equal(c.head_dim, 4);
    assert_false(c.qk_norm || c.sandwich_norm || c.norm_plus_one || c.scaled_embed);
    assert_true(parse(&c, LLAMA,
                      ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},\"eos_token_id\":[3,"
                      "5,3],\"head_dim\":6",
                      &err));
    assert_true(c.rope_linear_factor == 2.5 && c.n_eos == 2 && c.eos_ids[1] == 5 &&
                c.head_dim == 6);
    assert_true(parse(&c, LLAMA,
                      ",\"rope_scaling\":{\"rope_type\":\"default\"},\"rope_parameters\":{\"rope_"
                      "type\":\"default\",\"rope_theta\":777}",
                      &err));
    assert_true(c.rope_theta == 777);

    assert_true(parse(&c, GEMMA, "", &err));
    assert_true(c.qk_norm && c.sandwich_norm && c.norm_plus_one && c.scaled_embed && c.tied_head &&
                c.act == ACT_GELU_TANH);
    assert_true(c.sliding[4] && !c.sliding[5] && c.sliding[6] && c.sliding_window == 4096 &&
                c.attn_scale == 0.0625f);
    assert_true(parse(&c, GEMMA,
                      ",\"sliding_window_pattern\":2,\"rope_scaling\":{\"rope_type\":\"linear\","
                      "\"factor\":8.0},\"sliding_window\":16",
                      &err));
    assert_true(c.sliding[0] && !c.sliding[1] && c.rope_linear_factor == 8 &&
                c.sliding_window == 16);
    assert_true(parse(&c, GEMMA,
                      ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\","
                      "\"factor\":4.0,\"rope_theta\":5e5},"
                      "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":2e4}},"
                      "\"final_logit_softcapping\":30.0",
                      &err));
    assert_true(c.rope_linear_factor == 4 && c.rope_theta == 5e5 && c.rope_theta_local == 2e4 &&
                c.final_softcap == 30);
}

static void test_config_round_trip(void **state)
{
    static const char *const models[] = {"gemma3_text", "llama", "smollm2", "stories260k"};
    for (int i = 0; i < 4; i++) {
        struct gm_error err = {0};
        struct fixture f;
        struct model_config c;
        if (i == 3) { /* no expected.json numbers needed here */
            char *dir = mem_printf(FIXTURES "/models/%s", models[i]);
            f.model = model_open(dir, &err);
            mem_free(dir);
        } else {
            fixture_open(&f, models[i]);
        }
        json_t *o = model_config_to_json(&f.model->config);
        char *text = json_pretty(o);
        assert_true(model_config_parse(&c, text, strlen(text), "again", &err));
        assert_memory_equal(&c, &f.model->config, sizeof c);
        json_decref(o);
        mem_free(text);
        if (i == 3)
            model_free(f.model);
        else
            fixture_close(&f);
    }
}

static void test_parameters(void **state)
{
    static const struct {
        const char *text;
        int64_t n;
    } published[] = {
        {"{\"model_type\":\"llama\",\"vocab_size\":49152,\"hidden_size\":576,\"intermediate_size\":"
         "1536,\"num_hidden_layers\":30,\"num_attention_heads\":9,"
         "\"num_key_value_heads\":3,\"tie_word_embeddings\":true}",
         134515008},
        {"{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_"
         "size\":5632,\"num_hidden_layers\":22,"
         "\"num_attention_heads\":32,\"num_key_value_heads\":4}",
         1100048384},
        {"{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":640,\"intermediate_"
         "size\":2048,\"num_hidden_layers\":18,"
         "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256}",
         268098176},
        {"{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":1152,"
         "\"intermediate_size\":6912,\"num_hidden_layers\":26,"
         "\"num_attention_heads\":4,\"num_key_value_heads\":1}",
         999885952}};
    for (int i = 0; i < 4; i++) {
        struct gm_error err = {0};
        struct model_config c;
        assert_true(model_config_parse(&c, published[i].text, strlen(published[i].text),
                                       "published", &err));
        assert_int_equal(model_config_parameters(&c), published[i].n);
        if (i == 0) { /* rank 8 on all seven */
            struct lora_options o = {.rank = 8, .scale = 1, .keys = 0x7f};
            struct lora *l = lora_new(&c, &o, 1, &err);
            assert_int_equal(l->set.count, 2442240);
            lora_free(l);
        }
    }
}

static void test_config_refused(void **state)
{
    static const struct {
        const char *form, *more;
        enum gm_code code;
        const char *says[3];
    } bad[] = {
        {"{\"model_type\":\"phi3\"",
         "",
         GM_E_UNSUPPORTED,
         {"config.json", "phi3", "gemma3_text, llama"}},
        {"{", "", GM_E_INPUT, {"config.json", "model_type", ""}},
        {"[", "", GM_E_INPUT, {"config.json", "object", ""}},
        {LLAMA,
         ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}",
         GM_E_UNSUPPORTED,
         {"rope_scaling", "llama3", "linear"}},
        {LLAMA,
         ",\"rope_scaling\":{\"type\":\"linear\"}",
         GM_E_INPUT,
         {"rope_scaling", "factor", ""}},
        {LLAMA, ",\"attention_bias\":true", GM_E_UNSUPPORTED, {"attention_bias", "true", ""}},
        {LLAMA, ",\"mlp_bias\":true", GM_E_UNSUPPORTED, {"mlp_bias", "true", ""}},
        {LLAMA, ",\"quantization\":{\"bits\":4}", GM_E_UNSUPPORTED, {"quantization", "bits", ""}},
        {LLAMA, ",\"hidden_act\":\"relu\"", GM_E_UNSUPPORTED, {"hidden_act", "relu", "silu"}},
        {LLAMA,
         ",\"final_logit_softcapping\":30",
         GM_E_UNSUPPORTED,
         {"final_logit_softcapping", "30", ""}},
        {LLAMA,
         ",\"layer_types\":[\"full_attention\",\"chunked_attention\"]",
         GM_E_UNSUPPORTED,
         {"layer_types", "chunked_attention", ""}},
        {LLAMA,
         ",\"layer_types\":[\"full_attention\"]",
         GM_E_INPUT,
         {"layer_types", "1 entries", "2 layers"}},
        {LLAMA,
         ",\"partial_rotary_factor\":0.5",
         GM_E_UNSUPPORTED,
         {"partial_rotary_factor", "0.5", ""}},
        {LLAMA, ",\"num_experts\":8", GM_E_UNSUPPORTED, {"num_experts", "8", ""}},
        {LLAMA, ",\"head_dim\":5", GM_E_INPUT, {"head dimension", "5", ""}},
        {LLAMA, ",\"rms_norm_eps\":\"small\"", GM_E_INPUT, {"rms_norm_eps", "string", ""}},
        {LLAMA, ",\"eos_token_id\":[1.5]", GM_E_INPUT, {"eos_token_id", "", ""}},
        {GEMMA,
         ",\"use_bidirectional_attention\":true",
         GM_E_UNSUPPORTED,
         {"use_bidirectional_attention", "true", ""}},
        {GEMMA,
         ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8}",
         GM_E_UNSUPPORTED,
         {"yarn", "linear", ""}},
        {"{\"model_type\":\"llama\",\"hidden_size\":2000000000",
         "",
         GM_E_INPUT,
         {"hidden_size", "2000000000", ""}},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":0",
         "",
         GM_E_INPUT,
         {"num_hidden_layers", "0", ""}},
        {"{\"model_type\":\"llama\",\"num_attention_heads\":3,\"hidden_size\":12,\"num_key_value_"
         "heads\":2",
         "",
         GM_E_INPUT,
         {"3", "2", ""}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gm_error err = {0};
        struct model_config c;
        assert_false(parse(&c, bad[i].form, bad[i].more, &err));
        for (int k = 0; k < 3; k++)
            if (bad[i].says[k] && !strstr(err.text, bad[i].says[k]))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, bad[i].says[k]);
        if (err.code != bad[i].code)
            fail_msg("case %zu: code %d: %s", i, err.code, err.text);
    }
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
         {"model.layers.0.self_attn.k_proj.weight", "[16, 96]", "[32, 96]"}},
        {"model.norm.weight", RESHAPE, false, {"model.norm.weight", "[48]", "[96]"}},
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

static void test_gguf_config(void **state)
{
    struct gm_error err = {0};
    struct model *m = model_open(FIXTURES "/quantised/gguf/smollm2_q8_0.gguf", &err);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_config),
                                       cmocka_unit_test(test_config_round_trip),
                                       cmocka_unit_test(test_parameters),
                                       cmocka_unit_test(test_config_refused),
                                       cmocka_unit_test(test_weights_refused),
                                       cmocka_unit_test(test_gguf_config),
                                       cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_random_stored)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
