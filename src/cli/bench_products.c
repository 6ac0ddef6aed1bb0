/* bench_products.c - every product of a layer as a training step runs it, on weights that no cache still holds: layer after layer. */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/peak.h"
#include "src/cli/shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 15 };

/* Operands of one product: bf16 in bf16 mode, as between the operators of a pass. */
struct operands {
    const struct model *m;
    const struct compute *c;
    const struct product *p;
    int64_t T, ldx, ldy[PRODUCT_JOINED];
    enum dtype type;
    void *x, *y[PRODUCT_JOINED];
};

static void *noise(const struct operands *o, int64_t ld)
{
    size_t n = (size_t)matmul_rows(o->T) * (size_t)ld;
    void *block = mem_new(n, o->type == DT_BF16 ? sizeof(uint16_t) : sizeof(float));
    struct rng rng = rng_stream(1, "bench", 0);
    for (size_t i = 0; i < n; i++) {
        float value = (float)rng_below(&rng, 1000) / 1000 - 0.5f;
        if (o->type == DT_BF16)
            ((uint16_t *)block)[i] = f32_to_bf16(value);
        else
            ((float *)block)[i] = value;
    }
    return block;
}

static void run_layer(const struct operands *o, int layer, bool backward)
{
    const struct product *p = o->p;
    struct matmul_output out[PRODUCT_JOINED] = {{0}};
    for (int i = 0; i < p->n; i++) {
        const struct mat *w = &o->m->layers[layer].w[p->which[i]];
        struct matmul_output *to = backward ? &out[0] : &out[i];
        to->y = backward ? o->x : o->y[i];
        to->ldy = backward ? o->ldx : o->ldy[i];
        to->y_type = o->type;
        to->terms[to->n_terms++] = (struct matmul_term){
            .a = backward ? o->y[i] : o->x, .lda = backward ? o->ldy[i] : o->ldx, .w = w, .a_type = o->type};
    }
    if (backward)
        matmul_nn_joined(o->c, out, 1, o->T);
    else
        matmul_nt_joined(o->c, out, p->n, o->T);
}

/* Median time of one layer's product. */
static double measure(const struct operands *o, bool backward, double seconds)
{
    double times[ROUNDS];
    int n = 0;
    for (int i = 0; i < o->m->config.n_layers; i++)
        run_layer(o, i, backward);
    double began = clock_seconds(), last = began;
    while (n < ROUNDS && (n < 3 || last - began < seconds)) {
        for (int i = 0; i < o->m->config.n_layers; i++)
            run_layer(o, i, backward);
        double now = clock_seconds();
        times[n++] = (now - last) / o->m->config.n_layers;
        last = now;
    }
    return quantile(times, n, 0.5);
}

void bench_products(const struct model *m, const char *name, const struct compute *c, int64_t rows, double seconds, struct bench_products *out)
{
    *out = (struct bench_products){.model = name, .rows = rows, .weights = shape_weights_name(m->layers[0].w[PROJ_Q].type)};
    out->n = model_products(&m->config, out->product);
    double before = peak_gflops(c->pool, c->family, seconds / 4);
    for (int i = 0; i < out->n; i++) {
        const struct product *p = &out->product[i];
        struct operands o = {.m = m, .c = c, .p = p, .T = rows, .type = c->mode == GM_COMPUTE_BF16 ? DT_BF16 : DT_F32, .ldx = matmul_stride(p->in)};
        o.x = noise(&o, o.ldx);
        for (int k = 0; k < p->n; k++) {
            o.ldy[k] = matmul_stride(p->out[k]);
            o.y[k] = noise(&o, o.ldy[k]);
        }
        for (int back = 0; back < 2; back++)
            out->seconds[i][back] = measure(&o, back == 1, seconds);
        double after = peak_gflops(c->pool, c->family, seconds / 4);
        out->peak_gflops[i] = (before + after) / 2;
        before = after;
        mem_free(o.x);
        for (int k = 0; k < p->n; k++)
            mem_free(o.y[k]);
    }
}

bool bench_products_of_shape(const char *name, enum dtype type, const struct compute *c, int64_t rows, double seconds, struct bench_products *out,
                             struct gm_error *err)
{
    enum { LAYERS = 4, VOCABULARY = 256 }; /* enough weights to miss the caches; the head is measured with a whole step */
    struct model_config config;
    if (!shape_config(name, &config, err))
        return false;
    config.n_layers = LAYERS;
    config.vocab_size = VOCABULARY;
    struct model *m = model_random(&config, type, 1, err);
    if (!m)
        return false;
    bench_products(m, name, c, rows, seconds, out);
    model_free(m);
    return true;
}

static double gflops(const struct bench_products *b, int i, int back)
{
    return 2.0 * (double)b->rows * (double)b->product[i].in * (double)b->product[i].width / b->seconds[i][back] * 1e-9;
}

void bench_products_print(const struct bench_products *b)
{
    printf("%s %s, %d rows\n%-31s forward GFLOP/s, peak   backward GFLOP/s, peak\n", b->model, b->weights, (int)b->rows, "");
    for (int i = 0; i < b->n; i++)
        printf("  %-8s %6d -> %-6d     %15.0f %4.0f %%   %16.0f %4.0f %%\n", b->product[i].name, (int)b->product[i].in, (int)b->product[i].width,
               gflops(b, i, 0), 100 * gflops(b, i, 0) / b->peak_gflops[i], gflops(b, i, 1), 100 * gflops(b, i, 1) / b->peak_gflops[i]);
}

void bench_products_json(const struct bench_products *b, json_t *rows)
{
    for (int i = 0; i < b->n; i++)
        for (int back = 0; back < 2; back++)
            json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "model", b->model, "weights", b->weights, "name",
                                                  b->product[i].name, "pass", back ? "backward" : "forward", "rows", (json_int_t)b->rows, "in",
                                                  (json_int_t)b->product[i].in, "out", (json_int_t)b->product[i].width, "ms",
                                                  1000 * b->seconds[i][back], "gflops", gflops(b, i, back), "share_of_peak",
                                                  gflops(b, i, back) / b->peak_gflops[i]));
}
