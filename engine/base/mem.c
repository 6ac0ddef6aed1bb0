/* mem.c - accounted memory. A header of one cache line stands before every block; it knows where the block came from.
 *
 * The counters are the only process-wide state of the engine: they describe the process, as VmHWM does.
 */
#include "engine/base/mem.h"

#include "engine/base/checked.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE SIZE_MAX /* let the sanitizer see every block */
#else
#define LARGE HUGE_PAGE
#endif

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

struct header {
    size_t bytes;  /* accounted: header and block, or the whole mapping */
    size_t mapped; /* length of the mapping, 0 when it came from malloc */
    uint64_t magic;
};
_Static_assert(sizeof(struct header) <= ALIGN, "the header fits before the block");
static const uint64_t MAGIC = 0x67656d6d61696b75; /* "gemmaiku": a pointer that is not ours fails the assert in mem_free */

static atomic_size_t live_bytes, peak_bytes;
static atomic_uint_least64_t allocations;

static void account(size_t bytes)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    size_t live = atomic_fetch_add_explicit(&live_bytes, bytes, memory_order_relaxed) + bytes;
    size_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (live > peak && !atomic_compare_exchange_weak_explicit(&peak_bytes, &peak, live, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Header and block; the whole huge pages that a large one lies in, since its tail is as resident as the rest. False: no number holds it. */
static bool whole_size(size_t bytes, size_t *total)
{
    size_t padded;
    if (!checked_add(bytes, ALIGN, total) || !checked_add(*total, HUGE_PAGE - 1, &padded))
        return false;
    if (*total >= LARGE)
        *total = padded & ~(size_t)(HUGE_PAGE - 1);
    return true;
}

size_t mem_block_bytes(size_t bytes)
{
    size_t total;
    return whole_size(bytes, &total) ? total : SIZE_MAX;
}

/* A zeroed mapping that starts on a huge page, so that the kernel can use huge pages from its first byte. */
static void *map_aligned(size_t length, size_t *mapped)
{
    size_t padded;
    if (!checked_add(length, HUGE_PAGE, &padded))
        return NULL;
    unsigned char *raw = mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - ((uintptr_t)raw & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
    if (before > 0)
        munmap(raw, before);
    munmap(raw + before + length, padded - before - length);
#ifdef MADV_HUGEPAGE
    madvise(raw + before, length, MADV_HUGEPAGE); /* advice: nothing is wrong when it is refused */
#endif
    *mapped = length;
    return raw + before;
}

/* The one allocator: `bytes` zeroed bytes behind a header, or NULL. */
static void *allocate(size_t bytes)
{
    size_t total, mapped = 0;
    void *raw = NULL;
    if (!whole_size(bytes, &total))
        return NULL;
    if (total >= LARGE)
        raw = map_aligned(total, &mapped);
    else if (posix_memalign(&raw, ALIGN, total) == 0)
        memset(raw, 0, total);
    else
        raw = NULL;
    if (!raw)
        return NULL;
    *(struct header *)raw = (struct header){.bytes = total, .mapped = mapped, .magic = MAGIC};
    account(total);
    return (unsigned char *)raw + ALIGN;
}

static struct header *header_of(void *block)
{
    struct header *h = (struct header *)((unsigned char *)block - ALIGN);
    assert(h->magic == MAGIC);
    return h;
}

static void out_of_memory(size_t count, size_t size)
{
    fprintf(stderr, "gemmaiku: allocate %zu x %zu bytes: out of memory\n", count, size);
    abort();
}

void *mem_alloc(size_t bytes, const char *what, struct gm_error *err)
{
    void *block = allocate(bytes);
    if (!block) {
        error_set(err, GM_E_MEMORY, "allocate %s: %.1f MiB are not to be had, %.1f MiB are available (close other programs, or ask for less)",
                  what, (double)bytes / (1 << 20), (double)mem_available_bytes() / (1 << 20));
    }
    return block;
}

void *mem_new(size_t count, size_t size)
{
    size_t bytes;
    void *block = checked_mul(count, size, &bytes) ? allocate(bytes) : NULL;
    if (!block)
        out_of_memory(count, size);
    return block;
}

void *mem_grow(void *block, size_t old_count, size_t new_count, size_t size)
{
    void *grown = mem_new(new_count, size);
    if (block) {
        size_t kept = old_count < new_count ? old_count : new_count;
        memcpy(grown, block, kept * size);
        mem_free(block);
    }
    return grown;
}

void *mem_room(void *block, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return block;
    size_t more = *cap ? (*cap > SIZE_MAX / 2 ? SIZE_MAX : 2 * *cap) : 64;
    block = mem_grow(block, *cap, more, size);
    *cap = more;
    return block;
}

char *mem_copy_n(const char *text, size_t n)
{
    size_t bytes;
    if (!checked_add(n, 1, &bytes))
        out_of_memory(n, 1);
    char *copy = mem_new(bytes, 1);
    if (n > 0)
        memcpy(copy, text, n);
    return copy;
}

char *mem_copy(const char *text)
{
    return mem_copy_n(text, strlen(text));
}

char *mem_printf(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t size = n < 0 ? 1 : (size_t)n + 1;
    char *text = mem_new(size, 1);
    if (n > 0)
        vsnprintf(text, size, format, again);
    va_end(again);
    return text;
}

void mem_free(void *block)
{
    if (!block)
        return;
    struct header *h = header_of(block);
    atomic_fetch_sub_explicit(&live_bytes, h->bytes, memory_order_relaxed);
    h->magic = 0;
    if (h->mapped > 0)
        munmap(h, h->mapped);
    else
        free(h);
}

size_t mem_live_bytes(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

size_t mem_peak_bytes(void)
{
    return atomic_load_explicit(&peak_bytes, memory_order_relaxed);
}

uint64_t mem_allocations(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

bool arena_init(struct arena *a, size_t size, const char *what, struct gm_error *err)
{
    *a = (struct arena){0};
    a->base = mem_alloc(size, what, err);
    if (!a->base)
        return false;
    a->size = size;
    return true;
}

void *arena_take(struct arena *a, size_t bytes)
{
    size_t cost = arena_cost(bytes);
    assert(cost >= bytes && cost <= a->size - a->used);
    void *block = a->base + a->used;
    a->used += cost;
    if (a->used > a->peak)
        a->peak = a->used;
    return block;
}

size_t arena_mark(const struct arena *a)
{
    return a->used;
}

void arena_reset(struct arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}

void arena_free(struct arena *a)
{
    mem_free(a->base);
    *a = (struct arena){0};
}
