/* golden.c - plays a script of keys against the screens and compares what they draw with the shots beside it.
 *
 *     golden SCRIPT SHOTS_FOLDER          UPDATE_GOLDEN=1 in the environment writes the shots instead
 *     golden --show SCRIPT                prints every shot instead
 *
 * A script line: `size ROWS COLS`, `utf8`, `ascii`, `view WORD`, `keys KEY KEY ...` (names as in help), `type TEXT`,
 * `shot NAME`, `expect COMMAND [TEXT]` (the last command handed to the program, then forgotten), `expect nothing`. # starts a comment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/fixture.h"
#include "ui/screens/app.h"

struct player {
    struct view view;
    struct canvas canvas;
    struct ui_state *ui;
    struct command last; /* emitted and not yet expected */
    struct str line;     /* a line editor that can only append and rub out */
    int rows, cols, failures, line_number;
    bool utf8, update, show;
    const char *script, *shots;
};

static void fail(struct player *p, const char *what, const char *detail)
{
    fprintf(stderr, "%s:%d: %s %s\n", p->script, p->line_number, what, detail);
    p->failures++;
}

static void draw(struct player *p)
{
    canvas_resize(&p->canvas, p->rows, p->cols, p->utf8);
    ui_draw(&p->canvas, &p->view, p->ui);
}

static void take(struct player *p, enum ui_reply reply, struct command *c)
{
    if (reply != UI_COMMAND)
        return;
    struct command swap = p->last;
    p->last = *c;
    *c = swap;
}

static void edit(struct player *p, uint32_t code)
{
    struct command c = {0};
    if (code == KEY_ENTER) {
        struct str text = p->line;
        p->line = (struct str){0};
        uint64_t before = ui_prompt_serial(p->ui);
        take(p, ui_line(p->ui, &p->view, str_text(&text), &c), &c);
        if (ui_prompt_serial(p->ui) != before)
            str_add(&p->line, ui_prompt_text(p->ui));
        str_free(&text);
    } else if (code == KEY_ESC || code == (KEY_CTRL | 'c')) {
        str_clear(&p->line);
        ui_line_leave(p->ui);
    } else if (code == KEY_BACKSPACE && p->line.len > 0)
        p->line.data[--p->line.len] = '\0';
    else if (code < 0x110000)
        str_add_utf8(&p->line, code);
    struct line_view view = {.text = str_text(&p->line), .cursor = p->line.len};
    ui_set_line(p->ui, &view);
    command_free(&c);
}

static void press(struct player *p, uint32_t code)
{
    struct command c = {0};
    uint64_t before = ui_prompt_serial(p->ui);
    draw(p); /* as a terminal does: the layout a key acts on is the one that was seen */
    enum ui_reply reply = ui_key(p->ui, &p->view, (struct key){.code = code}, &c);
    take(p, reply, &c);
    if (ui_prompt_serial(p->ui) != before) {
        str_clear(&p->line);
        str_add(&p->line, ui_prompt_text(p->ui));
        struct line_view view = {.text = str_text(&p->line), .cursor = p->line.len};
        ui_set_line(p->ui, &view);
    }
    if (reply == UI_LINE)
        edit(p, code);
    command_free(&c);
}

static bool read_file(const char *path, struct str *out)
{
    FILE *file = fopen(path, "rb");
    char buffer[4096];
    if (!file)
        return false;
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        str_add_n(out, buffer, n);
    fclose(file);
    return true;
}

static void shot(struct player *p, const char *name)
{
    struct str text = {0}, known = {0};
    char path[1024];
    draw(p);
    canvas_dump(&p->canvas, &text, NULL);
    snprintf(path, sizeof path, "%s/%s.txt", p->shots ? p->shots : "", name);
    if (p->show)
        printf("---- %s\n%s", name, str_text(&text));
    else if (p->update) {
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(text.data, 1, text.len, file) != text.len || fclose(file) != 0)
            fail(p, "cannot write", path);
    } else if (!read_file(path, &known))
        fail(p, "no shot", path);
    else if (known.len != text.len || memcmp(known.data, text.data, text.len) != 0) {
        fail(p, "the screen differs from", path);
        fprintf(stderr, "%s", str_text(&text));
    }
    str_free(&text);
    str_free(&known);
}

static void expect(struct player *p, const char *what)
{
    struct str got = {0};
    if (p->last.id == COMMAND_NONE)
        str_add(&got, "nothing");
    else {
        static const char *const ids[] = {"NONE",
#define X(id, name, argument, who, keys, hint, help) #id,
                                          COMMAND_TABLE(X)
#undef X
        };
        str_add(&got, ids[p->last.id]);
        if (p->last.id == COMMAND_QUIT || p->last.id == COMMAND_EXPORT || p->last.id == COMMAND_LOAD || p->last.id == COMMAND_OPEN)
            str_printf(&got, " %ld", p->last.number);
        if (p->last.id == COMMAND_EXPORT)
            str_printf(&got, " %u", p->last.flags);
        if (p->last.text.len)
            str_printf(&got, " %s", str_text(&p->last.text));
    }
    if (strcmp(str_text(&got), what) != 0) {
        fail(p, "expected", what);
        fprintf(stderr, "    got %s\n", str_text(&got));
    }
    command_clear(&p->last);
    str_free(&got);
}

static void play(struct player *p, char *line)
{
    char *rest = line + strcspn(line, " ");
    if (*rest)
        *rest++ = '\0';
    if (strcmp(line, "size") == 0) {
        if (sscanf(rest, "%d %d", &p->rows, &p->cols) != 2)
            fail(p, "size wants", "ROWS COLS");
    } else if (strcmp(line, "utf8") == 0 || strcmp(line, "ascii") == 0)
        p->utf8 = line[0] == 'u';
    else if (strcmp(line, "view") == 0) {
        if (!fixture_variant(&p->view, rest))
            fail(p, "no view", rest);
    } else if (strcmp(line, "keys") == 0) {
        char *save = NULL;
        for (char *word = strtok_r(rest, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
            uint32_t code;
            if (key_parse(word, &code))
                press(p, code);
            else
                fail(p, "no key", word);
        }
    } else if (strcmp(line, "type") == 0) {
        for (const char *at = rest, *end = rest + strlen(rest); at < end;) {
            uint32_t scalar;
            at += utf8_decode(at, end, &scalar);
            press(p, scalar);
        }
    } else if (strcmp(line, "shot") == 0)
        shot(p, rest);
    else if (strcmp(line, "expect") == 0)
        expect(p, rest);
    else
        fail(p, "no statement", line);
}

int main(int argc, char **argv)
{
    struct player p = {.rows = 24, .cols = 80, .utf8 = true};
    p.update = getenv("UPDATE_GOLDEN") != NULL;
    p.show = argc == 3 && strcmp(argv[1], "--show") == 0;
    if (argc != 3) {
        fprintf(stderr, "usage: golden SCRIPT SHOTS | golden --show SCRIPT\n");
        return 2;
    }
    p.script = argv[p.show ? 2 : 1];
    p.shots = p.show ? NULL : argv[2];
    struct str text = {0};
    if (!read_file(p.script, &text)) {
        fprintf(stderr, "%s: cannot be read\n", p.script);
        return 2;
    }
    fixture_fill(&p.view);
    canvas_init(&p.canvas);
    p.ui = ui_new(true);
    char *save = NULL;
    for (char *at = text.data; at && *at;) {
        char *line = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
        p.line_number++;
        if (line[0] && line[0] != '#')
            play(&p, line);
    }
    (void)save;
    ui_free(p.ui);
    canvas_free(&p.canvas);
    command_free(&p.last);
    str_free(&p.line);
    str_free(&text);
    return p.failures > 0;
}
