/* form.h - is this text a haiku? The verdict on a text against a form.
 *
 * A line is what a reader would call one: blank lines and spaces around are not seen. Nothing else
 * is forgiven: a title, a list mark, a line of chatter is a line too many or a syllable too many.
 *
 *     struct verdict v;
 *     form_judge(s, form_find("haiku"), text, n, &v);
 *     if (v.strict) ...       // three lines, likely counts 5, 7, 5
 *     else if (v.possible)    // three lines, and some accepted pronunciation of them is 5, 7, 5
 *
 * Memory: a verdict is a plain value. Threads: any.
 */
#ifndef GM_VERSE_FORM_H
#define GM_VERSE_FORM_H

#include "engine/verse/syllables.h"

enum { FORM_LINES = 16 };

struct form {
    const char *name;  /* "haiku" */
    const char *title; /* "5-7-5" */
    int n_lines;
    int syllables[FORM_LINES];
};

/* NULL: no form of this name. "haiku" and "tanka" exist. */
const struct form *form_find(const char *name);
const struct form *form_list(size_t *n);

struct verdict {
    const char *form;
    bool strict;      /* right number of lines, and the likely counts fit exactly */
    bool possible;    /* right number of lines, and some accepted pronunciation fits (strict implies
                         it) */
    bool three_lines; /* exactly three lines that are not blank, whatever they hold */
    int n_lines;      /* lines that are not blank; may exceed FORM_LINES, the arrays hold the first
                         FORM_LINES */
    int syllables[FORM_LINES], min[FORM_LINES], max[FORM_LINES];
    bool fits[FORM_LINES]; /* the line's likely count is what the form wants there */
};

void form_judge(const struct syllables *s, const struct form *form, const char *text, size_t n,
                struct verdict *v);

/* The next line that is not blank, spaces around it taken off. *at moves on (start with 0). False
 * at the end. LF, CR, CR LF, U+2028 and U+2029 end lines. */
bool form_next_line(const char *text, size_t n, size_t *at, const char **line, size_t *line_length);

#endif
