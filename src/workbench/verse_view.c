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

void verse_free(struct verse_text *v)
{
    mem_free(v->text);
    *v = (struct verse_text){0};
}

/* The same line twice: a small model that has lost its thread. */
static bool repeats(const struct verse_text *v)
{
    for (int i = 0; i < v->n_lines; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(v->lines[i].text, v->lines[j].text) == 0)
                return true;
    return false;
}

static void decide(struct verse_text *v, const struct verdict *verdict, const struct form *form)
{
    v->note[0] = 0;
    if (verdict->strict) {
        v->verdict = VERDICT_STRICT;
    } else if (verdict->possible) {
        v->verdict = VERDICT_POSSIBLE;
        snprintf(v->note, sizeof v->note, "with another pronunciation");
    } else if (verdict->n_lines != form->n_lines) {
        v->verdict = VERDICT_LINES;
    } else {
        int off = 0;
        for (int i = 0; i < form->n_lines; i++) {
            int d = verdict->syllables[i] - form->syllables[i];
            off += d < 0 ? -d : d;
            if (d != 0 && !v->note[0])
                snprintf(v->note, sizeof v->note, "line %d has %d", i + 1, verdict->syllables[i]);
        }
        v->verdict = off == 1 ? VERDICT_NEAR : VERDICT_WRONG;
    }
    if (v->verdict != VERDICT_STRICT && repeats(v)) {
        v->verdict = VERDICT_REPEATS;
        snprintf(v->note, sizeof v->note, "a line twice");
    }
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
        v->verdict = VERDICT_LINES;
        snprintf(v->note, sizeof v->note, "%d lines", verdict.n_lines);
        return;
    }
    for (int i = 0; i < v->n_lines; i++)
        *ends[i] = 0; /* each line by itself */
    decide(v, &verdict, form);
}

struct view_verse verse_view(const struct verse_text *v)
{
    return (struct view_verse){.lines = v->lines, .line_count = (size_t)v->n_lines, .verdict = v->verdict, .note = v->note[0] ? v->note : NULL};
}
