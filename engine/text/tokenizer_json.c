/* tokenizer_json.c - reads a tokenizer.json (and the names of special tokens from
 * tokenizer_config.json).
 *
 * Every component is either understood wholly or refused by name: a part ignored would give other
 * ids without anyone noticing.
 */
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>

enum { RULES_MAX = 16, RULE_TEXT_MAX = 64, GROWTH_MAX = 64 };

static bool unsupported(struct gm_error *err, const char *part, const char *what)
{
    return error_set(err, GM_E_UNSUPPORTED, "%s \"%.80s\" is not supported", part, what);
}

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
}

static bool is_on(const json_t *part, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(part, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

/* ---- model ---- */

static bool read_vocab(struct tokenizer *t, const json_t *vocab, struct gm_error *err)
{
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)vocab, text, id)
    {
        if (!json_is_integer(id))
            return error_set(err, GM_E_INPUT, "model.vocab: the id of \"%.40s\" is not an integer",
                             text);
        json_int_t value = json_integer_value(id);
        if (value < 0 || value >= PIECES_MAX)
            return error_set(err, GM_E_INPUT, "model.vocab: id %lld of \"%.40s\" is not in 0..%d",
                             (long long)value, text, PIECES_MAX - 1);
        if (!tokenizer_add_piece(t, (int32_t)value, text, strlen(text), PIECE_MODEL, err))
            return error_context(err, "model.vocab");
    }
    return true;
}

static bool add_merge(struct tokenizer *t, size_t rank, const char *a, size_t a_len, const char *b,
                      size_t b_len, struct str *both, struct gm_error *err)
{
    str_clear(both);
    str_add_n(both, a, a_len);
    str_add_n(both, b, b_len);
    int32_t left = piece_map_find(&t->ids, a, a_len), right = piece_map_find(&t->ids, b, b_len);
    int32_t id = piece_map_find(&t->ids, both->data, both->len);
    if (left < 0 || right < 0 || id < 0)
        return error_set(err, GM_E_INPUT,
                         "model.merges[%zu]: \"%.40s\" is no piece of the vocabulary", rank,
                         left < 0    ? a
                         : right < 0 ? b
                                     : both->data);
    pair_map_set(&t->merges, left, right, (uint32_t)rank, id);
    return true;
}

static bool read_merges(struct tokenizer *t, const json_t *merges, struct gm_error *err)
{
    struct str both = {0};
    bool ok = true;
    size_t n = json_array_size(merges);
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *m = json_array_get(merges, i);
        if (json_is_string(m)) {
            const char *text = json_string_value(m), *gap = *text ? strchr(text + 1, ' ') : NULL;
            if (!gap || !gap[1])
                ok = error_set(err, GM_E_INPUT, "model.merges[%zu]: \"%.40s\" is not two pieces", i,
                               text);
            else {
                char *left = mem_copy_n(text, (size_t)(gap - text));
                ok = add_merge(t, i, left, (size_t)(gap - text), gap + 1, strlen(gap + 1), &both,
                               err);
                mem_free(left);
            }
        } else {
            const char *a = json_string_value(json_array_get(m, 0)),
                       *b = json_string_value(json_array_get(m, 1));
            if (!a || !b || json_array_size(m) != 2)
                ok = error_set(err, GM_E_INPUT, "model.merges[%zu] is not two pieces", i);
            else
                ok = add_merge(t, i, a, strlen(a), b, strlen(b), &both, err);
        }
    }
    str_free(&both);
    return ok;
}

static bool read_model(struct tokenizer *t, const json_t *root, struct gm_error *err)
{
    const json_t *model, *vocab, *merges;
    const char *unk = NULL;
    double dropout = 0;
    if (!json_get_object(root, "model", REQUIRED, &model, err))
        return false;
    const char *type = type_of(model);
    if (*type && strcmp(type, "BPE") != 0)
        return error_set(err, GM_E_UNSUPPORTED,
                         "model \"%.40s\" is not supported, only BPE is (take a model with a BPE tokenizer)", type);
    if (!json_get_object(model, "vocab", REQUIRED, &vocab, err) ||
        !json_get_array(model, "merges", REQUIRED, &merges, err) ||
        !json_get_string(model, "unk_token", OPTIONAL, &unk, err) ||
        !json_get_double(model, "dropout", OPTIONAL, 0, 1, &dropout, err) ||
        !json_get_bool(model, "byte_fallback", OPTIONAL, &t->byte_fallback, err) ||
        !json_get_bool(model, "fuse_unk", OPTIONAL, &t->fuse_unk, err) ||
        !json_get_bool(model, "ignore_merges", OPTIONAL, &t->ignore_merges, err))
        return error_context(err, "model");
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "end_of_word_suffix" : "continuing_subword_prefix";
        const char *value = json_string_value(json_object_get(model, key));
        if (value && *value)
            return unsupported(err, key, value);
    }
    if (dropout > 0)
        return error_set(err, GM_E_UNSUPPORTED, "model.dropout %g is not supported", dropout);
    if (t->byte_level && t->byte_fallback)
        return unsupported(err, "model", "ByteLevel with byte_fallback");
    if (!read_vocab(t, vocab, err) || !read_merges(t, merges, err))
        return false;
    if (unk) {
        t->unk = tokenizer_id_of(t, unk);
        if (t->unk < 0)
            return error_set(err, GM_E_INPUT,
                             "model.unk_token \"%.40s\" is no piece of the vocabulary", unk);
    }
    return true;
}

uint8_t tokenizer_added_flags(const json_t *a)
{
    bool special = is_on(a, "special", false);
    return (uint8_t)(PIECE_ADDED | (special ? PIECE_SPECIAL : 0) | (is_on(a, "lstrip", false) ? PIECE_LSTRIP : 0) |
                     (is_on(a, "rstrip", false) ? PIECE_RSTRIP : 0) | (is_on(a, "single_word", false) ? PIECE_WORD : 0) |
                     (is_on(a, "normalized", !special) ? PIECE_NORMALIZED : 0));
}

static bool read_added(struct tokenizer *t, const json_t *root, struct gm_error *err)
{
    const json_t *added = NULL;
    if (!json_get_array(root, "added_tokens", OPTIONAL, &added, err))
        return false;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *a = json_array_get(added, i);
        const char *text = NULL;
        int64_t id = -1;
        if (!json_get_string(a, "content", REQUIRED, &text, err) ||
            !json_get_int(a, "id", REQUIRED, 0, PIECES_MAX - 1, &id, err))
            return error_context(err, "added_tokens[%zu]", i);
        uint8_t flags = tokenizer_added_flags(a);
        int32_t known = tokenizer_id_of(t, text); /* a piece of the model keeps its id */
        if (known >= 0)
            t->pieces[known].flags |= flags;
        else if (!tokenizer_add_piece(t, (int32_t)id, text, strlen(text), flags, err))
            return error_context(err, "added_tokens[%zu]", i);
    }
    return true;
}

/* ---- normalizer, pre_tokenizer ---- */

/* A pattern's text: {"String": ...} or {"Regex": ...}, or, as old files have it, a string. */
static bool read_pattern(const json_t *part, const char *where, const char **text, bool *regex, struct gm_error *err)
{
    const json_t *pattern = json_object_get(part, "pattern"), *as_text = json_object_get(pattern, "String"),
                 *as_regex = json_object_get(pattern, "Regex");
    *regex = json_is_string(as_regex);
    *text = json_string_value(*regex ? as_regex : as_text ? as_text : pattern);
    if (!*text || !**text)
        return unsupported(err, where, "without a pattern");
    if (strlen(*text) > PIECE_LENGTH_MAX)
        return unsupported(err, where, "with a long pattern");
    return true;
}

/* How many times as long these make a text: each of them little, perhaps, but one does it to what the other made. */
static size_t growth(const struct text_rule *rules, int n)
{
    size_t all = 1;
    for (int i = 0; i < n && all <= GROWTH_MAX; i++) {
        size_t from = rules[i].regex ? 1 : rules[i].from_len;
        all *= rules[i].kind == RULE_REPLACE && rules[i].to_len > from ? (rules[i].to_len + from - 1) / from : 1;
    }
    return all;
}

/* The parts of a Sequence, or the one part; NULL behind the last. */
static const json_t *part_at(const json_t *whole, const char *list, size_t i)
{
    if (strcmp(type_of(whole), "Sequence") == 0)
        return json_array_get(json_object_get(whole, list), i);
    return i == 0 ? whole : NULL;
}

static bool read_replace(struct text_rule **rules, int *n, const json_t *part, const char *where,
                         struct gm_error *err)
{
    const char *from, *to = json_string_value(json_object_get(part, "content"));
    bool regex;
    if (!read_pattern(part, where, &from, &regex, err))
        return false;
    if (!to || strlen(to) > RULE_TEXT_MAX)
        return unsupported(err, where, "Replace without a short content");
    struct text_rule *r = tokenizer_add_rule(rules, n, RULE_REPLACE, from, strlen(from), to, strlen(to));
    if (regex && !(r->regex = regex_compile(from, strlen(from), err)))
        return error_context(err, "%s Replace", where);
    if (growth(*rules, *n) > GROWTH_MAX)
        return unsupported(err, where, "Replace that makes texts more than 64 times as long");
    return !regex || !regex_may_be_empty(r->regex) || unsupported(err, where, "Replace with a pattern that may match nothing");
}

static bool read_normalizer(struct tokenizer *t, const json_t *whole, struct gm_error *err)
{
    const json_t *part;
    for (size_t i = 0; !json_is_null(whole) && (part = part_at(whole, "normalizers", i)); i++) {
        const char *type = type_of(part);
        if (strcmp(type, "Prepend") == 0) {
            const char *text = json_string_value(json_object_get(part, "prepend"));
            if (!text || strlen(text) > RULE_TEXT_MAX)
                return unsupported(err, "normalizer", "Prepend without a short text");
            tokenizer_add_rule(&t->rules, &t->n_rules, RULE_PREPEND, "", 0, text, strlen(text));
        } else if (strcmp(type, "Replace") == 0) {
            if (!read_replace(&t->rules, &t->n_rules, part, "normalizer", err))
                return false;
        } else if (strcmp(type, "NFC") == 0 || strcmp(type, "NFD") == 0) {
            tokenizer_add_rule(&t->rules, &t->n_rules, type[2] == 'C' ? RULE_NFC : RULE_NFD, "", 0, "", 0);
        } else if (strcmp(type, "Strip") == 0) {
            if (is_on(part, "strip_left", true))
                tokenizer_add_rule(&t->rules, &t->n_rules, RULE_STRIP_LEFT, "", 0, "", 0);
            if (is_on(part, "strip_right", true))
                tokenizer_add_rule(&t->rules, &t->n_rules, RULE_STRIP_RIGHT, "", 0, "", 0);
        } else {
            return unsupported(err, "normalizer", type);
        }
        if (t->n_rules > RULES_MAX)
            return error_set(err, GM_E_UNSUPPORTED, "normalizer has more than %d parts", RULES_MAX);
    }
    return true;
}

static bool read_behavior(const json_t *part, enum split_behavior *behavior, struct gm_error *err)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name = json_string_value(json_object_get(part, "behavior"));
    for (int i = 0; name && i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *behavior = (enum split_behavior)i;
            return true;
        }
    }
    return unsupported(err, "pre_tokenizer with the behavior", name ? name : "");
}

static bool read_split(struct tokenizer *t, const json_t *part, struct gm_error *err)
{
    const char *pattern;
    bool regex;
    enum split_behavior behavior = SPLIT_ISOLATED;
    return read_pattern(part, "pre_tokenizer Split", &pattern, &regex, err) && read_behavior(part, &behavior, err) &&
           (tokenizer_add_stage(t, regex ? MATCH_REGEX : MATCH_TEXT, behavior, is_on(part, "invert", false), pattern, strlen(pattern), err) ||
            error_context(err, "pre_tokenizer Split"));
}

/* Metaspace and ByteLevel may put a space in front of the text: here only as the first stage, where that is a rewriting of
 * the whole. */
static bool add_front(struct tokenizer *t, const char *space, int when, bool metaspace, const char *type, struct gm_error *err)
{
    if (t->n_stages > 0 || t->front.space)
        return error_set(err, GM_E_UNSUPPORTED, "pre_tokenizer \"%.40s\" that rewrites the text behind another one is not supported", type);
    t->front.when = when;
    t->front.metaspace = metaspace;
    t->front.space = mem_copy(space);
    t->front.len = strlen(space);
    return true;
}

static bool read_metaspace(const json_t *part, const char **space, int *when, struct gm_error *err)
{
    const char *scheme = json_string_value(json_object_get(part, "prepend_scheme"));
    *space = json_string_value(json_object_get(part, "replacement"));
    if (!*space || !**space || strlen(*space) > 4)
        return unsupported(err, "Metaspace", "without a replacement");
    if (!scheme)
        *when = is_on(part, "add_prefix_space", true) ? FRONT_ALWAYS : FRONT_NEVER;
    else if (strcmp(scheme, "always") == 0)
        *when = FRONT_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        *when = FRONT_FIRST;
    else if (strcmp(scheme, "never") == 0)
        *when = FRONT_NEVER;
    else
        return unsupported(err, "Metaspace prepend_scheme", scheme);
    return true;
}

static bool read_byte_level(struct tokenizer *t, const json_t *part, struct gm_error *err)
{
    t->byte_level = true;
    if (is_on(part, "add_prefix_space", true) && !add_front(t, " ", FRONT_ALWAYS, false, "ByteLevel", err))
        return false;
    return !is_on(part, "use_regex", true) || tokenizer_add_stage(t, MATCH_GPT2, SPLIT_ISOLATED, false, "", 0, err);
}

static bool read_pre_tokenizer(struct tokenizer *t, const json_t *whole, struct gm_error *err)
{
    const json_t *part;
    for (size_t i = 0; !json_is_null(whole) && (part = part_at(whole, "pretokenizers", i)); i++) {
        const char *type = type_of(part), *space;
        if (t->byte_level)
            return unsupported(err, "pre_tokenizer behind ByteLevel", type);
        bool ok;
        int when;
        if (strcmp(type, "Split") == 0)
            ok = read_split(t, part, err);
        else if (strcmp(type, "Digits") == 0)
            ok = tokenizer_add_stage(t, MATCH_NUMERIC, is_on(part, "individual_digits", false) ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false, "", 0,
                                     err);
        else if (strcmp(type, "ByteLevel") == 0)
            ok = read_byte_level(t, part, err);
        else if (strcmp(type, "Metaspace") == 0)
            ok = read_metaspace(part, &space, &when, err) && add_front(t, space, when, true, type, err) &&
                 (!is_on(part, "split", true) || tokenizer_add_stage(t, MATCH_TEXT, SPLIT_WITH_NEXT, false, space, strlen(space), err));
        else if (strcmp(type, "Whitespace") == 0)
            ok = tokenizer_add_stage(t, MATCH_WORD, SPLIT_REMOVED, true, "", 0, err);
        else if (strcmp(type, "WhitespaceSplit") == 0)
            ok = tokenizer_add_stage(t, MATCH_SPACE, SPLIT_REMOVED, false, "", 0, err);
        else
            ok = unsupported(err, "pre_tokenizer", type);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- decoder, post_processor ---- */

static bool read_decoder(struct tokenizer *t, const json_t *whole, struct gm_error *err)
{
    if (!json_is_object(whole))
        return error_set(err, GM_E_UNSUPPORTED, "there is no decoder");
    bool fused = false, byte_level = false;
    const json_t *part;
    for (size_t i = 0; (part = part_at(whole, "decoders", i)); i++) {
        const char *type = type_of(part);
        if (strcmp(type, "ByteLevel") == 0 && i == 0) {
            byte_level = true;
        } else if (strcmp(type, "Replace") == 0 && !t->decode_bytes && !fused && !byte_level &&
                   t->n_decode_rules < RULES_MAX) {
            if (!read_replace(&t->decode_rules, &t->n_decode_rules, part, "decoder", err))
                return false;
            if (t->decode_rules[t->n_decode_rules - 1].regex)
                return unsupported(err, "decoder", "Replace with a Regex");
        } else if (strcmp(type, "Metaspace") == 0 && i == 0) {
            const char *space;
            int when;
            if (!read_metaspace(part, &space, &when, err))
                return false;
            tokenizer_add_rule(&t->decode_rules, &t->n_decode_rules, RULE_REPLACE, space, strlen(space), " ", 1);
            t->decode_drops_first = when != FRONT_NEVER;
        } else if (strcmp(type, "ByteFallback") == 0 && !fused && !byte_level) {
            t->decode_bytes = true;
        } else if (strcmp(type, "Fuse") == 0) {
            fused = true;
        } else if (strcmp(type, "Strip") == 0 && fused && !t->decode_strip_count) {
            const char *what = json_string_value(json_object_get(part, "content"));
            int64_t start = 0, stop = 0;
            if (!json_get_int(part, "start", OPTIONAL, 0, 1 << 20, &start, err) ||
                !json_get_int(part, "stop", OPTIONAL, 0, 1 << 20, &stop, err))
                return error_context(err, "decoder Strip");
            if (!what || strlen(what) != 1 || stop != 0)
                return unsupported(err, "decoder", "Strip at the end, or of more than one byte");
            t->decode_strip = *what;
            t->decode_strip_count = (int)start;
        } else {
            return unsupported(err, "decoder (at this place)", type);
        }
    }
    if (byte_level != t->byte_level)
        return error_set(err, GM_E_UNSUPPORTED,
                         "pre_tokenizer and decoder do not agree: only one of them is ByteLevel");
    return true;
}

static bool add_template_ids(struct tokenizer *t, const json_t *post, const char *name, bool before,
                             struct gm_error *err)
{
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(post, "special_tokens"), name), "ids");
    size_t n = json_array_size(ids);
    if (n == 0 || n > 64)
        return error_set(err, GM_E_INPUT, "post_processor: special token \"%.40s\" has no ids",
                         name);
    for (size_t i = 0; i < n; i++) {
        json_int_t id = json_is_integer(json_array_get(ids, i))
                            ? json_integer_value(json_array_get(ids, i))
                            : -1;
        if (id < 0 || id >= t->vocab_size || !t->pieces[id].flags)
            return error_set(err, GM_E_INPUT, "post_processor: id %lld of \"%.40s\" has no piece",
                             (long long)id, name);
        tokenizer_add_id(before ? &t->prefix : &t->suffix, before ? &t->n_prefix : &t->n_suffix, (int32_t)id);
    }
    return true;
}

static bool read_post_processor(struct tokenizer *t, const json_t *whole, struct gm_error *err)
{
    const json_t *part;
    bool templated = false;
    for (size_t i = 0; json_is_object(whole) && (part = part_at(whole, "processors", i)); i++) {
        const char *type = type_of(part);
        if (strcmp(type, "ByteLevel") == 0)
            continue; /* moves offsets only */
        if (strcmp(type, "TemplateProcessing") != 0 || templated)
            return unsupported(err, "post_processor", type);
        templated = true;
        const json_t *single;
        if (!json_get_array(part, "single", REQUIRED, &single, err))
            return error_context(err, "post_processor");
        bool text_seen = false;
        if (json_array_size(single) > 64)
            return error_set(err, GM_E_UNSUPPORTED, "post_processor has more than 64 parts");
        for (size_t k = 0; k < json_array_size(single); k++) {
            const json_t *item = json_array_get(single, k);
            const char *name =
                json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
            if (name) {
                if (!add_template_ids(t, part, name, !text_seen, err))
                    return false;
            } else if (json_object_get(item, "Sequence") && !text_seen) {
                text_seen = true;
            } else {
                return unsupported(err, "post_processor", "TemplateProcessing with two texts");
            }
        }
        if (!text_seen)
            return unsupported(err, "post_processor", "TemplateProcessing without the text");
    }
    return true;
}

/* ---- tokenizer_config.json ---- */

static void take_named(const struct tokenizer *t, const json_t *config, const char *key, int32_t *id)
{
    const json_t *v = json_object_get(config, key);
    const char *text =
        json_is_object(v) ? json_string_value(json_object_get(v, "content")) : json_string_value(v);
    if (text)
        *id = tokenizer_id_of(t, text);
}

void tokenizer_named_tokens(struct tokenizer *t, const json_t *config)
{
    take_named(t, config, "bos_token", &t->bos);
    take_named(t, config, "eos_token", &t->eos);
    take_named(t, config, "pad_token", &t->pad);
}

static bool read_config(struct tokenizer *t, const char *text, struct gm_error *err)
{
    json_t *config = json_parse(text, strlen(text), "tokenizer_config.json", err);
    if (config)
        tokenizer_named_tokens(t, config);
    json_decref(config);
    return config;
}

struct tokenizer *tokenizer_open_json(const char *json_text, size_t n, const char *config_text,
                                      const char *label, struct gm_error *err)
{
    json_t *root = json_parse(json_text, n, label, err);
    if (!root)
        return NULL;
    struct tokenizer *t = tokenizer_new();
    bool ok = json_is_object(root) || error_set(err, GM_E_INPUT, "it is not a JSON object");
    ok = ok && read_normalizer(t, json_object_get(root, "normalizer"), err);
    ok = ok && read_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), err);
    ok = ok && read_decoder(t, json_object_get(root, "decoder"), err);
    ok = ok && read_model(t, root, err) && read_added(t, root, err);
    ok = ok && read_post_processor(t, json_object_get(root, "post_processor"), err);
    ok = ok && (!config_text || read_config(t, config_text, err)) && tokenizer_finish(t, err);
    json_decref(root);
    if (!ok) {
        error_context(err, "read %s", label);
        tokenizer_free(t);
        return NULL;
    }
    t->source_json = mem_copy_n(json_text, n);
    return t;
}
