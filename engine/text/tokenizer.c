/* tokenizer.c - the object itself: pieces, what can be asked of them, beginning and end. */
#include "engine/text/tokenizer.h"

#include "engine/base/mem.h"
#include "engine/format/model_source.h"
#include "engine/text/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 1 << 18, JSON_MAX = 256 << 20, CONFIG_MAX = 16 << 20 };

void id_list_add(struct id_list *list, int32_t id, uint32_t start)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        list->ids = mem_grow(list->ids, list->cap, cap, sizeof *list->ids);
        list->starts = mem_grow(list->starts, list->cap, cap, sizeof *list->starts);
        list->cap = cap;
    }
    list->ids[list->n] = id;
    list->starts[list->n++] = start;
}

void id_list_clear(struct id_list *list)
{
    list->n = 0;
}

bool id_list_same(const struct id_list *a, const struct id_list *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0);
}

void id_list_free(struct id_list *list)
{
    mem_free(list->ids);
    mem_free(list->starts);
    *list = (struct id_list){0};
}

struct tokenizer *tokenizer_new(void)
{
    struct tokenizer *t = mem_new(1, sizeof *t);
    t->unk = t->bos = t->eos = t->pad = -1;
    for (int i = 0; i < 256; i++)
        t->byte_ids[i] = -1;
    return t;
}

char *tokenizer_keep(struct tokenizer *t, const char *text, size_t len)
{
    if (t->n_blocks == 0 || t->block_size - t->block_used < len + 1) {
        t->block_size = len + 1 > BLOCK_SIZE ? len + 1 : BLOCK_SIZE;
        t->blocks = mem_grow(t->blocks, t->n_blocks, t->n_blocks + 1, sizeof *t->blocks);
        t->blocks[t->n_blocks++] = mem_new(t->block_size, 1);
        t->block_used = 0;
    }
    char *copy = t->blocks[t->n_blocks - 1] + t->block_used;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    t->block_used += len + 1;
    return copy;
}

bool tokenizer_add_piece(struct tokenizer *t, int32_t id, const char *text, size_t len,
                         uint8_t flags, struct gm_error *err)
{
    if (id < 0 || id >= PIECES_MAX)
        return error_set(err, GM_E_INPUT, "id %d of a piece is not below %d", id, PIECES_MAX);
    if (!utf8_valid(text, len))
        return error_set(err, GM_E_INPUT, "piece %d is not UTF-8", id);
    if (len > PIECE_LENGTH_MAX)
        return error_set(err, GM_E_INPUT, "piece %d has %zu bytes, more than %d", id, len,
                         PIECE_LENGTH_MAX);
    if (id >= t->cap_pieces) {
        int32_t cap = t->cap_pieces ? t->cap_pieces : 1024;
        while (cap <= id)
            cap *= 2;
        t->pieces = mem_grow(t->pieces, (size_t)t->cap_pieces, (size_t)cap, sizeof *t->pieces);
        t->cap_pieces = cap;
    }
    struct piece *p = &t->pieces[id];
    if (p->flags)
        return error_set(err, GM_E_INPUT, "id %d has two pieces, %.40s and %.*s", id, p->text,
                         len < 40 ? (int)len : 40, text);
    const char *copy = tokenizer_keep(t, text, len);
    int32_t other = piece_map_add(&t->ids, copy, len, id);
    if (other >= 0)
        return error_set(err, GM_E_INPUT, "piece %.40s has two ids, %d and %d", copy, other, id);
    *p = (struct piece){.text = copy, .len = (uint32_t)len, .flags = flags | PIECE_EXISTS};
    if (id >= t->vocab_size)
        t->vocab_size = id + 1;
    return true;
}

struct text_rule *tokenizer_add_rule(struct text_rule **rules, int *n, enum rule_kind kind, const char *from,
                                     size_t from_len, const char *to, size_t to_len)
{
    *rules = mem_grow(*rules, (size_t)*n, (size_t)*n + 1, sizeof **rules);
    struct text_rule *r = &(*rules)[(*n)++];
    *r = (struct text_rule){.kind = kind, .from = mem_copy_n(from, from_len), .to = mem_copy_n(to, to_len), .from_len = from_len, .to_len = to_len};
    return r;
}

bool tokenizer_add_stage(struct tokenizer *t, enum stage_match match, enum split_behavior behavior, bool invert,
                         const char *pattern, size_t len, struct gm_error *err)
{
    if (t->n_stages == TOKENIZER_STAGES_MAX)
        return error_set(err, GM_E_UNSUPPORTED, "pre_tokenizer has more than %d stages",
                         TOKENIZER_STAGES_MAX);
    if (match == MATCH_REGEX)
        match = stage_known(pattern, len);
    if ((match == MATCH_GPT2 || match == MATCH_LLAMA3 || match == MATCH_QWEN2) && behavior == SPLIT_REMOVED && invert) {
        behavior = SPLIT_ISOLATED; /* these leave nothing between their matches: another way to say the same */
        invert = false;
    }
    struct regex *regex = match == MATCH_REGEX ? regex_compile(pattern, len, err) : NULL;
    if (match == MATCH_REGEX && !regex)
        return false;
    t->stages[t->n_stages++] = (struct stage){match, behavior, invert, mem_copy_n(pattern, len), len, regex};
    return true;
}

static void fill_cutters(struct tokenizer *t)
{
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        if (!(p->flags & PIECE_ADDED) || p->len == 0)
            continue;
        if (!(p->flags & PIECE_NORMALIZED)) {
            cutter_add(&t->raw, p->text, p->len, id);
            continue;
        }
        if (t->pieces_normal) {
            cutter_add(&t->normalized, p->text, p->len, id);
            continue;
        }
        struct normal_text n;
        if (normal_apply(t, p->text, 0, p->len, &n) && n.n > 0 && n.n <= UINT16_MAX) {
            const char *text = tokenizer_keep(t, n.data, n.n);
            cutter_add(&t->normalized, text, n.n, id);
            if (!t->shown && (n.n != p->len || memcmp(text, p->text, n.n) != 0))
                t->shown = mem_new((size_t)t->vocab_size, sizeof *t->shown);
            if (t->shown)
                t->shown[id] = (struct shown){text, (uint32_t)n.n};
        }
        normal_free(&n);
    }
}

static void fill_bytes(struct tokenizer *t)
{
    for (int b = 0; b < 256; b++) {
        char symbol[8];
        int len = 0;
        if (t->byte_level)
            len = utf8_encode(alphabet_char(b), symbol);
        else if (t->byte_fallback)
            len = snprintf(symbol, sizeof symbol, "<0x%02X>", b);
        else
            continue;
        int32_t id = piece_map_find(&t->ids, symbol, (size_t)len);
        if (id >= 0 && t->byte_level && !(t->pieces[id].flags & PIECE_MODEL))
            id = -1;
        t->byte_ids[b] = id;
    }
    if (!t->decode_bytes)
        return;
    t->byte_of = mem_new((size_t)t->vocab_size, sizeof *t->byte_of);
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        t->byte_of[id] = -1;
        if (p->len != 6 || memcmp(p->text, "<0x", 3) != 0 || p->text[5] != '>')
            continue;
        int high = hex_digit(p->text[3]), low = hex_digit(p->text[4]);
        if (high >= 0 && low >= 0)
            t->byte_of[id] = (int16_t)(16 * high + low);
    }
}

/* Then a text may be cut before every such SPACE_MARK, and its words be looked up. */
static bool marks_begin_pieces(const struct tokenizer *t)
{
    int32_t alone = piece_map_find(&t->ids, SPACE_MARK, 3);
    if (t->byte_level || t->ignore_merges || alone < 0 || !(t->pieces[alone].flags & PIECE_MODEL))
        return false;
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        bool other = false; /* another character was seen */
        for (uint32_t i = 0; p->flags & PIECE_MODEL && i < p->len; i++) {
            bool here = p->len - i >= 3 && memcmp(p->text + i, SPACE_MARK, 3) == 0;
            if (here && other)
                return false;
            other = other || !here;
            i += here ? 2 : 0;
        }
    }
    return true;
}

static int32_t first_known(const struct tokenizer *t, const char *const *names)
{
    for (; *names; names++) {
        int32_t id = tokenizer_id_of(t, *names);
        if (id >= 0 && t->pieces[id].flags & PIECE_ADDED)
            return id;
    }
    return -1;
}

bool tokenizer_finish(struct tokenizer *t, struct gm_error *err)
{
    if (t->vocab_size == 0)
        return error_set(err, GM_E_INPUT, "vocabulary is empty");
    fill_bytes(t);
    fill_cutters(t);
    t->marks_begin = marks_begin_pieces(t);
    if (t->bos < 0 && t->n_prefix > 0)
        t->bos = t->prefix[0];
    if (t->bos < 0)
        t->bos = first_known(t, (const char *const[]){"<bos>", "<s>", "<|begin_of_text|>", NULL});
    if (t->eos < 0)
        t->eos = first_known(t, (const char *const[]){"<eos>", "</s>", "<|im_end|>",
                                                      "<|end_of_text|>", "<|endoftext|>", NULL});
    if (t->pad < 0)
        t->pad = first_known(t, (const char *const[]){"<pad>", NULL});
    return true;
}

struct scored {
    float score;
    int32_t id;
};

static int best_first(const void *x, const void *y)
{
    const struct scored *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

bool tokenizer_rank_scores(struct tokenizer *t, size_t n, struct gm_error *err)
{
    struct scored *order = mem_new(n ? n : 1, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        order[i] = (struct scored){t->scores[i], (int32_t)i};
        if (t->scores[i] != t->scores[i]) {
            mem_free(order);
            return error_set(err, GM_E_INPUT, "score of piece %zu is not a number", i);
        }
    }
    if (n)
        qsort(order, n, sizeof *order, best_first);
    t->n_scores = n;
    t->score_rank = mem_new((size_t)t->vocab_size, sizeof *t->score_rank);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) { /* equal scores, equal rank: then the leftmost pair goes first */
        if (i > 0 && order[i].score != order[i - 1].score)
            rank++;
        t->score_rank[order[i].id] = rank;
    }
    for (size_t i = n; i < (size_t)t->vocab_size; i++)
        t->score_rank[i] = rank + 1;
    mem_free(order);
    return true;
}

void tokenizer_sentencepiece_rules(struct tokenizer *t, bool space_in_front)
{
    if (space_in_front) {
        tokenizer_add_rule(&t->rules, &t->n_rules, RULE_PREPEND, "", 0, SPACE_MARK, 3);
        t->decode_strip = ' ';
        t->decode_strip_count = 1;
    }
    tokenizer_add_rule(&t->rules, &t->n_rules, RULE_REPLACE, " ", 1, SPACE_MARK, 3);
    tokenizer_add_rule(&t->decode_rules, &t->n_decode_rules, RULE_REPLACE, SPACE_MARK, 3, " ", 1);
}

void tokenizer_add_id(int32_t **list, size_t *n, int32_t id)
{
    *list = mem_grow(*list, *n, *n + 1, sizeof **list);
    (*list)[(*n)++] = id;
}

void tokenizer_add_around(struct tokenizer *t, bool bos, bool eos)
{
    if (bos && t->bos >= 0)
        tokenizer_add_id(&t->prefix, &t->n_prefix, t->bos);
    if (eos && t->eos >= 0)
        tokenizer_add_id(&t->suffix, &t->n_suffix, t->eos);
}

/* Of the forms that a vocabulary comes in, a tokenizer.json goes before a tokenizer.model, as in the library. */
struct tokenizer *tokenizer_open(const struct model_source *src, struct gm_error *err)
{
    if (src->kind == SOURCE_GGUF) {
        struct tokenizer *t = tokenizer_new();
        if (tokenizer_load_gguf(t, src->gguf, err) && tokenizer_finish(t, err))
            return t;
        error_context(err, "read the tokenizer of %s", src->name);
        tokenizer_free(t);
        return NULL;
    }
    const char *where = src->path ? src->path : src->name;
    bool from_json = model_source_has_file(src, "tokenizer.json");
    const char *name = from_json ? "tokenizer.json" : "tokenizer.model";
    if (!from_json && !model_source_has_file(src, name)) {
        error_set(err, GM_E_INPUT,
                  "open tokenizer of %s: there is neither a tokenizer.json nor a tokenizer.model (take the file from where the "
                  "model came from)",
                  where);
        return NULL;
    }
    struct str bytes = {0}, config = {0};
    struct tokenizer *t = NULL;
    bool has_config = model_source_has_file(src, "tokenizer_config.json");
    if (model_source_read_file(src, name, JSON_MAX, &bytes, err) &&
        (!has_config || model_source_read_file(src, "tokenizer_config.json", CONFIG_MAX, &config, err))) {
        char *label = path_join(where, name);
        const char *config_text = has_config ? str_text(&config) : NULL;
        t = from_json ? tokenizer_open_json(str_text(&bytes), bytes.len, config_text, label, err)
                      : tokenizer_open_model(str_text(&bytes), bytes.len, config_text, label, err);
        mem_free(label);
    }
    str_free(&bytes);
    str_free(&config);
    return t;
}

static void free_rules(struct text_rule *rules, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(rules[i].from);
        mem_free(rules[i].to);
        regex_free(rules[i].regex);
    }
    mem_free(rules);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_blocks; i++)
        mem_free(t->blocks[i]);
    mem_free(t->blocks);
    mem_free(t->pieces);
    piece_map_free(&t->ids);
    pair_map_free(&t->merges);
    mem_free(t->shown);
    mem_free(t->score_rank);
    mem_free(t->scores);
    mem_free(t->byte_of);
    free_rules(t->rules, t->n_rules);
    free_rules(t->decode_rules, t->n_decode_rules);
    for (int i = 0; i < t->n_stages; i++) {
        mem_free(t->stages[i].pattern);
        regex_free(t->stages[i].regex);
    }
    mem_free(t->front.space);
    cutter_free(&t->raw);
    cutter_free(&t->normalized);
    mem_free(t->prefix);
    mem_free(t->suffix);
    mem_free(t->source_json);
    mem_free(t);
}

int32_t tokenizer_vocab_size(const struct tokenizer *t)
{
    return t->vocab_size;
}
int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}
int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}
int32_t tokenizer_pad(const struct tokenizer *t)
{
    return t->pad;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab_size && t->pieces[id].flags & PIECE_SPECIAL;
}

bool tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->n_prefix > 0 && t->bos >= 0 && t->prefix[0] == t->bos;
}

int32_t tokenizer_id_of(const struct tokenizer *t, const char *piece)
{
    return piece_map_find(&t->ids, piece, strlen(piece));
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || id >= t->vocab_size || !t->pieces[id].flags)
        return NULL;
    if (len)
        *len = t->pieces[id].len;
    return t->pieces[id].text;
}
