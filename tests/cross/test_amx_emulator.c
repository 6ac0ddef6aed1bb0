/* The tile instructions, emulated or the processor's own: shapes, strides, registers and addresses of all kinds; tdpbf16ps against amx_multiply bit for
 * bit, so that the emulator is proved where there are tiles, and against its definition in plain arithmetic. */
#include "tests/cross/amx_emulator.h"
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/attention.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/processor.h"

#include <immintrin.h>

/* The intrinsics do not say that they read memory. */
#define BARRIER() __asm__ volatile("" : : : "memory")

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void configure(const int rows[8], const int row_bytes[8])
{
    _Alignas(64) struct config c = {.palette = 1}, back;
    for (int i = 0; i < 8; i++)
        c.rows[i] = (uint8_t)rows[i], c.row_bytes[i] = (uint16_t)row_bytes[i];
    BARRIER();
    _tile_loadconfig(&c);
    BARRIER();
    _tile_storeconfig(&back);
    assert_memory_equal(&c, &back, sizeof c);
}

static void fill(uint16_t *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = f32_to_bf16(test_uniform(&seed));
        if (test_random(&seed) % 16 == 0)
            x[i] = (uint16_t)(test_random(&seed) & 0x807f); /* denormal: counts as zero */
    }
}

static float flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* One sum as the manual defines it. */
static float defined(float sum, const uint16_t *a, const uint16_t b[16][32], int column, int pairs)
{
    float part[2] = {0, 0};
    for (int k = 0; k < pairs; k++)
        for (int i = 0; i < 2; i++)
            part[i] = flushed(fmaf(flushed(bf16_to_f32(a[2 * k + i])), flushed(bf16_to_f32(b[k][2 * column + i])), part[i]));
    return flushed(flushed(sum) + flushed(part[0] + part[1]));
}

static void products(void **state)
{
    static const struct { int m, pairs, n; } shapes[] = {{16, 16, 16}, {1, 1, 1}, {16, 3, 5}, {7, 16, 16}, {2, 5, 13}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int m = shapes[s].m, pairs = shapes[s].pairs, n = shapes[s].n;
        uint16_t a[16][32] = {{0}}, b[16][32] = {{0}}, wide[16][70];
        float c[16][16], was[16][16], got[16][16], expected[16][16];
        uint64_t seed = s;
        fill(wide[0], sizeof wide / 2, 1 + s);
        fill(b[0], sizeof b / 2, 9 + s);
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 16; i++)
                c[r][i] = test_uniform(&seed);
        for (int r = 0; r < m; r++)
            memcpy(a[r], &wide[r][3], (size_t)pairs * 4);
        memcpy(was, c, sizeof c), memcpy(expected, c, sizeof c), memset(got, 0x55, sizeof got);
        configure((const int[8]){m, m, pairs, 16, 16, 16, 16, 16}, (const int[8]){4 * n, 4 * pairs, 4 * n, 64, 64, 64, 64, 64});
        BARRIER();
    _tile_loadd(0, c, sizeof c[0]);
        _tile_loadd(1, &wide[0][3], sizeof wide[0]);
        _tile_stream_loadd(2, b, sizeof b[0]);
        _tile_dpbf16ps(0, 1, 2);
        _tile_stored(0, got, sizeof got[0]);
        _tile_release();
        amx_multiply(expected, (const uint16_t(*)[32])a, (const uint16_t(*)[32])b, m, pairs);
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 16; i++) {
                const bool written = r < m && i < n;
                uint32_t untouched;
                memcpy(&untouched, &got[r][i], sizeof untouched);
                if (!written) {
                    assert_int_equal(untouched, 0x55555555);
                    continue;
                }
                assert_memory_equal(&got[r][i], &expected[r][i], sizeof(float));
                assert_true(got[r][i] == defined(was[r][i], a[r], (const uint16_t(*)[32])b, i, pairs));
            }
    }
}

/* Every tile as destination and operand, and addresses of every form. */
static void registers_and_addresses(void **state)
{
    _Alignas(64) unsigned char from[8][16][64], to[8][16][64], *f = from[0][0], *t = to[0][0];
    uint64_t seed = 4;
    for (size_t i = 0; i < sizeof from; i++)
        f[i] = (unsigned char)test_random(&seed);
    memset(to, 0, sizeof to);
    configure((const int[8]){16, 16, 16, 16, 16, 16, 16, 16}, (const int[8]){64, 64, 64, 64, 64, 64, 64, 64});
    BARRIER();
    __asm__ volatile("mov %0, %%r12\n\tmov $16, %%r13\n\t{tileloadd (%%r12,%%r13,4), %%tmm0|tileloadd tmm0, [r12+r13*4]}" : : "r"(f) : "r12", "r13");
    __asm__ volatile("mov %0, %%r13\n\tmov $32, %%r15\n\t{tileloadd 1024(%%r13,%%r15,2), %%tmm1|tileloadd tmm1, [r13+r15*2+1024]}" : : "r"(f) : "r13", "r15");
    __asm__ volatile("mov $64, %%rcx\n\t{tileloaddt1 (%0,%%rcx), %%tmm2|tileloaddt1 tmm2, [%0+rcx]}" : : "r"(f + 2048) : "rcx");
    __asm__ volatile("mov $8, %%r9\n\t{tileloadd -64(%0,%%r9,8), %%tmm3|tileloadd tmm3, [%0+r9*8-64]}" : : "r"(f + 3072 + 64) : "r9");
    __asm__ volatile("mov $-64, %%rsi\n\t{tileloadd (%0,%%rsi), %%tmm4|tileloadd tmm4, [%0+rsi]}" : : "r"(f + 4096 + 15 * 64) : "rsi"); /* upside down */
    _tile_loadd(5, f + 5120, 64);
    _tile_loadd(6, f + 6144, 0); /* the same row sixteen times */
    _tile_zero(7);
    _tile_stored(0, t, 64);
    _tile_stored(1, t + 1024, 64);
    _tile_stored(2, t + 2048, 64);
    _tile_stored(3, t + 3072, 64);
    _tile_stored(4, t + 4096 + 15 * 64, -64);
    _tile_stored(5, t + 5120, 64);
    _tile_stored(6, t + 6144, 64);
    memset(t + 7168, 1, 1024);
    _tile_stored(7, t + 7168, 64);
    for (int r = 0; r < 16; r++) {
        memcpy(from[6][r], from[6][0], 64);
        memset(from[7][r], 0, 64);
    }
    for (int i = 0; i < 8; i++)
        assert_memory_equal(from[i], to[i], sizeof from[i]);

    float sums[16][16] = {{0}}, got[16][16];
    memcpy(got, sums, sizeof got);
    for (size_t i = 0; i < sizeof from / 2; i++) {
        const uint16_t x = f32_to_bf16(test_uniform(&seed));
        memcpy(f + 2 * i, &x, sizeof x);
    }
#define MULTIPLY(c, a, b)                                                                                                              \
    do {                                                                                                                               \
        const uint16_t(*left)[32] = (const void *)from[a], (*right)[32] = (const void *)from[b];                                       \
        memset(sums, 0, sizeof sums);                                                                                                  \
        amx_multiply(sums, left, right, 16, 16);                                                                                       \
        BARRIER();                                                                                                                     \
        _tile_zero(c);                                                                                                                 \
        _tile_loadd(a, left, 64);                                                                                                      \
        _tile_loadd(b, right, 64);                                                                                                     \
        _tile_dpbf16ps(c, a, b);                                                                                                       \
        _tile_stored(c, got, 64);                                                                                                      \
        assert_memory_equal(got, sums, sizeof got);                                                                                    \
    } while (0)
    MULTIPLY(0, 1, 2);
    MULTIPLY(3, 4, 5);
    MULTIPLY(6, 7, 0);
    MULTIPLY(7, 6, 1);
    MULTIPLY(2, 0, 7);
    _tile_release();
}

/* What the instructions since `before` say; how many of the products are useful. */
static void report(const char *name, const struct amx_counts *before, double flops)
{
    const struct amx_counts after = amx_counts();
    const double products = (double)(after.products - before->products), loads = (double)(after.loads - before->loads),
                 stores = (double)(after.stores - before->stores), lines = (double)(after.missed - before->missed);
    printf("%-44s %7.0f products, %3.0f %% useful; for one: %.2f loads, %.2f stores, %4.1f lines not from the first cache\n", name, products,
           100 * flops / (products * 2 * 16 * 16 * 32), loads / products, stores / products, lines / products);
    assert_true(loads <= 1.4 * products && lines <= 20 * products); /* in large products 1.15 and 14 */
}

/* How the products of a step use the instructions; see amx_emulator.h. */
static void counts_of_products(void **state)
{
    static const struct { const char *name; int64_t rows, out, in; } shapes[] = {
        {"q|k|v of Gemma 3 270M", 512, 1536, 640}, {"gate|up", 512, 4096, 640}, {"down", 512, 640, 2048}, {"down of TinyLlama", 256, 256, 5632}};
    struct pool *pool = pool_new(1, NULL);
    struct compute c;
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, FAMILY_AMX, NULL));
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes && amx_is_emulated(); s++) {
        const int64_t rows = shapes[s].rows, out = shapes[s].out, in = shapes[s].in, ld = matmul_stride(in);
        uint16_t *x = mem_new((size_t)(matmul_rows(rows) * ld), sizeof *x), *w = mem_new((size_t)(out * in), sizeof *w),
                 *y = mem_new((size_t)(rows * out), sizeof *y);
        const struct mat m = {.data = w, .type = DT_BF16, .rows = out, .cols = in, .row_bytes = (size_t)in * 2};
        const struct matmul_output o = {.y = y, .y_type = DT_BF16, .ldy = out, .n_terms = 1, .terms = {{.a = x, .a_type = DT_BF16, .lda = ld, .w = &m}}};
        const struct amx_counts before = amx_counts();
        matmul_nt_joined(&c, &o, 1, rows);
        char name[80];
        snprintf(name, sizeof name, "%s, %d x %d x %d", shapes[s].name, (int)rows, (int)in, (int)out);
        report(name, &before, 2.0 * (double)(rows * in * out));
        mem_free(x), mem_free(w), mem_free(y);
    }
    compute_free(&c);
    pool_free(pool);
}

static void counts_of_attention(void **state)
{
    static const struct { const char *name; struct attention_shape a; int seqs, length; } cases[] = {
        {"Gemma 3 270M, 4 x 128 tokens", {4, 1, 256, 0, 0.0625f, 0}, 4, 128}, {"SmolLM2-135M, 8 x 32 tokens", {9, 3, 64, 0, 0.125f, 0}, 8, 32}};
    struct pool *pool = pool_new(1, NULL);
    struct compute c;
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, FAMILY_AMX, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases && amx_is_emulated(); i++) {
        const struct attention_shape *a = &cases[i].a;
        const int64_t T = cases[i].seqs * cases[i].length, wide = a->n_heads * a->head_dim, narrow = a->n_kv_heads * a->head_dim;
        int32_t start[9];
        for (int s = 0; s <= cases[i].seqs; s++)
            start[s] = s * cases[i].length;
        uint16_t *x = mem_new((size_t)(T * wide), sizeof *x), *y = mem_new((size_t)(T * wide), sizeof *y), *dk = mem_new((size_t)(T * narrow), sizeof *dk),
                 *dv = mem_new((size_t)(T * narrow), sizeof *dv), *dq = mem_new((size_t)(T * wide), sizeof *dq);
        float *lse = mem_new((size_t)(T * a->n_heads), sizeof *lse);
        const struct attention_batch b = {.q = {x, wide, DT_BF16}, .k = {x, narrow, DT_BF16}, .v = {x, narrow, DT_BF16}, .n_seqs = cases[i].seqs, .seq_start = start};
        const double flops = attention_flops(a, cases[i].seqs, start);
        struct amx_counts before = amx_counts();
        char name[80];
        attention(&c, a, &b, (struct attention_out){y, wide, DT_BF16}, lse);
        snprintf(name, sizeof name, "%s, forward", cases[i].name);
        report(name, &before, flops);
        before = amx_counts();
        attention_backward(&c, a, &b, (struct attention_in){x, wide, DT_BF16}, (struct attention_in){y, wide, DT_BF16}, lse,
                           (struct attention_out){dq, wide, DT_BF16}, (struct attention_out){dk, narrow, DT_BF16}, (struct attention_out){dv, narrow, DT_BF16});
        snprintf(name, sizeof name, "%s, backward", cases[i].name);
        report(name, &before, 2.5 * flops);
        mem_free(x), mem_free(y), mem_free(dk), mem_free(dv), mem_free(dq), mem_free(lse);
    }
    compute_free(&c);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(registers_and_addresses),
        cmocka_unit_test(counts_of_products),
        cmocka_unit_test(counts_of_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
