/* tokenize.c - `gemmaiku tokenize`: what Hugging Face's tokenizer of the same files gives, for text, ids and conversations. */
#include "src/cli/cli.h"
#include "src/cli/xray.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <stdio.h>
#include <string.h>

struct tokenize_args {
    const char *model, *chat, *chat_template, *chat_config, *modelfile, *ids;
    bool no_special, literal, skip_special, jsonl, check;
};

static bool decode(const struct session *s, const struct tokenize_args *a, const int32_t *ids, size_t n, struct str *out, struct gm_error *err)
{
    return tokenizer_decode(s->tokenizer, ids, n, a->skip_special, out, err);
}

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static json_t *result_json(const int32_t *ids, size_t n, const struct str *text)
{
    json_t *o = json_object();
    json_object_set_new(o, "ids", ids_json(ids, n));
    json_object_set_new(o, "text", json_stringn(str_text(text), text->len));
    return o;
}

/* A NUL is a character of the text like any other: lengths are told, not searched. */
static bool encode(const struct session *s, const struct tokenize_args *a, const char *text, size_t n, struct id_list *ids, struct gm_error *err)
{
    unsigned flags = (a->no_special ? 0 : TOKENIZE_ADD_SPECIAL) | (a->literal ? TOKENIZE_LITERAL : 0);
    return tokenizer_encode(s->tokenizer, text, n, flags, ids, err);
}

/* Ids of a conversation as Hugging Face gives them: the rendered text, encoded with nothing added. With --literal, as training sees it. */
static bool encode_chat(const struct session *s, const struct tokenize_args *a, const json_t *row, struct id_list *ids, struct str *text,
                        struct gm_error *err)
{
    const json_t *messages = json_is_array(row) ? row : json_object_get(row, "messages"), *tools = json_object_get(row, "tools");
    bool generation = false;
    if (!json_is_array(messages))
        return error_set(err, GM_E_INPUT, "read conversation: \"messages\" is no list");
    if (json_is_object(row) && !json_get_bool(row, "add_generation_prompt", OPTIONAL, &generation, err))
        return false;
    return chat_encode_json(s->tpl, s->tokenizer, messages, json_is_null(tools) ? NULL : tools, generation, a->literal, text, ids, err);
}

static bool read_ids(const json_t *array, int32_t **ids, size_t *n, struct gm_error *err)
{
    *n = json_array_size(array);
    *ids = mem_new(*n ? *n : 1, sizeof **ids);
    for (size_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(array, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX) {
            mem_free(*ids);
            *ids = NULL;
            return error_set(err, GM_E_INPUT, "read ids: element %zu is no id", i + 1);
        }
        (*ids)[i] = (int32_t)json_integer_value(v);
    }
    return true;
}

static bool answer_row(const struct session *s, const struct tokenize_args *a, const json_t *row, struct gm_error *err)
{
    struct id_list ids = {0};
    struct str text = {0};
    bool ok;
    const json_t *array = json_object_get(row, "ids"), *plain = json_object_get(row, "text");
    if (json_is_array(array)) {
        int32_t *list;
        size_t n;
        ok = read_ids(array, &list, &n, err) && decode(s, a, list, n, &text, err);
        if (ok)
            cli_print_json(result_json(list, n, &text));
        mem_free(list);
        str_free(&text);
        return ok;
    }
    if (json_is_string(plain))
        ok = encode(s, a, json_string_value(plain), json_string_length(plain), &ids, err) && decode(s, a, ids.ids, ids.n, &text, err);
    else if (json_object_get(row, "messages"))
        ok = s->tpl ? encode_chat(s, a, row, &ids, &text, err)
                    : error_set(err, GM_E_INPUT, "render conversation: this model has no known chat template (give --chat-template)");
    else
        ok = error_set(err, GM_E_INPUT, "read row: it has neither \"text\" nor \"messages\" nor \"ids\"");
    if (ok)
        cli_print_json(result_json(ids.ids, ids.n, &text));
    id_list_free(&ids);
    str_free(&text);
    return ok;
}

static bool json_rows(const struct session *s, const struct tokenize_args *a, bool *all_good, struct gm_error *err)
{
    struct str line = {0};
    char label[48];
    for (int n = 1; cli_next_line(&line, err); n++) {
        if (line.len == 0)
            continue;
        struct gm_error bad = {0};
        snprintf(label, sizeof label, "standard input:%d", n);
        /* Jansson itself, not json_parse: a NUL inside a text is part of what is to be tokenised. */
        json_error_t where;
        json_t *row = json_loadb(str_text(&line), line.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
        if (!row)
            error_set(&bad, GM_E_INPUT, "read %s: column %d: %s", label, where.column, where.text);
        else if (!json_is_object(row))
            error_set(&bad, GM_E_INPUT, "read %s: the row is no object", label);
        if (bad.code != GM_OK || !answer_row(s, a, row, &bad)) {
            *all_good = false;
            cli_print_json(json_pack("{s:s}", "error", bad.text));
        }
        json_decref(row);
        fflush(stdout);
    }
    str_free(&line);
    return err->code == GM_OK;
}

static void print_result(const struct general *g, const struct session *s, const int32_t *ids, size_t n, const struct str *text, bool to_text)
{
    if (g->json) {
        cli_print_json(result_json(ids, n, text));
    } else if (to_text) {
        cli_print_clean(str_text(text), text->len);
        putchar('\n');
    } else {
        for (size_t i = 0; i < n; i++) {
            size_t length = 0;
            const char *piece = tokenizer_piece(s->tokenizer, ids[i], &length);
            printf("%7d  ", ids[i]);
            cli_print_clean(piece ? piece : "", piece ? length : 0);
            putchar('\n');
        }
    }
}

/* `--chat`: the ids, and the X-ray of the template that made them. */
static bool show_chat(const struct general *g, const struct session *s, const struct tokenize_args *a, const json_t *row, bool *agrees,
                      struct gm_error *err)
{
    struct id_list ids = {0};
    struct str text = {0};
    struct xray x = {0};
    struct chat_message *messages = NULL;
    size_t n;
    struct gm_error other = {0};
    bool generation, ok = encode_chat(s, a, row, &ids, &text, err), xray = false;
    if (ok) /* tools, contents that are lists, prompts that the template refuses: Hugging Face's ids alone */
        xray = !json_object_get(row, "tools") && conversation_read(row, &messages, &n, &generation, &other) &&
               xray_make(&x, s, messages, n, a->modelfile, &other);
    if (ok && !xray && (a->modelfile || a->check)) {
        if (!other.code)
            error_set(&other, GM_E_UNSUPPORTED, "compare ids: a conversation with tools has no side in a Modelfile");
        *err = other;
        ok = false;
    } else if (ok && !xray) {
        print_result(g, s, ids.ids, ids.n, &text, false);
    } else if (ok && g->json) {
        json_t *o = result_json(ids.ids, ids.n, &text);
        xray_json(&x, o);
        cli_print_json(o);
    } else if (ok) {
        xray_print(&x, s);
        xray_notes(&x, g);
    }
    *agrees = ok && x.training_agrees && x.ollama_agrees;
    mem_free(messages);
    xray_free(&x);
    id_list_free(&ids);
    str_free(&text);
    return ok;
}

static bool one(const struct general *g, const struct session *s, const struct tokenize_args *a, const struct arg_spec *spec, bool *agrees,
                struct gm_error *err)
{
    struct id_list ids = {0};
    struct str text = {0}, out = {0};
    bool ok = true;
    if (a->ids) {
        int32_t *list;
        int n;
        ok = cli_parse_ids(a->ids, &list, &n, err) && decode(s, a, list, (size_t)n, &out, err);
        if (ok)
            print_result(g, s, list, (size_t)n, &out, true);
        mem_free(list);
    } else if (a->chat) {
        json_t *file = NULL;
        if (strcmp(a->chat, "-") != 0)
            file = json_load_file_checked(a->chat, 16 << 20, err);
        else if (cli_read_stdin(&text, 16 << 20, err))
            file = json_parse(str_text(&text), text.len, "standard input", err);
        ok = file && show_chat(g, s, a, file, agrees, err);
        json_decref(file);
    } else {
        for (int i = 0; i < spec->n_words; i++)
            str_printf(&text, "%s%s", i ? " " : "", spec->words[i]);
        ok = spec->n_words > 0 || cli_read_stdin(&text, 64 << 20, err);
        ok = ok && encode(s, a, str_text(&text), text.len, &ids, err) && decode(s, a, ids.ids, ids.n, &out, err);
        if (ok)
            print_result(g, s, ids.ids, ids.n, &out, false);
    }
    id_list_free(&ids);
    str_free(&text);
    str_free(&out);
    return ok;
}

int command_tokenize(int argc, char **argv)
{
    struct general g = {0};
    struct tokenize_args a = {0};
    int status;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &a.model, "MODEL", "whose tokenizer (a folder with a tokenizer only is enough); default nano", 0, 0, NULL, NULL},
        {"--chat", ARG_TEXT, &a.chat, "FILE", "a JSON file (or - for standard input) with a conversation: {\"messages\": [...], \"add_generation_prompt\": true}", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(a.chat_template, a.chat_config),
        {"--modelfile", ARG_TEXT, &a.modelfile, "FILE", "with --chat: the TEMPLATE of this Modelfile instead of one derived from the chat template", 0, 0, NULL, NULL},
        {"--check", ARG_FLAG, &a.check, NULL, "with --chat: exit 3 where the ids for training, for chat and of the Modelfile are not the same", 0, 0, NULL, NULL},
        {"--no-special", ARG_FLAG, &a.no_special, NULL, "add nothing (no beginning-of-sequence)", 0, 0, NULL, NULL},
        {"--literal", ARG_FLAG, &a.literal, NULL, "special strings in the text stay text", 0, 0, NULL, NULL},
        {"--skip-special", ARG_FLAG, &a.skip_special, NULL, "leave special tokens out when decoding", 0, 0, NULL, NULL},
        {"--ids", ARG_TEXT, &a.ids, "1,2,3", "decode these ids", 0, 0, NULL, NULL},
        {"--jsonl", ARG_FLAG, &a.jsonl, NULL, "rows of standard input: {\"text\"}, {\"messages\"} or {\"ids\"}; {\"ids\", \"text\"} or {\"error\"} out", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "tokenize", .positional = "[TEXT...]", .table = table, .max_words = 256,
                            .summary = "Ids of TEXT (or of standard input), text of ids, conversations through the chat template: ids for training, "
                                       "for chat, and as Ollama would build them, side by side."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    if (!a.chat && (a.modelfile || a.check)) {
        error_set(&err, GM_E_USAGE, "read command line: --modelfile and --check go with --chat");
        return cli_fail(&err);
    }
    struct session s;
    struct session_options o = {.model = a.model, .chat_template = a.chat_template, .chat_template_config = a.chat_config,
                                .needs_template = a.chat || a.chat_template};
    if (!session_open(&s, &o, &g, &err))
        return cli_fail(&err);
    if (!s.tpl) { /* rows of --jsonl may be conversations; those that are not need no template */
        struct gm_error none = {0};
        session_template(&s, &o, &none);
    }
    bool good = true, agrees = true, ok = a.jsonl ? json_rows(&s, &a, &good, &err) : one(&g, &s, &a, &spec, &agrees, &err);
    session_close(&s);
    return !ok ? cli_fail(&err) : cli_end(!good ? EXIT_FAILED : a.check && !agrees ? EXIT_CHECK : EXIT_DONE);
}
