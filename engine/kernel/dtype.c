/* dtype.c - sizes of the storage types and their exact expansion to f32.
 *
 * Block layouts are those of GGUF (ggml): 32 values share an f16 scale d, some also an f16 minimum
 * m. In the 4- and 5-bit types value j of a block lies in the low half of byte j, value j+16 in the
 * high half. K types have blocks of 256 with packed scales. Files are little-endian, and so is
 * every processor this program runs on (asserted below at compile time).
 *
 * Threads: any; no state.
 */
#include "engine/kernel/dtype.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "stored tensors are read as they lie in the file");

struct type_fact {
    const char *name;
    int block;
    size_t block_bytes;
};
static const struct type_fact facts[DT_COUNT] = {
    [DT_F32] = {"F32", 1, 4},
    [DT_F16] = {"F16", 1, 2},
    [DT_BF16] = {"BF16", 1, 2},
    [DT_Q4_0] = {"Q4_0", 32, 18},
    [DT_Q4_1] = {"Q4_1", 32, 20},
    [DT_Q5_0] = {"Q5_0", 32, 22},
    [DT_Q5_1] = {"Q5_1", 32, 24},
    [DT_Q8_0] = {"Q8_0", 32, 34},
    [DT_Q2_K] = {"Q2_K", 256, 84},
    [DT_Q3_K] = {"Q3_K", 256, 110},
    [DT_Q4_K] = {"Q4_K", 256, 144},
    [DT_Q5_K] = {"Q5_K", 256, 176},
    [DT_Q6_K] = {"Q6_K", 256, 210},
    [DT_IQ4_NL] = {"IQ4_NL", 32, 18},
    [DT_IQ4_XS] = {"IQ4_XS", 256, 136},
    [DT_MXFP4] = {"MXFP4", 32, 17},
    [DT_I8] = {"I8", 1, 1},
    [DT_U8] = {"U8", 1, 1},
    [DT_I16] = {"I16", 1, 2},
    [DT_I32] = {"I32", 1, 4},
    [DT_I64] = {"I64", 1, 8},
    [DT_F64] = {"F64", 1, 8},
    [DT_BOOL] = {"BOOL", 1, 1},
    [DT_U16] = {"U16", 1, 2},
    [DT_U32] = {"U32", 1, 4},
    [DT_U64] = {"U64", 1, 8},
    [DT_MLX2] = {"MLX2", 32, 8},
    [DT_MLX3] = {"MLX3", 32, 12},
    [DT_MLX4] = {"MLX4", 32, 16},
    [DT_MLX5] = {"MLX5", 32, 20},
    [DT_MLX6] = {"MLX6", 32, 24},
    [DT_MLX8] = {"MLX8", 32, 32},
    [DT_MLX_FP4] = {"MLX_FP4", 32, 16},
};

static const struct type_fact *fact(enum dtype t)
{
    assert((unsigned)t < DT_COUNT);
    return &facts[t];
}

const char *dtype_name(enum dtype t)
{
    return fact(t)->name;
}

int dtype_block(enum dtype t)
{
    return fact(t)->block;
}

size_t dtype_block_bytes(enum dtype t)
{
    return fact(t)->block_bytes;
}

bool dtype_row_bytes(enum dtype t, size_t n, size_t *bytes)
{
    const struct type_fact *f = fact(t);
    if (n % (size_t)f->block != 0)
        return false;
    return !__builtin_mul_overflow(n / (size_t)f->block, f->block_bytes, bytes);
}

/* The bits of the half, moved to where a float keeps them, are the value times 2^-112: also for
 * subnormal halves. */
float f16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)(h & 0x7fffu) << 13};
    v.f *= 0x1p112f;
    if ((h & 0x7c00u) == 0x7c00u)
        v.u |= 0x7f800000u;
    v.u |= (uint32_t)(h & 0x8000u) << 16;
    return v.f;
}

uint16_t f32_to_f16(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    uint32_t sign = v.u >> 16 & 0x8000u;
    v.u &= 0x7fffffffu;
    if (v.u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (v.u >> 13 & 0x1ffu));
    if (v.u >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (v.u < 0x38800000u) { /* below 2^-14: adding 0.5 makes the processor round at 2^-24, the last
                                bit of a subnormal half */
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3f000000u));
    }
    v.u += 0xfffu + (v.u >> 13 & 1u);
    return (uint16_t)(sign | ((v.u - 0x38000000u) >> 13));
}

static inline float load_f16(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return f16_to_f32(h);
}

static inline uint32_t load_u32(const unsigned char *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

static void expand_q4(const unsigned char *b, float *dst, bool has_min)
{
    float d = load_f16(b), m = has_min ? load_f16(b + 2) : 0.0f;
    const unsigned char *q = b + (has_min ? 4 : 2);
    int zero = has_min ? 0 : 8;
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)((q[j] & 15) - zero) + m;
        dst[j + 16] = d * (float)((q[j] >> 4) - zero) + m;
    }
}

static void expand_q5(const unsigned char *b, float *dst, bool has_min)
{
    float d = load_f16(b), m = has_min ? load_f16(b + 2) : 0.0f;
    b += has_min ? 4 : 2;
    uint32_t high = load_u32(b);
    const unsigned char *q = b + 4;
    int zero = has_min ? 0 : 16;
    for (int j = 0; j < 16; j++) {
        int low = (q[j] & 15) | (int)(high >> j & 1u) << 4;
        int top = (q[j] >> 4) | (int)(high >> (j + 16) & 1u) << 4;
        dst[j] = d * (float)(low - zero) + m;
        dst[j + 16] = d * (float)(top - zero) + m;
    }
}

static void expand_q8(const unsigned char *b, float *dst)
{
    float d = load_f16(b);
    for (int j = 0; j < 32; j++)
        dst[j] = d * (float)(signed char)b[2 + j];
}

static void expand_iq4_nl(const unsigned char *b, float *dst)
{
    static const signed char levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                           1,    13,   25,  38,  53,  69,  89,  113};
    float d = load_f16(b);
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)levels[b[2 + j] & 15];
        dst[j + 16] = d * (float)levels[b[2 + j] >> 4];
    }
}

/* Scale and minimum of sub-block s of Q4_K and Q5_K: 6 bits each, packed in 12 bytes. */
static void sub_scales(const unsigned char *sc, int s, float *scale, float *min)
{
    if (s < 4) {
        *scale = (float)(sc[s] & 63);
        *min = (float)(sc[s + 4] & 63);
    } else {
        *scale = (float)((sc[s + 4] & 15) | (sc[s - 4] >> 6) << 4);
        *min = (float)((sc[s + 4] >> 4) | (sc[s] >> 6) << 4);
    }
}

/* 8 sub-blocks of 32; two of them share 32 bytes of low bits, all share the 32 bytes of fifth bits
 * (NULL in Q4_K). */
static void expand_k45(const unsigned char *b, const unsigned char *fifth, const unsigned char *q,
                       float *dst)
{
    float d = load_f16(b), dmin = load_f16(b + 2);
    for (int s = 0; s < 8; s++) {
        float scale, min;
        sub_scales(b + 4, s, &scale, &min);
        scale *= d;
        min *= dmin;
        for (int l = 0; l < 32; l++) {
            int value = s % 2 ? q[s / 2 * 32 + l] >> 4 : q[s / 2 * 32 + l] & 15;
            if (fifth)
                value |= (fifth[l] >> s & 1) << 4;
            dst[32 * s + l] = scale * (float)value - min;
        }
    }
}

/* Two halves of 128: values l, l+32, l+64, l+96 take 4 low bits from ql and 2 high bits from one
 * byte of qh. */
static void expand_q6_k(const unsigned char *b, float *dst)
{
    float d = load_f16(b + 208);
    for (int half = 0; half < 2; half++) {
        const unsigned char *ql = b + 64 * half, *qh = b + 128 + 32 * half;
        const signed char *sc = (const signed char *)b + 192 + 8 * half;
        for (int part = 0; part < 4; part++) {
            for (int l = 0; l < 32; l++) {
                int low = ql[l + part % 2 * 32],
                    value = (part < 2 ? low & 15 : low >> 4) | (qh[l] >> 2 * part & 3) << 4;
                dst[128 * half + 32 * part + l] =
                    d * (float)sc[l / 16 + 2 * part] * (float)(value - 32);
            }
        }
    }
}

bool dtype_is_weight(enum dtype t)
{
    switch (t) {
    case DT_F32:
    case DT_F16:
    case DT_BF16:
    case DT_Q4_0:
    case DT_Q4_1:
    case DT_Q5_0:
    case DT_Q5_1:
    case DT_Q8_0:
    case DT_Q4_K:
    case DT_Q5_K:
    case DT_Q6_K:
    case DT_IQ4_NL:
        return true;
    default:
        return false;
    }
}

static void expand_block(enum dtype t, const unsigned char *b, float *dst)
{
    switch (t) {
    case DT_Q4_0:
        expand_q4(b, dst, false);
        break;
    case DT_Q4_1:
        expand_q4(b, dst, true);
        break;
    case DT_Q5_0:
        expand_q5(b, dst, false);
        break;
    case DT_Q5_1:
        expand_q5(b, dst, true);
        break;
    case DT_Q8_0:
        expand_q8(b, dst);
        break;
    case DT_IQ4_NL:
        expand_iq4_nl(b, dst);
        break;
    case DT_Q4_K:
        expand_k45(b, NULL, b + 16, dst);
        break;
    case DT_Q5_K:
        expand_k45(b, b + 16, b + 48, dst);
        break;
    case DT_Q6_K:
        expand_q6_k(b, dst);
        break;
    default:
        assert(!"a type that dtype_is_weight refuses");
    }
}

void dtype_to_f32(enum dtype t, const void *src, float *dst, size_t n)
{
    const unsigned char *b = src;
    if (t == DT_F32) {
        memcpy(dst, src, n * sizeof *dst);
    } else if (t == DT_BF16 ||
               t == DT_F16) { /* through memcpy: a tensor in a file need not be aligned */
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, b + 2 * i, 2);
            dst[i] = t == DT_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
        }
    } else {
        size_t block = (size_t)dtype_block(t), bytes = dtype_block_bytes(t);
        assert(n % block == 0);
        for (size_t i = 0; i < n; i += block, b += bytes)
            expand_block(t, b, dst + i);
    }
}

struct mat mat_f32(const float *data, int64_t rows, int64_t cols)
{
    return (struct mat){.data = data,
                        .type = DT_F32,
                        .rows = rows,
                        .cols = cols,
                        .row_bytes = (size_t)cols * sizeof *data};
}

bool dtype_is_mlx(enum dtype t)
{
    return t >= DT_MLX2 && t <= DT_MLX_FP4;
}

enum dtype dtype_mlx(int bits)
{
    static const enum dtype types[9] = {[2] = DT_MLX2, [3] = DT_MLX3, [4] = DT_MLX4,
                                        [5] = DT_MLX5, [6] = DT_MLX6, [8] = DT_MLX8};
    return bits >= 2 && bits <= 8 && bits != 7 ? types[bits] : DT_COUNT;
}

/* Bytes of the scales of one row. */
static size_t scale_row_bytes(const struct mat *m)
{
    return dtype_is_mlx(m->type)
               ? (size_t)(m->cols / m->group) * dtype_block_bytes(m->scale_type)
               : 0;
}

size_t mat_bytes(const struct mat *m)
{
    return (size_t)m->rows * (m->row_bytes + scale_row_bytes(m) * (m->biases ? 2 : 1));
}

struct mat mat_rows(const struct mat *m, int64_t first, int64_t rows)
{
    assert(first >= 0 && rows >= 0 && first + rows <= m->rows);
    struct mat part = *m;
    size_t skip = (size_t)first * scale_row_bytes(m);
    part.data = (const unsigned char *)m->data + (size_t)first * m->row_bytes;
    part.rows = rows;
    part.scales = m->scales ? (const unsigned char *)m->scales + skip : NULL;
    part.biases = m->biases ? (const unsigned char *)m->biases + skip : NULL;
    return part;
}

void mat_part_to_f32(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst)
{
    assert(row >= 0 && row < m->rows && col >= 0 && col + n <= m->cols);
    assert(!dtype_is_mlx(m->type)); /* to come */
    size_t block = (size_t)dtype_block(m->type);
    assert((size_t)col % block == 0);
    dtype_to_f32(m->type,
                 (const unsigned char *)m->data + (size_t)row * m->row_bytes +
                     (size_t)col / block * dtype_block_bytes(m->type),
                 dst, (size_t)n);
}

void mat_row_to_f32(const struct mat *m, int64_t row, float *dst)
{
    mat_part_to_f32(m, row, 0, m->cols, dst);
}
