/* ropes.h - private to the model room: the rotary tables of a configuration, and which of them a row
 * of a sequence is turned by.
 *
 * Sliding layers of Gemma 3 have a base of their own. With long factors (LongRoPE, Ding et al. 2024)
 * there are two tables, and the length of the whole sequence decides for all its positions; while
 * decoding, the length that a sequence has with the new tokens decides for those tokens, and keys
 * that are in the cache stay as they are. Memory: ropes_free. Threads: read-only once made.
 *
 *     struct ropes r;
 *     ropes_init(&r, &config, 2048, err);
 *     ropes_turn(&r, &config, layer, c, q, ldq, positions, heads, n_seqs, seq_start, NULL, false);
 */
#ifndef GM_MODEL_ROPES_H
#define GM_MODEL_ROPES_H

#include "engine/kernel/ops_rows.h"
#include "engine/model/config.h"

struct ropes {
    int64_t n_positions;
    struct rope_table full, local, long_; /* local, long_: half 0 where the configuration has none */
};
bool ropes_init(struct ropes *r, const struct model_config *c, int64_t n_positions,
                struct gm_error *err);
void ropes_free(struct ropes *r);

/* Frequencies [rotary_dim / 2] of the full layers, long_: beyond original_positions. */
void ropes_frequencies(const struct model_config *c, bool long_, double *f);
/* What the frequencies of llama3 are divided by, [rotary_dim / 2]: rope_freqs.weight of GGUF. */
void ropes_llama3_divisors(const struct model_config *c, double *divisors);

/* Rotates rows [seq_start[0], seq_start[n_seqs]) of x in place. lengths [n_seqs]: of the whole
 * sequences; NULL: their rows are all there is. */
void ropes_turn(const struct ropes *r, const struct model_config *config, int layer,
                const struct compute *c, float *x, int64_t ldx, const int32_t *positions, int heads,
                int n_seqs, const int32_t *seq_start, const int32_t *lengths, bool inverse);
/* Norm and rotation of q and k, or the way back (ops_rows.h), for rows from 0 to seq_start[n_seqs]; h->table is filled in here. */
void ropes_turn_heads(const struct ropes *r, const struct model_config *config, int layer, const struct compute *c, const struct heads *h,
                      int n_seqs, const int32_t *seq_start, bool back);

#endif
