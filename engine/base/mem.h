/* mem.h - accounted memory: every large allocation of the engine goes through here, so that peak use can be told.
 *
 * Small ones abort the process with a message when the machine has no memory left (mem_new, mem_copy); large ones (sized by a
 * file, a model or an option) come from mem_alloc and fail with an error. Blocks are 64-byte aligned; blocks of
 * 2 MiB and more ask for huge pages. Threads: any. Accounting is atomic.
 */
#ifndef GM_BASE_MEM_H
#define GM_BASE_MEM_H

#include "engine/base/error.h"

#include <stdint.h>

void *mem_alloc(size_t bytes, const char *what, struct gm_error *err); /* zeroed; NULL on failure */
void *mem_new(size_t count, size_t size);                              /* zeroed; aborts on failure or overflow */
void *mem_grow(void *block, size_t old_count, size_t new_count, size_t size); /* as realloc; new part zeroed; aborts */
/* Room for one more element behind n: doubles *cap (64 at first) when n has reached it. */
void *mem_room(void *block, size_t n, size_t *cap, size_t size);
char *mem_copy(const char *text);                                      /* strdup that aborts */
char *mem_copy_n(const char *text, size_t n);                          /* n bytes + NUL */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *block);                                            /* any of the above; NULL is fine */

size_t mem_block_bytes(size_t bytes); /* what a block of that size is accounted with: header, and whole huge pages */
size_t mem_live_bytes(void);     /* accounted bytes now */
size_t mem_peak_bytes(void);     /* their maximum */
uint64_t mem_allocations(void);  /* calls so far: a steady training step makes none */
size_t mem_rss_peak_bytes(void); /* VmHWM of the process, mapped pages included; 0 where unknown */
size_t mem_rss_bytes(void);      /* resident now */
size_t mem_rss_file_bytes(void); /* of these, pages of mapped files, which the system can take away; 0 where unknown */
size_t mem_available_bytes(void); /* what the machine could still give */

/* A bump arena over one block: workspace planned before the first step, reset between steps, no per-step malloc. */
struct arena {
    unsigned char *base;
    size_t size, used, peak;
};
bool arena_init(struct arena *a, size_t size, const char *what, struct gm_error *err);
void *arena_take(struct arena *a, size_t bytes); /* 64-byte aligned, not zeroed; asserts that it fits */
size_t arena_mark(const struct arena *a);
void arena_reset(struct arena *a, size_t mark);
void arena_free(struct arena *a);
/* Bytes that arena_take(bytes) uses: for planning. */
static inline size_t arena_cost(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

#endif
