/* choose.h - what sampling needs of a row of logits: the greatest, the exponential of all with sums over chunks, those above a floor.
 *
 * One thread; wide vectors where the processor has them, the same bits on all that have fused multiply-add (ops_vec.inc). Threads: pure.
 *
 *     int32_t best = choose_greatest(logits, n);
 *     choose_weigh(e, logits, n, logits[best], 1 / temperature, sums);        // e may be logits
 */
#ifndef GM_KERNEL_CHOOSE_H
#define GM_KERNEL_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

enum { CHOOSE_CHUNK = 512 };
static inline int choose_chunks(int n)
{
    return (n + CHOOSE_CHUNK - 1) / CHOOSE_CHUNK;
}
struct candidate {
    float p;
    int32_t id;
};
/* The first of the greatest; a NaN is never it, unless there is nothing else (then 0). */
int32_t choose_greatest(const float *l, int n);
/* e_i = exp((l_i - top) inverse), 0 where that exponent is below -80 or no number; sums[choose_chunks(n)] of each chunk. */
void choose_weigh(float *e, const float *l, int n, float top, float inverse, double *sums);
/* Those with e_i >= floor and > 0, in order of ids; how many there are, of which at most `cap` are written. */
int choose_above(struct candidate *out, int cap, const float *e, int n, float floor);

#endif
