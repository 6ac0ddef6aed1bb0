/* export.h - taking a result elsewhere: adapters in the MLX and PEFT layouts, fused models as safetensors. Each is read back and proved.
 *
 * The target appears whole or not at all: everything is written into a folder beside it, read back by our own reader, compared (proof.json), and only
 * then renamed. Weights have to be back bit for bit, the tokenizer has to give the same ids, and the logits may differ by what rounding the weights to the
 * storage type costs; else all is removed and refused.
 * Threads: one export belongs to one thread; `cancel` may be set from any.
 *
 *     struct export_request r = {.to = EXPORT_PEFT, .model = m, .lora = l, .tokenizer = t, .template_text = text, .out = "out/haiku", ...};
 *     struct export_result result;
 *     if (!export_run(&r, &compute, &result, &err)) ...
 */
#ifndef GM_EXPORT_EXPORT_H
#define GM_EXPORT_EXPORT_H

#include "engine/model/pass.h"
#include "engine/text/tokenizer.h"

#include <stdatomic.h>

enum export_to { EXPORT_MLX, EXPORT_PEFT, EXPORT_SAFETENSORS, EXPORT_TO_COUNT };
const char *export_to_name(enum export_to to);              /* "mlx", "peft", "safetensors" */
bool export_to_parse(const char *name, enum export_to *to);

struct export_request {
    enum export_to to;
    enum dtype type;              /* of a fused model: F32, F16 or BF16; DT_COUNT: the base's, BF16 if that is quantised */
    const struct model *model;
    const struct lora *lora;      /* NULL only for EXPORT_SAFETENSORS: the model as it is */
    const struct tokenizer *tokenizer;
    const char *template_text;    /* Jinja; NULL: none known */
    const char *model_name;       /* what adapter_config.json calls the base */
    const char *out;              /* folder */
    bool force;                   /* replace what is there */
    void (*progress)(void *arg, double share, const char *what); /* may be NULL */
    void *arg;
    atomic_bool *cancel;          /* may be NULL */
};
struct export_result {
    uint64_t bytes;
    int files;
    /* the proof: prompts of ours through the unfused model and through what was written */
    int64_t positions;
    double max_logit_difference, mean_kl, max_kl, greedy_agreement; /* agreement: share of positions with the same best token */
    double kl_allowed;
};

uint64_t export_bytes_estimate(const struct export_request *r);
bool export_run(const struct export_request *r, const struct compute *c, struct export_result *result, struct gm_error *err);

/* The parts, for tests. Each writes into an existing folder. */
bool export_write_peft(const struct export_request *r, const char *folder, struct gm_error *err);
bool export_write_fused(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err);
/* W + scale B A of one projection, f32, row by row: row `o` into out [in]. */
void export_fused_row(const struct model *m, const struct lora *l, int layer, enum proj p, int64_t o, float *out);
/* Every weight of a fused folder, bit for bit. */
bool export_check_fused(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err);
bool export_prove(const struct export_request *r, const struct compute *c, enum dtype type, const char *folder, struct export_result *result,
                  struct gm_error *err);

#endif
