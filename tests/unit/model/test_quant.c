/* Matrices as MLX quantises them: adapters learn on them as on their expanded selves, and what does not fit together is refused. */
#include "model_test.h"

#include "engine/base/rng.h"

static struct model *open_folder(const char *name)
{
    struct gm_error err = {0};
    char *path = mem_printf("%s/quantised/%s", fixtures_dir(), name);
    struct model *m = model_open(path, &err);
    if (!m)
        fail_msg("%s", err.text);
    mem_free(path);
    return m;
}

/* The gradients of an adapter are those on the same weights held in f32. */
static void test_adapters_learn(void **state)
{
    static const char *const folders[] = {"llama_4bit_g64", "llama_custom", "gemma3_text_mxfp4", "gemma3_text_mixed_4_6", "gemma2_4bit_g32"};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct gm_error err = {0};
        struct model *m = open_folder(folders[i]), *wide = open_folder(folders[i]);
        assert_true(dtype_is_mlx(m->layers[0].w[PROJ_Q].type) && dtype_is_mlx(m->embed.type));
        assert_true(model_make_trainable(wide, &err) && wide->embed.type == DT_F32);
        struct lora_options o = {.rank = 3, .scale = 2, .keys = 0x7f};
        struct lora *l = lora_new(&m->config, &o, 5, &err);
        struct rng r = rng_stream(9, "test", 0);
        for (size_t k = 0; k < l->set.count; k++)
            l->set.w[k] += (float)(0.05 * rng_normal(&r));
        static int32_t ids[48], targets[47], rows[47];
        for (int k = 0; k < 48; k++)
            ids[k] = (k * 37 + 5) % m->config.vocab_size;
        for (int k = 0; k < 47; k++) {
            rows[k] = k;
            targets[k] = ids[k + 1];
        }
        struct one one;
        one_sequence(&one, ids, 48);
        one.b.n_targets = 47;
        one.b.target_row = rows;
        one.b.target_id = targets;
        float *g = mem_new(l->set.count, sizeof *g), *want = mem_new(l->set.count, sizeof *want);
        struct pass *p = pass_for(m, l, PASS_LORA, 0), *q = pass_for(wide, l, PASS_LORA, 0);
        double a = pass_loss_and_grad(p, &t.compute, l, &one.b, 1.0f / 47, 0, 0, g),
               b = pass_loss_and_grad(q, &t.compute, l, &one.b, 1.0f / 47, 0, 0, want);
        assert_true(fabs(a - b) < 1e-3);
        near(folders[i], g, want, (int64_t)l->set.count, 1e-4);
        pass_free(p);
        pass_free(q);
        mem_free(g);
        mem_free(want);
        lora_free(l);
        model_free(m);
        model_free(wide);
    }
    tools_free(&t);
}

/* Fused projections are views of the rows of one quantised matrix, its scales and biases too. */
static void test_fused(void **state)
{
    static const char config[] = "{\"model_type\":\"phi3\",\"vocab_size\":80,\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":2,"
                                 "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"partial_rotary_factor\":0.75}";
    static const enum dtype types[] = {DT_MLX4, DT_MLX8, DT_Q8_0, DT_BF16};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < 4; i++) {
        struct gm_error err = {0};
        struct model_config c;
        assert_true(model_config_parse(&c, config, strlen(config), "config.json", &err));
        struct model *m = model_random(&c, types[i], 3, &err), *wide = model_random(&c, types[i], 3, &err);
        if (!m || !wide || !model_make_trainable(wide, &err))
            fail_msg("%s", err.text);
        assert_int_equal(m->layers[1].w[PROJ_V].type, types[i]);
        assert_ptr_equal(m->layers[1].w[PROJ_K].data, (const unsigned char *)m->layers[1].w[PROJ_Q].data + 64 * m->layers[1].w[PROJ_Q].row_bytes);
        static int32_t ids[30];
        for (int k = 0; k < 30; k++)
            ids[k] = (k * 37 + 5) % 80;
        float *have = logits_of(m, NULL, &t.compute, ids, 30, NULL, NULL), *want = logits_of(wide, NULL, &t.compute, ids, 30, NULL, NULL);
        near(dtype_name(types[i]), have, want, 30 * 80, 1e-5);
        mem_free(have);
        mem_free(want);
        model_free(m);
        model_free(wide);
    }
    tools_free(&t);
}

/* llama_custom with its settings changed, or with one tensor changed or left out. */
struct change {
    const char *key, *module, *setting; /* "quantization" or one module in it: what stands there instead; NULL: nothing */
    const char *tensor;
    enum { KEEP, REMOVE, NARROW, POISON, RETYPE } how;
    const char *says[2];
};

static void write_changed(const struct model *m, const char *folder, const struct change *c)
{
    struct gm_error err = {0};
    const struct model_source *s = m->source;
    json_t *config = json_deep_copy(s->config);
    if (c->key) {
        json_t *value = c->setting ? json_loads(c->setting, JSON_DECODE_ANY, NULL) : NULL;
        json_object_del(config, "quantization_config");
        json_t *at = c->module ? json_object_get(config, "quantization") : config;
        if (value)
            json_object_set_new(at, c->module ? c->module : c->key, value);
        else
            json_object_del(at, c->module ? c->module : c->key);
    }
    struct tensor_out *out = mem_new((size_t)s->n_tensors, sizeof *out);
    void *copy = NULL;
    int n = 0;
    for (int i = 0; i < s->n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(s, i);
        out[n] = (struct tensor_out){.name = t->name, .type = t->type, .n_dims = t->n_dims, .data = t->data};
        memcpy(out[n].shape, t->shape, sizeof t->shape);
        if (c->tensor && strcmp(t->name, c->tensor) == 0) {
            if (c->how == REMOVE)
                continue;
            if (c->how == NARROW)
                out[n].shape[1] /= 2;
            if (c->how == RETYPE)
                out[n].type = t->type == DT_U32 ? DT_F32 : DT_F16;
            if (c->how == POISON) {
                copy = mem_new(1, t->bytes);
                memcpy(copy, t->data, t->bytes);
                ((uint16_t *)copy)[1] = 0x7fc0;
                out[n].data = copy;
            }
        }
        n++;
    }
    char *file = path_join(folder, "model.safetensors"), *path = path_join(folder, "config.json");
    assert_true(safetensors_write(file, out, n, NULL, 0, &err) && json_write_file(path, config, &err));
    mem_free(file);
    mem_free(path);
    mem_free(copy);
    mem_free(out);
    json_decref(config);
}

static void test_refused(void **state)
{
#define UP "model.layers.0.mlp.up_proj"
    static const struct change changes[] = {
        {.key = "quantization", .says = {".scales\" is there", "no \"quantization\""}},
        {.key = "quantization", .module = "bits", .setting = "7", .says = {"\"bits\" is 7", "2, 3, 4, 5, 6, 8"}},
        {.key = "quantization", .module = "group_size", .setting = "48", .says = {"\"group_size\" is 48", "32, 64, 128"}},
        {.key = "quantization", .module = "mode", .setting = "\"nvfp4\"", .says = {"nvfp4", "affine, mxfp4"}},
        {.key = "quantization", .module = UP, .setting = "false", .says = {UP "\" is false", ".scales\" is there"}},
        {.key = "quantization", .module = UP, .setting = "{\"bits\":8,\"group_size\":32}", .says = {UP, "8 bits, groups of 32"}},
        {.key = "quantization", .module = UP, .setting = "{\"mode\":\"mxfp4\"}", .says = {UP, "no MLX_FP4 matrix is"}},
        {.tensor = UP ".biases", .how = REMOVE, .says = {UP ".biases", "missing"}},
        {.tensor = UP ".scales", .how = NARROW, .says = {UP ".scales", "as config.json says"}},
        {.tensor = UP ".scales", .how = POISON, .says = {UP ".scales", ""}},
        {.tensor = UP ".scales", .how = RETYPE, .says = {UP ".biases", "the scales are of type"}},
        {.tensor = UP ".weight", .how = RETYPE, .says = {UP ".weight", "of type F32"}},
        {.tensor = UP ".scales", .how = REMOVE, .says = {UP ".weight", "scales are missing"}}};
#undef UP
    struct model *m = open_folder("llama_custom");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct gm_error err = {0};
        char *folder = new_folder();
        write_changed(m, folder, &changes[i]);
        struct model *broken = model_open(folder, &err);
        assert_null(broken);
        for (int k = 0; k < 2; k++)
            if (!strstr(err.text, changes[i].says[k]))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, changes[i].says[k]);
        drop_folder(folder);
    }
    model_free(m);
}

/* The multimodal folder says that pictures are left out; the text-only one has nothing to say. */
static void test_notes(void **state)
{
    struct fixture f;
    fixture_open(&f, "gemma3_mm");
    assert_int_equal(f.model->n_notes, 1);
    assert_non_null(strstr(f.model->notes[0], "vision tower"));
    fixture_close(&f);
    for (int i = 0; i < N_MODELS; i++) {
        fixture_open(&f, MODELS[i]);
        assert_int_equal(f.model->n_notes, strcmp(MODELS[i], "gemma3_mm") == 0 ? 1 : 0);
        fixture_close(&f);
    }
    struct gm_error err = {0};
    struct model *m = open_folder("llama_custom");
    char *folder = new_folder();
    write_changed(m, folder, &(struct change){.key = "norm_kind", .setting = "\"layer\""});
    struct model *odd = model_open(folder, &err);
    if (!odd)
        fail_msg("%s", err.text);
    assert_int_equal(odd->n_notes, 1);
    assert_string_equal(odd->notes[0], "config.json: \"norm_kind\" is not known here and not used");
    model_free(odd);
    model_free(m);
    drop_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adapters_learn), cmocka_unit_test(test_fused), cmocka_unit_test(test_refused), cmocka_unit_test(test_notes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
