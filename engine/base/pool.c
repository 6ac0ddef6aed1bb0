/* pool.c - worker threads, two jobs, one gate.
 *
 * Each role has one job slot. Its `ticket` packs a generation (high half) and the number of blocks not yet taken (low half); a block is
 * taken by a compare-and-swap that counts it down. Who reads a ticket, then the job's fields, then swaps, has read the fields of that
 * very job: a new job changes the generation, and the swap fails. So taking a block needs no lock, and a late
 * worker can do no harm. `pending` counts blocks not yet finished; it lets the caller go.
 *
 * Sleeping follows one pattern: the sleeper counts itself in, looks again under the mutex, waits; the waker changes the state,
 * then looks for sleepers. Both sides use sequentially consistent atomics, so one of them sees the other.
 *
 * The gate is a count of holders (pool_hold, a running GM_TASTE job). A thread that passed the gate just before it closed finishes
 * the one block it is taking; nothing else of GM_TRAIN starts until the count is 0 again, or it is training's turn (pool_give_way).
 *
 * Priority: workers run as SCHED_BATCH at nice +5, always. SCHED_IDLE would be the kinder choice while only training runs, but an
 * unprivileged thread cannot leave it again (sched(7): RLIMIT_NICE), and tasting runs on the same workers: any busy program
 * beside us would then stop a chat reply. What the UI thread needs, to be let in at once, it
 * gets by its own wish (thread_interactive()), and then the policy of the others makes no difference that can be measured.
 */
#include "engine/base/pool.h"

#include "engine/base/condition.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/share.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

enum { ROLES = 2, MAX_THREADS = 1024 };
static const double SPIN_SECONDS = 40e-6; /* about what a sleep and a wake cost: spinning longer than that cannot pay */
static const double TASTE_PARTS = 8;      /* to one of training */
static const double TURN_LEAST_S = 0.008, TURN_MOST_S = 0.040; /* some blocks at least; a pause in a text that nobody sees at most */
static const double LAST_BLOCK_S = 0.003; /* what is begun at the end of a turn is over then */

struct job {
    alignas(64) atomic_uint_least64_t ticket;
    _Atomic(pool_fn) fn; /* atomic, because a late worker may read them while the next job is written */
    _Atomic(void *) arg;
    atomic_int n_blocks;
    alignas(64) atomic_int pending;
    atomic_bool caller_sleeps;
    atomic_bool in_use;
    pthread_cond_t done;
};

/* pool_ahead(): read while it may be written; what is torn then is a wrong address to ask for, no more. */
struct ahead {
    alignas(64) atomic_uint call;
    atomic_uintptr_t data[POOL_AHEAD];
    atomic_size_t bytes[POOL_AHEAD];
};

struct pool {
    struct job jobs[ROLES];
    struct ahead ahead[POOL_LANES];
    alignas(64) atomic_int gate; /* holders; training goes on at 0 */
    atomic_int sleepers;         /* workers waiting for `work` */
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, gate_opens, turn_over;
    _Atomic double turn_until;   /* training may pass the closed gate until then (clock_seconds) */
    struct share held;           /* under the mutex */
    double held_since;           /* under the mutex; 0 = training does not wait */
    int n_threads, n_workers;
    struct worker *workers;
};

struct worker {
    struct pool *pool;
    int slot;
    unsigned call; /* of pool_ahead(): what of it has been asked for */
    int range;
    size_t asked;
    pthread_t thread;
};

static _Thread_local bool inside_block; /* a block must not start a computation */

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline uint32_t blocks_left(uint64_t ticket)
{
    return (uint32_t)ticket;
}

/* The clock ends a turn, not the one who gave it: whoever trains sees the end himself, at the next block, and makes room on the core for him. */
static inline bool training_passes(struct pool *p)
{
    if (atomic_load(&p->gate) == 0)
        return true;
    double until = atomic_load(&p->turn_until);
    return until > 0 && clock_seconds() < until;
}

static inline bool has_work(struct pool *p)
{
    return blocks_left(atomic_load(&p->jobs[GM_TASTE].ticket)) > 0
        || (blocks_left(atomic_load(&p->jobs[GM_TRAIN].ticket)) > 0 && training_passes(p));
}

static void run_block(pool_fn fn, void *arg, int block, int slot)
{
    inside_block = true;
    fn(arg, block, slot);
    inside_block = false;
}

/* Takes one block of the role's job and runs it. False: there was none. */
static bool take_block(struct pool *p, enum gm_role role, int slot)
{
    struct job *job = &p->jobs[role];
    uint64_t ticket = atomic_load(&job->ticket);
    for (;;) {
        uint32_t left = blocks_left(ticket);
        if (left == 0)
            return false;
        if (role == GM_TRAIN && !training_passes(p))
            return false;
        pool_fn fn = atomic_load_explicit(&job->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&job->arg, memory_order_relaxed);
        int n_blocks = atomic_load_explicit(&job->n_blocks, memory_order_relaxed);
        if (!atomic_compare_exchange_weak(&job->ticket, &ticket, ticket - 1))
            continue;
        run_block(fn, arg, n_blocks - (int)left, slot);
        if (atomic_fetch_sub(&job->pending, 1) == 1 && atomic_load(&job->caller_sleeps)) {
            pthread_mutex_lock(&p->mutex);
            pthread_cond_signal(&job->done);
            pthread_mutex_unlock(&p->mutex);
        }
        return true;
    }
}

/* Spins until `ready` or the time is up; returns whether it is ready. */
#define SPIN_UNTIL(ready)                                                   \
    __extension__({                                                         \
        bool is_ready = (ready);                                            \
        double until = is_ready ? 0 : clock_seconds() + SPIN_SECONDS;       \
        for (unsigned spins = 1; !is_ready; spins++) {                      \
            relax();                                                        \
            is_ready = (ready);                                             \
            if (!is_ready && spins % 16 == 0 && clock_seconds() > until)    \
                break;                                                      \
        }                                                                   \
        is_ready;                                                           \
    })

static void sleep_until_work(struct pool *p)
{
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(p) && !atomic_load(&p->stop))
        pthread_cond_wait(&p->work, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

/* Asks for what the lane will read next, until there is work; goes on there the next time. A processor forgets what it is asked for while it has all it can
 * carry (Zen 5: some 64 lines): so not faster than memory gives, 16 lines a pause. */
static void look_ahead(struct pool *p, struct worker *w)
{
    enum { LINE = 64, STEP = 16 * LINE };
    struct ahead *a = &p->ahead[pool_lane(p, w->slot)];
    const unsigned call = atomic_load_explicit(&a->call, memory_order_acquire);
    if (call != w->call) {
        w->call = call;
        w->range = 0;
        w->asked = 0;
    }
    for (; w->range < POOL_AHEAD; w->range++, w->asked = 0) {
        const uintptr_t data = atomic_load_explicit(&a->data[w->range], memory_order_relaxed);
        const size_t bytes = atomic_load_explicit(&a->bytes[w->range], memory_order_relaxed);
        for (; w->asked < bytes; w->asked += STEP) {
            if (has_work(p))
                return;
            for (size_t at = w->asked; at < w->asked + STEP && at < bytes; at += LINE)
                __builtin_prefetch((const void *)(data + at), 0, 2);
            relax();
        }
    }
}

static void *worker_main(void *context)
{
    struct worker *w = context;
    struct pool *p = w->pool;
    thread_background();
    while (!atomic_load(&p->stop)) {
        if (take_block(p, GM_TASTE, w->slot) || take_block(p, GM_TRAIN, w->slot))
            continue;
        look_ahead(p, w);
        if (!SPIN_UNTIL(has_work(p) || atomic_load(&p->stop)))
            sleep_until_work(p);
    }
    return NULL;
}

/* Makes a job visible and wakes as many sleeping workers as it can use beside the caller. */
static void publish(struct pool *p, struct job *job, pool_fn fn, void *arg, int n_blocks)
{
    uint64_t generation = (atomic_load_explicit(&job->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&job->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&job->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&job->n_blocks, n_blocks, memory_order_relaxed);
    atomic_store_explicit(&job->pending, n_blocks, memory_order_relaxed);
    atomic_store(&job->ticket, generation << 32 | (uint32_t)n_blocks);
    int asleep = atomic_load(&p->sleepers);
    if (asleep == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    if (asleep <= n_blocks - 1) {
        pthread_cond_broadcast(&p->work);
    } else {
        for (int i = 0; i < n_blocks - 1; i++)
            pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->mutex);
}

static void wait_for_last_blocks(struct pool *p, struct job *job)
{
    if (SPIN_UNTIL(atomic_load(&job->pending) == 0))
        return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&job->caller_sleeps, true);
    while (atomic_load(&job->pending) > 0)
        pthread_cond_wait(&job->done, &p->mutex);
    atomic_store(&job->caller_sleeps, false);
    pthread_mutex_unlock(&p->mutex);
}

/* Under the mutex: training does not wait any more. */
static void count_wait(struct pool *p, double now)
{
    if (p->held_since > 0)
        share_add(&p->held, p->held_since, now);
    p->held_since = 0;
}

static void wait_for_gate(struct pool *p)
{
    pthread_mutex_lock(&p->mutex);
    while (!training_passes(p)) {
        if (p->held_since == 0)
            p->held_since = clock_seconds();
        pthread_cond_signal(&p->turn_over);
        pthread_cond_wait(&p->gate_opens, &p->mutex);
    }
    count_wait(p, clock_seconds());
    pthread_mutex_unlock(&p->mutex);
}

/* Under the mutex. */
static void wake_training(struct pool *p)
{
    pthread_cond_signal(&p->gate_opens); /* one trainer at most */
    if (blocks_left(atomic_load(&p->jobs[GM_TRAIN].ticket)) > 0)
        pthread_cond_broadcast(&p->work);
}

static void close_gate(struct pool *p)
{
    atomic_fetch_add(&p->gate, 1);
}

static void open_gate(struct pool *p)
{
    int before = atomic_fetch_sub(&p->gate, 1);
    assert(before > 0);
    if (before > 1)
        return;
    pthread_mutex_lock(&p->mutex);
    wake_training(p);
    pthread_mutex_unlock(&p->mutex);
}

/* One block, or no workers: the caller does it all. Training still stops at the gate between blocks. */
static void run_alone(struct pool *p, enum gm_role role, int slot, pool_fn fn, void *arg, int n_blocks)
{
    for (int block = 0; block < n_blocks; block++) {
        if (role == GM_TRAIN && !training_passes(p))
            wait_for_gate(p);
        run_block(fn, arg, block, slot);
    }
}

static void run_shared(struct pool *p, enum gm_role role, int slot, pool_fn fn, void *arg, int n_blocks)
{
    struct job *job = &p->jobs[role];
    publish(p, job, fn, arg, n_blocks);
    for (;;) {
        if (take_block(p, role, slot))
            continue;
        if (blocks_left(atomic_load(&job->ticket)) == 0)
            break;
        wait_for_gate(p); /* blocks are left, so the gate was closed */
    }
    wait_for_last_blocks(p, job);
}

void pool_run(struct pool *p, enum gm_role role, pool_fn fn, void *arg, int n_blocks)
{
    assert(!inside_block);
    assert(n_blocks >= 0);
    if (n_blocks == 0)
        return;
    bool was_in_use = atomic_exchange(&p->jobs[role].in_use, true);
    assert(!was_in_use); /* one trainer, one taster */
    int slot = role == GM_TRAIN ? 0 : p->n_threads; /* workers have 1 .. n_threads - 1 */
    if (role == GM_TASTE)
        close_gate(p);
    if (p->n_workers == 0 || n_blocks == 1)
        run_alone(p, role, slot, fn, arg, n_blocks);
    else
        run_shared(p, role, slot, fn, arg, n_blocks);
    if (role == GM_TASTE)
        open_gate(p);
    atomic_store(&p->jobs[role].in_use, false);
}

int pool_lanes(const struct pool *p)
{
    return p->n_threads < POOL_LANES ? p->n_threads : POOL_LANES;
}

int pool_lane(const struct pool *p, int slot)
{
    return slot == p->n_threads ? 0 : slot % pool_lanes(p);
}

void pool_ahead(struct pool *p, int lane, const struct pool_bytes *ranges, int n)
{
    struct ahead *a = &p->ahead[lane];
    assert(n >= 0 && n <= POOL_AHEAD);
    for (int i = 0; i < POOL_AHEAD; i++) {
        atomic_store_explicit(&a->data[i], i < n ? (uintptr_t)ranges[i].data : 0, memory_order_relaxed);
        atomic_store_explicit(&a->bytes[i], i < n ? ranges[i].bytes : 0, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&a->call, 1, memory_order_release);
}

void pool_hold(struct pool *p)
{
    close_gate(p);
}

void pool_release(struct pool *p)
{
    open_gate(p);
}

double pool_turn(double waited)
{
    double turn = waited / TASTE_PARTS;
    return turn < TURN_LEAST_S ? 0 : turn < TURN_MOST_S ? turn : TURN_MOST_S;
}

void pool_give_way(struct pool *p)
{
    assert(atomic_load(&p->gate) > 0);
    pthread_mutex_lock(&p->mutex);
    double now = clock_seconds(), turn = p->held_since > 0 ? pool_turn(now - p->held_since) : 0;
    if (turn > 0) {
        count_wait(p, now);
        atomic_store(&p->turn_until, now + turn);
        wake_training(p);
        /* Until training stands at the gate again. If it does not come (it writes a checkpoint, or is over), nobody needs the core. */
        while (p->held_since == 0 && condition_wait(&p->turn_over, &p->mutex, now + turn + LAST_BLOCK_S))
            ;
        atomic_store(&p->turn_until, 0);
    }
    pthread_mutex_unlock(&p->mutex);
}

uint32_t pool_runs(const struct pool *p, enum gm_role role)
{
    return (uint32_t)(atomic_load(&p->jobs[role].ticket) >> 32);
}

double pool_training_held_share(struct pool *p)
{
    pthread_mutex_lock(&p->mutex);
    double now = clock_seconds();
    struct share held = p->held;
    if (p->held_since > 0)
        share_add(&held, p->held_since, now);
    pthread_mutex_unlock(&p->mutex);
    return share_of_last_second(&held, now);
}

int pool_threads(const struct pool *p)
{
    return p->n_threads;
}

int pool_slots(const struct pool *p)
{
    return p->n_threads + 1;
}

void thread_background(void)
{
#ifdef __linux__
    struct sched_param parameters = {0};
    sched_setscheduler(0, SCHED_BATCH, &parameters); /* 0 = this thread; a refusal costs nothing but politeness */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 5);
#elif defined(__APPLE__)
    pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#endif
}

/* EEVDF (Linux 6.6 and later) lets a running thread finish its slice of some milliseconds before one that wakes gets the core, whatever its priority within the
 * ordinary policies; from 6.12 on a thread that asks for short slices is let in at once. Older systems ignore the wish. */
void thread_interactive(void)
{
#if defined(__linux__) && defined(SYS_sched_setattr)
    struct { /* sched_setattr(2), which glibc does not declare before 2.41 */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } wish = {.size = sizeof wish, .policy = SCHED_OTHER, .flags = 1 /* threads that it makes do not inherit this */, .runtime = 100 * 1000 /* ns, the least */};
    wish.nice = getpriority(PRIO_PROCESS, 0);
    syscall(SYS_sched_setattr, 0, &wish, 0);
#elif defined(__APPLE__)
    pthread_set_qos_class_self_np(QOS_CLASS_USER_INTERACTIVE, 0);
#endif
}

/* Workers take no signals: those belong to the main thread. Only faults of their own reach the program's handler, which puts the terminal right. A new
 * thread inherits the mask of its maker. */
static bool start_workers(struct pool *p, struct gm_error *err)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    for (int i = 0; i < p->n_threads - 1 && failed == 0; i++) {
        p->workers[i] = (struct worker){.pool = p, .slot = i + 1};
        failed = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (failed == 0)
            p->n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return error_set(err, GM_E_IO, "start thread %d of %d: %s (ask for fewer threads)", p->n_workers + 2, p->n_threads,
                         strerror(failed));
    return true;
}

struct pool *pool_new(int n_threads, struct gm_error *err)
{
    if (n_threads == 0)
        n_threads = cpu_physical_cores();
    if (n_threads < 1 || n_threads > MAX_THREADS) {
        error_set(err, GM_E_USAGE, "start threads: %d is not a number of threads (use 1 to %d, or 0 for all cores)", n_threads, MAX_THREADS);
        return NULL;
    }
    struct pool *p = mem_new(1, sizeof *p);
    p->n_threads = n_threads;
    p->workers = mem_new((size_t)n_threads, sizeof *p->workers);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->gate_opens, NULL);
    condition_init(&p->turn_over);
    for (int role = 0; role < ROLES; role++)
        pthread_cond_init(&p->jobs[role].done, NULL);
    if (!start_workers(p, err)) {
        pool_free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    assert(!atomic_load(&p->jobs[GM_TRAIN].in_use) && !atomic_load(&p->jobs[GM_TASTE].in_use));
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < p->n_workers; i++)
        pthread_join(p->workers[i].thread, NULL);
    for (int role = 0; role < ROLES; role++)
        pthread_cond_destroy(&p->jobs[role].done);
    pthread_cond_destroy(&p->gate_opens);
    pthread_cond_destroy(&p->turn_over);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->mutex);
    mem_free(p->workers);
    mem_free(p);
}
