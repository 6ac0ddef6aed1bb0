/* chat_template.h - a conversation to the text (and ids) that the model was trained on.
 *
 * There is no Jinja here: a template is recognised by its text, and rendered by code that gives the
 * same bytes and refuses the same conversations. Known: Gemma 3, Zephyr (TinyLlama), SmolLM2. Any
 * other text is GM_E_UNSUPPORTED.
 *
 * What people wrote is literal: "<end_of_turn>" inside a message stays text and cannot end the
 * turn.
 *
 * Memory: chat_template_open gives an object for chat_template_free. Threads: it does not change;
 * any.
 *
 *     struct chat_message m[] = {{"user", "Write a haiku about rain."}};
 *     chat_encode(tpl, tok, m, 1, true, &ids, NULL, &err);
 */
#ifndef GM_TEXT_CHAT_TEMPLATE_H
#define GM_TEXT_CHAT_TEMPLATE_H

#include "engine/text/tokenizer.h"

struct model_source;
struct chat_template;

struct chat_message {
    const char *role, *content; /* NUL-terminated UTF-8 */
};

/* Where things stand in the rendered text, in order, disjoint.
 * content: what people wrote (and roles, where the template copies them)
 * turn: all that was rendered for each assistant message: answer, end marker, newline if part of it
 */
struct chat_spans {
    struct text_span *content;
    size_t n_content, cap_content;
    struct text_span *turn;
    size_t n_turns, cap_turns;
};
void chat_spans_free(struct chat_spans *s);

/* `override`: a name ("gemma3", "zephyr", "smollm2"), or a file with the template's text, or NULL:
 * the model's own. */
struct chat_template *chat_template_open(const struct model_source *src, const struct tokenizer *t,
                                         const char *override, struct gm_error *err);
/* The same from a template's text or a known name; for folders with a tokenizer only, and tests. */
struct chat_template *chat_template_from_text(const char *text, const struct tokenizer *t,
                                              struct gm_error *err);
struct chat_template *chat_template_from_name(const char *name, const struct tokenizer *t,
                                              struct gm_error *err);
void chat_template_free(struct chat_template *tpl);
const char *chat_template_name(const struct chat_template *tpl); /* "gemma3" ... */
/* Jinja: the model's own text, or ours for a name. */
const char *chat_template_text(const struct chat_template *tpl);

/* Appends to text; spans may be NULL. */
bool chat_render(const struct chat_template *tpl, const struct chat_message *messages, size_t n,
                 bool add_generation_prompt, struct str *text, struct chat_spans *spans,
                 struct gm_error *err);
/* Sets ids (cleared first) and, where wanted, *supervised (one per id, mem_free): 1 = part of an
 * assistant turn. The text up to each answer is checked to be what the model will see as a prompt
 * when it generates. */
bool chat_encode(const struct chat_template *tpl, const struct tokenizer *t,
                 const struct chat_message *messages, size_t n, bool add_generation_prompt,
                 struct id_list *ids, uint8_t **supervised, struct gm_error *err);
/* Ids that end an answer; returns how many (0..8), without repeats. */
size_t chat_stop_ids(const struct chat_template *tpl, const struct tokenizer *t, int32_t out[8]);

#endif
