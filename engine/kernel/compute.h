/* compute.h - who computes, how: the argument that every kernel takes first.
 *
 * A `struct compute` is made once per thread that drives computation (trainer, taster); it names the pool, the role at the gate, the
 * arithmetic and the kernel family, and owns that driver's packing scratch. Kernels are pure functions of their arguments: same
 * inputs, same family, same bits, whatever the number of threads.
 *
 * Families: CPUID says what may run (processor.h), a probe of at most 50 ms says what is fastest and is remembered (probe.h). Every family is tested against `plain`.
 *
 *     struct compute c;
 *     compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, FAMILY_AUTO, &err);
 */
#ifndef GM_KERNEL_COMPUTE_H
#define GM_KERNEL_COMPUTE_H

#include "engine/base/pool.h"
#include "engine/kernel/dtype.h"

enum compute_mode {
    GM_COMPUTE_AUTO, /* bf16 where the family has own packed kernels, else f32 */
    GM_COMPUTE_BF16, /* matrix operands rounded to bf16, products summed in f32 */
    GM_COMPUTE_F32   /* the reference: OpenBLAS in f32 */
};
enum family { FAMILY_AUTO, FAMILY_AMX, FAMILY_AVX512BF16, FAMILY_AVX512F, FAMILY_AVX2, FAMILY_NEONBF16, FAMILY_NEON, FAMILY_PLAIN, FAMILY_COUNT };

struct kernel_table; /* private: function pointers of one family */
struct compute_scratch;

struct compute {
    struct pool *pool;
    enum gm_role role;
    enum compute_mode mode; /* resolved: never AUTO after compute_init */
    enum family family;     /* resolved: never AUTO after compute_init */
    const struct kernel_table *k;
    struct compute_scratch *scratch; /* packing buffers, one per pool slot */
    bool head_skip; /* head.h: parts of the vocabulary that change no sum are left out of gradients */
};

bool compute_init(struct compute *c, struct pool *pool, enum gm_role role, enum compute_mode mode, enum family family,
                  struct gm_error *err); /* an explicit family that this processor lacks is an error */
void compute_free(struct compute *c);

const char *processor_name(void); /* "AMD EPYC 9R45", printable */
bool family_runs_here(enum family f);
const char *family_name(enum family f); /* as --kernel spells it: "avx512bf16" */
bool family_parse(const char *name, enum family *f);
const char *compute_mode_name(enum compute_mode m);
bool compute_mode_parse(const char *name, enum compute_mode *m);
/* GFLOP/s of each family on one thread, by a short packed product (0 where it cannot run); total at most 50 ms. See probe.h. */
void compute_probe(double gflops[FAMILY_COUNT]);

#endif
