/* dora.h - private to the model room: the magnitudes of DoRA (Liu et al. 2024).
 *
 *     y = gain (W x + u Bᵀ),  gain = m/|V| per output,  V = W + s B A
 *
 * |V| is a constant to the gradient (section 4.3 of the paper), so that
 *
 *     gm = sum over rows of g y / m,    and everything else is LoRA with gain g in place of g.
 *
 * Dropout acts in front of A alone, as in LoRA. Threads: those of the compute; results do not depend on how many.
 */
#ifndef GM_MODEL_DORA_H
#define GM_MODEL_DORA_H

#include "engine/kernel/ops_rows.h"
#include "engine/model/lora.h"

/* What multiplies each output, [out]; NULL: plain LoRA. */
const float *dora_gain(const struct lora *l, const struct lora_pair *pair);
/* g [T, out] becomes gain g; grad_m [out] +=. y: gain times the product plus `bias` (NULL: none), as it was kept. */
void dora_backward(const struct compute *c, const struct lora *l, const struct lora_pair *pair,
                   struct rows g, struct rows y, const float *bias, int64_t T, float *grad_m);

#endif
