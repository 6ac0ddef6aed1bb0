/* Bars: their length is the share, their filling what is known of it. */
#include "ui/core/bar.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void length_and_filling(void **state)
{
    (void)state;
    static const struct {
        int cells;
        double share, filled;
        const char *want;
    } cases[] = {{20, 0.5, 0.7, "#######..."}, {10, 1, 1, "##########"}, {10, 1, 0, ".........."}, {10, 0.2, NAN, "##"},
                 {10, 0.001, 1, "#"},          {10, 0, 1, ""},           {0, 1, 1, ""},            {-3, 1, 1, ""},
                 {4, 7, 3, "####"},            {10, NAN, 0.5, ""},       {4, 1, -1, "...."}};
    char out[BAR_CELLS_MAX + 1];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(bar_text(out, cases[i].cells, cases[i].share, cases[i].filled), strlen(cases[i].want));
        assert_string_equal(out, cases[i].want);
    }
    assert_int_equal(bar_text(out, 1000, 1, 1), BAR_CELLS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(length_and_filling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
