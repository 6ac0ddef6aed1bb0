/* safetensors_types.h - type names of the format, ours and theirs, and the writer's order.
 * Room-internal. */
#ifndef GM_FORMAT_SAFETENSORS_TYPES_H
#define GM_FORMAT_SAFETENSORS_TYPES_H

#include "engine/kernel/dtype.h"

enum safetensors_known {
    SAFETENSORS_TYPE_UNKNOWN,
    SAFETENSORS_TYPE_KNOWN /* but not read here */,
    SAFETENSORS_TYPE_READ
};

enum safetensors_known safetensors_type(const char *name, enum dtype *type);
/* NULL for types that the format does not know (GGUF blocks). */
const char *safetensors_type_name(enum dtype type);
int safetensors_type_rank(enum dtype type); /* tensors are written in falling order of this */

#endif
