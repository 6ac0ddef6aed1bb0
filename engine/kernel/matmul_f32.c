/* matmul_f32.c - the reference arithmetic: every block of a product is one sgemm of OpenBLAS, run
 * on one thread.
 *
 * Blocks have sizes that follow from the shapes alone, so that the bits do not depend on the number
 * of threads. A long sum is cut into stretches, added in order; a stored (quantised) matrix is
 * expanded into the thread's scratch, one block and stretch at a time.
 */
#include "engine/kernel/matmul_f32.h"

#include "engine/base/number.h"
#include "engine/kernel/table.h"

#include <cblas.h>

/* Columns of nn and stretches of nt begin at multiples of 256: the largest storage block. */
enum {
    F32_ROWS = 128,
    F32_COLS_NT = 128,
    F32_DEPTH_NT = 1024,
    F32_COLS_NN = 256,
    F32_DEPTH_NN = 512
};

#ifdef OPENBLAS_VERSION
void f32_setup(void)
{
    openblas_set_num_threads(1);
}
#else
void f32_setup(void) {}
#endif

struct product {
    float *c;
    int64_t ldc;
    const float *a;
    int64_t lda;
    const struct mat *w;
    int64_t rows, cols, depth, k0;
    int col_blocks;
    bool accumulate;
    const struct compute *compute;
};

/* Rows r0..r0+n-1 of w, columns k0..k0+k-1, as floats: in place when stored so, else expanded into
 * `buffer` (row length k). */
static const float *floats_of(const struct mat *w, int64_t r0, int64_t n, int64_t k0, int64_t k,
                              float *buffer, int64_t *ld)
{
    const unsigned char *row = (const unsigned char *)w->data + (size_t)r0 * w->row_bytes;
    if (w->type == DT_F32 && w->row_bytes % sizeof(float) == 0 &&
        (uintptr_t)row % sizeof(float) == 0) {
        *ld = (int64_t)(w->row_bytes / sizeof(float));
        return (const float *)(const void *)row + k0;
    }
    for (int64_t i = 0; i < n; i++)
        mat_part_to_f32(w, r0 + i, k0, k, buffer + i * k);
    *ld = k;
    return buffer;
}

/* The part k0..k0+depth-1 of the sum of one block of nt ... */
static void block_nt(void *arg, int block, int slot)
{
    const struct product *p = arg;
    int64_t r0 = block / p->col_blocks * F32_ROWS, n0 = block % p->col_blocks * F32_COLS_NT;
    int64_t rows = min64(F32_ROWS, p->rows - r0), cols = min64(F32_COLS_NT, p->cols - n0);
    int64_t depth = min64(F32_DEPTH_NT, p->depth - p->k0), ldw;
    const float *w =
        floats_of(p->w, n0, cols, p->k0, depth, p->compute->scratch->slot[slot].data, &ldw);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)cols, (int)depth, 1.0f,
                p->a + r0 * p->lda + p->k0, (int)p->lda, w, (int)ldw,
                p->k0 > 0 || p->accumulate ? 1.0f : 0.0f, p->c + r0 * p->ldc + n0, (int)p->ldc);
}

/* ... and of nn. */
static void block_nn(void *arg, int block, int slot)
{
    const struct product *p = arg;
    int64_t r0 = block / p->col_blocks * F32_ROWS, n0 = block % p->col_blocks * F32_COLS_NN;
    int64_t rows = min64(F32_ROWS, p->rows - r0), cols = min64(F32_COLS_NN, p->cols - n0);
    int64_t depth = min64(F32_DEPTH_NN, p->depth - p->k0), ldw;
    const float *w =
        floats_of(p->w, p->k0, depth, n0, cols, p->compute->scratch->slot[slot].data, &ldw);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)depth, 1.0f,
                p->a + r0 * p->lda + p->k0, (int)p->lda, w, (int)ldw,
                p->k0 > 0 || p->accumulate ? 1.0f : 0.0f, p->c + r0 * p->ldc + n0, (int)p->ldc);
}

/* One pool_run per stretch of the sum: a block stays short (the gate), however long the sum. */
static void run(const struct compute *c, struct product *p, pool_fn block, int64_t block_cols,
                int64_t stretch)
{
    if (p->rows <= 0 || p->cols <= 0)
        return;
    scratch_slots(c, (size_t)(block_cols * stretch) * sizeof(float));
    p->compute = c;
    p->col_blocks = (int)((p->cols + block_cols - 1) / block_cols);
    for (p->k0 = 0; p->k0 < p->depth; p->k0 += stretch)
        pool_run(c->pool, c->role, block, p,
                 p->col_blocks * (int)((p->rows + F32_ROWS - 1) / F32_ROWS));
}

void f32_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
            const struct mat *w, bool accumulate)
{
    struct product p = {.c = y,
                        .ldc = ldy,
                        .a = x,
                        .lda = ldx,
                        .w = w,
                        .rows = T,
                        .cols = w->rows,
                        .depth = w->cols,
                        .accumulate = accumulate};
    run(c, &p, block_nt, F32_COLS_NT, F32_DEPTH_NT);
}

void f32_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy,
            int64_t T, const struct mat *w, bool accumulate)
{
    struct product p = {.c = dx,
                        .ldc = ldx,
                        .a = dy,
                        .lda = ldy,
                        .w = w,
                        .rows = T,
                        .cols = w->cols,
                        .depth = w->rows,
                        .accumulate = accumulate};
    run(c, &p, block_nn, F32_COLS_NN, F32_DEPTH_NN);
}

struct outer {
    float *dw;
    int64_t lddw;
    const float *a, *b;
    int64_t lda, ldb, m, n, T;
    float scale;
    bool accumulate;
    int64_t block_m, block_n, t0;
    int col_blocks;
};

static void block_tn(void *arg, int block, int slot)
{
    const struct outer *o = arg;
    int64_t i0 = block / o->col_blocks * o->block_m, j0 = block % o->col_blocks * o->block_n;
    int64_t m = min64(o->block_m, o->m - i0), n = min64(o->block_n, o->n - j0);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n,
                (int)min64(F32_DEPTH_NN, o->T - o->t0), o->scale, o->a + o->t0 * o->lda + i0,
                (int)o->lda, o->b + o->t0 * o->ldb + j0, (int)o->ldb,
                o->t0 > 0 || o->accumulate ? 1.0f : 0.0f, o->dw + i0 * o->lddw + j0, (int)o->lddw);
}

void f32_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda,
            int64_t m, const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
            bool accumulate)
{
    if (m <= 0 || n <= 0)
        return;
    struct outer o = {.dw = dw,
                      .lddw = lddw,
                      .a = a,
                      .b = b,
                      .lda = lda,
                      .ldb = ldb,
                      .m = m,
                      .n = n,
                      .T = T,
                      .scale = scale,
                      .accumulate = accumulate,
                      .block_m = F32_ROWS,
                      .block_n = F32_ROWS};
    if (m <= 64) /* thin: the other side in wider strips */
        o.block_n = 256;
    else if (n <= 64)
        o.block_m = 256;
    o.col_blocks = (int)((n + o.block_n - 1) / o.block_n);
    for (o.t0 = 0; o.t0 < T; o.t0 += F32_DEPTH_NN)
        pool_run(c->pool, c->role, block_tn, &o,
                 o.col_blocks * (int)((m + o.block_m - 1) / o.block_m));
}
