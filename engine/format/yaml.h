/* yaml.h - the part of YAML that settings are written in, read to a JSON tree, with the line of every key.
 *
 * Read: block and flow maps and lists, plain, quoted, literal (|) and folded (>) text, comments, one document between its
 * markers. JSON is a part of it. Plain words mean what they mean to PyYAML, for which such files are written (YAML 1.1):
 * true/yes/on, false/no/off, null/~, 1_000, 0x1f, and also 1e-5, which is a number here. Refused, with the line: anchors,
 * aliases, tags, merge keys, directives, second documents, tabs as indentation, octal-looking numbers, infinities, keys
 * that stand twice.
 * The text is not believed: UTF-8 is checked, at most YAML_MAX_BYTES are read, depth ends at YAML_MAX_DEPTH, and memory
 * stays in proportion to the text.
 *
 *     struct yaml_lines lines = {0};
 *     json_t *settings = yaml_load_file("lora.yaml", &lines, err);
 *     int line = yaml_line(&lines, "lora_parameters.rank");        // 0: not there
 *     yaml_lines_free(&lines);
 *
 * Trees are the caller's (json_decref). Threads: a tree and its lines belong to one thread. The format: YAML 1.2.2,
 * chapters 6 to 9.
 */
#ifndef GM_FORMAT_YAML_H
#define GM_FORMAT_YAML_H

#include "engine/base/error.h"

#include <jansson.h>
#include <stddef.h>

enum { YAML_MAX_BYTES = 1 << 18, YAML_MAX_DEPTH = 32, YAML_MAX_PATH = 128 };

/* Where each value begins, by its path: "lora_parameters.rank", "lr_schedule.arguments.0". Paths beyond YAML_MAX_PATH bytes
 * are left out. */
struct yaml_lines {
    struct yaml_place {
        char *path;
        int line;
    } *items;
    size_t n, cap;
};
int yaml_line(const struct yaml_lines *lines, const char *path);
void yaml_lines_free(struct yaml_lines *lines);

/* An empty document is null. `lines` may be NULL. `label` names the text in errors ("read lora.yaml:17: ..."). */
json_t *yaml_parse(const char *text, size_t n, const char *label, struct yaml_lines *lines, struct gm_error *err);
json_t *yaml_load_file(const char *path, struct yaml_lines *lines, struct gm_error *err);

#endif
