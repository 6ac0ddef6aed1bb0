/* packed.h - a model whose matrices also lie packed in memory (engine/kernel/panels.h), for generating: a second copy of the weights in
 * bf16, in huge pages, which is read as a stream and never packed again.
 *
 * Memory: packed_model_free() gives the copy back; the model itself stays the caller's and must outlive it. Threads: made by one, read by any.
 *
 *     struct packed_model *p = packed_model_new(model, &compute, &err);     // NULL: no memory
 *     decoder_new(packed_model_view(p), …);
 */
#ifndef GM_MODEL_PACKED_H
#define GM_MODEL_PACKED_H

#include "engine/kernel/compute.h"
#include "engine/model/model.h"

struct packed_model;
size_t packed_model_bytes(const struct model *m);
struct packed_model *packed_model_new(const struct model *m, const struct compute *c, struct gm_error *err);
const struct model *packed_model_view(const struct packed_model *p); /* the same model */
void packed_model_free(struct packed_model *p);

#endif
