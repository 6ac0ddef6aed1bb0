/* panels.h - a matrix that is packed once: bf16 in the panels of a kernel family, so that a product reads it as a stream and packs nothing.
 *
 * Worth its memory (2 bytes a weight, whatever the storage type) where the same weights meet few rows again and again: decoding. A
 * product whose weight carries panels of the running family uses them; results are the same bits as without.
 * Layout: the stretches of the summed dimension one after another, each all its panels of 16 columns (table.h).
 * Memory: the caller's, 64-byte aligned; huge pages pay.
 *
 *     if (panels_help(c)) {
 *         struct panels p = panels_pack(c, &w, memory);     // memory: panels_bytes(&w)
 *         w.panels = &p;                                    // both stay as long as w is used
 *     }
 */
#ifndef GM_KERNEL_PANELS_H
#define GM_KERNEL_PANELS_H

#include "engine/kernel/compute.h"

struct panels {
    enum family family;
    const unsigned char *data;
    int64_t columns; /* rows of the matrix, to a whole number of panels */
};
bool panels_help(const struct compute *c); /* false: this family has no panels of bf16, or computes in f32 */
size_t panels_bytes(const struct mat *w);
/* Threaded. */
struct panels panels_pack(const struct compute *c, const struct mat *w, void *memory);
/* Before a product, or whatever else the pool does: the one after it will multiply few rows with these n matrices, joined. Threads that have nothing left to do
 * meanwhile ask for what they will then read first (pool_ahead), and before that for the ranges of `others`, which are divided among them. */
enum { PANELS_OTHERS = POOL_AHEAD - 1 };
void panels_ahead(const struct compute *c, const struct mat *const *w, int n, const struct pool_bytes *others, int n_others);

#endif
