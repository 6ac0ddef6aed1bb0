/* attention_plain.c - the plain twins of attention.h: row by row, whole rows of probabilities, in double. Oracles of
 * the tests. */
#include "engine/kernel/attention.h"

#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

/* Probabilities of query row i (of the sequence that starts at row `start`) over the keys start+first .. start+i;
 * returns log-sum-exp. */
static double row_probabilities(const struct attention_shape *a, double *p, int i, int first, const float *q, const float *k,
                                int64_t ldk)
{
    double top = -INFINITY, sum = 0;
    for (int j = first; j <= i; j++) {
        double s = 0;
        for (int d = 0; d < a->head_dim; d++)
            s += (double)q[d] * k[j * ldk + d];
        s *= a->scale;
        if (a->softcap > 0)
            s = a->softcap * tanh(s / a->softcap);
        p[j] = s;
        top = s > top ? s : top;
    }
    for (int j = first; j <= i; j++)
        sum += p[j] = exp(p[j] - top);
    for (int j = first; j <= i; j++)
        p[j] /= sum;
    return top + log(sum);
}

static int first_key(const struct attention_shape *a, int i)
{
    return a->window > 0 && i - a->window + 1 > 0 ? i - a->window + 1 : 0;
}

static int longest(int n_seqs, const int32_t *seq_start)
{
    int n = 1;
    for (int s = 0; s < n_seqs; s++)
        n = seq_start[s + 1] - seq_start[s] > n ? seq_start[s + 1] - seq_start[s] : n;
    return n;
}

void plain_attention(const struct attention_shape *a, float *out, float *lse, const float *q, int64_t ldq, const float *k,
                     int64_t ldk, const float *v, int64_t ldv, int n_seqs, const int32_t *seq_start)
{
    const int D = a->head_dim, group = a->n_heads / a->n_kv_heads;
    double *p = mem_new((size_t)longest(n_seqs, seq_start), sizeof(double));
    for (int s = 0; s < n_seqs; s++)
        for (int h = 0; h < a->n_heads; h++) {
            const int64_t start = seq_start[s];
            const float *ks = k + start * ldk + (int64_t)(h / group) * D, *vs = v + start * ldv + (int64_t)(h / group) * D;
            for (int i = 0; i < seq_start[s + 1] - start; i++) {
                int first = first_key(a, i);
                double l = row_probabilities(a, p, i, first, q + (start + i) * ldq + (int64_t)h * D, ks, ldk);
                if (lse)
                    lse[(start + i) * a->n_heads + h] = (float)l;
                for (int d = 0; d < D; d++) {
                    double sum = 0;
                    for (int j = first; j <= i; j++)
                        sum += p[j] * vs[j * ldv + d];
                    out[((start + i) * a->n_heads + h) * D + d] = (float)sum;
                }
            }
        }
    mem_free(p);
}

/* du_ij = p_ij (do_i·v_j - sum_j p_ij do_i·v_j) (1 - (s_ij/softcap)²) */
void plain_attention_backward(const struct attention_shape *a, float *dq, float *dk, float *dv, const float *dout,
                              const float *q, int64_t ldq, const float *k, int64_t ldk, const float *v, int64_t ldv, int n_seqs,
                              const int32_t *seq_start)
{
    const int D = a->head_dim, group = a->n_heads / a->n_kv_heads;
    const size_t n = (size_t)longest(n_seqs, seq_start);
    double *p = mem_new(n, sizeof(double)), *dp = mem_new(n, sizeof(double));
    double *dks = mem_new(n * (size_t)D, sizeof(double)), *dvs = mem_new(n * (size_t)D, sizeof(double));
    for (int s = 0; s < n_seqs; s++)
        for (int g = 0; g < a->n_kv_heads; g++) {
            const int64_t start = seq_start[s], length = seq_start[s + 1] - start;
            const float *ks = k + start * ldk + (int64_t)g * D, *vs = v + start * ldv + (int64_t)g * D;
            memset(dks, 0, (size_t)(length * D) * sizeof(double));
            memset(dvs, 0, (size_t)(length * D) * sizeof(double));
            for (int h = g * group; h < (g + 1) * group; h++)
                for (int i = 0; i < length; i++) {
                    const float *qi = q + (start + i) * ldq + (int64_t)h * D;
                    const float *doi = dout + ((start + i) * a->n_heads + h) * D;
                    int first = first_key(a, i);
                    double l = row_probabilities(a, p, i, first, qi, ks, ldk), delta = 0;
                    for (int j = first; j <= i; j++) {
                        dp[j] = 0;
                        for (int d = 0; d < D; d++) {
                            dp[j] += (double)doi[d] * vs[j * ldv + d];
                            dvs[j * D + d] += p[j] * doi[d];
                        }
                        delta += p[j] * dp[j];
                    }
                    for (int j = first; j <= i; j++) {
                        double capped = a->softcap > 0 ? (log(p[j]) + l) / a->softcap : 0;
                        dp[j] = p[j] > 0 ? p[j] * (dp[j] - delta) * (1 - capped * capped) * a->scale : 0;
                        for (int d = 0; d < D; d++)
                            dks[j * D + d] += dp[j] * qi[d];
                    }
                    for (int d = 0; d < D; d++) {
                        double sum = 0;
                        for (int j = first; j <= i; j++)
                            sum += dp[j] * ks[j * ldk + d];
                        dq[(start + i) * ldq + (int64_t)h * D + d] = (float)sum;
                    }
                }
            for (int64_t j = 0; j < length; j++)
                for (int d = 0; d < D; d++) {
                    dk[(start + j) * ldk + (int64_t)g * D + d] = (float)dks[j * D + d];
                    dv[(start + j) * ldv + (int64_t)g * D + d] = (float)dvs[j * D + d];
                }
        }
    mem_free(p);
    mem_free(dp);
    mem_free(dks);
    mem_free(dvs);
}
