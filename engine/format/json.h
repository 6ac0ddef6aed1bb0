/* json.h - JSON from files we do not trust, with errors that name file, line, column and field; and
 * JSON written whole.
 *
 * Parsing: UTF-8 with at most one BOM, depth at most 64, no duplicate keys, sizes checked before
 * anything is allocated. Trees are Jansson's, owned by the caller (json_decref).
 *
 * Getters: `*out` holds the default; an OPTIONAL field that is absent or null leaves it so. A field
 * of the wrong type or out of range is an error naming field and value; the caller puts the file in
 * front (error_context(err, "read %s", path)).
 *
 *     json_t *config = json_load_file_checked(path, 4 << 20, err);
 *     int64_t layers = 0;  double theta = 10000.0;
 *     if (!config || !json_get_int(config, "num_hidden_layers", REQUIRED, 1, 1024, &layers, err)
 *         || !json_get_double(config, "rope_theta", OPTIONAL, 1.0, 1e12, &theta, err)) ...
 *
 * Threads: a tree belongs to one thread.
 */
#ifndef GM_FORMAT_JSON_H
#define GM_FORMAT_JSON_H

#include "engine/base/error.h"
#include "engine/format/need.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 64 };

json_t *json_load_file_checked(const char *path, size_t max_bytes, struct gm_error *err);
/* `label` names the text in errors ("rows.jsonl:17"). Any JSON value is accepted, scalars too; NUL
 * escapes are refused. */
json_t *json_parse(const char *text, size_t n, const char *label, struct gm_error *err);
/* The same for a piece of a larger file: the first line of `text` is line `first_line` of it ("read
 * rows.jsonl:17:9: ..."). */
json_t *json_parse_at(const char *text, size_t n, const char *label, int64_t first_line,
                      struct gm_error *err);

bool json_get_int(const json_t *object, const char *key, enum need need, int64_t min, int64_t max,
                  int64_t *out, struct gm_error *err);
bool json_get_double(const json_t *object, const char *key, enum need need, double min, double max,
                     double *out, struct gm_error *err); /* integers are fine */
bool json_get_bool(const json_t *object, const char *key, enum need need, bool *out,
                   struct gm_error *err);
/* The text lives as long as the tree. */
bool json_get_string(const json_t *object, const char *key, enum need need, const char **out,
                     struct gm_error *err);
bool json_get_object(const json_t *object, const char *key, enum need need, const json_t **out,
                     struct gm_error *err);
bool json_get_array(const json_t *object, const char *key, enum need need, const json_t **out,
                    struct gm_error *err);
json_t *json_text(const char *text); /* bytes that are no UTF-8 are shown as marks; a new reference */
json_t *json_f32(float x);     /* the shortest decimal that reads back as x: 0.2, not 0.200000003; null for what is no number */
json_t *json_number(double x); /* null for NaN and the infinities, which JSON does not have; a new reference */
/* GM_E_UNSUPPORTED: "key" is VALUE (cut short), which is not supported (known: ...). Returns false. */
bool json_unsupported(const json_t *value, const char *key, const char *known, struct gm_error *err);
/* True when the key is there and not null. */
bool json_has(const json_t *object, const char *key);

/* Indented by two, keys in insertion order, non-ASCII kept as UTF-8, final newline; atomic. */
bool json_write_file(const char *path, const json_t *value, struct gm_error *err);
bool json_write_in(const char *folder, const char *name, json_t *value, struct gm_error *err); /* takes the reference over */
char *json_line(const json_t *value);   /* one compact line without newline; mem_free */
char *json_pretty(const json_t *value); /* as json_write_file writes it; mem_free */
/* Appends `"text"` with escapes to out: for those who stream JSON. Control characters and U+007F
 * become \uXXXX. */
struct str;
void json_quote(struct str *out, const char *text, size_t n);

#endif
