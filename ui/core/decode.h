/* decode.h - bytes of a terminal to keys. A pure state machine: no reading, no clock; the caller says when the line is idle.
 *
 * Knows UTF-8, control characters, CSI and SS3 sequences of xterm, tmux, rxvt and the Linux console with their modifiers, ESC before a
 * character as Alt, and bracketed paste. A lone ESC is only a key once nothing follows it for a moment (`idle`). Unknown sequences vanish.
 *
 *     decode_feed(&d, bytes, n);
 *     while (decode_next(&d, idle, &key)) use(key);       a KEY_PASTE's text lives until the next call
 *     poll(..., decode_pending(&d) ? 25 : -1)             then again with idle = true
 */
#ifndef GM_UI_DECODE_H
#define GM_UI_DECODE_H

#include "engine/base/str.h"
#include "ui/core/key.h"

enum { DECODE_PASTE_MAX = 1 << 20 }; /* a longer paste is cut */

struct decoder {
    struct str bytes;  /* not decoded yet, from `at` on */
    size_t at;
    bool pasting;
    struct str paste;
};
void decode_free(struct decoder *d);
void decode_feed(struct decoder *d, const char *bytes, size_t n);
bool decode_next(struct decoder *d, bool idle, struct key *key);
bool decode_pending(const struct decoder *d); /* something waits for more bytes */

#endif
