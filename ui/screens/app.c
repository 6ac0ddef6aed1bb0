/* app.c - the whole: what is drawn, which key means what, what a typed line does. */
#include "ui/screens/app.h"

#include <string.h>

#include "engine/base/mem.h"
#include "ui/screens/state.h"

struct ui_state *ui_new(bool utf8)
{
    struct ui_state *ui = mem_new(1, sizeof *ui);
    ui->utf8 = utf8;
    ui->screen = SCREEN_TRAIN;
    ui->train.smooth = 0.9;
    ui->export.ckpt = -1;
    keymap_init(&ui->keys);
    return ui;
}

void ui_free(struct ui_state *ui)
{
    if (!ui)
        return;
    order_free(&ui->data.order);
    order_free(&ui->ckpts.order);
    order_free(&ui->log.order);
    train_free(&ui->train);
    str_free(&ui->chat.draft);
    str_free(&ui->export.folder);
    str_free(&ui->prompt_text);
    str_free(&ui->said);
    mem_free(ui);
}

enum screen ui_screen(const struct ui_state *ui)
{
    return ui->screen;
}

enum layout_kind ui_kind(const struct ui_state *ui, const struct view *view)
{
    return view->start.active ? LAYOUT_START : (enum layout_kind)ui->screen;
}

int ui_focus(const struct ui_state *ui, const struct view *view)
{
    int focus = ui->focus[ui_kind(ui, view)];
    return layout_shown(&ui->layout, focus) ? focus : 0;
}

bool ui_run_active(const struct view *view)
{
    enum run_state s = view->run.state;
    return s == RUN_LOADING || s == RUN_TRAINING || s == RUN_EVALUATING || s == RUN_PAUSED || s == RUN_STOPPING;
}

/* ---- messages and prompts ---- */

void ui_say(struct ui_state *ui, enum message_level level, const char *text)
{
    str_clear(&ui->said);
    text_clean(&ui->said, text, strlen(text), false, false);
    ui->said_level = level;
    ui->said_on = true;
    ui->said_waits = false;
}

void ui_say_format(struct ui_state *ui, enum message_level level, const char *format, ...)
{
    struct str s = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&s, format, args);
    va_end(args);
    ui_say(ui, level, str_text(&s));
    str_free(&s);
}

static void keep_draft(struct ui_state *ui)
{
    if (ui->prompt != PROMPT_CHAT)
        return;
    str_clear(&ui->chat.draft);
    str_add(&ui->chat.draft, ui->line.text ? ui->line.text : "");
}

void ui_open_prompt(struct ui_state *ui, enum prompt_kind kind, const char *text)
{
    keep_draft(ui);
    struct str copy = {0};
    str_add(&copy, text); /* text may be the draft itself */
    str_free(&ui->prompt_text);
    ui->prompt_text = copy;
    ui->prompt = kind;
    ui->prompt_serial++;
    ui->line = (struct line_view){.text = str_text(&ui->prompt_text), .cursor = ui->prompt_text.len};
}

void ui_close_prompt(struct ui_state *ui)
{
    keep_draft(ui);
    ui->prompt = PROMPT_NONE;
    ui->line = (struct line_view){0};
}

enum prompt_kind ui_prompt(const struct ui_state *ui)
{
    return ui->prompt;
}

const char *ui_prompt_text(const struct ui_state *ui)
{
    return str_text(&ui->prompt_text);
}

uint64_t ui_prompt_serial(const struct ui_state *ui)
{
    return ui->prompt_serial;
}

void ui_set_line(struct ui_state *ui, const struct line_view *line)
{
    if (ui->prompt != PROMPT_NONE)
        ui->line = *line;
}

void ui_line_leave(struct ui_state *ui)
{
    ui_close_prompt(ui);
}

void ui_open_chat_line(struct ui_state *ui)
{
    struct str draft = ui->chat.draft;
    ui->chat.draft = (struct str){0};
    ui_open_prompt(ui, PROMPT_CHAT, str_text(&draft));
    str_free(&draft);
}

void ui_go(struct ui_state *ui, enum screen screen)
{
    ui->help = false;
    ui->zoom = false;
    if (ui->prompt != PROMPT_NONE)
        ui_close_prompt(ui);
    ui->screen = screen;
    if (screen == SCREEN_CHAT)
        ui_open_chat_line(ui); /* one comes here to talk */
}

/* ---- drawing ---- */

void ui_draw(struct canvas *c, const struct view *view, struct ui_state *ui)
{
    static void (*const draw[LAYOUT_COUNT])(struct canvas *, const struct view *, struct ui_state *) = {
        data_draw, train_draw, samples_draw, chat_draw, ckpts_draw, export_draw, log_draw, start_draw};
    enum layout_kind kind = ui_kind(ui, view);
    canvas_clear(c);
    ui->rows = c->rows;
    ui->cols = c->cols;
    layout_make(&ui->layout, c->rows, c->cols, kind, ui->zoom ? ui->focus[kind] : -1);
    if (ui->layout.small) {
        frame_small(c, view, ui);
        return;
    }
    draw[kind](c, view, ui);
    if (ui->help)
        help_draw(c, view, ui);
    if (ui->dialog != DIALOG_NONE) {
        frame_dialog(c, view, ui);
        c->cursor_row = c->cursor_col = -1;
    }
    frame_title(c, view, ui);
    frame_status(c, view, ui);
    frame_matches(c, ui);
    frame_bottom(c, view, ui);
}

/* ---- keys ---- */

static enum ui_reply dialog_key(struct ui_state *ui, uint32_t code, struct command *out)
{
    enum dialog dialog = ui->dialog;
    bool leave = code == KEY_ESC || code == 'n' || code == 'N' || code == 'q' || code == (KEY_CTRL | 'c');
    if (dialog == DIALOG_QUIT && (code == 's' || code == 'S' || code == KEY_ENTER)) {
        out->id = COMMAND_QUIT;
        out->number = QUIT_SAVE;
    } else if (dialog == DIALOG_QUIT && (code == 'w' || code == 'W')) {
        out->id = COMMAND_QUIT;
        out->number = QUIT_WHEN_DONE;
    } else if (dialog == DIALOG_STOP && (code == 'y' || code == 'Y'))
        out->id = COMMAND_STOP;
    else if (dialog == DIALOG_LEAVE && (code == 'y' || code == 'Y')) {
        out->id = COMMAND_QUIT;
        out->number = QUIT_NOW;
    } else if (leave || (dialog != DIALOG_QUIT && code == KEY_ENTER)) { /* Enter is No where something would end */
        ui->dialog = DIALOG_NONE;
        return UI_DONE;
    } else
        return UI_DONE;
    ui->dialog = DIALOG_NONE;
    return UI_COMMAND;
}

/* True when the key was the help's own. */
static bool help_key(struct ui_state *ui, const struct view *view, enum command_id id)
{
    int page = ui->layout.body.rows - 3;
    switch (id) {
    case COMMAND_MOVE_DOWN:
        ui->help_scroll++;
        break;
    case COMMAND_MOVE_UP:
        ui->help_scroll--;
        break;
    case COMMAND_PAGE_DOWN:
    case COMMAND_HALF_DOWN:
        ui->help_scroll += page / (id == COMMAND_PAGE_DOWN ? 1 : 2);
        break;
    case COMMAND_PAGE_UP:
    case COMMAND_HALF_UP:
        ui->help_scroll -= page / (id == COMMAND_PAGE_UP ? 1 : 2);
        break;
    case COMMAND_MOVE_FIRST:
        ui->help_scroll = 0;
        break;
    case COMMAND_MOVE_LAST:
        ui->help_scroll = ui->help_most;
        break;
    case COMMAND_SEARCH:
        ui_open_prompt(ui, PROMPT_SEARCH, "");
        break;
    case COMMAND_SEARCH_NEXT:
    case COMMAND_SEARCH_PREV:
        if (ui->search[0])
            help_search(ui, view, id == COMMAND_SEARCH_NEXT ? +1 : -1);
        break;
    case COMMAND_HELP:
    case COMMAND_BACK:
    case COMMAND_LEAVE:
        ui->help = false;
        break;
    case COMMAND_GO_DATA:
    case COMMAND_GO_TRAIN:
    case COMMAND_GO_SAMPLES:
    case COMMAND_CHAT:
    case COMMAND_GO_CKPTS:
    case COMMAND_EXPORT:
    case COMMAND_GO_LOG:
    case COMMAND_PAUSE:
    case COMMAND_QUIT:
    case COMMAND_REDRAW:
    case COMMAND_SUSPEND:
    case COMMAND_CANCEL:
        return false;
    default:
        break; /* other keys belong to what the help covers: they do nothing here */
    }
    if (ui->help_scroll > ui->help_most)
        ui->help_scroll = ui->help_most;
    if (ui->help_scroll < 0)
        ui->help_scroll = 0;
    return true;
}

/* A key while a line is typed: nearly all belong to the line editor. */
static bool key_leaves_line(const struct ui_state *ui, const struct view *view, uint32_t code, enum command_id id)
{
    if (code & KEY_ALT)
        return id == COMMAND_GO_DATA || id == COMMAND_GO_TRAIN || id == COMMAND_GO_SAMPLES || id == COMMAND_CHAT || id == COMMAND_GO_CKPTS ||
               id == COMMAND_EXPORT || id == COMMAND_GO_LOG;
    if (id == COMMAND_CANCEL)
        return ui->prompt == PROMPT_CHAT && view->chat.answering;
    return id == COMMAND_SUSPEND || id == COMMAND_REDRAW || (id == COMMAND_HELP && code == KEY_F1);
}

enum ui_reply ui_key(struct ui_state *ui, const struct view *view, struct key key, struct command *out)
{
    enum context context = view->start.active ? CONTEXT_START : (enum context)ui->screen;
    enum command_id id = keymap_find(&ui->keys, context, key.code);
    command_clear(out);
    ui->said_on = false;
    enum layout_kind kind = ui_kind(ui, view); /* keys of one burst may have left the screen that was drawn last */
    layout_make(&ui->layout, ui->rows, ui->cols, kind, ui->zoom ? ui->focus[kind] : -1);
    bool typing = ui->prompt != PROMPT_NONE;
    if (!typing || key.code == KEY_ENTER || key.code == KEY_ESC)
        ui->dismissed = view->message.id;
    if (id != COMMAND_CANCEL)
        ui->cancel_armed = false;
    if (ui->dialog != DIALOG_NONE)
        return dialog_key(ui, key.code, out);
    if (ui->layout.small) {
        bool known = id == COMMAND_PAUSE || id == COMMAND_LEAVE || id == COMMAND_QUIT || id == COMMAND_SUSPEND || id == COMMAND_REDRAW ||
                     id == COMMAND_CANCEL;
        out->id = id == COMMAND_LEAVE ? COMMAND_QUIT : id;
        return known ? ui_perform(ui, view, out, true) : UI_DONE;
    }
    if (typing) {
        if (ui->prompt == PROMPT_CHAT && (key.code == KEY_PAGE_UP || key.code == KEY_PAGE_DOWN))
            return ui_move(ui, view, key.code == KEY_PAGE_UP ? COMMAND_PAGE_UP : COMMAND_PAGE_DOWN);
        /* the screen's own keys are text here; only what works everywhere is looked at */
        id = keymap_find(&ui->keys, CONTEXT_GLOBAL, key.code);
        if (!key_leaves_line(ui, view, key.code, id))
            return UI_LINE;
    } else if (ui->help && help_key(ui, view, id))
        return UI_DONE;
    out->id = id;
    out->number = key.code == KEY_ENTER;
    return ui_perform(ui, view, out, true);
}

/* ---- lines ---- */

static enum ui_reply perform_line(struct ui_state *ui, const struct view *view, const char *text, struct command *out)
{
    struct gm_error err = {0};
    if (!command_parse(out, text, &err)) {
        command_clear(out);
        ui_say(ui, MESSAGE_ERROR, err.text);
        return UI_DONE;
    }
    return ui_perform(ui, view, out, false);
}

static enum ui_reply chat_line(struct ui_state *ui, const struct view *view, const char *text, struct command *out)
{
    ui->chat.scroll = 0;
    if (text[0] == '/') {
        ui_open_prompt(ui, PROMPT_CHAT, "");
        return perform_line(ui, view, text + 1, out);
    }
    if (view->chat.answering) {
        ui_open_prompt(ui, PROMPT_CHAT, text);
        ui_say(ui, MESSAGE_INFO, "the answer is still coming (Ctrl-C stops it)");
        ui->said_waits = true;
        return UI_DONE;
    }
    ui_open_prompt(ui, PROMPT_CHAT, "");
    if (text[strspn(text, " ")] == '\0')
        return UI_DONE;
    out->id = COMMAND_CHAT;
    str_add(&out->text, text);
    return UI_COMMAND;
}

enum ui_reply ui_line(struct ui_state *ui, const struct view *view, const char *text, struct command *out)
{
    enum prompt_kind kind = ui->prompt;
    struct str copy = {0}; /* the editor's buffer may go away with the prompt */
    enum ui_reply reply = UI_DONE;
    str_add(&copy, text);
    command_clear(out);
    ui->line = (struct line_view){0};
    if (kind != PROMPT_NONE)
        ui_close_prompt(ui);
    text = str_text(&copy);
    switch (kind) {
    case PROMPT_COMMAND:
        if (text[strspn(text, " ")])
            reply = perform_line(ui, view, text, out);
        break;
    case PROMPT_CHAT:
        reply = chat_line(ui, view, text, out);
        break;
    case PROMPT_SEARCH:
        if (text[0])
            ui_set_search(ui, text);
        if (ui->help && ui->search[0])
            help_search(ui, view, +1);
        else if (text[0])
            ui_search(ui, view, +1, true);
        break;
    case PROMPT_FILTER:
        ui_set_filter(ui, text);
        break;
    case PROMPT_SAMPLE:
        if (text[strspn(text, " ")]) {
            out->id = COMMAND_SAMPLE;
            str_add(&out->text, text);
            reply = UI_COMMAND;
        }
        break;
    case PROMPT_FOLDER:
        str_clear(&ui->export.folder);
        str_add(&ui->export.folder, text);
        break;
    case PROMPT_NONE:
        break;
    }
    str_free(&copy);
    return reply;
}

/* ---- completion ---- */

static const char *word_of(const char *const *words, const char *prefix, size_t i)
{
    for (; *words; words++)
        if (strncmp(*words, prefix, strlen(prefix)) == 0 && i-- == 0)
            return *words;
    return NULL;
}

static enum command_id command_of(const char *text)
{
    struct command c = {0};
    struct str name = {0};
    str_add_n(&name, text, strcspn(text, " "));
    str_add(&name, " x"); /* an argument, so that those which need one parse */
    enum command_id id = command_parse(&c, str_text(&name), NULL) ? c.id : COMMAND_NONE;
    str_free(&name);
    command_free(&c);
    return id;
}

const char *ui_complete(const struct ui_state *ui, const struct view *view, const char *text, size_t start, size_t i)
{
    static const char *const filters[] = {"all", "bad", "maybe", "dup", "long", "leak", "train", "valid", "test", NULL};
    static const char *const themes[] = {"sumi", "washi", NULL}, *const metrics[] = {"loss", "form", "lr", "norm", "speed", NULL};
    static const char *const sorts[] = {"file", "tokens", "verdict", "prompt", NULL}, *const ckpt_sorts[] = {"newest", "loss", "form", NULL};
    size_t begin = ui->prompt == PROMPT_CHAT && text[0] == '/' ? 1 : 0;
    const char *word = text + start;
    if (ui->prompt == PROMPT_FILTER)
        return start == 0 ? word_of(filters, word, i) : NULL;
    if (ui->prompt != PROMPT_COMMAND && !(ui->prompt == PROMPT_CHAT && begin))
        return NULL;
    if (start <= begin)
        return command_complete(text + begin, i);
    switch (command_of(text + begin)) {
    case COMMAND_FILTER:
        return word_of(filters, word, i);
    case COMMAND_THEME:
        return word_of(themes, word, i);
    case COMMAND_METRIC:
        return word_of(metrics, word, i);
    case COMMAND_SORT:
        return word_of(ui->screen == SCREEN_CKPTS ? ckpt_sorts : sorts, word, i);
    case COMMAND_LOAD:
        for (size_t k = 0; k < view->ckpts.count; k++)
            if (view->ckpts.rows[k].name && strncmp(view->ckpts.rows[k].name, word, strlen(word)) == 0 && i-- == 0)
                return view->ckpts.rows[k].name;
        return NULL;
    default:
        return NULL;
    }
}

bool ui_completes_files(const struct ui_state *ui, const char *text)
{
    if (ui->prompt == PROMPT_FOLDER)
        return true;
    if (ui->prompt != PROMPT_COMMAND || !strchr(text, ' '))
        return false;
    enum command_id id = command_of(text);
    return id == COMMAND_EXPORT || id == COMMAND_SHOT;
}
