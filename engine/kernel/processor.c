/* processor.c - which kernel families may run here.
 *
 * x86-64: CPUID, and XCR0 (does the system save the wide registers?); AMX also needs the system's leave, asked for once per process.
 * aarch64: NEON is part of it; whether there are bf16 instructions, the system tells (HWCAP2, sysctl).
 */
#include "engine/kernel/processor.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

static struct {
    bool avx2, avx512, avx512bf16, amx;
    unsigned signature, features[4]; /* leaf 1 eax; leaf 1 ecx, leaf 7 ebx ecx edx */
    char model[49];
} processor;

static bool system_allows_amx(void)
{
#ifdef __linux__
    enum { ARCH_REQ_XCOMP_PERM_CALL = 0x1023, XFEATURE_TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_CALL, XFEATURE_TILE_DATA) == 0;
#else
    return false;
#endif
}

static void read_model(void)
{
    char model[48];
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u)
        return;
    for (unsigned i = 0; i < 3; i++) {
        __get_cpuid(0x80000002u + i, &a, &b, &c, &d);
        const unsigned words[4] = {a, b, c, d};
        memcpy(model + 16 * i, words, sizeof words);
    }
    text_clean_fixed(processor.model, sizeof processor.model, model, strnlen(model, sizeof model));
}

static void look(void)
{
    enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6, XCR0_TILE = 0x60000 };
    unsigned a, b, c, d;
    read_model();
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return;
    processor.signature = a;
    processor.features[0] = c;
    bool fma = c & bit_FMA, f16c = c & bit_F16C;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return;
    processor.features[1] = b, processor.features[2] = c, processor.features[3] = d;
    unsigned most = a;
    processor.avx2 = (low & XCR0_YMM) == XCR0_YMM && fma && f16c && (b & 1u << 5);
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    processor.avx512 = processor.avx2 && (low & XCR0_ZMM) == XCR0_ZMM && (b & f_dq_bw_vl) == f_dq_bw_vl;
    const unsigned amx_bf16_tile = 1u << 22 | 1u << 24;
    bool amx = processor.avx512 && (d & amx_bf16_tile) == amx_bf16_tile && (low & XCR0_TILE) == XCR0_TILE;
    if (processor.avx512 && most >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        processor.avx512bf16 = a & 1u << 5;
    processor.amx = amx && processor.avx512bf16 && system_allows_amx(); /* its packing converts by vcvtne2ps2bf16 */
}

static const struct kernel_table *own_table(enum family f)
{
    switch (f) {
    case FAMILY_AMX:
        return processor.amx ? kernel_table_amx() : NULL;
    case FAMILY_AVX512BF16:
        return processor.avx512bf16 ? kernel_table_avx512bf16() : NULL;
    case FAMILY_AVX512F:
        return processor.avx512 ? kernel_table_avx512f() : NULL;
    case FAMILY_AVX2:
        return processor.avx2 ? kernel_table_avx2() : NULL;
    default:
        return NULL;
    }
}

static void describe(struct str *out)
{
    str_printf(out, "x86-64 %08x %s, features %08x %08x %08x %08x, saved %d%d%d%d", processor.signature, processor.model, processor.features[0], processor.features[1],
               processor.features[2], processor.features[3], processor.avx2, processor.avx512, processor.avx512bf16, processor.amx);
}

#elif defined(__aarch64__)
#ifdef __linux__
#include <stdio.h>
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

static struct {
    bool bf16;
    unsigned long features[2];
    char model[64];
} processor;

#ifdef __linux__
static void look(void)
{
    enum { HWCAP2_BF16_BIT = 1 << 14 };
    processor.features[0] = getauxval(AT_HWCAP);
    processor.features[1] = getauxval(AT_HWCAP2);
    processor.bf16 = processor.features[1] & HWCAP2_BF16_BIT;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "re"); /* who made it, and what */
    char model[sizeof processor.model];
    if (f && fgets(model, sizeof model, f))
        text_clean_fixed(processor.model, sizeof processor.model, model, strcspn(model, "\n"));
    if (f)
        fclose(f);
}
#elif defined(__APPLE__)
static void look(void)
{
    int has = 0;
    size_t size = sizeof has;
    processor.bf16 = sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, NULL, 0) == 0 && has;
    char model[sizeof processor.model];
    size = sizeof model;
    if (sysctlbyname("machdep.cpu.brand_string", model, &size, NULL, 0) == 0)
        text_clean_fixed(processor.model, sizeof processor.model, model, strnlen(model, size));
}
#else
static void look(void) {}
#endif

static const struct kernel_table *own_table(enum family f)
{
    switch (f) {
    case FAMILY_NEONBF16:
        return processor.bf16 ? kernel_table_neonbf16() : NULL;
    case FAMILY_NEON:
        return kernel_table_neon();
    default:
        return NULL;
    }
}

static void describe(struct str *out)
{
    str_printf(out, "aarch64 %s, features %lx %lx, bf16 %d", processor.model, processor.features[0], processor.features[1], processor.bf16);
}

#else
static struct {
    char model[1];
} processor;

static void look(void) {}

static const struct kernel_table *own_table(enum family f)
{
    return NULL;
}

static void describe(struct str *out)
{
    str_add(out, "unknown processor");
}
#endif

static void look_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look);
}

const struct kernel_table *family_table(enum family f)
{
    look_once();
    return f == FAMILY_PLAIN ? kernel_table_portable() : own_table(f);
}

const char *processor_name(void)
{
    look_once();
    return processor.model[0] ? processor.model : "unknown processor";
}

void processor_describe(struct str *out)
{
    look_once();
    describe(out);
}
