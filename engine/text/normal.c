/* normal.c - rewrites a text before it is cut, and remembers where each byte came from. */
#include "engine/base/mem.h"
#include "engine/text/tokenizer_private.h"
#include "engine/text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* A text being written; the old one may not be touched while it is read. */
struct writing {
    struct normal_text to;
    size_t cap_data;
};

static void put(struct writing *w, const char *bytes, const uint32_t *origins, uint32_t origin, size_t n)
{ /* origins NULL: `origin` for all */
    if (w->to.n + n > w->cap_data) {
        size_t cap = w->to.n + n > 2 * w->cap_data ? w->to.n + n : 2 * w->cap_data;
        w->to.data = mem_grow(w->to.data, w->cap_data, cap, 1);
        w->to.origin = mem_grow(w->to.origin, w->cap_data, cap, sizeof *w->to.origin);
        w->cap_data = cap;
    }
    if (n)
        memcpy(w->to.data + w->to.n, bytes, n);
    if (origins && n)
        memcpy(w->to.origin + w->to.n, origins, n * sizeof *origins);
    for (size_t i = 0; !origins && i < n; i++)
        w->to.origin[w->to.n + i] = origin;
    w->to.n += n;
}

static struct writing writing_begin(size_t about)
{
    size_t cap = about ? about : 1;
    return (struct writing){.to = {.data = mem_new(cap, 1), .origin = mem_new(cap, sizeof(uint32_t))}, .cap_data = cap};
}

static void take_over(struct normal_text *n, struct writing *w)
{
    normal_free(n);
    *n = w->to;
}

void normal_prepend(struct normal_text *n, const char *text, size_t len, uint32_t origin)
{
    struct writing w = writing_begin(n->n + len);
    put(&w, text, NULL, origin, len);
    put(&w, n->data, n->origin, 0, n->n);
    take_over(n, &w);
}

static bool next_hit(const struct text_rule *r, struct regex_run *run, const struct normal_text *n, size_t at, struct regex_hit *hit,
                     enum regex_answer *answer)
{
    if (r->regex) {
        *answer = regex_find(r->regex, run, n->data, 0, at, n->n, hit);
        return *answer == REGEX_FOUND;
    }
    const char *found = at < n->n ? memmem(n->data + at, n->n - at, r->from, r->from_len) : NULL;
    *answer = found ? REGEX_FOUND : REGEX_NONE;
    if (found)
        *hit = (struct regex_hit){(size_t)(found - n->data), (size_t)(found - n->data) + r->from_len};
    return found;
}

/* False: the pattern took too many steps. */
bool normal_replace(struct normal_text *n, const struct text_rule *r)
{
    struct regex_run run = regex_run_begin(n->n);
    struct regex_hit hit;
    enum regex_answer answer;
    if (next_hit(r, &run, n, 0, &hit, &answer)) {
        struct writing w = writing_begin(n->n + r->to_len);
        size_t from = 0;
        do {
            put(&w, n->data + from, n->origin + from, 0, hit.begin - from);
            put(&w, r->to, NULL, n->origin[hit.begin], r->to_len);
            from = hit.end;
        } while (next_hit(r, &run, n, from, &hit, &answer));
        put(&w, n->data + from, n->origin + from, 0, n->n - from);
        take_over(n, &w);
    }
    regex_run_free(&run);
    return answer != REGEX_TOO_LONG;
}

static void strip(struct normal_text *n, bool left, bool right)
{
    uint32_t c;
    size_t begin = 0, end = n->n;
    for (int len; left && begin < end; begin += (size_t)len) {
        len = utf8_decode(n->data + begin, n->data + end, &c);
        if (!unicode_is_space(c))
            break;
    }
    while (right && end > begin) {
        size_t last = end - 1;
        while (last > begin && ((unsigned char)n->data[last] & 0xC0) == 0x80)
            last--;
        utf8_decode(n->data + last, n->data + end, &c);
        if (!unicode_is_space(c))
            break;
        end = last;
    }
    memmove(n->data, n->data + begin, end - begin);
    memmove(n->origin, n->origin + begin, (end - begin) * sizeof *n->origin);
    n->n = end - begin;
}

/* ---- NFC, NFD (Unicode Standard Annex 15) ---- */

struct mark { /* a character of the stretch at work */
    uint32_t c, origin;
    int class;
    size_t place; /* so that sorting by class keeps the order */
};

struct stretch { /* from a character that joins nothing before it to the next one */
    struct mark *marks;
    size_t n, cap;
};

static void add_decomposed(struct stretch *s, uint32_t c, uint32_t origin)
{
    uint32_t parts[2];
    int n = unicode_decompose(c, parts);
    if (n > 0) { /* at most four levels, by the table */
        for (int i = 0; i < n; i++)
            add_decomposed(s, parts[i], origin);
        return;
    }
    s->marks = mem_room(s->marks, s->n, &s->cap, sizeof *s->marks);
    s->marks[s->n] = (struct mark){c, origin, unicode_combining_class(c), s->n};
    s->n++;
}

static int by_class(const void *x, const void *y)
{
    const struct mark *a = x, *b = y;
    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static void order_marks(struct stretch *s)
{
    for (size_t i = 0; i < s->n;) {
        size_t from = i;
        while (i < s->n && s->marks[i].class != 0)
            i++;
        if (i - from > 1)
            qsort(s->marks + from, i - from, sizeof *s->marks, by_class);
        i += i == from;
    }
}

static void compose(struct stretch *s)
{
    size_t n = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        struct mark m = s->marks[i];
        /* nothing of this class, or of none, may stand between */
        bool free_way = starter != SIZE_MAX && (n == starter + 1 || (s->marks[n - 1].class != 0 && s->marks[n - 1].class < m.class));
        uint32_t one = free_way ? unicode_compose(s->marks[starter].c, m.c) : 0;
        if (one) {
            s->marks[starter].c = one;
            continue;
        }
        if (m.class == 0)
            starter = n;
        s->marks[n++] = m;
    }
    s->n = n;
}

static void write_stretch(struct stretch *s, struct writing *w, bool composed)
{
    order_marks(s);
    if (composed)
        compose(s);
    for (size_t i = 0; i < s->n; i++) {
        char bytes[4];
        put(w, bytes, NULL, s->marks[i].origin, (size_t)utf8_encode(s->marks[i].c, bytes));
    }
    s->n = 0;
}

/* Characters below U+0300 join nothing before them, and those below U+00C0 decompose into nothing. */
static void canonical(struct normal_text *n, bool composed)
{
    const unsigned char *bytes = (const unsigned char *)n->data;
    unsigned char plain = composed ? 0xCC : 0xC3; /* leading bytes of U+0300, U+00C0 */
    size_t first = 0;
    while (first < n->n && bytes[first] < plain)
        first++;
    if (first == n->n)
        return;
    struct writing w = writing_begin(n->n);
    struct stretch s = {0};
    for (size_t at = 0; at < n->n;) {
        uint32_t c;
        size_t len = (size_t)utf8_decode(n->data + at, n->data + n->n, &c);
        bool joins_nothing = c < 0x300, alone = joins_nothing && (c < 0xC0 || composed) && (at + len == n->n || bytes[at + len] < 0xCC);
        if (joins_nothing && s.n)
            write_stretch(&s, &w, composed);
        if (alone)
            put(&w, n->data + at, n->origin + at, 0, len);
        else
            add_decomposed(&s, c, n->origin[at]);
        at += len;
    }
    write_stretch(&s, &w, composed);
    mem_free(s.marks);
    take_over(n, &w);
}

/* ---- all of it ---- */

static bool changes_nothing(const struct text_rule *r, const char *text, size_t n)
{
    switch (r->kind) {
    case RULE_PREPEND:
        return n == 0;
    case RULE_REPLACE:
        return !r->regex && !memmem(text, n, r->from, r->from_len);
    case RULE_NFC:
    case RULE_NFD:
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)text[i] >= (r->kind == RULE_NFC ? 0xCC : 0xC3))
                return false;
        return true;
    case RULE_STRIP_LEFT:
    case RULE_STRIP_RIGHT:
        return false;
    }
    return false;
}

bool normal_is_plain(const struct tokenizer *t, const char *text, size_t begin, size_t end)
{
    for (int i = 0; i < t->n_rules; i++)
        if (!changes_nothing(&t->rules[i], text + begin, end - begin))
            return false;
    return true;
}

void normal_copy(const char *text, size_t begin, size_t end, const uint32_t *origin, struct normal_text *out)
{
    size_t n = end - begin;
    *out = (struct normal_text){.data = mem_new(n ? n : 1, 1), .origin = mem_new(n ? n : 1, sizeof *out->origin), .n = n};
    if (n)
        memcpy(out->data, text + begin, n);
    for (size_t i = 0; i < n; i++)
        out->origin[i] = origin ? origin[begin + i] : (uint32_t)(begin + i);
}

bool normal_apply(const struct tokenizer *t, const char *text, size_t begin, size_t end, struct normal_text *out)
{
    bool ok = true;
    normal_copy(text, begin, end, NULL, out);
    for (int i = 0; ok && i < t->n_rules; i++) {
        const struct text_rule *r = &t->rules[i];
        switch (r->kind) {
        case RULE_PREPEND:
            if (out->n > 0) /* as the library: nothing stays nothing */
                normal_prepend(out, r->to, r->to_len, (uint32_t)begin);
            break;
        case RULE_REPLACE:
            ok = out->n == 0 || normal_replace(out, r);
            break;
        case RULE_NFC:
        case RULE_NFD:
            canonical(out, r->kind == RULE_NFC);
            break;
        case RULE_STRIP_LEFT:
        case RULE_STRIP_RIGHT:
            strip(out, r->kind == RULE_STRIP_LEFT, r->kind == RULE_STRIP_RIGHT);
            break;
        }
    }
    return ok;
}

void normal_free(struct normal_text *n)
{
    mem_free(n->data);
    mem_free(n->origin);
    *n = (struct normal_text){0};
}
