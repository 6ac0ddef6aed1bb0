#include "ui/core/canvas.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/core/width.h"

void canvas_init(struct canvas *c)
{
    memset(c, 0, sizeof *c);
    c->cursor_row = c->cursor_col = -1;
}

void canvas_free(struct canvas *c)
{
    mem_free(c->cells);
    canvas_init(c);
}

void canvas_resize(struct canvas *c, int rows, int cols, bool utf8)
{
    enum { MOST = 4096 }; /* nobody's terminal is larger; keeps rows * cols far from overflow */
    c->rows = rows < 0 ? 0 : rows > MOST ? MOST : rows;
    c->cols = cols < 0 ? 0 : cols > MOST ? MOST : cols;
    c->ascii = !utf8;
    size_t need = (size_t)c->rows * (size_t)c->cols;
    if (need > c->capacity) {
        mem_free(c->cells);
        c->cells = mem_new(need, sizeof *c->cells);
        c->capacity = need;
    }
    canvas_clear(c);
}

void canvas_clear(struct canvas *c)
{
    for (size_t i = 0; i < (size_t)c->rows * (size_t)c->cols; i++)
        c->cells[i] = (struct cell){.ch = ' ', .role = ROLE_TEXT};
    c->cursor_row = c->cursor_col = -1;
}

static struct cell *at(struct canvas *c, int row, int col)
{
    return row >= 0 && row < c->rows && col >= 0 && col < c->cols ? &c->cells[(size_t)row * (size_t)c->cols + (size_t)col] : NULL;
}

/* ASCII for the few marks the screens draw and the typographic signs that prose is full of. */
static uint32_t ascii_of(uint32_t ch)
{
    if (ch >= 0x20 && ch < 0x7f)
        return ch;
    switch (ch) {
    case 0xa0:
        return ' ';
    case 0x2500: /* box drawing */
    case 0x2501:
    case 0x2010:
    case 0x2011:
    case 0x2012:
    case 0x2013:
    case 0x2014:
    case 0x2212:
        return '-';
    case 0x2502:
    case 0x2503:
    case 0x254e:
    case 0x2524:
        return '|';
    case 0x250c:
    case 0x250f:
    case 0x2510:
    case 0x2513:
    case 0x2514:
    case 0x2517:
    case 0x2518:
    case 0x251b:
        return '+';
    case 0x2018:
    case 0x2019:
        return '\'';
    case 0x201c:
    case 0x201d:
        return '"';
    case 0x2026:
        return '~';
    case 0x2588: /* full block: bars */
        return '#';
    case 0x2591:
        return '-';
    case 0x25c6:
        return 'o';
    case 0xb7:
        return '.';
    case 0x258f: /* the place where a stream goes on */
        return '|';
    default:
        return '?';
    }
}

/* A cell is about to be overwritten: if it is half of a wide character, the other half becomes a blank. */
static void unsplit(struct canvas *c, int row, int col)
{
    struct cell *here = at(c, row, col), *other;
    if (!here)
        return;
    if (here->ch == 0) {
        other = at(c, row, col - 1);
        if (other && width_scalar(other->ch) == 2)
            *other = (struct cell){.ch = ' ', .role = other->role};
    } else if (width_scalar(here->ch) == 2) {
        other = at(c, row, col + 1);
        if (other && other->ch == 0)
            *other = (struct cell){.ch = ' ', .role = other->role};
    }
}

static void put_wide(struct canvas *c, int row, int col, enum role role, uint32_t ch, int width)
{
    for (int i = 0; i < width; i++) {
        unsplit(c, row, col + i);
        struct cell *cell = at(c, row, col + i);
        if (cell)
            *cell = (struct cell){.ch = i ? 0 : ch, .role = (uint8_t)role};
    }
    if (width == 2 && !at(c, row, col + 1) && at(c, row, col)) /* cut by the right edge */
        *at(c, row, col) = (struct cell){.ch = ' ', .role = (uint8_t)role};
    if (width == 2 && !at(c, row, col) && at(c, row, col + 1))
        *at(c, row, col + 1) = (struct cell){.ch = ' ', .role = (uint8_t)role};
}

void canvas_put(struct canvas *c, int row, int col, enum role role, uint32_t ch)
{
    if (ch < 0x20 || (ch >= 0x7f && ch < 0xa0))
        ch = 0xfffd;
    if (c->ascii)
        ch = ascii_of(ch);
    int width = width_scalar(ch);
    put_wide(c, row, col, role, width < 1 ? 0xfffd : ch, width < 1 ? 1 : width);
}

int canvas_text_n(struct canvas *c, int row, int col, int cols, enum role role, const char *text, size_t n)
{
    int used = 0;
    const char *p = text, *end = text ? text + n : NULL;
    while (p < end) {
        uint32_t ch;
        p += utf8_decode(p, end, &ch);
        int width = width_scalar(ch);
        if (width == WIDTH_DROPPED)
            continue;
        if (width == WIDTH_MARK) {
            struct cell *base = used > 0 ? at(c, row, col + used - 1) : NULL;
            if (base && base->ch == 0)
                base = at(c, row, col + used - 2);
            if (base && !c->ascii && base->ch > ' ') {
                if (!base->mark[0])
                    base->mark[0] = ch;
                else if (!base->mark[1])
                    base->mark[1] = ch;
            }
            continue;
        }
        if (used + width > cols)
            break;
        if (c->ascii && width == 2) { /* keep the columns that everybody counted */
            canvas_put(c, row, col + used, role, '?');
            canvas_put(c, row, col + used + 1, role, ' ');
        } else
            canvas_put(c, row, col + used, role, ch);
        used += width;
    }
    return used;
}

int canvas_text(struct canvas *c, int row, int col, int cols, enum role role, const char *text)
{
    return text ? canvas_text_n(c, row, col, cols, role, text, strlen(text)) : 0;
}

int canvas_fit(struct canvas *c, int row, int col, int cols, enum role role, const char *text)
{
    if (!text || cols <= 0)
        return 0;
    if (width_text(text) <= cols)
        return canvas_text(c, row, col, cols, role, text);
    int used = canvas_text(c, row, col, cols - 1, role, text);
    canvas_put(c, row, col + used, role, 0x2026);
    return used + 1;
}

int canvas_right(struct canvas *c, int row, int col, int cols, enum role role, const char *text)
{
    int width = width_text(text);
    if (width > cols)
        return canvas_fit(c, row, col, cols, role, text);
    return canvas_text(c, row, col + cols - width, width, role, text);
}

int canvas_printf(struct canvas *c, int row, int col, int cols, enum role role, const char *format, ...)
{
    struct str s = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&s, format, args);
    va_end(args);
    int used = canvas_fit(c, row, col, cols, role, str_text(&s));
    str_free(&s);
    return used;
}

void canvas_fill(struct canvas *c, struct rect r, enum role role, uint32_t ch)
{
    for (int i = 0; i < r.rows; i++)
        for (int j = 0; j < r.cols; j++)
            canvas_put(c, r.row + i, r.col + j, role, ch);
}

void canvas_role(struct canvas *c, struct rect r, enum role role)
{
    for (int i = 0; i < r.rows; i++)
        for (int j = 0; j < r.cols; j++) {
            struct cell *cell = at(c, r.row + i, r.col + j);
            if (cell)
                cell->role = (uint8_t)role;
        }
}

struct rect rect_inside(struct rect r)
{
    return (struct rect){r.row + 1, r.col + 1, r.rows > 2 ? r.rows - 2 : 0, r.cols > 2 ? r.cols - 2 : 0};
}

void canvas_box(struct canvas *c, struct rect r, bool focus, const char *title, const char *right)
{
    if (r.rows < 2 || r.cols < 2)
        return;
    static const uint32_t thin[] = {0x2500, 0x2502, 0x250c, 0x2510, 0x2514, 0x2518};
    static const uint32_t heavy[] = {0x2501, 0x2503, 0x250f, 0x2513, 0x2517, 0x251b};
    const uint32_t *glyph = focus ? heavy : thin;
    enum role role = focus ? ROLE_BORDER_FOCUS : ROLE_BORDER;
    uint32_t across = focus && c->ascii ? '=' : glyph[0]; /* without heavy lines the focus is a double line */
    int bottom = r.row + r.rows - 1, last = r.col + r.cols - 1;
    for (int col = r.col + 1; col < last; col++) {
        canvas_put(c, r.row, col, role, across);
        canvas_put(c, bottom, col, role, across);
    }
    for (int row = r.row + 1; row < bottom; row++) {
        canvas_put(c, row, r.col, role, glyph[1]);
        canvas_put(c, row, last, role, glyph[1]);
    }
    canvas_put(c, r.row, r.col, role, glyph[2]);
    canvas_put(c, r.row, last, role, glyph[3]);
    canvas_put(c, bottom, r.col, role, glyph[4]);
    canvas_put(c, bottom, last, role, glyph[5]);

    int room = r.cols - 4, used = 0;
    if (title && *title && room > 4) {
        canvas_put(c, r.row, r.col + 2, role, ' ');
        used = canvas_fit(c, r.row, r.col + 3, room - 2, focus ? ROLE_TITLE : ROLE_TEXT, title);
        canvas_put(c, r.row, r.col + 3 + used, role, ' ');
        used += 3;
    }
    int wide = width_text(right);
    if (wide > 0 && wide + 2 <= room - used) {
        canvas_put(c, r.row, last - 3 - wide, role, ' ');
        canvas_text(c, r.row, last - 2 - wide, wide, ROLE_DIM, right);
        canvas_put(c, r.row, last - 2, role, ' ');
    }
}

void canvas_dump(const struct canvas *c, struct str *text, struct str *plane)
{
    for (int row = 0; row < c->rows; row++) {
        const struct cell *cells = &c->cells[(size_t)row * (size_t)c->cols];
        int end = c->cols;
        while (end > 0 && cells[end - 1].ch == ' ')
            end--;
        for (int col = 0; col < end; col++) {
            if (cells[col].ch == 0)
                continue;
            str_add_utf8(text, cells[col].ch);
            for (int k = 0; k < 2 && cells[col].mark[k]; k++)
                str_add_utf8(text, cells[col].mark[k]);
        }
        str_add_char(text, '\n');
        if (!plane)
            continue;
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        _Static_assert(ROLE_COUNT < sizeof letters, "one letter a role");
        for (int col = 0; col < c->cols; col++)
            str_add_char(plane, cells[col].role == ROLE_TEXT ? '.' : letters[cells[col].role]);
        str_add_char(plane, '\n');
    }
}
