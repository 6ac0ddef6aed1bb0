/* touch.c - the pages of a block made ahead of its first use: a page that is written for the first time stops its thread until the system
 * has found and cleared one, and near which thread's memory it lies is decided then. So the threads that will compute write them. */
#include "engine/base/mem.h"
#include "engine/base/pool.h"

enum { PAGE = 4096, PIECE = 2 << 20 }; /* the smallest page; what one block of the pool makes: a huge page, where there are any */

struct touching {
    volatile unsigned char *base;
    size_t bytes;
};

static void touch_piece(void *arg, int piece, int slot)
{
    (void)slot;
    const struct touching *t = arg;
    size_t end = ((size_t)piece + 1) * PIECE < t->bytes ? ((size_t)piece + 1) * PIECE : t->bytes;
    for (size_t at = (size_t)piece * PIECE; at < end; at += PAGE)
        t->base[at] = t->base[at]; /* whatever is there stays */
}

void mem_touch(struct pool *pool, enum gm_role role, void *block, size_t bytes)
{
    if (block && bytes > 0)
        pool_run(pool, role, touch_piece, &(struct touching){block, bytes}, (int)((bytes + PIECE - 1) / PIECE));
}
