/* tokenizer_write_gguf.c - a vocabulary as metadata of a GGUF, so that llama.cpp and Ollama make the same ids of the same text.
 *
 * Byte-level vocabularies become "gpt2" with the name that llama.cpp has for the pre-tokeniser; those with byte fallback
 * become "llama", where any two neighbours merge that make a piece, best score first: a score is minus the rank of the
 * first merge that gives the piece, and a vocabulary whose merges are not all of those pairs is refused. So is everything
 * else for which that program has no word.
 */
#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/text/tokenizer_private.h"

#include <stdio.h>
#include <string.h>

static bool cannot(struct gm_error *err, const char *what)
{
    return error_set(err, GM_E_UNSUPPORTED, "write the tokenizer into a GGUF: %s cannot be expressed there (export safetensors instead)", what);
}

static bool merges_hold_newline(const struct tokenizer *t)
{
    int32_t newline = t->byte_ids['\n'];
    for (size_t i = 0; i < t->merges.n_slots; i++) {
        const struct pair_slot *s = &t->merges.slots[i];
        if (s->key && ((int32_t)((s->key - 1) >> 32) == newline || (int32_t)((s->key - 1) & UINT32_MAX) == newline))
            return true;
    }
    return false;
}

/* llama.cpp's name for these stages. A first cut at newlines changes no id where no merge holds one. */
static const char *pre_name(const struct tokenizer *t)
{
    const struct stage *s = t->stages;
    int n = t->n_stages;
    if (n > 1 && s->match == MATCH_TEXT && s->behavior == SPLIT_ISOLATED && !s->invert && strcmp(s->pattern, "\n") == 0 && !merges_hold_newline(t)) {
        s++;
        n--;
    }
    bool nfc = t->n_rules == 1 && t->rules[0].kind == RULE_NFC;
    if (n == 0 || s[n - 1].behavior != SPLIT_ISOLATED || s[n - 1].invert || (t->n_rules > 0 && !nfc))
        return NULL;
    enum stage_match last = s[n - 1].match;
    if (n == 2 && last == MATCH_GPT2 && s->match == MATCH_NUMERIC && s->behavior == SPLIT_ISOLATED && !t->ignore_merges && !nfc)
        return "smollm";
    if (n != 1)
        return NULL;
    if (last == MATCH_GPT2 && !t->ignore_merges && !nfc)
        return "gpt-2";
    if (last == MATCH_LLAMA3 && !nfc)
        return t->ignore_merges ? "llama-bpe" : "smaug-bpe";
    if (last == MATCH_QWEN2 && !t->ignore_merges)
        return nfc ? "qwen2" : "deepseek-r1-qwen";
    return NULL;
}

/* Does the vocabulary strip as llama.cpp does where general.name has "phi-3" in it: white space behind every special token
 * but three? What it does behind </s> is left out of the question: the published files do not agree on it. */
bool tokenizer_strips_like_phi3(const struct tokenizer *t)
{
    bool any = false;
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        if (!(p->flags & PIECE_ADDED) || strcmp(p->text, "</s>") == 0)
            continue;
        bool never = strcmp(p->text, "<unk>") == 0 || strcmp(p->text, "<s>") == 0 || strcmp(p->text, "<|endoftext|>") == 0;
        if (never == !!(p->flags & PIECE_RSTRIP))
            return false;
        any = any || !never;
    }
    return any;
}

const char *tokenizer_gguf_caveat(const struct tokenizer *t)
{
    int32_t end = tokenizer_id_of(t, "</s>");
    if (t->byte_level && t->n_rules > 0)
        return "llama.cpp does not compose characters as this tokenizer does (NFC): a text with accents on their own gets other ids there";
    if (tokenizer_strips_like_phi3(t) && end >= 0 && !(t->pieces[end].flags & PIECE_RSTRIP))
        return "llama.cpp drops white space behind </s>, this tokenizer does not";
    return NULL;
}

static bool check_added(const struct tokenizer *t, struct gm_error *err)
{
    bool phi3 = tokenizer_strips_like_phi3(t);
    char what[160];
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        uint8_t odd = p->flags & (PIECE_LSTRIP | PIECE_WORD | (phi3 ? 0 : PIECE_RSTRIP));
        if (!(p->flags & PIECE_ADDED) || (!odd && !(t->shown && t->shown[id].text)))
            continue;
        snprintf(what, sizeof what, "the added token \"%.60s\" with %s", p->text,
                 odd & PIECE_LSTRIP   ? "lstrip"
                 : odd & PIECE_RSTRIP ? "rstrip"
                 : odd & PIECE_WORD   ? "single_word"
                                      : "normalized");
        return cannot(err, what);
    }
    return true;
}

static bool check_around(const struct tokenizer *t, struct gm_error *err)
{
    if (t->n_prefix > 1 || (t->n_prefix == 1 && t->prefix[0] != t->bos))
        return cannot(err, "a post_processor that puts more than the bos token in front");
    if (t->n_suffix > 1 || (t->n_suffix == 1 && t->suffix[0] != t->eos))
        return cannot(err, "a post_processor that puts more than the eos token behind");
    return true;
}

static bool is_byte_piece(const struct tokenizer *t, int32_t id)
{
    const struct piece *p = &t->pieces[id];
    unsigned byte;
    return t->byte_fallback && p->len == 6 && sscanf(p->text, "<0x%2X>", &byte) == 1 && t->byte_ids[byte & 255] == id;
}

static bool may_merge(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (t->pieces[id].flags & (PIECE_MODEL | PIECE_ADDED)) == PIECE_MODEL;
}

/* By scores every split of a piece into two pieces is a merge: are they all there? */
static bool check_all_splits(const struct tokenizer *t, struct gm_error *err)
{
    char what[200];
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        if (!may_merge(t, id) || is_byte_piece(t, id))
            continue;
        for (uint32_t k = 1; k < p->len; k++) {
            if (((unsigned char)p->text[k] & 0xC0) == 0x80)
                continue;
            int32_t left = piece_map_find(&t->ids, p->text, k), right = piece_map_find(&t->ids, p->text + k, p->len - k);
            if (!may_merge(t, left) || !may_merge(t, right))
                continue;
            const struct pair_slot *m = pair_map_find(&t->merges, left, right);
            if (m && m->id == id)
                continue;
            snprintf(what, sizeof what, "that \"%.60s\" and \"%.60s\" do not merge", t->pieces[left].text, t->pieces[right].text);
            return cannot(err, what);
        }
    }
    return true;
}

static bool rule_is(const struct text_rule *r, enum rule_kind kind, const char *from, const char *to)
{
    return r->kind == kind && !r->regex && strcmp(r->from, from) == 0 && strcmp(r->to, to) == 0;
}

/* Spaces become marks, after one was put in front or not; and nothing else happens to the text. */
static bool check_sentencepiece(const struct tokenizer *t, bool *space_in_front, struct gm_error *err)
{
    *space_in_front = t->n_rules == 2 && rule_is(&t->rules[0], RULE_PREPEND, "", SPACE_MARK);
    if (t->front.space)
        return cannot(err, "the pre_tokenizer Metaspace");
    if (t->n_rules != 1 + *space_in_front || !rule_is(&t->rules[t->n_rules - 1], RULE_REPLACE, " ", SPACE_MARK))
        return cannot(err, "this normalizer");
    for (int i = 0; i < t->n_stages; i++) /* no space is left to cut at */
        if (t->stages[i].match != MATCH_TEXT || t->stages[i].invert || strcmp(t->stages[i].pattern, " ") != 0)
            return cannot(err, "this pre_tokenizer");
    for (int b = 0; b < 256; b++)
        if (t->byte_ids[b] < 0)
            return cannot(err, "a vocabulary without pieces for all bytes");
    return t->by_scores || check_all_splits(t, err);
}

/* ---- the arrays ---- */

struct rows {
    struct gguf_text *texts;
    int32_t *types;
    float *scores;
    struct str names; /* of texts that are not the vocabulary's own */
    size_t n;
};

static bool all_marks(const struct piece *p)
{
    for (uint32_t i = 0; i < p->len; i += 3)
        if (p->len - i < 3 || memcmp(p->text + i, SPACE_MARK, 3) != 0)
            return false;
    return true;
}

static int type_of_piece(const struct tokenizer *t, int32_t id, bool merged)
{
    const struct piece *p = &t->pieces[id];
    if (id == t->unk && !t->byte_level)
        return TYPE_UNKNOWN;
    if (p->flags & PIECE_SPECIAL)
        return TYPE_CONTROL;
    /* Runs of spaces merge like words: by their merges, or, where SentencePiece cuts them out, before all else by their
     * score of 0. As user-defined pieces llama.cpp would look for marks in the text, and show them. */
    if (p->flags & PIECE_ADDED)
        return (merged || t->pieces_normal) && all_marks(p) ? TYPE_NORMAL : TYPE_USER_DEFINED;
    if (is_byte_piece(t, id))
        return TYPE_BYTE;
    return p->flags & PIECE_MODEL ? TYPE_NORMAL : TYPE_UNUSED;
}

/* Texts made here go into one buffer: offsets first, pointers when it no longer moves. */
static void name_row(struct rows *r, const struct tokenizer *t, size_t row, const struct piece *spaced)
{
    size_t at = r->names.len;
    if (spaced) {
        for (uint32_t i = 0; i < spaced->len;) {
            bool space = spaced->len - i >= 3 && memcmp(spaced->text + i, SPACE_MARK, 3) == 0;
            str_add_n(&r->names, space ? " " : spaced->text + i, 1);
            i += space ? 3 : 1;
        }
    } else {
        char name[32];
        int n = snprintf(name, sizeof name, "[PAD%zu]", row);
        while (piece_map_find(&t->ids, name, (size_t)n) >= 0 && n < 30) /* somebody has that name: one more bracket */
            name[n++] = ']';
        str_add_n(&r->names, name, (size_t)n);
    }
    r->texts[row] = (struct gguf_text){NULL, r->names.len - at};
}

static void fill_rows(struct rows *r, const struct tokenizer *t)
{
    bool *merged = mem_new((size_t)t->vocab_size, sizeof *merged);
    for (size_t i = 0; i < t->merges.n_slots; i++) {
        const struct pair_slot *s = &t->merges.slots[i];
        if (!s->key || (size_t)s->id >= r->n)
            continue;
        if (!merged[s->id] || r->scores[s->id] < -(float)s->rank)
            r->scores[s->id] = -(float)s->rank;
        merged[s->id] = true;
    }
    for (size_t row = 0; row < r->n; row++) {
        int32_t id = (int32_t)row;
        const struct piece *p = id < t->vocab_size && t->pieces[id].flags ? &t->pieces[id] : NULL;
        if (!p) {
            r->types[row] = TYPE_UNUSED;
            r->scores[row] = -10000;
            name_row(r, t, row, NULL);
            continue;
        }
        r->types[row] = type_of_piece(t, id, merged[id]);
        r->texts[row] = (struct gguf_text){p->text, p->len};
        if (t->by_scores && row < t->n_scores)
            r->scores[row] = t->scores[row];
        else if (p->flags & PIECE_ADDED && r->types[row] != TYPE_NORMAL)
            r->scores[row] = -1000;
        if (r->types[row] == TYPE_USER_DEFINED && t->pieces_normal && memmem(p->text, p->len, SPACE_MARK, 3))
            name_row(r, t, row, p);
    }
    size_t at = 0;
    for (size_t row = 0; row < r->n; row++) {
        if (r->texts[row].data)
            continue;
        r->texts[row].data = str_text(&r->names) + at;
        at += r->texts[row].len;
    }
    mem_free(merged);
}

static void write_merges(const struct tokenizer *t, struct gguf_out *g)
{
    size_t n;
    struct tokenizer_merge *list = tokenizer_merges(t, &n);
    struct gguf_text *texts = mem_new(n + 1, sizeof *texts);
    struct str all = {0};
    for (size_t i = 0; i < n; i++) {
        size_t at = all.len;
        str_add_n(&all, t->pieces[list[i].left].text, t->pieces[list[i].left].len);
        str_add_char(&all, ' ');
        str_add_n(&all, t->pieces[list[i].right].text, t->pieces[list[i].right].len);
        texts[i].len = all.len - at;
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        texts[i].data = str_text(&all) + at;
        at += texts[i].len;
    }
    gguf_out_texts(g, "tokenizer.ggml.merges", texts, n);
    mem_free(list);
    mem_free(texts);
    str_free(&all);
}

static void write_id(struct gguf_out *g, const char *key, int32_t id, int rows)
{
    if (id >= 0 && id < rows)
        gguf_out_u32(g, key, (uint32_t)id);
}

/* The token that ends a turn, where it is not the end of the sequence alone. */
static int32_t end_of_turn(const struct tokenizer *t)
{
    static const char *const names[] = {"<end_of_turn>", "<turn|>", "<|eot_id|>", "<|im_end|>", "<|end|>", NULL};
    for (int i = 0; names[i]; i++) {
        int32_t id = tokenizer_id_of(t, names[i]);
        if (id >= 0 && t->pieces[id].flags & PIECE_SPECIAL)
            return id;
    }
    return -1;
}

bool tokenizer_to_gguf(const struct tokenizer *t, int rows, bool add_bos, const char *chat_template, struct gguf_out *g, struct gm_error *err)
{
    bool space = false;
    const char *pre = "default";
    if (!check_added(t, err) || !check_around(t, err))
        return false;
    for (int32_t id = rows; id < t->vocab_size; id++)
        if (t->pieces[id].flags & PIECE_MODEL)
            return error_set(err, GM_E_INPUT, "write the tokenizer into a GGUF: it has piece %d, the model %d rows", id, rows);
    if (t->byte_level) {
        pre = t->front.space ? NULL : pre_name(t);
        if (!pre)
            return cannot(err, "this normalizer and pre_tokenizer");
    } else if (!t->byte_fallback) {
        return cannot(err, "a vocabulary that is neither byte-level nor falls back to bytes");
    } else if (!check_sentencepiece(t, &space, err)) {
        return false;
    }
    struct rows r = {.n = (size_t)rows};
    r.texts = mem_new(r.n + 1, sizeof *r.texts);
    r.types = mem_new(r.n + 1, sizeof *r.types);
    r.scores = mem_new(r.n + 1, sizeof *r.scores);
    fill_rows(&r, t);
    gguf_out_text(g, "tokenizer.ggml.model", t->byte_level ? "gpt2" : "llama");
    gguf_out_text(g, "tokenizer.ggml.pre", pre);
    gguf_out_texts(g, "tokenizer.ggml.tokens", r.texts, r.n);
    if (!t->byte_level)
        gguf_out_f32s(g, "tokenizer.ggml.scores", r.scores, r.n);
    gguf_out_i32s(g, "tokenizer.ggml.token_type", r.types, r.n);
    if (t->byte_level)
        write_merges(t, g);
    write_id(g, "tokenizer.ggml.bos_token_id", t->bos, rows);
    write_id(g, "tokenizer.ggml.eos_token_id", t->eos, rows);
    write_id(g, "tokenizer.ggml.eot_token_id", end_of_turn(t), rows);
    write_id(g, "tokenizer.ggml.unknown_token_id", t->unk, rows);
    write_id(g, "tokenizer.ggml.padding_token_id", t->pad, rows);
    gguf_out_bool(g, "tokenizer.ggml.add_bos_token", add_bos);
    gguf_out_bool(g, "tokenizer.ggml.add_eos_token", t->n_suffix > 0);
    if (!t->byte_level)
        gguf_out_bool(g, "tokenizer.ggml.add_space_prefix", space);
    if (chat_template)
        gguf_out_text(g, "tokenizer.chat_template", chat_template);
    mem_free(r.texts);
    mem_free(r.types);
    mem_free(r.scores);
    str_free(&r.names);
    return true;
}
