/* Accounted memory: what is counted, how blocks lie, what a size that cannot be had does; the
 * arena. */
#include "base_test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

static bool all_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static void test_blocks(void **state)
{
    static const size_t sizes[] = {
        0, 1, 63, 64, 65, 4096, (2 << 20) - 65, (2 << 20) - 64, 2 << 20, (4 << 20) + 1};
    size_t before = mem_live_bytes();
    for (int again = 0; again < 2; again++) { /* the second time blocks come back dirty */
        unsigned char *block[sizeof sizes / sizeof *sizes];
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t live = mem_live_bytes();
            uint64_t calls = mem_allocations();
            block[i] = mem_new(1, sizes[i]);
            assert_int_equal((uintptr_t)block[i] % 64, 0);
            assert_true(all_zero(block[i], sizes[i]));
            memset(block[i], 0xAA, sizes[i]);
            size_t added = mem_live_bytes() - live;
            assert_int_equal(added, mem_block_bytes(sizes[i]));
            assert_true(added >= sizes[i] + 64 && (added == sizes[i] + 64 || (added % (2 << 20) == 0 && added < sizes[i] + 64 + (2 << 20))));
            assert_int_equal(mem_allocations() - calls, 1);
        }
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            mem_free(block[i]);
        assert_int_equal(mem_live_bytes(), before);
    }
    mem_free(NULL);
    assert_int_equal(mem_live_bytes(), before);
}

static void test_peak(void **state)
{
    size_t live = mem_live_bytes(), want = mem_peak_bytes() + (1 << 20);
    char *big = mem_new(want - live, 1);
    size_t peak = mem_peak_bytes();
    assert_true(peak >= want && peak == live + mem_block_bytes(want - live));
    mem_free(big);
    assert_int_equal(mem_peak_bytes(), peak);
    mem_free(mem_new(100, 1));
    assert_int_equal(mem_peak_bytes(), peak);
    assert_int_equal(mem_live_bytes(), live);
}

/* A large block begins (with its header) on a huge page, and gives its pages back. */
static void test_huge(void **state)
{
    if (SANITIZED)
        skip();
    unsigned char *block = mem_new(5, 1 << 20), seen[1];
    void *page = (void *)((uintptr_t)block & ~(uintptr_t)4095);
    assert_int_equal(((uintptr_t)block - 64) % (2 << 20), 0);
    block[(5 << 20) - 1] = 1;
    assert_int_equal(mincore(page, 4096, seen), 0);
    mem_free(block);
    assert_int_equal(mincore(page, 4096, seen), -1);
    assert_int_equal(errno, ENOMEM);
}

static void test_grow(void **state)
{
    size_t live = mem_live_bytes();
    uint16_t *p = mem_grow(NULL, 0, 10, sizeof *p);
    assert_true(all_zero((unsigned char *)p, 20));
    for (int i = 0; i < 10; i++)
        p[i] = (uint16_t)(i + 1);
    p = mem_grow(p, 10, 2 << 20, sizeof *p); /* over the border of large blocks */
    for (int i = 0; i < 10; i++)
        assert_int_equal(p[i], i + 1);
    assert_true(all_zero((unsigned char *)(p + 10), ((2 << 20) - 10) * sizeof *p));
    p = mem_grow(p, 2 << 20, 3, sizeof *p);
    assert_true(p[0] == 1 && p[1] == 2 && p[2] == 3);
    assert_true(mem_live_bytes() - live <= 64 + 3 * sizeof *p);
    mem_free(p);
    assert_int_equal(mem_live_bytes(), live);
}

static void test_text(void **state)
{
    char *a = mem_copy("haiku"), *b = mem_copy_n("haiku", 2), *c = mem_copy_n(NULL, 0),
         *d = mem_printf("%s-%04d", "n", 42);
    char *e = mem_printf("%*s", 3000, "x");
    assert_string_equal(a, "haiku");
    assert_string_equal(b, "ha");
    assert_string_equal(c, "");
    assert_string_equal(d, "n-0042");
    assert_int_equal(strlen(e), 3000);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(e);
}

/* Sizes that cannot be had, some of which wrap when the header is added. */
static void test_refused(void **state)
{
    static const size_t sizes[] = {SIZE_MAX,      SIZE_MAX - 63,
                                   SIZE_MAX - 64, SIZE_MAX - (2 << 20),
                                   SIZE_MAX / 2,  (size_t)1 << 52};
    size_t live = mem_live_bytes(), peak = mem_peak_bytes();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct gm_error err = {0};
        struct arena arena;
        assert_null(mem_alloc(sizes[i], "the moon", &err));
        assert_int_equal(err.code, GM_E_MEMORY);
        assert_non_null(strstr(err.text, "allocate the moon: "));
        assert_int_equal(err.text[strlen(err.text) - 1], ')');
        assert_null(mem_alloc(sizes[i], "the moon", NULL));
        assert_false(arena_init(&arena, sizes[i], "an arena", &err));
        assert_null(arena.base);
        arena_free(&arena);
    }
    assert_int_equal(mem_live_bytes(), live);
    assert_int_equal(mem_peak_bytes(), peak);
}

enum {
    NEW_WRAPS,
    NEW_TOO_LARGE,
    GROW_WRAPS,
    COPY_WRAPS,
    FOREIGN,
    ARENA_FULL,
    ARENA_WRAPS,
    ARENA_MARK,
    FINE
};

static int misuse(void *which)
{
    static _Alignas(4096) unsigned char foreign[256];
    memset(foreign + 64, 1,
           64); /* read as a header: a mapping at no page, whose release would fail in silence */
    struct arena a;
    arena_init(&a, 256, "a", NULL);
    switch (*(int *)which) {
    case NEW_WRAPS:
        mem_free(mem_new(SIZE_MAX / 2 + 2, 2));
        break; /* 2 bytes, if it wrapped */
    case NEW_TOO_LARGE:
        mem_free(mem_new(1, (size_t)1 << 52));
        break;
    case GROW_WRAPS:
        mem_free(mem_grow(NULL, 0, SIZE_MAX / 8 + 2, 8));
        break;
    case COPY_WRAPS:
        mem_free(mem_copy_n("x", SIZE_MAX));
        break;
    case FOREIGN:
        mem_free(foreign + 128);
        break;
    case ARENA_FULL:
        arena_take(&a, 128), arena_take(&a, 129);
        break;
    case ARENA_WRAPS:
        arena_take(&a, SIZE_MAX - 5);
        break;
    case ARENA_MARK:
        arena_reset(&a, 64);
        break;
    default:
        arena_take(&a, 128), arena_take(&a, 128), arena_reset(&a, 128);
        break;
    }
    return 0;
}

static void test_aborts(void **state)
{
    for (int which = 0; which < FINE; which++) {
        int status = in_child(misuse, &which);
        if (status != 256 + SIGABRT)
            fail_msg("case %d ended with %d", which, status);
    }
    int fine = FINE;
    assert_int_equal(in_child(misuse, &fine), 0);
}

static void test_arena(void **state)
{
    struct gm_error err = {0};
    struct arena a;
    size_t live = mem_live_bytes();
    assert_true(arena_init(&a, arena_cost(1) + arena_cost(64) + arena_cost(65), "workspace", &err));
    uint64_t calls = mem_allocations();
    unsigned char *one = arena_take(&a, 1), *two = arena_take(&a, 64);
    assert_int_equal((uintptr_t)one % 64, 0);
    assert_int_equal(two - one, 64);
    size_t mark = arena_mark(&a);
    unsigned char *three = arena_take(&a, 65);
    assert_int_equal(three - two, 64);
    memset(three, 1, 65);
    assert_int_equal(a.used, a.size);
    arena_reset(&a, mark);
    assert_ptr_equal(arena_take(&a, 1), three);
    arena_reset(&a, 0);
    assert_ptr_equal(arena_take(&a, 10), one);
    assert_int_equal(a.peak, a.size);
    assert_int_equal(mem_allocations(), calls);
    arena_free(&a);
    assert_null(a.base);
    assert_int_equal(mem_live_bytes(), live);
    assert_int_equal(arena_cost(0), 0);
    assert_int_equal(arena_cost(64), 64);
}

static void *busy(void *arg)
{
    for (size_t i = 0; i < 2000; i++) {
        char *a = mem_new(i % 300 + 1, 1), *b = mem_copy("b");
        a = mem_grow(a, i % 300 + 1, 400, 1);
        mem_free(b);
        mem_free(a);
    }
    return NULL;
}

static void test_threads(void **state)
{
    size_t live = mem_live_bytes();
    uint64_t calls = mem_allocations();
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, busy, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(mem_live_bytes(), live);
    assert_int_equal(mem_allocations() - calls, 4 * 2000 * 3);
}

static void test_process(void **state)
{
    size_t before = mem_rss_bytes();
    if (before == 0) /* a system without /proc */
        skip();
    enum { SIZE = 32 << 20 };
    unsigned char *block = mem_new(SIZE, 1);
    memset(block, 1, SIZE);
    size_t during = mem_rss_bytes();
    assert_true(during >= before + SIZE / 4 * 3);
    mem_free(block);
    assert_true(mem_rss_peak_bytes() >=
                during - SIZE / 16); /* the system counts in steps, per processor */
    assert_true(mem_available_bytes() > 0);
}

static void test_room(void **state)
{
    (void)state;
    int *list = NULL;
    size_t cap = 0;
    for (size_t n = 0; n < 1000; n++) {
        list = mem_room(list, n, &cap, sizeof *list);
        assert_true(n < cap && cap >= 64 && cap <= 2 * (n > 32 ? n : 32));
        assert_int_equal(list[n], 0);
        list[n] = (int)n;
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(list[n], n);
    mem_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_blocks),  cmocka_unit_test(test_peak),
        cmocka_unit_test(test_huge),    cmocka_unit_test(test_grow),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_aborts),  cmocka_unit_test(test_arena),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
