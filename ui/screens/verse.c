/* verse.c - how a checked line looks: its text, its count, and a sign that does not need colour. */
#include <stdio.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

char verse_mark(enum view_verdict verdict)
{
    static const char marks[] = {' ', '+', '?', '~', '!', '!', 'r'};
    return marks[verdict];
}

const char *verse_word(enum view_verdict verdict)
{
    static const char *const words[] = {"", "5-7-5", "maybe 5-7-5", "near", "wrong counts", "not three lines", "repeats itself"};
    return words[verdict];
}

enum role verse_role(enum view_verdict verdict)
{
    static const enum role roles[] = {ROLE_DIM, ROLE_SYL_OK, ROLE_SYL_MAYBE, ROLE_SYL_NEAR, ROLE_SYL_BAD, ROLE_SYL_BAD, ROLE_SYL_BAD};
    return roles[verdict];
}

const char *verse_count(const struct view_line *line, char out[24], enum role *role)
{
    bool unsure = line->min >= 0 && line->max > line->min;
    *role = ROLE_DIM;
    if (line->syllables < 0)
        snprintf(out, 24, "-");
    else if (line->want <= 0)
        snprintf(out, 24, "%d%s", line->syllables, unsure ? "~" : "");
    else if (line->syllables == line->want) {
        snprintf(out, 24, "%d%s ok", line->syllables, unsure ? "~" : "");
        *role = ROLE_SYL_OK;
    } else if (unsure && line->min <= line->want && line->want <= line->max) {
        snprintf(out, 24, "%d~ %d?", line->syllables, line->want);
        *role = ROLE_SYL_MAYBE;
    } else {
        int n = snprintf(out, 24, "%d%s %+d", line->syllables, unsure ? "~" : "", line->syllables - line->want);
        if (n > VERSE_COUNT_COLS) /* prose: its count alone */
            snprintf(out, 24, "%d%s", line->syllables, unsure ? "~" : "");
        *role = ROLE_SYL_BAD;
    }
    return out;
}

int verse_draw(struct canvas *c, int row, int col, int rows, int cols, const struct view_verse *verse, bool whole)
{
    int text_cols = cols - VERSE_COUNT_COLS - 1, widest = 24;
    for (size_t i = 0; i < verse->line_count; i++) {
        int w = width_text(verse->lines[i].text);
        widest = w > widest ? w : widest;
    }
    if (text_cols > widest + 1)
        text_cols = widest + 1; /* the counts stand beside the verse, not at the far edge */
    int used = 0;
    for (size_t i = 0; i < verse->line_count && used < rows; i++) {
        const struct view_line *line = &verse->lines[i];
        char count[24];
        enum role role;
        verse_count(line, count, &role);
        canvas_fit(c, row + used, col + text_cols + 1, VERSE_COUNT_COLS, role, count);
        if (!whole) {
            canvas_fit(c, row + used++, col, text_cols, ROLE_CHAT_MODEL, line->text);
            continue;
        }
        struct wrap w = {.rest = line->text && *line->text ? line->text : " "};
        for (; used < rows && wrap_next(&w, text_cols); used++)
            canvas_text_n(c, row + used, col, text_cols, ROLE_CHAT_MODEL, w.line, w.len);
    }
    return used;
}
