/* matmul_avx512_pack.c - stored rows to bf16, and bf16 rows to panels, with AVX-512 F, BW, DQ and VL.
 *
 * A 4- or 5-bit block has 16 or 32 different values: they are computed once, rounded, and looked up by vpermw. The scales of up to 16
 * blocks are gathered and widened together. The transposition of 16 rows x 16 pairs loads quarters of rows into the lanes where they belong
 * and then needs only shuffles inside lanes.
 */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* f32 lanes whose upper halves are the bf16 value (round to nearest even; a NaN stays one). The lower halves are rubbish. */
INLINE __m512i round_upper(__m512 f)
{
    __m512i u = _mm512_castps_si512(f);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
}

/* The upper halves of 32 lanes, side by side. */
INLINE __m512i join_upper(__m512i low, __m512i high)
{
    const __m512i odd_words = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21,
                                               19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_permutex2var_epi16(low, odd_words, high);
}

INLINE __m512i bf16_of_floats(__m512 low, __m512 high)
{
    return join_upper(round_upper(low), round_upper(high));
}

INLINE __mmask16 low_lanes16(int n) { return n >= 16 ? (__mmask16)0xffff : n <= 0 ? (__mmask16)0 : (__mmask16)((1u << n) - 1); }
INLINE __mmask32 low_lanes32(int n) { return n >= 32 ? 0xffffffffu : (1u << n) - 1u; }

static void expand_f32(const unsigned char *src, int n, uint16_t *dst)
{
    for (int i = 0; i < n; i += 32) {
        __m512 low = _mm512_maskz_loadu_ps(low_lanes16(n - i), src + 4 * i);
        __m512 high = _mm512_maskz_loadu_ps(low_lanes16(n - i - 16), src + 4 * i + 64);
        _mm512_storeu_si512(dst + i, bf16_of_floats(low, high));
    }
}

static void expand_f16(const unsigned char *src, int n, uint16_t *dst)
{
    for (int i = 0; i < n; i += 32) {
        __m512i h = _mm512_maskz_loadu_epi16(low_lanes32(n - i), src + 2 * i);
        __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(h)), high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
        _mm512_storeu_si512(dst + i, bf16_of_floats(low, high));
    }
}

static void expand_bf16(const unsigned char *src, int n, uint16_t *dst)
{
    for (int i = 0; i < n; i += 32)
        _mm512_storeu_si512(dst + i, _mm512_maskz_loadu_epi16(low_lanes32(n - i), src + 2 * i));
}

/* Scale d and minimum m of the next (up to) 16 blocks. */
struct scales {
    float d[16], m[16];
};
INLINE void load_scales(struct scales *s, const unsigned char *src, int blocks, int block_bytes, bool has_min)
{
    __m512i at = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(block_bytes));
    __m512i h = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), low_lanes16(blocks), at, src, 1);
    _mm512_storeu_ps(s->d, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(h)));
    if (has_min)
        _mm512_storeu_ps(s->m, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(h, 16))));
}

/* Each of 16 values (as f32) in both words of its lane: then a lookup may ignore the lowest bit of its index. */
INLINE __m512i doubled_bf16(__m512 f)
{
    __m512i r = round_upper(f);
    return _mm512_ternarylogic_epi32(_mm512_srli_epi32(r, 16), r, _mm512_set1_epi32((int)0xffff0000), 0xf8); /* a | (b & c) */
}

/* 32 nibbles as words whose bits 1..4 are the value: byte j low for j < 16, high behind. */
INLINE __m512i nibble_index(const unsigned char *q)
{
    /* lanes 0 and 2 take bytes 0..7, 1 and 3 bytes 8..15, each in the upper half of a word */
    const __m512i spread = _mm512_set_epi8(
        15, -1, 14, -1, 13, -1, 12, -1, 11, -1, 10, -1, 9, -1, 8, -1, 7, -1, 6, -1, 5, -1, 4, -1, 3, -1, 2, -1, 1, -1, 0, -1,
        15, -1, 14, -1, 13, -1, 12, -1, 11, -1, 10, -1, 9, -1, 8, -1, 7, -1, 6, -1, 5, -1, 4, -1, 3, -1, 2, -1, 1, -1, 0, -1);
    const __m512i shift = _mm512_set_epi16(11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                                           7, 7, 7, 7, 7, 7);
    __m512i bytes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)q));
    return _mm512_srlv_epi16(_mm512_shuffle_epi8(bytes, spread), shift);
}

INLINE void expand_nibbles(const unsigned char *src, int n, uint16_t *dst, bool has_min)
{
    const int block_bytes = has_min ? 20 : 18, header = has_min ? 4 : 2;
    const float zero = has_min ? 0 : 8;
    const __m512 steps = _mm512_sub_ps(_mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_ps(zero));
    for (int i = 0; i < n; i += 32 * 16) {
        int blocks = (n - i) / 32 < 16 ? (n - i) / 32 : 16;
        struct scales s;
        load_scales(&s, src, blocks, block_bytes, has_min);
        for (int b = 0; b < blocks; b++, src += block_bytes) {
            __m512 f = _mm512_mul_ps(_mm512_set1_ps(s.d[b]), steps);
            if (has_min)
                f = _mm512_add_ps(f, _mm512_set1_ps(s.m[b]));
            _mm512_storeu_si512(dst + i + 32 * b, _mm512_permutexvar_epi16(nibble_index(src + header), doubled_bf16(f)));
        }
    }
}

INLINE void expand_five_bits(const unsigned char *src, int n, uint16_t *dst, bool has_min)
{
    const int block_bytes = has_min ? 24 : 22, header = has_min ? 4 : 2;
    const float zero = has_min ? 0 : 16;
    const __m512 low_steps = _mm512_sub_ps(_mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_ps(zero));
    const __m512 high_steps = _mm512_add_ps(low_steps, _mm512_set1_ps(16));
    for (int i = 0; i < n; i += 32 * 16) {
        int blocks = (n - i) / 32 < 16 ? (n - i) / 32 : 16;
        struct scales s;
        load_scales(&s, src, blocks, block_bytes, has_min);
        for (int b = 0; b < blocks; b++, src += block_bytes) {
            __m512 d = _mm512_set1_ps(s.d[b]), low = _mm512_mul_ps(d, low_steps), high = _mm512_mul_ps(d, high_steps);
            if (has_min) {
                __m512 m = _mm512_set1_ps(s.m[b]);
                low = _mm512_add_ps(low, m), high = _mm512_add_ps(high, m);
            }
            uint32_t fifth;
            memcpy(&fifth, src + header, 4);
            __m512i index = _mm512_and_si512(_mm512_srli_epi16(nibble_index(src + header + 4), 1), _mm512_set1_epi16(15));
            index = _mm512_mask_add_epi16(index, fifth, index, _mm512_set1_epi16(16));
            _mm512_storeu_si512(dst + i + 32 * b, _mm512_permutexvar_epi16(index, bf16_of_floats(low, high)));
        }
    }
}

static void expand_q8_0(const unsigned char *src, int n, uint16_t *dst)
{
    enum { BLOCK_BYTES = 34 };
    for (int i = 0; i < n; i += 32 * 16) {
        int blocks = (n - i) / 32 < 16 ? (n - i) / 32 : 16;
        struct scales s;
        load_scales(&s, src, blocks, BLOCK_BYTES, false);
        for (int b = 0; b < blocks; b++, src += BLOCK_BYTES) {
            __m512 d = _mm512_set1_ps(s.d[b]);
            __m512i low = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(src + 2)));
            __m512i high = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(src + 18)));
            _mm512_storeu_si512(dst + i + 32 * b, bf16_of_floats(_mm512_mul_ps(d, _mm512_cvtepi32_ps(low)),
                                                                 _mm512_mul_ps(d, _mm512_cvtepi32_ps(high))));
        }
    }
}

static void expand_q4_0(const unsigned char *src, int n, uint16_t *dst) { expand_nibbles(src, n, dst, false); }
static void expand_q4_1(const unsigned char *src, int n, uint16_t *dst) { expand_nibbles(src, n, dst, true); }
static void expand_q5_0(const unsigned char *src, int n, uint16_t *dst) { expand_five_bits(src, n, dst, false); }
static void expand_q5_1(const unsigned char *src, int n, uint16_t *dst) { expand_five_bits(src, n, dst, true); }

/* Any other type: through the plain expansion, whole blocks of up to 256. */
static void expand_through_f32(enum dtype type, const unsigned char *src, int n, uint16_t *dst)
{
    float buffer[KC];
    int block = dtype_block(type), whole = (n + block - 1) / block * block;
    assert(whole <= KC);
    dtype_to_f32(type, src, buffer, (size_t)whole);
    expand_f32((const unsigned char *)buffer, n, dst);
}

void avx512_expand(const struct mat *w, int64_t row, int64_t col, int n, uint16_t *dst)
{
    int block = dtype_block(w->type);
    assert(col % block == 0 && n <= KC);
    const unsigned char *src = (const unsigned char *)w->data + (size_t)row * w->row_bytes
                             + (size_t)(col / block) * dtype_block_bytes(w->type);
    switch (w->type) {
    case DT_F32: expand_f32(src, n, dst); break;
    case DT_F16: expand_f16(src, n, dst); break;
    case DT_BF16: expand_bf16(src, n, dst); break;
    case DT_Q4_0: expand_q4_0(src, n, dst); break;
    case DT_Q4_1: expand_q4_1(src, n, dst); break;
    case DT_Q5_0: expand_q5_0(src, n, dst); break;
    case DT_Q5_1: expand_q5_1(src, n, dst); break;
    case DT_Q8_0: expand_q8_0(src, n, dst); break;
    default: expand_through_f32(w->type, src, n, dst); break;
    }
}

/* 16 rows of 32 bf16 to 16 vectors; vector i holds pair i of every row. QUARTERS(r, c): eight values of the rows r, r + 4, r + 8, r + 12. */
INLINE void transpose_pairs(const uint16_t *const rows[16], int k, __m512i out[16])
{
#define QUARTERS(r, c)                                                                                                              \
    _mm512_mask_broadcast_i32x4(                                                                                                    \
        _mm512_mask_broadcast_i32x4(                                                                                                \
            _mm512_mask_broadcast_i32x4(_mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)(rows[r] + k + 8 * (c)))), \
                                        0x00f0, _mm_loadu_si128((const __m128i *)(const void *)(rows[(r) + 4] + k + 8 * (c)))),      \
            0x0f00, _mm_loadu_si128((const __m128i *)(const void *)(rows[(r) + 8] + k + 8 * (c)))),                                  \
        0xf000, _mm_loadu_si128((const __m128i *)(const void *)(rows[(r) + 12] + k + 8 * (c))))
#define FOUR(c)                                                                                                                     \
    do {                                                                                                                            \
        __m512i a = QUARTERS(0, c), b = QUARTERS(1, c), d = QUARTERS(2, c), e = QUARTERS(3, c);                                     \
        __m512i ab = _mm512_unpacklo_epi32(a, b), AB = _mm512_unpackhi_epi32(a, b);                                                 \
        __m512i de = _mm512_unpacklo_epi32(d, e), DE = _mm512_unpackhi_epi32(d, e);                                                 \
        out[4 * (c)] = _mm512_unpacklo_epi64(ab, de), out[4 * (c) + 1] = _mm512_unpackhi_epi64(ab, de);                             \
        out[4 * (c) + 2] = _mm512_unpacklo_epi64(AB, DE), out[4 * (c) + 3] = _mm512_unpackhi_epi64(AB, DE);                         \
    } while (0)
    FOUR(0);
    FOUR(1);
    FOUR(2);
    FOUR(3);
#undef FOUR
#undef QUARTERS
}

INLINE void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k, bool vnni)
{
    _Alignas(64) uint16_t buffer[16][KC];
    _Alignas(64) static const uint16_t nothing[KC];
    int kpad = (k + 31) & ~31;
    bool in_place = w->type == DT_BF16 && k % 32 == 0;
    for (int j = 0; j < n; j += PANEL) {
        const uint16_t *rows[16];
        for (int i = 0; i < 16; i++) {
            rows[i] = nothing;
            if (j + i >= n)
                continue;
            rows[i] = buffer[i];
            if (in_place)
                rows[i] = (const uint16_t *)(const void *)((const unsigned char *)w->data + (size_t)(n0 + j + i) * w->row_bytes) + k0;
            else
                avx512_expand(w, n0 + j + i, k0, k, buffer[i]);
        }
        size_t panel_words = (size_t)kpad * PANEL;
        for (int kk = 0; kk < kpad; kk += 32) {
            __m512i out[16];
            transpose_pairs(rows, kk, out);
            if (vnni) {
                uint16_t *to = (uint16_t *)panel + (size_t)(j / PANEL) * panel_words + (size_t)kk * PANEL;
                for (int i = 0; i < 16; i++)
                    _mm512_store_si512(to + 32 * i, out[i]);
            } else {
                float *to = (float *)panel + (size_t)(j / PANEL) * panel_words + (size_t)kk * PANEL;
                for (int i = 0; i < 16; i++) {
                    _mm512_store_si512(to + 32 * i, _mm512_slli_epi32(out[i], 16));
                    _mm512_store_si512(to + 32 * i + 16, _mm512_and_si512(out[i], _mm512_set1_epi32((int)0xffff0000)));
                }
            }
        }
    }
}

void avx512_pack_nt_vnni(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    pack_nt(panel, w, n0, n, k0, k, true);
}

void avx512_pack_nt_f32(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    pack_nt(panel, w, n0, n, k0, k, false);
}

INLINE void pack_nn(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k, bool vnni)
{
    const __m512i low_pairs = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                               35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high_pairs = _mm512_add_epi16(low_pairs, _mm512_set1_epi16(16));
    _Alignas(64) uint16_t buffer[2][256 + 32];
    assert(n <= 256);
    int kpad = (k + 31) & ~31;
    size_t panel_words = (size_t)kpad * PANEL;
    for (int kk = 0; kk < kpad; kk += 2) {
        for (int i = 0; i < 2; i++) {
            if (kk + i < k)
                avx512_expand(w, k0 + kk + i, n0, n, buffer[i]);
            else
                memset(buffer[i], 0, sizeof buffer[i]);
        }
        for (int j = 0; j < n; j += 2 * PANEL) {
            __m512i a = _mm512_load_si512(buffer[0] + j), b = _mm512_load_si512(buffer[1] + j);
            __m512i low = _mm512_permutex2var_epi16(a, low_pairs, b), high = _mm512_permutex2var_epi16(a, high_pairs, b);
            bool second = j + PANEL < n; /* the last panel may stand alone */
            if (vnni) {
                uint16_t *to = (uint16_t *)panel + (size_t)(j / PANEL) * panel_words + (size_t)kk * PANEL;
                _mm512_store_si512(to, low);
                if (second)
                    _mm512_store_si512(to + panel_words, high);
            } else {
                const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
                float *to = (float *)panel + (size_t)(j / PANEL) * panel_words + (size_t)kk * PANEL;
                _mm512_store_si512(to, _mm512_slli_epi32(low, 16));
                _mm512_store_si512(to + PANEL, _mm512_and_si512(low, upper));
                if (second) {
                    _mm512_store_si512(to + panel_words, _mm512_slli_epi32(high, 16));
                    _mm512_store_si512(to + panel_words + PANEL, _mm512_and_si512(high, upper));
                }
            }
        }
    }
}

void avx512_pack_nn_vnni(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    pack_nn(panel, w, n0, n, k0, k, true);
}

void avx512_pack_nn_f32(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    pack_nn(panel, w, n0, n, k0, k, false);
}

void avx512_convert_bf16(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *to = (uint16_t *)dst + r * ld;
        for (int64_t i = 0; i < kpad; i += 32) {
            int left = (int)(k - i < 32 ? k - i : 32);
            __m512 low = _mm512_maskz_loadu_ps(low_lanes16(left), src + r * lds + i);
            __m512 high = _mm512_maskz_loadu_ps(low_lanes16(left - 16), src + r * lds + i + 16);
            _mm512_storeu_si512(to + i, bf16_of_floats(low, high));
        }
    }
}

void avx512_convert_f32(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        float *to = (float *)dst + r * ld;
        for (int64_t i = 0; i < kpad; i += 16) {
            __m512 f = _mm512_maskz_loadu_ps(low_lanes16((int)(k - i < 16 ? k - i : 16)), src + r * lds + i);
            _mm512_storeu_si512(to + i, _mm512_and_si512(round_upper(f), _mm512_set1_epi32((int)0xffff0000)));
        }
    }
}

/* Rounded, and each group of 32 as 16 even, then 16 odd elements: as a vector of bf16 pairs splits. */
void avx512_convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows, int64_t k)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    for (int r = 0; r < rows; r++) {
        for (int64_t i = 0; i < k; i += 32) {
            int left = (int)(k - i < 32 ? k - i : 32);
            __m512i low = round_upper(_mm512_maskz_loadu_ps(low_lanes16(left), src + r * lds + i));
            __m512i high = round_upper(_mm512_maskz_loadu_ps(low_lanes16(left - 16), src + r * lds + i + 16));
            __m512i evens = _mm512_permutex2var_epi32(low, even, high);
            __m512i odds = _mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high);
            _mm512_storeu_si512(dst + r * ld + i, _mm512_and_si512(evens, upper));
            _mm512_storeu_si512(dst + r * ld + i + 16, _mm512_and_si512(odds, upper));
        }
    }
}
#endif
