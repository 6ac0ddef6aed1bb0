/* The pool: every block once, slots never shared, the same bits for any number of threads; tasting
 * goes first; rest costs nothing. */
#include "base_test.h"

#include "engine/base/pool.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

enum { MAX_BLOCKS = 4000, MAX_SLOTS = 8 };

/* One computation under observation. `occupied` is shared by both roles: a slot is one thread's. */
struct watch {
    struct pool *pool;
    int n_blocks, slots, spin;
    atomic_int ran[MAX_BLOCKS];
    atomic_int started, bad_block, bad_slot;
    atomic_bool stop; /* train_on: enough */
    int runs;         /* train_on: how many it made */
    atomic_int *occupied;
};

static void watched(void *arg, int block, int slot)
{
    struct watch *w = arg;
    atomic_fetch_add(&w->started, 1);
    if (slot < 0 || slot >= w->slots) {
        atomic_fetch_add(&w->bad_slot, 1);
        return;
    }
    if (atomic_fetch_add(&w->occupied[slot], 1) != 0)
        atomic_fetch_add(&w->bad_slot, 1);
    if (block < 0 || block >= w->n_blocks)
        atomic_fetch_add(&w->bad_block, 1);
    else
        atomic_fetch_add(&w->ran[block], 1);
    for (volatile int i = 0; i < w->spin; i++)
        ;
    atomic_fetch_sub(&w->occupied[slot], 1);
}

static struct watch *watch_new(struct pool *p, int n_blocks, int spin, atomic_int *occupied)
{
    struct watch *w = mem_new(1, sizeof *w);
    w->pool = p;
    w->n_blocks = n_blocks;
    w->slots = pool_slots(p);
    w->spin = spin;
    w->occupied = occupied;
    return w;
}

static void watch_check(const struct watch *w, int runs)
{
    assert_int_equal(w->bad_block, 0);
    assert_int_equal(w->bad_slot, 0);
    assert_int_equal(w->started, w->n_blocks * runs);
    for (int i = 0; i < w->n_blocks; i++)
        if (w->ran[i] != runs)
            fail_msg("block %d ran %d times instead of %d", i, w->ran[i], runs);
}

static void *train_once(void *arg)
{
    struct watch *w = arg;
    pool_run(w->pool, GM_TRAIN, watched, w, w->n_blocks);
    return NULL;
}

static void test_every_block_once(void **state)
{
    static const int counts[] = {0, 1, 2, 3, 7, 64, MAX_BLOCKS};
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        assert_int_equal(pool_threads(p), threads);
        assert_int_equal(pool_slots(p), threads + 1);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            for (int role = GM_TRAIN; role <= GM_TASTE; role++) {
                struct watch *w = watch_new(p, counts[i], 20, occupied);
                pool_run(p, (enum gm_role)role, watched, w, counts[i]);
                watch_check(w, 1);
                mem_free(w);
            }
        }
        pool_free(p);
    }
}

struct sum {
    float in[5000], out[50];
    float scratch[MAX_SLOTS][100]; /* left dirty by other blocks on purpose */
};

static void sum_block(void *arg, int block, int slot)
{
    struct sum *s = arg;
    float total = 0;
    for (int i = 0; i < 100; i++)
        s->scratch[slot][i] = s->in[block * 100 + i] * (float)(block + 1);
    for (int i = 0; i < 100; i++)
        total += s->scratch[slot][i];
    s->out[block] = total;
}

static void test_same_bits(void **state)
{
    struct sum *s = mem_new(1, sizeof *s);
    float first[50];
    for (int i = 0; i < 5000; i++)
        s->in[i] = sinf((float)i) * 1e3f;
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        for (int again = 0; again < 50; again++) {
            memset(s->out, 0xFF, sizeof s->out);
            pool_run(p, again & 1 ? GM_TASTE : GM_TRAIN, sum_block, s, 50);
            if (threads == 1 && again == 0)
                memcpy(first, s->out, sizeof first);
            assert_memory_equal(s->out, first, sizeof first);
        }
        pool_free(p);
    }
    mem_free(s);
}

/* Blocks that wait for each other can only end when every thread takes one. They also look at their
 * thread's signals. */
struct meeting {
    int n;
    atomic_int here, late, wrong_mask;
};

static void meet(void *arg, int block, int slot)
{
    struct meeting *m = arg;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    bool worker = slot != 0 && slot != m->n;
    if (sigismember(&mask, SIGINT) != worker || sigismember(&mask, SIGTERM) != worker ||
        sigismember(&mask, SIGSEGV))
        atomic_fetch_add(&m->wrong_mask, 1);
    atomic_fetch_add(&m->here, 1);
    double until = clock_seconds() + 10;
    while (atomic_load(&m->here) < m->n) {
        usleep(100);
        if (clock_seconds() > until) {
            atomic_fetch_add(&m->late, 1);
            return;
        }
    }
}

static void test_all_take_part(void **state)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        for (int role = GM_TRAIN; role <= GM_TASTE; role++) {
            struct meeting m = {.n = threads};
            usleep(2000); /* asleep, so that they have to be woken */
            pool_run(p, (enum gm_role)role, meet, &m, threads);
            assert_int_equal(m.late, 0);
            assert_int_equal(m.wrong_mask, 0);
        }
        pool_free(p);
    }
}

static void *train_many(void *arg)
{
    struct watch *w = arg;
    for (int i = 0; i < 300; i++)
        pool_run(w->pool, GM_TRAIN, watched, w, w->n_blocks);
    return NULL;
}

/* Both callers inside at once, with runs of every small size. */
static void test_two_roles(void **state)
{
    for (int threads = 1; threads <= 4; threads += 1) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 5, 100, occupied),
                     *taste = watch_new(p, 3, 100, occupied);
        pthread_t trainer;
        assert_int_equal(pthread_create(&trainer, NULL, train_many, train), 0);
        for (int i = 0; i < 300; i++) {
            pool_run(p, GM_TASTE, watched, taste, taste->n_blocks);
            if (i % 8 == 0)
                usleep(50);
        }
        pthread_join(trainer, NULL);
        watch_check(train, 300);
        watch_check(taste, 300);
        pool_free(p);
        mem_free(train);
        mem_free(taste);
    }
}

/* The gate is closed before training comes: not one block starts, however many holders leave but
 * the last. */
static void test_hold(void **state)
{
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 50, 100, occupied),
                     *taste = watch_new(p, 20, 100, occupied);
        pthread_t trainer;
        pool_hold(p);
        pool_hold(p);
        assert_int_equal(pthread_create(&trainer, NULL, train_once, train), 0);
        usleep(10000);
        for (int i = 0; i < 10;
             i++) /* tasting itself goes on, and does not open what others hold */
            pool_run(p, GM_TASTE, watched, taste, taste->n_blocks);
        pool_release(p);
        usleep(10000);
        assert_int_equal(train->started, 0);
        pool_release(p);
        pthread_join(trainer, NULL);
        watch_check(train, 1);
        watch_check(taste, 10);
        pool_free(p);
        mem_free(train);
        mem_free(taste);
    }
}

static void *train_on(void *arg)
{
    struct watch *w = arg;
    while (!atomic_load(&w->stop)) {
        pool_run(w->pool, GM_TRAIN, watched, w, w->n_blocks);
        w->runs++;
    }
    return NULL;
}

/* Waits until training has got on by some blocks. */
static void wait_for_progress(struct watch *train)
{
    int from = atomic_load(&train->started);
    while (atomic_load(&train->started) < from + 20)
        usleep(20);
}

/* The gate closes in the middle: a thread may be past it already, with one block each, and no more.
 */
static void test_hold_midway(void **state)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 200, 5000, occupied),
                     *taste = watch_new(p, 20, 100, occupied);
        pthread_t trainer;
        assert_int_equal(pthread_create(&trainer, NULL, train_on, train), 0);
        for (int round = 0; round < 3; round++) {
            wait_for_progress(train);
            pool_hold(p);
            int before = train->started;
            for (int i = 0; i < 5; i++)
                pool_run(p, GM_TASTE, watched, taste, taste->n_blocks);
            usleep(5000);
            int after = train->started;
            pool_release(p);
            if (after - before > threads)
                fail_msg("%d blocks of training started behind the closed gate, %d threads",
                         after - before, threads);
        }
        wait_for_progress(train); /* it was there all the time */
        atomic_store(&train->stop, true);
        pthread_join(trainer, NULL);
        watch_check(train, train->runs);
        watch_check(taste, 15);
        pool_free(p);
        mem_free(train);
        mem_free(taste);
    }
}

struct tasting {
    struct watch *train;
    atomic_int before, after; /* blocks of training started: at the first look, at the last */
};

static void taste_slowly(void *arg, int block, int slot)
{
    struct tasting *t = arg;
    int now = t->train->started, unset = -1;
    atomic_compare_exchange_strong(&t->before, &unset, now);
    usleep(5000);
    atomic_store(&t->after, t->train->started);
}

/* The same for a run of tasting that nobody holds the gate for. */
static void test_tasting_first(void **state)
{
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 200, 5000, occupied);
        pthread_t trainer;
        assert_int_equal(pthread_create(&trainer, NULL, train_on, train), 0);
        for (int n = 1; n <= 3; n += 2) {
            struct tasting t = {.train = train, .before = -1};
            wait_for_progress(train);
            pool_run(p, GM_TASTE, taste_slowly, &t, n);
            if (t.after - t.before > threads)
                fail_msg("%d blocks of training started beside tasting, %d threads",
                         t.after - t.before, threads);
        }
        wait_for_progress(train); /* it was there all the time */
        atomic_store(&train->stop, true);
        pthread_join(trainer, NULL);
        watch_check(train, train->runs);
        pool_free(p);
        mem_free(train);
    }
}

/* How long a turn is due: nothing before 64 ms, then an eighth of the wait, never a pause that can be seen. */
static void test_turn(void **state)
{
    assert_true(pool_turn(0) == 0 && pool_turn(-1) == 0 && pool_turn(0.0639) == 0);
    assert_true(pool_turn(0.0641) > 0.008 && pool_turn(0.0641) < 0.0081);
    assert_true(pool_turn(0.2) == 0.025);
    assert_true(pool_turn(0.33) == 0.04 && pool_turn(1e6) == 0.04);
    for (double waited = 0.064; waited < 1; waited += 0.01)
        assert_true(pool_turn(waited) <= waited / 8 + 1e-12);
}

/* Training passes the closed gate in its turn, and not after it. */
static void test_give_way(void **state)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 200, 5000, occupied), *taste = watch_new(p, 20, 100, occupied);
        pthread_t trainer;
        pool_hold(p);
        pool_give_way(p); /* nobody waits */
        pool_release(p);
        assert_int_equal(pthread_create(&trainer, NULL, train_on, train), 0);
        for (int round = 0; round < 3; round++) {
            wait_for_progress(train);
            pool_hold(p);
            usleep(5000); /* what was begun is over */
            int before = train->started, tries = 0;
            for (; train->started < before + 20 && tries < 10000; tries++) {
                pool_run(p, GM_TASTE, watched, taste, taste->n_blocks);
                pool_give_way(p);
                usleep(1000);
            }
            if (tries == 10000)
                fail_msg("training never had its turn, %d threads", threads);
            usleep(5000);
            int after = train->started;
            for (int i = 0; i < 5; i++)
                pool_run(p, GM_TASTE, watched, taste, taste->n_blocks);
            usleep(5000);
            if (train->started - after > threads)
                fail_msg("%d blocks of training started behind its turn, %d threads", train->started - after, threads);
            pool_release(p);
        }
        wait_for_progress(train);
        atomic_store(&train->stop, true);
        pthread_join(trainer, NULL);
        watch_check(train, train->runs);
        pool_free(p);
        mem_free(train);
        mem_free(taste);
    }
}

/* The wall's clock is an hour ahead: what it will have been when it is set right during a wait. */
static atomic_bool wall_is_ahead;
#ifdef SYS_clock_gettime
int clock_gettime(clockid_t id, struct timespec *t)
{
    int failed = (int)syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME && atomic_load(&wall_is_ahead))
        t->tv_sec += 3600;
    return failed;
}
#endif

/* Training that ends in its turn, or does something else, is not waited for; not even when the wall's clock is set meanwhile. */
static void test_turn_without_end(void **state)
{
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *train = watch_new(p, 5, 100, occupied);
        pthread_t trainer;
        pool_hold(p);
        assert_int_equal(pthread_create(&trainer, NULL, train_once, train), 0);
        atomic_store(&wall_is_ahead, true);
        alarm(60); /* else for an hour */
        while (train->started < train->n_blocks) {
            usleep(1000);
            pool_give_way(p);
        }
        pthread_join(trainer, NULL);
        pool_give_way(p); /* nobody is there any more */
        alarm(0);
        atomic_store(&wall_is_ahead, false);
        pool_release(p);
        watch_check(train, 1);
        pool_free(p);
        mem_free(train);
    }
}

static void test_held_share(void **state)
{
    struct pool *p = make_pool(2);
    atomic_int occupied[MAX_SLOTS] = {0};
    struct watch *train = watch_new(p, 4, 100, occupied);
    pthread_t trainer;
    pool_hold(p);
    usleep(60000);
    assert_true(pool_training_held_share(p) == 0); /* nobody had to wait */
    assert_int_equal(pthread_create(&trainer, NULL, train_once, train), 0);
    usleep(150000);
    double during = pool_training_held_share(p); /* it is still waiting */
    pool_release(p);
    pthread_join(trainer, NULL);
    double after = pool_training_held_share(p);
    assert_true(during > 0.05 && during <= 1);
    assert_true(after > 0.05 && after <= 1);
    watch_check(train, 1);
    pool_free(p);
    mem_free(train);
}

static void test_many_short_runs(void **state)
{
    for (int threads = 2; threads <= 4; threads++) {
        struct pool *p = make_pool(threads);
        atomic_int occupied[MAX_SLOTS] = {0};
        struct watch *w = watch_new(p, threads, 0, occupied);
        for (int i = 0; i < 2000; i++) {
            assert_int_equal(pool_runs(p, GM_TRAIN), i);
            pool_run(p, GM_TRAIN, watched, w, w->n_blocks);
            assert_int_equal(w->started, (i + 1) * w->n_blocks); /* all done when it returns */
        }
        watch_check(w, 2000);
        pool_free(p);
        mem_free(w);
    }
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void test_idle(void **state)
{
    struct pool *p = make_pool(4);
    atomic_int occupied[MAX_SLOTS] = {0};
    struct watch *w = watch_new(p, 100, 100, occupied);
    pthread_t trainer;
    pool_run(p, GM_TRAIN, watched, w, 100);
    usleep(20000);
    double before = cpu_seconds();
    usleep(200000);
    double idle = cpu_seconds() - before;
    pool_hold(p); /* and waiting at the gate is as quiet */
    assert_int_equal(pthread_create(&trainer, NULL, train_once, w), 0);
    usleep(20000);
    before = cpu_seconds();
    usleep(200000);
    double held = cpu_seconds() - before;
    pool_release(p);
    pthread_join(trainer, NULL);
    watch_check(w, 2);
    pool_free(p);
    mem_free(w);
    if (idle > 0.01 || held > 0.01)
        fail_msg("%.4f s of processor time idle, %.4f s held, of 0.2 s", idle, held);
}

static void test_new_and_free(void **state)
{
    size_t live = mem_live_bytes();
    struct gm_error err = {0};
    for (int i = 0; i < 60; i++) {
        struct pool *p = make_pool(i % 4 + 1);
        if (i % 3 == 1)
            usleep(1000); /* asleep; else still starting, or spinning */
        if (i % 3 == 2) {
            struct meeting m = {.n = 1};
            pool_run(p, GM_TRAIN, meet, &m, 2);
        }
        pool_free(p);
    }
    pool_free(NULL);
    static const int wrong[] = {-1, 1025, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        assert_null(pool_new(wrong[i], &err));
        assert_int_equal(err.code, GM_E_USAGE);
    }
    struct pool *p = make_pool(0);
    assert_true(cpu_physical_cores() >= 1 && cpu_physical_cores() <= sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(pool_threads(p), cpu_physical_cores());
    pool_free(p);
    assert_int_equal(mem_live_bytes(), live);
}

static void nested(void *arg, int block, int slot)
{
    struct meeting m = {.n = 1};
    pool_run(arg, GM_TASTE, meet, &m, 1);
}

static int misuse(void *which)
{
    struct pool *p = pool_new(1, NULL);
    switch (*(int *)which) {
    case 0:
        pool_run(p, GM_TRAIN, nested, p, 1);
        break;
    case 1:
        pool_release(p);
        break;
    case 2:
        pool_run(p, GM_TRAIN, nested, p, -1);
        break;
    case 3:
        pool_give_way(p); /* what it does not hold */
        break;
    default:
        pool_hold(p), pool_release(p);
        break;
    }
    pool_free(p);
    return 0;
}

static void test_misuse(void **state)
{
    for (int which = 0; which < 5; which++) {
        int status = in_child(misuse, &which);
        if (status != (which < 4 ? 256 + SIGABRT : 0))
            fail_msg("case %d ended with %d", which, status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_once),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_all_take_part),
        cmocka_unit_test(test_two_roles),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_hold_midway),
        cmocka_unit_test(test_tasting_first),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_give_way),
        cmocka_unit_test(test_turn_without_end),
        cmocka_unit_test(test_held_share),
        cmocka_unit_test(test_many_short_runs),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_new_and_free),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
