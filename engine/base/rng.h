/* rng.h - counter-based random numbers in named streams.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A stream is a key
 * made from (seed, name); number i of a stream is a pure function of (key, i): resuming needs only i, and
 * threads never share state.
 *
 *     struct rng r = rng_stream(seed, "shuffle", epoch);
 *     uint64_t k = rng_below(&r, n);
 */
#ifndef GM_BASE_RNG_H
#define GM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint32_t key[2];
    uint32_t stream[2]; /* upper half of the counter */
    uint64_t index;     /* numbers drawn so far: save it to resume */
};

struct rng rng_stream(uint64_t seed, const char *name, uint64_t number);
uint32_t rng_u32(struct rng *r);
double rng_uniform(struct rng *r);                 /* [0, 1), 53 bits */
uint64_t rng_below(struct rng *r, uint64_t n);     /* [0, n), unbiased; n > 0 */
double rng_normal(struct rng *r);                  /* mean 0, deviation 1 (Box-Muller, two draws each) */
void rng_shuffle(int *numbers, int n, struct rng r); /* Fisher-Yates */
/* The function itself: four numbers for a counter and a key. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
uint64_t hash64(const void *bytes, size_t n, uint64_t seed); /* a stable non-cryptographic hash, for names and grouping */

#endif
