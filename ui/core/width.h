/* width.h - how many columns text takes. Own table, not wcwidth(): the same on every machine and in every locale.
 * Policy that cannot misalign: joiners, variation selectors and direction marks are dropped, marks sit on the character before them,
 * control characters show as one replacement character. */
#ifndef GM_UI_WIDTH_H
#define GM_UI_WIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIDTH_DROPPED = -1, WIDTH_MARK = 0 };
int width_scalar(uint32_t scalar); /* WIDTH_DROPPED, WIDTH_MARK, 1 or 2; control characters 1 */
int width_text(const char *text);
int width_text_n(const char *text, size_t n);
/* Bytes of the longest start of text that takes at most cols columns. */
size_t width_cut(const char *text, size_t n, int cols);

/* Walks text as lines of at most cols columns, broken at spaces where possible and at every '\n'.
 *     struct wrap w = {.rest = text}; while (wrap_next(&w, 40)) use(w.line, w.len);          Text "" gives no line. */
struct wrap {
    const char *rest, *line;
    size_t len;
};
bool wrap_next(struct wrap *w, int cols);

#endif
