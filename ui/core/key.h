/* key.h - one key press, as the terminal layer hands it to the screens.
 *
 * A code is a Unicode scalar, or one of KEY_UP..., with KEY_CTRL / KEY_ALT added. Ctrl-letter is KEY_CTRL | 'a'..'z';
 * Enter, Tab, Esc and Backspace are their own codes, never Ctrl-M, Ctrl-I... A paste is one key that carries its text.
 *
 *     struct key k; if (key_parse("C-d", &k.code)) ...       key_name(k.code, buf, sizeof buf) -> "C-d"
 */
#ifndef GM_UI_KEY_H
#define GM_UI_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_NONE = 0,
    KEY_UP = 0x110000,
    KEY_DOWN,
    KEY_LEFT,
    KEY_RIGHT,
    KEY_HOME,
    KEY_END,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_DELETE,
    KEY_INSERT,
    KEY_BACKSPACE,
    KEY_ENTER,
    KEY_TAB,
    KEY_BACKTAB,
    KEY_ESC,
    KEY_F1,
    KEY_F12 = KEY_F1 + 11,
    KEY_PASTE, /* text, len: what was pasted, raw bytes as they came */
    KEY_CTRL = 1 << 24,
    KEY_ALT = 1 << 25
};

struct key {
    uint32_t code;
    const char *text; /* KEY_PASTE only; valid until the next key is read */
    size_t len;
};

/* "a" "C-a" "A-1" "Up" "PgDn" "Space" "F1" ... ; false when the name is none. */
bool key_parse(const char *name, uint32_t *code);
/* The name back; returns out. */
const char *key_name(uint32_t code, char *out, size_t size);

#endif
