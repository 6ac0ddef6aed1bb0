/* tensor_finite.c - looking for NaN and infinity in stored weights, at the speed of memory.
 *
 * A number is NaN or infinite when all bits of its exponent are set; adding the lowest exponent bit
 * to the masked exponent then carries into the sign place and never further, so eight bytes are
 * tested at once. Only a chunk that says yes is searched one by one.
 */
#include "engine/format/tensor.h"

#include <inttypes.h>
#include <string.h>

struct lane {
    uint64_t mask, one, carry; /* repeated over 64 bits */
    size_t bytes;              /* of one element */
};

static const struct lane lane_f64 = {0x7ff0000000000000u, 0x0010000000000000u, 0x8000000000000000u,
                                     8};
static const struct lane lane_f32 = {0x7f8000007f800000u, 0x0080000000800000u, 0x8000000080000000u,
                                     4};
static const struct lane lane_bf16 = {0x7f807f807f807f80u, 0x0080008000800080u, 0x8000800080008000u,
                                      2};
static const struct lane lane_f16 = {0x7c007c007c007c00u, 0x0400040004000400u, 0x8000800080008000u,
                                     2};

/* True when one of n bytes' elements is not finite; n is a multiple of the element. */
static bool chunk_bad(const struct lane *l, const unsigned char *p, size_t n)
{
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        seen |= (w & l->mask) + l->one;
    }
    uint64_t rest = 0;
    memcpy(&rest, p + i, n - i);
    seen |= (rest & l->mask) + l->one;
    return (seen & l->carry) != 0;
}

/* Byte offset of the first element that is not finite, or SIZE_MAX. */
static size_t find_bad(const struct lane *l, const unsigned char *p, size_t bytes)
{
    enum { CHUNK = 1 << 14 };
    for (size_t at = 0; at < bytes; at += CHUNK) {
        size_t n = bytes - at < CHUNK ? bytes - at : CHUNK;
        if (!chunk_bad(l, p + at, n))
            continue;
        for (size_t i = 0; i < n; i += l->bytes)
            if (chunk_bad(l, p + at + i, l->bytes))
                return at + i;
    }
    return SIZE_MAX;
}

/* Where the f16 scales of a block stand; n = 0: the type has none. */
static int scales_of(enum dtype type, int at[2])
{
    at[0] = 0;
    at[1] = 2;
    switch (type) {
    case DT_Q4_0:
    case DT_Q5_0:
    case DT_Q8_0:
    case DT_IQ4_NL:
    case DT_IQ4_XS:
        return 1;
    case DT_Q4_1:
    case DT_Q5_1:
    case DT_Q4_K:
    case DT_Q5_K:
        return 2;
    case DT_Q2_K:
        at[0] = 80;
        at[1] = 82;
        return 2;
    case DT_Q3_K:
        at[0] = 108;
        return 1;
    case DT_Q6_K:
        at[0] = 208;
        return 1;
    default:
        return 0;
    }
}

/* Index of the first block with a scale that is not finite, or SIZE_MAX. */
static size_t find_bad_block(const struct tensor_info *t)
{
    int at[2], n_scales = scales_of(t->type, at);
    size_t block = dtype_block_bytes(t->type), n = t->bytes / block;
    const unsigned char *p = t->data;
    for (size_t i = 0; i < n; i++, p += block) {
        if (t->type == DT_MXFP4 && p[0] == 0xff)
            return i;
        for (int k = 0; k < n_scales; k++) {
            uint16_t h;
            memcpy(&h, p + at[k], 2);
            if ((h & 0x7c00u) == 0x7c00u)
                return i;
        }
    }
    return SIZE_MAX;
}

bool tensor_check_finite(const struct tensor_info *t, struct gm_error *err)
{
    const struct lane *l = t->type == DT_F64    ? &lane_f64
                           : t->type == DT_F32  ? &lane_f32
                           : t->type == DT_F16  ? &lane_f16
                           : t->type == DT_BF16 ? &lane_bf16
                                                : NULL;
    size_t element, bad;
    if (t->bytes == 0)
        return true;
    if (l) {
        bad = find_bad(l, t->data, t->bytes);
        element = bad == SIZE_MAX ? bad : bad / l->bytes;
    } else {
        bad = find_bad_block(t);
        element = bad == SIZE_MAX ? bad : bad * (size_t)dtype_block(t->type);
    }
    if (element == SIZE_MAX)
        return true;
    return error_set(err, GM_E_INPUT,
                     "tensor \"%s\": %s %zu is not a finite number (the weights are damaged: "
                     "download them again)",
                     t->name, l ? "element" : "the scale of the block at element", element);
}
