/* model_test.h - what the tests of the model room share: a fixture model with its expected numbers,
 * batches, comparison. */
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/pool.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"
#include "engine/model/decode.h"
#include "engine/model/pass.h"
#include "tests/unit/fixtures.h"
#include "tests/unit/worse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Every tiny model, by name; shapes and what there is of expected numbers come from the files. */
static const char *const MODELS[] = {"gemma3_text", "gemma3_mm", "gemma2",    "llama",
                                     "llama3_rope", "smollm2",   "phi3",      "phi3_long",
                                     "llama_bias",  "qwen2",     "qwen3",     "llama_f32",
                                     "llama_f16",   "llama_sharded"};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS };

struct tools {
    struct pool *pool;
    struct compute compute;
};

static inline void tools_init_for(struct tools *t, int threads, enum compute_mode mode,
                                  enum family family)
{
    struct gm_error err = {0};
    t->pool = pool_new(threads, &err);
    assert_non_null(t->pool);
    if (!compute_init(&t->compute, t->pool, GM_TRAIN, mode, family, &err))
        fail_msg("%s", err.text);
}

static inline void tools_init(struct tools *t, int threads, enum compute_mode mode)
{
    tools_init_for(t, threads, mode, FAMILY_AUTO);
}

/* The next family of kernels that runs here, after `family`; begin with FAMILY_AUTO. */
static inline bool next_family(enum family *family)
{
    while (++*family < FAMILY_COUNT)
        if (family_runs_here(*family))
            return true;
    return false;
}

static inline void tools_free(struct tools *t)
{
    compute_free(&t->compute);
    pool_free(t->pool);
}

struct fixture {
    char *dir;
    struct model *model;
    struct safetensors expected;
    json_t *json; /* expected.json; NULL where there is none */
};

/* The second set of fixtures lacks a few files. */
static inline bool fixture_there(const char *inner)
{
    char *path = path_join(fixtures_dir(), inner);
    bool there = dir_exists(path) || file_exists(path);
    mem_free(path);
    return there;
}

static inline void fixture_open(struct fixture *f, const char *name)
{
    struct gm_error err = {0};
    f->dir = mem_printf("%s/models/%s", fixtures_dir(), name);
    f->model = model_open(f->dir, &err);
    if (!f->model)
        fail_msg("%s", err.text);
    char *path = path_join(f->dir, "expected.safetensors"),
         *json = path_join(f->dir, "expected.json");
    if (!safetensors_open(&f->expected, path, &err))
        fail_msg("%s", err.text);
    f->json = json_load_file_checked(json, 1 << 20, &err);
    assert_non_null(f->json);
    mem_free(path);
    mem_free(json);
}

static inline void fixture_close(struct fixture *f)
{
    model_free(f->model);
    safetensors_close(&f->expected);
    json_decref(f->json);
    mem_free(f->dir);
}

static inline double number_at(const json_t *o, const char *key, const char *key2, const char *key3)
{
    o = json_object_get(o, key);
    o = key2 ? json_object_get(o, key2) : o;
    o = key3 ? json_object_get(o, key3) : o;
    assert_true(json_is_number(o));
    return json_number_value(o);
}

static inline const struct tensor_info *tensor(const struct safetensors *s, const char *format, ...)
{
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const struct tensor_info *t = safetensors_find(s, name);
    if (!t)
        fail_msg("%s has no %s", s->label, name);
    return t;
}

static inline void near(const char *what, const float *have, const float *want, int64_t n,
                        double tolerance)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = worse(worst, fabs((double)have[i] - (double)want[i]));
    if (!(worst <= tolerance))
        fail_msg("%s: off by %g, tolerance %g", what, worst, tolerance);
}

/* One sequence as a batch; the arrays live in the caller's struct. */
struct one {
    struct batch b;
    int32_t positions[512], borders[2];
};
static inline const struct batch *one_sequence(struct one *o, const int32_t *ids, int64_t n)
{
    assert_true(n <= 512);
    for (int i = 0; i < n; i++)
        o->positions[i] = i;
    o->borders[0] = 0;
    o->borders[1] = (int32_t)n;
    o->b = (struct batch){
        .T = n, .ids = ids, .positions = o->positions, .n_seqs = 1, .seq_start = o->borders};
    return &o->b;
}

/* logits [n, vocab] of a sequence through a pass of its own; mem_free. layers: see pass_hidden. */
static inline float *logits_of(const struct model *m, const struct lora *l, const struct compute *c,
                               const int32_t *ids, int64_t n, float *layers, float *final)
{
    struct gm_error err = {0};
    struct pass_limits limits = {.kind = PASS_FORWARD, .max_tokens = n, .max_seqs = 1};
    struct pass *p = pass_new(m, l ? &l->options : NULL, &limits, &err);
    if (!p)
        fail_msg("%s", err.text);
    struct one *o = mem_new(1, sizeof *o);
    float *logits = mem_new((size_t)(n * m->config.vocab_size), sizeof *logits);
    const float *hidden = pass_hidden(p, c, l, one_sequence(o, ids, n), layers);
    if (final)
        memcpy(final, hidden, (size_t)(n * m->config.d_model) * sizeof *final);
    pass_logits(p, c, hidden, n, logits);
    pass_free(p);
    mem_free(o);
    return logits;
}

/* logits.0 .. logits.2 of expected numbers; the last may be the last rows only. */
static inline void check_logits(const struct model *m, const struct lora *l, const struct compute *c,
                         const struct safetensors *s, const char *what, double tolerance)
{
    for (int k = 0; k < 3; k++) {
        char name[64];
        snprintf(name, sizeof name, "ids.%d", k);
        const struct tensor_info *ids = safetensors_find(s, name);
        if (!ids)
            continue; /* GGUF expectations have one sequence */
        const struct tensor_info *want = tensor(s, "logits.%d", k);
        int64_t n = ids->shape[0], last = want->shape[0], vocab = m->config.vocab_size;
        float *logits = logits_of(m, l, c, ids->data, n, NULL, NULL);
        snprintf(name, sizeof name, "%s logits.%d", what, k);
        near(name, logits + (n - last) * vocab, want->data, last * vocab, tolerance);
        mem_free(logits);
    }
}

/* A folder that a test may fill; *path is mem_free'd by drop_folder. */
static inline char *new_folder(void)
{
    char *path = mem_copy("/tmp/gm-model-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}
static inline void drop_folder(char *path)
{
    struct gm_error err = {0};
    dir_remove(path, &err);
    mem_free(path);
}

/* A training batch of the fixtures: rows of `batch.B.ids`, packed without the padding. */
struct packed {
    struct batch b;
    int32_t ids[512], positions[512], borders[9], rows[512], targets[512];
};
static inline void pack_batch(struct packed *p, const struct safetensors *s, int number)
{
    const struct tensor_info *ids = tensor(s, "batch.%d.ids", number),
                             *mask = tensor(s, "batch.%d.mask", number);
    const int32_t *lengths = tensor(s, "batch.%d.lengths", number)->data;
    int64_t n_rows = ids->shape[0], width = ids->shape[1], T = 0, n = 0;
    assert_true(n_rows <= 8 && n_rows * width <= 512);
    for (int64_t r = 0; r < n_rows; r++) {
        p->borders[r] = (int32_t)T;
        for (int32_t t = 0; t < lengths[r]; t++, T++) {
            p->ids[T] = ((const int32_t *)ids->data)[r * width + t];
            p->positions[T] = t;
            if (t > 0 && ((const int32_t *)mask->data)[r * width + t]) {
                p->rows[n] = (int32_t)T - 1;
                p->targets[n++] = p->ids[T];
            }
        }
    }
    p->borders[n_rows] = (int32_t)T;
    p->b = (struct batch){.T = T,
                          .ids = p->ids,
                          .positions = p->positions,
                          .n_seqs = (int)n_rows,
                          .seq_start = p->borders,
                          .n_targets = n,
                          .target_row = p->rows,
                          .target_id = p->targets};
}

/* How far a gradient in bf16 lies from the exact one, as a share of its length: |g - want| / |want|. PyTorch in bf16 has 0.03 to 0.04 with the tiny llama,
 * 0.05 to 0.09 with gemma3, 0.07 to 0.12 with gemma2. Half of it comes from rounding the operands of products, which bf16 cannot do without. */
static const double BF16_DISTANCE = 0.07, BF16_ELEMENT = 0.18;
static inline double distance(const float *g, const float *want, size_t n)
{
    double apart = 0, length = 0;
    for (size_t i = 0; i < n; i++) {
        apart += ((double)g[i] - (double)want[i]) * ((double)g[i] - (double)want[i]);
        length += (double)want[i] * (double)want[i];
    }
    return sqrt(apart / length);
}

static inline struct pass *pass_for(const struct model *m, const struct lora *l,
                                    enum pass_kind kind, int recompute_layers)
{
    struct gm_error err = {0};
    struct pass_limits limits = {.kind = kind,
                                 .max_tokens = 512,
                                 .max_targets = 512,
                                 .max_seqs = 8,
                                 .recompute_layers = recompute_layers};
    struct pass *p = pass_new(m, l ? &l->options : NULL, &limits, &err);
    if (!p)
        fail_msg("%s", err.text);
    return p;
}

static inline bool has_lora(const struct fixture *f)
{
    return json_is_array(json_object_get(json_object_get(f->json, "lora"), "targets"));
}

/* The adapter that training starts from: lora.layers.N.TARGET.A / .B of the expected numbers. */
static inline struct lora *fixture_lora(const struct fixture *f)
{
    struct gm_error err = {0};
    const json_t *o = json_object_get(f->json, "lora"), *targets = json_object_get(o, "targets");
    struct lora_options options = {.rank = (int)json_integer_value(json_object_get(o, "rank")),
                                   .alpha = (float)json_number_value(json_object_get(o, "alpha")),
                                   .scale = (float)json_number_value(json_object_get(o, "scale"))};
    for (size_t i = 0; i < json_array_size(targets); i++) {
        unsigned keys;
        assert_true(module_parse(json_string_value(json_array_get(targets, i)), &keys));
        options.keys |= keys;
    }
    struct lora *l = lora_new(&f->model->config, &options, 1, &err);
    if (!l)
        fail_msg("%s", err.text);
    for (int i = 0; i < l->set.n_params; i++) { /* "model.layers.0.mlp.up_proj.lora_a" */
        const struct param *p = &l->set.params[i];
        int stem = (int)strlen(p->name) - (int)strlen("model..lora_a");
        const struct tensor_info *t =
            tensor(&f->expected, "lora.%.*s.%c", stem, p->name + strlen("model."),
                   p->name[strlen(p->name) - 1] == 'a' ? 'A' : 'B');
        assert_int_equal(tensor_elements(t), p->rows * p->cols);
        memcpy(l->set.w + p->offset, t->data, t->bytes);
    }
    return l;
}

#endif
