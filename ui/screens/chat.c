/* chat.c - screen 4: the conversation, from its end upwards; counts beside every finished line of verse. */
#include <stdio.h>
#include <string.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

enum { LABEL_COLS = 8, COUNT_COLS = 7 };

/* Lays the transcript out line by line. With a canvas it draws those lines that fall into the window, without it counts. */
struct roll {
    struct canvas *c;
    struct rect in;
    int line, first; /* next line from the top; the one at the top of the window */
};

static int roll_row(const struct roll *r)
{
    int row = r->line - r->first;
    return r->c && row >= 0 && row < r->in.rows ? r->in.row + row : -1;
}

static void roll_text(struct roll *r, const char *label, enum role label_role, enum role role, const char *text, int cols)
{
    struct wrap w = {.rest = text};
    bool first = true;
    while (wrap_next(&w, cols)) {
        int row = roll_row(r);
        if (row >= 0) {
            if (first && label)
                canvas_text(r->c, row, r->in.col + 1, LABEL_COLS - 1, label_role, label);
            canvas_text_n(r->c, row, r->in.col + 1 + LABEL_COLS, cols, role, w.line, w.len);
        }
        first = false;
        r->line++;
    }
}

static void stats(const struct view_chat_turn *t, char out[80])
{
    size_t used = 0;
    out[0] = '\0';
    if (t->streaming)
        used += (size_t)snprintf(out, 80, "...");
    else if (t->verse.verdict != VERDICT_NONE)
        used += (size_t)snprintf(out, 80, "%c %s", verse_mark(t->verse.verdict), verse_word(t->verse.verdict));
    if (t->stopped)
        used += (size_t)snprintf(out + used, 80 - used, "%sstopped", used ? "  " : "");
    if (t->tokens > 0)
        used += (size_t)snprintf(out + used, 80 - used, "%s%d tok%s", used ? "  " : "", t->tokens, t->cut ? "  cut" : "");
    if (t->tokens_per_s > 0 && t->streaming)
        used += (size_t)snprintf(out + used, 80 - used, "  %.0f tok/s", t->tokens_per_s);
    if (!t->streaming && t->seconds > 0)
        snprintf(out + used, 80 - used, "  %.*f s", t->seconds < 0.1 ? 2 : 1, t->seconds);
}

static void roll_model(struct roll *r, const struct view_chat_turn *t)
{
    int cols = r->in.cols - LABEL_COLS - 2, text_cols = cols - COUNT_COLS > 20 ? cols - COUNT_COLS : cols;
    int widest = 30, last_row = -1, last_cols = 0;
    for (size_t i = 0; i < t->verse.line_count; i++) {
        int w = width_text(t->verse.lines[i].text);
        widest = w > widest ? w : widest;
    }
    if (text_cols > widest + 2)
        text_cols = widest + 2;
    if (t->verse.line_count == 0)
        roll_text(r, "model", ROLE_CHAT_MODEL, ROLE_CHAT_MODEL, t->text && *t->text ? t->text : "...", cols);
    for (size_t i = 0; i < t->verse.line_count; i++) {
        const struct view_line *line = &t->verse.lines[i];
        bool live = t->streaming && i + 1 == t->verse.line_count;
        int before = r->line;
        roll_text(r, i == 0 ? "model" : NULL, ROLE_DIM, ROLE_CHAT_MODEL, line->text && *line->text ? line->text : " ", text_cols);
        r->line--;
        int row = roll_row(r);
        r->line++;
        last_row = row;
        last_cols = LABEL_COLS + text_cols + COUNT_COLS + 2;
        if (row < 0 || before == r->line)
            continue;
        char count[24];
        enum role role;
        verse_count(line, count, &role);
        if (live)
            canvas_put(r->c, row, r->in.col + 1 + LABEL_COLS + width_text(line->text) % (text_cols > 0 ? text_cols : 1), ROLE_MARK, 0x258f);
        else if (text_cols < cols)
            canvas_text(r->c, row, r->in.col + 1 + LABEL_COLS + text_cols, COUNT_COLS, role, count);
    }
    char text[80];
    stats(t, text);
    if (!text[0])
        return;
    int room = r->in.cols - last_cols - 2;
    if (t->verse.line_count > 0 && width_text(text) <= room) {
        if (last_row >= 0)
            canvas_text(r->c, last_row, r->in.col + last_cols + 1, room, t->streaming ? ROLE_DIM : verse_role(t->verse.verdict), text);
    } else
        roll_text(r, NULL, ROLE_DIM, t->streaming ? ROLE_DIM : verse_role(t->verse.verdict), text, cols);
    if (t->verse.note && !t->streaming)
        roll_text(r, NULL, ROLE_DIM, ROLE_DIM, t->verse.note, cols);
}

static void roll_all(struct roll *r, const struct view_chat *chat)
{
    for (size_t i = 0; i < chat->count; i++) {
        const struct view_chat_turn *t = &chat->turns[i];
        if (t->who == CHAT_MODEL)
            roll_model(r, t);
        else
            roll_text(r, t->who == CHAT_USER ? "you" : "--", t->who == CHAT_USER ? ROLE_CHAT_USER : ROLE_CHAT_NOTE,
                      t->who == CHAT_USER ? ROLE_CHAT_USER : ROLE_CHAT_NOTE, t->text && *t->text ? t->text : " ", r->in.cols - LABEL_COLS - 2);
        bool pair = t->who == CHAT_USER && i + 1 < chat->count && chat->turns[i + 1].who == CHAT_MODEL;
        r->line += !pair; /* a blank line between exchanges */
    }
}

void chat_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct view_chat *chat = &v->chat;
    struct rect box = ui->layout.pane[CHAT_PANE], in = rect_inside(box);
    char title[128], right[64];
    snprintf(title, sizeof title, "chat with %s", chat->who ? chat->who : "the model");
    title[utf8_complete_prefix(title, strlen(title))] = '\0';
    size_t used = (size_t)snprintf(right, sizeof right, "T %.2g", chat->temperature);
    if (chat->top_p > 0 && chat->top_p < 1)
        snprintf(right + used, sizeof right - used, "  top-p %.2g", chat->top_p);
    canvas_box(c, box, true, title, right);
    if (in.rows < 3)
        return;
    const char *help = ui->prompt != PROMPT_CHAT ? "i type   r answer again   PgUp PgDn scroll   5 talk to another checkpoint"
                       : chat->answering         ? "Ctrl-C stops the answer   PgUp PgDn scroll   Alt-1..7 other screens"
                                                 : "Enter sends  Esc or Alt-1..7 leave  /temp 0.9  /clear  /retry  /load live";
    canvas_fit(c, in.row + in.rows - 1, in.col + 1, in.cols - 2, ROLE_HINT, help);
    in.rows -= in.rows > 6 ? 2 : 1;
    if (chat->count == 0) {
        const char *const text[] = {"Say something: the model answers, also while it trains.", "Try:  an old pond in the rain"};
        for (int i = 0; i < 2 && i + 1 < in.rows; i++)
            canvas_fit(c, in.row + 1 + i, in.col + 3, in.cols - 4, ROLE_DIM, text[i]);
        return;
    }
    struct roll count = {.in = in};
    roll_all(&count, chat);
    int lines = count.line - 1; /* the last blank line does not count */
    ui->chat.most = lines > in.rows ? lines - in.rows : 0;
    if (ui->chat.scroll > ui->chat.most)
        ui->chat.scroll = ui->chat.most;
    struct roll draw = {.c = c, .in = in, .first = ui->chat.most - ui->chat.scroll};
    roll_all(&draw, chat);
    if (ui->chat.scroll > 0)
        canvas_printf(c, box.row + box.rows - 1, box.col + box.cols - 30, 26, ROLE_WARN, " %d lines below, PgDn ", ui->chat.scroll);
}
