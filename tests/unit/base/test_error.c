/* Error texts: their shape, what is cleaned, and where a text that is too long is cut. */
#include "base_test.h"

#include "engine/base/error.h"

#include <errno.h>

enum { ROOM = sizeof(((struct gm_error *)0)->text) - 1 };

static void test_set(void **state)
{
    struct gm_error err = {.code = GM_E_BUSY, .text = "an older, much longer text"};
    assert_false(error_set(&err, GM_E_INPUT, "read %s: row %d is empty", "a.json", 7));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_string_equal(err.text, "read a.json: row 7 is empty");
    assert_false(
        error_set(&err, GM_E_USAGE, "again: %s", err.text)); /* its own text as an argument */
    assert_string_equal(err.text, "again: read a.json: row 7 is empty");
}

static void test_context(void **state)
{
    struct gm_error err = {0};
    error_set(&err, GM_E_MEMORY, "allocate x: no");
    assert_false(error_context(&err, "open %s", "m"));
    assert_false(error_context(&err, "train"));
    assert_int_equal(err.code, GM_E_MEMORY);
    assert_string_equal(err.text, "train: open m: allocate x: no");
    assert_false(error_context(&err, "train")); /* is not said twice */
    assert_string_equal(err.text, "train: open m: allocate x: no");
}

static void test_remedy(void **state)
{
    struct gm_error err = {0};
    error_set(&err, GM_E_IO, "read x: torn");
    assert_false(error_remedy(&err, "copy %s", "again"));
    assert_string_equal(err.text, "read x: torn (copy again)");
    assert_false(error_remedy(&err, "do something else"));
    error_context(&err, "train");
    error_remedy(&err, "or this");
    assert_string_equal(err.text, "train: read x: torn (copy again)");
    assert_int_equal(err.code, GM_E_IO);
}

static void test_errno(void **state)
{
    struct gm_error err = {0};
    errno = ENOENT;
    assert_false(error_errno(&err, "open %s", "x"));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(err.code, GM_E_IO);
    assert_string_equal(err.text, "open x: No such file or directory");
    static const int with_remedy[] = {ENOSPC, EDQUOT, EFBIG, EROFS, EMFILE};
    for (size_t i = 0; i < sizeof with_remedy / sizeof *with_remedy; i++) {
        errno = with_remedy[i];
        error_errno(&err, "write x");
        assert_int_equal(errno, with_remedy[i]);
        char before[ROOM + 1];
        strcpy(before, err.text);
        assert_int_equal(before[strlen(before) - 1], ')');
        assert_non_null(strstr(before, " ("));
        error_remedy(&err, "wait");
        assert_string_equal(err.text, before);
    }
}

/* A file's name, a tensor's name, a row: anything may stand in an argument. */
static void test_cleaned(void **state)
{
    static const char dirt[] = "a\x1b[31mb\r\n\tc\x7f\xc2\x9b"
                               "d\xff\xe2\x80\xae"
                               "e\xed\xa0\x80";
    static const char clean[] =
        "a" MARK "[31mb" MARK MARK MARK "c" MARK MARK "d" MARK MARK "e" MARK MARK MARK;
    struct gm_error err = {0};
    error_set(&err, GM_E_INPUT, "%s", dirt);
    assert_string_equal(err.text, clean);
    error_set(&err, GM_E_INPUT, "x");
    error_context(&err, "%s", dirt);
    error_remedy(&err, "%s", dirt);
    char expected[256];
    snprintf(expected, sizeof expected, "%s: x (%s)", clean, clean);
    assert_string_equal(err.text, expected);
    errno = ENOENT;
    error_errno(&err, "%s", dirt);
    assert_memory_equal(err.text, clean, strlen(clean));
}

/* Characters of every width at every place round the border: whole or not at all. */
static void test_cut(void **state)
{
    static const char *const wide[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char fill[ROOM + 8];
    for (size_t w = 1; w <= 4; w++) {
        for (size_t k = ROOM - 5; k <= ROOM + 2; k++) {
            memset(fill, 'x', k);
            fill[k] = 0;
            struct {
                struct gm_error err;
                unsigned char fence;
            } box = {.fence = 0xA5};
            error_set(&box.err, GM_E_INPUT, "%s%s", fill, wide[w - 1]);
            size_t expected = k + w <= ROOM ? k + w : k < ROOM ? k : ROOM;
            assert_int_equal(strlen(box.err.text), expected);
            assert_true(utf8_valid(box.err.text, expected));
            error_remedy(&box.err, "%s", "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
            assert_true(strlen(box.err.text) <= ROOM &&
                        utf8_valid(box.err.text, strlen(box.err.text)));
            error_context(&box.err, "outer");
            assert_memory_equal(box.err.text, "outer: xxx", 10);
            assert_true(strlen(box.err.text) <= ROOM &&
                        utf8_valid(box.err.text, strlen(box.err.text)));
            assert_int_equal(box.err.code, GM_E_INPUT);
            assert_int_equal(box.fence, 0xA5);
        }
    }
}

/* A text that grows when it is cleaned, and one longer than every buffer on the way. */
static void test_cut_marks(void **state)
{
    char *dirt = mem_new(5001, 1);
    memset(dirt, '\x1b', 5000);
    struct gm_error err = {0};
    error_set(&err, GM_E_INPUT, "%s", dirt);
    assert_int_equal(strlen(err.text), ROOM / 3 * 3);
    for (size_t i = 0; i < ROOM / 3; i++)
        assert_memory_equal(err.text + 3 * i, MARK, 3);
    error_context(&err, "%s", dirt);
    assert_true(utf8_valid(err.text, strlen(err.text)));
    errno = ENOSPC;
    error_errno(&err, "%s", dirt);
    assert_true(strlen(err.text) <= ROOM && utf8_valid(err.text, strlen(err.text)));
    mem_free(dirt);
}

static void test_null(void **state)
{
    errno = ENOSPC;
    assert_false(error_set(NULL, GM_E_INPUT, "x"));
    assert_false(error_errno(NULL, "x"));
    assert_false(error_context(NULL, "x"));
    assert_false(error_remedy(NULL, "x"));
    assert_int_equal(errno, ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),       cmocka_unit_test(test_context),
        cmocka_unit_test(test_remedy),    cmocka_unit_test(test_errno),
        cmocka_unit_test(test_cleaned),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_marks), cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
