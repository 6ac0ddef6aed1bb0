/* export.h - taking a result elsewhere: adapters and fused models in the forms that other programs read. Each is read back and proved.
 *
 * The target appears whole or not at all: everything is written into a folder beside it, read back by our own reader, compared (proof.json), and only
 * then renamed. Weights have to be back bit for bit, the tokenizer has to give the same ids, and the logits may differ by what rounding the weights to the
 * storage type costs; else all is removed and refused. Disk space is asked for first.
 * Memory: weights are made row by row while the file is written; a result owns its notes (export_result_free).
 * Threads: one export belongs to one thread, which works on its compute's pool; `cancel` may be set from any.
 *
 *     struct export_request r = {.to = EXPORT_GGUF, .type = EXPORT_Q8_0, .model = m, .lora = l, .tokenizer = t, .tpl = tpl, .out = "haiku.gguf", ...};
 *     struct export_result result;
 *     if (export_run(&r, &compute, &result, &err)) ... result.mean_kl, result.notes
 *     export_result_free(&result);
 */
#ifndef GM_EXPORT_EXPORT_H
#define GM_EXPORT_EXPORT_H

#include "engine/infer/sampler.h"
#include "engine/model/pass.h"
#include "engine/text/chat_template.h"

#include <stdatomic.h>

enum export_to { EXPORT_MLX, EXPORT_PEFT, EXPORT_GGUF_LORA, EXPORT_SAFETENSORS, EXPORT_GGUF, EXPORT_OLLAMA, EXPORT_TO_COUNT };
enum export_type { /* how the weights of a whole model are stored */
    EXPORT_AS_BASE, /* as the base stores them, BF16 if that is quantised */
    EXPORT_F32, EXPORT_F16, EXPORT_BF16, EXPORT_Q8_0, EXPORT_Q4_0, EXPORT_Q4_K_M, EXPORT_MLX4, EXPORT_MLX8,
    EXPORT_TYPE_COUNT
};
/* One row a target, one a type: what a command line and a form of choices show. */
struct export_target {
    const char *name, *about;
    bool whole_model;   /* else: an adapter, always in f32, and there must be one */
    const char *suffix; /* the target is a file, called so; NULL: a folder */
    bool gguf;          /* the weights stand in a GGUF */
    unsigned types;     /* bit 1 << EXPORT_F16 ...: what --type may be; 0: there is no choice */
};
struct export_storage {
    const char *name, *about;
};
const struct export_target *export_target(enum export_to to);
const struct export_storage *export_storage(enum export_type type); /* name of EXPORT_AS_BASE: "" */
/* What a target is called in a folder of several: "peft", "model-q8_0.gguf"; mem_free. */
char *export_default_name(enum export_to to, enum export_type type);
bool export_to_parse(const char *name, enum export_to *to);
bool export_type_parse(const char *name, enum export_type *type); /* "q8_0" */
/* EXPORT_AS_BASE resolved; the others stay what they are. */
enum export_type export_type_for(const struct model *m, enum export_type type);

struct export_request {
    enum export_to to;
    enum export_type type;
    const struct model *model;
    const struct lora *lora;         /* NULL only for whole models: the model as it is */
    const struct tokenizer *tokenizer;
    const struct chat_template *tpl; /* goes along, and renders prompts for the proof; NULL: none known */
    const char *system;              /* the system message that it was trained with; NULL: none */
    const char *system_line;         /* for Ollama: SYSTEM; NULL: `system` */
    const char *model_name;          /* what the base is called */
    const char *run_dir;             /* of the adapter, whose facts go into README.md; NULL: none */
    int step;                        /* of its checkpoint */
    const struct sampling *sampling; /* for Ollama: what the samples were tasted with; NULL: sampling_default() */
    const char *out;                 /* folder or file */
    const char *label;               /* one of several: its name among them, which errors leave to the caller; NULL: out */
    bool force;                      /* replace what is there */
    uint64_t shard_bytes;            /* safetensors files are split at so many; 0: 5 GB, as Hugging Face does */
    void (*progress)(void *arg, double share, const char *what); /* may be NULL */
    void *arg;
    atomic_bool *cancel;             /* may be NULL */
};
struct export_result {
    uint64_t bytes;
    int files;
    /* the proof: prompts with the unfused model's own answers, and random sequences, through the unfused model and through what was written */
    int sequences;
    int64_t positions; /* of answers: KL and agreement are over these (over the random ones where nothing can be asked) */
    double mean_kl, max_kl, greedy_agreement; /* nats a position; share of positions with the same best token */
    int64_t random_positions;
    double random_mean_kl;
    double max_logit_difference; /* over all */
    double kl_allowed;
    int prompts_verified; /* EXPORT_OLLAMA: conversations whose ids are those of the training */
    char **notes; /* lines that a person should read: types fallen back on, programs that will differ */
    int n_notes;
};
void export_result_free(struct export_result *result);

uint64_t export_bytes_estimate(const struct export_request *r);
/* `result` is to be freed in any case. */
bool export_run(const struct export_request *r, const struct compute *c, struct export_result *result, struct gm_error *err);

/* W + scale B A of one projection, f32, row by row (DoRA: brought to its length m): row `o` into out [in]; work [in] is scratch. */
void export_fused_row(const struct model *m, const struct lora *l, int layer, enum proj p, int64_t o, float *out, float *work);

#endif
