/* chat_template.c - which template it is, and the text that it gives. */
#include "engine/text/chat_template.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/model_source.h"
#include "engine/text/chat_known.h"
#include "engine/text/unicode.h"

#include <string.h>

enum { TEMPLATE_MAX = 1 << 20, CONFIG_MAX = 16 << 20 };

struct chat_template {
    const struct chat_known *known;
    char *text;
    char *bos, *eos; /* as the template writes them; "" where the model has none */
};

/* Templates travel through JSON, editors and converters: white space and the spelling of newlines
 * do not count. */
static void fingerprint(const char *text, char hex[65])
{
    struct str s = {0};
    for (; *text; text++) {
        if (unicode_is_space((unsigned char)*text) && (unsigned char)*text < 0x80)
            continue;
        if (text[0] == '\\' && text[1] == 'n')
            text++;
        else
            str_add_char(&s, *text);
    }
    sha256_bytes(str_text(&s), s.len, hex);
    str_free(&s);
}

static const struct chat_known *known_by_text(const char *text)
{
    char hex[65], ours[65];
    fingerprint(text, hex);
    for (const struct chat_known *k = chat_known_list(); k->name; k++) {
        fingerprint(k->text, ours);
        if (strcmp(hex, ours) == 0)
            return k;
        for (int i = 0; k->published[i]; i++)
            if (strcmp(hex, k->published[i]) == 0)
                return k;
    }
    return NULL;
}

static const struct chat_known *known_by_name(const char *name)
{
    for (const struct chat_known *k = chat_known_list(); k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

static char *piece_text(const struct tokenizer *t, int32_t id)
{
    const char *text = tokenizer_piece(t, id, NULL);
    return mem_copy(text ? text : "");
}

/* The marks of the template have to be tokens of the model: else an answer could never end. */
static struct chat_template *make(const struct chat_known *k, const char *text,
                                  const struct tokenizer *t, struct gm_error *err)
{
    for (int i = 0; k->marks[i]; i++) {
        int32_t id = tokenizer_id_of(t, k->marks[i]);
        if (id >= 0 && tokenizer_is_special(t, id))
            continue;
        error_set(err, GM_E_INPUT,
                  "chat template %s: %s is no special token of this model (take the template that "
                  "the model was trained with)",
                  k->name, k->marks[i]);
        return NULL;
    }
    if ((k->needs_bos && tokenizer_bos(t) < 0) || (k->needs_eos && tokenizer_eos(t) < 0)) {
        error_set(err, GM_E_INPUT, "chat template %s: the tokenizer has no %s token", k->name,
                  k->needs_bos ? "bos" : "eos");
        return NULL;
    }
    struct chat_template *tpl = mem_new(1, sizeof *tpl);
    tpl->known = k;
    tpl->text = mem_copy(text);
    tpl->bos = piece_text(t, tokenizer_bos(t));
    tpl->eos = piece_text(t, tokenizer_eos(t));
    return tpl;
}

struct chat_template *chat_template_from_name(const char *name, const struct tokenizer *t,
                                              struct gm_error *err)
{
    const struct chat_known *k = known_by_name(name);
    if (k)
        return make(k, k->text, t, err);
    error_set(err, GM_E_USAGE,
              "chat template \"%.80s\" is not known (known are gemma3, zephyr, smollm2)", name);
    return NULL;
}

struct chat_template *chat_template_from_text(const char *text, const struct tokenizer *t,
                                              struct gm_error *err)
{
    const struct chat_known *k = known_by_text(text);
    if (k)
        return make(k, text, t, err);
    error_set(err, GM_E_UNSUPPORTED,
              "chat template is not one of those known: gemma3, zephyr, smollm2 (name the one that "
              "fits with --chat-template)");
    return NULL;
}

/* `chat_template` of a tokenizer_config.json: a text, or a list of named ones, where "default"
 * counts. */
static const char *template_in(const json_t *config)
{
    const json_t *v = json_object_get(config, "chat_template"), *item;
    if (json_is_string(v))
        return json_string_value(v);
    size_t i;
    json_array_foreach(v, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(item, "template"));
    }
    return NULL;
}

/* Appends the model's own template; *found tells whether there is one. */
static bool own_text(const struct model_source *src, struct str *out, bool *found,
                     struct gm_error *err)
{
    *found = false;
    if (src->kind == SOURCE_GGUF) {
        struct gguf_text text = {"", 0};
        if (!gguf_string(src->gguf, "tokenizer.chat_template", OPTIONAL, &text, err))
            return false;
        str_add_n(out, text.data, text.len);
        *found = text.len > 0;
        return true;
    }
    if (model_source_has_file(src, "chat_template.jinja")) {
        *found = true;
        return model_source_read_file(src, "chat_template.jinja", TEMPLATE_MAX, out, err);
    }
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    for (int i = 0; i < 2 && !*found; i++) {
        if (!model_source_has_file(src, files[i]))
            continue;
        json_t *config = model_source_read_json(src, files[i], CONFIG_MAX, err);
        if (!config)
            return false;
        const char *text = template_in(config);
        if (text)
            str_add(out, text);
        *found = text != NULL;
        json_decref(config);
    }
    return true;
}

struct chat_template *chat_template_open(const struct model_source *src, const struct tokenizer *t,
                                         const char *override, struct gm_error *err)
{
    if (override && known_by_name(override))
        return chat_template_from_name(override, t, err);
    struct str text = {0};
    struct chat_template *tpl = NULL;
    if (override) {
        if (!file_exists(override)) {
            error_set(err, GM_E_USAGE,
                      "chat template \"%.200s\" is neither a known name nor a file (known are "
                      "gemma3, zephyr, smollm2)",
                      override);
            return NULL;
        }
        if (file_read_all(override, TEMPLATE_MAX, &text, err))
            tpl = chat_template_from_text(str_text(&text), t, err);
        if (!tpl)
            error_context(err, "read %s", override);
        str_free(&text);
        return tpl;
    }
    bool found;
    if (own_text(src, &text, &found, err)) {
        if (found)
            tpl = chat_template_from_text(str_text(&text), t, err);
        else
            error_set(err, GM_E_INPUT,
                      "there is none with the model (name one with --chat-template: gemma3, "
                      "zephyr, smollm2)");
    }
    if (!tpl)
        error_context(err, "open chat template of %s", src->name);
    str_free(&text);
    return tpl;
}

void chat_template_free(struct chat_template *tpl)
{
    if (!tpl)
        return;
    mem_free(tpl->text);
    mem_free(tpl->bos);
    mem_free(tpl->eos);
    mem_free(tpl);
}

const char *chat_template_name(const struct chat_template *tpl)
{
    return tpl->known->name;
}
const char *chat_template_text(const struct chat_template *tpl)
{
    return tpl->text;
}

void chat_spans_free(struct chat_spans *s)
{
    mem_free(s->content);
    mem_free(s->turn);
    *s = (struct chat_spans){0};
}

bool chat_render(const struct chat_template *tpl, const struct chat_message *messages, size_t n,
                 bool add_generation_prompt, struct str *text, struct chat_spans *spans,
                 struct gm_error *err)
{
    if (n == 0)
        return error_set(err, GM_E_INPUT, "render chat: there is no message");
    struct chat_writer w = {.text = text, .spans = spans, .bos = tpl->bos, .eos = tpl->eos};
    return tpl->known->render(&w, messages, n, add_generation_prompt, err);
}

static bool prompt_agrees(const struct chat_template *tpl, const struct chat_message *messages,
                          size_t n, const struct str *whole, size_t until, struct gm_error *err)
{
    struct str prompt = {0};
    bool ok = chat_render(tpl, messages, n, true, &prompt, NULL, err);
    if (ok && (prompt.len != until || memcmp(str_text(&prompt), str_text(whole), until) != 0))
        ok = error_set(
            err, GM_E_INPUT,
            "render chat: what stands before message %zu is not the prompt that would ask for it",
            n + 1);
    str_free(&prompt);
    return ok;
}

enum { PROMPTS_CHECKED = 64 };

static bool prompts_agree(const struct chat_template *tpl, const struct chat_message *messages,
                          size_t n, const struct str *whole, const struct chat_spans *spans,
                          struct gm_error *err)
{
    size_t turn = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(messages[i].role, "assistant") != 0)
            continue;
        bool check = i > 0 && turn + PROMPTS_CHECKED >=
                                  spans->n_turns; /* all, but for conversations of absurd length */
        if (check && !prompt_agrees(tpl, messages, i, whole, spans->turn[turn].begin, err))
            return false;
        turn++;
    }
    return true;
}

bool chat_encode(const struct chat_template *tpl, const struct tokenizer *t,
                 const struct chat_message *messages, size_t n, bool add_generation_prompt,
                 struct id_list *ids, uint8_t **supervised, struct gm_error *err)
{
    struct str text = {0};
    struct chat_spans spans = {0};
    id_list_clear(ids);
    bool ok = chat_render(tpl, messages, n, add_generation_prompt, &text, &spans, err) &&
              (!supervised || prompts_agree(tpl, messages, n, &text, &spans, err)) &&
              tokenizer_encode_spans(t, str_text(&text), text.len, spans.content, spans.n_content,
                                     0, ids, err);
    if (ok && supervised) {
        *supervised = mem_new(ids->n ? ids->n : 1, 1);
        size_t turn = 0;
        for (size_t i = 0; i < ids->n; i++) {
            while (turn < spans.n_turns && spans.turn[turn].end <= ids->starts[i])
                turn++;
            (*supervised)[i] = turn < spans.n_turns && spans.turn[turn].begin <= ids->starts[i];
        }
    }
    str_free(&text);
    chat_spans_free(&spans);
    return ok;
}

static void add_stop(const struct tokenizer *t, int32_t id, int32_t out[8], size_t *n)
{
    if (id < 0 || !tokenizer_is_special(t, id) || *n == 8)
        return;
    for (size_t i = 0; i < *n; i++)
        if (out[i] == id)
            return;
    out[(*n)++] = id;
}

size_t chat_stop_ids(const struct chat_template *tpl, const struct tokenizer *t, int32_t out[8])
{
    size_t n = 0;
    for (int i = 0; tpl->known->stops[i]; i++)
        add_stop(t, tokenizer_id_of(t, tpl->known->stops[i]), out, &n);
    add_stop(t, tokenizer_eos(t), out, &n);
    return n;
}
