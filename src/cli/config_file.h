/* config_file.h - `-c FILE`: settings from a YAML or JSON file, as if they stood on the line, but before it: flags win.
 *
 * A key is an option's name, with '_' or '-', ours or mlx-lm's; maps inside give dotted names (lora_parameters: {rank: 8} is
 * --lora-parameters.rank 8). true and false are on and off, lists are joined by commas, null is as if the key were not there. A key that
 * is not known is an error that names file, line and the nearest one that is.
 *
 *     struct config_file c = {0};
 *     if (!config_file_open(&c, path, &err) || !config_file_apply(&c, &spec, &general, &err)) ...
 *     ...                          // targets of texts point into c
 *     config_file_close(&c);
 */
#ifndef GM_CLI_CONFIG_FILE_H
#define GM_CLI_CONFIG_FILE_H

#include "engine/format/yaml.h"
#include "src/cli/args.h"

struct config_file {
    const char *path, *optimizer; /* optimizer: the one that is used, where the line tells it; else the file's */
    json_t *settings;
    struct yaml_lines lines;
    char **texts; /* values as text; they live as long as the file */
    size_t n_texts, cap_texts;
};
bool config_file_open(struct config_file *c, const char *path, struct gm_error *err);
/* A text at the top; NULL: not there. */
const char *config_file_text(const struct config_file *c, const char *key);
bool config_file_apply(struct config_file *c, const struct arg_spec *spec, struct general *g, struct gm_error *err);
void config_file_close(struct config_file *c);

#endif
