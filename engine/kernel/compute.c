/* compute.c - the names of families and modes, and the packing memory of a driver. */
#include "engine/kernel/compute.h"

#include "engine/base/mem.h"
#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/probe.h"
#include "engine/kernel/processor.h"

#include <assert.h>
#include <string.h>

static const char *const family_names[FAMILY_COUNT] = {
    [FAMILY_AUTO] = "auto",       [FAMILY_AMX] = "amx",   [FAMILY_AVX512BF16] = "avx512bf16",
    [FAMILY_AVX512F] = "avx512f", [FAMILY_AVX2] = "avx2", [FAMILY_NEON] = "neon",
    [FAMILY_NEONBF16] = "neonbf16",
    [FAMILY_PLAIN] = "plain",
};
static const char *const mode_names[] = {
    [GM_COMPUTE_AUTO] = "auto", [GM_COMPUTE_BF16] = "bf16", [GM_COMPUTE_F32] = "f32"};

const char *family_name(enum family f)
{
    assert((unsigned)f < FAMILY_COUNT);
    return family_names[f];
}

bool family_parse(const char *name, enum family *f)
{
    for (int i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(name, family_names[i]) == 0) {
            *f = (enum family)i;
            return true;
        }
    }
    return false;
}

const char *compute_mode_name(enum compute_mode m)
{
    assert((unsigned)m <= GM_COMPUTE_F32);
    return mode_names[m];
}

bool compute_mode_parse(const char *name, enum compute_mode *m)
{
    for (int i = GM_COMPUTE_AUTO; i <= GM_COMPUTE_F32; i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            *m = (enum compute_mode)i;
            return true;
        }
    }
    return false;
}

bool family_runs_here(enum family f)
{
    return f == FAMILY_AUTO || family_table(f) != NULL;
}

bool compute_init(struct compute *c, struct pool *pool, enum gm_role role, enum compute_mode mode,
                  enum family family, struct gm_error *err)
{
    *c = (struct compute){.pool = pool, .role = role};
    if (family == FAMILY_AUTO)
        family = probe_of_machine()->fastest;
    c->k = family_table(family);
    if (!c->k)
        return error_set(
            err, GM_E_USAGE,
            "choose kernel %s: this processor or build does not have it (use --kernel auto)",
            family_name(family));
    c->family = family;
    c->mode = mode != GM_COMPUTE_AUTO  ? mode
              : family == FAMILY_PLAIN ? GM_COMPUTE_F32
                                       : GM_COMPUTE_BF16;
    f32_setup();
    c->scratch = mem_new(1, sizeof *c->scratch);
    c->scratch->n_slots = pool_slots(pool);
    c->scratch->slot = mem_new((size_t)c->scratch->n_slots, sizeof *c->scratch->slot);
    return true;
}

void compute_free(struct compute *c)
{
    struct compute_scratch *s = c->scratch;
    if (!s)
        return;
    for (size_t i = 0; i < sizeof s->shared / sizeof *s->shared; i++)
        mem_free(s->shared[i].data);
    for (int i = 0; i < s->n_slots; i++)
        mem_free(s->slot[i].data);
    mem_free(s->slot);
    mem_free(s);
    c->scratch = NULL;
}

static void *buffer_reserve(struct scratch_buffer *b, size_t bytes)
{
    if (bytes > b->size) {
        mem_free(b->data);
        b->size = bytes + bytes / 4;
        b->data = mem_new(b->size, 1);
    }
    return b->data;
}

void *scratch_shared(const struct compute *c, int which, size_t bytes)
{
    return buffer_reserve(&c->scratch->shared[which], bytes);
}

void scratch_slots(const struct compute *c, size_t bytes)
{
    for (int i = 0; i < c->scratch->n_slots; i++)
        buffer_reserve(&c->scratch->slot[i], bytes);
}
