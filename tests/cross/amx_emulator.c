/* amx_emulator.c - see amx_emulator.h. */
#include "tests/cross/amx_emulator.h"

#include "engine/kernel/probe.h"
#include "engine/kernel/processor.h"

#include <immintrin.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, SKIPPED = 77 };

/* The operand of ldtilecfg and sttilecfg. */
struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static _Thread_local struct {
    bool configured;
    struct config config;
    _Alignas(64) unsigned char tile[TILES][ROWS][ROW_BYTES];
} here;

/* ---- counting ---- */

static struct {
    _Atomic uint64_t products, loads, stores, zeros, configures, lines, missed;
} counted;

static void count(_Atomic uint64_t *what, uint64_t n)
{
    atomic_fetch_add_explicit(what, n, memory_order_relaxed);
}

struct amx_counts amx_counts(void)
{
    return (struct amx_counts){.products = counted.products,
                               .loads = counted.loads,
                               .stores = counted.stores,
                               .zeros = counted.zeros,
                               .configures = counted.configures,
                               .lines = counted.lines,
                               .missed = counted.missed};
}

enum { SETS = 64, WAYS = 12 };
static _Thread_local uintptr_t cache[SETS][WAYS]; /* the last one used first */

/* Whether the line was there; now it is. */
static bool touch(uintptr_t line)
{
    uintptr_t *set = cache[line % SETS];
    int way = 0;
    while (way < WAYS - 1 && set[way] != line)
        way++;
    const bool there = set[way] == line;
    memmove(set + 1, set, (size_t)way * sizeof *set);
    set[0] = line;
    return there;
}

static void touch_rows(const unsigned char *at, int64_t stride, int rows, int bytes, bool load)
{
    uint64_t lines = 0, missed = 0;
    for (int r = 0; r < rows; r++) {
        const uintptr_t first = (uintptr_t)(at + r * stride), last = first + (uintptr_t)bytes - 1;
        for (uintptr_t line = first / 64; line <= last / 64; line++) {
            lines++;
            missed += !touch(line);
        }
    }
    if (load) {
        count(&counted.lines, lines);
        count(&counted.missed, missed);
    }
}

/* ---- instructions ---- */

static _Noreturn void refuse(const char *instruction, const char *fact)
{
    fprintf(stderr, "run %s: %s (a processor with AMX would fault here)\n", instruction, fact);
    abort();
}

static void clear_tiles(void)
{
    memset(here.tile, 0, sizeof here.tile);
}

static void load_config(const unsigned char *memory)
{
    struct config c;
    memcpy(&c, memory, sizeof c);
    count(&counted.configures, 1);
    if (c.palette > 1)
        refuse("ldtilecfg", "there is no such palette");
    for (size_t i = 0; i < sizeof c.reserved; i++)
        if (c.reserved[i])
            refuse("ldtilecfg", "a reserved byte is not zero");
    for (int i = 0; i < 16; i++) {
        const bool none = c.rows[i] == 0 && c.row_bytes[i] == 0;
        if (!none && (i >= TILES || c.rows[i] == 0 || c.row_bytes[i] == 0 || c.rows[i] > ROWS || c.row_bytes[i] > ROW_BYTES))
            refuse("ldtilecfg", "a tile has no such shape");
    }
    if (c.start_row)
        refuse("ldtilecfg", "a start row is not emulated");
    here.config = c;
    here.configured = c.palette == 1;
    clear_tiles();
}

static void store_config(unsigned char *memory)
{
    const struct config none = {0};
    memcpy(memory, here.configured ? &here.config : &none, sizeof none);
}

static void release(void)
{
    here.configured = false;
    clear_tiles();
}

static void need_tile(const char *instruction, int t)
{
    if (!here.configured)
        refuse(instruction, "tiles are not configured");
    if (t >= TILES || here.config.rows[t] == 0)
        refuse(instruction, "the tile has no shape");
}

static void tile_zero(int t)
{
    need_tile("tilezero", t);
    count(&counted.zeros, 1);
    memset(here.tile[t], 0, sizeof here.tile[t]);
}

static void tile_load(int t, const unsigned char *from, int64_t stride)
{
    need_tile("tileloadd", t);
    count(&counted.loads, 1);
    const int rows = here.config.rows[t], bytes = here.config.row_bytes[t];
    memset(here.tile[t], 0, sizeof here.tile[t]);
    for (int r = 0; r < rows; r++)
        memcpy(here.tile[t][r], from + r * stride, (size_t)bytes);
    touch_rows(from, stride, rows, bytes, true);
}

static void tile_store(int t, unsigned char *to, int64_t stride)
{
    need_tile("tilestored", t);
    count(&counted.stores, 1);
    for (int r = 0; r < here.config.rows[t]; r++)
        memcpy(to + r * stride, here.tile[t][r], here.config.row_bytes[t]);
    touch_rows(to, stride, here.config.rows[t], here.config.row_bytes[t], false);
}

__attribute__((target("avx512f"), noinline)) static void multiply_rows(float *c, const uint16_t *a, const uint16_t *b, int rows, int pairs)
{
    for (int m = 0; m < rows; m++, c += 16, a += 32) {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        for (int k = 0; k < pairs; k++) {
            const __m512i both = _mm512_loadu_si512(b + 32 * k);
            const __m512 b0 = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
                         b1 = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000)));
            const __m512 a0 = _mm512_castsi512_ps(_mm512_set1_epi32((int)((uint32_t)a[2 * k] << 16))),
                         a1 = _mm512_castsi512_ps(_mm512_set1_epi32((int)((uint32_t)a[2 * k + 1] << 16)));
            even = _mm512_fmadd_ps(a0, b0, even);
            odd = _mm512_fmadd_ps(a1, b1, odd);
        }
        _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c), _mm512_add_ps(even, odd)));
    }
}

void amx_multiply(float c[16][16], const uint16_t a[16][32], const uint16_t b[16][32], int rows, int pairs)
{
    enum { NO_EXCEPTIONS = 0x1f80, DENORMALS_ARE_ZERO = 0x40, FLUSH_TO_ZERO = 0x8000 };
    const unsigned kept = _mm_getcsr();
    _mm_setcsr(NO_EXCEPTIONS | DENORMALS_ARE_ZERO | FLUSH_TO_ZERO);
    multiply_rows(c[0], a[0], b[0], rows, pairs);
    _mm_setcsr(kept);
}

static void tile_multiply(int to, int left, int right)
{
    const char *name = "tdpbf16ps";
    need_tile(name, to), need_tile(name, left), need_tile(name, right);
    const struct config *c = &here.config;
    if (to == left || to == right || left == right)
        refuse(name, "two operands are the same tile");
    if (c->row_bytes[to] % 4 || c->row_bytes[left] % 4 || c->row_bytes[right] % 4 || c->rows[to] != c->rows[left] ||
        c->row_bytes[left] / 4 != c->rows[right] || c->row_bytes[to] != c->row_bytes[right])
        refuse(name, "the shapes of the tiles do not fit together");
    count(&counted.products, 1);
    float sums[16][16];
    uint16_t a[16][32], b[16][32];
    memcpy(sums, here.tile[to], sizeof sums);
    memcpy(a, here.tile[left], sizeof a);
    memcpy(b, here.tile[right], sizeof b);
    amx_multiply(sums, (const uint16_t(*)[32])a, (const uint16_t(*)[32])b, c->rows[to], c->row_bytes[left] / 4);
    memset(here.tile[to], 0, sizeof here.tile[to]);
    for (int r = 0; r < c->rows[to]; r++)
        memcpy(here.tile[to][r], sums[r], c->row_bytes[to]);
}

/* ---- decoding ---- */

/* VEX with three bytes, map 0F38, W0, 128 bits; then the opcode, ModRM, and for a memory operand SIB and displacement. */
struct instruction {
    int prefix, opcode, reg, rm, vvvv; /* prefix: 0 none, 1 66, 2 F3, 3 F2 */
    bool memory;
    unsigned char *base; /* the address without the index */
    int64_t index;       /* scaled */
    int length;
};

static uint64_t general_register(const ucontext_t *u, int n)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)u->uc_mcontext.gregs[order[n]];
}

static int64_t signed_bytes(const unsigned char *at, int n)
{
    int8_t one;
    int32_t four;
    memcpy(&one, at, sizeof one);
    if (n == 1)
        return one;
    memcpy(&four, at, sizeof four);
    return four;
}

/* false: no instruction of this kind. */
static bool decode(const ucontext_t *u, struct instruction *d)
{
    const unsigned char *start = (const unsigned char *)u->uc_mcontext.gregs[REG_RIP], *at = start;
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || at[2] & 0x84)
        return false;
    const int r = at[1] & 0x80 ? 0 : 8, x = at[1] & 0x40 ? 0 : 8, b = at[1] & 0x20 ? 0 : 8, modrm = at[4], mod = modrm >> 6;
    *d = (struct instruction){.prefix = at[2] & 3, .opcode = at[3], .vvvv = ~(at[2] >> 3) & 15, .reg = (modrm >> 3 & 7) + r, .rm = (modrm & 7) + b};
    if (d->opcode != 0x49 && d->opcode != 0x4b && d->opcode != 0x5c)
        return false;
    at += 5;
    d->memory = mod != 3;
    if (d->memory) {
        uint64_t base = 0;
        int bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
        bool relative = false;
        if ((modrm & 7) == 4) {
            const int sib = *at++, index = (sib >> 3 & 7) + x, low = sib & 7;
            if (index != 4)
                d->index = (int64_t)(general_register(u, index) << (sib >> 6));
            if (low == 5 && mod == 0)
                bytes = 4;
            else
                base = general_register(u, low + b);
        } else if ((modrm & 7) == 5 && mod == 0) {
            bytes = 4;
            relative = true;
        } else {
            base = general_register(u, d->rm);
        }
        if (bytes)
            base += (uint64_t)signed_bytes(at, bytes);
        at += bytes;
        if (relative)
            base += (uint64_t)(uintptr_t)at;
        d->base = (unsigned char *)(uintptr_t)base;
    }
    d->length = (int)(at - start);
    return true;
}

static bool execute(const struct instruction *d)
{
    enum { NONE, P66, PF3, PF2 };
    if (d->opcode == 0x49 && d->memory && d->reg % 8 == 0 && d->prefix == NONE)
        load_config(d->base + d->index);
    else if (d->opcode == 0x49 && d->memory && d->reg % 8 == 0 && d->prefix == P66)
        store_config(d->base + d->index);
    else if (d->opcode == 0x49 && !d->memory && d->prefix == NONE && d->reg == 0 && d->rm == 0)
        release();
    else if (d->opcode == 0x49 && !d->memory && d->prefix == PF2)
        tile_zero(d->reg);
    else if (d->opcode == 0x4b && d->memory && (d->prefix == PF2 || d->prefix == P66)) /* the second: tileloaddt1, whose hint changes nothing */
        tile_load(d->reg, d->base, d->index);
    else if (d->opcode == 0x4b && d->memory && d->prefix == PF3)
        tile_store(d->reg, d->base, d->index);
    else if (d->opcode == 0x5c && !d->memory && d->prefix == PF3)
        tile_multiply(d->reg, d->rm, d->vvvv);
    else
        return false;
    return true;
}

static void (*handle(int number, void (*handler)(int)))(int)
{
    struct sigaction next = {.sa_handler = handler, .sa_flags = SA_RESTART}, last;
    return sigaction(number, &next, &last) == 0 ? last.sa_handler : SIG_ERR;
}

static void on_illegal_instruction(int signal_number, siginfo_t *info, void *context)
{
    (void)info;
    ucontext_t *u = context;
    struct instruction d;
    bool any = false;
    while (decode(u, &d) && execute(&d)) { /* as many as follow one another */
        u->uc_mcontext.gregs[REG_RIP] += d.length;
        any = true;
    }
    if (!any)
        handle(signal_number, SIG_DFL); /* it runs again, and ends the program */
}

/* Instead of the C library's: cmocka takes every SIGILL for the end of a test, but this one is taken. */
void (*signal(int number, void (*handler)(int)))(int)
{
    return number == SIGILL && amx_is_emulated() ? SIG_DFL : handle(number, handler);
}

/* ---- what the program believes ---- */

const struct kernel_table *__real_family_table(enum family f);
const struct kernel_table *__wrap_family_table(enum family f);
const struct probe *__wrap_probe_of_machine(void);

bool amx_is_emulated(void)
{
    return __real_family_table(FAMILY_AMX) == NULL;
}

const struct kernel_table *__wrap_family_table(enum family f)
{
    return f == FAMILY_AMX ? kernel_table_amx() : f == FAMILY_PLAIN ? __real_family_table(f) : NULL;
}

const struct probe *__wrap_probe_of_machine(void)
{
    static const struct probe p = {.gflops = {[FAMILY_AMX] = 1}, .fastest = FAMILY_AMX};
    return &p;
}

__attribute__((constructor)) static void begin(void)
{
    if (!amx_is_emulated())
        return;
    if (!kernel_table_amx() || !__real_family_table(FAMILY_AVX512BF16)) {
        fprintf(stderr, "skipped: this processor, or the compiler of this build, lacks AVX-512-BF16 or knows no AMX\n");
        _exit(SKIPPED);
    }
    struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}
