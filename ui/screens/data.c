/* data.c - screen 1: the rows, their syllables and tokens; the selected row in full; what the checker says of all. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/mem.h"
#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const split_names[] = {"trn", "val", "tst"};
static const char *const sort_names[DATA_SORT_COUNT] = {"file", "tokens", "verdict", "prompt"};

/* ---- filter and order ---- */

void order_free(struct order *o)
{
    mem_free(o->index);
    memset(o, 0, sizeof *o);
}

void order_start(struct order *o, size_t of, uint64_t version)
{
    o->count = 0;
    o->of = of;
    o->version = version;
    o->valid = true;
}

void order_add(struct order *o, size_t i)
{
    o->index = mem_room(o->index, o->count, &o->capacity, sizeof *o->index);
    o->index[o->count++] = (uint32_t)i;
}

bool data_row_matches(const struct view_row *row, const char *text)
{
    return text_contains(row->prompt, text) || text_contains(row->first_line, text);
}

static bool passes(const struct view_row *row, const char *filter)
{
    if (!filter[0] || strcmp(filter, "all") == 0)
        return true;
    if (strcmp(filter, "bad") == 0)
        return row->verdict == VERDICT_NEAR || row->verdict >= VERDICT_WRONG;
    if (strcmp(filter, "maybe") == 0)
        return row->verdict == VERDICT_POSSIBLE;
    if (strcmp(filter, "dup") == 0)
        return row->duplicate_of > 0;
    if (strcmp(filter, "long") == 0)
        return row->truncated;
    if (strcmp(filter, "leak") == 0)
        return row->leak;
    if (strcmp(filter, "train") == 0)
        return row->split == VIEW_TRAIN;
    if (strcmp(filter, "valid") == 0)
        return row->split == VIEW_VALID;
    if (strcmp(filter, "test") == 0)
        return row->split == VIEW_TEST;
    return data_row_matches(row, filter);
}

struct sort_key {
    long number;
    uint32_t index;
    const char *text;
};

static int by_key(const void *a, const void *b)
{
    const struct sort_key *x = a, *y = b;
    if (x->text && y->text) {
        int order = strcasecmp(x->text, y->text);
        if (order)
            return order;
    }
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void sort_rows(const struct view_data *d, struct data_state *s)
{
    struct order *o = &s->order;
    if (s->sort == SORT_FILE || o->count < 2)
        return;
    struct sort_key *keys = mem_new(o->count, sizeof *keys);
    struct str texts = {0}; /* row() may reuse its memory: prompts are copied into one string, offsets kept in number */
    for (size_t i = 0; i < o->count; i++) {
        const struct view_row *row = d->row(d->ctx, o->index[i]);
        keys[i].index = o->index[i];
        keys[i].number = s->sort == SORT_TOKENS ? -(long)row->tokens : s->sort == SORT_VERDICT ? -(long)row->verdict : (long)texts.len;
        if (s->sort == SORT_PROMPT)
            str_add_n(&texts, row->prompt ? row->prompt : "", (row->prompt ? strlen(row->prompt) : 0) + 1);
    }
    for (size_t i = 0; s->sort == SORT_PROMPT && i < o->count; i++) {
        keys[i].text = texts.data + keys[i].number;
        keys[i].number = 0;
    }
    qsort(keys, o->count, sizeof *keys, by_key);
    for (size_t i = 0; i < o->count; i++)
        o->index[i] = keys[i].index;
    mem_free(keys);
    str_free(&texts);
}

void data_refresh(const struct view *v, struct ui_state *ui)
{
    const struct view_data *d = &v->data;
    struct data_state *s = &ui->data;
    if (s->order.valid && s->order.version == d->version && s->order.of == d->count)
        return;
    long before = s->order.valid && s->list.selected < s->order.count ? (long)s->order.index[s->list.selected] : -1;
    order_start(&s->order, d->count, d->version);
    bool all = !s->filter[0] || strcmp(s->filter, "all") == 0;
    for (size_t i = 0; i < d->count; i++)
        if (all || passes(d->row(d->ctx, i), s->filter))
            order_add(&s->order, i);
    sort_rows(d, s);
    for (size_t i = 0; before >= 0 && i < s->order.count; i++) /* stay on the same row */
        if (s->order.index[i] == (uint32_t)before) {
            s->list.selected = i;
            break;
        }
    list_move(&s->list, s->order.count, 0);
}

long data_selected(const struct view *v, struct ui_state *ui)
{
    data_refresh(v, ui);
    return ui->data.list.selected < ui->data.order.count ? (long)ui->data.order.index[ui->data.list.selected] : -1;
}

/* ---- the list ---- */

static void counts_text(const struct view_row *row, char out[24])
{
    size_t used = 0;
    out[0] = '\0';
    if (row->line_count < 0) {
        snprintf(out, 24, ".....");
        return;
    }
    if (row->line_count > 4) {
        snprintf(out, 24, "%d lines", row->line_count);
        return;
    }
    for (int i = 0; i < row->line_count; i++) /* "5 7~5": the sign behind a count says that there is a second one */
        used += (size_t)snprintf(out + used, 24 - used, "%d%c", row->syllables[i],
                                 row->unsure[i] ? '~' : i + 1 < row->line_count ? ' ' : '\0');
}

static void draw_row(struct canvas *c, int at, int left, int cols, const struct view_row *row, bool selected, bool focus)
{
    char text[24];
    canvas_put(c, at, left, ROLE_MARK, selected ? '>' : ' ');
    canvas_printf(c, at, left + 1, 5, ROLE_DIM, "%5ld", row->id);
    canvas_text(c, at, left + 7, 3, row->split == VIEW_TRAIN ? ROLE_DIM : ROLE_WARN, split_names[row->split]);
    if (row->tokens >= 0)
        canvas_printf(c, at, left + 11, 4, row->truncated ? ROLE_ERROR : ROLE_TEXT, "%4d", row->tokens);
    if (row->truncated)
        canvas_put(c, at, left + 15, ROLE_ERROR, '<');
    counts_text(row, text);
    canvas_fit(c, at, left + 17, 8, verse_role(row->verdict), text);
    canvas_put(c, at, left + 25, verse_role(row->verdict), (uint32_t)verse_mark(row->verdict));
    if (row->duplicate_of > 0)
        canvas_put(c, at, left + 26, ROLE_WARN, '=');
    else if (row->leak)
        canvas_put(c, at, left + 26, ROLE_WARN, '&');
    int rest = cols - 28, prompt = rest > 24 ? (rest - 2) / 2 : rest;
    canvas_fit(c, at, left + 28, prompt, ROLE_TEXT, row->prompt);
    if (rest > prompt)
        canvas_fit(c, at, left + 28 + prompt + 2, rest - prompt - 2, ROLE_CHAT_MODEL, row->first_line);
    if (selected)
        canvas_role(c, (struct rect){at, left, 1, cols}, focus ? ROLE_CURSOR : ROLE_CURSOR_BLUR);
}

static void draw_list(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    const struct view_data *d = &v->data;
    struct data_state *s = &ui->data;
    struct rect in = rect_inside(box);
    struct str title = {0}, right = {0};
    str_printf(&title, "%s  %zu rows", d->name ? d->name : "data", d->count);
    if (s->filter[0])
        str_printf(&right, "only: %s (%zu)  ", s->filter, s->order.count);
    str_printf(&right, "sort: %s", sort_names[s->sort]);
    if (d->about && width_text(d->about) + width_text(str_text(&title)) + width_text(str_text(&right)) + 12 < box.cols)
        str_printf(&title, "  %s", d->about);
    canvas_box(c, box, focus, str_text(&title), str_text(&right));
    str_free(&title);
    str_free(&right);
    if (in.rows < 2)
        return;
    canvas_text(c, in.row, in.col, in.cols, ROLE_DIM, "    id spl  tok   lines");
    int rest = in.cols - 28, prompt = rest > 24 ? (rest - 2) / 2 : rest;
    canvas_fit(c, in.row, in.col + 28, prompt, ROLE_DIM, "prompt");
    if (rest > prompt)
        canvas_fit(c, in.row, in.col + 28 + prompt + 2, rest - prompt - 2, ROLE_DIM, "reply");
    size_t page = (size_t)in.rows - 1;
    list_show(&s->list, s->order.count, page);
    for (size_t i = s->list.top; i < s->order.count && i < s->list.top + page; i++)
        draw_row(c, in.row + 1 + (int)(i - s->list.top), in.col, in.cols, d->row(d->ctx, s->order.index[i]), i == s->list.selected, focus);
    if (s->order.count == 0)
        canvas_fit(c, in.row + 2, in.col + 2, in.cols - 2, ROLE_DIM,
                   d->count == 0 ? "no rows (yet)" : "no row passes the filter (f, then an empty line, shows all)");
    if (focus && s->order.count > 0) {
        c->cursor_row = in.row + 1 + (int)(s->list.selected - s->list.top);
        c->cursor_col = in.col;
    }
    scroll_mark(c, box, s->list.top, page, s->order.count);
}

/* ---- the detail: lines are drawn through a window of `rows` that starts at `skip` ---- */

struct pen {
    struct canvas *c;
    struct rect in;
    int line, skip; /* the next line, counted from the top of the text */
};

static int pen_row(const struct pen *p)
{
    int row = p->line - p->skip;
    return row >= 0 && row < p->in.rows ? p->in.row + row : -1;
}

static void pen_text(struct pen *p, const char *label, enum role role, const char *text)
{
    enum { LABEL = 8 };
    struct wrap w = {.rest = text};
    bool first = true;
    while (wrap_next(&w, p->in.cols - LABEL - 1)) {
        int row = pen_row(p);
        if (row >= 0) {
            if (first)
                canvas_fit(p->c, row, p->in.col + 1, LABEL - 1, ROLE_DIM, label);
            canvas_text_n(p->c, row, p->in.col + 1 + LABEL, p->in.cols - LABEL - 1, role, w.line, w.len);
        }
        first = false;
        p->line++;
    }
}

/* Per word: "Em-pire of bright stone", or "Empire 2  of 1" where no breaks are known. */
static void word_counts(const struct view_detail *d, size_t line, struct str *out)
{
    for (size_t k = 0; k < d->word_count; k++)
        if (d->words[k].line == (int)line) {
            const struct view_word *word = &d->words[k];
            str_printf(out, "%s%s", out->len ? " " : "", word->broken ? word->broken : word->text ? word->text : "");
            if (!word->broken && word->syllables > 1)
                str_printf(out, "\xc2\xb7%d", word->syllables);
            if (word->max > word->min)
                str_printf(out, "(%d-%d)", word->min, word->max);
        }
}

/* The lines in full, each with its count; the words beside them where there is room. */
static void pen_verse(struct pen *p, const struct view_detail *d)
{
    int col = p->in.col + 9, cols = p->in.cols - 9, text = 30;
    for (size_t i = 0; i < d->verse.line_count; i++) {
        int w = width_text(d->verse.lines[i].text);
        text = w > text ? w : text;
    }
    text = text > cols - 8 ? cols - 8 : text;
    for (size_t i = 0; i < d->verse.line_count; i++) {
        const struct view_line *line = &d->verse.lines[i];
        int row = pen_row(p);
        if (i == 0 && row >= 0)
            canvas_text(p->c, row, p->in.col + 1, 7, ROLE_DIM, "reply");
        if (row >= 0) {
            char count[24];
            enum role role;
            verse_count(line, count, &role);
            canvas_fit(p->c, row, col + text + 1, 7, role, count);
        }
        if (row >= 0 && cols - text - 9 >= 12) {
            struct str words = {0};
            word_counts(d, i, &words);
            canvas_fit(p->c, row, col + text + 9, cols - text - 9, ROLE_DIM, str_text(&words));
            str_free(&words);
        }
        struct wrap w = {.rest = line->text && *line->text ? line->text : " "};
        for (; wrap_next(&w, text); p->line++)
            if ((row = pen_row(p)) >= 0)
                canvas_text_n(p->c, row, col, text, ROLE_CHAT_MODEL, w.line, w.len);
    }
}

/* Tokens one after another; those that count in the loss are marked by colour and by a row of ^ below them. */
static void pen_tokens(struct pen *p, const struct view_detail *d)
{
    int col = 0, cols = p->in.cols - 2, alternate = 0;
    for (size_t i = 0; i < d->piece_count; i++) {
        const struct view_piece *piece = &d->pieces[i];
        struct str text = {0};
        for (const char *q = piece->text ? piece->text : ""; *q; q++) /* a space inside a token must be seen */
            if (*q == ' ')
                str_add(&text, p->c->ascii ? "_" : "\xc2\xb7");
            else
                str_add_char(&text, *q);
        int width = width_text(str_text(&text));
        if (col > 0 && col + width + 1 > cols) {
            p->line += 2;
            col = 0;
        }
        int row = pen_row(p);
        alternate = !alternate;
        enum role role = !piece->loss ? ROLE_TOKEN_MASKED : alternate ? ROLE_TOKEN_LOSS : ROLE_TOKEN_LOSS_ALT;
        if (width > cols)
            width = cols;
        if (row >= 0)
            canvas_fit(p->c, row, p->in.col + 1 + col, cols - col, role, str_text(&text));
        p->line++;
        int below = pen_row(p);
        for (int k = 0; below >= 0 && piece->loss && k < width; k++)
            canvas_put(p->c, below, p->in.col + 1 + col + k, ROLE_SYL_OK, '^');
        p->line--;
        col += width + 1;
        str_free(&text);
    }
    p->line += 2;
}

static void draw_detail(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    struct data_state *s = &ui->data;
    long index = data_selected(v, ui);
    const struct view_data *d = &v->data;
    const struct view_detail *detail = index >= 0 && d->detail ? d->detail(d->ctx, (size_t)index) : NULL;
    char title[64] = "row";
    if (index >= 0)
        snprintf(title, sizeof title, s->tokens ? "row %ld  tokens; ^ counts in the loss" : "row %ld", d->row(d->ctx, (size_t)index)->id);
    canvas_box(c, box, focus, title, detail ? detail->place : NULL);
    struct pen p = {c, rect_inside(box), 0, s->scroll};
    if (!detail) {
        canvas_text(c, p.in.row, p.in.col + 1, p.in.cols - 1, ROLE_DIM, index < 0 ? "no row is selected" : "being looked at...");
        return;
    }
    struct view_row row = *d->row(d->ctx, (size_t)index);
    if (s->tokens)
        pen_tokens(&p, detail);
    else {
        for (size_t i = 0; i < detail->turn_count; i++) {
            bool checked = i + 1 == detail->turn_count && detail->verse.line_count > 0;
            const char *role = detail->turns[i].role ? detail->turns[i].role : "";
            if (checked)
                pen_verse(&p, detail);
            else
                pen_text(&p, strcmp(role, "assistant") == 0 ? "reply" : role, strcmp(role, "user") == 0 ? ROLE_CHAT_USER : ROLE_CHAT_MODEL,
                         detail->turns[i].text);
        }
        if (detail->turn_count == 0)
            pen_verse(&p, detail);
        if (p.in.rows >= 9)
            p.line++;
    }
    struct str text = {0};
    str_printf(&text, "%c %s", verse_mark(detail->verse.verdict), verse_word(detail->verse.verdict));
    if (detail->verse.note)
        str_printf(&text, ": %s", detail->verse.note);
    if (detail->verse.verdict != VERDICT_NONE)
        pen_text(&p, "check", verse_role(detail->verse.verdict), str_text(&text));
    str_clear(&text);
    if (row.tokens >= 0) {
        str_printf(&text, "%d = %d masked + %d in the loss", row.tokens, row.tokens - row.supervised, row.supervised);
        if (detail->max_seq > 0)
            str_printf(&text, "  (limit %d)", detail->max_seq);
        if (!s->tokens)
            str_add(&text, "  t shows them");
        pen_text(&p, "tokens", ROLE_TEXT, str_text(&text));
    }
    str_clear(&text);
    static const char *const splits[] = {"train", "valid", "test"};
    str_printf(&text, "%s", splits[row.split]);
    if (row.leak)
        str_add(&text, "  & also in another split");
    if (row.duplicate_of > 0)
        str_printf(&text, "  = same text as row %ld (d goes there)", row.duplicate_of);
    if (detail->flags)
        str_printf(&text, "  %s", detail->flags);
    pen_text(&p, "split", row.leak || row.duplicate_of > 0 || row.truncated ? ROLE_WARN : ROLE_TEXT, str_text(&text));
    str_free(&text);
    if (s->scroll > 0 && s->scroll > p.line - 1)
        s->scroll = p.line - 1;
    scroll_mark(c, box, (size_t)s->scroll, (size_t)(p.in.rows > 0 ? p.in.rows : 0), (size_t)p.line);
}

static void check_line(struct canvas *c, struct rect in, int row, const char *label, size_t n, size_t of, char mark, enum role role)
{
    if (row >= in.rows)
        return;
    canvas_fit(c, in.row + row, in.col + 1, 18, ROLE_TEXT, label);
    canvas_printf(c, in.row + row, in.col + 19, 7, n ? role : ROLE_DIM, "%6zu", n);
    canvas_printf(c, in.row + row, in.col + 27, 5, ROLE_DIM, "%3.0f%%", of ? 100.0 * (double)n / (double)of : 0.0);
    canvas_put(c, in.row + row, in.col + 32, role, (uint32_t)mark);
    int bar = in.cols - 36;
    for (int i = 0; i < bar && of; i++)
        canvas_put(c, in.row + row, in.col + 34 + i, n && (double)i < (double)n / (double)of * bar ? role : ROLE_DIM,
                   (double)i < (double)n / (double)of * bar ? '#' : '-');
}

static void draw_checks(struct canvas *c, const struct view *v, struct rect box)
{
    const struct view_data *d = &v->data;
    struct rect in = rect_inside(box);
    char right[48];
    snprintf(right, sizeof right, "%zu of %zu checked", d->checked, d->count);
    canvas_box(c, box, false, "checks", right);
    check_line(c, in, 0, "5-7-5", d->strict, d->checked, '+', ROLE_SYL_OK);
    check_line(c, in, 1, "maybe 5-7-5", d->possible, d->checked, '?', ROLE_SYL_MAYBE);
    check_line(c, in, 2, "something else", d->wrong, d->checked, '!', ROLE_SYL_BAD);
    check_line(c, in, 3, "duplicates", d->duplicates, d->count, '=', ROLE_WARN);
    check_line(c, in, 4, "in two splits", d->leaks, d->count, '&', ROLE_WARN);
    check_line(c, in, 5, "truncated", d->truncated, d->count, '<', ROLE_ERROR);
    if (in.rows > 8) {
        canvas_fit(c, in.row + 7, in.col + 1, in.cols - 2, ROLE_DIM, d->about);
        canvas_fit(c, in.row + 9, in.col + 1, in.cols - 2, ROLE_DIM, "f shows only: bad maybe dup long leak train valid test, or text");
    }
}

void data_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct layout *l = &ui->layout;
    int focus = ui_focus(ui, v);
    data_refresh(v, ui);
    if (layout_shown(l, DATA_LIST))
        draw_list(c, v, ui, l->pane[DATA_LIST], focus == DATA_LIST);
    if (layout_shown(l, DATA_DETAIL))
        draw_detail(c, v, ui, l->pane[DATA_DETAIL], focus == DATA_DETAIL);
    if (layout_shown(l, DATA_CHECKS))
        draw_checks(c, v, l->pane[DATA_CHECKS]);
}
