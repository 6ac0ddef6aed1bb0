/* pass.h - forward and backward over a packed batch.
 *
 * The workspace is planned once (pass_new) and reused: a step allocates nothing. Sequences of a
 * batch lie one after another without padding; only attention knows where one ends. Loss: sum over
 * targets of -log p, in nats; gradients are multiplied by `weight` (1 / number of supervised tokens
 * of the whole update) and added to the gradient buffer. Losses and gradients take a long batch in
 * slices of whole sequences that stay in the caches; memory is that of the largest slice. Results
 * depend on the batch, the weights, the mode and the family only, never on the number of threads.
 * Threads: one pass belongs to one thread (trainer or taster).
 *
 *     struct pass *p = pass_new(model, lora, &limits, &err);
 *     double nll = pass_loss_and_grad(p, &compute, lora, &batch, 1.0f / n_supervised, grads);
 */
#ifndef GM_MODEL_PASS_H
#define GM_MODEL_PASS_H

#include "engine/kernel/compute.h"
#include "engine/model/lora.h"

struct batch {
    int64_t T;                /* tokens */
    const int32_t *ids;       /* [T] */
    const int32_t *positions; /* [T], from 0 in each sequence */
    int n_seqs;
    const int32_t *seq_start; /* [n_seqs + 1] */
    int64_t n_targets;
    const int32_t *target_row; /* [n_targets] ascending: the hidden row that predicts */
    const int32_t *target_id;  /* [n_targets] */
};
enum pass_kind { PASS_FORWARD, PASS_LORA, PASS_FULL };
enum { RECOMPUTE_ALL = INT32_MAX };
struct pass_limits {
    enum pass_kind kind;
    int64_t max_tokens, max_targets;
    int64_t max_seq_tokens; /* of one sequence; 0: not known, max_tokens */
    int max_seqs;
    int recompute_layers;   /* of the layers that are walked back, the lowest so many keep their input
                               only and are computed again; 0: none, RECOMPUTE_ALL (or more than
                               there are): all. The lowest, because by then the topmost layer has
                               been walked back, and its place serves them */
    enum compute_mode mode; /* that will compute: BF16 keeps activations in half the memory; AUTO:
                               not known, plan for F32 */
};

struct pass;
struct pass *pass_new(const struct model *m, const struct lora_options *lora /* NULL */,
                      const struct pass_limits *limits, struct gm_error *err);
void pass_free(struct pass *p);
void pass_touch(struct pass *p, const struct compute *c); /* makes its pages now: the first step is no slower than the others */
size_t pass_bytes(const struct model_config *c, const struct lora_options *lora,
                  const struct pass_limits *limits);

/* Sum of nll over the targets; nll [n_targets] may be NULL. lora may be NULL (the base). */
double pass_loss(struct pass *p, const struct compute *c, const struct lora *lora,
                 const struct batch *b, float *nll);
/* PASS_LORA: grads [lora->set.count] += ; PASS_FULL: grads [model->full.count] +=, lora NULL.
 * dropout_step numbers the call for the dropout stream. */
double pass_loss_and_grad(struct pass *p, const struct compute *c, const struct lora *lora,
                          const struct batch *b, float weight, uint64_t dropout_seed,
                          uint64_t dropout_step, float *grads);
/* Hidden states: rows of the last layer after the final norm, valid until the next call: [T, d].
 * layer_outputs (may be NULL):
 * [(n_layers + 1) * T * d], the residual stream before layer 0 and after each layer (tests, X-ray).
 */
const float *pass_hidden(struct pass *p, const struct compute *c, const struct lora *lora,
                         const struct batch *b, float *layer_outputs);
/* logits [n_rows, vocab] of the given hidden rows (PASS_FORWARD is enough). */
void pass_logits(struct pass *p, const struct compute *c, const float *hidden_rows, int64_t n_rows,
                 float *logits);

/* Where the time of the last pass_loss_and_grad went. */
enum { PASS_PARTS = 16 };
struct pass_part {
    const char *name; /* a constant: the same pointer each time */
    double seconds, flops, bytes;
};
int pass_parts(const struct pass *p, struct pass_part parts[PASS_PARTS]); /* those that took time */

#endif
