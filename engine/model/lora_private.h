/* lora_private.h - private to lora*.c: the layout of an adapter whose set of projections need not be a rectangle, and what reading one
 * from a file goes through.
 *
 *     lora_file.c     opens the file, recognises the layout, sorts the tensors, copies them
 *     lora_config.c   adapter_config.json: what multiplies B A
 *     lora_gguf.c     names and metadata of a GGUF LoRA
 *     lora_save.c     writes the MLX layout
 *     lora_origin.c   where an adapter comes from, in a file's metadata
 */
#ifndef GM_MODEL_LORA_PRIVATE_H
#define GM_MODEL_LORA_PRIVATE_H

#include "engine/format/gguf.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"
#include "engine/model/lora.h"

enum { LORA_MAX_RANK = 4096 };
#define LORA_MLX_FILE "adapters.safetensors"
#define LORA_PEFT_FILE "adapter_model.safetensors"
#define LORA_CONFIG_FILE "adapter_config.json"

/* present [n_layers * PROJ_COUNT]: which pairs there are, of fused modules the first; NULL: what the
 * options say. Values are zero. */
struct lora *lora_lay_out(const struct model_config *c, const struct lora_options *o,
                          const bool *present, struct gm_error *err);

enum lora_layout {
    LAYOUT_MLX,  /* A [in, rank], B [rank, out] */
    LAYOUT_PEFT, /* A [rank, in], B [out, rank] */
    LAYOUT_GGUF  /* as PEFT; B of q and k in the order of a GGUF's rows */
};

struct lora_part { /* one adapted module of the file */
    const struct tensor_info *a, *b, *m; /* NULL: not seen (yet) */
    int rank;
    double factor; /* on B, where its scale is not that of the options; else 1 */
};
struct lora_reading {
    const struct model_config *config;
    enum lora_layout layout;
    struct lora_options options; /* rank: the largest of the parts' */
    struct lora_part *parts;     /* [n_layers * PROJ_COUNT]; a fused module stands where its first product does */
};

/* adapter_config.json: first what it says of kinds (whatever is not supported is refused by name before a tensor is looked at), then,
 * ranks being known, the scale. */
bool lora_config_check(struct lora_reading *r, const json_t *config, struct gm_error *err);
bool lora_config_scale(struct lora_reading *r, const json_t *config, struct gm_error *err);
/* scale = alpha / rank (rsLoRA: its root) for every part, `alphas` NULL: one for all; options.scale is that of the largest rank,
 * factors do the rest. */
void lora_scale_parts(struct lora_reading *r, const double *alphas, double alpha);

/* GGUF: what it is of, and its scale once ranks are known. */
bool lora_gguf_check(const struct lora_reading *r, const struct gguf *g, struct gm_error *err);
bool lora_gguf_scale(struct lora_reading *r, const struct gguf *g, struct gm_error *err);
/* "blk.3.attn_q.weight.lora_a" -> part and 'a'. */
bool lora_gguf_name(const struct lora_reading *r, const char *name, int *index, char *half);
/* Row of a GGUF's B that is row `o` in Hugging Face's order. */
int64_t lora_gguf_row(const struct model_config *c, enum proj p, int64_t o);

/* From a file's metadata, a value at a time; texts are cleaned. `name` is without the prefix. */
struct lora_origin_field {
    const char *name;
    size_t offset, size;
};
const struct lora_origin_field *lora_origin_fields(int *n);
void lora_origin_set(struct lora_origin *o, const struct lora_origin_field *f, const char *text, size_t n);
#define LORA_ORIGIN_PREFIX "gemmaiku."

#endif
