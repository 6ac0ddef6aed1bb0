/* bench_products - every matrix product of a model's layer as a training step runs it, against what the processor can do.
 *
 *     bench_products [--threads N] [--kernel FAMILY] [--type BF16] [--rows 512] [--rank 16] [--activations bf16|f32] [--seconds 0.15] SHAPE...
 *
 * For each group of projections with one input (q|k|v, o, gate|up, down):
 *     y      y_i = x W_iᵀ + z_i B_iᵀ       forward, the adapter folded in
 *     dx     dx = sum of g_i W_i + dz_i A_i
 *     z      z_i = x A_iᵀ                  thin products
 *     dz     dz_i = g_i B_i
 *     dA,dB  dA_i += dz_iᵀ x, dB_i += g_iᵀ z_i
 * GFLOP/s (median of runs over weights that do not fit the caches together) and the share of the peak, which is measured before and after each
 * model. The worst share of y and dx closes a model: those are the products of the base weights.
 */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/peak.h"
#include "engine/kernel/quantise.h"
#include "engine/model/products.h"
#include "src/cli/shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 24, MLX_GROUP = 64 };
static const double BYTES_OF_WEIGHTS = 96e6; /* of a product, all copies: more than the caches hold */

struct bench {
    struct compute c;
    int64_t T, rank;
    double seconds, peak;
    enum dtype weights, activations;
};

/* An activation [T, n] of the bench's type. */
struct rows {
    void *data;
    int64_t ld;
    enum dtype type;
};

static float noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / 16777216.0f - 0.5f;
}

static struct rows activation(const struct bench *b, int64_t n, uint64_t seed)
{
    const bool bf16 = b->activations == DT_BF16;
    struct rows a = {.ld = bf16 ? matmul_stride(n) : n, .type = b->activations};
    const int64_t count = matmul_rows(b->T) * a.ld;
    a.data = mem_new((size_t)count + (1 << 20), bf16 ? 2 : 4); /* large enough for huge pages, as the arenas of a run are */
    for (int64_t i = 0; i < count; i++) {
        float value = i % a.ld < n ? noise(&seed) : 0;
        if (bf16)
            ((uint16_t *)a.data)[i] = f32_to_bf16(value);
        else
            ((float *)a.data)[i] = value;
    }
    return a;
}

/* A matrix in a storage type. MLX: bf16 scales and biases behind the codes. */
static struct mat stored(enum dtype type, int64_t rows, int64_t cols, uint64_t seed)
{
    size_t row_bytes, scales = dtype_is_mlx(type) ? (size_t)(cols / MLX_GROUP) * 2 : 0;
    if (!dtype_row_bytes(type, (size_t)cols, &row_bytes))
        return (struct mat){0};
    unsigned char *data = mem_new((size_t)rows, row_bytes + 2 * scales);
    struct mat w = {.data = data, .type = type, .rows = rows, .cols = cols, .row_bytes = row_bytes};
    if (scales) {
        w.scales = data + (size_t)rows * row_bytes;
        w.biases = data + (size_t)rows * (row_bytes + scales);
        w.scale_type = DT_BF16;
        w.group = MLX_GROUP;
    }
    float *row = mem_new((size_t)cols, sizeof *row);
    for (int64_t i = 0; i < cols; i++)
        row[i] = noise(&seed);
    for (int64_t r = 0; r < rows; r++) { /* all rows alike */
        unsigned char *to = data + (size_t)r * row_bytes;
        if (scales)
            quantise_mlx_row((int)dtype_block_bytes(type) / 4, MLX_GROUP, DT_BF16, row, (uint32_t *)(void *)to,
                             data + (size_t)rows * row_bytes + (size_t)r * scales,
                             data + (size_t)rows * (row_bytes + scales) + (size_t)r * scales, (size_t)cols);
        else if (r == 0)
            quantise_row(type, row, to, (size_t)cols);
        else
            memcpy(to, data, row_bytes);
    }
    mem_free(row);
    return w;
}

struct group {
    const struct product *p;
    int copies, turn;
    struct mat w[COPIES][PRODUCT_JOINED], a[PRODUCT_JOINED], b[PRODUCT_JOINED];
    struct rows x, dx, z[PRODUCT_JOINED], y[PRODUCT_JOINED], g[PRODUCT_JOINED];
    float *da[PRODUCT_JOINED], *db[PRODUCT_JOINED];
};
typedef void (*work_fn)(const struct bench *b, struct group *g);

static struct matmul_term term(const struct rows *a, const struct mat *w)
{
    return (struct matmul_term){.a = a->data, .lda = a->ld, .w = w, .a_type = a->type};
}
static struct matmul_output output(const struct rows *y)
{
    return (struct matmul_output){.y = y->data, .ldy = y->ld, .y_type = y->type};
}

static void run_y(const struct bench *b, struct group *g)
{
    struct matmul_output o[PRODUCT_JOINED];
    for (int i = 0; i < g->p->n; i++) {
        o[i] = output(&g->y[i]);
        o[i].terms[o[i].n_terms++] = term(&g->x, &g->w[g->turn][i]);
        if (b->rank > 0)
            o[i].terms[o[i].n_terms++] = term(&g->z[i], &g->b[i]);
    }
    matmul_nt_joined(&b->c, o, g->p->n, b->T);
}
static void run_dx(const struct bench *b, struct group *g)
{
    struct matmul_output o = output(&g->dx);
    for (int i = 0; i < g->p->n; i++) {
        o.terms[o.n_terms++] = term(&g->g[i], &g->w[g->turn][i]);
        if (b->rank > 0)
            o.terms[o.n_terms++] = term(&g->z[i], &g->a[i]);
    }
    matmul_nn_joined(&b->c, &o, 1, b->T);
}
static void run_z(const struct bench *b, struct group *g)
{
    struct matmul_output o[PRODUCT_JOINED];
    for (int i = 0; i < g->p->n; i++) {
        o[i] = output(&g->z[i]);
        o[i].terms[o[i].n_terms++] = term(&g->x, &g->a[i]);
    }
    matmul_nt_joined(&b->c, o, g->p->n, b->T);
}
static void run_dz(const struct bench *b, struct group *g)
{
    struct matmul_output o[PRODUCT_JOINED];
    for (int i = 0; i < g->p->n; i++) {
        o[i] = output(&g->z[i]);
        o[i].terms[o[i].n_terms++] = term(&g->g[i], &g->b[i]);
    }
    matmul_nn_joined(&b->c, o, g->p->n, b->T);
}
static void run_grads(const struct bench *b, struct group *g)
{
    struct matmul_gradient list[2 * PRODUCT_JOINED];
    int n = 0;
    for (int i = 0; i < g->p->n; i++) {
        const struct rows *x = &g->x, *z = &g->z[i], *dy = &g->g[i];
        list[n++] = (struct matmul_gradient){.dw = g->da[i], .lddw = g->p->in, .a = z->data, .a_type = z->type, .lda = z->ld, .m = b->rank,
                                             .b = x->data, .b_type = x->type, .ldb = x->ld, .n = g->p->in, .scale = 1e-3f};
        list[n++] = (struct matmul_gradient){.dw = g->db[i], .lddw = b->rank, .a = dy->data, .a_type = dy->type, .lda = dy->ld,
                                             .m = g->p->out[i], .b = z->data, .b_type = z->type, .ldb = z->ld, .n = b->rank, .scale = 1e-3f};
    }
    matmul_tn_joined(&b->c, list, n, b->T, true);
}

/* Median GFLOP/s. */
static double measure(const struct bench *b, struct group *g, work_fn work, double flops)
{
    enum { MOST = 4000 };
    static double times[MOST];
    int n = 0;
    work(b, g);
    double start = clock_seconds(), last = start;
    while (n < MOST && (n < 5 || last - start < b->seconds)) {
        g->turn = (g->turn + 1) % g->copies;
        work(b, g);
        double now = clock_seconds();
        times[n++] = now - last;
        last = now;
    }
    return flops / quantile(times, n, 0.5) * 1e-9;
}

static bool open_group(const struct bench *b, const struct product *p, struct group *g)
{
    *g = (struct group){.p = p, .x = activation(b, p->in, 1), .dx = activation(b, p->in, 2)};
    for (int i = 0; i < p->n; i++) {
        g->y[i] = activation(b, p->out[i], 3);
        g->g[i] = activation(b, p->out[i], 4);
        if (b->rank > 0) {
            g->z[i] = activation(b, b->rank, 5);
            g->a[i] = stored(DT_F32, b->rank, p->in, 6);
            g->b[i] = stored(DT_F32, p->out[i], b->rank, 7);
            g->da[i] = mem_new((size_t)(b->rank * p->in), sizeof(float));
            g->db[i] = mem_new((size_t)(b->rank * p->out[i]), sizeof(float));
        }
    }
    for (double bytes = 0; g->copies < COPIES && bytes < BYTES_OF_WEIGHTS; g->copies++)
        for (int i = 0; i < p->n; i++) {
            struct mat *w = &g->w[g->copies][i];
            *w = stored(b->weights, p->out[i], p->in, 8);
            if (!w->data)
                return false;
            bytes += (double)mat_bytes(w);
        }
    return true;
}

static void close_group(struct group *g)
{
    mem_free(g->x.data), mem_free(g->dx.data);
    for (int i = 0; i < g->p->n; i++) {
        mem_free(g->y[i].data), mem_free(g->g[i].data), mem_free(g->z[i].data), mem_free(g->da[i]), mem_free(g->db[i]);
        mem_free((void *)(uintptr_t)g->a[i].data), mem_free((void *)(uintptr_t)g->b[i].data);
        for (int c = 0; c < g->copies; c++)
            mem_free((void *)(uintptr_t)g->w[c][i].data);
    }
}

static double peak(const struct bench *b)
{
    return peak_gflops(b->c.pool, b->c.family, 0.1);
}

static int model(struct bench *b, const char *name)
{
    struct model_config config;
    struct gm_error err;
    struct product list[MODEL_PRODUCTS];
    struct row {
        double y, dx, z, dz, grads;
    } row[MODEL_PRODUCTS] = {0};
    if (!shape_config(name, &config, &err))
        return fprintf(stderr, "%s\n", err.text), 2;
    const int n = model_products(&config, list);
    double before = peak(b), all_flops = 0, all_seconds = 0;
    for (int k = 0; k < n; k++) {
        struct group g;
        if (!open_group(b, &list[k], &g))
            return fprintf(stderr, "%s: rows of %d do not fit %s\n", name, (int)list[k].in, dtype_name(b->weights)), 1;
        const double T = (double)b->T, r = (double)b->rank, in = (double)list[k].in, out = (double)list[k].width,
                     thin_a = 2 * T * r * in * list[k].n, thin_b = 2 * T * r * out, base = 2 * T * in * out;
        row[k].y = measure(b, &g, run_y, base + thin_b);
        row[k].dx = measure(b, &g, run_dx, base + thin_a);
        all_flops += 2 * base + thin_a + thin_b;
        all_seconds += (base + thin_b) / row[k].y + (base + thin_a) / row[k].dx;
        if (b->rank > 0) {
            row[k].z = measure(b, &g, run_z, thin_a);
            row[k].dz = measure(b, &g, run_dz, thin_b);
            row[k].grads = measure(b, &g, run_grads, thin_a + thin_b);
        }
        close_group(&g);
    }
    double after = peak(b), mean = (before + after) / 2, worst = 1e9;
    printf("%s %s, %d rows, rank %d, %s activations, %s, %d threads; peak %.0f before, %.0f after\n", name, dtype_name(b->weights), (int)b->T,
           (int)b->rank, dtype_name(b->activations), family_name(b->c.family), pool_threads(b->c.pool), before, after);
    for (int k = 0; k < n; k++) {
        const struct row *w = &row[k];
        printf("  %-8s %5d -> %5d   y %6.0f %3.0f %%   dx %6.0f %3.0f %%   z %6.0f   dz %6.0f   dA,dB %6.0f\n", list[k].name, (int)list[k].in,
               (int)list[k].width, w->y, 100 * w->y / mean, w->dx, 100 * w->dx / mean, w->z, w->dz, w->grads);
        worst = w->y < worst ? w->y : worst;
        worst = w->dx < worst ? w->dx : worst;
    }
    printf("  worst share %.0f %%, all together %.0f GFLOP/s %.0f %%\n", 100 * worst / mean, all_flops / all_seconds,
           100 * all_flops / all_seconds / mean);
    return 0;
}

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    struct bench b = {.T = 512, .rank = 16, .seconds = 0.15, .weights = DT_BF16, .activations = DT_BF16};
    enum family family = FAMILY_AUTO;
    int threads = 0, i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            b.seconds = atof(value);
        else if (strcmp(argv[i], "--rows") == 0)
            b.T = atoll(value);
        else if (strcmp(argv[i], "--rank") == 0)
            b.rank = atoll(value);
        else if (strcmp(argv[i], "--activations") == 0)
            b.activations = strcmp(value, "f32") == 0 ? DT_F32 : DT_BF16;
        else if (strcmp(argv[i], "--kernel") == 0 && !family_parse(value, &family))
            return fprintf(stderr, "no family %s\n", value), 2;
        for (int t = 0; strcmp(argv[i], "--type") == 0 && t < DT_COUNT; t++)
            if (strcmp(value, dtype_name((enum dtype)t)) == 0)
                b.weights = (enum dtype)t;
    }
    if (i == argc || b.T <= 0 || (b.rank > 0 && !(b.rank <= 256)) || !(dtype_is_mlx(b.weights) || quantise_can(b.weights)))
        return fprintf(stderr, "name a shape: " SHAPE_NAMES "\n"), 2;
    struct pool *pool = pool_new(threads, &err);
    if (!pool || !compute_init(&b.c, pool, GM_TRAIN, GM_COMPUTE_BF16, family, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    int status = 0;
    for (; i < argc && status == 0; i++)
        status = model(&b, argv[i]);
    compute_free(&b.c);
    pool_free(pool);
    return status;
}
