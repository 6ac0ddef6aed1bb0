/* tokenizer_private.h - what a tokenizer is made of; for the files tokenizer_*.c, bpe.c, normal.c,
 * pretok.c, detok.c alone.
 *
 * text -> added tokens cut out -> normal.c -> added tokens of the normalised kind -> pretok.c ->
 * bpe.c -> ids
 */
#ifndef GM_TEXT_TOKENIZER_PRIVATE_H
#define GM_TEXT_TOKENIZER_PRIVATE_H

#include "engine/text/piece_map.h"
#include "engine/text/regex.h"
#include "engine/text/tokenizer.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581: SentencePiece's character for a space */

/* SentencePiece's types of pieces; GGUF has them, too. */
enum piece_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED, TYPE_UNUSED, TYPE_BYTE };

enum piece_flag {
    PIECE_EXISTS = 1,
    PIECE_MODEL = 2,   /* the merges may use it */
    PIECE_ADDED = 4,   /* cut out of the text as a whole */
    PIECE_SPECIAL = 8, /* never made from what people wrote, skipped by decoding */
    PIECE_LSTRIP = 16,
    PIECE_RSTRIP = 32,
    PIECE_WORD = 64,       /* only as a whole word */
    PIECE_NORMALIZED = 128 /* looked for in the normalised text */
};

/* Added tokens to cut out, by their first byte: which lengths occur, longest first. */
struct cutter {
    struct piece_map map;
    uint16_t *lengths[256];
    int n_lengths[256];
};

enum { TOKENIZER_STAGES_MAX = 8, PIECE_LENGTH_MAX = 4096, PIECES_MAX = 2 << 20 };

struct text_rule { /* of a normaliser or a decoder */
    enum rule_kind { RULE_PREPEND, RULE_REPLACE, RULE_NFC, RULE_NFD, RULE_STRIP_LEFT, RULE_STRIP_RIGHT } kind;
    char *from, *to;
    size_t from_len, to_len;
    struct regex *regex; /* of RULE_REPLACE, instead of `from` as it stands; or NULL */
};

/* What a stage of a pre-tokeniser looks for, and what becomes of it (the library's names). */
enum stage_match {
    MATCH_TEXT,    /* the pattern as it stands */
    MATCH_REGEX,   /* any pattern */
    MATCH_GPT2,    /* published patterns, coded by hand */
    MATCH_LLAMA3,
    MATCH_QWEN2,
    MATCH_NUMERIC, /* one character */
    MATCH_SPACE,   /* one character */
    MATCH_WORD     /* a run of word characters, or of marks */
};
enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_CONTIGUOUS, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT };

#define STAGE_PATTERN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define STAGE_PATTERN_LLAMA3                                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define STAGE_PATTERN_QWEN2                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

struct stage {
    enum stage_match match;
    enum split_behavior behavior;
    bool invert;   /* what does not match is the match */
    char *pattern; /* of MATCH_TEXT and of patterns; "" where ByteLevel brings its own */
    size_t pattern_len;
    struct regex *regex; /* of MATCH_REGEX */
};

/* A first stage that rewrites the text: spaces become `space`, and it is put in front of the text. */
struct front {
    enum { FRONT_NEVER, FRONT_FIRST, FRONT_ALWAYS } when; /* first: only where the whole text begins */
    bool metaspace;                                       /* Metaspace; else ByteLevel's add_prefix_space */
    char *space;                                          /* NULL: there is no such stage */
    size_t len;
};

struct piece {
    const char *text; /* NUL-terminated, in `blocks` */
    uint32_t len;
    uint8_t flags;
};

struct tokenizer {
    struct piece *pieces; /* by id */
    int32_t vocab_size, cap_pieces;
    struct piece_map ids;
    char **blocks; /* memory of the pieces' texts */
    size_t n_blocks, block_used, block_size;

    /* SentencePiece: any neighbours whose concatenation is a piece, best score first; else by
     * merges. */
    bool by_scores;
    struct pair_map merges;
    uint32_t *score_rank; /* by id: 0 = best */
    float *scores; /* of the first n_scores ids */
    size_t n_scores;
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    bool marks_begin; /* U+2581 stands only at the beginning of pieces: no merge goes across a character before one */
    bool pieces_normal; /* texts of PIECE_NORMALIZED are normalised as they stand */
    int32_t unk, bos, eos, pad;
    int32_t byte_ids[256]; /* byte_level: the piece of the byte; byte_fallback: <0xHH>; -1: none */
    bool decode_bytes;     /* <0xHH> is that byte when decoding */
    int16_t *byte_of;      /* by id: that byte, or -1; NULL unless decode_bytes */

    struct text_rule *rules;
    int n_rules;
    struct front front;
    struct stage stages[TOKENIZER_STAGES_MAX];
    int n_stages;
    struct cutter raw, normalized;
    struct shown { /* by id: an added token that is looked for normalised is also shown so; NULL: as it is spelled */
        const char *text;
        uint32_t len;
    } *shown;

    int32_t *prefix, *suffix; /* what the post-processor adds */
    size_t n_prefix, n_suffix;

    struct text_rule *decode_rules; /* RULE_REPLACE only, piece by piece */
    int n_decode_rules;
    bool decode_drops_first; /* Metaspace: what the first rule replaces vanishes in the first piece */
    char decode_strip; /* leaves the beginning of the text, this many times at most: */
    int decode_strip_count;

    char *source_json; /* the tokenizer.json as read, or NULL */
};

/* tokenizer.c */
struct tokenizer *tokenizer_new(void);
char *tokenizer_keep(struct tokenizer *t, const char *text,
                     size_t len); /* a copy that lives as long as t */
/* Gives an id its piece; makes the table longer where needed. False: another text has the id, or
 * another id the text. */
bool tokenizer_add_piece(struct tokenizer *t, int32_t id, const char *text, size_t len,
                         uint8_t flags, struct gm_error *err);
/* Ends the loading: fills byte tables, cutters, guesses bos and eos where no file named them;
 * checks. */
bool tokenizer_finish(struct tokenizer *t, struct gm_error *err);
struct text_rule *tokenizer_add_rule(struct text_rule **rules, int *n, enum rule_kind kind, const char *from,
                                     size_t from_len, const char *to, size_t to_len);
/* A pattern that is not one of the published ones is compiled. */
bool tokenizer_add_stage(struct tokenizer *t, enum stage_match match, enum split_behavior behavior, bool invert,
                         const char *pattern, size_t len, struct gm_error *err);

/* alphabet.c: GPT-2's characters for bytes. */
uint32_t alphabet_char(int byte);
int alphabet_byte(uint32_t scalar); /* -1: stands for none */

/* tokenizer_cut.c */
void cutter_add(struct cutter *c, const char *text, size_t len, int32_t id);
void cutter_free(struct cutter *c);

/* What vocabularies with scores share: their rules for spaces; a rank for each score (those of the first n pieces are
 * there; others come last), equal ones for equal scores. */
void tokenizer_sentencepiece_rules(struct tokenizer *t, bool space_in_front);
bool tokenizer_rank_scores(struct tokenizer *t, size_t n, struct gm_error *err);
void tokenizer_add_id(int32_t **list, size_t *n, int32_t id); /* to prefix or suffix */
void tokenizer_add_around(struct tokenizer *t, bool bos, bool eos); /* as TOKENIZE_ADD_SPECIAL has them */

/* tokenizer_json.c: what tokenizer_config.json says, too. */
struct json_t;
uint8_t tokenizer_added_flags(const struct json_t *added);
void tokenizer_named_tokens(struct tokenizer *t, const struct json_t *config); /* bos_token and its like, where named */

/* tokenizer_write.c: the merges in their order; by scores, those that the scores stand for (mem_free). */
struct tokenizer_merge {
    uint32_t rank;
    int32_t id, left, right;
    uint32_t place; /* by scores: bytes of the left part */
};
struct tokenizer_merge *tokenizer_merges(const struct tokenizer *t, size_t *n);

/* tokenizer_gguf.c */
struct gguf;
bool tokenizer_load_gguf(struct tokenizer *t, const struct gguf *g, struct gm_error *err);

/* normal.c: the normalised text, with the byte of the original for each of its bytes. */
struct normal_text {
    char *data;
    uint32_t *origin;
    size_t n;
};
/* Do the rules leave text[begin, end) as it is? (May say no where they do.) */
bool normal_is_plain(const struct tokenizer *t, const char *text, size_t begin, size_t end);
/* out: fresh; normal_free in any case. False: a pattern took too many steps. */
bool normal_apply(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                  struct normal_text *out);
/* text[begin, end), whose bytes come from `origin` (NULL: from where they stand). */
void normal_copy(const char *text, size_t begin, size_t end, const uint32_t *origin,
                 struct normal_text *out);
bool normal_replace(struct normal_text *n, const struct text_rule *r);
void normal_prepend(struct normal_text *n, const char *text, size_t len, uint32_t origin);
void normal_free(struct normal_text *n);

/* pretok.c: calls word(arg, begin, end) for each stretch of text[begin, end), in order. False: a pattern took too many
 * steps. */
typedef void (*pretok_fn)(void *arg, size_t begin, size_t end);
struct pretok {
    const struct stage *stages;
    int n_stages;
    const char *text;
    pretok_fn word;
    void *arg;
    struct regex_run run;
};
bool pretok_run(struct pretok *p, int stage, size_t begin, size_t end);
enum stage_match stage_known(const char *regex, size_t len); /* MATCH_REGEX: not one coded by hand */

/* bpe.c */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t cap_symbols;
    struct bpe_entry *heap;
    size_t cap_heap;
    struct str spelled;
};
/* Appends the ids of one stretch; starts are positions in `text`. */
void bpe_word(const struct tokenizer *t, struct bpe_scratch *s, const char *text, size_t begin,
              size_t end, struct id_list *out);
void bpe_scratch_free(struct bpe_scratch *s);

#endif
