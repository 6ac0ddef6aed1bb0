/* Configurations: what is read of each family, what is written back, and the exact complaint about
 * what is not known. */
#include "model_test.h"

static const char LLAMA[] = "{\"model_type\":\"llama\",\"vocab_size\":40,\"hidden_size\":8,"
                            "\"intermediate_size\":12,\"num_hidden_layers\":2,"
                            "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_"
                            "embeddings\":64,\"tie_word_embeddings\":true";
static const char GEMMA[] = "{\"model_type\":\"gemma3_text\",\"vocab_size\":40,\"hidden_size\":8,"
                            "\"intermediate_size\":12,\"num_hidden_layers\":7,"
                            "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4";
static const char GEMMA2[] = "{\"model_type\":\"gemma2\",\"num_hidden_layers\":3";
static const char PHI[] = "{\"model_type\":\"phi3\",\"vocab_size\":40,\"hidden_size\":8,"
                          "\"intermediate_size\":12,\"num_hidden_layers\":2,"
                          "\"num_attention_heads\":2,\"max_position_embeddings\":64";
static const char QWEN[] = "{\"model_type\":\"qwen2\",\"vocab_size\":40,\"hidden_size\":8,"
                           "\"intermediate_size\":12,\"num_hidden_layers\":2,"
                           "\"num_attention_heads\":2,\"num_key_value_heads\":1";

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
    assert_true(c.rope.kind == ROPE_LINEAR && c.rope.factor == 2.5 && c.n_eos == 2 && c.eos_ids[1] == 5 &&
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
    assert_true(c.sliding[0] && !c.sliding[1] && c.rope.factor == 8 &&
                c.sliding_window == 16);
    assert_true(parse(&c, GEMMA,
                      ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\","
                      "\"factor\":4.0,\"rope_theta\":5e5},"
                      "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":2e4}},"
                      "\"final_logit_softcapping\":30.0",
                      &err));
    assert_true(c.rope.factor == 4 && c.rope_theta == 5e5 && c.rope_theta_local == 2e4 &&
                c.final_softcap == 30);
}

/* What published files of the other families say, and what they leave out. */
static void test_families(void **state)
{
    struct gm_error err = {0};
    struct model_config c;
    assert_true(parse(&c, PHI, ",\"sliding_window\":2047", &err));
    assert_true(c.fused && c.sliding_window == 2047 && c.sliding[0] && c.sliding[1] &&
                c.rotary_dim == 4 && !c.local_rope && c.rope.kind == ROPE_PLAIN);
    assert_true(parse(&c, PHI, ",\"sliding_window\":null,\"partial_rotary_factor\":0.5", &err));
    assert_true(c.rotary_dim == 2 && c.sliding_window == 0 && !c.sliding[0]);
    assert_true(parse(&c, PHI,
                      ",\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"su\","
                      "\"short_factor\":[1.5,2],\"long_factor\":[3,4.25]}",
                      &err));
    assert_true(c.rope.kind == ROPE_LONG && c.rope.original_positions == 16 &&
                c.rope.long_factors[1] == 4.25f && c.rope.short_factors[0] == 1.5f);
    assert_true(fabs(c.rope.attention_factor - sqrt(1 + log(4.0) / log(16.0))) < 1e-12);
    assert_true(parse(&c, PHI,
                      ",\"rope_parameters\":{\"rope_type\":\"longrope\",\"rope_theta\":5000,"
                      "\"attention_factor\":1.25,\"partial_rotary_factor\":0.5,"
                      "\"short_factor\":[1],\"long_factor\":[2]},\"dtype\":\"bfloat16\"",
                      &err));
    assert_true(c.rope.attention_factor == 1.25 && c.rope_theta == 5000 && c.rotary_dim == 2 &&
                c.rope.original_positions == 4096);

    assert_true(parse(&c, QWEN, ",\"sliding_window\":32,\"max_window_layers\":1", &err));
    assert_true(c.qkv_bias && !c.o_bias && c.sliding_window == 0 && !c.sliding[1]);
    assert_true(parse(&c, QWEN,
                      ",\"sliding_window\":32,\"max_window_layers\":1,\"use_sliding_window\":true",
                      &err));
    assert_true(c.sliding_window == 32 && !c.sliding[0] && c.sliding[1]);

    assert_true(parse(&c, QWEN, ",\"sliding_window\":null,\"max_window_layers\":1,\"use_sliding_window\":true", &err));
    assert_true(c.sliding_window == 0 && !c.sliding[1]);

    assert_true(parse(&c, GEMMA2, "", &err));
    assert_true(c.sliding[0] && !c.sliding[1] && c.sliding[2] && c.attn_softcap == 50 &&
                c.final_softcap == 30 && !c.qk_norm && !c.local_rope && c.head_dim == 256);
    assert_true(parse(&c, GEMMA2, ",\"attn_logit_softcapping\":null", &err));
    assert_true(c.attn_softcap == 0 && c.final_softcap == 30);

    assert_true(parse(&c, LLAMA,
                      ",\"attention_bias\":true,\"mlp_bias\":true,\"rope_scaling\":{\"rope_type\":"
                      "\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
                      "\"original_max_position_embeddings\":32}",
                      &err));
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias && c.rope.kind == ROPE_LLAMA3 &&
                c.rope.original_positions == 32);

    assert_true(parse(&c, PHI, /* Phi-4-mini's extra keys; a remark that is no option */
                      ",\"full_attn_mod\":1,\"interpolate_factor\":1,\"lm_head_bias\":false,"
                      "\"auto_map\":{\"AutoConfig\":\"x.Y\"},\"resid_pdrop\":0.1,\"made_by\":\"a person\"",
                      &err));
    static const char multimodal[] = /* as the 4B checkpoints have it */
        "{\"model_type\":\"gemma3\",\"eos_token_id\":[1,106],\"boi_token_index\":255999,"
        "\"text_config\":{\"hidden_size\":2560,\"intermediate_size\":10240,\"model_type\":"
        "\"gemma3_text\",\"num_hidden_layers\":34,\"rope_scaling\":{\"factor\":8.0,\"rope_type\":"
        "\"linear\"},\"sliding_window\":1024},\"vision_config\":{\"hidden_size\":1152}";
    assert_true(parse(&c, multimodal, "", &err));
    assert_true(c.n_heads == 8 && c.n_kv_heads == 4 && c.head_dim == 256 && c.vocab_size == 262208 &&
                c.rope.factor == 8 && c.n_eos == 2 && c.sliding_window == 1024);
    assert_int_equal(model_config_parameters(&c), 3880263168);
}

static void test_config_round_trip(void **state)
{
    for (int i = 0; i < N_MODELS; i++) {
        struct gm_error err = {0};
        struct fixture f;
        struct model_config c;
        fixture_open(&f, MODELS[i]);
        json_t *o = model_config_to_json(&f.model->config);
        char *text = json_pretty(o);
        if (!model_config_parse(&c, text, strlen(text), "again", &err))
            fail_msg("%s: %s", MODELS[i], err.text);
        if (memcmp(&c, &f.model->config, sizeof c) != 0)
            fail_msg("%s: not the same again: %s", MODELS[i], text);
        json_decref(o);
        mem_free(text);
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
         "\"num_key_value_heads\":3,\"tie_word_embeddings\":true",
         134515008},
        {"{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_"
         "size\":5632,\"num_hidden_layers\":22,"
         "\"num_attention_heads\":32,\"num_key_value_heads\":4",
         1100048384},
        {"{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":640,\"intermediate_"
         "size\":2048,\"num_hidden_layers\":18,"
         "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256",
         268098176},
        {"{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":1152,"
         "\"intermediate_size\":6912,\"num_hidden_layers\":26,"
         "\"num_attention_heads\":4,\"num_key_value_heads\":1",
         999885952},
        {"{\"model_type\":\"gemma2\"", 2614341888},
        {"{\"model_type\":\"phi3\"", 3821079552},
        {"{\"model_type\":\"qwen2\",\"vocab_size\":151936,\"hidden_size\":896,\"intermediate_size\":"
         "4864,\"num_hidden_layers\":24,\"num_attention_heads\":14,\"num_key_value_heads\":2,"
         "\"tie_word_embeddings\":true",
         494032768},
        {"{\"model_type\":\"qwen3\",\"vocab_size\":151936,\"hidden_size\":1024,\"intermediate_size\":"
         "3072,\"num_hidden_layers\":28,\"num_attention_heads\":16,\"num_key_value_heads\":8,"
         "\"tie_word_embeddings\":true",
         596049920}};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        struct gm_error err = {0};
        struct model_config c;
        assert_true(parse(&c, published[i].text, "", &err));
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
        {"{\"model_type\":\"mamba\"",
         "",
         GM_E_UNSUPPORTED,
         {"config.json", "mamba", "qwen3"}},
        {"{", "", GM_E_INPUT, {"config.json", "model_type", ""}},
        {"[", "", GM_E_INPUT, {"config.json", "object", ""}},
        {LLAMA,
         ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}",
         GM_E_INPUT,
         {"rope_scaling", "low_freq_factor", ""}},
        {LLAMA,
         ",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":8}",
         GM_E_UNSUPPORTED,
         {"rope_scaling", "dynamic", "llama3"}},
        {LLAMA,
         ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8,\"mscale\":2}",
         GM_E_UNSUPPORTED,
         {"rope_scaling", "mscale", ""}},
        {PHI,
         ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1,2]}",
         GM_E_INPUT,
         {"rope_scaling", "short_factor", "1 numbers for 2"}},
        {PHI,
         ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,0],\"long_factor\":[1,2]}",
         GM_E_INPUT,
         {"rope_scaling", "short_factor", "entry 1"}},
        {PHI, ",\"partial_rotary_factor\":0.8", GM_E_INPUT, {"3 of 4", "rotated", ""}},
        {PHI, ",\"attention_bias\":true", GM_E_UNSUPPORTED, {"attention_bias", "true", ""}},
        {QWEN, ",\"mlp_bias\":true", GM_E_UNSUPPORTED, {"mlp_bias", "true", ""}},
        {LLAMA, ",\"sliding_window\":16", GM_E_UNSUPPORTED, {"sliding_window", "16", ""}},
        {GEMMA2, ",\"sliding_window_pattern\":4", GM_E_UNSUPPORTED, {"sliding_window_pattern", "4", "gemma2"}},
        {LLAMA, ",\"attention_multiplier\":0.5", GM_E_UNSUPPORTED, {"attention_multiplier", "0.5", ""}},
        {LLAMA, ",\"rotate_by_thirds\":true", GM_E_UNSUPPORTED, {"rotate_by_thirds", "true", ""}},
        {LLAMA, ",\"text_config\":{\"hidden_size\":8}", GM_E_UNSUPPORTED, {"text_config", "gemma3", ""}},
        {LLAMA,
         ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
         GM_E_UNSUPPORTED,
         {"quant_method", "gptq", "MLX"}},
        {LLAMA,
         ",\"rope_scaling\":{\"type\":\"linear\"}",
         GM_E_INPUT,
         {"rope_scaling", "factor", ""}},
        {LLAMA, ",\"quantization\":4", GM_E_UNSUPPORTED, {"quantization", "4", ""}},
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
        {LLAMA,
         ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"default\"}",
         GM_E_INPUT,
         {"rope_scaling", "rope_parameters", "different"}},
        {LLAMA, ",\"num_experts\":8", GM_E_UNSUPPORTED, {"num_experts", "8", ""}},
        {LLAMA, ",\"head_dim\":5", GM_E_INPUT, {"head dimension", "5", ""}},
        {"{\"model_type\":\"llama\",\"num_attention_heads\":2,\"num_key_value_heads\":2,\"hidden_size\":4096",
         "",
         GM_E_INPUT,
         {"head dimension 2048", "1024", ""}},
        {LLAMA, ",\"rms_norm_eps\":\"small\"", GM_E_INPUT, {"rms_norm_eps", "string", ""}},
        {LLAMA, ",\"eos_token_id\":[1.5]", GM_E_INPUT, {"eos_token_id", "", ""}},
        {LLAMA, ",\"eos_token_id\":\"</s>\"", GM_E_INPUT, {"eos_token_id", "integer", ""}},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config), cmocka_unit_test(test_families),
        cmocka_unit_test(test_config_round_trip), cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_config_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
