/* normal.c - rewrites a text before it is cut, and remembers where each byte came from. */
#include "engine/base/mem.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>

static void prepend(struct normal_text *n, const struct text_rule *r, uint32_t origin)
{
    if (n->n == 0)
        return; /* as the library: nothing stays nothing */
    char *data = mem_new(n->n + r->to_len, 1);
    uint32_t *from = mem_new(n->n + r->to_len, sizeof *from);
    memcpy(data, r->to, r->to_len);
    memcpy(data + r->to_len, n->data, n->n);
    for (size_t i = 0; i < r->to_len; i++)
        from[i] = origin;
    memcpy(from + r->to_len, n->origin, n->n * sizeof *from);
    size_t size = n->n + r->to_len;
    normal_free(n);
    *n = (struct normal_text){data, from, size};
}

static void replace(struct normal_text *n, const struct text_rule *r)
{
    size_t hits = 0;
    const char *end = n->data + n->n;
    for (const char *p = n->data;
         p < end && (p = memmem(p, (size_t)(end - p), r->from, r->from_len)); p += r->from_len)
        hits++;
    if (hits == 0)
        return;
    size_t size =
        n->n - hits * r->from_len + hits * r->to_len; /* texts are below 1 GiB, rules below 4 KiB */
    char *data = mem_new(size ? size : 1, 1);
    uint32_t *origin = mem_new(size ? size : 1, sizeof *origin);
    size_t out = 0, at = 0;
    while (at < n->n) {
        const char *hit = memmem(n->data + at, n->n - at, r->from, r->from_len);
        size_t until = hit ? (size_t)(hit - n->data) : n->n;
        memcpy(data + out, n->data + at, until - at);
        memcpy(origin + out, n->origin + at, (until - at) * sizeof *origin);
        out += until - at;
        if (!hit)
            break;
        memcpy(data + out, r->to, r->to_len);
        for (size_t i = 0; i < r->to_len; i++)
            origin[out + i] = n->origin[until];
        out += r->to_len;
        at = until + r->from_len;
    }
    normal_free(n);
    *n = (struct normal_text){data, origin, size};
}

void normal_apply(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                  struct normal_text *out)
{
    size_t n = end - begin;
    *out = (struct normal_text){
        .data = mem_new(n ? n : 1, 1), .origin = mem_new(n ? n : 1, sizeof *out->origin), .n = n};
    if (n)
        memcpy(out->data, text + begin, n);
    for (size_t i = 0; i < n; i++)
        out->origin[i] = (uint32_t)(begin + i);
    for (int i = 0; i < t->n_rules; i++) {
        if (t->rules[i].kind == RULE_PREPEND)
            prepend(out, &t->rules[i], (uint32_t)begin);
        else
            replace(out, &t->rules[i]);
    }
}

void normal_free(struct normal_text *n)
{
    mem_free(n->data);
    mem_free(n->origin);
    *n = (struct normal_text){0};
}
