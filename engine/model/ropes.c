/* ropes.c - see ropes.h. Formulas: Su et al. 2021; llama3: the released code of Llama 3.1. */
#include "engine/model/ropes.h"

#include <math.h>

void ropes_llama3_divisors(const struct model_config *c, double *divisors)
{
    const struct rope_scaling *s = &c->rope;
    const double pi = acos(-1.0);
    const double longest = s->original_positions / s->low_freq_factor,
                 shortest = s->original_positions / s->high_freq_factor;
    for (int i = 0; i < c->rotary_dim / 2; i++) {
        double wave = 2 * pi * pow(c->rope_theta, 2.0 * i / c->rotary_dim);
        double ramp = (s->original_positions / wave - s->low_freq_factor) /
                      (s->high_freq_factor - s->low_freq_factor);
        divisors[i] = wave < shortest  ? 1
                      : wave > longest ? s->factor
                                       : 1 / ((1 - ramp) / s->factor + ramp);
    }
}

static void plain_frequencies(double theta, int n, double *f)
{
    for (int i = 0; i < n / 2; i++)
        f[i] = pow(theta, -2.0 * i / n);
}

void ropes_frequencies(const struct model_config *c, bool long_, double *f)
{
    const struct rope_scaling *s = &c->rope;
    const int half = c->rotary_dim / 2;
    double divisors[MODEL_MAX_HEAD_DIM / 2];
    plain_frequencies(c->rope_theta, c->rotary_dim, f);
    if (s->kind == ROPE_LLAMA3)
        ropes_llama3_divisors(c, divisors);
    for (int i = 0; i < half && s->kind != ROPE_PLAIN; i++)
        f[i] /= s->kind == ROPE_LINEAR   ? s->factor
                : s->kind == ROPE_LLAMA3 ? divisors[i]
                                         : (double)(long_ ? s->long_factors : s->short_factors)[i];
}

static bool has_sliding(const struct model_config *c)
{
    for (int i = 0; i < c->n_layers; i++)
        if (c->sliding[i])
            return true;
    return false;
}

bool ropes_init(struct ropes *r, const struct model_config *c, int64_t n_positions,
                struct gm_error *err)
{
    double f[MODEL_MAX_HEAD_DIM / 2];
    const int half = c->rotary_dim / 2;
    const double scale = c->rope.kind == ROPE_LONG ? c->rope.attention_factor : 1;
    *r = (struct ropes){.n_positions = n_positions};
    ropes_frequencies(c, false, f);
    bool ok = rope_table_init(&r->full, n_positions, c->head_dim, half, f, scale, err);
    if (ok && c->rope.kind == ROPE_LONG && n_positions > c->rope.original_positions) {
        ropes_frequencies(c, true, f);
        ok = rope_table_init(&r->long_, n_positions, c->head_dim, half, f, scale, err);
    }
    if (ok && c->local_rope && has_sliding(c)) {
        plain_frequencies(c->rope_theta_local, c->rotary_dim, f);
        ok = rope_table_init(&r->local, n_positions, c->head_dim, half, f, 1, err);
    }
    if (!ok)
        ropes_free(r);
    return ok;
}

void ropes_free(struct ropes *r)
{
    rope_table_free(&r->full);
    rope_table_free(&r->local);
    rope_table_free(&r->long_);
    *r = (struct ropes){0};
}

static const struct rope_table *table_of(const struct ropes *r, const struct model_config *config, int layer)
{
    return config->local_rope && config->sliding[layer] ? &r->local : &r->full;
}

void ropes_turn(const struct ropes *r, const struct model_config *config, int layer,
                const struct compute *c, float *x, int64_t ldx, const int32_t *positions, int heads,
                int n_seqs, const int32_t *seq_start, const int32_t *lengths, bool inverse)
{
    const struct rope_table *table = table_of(r, config, layer);
    if (r->long_.half == 0) {
        rope(c, x + seq_start[0] * ldx, ldx, positions + seq_start[0],
             seq_start[n_seqs] - seq_start[0], heads, table, inverse);
        return;
    }
    for (int s = 0; s < n_seqs; s++) {
        int32_t rows = seq_start[s + 1] - seq_start[s], length = lengths ? lengths[s] : rows;
        rope(c, x + seq_start[s] * ldx, ldx, positions + seq_start[s], rows, heads,
             length > config->rope.original_positions ? &r->long_ : table, inverse);
    }
}

static void skip_rows(struct rows *r, int64_t n)
{
    if (r->data)
        r->data = (unsigned char *)r->data + (size_t)(n * r->ld) * (r->type == DT_BF16 ? 2 : 4);
}

void ropes_turn_heads(const struct ropes *r, const struct model_config *config, int layer, const struct compute *c, const struct heads *h,
                      int n_seqs, const int32_t *seq_start, bool back)
{
    const bool whole = r->long_.half == 0;
    for (int s = 0; s < (whole ? 1 : n_seqs); s++) {
        struct heads part = *h;
        const int32_t first = whole ? 0 : seq_start[s], end = seq_start[whole ? n_seqs : s + 1];
        part.T = end - first;
        part.positions += first;
        part.table = !whole && part.T > config->rope.original_positions ? &r->long_ : table_of(r, config, layer);
        for (int p = 0; p < part.n_parts; p++) {
            struct head_rows *rows = &part.part[p];
            skip_rows(&rows->x, first), skip_rows(&rows->g, first), skip_rows(&rows->to, first);
            rows->rstd = rows->rstd ? rows->rstd + (int64_t)first * rows->heads : NULL;
        }
        (back ? heads_turn_backward : heads_turn)(c, &part);
    }
}
