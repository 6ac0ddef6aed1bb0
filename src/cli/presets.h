/* presets.h - the settings of published recipes, as options and their values: what stands in a preset may stand on the line.
 *
 * Order: defaults, then the preset, then the file of -c, then the flags; the later one wins.
 */
#ifndef GM_CLI_PRESETS_H
#define GM_CLI_PRESETS_H

#include "src/cli/args.h"

#define PRESET_NAMES "gemmaiku-270m, gemmaiku-1b, quotes, mlx-lm"

bool preset_apply(const char *name, const struct arg_spec *spec, struct general *g, struct gm_error *err);

#endif
