/* chat_private.h - for chat_template.c, chat_named.c and chat_encode.c alone. */
#ifndef GM_TEXT_CHAT_PRIVATE_H
#define GM_TEXT_CHAT_PRIVATE_H

#include "engine/text/chat_template.h"
#include "engine/text/jinja.h"

#define CHAT_NAMES "gemma3, gemma2, zephyr, smollm2, chatml, llama3, phi3"

struct chat_named {
    const char *name, *text;
    const char *marks[4]; /* that have to be special tokens of the model */
};
const struct chat_named *chat_named(const char *name); /* NULL: not known */

struct chat_template {
    struct jinja_template *jinja;
    const struct tokenizer *tokenizer; /* outlives the template */
    char *name, *text;
    char *bos, *eos, *pad; /* NULL: the model has none, the template finds it undefined */
    json_t *variables;           /* NULL: none */
    time_t opened;               /* what strftime_now tells: one run, one date */
    int32_t ends[8];             /* ids that the model's own files name as ends */
    size_t n_ends;
};

/* Marks of the rendered bytes. */
enum { CHAT_MARK = 0, CHAT_WRITTEN = 1, CHAT_LAST = 2 /* content of the last message */ };

/* Text with marks: one byte of marks for each byte of text. */
struct chat_text {
    struct str text, marks;
};
void chat_text_free(struct chat_text *t);
bool chat_render_marked(const struct chat_template *tpl, const struct chat_message *messages,
                        size_t n, bool add_generation_prompt, struct chat_text *out,
                        struct gm_error *err);
bool chat_render_json(const struct chat_template *tpl, const json_t *messages, const json_t *tools,
                      bool add_generation_prompt, struct chat_text *out, struct gm_error *err);
/* Bytes [begin, end) that people wrote become spans, counted from `begin`. */
void chat_written(const struct chat_text *t, size_t begin, size_t end, struct chat_spans *spans);

#endif
