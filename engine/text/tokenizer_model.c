/* tokenizer_model.c - reads a tokenizer.model: SentencePiece's protobuf (sentencepiece_model.proto), of the BPE kind.
 *
 * The ids are those that SentencePiece itself gives, with what a tokenizer needs beyond that: control pieces and the added
 * tokens of tokenizer_config.json are cut out of the text first. Pieces that a user defined are cut out of the normalised
 * text, the longest one first, as SentencePiece does it.
 */
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/text/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- protobuf: fields of a message, one after the other ---- */

struct proto {
    const unsigned char *p, *end;
    struct gm_error *err;
};

struct field {
    uint32_t number;
    enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire;
    uint64_t value; /* of WIRE_VARINT, WIRE_32 */
    const unsigned char *bytes;
    size_t len;
};

static bool damaged(struct proto *m, const char *what)
{
    return error_set(m->err, GM_E_INPUT, "tokenizer.model is damaged: %s", what);
}

static bool read_varint(struct proto *m, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (m->p == m->end)
            return damaged(m, "it ends within a number");
        unsigned char byte = *m->p++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return damaged(m, "a number has more than 64 bits");
}

/* The next field; false at the end or on an error (then err is set). Every length is checked against what is left. */
static bool next_field(struct proto *m, struct field *f)
{
    uint64_t key, len = 0;
    if (m->p == m->end || !read_varint(m, &key))
        return false;
    *f = (struct field){.number = (uint32_t)(key >> 3), .wire = key & 7};
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF)
        return damaged(m, "a field has no number");
    switch (f->wire) {
    case WIRE_VARINT:
        return read_varint(m, &f->value);
    case WIRE_64:
    case WIRE_32:
        len = f->wire == WIRE_32 ? 4 : 8;
        break;
    case WIRE_BYTES:
        if (!read_varint(m, &len))
            return false;
        break;
    default:
        return damaged(m, "a field of an unknown kind");
    }
    if (len > (size_t)(m->end - m->p))
        return damaged(m, "a field is longer than the file");
    f->bytes = m->p;
    f->len = (size_t)len;
    if (f->wire == WIRE_32) {
        uint32_t v = (uint32_t)m->p[0] | (uint32_t)m->p[1] << 8 | (uint32_t)m->p[2] << 16 | (uint32_t)m->p[3] << 24;
        f->value = v;
    }
    m->p += len;
    return true;
}

static struct proto inside(const struct field *f, struct gm_error *err)
{
    return (struct proto){f->bytes, f->bytes + f->len, err};
}

/* ---- the model ---- */

struct model {
    int64_t kind, unk, bos, eos, pad;
    bool suffix, byte_fallback;
    char normalizer[33];
    size_t charsmap;
    bool dummy_prefix, extra_spaces_removed, escaped;
    int32_t n_pieces;
    size_t cap_scores;
};

/* Turn marks are user-defined pieces in Gemma's files: without a tokenizer_config.json their names tell them. */
static bool is_mark(const char *text, size_t len)
{
    static const char *const names[] = {"<mask>", "[multimodal]", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0)
            return true;
    return false;
}

static bool read_piece(struct tokenizer *t, struct model *m, const struct field *field, struct gm_error *err)
{
    struct proto p = inside(field, err);
    struct field f;
    const char *text = "";
    size_t len = 0;
    uint32_t bits = 0;
    uint64_t type = TYPE_NORMAL;
    float score;
    while (next_field(&p, &f)) {
        if (f.number == 1 && f.wire == WIRE_BYTES) {
            text = (const char *)f.bytes;
            len = f.len;
        } else if (f.number == 2 && f.wire == WIRE_32) {
            bits = (uint32_t)f.value;
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            type = f.value;
        }
    }
    if (err->code != GM_OK)
        return false;
    if (m->n_pieces == PIECES_MAX)
        return error_set(err, GM_E_INPUT, "tokenizer.model has more than %d pieces", PIECES_MAX);
    memcpy(&score, &bits, sizeof score);
    if (score != score)
        return error_set(err, GM_E_INPUT, "piece %d has a score that is no number", m->n_pieces);
    uint8_t flags = 0;
    switch (type) {
    case TYPE_NORMAL:
        flags = PIECE_MODEL;
        break;
    case TYPE_UNKNOWN:
        m->unk = m->n_pieces;
        flags = PIECE_ADDED | PIECE_SPECIAL;
        break;
    case TYPE_CONTROL:
        flags = PIECE_ADDED | PIECE_SPECIAL;
        break;
    case TYPE_USER_DEFINED:
        flags = is_mark(text, len) ? PIECE_ADDED | PIECE_SPECIAL : PIECE_ADDED | PIECE_NORMALIZED;
        break;
    case TYPE_BYTE:
        m->byte_fallback = true;
        break;
    default:
        return error_set(err, GM_E_UNSUPPORTED, "piece %d is of type %llu, which is not supported", m->n_pieces, (unsigned long long)type);
    }
    t->scores = mem_room(t->scores, (size_t)m->n_pieces, &m->cap_scores, sizeof *t->scores);
    t->scores[m->n_pieces] = score;
    return tokenizer_add_piece(t, m->n_pieces++, text, len, flags, err);
}

static void read_trainer(struct model *m, const struct field *field, struct gm_error *err)
{
    struct proto p = inside(field, err);
    struct field f;
    while (next_field(&p, &f)) {
        if (f.wire != WIRE_VARINT)
            continue;
        int32_t value = (int32_t)(uint32_t)f.value;
        switch (f.number) {
        case 3: m->kind = value; break;
        case 24: m->suffix = f.value; break;
        case 41: m->bos = value; break;
        case 42: m->eos = value; break;
        case 43: m->pad = value; break;
        }
    }
}

static void read_normalizer_spec(struct model *m, const struct field *field, struct gm_error *err)
{
    struct proto p = inside(field, err);
    struct field f;
    while (next_field(&p, &f)) {
        if (f.number == 1 && f.wire == WIRE_BYTES && f.len < sizeof m->normalizer) {
            memcpy(m->normalizer, f.bytes, f.len);
            m->normalizer[f.len] = '\0';
        } else if (f.number == 2 && f.wire == WIRE_BYTES) {
            m->charsmap = f.len;
        } else if (f.wire == WIRE_VARINT && f.number == 3) {
            m->dummy_prefix = f.value;
        } else if (f.wire == WIRE_VARINT && f.number == 4) {
            m->extra_spaces_removed = f.value;
        } else if (f.wire == WIRE_VARINT && f.number == 5) {
            m->escaped = f.value;
        }
    }
}

/* What changes ids and is not done here is refused, by its name in the file. */
static bool check_supported(const struct model *m, struct gm_error *err)
{
    static const char *const kinds[] = {"?", "unigram", "bpe", "word", "char"};
    const char *what = m->charsmap                ? "normalizer_spec with a precompiled_charsmap"
                       : m->extra_spaces_removed  ? "normalizer_spec.remove_extra_whitespaces"
                       : !m->escaped              ? "normalizer_spec without escape_whitespaces"
                       : m->suffix                ? "trainer_spec.treat_whitespace_as_suffix"
                                                  : NULL;
    if (m->kind != 2)
        return error_set(err, GM_E_UNSUPPORTED, "tokenizer.model of the %s kind is not supported, only bpe is (take a folder with a tokenizer.json)",
                         kinds[m->kind >= 1 && m->kind <= 4 ? m->kind : 0]);
    if (what)
        return error_set(err, GM_E_UNSUPPORTED, "%s is not supported%s%.32s (take a folder with a tokenizer.json)", what,
                         m->normalizer[0] ? ": " : "", m->normalizer);
    return true;
}

static bool in_vocabulary(const struct tokenizer *t, int64_t id)
{
    return id >= 0 && id < t->vocab_size;
}

/* ---- tokenizer_config.json ---- */

/* {"ID": {"content", "lstrip", ...}}: special ones are cut out of the text as it stands; of the others, those that are
 * pieces already stay what SentencePiece makes of them. */
static bool read_added_decoder(struct tokenizer *t, const json_t *config, struct gm_error *err)
{
    const json_t *list = NULL;
    if (!json_get_object(config, "added_tokens_decoder", OPTIONAL, &list, err))
        return false;
    const char *key;
    json_t *a;
    json_object_foreach((json_t *)list, key, a)
    {
        const char *text = NULL;
        char *end;
        long id = strtol(key, &end, 10);
        if (*end || end == key || id < 0 || id >= PIECES_MAX)
            return error_set(err, GM_E_INPUT, "added_tokens_decoder: \"%.40s\" is no id", key);
        if (!json_get_string(a, "content", REQUIRED, &text, err))
            return error_context(err, "added_tokens_decoder %ld", id);
        uint8_t flags = tokenizer_added_flags(a);
        int32_t known = tokenizer_id_of(t, text);
        if (known < 0) {
            if (!tokenizer_add_piece(t, (int32_t)id, text, strlen(text), flags, err))
                return error_context(err, "added_tokens_decoder");
        } else if (flags & PIECE_SPECIAL) {
            uint8_t *have = &t->pieces[known].flags;
            *have = (uint8_t)((*have & ~(PIECE_NORMALIZED | PIECE_MODEL)) | flags);
        } else if (!(t->pieces[known].flags & PIECE_ADDED)) {
            t->pieces[known].flags |= flags;
        }
    }
    return true;
}

/* err: not NULL, and without an error so far. */
static bool load(struct tokenizer *t, const char *bytes, size_t n, const char *config_text, struct gm_error *err)
{
    struct model m = {.kind = 1, .bos = 1, .eos = 2, .pad = -1, .unk = -1, .dummy_prefix = true, .extra_spaces_removed = true, .escaped = true};
    struct proto file = {(const unsigned char *)bytes, (const unsigned char *)bytes + n, err};
    struct field f;
    while (next_field(&file, &f)) {
        if (f.wire != WIRE_BYTES)
            continue;
        if (f.number == 1 && !read_piece(t, &m, &f, err))
            return false;
        if (f.number == 2)
            read_trainer(&m, &f, err);
        if (f.number == 3)
            read_normalizer_spec(&m, &f, err);
        if (err->code != GM_OK)
            return false;
    }
    if (err->code != GM_OK || !check_supported(&m, err))
        return false;
    if (t->vocab_size == 0)
        return error_set(err, GM_E_INPUT, "tokenizer.model has no pieces");
    t->by_scores = t->fuse_unk = t->decode_bytes = true;
    t->byte_fallback = m.byte_fallback;
    t->pieces_normal = true;
    t->unk = (int32_t)m.unk;
    t->bos = in_vocabulary(t, m.bos) ? (int32_t)m.bos : -1;
    t->eos = in_vocabulary(t, m.eos) ? (int32_t)m.eos : -1;
    t->pad = in_vocabulary(t, m.pad) ? (int32_t)m.pad : -1;
    tokenizer_sentencepiece_rules(t, m.dummy_prefix);
    bool add_bos = true, add_eos = false;
    if (config_text) {
        json_t *config = json_parse(config_text, strlen(config_text), "tokenizer_config.json", err);
        bool ok = config && read_added_decoder(t, config, err) && json_get_bool(config, "add_bos_token", OPTIONAL, &add_bos, err) &&
                  json_get_bool(config, "add_eos_token", OPTIONAL, &add_eos, err);
        if (ok)
            tokenizer_named_tokens(t, config);
        json_decref(config);
        if (!ok)
            return false;
    }
    tokenizer_add_around(t, add_bos, add_eos);
    return tokenizer_rank_scores(t, (size_t)m.n_pieces, err);
}

struct tokenizer *tokenizer_open_model(const char *bytes, size_t n, const char *config_text, const char *label, struct gm_error *err)
{
    struct tokenizer *t = tokenizer_new();
    struct gm_error why = {0};
    if (load(t, bytes, n, config_text, &why) && tokenizer_finish(t, &why))
        return t;
    error_context(&why, "read %s", label);
    if (err)
        *err = why;
    tokenizer_free(t);
    return NULL;
}
