/* bench_matmul - GFLOP/s of the matrix products, conversion and packing included.
 *
 *     bench_matmul [--threads N] [--kernel FAMILY] [--type Q4_1] [--seconds 0.2] [T in out]...
 *
 * Without shapes: those of SmolLM2-135M and nano at 512 tokens. Best and median of as many runs as
 * fit the time.
 */
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/kernel/head.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/quantise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    struct compute c;
    double seconds;
    enum dtype type;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct product {
    int64_t T, in, out;
    const struct mat *w;
    float *x, *y, *dw;
    int32_t *targets;
    void *workspace;
};
typedef void (*work_fn)(struct bench *b, struct product *p);

static void run_nt(struct bench *b, struct product *p)
{
    matmul_nt(&b->c, p->y, p->out, p->x, p->in, p->T, p->w, false);
}
static void run_nn(struct bench *b, struct product *p)
{
    matmul_nn(&b->c, p->x, p->in, p->y, p->out, p->T, p->w, false);
}
static void run_tn(struct bench *b, struct product *p)
{
    matmul_tn(&b->c, p->dw, p->in, p->y, p->out, p->out, p->x, p->in, p->in, p->T, 1.0f, true);
}
static void run_head(struct bench *b, struct product *p)
{
    head_loss(&b->c, p->w, 0, p->x, p->targets, p->T, 1e-3f, NULL, p->dw, NULL, p->workspace);
}
static void run_head_full(struct bench *b, struct product *p)
{
    head_loss(&b->c, p->w, 0, p->x, p->targets, p->T, 1e-3f, NULL, p->y, p->dw, p->workspace);
}

static void measure(struct bench *b, const char *what, struct product *p, work_fn work,
                    double flops)
{
    enum { MOST = 2000 };
    static double times[MOST];
    int n = 0;
    work(b, p);
    double start = now(), last = start;
    while (n < MOST && (n < 3 || last - start < b->seconds)) {
        work(b, p);
        double t = now();
        times[n++] = t - last;
        last = t;
    }
    const double median = quantile(times, n, 0.5);
    printf("  %-9s %8.1f best %8.1f median", what, flops / times[0] * 1e-9, flops / median * 1e-9);
    if (median < 0.01)
        printf(" (%.0f us)\n", median * 1e6);
    else
        printf(" (%.1f ms)\n", median * 1e3);
}

static float *noise(int64_t n)
{
    float *x = mem_new((size_t)n + (1 << 19),
                       sizeof *x); /* large enough for huge pages, as the arenas of a run are */
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u) % 1000) / 1000 - 0.5f;
    return x;
}

/* Noise in a storage type; MLX: groups of 64, bf16 scales. False: the row does not fit, or the type is not written. */
static bool stored(enum dtype type, int64_t rows, int64_t cols, struct mat *w, void **owned)
{
    enum { GROUP = 64 };
    size_t row_bytes, scale_bytes = dtype_is_mlx(type) ? (size_t)(cols / GROUP) * 2 : 0;
    if (!dtype_row_bytes(type, (size_t)cols, &row_bytes) || (scale_bytes ? cols % GROUP != 0 : !quantise_can(type)))
        return false;
    unsigned char *data = *owned = mem_new((size_t)rows, row_bytes + 2 * scale_bytes);
    unsigned char *scales = data + (size_t)rows * row_bytes, *biases = scales + (size_t)rows * scale_bytes;
    *w = (struct mat){.data = data, .type = type, .rows = rows, .cols = cols, .row_bytes = row_bytes};
    float *row = noise(cols);
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *to = data + (size_t)r * row_bytes;
        if (scale_bytes)
            quantise_mlx_row((int)dtype_block_bytes(type) / 4, GROUP, DT_BF16, row, (uint32_t *)(void *)to,
                             scales + (size_t)r * scale_bytes, biases + (size_t)r * scale_bytes, (size_t)cols);
        else if (r == 0)
            quantise_row(type, row, to, (size_t)cols);
        else
            memcpy(to, data, row_bytes);
    }
    if (scale_bytes) {
        w->scales = scales;
        w->biases = biases;
        w->scale_type = DT_BF16;
        w->group = GROUP;
    }
    mem_free(row);
    return true;
}

static void shape(struct bench *b, int64_t T, int64_t in, int64_t out, bool head)
{
    struct product p = {.T = T, .in = in, .out = out};
    enum dtype type = head && b->type == DT_Q4_1 ? DT_Q8_0 : b->type;
    struct mat w;
    void *data;
    if (!stored(type, out, in, &w, &data))
        return;
    p.w = &w;
    p.x = noise(T * in);
    p.y = noise(T * (head ? in : out));
    p.dw = mem_new((size_t)(in * out), sizeof *p.dw);
    double flops = 2.0 * (double)T * (double)in * (double)out;
    printf("%s %s: T %d, %d -> %d (%s, %d threads)\n", compute_mode_name(b->c.mode),
           family_name(b->c.family), (int)T, (int)in, (int)out, dtype_name(type),
           pool_threads(b->c.pool));
    if (head) {
        p.targets = mem_new((size_t)T, sizeof *p.targets);
        p.workspace = mem_new(head_workspace_bytes(T, out, in, true, b->c.mode), 1);
        measure(b, "head", &p, run_head, 2 * flops);
        measure(b, "head+dE", &p, run_head_full, 3 * flops);
    } else {
        measure(b, "nt", &p, run_nt, flops);
        measure(b, "nn", &p, run_nn, flops);
        measure(b, "tn", &p, run_tn, flops);
    }
    mem_free(data), mem_free(p.x), mem_free(p.y), mem_free(p.dw), mem_free(p.targets),
        mem_free(p.workspace);
}

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    struct bench b = {.seconds = 0.1, .type = DT_Q4_1};
    enum family only = FAMILY_AUTO;
    int threads = 0, i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            b.seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--kernel") == 0 && !family_parse(argv[i + 1], &only))
            return fprintf(stderr, "no family %s\n", argv[i + 1]), 2;
        for (int t = 0; strcmp(argv[i], "--type") == 0 && t < DT_COUNT; t++) {
            if (strcmp(argv[i + 1], dtype_name((enum dtype)t)) == 0)
                b.type = (enum dtype)t;
        }
    }
    struct pool *pool = pool_new(threads, &err);
    if (!pool)
        return fprintf(stderr, "%s\n", err.text), 1;
    double gflops[FAMILY_COUNT];
    compute_probe(gflops);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        printf("probe %-12s %8.1f GFLOP/s on one thread\n", family_name((enum family)f), gflops[f]);
    for (int f = FAMILY_AUTO + 1; f <= FAMILY_COUNT; f++) {
        bool reference = f == FAMILY_COUNT; /* last: F32 mode */
        if (!reference &&
            (!family_runs_here((enum family)f) || (only != FAMILY_AUTO && f != (int)only)))
            continue;
        if (!reference && f == FAMILY_PLAIN && only != FAMILY_PLAIN)
            continue;
        if (!compute_init(&b.c, pool, GM_TRAIN, reference ? GM_COMPUTE_F32 : GM_COMPUTE_BF16,
                          reference ? FAMILY_PLAIN : (enum family)f, &err))
            return fprintf(stderr, "%s\n", err.text), 1;
        if (i + 2 < argc) {
            for (int a = i; a + 2 < argc; a += 3)
                shape(&b, atoll(argv[a]), atoll(argv[a + 1]), atoll(argv[a + 2]),
                      atoll(argv[a + 2]) >= 4096);
        } else {
            static const int64_t shapes[][3] = {
                {512, 576, 576},   {512, 576, 192},  {512, 576, 1536}, {512, 1536, 576},
                {512, 576, 16},    {512, 16, 576},   {1, 576, 1536},   {8, 576, 1536},
                {128, 576, 49152}, {1024, 256, 4096}};
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                shape(&b, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][2] >= 4096);
        }
        compute_free(&b.c);
    }
    pool_free(pool);
    return 0;
}
