/* Growing strings; UTF-8 against the arithmetic of its definition rather than against the table it
 * is read by; cleaning. */
#include "base_test.h"

#include "engine/base/str.h"

static void test_str(void **state)
{
    struct str s = {0};
    assert_string_equal(str_text(&s), "");
    str_clear(&s);
    char *empty = str_take(&s);
    assert_string_equal(empty, "");
    mem_free(empty);
    str_add(&s, "a");
    str_add_n(&s, "b\0c", 3);
    str_add_n(&s, NULL, 0);
    str_add_char(&s, 'd');
    str_add_utf8(&s, 0x20AC);
    assert_int_equal(s.len, 8);
    assert_memory_equal(s.data, "ab\0cd\xe2\x82\xac", 9); /* and the NUL */
    size_t cap = s.cap;
    str_clear(&s);
    assert_true(s.len == 0 && s.cap == cap && s.data[0] == 0);
    char *taken = (str_add(&s, "kept"), str_take(&s));
    assert_true(s.data == NULL && s.len == 0 && s.cap == 0);
    assert_string_equal(taken, "kept");
    mem_free(taken);
    str_free(&s);
}

/* Every length round the first capacities, by each way of adding. */
static void test_growth(void **state)
{
    char text[200];
    size_t live = mem_live_bytes();
    for (size_t n = 0; n < sizeof text; n++) {
        memset(text, 'q', n);
        text[n] = 0;
        struct str whole = {0}, single = {0}, printed = {0};
        str_add(&whole, text);
        str_printf(&printed, "%s", text);
        for (size_t i = 0; i < n; i++)
            str_add_char(&single, 'q');
        assert_string_equal(str_text(&whole), text);
        assert_string_equal(str_text(&single), text);
        assert_string_equal(str_text(&printed), text);
        assert_true(whole.len == n && single.len == n && printed.len == n);
        str_printf(&printed, "-%zu-%s", n, text);
        assert_int_equal(strlen(printed.data), printed.len);
        assert_true(printed.len > 2 * n + 2 && printed.cap > printed.len);
        str_free(&whole);
        str_free(&single);
        str_free(&printed);
    }
    assert_int_equal(mem_live_bytes(), live);
}

static int too_long(void *arg)
{
    struct str s = {0};
    str_add(&s, "x");
    str_add_n(&s, "y", SIZE_MAX - 1);
    return 0;
}

static void test_too_long(void **state)
{
    assert_int_equal(in_child(too_long, NULL), 256 + SIGABRT);
}

static bool is_scalar(uint32_t v)
{
    return v <= 0x10FFFF && !(v >= 0xD800 && v <= 0xDFFF);
}

/* The definition without the table: a lead byte names the length and the high bits; `k` bytes are a
 * good beginning when some scalar of that length, not to be written shorter, lies among all the
 * ways to go on. */
static int reference(const unsigned char *p, int n, uint32_t *scalar)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *scalar = 0xFFFD;
    int length = p[0] < 0x80             ? 1
                 : (p[0] & 0xE0) == 0xC0 ? 2
                 : (p[0] & 0xF0) == 0xE0 ? 3
                 : (p[0] & 0xF8) == 0xF0 ? 4
                                         : 0;
    if (length <= 1) {
        *scalar = length ? p[0] : 0xFFFD;
        return 1;
    }
    uint32_t value = p[0] & (0x7Fu >> length);
    int good = 0;
    for (int k = 1;; k++) {
        int shift = 6 * (length - k);
        uint32_t from = value << shift, to = from | ((1u << shift) - 1);
        if (from < least[length])
            from = least[length];
        if (from >= 0xD800 && from <= 0xDFFF)
            from = 0xE000;
        if (from > to || !is_scalar(from))
            break;
        good = k;
        if (k == length) {
            *scalar = value;
            return length;
        }
        if (k >= n || (p[k] & 0xC0) != 0x80)
            break;
        value = value << 6 | (p[k] & 0x3F);
    }
    return good > 0 ? good : 1;
}

static void compare(const unsigned char *p, int n)
{
    uint32_t expected, got;
    int want = reference(p, n, &expected),
        used = utf8_decode((const char *)p, (const char *)p + n, &got);
    bool valid = want == n && !(expected == 0xFFFD && (n != 3 || memcmp(p, MARK, 3) != 0));
    if (used != want || got != expected ||
        (want == n && utf8_valid((const char *)p, (size_t)n) != valid))
        fail_msg("%02x %02x %02x %02x, %d bytes: %d of U+%04X, expected %d of U+%04X", p[0],
                 n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0, n, used, got, want,
                 expected);
}

static void test_decode_all(void **state)
{
    static const unsigned char edge[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
                                         0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xF4, 0xFF};
    unsigned char p[4];
    for (int a = 0; a < 256; a++) {
        p[0] = (unsigned char)a;
        compare(p, 1);
        for (int b = 0; b < 256; b++) {
            p[1] = (unsigned char)b;
            compare(p, 2);
            for (size_t c = 0; c < sizeof edge; c++) {
                p[2] = edge[c];
                compare(p, 3);
                for (size_t d = 0; d < sizeof edge; d++) {
                    p[3] = edge[d];
                    compare(p, 4);
                }
            }
        }
    }
}

static void test_encode_all(void **state)
{
    for (uint32_t v = 0; v <= 0x10FFFF; v++) {
        if (!is_scalar(v))
            continue;
        char p[4];
        uint32_t back;
        int n = utf8_encode(v, p);
        int expected = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
        if (n != expected || utf8_decode(p, p + n, &back) != n || back != v ||
            !utf8_valid(p, (size_t)n) || utf8_valid(p, (size_t)n - 1) != (n == 1))
            fail_msg("U+%04X", v);
    }
}

/* What the standard's own examples say (tables 3-8 to 3-11, and section 3.9). */
static void test_decode_named(void **state)
{
    static const struct {
        const char *bytes;
        int used;
        uint32_t scalar;
    } cases[] = {
        {"\xC0\xAF", 1, 0xFFFD},
        {"\xC1\xBF", 1, 0xFFFD},
        {"\xE0\x80\xBF", 1, 0xFFFD},
        {"\xE0\x9F\xBF", 1, 0xFFFD},
        {"\xF0\x80\x81\x82", 1, 0xFFFD},
        {"\xF0\x8F\xBF\xBF", 1, 0xFFFD},
        {"\xED\xA0\x80", 1, 0xFFFD},
        {"\xED\xBF\xBF", 1, 0xFFFD},
        {"\xF4\x90\x80\x80", 1, 0xFFFD},
        {"\xF5\x80\x80\x80", 1, 0xFFFD},
        {"\xFE", 1, 0xFFFD},
        {"\xFF", 1, 0xFFFD},
        {"\x80", 1, 0xFFFD},
        {"\xBF", 1, 0xFFFD},
        {"\xE1\x80\xE2", 2, 0xFFFD},
        {"\xF0\x91\x92", 3, 0xFFFD},
        {"\xF1\xBF"
         "A",
         2, 0xFFFD},
        {"\xC2"
         "A",
         1, 0xFFFD},
        {"\xEE\x80\x80", 3, 0xE000},
        {"\xED\x9F\xBF", 3, 0xD7FF},
        {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
        {MARK, 3, 0xFFFD},
        {"\xC2\x80", 2, 0x80},
        {"\xE0\xA0\x80", 3, 0x800},
        {"\xF0\x90\x80\x80", 4, 0x10000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t scalar;
        const char *p = cases[i].bytes;
        assert_int_equal(utf8_decode(p, p + strlen(p), &scalar), cases[i].used);
        assert_int_equal(scalar, cases[i].scalar);
        assert_int_equal(utf8_valid(p, strlen(p)),
                         cases[i].scalar != 0xFFFD || strcmp(p, MARK) == 0);
    }
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\0b", 3));
    assert_true(utf8_valid("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    assert_false(utf8_valid("ok\xe2\x82", 4));
}

static void test_prefix(void **state)
{
    static const struct {
        const char *bytes;
        size_t complete;
    } cases[] = {
        {"", 0},
        {"a", 1},
        {"a\xc3", 1},
        {"a\xc3\xa9", 3},
        {"a\xe2", 1},
        {"a\xe2\x82", 1},
        {"a\xe2\x82\xac", 4},
        {"a\xf0\x9f\x98", 1},
        {"a\xf0\x9f\x98\x80", 5},
        {"\xf0", 0},
        {"a\x80", 2},
        {"a\xff", 2},
        {"\xe0\x80", 2},
        {"\xe2\xff", 2},
        {"\xed\xa0", 2},
        {"\xc3\xa9\xa9", 3},
        {"\xf4\x90", 2},
        {"\xc0", 1},
        {"\x80\x80\x80\x80", 4},
        {"\xe2\x82\xac\xe2", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (utf8_complete_prefix(cases[i].bytes, strlen(cases[i].bytes)) != cases[i].complete)
            fail_msg("case %zu", i);
    /* A text that comes in pieces of any size is the same text. */
    static const char text[] = "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 x \xff y";
    for (size_t n = 0; n < sizeof text; n++) {
        size_t cut = utf8_complete_prefix(text, n);
        assert_true(cut <= n && n - cut <= 3);
        uint32_t at, ahead;
        if (cut < n) { /* what was held back would have been read wrongly */
            utf8_decode(text + cut, text + n, &at);
            utf8_decode(text + cut, text + sizeof text - 1, &ahead);
            assert_true(at == 0xFFFD && ahead != 0xFFFD);
        }
    }
}

static void check_clean(const char *bytes, size_t n, bool lines, bool escape, const char *expected)
{
    struct str out = {0};
    str_add(&out, "> ");
    text_clean(&out, bytes, n, lines, escape);
    assert_int_equal(strlen(out.data), out.len);
    assert_memory_equal(out.data, "> ", 2);
    if (strcmp(out.data + 2, expected) != 0)
        fail_msg("got \"%s\", expected \"%s\"", out.data + 2, expected);
    str_free(&out);
    if (!lines && !escape) {
        char fixed[256];
        assert_int_equal(text_clean_fixed(fixed, sizeof fixed, bytes, n), strlen(expected));
        assert_string_equal(fixed, expected);
    }
}

/* Every scalar of Unicode: controls never pass, and what is not on the list always does. */
static void test_clean_scalars(void **state)
{
    static const uint32_t hidden[][2] = {
        {0x00, 0x1F},     {0x7F, 0x9F},     {0x61C, 0x61C},   {0x200B, 0x200B},
        {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2066, 0x2069}, {0xFEFF, 0xFEFF},
    };
    static const uint32_t shown[] = {0x20,   0x7E,   0xA0,   0xE9,   0x200C,  0x200D,  0x2027,
                                     0x202F, 0x3042, 0xFE0F, 0xFFFD, 0x1F338, 0x10FFFF};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        for (uint32_t v = hidden[i][0]; v <= hidden[i][1]; v++) {
            char p[4], hex[17] = "";
            size_t n = (size_t)utf8_encode(v, p);
            for (size_t k = 0; k < n; k++)
                snprintf(hex + 4 * k, 5, "\\x%02X", (unsigned char)p[k]);
            check_clean(p, n, false, false, MARK);
            check_clean(p, n, false, true, hex);
            if (v != '\n' && v != '\t') {
                check_clean(p, n, true, false, MARK);
                check_clean(p, n, true, true, hex);
            }
        }
    }
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        char p[5] = {0};
        size_t n = (size_t)utf8_encode(shown[i], p);
        for (int mode = 0; mode < 4; mode++)
            check_clean(p, n, mode & 1, mode & 2, p);
    }
}

static void test_clean(void **state)
{
    check_clean("", 0, false, false, "");
    check_clean("plain", 5, false, false, "plain");
    check_clean("a\nb\tc\r\n", 7, true, false, "a\nb\tc" MARK "\n");
    check_clean("a\nb\tc", 5, true, true, "a\nb\tc");
    check_clean("a\nb\tc", 5, false, false, "a" MARK "b" MARK "c");
    check_clean("a\nb", 3, false, true, "a\\x0Ab");
    check_clean("\0x", 2, false, false, MARK "x");
    check_clean("\x1b[2J\x1b]0;title\x07", 14, false, false, MARK "[2J" MARK "]0;title" MARK);
    check_clean("\x1b[2J", 4, true, true, "\\x1B[2J");
    check_clean("\xc2\x9b"
                "31m",
                5, false, true, "\\xC2\\x9B31m");
    check_clean("\x9b"
                "31m",
                4, false, true, "\\x9B31m");
    check_clean("a\xe2\x80\xae"
                "b",
                5, false, true, "a\\xE2\\x80\\xAEb");
    check_clean("\xe2\x82", 2, false, false, MARK);
    check_clean("\xe2\x82", 2, false, true, "\\xE2\\x82");
    check_clean("\xed\xa0\x80", 3, false, false, MARK MARK MARK);
    check_clean("\xf0\x9f\x98", 3, false, true, "\\xF0\\x9F\\x98");
    check_clean(MARK, 3, false, true, MARK); /* a mark that stood there is no fault */
}

/* Any bytes at all: the result is valid, and cleaning it again changes nothing. */
static void test_clean_bytes(void **state)
{
    uint32_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        char bytes[40];
        size_t n = (size_t)round % sizeof bytes;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (char)(seed >> 24);
        }
        for (int mode = 0; mode < 4; mode++) {
            struct str once = {0}, twice = {0};
            text_clean(&once, bytes, n, mode & 1, mode & 2);
            text_clean(&twice, once.data, once.len, mode & 1, mode & 2);
            assert_true(utf8_valid(once.data, once.len));
            assert_string_equal(once.data, twice.data);
            for (size_t i = 0; i < once.len; i++) {
                unsigned char c = (unsigned char)once.data[i];
                assert_true(c >= 0x20 || ((mode & 1) && (c == '\n' || c == '\t')));
            }
            str_free(&once);
            str_free(&twice);
        }
    }
}

static void test_clean_fixed(void **state)
{
    static const char text[] = "a\xc3\xa9\x1b\xf0\x9f\x98\x80z",
                      clean[] = "a\xc3\xa9" MARK "\xf0\x9f\x98\x80z";
    static const size_t ends[] = {0, 1, 3, 6, 10, 11};
    for (size_t size = 0; size <= sizeof clean + 2; size++) {
        char out[32];
        memset(out, 0x55, sizeof out);
        size_t got = text_clean_fixed(out, size, text, sizeof text - 1), expected = 0;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (ends[i] + 1 <= size)
                expected = ends[i];
        assert_int_equal(got, expected);
        assert_memory_equal(out, clean, got);
        if (size > 0)
            assert_int_equal(out[got], 0);
        for (size_t i = size; i < sizeof out; i++)
            assert_int_equal(out[i], 0x55);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str),         cmocka_unit_test(test_growth),
        cmocka_unit_test(test_too_long),    cmocka_unit_test(test_decode_all),
        cmocka_unit_test(test_encode_all),  cmocka_unit_test(test_decode_named),
        cmocka_unit_test(test_prefix),      cmocka_unit_test(test_clean_scalars),
        cmocka_unit_test(test_clean),       cmocka_unit_test(test_clean_bytes),
        cmocka_unit_test(test_clean_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
