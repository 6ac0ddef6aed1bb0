/* dtype_mlx.c - matrices quantised by MLX, expanded exactly to f32.
 *
 * A row is a little-endian stream of codes of 2, 3, 4, 5, 6 or 8 bits, so that 8 codes fill a whole
 * number of bytes and 32 codes a whole number of words. Affine: w = scale * code + bias, one scale
 * and bias for `group` values of a row; the product is rounded to f32 before the sum. MLX_FP4: codes
 * are E2M1 floats, scales powers of two (E8M0).
 */
#include "engine/kernel/dtype_private.h"

#include <assert.h>

enum { RUN = 32 }; /* codes unpacked at a time; no group ends inside a run */

static float value_at(enum dtype t, const void *values, size_t i)
{
    float v;
    dtype_to_f32(t, (const unsigned char *)values + i * dtype_block_bytes(t), &v, 1);
    return v;
}

static void unpack(const unsigned char *src, int bits, unsigned char codes[RUN])
{
    for (int i = 0; i < RUN / 8; i++) {
        uint64_t eight = dtype_mlx_eight(src, i, bits);
        for (int j = 0; j < 8; j++)
            codes[8 * i + j] = (unsigned char)(eight >> j * bits & ((1u << bits) - 1));
    }
}

static void expand_run(const struct mat *m, size_t group, const unsigned char codes[RUN],
                       float dst[RUN])
{
    if (m->type == DT_MLX_FP4) {
        float scale = dtype_e8m0(((const unsigned char *)m->scales)[group]);
        for (int i = 0; i < RUN; i++)
            dst[i] = scale * (0.5f * (float)dtype_e2m1_doubled[codes[i]]);
        return;
    }
    float scale = value_at(m->scale_type, m->scales, group),
          bias = value_at(m->scale_type, m->biases, group);
    for (int i = 0; i < RUN; i++)
        dst[i] = scale * (float)codes[i] + bias;
}

void dtype_expand_mlx(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst)
{
    assert(col % RUN == 0 && m->group > 0 && m->group % RUN == 0 && m->cols % m->group == 0);
    int bits = (int)dtype_block_bytes(m->type) * 8 / RUN;
    const unsigned char *src = (const unsigned char *)m->data + (size_t)row * m->row_bytes +
                               (size_t)(col / RUN) * dtype_block_bytes(m->type);
    size_t groups_before = (size_t)row * (size_t)(m->cols / m->group);
    for (int64_t i = 0; i < n; i += RUN, src += dtype_block_bytes(m->type)) {
        unsigned char codes[RUN];
        float values[RUN];
        unpack(src, bits, codes);
        expand_run(m, groups_before + (size_t)((col + i) / m->group), codes, values);
        memcpy(dst + i, values, (size_t)(n - i < RUN ? n - i : RUN) * sizeof *dst);
    }
}
