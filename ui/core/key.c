#include "ui/core/key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/str.h"

static const struct {
    const char *name;
    uint32_t code;
} named[] = {{"Up", KEY_UP},
             {"Down", KEY_DOWN},
             {"Left", KEY_LEFT},
             {"Right", KEY_RIGHT},
             {"Home", KEY_HOME},
             {"End", KEY_END},
             {"PgUp", KEY_PAGE_UP},
             {"PgDn", KEY_PAGE_DOWN},
             {"Del", KEY_DELETE},
             {"Ins", KEY_INSERT},
             {"Backspace", KEY_BACKSPACE},
             {"Enter", KEY_ENTER},
             {"Tab", KEY_TAB},
             {"S-Tab", KEY_BACKTAB},
             {"Esc", KEY_ESC},
             {"Space", ' '}};
enum { NAMED_COUNT = sizeof named / sizeof named[0] };

bool key_parse(const char *name, uint32_t *code)
{
    uint32_t flags = 0;
    for (;;) {
        if (name[0] == 'C' && name[1] == '-' && name[2])
            flags |= KEY_CTRL;
        else if (name[0] == 'A' && name[1] == '-' && name[2])
            flags |= KEY_ALT;
        else
            break;
        name += 2;
    }
    for (int i = 0; i < NAMED_COUNT; i++)
        if (strcmp(name, named[i].name) == 0) {
            *code = named[i].code | flags;
            return true;
        }
    if (name[0] == 'F' && name[1] >= '1' && name[1] <= '9') {
        int number = atoi(name + 1);
        if (number > 12 || strlen(name) > 3)
            return false;
        *code = (uint32_t)(KEY_F1 + number - 1) | flags;
        return true;
    }
    size_t len = strlen(name);
    uint32_t scalar = 0;
    if (len == 0 || !utf8_valid(name, len) || (size_t)utf8_decode(name, name + len, &scalar) != len || scalar < 0x21)
        return false;
    *code = scalar | flags;
    return true;
}

const char *key_name(uint32_t code, char *out, size_t size)
{
    uint32_t plain = code & ~(uint32_t)(KEY_CTRL | KEY_ALT);
    char base[16] = "?";
    if (plain >= KEY_F1 && plain <= KEY_F12)
        snprintf(base, sizeof base, "F%u", (unsigned)(plain - KEY_F1 + 1));
    else if (plain > 0x20 && plain < 0x110000 && !(plain >= 0xd800 && plain < 0xe000)) {
        char utf8[4];
        int n = utf8_encode(plain, utf8);
        snprintf(base, sizeof base, "%.*s", n, utf8);
    }
    for (int i = 0; i < NAMED_COUNT; i++)
        if (named[i].code == plain)
            snprintf(base, sizeof base, "%s", named[i].name);
    snprintf(out, size, "%s%s%s", code & KEY_CTRL ? "C-" : "", code & KEY_ALT ? "A-" : "", base);
    return out;
}
