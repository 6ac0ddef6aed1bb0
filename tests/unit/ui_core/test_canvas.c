/* Widths, wrapping, the canvas: nothing is cut in two, nothing unprintable gets in, everything is clipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ui/core/canvas.h"
#include "ui/core/list.h"
#include "ui/core/width.h"

static void widths(void **state)
{
    assert_int_equal(width_text("abc"), 3);
    assert_int_equal(width_text("\xe5\x8f\xa4\xe6\xb1\xa0"), 4);             /* two kanji */
    assert_int_equal(width_text("e\xcc\x81"), 1);                             /* e + combining acute */
    assert_int_equal(width_text("\xf0\x9f\x90\xb8"), 2);                      /* frog */
    assert_int_equal(width_text("a\xe2\x80\x8d" "b\xef\xb8\x8f"), 2);         /* joiner and variation selector vanish */
    assert_int_equal(width_text("\xe2\x80\xae" "x"), 1);                      /* right-to-left override vanishes */
    assert_int_equal(width_text("\xe2\x94\x83\xe2\xa0\xbf\xe2\x97\x86"), 3);  /* box, braille, diamond */
    assert_int_equal(width_cut("\xe5\x8f\xa4\xe6\xb1\xa0", 6, 3), 3);
    assert_int_equal(width_text(NULL), 0);
}

static void wrapping(void **state)
{
    struct wrap w = {.rest = "one two  three\n\nfourfivesix"};
    static const char *const lines[] = {"one two", "three", "", "fourfiv", "esix"};
    for (int i = 0; i < 5; i++) {
        assert_true(wrap_next(&w, 7));
        assert_int_equal(w.len, strlen(lines[i]));
        assert_memory_equal(w.line, lines[i], w.len);
    }
    assert_false(wrap_next(&w, 7));
    struct wrap wide = {.rest = "\xe5\x8f\xa4\xe6\xb1\xa0"}; /* does not loop for ever in one column */
    assert_true(wrap_next(&wide, 1));
    assert_true(wrap_next(&wide, 1));
    assert_false(wrap_next(&wide, 1));
}

static void text_is_clipped_and_cleaned(void **state)
{
    struct canvas c;
    struct str s = {0};
    canvas_init(&c);
    canvas_resize(&c, 3, 8, true);
    assert_int_equal(canvas_text(&c, 0, 0, 8, ROLE_TEXT, "a\033[31m\nb"), 8);
    canvas_fit(&c, 1, 0, 8, ROLE_TEXT, "long enough");
    canvas_text(&c, 2, 5, 3, ROLE_TEXT, "\xe5\x8f\xa4\xe6\xb1\xa0"); /* the second kanji has one column only */
    canvas_text(&c, 2, -1, 3, ROLE_TEXT, "xy");
    canvas_text(&c, -1, 0, 8, ROLE_TEXT, "never");
    canvas_text(&c, 9, 0, 8, ROLE_TEXT, "never");
    canvas_dump(&c, &s, NULL);
    assert_string_equal(str_text(&s), "a\xef\xbf\xbd[31m\xef\xbf\xbd" "b\nlong en\xe2\x80\xa6\ny    \xe5\x8f\xa4\n");
    str_free(&s);
    canvas_free(&c);
}

static void wide_characters_are_never_halved(void **state)
{
    struct canvas c;
    canvas_init(&c);
    canvas_resize(&c, 1, 6, true);
    canvas_text(&c, 0, 0, 6, ROLE_TEXT, "\xe5\x8f\xa4\xe6\xb1\xa0\xe3\x82\x84");
    canvas_put(&c, 0, 1, ROLE_TEXT, 'x'); /* on the right half of the first: its left half becomes a blank */
    canvas_put(&c, 0, 2, ROLE_TEXT, 'y'); /* on the left half of the second */
    assert_int_equal(c.cells[0].ch, ' ');
    assert_int_equal(c.cells[1].ch, 'x');
    assert_int_equal(c.cells[2].ch, 'y');
    assert_int_equal(c.cells[3].ch, ' ');
    canvas_put(&c, 0, 5, ROLE_TEXT, 0x6c60); /* no room for two columns */
    assert_int_equal(c.cells[5].ch, ' ');
    canvas_text(&c, 0, 0, 6, ROLE_TEXT, "e\xcc\x81\xcc\x82\xcc\x83"); /* at most two marks */
    assert_int_equal(c.cells[0].mark[0], 0x301);
    assert_int_equal(c.cells[0].mark[1], 0x302);
    canvas_free(&c);
}

static void ascii_draws_ascii_only(void **state)
{
    struct canvas c;
    canvas_init(&c);
    canvas_resize(&c, 4, 20, false);
    canvas_box(&c, (struct rect){0, 0, 4, 20}, true, "\xe5\x8f\xa4 caf\xc3\xa9", "\xe2\x80\x9cq\xe2\x80\x9d");
    canvas_text(&c, 1, 1, 18, ROLE_TEXT, "it\xe2\x80\x99s \xe2\x80\x94 \xe6\xb1\xa0.");
    for (int i = 0; i < 80; i++)
        assert_true(c.cells[i].ch >= 0x20 && c.cells[i].ch < 0x7f);
    struct str s = {0};
    canvas_dump(&c, &s, NULL);
    assert_non_null(strstr(str_text(&s), "it's - ? ."));
    assert_non_null(strstr(str_text(&s), "==="));
    str_free(&s);
    canvas_free(&c);
}

static void nothing_unprintable_gets_into_a_cell(void **state)
{
    struct canvas c;
    uint32_t seed = 7;
    canvas_init(&c);
    for (int round = 0; round < 2000; round++) {
        char text[64];
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = (char)(seed >> 13);
        }
        int cols = 1 + (int)(seed >> 24) % 40;
        canvas_resize(&c, 2, cols, round % 2);
        assert_true(canvas_text_n(&c, 0, (int)(seed >> 9) % 5 - 2, cols, ROLE_TEXT, text, sizeof text) <= cols);
        canvas_put(&c, 1, 0, ROLE_TEXT, seed & 0x1fffff);
        for (int i = 0; i < 2 * cols; i++) {
            uint32_t ch = c.cells[i].ch;
            assert_true(ch == 0 || (ch >= 0x20 && (ch < 0x7f || ch >= 0xa0)));
            if (ch == 0) /* the right half of what stands before it */
                assert_true(i % cols > 0 && width_scalar(c.cells[i - 1].ch) == 2);
        }
    }
    canvas_free(&c);
}

static void lists_keep_the_selection_in_sight(void **state)
{
    struct list l = {0, 0};
    list_move(&l, 100, 1000000000);
    list_show(&l, 100, 10);
    assert_int_equal(l.selected, 99);
    assert_int_equal(l.top, 90);
    list_move(&l, 100, -1000000000);
    list_show(&l, 100, 10);
    assert_int_equal(l.selected, 0);
    assert_int_equal(l.top, 0);
    list_move(&l, 100, 12);
    list_show(&l, 100, 10);
    assert_int_equal(l.top, 3);
    list_show(&l, 5, 10); /* the list became shorter */
    assert_int_equal(l.selected, 4);
    assert_int_equal(l.top, 0);
    list_show(&l, 0, 10);
    assert_int_equal(l.selected, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(widths),
                                       cmocka_unit_test(wrapping),
                                       cmocka_unit_test(text_is_clipped_and_cleaned),
                                       cmocka_unit_test(wide_characters_are_never_halved),
                                       cmocka_unit_test(ascii_draws_ascii_only),
                                       cmocka_unit_test(nothing_unprintable_gets_into_a_cell),
                                       cmocka_unit_test(lists_keep_the_selection_in_sight)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
