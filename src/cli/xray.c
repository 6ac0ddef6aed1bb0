/* xray.c - one conversation, three ways to its ids, side by side. */
#include "src/cli/xray.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/export/modelfile.h"
#include "engine/export/ollama_template.h"
#include "engine/format/json.h"
#include "engine/format/model_source.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool conversation_read(const json_t *row, struct chat_message **messages, size_t *n, bool *generation, struct gm_error *err)
{
    const json_t *array = json_is_array(row) ? row : json_object_get(row, "messages");
    *generation = false;
    if (!json_is_array(array))
        return error_set(err, GM_E_INPUT, "read conversation: \"messages\" is no list");
    if (json_is_object(row) && !json_get_bool(row, "add_generation_prompt", OPTIONAL, generation, err))
        return false;
    *n = json_array_size(array);
    *messages = mem_new(*n ? *n : 1, sizeof **messages);
    for (size_t i = 0; i < *n; i++) {
        const json_t *m = json_array_get(array, i);
        if (!json_is_object(m))
            error_set(err, GM_E_INPUT, "message is no object");
        else if (json_get_string(m, "role", REQUIRED, &(*messages)[i].role, err) && json_get_string(m, "content", REQUIRED, &(*messages)[i].content, err))
            continue;
        mem_free(*messages);
        *messages = NULL;
        return error_context(err, "read message %zu", i + 1);
    }
    return true;
}

/* ---- the Modelfile's side ---- */

/* The tokenizer of the GGUF that FROM names, where it lies there: it says itself whether BOS is added. */
static void open_from(struct xray *x, const char *modelfile, const char *from)
{
    char *folder = path_folder(modelfile), *path = from[0] == '/' ? mem_copy(from) : path_join(folder, from);
    if (file_exists(path) && model_source_open_tokenizer(&x->gguf, path, NULL))
        x->gguf_tokenizer = tokenizer_open(&x->gguf, NULL);
    mem_free(folder);
    mem_free(path);
}

/* What Ollama puts in front: the MESSAGEs of the file, and its SYSTEM where the conversation brings none. */
static struct chat_message *with_modelfile(const struct modelfile *m, const struct chat_message *messages, size_t n, size_t *total, json_t *keep)
{
    struct chat_message *all = mem_new(n + m->n + 1, sizeof *all);
    const char *system = modelfile_value(m, "system");
    *total = 0;
    if (system && system[0] && n > 0 && strcmp(messages[0].role, "system") != 0)
        all[(*total)++] = (struct chat_message){"system", system};
    for (size_t i = 0; i < m->n; i++) {
        const char *colon = m->commands[i].parameter || strcmp(m->commands[i].name, "message") != 0 ? NULL : strstr(m->commands[i].value, ": ");
        if (!colon)
            continue;
        json_t *role = json_stringn(m->commands[i].value, (size_t)(colon - m->commands[i].value));
        json_array_append_new(keep, role);
        all[(*total)++] = (struct chat_message){json_string_value(role), colon + 2};
    }
    for (size_t i = 0; i < n; i++)
        all[(*total)++] = messages[i];
    return all;
}

static bool ollama_side(struct xray *x, const struct session *s, const struct chat_message *messages, size_t n, const char *path,
                        struct gm_error *err)
{
    struct ollama_template derived = {0};
    struct modelfile m = {0};
    struct str file = {0};
    struct gm_error none = {0};
    const char *text = NULL;
    bool ok = true, add_bos = tokenizer_adds_bos(s->tokenizer);
    x->ollama_tokenizer = s->tokenizer;
    if (path) {
        x->source = mem_copy(path);
        ok = file_read_all(path, 4 << 20, &file, err) && modelfile_read(&m, str_text(&file), file.len, path, err);
        if (ok && !(text = modelfile_value(&m, "template")))
            snprintf(x->why_none, sizeof x->why_none, "%s has no TEMPLATE", path);
        if (ok)
            open_from(x, path, modelfile_value(&m, "from"));
        if (x->gguf_tokenizer) {
            x->ollama_tokenizer = x->gguf_tokenizer;
            add_bos = tokenizer_adds_bos(x->gguf_tokenizer);
        }
    } else if (ollama_template_derive(&derived, s->tpl, s->tokenizer, &none)) {
        text = derived.text;
        add_bos = derived.add_bos;
    } else
        snprintf(x->why_none, sizeof x->why_none, "%s", none.text);
    struct go_template *go = ok && text ? go_template_parse(text, strlen(text), err) : NULL;
    if (ok && text && (ok = go != NULL)) {
        size_t total;
        json_t *keep = json_array();
        struct chat_message *all = with_modelfile(&m, messages, n, &total, keep);
        ok = ollama_ids(go, add_bos, x->ollama_tokenizer, all, total, &x->ollama, &x->ollama_text, err);
        x->ollama_agrees = ok && id_list_same(&x->ollama, &x->chat);
        x->put_in_front = total != n;
        if (ok && !x->ollama_agrees)
            x->reasons = total == n ? ollama_explain(go, add_bos, s->tpl, s->tokenizer, messages, n, &none) : UINT_MAX;
        mem_free(all);
        json_decref(keep);
    }
    if (!ok && path)
        error_context(err, "build the prompt of %s", path);
    go_template_free(go);
    ollama_template_free(&derived);
    modelfile_free(&m);
    str_free(&file);
    return ok;
}

static bool begins_with(const struct id_list *whole, const struct id_list *part)
{
    return whole->n >= part->n && memcmp(whole->ids, part->ids, part->n * sizeof *part->ids) == 0;
}

/* A row that training refuses has ids, too; *why says why. */
static bool training_side(struct xray *x, const struct session *s, const struct chat_message *messages, size_t n, struct gm_error *why,
                          struct gm_error *err)
{
    return chat_encode(s->tpl, s->tokenizer, messages, n, false, &x->training, &x->supervised, why) ||
           chat_encode(s->tpl, s->tokenizer, messages, n, false, &x->training, NULL, err);
}

bool xray_make(struct xray *x, const struct session *s, const struct chat_message *messages, size_t n, const char *modelfile,
               struct gm_error *err)
{
    *x = (struct xray){0};
    struct gm_error why = {0};
    size_t asked = n > 1 && strcmp(messages[n - 1].role, "assistant") == 0 ? n - 1 : n;
    if (!chat_render(s->tpl, messages, asked, true, &x->chat_text, NULL, err) ||
        !chat_encode(s->tpl, s->tokenizer, messages, asked, true, &x->chat, NULL, err) ||
        !training_side(x, s, messages, n, &why, err) || !ollama_side(x, s, messages, asked, modelfile, err))
        return false;
    if (!x->supervised)
        x->supervised = mem_new(x->training.n + 1, 1);
    snprintf(x->why_refused, sizeof x->why_refused, "%s", why.text);
    x->has_answer = asked < n;
    x->training_agrees = !x->has_answer || (!why.text[0] && begins_with(&x->training, &x->chat));
    return true;
}

void xray_free(struct xray *x)
{
    id_list_free(&x->training);
    id_list_free(&x->chat);
    id_list_free(&x->ollama);
    mem_free(x->supervised);
    str_free(&x->chat_text);
    str_free(&x->ollama_text);
    mem_free(x->source);
    tokenizer_free(x->gguf_tokenizer);
    model_source_close(&x->gguf);
}

/* ---- showing it ---- */

static void print_id(const struct id_list *list, size_t i, bool there)
{
    if (there)
        printf(" %9d", list->ids[i]);
    else
        printf(" %9s", "");
}

static void print_piece(const struct tokenizer *t, int32_t id)
{
    size_t n = 0;
    const char *piece = tokenizer_piece(t, id, &n);
    struct str clean = {0};
    text_clean(&clean, piece ? piece : "", piece ? n : 0, false, true); /* a line break is shown, not made */
    fputs(str_text(&clean), stdout);
    str_free(&clean);
}

/* One row; SIZE_MAX: nothing there. `differs` where two that stand there are not the same. */
static void print_row(const struct xray *x, const struct session *s, size_t training, size_t chat, size_t ollama)
{
    bool t = training < x->training.n, c = chat < x->chat.n, o = ollama < x->ollama.n;
    bool inside = c || o; /* behind the prompt the training goes on alone: its answer */
    bool differs = (inside && x->ollama.n > 0 && (c != o || x->chat.ids[chat] != x->ollama.ids[ollama])) ||
                   (x->has_answer && c && t && x->training.ids[training] != x->chat.ids[chat]);
    printf("%c%c", differs ? '*' : ' ', t && x->supervised[training] ? '+' : ' ');
    print_id(&x->training, training, t);
    print_id(&x->chat, chat, c);
    if (x->ollama.n)
        print_id(&x->ollama, ollama, o);
    printf("  ");
    if (c || t)
        print_piece(s->tokenizer, c ? x->chat.ids[chat] : x->training.ids[training]);
    if (differs && o) {
        printf("  | ");
        print_piece(x->ollama_tokenizer, x->ollama.ids[ollama]);
    }
    putchar('\n');
}

/* Where chat and Ollama part they are laid side by side again at the ids that they share, in order: a longest common subsequence.
 * lengths[i * (no + 1) + j]: of chat's i first and Ollama's j first. */
static uint16_t *common_lengths(const int32_t *chat, size_t nc, const int32_t *ollama, size_t no)
{
    enum { CELLS_MAX = 1 << 24 };
    if (nc >= UINT16_MAX || no >= UINT16_MAX || (nc + 1) * (no + 1) > CELLS_MAX)
        return NULL; /* then row by row */
    uint16_t *lengths = mem_new((nc + 1) * (no + 1), sizeof *lengths);
    for (size_t i = 1; i <= nc; i++)
        for (size_t j = 1; j <= no; j++) {
            uint16_t *at = lengths + i * (no + 1) + j, up = at[-(ptrdiff_t)(no + 1)], left = at[-1];
            *at = chat[i - 1] == ollama[j - 1] ? (uint16_t)(at[-(ptrdiff_t)(no + 2)] + 1) : up > left ? up : left;
        }
    return lengths;
}

/* Chat's ids [c, c_end) and Ollama's [o, o_end), which share none. */
static void print_apart(const struct xray *x, const struct session *s, size_t c, size_t c_end, size_t o, size_t o_end)
{
    while (c < c_end || o < o_end) {
        size_t at = c < c_end ? c++ : SIZE_MAX;
        print_row(x, s, at, at, o < o_end ? o++ : SIZE_MAX);
    }
}

static void print_middle(const struct xray *x, const struct session *s, size_t head, size_t nc, size_t no)
{
    const int32_t *chat = x->chat.ids + head, *ollama = x->ollama.n ? x->ollama.ids + head : NULL;
    uint16_t *lengths = common_lengths(chat, nc, ollama, no);
    size_t *match = mem_new(nc + 1, sizeof *match); /* Ollama's place + 1 of an id of chat's; 0: it has none */
    for (size_t i = nc, j = no; lengths && i > 0 && j > 0;) {
        if (chat[i - 1] == ollama[j - 1])
            match[--i] = j--;
        else if (lengths[(i - 1) * (no + 1) + j] >= lengths[i * (no + 1) + j - 1])
            i--;
        else
            j--;
    }
    size_t c = 0, o = 0;
    for (size_t i = 0; i < nc; i++) {
        if (!match[i])
            continue;
        print_apart(x, s, head + c, head + i, head + o, head + match[i] - 1);
        print_row(x, s, head + i, head + i, head + match[i] - 1);
        c = i + 1;
        o = match[i];
    }
    print_apart(x, s, head + c, head + nc, head + o, head + no);
    mem_free(match);
    mem_free(lengths);
}

void xray_print(const struct xray *x, const struct session *s)
{
    printf("   training      chat%s\n", x->ollama.n ? x->source ? " Modelfile" : "    Ollama" : "");
    size_t head = 0, tail = 0, c = x->chat.n, o = x->ollama.n;
    while (head < c && head < o && x->chat.ids[head] == x->ollama.ids[head])
        head++;
    while (tail < c - head && o > head && tail < o - head && x->chat.ids[c - 1 - tail] == x->ollama.ids[o - 1 - tail])
        tail++;
    for (size_t i = 0; i < head; i++)
        print_row(x, s, i, i, i);
    print_middle(x, s, head, c - head - tail, o > head + tail ? o - head - tail : 0);
    for (size_t i = 0; i < tail; i++)
        print_row(x, s, c - tail + i, c - tail + i, o - tail + i);
    for (size_t i = c; i < x->training.n; i++)
        print_row(x, s, i, SIZE_MAX, SIZE_MAX);
}

/* Sentences; none where the ids are the same. */
static int reasons(const struct xray *x, const char *why[OLLAMA_DIFFERS_COUNT + 1])
{
    int n = 0;
    if (x->ollama.n == 0 || x->ollama_agrees)
        return 0;
    for (unsigned i = 0; i < OLLAMA_DIFFERS_COUNT && x->reasons != UINT_MAX; i++)
        if (x->reasons >> i & 1)
            why[n++] = ollama_differs_text(1u << i);
    if (x->put_in_front)
        why[n++] = "the Modelfile's SYSTEM or MESSAGE puts more in front of the conversation (to compare, put it into the conversation as well)";
    else if (n == 0)
        why[n++] = ollama_differs_text(0);
    return n;
}

void xray_notes(const struct xray *x, const struct general *g)
{
    if (!x->training_agrees)
        cli_note(g, "training differs from chat: %s", x->why_refused[0] ? x->why_refused : "the prompt is not the beginning of what is trained");
    if (x->ollama.n == 0)
        cli_note(g, "Ollama: %s", x->why_none);
    const char *why[OLLAMA_DIFFERS_COUNT + 1];
    for (int i = 0, n = reasons(x, why); i < n; i++)
        cli_note(g, "Ollama differs: %s", why[i]);
    if (x->training_agrees && x->ollama_agrees)
        cli_note(g, "training, chat and Ollama: the same ids");
}

static json_t *ids_json(const struct id_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(array, json_integer(list->ids[i]));
    return array;
}


void xray_json(const struct xray *x, json_t *out)
{
    json_t *supervised = json_array();
    for (size_t i = 0; i < x->training.n; i++)
        json_array_append_new(supervised, json_integer(x->supervised[i]));
    json_object_set_new(out, "training", json_pack("{s:o, s:o, s:b}", "ids", ids_json(&x->training), "supervised", supervised, "agrees",
                                                   (int)x->training_agrees));
    json_object_set_new(out, "chat", json_pack("{s:o, s:o}", "ids", ids_json(&x->chat), "text",
                                               json_stringn(str_text(&x->chat_text), x->chat_text.len)));
    json_t *m = json_object();
    json_object_set_new(m, "source", x->source ? json_text(x->source) : json_string("derived"));
    if (x->ollama.n) {
        json_object_set_new(m, "ids", ids_json(&x->ollama));
        json_object_set_new(m, "text", json_text(str_text(&x->ollama_text)));
        json_object_set_new(m, "agrees", json_boolean(x->ollama_agrees));
        const char *why[OLLAMA_DIFFERS_COUNT + 1];
        json_t *list = json_array();
        for (int i = 0, n = reasons(x, why); i < n; i++)
            json_array_append_new(list, json_string(why[i]));
        json_object_set_new(m, "why", list);
    } else
        json_object_set_new(m, "error", json_text(x->why_none));
    json_object_set_new(out, "modelfile", m);
    json_object_set_new(out, "equal", json_boolean(x->training_agrees && x->ollama_agrees));
}
