/* chat_template.c - which template it is, what it is given, and the text that it makes. */
#include "engine/text/chat_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/model_source.h"

#include <string.h>

enum { TEMPLATE_MAX = 1 << 20, CONFIG_MAX = 16 << 20 };

/* ---- opening ---- */

static char *piece_text(const struct tokenizer *t, int32_t id)
{
    const char *text = tokenizer_piece(t, id, NULL);
    return text ? mem_copy(text) : NULL;
}

static struct chat_template *make(const char *text, size_t n, const char *name,
                                  const struct tokenizer *t, struct gm_error *err)
{
    if (memchr(text, 0, n)) {
        error_set(err, GM_E_INPUT, "%s: the template holds a NUL byte", name);
        return NULL;
    }
    struct jinja_template *jinja = jinja_open(text, n, name, err);
    if (!jinja)
        return NULL;
    struct chat_template *tpl = mem_new(1, sizeof *tpl);
    tpl->jinja = jinja;
    tpl->tokenizer = t;
    tpl->name = mem_copy(name);
    tpl->text = mem_copy_n(text, n);
    tpl->bos = piece_text(t, tokenizer_bos(t));
    tpl->eos = piece_text(t, tokenizer_eos(t));
    tpl->pad = piece_text(t, tokenizer_pad(t));
    tpl->opened = time(NULL);
    return tpl;
}

/* The marks of a template taken by name have to be tokens of the model: else no answer could end. */
struct chat_template *chat_template_from_name(const char *name, const struct tokenizer *t,
                                              struct gm_error *err)
{
    const struct chat_named *k = chat_named(name);
    if (!k) {
        error_set(err, GM_E_USAGE,
                  "chat template \"%.80s\" is not known (known are " CHAT_NAMES ")", name);
        return NULL;
    }
    for (int i = 0; i < 4 && k->marks[i]; i++) {
        int32_t id = tokenizer_id_of(t, k->marks[i]);
        if (id >= 0 && tokenizer_is_special(t, id))
            continue;
        error_set(err, GM_E_INPUT,
                  "chat template %s: %s is no special token of this model (take the template that "
                  "the model was trained with)",
                  k->name, k->marks[i]);
        return NULL;
    }
    bool bos = !strstr(k->text, "bos_token") || tokenizer_bos(t) >= 0;
    if (!bos || (strstr(k->text, "eos_token") && tokenizer_eos(t) < 0)) {
        error_set(err, GM_E_INPUT, "chat template %s: the tokenizer has no %s token", k->name,
                  bos ? "eos" : "bos");
        return NULL;
    }
    return make(k->text, strlen(k->text), name, t, err);
}

struct chat_template *chat_template_from_text(const char *text, const struct tokenizer *t,
                                              struct gm_error *err)
{
    return make(text, strlen(text), "chat template", t, err);
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

/* Appends the model's own template; *from: where it stands, NULL if there is none. */
static bool own_text(const struct model_source *src, struct str *out, const char **from,
                     struct gm_error *err)
{
    *from = NULL;
    if (src->kind == SOURCE_GGUF) {
        struct gguf_text text = {"", 0};
        if (!gguf_string(src->gguf, "tokenizer.chat_template", OPTIONAL, &text, err))
            return false;
        str_add_n(out, text.data, text.len);
        *from = text.len > 0 ? "tokenizer.chat_template" : NULL;
        return true;
    }
    if (model_source_has_file(src, "chat_template.jinja")) {
        *from = "chat_template.jinja";
        return model_source_read_file(src, "chat_template.jinja", TEMPLATE_MAX, out, err);
    }
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    static const char *const places[] = {"tokenizer_config.json chat_template",
                                         "chat_template.json chat_template"};
    for (int i = 0; i < 2 && !*from; i++) {
        if (!model_source_has_file(src, files[i]))
            continue;
        json_t *config = model_source_read_json(src, files[i], CONFIG_MAX, err);
        if (!config)
            return false;
        const char *text = template_in(config);
        if (text)
            str_add(out, text);
        *from = text ? places[i] : NULL;
        json_decref(config);
    }
    return true;
}

static void add_end(struct chat_template *tpl, int64_t id)
{
    if (id >= 0 && id <= INT32_MAX && tpl->n_ends < 8)
        tpl->ends[tpl->n_ends++] = (int32_t)id;
}

/* eos_token_id: a number or a list. */
static void add_ends(struct chat_template *tpl, const json_t *config)
{
    const json_t *v = json_object_get(config, "eos_token_id"), *item;
    size_t i;
    if (json_is_integer(v))
        add_end(tpl, json_integer_value(v));
    json_array_foreach(v, i, item) if (json_is_integer(item))
        add_end(tpl, json_integer_value(item));
}

/* The ids that the files beside the weights name as ends. Damaged ones are the business of those
 * who read them for more. */
static void find_ends(struct chat_template *tpl, const struct model_source *src)
{
    if (src->kind == SOURCE_GGUF) {
        uint64_t id = 0;
        if (gguf_has(src->gguf, "tokenizer.ggml.eot_token_id") &&
            gguf_u64(src->gguf, "tokenizer.ggml.eot_token_id", OPTIONAL, 0, INT32_MAX, &id, NULL))
            add_end(tpl, (int64_t)id);
        return;
    }
    json_t *generation = model_source_has_file(src, "generation_config.json")
                             ? model_source_read_json(src, "generation_config.json", CONFIG_MAX, NULL)
                             : NULL;
    add_ends(tpl, generation);
    json_decref(generation);
    add_ends(tpl, src->config);
    add_ends(tpl, json_object_get(src->config, "text_config"));
}

static struct chat_template *open_override(const char *override, const struct tokenizer *t,
                                           struct gm_error *err)
{
    struct str text = {0};
    struct chat_template *tpl = NULL;
    if (chat_named(override))
        return chat_template_from_name(override, t, err);
    if (!file_exists(override)) {
        error_set(err, GM_E_USAGE,
                  "open chat template \"%.200s\": it is neither a known name nor a file (known are " CHAT_NAMES
                  ")",
                  override);
        return NULL;
    }
    if (!file_read_all(override, TEMPLATE_MAX, &text, err))
        error_context(err, "read %s", override);
    else
        tpl = make(str_text(&text), text.len, override, t, err);
    str_free(&text);
    return tpl;
}

static struct chat_template *open_own(const struct model_source *src, const struct tokenizer *t,
                                      struct gm_error *err)
{
    struct str text = {0};
    struct chat_template *tpl = NULL;
    const char *from;
    if (own_text(src, &text, &from, err)) {
        if (from)
            tpl = make(str_text(&text), text.len, from, t, err);
        else
            error_set(err, GM_E_INPUT,
                      "there is none with the model (give --chat-template NAME|FILE; names are "
                      CHAT_NAMES ")");
    }
    if (!tpl)
        error_context(err, "open chat template of %s", src->name);
    str_free(&text);
    return tpl;
}

struct chat_template *chat_template_open(const struct model_source *src, const struct tokenizer *t,
                                         const char *override, struct gm_error *err)
{
    struct chat_template *tpl = override ? open_override(override, t, err) : open_own(src, t, err);
    if (tpl)
        find_ends(tpl, src);
    return tpl;
}

bool chat_template_set_variables(struct chat_template *tpl, const char *json, struct gm_error *err)
{
    json_t *v = json_parse(json, strlen(json), "--chat-template-config", err);
    if (!v)
        return false;
    if (!json_is_object(v) || json_object_get(v, "messages") ||
        json_object_get(v, "add_generation_prompt")) {
        error_set(err, GM_E_USAGE,
                  "read --chat-template-config: %s",
                  json_is_object(v) ? "messages and add_generation_prompt are not set here"
                                    : "it is no JSON object ({\"name\": value, ...})");
        json_decref(v);
        return false;
    }
    json_decref(tpl->variables);
    tpl->variables = v;
    return true;
}

void chat_template_free(struct chat_template *tpl)
{
    if (!tpl)
        return;
    jinja_free(tpl->jinja);
    json_decref(tpl->variables);
    mem_free(tpl->name);
    mem_free(tpl->text);
    mem_free(tpl->bos);
    mem_free(tpl->eos);
    mem_free(tpl->pad);
    mem_free(tpl);
}

const char *chat_template_name(const struct chat_template *tpl)
{
    return tpl->name;
}
const char *chat_template_text(const struct chat_template *tpl)
{
    return tpl->text;
}

/* ---- rendering ---- */

void chat_text_free(struct chat_text *t)
{
    str_free(&t->text);
    str_free(&t->marks);
}

static void define_token(struct jinja *j, const char *name, const char *text)
{
    if (text)
        jinja_define(j, name, jinja_text(j, text, strlen(text), CHAT_MARK));
}

/* Roles that every template knows are its own words: "<|" + role + "|>" has to give the special
 * token. Any other role is what somebody wrote. */
static uint8_t role_mark(const char *role)
{
    static const char *const known[] = {"system", "user", "assistant", "tool", "developer"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(role, known[i]) == 0)
            return CHAT_MARK;
    return CHAT_WRITTEN;
}

static bool render(const struct chat_template *tpl, struct jinja *j, struct jinja_value messages,
                   const json_t *tools, bool add_generation_prompt, struct chat_text *out,
                   struct gm_error *err)
{
    const char *name;
    json_t *value;
    define_token(j, "bos_token", tpl->bos);
    define_token(j, "eos_token", tpl->eos);
    define_token(j, "pad_token", tpl->pad);
    jinja_define(j, "tools", tools ? jinja_of_json(j, tools, CHAT_WRITTEN) : jinja_none());
    jinja_define(j, "documents", jinja_none());
    json_object_foreach(tpl->variables, name, value)
        jinja_define(j, name, jinja_of_json(j, value, CHAT_MARK));
    jinja_define(j, "messages", messages);
    jinja_define(j, "add_generation_prompt", jinja_bool(add_generation_prompt));
    bool ok = jinja_render(j, &out->text, &out->marks, err);
    jinja_end(j);
    return ok;
}

static struct jinja_value key(struct jinja *j, const char *name)
{
    return jinja_text(j, name, strlen(name), CHAT_MARK);
}

bool chat_render_marked(const struct chat_template *tpl, const struct chat_message *messages,
                        size_t n, bool add_generation_prompt, struct chat_text *out,
                        struct gm_error *err)
{
    if (n == 0)
        return error_set(err, GM_E_INPUT, "render chat: there is no message");
    struct jinja *j = jinja_begin(tpl->jinja, tpl->opened);
    struct jinja_value list = jinja_list_new(j);
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        struct jinja_value m = jinja_dict_new(j);
        jinja_dict_put(j, m, key(j, "role"), jinja_text(j, role, strlen(role), role_mark(role)));
        jinja_dict_put(j, m, key(j, "content"),
                       jinja_text(j, content, strlen(content),
                                  i + 1 == n ? CHAT_LAST : CHAT_WRITTEN));
        jinja_list_add(j, list, m);
    }
    return render(tpl, j, list, NULL, add_generation_prompt, out, err);
}

bool chat_render_json(const struct chat_template *tpl, const json_t *messages, const json_t *tools,
                      bool add_generation_prompt, struct chat_text *out, struct gm_error *err)
{
    const json_t *item;
    size_t i;
    if (json_array_size(messages) == 0)
        return error_set(err, GM_E_INPUT, "render chat: there is no message");
    json_array_foreach(messages, i, item)
    {
        if (!json_is_object(item) || !json_is_string(json_object_get(item, "role")))
            return error_set(err, GM_E_INPUT, "read message %zu: %s", i + 1,
                             json_is_object(item) ? "\"role\" is no text" : "it is no object");
    }
    struct jinja *j = jinja_begin(tpl->jinja, tpl->opened);
    struct jinja_value list = jinja_list_new(j);
    json_array_foreach(messages, i, item)
    {
        const json_t *role = json_object_get(item, "role");
        struct jinja_value m = jinja_of_json(j, item, CHAT_WRITTEN);
        jinja_dict_put(j, m, key(j, "role"),
                       jinja_text(j, json_string_value(role), json_string_length(role),
                                  role_mark(json_string_value(role))));
        jinja_list_add(j, list, m);
    }
    return render(tpl, j, list, tools, add_generation_prompt, out, err);
}

static void add_span(struct text_span **list, size_t *n, size_t *cap, size_t begin, size_t end)
{
    *list = mem_room(*list, *n, cap, sizeof **list);
    (*list)[(*n)++] = (struct text_span){begin, end};
}

void chat_written(const struct chat_text *t, size_t begin, size_t end, struct chat_spans *spans)
{
    const char *marks = str_text(&t->marks);
    for (size_t i = begin, first; i < end;) {
        while (i < end && marks[i] == CHAT_MARK)
            i++;
        for (first = i; i < end && marks[i] != CHAT_MARK;)
            i++;
        if (i > first)
            add_span(&spans->content, &spans->n_content, &spans->cap_content, first - begin,
                     i - begin);
    }
}

void chat_spans_free(struct chat_spans *s)
{
    mem_free(s->content);
    mem_free(s->turn);
    *s = (struct chat_spans){0};
}
