/* dtype_blocks.c - the block types of GGUF, expanded exactly to f32.
 *
 * 32 values share an f16 scale d, some also an f16 minimum m. In the 4- and 5-bit types value j of
 * a block lies in the low half of byte j, value j+16 in the high half. K types have blocks of 256
 * with packed scales of 16 or 32 values each. Layouts: ggml-common.h of ggml; tests hold every type
 * against values of its Python reader.
 */
#include "engine/kernel/dtype_private.h"

#include <assert.h>

const signed char dtype_iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
const signed char dtype_e2m1_doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

static void expand_q4(const unsigned char *b, float *dst, bool has_min)
{
    float d = load_f16(b), m = has_min ? load_f16(b + 2) : -0.0f; /* x + -0 is x */
    const unsigned char *q = b + (has_min ? 4 : 2);
    int zero = has_min ? 0 : 8;
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)((q[j] & 15) - zero) + m;
        dst[j + 16] = d * (float)((q[j] >> 4) - zero) + m;
    }
}

static void expand_q5(const unsigned char *b, float *dst, bool has_min)
{
    float d = load_f16(b), m = has_min ? load_f16(b + 2) : -0.0f; /* x + -0 is x */
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
    float d = load_f16(b);
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)dtype_iq4_levels[b[2 + j] & 15];
        dst[j + 16] = d * (float)dtype_iq4_levels[b[2 + j] >> 4];
    }
}

/* 8 sub-blocks of 32; two of them share 32 bytes of low bits, all share the 32 bytes of fifth bits
 * (NULL in Q4_K). */
static void expand_k45(const unsigned char *b, const unsigned char *fifth, const unsigned char *q,
                       float *dst)
{
    float d = load_f16(b), dmin = load_f16(b + 2);
    unsigned char scales[8], mins[8];
    dtype_sub_scales(b + 4, scales, mins);
    for (int s = 0; s < 8; s++) {
        float scale = d * (float)scales[s], min = dmin * (float)mins[s];
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

/* Sub-blocks of 16: a byte holds 4 bits of scale and 4 of minimum. Two halves of 128; part p of a
 * half takes bits 2p of its 32 bytes. */
static void expand_q2_k(const unsigned char *b, float *dst)
{
    float d = load_f16(b + 80), dmin = load_f16(b + 82);
    for (int s = 0; s < 16; s++) {
        const unsigned char *q = b + 16 + s / 8 * 32 + s % 2 * 16;
        float scale = d * (float)(b[s] & 15), min = dmin * (float)(b[s] >> 4);
        for (int l = 0; l < 16; l++)
            dst[16 * s + l] = scale * (float)(q[l] >> s % 8 / 2 * 2 & 3) - min;
    }
}

/* As Q2_K, with a third bit per value (a clear bit means minus 4), signed scales, no minimum. */
static void expand_q3_k(const unsigned char *b, float *dst)
{
    signed char scales[16];
    float d = load_f16(b + 108);
    dtype_q3_k_scales(b + 96, scales);
    for (int s = 0; s < 16; s++) {
        const unsigned char *third = b + s % 2 * 16, *q = b + 32 + s / 8 * 32 + s % 2 * 16;
        float scale = d * (float)scales[s];
        for (int l = 0; l < 16; l++) {
            int value = (q[l] >> s % 8 / 2 * 2 & 3) - (third[l] >> s / 2 & 1 ? 0 : 4);
            dst[16 * s + l] = scale * (float)value;
        }
    }
}

/* 8 sub-blocks of 32 as in IQ4_NL. */
static void expand_iq4_xs(const unsigned char *b, float *dst)
{
    float d = load_f16(b);
    for (int s = 0; s < 8; s++) {
        const unsigned char *q = b + 8 + 16 * s;
        float step = d * (float)dtype_iq4_xs_scale(b, s);
        for (int j = 0; j < 16; j++) {
            dst[32 * s + j] = step * (float)dtype_iq4_levels[q[j] & 15];
            dst[32 * s + j + 16] = step * (float)dtype_iq4_levels[q[j] >> 4];
        }
    }
}

static void expand_mxfp4(const unsigned char *b, float *dst)
{
    float half = dtype_e8m0_half(b[0]);
    for (int j = 0; j < 16; j++) {
        dst[j] = half * (float)dtype_e2m1_doubled[b[1 + j] & 15];
        dst[j + 16] = half * (float)dtype_e2m1_doubled[b[1 + j] >> 4];
    }
}

void dtype_expand_block(enum dtype t, const unsigned char *b, float *dst)
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
    case DT_IQ4_XS:
        expand_iq4_xs(b, dst);
        break;
    case DT_MXFP4:
        expand_mxfp4(b, dst);
        break;
    case DT_Q2_K:
        expand_q2_k(b, dst);
        break;
    case DT_Q3_K:
        expand_q3_k(b, dst);
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

