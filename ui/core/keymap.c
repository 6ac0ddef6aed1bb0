#include "ui/core/keymap.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char *const context_names[CONTEXT_COUNT] = {"data",   "train", "samples", "chat",  "ckpts",
                                                         "export", "log",   "start",   "global"};

const char *context_name(enum context context)
{
    return context_names[context];
}

static enum context context_find(const char *name)
{
    for (int i = 0; i < CONTEXT_COUNT; i++)
        if (strcmp(context_names[i], name) == 0)
            return (enum context)i;
    assert(!"the command table names an unknown context");
    return CONTEXT_GLOBAL;
}

/* Next word of *p (up to a space or ';') into word; false at the end or at a ';', which is stepped over. */
static bool next_word(const char **p, char word[32])
{
    *p += strspn(*p, " ");
    size_t len = strcspn(*p, " ;");
    if (**p == ';' && (*p)[1] == ' ')
        len = 0;
    if (len == 0) {
        *p += **p == ';';
        return false;
    }
    assert(len < 32);
    memcpy(word, *p, len);
    word[len] = '\0';
    *p += len;
    return true;
}

void keymap_init(struct keymap *map)
{
    map->count = 0;
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const char *p = command_info((enum command_id)id)->keys;
        char word[32];
        while (*p) {
            if (!next_word(&p, word))
                break;
            enum context context = context_find(word);
            while (next_word(&p, word)) {
                assert(map->count < KEYMAP_MAX);
                struct binding *b = &map->bindings[map->count++];
                bool known = key_parse(word, &b->code);
                assert(known);
                (void)known;
                b->context = (uint8_t)context;
                b->command = (uint8_t)id;
            }
        }
    }
}

enum command_id keymap_find(const struct keymap *map, enum context context, uint32_t code)
{
    enum command_id global = COMMAND_NONE;
    for (int i = 0; i < map->count; i++) {
        const struct binding *b = &map->bindings[i];
        if (b->code != code)
            continue;
        if (b->context == context)
            return (enum command_id)b->command;
        if (b->context == CONTEXT_GLOBAL)
            global = (enum command_id)b->command;
    }
    return global;
}

const char *keymap_keys(const struct keymap *map, enum context context, enum command_id id, int limit, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < map->count && limit > 0; i++) {
        const struct binding *b = &map->bindings[i];
        if (b->context != context || b->command != id)
            continue;
        char name[24];
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", key_name(b->code, name, sizeof name));
        if (used >= size)
            break;
        limit--;
    }
    return out;
}
