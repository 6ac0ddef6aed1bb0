/* Any bytes as a theme, and as what a terminal sends. */
#include "tests/fuzz/fuzz.h"

#include "ui/core/decode.h"
#include "ui/core/theme.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {"name ", "inherit sumi\n", "inherit washi\n", "background light\n", "color ", "style ", "mono ", "text ", "status.run ", "plot.s1 ", "chat.user ", "default ", "- ", "bold", "dim", "underline",
                                  "reverse", "#a0b1c2 ", "brightred", "255 ", "256", "#", "\n", "\t", "\x1b[", "\x1bO", "\x1b[1;5A", "\x1b[200~", "\x1b[201~", "\x1b[<0;1;1M", "~", "\xC3\xA9", "\xF0\x9F\x8C\xB8", "\x1b\x1b", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct theme t;
    theme_builtin(&t, "sumi");
    if (theme_parse(&t, (const char *)data, size, "fuzz", &err))
        for (int level = THEME_MONO; level <= THEME_256; level++)
            for (int role = 0; role < ROLE_COUNT; role++) {
                struct style s = theme_style(&t, (enum role)role, (enum theme_level)level);
                int most = level == THEME_MONO ? -1 : level == THEME_16 ? 15 : 255;
                assert(s.fg >= -1 && s.fg <= most && s.bg >= -1 && s.bg <= most);
            }
    else
        assert(err.text[0]);
    struct decoder d = {0};
    struct key key;
    char name[64];
    for (size_t at = 0; at < size; at += 7) { /* in pieces, as they come */
        decode_feed(&d, (const char *)data + at, size - at < 7 ? size - at : 7);
        while (decode_next(&d, at % 3 == 0, &key))
            key_name(key.code, name, sizeof name);
    }
    while (decode_next(&d, true, &key))
        assert(key.code != KEY_PASTE || key.len <= DECODE_PASTE_MAX);
    decode_free(&d);
    return 0;
}
