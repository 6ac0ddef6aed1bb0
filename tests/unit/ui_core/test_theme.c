/* Themes: the files are what is built in, errors name file and line, text stays readable, no colour means attributes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/core/theme.h"
#include "ui/core/theme_builtin.h"

static void files_are_what_is_built_in(void **state)
{
    static const char *const names[] = {"sumi", "washi"};
    for (int i = 0; i < 2; i++) {
        char path[512], text[8192];
        snprintf(path, sizeof path, "%s/../../themes/%s.theme", FIXTURES, names[i]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[n] = '\0';
        assert_string_equal(text, i ? theme_washi_text : theme_sumi_text);
        struct theme t;
        struct gm_error err = {0};
        if (!theme_parse(&t, text, n, path, &err))
            fail_msg("%s", err.text);
        assert_string_equal(t.name, names[i]);
        assert_int_equal(t.light, i);
    }
    struct theme t;
    assert_false(theme_builtin(&t, "no such"));
}

static void errors_name_file_and_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {{"name x\nstyle nosuch ink paper\n", "my.theme:2: role \"nosuch\""},
                 {"color c #12345 - red\n", "my.theme:1: colour \"#12345\""},
                 {"color c #123456 300 red\n", "my.theme:1: 256-colour value \"300\""},
                 {"color c #123456 - pink\n", "my.theme:1: 16-colour name \"pink\""},
                 {"\n\nstyle text ink nowhere\n", "my.theme:3: colour \"nowhere\""},
                 {"style text ink paper blinking\n", "my.theme:1: attribute \"blinking\""},
                 {"frobnicate\n", "my.theme:1: statement \"frobnicate\""},
                 {"background grey\n", "my.theme:1: background \"grey\""},
                 {"inherit nothing\n", "my.theme:1: cannot inherit"},
                 {"style text\n", "my.theme:1: style wants"},
                 {"color onlyname\n", "my.theme:1: color wants"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct theme t = {.name = "before"};
        struct gm_error err = {0};
        assert_false(theme_parse(&t, cases[i].text, strlen(cases[i].text), "my.theme", &err));
        if (!strstr(err.text, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].says);
        assert_string_equal(t.name, "before");
    }
}

static void roles_fall_back(void **state)
{
    static const char text[] = "name mine # a comment\ninherit sumi\ncolor blood #ff0000 - -\ncolor moss #010203 17 blue # redefined: what sumi draws with it changes\n"
                               "style error blood paper underline\nmono title underline\n";
    struct theme t;
    struct gm_error err = {0};
    if (!theme_parse(&t, text, sizeof text - 1, "my.theme", &err))
        fail_msg("%s", err.text);
    assert_string_equal(t.name, "mine");
    struct style s = theme_style(&t, ROLE_ERROR, THEME_256);
    assert_int_equal(s.fg, 196);
    assert_int_equal(s.bg, -1);
    assert_int_equal(s.attributes, STYLE_UNDERLINE);
    assert_int_equal(theme_style(&t, ROLE_ERROR, THEME_16).fg, 9);
    assert_int_equal(theme_style(&t, ROLE_SYL_OK, THEME_256).fg, 17);
    assert_int_equal(theme_style(&t, ROLE_SYL_OK, THEME_16).fg, 4);
    assert_int_equal(theme_style(&t, ROLE_TITLE, THEME_MONO).attributes, STYLE_UNDERLINE);
    assert_int_equal(theme_style(&t, ROLE_TITLE, THEME_MONO).fg, -1);
}

static double luminance(int index)
{
    static const int level[6] = {0, 95, 135, 175, 215, 255};
    double sum = 0;
    static const double weight[3] = {0.2126, 0.7152, 0.0722};
    int rgb[3];
    assert_true(index >= 16);
    if (index >= 232)
        rgb[0] = rgb[1] = rgb[2] = 8 + 10 * (index - 232);
    else {
        rgb[0] = level[(index - 16) / 36];
        rgb[1] = level[(index - 16) / 6 % 6];
        rgb[2] = level[(index - 16) % 6];
    }
    for (int i = 0; i < 3; i++) {
        double v = rgb[i] / 255.0;
        sum += weight[i] * (v <= 0.03928 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void text_has_contrast(void **state)
{
    static const char *const names[] = {"sumi", "washi"};
    for (int i = 0; i < 2; i++) {
        struct theme t;
        assert_true(theme_builtin(&t, names[i]));
        for (int role = 0; role < ROLE_COUNT; role++) {
            struct style s = theme_style(&t, (enum role)role, THEME_256);
            double fg = luminance(s.fg < 0 ? (t.light ? 232 : 252) : s.fg), bg = luminance(s.bg < 0 ? (t.light ? 231 : 234) : s.bg);
            double ratio = fg > bg ? (fg + 0.05) / (bg + 0.05) : (bg + 0.05) / (fg + 0.05);
            if (ratio < 4.5)
                fail_msg("%s: %s has a contrast of %.1f", names[i], role_name((enum role)role), ratio);
        }
        /* without colour, what marks a place must still be marked */
        static const enum role marked[] = {ROLE_CURSOR, ROLE_TAB_ACTIVE, ROLE_BUTTON_FOCUS, ROLE_TOKEN_LOSS, ROLE_MATCH};
        for (size_t k = 0; k < sizeof marked / sizeof marked[0]; k++)
            assert_true(theme_style(&t, marked[k], THEME_MONO).attributes != 0);
    }
}

static void level_follows_the_terminal(void **state)
{
    assert_int_equal(theme_level("auto", NULL, "xterm-256color", 256), THEME_256);
    assert_int_equal(theme_level("auto", "", "xterm-256color", 256), THEME_256); /* empty does not count */
    assert_int_equal(theme_level("auto", "1", "xterm-256color", 256), THEME_MONO);
    assert_int_equal(theme_level("always", "1", "xterm-256color", 256), THEME_256);
    assert_int_equal(theme_level("never", NULL, "xterm-256color", 256), THEME_MONO);
    assert_int_equal(theme_level(NULL, NULL, "linux", 8), THEME_16);
    assert_int_equal(theme_level("auto", NULL, "vt100", 0), THEME_MONO);
    assert_int_equal(theme_level("auto", NULL, "dumb", 256), THEME_MONO);
    assert_int_equal(theme_rgb_to_256(255, 255, 255), 231);
    assert_int_equal(theme_rgb_to_256(8, 8, 8), 232);
    assert_int_equal(theme_256_to_16(196), 9);
    assert_string_equal(theme_default_name("0;15"), "washi");
    assert_string_equal(theme_default_name("15;default;0"), "sumi");
    assert_string_equal(theme_default_name(NULL), "sumi");
}

static void random_text_never_breaks_the_parser(void **state)
{
    uint32_t seed = 11;
    static const char *const bits[] = {"color ", "style ", "mono ", "name ", "inherit ", "washi", "sumi", "text", "ink", "#ffffff", "-", "\n", " ", "#", "bold", "paper", "\xff", "17"};
    for (int round = 0; round < 3000; round++) {
        struct str s = {0};
        for (int i = 0; i < 30; i++) {
            seed = seed * 1664525u + 1013904223u;
            str_add(&s, bits[(seed >> 16) % (sizeof bits / sizeof bits[0])]);
        }
        struct theme t;
        struct gm_error err = {0};
        if (theme_parse(&t, str_text(&s), s.len, "f", &err))
            assert_true(theme_style(&t, ROLE_TEXT, THEME_256).fg < 256);
        else
            assert_non_null(strstr(err.text, "f:"));
        str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_what_is_built_in), cmocka_unit_test(errors_name_file_and_line),
                                       cmocka_unit_test(roles_fall_back),            cmocka_unit_test(text_has_contrast),
                                       cmocka_unit_test(level_follows_the_terminal), cmocka_unit_test(random_text_never_breaks_the_parser)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
