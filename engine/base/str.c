/* str.c - a growing byte string. Capacity doubles; one byte is always kept for the final NUL. */
#include "engine/base/str.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `more` bytes and the NUL. A length that wraps is given to mem_grow as SIZE_MAX, which reports and aborts. */
static void reserve(struct str *s, size_t more)
{
    size_t need;
    if (!checked_add(s->len, more, &need) || !checked_add(need, 1, &need))
        need = SIZE_MAX;
    if (need <= s->cap)
        return;
    size_t cap = s->cap ? s->cap : 32;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    s->data = mem_grow(s->data, s->cap, cap, 1);
    s->cap = cap;
}

void str_add_n(struct str *s, const char *bytes, size_t n)
{
    reserve(s, n);
    if (n > 0)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void str_add(struct str *s, const char *text)
{
    str_add_n(s, text, strlen(text));
}

void str_add_char(struct str *s, char c)
{
    str_add_n(s, &c, 1);
}

void str_add_utf8(struct str *s, uint32_t scalar)
{
    char bytes[4];
    str_add_n(s, bytes, (size_t)utf8_encode(scalar, bytes));
}

void str_vprintf(struct str *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    reserve(s, 0);
    int n = vsnprintf(s->data + s->len, s->cap - s->len, format, args);
    if (n > 0 && (size_t)n >= s->cap - s->len) {
        reserve(s, (size_t)n);
        vsnprintf(s->data + s->len, s->cap - s->len, format, again);
    }
    va_end(again);
    if (n > 0)
        s->len += (size_t)n;
    s->data[s->len] = 0;
}

void str_printf(struct str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    str_vprintf(s, format, args);
    va_end(args);
}

void str_clear(struct str *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = 0;
}

void str_free(struct str *s)
{
    mem_free(s->data);
    *s = (struct str){0};
}

char *str_take(struct str *s)
{
    char *bytes = s->data ? s->data : mem_copy("");
    *s = (struct str){0};
    return bytes;
}

const char *str_text(const struct str *s)
{
    return s->data ? s->data : "";
}

bool text_ends(const char *text, const char *tail)
{
    size_t n = strlen(text), t = strlen(tail);
    return n >= t && memcmp(text + n - t, tail, t) == 0;
}

int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}
