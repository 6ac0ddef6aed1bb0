/* rng.c - Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "engine/base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Ten rounds of the paper's section 3.3: multipliers for the two halves, Weyl constants that advance the key. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)b;
        c2 = n2;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Four numbers come from one counter: number i is lane i % 4 of block i / 4. */
static void block_at(const struct rng *r, uint64_t index, uint32_t out[4])
{
    uint64_t block = index >> 2;
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), r->stream[0], r->stream[1]};
    rng_philox(counter, r->key, out);
}

/* Two numbers, from one block where they stand in one. */
static void draw_two(struct rng *r, uint32_t *a, uint32_t *b)
{
    uint32_t out[4];
    unsigned lane = (unsigned)(r->index & 3);
    block_at(r, r->index, out);
    *a = out[lane];
    if (lane == 3) {
        block_at(r, r->index + 1, out);
        *b = out[0];
    } else {
        *b = out[lane + 1];
    }
    r->index += 2;
}

static uint64_t draw_u64(struct rng *r)
{
    uint32_t low, high;
    draw_two(r, &low, &high);
    return (uint64_t)high << 32 | low;
}

struct rng rng_stream(uint64_t seed, const char *name, uint64_t number)
{
    uint64_t key = hash64(name, strlen(name), seed);
    return (struct rng){
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
        .stream = {(uint32_t)number, (uint32_t)(number >> 32)},
    };
}

uint32_t rng_u32(struct rng *r)
{
    uint32_t out[4];
    block_at(r, r->index, out);
    return out[r->index++ & 3];
}

double rng_uniform(struct rng *r)
{
    return (double)(draw_u64(r) >> 11) * 0x1p-53;
}

/* D. Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019): the high half of a product, and a
 * second draw in the rare case that would favour some values. */
uint64_t rng_below(struct rng *r, uint64_t n)
{
    assert(n > 0);
    unsigned __int128 product = (unsigned __int128)draw_u64(r) * n;
    if ((uint64_t)product < n) {
        uint64_t threshold = -n % n; /* 2^64 mod n */
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)draw_u64(r) * n;
    }
    return (uint64_t)(product >> 64);
}

/* G. Box, M. Muller, Annals of Mathematical Statistics 29 (1958). The radius never sees 0; the tail ends at 6.8 deviations. */
void rng_shuffle(int *numbers, int n, struct rng r)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(&r, (uint64_t)i + 1), kept = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = kept;
    }
}

double rng_normal(struct rng *r)
{
    uint32_t a, b;
    draw_two(r, &a, &b);
    double u = ((double)a + 0.5) * 0x1p-32, angle = (double)b * (6.283185307179586 * 0x1p-32);
    return sqrt(-2.0 * log(u)) * cos(angle);
}

/* The finaliser of SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Words are put together byte by byte, so that the value is the same on every machine. */
uint64_t hash64(const void *bytes, size_t n, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = mix(seed + 0x9E3779B97F4A7C15u) ^ n;
    while (n > 0) {
        size_t take = n < 8 ? n : 8;
        uint64_t word = 0;
        for (size_t i = 0; i < take; i++)
            word |= (uint64_t)p[i] << (8 * i);
        h = mix(h ^ word) + 0x9E3779B97F4A7C15u;
        p += take;
        n -= take;
    }
    return mix(h);
}
