/* verse_json.c - counts and verdicts as JSON. */
#include "engine/verse/verse_json.h"

#include "engine/base/mem.h"
#include "engine/base/str.h"

/* Bytes as a JSON string: what is not UTF-8, and NUL, becomes U+FFFD. */
static json_t *text_json(const char *text, size_t n)
{
    struct str clean = {0};
    for (const char *p = text, *end = text + n; p < end;) {
        uint32_t scalar;
        p += utf8_decode(p, end, &scalar);
        str_add_utf8(&clean, scalar ? scalar : 0xFFFD);
    }
    json_t *json = json_stringn(str_text(&clean), clean.len);
    str_free(&clean);
    return json;
}

static json_t *word_json(const char *line, const struct word_count *word)
{
    json_t *alternatives = json_array();
    for (int i = 0; i < word->n_alternatives; i++)
        json_array_append_new(alternatives, json_integer(word->alternatives[i]));
    json_t *json = json_object();
    json_object_set_new(json, "word", text_json(line + word->start, word->length));
    json_object_set_new(json, "syllables", json_integer(word->likely));
    json_object_set_new(json, "alternatives", alternatives);
    json_object_set_new(json, "source", json_string(word->source));
    return json;
}

static json_t *line_json(const struct syllables *s, const char *line, size_t n,
                         struct line_count *count)
{
    syllables_line(s, line, n, count);
    json_t *words = json_array();
    for (size_t i = 0; i < count->n_words; i++)
        json_array_append_new(words, word_json(line, &count->words[i]));
    json_t *json = json_object();
    json_object_set_new(json, "text", text_json(line, n));
    json_object_set_new(json, "syllables", json_integer(count->likely));
    json_object_set_new(json, "min", json_integer(count->min));
    json_object_set_new(json, "max", json_integer(count->max));
    json_object_set_new(json, "words", words);
    return json;
}

json_t *verse_json_line(const struct syllables *s, const struct form *form, const char *text,
                        size_t n)
{
    struct verdict verdict;
    form_judge(s, form, text, n, &verdict);
    json_t *lines = json_array();
    struct line_count count = {0};
    const char *line;
    size_t at = 0, length;
    while (form_next_line(text, n, &at, &line, &length))
        json_array_append_new(lines, line_json(s, line, length, &count));
    line_count_free(&count);
    json_t *json = json_object();
    json_object_set_new(json, "text", text_json(text, n));
    json_object_set_new(json, "lines", lines);
    json_object_set_new(json, "form", json_string(verdict.form));
    json_object_set_new(json, "strict", json_boolean(verdict.strict));
    json_object_set_new(json, "possible", json_boolean(verdict.possible));
    json_object_set_new(json, "three_lines", json_boolean(verdict.three_lines));
    return json;
}

json_t *verse_json_verdict(const struct verdict *v)
{
    json_t *counts = json_array();
    for (int i = 0; i < v->n_lines && i < FORM_LINES; i++)
        json_array_append_new(counts, json_integer(v->syllables[i]));
    json_t *json = json_object();
    json_object_set_new(json, "form", json_string(v->form));
    json_object_set_new(json, "strict", json_boolean(v->strict));
    json_object_set_new(json, "possible", json_boolean(v->possible));
    json_object_set_new(json, "syllables", counts);
    return json;
}
