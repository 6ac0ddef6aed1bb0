/* peak.c - see peak.h.
 *
 * Each loop has as many independent sums as the micro-kernel of its family, more than enough to cover the latency of a multiply-add on every
 * unit. Instruction sets are named function by function: these loops are short, and whoever calls them has asked family_runs_here().
 */
#include "engine/kernel/peak.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef void (*loop_fn)(int turns);
struct loop {
    loop_fn run;
    double flops; /* of a turn */
};

/* SUMS independent sums in registers of class REG; the empty asm keeps the compiler from seeing that they are equal, or unused. */
#define LOOP(NAME, VECTOR, SUMS, REG, ZERO, NEXT) \
    static void NAME(int turns) \
    { \
        VECTOR sum[SUMS]; \
        UNROLL for (int s = 0; s < SUMS; s++) \
        { \
            sum[s] = ZERO; \
            __asm__("" : "+" REG(sum[s])); \
        } \
        for (int i = 0; i < turns; i++) { \
            UNROLL for (int s = 0; s < SUMS; s++) sum[s] = NEXT; \
        } \
        UNROLL for (int s = 0; s < SUMS; s++) __asm__ volatile("" : : REG(sum[s])); \
    }
#define UNROLL _Pragma("GCC unroll 24")
enum { SUMS_PLAIN = 8, SUMS_256 = 12, SUMS_512 = 24, SUMS_NEON = 24 };

#if defined(__x86_64__)
#define FOR(sets) __attribute__((target(sets), noinline))
typedef float four __attribute__((vector_size(16)));
__attribute__((noinline)) LOOP(loop_plain, four, SUMS_PLAIN, "x", ((four){0, 0, 0, 0}), sum[s] + ((four){1, 2, 3, 4}) * sum[s])
FOR("avx2,fma") LOOP(loop_avx2, __m256, SUMS_256, "x", _mm256_setzero_ps(), _mm256_fmadd_ps(_mm256_set1_ps(1e-3f), _mm256_set1_ps(0.5f), sum[s]))
FOR("avx512f") LOOP(loop_avx512f, __m512, SUMS_512, "v", _mm512_setzero_ps(), _mm512_fmadd_ps(_mm512_set1_ps(1e-3f), _mm512_set1_ps(0.5f), sum[s]))
#if defined(GM_HAS_AVX512BF16_FLAG)
#define PAIRS(bits) ((__m512bh)_mm512_set1_epi32(bits))
FOR("avx512f,avx512bf16") LOOP(loop_avx512bf16, __m512, SUMS_512, "v", _mm512_setzero_ps(), _mm512_dpbf16_ps(sum[s], PAIRS(0x3c003c00), PAIRS(0x3f003f00)))
#endif
#if defined(GM_HAS_AMX_FLAG)
FOR("amx-tile,amx-bf16") static void loop_amx(int turns)
{
    _Alignas(64) struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes_per_row[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    _Alignas(64) static const float zeros[16][16];
    for (int i = 0; i < 8; i++) {
        tiles.bytes_per_row[i] = 64;
        tiles.rows[i] = 16;
    }
    __asm__ volatile("" : : : "memory"); /* the intrinsic does not say that it reads all of `tiles` */
    _tile_loadconfig(&tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, 64);
    _tile_loadd(5, zeros, 64);
    _tile_loadd(6, zeros, 64);
    _tile_loadd(7, zeros, 64);
    for (int i = 0; i < turns; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}
#endif
#elif defined(__aarch64__)
typedef float32x4_t four;
__attribute__((noinline)) LOOP(loop_plain, four, SUMS_PLAIN, "w", vdupq_n_f32(0), vaddq_f32(sum[s], vmulq_f32(vdupq_n_f32(2), sum[s])))
__attribute__((noinline)) LOOP(loop_neon, four, SUMS_NEON, "w", vdupq_n_f32(0), vfmaq_f32(sum[s], vdupq_n_f32(1e-3f), vdupq_n_f32(0.5f)))
#if defined(GM_HAS_NEONBF16_FLAG)
#define QUADS(bits) vreinterpretq_bf16_u16(vdupq_n_u16(bits))
__attribute__((target("arch=armv8.2-a+bf16"), noinline)) LOOP(loop_neonbf16, four, SUMS_NEON, "w", vdupq_n_f32(0), vbfmmlaq_f32(sum[s], QUADS(0x3c01), QUADS(0x3f01)))
#endif
#endif

static struct loop loop_of(enum family f)
{
    switch (f) {
#if defined(__x86_64__) || defined(__aarch64__)
    case FAMILY_PLAIN:
        return (struct loop){loop_plain, 2.0 * 4 * SUMS_PLAIN};
#endif
#if defined(__x86_64__)
    case FAMILY_AVX2:
        return (struct loop){loop_avx2, 2.0 * 8 * SUMS_256};
    case FAMILY_AVX512F:
        return (struct loop){loop_avx512f, 2.0 * 16 * SUMS_512};
#if defined(GM_HAS_AVX512BF16_FLAG)
    case FAMILY_AVX512BF16:
        return (struct loop){loop_avx512bf16, 2.0 * 32 * SUMS_512};
#endif
#if defined(GM_HAS_AMX_FLAG)
    case FAMILY_AMX:
        return (struct loop){loop_amx, 2.0 * 16 * 16 * 32 * 4};
#endif
#elif defined(__aarch64__)
    case FAMILY_NEON:
        return (struct loop){loop_neon, 2.0 * 4 * SUMS_NEON};
#if defined(GM_HAS_NEONBF16_FLAG)
    case FAMILY_NEONBF16:
        return (struct loop){loop_neonbf16, 2.0 * 16 * SUMS_NEON};
#endif
#endif
    default:
        return (struct loop){0};
    }
}

struct run {
    struct loop loop;
    int turns;
};

static void run_block(void *arg, int block, int slot)
{
    (void)block, (void)slot;
    const struct run *r = arg;
    r->loop.run(r->turns);
}

double peak_gflops(struct pool *pool, enum family family, double seconds)
{
    struct run r = {.loop = loop_of(family), .turns = 1000};
    if (!r.loop.run || !family_runs_here(family))
        return 0;
    double began = clock_seconds();
    run_block(&r, 0, 0); /* wakes wide units, and tells how long a turn takes */
    began = clock_seconds();
    run_block(&r, 0, 0);
    double turn = (clock_seconds() - began) / r.turns;
    const int blocks = 20 * pool_threads(pool); /* a fifth of the time is one run, a hundredth one block of it */
    r.turns = (int)fmin(fmax(seconds / 5 / 20 / fmax(turn, 1e-10), 100), 1e8);
    double best = 0, start = clock_seconds(), last = start;
    for (int run = 0; run < 3 || last - start < seconds; run++) {
        pool_run(pool, GM_TRAIN, run_block, &r, blocks);
        double now = clock_seconds(), rate = r.loop.flops * r.turns * blocks / (now - last);
        best = fmax(best, rate);
        last = now;
    }
    return best * 1e-9;
}

/* A run reads the whole block once, in pieces that whoever is free takes. */
enum { PIECE = 1 << 20 };
typedef uint64_t two __attribute__((vector_size(16)));

static void read_piece(void *arg, int block, int slot)
{
    (void)slot;
    const two *at = (const two *)(const void *)((const unsigned char *)arg + (size_t)block * PIECE), *end = at + PIECE / sizeof *at;
    two sum[4] = {{0}};
    for (; at < end; at += 16) { /* four lines a turn */
        __builtin_prefetch(at + 128);
        __builtin_prefetch(at + 132);
        __builtin_prefetch(at + 136);
        __builtin_prefetch(at + 140);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            sum[i % 4] ^= at[i];
    }
    sum[0] ^= sum[1] ^ sum[2] ^ sum[3];
    __asm__ volatile("" : : "r"(sum[0][0] ^ sum[0][1]));
}

double peak_read(struct pool *pool, int threads, size_t bytes, double seconds, struct gm_error *err)
{
    const int pieces = (int)(bytes / PIECE);
    unsigned char *data = mem_alloc(bytes, "memory to read", err);
    if (!data)
        return 0;
    memset(data, 0xff, bytes); /* touched: every page is its own */
    double best = 0, start = clock_seconds(), last = start;
    for (int run = 0; run < 3 || last - start < seconds; run++) {
        if (threads == 1)
            for (int i = 0; i < pieces; i++)
                read_piece(data, i, 0);
        else
            pool_run(pool, GM_TRAIN, read_piece, data, pieces);
        double now = clock_seconds();
        best = fmax(best, (double)pieces * PIECE / (now - last));
        last = now;
    }
    mem_free(data);
    return best;
}
