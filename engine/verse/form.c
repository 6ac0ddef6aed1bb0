/* form.c - the forms, and the verdict on a text. */
#include "engine/verse/form.h"

#include <string.h>

static const struct form forms[] = {
    {"haiku", "5-7-5", 3, {5, 7, 5}},
    {"tanka", "5-7-5-7-7", 5, {5, 7, 5, 7, 7}},
};

const struct form *form_list(size_t *n)
{
    *n = sizeof forms / sizeof *forms;
    return forms;
}

const struct form *form_find(const char *name)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}

/* Length of the line end at text[at], 0 if there is none. */
static size_t break_length(const char *text, size_t n, size_t at)
{
    unsigned char c = (unsigned char)text[at];
    if (c == '\n')
        return 1;
    if (c == '\r')
        return at + 1 < n && text[at + 1] == '\n' ? 2 : 1;
    bool separator = c == 0xE2 && n - at >= 3 && (unsigned char)text[at + 1] == 0x80 &&
                     ((unsigned char)text[at + 2] == 0xA8 || (unsigned char)text[at + 2] == 0xA9);
    return separator ? 3 : 0;
}

/* Length of the space at text[at]: ASCII, no-break, U+2000..200B, ideographic, BOM. */
static size_t space_length(const char *text, size_t n, size_t at)
{
    unsigned char c = (unsigned char)text[at], d = n - at > 1 ? (unsigned char)text[at + 1] : 0,
                  e = n - at > 2 ? (unsigned char)text[at + 2] : 0;
    if (c == ' ' || c == '\t' || c == '\v' || c == '\f')
        return 1;
    if (c == 0xC2 && (d == 0xA0 || d == 0x85))
        return 2;
    if (c == 0xE2 && d == 0x80 && ((e >= 0x80 && e <= 0x8B) || e == 0xAF))
        return 3;
    if ((c == 0xE3 && d == 0x80 && e == 0x80) || (c == 0xEF && d == 0xBB && e == 0xBF))
        return 3;
    return 0;
}

bool form_next_line(const char *text, size_t n, size_t *at, const char **line, size_t *line_length)
{
    while (*at < n) {
        size_t k;
        while (*at < n &&
               ((k = space_length(text, n, *at)) > 0 || (k = break_length(text, n, *at)) > 0))
            *at += k;
        if (*at >= n)
            return false;
        size_t start = *at, end = *at; /* end: after the last byte that is no space */
        while (*at < n && break_length(text, n, *at) == 0) {
            k = space_length(text, n, *at);
            *at += k ? k : 1;
            if (!k)
                end = *at;
        }
        *line = text + start;
        *line_length = end - start;
        return true;
    }
    return false;
}

void form_judge(const struct syllables *s, const struct form *form, const char *text, size_t n,
                struct verdict *v)
{
    struct verdict verdict = {.form = form->name, .strict = true, .possible = true};
    struct line_count count = {0};
    size_t at = 0, length;
    const char *line;
    while (form_next_line(text, n, &at, &line, &length)) {
        int i = verdict.n_lines;
        if (verdict.n_lines < 1000000)
            verdict.n_lines++;
        if (i >= FORM_LINES)
            continue; /* no form is that long: only counted */
        syllables_line(s, line, length, &count);
        verdict.syllables[i] = count.likely;
        verdict.min[i] = count.min;
        verdict.max[i] = count.max;
        int want = i < form->n_lines ? form->syllables[i] : -1;
        verdict.fits[i] = count.likely == want;
        verdict.strict = verdict.strict && verdict.fits[i];
        verdict.possible = verdict.possible && want >= 0 && (count.possible >> want & 1);
    }
    line_count_free(&count);
    verdict.three_lines = verdict.n_lines == 3;
    verdict.strict = verdict.strict && verdict.n_lines == form->n_lines;
    verdict.possible = verdict.possible && verdict.n_lines == form->n_lines;
    *v = verdict;
}
