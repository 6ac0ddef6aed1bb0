/* head_int8.h - the logits of decoding from a copy of the head in one byte a weight, exact where it matters.
 *
 * A token's row w of the head lies as s q, q whole numbers of -127..127. A hidden state x is met as p X, X whole numbers of 16 bits (two
 * bytes, two products of bytes). Then, by Cauchy and Schwarz,
 *     |w x - s q p X|  <=  |w - s q| |x|  +  |s q| |x - p X|  +  rounding,
 * with both norms of every row kept beside it; rounding counts what the exact product in f32 and this one can lose. So every logit has
 * a lower and an upper bound, and 16 tokens side by side are computed again, exactly, where the upper bound of one of them reaches the
 * lower bound of the want.best best. `Exactly` means: the bits that head_logits() of all n rows gives (but for the sign of a zero). What is left out keeps its
 * approximation, which lies below all that is wanted.
 *
 * So the best want.best tokens, their logits and their ties are those of head_logits(): greedy and top-k choose the same. Where too many may
 * matter, or x is not finite, the whole row is computed exactly. A result depends on its own row and want alone, and is the same bits for
 * any number of threads; the approximation is the same for every family.
 *
 * Memory: bytes of head_int8_bytes(), in huge pages. Threads: made by one, read by any.
 *
 *     struct head_int8 *h = head_int8_new(&c, &head, &err);
 *     head_int8_logits(h, &c, &head, softcap, logits, hidden, n, wants);
 */
#ifndef GM_KERNEL_HEAD_INT8_H
#define GM_KERNEL_HEAD_INT8_H

#include "engine/kernel/compute.h"

struct head_want {
    int best;           /* so many of the best are exact; 0: all */
    float window;       /* and those that lie at most this far below the last of these */
    const int32_t *ids; /* and these, whatever they are */
    int n_ids;
};
struct head_int8;
size_t head_int8_bytes(const struct mat *head);
/* NULL: no memory, F32 mode, or rows too long for sums of 32 bits. */
struct head_int8 *head_int8_new(const struct compute *c, const struct mat *head, struct gm_error *err);
void head_int8_free(struct head_int8 *h);
/* Whether it is worth its while for up to n rows at once. The bytes of x take two products, as many as with bf16: what is saved is reading, and
 * with many rows beside a packed head (panels.h) reading is not what takes the time. */
bool head_int8_pays(const struct compute *c, const struct mat *head, int n);
/* logits [n, V] of hidden [n, d], wants [n]; head: the matrix that h was made of, or the same with panels. */
void head_int8_logits(const struct head_int8 *h, const struct compute *c, const struct mat *head, float softcap, float *logits, const float *hidden,
                      int n, const struct head_want *wants);

#endif
