/* The embedded files are found by name, the list is sorted, and the bytes are those of the source
 * folder. */
#include "engine/builtin/builtin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    (void)state;
    size_t n = 0;
    const struct builtin_file *files = builtin_list(&n);
    assert_true(n >= 1);
    for (size_t i = 0; i < n; i++) {
        if (i)
            assert_true(strcmp(files[i - 1].name, files[i].name) < 0);
        assert_ptr_equal(builtin_find(files[i].name), &files[i]);
        assert_int_equal((uintptr_t)files[i].data % 64, 0);
        assert_int_equal(files[i].data[files[i].size], 0);
    }
    assert_non_null(builtin_find("verse/overlay.tsv"));
    assert_null(builtin_find(""));
    assert_null(builtin_find("verse"));
    assert_null(builtin_find("verse/overlay.tsv.md"));
    assert_null(builtin_find("zzz"));
}

/* Tests run from the source tree of this build. */
static void test_bytes(void **state)
{
    (void)state;
    size_t n = 0;
    const struct builtin_file *files = builtin_list(&n);
    for (size_t i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/../../engine/builtin/%s", FIXTURES, files[i].name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        unsigned char *bytes = malloc(files[i].size + 1);
        assert_non_null(bytes);
        assert_int_equal(fread(bytes, 1, files[i].size + 1, f), files[i].size);
        assert_memory_equal(bytes, files[i].data, files[i].size);
        free(bytes);
        fclose(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
