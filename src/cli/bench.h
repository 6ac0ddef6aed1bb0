/* bench.h - what `gemmaiku bench` measures, a file each. */
#ifndef GM_CLI_BENCH_H
#define GM_CLI_BENCH_H

#include "engine/model/lora.h"
#include "src/cli/cli.h"

enum { BENCH_STEPS_MAX = 100 };

struct bench_train {
    const char *shape; /* its name, for the report */
    int seq, batch, steps;
    enum dtype weights;
    int checkpoint;    /* 1: recompute */
    double supervised; /* share of each row that carries loss */
    struct lora_options lora;
};
/* One LoRA training step of the model, several times; prints the report. */
bool bench_train(const struct bench_train *a, const struct general *g, const struct model *m, const struct compute *c, struct gm_error *err);

struct bench_decode {
    const char *shape;
    enum dtype weights;
    struct float_list sequences; /* rows of the report; none: 1, 4, 16, 64 */
    int packed;                  /* the weights once more, as panels: 1, 0, or -1: where they help */
    int prompt, tokens;          /* length of each prompt; tokens that each sequence then takes */
};
/* Tokens a second of several numbers of sequences at once, against the bandwidth of this machine; prints a table, or a line of JSON a row. */
bool bench_decode(const struct bench_decode *a, const struct general *g, const struct model *m, const struct compute *c, struct gm_error *err);

#endif
