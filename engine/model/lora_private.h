/* lora_private.h - private to lora*.c: the layout of an adapter whose set of projections need not
 * be a rectangle. */
#ifndef GM_MODEL_LORA_PRIVATE_H
#define GM_MODEL_LORA_PRIVATE_H

#include "engine/model/lora.h"

enum { LORA_MAX_RANK = 4096 };

/* present [n_layers * PROJ_COUNT]: which pairs there are; NULL: what the options say. Values are
 * zero. */
struct lora *lora_lay_out(const struct model_config *c, const struct lora_options *o,
                          const bool *present, struct gm_error *err);
int lora_first_layer(const struct model_config *c, const struct lora_options *o);

#endif
