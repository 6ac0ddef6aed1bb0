/* yaml_private.h - what yaml.c (structure) and yaml_scalar.c (words, quotes, block text) share. */
#ifndef GM_FORMAT_YAML_PRIVATE_H
#define GM_FORMAT_YAML_PRIVATE_H

#include "engine/base/str.h"
#include "engine/format/yaml.h"

struct yaml {
    const char *label;
    const char *p, *end, *line_start; /* *end is a NUL byte: one may always look at *p */
    int line, depth;
    struct str path; /* of the value being read */
    struct yaml_lines *lines;
    struct gm_error *err;
};

/* "read LABEL:LINE: fact". Returns false. */
bool yaml_fail(struct yaml *y, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline int yaml_column(const struct yaml *y)
{
    return (int)(y->p - y->line_start);
}
static inline bool yaml_at_break(const struct yaml *y)
{
    return y->p == y->end || *y->p == '\n' || *y->p == '\r';
}
/* True for what may stand behind a ':' or '-' that is a mark. */
static inline bool yaml_blank_at(const struct yaml *y, const char *p)
{
    return p == y->end || *p == ' ' || *p == '\t' || *p == '\n' || *p == '\r';
}
static inline void yaml_skip_blanks(struct yaml *y)
{
    while (y->p < y->end && (*y->p == ' ' || *y->p == '\t'))
        y->p++;
}
void yaml_next_line(struct yaml *y);         /* at a break: steps over it */
bool yaml_at_marker(const struct yaml *y);   /* at the start of a line that reads "---" or "..." */

/* y->p stands at the quote. The text goes to out. */
bool yaml_quoted(struct yaml *y, struct str *out);
/* Plain text; lines that follow, indented deeper than `indent`, belong to it. In flow it also ends at ",[]{}". */
bool yaml_plain(struct yaml *y, int indent, bool flow, struct str *out);
/* "|" or ">" with its lines, which stand deeper than `indent`. */
bool yaml_block_text(struct yaml *y, int indent, struct str *out);
/* What a plain word means: null, a boolean, a number, or itself. */
json_t *yaml_resolve(struct yaml *y, const char *word, size_t n);

#endif
