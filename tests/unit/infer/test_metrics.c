/* BLEU and chrF against numbers of SacreBLEU 2.5 (corpus_bleu, corpus_chrf with their defaults). */
#include "engine/infer/generate.h"
#include "engine/infer/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>

static void close_to(double have, double want)
{
    if (fabs(have - want) > 1e-9)
        fail_msg("have %.12f, want %.12f", have, want);
}

static void against_sacrebleu(void **state)
{
    struct metrics m = {0};
    metrics_add(&m, "the old pond is still", "The old pond, still.");
    metrics_add(&m, "A frog jumps in, at 3.5 m!", "a frog leaps in (at 3,500 m)!");
    metrics_add(&m, "caf\u00e9 & cr\u00e8me\nthe end", "caf\u00e9 &amp; cr\u00e8me - the end");
    metrics_add(&m, "it's 1999-2000, o.k.", "it's 1999-2000 ... ok");
    close_to(metrics_bleu(&m), 19.32379300262542);
    close_to(metrics_chrf(&m), 48.02796760480711);
    m = (struct metrics){0};
    metrics_add(&m, "xyz one two three four", "abc one five three six seven");
    close_to(metrics_bleu(&m), 10.400597689005304); /* orders without a match: smoothed */
    close_to(metrics_chrf(&m), 19.93934508826176);
}

static void nothing_to_compare(void **state)
{
    struct metrics m = {0};
    close_to(metrics_bleu(&m), 0);
    close_to(metrics_chrf(&m), 0);
    metrics_add(&m, "", "something");
    close_to(metrics_bleu(&m), 0);
    metrics_add(&m, "one", "");
    close_to(metrics_chrf(&m), 0);
}

static void interval(void **state)
{
    double low, high;
    rate_interval(8, 60, &low, &high); /* Wilson 1927, worked by hand */
    assert_true(fabs(low - 0.0691) < 1e-4 && fabs(high - 0.2417) < 1e-4);
    rate_interval(0, 120, &low, &high);
    assert_true(low == 0 && fabs(high - 0.0310) < 1e-4);
    rate_interval(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_sacrebleu), cmocka_unit_test(nothing_to_compare), cmocka_unit_test(interval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
