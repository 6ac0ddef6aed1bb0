/* bpe_train.c - counts the words once, then merges the most frequent pair again and again, touching
 * only the words that hold it.
 *
 * The heap is lazy: an entry whose count is out of date is put back with the count of today when it
 * comes up.
 */
#include "engine/text/bpe_train.h"

#include "engine/base/mem.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>

enum { FIRST_BYTE = 6 };

static const char *const specials[FIRST_BYTE] = {"<pad>", "<eos>",           "<bos>",
                                                 "<unk>", "<start_of_turn>", "<end_of_turn>"};

struct word {
    size_t first; /* in symbols */
    uint32_t n;
    uint64_t count;
};

struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t *words; /* that hold it, or held it */
    uint32_t n_words, cap_words;
    uint32_t touched; /* number of the last merge that raised it */
};

struct candidate {
    int64_t count;
    uint32_t pair;
};

struct trainer {
    const char *text;
    struct piece_map words_by_text;
    struct word *words;
    size_t n_words, cap_words;
    int32_t *symbols;
    size_t n_symbols, cap_symbols;
    struct pair_map pairs_by_ids; /* id = index in pairs */
    struct pair *pairs;
    size_t n_pairs, cap_pairs;
    struct candidate *heap;
    size_t n_heap, cap_heap;
    uint32_t *grown; /* pairs that the merge at work has raised */
    size_t n_grown, cap_grown;
};

static void count_word(void *arg, size_t begin, size_t end)
{
    struct trainer *r = arg;
    int32_t known =
        piece_map_add(&r->words_by_text, r->text + begin, end - begin, (int32_t)r->n_words);
    if (known >= 0) {
        r->words[known].count++;
        return;
    }
    r->words = mem_room(r->words, r->n_words, &r->cap_words, sizeof *r->words);
    r->words[r->n_words++] = (struct word){r->n_symbols, (uint32_t)(end - begin), 1};
    for (size_t i = begin; i < end; i++) {
        r->symbols = mem_room(r->symbols, r->n_symbols, &r->cap_symbols, sizeof *r->symbols);
        r->symbols[r->n_symbols++] = FIRST_BYTE + (unsigned char)r->text[i];
    }
}

static bool goes_first(const struct trainer *r, struct candidate a, struct candidate b)
{
    if (a.count != b.count)
        return a.count > b.count;
    const struct pair *p = &r->pairs[a.pair], *q = &r->pairs[b.pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static void push(struct trainer *r, uint32_t pair)
{
    r->heap = mem_room(r->heap, r->n_heap, &r->cap_heap, sizeof *r->heap);
    struct candidate c = {r->pairs[pair].count, pair};
    size_t i = r->n_heap++;
    while (i > 0 && goes_first(r, c, r->heap[(i - 1) / 2])) {
        r->heap[i] = r->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    r->heap[i] = c;
}

static struct candidate pop(struct trainer *r)
{
    struct candidate top = r->heap[0], c = r->heap[--r->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < r->n_heap) {
        if (child + 1 < r->n_heap && goes_first(r, r->heap[child + 1], r->heap[child]))
            child++;
        if (!goes_first(r, r->heap[child], c))
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = c;
    return top;
}

/* Good until the next call, which may move all of them. */
static struct pair *pair_of(struct trainer *r, int32_t left, int32_t right)
{
    const struct pair_slot *s = pair_map_find(&r->pairs_by_ids, left, right);
    if (s)
        return &r->pairs[s->id];
    pair_map_set(&r->pairs_by_ids, left, right, 0, (int32_t)r->n_pairs);
    r->pairs = mem_room(r->pairs, r->n_pairs, &r->cap_pairs, sizeof *r->pairs);
    r->pairs[r->n_pairs] = (struct pair){.left = left, .right = right};
    return &r->pairs[r->n_pairs++];
}

static void note_word(struct pair *p, uint32_t word)
{
    if (p->n_words && p->words[p->n_words - 1] == word)
        return;
    size_t cap = p->cap_words;
    if (p->n_words == cap) {
        cap = cap ? 2 * cap : 4;
        p->words = mem_grow(p->words, p->cap_words, cap, sizeof *p->words);
        p->cap_words = (uint32_t)cap;
    }
    p->words[p->n_words++] = word;
}

static void count_first_pairs(struct trainer *r)
{
    for (size_t w = 0; w < r->n_words; w++) {
        const struct word *word = &r->words[w];
        for (uint32_t i = 0; i + 1 < word->n; i++) {
            struct pair *p =
                pair_of(r, r->symbols[word->first + i], r->symbols[word->first + i + 1]);
            p->count += (int64_t)word->count;
            note_word(p, (uint32_t)w);
        }
    }
    for (size_t i = 0; i < r->n_pairs; i++)
        push(r, (uint32_t)i);
}

static void add_counts(struct trainer *r, const struct word *word, int64_t by)
{
    const int32_t *s = r->symbols + word->first;
    for (uint32_t i = 0; i + 1 < word->n; i++)
        pair_of(r, s[i], s[i + 1])->count += by;
}

/* Replaces left, right by id in one word and keeps the counts true; returns false when the word
 * does not hold them any more. */
static bool merge_in_word(struct trainer *r, uint32_t w, int32_t left, int32_t right, int32_t id)
{
    struct word *word = &r->words[w];
    int32_t *s = r->symbols + word->first;
    uint32_t i = 0, out = 0;
    while (i + 1 < word->n && !(s[i] == left && s[i + 1] == right))
        i++;
    if (i + 1 >= word->n)
        return false;
    add_counts(r, word, -(int64_t)word->count);
    for (out = i; i < word->n; out++) {
        bool hit = i + 1 < word->n && s[i] == left && s[i + 1] == right;
        s[out] = hit ? id : s[i];
        i += hit ? 2 : 1;
    }
    word->n = out;
    add_counts(r, word, (int64_t)word->count);
    return true;
}

static void merge_everywhere(struct trainer *r, uint32_t merged, int32_t id, uint32_t round)
{
    int32_t left = r->pairs[merged].left, right = r->pairs[merged].right;
    uint32_t n_words = r->pairs[merged].n_words, *words = r->pairs[merged].words;
    r->pairs[merged].words = NULL;
    r->pairs[merged].n_words = r->pairs[merged].cap_words = 0;
    for (uint32_t k = 0; k < n_words; k++) {
        if (!merge_in_word(r, words[k], left, right, id))
            continue;
        const struct word *word = &r->words[words[k]];
        const int32_t *s = r->symbols + word->first;
        for (uint32_t i = 0; i + 1 < word->n; i++) {
            if (s[i] != id && s[i + 1] != id)
                continue;
            struct pair *p = pair_of(r, s[i], s[i + 1]);
            note_word(p, words[k]);
            if (p->touched == round)
                continue;
            p->touched = round;
            r->grown = mem_room(r->grown, r->n_grown, &r->cap_grown, sizeof *r->grown);
            r->grown[r->n_grown++] = (uint32_t)(p - r->pairs);
        }
    }
    mem_free(words);
    for (size_t i = 0; i < r->n_grown; i++)
        push(r, r->grown[i]); /* only pairs with the new id have grown */
    r->n_grown = 0;
}

static bool learn(struct trainer *r, struct tokenizer *t, int n_pieces, struct gm_error *err)
{
    struct str text = {0};
    uint32_t rank = 0;
    bool ok = true;
    while (ok && t->vocab_size < n_pieces) {
        if (r->n_heap == 0) {
            ok = error_set(err, GM_E_INPUT,
                           "train vocabulary: the text gives %d pieces, %d were asked for (take "
                           "more text or fewer pieces)",
                           t->vocab_size, n_pieces);
            break;
        }
        struct candidate c = pop(r);
        struct pair *p = &r->pairs[c.pair];
        if (c.count != p->count) {
            if (p->count > 0 && p->count < c.count)
                push(r, c.pair);
            continue;
        }
        if (c.count < 2) {
            r->n_heap = 0; /* nothing repeats any more */
            continue;
        }
        str_clear(&text);
        str_add(&text, t->pieces[p->left].text);
        str_add(&text, t->pieces[p->right].text);
        int32_t id = piece_map_find(&t->ids, text.data, text.len);
        if (id >= 0 && id < FIRST_BYTE)
            continue; /* the text spells a special token: it must not become one */
        if (id < 0) {
            id = t->vocab_size;
            ok = tokenizer_add_piece(t, id, text.data, text.len, PIECE_MODEL, err);
        }
        pair_map_set(&t->merges, p->left, p->right, rank++, id);
        if (ok)
            merge_everywhere(r, c.pair, id, rank);
    }
    str_free(&text);
    return ok;
}

static void trainer_free(struct trainer *r)
{
    piece_map_free(&r->words_by_text);
    pair_map_free(&r->pairs_by_ids);
    for (size_t i = 0; i < r->n_pairs; i++)
        mem_free(r->pairs[i].words);
    mem_free(r->pairs);
    mem_free(r->words);
    mem_free(r->symbols);
    mem_free(r->heap);
    mem_free(r->grown);
}

static struct tokenizer *start(struct gm_error *err)
{
    struct tokenizer *t = tokenizer_new();
    bool ok = true;
    for (int i = 0; ok && i < FIRST_BYTE; i++)
        ok = tokenizer_add_piece(t, i, specials[i], strlen(specials[i]),
                                 PIECE_ADDED | PIECE_SPECIAL, err);
    for (int b = 0; ok && b < 256; b++) {
        char symbol[4];
        int len = utf8_encode(alphabet_char(b), symbol);
        ok = tokenizer_add_piece(t, FIRST_BYTE + b, symbol, (size_t)len, PIECE_MODEL, err);
    }
    ok = ok && tokenizer_add_stage(t, MATCH_TEXT, SPLIT_ISOLATED, false, "\n", 1, err) &&
         tokenizer_add_stage(t, MATCH_GPT2, SPLIT_ISOLATED, false, "", 0, err);
    t->byte_level = true;
    t->pad = 0;
    t->eos = 1;
    t->bos = 2;
    t->prefix = mem_new(1, sizeof *t->prefix);
    t->prefix[0] = t->bos;
    t->n_prefix = 1;
    if (ok)
        return t;
    tokenizer_free(t);
    return NULL;
}

bool bpe_train(const char *text, size_t n, int n_pieces, struct str *tokenizer_json,
               struct gm_error *err)
{
    if (n_pieces < 512 || n_pieces > 65536)
        return error_set(err, GM_E_USAGE, "train vocabulary: %d pieces (take 512 to 65536)",
                         n_pieces);
    if (n >= 1u << 31)
        return error_set(err, GM_E_INPUT,
                         "train vocabulary: the text has 2 GiB or more (take a part of it)");
    struct tokenizer *t = start(err);
    if (!t)
        return false;
    struct trainer r = {.text = text};
    struct pretok cut = {.stages = t->stages, .n_stages = t->n_stages, .text = text, .word = count_word, .arg = &r};
    pretok_run(&cut, 0, 0, n); /* without patterns it cannot fail */
    count_first_pairs(&r);
    bool ok = learn(&r, t, n_pieces, err);
    if (ok) {
        char *json = tokenizer_to_json(t);
        str_add(tokenizer_json, json);
        mem_free(json);
    }
    trainer_free(&r);
    tokenizer_free(t);
    return ok;
}

void bpe_train_config(struct str *tokenizer_config_json)
{
    struct tokenizer *t = start(NULL);
    struct chat_template *tpl = chat_template_from_name("gemma3", t, NULL);
    char *json = tokenizer_config_to_json(t, chat_template_text(tpl));
    str_add(tokenizer_config_json, json);
    mem_free(json);
    chat_template_free(tpl);
    tokenizer_free(t);
}
