/* Key names, the command table and its key map, the decoder of terminal bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ui/core/decode.h"
#include "ui/core/keymap.h"

static void key_names_go_both_ways(void **state)
{
    static const char *const names[] = {"a", "Z", "?", "-", "+", "Space", "Enter", "Esc", "Tab", "S-Tab", "C-a", "C-z", "A-1", "C-A-x", "Up", "PgDn", "F1", "F12", "Del",
                                        "\xc3\xa9"};
    char out[32];
    uint32_t code;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(key_parse(names[i], &code));
        assert_string_equal(key_name(code, out, sizeof out), names[i]);
    }
    assert_false(key_parse("", &code));
    assert_false(key_parse("F13", &code));
    assert_false(key_parse("Foo", &code));
    assert_false(key_parse("\xff", &code));
    assert_true(key_parse("F", &code)); /* a letter, not a function key */
    assert_int_equal(code, 'F');
}

static void no_key_means_two_things_in_one_context(void **state)
{
    struct keymap map;
    keymap_init(&map);
    assert_true(map.count > 60);
    for (int i = 0; i < map.count; i++)
        for (int k = i + 1; k < map.count; k++)
            if (map.bindings[i].context == map.bindings[k].context && map.bindings[i].code == map.bindings[k].code) {
                char name[24];
                fail_msg("%s is bound twice in %s", key_name(map.bindings[i].code, name, sizeof name), context_name(map.bindings[i].context));
            }
}

static void every_command_can_be_reached_and_is_explained(void **state)
{
    struct keymap map;
    keymap_init(&map);
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command_info *info = command_info((enum command_id)id);
        bool key = false;
        for (int i = 0; i < map.count; i++)
            key |= map.bindings[i].command == id;
        if (!key && !info->name[0])
            fail_msg("command %d has neither key nor name", id);
        assert_true(info->help[0]);
        for (int other = id + 1; other < COMMAND_COUNT; other++)
            if (info->name[0])
                assert_string_not_equal(info->name, command_info((enum command_id)other)->name);
    }
}

static void screen_keys_win_over_global_ones(void **state)
{
    struct keymap map;
    keymap_init(&map);
    assert_int_equal(keymap_find(&map, CONTEXT_TRAIN, 's'), COMMAND_SAVE);
    assert_int_equal(keymap_find(&map, CONTEXT_DATA, 's'), COMMAND_SORT);
    assert_int_equal(keymap_find(&map, CONTEXT_LOG, 's'), COMMAND_NONE);
    assert_int_equal(keymap_find(&map, CONTEXT_LOG, 'q'), COMMAND_LEAVE);
    char out[32];
    assert_string_equal(keymap_keys(&map, CONTEXT_GLOBAL, COMMAND_MOVE_DOWN, 9, out, sizeof out), "j Down");
    assert_string_equal(keymap_keys(&map, CONTEXT_DATA, COMMAND_MOVE_DOWN, 9, out, sizeof out), "");
    assert_true(strlen(keymap_keys(&map, CONTEXT_GLOBAL, COMMAND_MOVE_DOWN, 9, out, 4)) < 4);
}

static void lines_become_commands(void **state)
{
    struct command c = {0};
    struct gm_error err = {0};
    assert_true(command_parse(&c, "  pause ", &err));
    assert_int_equal(c.id, COMMAND_PAUSE);
    assert_true(command_parse(&c, "export out/my haiku ", &err));
    assert_int_equal(c.id, COMMAND_EXPORT);
    assert_string_equal(str_text(&c.text), "out/my haiku");
    assert_true(command_parse(&c, "q", &err));
    assert_int_equal(c.id, COMMAND_QUIT);
    assert_false(command_parse(&c, "pasue", &err));
    assert_non_null(strstr(err.text, "did you mean pause?"));
    assert_false(command_parse(&c, "xyzzyxyzzyxyzzyxyzzyxyzzyxyzzyxyzzyxyzzy", &err));
    assert_false(command_parse(&c, "pause now", &err));
    assert_non_null(strstr(err.text, "takes nothing"));
    assert_false(command_parse(&c, "temp", &err));
    assert_non_null(strstr(err.text, "needs T"));
    assert_false(command_parse(&c, "", &err));
    command_free(&c);
    assert_string_equal(command_complete("pau", 0), "pause");
    assert_null(command_complete("pau", 1));
    assert_null(command_complete("nope", 0));
}

/* Feeds bytes, collects names; in one go or byte by byte must give the same. */
static void decode_all(const char *bytes, size_t n, bool slowly, char *out, size_t size)
{
    struct decoder d = {0};
    struct key key;
    out[0] = '\0';
    for (size_t i = 0; i < n; i += slowly ? 1 : n) {
        decode_feed(&d, bytes + i, slowly ? 1 : n);
        for (int idle = 0; idle <= (i + 1 >= n || !slowly); idle++)
            while (decode_next(&d, idle, &key)) {
                char name[32];
                size_t used = strlen(out);
                if (key.code == KEY_PASTE)
                    snprintf(out + used, size - used, "%spaste(%.*s)", used ? " " : "", (int)key.len, key.text);
                else
                    snprintf(out + used, size - used, "%s%s", used ? " " : "", key_name(key.code, name, sizeof name));
            }
    }
    assert_false(decode_pending(&d));
    decode_free(&d);
}

static void bytes_become_keys(void **state)
{
    static const struct {
        const char *bytes, *keys;
    } cases[] = {{"aB?", "a B ?"},
                 {"\r\n\t\177\b", "Enter Enter Tab Backspace Backspace"},
                 {"\001\032\034", "C-a C-z C-\\"},
                 {"\033", "Esc"},
                 {"\033\033", "Esc Esc"},
                 {"\033b\0331", "A-b A-1"},
                 {"\033\177\033\r", "A-Backspace A-Enter"},
                 {"\033[A\033OB\033[1;5C\033[1;3D", "Up Down C-Right A-Left"},
                 {"\033[H\033[F\033[1~\033[4~\033[7~\033OH", "Home End Home End Home Home"},
                 {"\033[5~\033[6~\033[3~\033[2~", "PgUp PgDn Del Ins"},
                 {"\033[Z\033[9;2u", "S-Tab S-Tab"},
                 {"\033OP\033[11~\033[[A\033[15~\033[24~", "F1 F1 F1 F5 F12"},
                 {"\033\033[A", "A-Up"},
                 {"\033[27u\033[97;5u", "Esc C-a"},
                 {"\xe6\xb1\xa0\xc3\xa9", "\xe6\xb1\xa0 \xc3\xa9"},
                 {"a\xff" "b\xe6", "a b"},
                 {"\033[I\033[O\033[?62;c\033[<0;3;4Mx", "x"},
                 {"\033[M !!y", "y"},
                 {"\033[200~two\nlines\033[31m\033[201~z", "paste(two\nlines\033[31m) z"},
                 {"\033[200~\033[201~z", "paste() z"},
                 {"\033[201~z", "z"},
                 {"\033[", "A-["},
                 {"\033O", "A-O"},
                 {"\033[12\001k", "C-a k"}};
    char out[256];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int slowly = 0; slowly < 2; slowly++) {
            decode_all(cases[i].bytes, strlen(cases[i].bytes), slowly, out, sizeof out);
            assert_string_equal(out, cases[i].keys);
        }
}

static void a_lone_escape_waits_until_the_line_is_idle(void **state)
{
    struct decoder d = {0};
    struct key key;
    decode_feed(&d, "\033", 1);
    assert_false(decode_next(&d, false, &key));
    assert_true(decode_pending(&d));
    assert_true(decode_next(&d, true, &key));
    assert_int_equal(key.code, KEY_ESC);
    assert_false(decode_pending(&d));
    decode_free(&d);
}

static void a_paste_without_an_end_is_let_go(void **state)
{
    struct decoder d = {0};
    struct key key;
    decode_feed(&d, "\033[200~abc", 9);
    assert_false(decode_next(&d, false, &key));
    assert_true(decode_next(&d, true, &key));
    assert_int_equal(key.code, KEY_PASTE);
    assert_int_equal(key.len, 3);
    decode_free(&d);
}

static void a_huge_paste_is_cut(void **state)
{
    struct decoder d = {0};
    struct key key;
    static char block[5000];
    memset(block, 'x', sizeof block);
    decode_feed(&d, "\033[200~", 6);
    for (int i = 0; i < 400; i++) {
        decode_feed(&d, block, sizeof block);
        assert_false(decode_next(&d, false, &key));
        assert_true(d.bytes.len - d.at < 2 * sizeof block);
    }
    decode_feed(&d, "\033[201~k", 7);
    assert_true(decode_next(&d, false, &key));
    assert_int_equal(key.len, DECODE_PASTE_MAX);
    assert_true(decode_next(&d, false, &key));
    assert_int_equal(key.code, 'k');
    decode_free(&d);
}

static void random_bytes_never_hang_or_give_control_characters(void **state)
{
    uint32_t seed = 99;
    for (int round = 0; round < 3000; round++) {
        struct decoder d = {0};
        struct key key;
        char bytes[48];
        static const char spice[] = "\033\033\033[[O~;0129ABMZu<?\xe6\xb1\xa0";
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = seed >> 31 ? spice[(seed >> 16) % (sizeof spice - 1)] : (char)(seed >> 16);
        }
        decode_feed(&d, bytes, sizeof bytes);
        int keys = 0;
        while (decode_next(&d, true, &key)) {
            uint32_t plain = key.code & ~(uint32_t)(KEY_CTRL | KEY_ALT);
            assert_true(plain >= 0x20 && plain != 0x7f && plain <= KEY_PASTE);
            assert_true(++keys <= (int)sizeof bytes);
        }
        assert_false(decode_pending(&d));
        decode_free(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(key_names_go_both_ways),
                                       cmocka_unit_test(no_key_means_two_things_in_one_context),
                                       cmocka_unit_test(every_command_can_be_reached_and_is_explained),
                                       cmocka_unit_test(screen_keys_win_over_global_ones),
                                       cmocka_unit_test(lines_become_commands),
                                       cmocka_unit_test(bytes_become_keys),
                                       cmocka_unit_test(a_lone_escape_waits_until_the_line_is_idle),
                                       cmocka_unit_test(a_paste_without_an_end_is_let_go),
                                       cmocka_unit_test(a_huge_paste_is_cut),
                                       cmocka_unit_test(random_bytes_never_hang_or_give_control_characters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
