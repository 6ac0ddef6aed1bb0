#include "ui/core/decode.h"

#include <string.h>

enum { SEQUENCE_MAX = 64 };
static const char paste_end[] = "\033[201~";
enum { PASTE_END = sizeof paste_end - 1 };

void decode_free(struct decoder *d)
{
    str_free(&d->bytes);
    str_free(&d->paste);
    memset(d, 0, sizeof *d);
}

void decode_feed(struct decoder *d, const char *bytes, size_t n)
{
    if (d->at > 0 && d->at == d->bytes.len) {
        str_clear(&d->bytes);
        d->at = 0;
    }
    str_add_n(&d->bytes, bytes, n);
}

bool decode_pending(const struct decoder *d)
{
    return d->at < d->bytes.len || d->pasting;
}

/* What one look at the front of the buffer found: `used` 0 = more bytes are needed; code KEY_NONE = nothing that is a key. */
struct look {
    size_t used;
    uint32_t code;
};

static uint32_t with_modifiers(uint32_t code, int parameter)
{
    int bits = parameter > 1 ? parameter - 1 : 0;
    if ((bits & 1) && code == KEY_TAB)
        code = KEY_BACKTAB;
    if (bits & 2)
        code |= KEY_ALT;
    if (bits & 4)
        code |= KEY_CTRL;
    return code;
}

static uint32_t by_letter(char final)
{
    switch (final) {
    case 'A':
        return KEY_UP;
    case 'B':
        return KEY_DOWN;
    case 'C':
        return KEY_RIGHT;
    case 'D':
        return KEY_LEFT;
    case 'H':
        return KEY_HOME;
    case 'F':
        return KEY_END;
    case 'Z':
        return KEY_BACKTAB;
    case 'M': /* keypad Enter after SS3 */
        return KEY_ENTER;
    case 'P':
    case 'Q':
    case 'R':
    case 'S':
        return (uint32_t)(KEY_F1 + (final - 'P'));
    default:
        return KEY_NONE;
    }
}

static uint32_t by_number(int number)
{
    static const uint32_t low[] = {KEY_NONE, KEY_HOME, KEY_INSERT, KEY_DELETE, KEY_END, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_END};
    if (number >= 0 && number <= 8)
        return low[number];
    if (number >= 11 && number <= 15)
        return (uint32_t)(KEY_F1 + number - 11);
    if (number >= 17 && number <= 21)
        return (uint32_t)(KEY_F1 + number - 12);
    if (number == 23 || number == 24)
        return (uint32_t)(KEY_F1 + number - 13);
    return KEY_NONE;
}

/* p points behind "ESC [". */
static struct look csi(struct decoder *d, const unsigned char *p, size_t n, size_t before)
{
    int parameters[4] = {0}, count = 0;
    bool odd = false; /* a private or strange sequence */
    if (n >= 1 && p[0] == '[') { /* Linux console F1..F5: ESC [ [ A */
        if (n < 2)
            return (struct look){0, 0};
        return (struct look){before + 2, p[1] >= 'A' && p[1] <= 'E' ? (uint32_t)(KEY_F1 + p[1] - 'A') : KEY_NONE};
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = p[i];
        if (c >= '0' && c <= '9') {
            if (count < 4 && parameters[count] < 100000000)
                parameters[count] = parameters[count] * 10 + (c - '0');
        } else if (c == ';' || c == ':')
            count += count < 4;
        else if (c >= 0x20 && c <= 0x3f)
            odd = true;
        else if (c >= 0x40 && c <= 0x7e) {
            size_t used = before + i + 1;
            if (c == '~' && !odd && parameters[0] == 200) {
                d->pasting = true;
                str_clear(&d->paste);
                return (struct look){used, KEY_NONE};
            }
            if (c == 'M' && i == 0) /* an X10 mouse report: three bytes follow */
                return (struct look){n >= 4 ? before + 4 : 0, KEY_NONE};
            uint32_t code = odd || c == 'M' ? KEY_NONE : c == '~' ? by_number(parameters[0]) : by_letter((char)c);
            if (c == 'u' && !odd) { /* CSI u: the code point itself */
                uint32_t plain = (uint32_t)parameters[0];
                code = plain == 13 ? KEY_ENTER : plain == 9 ? KEY_TAB : plain == 27 ? KEY_ESC : plain == 127 ? KEY_BACKSPACE : plain;
                if (plain < 0x20 && code == plain)
                    code = KEY_NONE;
                if (plain >= 0x110000 || (plain >= 0xd800 && plain < 0xe000))
                    code = KEY_NONE;
            }
            return (struct look){used, code ? with_modifiers(code, parameters[1]) : KEY_NONE};
        } else
            return (struct look){before + i, KEY_NONE}; /* a control byte inside: what came before it was no sequence */
        if (i >= SEQUENCE_MAX)
            return (struct look){before + i, KEY_NONE};
    }
    return (struct look){0, 0};
}

static struct look plain(const unsigned char *p, size_t n, bool idle)
{
    unsigned char c = p[0];
    if (c == 0)
        return (struct look){1, KEY_CTRL | ' '};
    if (c == 8 || c == 0x7f)
        return (struct look){1, KEY_BACKSPACE};
    if (c == 9)
        return (struct look){1, KEY_TAB};
    if (c == 10 || c == 13)
        return (struct look){1, KEY_ENTER};
    if (c < 27)
        return (struct look){1, KEY_CTRL | (uint32_t)('a' + c - 1)};
    if (c < 0x20)
        return (struct look){1, KEY_CTRL | (uint32_t)(c + 0x40)};
    if (c < 0x80)
        return (struct look){1, c};
    uint32_t scalar;
    size_t look = n < 4 ? n : 4;
    if (!idle && look < 4 && utf8_complete_prefix((const char *)p, look) == 0)
        return (struct look){0, 0};
    int used = utf8_decode((const char *)p, (const char *)p + look, &scalar);
    if (scalar == 0xfffd || (scalar >= 0x80 && scalar < 0xa0))
        scalar = KEY_NONE; /* broken bytes are not typed text */
    return (struct look){(size_t)used, scalar};
}

static struct look escape(struct decoder *d, const unsigned char *p, size_t n, bool idle)
{
    struct look l;
    if (n == 1)
        return (struct look){idle ? 1 : 0, KEY_ESC};
    if (p[1] == '[' || p[1] == 'O') {
        if (p[1] == '[')
            l = csi(d, p + 2, n - 2, 2);
        else
            l = n < 3 ? (struct look){0, 0} : (struct look){3, by_letter((char)p[2])};
        if (l.used == 0 && idle) /* nothing followed: it was Alt and the character */
            return (struct look){2, KEY_ALT | p[1]};
        return l;
    }
    if (p[1] == 033) {
        if (n > 2 && (p[2] == '[' || p[2] == 'O')) { /* Alt with a function key, the old way */
            l = escape(d, p + 1, n - 1, idle);
            if (l.used == 0)
                return l;
            return (struct look){l.used + 1, l.code ? l.code | KEY_ALT : KEY_NONE};
        }
        return (struct look){n > 2 || idle ? 1 : 0, KEY_ESC};
    }
    l = plain(p + 1, n - 1, idle);
    return l.used == 0 ? l : (struct look){l.used + 1, l.code ? l.code | KEY_ALT : KEY_NONE};
}

/* Moves pasted bytes out of the buffer; true when the end marker was found. */
static bool take_paste(struct decoder *d, bool idle)
{
    const char *from = d->bytes.data + d->at;
    size_t n = d->bytes.len - d->at;
    const char *end = n ? memmem(from, n, paste_end, PASTE_END) : NULL;
    size_t text = end ? (size_t)(end - from) : n > PASTE_END && !idle ? n - PASTE_END : idle ? n : 0; /* the tail may be half a marker */
    size_t room = d->paste.len < DECODE_PASTE_MAX ? DECODE_PASTE_MAX - d->paste.len : 0;
    str_add_n(&d->paste, from, text < room ? text : room);
    d->at += text + (end ? PASTE_END : 0);
    return end || idle;
}

bool decode_next(struct decoder *d, bool idle, struct key *key)
{
    while (d->pasting || d->at < d->bytes.len) {
        if (d->pasting) {
            bool done = take_paste(d, idle);
            if (!done) {
                if (d->at > 65536) { /* a long paste does not pile up in both buffers */
                    struct str rest = {0};
                    str_add_n(&rest, d->bytes.data + d->at, d->bytes.len - d->at);
                    str_free(&d->bytes);
                    d->bytes = rest;
                    d->at = 0;
                }
                return false;
            }
            d->pasting = false;
            *key = (struct key){KEY_PASTE, str_text(&d->paste), d->paste.len};
            return true;
        }
        const unsigned char *p = (const unsigned char *)d->bytes.data + d->at;
        size_t n = d->bytes.len - d->at;
        struct look l = p[0] == 033 ? escape(d, p, n, idle) : plain(p, n, idle);
        if (l.used == 0)
            return false;
        d->at += l.used;
        if (l.code != KEY_NONE) {
            *key = (struct key){.code = l.code};
            return true;
        }
    }
    return false;
}
