/* attention.h - causal attention over packed sequences, forward and backward, and over a key/value cache.
 *
 * s_ij = scale * q_i·k_j ; s = softcap * tanh(s/softcap) if softcap > 0 ; masked unless j <= i and (window == 0 or i - j < window);
 * p = softmax(s) ; o_i = sum p_ij v_j. Grouped queries: query head h reads key head h / (n_heads/n_kv_heads).
 * Sequences of a batch lie one after another without padding: sequence s has the tokens seq_start[s] .. seq_start[s+1]-1. Backward recomputes p from the saved
 * log-sum-exp (Dao et al. 2022), so nothing of size T x T is kept. Blocks that windows or sequence borders mask out are skipped.
 */
#ifndef GM_KERNEL_ATTENTION_H
#define GM_KERNEL_ATTENTION_H

#include "engine/kernel/compute.h"

struct attention_shape {
    int n_heads, n_kv_heads, head_dim;
    int window; /* 0: none */
    float scale, softcap;
};

/* Rows of an operand, one a token: row t starts at data + t*ld elements, its heads side by side. F32 (as a field left out says) or BF16:
 * inputs are widened, outputs rounded once. */
struct attention_in {
    const void *data;
    int64_t ld;
    enum dtype type;
};
struct attention_out {
    void *data;
    int64_t ld;
    enum dtype type;
};
/* What forward and backward read: q [T, n_heads*D], k and v [T, n_kv_heads*D]. */
struct attention_batch {
    struct attention_in q, k, v;
    int n_seqs;
    const int32_t *seq_start; /* [n_seqs + 1] */
};
/* out [T, n_heads*D]; lse [T, n_heads], dense, or NULL. */
void attention(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b, struct attention_out out,
               float *lse);
/* From dout and what forward left in out and lse; dq, dk, dv (of the shapes of q, k, v) are overwritten. */
void attention_backward(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b,
                        struct attention_in dout, struct attention_in out, const float *lse, struct attention_out dq,
                        struct attention_out dk, struct attention_out dv);
/* The useful work: pairs of a query and a key that it sees, times 4 a dimension and head; backward is 2.5 times that. */
double attention_flops(const struct attention_shape *a, int n_seqs, const int32_t *seq_start);

/* One request of a decode step: n_new query rows (dense in q and out, one request after another) at positions n_past .. n_past+n_new-1; the
 * caches already hold n_past + n_new rows [.., n_kv_heads*D] of `type` (F32 or BF16). */
struct attention_request {
    const void *k_cache, *v_cache;
    int n_past, n_new;
};
void attention_cached(const struct compute *c, const struct attention_shape *a, enum dtype type, float *out, const float *q,
                      const struct attention_request *requests, int n_requests);

void plain_attention(const struct attention_shape *a, float *out, float *lse, const float *q, int64_t ldq, const float *k,
                     int64_t ldk, const float *v, int64_t ldv, int n_seqs, const int32_t *seq_start);
void plain_attention_backward(const struct attention_shape *a, float *dq, float *dk, float *dv, const float *dout,
                              const float *q, int64_t ldq, const float *k, int64_t ldk, const float *v, int64_t ldv, int n_seqs,
                              const int32_t *seq_start);

#endif
