/* tokenizer_cut.c - finds added tokens in a text and encodes what stands between them. */
#include "engine/base/mem.h"
#include "engine/text/tokenizer_private.h"
#include "engine/text/unicode.h"

#include <string.h>

void cutter_add(struct cutter *c, const char *text, size_t len, int32_t id)
{
    unsigned char first = (unsigned char)text[0];
    if (piece_map_add(&c->map, text, len, id) >= 0)
        return; /* two tokens that normalise alike: the first one holds */
    int n = c->n_lengths[first], place = 0;
    while (place < n && c->lengths[first][place] > len)
        place++;
    if (place < n && c->lengths[first][place] == len)
        return;
    c->lengths[first] =
        mem_grow(c->lengths[first], (size_t)n, (size_t)n + 1, sizeof *c->lengths[first]);
    memmove(c->lengths[first] + place + 1, c->lengths[first] + place,
            (size_t)(n - place) * sizeof *c->lengths[first]);
    c->lengths[first][place] = (uint16_t)len;
    c->n_lengths[first]++;
}

void cutter_free(struct cutter *c)
{
    piece_map_free(&c->map);
    for (int i = 0; i < 256; i++)
        mem_free(c->lengths[i]);
}

enum { CACHE_SLOTS = 4096, CACHE_FROM_BYTES = 1024 };

/* Words already encoded in this call, by where they stand in the text and in the list. */
struct cached_word {
    uint32_t begin, len; /* len 0: empty */
    size_t first;        /* in the list */
    uint32_t n;
};

struct encoding {
    const struct tokenizer *t;
    const struct text_span *literal;
    size_t n_literal;
    bool all_literal;
    struct id_list *out;
    struct bpe_scratch scratch;
    struct cached_word *cache; /* NULL: short text, or nothing to cut it at */
    const char *cached_text;   /* the text that it speaks of */
    /* the text at work: the original, or a rewritten part of it with its origins */
    const char *text;
    const uint32_t *origin;
    size_t part_begin; /* where the part at work begins in the original */
    struct pretok pretok;
    bool too_long; /* a pattern took too many steps: what was encoded is void */
};

static void encode_word(void *arg, size_t begin, size_t end)
{
    struct encoding *e = arg;
    struct id_list *out = e->out;
    if (!e->cache || e->text != e->cached_text) {
        bpe_word(e->t, &e->scratch, e->text, begin, end, out);
        return;
    }
    size_t len = end - begin;
    struct cached_word *c = &e->cache[piece_hash(e->text + begin, len) % CACHE_SLOTS];
    if (c->len == len && memcmp(e->text + c->begin, e->text + begin, len) == 0) {
        for (uint32_t i = 0; i < c->n; i++)
            id_list_add(out, out->ids[c->first + i],
                        out->starts[c->first + i] - c->begin + (uint32_t)begin);
        return;
    }
    size_t first = out->n;
    bpe_word(e->t, &e->scratch, e->text, begin, end, out);
    if (len < 64)
        *c =
            (struct cached_word){(uint32_t)begin, (uint32_t)len, first, (uint32_t)(out->n - first)};
}

static bool in_literal(const struct encoding *e, size_t begin, size_t end)
{
    if (e->all_literal)
        return true;
    size_t low = 0, high = e->n_literal; /* the first span that ends behind begin */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (e->literal[middle].end <= begin)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->n_literal && e->literal[low].begin < end;
}

/* Longest added token at `at`, special ones only outside of what is literal. */
static int32_t token_at(const struct encoding *e, const struct cutter *c, size_t at, size_t end,
                        size_t *len)
{
    unsigned char first = (unsigned char)e->text[at];
    for (int i = 0; i < c->n_lengths[first]; i++) {
        size_t n = c->lengths[first][i];
        if (n > end - at)
            continue;
        int32_t id = piece_map_find(&c->map, e->text + at, n);
        if (id < 0)
            continue;
        if (e->t->pieces[id].flags & PIECE_SPECIAL) {
            size_t from = e->origin ? e->origin[at] : at,
                   to = e->origin ? e->origin[at + n - 1] + 1 : at + n;
            if (in_literal(e, from, to))
                continue;
        }
        *len = n;
        return id;
    }
    return -1;
}

static size_t char_before(const char *text, size_t begin, size_t at)
{ /* where the character that ends at `at` begins */
    size_t p = at - 1;
    while (p > begin && ((unsigned char)text[p] & 0xC0) == 0x80)
        p--;
    return p;
}

static bool word_touches(const char *text, size_t begin, size_t end, size_t at, size_t after)
{
    uint32_t c;
    if (at > begin) {
        utf8_decode(text + char_before(text, begin, at), text + at, &c);
        if (unicode_is_word(c))
            return true;
    }
    if (after < end) {
        utf8_decode(text + after, text + end, &c);
        if (unicode_is_word(c))
            return true;
    }
    return false;
}

typedef void (*part_fn)(struct encoding *e, size_t begin, size_t end);

/* Cuts text[begin, end) at the tokens of c; part() takes what is between. */
static void cut(struct encoding *e, const struct cutter *c, size_t begin, size_t end, part_fn part)
{
    size_t from = begin, at = begin;
    while (at < end) {
        size_t len;
        int32_t id = c->n_lengths[(unsigned char)e->text[at]] ? token_at(e, c, at, end, &len) : -1;
        if (id < 0) {
            at++;
            continue;
        }
        size_t start = at, stop = at + len;
        at = stop;
        uint8_t flags = e->t->pieces[id].flags;
        if (flags & PIECE_WORD && word_touches(e->text, begin, end, start, stop))
            continue;
        uint32_t scalar;
        while (flags & PIECE_LSTRIP && start > from) {
            size_t before = char_before(e->text, from, start);
            utf8_decode(e->text + before, e->text + start, &scalar);
            if (!unicode_is_space(scalar))
                break;
            start = before;
        }
        while (flags & PIECE_RSTRIP && stop < end) {
            int n = utf8_decode(e->text + stop, e->text + end, &scalar);
            if (!unicode_is_space(scalar))
                break;
            stop += (size_t)n;
        }
        if (from < start)
            part(e, from, start);
        id_list_add(e->out, id, (uint32_t)start);
        from = stop;
    }
    if (from < end)
        part(e, from, end);
}

/* A stretch in which merging happens; it may be cut before each mark that does not follow another, where no merge goes across. */
static void encode_stretch(void *arg, size_t begin, size_t end)
{
    struct encoding *e = arg;
    size_t from = begin;
    for (const char *p = e->text + begin, *stop = e->text + end; e->t->marks_begin && (p = memmem(p, (size_t)(stop - p), SPACE_MARK, 3));) {
        size_t at = (size_t)(p - e->text);
        if (at > from)
            encode_word(e, from, at);
        from = at;
        while (stop - p >= 3 && memcmp(p, SPACE_MARK, 3) == 0)
            p += 3;
    }
    encode_word(e, from, end);
}

static void encode_stages(struct encoding *e, size_t begin, size_t end)
{
    e->pretok.text = e->text;
    if (e->t->n_stages == 0)
        encode_stretch(e, begin, end);
    else if (!pretok_run(&e->pretok, 0, begin, end))
        e->too_long = true;
}

static void cache_for(struct encoding *e, const char *text)
{
    if (e->cache)
        memset(e->cache, 0, CACHE_SLOTS * sizeof *e->cache);
    e->cached_text = text;
}

/* Works on a rewritten text in place of the one at hand; what is encoded of it gets the places of the original. */
static void encode_rewritten(struct encoding *e, struct normal_text *n, size_t original_end,
                             void (*encode)(struct encoding *e, size_t begin, size_t end))
{
    const char *text = e->text;
    const uint32_t *origin = e->origin;
    size_t first = e->out->n;
    e->text = n->data;
    e->origin = n->origin;
    if (n->n >= CACHE_FROM_BYTES)
        cache_for(e, n->data);
    if (n->n)
        encode(e, 0, n->n);
    e->text = text;
    e->origin = origin;
    if (n->n >= CACHE_FROM_BYTES)
        cache_for(e, text);
    for (size_t i = first; i < e->out->n; i++) {
        uint32_t s = e->out->starts[i];
        e->out->starts[i] = s < n->n ? n->origin[s] : (uint32_t)original_end;
    }
}

static void encode_normalized(struct encoding *e, size_t begin, size_t end)
{
    const struct front *f = &e->t->front;
    if (!f->space) {
        encode_stages(e, begin, end);
        return;
    }
    struct normal_text n;
    char space[] = " ";
    const struct text_rule spaces = {.kind = RULE_REPLACE, .from = space, .from_len = 1, .to = f->space, .to_len = f->len};
    size_t original_begin = !e->origin ? begin : begin == 0 ? e->part_begin : e->origin[begin];
    normal_copy(e->text, begin, end, NULL, &n);
    if (f->metaspace)
        normal_replace(&n, &spaces);
    bool has = n.n >= f->len && memcmp(n.data, f->space, f->len) == 0;
    if (!has && (f->when == FRONT_ALWAYS || (f->when == FRONT_FIRST && original_begin == 0)))
        normal_prepend(&n, f->space, f->len, (uint32_t)begin);
    encode_rewritten(e, &n, end, encode_stages);
    normal_free(&n);
}

static void cut_normalized(struct encoding *e, size_t begin, size_t end)
{
    if (e->t->normalized.map.n == 0)
        encode_normalized(e, begin, end);
    else
        cut(e, &e->t->normalized, begin, end, encode_normalized);
}

static void encode_part(struct encoding *e, size_t begin, size_t end)
{
    const struct tokenizer *t = e->t;
    e->part_begin = begin;
    if (normal_is_plain(t, e->text, begin, end)) {
        cut_normalized(e, begin, end);
        return;
    }
    struct normal_text n;
    if (normal_apply(t, e->text, begin, end, &n))
        encode_rewritten(e, &n, end, cut_normalized);
    else
        e->too_long = true;
    normal_free(&n);
}

bool tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t n,
                            const struct text_span *literal, size_t n_spans, unsigned flags,
                            struct id_list *out, struct gm_error *err)
{
    if (n >= 1u << 30)
        return error_set(err, GM_E_INPUT,
                         "encode text: it has %zu bytes, 1 GiB or more (encode it in parts)", n);
    if (!utf8_valid(text, n)) {
        size_t at = 0;
        uint32_t c;
        for (int len; at < n && ((len = utf8_decode(text + at, text + n, &c)),
                                 utf8_valid(text + at, (size_t)len));)
            at += (size_t)len;
        return error_set(err, GM_E_INPUT,
                         "encode text: byte %zu is not UTF-8 (convert the text to UTF-8)", at + 1);
    }
    struct encoding e = {.t = t,
                         .literal = literal,
                         .n_literal = n_spans,
                         .all_literal = flags & TOKENIZE_LITERAL,
                         .out = out,
                         .cached_text = text,
                         .text = text};
    e.pretok = (struct pretok){.stages = t->stages, .n_stages = t->n_stages, .word = encode_stretch, .arg = &e, .run = regex_run_begin(n)};
    size_t n_before = out->n;
    if (n >= CACHE_FROM_BYTES && (t->n_stages > 0 || t->marks_begin))
        e.cache = mem_new(CACHE_SLOTS, sizeof *e.cache);
    if (flags & TOKENIZE_ADD_SPECIAL)
        for (size_t i = 0; i < t->n_prefix; i++)
            id_list_add(out, t->prefix[i], 0);
    cut(&e, &t->raw, 0, n, encode_part);
    if (flags & TOKENIZE_ADD_SPECIAL)
        for (size_t i = 0; i < t->n_suffix; i++)
            id_list_add(out, t->suffix[i], (uint32_t)n);
    mem_free(e.cache);
    bpe_scratch_free(&e.scratch);
    regex_run_free(&e.pretok.run);
    if (!e.too_long)
        return true;
    out->n = n_before;
    return error_set(err, GM_E_INPUT,
                     "encode text: the pattern of its pre-tokeniser or normaliser takes more than %d steps a byte on it "
                     "(give the text in shorter parts)",
                     REGEX_STEPS_PER_BYTE);
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                      struct id_list *out, struct gm_error *err)
{
    return tokenizer_encode_spans(t, text, n, NULL, 0, flags, out, err);
}
