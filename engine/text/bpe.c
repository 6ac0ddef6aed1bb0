/* bpe.c - merges one stretch of text into pieces.
 *
 * Symbols stand in a linked list; a heap holds the pairs that may merge, best rank first, leftmost
 * first among equals. Entries are not removed when a neighbour changes: they are recognised as
 * stale when they come up. So n symbols take O(n log n).
 */
#include "engine/base/mem.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>

struct bpe_symbol {
    int32_t prev, next; /* -1: none */
    int32_t id; /* -1: a character that is no piece (by scores only); -2: merged into its left
                   neighbour */
    uint32_t begin, len;
};

struct bpe_entry {
    uint32_t rank;
    int32_t at;
    int32_t id; /* what the merge would give */
};

static bool entry_before(struct bpe_entry a, struct bpe_entry b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_push(struct bpe_scratch *s, size_t *n, struct bpe_entry e)
{
    s->heap = mem_room(s->heap, *n, &s->cap_heap, sizeof *s->heap);
    size_t i = (*n)++;
    while (i > 0 && entry_before(e, s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = e;
}

static struct bpe_entry heap_pop(struct bpe_scratch *s, size_t *n)
{
    struct bpe_entry top = s->heap[0], e = s->heap[--*n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *n)
            break;
        if (child + 1 < *n && entry_before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!entry_before(s->heap[child], e))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = e;
    return top;
}

static bool merge_of(const struct tokenizer *t, const char *text, const struct bpe_symbol *a,
                     const struct bpe_symbol *b, uint32_t *rank, int32_t *id)
{
    if (!t->by_scores) {
        const struct pair_slot *m = pair_map_find(&t->merges, a->id, b->id);
        if (!m)
            return false;
        *rank = m->rank;
        *id = m->id;
        return true;
    }
    int32_t found = piece_map_find(&t->ids, text + a->begin, a->len + b->len);
    if (found < 0 || !(t->pieces[found].flags & PIECE_MODEL))
        return false;
    *rank = t->score_rank[found];
    *id = found;
    return true;
}

static void add_symbol(struct bpe_scratch *s, size_t *n, int32_t id, size_t begin, size_t len)
{
    s->symbols = mem_room(s->symbols, *n, &s->cap_symbols, sizeof *s->symbols);
    s->symbols[(*n)++] =
        (struct bpe_symbol){.id = id, .begin = (uint32_t)begin, .len = (uint32_t)len};
}

static bool has_all_bytes(const struct tokenizer *t, const char *p, int len)
{
    for (int i = 0; i < len; i++)
        if (t->byte_ids[(unsigned char)p[i]] < 0)
            return false;
    return true;
}

static size_t first_symbols(const struct tokenizer *t, struct bpe_scratch *s, const char *text,
                            size_t begin, size_t end)
{
    size_t n = 0;
    bool unk_before = false;
    for (size_t at = begin; at < end;) {
        int len = 1;
        int32_t id;
        if (t->byte_level) {
            id = t->byte_ids[(unsigned char)text[at]];
        } else {
            uint32_t c;
            len = utf8_decode(text + at, text + end, &c);
            id = piece_map_find(&t->ids, text + at, (size_t)len);
            if (id >= 0 && !(t->pieces[id].flags & PIECE_MODEL))
                id = -1;
        }
        bool unk = false;
        if (id >= 0 || t->by_scores) {
            add_symbol(s, &n, id, at, (size_t)len);
        } else if (t->byte_fallback && has_all_bytes(t, text + at, len)) {
            for (int i = 0; i < len; i++)
                add_symbol(s, &n, t->byte_ids[(unsigned char)text[at + (size_t)i]], at + (size_t)i,
                           1);
        } else if (t->unk >=
                   0) { /* without an unknown piece the character vanishes, as in the library */
            if (unk_before && t->fuse_unk)
                s->symbols[n - 1].len += (uint32_t)len;
            else
                add_symbol(s, &n, t->unk, at, (size_t)len);
            unk = true;
        }
        unk_before = unk;
        at += (size_t)len;
    }
    for (size_t i = 0; i < n; i++) {
        s->symbols[i].prev = (int32_t)i - 1;
        s->symbols[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    return n;
}

static void consider(const struct tokenizer *t, struct bpe_scratch *s, size_t *n_heap,
                     const char *text, int32_t at)
{
    struct bpe_entry e = {.at = at};
    const struct bpe_symbol *a = &s->symbols[at];
    if (a->next >= 0 && merge_of(t, text, a, &s->symbols[a->next], &e.rank, &e.id))
        heap_push(s, n_heap, e);
}

/* The piece that is this stretch as it stands; -1: none. */
static int32_t whole_piece(const struct tokenizer *t, struct bpe_scratch *s, const char *text, size_t n)
{
    if (!t->byte_level)
        return piece_map_find(&t->ids, text, n);
    str_clear(&s->spelled);
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte > 32 && byte < 127)
            str_add_char(&s->spelled, (char)byte);
        else
            str_add_utf8(&s->spelled, alphabet_char(byte));
    }
    return piece_map_find(&t->ids, str_text(&s->spelled), s->spelled.len);
}

void bpe_word(const struct tokenizer *t, struct bpe_scratch *s, const char *text, size_t begin,
              size_t end, struct id_list *out)
{
    if (t->ignore_merges) {
        int32_t whole = whole_piece(t, s, text + begin, end - begin);
        if (whole >= 0 && (t->pieces[whole].flags & PIECE_MODEL)) {
            id_list_add(out, whole, (uint32_t)begin);
            return;
        }
    }
    size_t n = first_symbols(t, s, text, begin, end), n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        consider(t, s, &n_heap, text, (int32_t)i);
    while (n_heap > 0) {
        struct bpe_entry e = heap_pop(s, &n_heap);
        struct bpe_symbol *a = &s->symbols[e.at];
        if (a->id == -2 || a->next < 0)
            continue;
        struct bpe_symbol *b = &s->symbols[a->next];
        uint32_t rank;
        int32_t id;
        if (!merge_of(t, text, a, b, &rank, &id) || id != e.id)
            continue;
        a->id = id;
        a->len += b->len;
        a->next = b->next;
        b->id = -2;
        if (b->next >= 0)
            s->symbols[b->next].prev = e.at;
        consider(t, s, &n_heap, text, e.at);
        if (a->prev >= 0)
            consider(t, s, &n_heap, text, a->prev);
    }
    bool unk_before = false;
    for (int32_t i = n ? 0 : -1; i >= 0; i = s->symbols[i].next) {
        const struct bpe_symbol *a = &s->symbols[i];
        bool unk = false;
        if (a->id >= 0) {
            id_list_add(out, a->id, a->begin);
        } else if (has_all_bytes(t, text + a->begin, (int)a->len)) {
            for (uint32_t k = 0; k < a->len; k++)
                id_list_add(out, t->byte_ids[(unsigned char)text[a->begin + k]], a->begin + k);
        } else if (t->unk >= 0) {
            if (!(unk_before && t->fuse_unk))
                id_list_add(out, t->unk, a->begin);
            unk = true;
        }
        unk_before = unk;
    }
}

void bpe_scratch_free(struct bpe_scratch *s)
{
    mem_free(s->symbols);
    mem_free(s->heap);
    str_free(&s->spelled);
    *s = (struct bpe_scratch){0};
}
