/* bench.h - what `gemmaiku bench` measures, a file each. */
#ifndef GM_CLI_BENCH_H
#define GM_CLI_BENCH_H

#include "engine/model/products.h"
#include "engine/train/step.h"
#include "src/cli/cli.h"

/* Limits. */
struct bench_machine {
    double gflops[FAMILY_COUNT], gflops_after; /* on all threads; after: of the family in use */
    double read_one, read_all, read_all_after; /* bytes a second */
};
bool bench_machine(struct bench_machine *b, const struct compute *c, struct gm_error *err);
bool bench_machine_after(struct bench_machine *b, const struct compute *c, struct gm_error *err);
void bench_machine_print(const struct bench_machine *b, const struct compute *c);
void bench_machine_after_print(const struct bench_machine *b, const struct compute *c);
json_t *bench_machine_json(const struct bench_machine *b, const struct compute *c); /* the object that the other figures go into */

/* Products of a layer, against the peak. */
struct bench_products {
    const char *model, *weights; /* names */
    int64_t rows;
    int n;
    struct product product[MODEL_PRODUCTS];
    double seconds[MODEL_PRODUCTS][2]; /* forward, backward */
    double peak_gflops[MODEL_PRODUCTS]; /* mean of before and after: of this product, since a shared machine changes by the second */
};
void bench_products(const struct model *m, const char *name, const struct compute *c, int64_t rows, double seconds, struct bench_products *out);
bool bench_products_of_shape(const char *name, enum dtype type, const struct compute *c, int64_t rows, double seconds, struct bench_products *out,
                             struct gm_error *err); /* random weights; a few layers of them */
void bench_products_print(const struct bench_products *b);
void bench_products_json(const struct bench_products *b, json_t *rows); /* appends to an array */

/* A training step. */
enum { BENCH_STEPS_MAX = 100 };

struct bench_train {
    const char *shape; /* its name, for the report */
    int seq, batch, steps;
    enum dtype weights; /* of the shape */
    int checkpoint;    /* layers computed again: 1 all, 0 none, -1 as many as the memory wants */
    uint64_t memory_budget; /* bytes that -1 goes by; 0: what the machine has free */
    double supervised; /* share of each row that carries loss */
    struct lora_options lora;
};
struct bench_step {
    struct step_parts parts[1 + BENCH_STEPS_MAX]; /* [0] is not counted; the rest by time */
    const struct step_parts *median;
    int recomputed, walked;    /* layers: computed again, of those that gradients go back through */
    double ms, ms_min, ms_max; /* ms: of the median step */
    double tokens_per_second;
    double peak_gflops;   /* of all threads, mean of before and after */
    double share_of_peak; /* of the useful flops of the whole step */
};
/* One LoRA training step of the model, several times. */
bool bench_train(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct bench_step *out,
                 struct gm_error *err);
json_t *bench_train_json(const struct bench_train *a, const struct model *m, const struct compute *c, const struct bench_step *s);
void bench_train_print(const struct bench_train *a, const struct model *m, const struct compute *c, const struct bench_step *s);

/* Keys while the machine trains. */
struct bench_latency {
    int keys;
    double key_p50, key_p99, key_most; /* seconds from a key to its screen */
    double late_p50, late_p99;         /* of the UI thread; NAN: not told */
};
bool bench_latency(int keys, const struct general *g, struct bench_latency *out, struct gm_error *err);
json_t *bench_latency_json(const struct bench_latency *l);
void bench_latency_print(const struct bench_latency *l);

struct bench_decode {
    const char *shape;
    struct float_list sequences; /* rows of the report; none: 1, 4, 16, 64 */
    int packed;                  /* the weights once more, as panels: 1, 0, or -1: where they help */
    int head;                    /* 1: logits from a head in one byte a weight */
    int prompt, tokens;          /* length of each prompt; tokens that each sequence then takes */
};
/* Tokens a second of several numbers of sequences at once, against the bandwidth of this machine; prints a table. JSON: a line a
 * row, or appended to `rows` where that is not NULL. */
bool bench_decode(const struct bench_decode *a, const struct general *g, const struct model *m, const struct compute *c, json_t *rows, struct gm_error *err);

#endif
