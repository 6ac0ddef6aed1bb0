/* go_template.h - what Ollama makes of a conversation: the TEMPLATE of a Modelfile, run by rules of Go's text/template.
 *
 * An interpreter of the part of the language that chat templates use: fields, variables, `if` / `else if` / `with` / `range`, `break` and
 * `continue`, pipes, trim markers, comments, and the functions and, or, not, eq, ne, lt, le, gt, ge, len, index, slice, json. What Ollama
 * would also take but this does not (define, template, other functions) is GM_E_UNSUPPORTED; what Ollama refuses is GM_E_INPUT; both name
 * the line.
 *
 * From messages to what the template sees, as Ollama's template package has it:
 * - messages in a row with the same role (but "tool") become one, with a blank line between; .System is every system text, joined likewise;
 * - a template that mentions .Messages is run once over all of them;
 * - any other is run once a turn with .System, .Prompt and .Response; of the last run nothing behind .Response is kept, for there the
 *   model goes on; where .Response is not mentioned, it is put at the end;
 * - an unknown name of the top level is no error: it is false, and prints as "<no value>".
 *
 * Templates are untrusted: their size, depth, steps and output are limited.
 * Memory: go_template_parse gives an object for go_template_free. Threads: it does not change; any.
 *
 *     struct go_template *t = go_template_parse(text, strlen(text), &err);
 *     struct chat_message m[] = {{"user", "Write a haiku about rain."}};
 *     if (!t || !go_template_prompt(t, m, 1, &out, &err)) ...
 */
#ifndef GM_TEXT_GO_TEMPLATE_H
#define GM_TEXT_GO_TEMPLATE_H

#include "engine/text/chat_template.h"

struct go_template;

struct go_template *go_template_parse(const char *text, size_t n, struct gm_error *err);
void go_template_free(struct go_template *t);
/* Is this name (of a field or variable, without its dot) mentioned? Case does not count, as in Ollama. */
bool go_template_mentions(const struct go_template *t, const char *name);
/* Appends the prompt that Ollama would give to the model: the runner parses special tokens in it and adds what the vocabulary asks for. */
bool go_template_prompt(const struct go_template *t, const struct chat_message *messages, size_t n, struct str *out, struct gm_error *err);
/* Appends `text` so that a template prints it as it stands ("{{" would open an action). */
void go_template_quote(struct str *out, const char *text, size_t n);

#endif
