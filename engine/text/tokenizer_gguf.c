/* tokenizer_gguf.c - the vocabulary in the metadata of a GGUF: "gpt2" (byte-level, merges), "llama"
 * (SentencePiece, scores) and "gemma4" (SentencePiece, merges). */
#include "engine/base/mem.h"
#include "engine/format/gguf.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>
#include <strings.h>

/* llama.cpp's names for pre-tokenisers, and what they do. Where it says "default" it means a list of its own. */
static const struct {
    const char *name;
    bool digits, nfc, ignore_merges, add_bos;
    const char *patterns[4];
} known_pre[] = {
    {"gpt-2", false, false, false, false, {STAGE_PATTERN_GPT2}},
    {"phi-2", false, false, false, false, {STAGE_PATTERN_GPT2}},
    {"smollm", true, false, false, false, {STAGE_PATTERN_GPT2}},
    {"starcoder", true, false, false, false, {STAGE_PATTERN_GPT2}},
    {"refact", true, false, false, false, {STAGE_PATTERN_GPT2}},
    {"command-r", true, false, false, false, {STAGE_PATTERN_GPT2}},
    {"llama-bpe", false, false, true, true, {STAGE_PATTERN_LLAMA3}},
    {"llama3", false, false, true, true, {STAGE_PATTERN_LLAMA3}},
    {"llama-v3", false, false, true, true, {STAGE_PATTERN_LLAMA3}},
    {"smaug-bpe", false, false, false, false, {STAGE_PATTERN_LLAMA3}},
    {"dbrx", false, false, false, false, {STAGE_PATTERN_LLAMA3}},
    {"qwen2", false, true, false, false, {STAGE_PATTERN_QWEN2}}, /* Qwen's own files normalise; llama.cpp does not */
    {"deepseek-r1-qwen", false, false, false, false, {STAGE_PATTERN_QWEN2}},
    {"default", false, false, false, false,
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", STAGE_PATTERN_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

static bool set_pre(struct tokenizer *t, struct gguf_text pre, bool *add_bos, struct gm_error *err)
{
    size_t k = 0, n = sizeof known_pre / sizeof known_pre[0];
    while (k < n && !gguf_text_is(pre, known_pre[k].name))
        k++;
    if (k == n)
        return error_set(err, GM_E_UNSUPPORTED, "tokenizer.ggml.pre \"%.*s\" is not supported",
                         (int)(pre.len < 80 ? pre.len : 80), pre.data);
    t->byte_level = true;
    t->ignore_merges = known_pre[k].ignore_merges;
    *add_bos = known_pre[k].add_bos;
    if (known_pre[k].nfc)
        tokenizer_add_rule(&t->rules, &t->n_rules, RULE_NFC, "", 0, "", 0);
    bool ok = !known_pre[k].digits || tokenizer_add_stage(t, MATCH_NUMERIC, SPLIT_ISOLATED, false, "", 0, err);
    for (int i = 0; ok && i < 4 && known_pre[k].patterns[i]; i++)
        ok = tokenizer_add_stage(t, MATCH_REGEX, SPLIT_ISOLATED, false, known_pre[k].patterns[i], strlen(known_pre[k].patterns[i]), err);
    return ok;
}

/* llama.cpp strips white space behind special tokens where the model's name says Phi-3. */
static bool strip_like_phi3(struct tokenizer *t, const struct gguf *g, struct gm_error *err)
{
    struct gguf_text name = {"", 0};
    bool phi3 = false;
    if (!gguf_string(g, "general.name", OPTIONAL, &name, err))
        return false;
    for (size_t i = 0; i + 4 <= name.len; i++)
        phi3 = phi3 || strncasecmp(name.data + i, "phi3", 4) == 0 || (i + 5 <= name.len && strncasecmp(name.data + i, "phi-3", 5) == 0);
    for (int32_t id = 0; phi3 && id < t->vocab_size; id++) {
        struct piece *p = &t->pieces[id];
        if (p->flags & PIECE_ADDED && strcmp(p->text, "<unk>") != 0 && strcmp(p->text, "<s>") != 0 && strcmp(p->text, "<|endoftext|>") != 0)
            p->flags |= PIECE_RSTRIP;
    }
    return true;
}

static bool read_pieces(struct tokenizer *t, const struct gguf *g, struct gm_error *err)
{
    const struct gguf_text *texts = NULL;
    int32_t *types = NULL;
    uint64_t n = 0, n_types = 0;
    bool ok = gguf_array_string(g, "tokenizer.ggml.tokens", REQUIRED, &texts, &n, err) &&
              gguf_array_i32(g, "tokenizer.ggml.token_type", OPTIONAL, &types, &n_types, err);
    if (ok && n > PIECES_MAX)
        ok = error_set(err, GM_E_INPUT, "tokenizer.ggml.tokens has %llu pieces, more than %d",
                       (unsigned long long)n, PIECES_MAX);
    if (ok && types && n_types != n)
        ok = error_set(err, GM_E_INPUT,
                       "tokenizer.ggml.token_type has %llu entries, tokenizer.ggml.tokens %llu",
                       (unsigned long long)n_types, (unsigned long long)n);
    for (uint64_t i = 0; ok && i < n; i++) {
        uint8_t flags = 0;
        switch (types ? types[i] : TYPE_NORMAL) {
        case TYPE_NORMAL:
            flags = PIECE_MODEL;
            break;
        case TYPE_UNKNOWN:
        case TYPE_CONTROL:
            flags = PIECE_ADDED | PIECE_SPECIAL;
            break;
        case TYPE_USER_DEFINED:
            flags = PIECE_ADDED;
            break;
        default:
            break; /* unused, bytes: text never becomes them by merging */
        }
        if (types && types[i] == TYPE_UNKNOWN && t->unk < 0)
            t->unk = (int32_t)i;
        ok = tokenizer_add_piece(t, (int32_t)i, texts[i].data, texts[i].len, flags, err) ||
             error_context(err, "tokenizer.ggml.tokens");
    }
    mem_free(types);
    return ok;
}

static bool read_merges(struct tokenizer *t, const struct gguf *g, struct gm_error *err)
{
    const struct gguf_text *merges = NULL;
    uint64_t n = 0;
    if (!gguf_array_string(g, "tokenizer.ggml.merges", REQUIRED, &merges, &n, err))
        return false;
    if (n > UINT32_MAX)
        return error_set(err, GM_E_INPUT, "tokenizer.ggml.merges has too many entries");
    struct str both = {0};
    bool ok = true;
    for (uint64_t i = 0; ok && i < n; i++) {
        struct gguf_text m = merges[i];
        const char *gap = m.len > 2 ? memchr(m.data + 1, ' ', m.len - 2) : NULL;
        size_t left_len = gap ? (size_t)(gap - m.data) : 0,
               right_len = gap ? m.len - left_len - 1 : 0;
        int32_t left = -1, right = -1, id = -1;
        if (gap) {
            str_clear(&both);
            str_add_n(&both, m.data, left_len);
            str_add_n(&both, gap + 1, right_len);
            left = piece_map_find(&t->ids, m.data, left_len);
            right = piece_map_find(&t->ids, gap + 1, right_len);
            id = piece_map_find(&t->ids, both.data, both.len);
        }
        if (left < 0 || right < 0 || id < 0)
            ok = error_set(
                err, GM_E_INPUT,
                "tokenizer.ggml.merges[%llu]: \"%.*s\" is not two pieces that make a third",
                (unsigned long long)i, (int)(m.len < 80 ? m.len : 80), m.data);
        else
            pair_map_set(&t->merges, left, right, (uint32_t)i, id);
    }
    str_free(&both);
    return ok;
}

static bool read_scores(struct tokenizer *t, const struct gguf *g, struct gm_error *err)
{
    uint64_t n = 0;
    if (!gguf_array_f32(g, "tokenizer.ggml.scores", REQUIRED, &t->scores, &n, err))
        return false;
    if (n != (uint64_t)t->vocab_size)
        return error_set(err, GM_E_INPUT,
                         "tokenizer.ggml.scores has %llu entries, tokenizer.ggml.tokens %d",
                         (unsigned long long)n, t->vocab_size);
    return tokenizer_rank_scores(t, (size_t)n, err);
}

static bool read_id(const struct tokenizer *t, const struct gguf *g, const char *key, int32_t *id,
                    struct gm_error *err)
{
    int64_t value = *id;
    if (!gguf_i64(g, key, OPTIONAL, -1, UINT32_MAX, &value, err))
        return false;
    if (value >= t->vocab_size && value != UINT32_MAX)
        return error_set(err, GM_E_INPUT, "%s: id %lld is not below %d", key, (long long)value,
                         t->vocab_size);
    *id = value == UINT32_MAX ? -1 : (int32_t)value;
    return true;
}

static bool read_ids(struct tokenizer *t, const struct gguf *g, bool add_bos, struct gm_error *err)
{
    bool add_eos = false;
    if (!read_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err) ||
        !read_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err) ||
        !read_id(t, g, "tokenizer.ggml.padding_token_id", &t->pad, err) ||
        !read_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unk, err) ||
        !gguf_bool(g, "tokenizer.ggml.add_bos_token", OPTIONAL, &add_bos, err) ||
        !gguf_bool(g, "tokenizer.ggml.add_eos_token", OPTIONAL, &add_eos, err))
        return false;
    tokenizer_add_around(t, add_bos, add_eos);
    if (t->byte_level)
        t->unk = -1; /* the id is named there out of habit; bytes without a piece vanish */
    return true;
}

bool tokenizer_load_gguf(struct tokenizer *t, const struct gguf *g, struct gm_error *err)
{
    struct gguf_text model, pre = {"default", 7};
    if (!gguf_string(g, "tokenizer.ggml.model", REQUIRED, &model, err) ||
        !gguf_string(g, "tokenizer.ggml.pre", OPTIONAL, &pre, err))
        return false;
    if (gguf_text_is(model, "gpt2")) {
        bool add_bos = false;
        return set_pre(t, pre, &add_bos, err) && read_pieces(t, g, err) && read_merges(t, g, err) && read_ids(t, g, add_bos, err) &&
               strip_like_phi3(t, g, err);
    }
    if (gguf_text_is(model, "gemma4")) { /* marks for spaces, but merges; lines apart */
        static const char lines[] = "[^\\n]+|[\\n]+";
        t->byte_fallback = t->decode_bytes = t->fuse_unk = true;
        tokenizer_sentencepiece_rules(t, false);
        return tokenizer_add_stage(t, MATCH_REGEX, SPLIT_ISOLATED, false, lines, sizeof lines - 1, err) && read_pieces(t, g, err) &&
               read_merges(t, g, err) && read_ids(t, g, true, err);
    }
    if (!gguf_text_is(model, "llama"))
        return error_set(err, GM_E_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported",
                         (int)(model.len < 80 ? model.len : 80), model.data);
    bool space = true;
    if (!gguf_bool(g, "tokenizer.ggml.add_space_prefix", OPTIONAL, &space, err))
        return false;
    t->by_scores = t->byte_fallback = t->decode_bytes = t->fuse_unk = true;
    tokenizer_sentencepiece_rules(t, space);
    return read_pieces(t, g, err) && read_scores(t, g, err) && read_ids(t, g, true, err) && strip_like_phi3(t, g, err);
}
