/* chat_template.h - a conversation to the text (and ids) that the model was trained on, by the
 * model's own Jinja template (jinja.h).
 *
 * The template finds what transformers gives it: messages, add_generation_prompt, tools and
 * documents (none), bos_token, eos_token and pad_token where the model has them, and the variables
 * that a person sets. strftime_now tells the time of opening, so that a run has one date.
 *
 * What people wrote is literal: "<end_of_turn>" inside a message stays text and cannot end the
 * turn; neither can a part of it that the template cut out, trimmed or put into another case.
 *
 * An assistant's turn is told by rendering: the messages in front of it with generation prompt give
 * the prompt; the same messages with the turn give the prompt and the turn. The prompt has to be
 * the beginning of both, as text and as ids, else the row is an error: the model would be trained
 * on what it never sees. Where the template writes a turn in another way once more messages follow
 * (Qwen 3 drops what was thought before), that turn is not trained; the last one is.
 *
 * Memory: chat_template_open gives an object for chat_template_free; the tokenizer outlives it.
 * Threads: it does not change after opening and setting variables; any.
 *
 *     struct chat_message m[] = {{"user", "Write a haiku about rain."}};
 *     chat_encode(tpl, tok, m, 1, true, &ids, NULL, &err);
 */
#ifndef GM_TEXT_CHAT_TEMPLATE_H
#define GM_TEXT_CHAT_TEMPLATE_H

#include "engine/text/tokenizer.h"

#include <jansson.h>

struct model_source;
struct chat_template;

struct chat_message {
    const char *role, *content; /* NUL-terminated UTF-8 */
};

/* Where things stand in the rendered text, in order, disjoint.
 * content: what people wrote (and roles that the template copies, unless it is system, user,
 * assistant, tool or developer)
 * turn: all that was rendered for each assistant message: answer, end marker, newline if part of
 * it; empty for a turn that cannot be told
 */
struct chat_spans {
    struct text_span *content;
    size_t n_content, cap_content;
    struct text_span *turn;
    size_t n_turns, cap_turns;
};
void chat_spans_free(struct chat_spans *s);

/* `override`: a name (gemma3, gemma2, zephyr, smollm2, chatml, llama3, phi3), or a file with the
 * template's text, or NULL: the model's own. */
struct chat_template *chat_template_open(const struct model_source *src, const struct tokenizer *t,
                                         const char *override, struct gm_error *err);
/* The same from a template's text or a known name; for folders with a tokenizer only, and tests. */
struct chat_template *chat_template_from_text(const char *text, const struct tokenizer *t,
                                              struct gm_error *err);
struct chat_template *chat_template_from_name(const char *name, const struct tokenizer *t,
                                              struct gm_error *err);
/* More variables, a JSON object: {"date_string": "26 Jul 2024"}. Before the first rendering. */
bool chat_template_set_variables(struct chat_template *tpl, const char *json, struct gm_error *err);
void chat_template_free(struct chat_template *tpl);
/* "gemma3", "chat_template.jinja": as errors call it. */
const char *chat_template_name(const struct chat_template *tpl);
/* Jinja: the model's own text, the file's, or ours for a name. For exports. */
const char *chat_template_text(const struct chat_template *tpl);

/* Appends to text; spans may be NULL. */
bool chat_render(const struct chat_template *tpl, const struct chat_message *messages, size_t n,
                 bool add_generation_prompt, struct str *text, struct chat_spans *spans,
                 struct gm_error *err);
/* Sets ids (cleared first) and, where wanted, *supervised (one per id, mem_free): 1 = part of an
 * assistant turn that can be told. */
bool chat_encode(const struct chat_template *tpl, const struct tokenizer *t,
                 const struct chat_message *messages, size_t n, bool add_generation_prompt,
                 struct id_list *ids, uint8_t **supervised, struct gm_error *err);
/* Is an answer written in another way once more messages follow, so that it is not trained then? */
bool chat_rewrites_turns(const struct chat_template *tpl);
/* Messages as a file has them, with all their fields (lists of content, tool calls), and tools (NULL:
 * none): what Hugging Face makes of them, special strings in the content included; literal: they
 * stay text. Appends to text. */
bool chat_encode_json(const struct chat_template *tpl, const struct tokenizer *t,
                      const json_t *messages, const json_t *tools, bool add_generation_prompt,
                      bool literal, struct str *text, struct id_list *ids, struct gm_error *err);
/* Ids that end an answer: what the template puts behind one, and what the model's files name
 * (eos_token_id, generation_config.json). Returns how many (0..8), without repeats. */
size_t chat_stop_ids(const struct chat_template *tpl, const struct tokenizer *t, int32_t out[8]);

#endif
