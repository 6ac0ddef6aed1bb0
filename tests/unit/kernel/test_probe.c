/* The probe of the kernel families and the file that remembers it. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/base/file.h"
#include "engine/kernel/probe.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/gemmaiku-probe-XXXXXX";

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return dir_remove(folder, NULL) ? 0 : -1;
}

static void measures_every_family(void **state)
{
    struct probe p;
    probe_measure(&p);
    print_message("probe took %.1f ms\n", 1e3 * p.seconds);
    assert_false(p.remembered);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        print_message("%-12s %8.1f GFLOP/s%s\n", family_name((enum family)f), p.gflops[f],
                      family_runs_here((enum family)f) ? "" : "  (this processor or build does not have it)");
        assert_int_equal(p.gflops[f] > 0, family_runs_here((enum family)f));
        assert_true(p.gflops[f] <= p.gflops[p.fastest]);
    }
    assert_true(family_runs_here(p.fastest) && p.fastest != FAMILY_AUTO);
}

/* A probe whose fastest family is the plain one: no measurement says so. */
static struct probe made_up(void)
{
    struct probe p = {.fastest = FAMILY_PLAIN};
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        p.gflops[f] = family_runs_here((enum family)f) ? f == FAMILY_PLAIN ? 1234.5 : 12.25 : 0;
    return p;
}

static void remembers(void **state)
{
    struct gm_error err = {0};
    struct probe p = made_up(), q;
    char *file = probe_file(folder);
    assert_false(probe_read(file, &q));
    assert_true(probe_write(file, &p, &err));
    assert_true(probe_read(file, &q));
    assert_true(q.remembered);
    assert_int_equal(q.fastest, FAMILY_PLAIN);
    assert_memory_equal(q.gflops, p.gflops, sizeof p.gflops);
    unlink(file);
    mem_free(file);
    char *deeper = mem_printf("%s/not/there/yet", folder);
    file = probe_file(deeper);
    assert_true(probe_write(file, &p, &err)); /* the folder is made */
    assert_true(probe_read(file, &q));
    mem_free(deeper);
    mem_free(file);
}

/* Whatever stands in the file that this program did not write is not believed. */
static void wrong_files_do_not_count(void **state)
{
    struct gm_error err = {0};
    struct probe p = made_up(), q;
    struct str good = {0};
    char *file = probe_file(folder);
    assert_true(probe_write(file, &p, &err) && file_read_all(file, 4096, &good, &err));
    const char *tails[] = {"plain 7\n", "avx1024 7\n", "auto 7\n", "plain", "\n", " ", "plain nan\n", "x"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char *text = mem_printf("%s%s", str_text(&good), tails[i]);
        assert_true(file_replace(file, text, strlen(text), &err));
        if (probe_read(file, &q))
            fail_msg("read with \"%s\" behind it", tails[i]);
        mem_free(text);
    }
    for (size_t n = 0; n < good.len; n++) { /* cut anywhere, or a byte changed */
        assert_true(file_replace(file, good.data, n, &err));
        assert_false(probe_read(file, &q));
    }
    const char *values[] = {"-5", "0", "inf", "nan", "1e300", "", "0x"};
    char *line = strstr(good.data, "plain ");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char *text = mem_printf("%.*splain %s\n", (int)(line - good.data), good.data, values[i]);
        assert_true(file_replace(file, text, strlen(text), &err));
        if (probe_read(file, &q))
            fail_msg("read with plain %s", values[i]);
        mem_free(text);
    }
    good.data[strcspn(good.data, "\n") + 14]++; /* another processor */
    assert_true(file_replace(file, good.data, good.len, &err));
    assert_false(probe_read(file, &q));
    unlink(file);
    assert_true(dir_make(file, &err));
    assert_false(probe_read(file, &q));
    assert_false(probe_write(file, &p, &err));
    assert_true(dir_remove(file, &err));
    str_free(&good);
    mem_free(file);
}

static void unusable_folders_do_no_harm(void **state)
{
    struct gm_error err = {0};
    char *blocked = mem_printf("%s/a-file", folder), *below = path_join(blocked, "gemmaiku");
    assert_true(file_replace(blocked, "x", 1, &err));
    probe_remember_in(below, false);
    const struct probe *p = probe_of_machine();
    assert_false(p->remembered);
    assert_true(family_runs_here(p->fastest));
    assert_ptr_equal(probe_of_machine(), p);
    probe_remember_in(folder, false);
    char *file = probe_file(folder);
    struct probe q;
    assert_false(probe_read(file, &q));
    assert_false(probe_again()->remembered); /* measured, and written */
    assert_true(probe_read(file, &q));
    assert_int_equal(q.fastest, probe_of_machine()->fastest);
    mem_free(file);
    mem_free(below);
    mem_free(blocked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measures_every_family), cmocka_unit_test(remembers),
                                       cmocka_unit_test(wrong_files_do_not_count),
                                       cmocka_unit_test(unusable_folders_do_no_harm)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
