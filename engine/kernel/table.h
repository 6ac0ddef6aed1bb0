/* table.h - private to the kernel room: what one family of matrix kernels provides, and the packing
 * memory of a driver.
 *
 * The driver (matmul_packed.c) cuts a product into blocks of columns and rows; inside a block it
 * packs stretches of up to KC of the summed dimension into panels of 16 columns, and `sum_block`
 * adds their products with some rows. Layouts, with kpad = k rounded up to 32 (zeros behind k):
 *
 *   vnni families    panel[p][kpad/2][16] pairs of bf16; activations bf16, row-major
 *   f32 families     panel[p][kpad][16] floats that hold bf16 values; activations likewise
 *
 * A sum runs over the terms and their stretches in order, and inside a stretch in the family's own
 * fixed order (avx2, avx512f, avx512bf16, amx: one chain that goes on over stretches and terms;
 * plain: a sum for each stretch). It does not depend on how rows and columns are cut, nor on how
 * many stretches one call gets: that may follow the number of threads, the bits do not. A bf16
 * result is rounded once, from the whole sum.
 */
#ifndef GM_KERNEL_TABLE_H
#define GM_KERNEL_TABLE_H

#include "engine/kernel/compute.h"

enum { KC = 1024, SMALL_STRETCH = 512, PANEL = 16, ROW_PAD = 32, SMALL_ROWS = 4 };

/* What softmax_tile keeps of a row. */
enum { HEAD_TILE = 64 };
struct softmax_row {
    float shift;   /* a whole number, or -infinity: nothing yet */
    float limit;   /* the largest logit that fits this shift */
    float sum[16]; /* by lanes */
};

/* A part of a sum: k values of every row of `a`, in the layout of activations, with panels that are kpad deep. Rows of `a` exist,
 * readable, up to a multiple of ROW_PAD. */
struct slice {
    const void *a;
    int64_t lda;
    const void *panel;
    int kpad, k;
};
/* Rows of cache lines that will be read soon. */
struct wanted {
    const unsigned char *row; /* on a line */
    size_t row_bytes, line, lines;
    int64_t rows;
};
static inline __attribute__((always_inline)) void ask_for_lines(struct wanted *w, int64_t n)
{
    for (; n > 0 && w->rows > 0; n--) {
        __builtin_prefetch(w->row + 64 * w->line, 0, 2);
        if (++w->line == w->lines) {
            w->line = 0;
            w->row += w->row_bytes;
            w->rows--;
        }
    }
}

/* to[rows, cols] = from[rows, cols] + the slices, one after the other; `to` may be `from`. */
struct block_sum {
    const struct slice *slices;
    int n_slices;
    const float *from; /* NULL: 0 */
    int64_t ld_from;
    void *to; /* floats; to_bf16: rounded once, nothing is written behind a row */
    int64_t ld_to;
    bool to_bf16;
    int rows, cols;
    struct wanted *wanted; /* NULL, or where the family asks_ahead: asked for meanwhile, */
    int wanted_lines;      /* so many with every cache line of a row of `a` */
};

struct kernel_table {
    bool vnni;
    double pack_cost; /* packing a weight costs as much as multiplying it with so many rows */
    double block_flops; /* work of a block: well below a millisecond, on a shared core, too */
    double strip_flops; /* the same for the packed driver, which may take a millisecond at full speed */
    int strip_cols;     /* columns of a strip of the packed driver: whole tiles of sums */
    int step_rows;      /* rows of a tile of sums: as many as the driver takes between two looks ahead */
    bool asks_ahead;    /* sum_block asks for what is wanted; else the driver does, before it */
    /* Packs w rows n0..n0+n-1 (n <= 256), columns k0..k0+k-1 (k <= KC) as panel columns: B = Wᵀ. */
    void (*pack_nt)(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
    bool nn_cuts_blocks; /* pack_nn may begin with any 32 columns, within a longer block, too */
    /* Packs w columns n0.., rows k0..: B = W. */
    void (*pack_nn)(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
    /* rows x k floats to the activation layout with row length ld (elements); fills up to kpad with
     * zeros. */
    void (*convert)(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k,
                    int64_t kpad);
    /* The same of scale * srcᵀ, src [k, rows]; a whole number of 32s is written per row. May be
     * NULL: the driver then goes by squares. */
    void (*convert_transposed)(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows,
                               int64_t k, float scale);
    /* The same of bf16, as they are. May be NULL. */
    void (*transpose_bf16)(void *dst, int64_t ld, const uint16_t *src, int64_t lds, int64_t rows,
                           int64_t k);
    /* rows x cols floats to bf16, nothing behind them is written. */
    void (*round_rows)(uint16_t *dst, int64_t ld, const float *src, int64_t lds, int64_t rows,
                       int64_t cols);
    void (*sum_block)(const struct block_sum *s);
    /* c[rows, cols] (+)= a panels with the same bits, for few rows and panels that come from memory; rows behind the last are not read.
     * next: what will be read then, or NULL. A family may lack it: sum_block does the same. */
    void (*few)(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc, int rows, int cols, bool accumulate,
                const void *next);
    /* y[t, n0..n0+n-1] (+)= x wᵀ for T <= SMALL_ROWS rows, reading w once. x is in the layout of
     * convert_small. */
    void (*small)(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w,
                  int64_t n0, int n, bool accumulate);
    void (*convert_small)(float *dst, int64_t ld, const float *src, int64_t lds, int rows,
                          int64_t k);
    /* Rows row..rows-1 of a tile of logits, HEAD_TILE floats apart, n columns of it: soft-cap (0:
     * none), then 2^(l log2 e - shift) is added to the row's sum, and (e not NULL) times the slope
     * of the cap goes to e in the layout of activations, HEAD_TILE columns of rows lde apart.
     * Returns the first row with a logit above its limit, or `rows`: the caller gives that row
     * another shift and goes on with it. */
    int64_t (*softmax_tile)(struct softmax_row *state, void *e, int64_t lde, const float *l,
                            int64_t row, int64_t rows, int n, float softcap);
    /* One row of a tile: l = weight 2^(l log2 e - shift), times the slope of the cap. */
    void (*softmax_gradient)(float *l, float softcap, float shift, float weight);
};

/* c[rows, cols] (+)= a[rows, kpad] panels. */
static inline void multiply_panels(const struct kernel_table *k, const void *a, int64_t lda, const void *panel, int kpad, float *c,
                                   int64_t ldc, int rows, int cols, bool accumulate)
{
    const struct slice slice = {.a = a, .lda = lda, .panel = panel, .kpad = kpad, .k = kpad};
    k->sum_block(&(struct block_sum){.slices = &slice,
                                     .n_slices = 1,
                                     .from = accumulate ? c : NULL,
                                     .ld_from = ldc,
                                     .to = c,
                                     .ld_to = ldc,
                                     .rows = rows,
                                     .cols = cols});
}

/* NULL where the compiler or the architecture has no such thing. */
const struct kernel_table *kernel_table_amx(void);
const struct kernel_table *kernel_table_avx512bf16(void);
const struct kernel_table *kernel_table_avx512f(void);
const struct kernel_table *kernel_table_avx2(void);
const struct kernel_table *kernel_table_neonbf16(void);
const struct kernel_table *kernel_table_neon(void);
const struct kernel_table *kernel_table_portable(void);

/* Grows to the largest product seen, then stays: a steady step allocates nothing. */
struct scratch_buffer {
    void *data;
    size_t size;
};
struct compute_scratch {
    int n_slots;
    struct scratch_buffer shared[3]; /* converted activations and the like */
    struct scratch_buffer *slot;     /* [n_slots] panels of one thread */
};
void *scratch_shared(const struct compute *c, int which, size_t bytes);
/* Every slot gets `bytes`; call before pool_run. */
void scratch_slots(const struct compute *c, size_t bytes);

#endif
