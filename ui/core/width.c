#include "ui/core/width.h"

#include <string.h>

#include "engine/base/str.h"
#include "ui/core/width_table.h"

static bool in_ranges(uint32_t scalar, const struct range *ranges, size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (scalar > ranges[middle].last)
            low = middle + 1;
        else if (scalar < ranges[middle].first)
            high = middle;
        else
            return true;
    }
    return false;
}
#define IN(scalar, ranges) in_ranges(scalar, ranges, sizeof(ranges) / sizeof((ranges)[0]))

int width_scalar(uint32_t scalar)
{
    if (scalar < 0x300)
        return 1;
    if (IN(scalar, dropped_ranges))
        return WIDTH_DROPPED;
    if (IN(scalar, mark_ranges))
        return WIDTH_MARK;
    return IN(scalar, wide_ranges) ? 2 : 1;
}

int width_text_n(const char *text, size_t n)
{
    int columns = 0;
    for (const char *p = text, *end = text + n; p < end;) {
        uint32_t scalar;
        p += utf8_decode(p, end, &scalar);
        int w = width_scalar(scalar);
        columns += w > 0 ? w : 0;
    }
    return columns;
}

int width_text(const char *text)
{
    return text ? width_text_n(text, strlen(text)) : 0;
}

size_t width_cut(const char *text, size_t n, int cols)
{
    const char *p = text, *end = text + n;
    while (p < end) {
        uint32_t scalar;
        int bytes = utf8_decode(p, end, &scalar);
        int w = width_scalar(scalar);
        if (w > cols)
            break;
        cols -= w > 0 ? w : 0;
        p += bytes;
    }
    return (size_t)(p - text);
}

bool wrap_next(struct wrap *w, int cols)
{
    if (!w->rest || !*w->rest)
        return false;
    const char *start = w->rest;
    size_t line = strcspn(start, "\n");
    size_t fits = width_cut(start, line, cols < 1 ? 1 : cols);
    if (fits == 0 && line > 0) { /* a wide character in one column: take it, it will be clipped */
        uint32_t scalar;
        fits = (size_t)utf8_decode(start, start + line, &scalar);
    }
    w->line = start;
    w->len = fits;
    if (fits == line) {
        w->rest = start + line + (start[line] == '\n');
        return true;
    }
    if (start[fits] != ' ') { /* in the middle of a word: go back to the last space, if there is one */
        size_t space = fits;
        while (space > 0 && start[space - 1] != ' ')
            space--;
        if (space > 0)
            w->len = space;
    }
    const char *rest = start + w->len;
    while (w->len > 0 && start[w->len - 1] == ' ')
        w->len--;
    while (*rest == ' ')
        rest++;
    w->rest = rest;
    return true;
}
