/* adapter_copy.h - what a run made, in a folder of its own, as mlx-lm leaves it: adapters.safetensors and adapter_config.json of the last
 * checkpoint, and 0000100_adapters.safetensors of those before. Of full fine-tuning, the model of the last checkpoint.
 *
 * A folder that is not there appears whole or not at all; in one that is, every file is replaced whole, and others stay.
 */
#ifndef GM_CLI_ADAPTER_COPY_H
#define GM_CLI_ADAPTER_COPY_H

#include "engine/base/error.h"

bool adapter_copy(const char *run_dir, const char *to, struct gm_error *err);

#endif
