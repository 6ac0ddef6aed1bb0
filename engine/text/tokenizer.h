/* tokenizer.h - text to ids and back, by the vocabulary that comes with a model.
 *
 * Two kinds of BPE, read from a tokenizer.json, a tokenizer.model or the metadata of a GGUF:
 * byte-level (GPT-2, Llama 3, Qwen, SmolLM2, nano) and SentencePiece-style with byte fallback
 * (Gemma, Llama 2, TinyLlama, Phi-3). The ids are those of Hugging Face's library, SentencePiece or
 * llama.cpp for the same file. A component that is not known is an error that names it, never a
 * guess.
 *
 * Memory: tokenizer_open gives an object for tokenizer_free. Threads: it does not change after
 * opening; any number of threads may use one.
 *
 *     struct tokenizer *t = tokenizer_open(source, &err);
 *     struct id_list ids = {0};
 *     if (!tokenizer_encode(t, text, n, TOKENIZE_ADD_SPECIAL, &ids, &err)) ...
 *     id_list_free(&ids);
 */
#ifndef GM_TEXT_TOKENIZER_H
#define GM_TEXT_TOKENIZER_H

#include "engine/base/error.h"
#include "engine/base/str.h"

#include <stdint.h>

struct model_source; /* engine/format/model_source.h */
struct tokenizer;

enum tokenize_flags {
    TOKENIZE_ADD_SPECIAL = 1, /* what the post-processor adds: bos, where the model wants one */
    TOKENIZE_LITERAL = 2      /* special strings in the text stay text, all over */
};

/* starts: the byte of the text where the token begins; what the post-processor adds stands at 0 or
 * at the text's length. */
struct id_list {
    int32_t *ids;
    uint32_t *starts;
    size_t n, cap;
};
void id_list_add(struct id_list *list, int32_t id, uint32_t start);
void id_list_clear(struct id_list *list); /* keeps the memory */
bool id_list_same(const struct id_list *a, const struct id_list *b); /* the ids; wherever they begin */
void id_list_free(struct id_list *list);

/* A range of bytes, end exclusive. */
struct text_span {
    size_t begin, end;
};

struct tokenizer *tokenizer_open(const struct model_source *src, struct gm_error *err);
/* From the text of a tokenizer.json; config_text (of tokenizer_config.json, NUL-terminated) may be
 * NULL. `label` names the file in errors. */
struct tokenizer *tokenizer_open_json(const char *json_text, size_t n, const char *config_text,
                                      const char *label, struct gm_error *err);
/* The same from the bytes of a tokenizer.model. */
struct tokenizer *tokenizer_open_model(const char *bytes, size_t n, const char *config_text,
                                       const char *label, struct gm_error *err);
void tokenizer_free(struct tokenizer *t);

/* Appends to out. Texts of 1 GiB and more are refused. */
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                      struct id_list *out, struct gm_error *err);
/* Inside the literal spans (sorted, disjoint) special strings stay text; a string that only touches
 * such a span stays text, too. Everything else, pre-tokenising and merging across the borders
 * included, is that of the whole text: without special strings in the spans the ids are those of
 * tokenizer_encode. */
bool tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t n,
                            const struct text_span *literal, size_t n_spans, unsigned flags,
                            struct id_list *out, struct gm_error *err);
/* Appends UTF-8 (bytes that are none become U+FFFD). An id outside the vocabulary is an error. */
bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                      struct str *out, struct gm_error *err);

/* Highest id + 1; the model may have more rows. */
int32_t tokenizer_vocab_size(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t); /* -1: none */
int32_t tokenizer_pad(const struct tokenizer *t); /* -1: none */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* Does TOKENIZE_ADD_SPECIAL put bos in front? */
bool tokenizer_adds_bos(const struct tokenizer *t);
/* The id of a piece spelled as in the file; -1: no such piece. */
int32_t tokenizer_id_of(const struct tokenizer *t, const char *piece);
/* The piece as the vocabulary spells it ("\xe2\x96\x81the", "Ġthe"), NUL-terminated; NULL for an id
 * without one. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len);

/* Text of a tokenizer.json with the same ids (mem_free): for exports when the base is a GGUF; for a
 * tokenizer.json the original text. */
char *tokenizer_to_json(const struct tokenizer *t);
/* tokenizer_config.json to go with it: bos, eos, unk, pad, and the chat template where given
 * (mem_free). */
char *tokenizer_config_to_json(const struct tokenizer *t, const char *chat_template_text_or_null);

/* The vocabulary as metadata of a GGUF with `rows` rows of embeddings: tokenizer.ggml.*, tokenizer.chat_template where
 * given; add_bos: what its key of that name says. What llama.cpp cannot express is refused by name. llama.cpp strips white space
 * behind special tokens where general.name has "phi-3" or "phi3" in it, in any case, and only there: the writer of the file must
 * choose a name with it where tokenizer_strips_like_phi3, and one without it elsewhere. */
struct gguf_out; /* engine/format/gguf_write.h */
bool tokenizer_to_gguf(const struct tokenizer *t, int rows, bool add_bos, const char *chat_template_text_or_null,
                       struct gguf_out *g, struct gm_error *err);
bool tokenizer_strips_like_phi3(const struct tokenizer *t);
/* Where llama.cpp does otherwise all the same: a sentence for people; NULL: nowhere. */
const char *tokenizer_gguf_caveat(const struct tokenizer *t);

#endif
