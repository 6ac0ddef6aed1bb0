/* ops_rows_plain.c - the plain twins of ops_rows.h: one thread, sums and functions in double, one rounding where a number is
 * stored. Oracles of the tests. */
#include "engine/kernel/ops_rows.h"

#include <math.h>

static double get(struct rows r, int64_t t, int64_t i)
{
    return r.type == DT_BF16 ? (double)bf16_to_f32(((const uint16_t *)r.data)[t * r.ld + i]) : (double)((const float *)r.data)[t * r.ld + i];
}

static void put(struct rows r, int64_t t, int64_t i, double v)
{
    if (r.type == DT_BF16)
        ((uint16_t *)r.data)[t * r.ld + i] = f32_to_bf16((float)v);
    else
        ((float *)r.data)[t * r.ld + i] = (float)v;
}

static double rstd_of(struct rows x, int64_t t, int64_t first, int64_t n, float eps)
{
    double sum = 0;
    for (int64_t i = first; i < first + n; i++)
        sum += get(x, t, i) * get(x, t, i);
    return 1 / sqrt(sum / (double)n + (double)eps);
}

void plain_residual(const struct residual *r)
{
    for (int64_t t = 0; t < r->T; t++) {
        struct rows branch = r->branch;
        for (int64_t i = 0; r->rounded.data && i < r->n; i++)
            put(r->rounded, t, i, get(branch, t, i));
        branch = r->rounded.data ? r->rounded : branch;
        double rb = branch.data && r->norm_branch ? rstd_of(branch, t, 0, r->n, r->eps) : 1;
        for (int64_t i = 0; i < r->n; i++) {
            double b = branch.data ? get(branch, t, i) * rb * (double)(r->norm_branch ? r->norm_branch[i] : 1) : 0;
            float *x = r->x ? &r->x[t * r->n + i] : NULL;
            if (x)
                *x = (float)((double)*x + b);
            if (r->sum.data && (x || r->base.data))
                put(r->sum, t, i, r->base.data ? get(r->base, t, i) + b : (double)*x);
        }
        double rn = r->norm ? rstd_of(r->sum, t, 0, r->n, r->eps) : 1;
        for (int64_t i = 0; r->norm && i < r->n; i++)
            put(r->normed, t, i, get(r->sum, t, i) * rn * (double)r->norm[i]);
    }
}

/* dL/dx of a normed row, element i; `pull` is sum(dy w x). */
static double norm_slope(double dy, double w, double x, double r, double pull, int64_t n)
{
    return r * w * dy - r * r * r / (double)n * x * pull;
}

void plain_residual_backward(const struct residual_backward *r)
{
    const struct rows stream = rows_of(r->dx, DT_F32, r->n);
    for (int64_t t = 0; t < r->T; t++) {
        double rn = r->d_normed.data ? rstd_of(r->sum, t, 0, r->n, r->eps) : 0, pull = 0;
        for (int64_t i = 0; r->d_normed.data && i < r->n; i++)
            pull += get(r->d_normed, t, i) * (double)r->norm[i] * get(r->sum, t, i);
        for (int64_t i = 0; r->d_normed.data && i < r->n; i++)
            put(stream, t, i, get(stream, t, i) + norm_slope(get(r->d_normed, t, i), (double)r->norm[i], get(r->sum, t, i), rn, pull, r->n));
        if (r->rstd)
            r->rstd[t] = (float)rn;
        if (!r->d_branch.data)
            continue;
        double rb = r->norm_branch ? rstd_of(r->branch, t, 0, r->n, r->eps) : 0;
        pull = 0;
        for (int64_t i = 0; r->norm_branch && i < r->n; i++)
            pull += get(stream, t, i) * (double)r->norm_branch[i] * get(r->branch, t, i);
        for (int64_t i = 0; i < r->n; i++)
            put(r->d_branch, t, i,
                r->norm_branch ? norm_slope(get(stream, t, i), (double)r->norm_branch[i], get(r->branch, t, i), rb, pull, r->n)
                               : get(stream, t, i));
        if (r->rstd_branch && r->norm_branch)
            r->rstd_branch[t] = (float)rb;
    }
}

/* v turns by the angle of (position, pair), in place; sign -1: back. */
static void turn(double *v, const struct heads *h, int64_t t, double sign)
{
    const struct rope_table *table = h->table;
    for (int i = 0; h->rotate && i < table->half; i++) {
        int64_t at = (int64_t)h->positions[t] * table->half + i;
        double c = (double)table->cos[at], s = sign * (double)table->sin[at], a = v[i], b = v[i + table->half];
        v[i] = a * c - b * s;
        v[i + table->half] = b * c + a * s;
    }
}

enum { HEAD_DIM_MAX = 1024 };

void plain_heads_turn(const struct heads *h)
{
    const int64_t dim = h->table->head_dim;
    double v[HEAD_DIM_MAX];
    for (int64_t t = 0; t < h->T; t++)
        for (int p = 0; p < h->n_parts; p++)
            for (int k = 0; k < h->part[p].heads; k++) {
                const struct head_rows *part = &h->part[p];
                double r = part->norm ? rstd_of(part->x, t, k * dim, dim, h->eps) : 1;
                for (int64_t i = 0; i < dim; i++)
                    v[i] = get(part->x, t, k * dim + i) * r * (double)(part->norm ? part->norm[i] : 1);
                turn(v, h, t, 1);
                for (int64_t i = 0; i < dim; i++)
                    put(part->to, t, k * dim + i, v[i]);
            }
}

void plain_heads_turn_backward(const struct heads *h)
{
    const int64_t dim = h->table->head_dim;
    double v[HEAD_DIM_MAX];
    for (int64_t t = 0; t < h->T; t++)
        for (int p = 0; p < h->n_parts; p++)
            for (int k = 0; k < h->part[p].heads; k++) {
                const struct head_rows *part = &h->part[p];
                for (int64_t i = 0; i < dim; i++)
                    v[i] = get(part->g, t, k * dim + i);
                turn(v, h, t, -1);
                double r = part->norm ? rstd_of(part->x, t, k * dim, dim, h->eps) : 1, pull = 0;
                for (int64_t i = 0; part->norm && i < dim; i++)
                    pull += v[i] * (double)part->norm[i] * get(part->x, t, k * dim + i);
                for (int64_t i = 0; i < dim; i++)
                    put(part->to, t, k * dim + i,
                        part->norm ? norm_slope(v[i], (double)part->norm[i], get(part->x, t, k * dim + i), r, pull, dim) : v[i]);
                if (part->norm && part->rstd)
                    part->rstd[t * part->heads + k] = (float)r;
            }
}

/* The activation and its derivative. */
static double act_of(double x, enum activation act, double *slope)
{
    if (act == ACT_SILU) {
        double s = 1 / (1 + exp(-x));
        *slope = s * (1 + x * (1 - s));
        return x * s;
    }
    double a = sqrt(2 / acos(-1.0)), u = a * (x + 0.044715 * x * x * x), th = tanh(u);
    *slope = 0.5 * (1 + th) + 0.5 * x * (1 - th * th) * a * (1 + 3 * 0.044715 * x * x);
    return 0.5 * x * (1 + th);
}

void plain_gated(const struct gated *g)
{
    double slope;
    for (int64_t t = 0; t < g->T; t++)
        for (int64_t i = 0; i < g->n; i++)
            put(g->h, t, i, act_of(get(g->gate, t, i), g->act, &slope) * get(g->up, t, i));
}

void plain_gated_backward(const struct gated *g)
{
    for (int64_t t = 0; t < g->T; t++)
        for (int64_t i = 0; i < g->n; i++) {
            double slope, up = get(g->up, t, i), dh = get(g->dh, t, i), a = act_of(get(g->gate, t, i), g->act, &slope);
            if (g->h.data)
                put(g->h, t, i, a * up);
            put(g->dup, t, i, a * dh);
            put(g->dgate, t, i, slope * up * dh);
        }
}
