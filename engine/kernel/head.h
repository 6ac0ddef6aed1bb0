/* head.h - cross-entropy over a large vocabulary, fused with the vocabulary projection.
 *
 * Only supervised positions come here (the caller gathers them). In BF16 mode logits never leave
 * the cache; F32 mode, the reference, holds those of a chunk of rows.
 *     logits = h Eᵀ (softcap: c tanh(logits/c))
 *     nll = logsumexp(logits) - logits[target]
 *     dh = weight * (softmax - onehot) E
 *
 * With head_skip (struct compute; BF16 mode) a part of 256 tokens is left out of dh where adding its
 * exponentials changed no bit of any row's f32 sums: each is below 2^-24 of the sum that it joined.
 * The loss has the same bits. What dh can miss in all is 2^-20 max|W| a part left out (sums of 16
 * lanes), with 262,144 tokens 2^-13; a probability in bf16 is off by 2^-9.
 */
#ifndef GM_KERNEL_HEAD_H
#define GM_KERNEL_HEAD_H

#include "engine/kernel/compute.h"

/* For n rows; gradient: dh will be asked for. AUTO: enough for either mode. */
size_t head_workspace_bytes(int64_t n, int64_t vocab, int64_t depth, bool gradient,
                            enum compute_mode mode);
/* h [n, d] hidden states after the last norm, targets [n]. nll [n] (f32 each, may be NULL); returns
 * the sum of nll (fixed order, double). dh [n, d] or NULL (no gradient wanted): overwritten with
 * weight * d(sum nll)/dh. d_head [V, d] or NULL: full fine-tuning, += weight * gradient of the head
 * matrix. workspace: head_workspace_bytes. */
double head_loss(const struct compute *c, const struct mat *head, float softcap, const float *h,
                 const int32_t *targets, int64_t n, float weight, float *nll, float *dh,
                 float *d_head, void *workspace);
/* logits [n, V] = h headᵀ with the soft-cap: for sampling. */
void head_logits(const struct compute *c, const struct mat *head, float softcap, float *logits,
                 const float *h, int64_t n);

#endif
