/* bench_train.c - one LoRA training step, measured, and where its time goes. */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/kernel/peak.h"
#include "engine/train/forecast.h"
#include "src/cli/random_batch.h"
#include "src/cli/shapes.h"
#include "ui/core/bar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEAK_SECONDS 0.05 /* before, and after */

/* An update as the trainer does it, and the memory it needs. */
struct work {
    struct random_batch data;
    struct step step;
};

/* As many layers computed again as `train` would have. */
static bool choose_recomputed(const struct bench_train *a, const struct model *m, const struct compute *c, const struct pass_limits *limits,
                              int *recomputed, struct gm_error *err)
{
    struct train_options o = train_options_default();
    o.lora = a->lora;
    o.batch_size = a->batch;
    o.max_seq_length = a->seq;
    o.checkpoint_layers = -1;
    o.memory_budget = a->memory_budget;
    const uint64_t resident = mem_rss_bytes(), weights = m->weight_bytes;
    struct forecast_input in = {.config = &m->config, .options = &o, .mode = c->mode, .supervised = a->supervised, .samples_s = NAN, .weights = weights,
                                .program = resident > weights ? resident - weights : 0, .own = resident - mem_rss_file_bytes(),
                                .available = mem_available_bytes()};
    struct forecast f;
    const struct probe_request probe = {.model = m, .options = &o, .compute = c, .limits = *limits};
    bool ok = probe_packing(&probe, &in.probe.packing, err) && forecast_choose(&in, &f, err);
    *recomputed = ok ? f.recomputed : 0;
    return ok;
}

static bool work_init(struct work *w, const struct bench_train *a, const struct model *m, const struct compute *c, struct bench_step *out,
                      struct gm_error *err)
{
    const struct train_options o = train_options_default();
    *w = (struct work){.step.compute = c};
    random_batch_init(&w->data, a->seq, a->batch, a->supervised, m->config.vocab_size);
    const struct batch *b = &w->data.b;
    struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = b->T, .max_targets = b->n_targets, .max_seqs = a->batch,
                                 .max_seq_tokens = a->seq, .mode = c->mode};
    out->walked = m->config.n_layers - lora_first_layer(&m->config, &a->lora);
    out->recomputed = a->checkpoint == 1 ? out->walked : 0;
    if (a->checkpoint < 0 && !choose_recomputed(a, m, c, &limits, &out->recomputed, err))
        return false;
    limits.recompute_layers = out->recomputed;
    struct lora *l = w->step.lora = lora_new(&m->config, &a->lora, 1, err);
    if (!l || !(w->step.pass = pass_new(m, &a->lora, &limits, err)) || !(w->step.optimizer = optimizer_new(&o, l->set.count, err)))
        return false;
    lora_bind(l, m, c);
    return (w->step.grads = mem_alloc(l->set.count * sizeof(float), "gradients", err)) != NULL;
}

static void work_free(struct work *w)
{
    mem_free(w->step.grads);
    optimizer_free(w->step.optimizer);
    pass_free(w->step.pass);
    lora_free(w->step.lora);
    random_batch_free(&w->data);
}

static const struct batch *next(void *arg, int i)
{
    (void)i;
    return &((struct work *)arg)->data.b;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const struct step_parts *)a)->seconds, y = ((const struct step_parts *)b)->seconds;
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
    struct work w;
    *out = (struct bench_step){0};
    bool ok = work_init(&w, a, m, c, out, err);
    out->peak_gflops = peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    for (int i = 0; ok && i <= a->steps; i++) {
        struct step_result r;
        if (step_run(&w.step, 1e-4, w.data.b.n_targets, 1, next, &w, &r) != STEP_DONE)
            ok = error_set(err, GM_E_INPUT, "bench step %d: loss or gradient is no number", i);
        out->parts[i] = r.parts;
        cli_note(g, "step %d  %.1f ms  loss %.4f%s", i, 1000 * r.parts.seconds, r.loss, i ? "" : "  (first touch, not counted)");
    }
    out->peak_gflops += peak_gflops(c->pool, c->family, PEAK_SECONDS) / 2;
    work_free(&w);
    if (!ok)
        return false;
    qsort(out->parts + 1, (size_t)a->steps, sizeof *out->parts, by_seconds); /* step 0 touched its memory for the first time */
    out->median = &out->parts[1 + (a->steps - 1) / 2];
    out->ms = 1000 * out->median->seconds;
    out->ms_min = 1000 * out->parts[1].seconds;
    out->ms_max = 1000 * out->parts[a->steps].seconds;
    out->tokens_per_second = (double)a->seq * a->batch / out->median->seconds;
    out->share_of_peak = useful_flops(&m->config, a) / out->median->seconds * 1e-9 / out->peak_gflops;
    return true;
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
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:s, s:I, s:i, s:s, s:s, s:i, s:f, s:f, s:o}", "shape", a->shape, "tokens_per_second",
                     s->tokens_per_second, "step_ms", s->ms, "step_ms_min", s->ms_min, "step_ms_max", s->ms_max, "peak_memory_bytes",
                     (json_int_t)mem_rss_peak_bytes(), "weights", shape_weights_name(m->layers[0].w[PROJ_Q].type), "weight_bytes",
                     (json_int_t)m->weight_bytes, "recompute_layers", s->recomputed, "compute", compute_mode_name(c->mode), "kernel", family_name(c->family), "threads",
                     pool_threads(c->pool), "peak_gflops", s->peak_gflops, "share_of_peak", s->share_of_peak, "parts", parts);
}

void bench_train_print(const struct bench_train *a, const struct model *m, const struct compute *c, const struct bench_step *s)
{
    enum { CELLS = 26 };
    double longest = 0;
    printf("%s %s  %d x %d tokens  %s %s  %d threads\n", a->shape, shape_weights_name(m->layers[0].w[PROJ_Q].type), a->batch, a->seq,
           compute_mode_name(c->mode), family_name(c->family), pool_threads(c->pool));
    printf("%.1f tok/s   step %.1f ms (%.1f .. %.1f)   weights %.0f MB, peak %.0f MB", s->tokens_per_second, s->ms, s->ms_min, s->ms_max,
           (double)m->weight_bytes / 1e6, (double)mem_rss_peak_bytes() / 1e6);
    printf(s->recomputed ? ", %d of %d layers computed again\n" : "\n", s->recomputed, s->walked);
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
