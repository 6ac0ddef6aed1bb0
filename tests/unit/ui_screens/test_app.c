/* The screens with the golden fixture: any size and any keys, poisoned text, big data, and what is handed to the program. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/fixture.c"
#include "ui/core/keymap.h"
#include "ui/core/width.h"
#include "ui/screens/app.h"

static void check(const struct canvas *c)
{
    for (int i = 0; i < c->rows * c->cols; i++) {
        uint32_t ch = c->cells[i].ch;
        assert_true(ch == 0 || (ch >= 0x20 && (ch < 0x7f || (ch >= 0xa0 && !c->ascii))));
        if (ch == 0)
            assert_true(i % c->cols > 0 && width_scalar(c->cells[i - 1].ch) == 2);
        assert_true(c->cells[i].role < ROLE_COUNT);
    }
    assert_true(c->cursor_row < c->rows && c->cursor_col < c->cols);
}

static void draw_at(struct canvas *c, const struct view *v, struct ui_state *ui, int rows, int cols, bool utf8)
{
    canvas_resize(c, rows, cols, utf8);
    ui_draw(c, v, ui);
    check(c);
}

static void every_screen_at_every_kind_of_size(void **state)
{
    static const char *const variants[] = {"training", "none", "failed", "nan", "answering", "exporting", "start"};
    struct canvas c;
    canvas_init(&c);
    uint32_t seed = 5;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        struct view v;
        fixture_fill(&v);
        assert_true(fixture_variant(&v, variants[i]));
        struct ui_state *ui = ui_new(true);
        for (int screen = 0; screen < SCREEN_COUNT; screen++) {
            ui_go(ui, (enum screen)screen);
            static const int sizes[][2] = {{1, 1}, {12, 60}, {11, 60}, {12, 59}, {24, 80}, {30, 100}, {48, 160}, {100, 300}, {120, 60}, {12, 300}, {26, 189}, {4, 120}};
            for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
                draw_at(&c, &v, ui, sizes[k][0], sizes[k][1], k % 2);
            for (int k = 0; k < 40; k++) {
                seed = seed * 1664525u + 1013904223u;
                draw_at(&c, &v, ui, 1 + (int)(seed >> 8) % 60, 1 + (int)(seed >> 16) % 200, k % 2);
            }
        }
        ui_free(ui);
    }
    canvas_free(&c);
}

/* A line editor that can only append. */
struct typist {
    struct str line;
    uint64_t serial;
};

static enum ui_reply type(struct typist *t, struct ui_state *ui, const struct view *v, uint32_t code, struct command *out)
{
    enum ui_reply reply = ui_key(ui, v, (struct key){.code = code}, out);
    if (reply == UI_LINE) {
        if (code == KEY_ENTER) {
            struct str text = {0};
            str_add_n(&text, str_text(&t->line), t->line.len);
            reply = ui_line(ui, v, str_text(&text), out);
            str_free(&text);
        } else if (code == KEY_ESC || code == (KEY_CTRL | 'c'))
            ui_line_leave(ui);
        else if (code < 0x110000 && t->line.len < 200)
            str_add_utf8(&t->line, code);
    }
    if (ui_prompt_serial(ui) != t->serial) {
        t->serial = ui_prompt_serial(ui);
        struct str first = {0};
        str_add(&first, ui_prompt_text(ui));
        str_free(&t->line);
        t->line = first;
    }
    ui_set_line(ui, &(struct line_view){.text = str_text(&t->line), .cursor = t->line.len});
    return reply;
}

static void any_keys_in_any_order(void **state)
{
    struct view v;
    struct canvas c;
    struct keymap map;
    struct typist t = {0};
    struct command command = {0};
    struct ui_state *ui = ui_new(true);
    uint32_t seed = 42;
    int emitted = 0;
    static const char *const variants[] = {"training", "paused", "none", "answering", "exporting", "exported", "nan", "start"};
    canvas_init(&c);
    keymap_init(&map);
    fixture_fill(&v);
    for (int round = 0; round < 60000; round++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t pick = seed >> 8;
        uint32_t code = pick % 3 == 0 ? 0x20 + (pick >> 4) % 0x60 : map.bindings[(pick >> 4) % (uint32_t)map.count].code;
        if (code == 0x7f)
            code = KEY_BACKSPACE;
        if (pick % 31 == 0)
            code = KEY_ENTER;
        if (type(&t, ui, &v, code, &command) == UI_COMMAND) {
            emitted++;
            assert_true(command_info(command.id)->app);
            if (command.id == COMMAND_EXPORT)
                assert_true(command.number >= 0 && command.number < (long)v.ckpts.count && v.ckpts.rows[command.number].can_export && command.flags != 0);
            if (command.id == COMMAND_LOAD)
                assert_true(command.number >= 0 && command.number < (long)v.ckpts.count);
            if (command.id == COMMAND_OPEN)
                assert_true(command.number >= 0 && command.number < (long)v.start.count);
            if (command.id == COMMAND_CHAT || command.id == COMMAND_TEMP || command.id == COMMAND_COPY)
                assert_true(command.text.len > 0);
        }
        if (round % 500 == 0) {
            fixture_fill(&v);
            fixture_variant(&v, variants[round / 500 % 8]);
        }
        if (round % 7 == 0)
            draw_at(&c, &v, ui, 8 + (int)(pick >> 3) % 50, 50 + (int)(pick >> 7) % 130, round % 2);
    }
    assert_true(emitted > 500);
    str_free(&t.line);
    command_free(&command);
    ui_free(ui);
    canvas_free(&c);
}

static void poison_stays_visible_and_harmless(void **state)
{
    struct view v;
    struct canvas c;
    static const char evil[] = "\033[2J\033]0;owned\a\r\n\xe2\x80\xae" "evil\xff\x9b";
    fixture_fill(&v);
    v.run.name = evil;
    v.run.model = evil;
    v.run.busy = evil;
    v.data.name = evil;
    v.message = (struct view_message){MESSAGE_ERROR, evil, 9, 0};
    canvas_init(&c);
    struct ui_state *ui = ui_new(true);
    for (int screen = 0; screen < SCREEN_COUNT; screen++) {
        ui_go(ui, (enum screen)screen);
        draw_at(&c, &v, ui, 30, 170, screen % 2);
    }
    ui_say(ui, MESSAGE_WARN, evil);
    draw_at(&c, &v, ui, 24, 80, true);
    ui_free(ui);
    canvas_free(&c);
}

static const struct view_row *big_row(void *ctx, size_t i)
{
    static struct view_row r;
    static char prompt[32];
    snprintf(prompt, sizeof prompt, "prompt %zu", (i * 7919) % 100000);
    r = (struct view_row){.id = (long)i + 1, .tokens = (int)(i % 97), .line_count = 0, .prompt = prompt, .first_line = "x"};
    (*(size_t *)ctx)++;
    return &r;
}

static bool row_holds(const struct canvas *c, const char *text)
{
    struct str s = {0};
    canvas_dump(c, &s, NULL);
    bool found = strstr(str_text(&s), text) != NULL;
    str_free(&s);
    return found;
}

static void filters_and_sorts_of_many_rows(void **state)
{
    struct view v;
    struct canvas c;
    struct command out = {0};
    struct typist t = {0};
    size_t calls = 0;
    fixture_fill(&v);
    v.data = (struct view_data){.name = "big", .count = 100000, .version = 1, .row = big_row, .ctx = &calls};
    canvas_init(&c);
    struct ui_state *ui = ui_new(true);
    ui_go(ui, SCREEN_DATA);
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(calls < 100); /* only what is visible */
    type(&t, ui, &v, 'f', &out);
    for (const char *p = "prompt 4242"; *p; p++)
        type(&t, ui, &v, (uint32_t)*p, &out);
    type(&t, ui, &v, KEY_ENTER, &out);
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(row_holds(&c, "only: prompt 4242 (11)")); /* 4242 and 42420..42429 */
    size_t before = calls;
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(calls - before < 100);
    type(&t, ui, &v, KEY_ESC, &out); /* clears the filter */
    type(&t, ui, &v, 's', &out);
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(row_holds(&c, "sort: tokens"));
    type(&t, ui, &v, 'g', &out);
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(row_holds(&c, ">   97")); /* the first row with 96 tokens */
    str_free(&t.line);
    command_free(&out);
    ui_free(ui);
    canvas_free(&c);
}

static void a_selected_sample_stays_when_new_ones_come(void **state)
{
    struct view v;
    struct canvas c;
    struct command out = {0};
    fixture_fill(&v);
    canvas_init(&c);
    struct ui_state *ui = ui_new(true);
    ui_go(ui, SCREEN_SAMPLES);
    v.samples.count = 6;
    draw_at(&c, &v, ui, 24, 80, true);
    ui_key(ui, &v, (struct key){.code = 'j'}, &out);
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(row_holds(&c, "@300  T=0.70"));
    v.samples.count = 9;
    draw_at(&c, &v, ui, 24, 80, true);
    assert_true(row_holds(&c, "@300  T=0.70"));
    command_free(&out);
    ui_free(ui);
    canvas_free(&c);
}

static void completion(void **state)
{
    struct view v;
    struct command out = {0};
    struct canvas c;
    fixture_fill(&v);
    canvas_init(&c);
    struct ui_state *ui = ui_new(true);
    draw_at(&c, &v, ui, 24, 80, true);
    ui_key(ui, &v, (struct key){.code = ':'}, &out);
    assert_int_equal(ui_prompt(ui), PROMPT_COMMAND);
    assert_string_equal(ui_complete(ui, &v, "pau", 0, 0), "pause");
    assert_null(ui_complete(ui, &v, "pau", 0, 1));
    assert_string_equal(ui_complete(ui, &v, "load 6", 5, 0), "600");
    assert_string_equal(ui_complete(ui, &v, "theme ", 6, 1), "washi");
    assert_null(ui_complete(ui, &v, "pause x", 6, 0));
    assert_true(ui_completes_files(ui, "export ou"));
    assert_false(ui_completes_files(ui, "pause ou"));
    ui_line_leave(ui);
    ui_go(ui, SCREEN_CHAT);
    assert_string_equal(ui_complete(ui, &v, "/re", 1, 0), "resume");
    assert_null(ui_complete(ui, &v, "re", 0, 0)); /* what is said is not completed */
    command_free(&out);
    ui_free(ui);
    canvas_free(&c);
}

static void help_names_every_command(void **state)
{
    struct str md = {0};
    struct keymap map;
    keymap_init(&map);
    ui_keys_markdown(&md);
    for (int id = 1; id < COMMAND_COUNT; id++) {
        char text[64];
        const struct command_info *info = command_info((enum command_id)id);
        assert_non_null(strstr(str_text(&md), info->help));
        if (info->name[0]) {
            snprintf(text, sizeof text, "`%s", info->name);
            assert_non_null(strstr(str_text(&md), text));
        }
    }
    str_free(&md);
    /* the overlay: scrolled through on every screen, every key of that screen and of everywhere is seen */
    struct view v;
    struct canvas c;
    struct command out = {0};
    fixture_fill(&v);
    canvas_init(&c);
    for (int screen = 0; screen < SCREEN_COUNT; screen++) {
        struct ui_state *ui = ui_new(true);
        struct str all = {0};
        ui_go(ui, (enum screen)screen);
        ui_line_leave(ui);
        draw_at(&c, &v, ui, 24, 120, true);
        ui_key(ui, &v, (struct key){.code = '?'}, &out);
        for (int page = 0; page < 12; page++) {
            draw_at(&c, &v, ui, 24, 120, true);
            canvas_dump(&c, &all, NULL);
            ui_key(ui, &v, (struct key){.code = KEY_PAGE_DOWN}, &out);
        }
        for (int i = 0; i < map.count; i++)
            if (map.bindings[i].context == screen || map.bindings[i].context == CONTEXT_GLOBAL) {
                const char *help = command_info((enum command_id)map.bindings[i].command)->help;
                if (!strstr(str_text(&all), help))
                    fail_msg("the help of %s lacks \"%s\"", context_name((enum context)screen), help);
            }
        str_free(&all);
        ui_free(ui);
    }
    command_free(&out);
    canvas_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_screen_at_every_kind_of_size),
                                       cmocka_unit_test(any_keys_in_any_order),
                                       cmocka_unit_test(poison_stays_visible_and_harmless),
                                       cmocka_unit_test(filters_and_sorts_of_many_rows),
                                       cmocka_unit_test(a_selected_sample_stays_when_new_ones_come),
                                       cmocka_unit_test(completion),
                                       cmocka_unit_test(help_names_every_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
