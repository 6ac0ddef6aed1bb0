/* bench_train.c - one LoRA training step, measured, and where its time goes. */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/kernel/peak.h"
#include "src/cli/random_batch.h"
#include "src/cli/shapes.h"
#include "ui/core/bar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEAK_SECONDS 0.05 /* before, and after */

/* The work of a step, and the memory it needs. */
struct stepper {
    const struct model *m;
    const struct compute *c;
    struct lora *lora;
    struct pass *pass;
    struct random_batch data;
    float *grads, *m1, *m2; /* one block */
};

static bool stepper_init(struct stepper *s, const struct bench_train *a, const struct model *m, const struct compute *c, struct gm_error *err)
{
    *s = (struct stepper){.m = m, .c = c};
    random_batch_init(&s->data, a->seq, a->batch, a->supervised, m->config.vocab_size);
    const struct batch *b = &s->data.b;
    struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = b->T, .max_targets = b->n_targets, .max_seqs = a->batch,
                                 .max_seq_tokens = a->seq, .recompute_layers = a->checkpoint == 1 ? RECOMPUTE_ALL : 0, .mode = c->mode};
    s->lora = lora_new(&m->config, &a->lora, 1, err);
    if (!s->lora || !(s->pass = pass_new(m, &a->lora, &limits, err)))
        return false;
    lora_bind(s->lora, m, c);
    size_t count = s->lora->set.count;
    if (!(s->grads = mem_alloc(3 * count * sizeof *s->grads, "gradients and moments", err)))
        return false;
    s->m1 = s->grads + count;
    s->m2 = s->m1 + count;
    return true;
}

static void stepper_free(struct stepper *s)
{
    mem_free(s->grads);
    pass_free(s->pass);
    lora_free(s->lora);
    random_batch_free(&s->data);
}

/* One update, as a trainer does it; its parts add up to its time. */
static double step(struct stepper *s, int number, struct bench_step *out)
{
    const int64_t count = (int64_t)s->lora->set.count;
    struct bench_parts *p = &out->parts[number];
    double began = clock_seconds();
    memset(s->grads, 0, (size_t)count * sizeof *s->grads);
    double nll = pass_loss_and_grad(s->pass, s->c, s->lora, &s->data.b, 1.0f / (float)s->data.b.n_targets, 1, (uint64_t)number, s->grads);
    double passed = clock_seconds();
    double norm = sqrt(sum_squares(s->c, s->grads, count));
    struct adam adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .bias1 = 1, .bias2 = 1};
    adamw_update(s->c, &adam, s->lora->set.w, s->m1, s->m2, s->grads, norm > 1 ? (float)(1 / norm) : 1, count);
    lora_changed(s->lora, s->c);
    double ended = clock_seconds(), known = 0;
    p->seconds = ended - began;
    p->n = pass_parts(s->pass, p->part);
    for (int i = 0; i < p->n; i++)
        known += p->part[i].seconds;
    p->part[p->n++] = (struct pass_part){.name = "clip and update", .seconds = ended - passed, .bytes = 8.0 * (double)count * sizeof(float)};
    p->part[p->n++] = (struct pass_part){.name = "rest", .seconds = passed - began - known};
    return nll / (double)s->data.b.n_targets;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const struct bench_parts *)a)->seconds, y = ((const struct bench_parts *)b)->seconds;
    return (x > y) - (x < y);
}

/* Flops that the mathematics needs: base products forward and back to the input, adapters, attention, head where there is loss. Nothing that is recomputed. */
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
    double attention = 2 * q * a->seq; /* forward, per token: causal half of q·k and p·v; backward twice that */
    return T * (2 * body * (c->n_layers + adapted) + 6 * lora * adapted + attention * (c->n_layers + 2 * adapted)
                + 4 * a->supervised * (double)c->d_model * c->vocab_size);
}

bool bench_train(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct bench_step *out,
                 struct gm_error *err)
{
    struct stepper s;
    *out = (struct bench_step){0};
    bool ok = stepper_init(&s, a, m, c, err);
    out->peak_gflops = peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    for (int i = 0; ok && i <= a->steps; i++) {
        double loss = step(&s, i, out);
        if (!isfinite(loss))
            ok = error_set(err, GM_E_INPUT, "bench step %d: the loss is no number", i);
        cli_note(g, "step %d  %.1f ms  loss %.4f%s", i, 1000 * out->parts[i].seconds, loss, i ? "" : "  (first touch, not counted)");
    }
    out->peak_gflops += peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    stepper_free(&s);
    qsort(out->parts + 1, (size_t)a->steps, sizeof *out->parts, by_seconds); /* step 0 touched its memory for the first time */
    out->median = &out->parts[1 + (a->steps - 1) / 2];
    out->ms = 1000 * out->median->seconds;
    out->ms_min = 1000 * out->parts[1].seconds;
    out->ms_max = 1000 * out->parts[a->steps].seconds;
    out->tokens_per_second = (double)a->seq * a->batch / out->median->seconds;
    out->share_of_peak = useful_flops(&m->config, a) / out->median->seconds * 1e-9 / out->peak_gflops;
    return ok;
}

/* Share of the measured peak; NAN where a part counts no flops. */
static double part_share(const struct bench_step *s, const struct pass_part *p)
{
    return p->flops > 0 && p->seconds > 0 ? p->flops / p->seconds * 1e-9 / s->peak_gflops : NAN;
}

json_t *bench_train_json(const struct bench_train *a, const struct model *m, const struct compute *c, const struct bench_step *s)
{
    json_t *parts = json_array();
    for (int i = 0; i < s->median->n; i++) {
        const struct pass_part *p = &s->median->part[i];
        double share = part_share(s, p);
        json_array_append_new(parts, json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:o}", "name", p->name, "ms", 1000 * p->seconds, "gflops",
                                               p->seconds > 0 ? p->flops / p->seconds * 1e-9 : 0, "flops", p->flops, "bytes", p->bytes, "share_of_step",
                                               p->seconds / s->median->seconds, "share_of_peak", isnan(share) ? json_null() : json_real(share)));
    }
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:s, s:I, s:s, s:s, s:i, s:f, s:f, s:o}", "shape", a->shape, "tokens_per_second",
                     s->tokens_per_second, "step_ms", s->ms, "step_ms_min", s->ms_min, "step_ms_max", s->ms_max, "peak_memory_bytes",
                     (json_int_t)mem_rss_peak_bytes(), "weights", shape_weights_name(m->layers[0].w[PROJ_Q].type), "weight_bytes",
                     (json_int_t)m->weight_bytes, "compute", compute_mode_name(c->mode), "kernel", family_name(c->family), "threads",
                     pool_threads(c->pool), "peak_gflops", s->peak_gflops, "share_of_peak", s->share_of_peak, "parts", parts);
}

void bench_train_print(const struct bench_train *a, const struct model *m, const struct compute *c, const struct bench_step *s)
{
    enum { CELLS = 26 };
    double longest = 0;
    printf("%s %s  %d x %d tokens  %s %s  %d threads\n", a->shape, shape_weights_name(m->layers[0].w[PROJ_Q].type), a->batch, a->seq,
           compute_mode_name(c->mode), family_name(c->family), pool_threads(c->pool));
    printf("%.1f tok/s   step %.1f ms (%.1f .. %.1f)   weights %.0f MB, peak memory %.0f MB\n", s->tokens_per_second, s->ms, s->ms_min, s->ms_max,
           (double)m->weight_bytes / 1e6, (double)mem_rss_peak_bytes() / 1e6);
    printf("%.0f %% of the measured peak of %.0f GFLOP/s\n\n", 100 * s->share_of_peak, s->peak_gflops);
    for (int i = 0; i < s->median->n; i++)
        longest = fmax(longest, s->median->part[i].seconds);
    printf("%-23s%8s %5s %8s %5s\n", "where the time goes", "ms", "step", "GFLOP/s", "peak");
    for (int i = 0; i < s->median->n; i++) {
        const struct pass_part *p = &s->median->part[i];
        char bar[BAR_CELLS_MAX + 1], rate[24] = "", share[24] = "";
        double of_peak = part_share(s, p);
        if (!isnan(of_peak)) {
            snprintf(rate, sizeof rate, "%.0f", p->flops / p->seconds * 1e-9);
            snprintf(share, sizeof share, "%.0f %%", 100 * of_peak);
        }
        bar_text(bar, CELLS, p->seconds / longest, isnan(of_peak) ? 0 : of_peak);
        printf("%-23s%8.1f %3.0f %% %8s %5s  %s\n", p->name, 1000 * p->seconds, 100 * p->seconds / s->median->seconds, rate, share, bar);
    }
    printf("%-23s%8.1f\n# the time that its products need at the peak, . what comes to it\n", "step", s->ms);
}
