/* verse_json.h - counts and verdict of a text as JSON: the row that `gemmaiku syllables --jsonl`
 * writes.
 *
 *     {"text", "lines": [{"text", "syllables", "min", "max", "words": [{"word", "syllables",
 * "alternatives", "source"}]}], "form", "strict", "possible", "three_lines"}
 *
 * Text that is not UTF-8 is shown with U+FFFD where it is broken; NUL bytes likewise. Returns a new
 * reference. Threads: any.
 */
#ifndef GM_VERSE_VERSE_JSON_H
#define GM_VERSE_VERSE_JSON_H

#include "engine/verse/form.h"

#include <jansson.h>

json_t *verse_json_line(const struct syllables *s, const struct form *form, const char *text,
                        size_t n);

/* {"form", "strict", "possible", "syllables": [5, 7, 5]}: the "verdict" of generate, taste and
 * samples.jsonl. */
json_t *verse_json_verdict(const struct verdict *v);

#endif
