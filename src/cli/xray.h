/* xray.h - the template X-ray of `tokenize --chat`: ids of one conversation for training, for chat, and as Ollama would build them. */
#ifndef GM_CLI_XRAY_H
#define GM_CLI_XRAY_H

#include "src/cli/cli.h"

/* A conversation: a list of messages, or {"messages": [...], "add_generation_prompt": true}. Texts live as long as the tree; mem_free. */
bool conversation_read(const json_t *row, struct chat_message **messages, size_t *n, bool *generation, struct gm_error *err);

struct xray {
    struct id_list training, chat, ollama; /* ollama.n 0: no TEMPLATE; `why_none` tells */
    uint8_t *supervised;                   /* of training */
    struct str chat_text, ollama_text;
    const struct tokenizer *ollama_tokenizer; /* of the GGUF that the Modelfile names, or the session's */
    char *source;                          /* path of the Modelfile; NULL: one that was derived */
    char why_none[1024];
    char why_refused[1024];                /* training would not take the conversation; "": it would */
    bool has_answer;                       /* at its end; else nothing is trained, and training is not compared */
    bool training_agrees, ollama_agrees;
    bool put_in_front;                     /* by the SYSTEM or a MESSAGE of the Modelfile: another conversation */
    unsigned reasons;                      /* ollama_differs bits; UINT_MAX: not known */
    /* private */
    struct model_source gguf;
    struct tokenizer *gguf_tokenizer;
};
/* The prompt is everything but an answer at the end. `modelfile` NULL: a TEMPLATE is derived. */
bool xray_make(struct xray *x, const struct session *s, const struct chat_message *messages, size_t n, const char *modelfile,
               struct gm_error *err);
void xray_free(struct xray *x);
void xray_print(const struct xray *x, const struct session *s);
void xray_notes(const struct xray *x, const struct general *g); /* what differs and why, on stderr */
void xray_json(const struct xray *x, json_t *out); /* adds "training", "chat", "modelfile", "equal" to an object */

#endif
