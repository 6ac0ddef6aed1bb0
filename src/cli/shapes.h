/* shapes.h - models that nobody has to download: the true sizes of published ones, with random weights. What is measured or forecast
 * (time, memory) does not depend on the values.
 *
 *     struct model *m = shape_model("gemma3-270m", DT_BF16, &err);   // model_free
 */
#ifndef GM_CLI_SHAPES_H
#define GM_CLI_SHAPES_H

#include "engine/model/model.h"

#define SHAPE_NAMES "smollm2-135m, tinyllama, gemma3-270m, gemma3-1b, gemma3-4b"
/* Choices of an option --weights; an ARG_CHOICE gives the index. */
#define SHAPE_WEIGHT_CHOICES "bf16|f16|f32|q8_0|q4_0|q4_1|q5_0|q5_1|q4_k|q5_k|q6_k|iq4_nl|mlx4|mlx8"

bool shape_config(const char *name, struct model_config *config, struct gm_error *err); /* a name that is not known is a usage error */
enum dtype shape_weights(int choice);
const char *shape_weights_name(enum dtype type); /* as the option spells it */
struct model *shape_model(const char *name, enum dtype type, struct gm_error *err);
bool shape_known(const char *name);

#endif
