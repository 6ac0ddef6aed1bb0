/* compute.c - which kernel families this processor runs, which is fastest, and the packing memory
 * of a driver.
 *
 * CPUID and XCR0 (does the system save the wide registers?) say what may run; AMX also needs the
 * kernel's leave, asked for once per process. The probe times one packed product per family: on
 * some processors vdpbf16ps is slower than widening to f32. Its result is kept for the life of the
 * process, so that two drivers never choose differently.
 */
#include "engine/kernel/compute.h"

#include "engine/base/mem.h"
#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/table.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static const char *const family_names[FAMILY_COUNT] = {
    [FAMILY_AUTO] = "auto",       [FAMILY_AMX] = "amx",   [FAMILY_AVX512BF16] = "avx512bf16",
    [FAMILY_AVX512F] = "avx512f", [FAMILY_AVX2] = "avx2", [FAMILY_NEON] = "neon",
    [FAMILY_PLAIN] = "plain",
};
static const char *const mode_names[] = {
    [GM_COMPUTE_AUTO] = "auto", [GM_COMPUTE_BF16] = "bf16", [GM_COMPUTE_F32] = "f32"};

const char *family_name(enum family f)
{
    assert((unsigned)f < FAMILY_COUNT);
    return family_names[f];
}

bool family_parse(const char *name, enum family *f)
{
    for (int i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(name, family_names[i]) == 0) {
            *f = (enum family)i;
            return true;
        }
    }
    return false;
}

const char *compute_mode_name(enum compute_mode m)
{
    assert((unsigned)m <= GM_COMPUTE_F32);
    return mode_names[m];
}

bool compute_mode_parse(const char *name, enum compute_mode *m)
{
    for (int i = GM_COMPUTE_AUTO; i <= GM_COMPUTE_F32; i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            *m = (enum compute_mode)i;
            return true;
        }
    }
    return false;
}

#if defined(__x86_64__)
struct processor {
    bool avx2, avx512, avx512bf16, amx;
};

static bool system_allows_amx(void)
{
#ifdef __linux__
    enum { ARCH_REQ_XCOMP_PERM_CALL = 0x1023, XFEATURE_TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_CALL, XFEATURE_TILE_DATA) == 0;
#else
    return false;
#endif
}

static struct processor look_at_processor(void)
{
    enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6, XCR0_TILE = 0x60000 };
    struct processor p = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return p;
    bool fma = c & bit_FMA, f16c = c & bit_F16C;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return p;
    unsigned most = a;
    p.avx2 = (low & XCR0_YMM) == XCR0_YMM && fma && f16c && (b & 1u << 5);
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    p.avx512 = p.avx2 && (low & XCR0_ZMM) == XCR0_ZMM && (b & f_dq_bw_vl) == f_dq_bw_vl;
    const unsigned amx_bf16_tile = 1u << 22 | 1u << 24;
    bool amx = p.avx512 && (d & amx_bf16_tile) == amx_bf16_tile && (low & XCR0_TILE) == XCR0_TILE;
    if (p.avx512 && most >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        p.avx512bf16 = a & 1u << 5;
    p.amx = amx && p.avx512bf16 && system_allows_amx(); /* its packing converts by vcvtne2ps2bf16 */
    return p;
}

static struct processor this_processor;
static void look_once(void)
{
    this_processor = look_at_processor();
}
#endif

/* The table of a family if it was compiled in and may run here. */
static const struct kernel_table *family_table(enum family f)
{
#if defined(__x86_64__)
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_once);
    switch (f) {
    case FAMILY_AMX:
        return this_processor.amx ? kernel_table_amx() : NULL;
    case FAMILY_AVX512BF16:
        return this_processor.avx512bf16 ? kernel_table_avx512bf16() : NULL;
    case FAMILY_AVX512F:
        return this_processor.avx512 ? kernel_table_avx512f() : NULL;
    case FAMILY_AVX2:
        return this_processor.avx2 ? kernel_table_avx2() : NULL;
    default:
        break;
    }
#endif
    return f == FAMILY_PLAIN ? kernel_table_portable() : NULL;
}

bool family_runs_here(enum family f)
{
    return f == FAMILY_AUTO || family_table(f) != NULL;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One block as the driver runs it: 64 columns, 128 rows, 256 deep, packing included; best of the
 * runs that fit the time. */
static double time_family(const struct kernel_table *k, double budget_s)
{
    enum { ROWS = 128, COLS = 64, DEPTH = 256 };
    float *x = mem_new(ROWS * DEPTH, sizeof *x), *y = mem_new(ROWS * COLS, sizeof *y);
    float *w = mem_new(COLS * DEPTH, sizeof *w);
    void *a = mem_new(ROWS * DEPTH, sizeof(float)), *panel = mem_new(COLS * DEPTH, sizeof(float));
    for (int i = 0; i < ROWS * DEPTH; i++)
        x[i] = (float)(i % 17 - 8) / 8;
    for (int i = 0; i < COLS * DEPTH; i++)
        w[i] = (float)(i % 13 - 6) / 8;
    struct mat m = mat_f32(w, COLS, DEPTH);
    k->convert(a, DEPTH, x, DEPTH, ROWS, DEPTH, DEPTH);
    double best = 1e9, start = seconds_now(), last = start;
    for (int run = 0; run < 200 && (run < 3 || last - start < budget_s); run++) {
        k->pack_nt(panel, &m, 0, COLS, 0, DEPTH);
        k->multiply(a, DEPTH, panel, DEPTH, y, COLS, ROWS, COLS, false);
        double now = seconds_now();
        if (run > 0 && now - last < best)
            best = now - last;
        last = now;
    }
    mem_free(x), mem_free(y), mem_free(w), mem_free(a), mem_free(panel);
    return 2.0 * ROWS * COLS * DEPTH / best * 1e-9;
}

void compute_probe(double gflops[FAMILY_COUNT])
{
    for (int f = 0; f < FAMILY_COUNT; f++) {
        const struct kernel_table *k = f == FAMILY_AUTO ? NULL : family_table((enum family)f);
        gflops[f] = k ? time_family(k, 0.006) : 0;
    }
}

static enum family fastest;
static void probe_once(void)
{
    double gflops[FAMILY_COUNT];
    compute_probe(gflops);
    enum family best = FAMILY_PLAIN;
    for (int f = 0; f < FAMILY_COUNT; f++) {
        if (gflops[f] > gflops[best])
            best = (enum family)f;
    }
    fastest = best;
}

bool compute_init(struct compute *c, struct pool *pool, enum gm_role role, enum compute_mode mode,
                  enum family family, struct gm_error *err)
{
    *c = (struct compute){.pool = pool, .role = role};
    if (family == FAMILY_AUTO) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, probe_once);
        family = fastest;
    }
    c->k = family_table(family);
    if (!c->k)
        return error_set(
            err, GM_E_USAGE,
            "choose kernel %s: this processor or build does not have it (use --kernel auto)",
            family_name(family));
    c->family = family;
    c->mode = mode != GM_COMPUTE_AUTO  ? mode
              : family == FAMILY_PLAIN ? GM_COMPUTE_F32
                                       : GM_COMPUTE_BF16;
    f32_setup();
    c->scratch = mem_new(1, sizeof *c->scratch);
    c->scratch->n_slots = pool_slots(pool);
    c->scratch->slot = mem_new((size_t)c->scratch->n_slots, sizeof *c->scratch->slot);
    return true;
}

void compute_free(struct compute *c)
{
    struct compute_scratch *s = c->scratch;
    if (!s)
        return;
    for (size_t i = 0; i < sizeof s->shared / sizeof *s->shared; i++)
        mem_free(s->shared[i].data);
    for (int i = 0; i < s->n_slots; i++)
        mem_free(s->slot[i].data);
    mem_free(s->slot);
    mem_free(s);
    c->scratch = NULL;
}

static void *buffer_reserve(struct scratch_buffer *b, size_t bytes)
{
    if (bytes > b->size) {
        mem_free(b->data);
        b->size = bytes + bytes / 4;
        b->data = mem_new(b->size, 1);
    }
    return b->data;
}

void *scratch_shared(const struct compute *c, int which, size_t bytes)
{
    return buffer_reserve(&c->scratch->shared[which], bytes);
}

void scratch_slots(const struct compute *c, size_t bytes)
{
    for (int i = 0; i < c->scratch->n_slots; i++)
        buffer_reserve(&c->scratch->slot[i], bytes);
}
