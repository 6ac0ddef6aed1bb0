/* keymap.h - which key means which command where. Made once from the command table; a plain value without pointers to free.
 *
 *     struct keymap map; keymap_init(&map);
 *     enum command_id id = keymap_find(&map, CONTEXT_TRAIN, key.code);      looks in the context, then in CONTEXT_GLOBAL
 */
#ifndef GM_UI_KEYMAP_H
#define GM_UI_KEYMAP_H

#include "ui/core/command.h"

enum context {
    CONTEXT_DATA, /* the first seven are the screens, in order */
    CONTEXT_TRAIN,
    CONTEXT_SAMPLES,
    CONTEXT_CHAT,
    CONTEXT_CKPTS,
    CONTEXT_EXPORT,
    CONTEXT_LOG,
    CONTEXT_START,
    CONTEXT_GLOBAL,
    CONTEXT_COUNT
};
const char *context_name(enum context context);

struct binding {
    uint32_t code;
    uint8_t context, command;
};
enum { KEYMAP_MAX = 160 };
struct keymap {
    struct binding bindings[KEYMAP_MAX];
    int count;
};

void keymap_init(struct keymap *map);
enum command_id keymap_find(const struct keymap *map, enum context context, uint32_t code);
/* The names of the keys of a command in exactly this context ("j Down"), at most `limit` of them; "" when none. Returns out. */
const char *keymap_keys(const struct keymap *map, enum context context, enum command_id id, int limit, char *out, size_t size);

#endif
