/* split.c - see split.h. Texts are compared by 64-bit hashes of their words; for a million lines a
 * false match has a chance of 1 in 30 million. */
#include "engine/train/split.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <string.h>

/* ---- hash -> number ---- */

struct keymap {
    uint64_t *keys; /* 0 = empty place */
    int *values;
    size_t n, cap; /* cap is a power of two */
};

static size_t keymap_place(const struct keymap *m, uint64_t key)
{
    size_t i = (size_t)(key * 0x9E3779B97F4A7C15u) & (m->cap - 1);
    while (m->keys[i] && m->keys[i] != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

static void keymap_grow(struct keymap *m)
{
    struct keymap bigger = {.cap = m->cap ? 2 * m->cap : 4096, .n = m->n};
    bigger.keys = mem_new(bigger.cap, sizeof *bigger.keys);
    bigger.values = mem_new(bigger.cap, sizeof *bigger.values);
    for (size_t i = 0; i < m->cap; i++)
        if (m->keys[i]) {
            size_t to = keymap_place(&bigger, m->keys[i]);
            bigger.keys[to] = m->keys[i];
            bigger.values[to] = m->values[i];
        }
    mem_free(m->keys);
    mem_free(m->values);
    *m = bigger;
}

/* The value that the key has: an earlier one, or now this one. */
static int keymap_put(struct keymap *m, uint64_t key, int value)
{
    if (2 * (m->n + 1) > m->cap)
        keymap_grow(m);
    size_t i = keymap_place(m, key);
    if (!m->keys[i]) {
        m->keys[i] = key;
        m->values[i] = value;
        m->n++;
    }
    return m->values[i];
}

static bool keymap_has(const struct keymap *m, uint64_t key)
{
    return m->cap > 0 && m->keys[keymap_place(m, key)] == key;
}

static void keymap_free(struct keymap *m)
{
    mem_free(m->keys);
    mem_free(m->values);
}

/* ---- what a row shares ---- */

static bool is_word_byte(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z') || c == '\'';
}

/* Hash of the words of a text, in small letters; 0 when there are fewer than min_words. */
static uint64_t words_key(const char *text, size_t n, int min_words, struct str *scratch)
{
    int words = 0;
    str_clear(scratch);
    for (size_t i = 0; i < n;) {
        if (!is_word_byte((unsigned char)text[i])) {
            i++;
            continue;
        }
        if (words++)
            str_add_char(scratch, ' ');
        for (; i < n && is_word_byte((unsigned char)text[i]); i++)
            str_add_char(scratch,
                         (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]));
    }
    if (words < min_words)
        return 0;
    uint64_t key = hash64(str_text(scratch), scratch->len, 0);
    return key ? key : 1;
}

/* Calls fn for the prompt's key and for each line of the answer; stops when it says false. */
static void each_key(const struct row *r, struct str *scratch, bool (*fn)(void *arg, uint64_t key),
                     void *arg)
{
    uint64_t key = words_key(r->prompt, strlen(r->prompt), 1, scratch);
    if (key && !fn(arg, key ^ 0x5DEECE66Du)) /* a prompt is not a line */
        return;
    for (const char *p = r->answer; *p;) {
        size_t n = strcspn(p, "\n");
        key = words_key(p, n, 2, scratch);
        if (key && !fn(arg, key))
            return;
        p += p[n] ? n + 1 : n;
    }
}

/* ---- groups ---- */

struct grouping {
    struct keymap first; /* key -> first row that had it */
    int *parent;
    int row, source;
};

static bool movable(const struct row *r, int source)
{
    return r->split == SPLIT_TRAIN && r->source == source;
}

static int root_of(struct grouping *g, int i)
{
    while (g->parent[i] != i) {
        g->parent[i] = g->parent[g->parent[i]];
        i = g->parent[i];
    }
    return i;
}

static bool join(void *arg, uint64_t key)
{
    struct grouping *g = arg;
    int a = root_of(g, keymap_put(&g->first, key, g->row)), b = root_of(g, g->row);
    if (a < b) /* the earliest row stands for its group */
        g->parent[b] = a;
    else
        g->parent[a] = b;
    return true;
}

/* size[root] rows each; moves whole groups, in shuffled order, until `want` rows have moved. A
 * group is taken while it fits into what is left (half as much again for the first). */
static int move_groups(struct dataset *d, struct grouping *g, const int *order, const int *size,
                       enum split to, int want)
{
    int moved = 0;
    bool *take = mem_new((size_t)d->n_rows, sizeof *take);
    for (int k = 0; k < d->n_rows && moved < want; k++) {
        int i = order[k];
        if (g->parent[i] != i || !movable(&d->rows[i], g->source))
            continue;
        int room = moved == 0 ? want + want / 2 : want - moved;
        if (size[i] <= room) {
            take[i] = true;
            moved += size[i];
        }
    }
    for (int i = 0; i < d->n_rows; i++)
        if (movable(&d->rows[i], g->source) && take[root_of(g, i)])
            d->rows[i].split = to;
    mem_free(take);
    return moved;
}

static void move_rows(struct dataset *d, int source, const int *order, enum split to, int want)
{
    for (int k = 0; k < d->n_rows && want > 0; k++)
        if (movable(&d->rows[order[k]], source)) {
            d->rows[order[k]].split = to;
            want--;
        }
}

bool split_make(struct dataset *d, int source, bool valid, bool test, uint64_t seed)
{
    int n = 0;
    struct grouping g = {.source = source, .parent = mem_new((size_t)d->n_rows, sizeof *g.parent)};
    struct str scratch = {0};
    int *order = mem_new((size_t)d->n_rows, sizeof *order),
        *size = mem_new((size_t)d->n_rows, sizeof *size);
    for (int i = 0; i < d->n_rows; i++)
        g.parent[i] = order[i] = i;
    for (int i = 0; i < d->n_rows; i++) {
        if (!movable(&d->rows[i], source))
            continue;
        n++;
        g.row = i;
        each_key(&d->rows[i], &scratch, join, &g);
    }
    for (int i = 0; i < d->n_rows; i++)
        size[root_of(&g, i)]++;
    rng_shuffle(order, d->n_rows, rng_stream(seed, "split", 0));
    int want = (n + 5) / 10;
    if (want == 0 && n >= 3)
        want = 1;
    bool grouped = true;
    for (int part = 0; part < 2; part++) {
        enum split to = part == 0 ? SPLIT_VALID : SPLIT_TEST;
        if (want == 0 || !(part == 0 ? valid : test))
            continue;
        if (move_groups(d, &g, order, size, to, want) == 0) {
            grouped = false;
            move_rows(d, source, order, to, want);
        }
    }
    keymap_free(&g.first);
    mem_free(g.parent);
    mem_free(order);
    mem_free(size);
    str_free(&scratch);
    return grouped;
}

/* ---- duplicates and leaks ---- */

static uint64_t row_key(const struct row *r)
{
    uint64_t key =
        hash64(r->prompt, strlen(r->prompt), 1) * 31 + hash64(r->answer, strlen(r->answer), 2);
    if (r->form == ROW_IDS)
        key = hash64(r->ids, (size_t)r->n * sizeof *r->ids, 3);
    return key ? key : 1;
}

static bool same_row(const struct row *a, const struct row *b)
{
    if (a->form == ROW_IDS || b->form == ROW_IDS)
        return a->form == b->form && a->n == b->n &&
               memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0;
    return strcmp(a->prompt, b->prompt) == 0 && strcmp(a->answer, b->answer) == 0;
}

void split_find_duplicates(struct dataset *d)
{
    struct keymap seen = {0};
    for (int i = 0; i < d->n_rows; i++) {
        int first = keymap_put(&seen, row_key(&d->rows[i]), i);
        bool twice = first != i && same_row(&d->rows[first], &d->rows[i]);
        d->rows[i].duplicate_of = twice ? first : -1;
        if (twice)
            d->rows[i].findings |= 1u << FIND_DUPLICATE;
    }
    keymap_free(&seen);
}

void split_find_twins(struct dataset *d)
{
    enum { TWIN_WORDS = 3 }; /* "yes." to many questions is nothing to tell */
    struct keymap seen = {0};
    struct str scratch = {0};
    for (int i = 0; i < d->n_rows; i++) {
        struct row *r = &d->rows[i];
        uint64_t answer = words_key(r->answer, strlen(r->answer), TWIN_WORDS, &scratch);
        uint64_t key = answer ^ words_key(r->prompt, strlen(r->prompt), 1, &scratch) * 31;
        if (answer && r->duplicate_of < 0 && keymap_put(&seen, key ? key : 1, i) != i)
            r->findings |= 1u << FIND_TWIN;
    }
    keymap_free(&seen);
    str_free(&scratch);
}

static bool remember(void *arg, uint64_t key)
{
    keymap_put(arg, key, 1);
    return true;
}

struct leak_search {
    const struct keymap *train;
    bool found;
};

static bool look_up(void *arg, uint64_t key)
{
    struct leak_search *s = arg;
    s->found = keymap_has(s->train, key);
    return !s->found;
}

void split_find_leaks(struct dataset *d)
{
    struct keymap train = {0};
    struct str scratch = {0};
    if (d->count[SPLIT_TRAIN] < d->n_rows)
        for (int i = 0; i < d->n_rows; i++)
            if (d->rows[i].split == SPLIT_TRAIN)
                each_key(&d->rows[i], &scratch, remember, &train);
    for (int i = 0; i < d->n_rows; i++) {
        struct leak_search s = {.train = &train};
        if (d->rows[i].split != SPLIT_TRAIN)
            each_key(&d->rows[i], &scratch, look_up, &s);
        if (s.found)
            d->rows[i].findings |= 1u << FIND_LEAK;
    }
    keymap_free(&train);
    str_free(&scratch);
}
