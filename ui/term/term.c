#include "ui/term/term.h"

#include <errno.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "ui/core/decode.h"
#include "ui/term/line.h"
#include "ui/term/surface.h"

enum { ESC_MS = 25, PASTE_MS = 1000, COPY_MAX = 100000, READ_MAX = 1 << 16 };
static const char enter_text[] = "\033[?2004h"; /* bracketed paste */
static const char leave_text[] = "\033[?2004l";

struct term {
    struct surface surface;
    struct theme theme;
    enum theme_level level;
    struct canvas canvas;
    struct decoder decoder;
    double last_input_s;
    uint64_t prompt_serial; /* of the prompt the line editor serves */
    enum prompt_kind prompt;
    struct command command;
    bool suspended;
};

/* What a crash handler needs, set before the screen is entered; a handler cannot be handed a pointer. */
static volatile sig_atomic_t restore_needed;
static struct termios restore_modes;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void write_all(const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return;
        bytes += done;
        n -= (size_t)done;
    }
}

bool term_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

struct term *term_open(const struct term_options *options, struct gm_error *err)
{
    const char *name = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        error_set(err, GM_E_UNSUPPORTED, "open the workbench: standard input or output is no terminal (the sub-commands need none: gemmaiku --help)");
        return NULL;
    }
    if (!name || !*name || strcmp(name, "dumb") == 0) {
        error_set(err, GM_E_UNSUPPORTED, "open the workbench: TERM is %s, which cannot move a cursor (set TERM, or use the sub-commands)",
                  name && *name ? name : "not set");
        return NULL;
    }
    if (tcgetattr(STDIN_FILENO, &restore_modes) != 0) {
        error_errno(err, "open the workbench: read the terminal's modes");
        return NULL;
    }
    if (!line_start(options->history_folder, err)) /* before curses: readline looks at terminfo as well */
        return NULL;
    struct term *t = mem_new(1, sizeof *t);
    if (!surface_open(&t->surface, name, err)) {
        mem_free(t);
        line_stop();
        return NULL;
    }
    restore_needed = 1;
    t->level = theme_level(options->color, getenv("NO_COLOR"), name, surface_colors(&t->surface));
    canvas_init(&t->canvas);
    term_set_theme(t, options->theme);
    write_all(enter_text, sizeof enter_text - 1);
    term_resized(t);
    return t;
}

void term_close(struct term *t)
{
    if (!t)
        return;
    write_all(leave_text, sizeof leave_text - 1);
    surface_close(&t->surface);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &restore_modes);
    restore_needed = 0;
    line_stop();
    decode_free(&t->decoder);
    canvas_free(&t->canvas);
    command_free(&t->command);
    mem_free(t);
}

void term_restore_sigsafe(void)
{
    static const char text[] = "\033[?2004l\033[0m\033[?25h\033[?1049l\r\n";
    if (!restore_needed)
        return;
    restore_needed = 0;
    ssize_t done = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)done; /* nothing can be done about it here */
    tcsetattr(STDIN_FILENO, TCSANOW, &restore_modes);
}

int term_input_fd(const struct term *t)
{
    (void)t;
    return STDIN_FILENO;
}

int term_wait_ms(const struct term *t)
{
    if (!decode_pending(&t->decoder))
        return -1;
    double left = (t->decoder.pasting ? PASTE_MS : ESC_MS) - (now_s() - t->last_input_s) * 1000;
    return left > 0 ? (int)left + 1 : 0;
}

void term_resized(struct term *t)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        surface_resize(&t->surface, size.ws_row, size.ws_col);
    line_size(t->surface.rows, t->surface.cols);
}

void term_set_theme(struct term *t, const struct theme *theme)
{
    if (theme)
        t->theme = *theme;
    else
        theme_builtin(&t->theme, "sumi");
    surface_theme(&t->surface, &t->theme, t->level);
}

void term_redraw(struct term *t)
{
    term_resized(t);
    surface_redraw(&t->surface);
}

void term_suspend(struct term *t)
{
    if (t->suspended)
        return;
    t->suspended = true;
    write_all(leave_text, sizeof leave_text - 1);
    surface_suspend(&t->surface);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &restore_modes);
    restore_needed = 0;
}

void term_resume(struct term *t)
{
    if (!t->suspended)
        return;
    t->suspended = false;
    restore_needed = 1;
    surface_resume(&t->surface);
    write_all(enter_text, sizeof enter_text - 1);
    term_redraw(t);
}

bool term_copy(struct term *t, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct str clean = {0}, out = {0};
    text_clean(&clean, text, strlen(text), true, false);
    bool fits = clean.len <= COPY_MAX && !t->suspended;
    str_add(&out, "\033]52;c;");
    const unsigned char *p = (const unsigned char *)str_text(&clean);
    for (size_t i = 0; fits && i < clean.len; i += 3) {
        size_t n = clean.len - i < 3 ? clean.len - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        str_add_char(&out, digits[bits >> 18]);
        str_add_char(&out, digits[bits >> 12 & 63]);
        str_add_char(&out, n > 1 ? digits[bits >> 6 & 63] : '=');
        str_add_char(&out, n > 2 ? digits[bits & 63] : '=');
    }
    str_add_char(&out, '\a');
    if (fits)
        write_all(out.data, out.len);
    str_free(&clean);
    str_free(&out);
    return fits;
}

/* ---- input ---- */

/* Reads what waits, without blocking. False at the end of input. */
static bool read_waiting(struct term *t)
{
    for (size_t total = 0; total < READ_MAX;) {
        struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
        char buffer[4096];
        int ready = poll(&fd, 1, 0);
        if (ready <= 0)
            return ready == 0 || errno == EINTR || errno == EAGAIN;
        if (!(fd.revents & POLLIN))
            return false; /* hang-up or error */
        ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return true;
        if (n <= 0)
            return false;
        decode_feed(&t->decoder, buffer, (size_t)n);
        t->last_input_s = now_s();
        total += (size_t)n;
    }
    return true;
}

static bool next_decoded(struct term *t, struct key *key)
{
    bool idle = (now_s() - t->last_input_s) * 1000 >= (t->decoder.pasting ? PASTE_MS : ESC_MS);
    return decode_next(&t->decoder, idle, key);
}

bool term_next_key(struct term *t, struct key *key)
{
    read_waiting(t);
    return next_decoded(t, key);
}

/* The line editor follows the UI: a prompt that opened anew, or one that is gone. */
static void follow_prompt(struct term *t, struct ui_state *ui)
{
    enum prompt_kind kind = ui_prompt(ui);
    if (kind == PROMPT_NONE) {
        if (t->prompt != PROMPT_NONE)
            line_close();
    } else if (ui_prompt_serial(ui) != t->prompt_serial)
        line_open(kind, ui_prompt_text(ui));
    t->prompt = kind;
    t->prompt_serial = ui_prompt_serial(ui);
    if (kind != PROMPT_NONE) {
        struct line_view view;
        line_show(&view);
        ui_set_line(ui, &view);
    }
}

static void dispatch(struct term *t, struct ui_state *ui, const struct view *view, const struct key *key, term_on_command on_command,
                     void *ctx)
{
    enum ui_reply reply = ui_key(ui, view, *key, &t->command);
    if (reply == UI_LINE) {
        follow_prompt(t, ui);
        enum line_result result = line_key(key, ui, view);
        if (result == LINE_ACCEPTED)
            reply = ui_line(ui, view, line_text(), &t->command);
        else if (result == LINE_LEFT)
            ui_line_leave(ui);
    }
    follow_prompt(t, ui);
    if (reply != UI_COMMAND)
        return;
    if (t->command.id == COMMAND_REDRAW)
        term_redraw(t);
    else
        on_command(ctx, &t->command);
}

bool term_feed(struct term *t, struct ui_state *ui, const struct view *view, term_on_command on_command, void *ctx)
{
    struct key key;
    bool alive = read_waiting(t);
    follow_prompt(t, ui);
    while (next_decoded(t, &key))
        dispatch(t, ui, view, &key, on_command, ctx);
    return alive;
}

/* ---- output ---- */

void term_draw(struct term *t, struct ui_state *ui, const struct view *view)
{
    if (t->suspended)
        return;
    follow_prompt(t, ui);
    canvas_resize(&t->canvas, t->surface.rows, t->surface.cols, term_utf8());
    ui_draw(&t->canvas, view, ui);
    surface_draw(&t->surface, &t->canvas);
}

const struct canvas *term_canvas(const struct term *t)
{
    return &t->canvas;
}
