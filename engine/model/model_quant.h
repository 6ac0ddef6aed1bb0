/* model_quant.h - private to model*.c: matrices as MLX quantises them, three tensors a module:
 * NAME.weight (codes, U32), NAME.scales and NAME.biases, with bits and group from config.json's
 * "quantization", which may hold an entry for a single module (false: not quantised).
 */
#ifndef GM_MODEL_QUANT_H
#define GM_MODEL_QUANT_H

#include "engine/format/model_source.h"

struct quantised {
    const struct tensor_info *weight, *scales, *biases; /* biases NULL: mxfp4 */
};
/* The parts of `module` ("model.layers.0.mlp.up_proj"); false: it is not quantised. */
bool quant_find(const struct model_source *s, const char *module, struct quantised *q);
/* The matrix [rows, cols] they make; every shape and type is checked. */
bool quant_mat(const struct model_source *s, const char *module, const struct quantised *q,
               int64_t rows, int64_t cols, struct mat *out, struct gm_error *err);

#endif
