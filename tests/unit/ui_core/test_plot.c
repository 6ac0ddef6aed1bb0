/* Curves: spikes stay, gaps show, ticks are round, smoothing is debiased, no input breaks the drawing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ui/core/plot.h"
#include "ui/core/width.h"

enum { N = 5000 };

static void draw(struct canvas *c, struct str *out, const double *x, const double *y, size_t n, bool log_y, bool utf8, struct plot_frame *f)
{
    struct plot_series s = {.x = x, .y = y, .count = n, .role = ROLE_PLOT_S1};
    struct plot_axes axes = {.x0 = 0, .x1 = n > 1 ? x[n - 1] : 10, .y0 = NAN, .y1 = NAN, .log_y = log_y};
    canvas_resize(c, 12, 60, utf8);
    plot_draw(c, (struct rect){0, 0, 12, 60}, &s, 1, &axes, f);
    str_clear(out);
    canvas_dump(c, out, NULL);
}

static void a_spike_cannot_vanish(void **state)
{
    static double x[N], y[N];
    struct canvas c;
    struct str out = {0};
    struct plot_frame f;
    canvas_init(&c);
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = 1 + 0.01 * (i % 3);
    }
    y[3333] = 50; /* one point of 5000 in 52 columns */
    draw(&c, &out, x, y, N, false, true, &f);
    int col = plot_column(&f, 3333);
    int stroke = 0;
    for (int row = 0; row < f.area.rows; row++)
        stroke += c.cells[(f.area.row + row) * c.cols + col].role == ROLE_PLOT_S1;
    assert_true(stroke >= f.area.rows - 1); /* from top to bottom */
    draw(&c, &out, x, y, N, true, false, &f);
    assert_non_null(strchr(str_text(&out), '|'));
    str_free(&out);
    canvas_free(&c);
}

static void values_land_on_their_rows(void **state)
{
    double x[] = {0, 10}, y[] = {0, 100};
    struct canvas c;
    struct plot_frame f;
    canvas_init(&c);
    canvas_resize(&c, 12, 60, true);
    struct plot_series s = {.x = x, .y = y, .count = 2, .role = ROLE_PLOT_VAL, .kind = PLOT_MARKS};
    plot_draw(&c, (struct rect){0, 0, 12, 60}, &s, 1, &(struct plot_axes){.x1 = 10, .y0 = 0, .y1 = 100}, &f);
    assert_int_equal(f.area.rows, 10);
    assert_int_equal(c.cells[9 * 60 + f.area.col].ch, 0x25c6);
    assert_int_equal(c.cells[0 * 60 + 59].ch, 0x25c6);
    assert_int_equal(plot_column(&f, 0), f.area.col);
    assert_int_equal(plot_column(&f, 10), 59);
    assert_int_equal(plot_column(&f, 11), -1);
    canvas_free(&c);
}

static void not_finite_values_are_shown_and_counted(void **state)
{
    double x[20], y[20];
    struct canvas c;
    struct str out = {0};
    struct plot_frame f;
    canvas_init(&c);
    for (int i = 0; i < 20; i++) {
        x[i] = i;
        y[i] = 2 + i % 2;
    }
    y[7] = NAN;
    y[8] = INFINITY;
    draw(&c, &out, x, y, 20, true, true, &f);
    assert_int_equal(f.bad, 2);
    assert_int_equal(c.cells[plot_column(&f, 7)].ch, 'x');
    assert_int_equal(c.cells[plot_column(&f, 7)].role, ROLE_PLOT_NAN);
    for (int i = 0; i < 20; i++)
        y[i] = NAN; /* nothing to draw at all */
    draw(&c, &out, x, y, 20, true, true, &f);
    assert_int_equal(f.bad, 20);
    for (int i = 0; i < 20; i++)
        y[i] = -1; /* a logarithm has nothing to say */
    draw(&c, &out, x, y, 20, true, true, &f);
    draw(&c, &out, x, y, 0, false, true, &f);
    str_free(&out);
    canvas_free(&c);
}

static void ticks_are_round(void **state)
{
    double t[40];
    assert_int_equal(plot_ticks(0, 100, false, 5, t), 6);
    assert_true(t[1] == 20 && t[5] == 100);
    int n = plot_ticks(0.1, 10, true, 10, t);
    assert_int_equal(n, 7); /* 0.1 0.2 0.5 1 2 5 10 */
    assert_true(fabs(t[2] - 0.5) < 1e-12);
    n = plot_ticks(1e-6, 1e6, true, 5, t);
    assert_true(n >= 1 && n <= 6);
    n = plot_ticks(2.0, 2.1, true, 4, t); /* less than a decade: linear ticks */
    assert_true(n >= 2);
    assert_int_equal(plot_ticks(1, 1, false, 5, t), 0);
    assert_int_equal(plot_ticks(NAN, 1, false, 5, t), 0);
    for (double span = 1e-9; span < 1e12; span *= 3.7)
        for (int most = 1; most <= 40; most++) {
            n = plot_ticks(0.3 * span, 1.3 * span, false, most, t);
            assert_in_range(n, 0, 33);
            for (int i = 0; i < n; i++)
                assert_true(t[i] >= 0.299 * span && t[i] <= 1.301 * span);
        }
}

static void labels_fit(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"}, {0.45, "0.45"}, {1500, "1500"}, {12000, "12k"}, {2e6, "2M"}, {1.3e-4, "1.3e-4"}, {3e-5, "3e-5"}, {NAN, "nan"}, {-0.5, "-0.5"}};
    char out[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(plot_label(cases[i].value, out), cases[i].text);
}

static void smoothing_is_debiased(void **state)
{
    struct plot_ema e = {.weight = 0.9};
    assert_true(fabs(plot_ema_next(&e, 4) - 4) < 1e-12); /* the first value is itself, not a tenth of it */
    assert_true(fabs(plot_ema_next(&e, 4) - 4) < 1e-12);
    assert_true(isnan(plot_ema_next(&e, NAN)));
    double s = plot_ema_next(&e, 1); /* (0.1 * 0.81 * 4 + 0.1 * 0.9 * 4 + 0.1 * 1) / (1 - 0.729) */
    assert_true(fabs(s - (0.324 + 0.36 + 0.1) / 0.271) < 1e-12);
    struct plot_ema none = {.weight = 0};
    assert_true(plot_ema_next(&none, 3) == 3 && plot_ema_next(&none, 5) == 5);
}

static void nearest(void **state)
{
    double x[] = {1, 5, 9};
    assert_int_equal(plot_nearest(x, 3, -4), 0);
    assert_int_equal(plot_nearest(x, 3, 3.5), 1);
    assert_int_equal(plot_nearest(x, 3, 99), 2);
    assert_int_equal(plot_nearest(x, 0, 1), 0);
    assert_int_equal(plot_lower(x, 3, 5), 1);
}

static void any_numbers_any_size(void **state)
{
    static double x[300], y[300];
    struct canvas c;
    uint32_t seed = 3;
    canvas_init(&c);
    for (int round = 0; round < 3000; round++) {
        double at = 0;
        int n = 0;
        for (; n < 300; n++) {
            seed = seed * 1664525u + 1013904223u;
            at += (seed >> 20) % 3;
            x[n] = at;
            static const double odd[] = {0, -1, 1e308, -1e308, 5e-324, 1e-30};
            y[n] = seed >> 28 == 0 ? odd[(seed >> 8) % 6] : seed >> 28 == 1 ? NAN : (double)(seed >> 8) / 1e6;
            if (seed >> 21 == 5)
                break;
        }
        struct plot_frame f;
        int rows = (int)(seed >> 5) % 30, cols = (int)(seed >> 11) % 100;
        struct plot_series s[2] = {{.x = x, .y = y, .count = (size_t)n, .kind = round % 3, .role = ROLE_PLOT_S1},
                                   {.x = x, .y = y, .count = (size_t)n / 2, .scale = 100, .role = ROLE_PLOT_S2}};
        canvas_resize(&c, rows, cols, round % 2);
        plot_draw(&c, (struct rect){0, 0, rows, cols}, s, 2,
                  &(struct plot_axes){.x0 = (seed >> 9) % 50, .x1 = 50 + (seed >> 3) % 300, .y0 = NAN, .y1 = NAN, .log_y = round % 2, .from_zero = round % 5 == 0}, &f);
        for (int i = 0; i < rows * cols; i++)
            assert_true(c.cells[i].ch >= 0x20 && width_scalar(c.cells[i].ch) == 1);
    }
    canvas_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_spike_cannot_vanish),
                                       cmocka_unit_test(values_land_on_their_rows),
                                       cmocka_unit_test(not_finite_values_are_shown_and_counted),
                                       cmocka_unit_test(ticks_are_round),
                                       cmocka_unit_test(labels_fit),
                                       cmocka_unit_test(smoothing_is_debiased),
                                       cmocka_unit_test(nearest),
                                       cmocka_unit_test(any_numbers_any_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
