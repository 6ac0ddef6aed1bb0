/* tokenizer_write.c - a tokenizer.json for a vocabulary that came from elsewhere, and the config beside it: of all that a tokenizer.json
 * can say, what a GGUF, a tokenizer.model and our own training make. One that was read keeps its own text. */
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/text/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

/* Equal scores give equal ranks; of the pairs that make one piece, the one with the longer left part goes first, as in
 * Hugging Face's converter (a longer left part was put on the list later). */
static int by_rank(const void *x, const void *y)
{
    const struct tokenizer_merge *a = x, *b = y;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->place > b->place ? -1 : a->place < b->place;
}

static void add_merge(struct tokenizer_merge **list, size_t *n, size_t *cap, struct tokenizer_merge m)
{
    *list = mem_room(*list, *n, cap, sizeof **list);
    (*list)[(*n)++] = m;
}

/* By scores, any two pieces merge whose concatenation is a piece, the best result first: those
 * pairs, written out. */
struct tokenizer_merge *tokenizer_merges(const struct tokenizer *t, size_t *n)
{
    struct tokenizer_merge *list = NULL;
    size_t cap = 0;
    *n = 0;
    if (!t->by_scores) {
        for (size_t i = 0; i < t->merges.n_slots; i++) {
            const struct pair_slot *s = &t->merges.slots[i];
            if (!s->key)
                continue;
            uint64_t pair = s->key - 1;
            add_merge(&list, n, &cap,
                      (struct tokenizer_merge){s->rank, s->id, (int32_t)(pair >> 32),
                                     (int32_t)(pair & UINT32_MAX), 0});
        }
    }
    for (int32_t id = 0; t->by_scores && id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        if (!(p->flags & PIECE_MODEL))
            continue;
        for (uint32_t k = 1; k < p->len; k++) {
            if (((unsigned char)p->text[k] & 0xC0) == 0x80)
                continue;
            int32_t left = piece_map_find(&t->ids, p->text, k),
                    right = piece_map_find(&t->ids, p->text + k, p->len - k);
            if (left < 0 || right < 0 ||
                !(t->pieces[left].flags & t->pieces[right].flags & PIECE_MODEL))
                continue;
            add_merge(&list, n, &cap, (struct tokenizer_merge){t->score_rank[id], id, left, right, k});
        }
    }
    if (*n)
        qsort(list, *n, sizeof *list, by_rank);
    return list;
}

static void quote_piece(struct str *s, const struct piece *p)
{
    json_quote(s, p->text, p->len);
}

static const char *yes_no(unsigned flag)
{
    return flag ? "true" : "false";
}

static void write_added(const struct tokenizer *t, struct str *s)
{
    const char *comma = "";
    str_add(s, "  \"added_tokens\": [");
    for (int32_t id = 0; id < t->vocab_size; id++) {
        const struct piece *p = &t->pieces[id];
        if (!(p->flags & PIECE_ADDED))
            continue;
        str_printf(s, "%s\n    {\"id\": %d, \"content\": ", comma, id);
        quote_piece(s, p);
        str_printf(s,
                   ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, "
                   "\"special\": %s}",
                   yes_no(p->flags & PIECE_WORD), yes_no(p->flags & PIECE_LSTRIP),
                   yes_no(p->flags & PIECE_RSTRIP), yes_no(p->flags & PIECE_NORMALIZED),
                   yes_no(p->flags & PIECE_SPECIAL));
        comma = ",";
    }
    str_add(s, "\n  ],\n");
}

static void write_pattern(struct str *s, const char *text, size_t len, bool regex)
{
    str_printf(s, "\"pattern\": {\"%s\": ", regex ? "Regex" : "String");
    json_quote(s, text, len);
    str_add(s, "}");
}

static void write_replace(struct str *s, const struct text_rule *r)
{
    str_add(s, "{\"type\": \"Replace\", ");
    write_pattern(s, r->from, r->from_len, false);
    str_add(s, ", \"content\": ");
    json_quote(s, r->to, r->to_len);
    str_add(s, "}");
}

static void write_normalizer(const struct tokenizer *t, struct str *s)
{
    str_add(s, "  \"normalizer\": ");
    if (t->n_rules == 0) {
        str_add(s, "null,\n");
        return;
    }
    str_add(s, "{\"type\": \"Sequence\", \"normalizers\": [");
    for (int i = 0; i < t->n_rules; i++) {
        const struct text_rule *r = &t->rules[i];
        if (i)
            str_add(s, ", ");
        switch (r->kind) {
        case RULE_PREPEND:
            str_add(s, "{\"type\": \"Prepend\", \"prepend\": ");
            json_quote(s, r->to, r->to_len);
            str_add(s, "}");
            break;
        case RULE_REPLACE:
            write_replace(s, r);
            break;
        default: /* NFC */
            str_add(s, "{\"type\": \"NFC\"}");
        }
    }
    str_add(s, "]},\n");
}

static void write_pre_tokenizer(const struct tokenizer *t, struct str *s)
{
    str_add(s, "  \"pre_tokenizer\": ");
    if (t->n_stages == 0 && !t->byte_level) {
        str_add(s, "null,\n");
        return;
    }
    bool regex = false;
    const char *comma = "";
    str_add(s, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    for (int i = 0; i < t->n_stages; i++) {
        const struct stage *stage = &t->stages[i];
        if (stage->match == MATCH_GPT2 && stage->pattern_len == 0) {
            regex = true; /* part of ByteLevel, which is always last */
            continue;
        }
        str_add(s, comma);
        comma = ", ";
        if (stage->match == MATCH_NUMERIC) {
            str_add(s, "{\"type\": \"Digits\", \"individual_digits\": true}");
            continue;
        }
        str_add(s, "{\"type\": \"Split\", ");
        write_pattern(s, stage->pattern, stage->pattern_len, stage->match != MATCH_TEXT);
        str_add(s, ", \"behavior\": \"Isolated\", \"invert\": false}");
    }
    if (t->byte_level)
        str_printf(s,
                   "%s{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": %s}",
                   comma, yes_no(regex));
    str_add(s, "]},\n");
}

static void write_specials(const struct tokenizer *t, struct str *s, const int32_t *ids, size_t n,
                           const char *before, const char *after)
{
    for (size_t i = 0; i < n; i++) {
        str_printf(s, "%s{\"SpecialToken\": {\"id\": ", before);
        quote_piece(s, &t->pieces[ids[i]]);
        str_printf(s, ", \"type_id\": 0}}%s", after);
    }
}

static void write_special_map(const struct tokenizer *t, struct str *s, const int32_t *ids,
                              size_t n, const char **comma, struct pair_map *done)
{
    for (size_t i = 0; i < n; i++) {
        if (pair_map_find(done, ids[i], 0))
            continue;
        pair_map_set(done, ids[i], 0, 0, 0);
        const struct piece *p = &t->pieces[ids[i]];
        str_add(s, *comma);
        quote_piece(s, p);
        str_add(s, ": {\"id\": ");
        quote_piece(s, p);
        str_printf(s, ", \"ids\": [%d], \"tokens\": [", ids[i]);
        quote_piece(s, p);
        str_add(s, "]}");
        *comma = ", ";
    }
}

static void write_post_processor(const struct tokenizer *t, struct str *s)
{
    str_add(s, "  \"post_processor\": ");
    if (t->n_prefix + t->n_suffix == 0) {
        str_add(s, "null,\n");
        return;
    }
    str_add(s, "{\"type\": \"TemplateProcessing\", \"single\": [");
    for (int pair = 0; pair < 2; pair++) {
        if (pair)
            str_add(s, "], \"pair\": [");
        write_specials(t, s, t->prefix, t->n_prefix, "", ", ");
        str_add(s, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}");
        if (pair) {
            write_specials(t, s, t->suffix, t->n_suffix, ", ", "");
            str_add(s, ", ");
            write_specials(t, s, t->prefix, t->n_prefix, "", ", ");
            str_add(s, "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}");
        }
        write_specials(t, s, t->suffix, t->n_suffix, ", ", "");
    }
    str_add(s, "], \"special_tokens\": {");
    const char *comma = "";
    struct pair_map done = {0};
    write_special_map(t, s, t->prefix, t->n_prefix, &comma, &done);
    write_special_map(t, s, t->suffix, t->n_suffix, &comma, &done);
    pair_map_free(&done);
    str_add(s, "}},\n");
}

static void write_decoder(const struct tokenizer *t, struct str *s)
{
    str_add(s, "  \"decoder\": ");
    if (t->byte_level) {
        str_add(s, "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                   "\"use_regex\": true},\n");
        return;
    }
    str_add(s, "{\"type\": \"Sequence\", \"decoders\": [");
    for (int i = 0; i < t->n_decode_rules; i++) {
        write_replace(s, &t->decode_rules[i]);
        str_add(s, ", ");
    }
    if (t->decode_bytes)
        str_add(s, "{\"type\": \"ByteFallback\"}, ");
    str_add(s, "{\"type\": \"Fuse\"}");
    if (t->decode_strip_count) {
        str_add(s, ", {\"type\": \"Strip\", \"content\": ");
        json_quote(s, &t->decode_strip, 1);
        str_printf(s, ", \"start\": %d, \"stop\": 0}", t->decode_strip_count);
    }
    str_add(s, "]},\n");
}

static void write_model(const struct tokenizer *t, struct str *s)
{
    str_add(s,
            "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (t->unk >= 0)
        quote_piece(s, &t->pieces[t->unk]);
    else
        str_add(s, "null");
    str_printf(s,
               ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n   "
               " \"fuse_unk\": %s,\n    \"byte_fallback\": %s,\n"
               "    \"ignore_merges\": %s,\n    \"vocab\": {",
               yes_no(t->fuse_unk), yes_no(t->byte_fallback), yes_no(t->ignore_merges));
    const char *comma = "";
    for (int32_t id = 0; id < t->vocab_size; id++) {
        if (!t->pieces[id].flags)
            continue;
        str_printf(s, "%s\n      ", comma);
        quote_piece(s, &t->pieces[id]);
        str_printf(s, ": %d", id);
        comma = ",";
    }
    str_add(s, "\n    },\n    \"merges\": [");
    size_t n;
    struct tokenizer_merge *merges = tokenizer_merges(t, &n);
    for (size_t i = 0; i < n; i++) {
        str_add(s, i ? ",\n      [" : "\n      [");
        quote_piece(s, &t->pieces[merges[i].left]);
        str_add(s, ", ");
        quote_piece(s, &t->pieces[merges[i].right]);
        str_add(s, "]");
    }
    mem_free(merges);
    str_add(s, "\n    ]\n  }\n}\n");
}

char *tokenizer_to_json(const struct tokenizer *t)
{
    if (t->source_json)
        return mem_copy(t->source_json);
    struct str s = {0};
    str_add(&s, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    write_added(t, &s);
    write_normalizer(t, &s);
    write_pre_tokenizer(t, &s);
    write_post_processor(t, &s);
    write_decoder(t, &s);
    write_model(t, &s);
    return str_take(&s);
}

char *tokenizer_config_to_json(const struct tokenizer *t, const char *chat_template)
{
    struct str s = {0};
    const char *names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    const int32_t ids[] = {t->bos, t->eos, t->pad, t->unk};
    str_printf(&s, "{\n  \"add_bos_token\": %s", yes_no(tokenizer_adds_bos(t)));
    for (int i = 0; i < 4; i++) {
        if (ids[i] < 0 || !t->pieces[ids[i]].flags)
            continue;
        str_printf(&s, ",\n  \"%s\": ", names[i]);
        quote_piece(&s, &t->pieces[ids[i]]);
    }
    if (chat_template) {
        str_add(&s, ",\n  \"chat_template\": ");
        json_quote(&s, chat_template, strlen(chat_template));
    }
    str_add(&s, ",\n  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": "
                "\"PreTrainedTokenizerFast\"\n}\n");
    return str_take(&s);
}
