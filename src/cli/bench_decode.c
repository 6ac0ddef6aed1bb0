/* bench_decode.c - `gemmaiku bench --decode-shape NAME`.
 *
 * A row: as many sequences as it says, each with a prompt of its own, take token after token, sampled at the default temperature. Every new token of one
 * sequence must read all weights once and the keys and values of its sequence; so the rate cannot pass bandwidth / bytes. The bandwidth is
 * measured before and after each row, since that of a virtual machine changes; the share is of the mean.
 */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/infer/sampler.h"
#include "engine/kernel/peak.h"
#include "engine/kernel/panels.h"
#include "engine/model/decode.h"
#include "engine/model/packed.h"
#include "src/cli/shapes.h"

#include <stdio.h>

enum { WARM = 2, READ_BYTES = 256 << 20 };

struct row {
    int sequences;
    double tokens_per_second, bytes_per_token, share, bandwidth, prompt_per_second;
    double step_ms, sampling_ms;
};

/* What a step of all sequences must read: every matrix once (the table of embeddings only where it is the head, too), and the cache of each. */
static double step_bytes(const struct model *m, bool int8_head, int sequences, int length)
{
    double bytes = int8_head ? (double)head_int8_bytes(&m->head) : (double)mat_bytes(&m->head);
    for (int i = 0; i < m->config.n_layers; i++) {
        int seen = m->config.sliding[i] && m->config.sliding_window < length ? m->config.sliding_window : length;
        for (int p = 0; p < PROJ_COUNT; p++)
            bytes += (double)mat_bytes(&m->layers[i].w[p]);
        bytes += 2.0 * 2 * sequences * seen * m->config.n_kv_heads * m->config.head_dim;
    }
    return bytes;
}

struct run {
    const struct model *m;
    const struct compute *c;
    const struct head_int8 *head; /* NULL: the exact one */
    struct decoder *decoder;
    struct decode_item *items;
    struct rng *rngs;
    int32_t *ids; /* [sequences, prompt] */
    struct draw *rows;
    float *logits;
    void *scratch;
    int n;
};

static bool prompts(struct run *r, const struct bench_decode *a, struct gm_error *err)
{
    struct rng rng = rng_stream(1, "bench", 0);
    for (int i = 0; i < r->n * a->prompt; i++)
        r->ids[i] = (int32_t)rng_below(&rng, (uint64_t)r->m->config.vocab_size);
    for (int i = 0; i < r->n; i++) {
        r->rngs[i] = rng_stream((uint64_t)i, "sample", 0);
        r->items[i] = (struct decode_item){.slot = decoder_take(r->decoder), .ids = r->ids + (size_t)i * (size_t)a->prompt, .n = a->prompt,
                                           .logits = r->logits + (size_t)i * (size_t)r->m->config.vocab_size};
    }
    return decoder_run(r->decoder, r->c, r->items, r->n, err);
}

/* A token for every sequence; adds to *sampling. */
static bool step(struct run *r, double *sampling, struct gm_error *err)
{
    const struct sampling s = sampling_default();
    double began = clock_seconds();
    for (int i = 0; i < r->n; i++)
        r->rows[i] = (struct draw){.logits = r->items[i].logits, .sampling = &s, .rng = &r->rngs[i]};
    sampler_draw(r->c, r->rows, r->n, r->m->config.vocab_size, r->scratch);
    for (int i = 0; i < r->n; i++) {
        r->items[i].ids = &r->rows[i].id;
        r->items[i].n = 1;
        r->items[i].want = sampler_want(&s, NULL, 0);
    }
    *sampling += clock_seconds() - began;
    return decoder_run(r->decoder, r->c, r->items, r->n, err);
}

static bool measure(struct run *r, const struct bench_decode *a, struct row *out, struct gm_error *err)
{
    double began = clock_seconds(), sampling = 0;
    if (!prompts(r, a, err))
        return false;
    out->prompt_per_second = r->n * a->prompt / (clock_seconds() - began);
    for (int i = 0; i < WARM; i++)
        if (!step(r, &sampling, err))
            return false;
    double before = peak_read(r->c->pool, 0, READ_BYTES, 0.1, err);
    sampling = 0;
    began = clock_seconds();
    for (int i = 0; i < a->tokens; i++)
        if (!step(r, &sampling, err))
            return false;
    double seconds = clock_seconds() - began, after = peak_read(r->c->pool, 0, READ_BYTES, 0.1, err);
    out->bandwidth = (before + after) / 2;
    out->sequences = r->n;
    out->step_ms = 1000 * seconds / a->tokens;
    out->sampling_ms = 1000 * sampling / a->tokens;
    out->tokens_per_second = r->n * a->tokens / seconds;
    out->bytes_per_token = step_bytes(r->m, r->head, r->n, a->prompt + WARM + a->tokens / 2) / r->n;
    out->share = out->bytes_per_token * out->tokens_per_second / out->bandwidth;
    return before > 0 && after > 0;
}

static bool measure_row(int sequences, const struct bench_decode *a, const struct model *m, const struct head_int8 *head, const struct compute *c, struct row *out,
                        struct gm_error *err)
{
    size_t n = (size_t)sequences;
    struct run r = {.m = m, .c = c, .head = head && head_int8_pays(c, &m->head, sequences) ? head : NULL, .n = sequences};
    r.decoder = decoder_new(m, sequences, a->prompt + WARM + a->tokens, c->mode == GM_COMPUTE_F32, err);
    r.logits = mem_alloc(n * (size_t)m->config.vocab_size * sizeof *r.logits, "logits", err);
    r.items = mem_new(n, sizeof *r.items);
    r.rngs = mem_new(n, sizeof *r.rngs);
    r.rows = mem_new(n, sizeof *r.rows);
    r.ids = mem_new(n * (size_t)a->prompt, sizeof *r.ids);
    r.scratch = mem_new(sampler_draw_scratch_bytes(c, m->config.vocab_size), 1);
    if (r.decoder)
        decoder_head(r.decoder, r.head);
    bool ok = r.decoder && r.logits && measure(&r, a, out, err);
    decoder_free(r.decoder);
    mem_free(r.logits);
    mem_free(r.items);
    mem_free(r.rngs);
    mem_free(r.rows);
    mem_free(r.ids);
    mem_free(r.scratch);
    return ok;
}

static const char *weights_name(const struct model *m)
{
    return shape_weights_name(m->layers[0].w[PROJ_Q].type);
}

static void print_row(const struct bench_decode *a, const struct general *g, const struct model *m, const struct compute *c, const struct row *r, json_t *rows)
{
    if (!g->json) {
        printf("%9d %8.1f %8.2f %11.2f %13.0f %8.1f %6.1f %5.0f %%\n", r->sequences, r->tokens_per_second, r->step_ms, r->sampling_ms,
               r->prompt_per_second, r->bytes_per_token / 1e6, r->bandwidth / 1e9, 100 * r->share);
        fflush(stdout);
        return;
    }
    json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "shape", a->shape, "weights", weights_name(m), "kernel",
                             family_name(c->family), "threads", pool_threads(c->pool), "sequences", r->sequences, "tokens_per_second",
                             r->tokens_per_second, "bytes_per_token", r->bytes_per_token, "bandwidth_share", r->share, "bandwidth_bytes_per_second",
                             r->bandwidth, "step_ms", r->step_ms, "sampling_ms", r->sampling_ms, "prompt_tokens_per_second", r->prompt_per_second);
    if (rows)
        json_array_append_new(rows, row);
    else
        cli_print_json(row);
}

bool bench_decode(const struct bench_decode *a, const struct general *g, const struct model *m, const struct compute *c, json_t *rows, struct gm_error *err)
{
    static const struct float_list usual = {.items = {1, 4, 16, 64}, .n = 4};
    const struct float_list *counts = a->sequences.n > 0 ? &a->sequences : &usual;
    const struct model *runs = m;
    struct packed_model *packed = NULL;
    if (a->packed != 0 && (a->packed == 1 || (panels_help(c) && dtype_block(m->head.type) == 1 && !dtype_is_mlx(m->head.type)))) {
        double began = clock_seconds();
        if (!(packed = packed_model_new(m, c, err)))
            return false;
        cli_note(g, "weights packed a second time: %.0f MB in %.0f ms", (double)packed_model_bytes(m) / 1e6, 1000 * (clock_seconds() - began));
        runs = packed_model_view(packed);
    }
    struct head_int8 *head = NULL;
    bool ok = true;
    if (a->head == 1) {
        double began = clock_seconds();
        ok = (head = head_int8_new(c, &m->head, err)) != NULL;
        if (ok)
            cli_note(g, "int8 head: %.0f MB in %.0f ms", (double)head_int8_bytes(&m->head) / 1e6, 1000 * (clock_seconds() - began));
    }
    if (ok && !g->json)
        printf("%s %s, %.0f MB  %s %s  %d threads\nprompts of %d tokens, %d more each\n\n%9s %8s %8s %11s %13s %8s %6s %7s\n", a->shape,
               weights_name(m), (double)m->weight_bytes / 1e6, compute_mode_name(c->mode), family_name(c->family), pool_threads(c->pool),
               a->prompt, a->tokens, "sequences", "tok/s", "step ms", "sampling ms", "prompt tok/s", "MB/token", "limit", "share");
    for (int i = 0; ok && i < counts->n; i++) {
        struct row row;
        ok = measure_row((int)counts->items[i], a, runs, head, c, &row, err);
        if (ok)
            print_row(a, g, m, c, &row, rows);
    }
    if (ok && !g->json)
        puts("MB/token: weights and caches that a token must read; limit: GB/s that the memory\ngave before and after; share: what was read, MB/token x tok/s, of that limit");
    head_int8_free(head);
    packed_model_free(packed);
    return ok;
}
