/* plan.h - private to engine/export: the tensors of a weight file before it is written: name, type, shape, and where each row comes from.
 *
 * A row is made from f32 (stored weights, the adapter folded in, Gemma's +1 taken off or put on) and rounded once to its type; a tensor that no adapter
 * touches and that stands in the base in the very form that is wanted is copied bit for bit. The same rows are made again when the file is read back.
 * Memory: a few megabytes of rows at a time, whatever the model's size.
 *
 *     struct plan plan;
 *     if (plan_open(&plan, job, PLAN_GGUF, err)) ... plan.tensors[i] ... plan_produce(&plan.tensors[i], &writer, err)
 *     plan_close(&plan);
 */
#ifndef GM_EXPORT_PLAN_H
#define GM_EXPORT_PLAN_H

#include "engine/export/parts.h"
#include "engine/format/safetensors.h"

enum plan_form { PLAN_SAFETENSORS, PLAN_GGUF };
enum plan_part { PART_WHOLE, PART_CODES, PART_SCALES, PART_BIASES }; /* of an MLX matrix, which is three tensors */

enum { PLAN_PIECES = 3, PLAN_CHUNK_BYTES = 4 << 20 };
struct plan_piece { /* some rows of a tensor */
    struct mat mat;
    int layer; /* with proj: of this projection; < 0: none, no adapter */
    enum proj proj;
};
struct planned {
    struct plan *plan;
    char *name;
    enum dtype type; /* in the file */
    int n_dims;
    int64_t shape[TENSOR_DIMS_MAX];
    int64_t rows, cols; /* as they are made: a bias is [out, 1] */
    size_t row_bytes;
    const void *bits;   /* not NULL: all of it, as it stands */
    struct plan_piece pieces[PLAN_PIECES];
    int n_pieces;
    float add;          /* +1, -1: norms of Gemma on the way to GGUF and back */
    int turned_heads;   /* rows of so many heads are put into interleaved order; 0: as they are */
    enum plan_part part;
};
struct plan {
    struct export_job *job;
    enum plan_form form;
    enum dtype floats; /* of what is not quantised, in safetensors */
    enum dtype mlx;    /* of quantised matrices; DT_COUNT: none are */
    int group;
    enum dtype mlx_scales;
    struct planned *tensors;
    size_t n, cap;
    uint64_t bytes_all, bytes_done; /* done: written, or compared */
    struct config_tensor computed[2]; /* rope_freqs, rope_factors: of GGUF */
    void *work;      /* scratch of the threads that make rows */
    size_t work_bytes;
    unsigned char *chunk;
};

bool plan_open(struct plan *p, struct export_job *j, enum plan_form form, struct gm_error *err);
void plan_close(struct plan *p);
/* For struct tensor_out: `arg` is a struct planned. */
bool plan_produce(void *arg, struct writer *w, struct gm_error *err);
/* The tensor read back is this one, bit for bit. */
bool plan_check(struct planned *t, const struct tensor_info *have, struct gm_error *err);
struct tensor_out plan_tensor_out(struct planned *t);
/* The greatest magnitude that the rows reach. */
float plan_max_abs(struct planned *t);

/* How a matrix of a GGUF file is stored (storage.c). `name`: its GGUF name; n_layers: of the model. */
enum dtype storage_wanted(enum export_type type, const char *name, int n_layers, bool tied_head);
enum dtype storage_that_fits(enum dtype wanted, int64_t cols); /* the type to fall back on where rows are no multiple of the block */

#endif
