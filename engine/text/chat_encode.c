/* chat_encode.c - a conversation to ids, the assistant's turns in it, and the ids that end one. */
#include "engine/text/chat_private.h"

#include "engine/base/mem.h"

#include <string.h>

enum { TURNS_MAX = 2000 }; /* each is rendered with all in front of it */

/* A conversation that is looked through for its turns. */
struct whole {
    const struct chat_template *tpl;
    const struct tokenizer *t;
    const struct chat_message *messages;
    size_t n;
    struct chat_text text;
    struct chat_spans spans;
    struct id_list ids; /* of all of it; empty where only text counts */
};

static bool is_assistant(const struct chat_message *m)
{
    return strcmp(m->role, "assistant") == 0;
}

static bool begins_with(const struct str *text, const struct str *with)
{
    return text->len >= with->len && memcmp(str_text(text), str_text(with), with->len) == 0;
}

static size_t common(const struct str *a, const struct str *b)
{
    size_t n = 0;
    while (n < a->len && n < b->len && a->data[n] == b->data[n])
        n++;
    return n;
}

/* First byte of the last message's content, or one behind its last byte. */
static size_t content_edge(const struct chat_text *t, bool end)
{
    size_t n = t->marks.len, i = 0;
    const char *marks = str_text(&t->marks);
    while (!end && i < n && marks[i] != CHAT_LAST)
        i++;
    for (i = end ? n : i; end && i > 0 && marks[i - 1] != CHAT_LAST;)
        i--;
    return i;
}

static bool encode_text(const struct tokenizer *t, const struct chat_text *text, size_t begin,
                        size_t end, struct id_list *ids, struct gm_error *err)
{
    struct chat_spans spans = {0};
    chat_written(text, begin, end, &spans);
    bool ok = tokenizer_encode_spans(t, str_text(&text->text) + begin, end - begin, spans.content,
                                     spans.n_content, 0, ids, err);
    chat_spans_free(&spans);
    return ok;
}

/* Are the ids of the prompt those that the whole begins with? */
static bool ids_agree(const struct whole *w, const struct chat_text *prompt, size_t message,
                      struct gm_error *err)
{
    struct id_list ids = {0};
    size_t n = 0;
    if (!encode_text(w->t, prompt, 0, prompt->text.len, &ids, err))
        return false;
    while (n < w->ids.n && w->ids.starts[n] < prompt->text.len)
        n++;
    bool same = n == ids.n && (n == 0 || memcmp(ids.ids, w->ids.ids, n * sizeof *ids.ids) == 0);
    id_list_free(&ids);
    return same || error_set(err, GM_E_INPUT,
                             "render chat: message %zu and the prompt in front of it share a token, "
                             "so that the model never sees this prompt when it generates (take "
                             "blanks and newlines from the beginning of the answer)",
                             message + 1);
}

/* Where the turn of an assistant who speaks first begins: in front of the content, which may be
 * empty, so that another one is tried. */
static bool first_begin(const struct whole *w, size_t *begin, struct gm_error *err)
{
    const struct chat_message m = {w->messages[0].role, "x"};
    struct chat_text text = {0};
    bool ok = chat_render_marked(w->tpl, &m, 1, false, &text, err);
    *begin = content_edge(&text, false);
    chat_text_free(&text);
    return ok;
}

/* The prompt of message i: where the turn begins. */
static bool turn_begin(const struct whole *w, size_t i, const struct chat_text *with,
                       size_t *begin, bool *told, struct gm_error *err)
{
    *told = true;
    if (i == 0)
        return first_begin(w, begin, err);
    struct chat_text prompt = {0};
    bool ok = chat_render_marked(w->tpl, w->messages, i, true, &prompt, err);
    if (ok && !begins_with(&with->text, &prompt.text))
        ok = error_set(err, GM_E_INPUT,
                       "render chat: what stands before message %zu is not the prompt that would "
                       "ask for it (take a template whose generation prompt fits: --chat-template)",
                       i + 1);
    *told = ok && begins_with(&w->text.text, &prompt.text);
    *begin = prompt.text.len;
    if (*told && w->ids.n)
        ok = ids_agree(w, &prompt, i, err);
    chat_text_free(&prompt);
    return ok;
}

/* A place inside a token moves to its beginning: "<|end|>" and "<|endoftext|>" have letters in
 * common, but are two things. */
static bool to_token(const struct whole *w, size_t *place, struct gm_error *err)
{
    struct id_list ids = {0};
    size_t at = 0;
    if (!encode_text(w->t, &w->text, 0, w->text.text.len, &ids, err))
        return false;
    for (size_t k = 0; k < ids.n && ids.starts[k] <= *place; k++)
        at = ids.starts[k];
    *place = at;
    id_list_free(&ids);
    return true;
}

/* The turn of message i in the whole text; begin == end: it cannot be told. */
static bool find_turn(const struct whole *w, size_t i, struct text_span *turn,
                      struct gm_error *err)
{
    struct chat_text with = {0};
    bool told, ok = chat_render_marked(w->tpl, w->messages, i + 1, false, &with, err) &&
                    turn_begin(w, i, &with, &turn->begin, &told, err);
    turn->end = ok ? turn->begin : 0;
    if (ok && told) {
        size_t same = common(&with.text, &w->text.text), content = content_edge(&with, true);
        if (same < with.text.len && same >= (content ? content : turn->begin))
            ok = to_token(w, &same, err); /* only what follows the answer is another: eos, say */
        else if (same < with.text.len)
            same = turn->begin;
        turn->end = same > turn->begin ? same : turn->begin;
    }
    chat_text_free(&with);
    return ok;
}

/* Adds the turns. Strict: a prompt that does not fit is an error, else the turn is left empty. */
static bool find_turns(struct whole *w, bool strict, struct gm_error *err)
{
    struct chat_spans *s = &w->spans;
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        n += is_assistant(&w->messages[i]);
    if (n > TURNS_MAX)
        return error_set(err, GM_E_INPUT, "render chat: the conversation has more than %d answers",
                         TURNS_MAX);
    for (size_t i = 0; i < w->n; i++) {
        struct text_span turn = {0};
        if (!is_assistant(&w->messages[i]))
            continue;
        if (!find_turn(w, i, &turn, strict ? err : NULL)) {
            if (strict)
                return false;
            turn = (struct text_span){0};
        }
        s->turn = mem_room(s->turn, s->n_turns, &s->cap_turns, sizeof *s->turn);
        s->turn[s->n_turns++] = turn;
    }
    return true;
}

static bool open_whole(struct whole *w, bool prompt, struct gm_error *err)
{
    if (!chat_render_marked(w->tpl, w->messages, w->n, prompt, &w->text, err))
        return false;
    chat_written(&w->text, 0, w->text.text.len, &w->spans);
    return true;
}

static void close_whole(struct whole *w)
{
    chat_text_free(&w->text);
    chat_spans_free(&w->spans);
    id_list_free(&w->ids);
}

bool chat_render(const struct chat_template *tpl, const struct chat_message *messages, size_t n,
                 bool add_generation_prompt, struct str *text, struct chat_spans *spans,
                 struct gm_error *err)
{
    struct whole w = {.tpl = tpl, .t = tpl->tokenizer, .messages = messages, .n = n};
    bool ok = open_whole(&w, add_generation_prompt, err);
    if (ok && spans) {
        ok = find_turns(&w, false, err);
        *spans = w.spans;
        w.spans = (struct chat_spans){0};
    }
    if (ok)
        str_add_n(text, str_text(&w.text.text), w.text.text.len);
    close_whole(&w);
    return ok;
}

bool chat_encode(const struct chat_template *tpl, const struct tokenizer *t,
                 const struct chat_message *messages, size_t n, bool add_generation_prompt,
                 struct id_list *ids, uint8_t **supervised, struct gm_error *err)
{
    struct whole w = {.tpl = tpl, .t = t, .messages = messages, .n = n};
    id_list_clear(ids);
    bool ok = open_whole(&w, add_generation_prompt, err) &&
              encode_text(t, &w.text, 0, w.text.text.len, &w.ids, err) &&
              (!supervised || find_turns(&w, true, err));
    for (size_t i = 0; ok && i < w.ids.n; i++)
        id_list_add(ids, w.ids.ids[i], w.ids.starts[i]);
    if (ok && supervised) {
        size_t turn = 0;
        *supervised = mem_new(ids->n ? ids->n : 1, 1);
        for (size_t i = 0; i < ids->n; i++) {
            while (turn < w.spans.n_turns && w.spans.turn[turn].end <= ids->starts[i])
                turn++;
            (*supervised)[i] =
                turn < w.spans.n_turns && w.spans.turn[turn].begin <= ids->starts[i];
        }
    }
    close_whole(&w);
    return ok;
}

bool chat_encode_json(const struct chat_template *tpl, const struct tokenizer *t,
                      const json_t *messages, const json_t *tools, bool add_generation_prompt,
                      bool literal, struct str *text, struct id_list *ids, struct gm_error *err)
{
    struct chat_text out = {0};
    bool ok = chat_render_json(tpl, messages, tools, add_generation_prompt, &out, err);
    if (ok && literal)
        ok = encode_text(t, &out, 0, out.text.len, ids, err);
    else if (ok)
        ok = tokenizer_encode(t, str_text(&out.text), out.text.len, 0, ids, err);
    if (ok)
        str_add_n(text, str_text(&out.text), out.text.len);
    chat_text_free(&out);
    return ok;
}

bool chat_rewrites_turns(const struct chat_template *tpl)
{
    const struct chat_message m[] = {
        {"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}};
    struct str text = {0};
    struct chat_spans spans = {0};
    bool ok = chat_render(tpl, m, 4, false, &text, &spans, NULL) && spans.n_turns == 2 &&
              spans.turn[0].begin == spans.turn[0].end && spans.turn[1].begin < spans.turn[1].end;
    chat_spans_free(&spans);
    str_free(&text);
    return ok;
}

/* ---- the ids that end an answer ---- */

static void add_stop(const struct tokenizer *t, int32_t id, int32_t out[8], size_t *n)
{
    if (id < 0 || id >= tokenizer_vocab_size(t) || !tokenizer_is_special(t, id) || *n == 8)
        return;
    for (size_t i = 0; i < *n; i++)
        if (out[i] == id)
            return;
    out[(*n)++] = id;
}

/* Special tokens that the template puts behind an answer. */
static void stops_of_template(const struct chat_template *tpl, const struct tokenizer *t,
                              int32_t out[8], size_t *n)
{
    const struct chat_message m[] = {{"system", "x"}, {"user", "y"}, {"assistant", "z"}};
    struct chat_text text = {0};
    struct id_list ids = {0};
    bool ok = chat_render_marked(tpl, m + 1, 2, false, &text, NULL);
    if (!ok) {
        chat_text_free(&text);
        ok = chat_render_marked(tpl, m, 3, false, &text, NULL);
    }
    size_t end = content_edge(&text, true);
    if (ok && end > 0 && encode_text(t, &text, end, text.text.len, &ids, NULL))
        for (size_t i = 0; i < ids.n; i++)
            add_stop(t, ids.ids[i], out, n);
    id_list_free(&ids);
    chat_text_free(&text);
}

size_t chat_stop_ids(const struct chat_template *tpl, const struct tokenizer *t, int32_t out[8])
{
    size_t n = 0;
    stops_of_template(tpl, t, out, &n);
    for (size_t i = 0; i < tpl->n_ends; i++)
        add_stop(t, tpl->ends[i], out, &n);
    add_stop(t, tokenizer_eos(t), out, &n);
    return n;
}
