/* chat_known.c - each known template: its text and its rendering, byte for byte what Jinja makes of
 * the published one. */
#include "engine/text/chat_known.h"

#include "engine/base/mem.h"
#include "engine/text/unicode.h"

#include <string.h>

static bool is(const char *role, const char *name)
{
    return strcmp(role, name) == 0;
}

static void add_span(struct text_span **list, size_t *n, size_t *cap, size_t begin, size_t end)
{
    *list = mem_room(*list, *n, cap, sizeof **list);
    (*list)[(*n)++] = (struct text_span){begin, end};
}

static void mark(struct chat_writer *w, const char *text)
{
    str_add(w->text, text);
}

/* What a person wrote. */
static void content_n(struct chat_writer *w, const char *text, size_t n)
{
    size_t begin = w->text->len;
    str_add_n(w->text, text, n);
    if (w->spans && n)
        add_span(&w->spans->content, &w->spans->n_content, &w->spans->cap_content, begin,
                 w->text->len);
}

static void content(struct chat_writer *w, const char *text)
{
    content_n(w, text, strlen(text));
}

/* From `begin` to here: an assistant's turn. */
static void end_turn(struct chat_writer *w, const char *role, size_t begin)
{
    if (w->spans && is(role, "assistant"))
        add_span(&w->spans->turn, &w->spans->n_turns, &w->spans->cap_turns, begin, w->text->len);
}

/* str.strip() of Python: White_Space and the four separators U+001C..001F. */
static bool is_trimmed(uint32_t c)
{
    return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static void trimmed(struct chat_writer *w, const char *text)
{
    const char *end = text + strlen(text), *last = text;
    uint32_t c;
    while (text < end) {
        int len = utf8_decode(text, end, &c);
        if (!is_trimmed(c))
            break;
        text += len;
    }
    last = text;
    for (const char *p = text; p < end;) {
        p += utf8_decode(p, end, &c);
        if (!is_trimmed(c))
            last = p;
    }
    content_n(w, text, (size_t)(last - text));
}

static bool render_gemma3(struct chat_writer *w, const struct chat_message *m, size_t n,
                          bool prompt, struct gm_error *err)
{
    mark(w, w->bos);
    const char *system = NULL;
    if (is(m[0].role, "system")) {
        system = m[0].content;
        m++;
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        if (is(m[i].role, "user") != (i % 2 == 0))
            return error_set(err, GM_E_INPUT,
                             "Conversation roles must alternate user/assistant/user/assistant/...");
        mark(w, "<start_of_turn>");
        if (is(m[i].role, "assistant"))
            mark(w, "model");
        else
            content(w, m[i].role);
        mark(w, "\n");
        if (i == 0 && system) {
            content(w, system);
            mark(w, "\n\n");
        }
        size_t begin = w->text->len;
        trimmed(w, m[i].content);
        mark(w, "<end_of_turn>\n");
        end_turn(w, m[i].role, begin);
    }
    if (prompt)
        mark(w, "<start_of_turn>model\n");
    return true;
}

static bool render_zephyr(struct chat_writer *w, const struct chat_message *m, size_t n,
                          bool prompt, struct gm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!is(m[i].role, "user") && !is(m[i].role, "system") && !is(m[i].role, "assistant"))
            continue; /* as the template has it */
        mark(w, "<|");
        mark(w, m[i].role);
        mark(w, "|>\n");
        size_t begin = w->text->len;
        content(w, m[i].content);
        mark(w, w->eos);
        mark(w, "\n");
        end_turn(w, m[i].role, begin);
    }
    if (prompt)
        mark(w, "<|assistant|>\n");
    return true;
}

static bool render_smollm2(struct chat_writer *w, const struct chat_message *m, size_t n,
                           bool prompt, struct gm_error *err)
{
    if (!is(m[0].role, "system"))
        mark(w, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                "Hugging Face<|im_end|>\n");
    for (size_t i = 0; i < n; i++) {
        mark(w, "<|im_start|>");
        content(w, m[i].role);
        mark(w, "\n");
        size_t begin = w->text->len;
        content(w, m[i].content);
        mark(w, "<|im_end|>\n");
        end_turn(w, m[i].role, begin);
    }
    if (prompt)
        mark(w, "<|im_start|>assistant\n");
    return true;
}

static const struct chat_known list[] = {
    {
        .name = "gemma3",
        .text = "{{ bos_token }}{% set turns = messages %}{% set opening = '' %}{% if "
                "messages[0]['role'] == 'system' %}"
                "{% set turns = messages[1:] %}{% set opening = messages[0]['content'] + '\n\n' "
                "%}{% endif %}{% for turn in turns %}"
                "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                "{{ raise_exception('Conversation roles must alternate "
                "user/assistant/user/assistant/...') }}{% endif %}"
                "{{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) "
                "+ '\n' }}"
                "{% if loop.first %}{{ opening }}{% endif %}{{ (turn['content'] | trim) + "
                "'<end_of_turn>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        .published = {"7eea402f6a703ba8d7b3efc5b93ec0899a9c198e431aba82c0ceb7a0577806ab"},
        .marks = {"<start_of_turn>", "<end_of_turn>"},
        .stops = {"<end_of_turn>"},
        .needs_bos = true,
        .render = render_gemma3,
    },
    {
        .name = "zephyr",
        .text = "{% for turn in messages %}{% if turn['role'] in ['system', 'user', 'assistant'] %}"
                "{{ '<|' + turn['role'] + '|>\n' + turn['content'] + eos_token + '\n' }}{% endif "
                "%}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
        .published = {"8705a1897ece1a1b355e1f4d36687f331d6680f5d897d1ae314b3fc506e136b8"},
        .needs_eos = true,
        .render = render_zephyr,
    },
    {
        .name = "smollm2",
        .text = "{% if messages[0]['role'] != 'system' %}"
                "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                "Hugging Face<|im_end|>\n' }}{% endif %}"
                "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + "
                "turn['content'] + '<|im_end|>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        .published = {"b85639e34583e4599bb8912c5855e3be3643d9c886812e5db075bfa1056aeaad"},
        .marks = {"<|im_start|>", "<|im_end|>"},
        .stops = {"<|im_end|>", "<|endoftext|>"},
        .render = render_smollm2,
    },
    {.name = NULL},
};

const struct chat_known *chat_known_list(void)
{
    return list;
}
