/* matmul_avx2.c - the family avx2 (with FMA and F16C): f32 panels that hold bf16 values, 6 rows x
 * 16 columns of sums in registers. */
#include "engine/kernel/table.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "engine/kernel/dtype_private.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define GM_VW 8
#include "engine/kernel/ops_vec.inc"
#include "engine/kernel/head_rows.inc"

#define INLINE static inline __attribute__((always_inline))

/* Rounds to bf16 (nearest even, a NaN stays one), the value again as f32. */
INLINE __m256 rounded(__m256 f)
{
    __m256i u = _mm256_castps_si256(f);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256 value = _mm256_castsi256_ps(_mm256_and_si256(r, _mm256_set1_epi32((int)0xffff0000)));
    return _mm256_blendv_ps(value, f, _mm256_cmp_ps(f, f, _CMP_UNORD_Q));
}

INLINE __m256i load_32(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE __m256i ints_of_bytes(const unsigned char *q8)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q8));
}

INLINE float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

/* 8 small unsigned numbers q to rounded d * (q - zero) + m. */
INLINE __m256 scaled(__m256i q, float d, float m, float zero, bool has_min)
{
    __m256 f = _mm256_mul_ps(_mm256_set1_ps(d),
                             _mm256_sub_ps(_mm256_cvtepi32_ps(q), _mm256_set1_ps(zero)));
    return rounded(has_min ? _mm256_add_ps(f, _mm256_set1_ps(m)) : f);
}

/* The values of 16 codes, computed once ... */
struct levels {
    __m256 low, high;
};
INLINE struct levels levels_of(float d, float m, float zero, bool has_min)
{
    const __m256i first = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return (struct levels){scaled(first, d, m, zero, has_min),
                           scaled(_mm256_add_epi32(first, _mm256_set1_epi32(8)), d, m, zero, has_min)};
}

/* ... and looked up by the low 4 bits of 32 bytes. */
INLINE void look_up(struct levels t, const unsigned char q[32], float *dst)
{
    for (int i = 0; i < 32; i += 8) {
        __m256i index = ints_of_bytes(q + i);
        _mm256_storeu_ps(dst + i,
                         _mm256_blendv_ps(_mm256_permutevar8x32_ps(t.low, index),
                                          _mm256_permutevar8x32_ps(t.high, index),
                                          _mm256_castsi256_ps(_mm256_slli_epi32(index, 28))));
    }
}

/* Low nibbles of 16 bytes, then the high ones (with rubbish above them). */
INLINE void split_nibbles(const unsigned char *src, unsigned char q[32])
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)src);
    _mm_storeu_si128((__m128i *)(void *)q, bytes);
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm_srli_epi16(bytes, 4));
}

INLINE void expand_nibbles(const unsigned char *src, int n, float *dst, bool has_min)
{
    unsigned char q[32];
    const int header = has_min ? 4 : 2;
    for (int i = 0; i < n; i += 32, src += header + 16) {
        split_nibbles(src + header, q);
        look_up(levels_of(half_at(src), has_min ? half_at(src + 2) : 0, has_min ? 0 : 8, has_min), q,
                dst + i);
    }
}

INLINE struct levels levels_times(float scale, const signed char levels[16])
{
    __m256 d = _mm256_set1_ps(scale), half[2];
    for (int i = 0; i < 2; i++)
        half[i] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
            _mm_loadl_epi64((const __m128i *)(const void *)(levels + 8 * i))));
    return (struct levels){rounded(_mm256_mul_ps(d, half[0])), rounded(_mm256_mul_ps(d, half[1]))};
}

static void expand_iq4_nl(const unsigned char *src, int n, float *dst)
{
    unsigned char q[32];
    for (int i = 0; i < n; i += 32, src += 18) {
        split_nibbles(src + 2, q);
        look_up(levels_times(half_at(src), dtype_iq4_levels), q, dst + i);
    }
}

static void expand_iq4_xs(const unsigned char *src, int n, float *dst)
{
    unsigned char q[32];
    for (int i = 0; i < n; i += 256, src += 136) {
        for (int s = 0; s < 8; s++) {
            split_nibbles(src + 8 + 16 * s, q);
            look_up(levels_times(half_at(src) * (float)dtype_iq4_xs_scale(src, s), dtype_iq4_levels), q,
                    dst + i + 32 * s);
        }
    }
}

static void expand_mxfp4(const unsigned char *src, int n, float *dst)
{
    unsigned char q[32];
    for (int i = 0; i < n; i += 32, src += 17) {
        split_nibbles(src + 1, q);
        look_up(levels_times(dtype_e8m0_half(src[0]), dtype_e2m1_doubled), q, dst + i);
    }
}

INLINE void expand_five_bits(const unsigned char *src, int n, float *dst, bool has_min)
{
    unsigned char q[32];
    const int header = has_min ? 4 : 2;
    for (int i = 0; i < n; i += 32, src += header + 20) {
        uint32_t fifth;
        split_nibbles(src + header + 4, q);
        memcpy(&fifth, src + header, 4);
        for (int j = 0; j < 32; j++)
            q[j] = (unsigned char)((q[j] & 15) | (fifth >> j & 1u) << 4);
        for (int j = 0; j < 32; j += 8)
            _mm256_storeu_ps(dst + i + j, scaled(ints_of_bytes(q + j), half_at(src),
                                                 has_min ? half_at(src + 2) : 0, has_min ? 0 : 16,
                                                 has_min));
    }
}

static void expand_q8_0(const unsigned char *src, int n, float *dst)
{
    for (int i = 0; i < n; i += 32, src += 34) {
        __m256 d = _mm256_set1_ps(half_at(src));
        for (int j = 0; j < 32; j += 8) {
            __m256i q =
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(src + 2 + j)));
            _mm256_storeu_ps(dst + i + j, rounded(_mm256_mul_ps(d, _mm256_cvtepi32_ps(q))));
        }
    }
}

/* Q4_K, Q5_K: two sub-blocks of 32 share 32 bytes of low bits; bit s of 32 bytes is the fifth of
 * sub-block s. */
INLINE void expand_k45(const unsigned char *src, int n, float *dst, bool five)
{
    const __m256i low_bits = _mm256_set1_epi8(15), one = _mm256_set1_epi8(1);
    for (int i = 0; i < n; i += 256, src += five ? 176 : 144) {
        float d = half_at(src), dmin = half_at(src + 2);
        const __m256i fifth = load_32(src + 16);
        unsigned char scales[8], mins[8];
        dtype_sub_scales(src + 4, scales, mins);
        for (int s = 0; s < 8; s++) {
            _Alignas(32) unsigned char codes[32];
            float scale = d * (float)scales[s], low = -(dmin * (float)mins[s]), *to = dst + i + 32 * s;
            __m256i q = load_32(src + (five ? 48 : 16) + s / 2 * 32);
            q = s % 2 ? _mm256_srli_epi16(q, 4) : q;
            if (five) {
                __m256i bit = _mm256_and_si256(_mm256_srl_epi16(fifth, _mm_cvtsi32_si128(s)), one);
                q = _mm256_or_si256(_mm256_and_si256(q, low_bits), _mm256_slli_epi16(bit, 4));
            }
            _mm256_store_si256((__m256i *)(void *)codes, q);
            if (!five)
                look_up(levels_of(scale, low, 0, true), codes, to);
            for (int j = 0; five && j < 32; j += 8)
                _mm256_storeu_ps(to + j, scaled(ints_of_bytes(codes + j), scale, low, 0, true));
        }
    }
}

/* Halves of 128: part p of 32 takes nibbles of ql and bits 2p of qh; 16 values share a scale. */
static void expand_q6_k(const unsigned char *src, int n, float *dst)
{
    const __m256i low_bits = _mm256_set1_epi8(15), high_bits = _mm256_set1_epi8(3);
    for (int i = 0; i < n; i += 256, src += 210) {
        float d = half_at(src + 208);
        for (int part = 0; part < 8; part++) {
            _Alignas(32) unsigned char codes[32];
            int half = part / 4, p = part % 4;
            __m256i low = load_32(src + 64 * half + p % 2 * 32), high = load_32(src + 128 + 32 * half);
            low = _mm256_and_si256(p >= 2 ? _mm256_srli_epi16(low, 4) : low, low_bits);
            high = _mm256_and_si256(_mm256_srl_epi16(high, _mm_cvtsi32_si128(2 * p)), high_bits);
            _mm256_store_si256((__m256i *)(void *)codes,
                               _mm256_or_si256(low, _mm256_slli_epi16(high, 4)));
            for (int j = 0; j < 32; j += 8)
                _mm256_storeu_ps(dst + i + 32 * part + j,
                                 scaled(ints_of_bytes(codes + j),
                                        d * (float)(signed char)src[192 + 2 * part + j / 16], 0, 32, false));
        }
    }
}

INLINE float value_at(const void *values, enum dtype type, size_t i)
{
    const unsigned char *at = (const unsigned char *)values + i * (type == DT_F32 ? 4 : 2);
    uint32_t u = 0;
    float f;
    if (type == DT_F16)
        return half_at(at);
    if (type == DT_F32)
        memcpy(&u, at, 4);
    else
        memcpy((unsigned char *)&u + 2, at, 2);
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Eight codes of a run of other widths than 4 and 8: four are shifted out of each half. */
INLINE __m256i codes_of_bits(const unsigned char *run, int i, const int bits)
{
    uint64_t eight = dtype_mlx_eight(run, i, bits);
    __m256i fours = _mm256_set_m128i(_mm_set1_epi32((int)(eight >> 4 * bits)), _mm_set1_epi32((int)eight));
    const __m256i shifts = _mm256_mullo_epi32(_mm256_set_epi32(3, 2, 1, 0, 3, 2, 1, 0),
                                              _mm256_set1_epi32(bits));
    return _mm256_and_si256(_mm256_srlv_epi32(fours, shifts), _mm256_set1_epi32((1 << bits) - 1));
}

/* Nibbles of 16 bytes, of a pair the low one first (rubbish above). */
INLINE void split_pairs(const unsigned char *src, unsigned char q[32])
{
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)src), high = _mm_srli_epi16(low, 4);
    _mm_storeu_si128((__m128i *)(void *)q, _mm_unpacklo_epi8(low, high));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm_unpackhi_epi8(low, high));
}

static void expand_mlx_fp4(const struct mat *w, int64_t row, int64_t col, int n, float *dst)
{
    const unsigned char *src = (const unsigned char *)w->data + (size_t)row * w->row_bytes + col / 2,
                        *scales = (const unsigned char *)w->scales + row * (w->cols / w->group);
    unsigned char q[32];
    for (int i = 0; i < n; i += 32, src += 16) { /* powers of two: exact in any order */
        split_pairs(src, q);
        look_up(levels_times(0.5f * dtype_e8m0(scales[(col + i) / w->group]), dtype_e2m1_doubled), q,
                dst + i);
    }
}

INLINE void expand_mlx(const struct mat *w, int64_t row, int64_t col, int n, float *dst,
                       const int bits)
{
    const unsigned char *src =
        (const unsigned char *)w->data + (size_t)row * w->row_bytes + (size_t)(col * bits / 8);
    size_t group = (size_t)(row * (w->cols / w->group) + col / w->group);
    int left = w->group - (int)(col % w->group); /* of this group */
    for (int i = 0; i < n; group++, left = w->group) {
        float scale = value_at(w->scales, w->scale_type, group),
              bias = value_at(w->biases, w->scale_type, group);
        const struct levels levels = levels_of(scale, bias, 0, true);
        for (; left > 0 && i < n; left -= 32, i += 32, src += 4 * bits) {
            if (bits == 4) {
                unsigned char codes[32];
                split_pairs(src, codes);
                look_up(levels, codes, dst + i);
                continue;
            }
            for (int j = 0; j < 4; j++) {
                __m256i q = bits == 8 ? ints_of_bytes(src + 8 * j) : codes_of_bits(src, j, bits);
                _mm256_storeu_ps(dst + i + 8 * j, scaled(q, scale, bias, 0, true));
            }
        }
    }
}

/* The element types: whole vectors; says how many values that were. */
INLINE int expand_elements(enum dtype type, const unsigned char *src, int n, float *dst)
{
    int i = 0;
    if (type == DT_F32) {
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(dst + i,
                             rounded(_mm256_loadu_ps((const float *)(const void *)(src + 4 * i))));
    } else if (type == DT_F16) {
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(dst + i, rounded(_mm256_cvtph_ps(_mm_loadu_si128(
                                          (const __m128i *)(const void *)(src + 2 * i)))));
    } else if (type == DT_BF16) {
        for (; i + 8 <= n; i += 8) {
            __m256i h = _mm256_cvtepu16_epi32(
                _mm_loadu_si128((const __m128i *)(const void *)(src + 2 * i)));
            _mm256_storeu_si256((__m256i *)(void *)(dst + i), _mm256_slli_epi32(h, 16));
        }
    }
    return i;
}

/* n values of a row from column col (a block border) on, rounded; zeros up to a multiple of 32. */
static void expand(const struct mat *w, int64_t row, int64_t col, int n, float *dst)
{
    int block = dtype_block(w->type), done = n;
    assert(col % block == 0 && n <= KC);
    const unsigned char *src = (const unsigned char *)w->data + (size_t)row * w->row_bytes +
                               (size_t)(col / block) * dtype_block_bytes(w->type);
    switch (w->type) {
    case DT_Q4_0:
        expand_nibbles(src, n, dst, false);
        break;
    case DT_Q4_1:
        expand_nibbles(src, n, dst, true);
        break;
    case DT_Q5_0:
        expand_five_bits(src, n, dst, false);
        break;
    case DT_Q5_1:
        expand_five_bits(src, n, dst, true);
        break;
    case DT_Q8_0:
        expand_q8_0(src, n, dst);
        break;
    case DT_Q4_K:
        expand_k45(src, n, dst, false);
        break;
    case DT_Q5_K:
        expand_k45(src, n, dst, true);
        break;
    case DT_Q6_K:
        expand_q6_k(src, n, dst);
        break;
    case DT_IQ4_NL:
        expand_iq4_nl(src, n, dst);
        break;
    case DT_IQ4_XS:
        expand_iq4_xs(src, n, dst);
        break;
    case DT_MXFP4:
        expand_mxfp4(src, n, dst);
        break;
    case DT_MLX_FP4:
        expand_mlx_fp4(w, row, col, n, dst);
        break;
    case DT_MLX2:
        expand_mlx(w, row, col, n, dst, 2);
        break;
    case DT_MLX3:
        expand_mlx(w, row, col, n, dst, 3);
        break;
    case DT_MLX4:
        expand_mlx(w, row, col, n, dst, 4);
        break;
    case DT_MLX5:
        expand_mlx(w, row, col, n, dst, 5);
        break;
    case DT_MLX6:
        expand_mlx(w, row, col, n, dst, 6);
        break;
    case DT_MLX8:
        expand_mlx(w, row, col, n, dst, 8);
        break;
    default:
        done = expand_elements(w->type, src, n, dst);
        break;
    }
    if (done < n) { /* the rest of a row of elements, and every type that has no code above */
        mat_part_to_f32(w, row, col + done, n - done, dst + done);
        for (int i = done; i < n; i++)
            dst[i] = bf16_to_f32(f32_to_bf16(dst[i]));
    }
    for (int i = n; i < ((n + 31) & ~31); i++)
        dst[i] = 0;
}

/* 8 rows x 8 columns, transposed to rows of a panel. */
INLINE void transpose_8(const float *const rows[8], int k, float *panel)
{
    __m256 r[8], s[8];
    for (int i = 0; i < 8; i++) /* rows i and i+4 side by side: the rest stays inside lanes */
        r[i] =
            _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i % 4] + k + i / 4 * 4)),
                                 _mm_loadu_ps(rows[i % 4 + 4] + k + i / 4 * 4), 1);
    for (int h = 0; h < 8; h += 4) {
        __m256 ab = _mm256_unpacklo_ps(r[h], r[h + 1]), AB = _mm256_unpackhi_ps(r[h], r[h + 1]);
        __m256 cd = _mm256_unpacklo_ps(r[h + 2], r[h + 3]),
               CD = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
        s[h] = _mm256_shuffle_ps(ab, cd, 0x44), s[h + 1] = _mm256_shuffle_ps(ab, cd, 0xee);
        s[h + 2] = _mm256_shuffle_ps(AB, CD, 0x44), s[h + 3] = _mm256_shuffle_ps(AB, CD, 0xee);
    }
    for (int i = 0; i < 8; i++)
        _mm256_store_ps(panel + (size_t)i * PANEL, s[i]);
}

static void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    _Alignas(32) float buffer[8][KC];
    _Alignas(32) static const float nothing[KC];
    int kpad = (k + 31) & ~31;
    for (int j = 0; j < (n + PANEL - 1) / PANEL * PANEL; j += 8) {
        const float *rows[8];
        for (int i = 0; i < 8; i++) {
            rows[i] = nothing;
            if (j + i < n) {
                expand(w, n0 + j + i, k0, k, buffer[i]);
                rows[i] = buffer[i];
            }
        }
        float *to = (float *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + j % PANEL;
        for (int kk = 0; kk < kpad; kk += 8)
            transpose_8(rows, kk, to + (size_t)kk * PANEL);
    }
}

static void pack_nn(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    int kpad = (k + 31) & ~31, columns = (n + PANEL - 1) / PANEL * PANEL;
    float row[256 + 32] = {0};
    assert(n <= 256);
    for (int i = 0; i < kpad; i++) {
        if (i < k)
            expand(w, k0 + i, n0, n, row);
        else
            memset(row, 0, sizeof row);
        for (int j = 0; j < columns; j += PANEL)
            memcpy((float *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + (size_t)i * PANEL,
                   row + j, PANEL * sizeof *row);
    }
}

static void convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k,
                    int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        float *to = (float *)dst + r * ld;
        const float *from = src + r * lds;
        int64_t i = 0;
        for (; i + 8 <= k; i += 8)
            _mm256_storeu_ps(to + i, rounded(_mm256_loadu_ps(from + i)));
        for (; i < k; i++)
            to[i] = bf16_to_f32(f32_to_bf16(from[i]));
        for (; i < kpad; i++)
            to[i] = 0;
    }
}

enum { ROWS = 6 };

/* 6 rows x 1 panel. Rows behind the last are the last one again, not stored. */
static void tile(const float *a, int64_t lda, const float *b, int kpad, float *c, int64_t ldc,
                 int rows, int cols, bool accumulate)
{
    const float *row[ROWS];
    __m256 low[ROWS], high[ROWS];
    float edge[ROWS][PANEL] = {{0}};
    bool full = cols >= PANEL;
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        row[r] = a + (r < rows ? r : rows - 1) * lda;
        if (accumulate && r < rows)
            memcpy(edge[r], c + r * ldc, (size_t)(full ? PANEL : cols) * sizeof(float));
        low[r] = _mm256_loadu_ps(edge[r]);
        high[r] = _mm256_loadu_ps(edge[r] + 8);
    }
    for (int k = 0; k < kpad; k++, b += PANEL) {
        __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            __m256 x = _mm256_broadcast_ss(row[r] + k);
            low[r] = _mm256_fmadd_ps(x, b0, low[r]);
            high[r] = _mm256_fmadd_ps(x, b1, high[r]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        _mm256_storeu_ps(edge[r], low[r]);
        _mm256_storeu_ps(edge[r] + 8, high[r]);
    }
    for (int r = 0; r < rows; r++)
        memcpy(c + r * ldc, edge[r], (size_t)(full ? PANEL : cols) * sizeof(float));
}

static void multiply(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc,
                     int rows, int cols, bool accumulate)
{
    for (int j = 0; j < cols; j += PANEL) {
        const float *b = (const float *)panel + (size_t)j * (size_t)kpad;
        for (int r = 0; r < rows; r += ROWS)
            tile((const float *)a + r * lda, lda, b, kpad, c + r * ldc + j, ldc,
                 rows - r < ROWS ? rows - r : ROWS, cols - j, accumulate);
    }
}

static void convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows,
                          int64_t k)
{
    convert(dst, ld, src, lds, rows, k, ld);
}

enum { SMALL_W = 2 };

INLINE float lane_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/* Two rows of w with T <= 4 rows of x. */
INLINE void small_rows(float *y, int64_t ldy, const float *x, int64_t ldx, const int T,
                       const struct mat *w, int64_t first, int n, bool accumulate)
{
    _Alignas(32) float values[SMALL_W][SMALL_STRETCH];
    __m256 sum[SMALL_W][SMALL_ROWS];
    for (int r = 0; r < SMALL_W; r++) {
        for (int t = 0; t < T; t++)
            sum[r][t] = _mm256_setzero_ps();
    }
    for (int64_t k0 = 0; k0 < w->cols; k0 += SMALL_STRETCH) {
        int k = w->cols - k0 < SMALL_STRETCH ? (int)(w->cols - k0) : SMALL_STRETCH;
        for (int r = 0; r < SMALL_W; r++)
            expand(w, first + (r < n ? r : n - 1), k0, k, values[r]);
        for (int i = 0; i < k; i += 8) {
#pragma GCC unroll 2
            for (int r = 0; r < SMALL_W; r++) {
                __m256 v = _mm256_load_ps(values[r] + i);
#pragma GCC unroll 4
                for (int t = 0; t < T; t++)
                    sum[r][t] =
                        _mm256_fmadd_ps(v, _mm256_loadu_ps(x + t * ldx + k0 + i), sum[r][t]);
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int t = 0; t < T; t++) {
            float *to = y + t * ldy + first + r, total = lane_sum(sum[r][t]);
            *to = accumulate ? *to + total : total;
        }
    }
}

static void small(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w,
                  int64_t n0, int n, bool accumulate)
{
    for (int i = 0; i < n; i += SMALL_W) {
        int have = n - i < SMALL_W ? n - i : SMALL_W;
        switch (T) {
        case 1:
            small_rows(y, ldy, x, ldx, 1, w, n0 + i, have, accumulate);
            break;
        case 2:
            small_rows(y, ldy, x, ldx, 2, w, n0 + i, have, accumulate);
            break;
        case 3:
            small_rows(y, ldy, x, ldx, 3, w, n0 + i, have, accumulate);
            break;
        default:
            small_rows(y, ldy, x, ldx, 4, w, n0 + i, have, accumulate);
            break;
        }
    }
}

static const struct kernel_table table = {
    .vnni = false,
    .pack_cost = 10,
    .block_flops = 25e6,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .convert = convert,
    .multiply = multiply,
    .small = small,
    .convert_small = convert_small,
    .softmax_row = softmax_row,
    .scale_row = scale_row,
};

const struct kernel_table *kernel_table_avx2(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_avx2(void)
{
    return NULL;
}
#endif
