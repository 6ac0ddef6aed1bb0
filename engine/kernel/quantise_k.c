/* quantise_k.c - the K types and IQ4_NL: scales searched for the least squared error.
 *
 * Nothing is known of the inputs that a weight will meet, so every weight counts the same. A
 * sub-block is fitted by itself first: from steps around the plain one (range / codes), codes and
 * least-squares step and offset take turns, and the best is kept. Steps and offsets are then stored
 * in few bits as multiples of two f16 numbers; for each sub-block the nearest multiples and their
 * neighbours are tried with codes chosen anew, because the nearest is not always the best.
 */
#include "engine/kernel/quantise_private.h"

#include <math.h>

enum { LANES = 4, SUB_MAX = 32 };
/* Sums run in LANES lanes that are added at the end: the same order on every processor. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t lane_ints __attribute__((vector_size(LANES * sizeof(float))));

static inline lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}
static inline lanes pick(lane_ints mask, lanes yes, lanes no)
{
    return (lanes)((mask & (lane_ints)yes) | (~mask & (lane_ints)no));
}
static inline float total(lanes v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

/* x ~ step * code + low */
struct fit {
    float step, low, error;
    float codes[SUB_MAX];
};

/* The codes nearest to x, and what is left. A NaN gets code 0. */
static void choose_codes(struct fit *f, const float *x, int n, int top)
{
    const lanes none = {0}, most = none + (float)top, low = none + f->low, step = none + f->step,
                by = none + (f->step != 0 ? 1 / f->step : 0);
    lanes error = none;
    for (int i = 0; i < n; i += LANES) {
        lanes v = (load(x + i) - low) * by + 0.5f;
        v = pick(v > none, v, none);
        v = pick(v < most, v, most);
        v = __builtin_convertvector(__builtin_convertvector(v, lane_ints), lanes);
        store(f->codes + i, v);
        lanes e = step * v + low - load(x + i);
        error += e * e;
    }
    f->error = total(error);
}

static void keep_better(struct fit *best, const struct fit *f)
{
    if (f->error < best->error)
        *best = *f;
}

/* Least squares for given codes; the offset must not be positive (it is stored as a minimum). */
static void solve_affine(struct fit *f, const float *x, int n)
{
    lanes codes = {0}, squares = codes, values = codes, products = codes;
    for (int i = 0; i < n; i += LANES) {
        lanes code = load(f->codes + i), v = load(x + i);
        codes += code;
        squares += code * code;
        values += v;
        products += v * code;
    }
    float q = total(codes), qq = total(squares), sum = total(values), xq = total(products);
    float det = (float)n * qq - q * q;
    if (det > 0) {
        f->step = ((float)n * xq - sum * q) / det;
        f->low = (sum * qq - q * xq) / det;
    }
    if (f->low > 0) {
        f->low = 0;
        f->step = qq > 0 ? xq / qq : 0;
    }
}

static struct fit fit_affine(const float *x, int n, int top)
{
    float low = 0, high = x[0];
    for (int i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    struct fit best = {.step = (high - low) / (float)top, .low = low};
    choose_codes(&best, x, n, top);
    for (int k = -2; k <= 5 && high > low; k++) {
        struct fit f = {.step = (high - low) / ((float)top + 0.4f * (float)k), .low = low};
        choose_codes(&f, x, n, top);
        for (int turn = 0; turn < 2; turn++) {
            solve_affine(&f, x, n);
            choose_codes(&f, x, n, top);
            keep_better(&best, &f);
        }
    }
    return best;
}

static float largest_of(const float *x, int n) /* by size, with its sign */
{
    float largest = 0;
    for (int i = 0; i < n; i++)
        largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    return largest;
}

/* Signed codes -zero .. zero - 1, kept with `zero` added; the step may be negative. */
static void choose_centred(struct fit *f, const float *x, int n, int zero, float step)
{
    f->step = step;
    f->low = -step * (float)zero;
    choose_codes(f, x, n, 2 * zero - 1);
}

static struct fit fit_centred(const float *x, int n, int zero)
{
    float largest = largest_of(x, n);
    struct fit best, f;
    choose_centred(&best, x, n, zero, largest / (float)-zero);
    for (int k = -2; k <= 5 && largest != 0; k++) {
        choose_centred(&f, x, n, zero, largest / ((float)-zero - 0.5f * (float)k));
        lanes products = {0}, squares = {0};
        for (int i = 0; i < n; i += LANES) {
            lanes code = load(f.codes + i) - (float)zero;
            products += load(x + i) * code;
            squares += code * code;
        }
        float qq = total(squares);
        choose_centred(&f, x, n, zero, qq > 0 ? total(products) / qq : 0);
        keep_better(&best, &f);
    }
    return best;
}

static void put_codes(unsigned char *to, const struct fit *f, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = (unsigned char)f->codes[i];
}

/* To f16 and back; what is too large becomes the largest finite half. */
static float stored_f16(unsigned char *p, float f)
{
    f = f > 65504 ? 65504 : f < -65504 ? -65504 : f;
    store_f16(p, f);
    return load_f16(p);
}

static int nearest(float value, float unit, int least, int most)
{
    float v = unit != 0 ? rintf(value / unit) : 0;
    return v > (float)least ? (v < (float)most ? (int)v : most) : least;
}

static int limited(int v, int least, int most)
{
    return v < least ? least : v > most ? most : v;
}

enum { SUBS = 8, SUB = 32, SIX_BITS = 63 };

/* Multiples of d and dmin for one sub-block, and its codes with them. */
static void settle_affine(struct fit *f, const float *x, int top, float d, float dmin, int *scale,
                          int *min)
{
    int near_scale = nearest(f->step, d, 0, SIX_BITS), near_min = nearest(-f->low, dmin, 0, SIX_BITS);
    struct fit best = {.error = INFINITY};
    for (int k = 0; k < 9; k++) {
        int s = near_scale + k / 3 - 1, m = near_min + k % 3 - 1;
        if (s != limited(s, 0, SIX_BITS) || m != limited(m, 0, SIX_BITS))
            continue;
        struct fit t = {.step = d * (float)s, .low = -dmin * (float)m};
        choose_codes(&t, x, SUB, top);
        if (t.error < best.error) {
            best = t;
            *scale = s;
            *min = m;
        }
    }
    *f = best;
}

/* Six bits each: those of sub-blocks 0..3 in one byte, of 4..7 in nibbles and in the two bits left. */
static void put_scales(const int scale[SUBS], const int min[SUBS], unsigned char sc[12])
{
    for (int s = 0; s < 4; s++) {
        sc[s] = (unsigned char)(scale[s] | scale[s + 4] >> 4 << 6);
        sc[s + 4] = (unsigned char)(min[s] | min[s + 4] >> 4 << 6);
        sc[s + 8] = (unsigned char)((scale[s + 4] & 15) | (min[s + 4] & 15) << 4);
    }
}

/* d, dmin and the packed scales to dst[0..15]; codes of all 256. */
static void fit_super_block(const float *src, int top, unsigned char *dst,
                            unsigned char codes[SUBS * SUB])
{
    struct fit fits[SUBS];
    float most_step = 0, most_low = 0;
    for (int s = 0; s < SUBS; s++) {
        fits[s] = fit_affine(src + SUB * s, SUB, top);
        most_step = fits[s].step > most_step ? fits[s].step : most_step;
        most_low = -fits[s].low > most_low ? -fits[s].low : most_low;
    }
    float d = stored_f16(dst, most_step / SIX_BITS), dmin = stored_f16(dst + 2, most_low / SIX_BITS);
    int scale[SUBS] = {0}, min[SUBS] = {0};
    for (int s = 0; s < SUBS; s++) {
        settle_affine(&fits[s], src + SUB * s, top, d, dmin, &scale[s], &min[s]);
        put_codes(codes + SUB * s, &fits[s], SUB);
    }
    put_scales(scale, min, dst + 4);
}

void quantise_q4_k(const float *src, unsigned char *dst)
{
    unsigned char codes[SUBS * SUB];
    fit_super_block(src, 15, dst, codes);
    for (int pair = 0; pair < SUBS / 2; pair++)
        pack_nibbles(codes + 2 * SUB * pair, SUB, dst + 16 + SUB * pair);
}

void quantise_q5_k(const float *src, unsigned char *dst)
{
    unsigned char codes[SUBS * SUB], *fifth = dst + 16;
    fit_super_block(src, 31, dst, codes);
    memset(fifth, 0, SUB);
    for (int i = 0; i < SUBS * SUB; i++)
        fifth[i % SUB] |= (unsigned char)(codes[i] >> 4 << i / SUB);
    for (int pair = 0; pair < SUBS / 2; pair++)
        pack_nibbles(codes + 2 * SUB * pair, SUB, dst + 48 + SUB * pair);
}

void quantise_q6_k(const float *src, unsigned char *dst)
{
    enum { SUBS6 = 16, SUB6 = 16, ZERO = 32 };
    struct fit fits[SUBS6];
    float most = 0;
    for (int s = 0; s < SUBS6; s++) {
        fits[s] = fit_centred(src + SUB6 * s, SUB6, ZERO);
        most = fabsf(fits[s].step) > fabsf(most) ? fits[s].step : most;
    }
    float d = stored_f16(dst + 208, most / -128);
    unsigned char codes[SUBS6 * SUB6], *ql = dst, *qh = dst + 128;
    for (int s = 0; s < SUBS6; s++) {
        int near = nearest(fits[s].step, d, -128, 127), scale = near;
        struct fit best = {.error = INFINITY};
        for (int k = -1; k <= 1; k++) {
            struct fit f;
            choose_centred(&f, src + SUB6 * s, SUB6, ZERO, d * (float)limited(near + k, -128, 127));
            if (f.error < best.error) {
                best = f;
                scale = limited(near + k, -128, 127);
            }
        }
        put_codes(codes + SUB6 * s, &best, SUB6);
        dst[192 + s] = (unsigned char)(signed char)scale;
    }
    for (int half = 0; half < 2; half++) { /* four parts of 32: see dtype_blocks.c */
        const unsigned char *q = codes + 128 * half;
        for (int l = 0; l < 32; l++) {
            ql[64 * half + l] = (unsigned char)((q[l] & 15) | (q[l + 64] & 15) << 4);
            ql[64 * half + l + 32] = (unsigned char)((q[l + 32] & 15) | (q[l + 96] & 15) << 4);
            qh[32 * half + l] = (unsigned char)(q[l] >> 4 | q[l + 32] >> 4 << 2 | q[l + 64] >> 4 << 4 |
                                                q[l + 96] >> 4 << 6);
        }
    }
}

/* The nearest of the 16 levels, and what is left. */
static float choose_levels(const float *x, float d, unsigned char codes[32], float levels[32])
{
    const lanes none = {0}, by = none + (d != 0 ? 1 / d : 0);
    lanes error = none;
    for (int i = 0; i < 32; i += LANES) {
        lanes v = load(x + i) * by, level = none + (float)dtype_iq4_levels[0];
        lane_ints code = {0};
        for (int k = 0; k < 15; k++) { /* each border that v lies behind adds one step */
            float low = dtype_iq4_levels[k], high = dtype_iq4_levels[k + 1];
            lane_ints behind = v > none + 0.5f * (low + high);
            level += pick(behind, none + (high - low), none);
            code -= behind;
        }
        lanes e = d * level - load(x + i);
        error += e * e;
        store(levels + i, level);
        for (int l = 0; l < LANES; l++)
            codes[i + l] = (unsigned char)code[l];
    }
    return total(error);
}

void quantise_iq4_nl(const float *src, unsigned char *dst)
{
    float largest = largest_of(src, 32), least = INFINITY;
    memset(dst, 0, 18);
    for (int k = 0; k < 10; k++) { /* the largest value at either end of the levels, or near it */
        float end = (k < 5 ? -127.0f : 113.0f) * (1.08f - 0.04f * (float)(k % 5)), levels[32];
        unsigned char codes[32], d[2];
        choose_levels(src, largest / end, codes, levels);
        lanes products = {0}, squares = {0};
        for (int i = 0; i < 32; i += LANES) {
            products += load(src + i) * load(levels + i);
            squares += load(levels + i) * load(levels + i);
        }
        float error = choose_levels(src, stored_f16(d, total(products) / total(squares)), codes, levels);
        if (error < least) {
            least = error;
            memcpy(dst, d, sizeof d);
            pack_nibbles(codes, 16, dst + 2);
        }
    }
}
