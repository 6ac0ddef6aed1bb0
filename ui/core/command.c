#include "ui/core/command.h"

#include <string.h>

enum { WHO_UI, WHO_APP };
static const struct command_info table[COMMAND_COUNT] = {
    {"", "", "", "", "", false},
#define X(id, name, argument, who, keys, hint, help) {name, argument, keys, hint, help, WHO_##who == WHO_APP},
    COMMAND_TABLE(X)
#undef X
};

void command_clear(struct command *c)
{
    c->id = COMMAND_NONE;
    c->number = 0;
    c->flags = 0;
    memset(c->choices, 0, sizeof c->choices);
    str_clear(&c->text);
}

void command_free(struct command *c)
{
    str_free(&c->text);
}

const struct command_info *command_info(enum command_id id)
{
    return &table[id];
}

static enum command_id find(const char *name, size_t len)
{
    for (int i = 1; i < COMMAND_COUNT; i++)
        if (len > 0 && strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return (enum command_id)i;
    return COMMAND_NONE;
}

/* Optimal string alignment on short names: what a typing slip costs. */
static int distance(const char *a, size_t na, const char *b)
{
    enum { MAX = 24 };
    size_t nb = strlen(b);
    int d[MAX + 1][MAX + 1];
    if (na > MAX || nb > MAX)
        return MAX;
    for (size_t i = 0; i <= na; i++)
        for (size_t j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (int)(i + j);
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[na][nb];
}

bool command_parse(struct command *c, const char *line, struct gm_error *err)
{
    command_clear(c);
    line += strspn(line, " ");
    size_t len = strcspn(line, " ");
    enum command_id id = find(line, len);
    if (id == COMMAND_NONE && len == 1 && line[0] == 'q')
        id = COMMAND_QUIT; /* everybody's fingers know :q */
    if (id == COMMAND_NONE) {
        int best = len < 4 ? 2 : 3; /* of three letters one may be wrong, or every word is near */
        const char *near = NULL;
        for (int i = 1; i < COMMAND_COUNT; i++)
            if (table[i].name[0] && distance(line, len, table[i].name) < best) {
                best = distance(line, len, table[i].name);
                near = table[i].name;
            }
        int shown = len > 40 ? 40 : (int)len;
        if (near)
            return error_set(err, GM_E_USAGE, "no command %.*s (did you mean %s?)", shown, line, near);
        return error_set(err, GM_E_USAGE, "no command %.*s (? lists them)", shown, line);
    }
    const char *argument = line + len + strspn(line + len, " ");
    size_t n = strlen(argument);
    while (n > 0 && argument[n - 1] == ' ')
        n--;
    if (n > 0 && table[id].argument[0] == '\0')
        return error_set(err, GM_E_USAGE, "%s takes nothing after it", table[id].name);
    if (n == 0 && table[id].argument[0] && table[id].argument[0] != '[')
        return error_set(err, GM_E_USAGE, "%s needs %s", table[id].name, table[id].argument);
    c->id = id;
    str_add_n(&c->text, argument, n);
    return true;
}

const char *command_complete(const char *prefix, size_t i)
{
    size_t len = strlen(prefix);
    for (int k = 1; k < COMMAND_COUNT; k++)
        if (table[k].name[0] && strncmp(table[k].name, prefix, len) == 0 && i-- == 0)
            return table[k].name;
    return NULL;
}
