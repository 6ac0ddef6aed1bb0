/* bench_attention - milliseconds and useful GFLOP/s of attention, one layer at a time.
 *
 *     bench_attention [--threads N] [--kernel FAMILY] [--compute f32] [--type f32] [--seconds 0.2] [--only "tinyllama, 1 x"]
 *
 * Forward and backward over one long sequence and over 16 short ones, then a step of decoding against a cache of bf16, with the heads of
 * known models. Operands are bf16 unless --type says f32. Useful: pairs that the causal mask lets see each other. Best and
 * median of as many runs as fit the time; a decoding step is told in GB/s of keys and values read.
 */
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/kernel/attention.h"
#include "engine/kernel/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SEQS = 64 };

struct model {
    const char *name;
    struct attention_shape a;
};
static const struct model models[] = {
    {"gemma3-270m", {.n_heads = 4, .n_kv_heads = 1, .head_dim = 256, .window = 512, .scale = 0.0625f}}, /* as gemma3-1b */
    {"smollm2-135m", {.n_heads = 9, .n_kv_heads = 3, .head_dim = 64, .scale = 0.125f}},
    {"tinyllama", {.n_heads = 32, .n_kv_heads = 4, .head_dim = 64, .scale = 0.125f}},
    {"gemma2-2b", {.n_heads = 8, .n_kv_heads = 4, .head_dim = 256, .scale = 0.0625f, .softcap = 50}},
};
static const struct {
    int n_seqs, length;
} batches[] = {{1, 512}, {16, 32}, {8, 100}, {1, 1024}}, caches[] = {{1, 512}, {1, 4096}, {16, 512}, {64, 512}};

static struct compute c;
static double seconds = 0.2;
static const char *only = "";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct step {
    struct attention_shape a;
    struct attention_batch b;
    struct attention_in dout;
    struct attention_out out, dq, dk, dv;
    float *lse;
    struct attention_request requests[MOST_SEQS];
};

static void run_forward(const struct step *s)
{
    attention(&c, &s->a, &s->b, s->out, s->lse);
}
static void run_backward(const struct step *s)
{
    attention_backward(&c, &s->a, &s->b, s->dout, (struct attention_in){s->out.data, s->out.ld, s->out.type}, s->lse, s->dq, s->dk, s->dv);
}
static void run_cached(const struct step *s)
{
    attention_cached(&c, &s->a, DT_BF16, s->out.data, s->b.q.data, s->requests, s->b.n_seqs);
}

static void measure(const char *what, const struct step *s, void (*work)(const struct step *), double amount, const char *unit)
{
    enum { MOST = 4000 };
    static double times[MOST];
    int n = 0;
    work(s);
    const double start = now();
    double last = start;
    while (n < MOST && (n < 3 || last - start < seconds)) {
        work(s);
        const double t = now();
        times[n++] = t - last;
        last = t;
    }
    const double median = quantile(times, n, 0.5);
    printf("  %-9s %8.3f ms best %8.3f median %8.1f %s\n", what, times[0] * 1e3, median * 1e3, amount / median * 1e-9, unit);
}

static struct attention_in operand(enum dtype type, int64_t rows, int64_t n)
{
    float *x = mem_new((size_t)(rows * n), sizeof *x);
    for (int64_t i = 0; i < rows * n; i++)
        x[i] = (float)((uint32_t)i * 2654435761u >> 8) / (1 << 23) - 1;
    if (type == DT_F32)
        return (struct attention_in){x, n, type};
    uint16_t *half = mem_new((size_t)(rows * n), sizeof *half);
    to_bf16(&c, half, x, rows * n);
    mem_free(x);
    return (struct attention_in){half, n, type};
}
static struct attention_out result(enum dtype type, int64_t rows, int64_t n)
{
    struct attention_in x = operand(type, rows, n);
    return (struct attention_out){(void *)x.data, x.ld, x.type};
}

static void bench_batch(const struct model *m, int n_seqs, int length, enum dtype type)
{
    int32_t start[MOST_SEQS + 1];
    for (int i = 0; i <= n_seqs; i++)
        start[i] = i * length;
    char title[64];
    snprintf(title, sizeof title, "%s, %d x %d", m->name, n_seqs, length);
    if (!strstr(title, only))
        return;
    puts(title);
    const int64_t T = n_seqs * length, wide = m->a.n_heads * m->a.head_dim, narrow = m->a.n_kv_heads * m->a.head_dim;
    struct step s = {.a = m->a, .b = {operand(type, T, wide), operand(type, T, narrow), operand(type, T, narrow), n_seqs, start},
                     .dout = operand(type, T, wide), .out = result(type, T, wide), .dq = result(type, T, wide),
                     .dk = result(type, T, narrow), .dv = result(type, T, narrow)};
    s.lse = mem_new((size_t)(T * m->a.n_heads), sizeof *s.lse);
    const double flops = attention_flops(&s.a, n_seqs, start);
    measure("forward", &s, run_forward, flops, "GFLOP/s");
    measure("backward", &s, run_backward, 2.5 * flops, "GFLOP/s");
    mem_free((void *)s.b.q.data), mem_free((void *)s.b.k.data), mem_free((void *)s.b.v.data), mem_free((void *)s.dout.data);
    mem_free(s.out.data), mem_free(s.dq.data), mem_free(s.dk.data), mem_free(s.dv.data), mem_free(s.lse);
}

static void bench_cache(const struct model *m, int n_seqs, int length)
{
    char title[64];
    snprintf(title, sizeof title, "%s, decoding %d at %d", m->name, n_seqs, length);
    if (!strstr(title, only))
        return;
    puts(title);
    const int64_t wide = m->a.n_heads * m->a.head_dim, narrow = m->a.n_kv_heads * m->a.head_dim;
    struct step s = {.a = m->a, .b = {.q = operand(DT_F32, n_seqs, wide), .n_seqs = n_seqs}, .out = result(DT_F32, n_seqs, wide)};
    s.a.window = 0;
    const int64_t slot = length * narrow; /* all sequences in one place, as the decoder has them */
    uint16_t *keys = (uint16_t *)(void *)result(DT_BF16, n_seqs, slot).data, *values = (uint16_t *)(void *)result(DT_BF16, n_seqs, slot).data;
    for (int i = 0; i < n_seqs; i++)
        s.requests[i] = (struct attention_request){keys + i * slot, values + i * slot, length - 1, 1};
    measure("step", &s, run_cached, (double)n_seqs * length * (double)narrow * 4, "GB/s");
    mem_free(keys), mem_free(values);
    mem_free((void *)s.b.q.data), mem_free(s.out.data);
}

int main(int argc, char **argv)
{
    int threads = 0;
    enum family family = FAMILY_AUTO;
    enum compute_mode mode = GM_COMPUTE_BF16;
    enum dtype type = DT_BF16;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(value);
        else if (strcmp(argv[i], "--only") == 0)
            only = value;
        else if (strcmp(argv[i], "--type") == 0)
            type = strcmp(value, "f32") == 0 ? DT_F32 : DT_BF16;
        else if (!(strcmp(argv[i], "--kernel") == 0 && family_parse(value, &family))
                 && !(strcmp(argv[i], "--compute") == 0 && compute_mode_parse(value, &mode))) {
            fprintf(stderr, "bench_attention: unknown argument %s %s\n", argv[i], value);
            return 2;
        }
    }
    struct gm_error err = {0};
    struct pool *pool = pool_new(threads, &err);
    if (!pool || !compute_init(&c, pool, GM_TRAIN, mode, family, &err)) {
        fprintf(stderr, "bench_attention: %s\n", err.text);
        return 1;
    }
    printf("%s, %s, %d threads, operands %s\n", family_name(c.family), compute_mode_name(c.mode), pool_threads(pool), dtype_name(type));
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
            bench_batch(&models[m], batches[i].n_seqs, batches[i].length, type);
        for (size_t i = 0; i < sizeof caches / sizeof *caches; i++)
            bench_cache(&models[m], caches[i].n_seqs, caches[i].length);
    }
    compute_free(&c);
    pool_free(pool);
    return 0;
}
