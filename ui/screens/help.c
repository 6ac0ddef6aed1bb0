/* help.c - the overlay of all keys and commands, and docs/keys.md: both made from the command table, nothing is written twice. */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const titles[CONTEXT_COUNT] = {"DATA", "TRAIN", "SAMPLES", "CHAT", "CHECKPOINTS", "EXPORT", "LOG", "START", "EVERYWHERE"};

struct help_line {
    bool heading;
    char key[32], text[120];
};
struct help {
    struct help_line *lines;
    int count, capacity;
    int cols; /* of the text */
};

static struct help_line *add(struct help *h)
{
    if (h->count == h->capacity) {
        int more = h->capacity + 64;
        h->lines = mem_grow(h->lines, (size_t)h->capacity, (size_t)more, sizeof *h->lines);
        h->capacity = more;
    }
    return &h->lines[h->count++];
}

static void add_text(struct help *h, const char *key, const char *text)
{
    struct wrap w = {.rest = text};
    while (wrap_next(&w, h->cols)) {
        struct help_line *l = add(h);
        snprintf(l->key, sizeof l->key, "%s", key);
        snprintf(l->text, sizeof l->text, "%.*s", (int)w.len, w.line);
        key = "";
    }
}

static void add_heading(struct help *h, const char *text)
{
    if (h->count > 0)
        add(h);
    struct help_line *l = add(h);
    l->heading = true;
    snprintf(l->text, sizeof l->text, "%s", text);
}

static void add_context(struct help *h, const struct keymap *map, enum context context)
{
    bool any = false;
    for (int id = 1; id < COMMAND_COUNT; id++) {
        char keys[32];
        keymap_keys(map, context, (enum command_id)id, 3, keys, sizeof keys);
        if (!keys[0])
            continue;
        if (!any)
            add_heading(h, titles[context]);
        any = true;
        add_text(h, keys, command_info((enum command_id)id)->help);
    }
}

enum { KEY_COLS = 17 };

/* How wide one column of the help is, and how many stand side by side. */
static int columns_of(const struct ui_state *ui, int *width)
{
    int cols = ui->layout.body.cols > 150 ? 148 : ui->layout.body.cols - 2, columns = cols >= 140 ? 2 : 1;
    *width = (cols - 1) / columns;
    return columns;
}

static void build(struct help *h, const struct ui_state *ui, const struct view *v)
{
    int width;
    columns_of(ui, &width);
    h->cols = width - KEY_COLS - 3;
    enum context here = v->start.active ? CONTEXT_START : (enum context)ui->screen;
    add_context(h, &ui->keys, here);
    if (here == CONTEXT_CHAT) {
        add_heading(h, "WHILE TYPING");
        add_text(h, "Enter", "send");
        add_text(h, "Esc", "leave the line; the keys of the screens work again");
        add_text(h, "A-1 .. A-7", "another screen; what is typed stays");
        add_text(h, "C-c", "stop the answer; empty the line; leave it");
        add_text(h, "Up C-r", "history, search in it");
        add_text(h, "Tab", "complete a /command");
        add_text(h, "PgUp PgDn", "scroll");
    }
    add_heading(h, titles[CONTEXT_GLOBAL]);
    add_text(h, "C-x  A-x  S-x", "such names mean Ctrl-x, Alt-x, Shift-x");
    for (int id = 1; id < COMMAND_COUNT; id++) {
        char keys[32];
        keymap_keys(&ui->keys, CONTEXT_GLOBAL, (enum command_id)id, 3, keys, sizeof keys);
        if (keys[0])
            add_text(h, keys, command_info((enum command_id)id)->help);
    }
    add_heading(h, "COMMANDS  (type : first; in the chat /)");
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command_info *info = command_info((enum command_id)id);
        char name[32];
        if (!info->name[0])
            continue;
        snprintf(name, sizeof name, "%s %s", info->name, info->argument);
        add_text(h, name, info->help);
    }
    add_heading(h, "SIGNS");
    add_text(h, "+", "the form is kept (5-7-5)");
    add_text(h, "?  7~", "kept if a word is said the other way; 7~: two counts");
    add_text(h, "~", "near: one syllable off");
    add_text(h, "!", "wrong counts, or not three lines");
    add_text(h, "r", "repeats itself");
    add_text(h, "=  &  <", "duplicate row; in two splits; truncated");
    add_text(h, "25% 7-59 n=8", "5-7-5 of the samples at T 0.7, its 95 % interval");
    add_text(h, ">  ||  ..", "training; paused; loading or stopping");
    add_text(h, "waits ... %", "share of time that training waits while you taste");
}

void help_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    struct help h = {0};
    build(&h, ui, v);
    struct rect box = ui->layout.body;
    if (box.cols > 150) {
        box.col += (box.cols - 150) / 2;
        box.cols = 150;
    }
    struct rect in = rect_inside(box);
    int width, columns = columns_of(ui, &width);
    /* A column is a page high; pages follow one another downwards when there are more lines than columns hold. */
    int page = in.rows, most = h.count - page * columns;
    ui->help_most = most > 0 ? most : 0;
    if (ui->help_scroll > ui->help_most)
        ui->help_scroll = ui->help_most;
    canvas_fill(c, box, ROLE_DIALOG, ' ');
    char title[48];
    snprintf(title, sizeof title, "help  %s", v->start.active ? titles[CONTEXT_START] : titles[ui->screen]);
    canvas_box(c, box, true, title, "j/k scroll   / search   ? closes");
    for (int k = 0; k < page * columns; k++) {
        int i = ui->help_scroll + k;
        if (i >= h.count)
            break;
        const struct help_line *l = &h.lines[i];
        int row = in.row + k % page, col = in.col + 1 + k / page * width;
        if (l->heading) {
            canvas_fit(c, row, col, width - 1, ROLE_TITLE, l->text);
            continue;
        }
        bool hit = ui->search[0] && (text_contains(l->text, ui->search) || text_contains(l->key, ui->search));
        canvas_fit(c, row, col + 1, KEY_COLS, ROLE_HINT_KEY, l->key);
        canvas_fit(c, row, col + KEY_COLS + 2, width - KEY_COLS - 3, hit ? ROLE_MATCH : ROLE_DIALOG, l->text);
    }
    scroll_mark(c, box, (size_t)ui->help_scroll, (size_t)(page * columns), (size_t)h.count);
    c->cursor_row = c->cursor_col = -1;
    mem_free(h.lines);
}

/* The line of the next hit of ui->search after the top of the page; called with a drawn help. */
void help_search(struct ui_state *ui, const struct view *v, int direction)
{
    struct help h = {0};
    build(&h, ui, v);
    for (int k = 1; k <= h.count; k++) {
        int i = ((ui->help_scroll + direction * k) % h.count + h.count) % h.count;
        if (text_contains(h.lines[i].text, ui->search) || text_contains(h.lines[i].key, ui->search)) {
            ui->help_scroll = i;
            break;
        }
    }
    mem_free(h.lines);
}

/* ---- docs/keys.md ---- */

static void markdown_context(struct str *out, const struct keymap *map, enum context context, const char *title)
{
    str_printf(out, "\n## %s\n\n| key | `:` command | what it does |\n|---|---|---|\n", title);
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command_info *info = command_info((enum command_id)id);
        bool any = false;
        for (int i = 0; i < map->count; i++) {
            const struct binding *b = &map->bindings[i];
            char name[24];
            if (b->context != context || b->command != id)
                continue;
            key_name(b->code, name, sizeof name);
            str_printf(out, any ? " `%s`" : "| `%s`", name);
            any = true;
        }
        if (any && info->name[0])
            str_printf(out, " | `:%s` | %s |\n", info->name, info->help);
        else if (any)
            str_printf(out, " | | %s |\n", info->help);
    }
}

void ui_keys_markdown(struct str *out)
{
    static const char *const names[CONTEXT_COUNT] = {"1 Data", "2 Train", "3 Samples", "4 Chat", "5 Ckpts", "6 Export", "7 Log", "Start page", "Everywhere"};
    struct keymap map;
    keymap_init(&map);
    str_add(out, "# Keys and commands of the workbench\n\n"
                 "Made from the command table (`ui/core/command.h`): change it there, then build the target `keys`.\n"
                 "`C-x` is Ctrl-x, `A-x` is Alt-x, `S-Tab` is Shift-Tab. A key of a screen wins over one of Everywhere.\n"
                 "In the chat line GNU Readline edits, with its history and `~/.inputrc` (`$if gemmaiku`); `Alt-1` .. `Alt-7` change the screen,\n"
                 "`Esc` leaves the line, `Ctrl-C` stops the answer.\n");
    markdown_context(out, &map, CONTEXT_GLOBAL, names[CONTEXT_GLOBAL]);
    for (int i = 0; i < CONTEXT_GLOBAL; i++) {
        bool any = false;
        for (int k = 0; k < map.count; k++)
            any |= map.bindings[k].context == i;
        if (any)
            markdown_context(out, &map, (enum context)i, names[i]);
    }
    str_add(out, "\n## Commands\n\nTyped after `:`, or after `/` in the chat; Tab completes.\n\n| command | what it does |\n|---|---|\n");
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command_info *info = command_info((enum command_id)id);
        if (info->name[0])
            str_printf(out, "| `%s%s%s` | %s |\n", info->name, info->argument[0] ? " " : "", info->argument, info->help);
    }
}
