/* ollama_template.h - the TEMPLATE of a Modelfile that builds the ids a model was trained on.
 *
 * A Jinja template cannot be translated in general. It can be asked: conversations of marked texts are rendered (chat_render), what stands
 * between the marks is taken apart into what belongs to each role, and a Go template is written that puts the same pieces together. Then it
 * is held against the chat template, id for id, over a set of conversations: Go text (engine/text/go_template.h), tokenised with special
 * tokens parsed, the BOS in front that the runner adds. What cannot be said in Go (Ollama has no function that trims) is named by a
 * `differs` bit; whatever else is not equal refuses the template with the first conversation and token.
 *
 * Memory: an ollama_template owns its text. Threads: any; nothing is shared.
 *
 *     struct ollama_template o;
 *     if (!ollama_template_derive(&o, tpl, tok, &err)) ...                    no template of ours would do: err says why
 *     ollama_template_free(&o);
 */
#ifndef GM_EXPORT_OLLAMA_TEMPLATE_H
#define GM_EXPORT_OLLAMA_TEMPLATE_H

#include "engine/text/go_template.h"

/* How prompts in Ollama may differ from those of the training, all of them known beforehand. */
enum ollama_differs {
    OLLAMA_SPECIAL = 1,           /* special tokens spelled out in a message become special tokens; in training they stay text */
    OLLAMA_SAME_ROLE = 2,         /* two messages in a row of one role become one, with a blank line between */
    OLLAMA_TRIMS_USER = 4,        /* training trims white space around what the user wrote; Ollama keeps it */
    OLLAMA_TRIMS_ASSISTANT = 8,
    OLLAMA_TRIMS_SYSTEM = 16,
    OLLAMA_REFUSED = 32,          /* conversations that the chat template refuses are answered */
    OLLAMA_SYSTEM_LEFT_OUT = 64,  /* a system message does not get into the prompt: the chat template refuses it or leaves it out */
    OLLAMA_DATE = 128,            /* the chat template tells the day; the TEMPLATE keeps that of the export */
    OLLAMA_LATER_SYSTEM = 256     /* a system message after the first turn is put in another place */
};
enum { OLLAMA_DIFFERS_COUNT = 9 };
/* A sentence for one bit (1 << i). */
const char *ollama_differs_text(unsigned bit);

struct ollama_template {
    char *text;       /* for TEMPLATE */
    bool add_bos;     /* what tokenizer.ggml.add_bos_token has to be in the GGUF */
    unsigned differs; /* what can differ with this template, apart from OLLAMA_SPECIAL and OLLAMA_SAME_ROLE, which always can */
    int verified;     /* conversations whose ids were equal */
};
bool ollama_template_derive(struct ollama_template *out, const struct chat_template *tpl, const struct tokenizer *t, struct gm_error *err);
void ollama_template_free(struct ollama_template *o);
/* Does this TEMPLATE, with this vocabulary, give the ids of the training? o: text, add_bos, differs in; verified out. */
bool ollama_template_verify(struct ollama_template *o, const struct chat_template *tpl, const struct tokenizer *trained,
                            const struct tokenizer *built, struct gm_error *err);

/* The ids that Ollama gives to the model for these messages; text (may be NULL) is appended to. */
bool ollama_ids(const struct go_template *go, bool add_bos, const struct tokenizer *t, const struct chat_message *messages, size_t n,
                struct id_list *ids, struct str *text, struct gm_error *err);
/* Why the ids of this prompt differ, as bits: each is tried by undoing it. 0: they are equal. UINT_MAX: for no known reason. */
unsigned ollama_explain(const struct go_template *go, bool add_bos, const struct chat_template *tpl, const struct tokenizer *t,
                        const struct chat_message *messages, size_t n, struct gm_error *err);

#endif
