/* matmul_amx.c - the family amx: tdpbf16ps on tiles (tiles.h).
 *
 * A product of two tiles takes 16 cycles and loads one; the second cache does not give the 16 lines of a tile in that time, the first one does. So a block of up
 * to 128 rows x 128 columns is summed in turns of up to 224 of depth: the activations of 64 rows (24 KB) stay in the first cache while pairs of panels pass,
 * each for both squares of 32 rows; between turns the sums wait in f32. That takes 10 to 12 lines a product from the second cache, where the whole depth at
 * once would take all 16 (tests/cross counts them). The chain of a sum is the same however it is cut.
 */
#include "engine/kernel/matmul_avx512.h"

#include "engine/kernel/tiles.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BW__)
#include <assert.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { DEPTH = 32, BLOCK = 128, SUMS_LD = BLOCK + PANEL /* rows in other sets of the cache */, GROUP = 64, PART = 192, TURN = PART + DEPTH, LINE = 64 };

/* A place in the chain of a sum. */
struct place {
    int slice, k;
};

/* Where the turn that begins at `at` ends: even parts of a slice, and thin slices (of an adapter) with what stands before them. */
static struct place turn_end(const struct block_sum *s, struct place at)
{
    for (int used = 0; at.slice < s->n_slices;) {
        const int left = s->slices[at.slice].k - at.k, parts = (left - 1) / PART + 1, step = ((left + parts - 1) / parts + DEPTH - 1) / DEPTH * DEPTH;
        if (used > 0 && used + step > TURN)
            break;
        used += step;
        at.k += step;
        if (at.k >= s->slices[at.slice].k)
            at = (struct place){.slice = at.slice + 1};
    }
    return at;
}

/* A turn of a block: some columns of activations times as many rows of panels, for all its sums. */
struct turn {
    const struct block_sum *s;
    int r0, j0, rows, cols; /* of the block */
    struct place begin, end;
    const float *from; /* what is added to; NULL: 0 */
    int64_t ld_from;
    float *to; /* whole panels wide */
    int64_t ld_to;
    int lines; /* to ask for in every square, with each tile of depth */
};

/* What every square asks for, so that the block asks for as much as it is told to. */
static int lines_of_square(const struct block_sum *s, int rows, int cols)
{
    const int n = (rows + SQUARE - 1) / SQUARE * ((cols + SQUARE - 1) / SQUARE);
    return s->wanted ? (s->wanted_lines + n - 1) / n : 0;
}

/* Rows r .. and columns j .. of the block, 32 of each; at most 16 rows: not `lower`, 16 columns: not `right`. `first` of its rows: it asks for the activations
 * in time, as the processor does not foresee so many rows at once; the sums of the square to the right are asked for likewise. */
INLINE void square(const struct turn *t, int r, int j, const bool lower, const bool right, const bool first)
{
    const struct block_sum *s = t->s;
    const int64_t ld_from = t->ld_from, ld_to = t->ld_to;
    const float *from = t->from ? t->from + r * ld_from + j : NULL;
    float *to = t->to + r * ld_to + j;
    tiles_see_memory();
    if (from) {
        tiles_load_sums(from, ld_from, lower, right);
        for (int i = 0; right && i < (lower ? SQUARE : TILE); i++) {
            _mm_prefetch((const char *)(from + i * ld_from + SQUARE), _MM_HINT_T0);
            _mm_prefetch((const char *)(from + i * ld_from + SQUARE + TILE), _MM_HINT_T0);
        }
    } else {
        tiles_zero_sums();
    }
    const struct place end = t->end;
    for (struct place at = t->begin; at.slice < end.slice || (at.slice == end.slice && at.k < end.k); at = (struct place){.slice = at.slice + 1}) {
        const struct slice *part = &s->slices[at.slice];
        const int last = at.slice == end.slice ? end.k : part->k;
        const size_t row_bytes = (size_t)part->lda * sizeof(uint16_t), panel = (size_t)part->kpad * PANEL;
        const uint16_t *a = (const uint16_t *)part->a + (t->r0 + r) * part->lda;
        const uint16_t *b = (const uint16_t *)part->panel + (size_t)((t->j0 + j) / PANEL) * panel;
        for (int k = at.k; k < last; k += DEPTH) {
            const uint16_t *b1 = b + (size_t)k * PANEL, *b2 = b1 + panel;
            if (t->lines > 0)
                ask_for_lines(s->wanted, t->lines);
            if (first)
                for (int i = 0; i < (lower ? SQUARE : TILE); i++)
                    _mm_prefetch((const char *)(a + i * part->lda + k) + 2 * LINE, _MM_HINT_T0);
            tiles_multiply(a + k, row_bytes, b1, b2, LINE, lower, right);
        }
    }
    tiles_store_sums(to, ld_to, lower, right);
}

static void any_square(const struct turn *t, int r, int j)
{
    const int rows = t->rows - r < SQUARE ? t->rows - r : SQUARE;
    const bool lower = rows > TILE, right = t->cols - j > TILE;
    tiles_configure(rows);
    if (lower && right && j == 0)
        square(t, r, j, true, true, true);
    else if (lower && right)
        square(t, r, j, true, true, false);
    else if (lower)
        square(t, r, j, true, false, false);
    else if (right)
        square(t, r, j, false, true, false);
    else
        square(t, r, j, false, false, false);
}

/* The rows of a group stay in the first cache: pairs of panels pass, each beside all of them. */
static void take_turn(const struct turn *t)
{
    for (int group = 0; group < t->rows; group += GROUP)
        for (int j = 0; j < t->cols; j += SQUARE)
            for (int r = group; r < t->rows && r < group + GROUP; r += SQUARE)
                any_square(t, r, j);
}

/* Sums go to their place if that is f32 and whole panels wide, else by the stack. */
static void block(const struct block_sum *s, int r0, int j0, int rows, int cols)
{
    _Alignas(64) float sums[BLOCK][SUMS_LD];
    const bool direct = !s->to_bf16 && cols % PANEL == 0;
    const int64_t at = r0 * s->ld_to + j0;
    struct turn t = {.s = s, .r0 = r0, .j0 = j0, .rows = rows, .cols = cols, .to = sums[0], .ld_to = SUMS_LD, .lines = lines_of_square(s, rows, cols)};
    if (direct) {
        t.to = (float *)s->to + at;
        t.ld_to = s->ld_to;
    }
    if (s->from) {
        t.from = s->from + r0 * s->ld_from + j0;
        t.ld_from = s->ld_from;
        for (int r = 0; r < rows && !direct; r++)
            memcpy(sums[r], t.from + r * t.ld_from, (size_t)cols * sizeof(float));
    }
    for (bool go_on = s->from && !direct /* from the copy */; t.begin.slice < s->n_slices; go_on = true) {
        if (go_on) {
            t.from = t.to;
            t.ld_from = t.ld_to;
        }
        t.end = turn_end(s, t.begin);
        take_turn(&t);
        t.begin = t.end;
    }
    if (s->to_bf16)
        avx512bf16_round_rows((uint16_t *)s->to + at, s->ld_to, sums[0], SUMS_LD, rows, cols);
    else
        for (int r = 0; r < rows && !direct; r++)
            memcpy((float *)s->to + at + r * s->ld_to, sums[r], (size_t)cols * sizeof(float));
}

static void sum_block(const struct block_sum *s)
{
    for (int r = 0; r < s->rows; r += BLOCK)
        for (int j = 0; j < s->cols; j += BLOCK)
            block(s, r, j, s->rows - r < BLOCK ? s->rows - r : BLOCK, s->cols - j < BLOCK ? s->cols - j : BLOCK);
    tiles_release();
}

/* ---- few rows, panels from memory: one stream, asked for AHEAD bytes before ---- */

enum { ROWS_MOST = 4 * TILE, AHEAD = 8192, STEP_BYTES = DEPTH * PANEL * 2 };

/* Sums of 1 .. 4 times 16 rows (in the last, as many as there are) are tiles 0 .. 3; 4 are rows of activations, 5 the last ones, 6 is the panel. */
static void configure_few(int rows)
{
    const int last = (rows - 1) / TILE;
    uint8_t shapes[8] = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE};
    shapes[last] = shapes[5] = (uint8_t)(rows - last * TILE);
    tiles_shape(shapes);
}

/* One panel. `ask`: what to ask for from the beginning on; at k = turn it is `then` instead; NULL: nothing. */
INLINE void few_sums(const uint16_t *a, int64_t lda, const char *panel, int kpad, float *c, int64_t ldc, const int tiles, bool accumulate,
                     const char *ask, int turn, const char *then)
{
    const size_t c_bytes = (size_t)ldc * sizeof *c, row_bytes = (size_t)lda * sizeof *a;
    tiles_see_memory();
    tiles_zero_sums();
    if (accumulate) {
        _tile_loadd(0, c, c_bytes);
        if (tiles > 1)
            _tile_loadd(1, c + TILE * ldc, c_bytes);
        if (tiles > 2)
            _tile_loadd(2, c + 2 * TILE * ldc, c_bytes);
        if (tiles > 3)
            _tile_loadd(3, c + 3 * TILE * ldc, c_bytes);
    }
    for (int k = 0; k < kpad; k += DEPTH, panel += STEP_BYTES) {
        if (k == turn)
            ask = then;
        if (ask) {
            for (int i = 0; i < STEP_BYTES; i += LINE)
                _mm_prefetch(ask + i, _MM_HINT_T0);
            ask += STEP_BYTES;
        }
        _tile_loadd(6, panel, LINE);
#define SUMS(i)                                                           \
    if (tiles == i + 1) {                                                 \
        _tile_loadd(5, a + i * TILE * lda + k, row_bytes);                \
        _tile_dpbf16ps(i, 5, 6);                                          \
    } else if (tiles > i) {                                               \
        _tile_loadd(4, a + i * TILE * lda + k, row_bytes);                \
        _tile_dpbf16ps(i, 4, 6);                                          \
    }
        SUMS(0)
        SUMS(1)
        SUMS(2)
        SUMS(3)
#undef SUMS
    }
    _tile_stored(0, c, c_bytes);
    if (tiles > 1)
        _tile_stored(1, c + TILE * ldc, c_bytes);
    if (tiles > 2)
        _tile_stored(2, c + 2 * TILE * ldc, c_bytes);
    if (tiles > 3)
        _tile_stored(3, c + 3 * TILE * ldc, c_bytes);
}

static void few_panel_sums(const uint16_t *a, int64_t lda, const char *panel, int kpad, float *c, int64_t ldc, int rows, bool accumulate, const char *ask,
                           int turn, const char *then)
{
    if (rows <= TILE)
        few_sums(a, lda, panel, kpad, c, ldc, 1, accumulate, ask, turn, then);
    else if (rows <= 2 * TILE)
        few_sums(a, lda, panel, kpad, c, ldc, 2, accumulate, ask, turn, then);
    else if (rows <= 3 * TILE)
        few_sums(a, lda, panel, kpad, c, ldc, 3, accumulate, ask, turn, then);
    else
        few_sums(a, lda, panel, kpad, c, ldc, 4, accumulate, ask, turn, then);
}

static void few(const void *a, int64_t lda, const void *panels, int kpad, float *c, int64_t ldc, int rows, int cols, bool accumulate, const void *next)
{
    _Alignas(64) float edge[ROWS_MOST][PANEL];
    const size_t panel = (size_t)kpad * PANEL * sizeof(uint16_t);
    const int ahead = panel < AHEAD ? (int)panel : AHEAD;
    assert(rows >= 1 && rows <= ROWS_MOST);
    configure_few(rows);
    for (int j = 0; j < cols; j += PANEL) {
        const char *at = (const char *)panels + (size_t)(j / PANEL) * panel;
        const int turn = cols - j > PANEL ? kpad : kpad - ahead / STEP_BYTES * DEPTH, width = cols - j < PANEL ? cols - j : PANEL;
        if (width == PANEL) {
            few_panel_sums(a, lda, at, kpad, c + j, ldc, rows, accumulate, at + ahead, turn, next);
            continue;
        }
        for (int r = 0; accumulate && r < rows; r++)
            memcpy(edge[r], c + r * ldc + j, (size_t)width * sizeof *c);
        few_panel_sums(a, lda, at, kpad, edge[0], PANEL, rows, accumulate, at + ahead, turn, next);
        for (int r = 0; r < rows; r++)
            memcpy(c + r * ldc + j, edge[r], (size_t)width * sizeof *c);
    }
    tiles_release();
}

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 110,
    .block_flops = 300e6,
    .strip_flops = 1000e6,
    .strip_cols = BLOCK,
    .step_rows = BLOCK,
    .asks_ahead = true,
    .pack_nt = avx512bf16_pack_nt,
    .nn_cuts_blocks = true,
    .pack_nn = avx512bf16_pack_nn,
    .convert = avx512bf16_convert,
    .round_rows = avx512bf16_round_rows,
    .sum_block = sum_block,
    .few = few,
    .small = avx512bf16_small,
    .convert_small = avx512bf16_convert_small,
    .convert_transposed = avx512bf16_convert_transposed,
    .transpose_bf16 = avx512bf16_transpose_bf16,
    .softmax_tile = avx512bf16_softmax_tile,
    .softmax_gradient = avx512bf16_softmax_gradient,
};

const struct kernel_table *kernel_table_amx(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_amx(void)
{
    return NULL;
}
#endif
