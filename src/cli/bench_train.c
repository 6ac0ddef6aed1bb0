/* bench_train.c - one LoRA training step, measured. */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/kernel/peak.h"
#include "engine/model/pass.h"
#include "src/cli/shapes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEAK_SECONDS 0.05 /* before, and after */

struct measured {
    double ms[BENCH_STEPS_MAX];
    int n;
    struct pass_part parts[16];
    int n_parts;
    double peak_gflops; /* of all threads, mean of before and after */
};

/* A packed batch of `batch` rows of `seq` random tokens, loss on the last share of each. */
struct random_batch {
    struct batch b;
    int32_t *memory;
};

static void random_batch_init(struct random_batch *r, const struct bench_train *a, int vocab)
{
    int64_t T = (int64_t)a->seq * a->batch;
    int first = (int)((1 - a->supervised) * a->seq), each = a->seq - first;
    if (first < 1) {
        first = 1;
        each = a->seq - 1;
    }
    r->memory = mem_new((size_t)(4 * T + a->batch + 1), sizeof(int32_t));
    int32_t *ids = r->memory, *positions = ids + T, *rows = positions + T, *targets = rows + T, *borders = targets + T;
    struct rng rng = rng_stream(1, "bench", 0);
    int64_t n = 0;
    for (int s = 0; s < a->batch; s++) {
        borders[s] = s * a->seq;
        for (int i = 0; i < a->seq; i++) {
            ids[s * a->seq + i] = (int32_t)rng_below(&rng, (uint64_t)vocab);
            positions[s * a->seq + i] = i;
        }
        for (int i = first; i < a->seq; i++, n++) {
            rows[n] = s * a->seq + i - 1;
            targets[n] = ids[s * a->seq + i];
        }
    }
    borders[a->batch] = (int32_t)T;
    r->b = (struct batch){.T = T, .ids = ids, .positions = positions, .n_seqs = a->batch, .seq_start = borders,
                          .n_targets = (int64_t)each * a->batch, .target_row = rows, .target_id = targets};
}

static bool measure(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct measured *out,
                    struct gm_error *err)
{
    struct random_batch data;
    random_batch_init(&data, a, m->config.vocab_size);
    struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = data.b.T, .max_targets = data.b.n_targets, .max_seqs = a->batch,
                                 .max_seq_tokens = a->seq, .recompute_layers = a->checkpoint == 1 ? RECOMPUTE_ALL : 0, .mode = c->mode};
    struct lora *l = lora_new(&m->config, &a->lora, 1, err);
    struct pass *p = l ? pass_new(m, &a->lora, &limits, err) : NULL;
    size_t bytes = l ? l->set.count * sizeof(float) : 0;
    if (l)
        lora_bind(l, m, c);
    float *memory = p ? mem_alloc(3 * bytes, "gradients and moments", err) : NULL;
    bool ok = memory != NULL;
    out->peak_gflops = peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    for (int i = 0; ok && i <= a->steps; i++) { /* step 0 touches memory for the first time: not counted */
        float *grads = memory, *m1 = memory + l->set.count, *m2 = m1 + l->set.count;
        double began = clock_seconds();
        memset(grads, 0, bytes);
        double nll = pass_loss_and_grad(p, c, l, &data.b, 1.0f / (float)data.b.n_targets, 1, (uint64_t)i, grads);
        double norm = sqrt(sum_squares(c, grads, (int64_t)l->set.count));
        struct adam adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .bias1 = 1, .bias2 = 1};
        adamw_update(c, &adam, l->set.w, m1, m2, grads, norm > 1 ? (float)(1 / norm) : 1, (int64_t)l->set.count);
        lora_changed(l, c);
        double ms = 1000 * (clock_seconds() - began);
        if (!isfinite(nll))
            ok = error_set(err, GM_E_INPUT, "bench step %d: the loss is no number", i);
        if (i > 0)
            out->ms[out->n++] = ms;
        cli_note(g, "step %d  %.1f ms  loss %.4f%s", i, ms, nll / (double)data.b.n_targets, i ? "" : "  (first touch, not counted)");
    }
    out->peak_gflops += peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    if (ok)
        out->n_parts = pass_parts(p, out->parts);
    mem_free(memory);
    pass_free(p);
    lora_free(l);
    mem_free(data.memory);
    return ok;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Flops that the mathematics needs: base products forward and back to the input, adapters, attention, head where there is loss. */
static double useful_flops(const struct model_config *c, const struct bench_train *a)
{
    double T = (double)a->seq * a->batch, q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    double sizes[PROJ_COUNT][2] = {{c->d_model, q}, {c->d_model, kv}, {c->d_model, kv}, {q, c->d_model},
                                   {c->d_model, c->d_ff}, {c->d_model, c->d_ff}, {c->d_ff, c->d_model}};
    int adapted = c->n_layers - lora_first_layer(c, &a->lora);
    double body = 0, lora = 0;
    for (int p = 0; p < PROJ_COUNT; p++) {
        body += sizes[p][0] * sizes[p][1];
        if (a->lora.keys >> p & 1)
            lora += (sizes[p][0] + sizes[p][1]) * a->lora.rank;
    }
    double attention = 2 * q * a->seq; /* forward, per token: causal half of q·k and p·v */
    return T * (2 * body * (c->n_layers + adapted) + 6 * lora * adapted + attention * (c->n_layers + 2.5 * adapted)
                + 4 * a->supervised * (double)c->d_model * c->vocab_size);
}

static void report(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct measured *r)
{
    qsort(r->ms, (size_t)r->n, sizeof *r->ms, by_size);
    double median = r->n % 2 ? r->ms[r->n / 2] : (r->ms[r->n / 2 - 1] + r->ms[r->n / 2]) / 2;
    double tokens = (double)a->seq * a->batch, share = useful_flops(&m->config, a) / (median * 1e6) / r->peak_gflops;
    if (g->json) {
        json_t *parts = json_array(), *o = json_object();
        for (int i = 0; i < r->n_parts; i++) {
            const struct pass_part *p = &r->parts[i];
            json_array_append_new(parts, json_pack("{s:s, s:f, s:f, s:f}", "name", p->name, "ms", 1000 * p->seconds, "gflops",
                                                   p->seconds > 0 ? p->flops / p->seconds / 1e9 : 0, "bytes", p->bytes));
        }
        json_object_set_new(o, "shape", json_string(a->shape));
        json_object_set_new(o, "tokens_per_second", json_real(1000 * tokens / median));
        json_object_set_new(o, "step_ms", json_real(median));
        json_object_set_new(o, "step_ms_min", json_real(r->ms[0]));
        json_object_set_new(o, "step_ms_max", json_real(r->ms[r->n - 1]));
        json_object_set_new(o, "peak_memory_bytes", json_integer((json_int_t)mem_rss_peak_bytes()));
        json_object_set_new(o, "weights", json_string(shape_weights_name(a->weights)));
        json_object_set_new(o, "weight_bytes", json_integer((json_int_t)m->weight_bytes));
        json_object_set_new(o, "compute", json_string(compute_mode_name(c->mode)));
        json_object_set_new(o, "kernel", json_string(family_name(c->family)));
        json_object_set_new(o, "threads", json_integer(pool_threads(c->pool)));
        json_object_set_new(o, "share_of_peak", json_real(share));
        json_object_set_new(o, "parts", parts);
        cli_print_json(o);
        return;
    }
    printf("%s %s  %d x %d tokens  %s %s  %d threads\n", a->shape, shape_weights_name(a->weights), a->batch, a->seq, compute_mode_name(c->mode), family_name(c->family),
           pool_threads(c->pool));
    printf("%.1f tok/s   step %.1f ms (%.1f .. %.1f)   weights %.0f MB, peak memory %.0f MB   %.0f %% of the measured peak\n\n", 1000 * tokens / median, median,
           r->ms[0], r->ms[r->n - 1], (double)m->weight_bytes / 1e6, (double)mem_rss_peak_bytes() / 1e6, 100 * share);
    for (int i = 0; i < r->n_parts; i++)
        printf("%-24s %9.2f ms %9.1f GFLOP/s\n", r->parts[i].name, 1000 * r->parts[i].seconds,
               r->parts[i].seconds > 0 ? r->parts[i].flops / r->parts[i].seconds / 1e9 : 0);
}

bool bench_train(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct gm_error *err)
{
    struct measured r = {0};
    if (!measure(a, g, m, c, &r, err))
        return false;
    report(a, g, m, c, &r);
    return true;
}
