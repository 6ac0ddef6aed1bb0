/* DoRA: lengths against V written out, logits against the fused weights, gradients against differences, rows of several adapters in
 * one decode, the same bits for any number of threads. */
#include "differences.h"

/* A DoRA adapter with everything away from its start. */
static struct lora *lively(const struct model *m, const struct compute *c, const struct lora_options *o)
{
    struct gm_error err = {0};
    struct lora *l = lora_new(&m->config, o, 5, &err);
    if (!l)
        fail_msg("%s", err.text);
    lora_bind(l, m, c);
    struct rng r = rng_stream(9, "test", 0);
    size_t n = l->set.count - l->dora.n_rows;
    for (size_t i = 0; i < l->set.count; i++)
        l->set.w[i] = i < n ? l->set.w[i] + (float)(0.05 * rng_normal(&r)) : l->set.w[i] * (float)(1 + 0.1 * rng_normal(&r));
    lora_changed(l, c);
    return l;
}

/* Row `o` of m/|V| V in double. */
static void fused_row(const struct model *m, const struct lora *l, int layer, enum proj p, int64_t o, double *out)
{
    const struct mat *w = &m->layers[layer].w[p];
    const struct lora_pair *pair = lora_at(l, layer, p);
    float *row = mem_new((size_t)w->cols, sizeof *row);
    double length = 0;
    mat_row_to_f32(w, o, row);
    for (int64_t i = 0; i < w->cols; i++) {
        out[i] = (double)row[i];
        for (int k = 0; pair && k < l->options.rank; k++)
            out[i] += (double)l->options.scale * (double)l->set.w[pair->b + o * l->options.rank + k] * (double)l->set.w[pair->a + k * w->cols + i];
        length += out[i] * out[i];
    }
    for (int64_t i = 0; i < w->cols && pair; i++)
        out[i] *= (double)l->set.w[pair->m + o] / sqrt(length);
    mem_free(row);
}

static const char *const DORA[] = {"gemma3_text", "llama", "llama_f32", "llama_bias", "phi3"};
enum { N_DORA = sizeof DORA / sizeof *DORA };
static const struct lora_options ALL = {.rank = 4, .scale = 2, .keys = 0x7f, .dora = true};

/* A new adapter changes nothing, and its m are the lengths of the rows. */
static void test_start(void **state)
{
    for (int i = 0; i < N_DORA; i++) {
        struct gm_error err = {0};
        struct tools t;
        struct fixture f;
        tools_init(&t, 2, GM_COMPUTE_F32);
        fixture_open(&f, DORA[i]);
        struct lora *l = lora_new(&f.model->config, &ALL, 5, &err);
        assert_false(lora_is_bound(l));
        lora_bind(l, f.model, &t.compute);
        assert_true(lora_is_bound(l));
        for (size_t k = 0; k < l->dora.n_rows; k++)
            assert_true(fabsf(l->dora.gain[k] - 1) < 1e-6f);
        const struct tensor_info *ids = tensor(&f.expected, "ids.1");
        float *with = logits_of(f.model, l, &t.compute, ids->data, ids->shape[0], NULL, NULL);
        near(DORA[i], with, tensor(&f.expected, "logits.1")->data, ids->shape[0] * f.model->config.vocab_size, 2e-4);
        mem_free(with);
        lora_free(l);
        fixture_close(&f);
        tools_free(&t);
    }
}

/* The same logits as of a model whose weights are m/|V| V; some projections of some layers only. */
static void test_forward(void **state)
{
    for (int i = 0; i < N_DORA; i++) {
        struct gm_error err = {0};
        struct tools t;
        struct fixture f;
        struct lora_options o = ALL;
        o.num_layers = 2;
        o.keys = i == 1 ? 1u << PROJ_K | 1u << PROJ_O | 1u << PROJ_GATE | 1u << PROJ_DOWN : ALL.keys;
        tools_init(&t, 2, GM_COMPUTE_F32);
        fixture_open(&f, DORA[i]);
        struct lora *l = lively(f.model, &t.compute, &o);
        const struct tensor_info *ids = tensor(&f.expected, "ids.2");
        float *with = logits_of(f.model, l, &t.compute, ids->data, ids->shape[0], NULL, NULL);
        struct model *fused = model_open(f.dir, &err);
        assert_true(fused && model_make_trainable(fused, &err));
        double *row = mem_new((size_t)f.model->config.d_ff + 4096, sizeof *row);
        for (int layer = 0; layer < l->n_layers; layer++)
            for (int p = 0; p < PROJ_COUNT; p++) {
                const struct mat *w = &fused->layers[layer].w[p];
                for (int64_t k = 0; lora_at(l, layer, (enum proj)p) && k < w->rows; k++) {
                    fused_row(f.model, l, layer, (enum proj)p, k, row);
                    for (int64_t e = 0; e < w->cols; e++)
                        ((float *)(uintptr_t)w->data)[k * w->cols + e] = (float)row[e];
                }
            }
        float *want = logits_of(fused, NULL, &t.compute, ids->data, ids->shape[0], NULL, NULL);
        near(DORA[i], with, want, ids->shape[0] * f.model->config.vocab_size, 3e-4);
        mem_free(row);
        mem_free(with);
        mem_free(want);
        model_free(fused);
        lora_free(l);
        fixture_close(&f);
        tools_free(&t);
    }
}

/* |V| is a constant to A and B, so it stays while they are moved; m moves alone. With and without dropout, checkpoints, in both
 * orders of norms. */
static void test_gradients(void **state)
{
    for (int i = 0; i < 2 * N_DORA; i++) {
        struct tools t;
        struct fixture f;
        struct packed batch;
        struct lora_options o = ALL;
        o.dropout = i < N_DORA ? 0 : 0.25f;
        o.num_layers = i == 0 ? 3 : 0;
        tools_init(&t, 2, GM_COMPUTE_F32);
        fixture_open(&f, DORA[i % N_DORA]);
        pack_batch(&batch, &f.expected, 0);
        struct lora *l = lively(f.model, &t.compute, &o);
        struct pass *p = pass_for(f.model, l, PASS_LORA, i % 2 ? RECOMPUTE_ALL : 0);
        float *g = mem_new(l->set.count, sizeof *g), *scratch = mem_new(l->set.count, sizeof *scratch);
        struct probe k = {.p = p, .c = &t.compute, .m = f.model, .l = l, .b = &batch.b, .w = l->set.w, .n = l->set.count, .seed = 77, .grads = g};
        loss_at(&k);
        k.grads = scratch;
        for (int q = 0; q < l->set.n_params; q++) {
            const struct param *param = &l->set.params[q];
            bool magnitude = param->offset >= l->set.count - l->dora.n_rows;
            k.magnitudes = magnitude ? l : NULL;
            check_direction(&k, g, param->offset, (size_t)(param->rows * param->cols), param->name, 4e-3, 4e-3);
            if (magnitude)
                lora_changed(l, &t.compute);
        }
        pass_free(p);
        mem_free(g);
        mem_free(scratch);
        lora_free(l);
        fixture_close(&f);
        tools_free(&t);
    }
}

/* bf16 products and kept values: near the exact gradient, for every kind of parameter. */
static void test_bf16(void **state)
{
    for (int i = 0; i < N_DORA; i++) {
        struct tools t, exact;
        struct fixture f;
        struct packed batch;
        tools_init(&t, 2, GM_COMPUTE_BF16);
        tools_init(&exact, 2, GM_COMPUTE_F32);
        fixture_open(&f, DORA[i]);
        pack_batch(&batch, &f.expected, 0);
        struct lora *l = lively(f.model, &exact.compute, &ALL), *half = lora_copy(l);
        lora_bind(half, f.model, &t.compute);
        for (size_t k = 0; k < l->dora.n_rows; k++)
            assert_true(fabsf(half->dora.gain[k] / l->dora.gain[k] - 1) < 5e-4f);
        struct pass *p = pass_for(f.model, l, PASS_LORA, 0);
        float *g = mem_new(l->set.count, sizeof *g), *want = mem_new(l->set.count, sizeof *want);
        pass_loss_and_grad(p, &exact.compute, l, &batch.b, 0.01f, 0, 0, want);
        pass_loss_and_grad(p, &t.compute, half, &batch.b, 0.01f, 0, 0, g);
        const size_t border = l->set.count - l->dora.n_rows;
        const double factors = distance(g, want, border), magnitudes = distance(g + border, want + border, l->dora.n_rows);
        if (!(factors < BF16_DISTANCE && magnitudes < BF16_DISTANCE))
            fail_msg("%s: %g and %g from the exact gradient", DORA[i], factors, magnitudes);
        pass_free(p);
        mem_free(g);
        mem_free(want);
        lora_free(l);
        lora_free(half);
        fixture_close(&f);
        tools_free(&t);
        tools_free(&exact);
    }
}

/* Base, LoRA and DoRA in one decode, each as it is alone. */
static void test_decode(void **state)
{
    enum { N = 4, LENGTH = 9 };
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "llama");
    struct lora_options few = {.rank = 6, .scale = 1, .keys = 1u << PROJ_Q | 1u << PROJ_DOWN, .dora = true};
    struct lora *a = lively(f.model, &t.compute, &ALL), *b = fixture_lora(&f), *c = lively(f.model, &t.compute, &few);
    const struct lora *adapters[N] = {a, NULL, c, b};
    const int32_t *ids = tensor(&f.expected, "ids.2")->data;
    int vocab = f.model->config.vocab_size;
    float *logits = mem_new((size_t)(N * vocab), sizeof *logits);
    struct decoder *d = decoder_new(f.model, N, 16, true, &err);
    struct decode_item items[N];
    for (int i = 0; i < N; i++)
        items[i] = (struct decode_item){.slot = decoder_take(d), .lora = adapters[i], .ids = ids + i, .n = LENGTH, .logits = logits + i * vocab};
    for (int step = 0; step < 2; step++) { /* a block of prompts, then a token each */
        if (!decoder_run(d, &t.compute, items, N, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < N; i++) {
            float *want = logits_of(f.model, adapters[i], &t.compute, ids + i, LENGTH + step, NULL, NULL);
            near("decode", logits + i * vocab, want + (LENGTH + step - 1) * vocab, vocab, 2e-4);
            mem_free(want);
            items[i].ids = ids + i + LENGTH;
            items[i].n = 1;
        }
    }
    decoder_free(d);
    mem_free(logits);
    lora_free(a);
    lora_free(b);
    lora_free(c);
    fixture_close(&f);
    tools_free(&t);
}

/* Lengths, loss and gradients; a step allocates nothing. A copy computes what the adapter does. */
static void test_threads(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        float *first = NULL, *gains = NULL;
        double first_loss = 0;
        for (int threads = 1; threads <= 3; threads++) {
            struct tools t;
            struct fixture f;
            struct packed batch;
            tools_init(&t, threads, mode ? GM_COMPUTE_F32 : GM_COMPUTE_BF16);
            fixture_open(&f, "gemma3_text");
            pack_batch(&batch, &f.expected, 1);
            struct lora *l = lively(f.model, &t.compute, &ALL), *copy = lora_copy(l);
            float *g = mem_new(l->set.count, sizeof *g);
            struct pass *p = pass_for(f.model, l, PASS_LORA, 0);
            double loss = pass_loss_and_grad(p, &t.compute, l, &batch.b, 0.01f, 0, 0, g);
            uint64_t before = mem_allocations();
            lora_changed(l, &t.compute);
            memset(g, 0, l->set.count * sizeof *g);
            assert_true(pass_loss_and_grad(p, &t.compute, copy, &batch.b, 0.01f, 0, 0, g) == loss);
            assert_int_equal(mem_allocations(), before);
            if (!first) {
                first = g;
                first_loss = loss;
                gains = mem_new(l->dora.n_rows, sizeof *gains);
                memcpy(gains, l->dora.gain, l->dora.n_rows * sizeof *gains);
            } else {
                assert_true(loss == first_loss);
                assert_memory_equal(g, first, l->set.count * sizeof *g);
                assert_memory_equal(l->dora.gain, gains, l->dora.n_rows * sizeof *gains);
                mem_free(g);
            }
            pass_free(p);
            lora_free(l);
            lora_free(copy);
            fixture_close(&f);
            tools_free(&t);
        }
        mem_free(first);
        mem_free(gains);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_start),  cmocka_unit_test(test_forward), cmocka_unit_test(test_gradients),
                                       cmocka_unit_test(test_bf16),   cmocka_unit_test(test_decode),  cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
