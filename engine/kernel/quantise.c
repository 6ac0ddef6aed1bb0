/* quantise.c - blocks of 32, MLX groups, and the table of what can be written.
 *
 * Both follow reference code to the bit (ggml-quants.c as its Python twin states it; affine_quantize
 * of MLX), so the order of every operation matters: scales are used in f32 for the codes and rounded
 * to their stored type afterwards.
 */
#include "engine/kernel/quantise.h"

#include "engine/kernel/quantise_private.h"

#include <assert.h>
#include <math.h>

bool quantise_can(enum dtype t)
{
    return dtype_is_weight(t) && t != DT_Q2_K && t != DT_Q3_K && t != DT_IQ4_XS && t != DT_MXFP4;
}

static float inverse(float d)
{
    return d == 0 ? 0 : 1 / d;
}

static void put_codes(const unsigned char codes[32], int bits, unsigned char *dst)
{
    if (bits == 5) {
        uint32_t fifth = 0;
        for (int j = 0; j < 32; j++)
            fifth |= (uint32_t)(codes[j] >> 4) << j;
        memcpy(dst, &fifth, sizeof fifth);
        dst += sizeof fifth;
    }
    pack_nibbles(codes, 16, dst);
}

/* Q4_0, Q5_0: the value of largest size (the first of them) becomes the lowest code. */
static void quantise_centred(const float *src, int bits, unsigned char *dst)
{
    float size = 0, largest = 0;
    for (int j = 0; j < 32; j++) {
        if (fabsf(src[j]) > size) {
            size = fabsf(src[j]);
            largest = src[j];
        }
    }
    int zero = 1 << (bits - 1), top = 2 * zero - 1;
    float d = largest / (float)-zero, by = inverse(d);
    unsigned char codes[32];
    for (int j = 0; j < 32; j++) { /* one addition of zero + 1/2, as the reference has it */
        float v = src[j] * by + ((float)zero + 0.5f);
        codes[j] = (unsigned char)(v > 0 ? (v < (float)top ? (int)v : top) : 0);
    }
    store_f16(dst, d);
    put_codes(codes, bits, dst + 2);
}

/* Q4_1, Q5_1: from the smallest value to the largest. */
static void quantise_between(const float *src, int bits, unsigned char *dst)
{
    float low = src[0], high = src[0];
    for (int j = 1; j < 32; j++) {
        low = src[j] < low ? src[j] : low;
        high = src[j] > high ? src[j] : high;
    }
    int top = (1 << bits) - 1;
    float d = (high - low) / (float)top, by = inverse(d);
    unsigned char codes[32];
    for (int j = 0; j < 32; j++)
        codes[j] = quantise_code((src[j] - low) * by, top);
    store_f16(dst, d);
    store_f16(dst + 2, low);
    put_codes(codes, bits, dst + 4);
}

static void quantise_q8_0(const float *src, unsigned char *dst)
{
    float size = 0;
    for (int j = 0; j < 32; j++)
        size = fabsf(src[j]) > size ? fabsf(src[j]) : size;
    float d = size / 127, by = inverse(d);
    store_f16(dst, d);
    for (int j = 0; j < 32; j++) { /* ties away from zero; adding a half first would round 0.49999997 up */
        float v = fabsf(src[j] * by), whole = floorf(v);
        int code = (int)(whole + floorf(2 * (v - whole)));
        dst[2 + j] = (unsigned char)(signed char)(src[j] * by < 0 ? -code : code);
    }
}

static void quantise_block(enum dtype t, const float *src, unsigned char *dst)
{
    switch (t) {
    case DT_Q4_0:
        quantise_centred(src, 4, dst);
        break;
    case DT_Q4_1:
        quantise_between(src, 4, dst);
        break;
    case DT_Q5_0:
        quantise_centred(src, 5, dst);
        break;
    case DT_Q5_1:
        quantise_between(src, 5, dst);
        break;
    case DT_Q8_0:
        quantise_q8_0(src, dst);
        break;
    case DT_Q4_K:
        quantise_q4_k(src, dst);
        break;
    case DT_Q5_K:
        quantise_q5_k(src, dst);
        break;
    case DT_Q6_K:
        quantise_q6_k(src, dst);
        break;
    case DT_IQ4_NL:
        quantise_iq4_nl(src, dst);
        break;
    default:
        assert(!"a type that quantise_can refuses");
    }
}

void quantise_row(enum dtype t, const float *src, void *dst, size_t n)
{
    unsigned char *to = dst;
    if (t == DT_F32) {
        memcpy(to, src, n * sizeof *src);
    } else if (t == DT_F16 || t == DT_BF16) { /* through memcpy: a buffer may begin anywhere */
        for (size_t i = 0; i < n; i++) {
            uint16_t h = t == DT_F16 ? f32_to_f16(src[i]) : f32_to_bf16(src[i]);
            memcpy(to + 2 * i, &h, 2);
        }
    } else {
        size_t block = (size_t)dtype_block(t), bytes = dtype_block_bytes(t);
        assert(n % block == 0);
        for (size_t i = 0; i < n; i += block, to += bytes)
            quantise_block(t, src + i, to);
    }
}

/* The value as it is after storing in a type. */
static float through(enum dtype t, float f)
{
    return t == DT_BF16 ? bf16_to_f32(f32_to_bf16(f)) : t == DT_F16 ? f16_to_f32(f32_to_f16(f)) : f;
}

/* 8 codes of b bits fill b bytes. */
static void put_eight(const unsigned char codes[8], int bits, unsigned char *dst)
{
    uint64_t eight = 0;
    for (int j = 0; j < 8; j++)
        eight |= (uint64_t)codes[j] << j * bits;
    memcpy(dst, &eight, (size_t)bits);
}

/* The edge (smallest or largest value) of larger size is met exactly, and zero has a code, by
 * stretching the step until the edge is a whole number of steps. */
void quantise_mlx_row(int bits, int group, enum dtype scale_type, const float *src, uint32_t *codes,
                      void *scales, void *biases, size_t n)
{
    assert(dtype_mlx(bits) != DT_COUNT && group > 0 && group % 32 == 0 && n % (size_t)group == 0);
    unsigned char *to = (unsigned char *)codes;
    const float top = (float)((1 << bits) - 1);
    const size_t each = dtype_block_bytes(scale_type);
    for (size_t g = 0; g < n / (size_t)group; g++, src += group) {
        float low = INFINITY, high = -INFINITY;
        for (int j = 0; j < group; j++) {
            float v = through(scale_type, src[j]);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        bool low_is_edge = fabsf(low) > fabsf(high);
        float step = (high - low) / top, edge = low_is_edge ? low : high, bias = 0;
        step = step > 1e-7f ? step : 1e-7f;
        step = low_is_edge ? step : -step;
        float steps = rintf(edge / step);
        if (steps != 0) {
            step = edge / steps;
            bias = edge;
        }
        for (int j = 0; j < group; j += 8, to += bits) {
            unsigned char eight[8];
            for (int i = 0; i < 8; i++) {
                float v = rintf((through(scale_type, src[j + i]) - bias) / step);
                eight[i] = (unsigned char)(v > 0 ? (v < top ? v : top) : 0);
            }
            put_eight(eight, bits, to);
        }
        quantise_row(scale_type, &step, (unsigned char *)scales + g * each, 1);
        quantise_row(scale_type, &bias, (unsigned char *)biases + g * each, 1);
    }
}
