/* verse_view.c - a text with its syllables and its verdict, in the shape that the screens show. */
#include "src/workbench/state.h"

#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

char *clean_copy(const char *text, bool lines)
{
    struct str s = {0};
    if (text)
        text_clean(&s, text, strlen(text), lines, false);
    char *copy = mem_copy_n(str_text(&s), s.len);
    str_free(&s);
    return copy;
}

char *line_copy(const char *text)
{
    struct str s = {0};
    while (text && *text) {
        size_t n = strcspn(text, "\r\n"), breaks = strspn(text + n, "\r\n");
        text_clean(&s, text, n, false, false);
        if (breaks && text[n + breaks] && s.len)
            str_add(&s, " / ");
        text += n + breaks;
    }
    char *copy = mem_copy_n(str_text(&s), s.len);
    str_free(&s);
    return copy;
}

void verse_free(struct verse_text *v)
{
    mem_free(v->text);
    *v = (struct verse_text){0};
}

/* The same line twice: a small model that has lost its thread. */
static bool repeats(const char *text, size_t n)
{
    const char *lines[FORM_LINES], *line;
    size_t lengths[FORM_LINES], at = 0, length;
    for (int i = 0; i < FORM_LINES && form_next_line(text, n, &at, &line, &length); i++) {
        for (int j = 0; j < i; j++)
            if (lengths[j] == length && memcmp(lines[j], line, length) == 0)
                return true;
        lines[i] = line;
        lengths[i] = length;
    }
    return false;
}

static int syllables_off(const struct verdict *verdict, const struct form *form)
{
    int off = 0;
    for (int i = 0; i < form->n_lines; i++) {
        int d = verdict->syllables[i] - form->syllables[i];
        off += d < 0 ? -d : d;
    }
    return off;
}

enum view_verdict verse_decide(const struct verdict *verdict, const struct form *form, const char *text, size_t n)
{
    if (verdict->strict)
        return VERDICT_STRICT;
    if (verdict->possible)
        return VERDICT_POSSIBLE;
    if (verdict->n_lines <= FORM_LINES && repeats(text, n)) /* more lines: prose */
        return VERDICT_REPEATS;
    if (verdict->n_lines != form->n_lines)
        return VERDICT_LINES;
    return syllables_off(verdict, form) == 1 ? VERDICT_NEAR : VERDICT_WRONG;
}

static void say_why(struct verse_text *v, const struct verdict *verdict, const struct form *form)
{
    v->note[0] = 0;
    if (v->verdict == VERDICT_POSSIBLE)
        snprintf(v->note, sizeof v->note, "with another pronunciation");
    else if (v->verdict == VERDICT_REPEATS)
        snprintf(v->note, sizeof v->note, "a line twice");
    else if (verdict->n_lines > FORM_LINES)
        snprintf(v->note, sizeof v->note, "%d lines", verdict->n_lines);
    for (int i = 0; (v->verdict == VERDICT_NEAR || v->verdict == VERDICT_WRONG) && i < form->n_lines && !v->note[0]; i++)
        if (verdict->syllables[i] != form->syllables[i])
            snprintf(v->note, sizeof v->note, "line %d has %d, not %d", i + 1, verdict->syllables[i], form->syllables[i]);
}

void verse_set(struct verse_text *v, const struct syllables *s, const char *text, size_t n)
{
    const struct form *form = form_find("haiku");
    struct verdict verdict;
    struct line_count count = {0};
    struct str clean = {0};
    verse_free(v);
    text_clean(&clean, text, n, true, false);
    v->text = mem_copy_n(str_text(&clean), clean.len);
    str_free(&clean);
    size_t length = strlen(v->text), at = 0, line_length;
    const char *line;
    form_judge(s, form, v->text, length, &verdict);
    v->verdict = verse_decide(&verdict, form, v->text, length);
    say_why(v, &verdict, form);
    char *ends[FORM_LINES];
    while (v->n_lines < FORM_LINES && form_next_line(v->text, length, &at, &line, &line_length)) {
        syllables_line(s, line, line_length, &count);
        v->lines[v->n_lines] = (struct view_line){.text = line, .syllables = count.likely, .min = count.min, .max = count.max,
                                                  .want = v->n_lines < form->n_lines ? form->syllables[v->n_lines] : 0};
        ends[v->n_lines++] = v->text + (line - v->text) + line_length;
    }
    line_count_free(&count);
    if (verdict.n_lines > FORM_LINES) { /* prose: shown as it is */
        v->n_lines = 0;
        return;
    }
    for (int i = 0; i < v->n_lines; i++)
        *ends[i] = 0; /* each line by itself */
}

struct view_verse verse_view(const struct verse_text *v)
{
    return (struct view_verse){.lines = v->lines, .line_count = (size_t)v->n_lines, .verdict = v->verdict, .note = v->note[0] ? v->note : NULL};
}
