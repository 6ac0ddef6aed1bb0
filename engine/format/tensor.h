/* tensor.h - a tensor as a file holds it: name, type, shape, and where its bytes lie.
 *
 * Shapes are row-major, outermost first ([out, in] as torch.nn.Linear), whatever the file says. A
 * tensor_info never owns memory: it points into the file that it came from and dies with it. `data`
 * is aligned to its element (at least 2 for blocks). Threads: read-only after opening, so any.
 */
#ifndef GM_FORMAT_TENSOR_H
#define GM_FORMAT_TENSOR_H

#include "engine/kernel/dtype.h"

enum { TENSOR_DIMS_MAX = 4 };

struct tensor_info {
    const char *name;
    enum dtype type;
    int n_dims; /* 0 = a scalar */
    int64_t shape[TENSOR_DIMS_MAX];
    const void *data; /* NULL only when bytes == 0 */
    size_t bytes;
};

/* A matrix view: [rows, cols], or a vector [n] as one row [1, n]; leading dimensions are folded
 * into rows. Refuses types that are no weights, and scalars. */
bool tensor_mat(const struct tensor_info *t, struct mat *out, struct gm_error *err);
/* As tensor_mat, and the tensor must be exactly [rows, cols] ([cols] when rows is 0). */
bool tensor_mat_expect(const struct tensor_info *t, int64_t rows, int64_t cols, struct mat *out,
                       struct gm_error *err);
int64_t tensor_elements(const struct tensor_info *t);
/* "[2048, 640]" into out; returns out. */
const char *tensor_shape_text(const struct tensor_info *t, char *out, size_t size);
/* Refuses NaN and infinity, naming tensor and index: f64, f32, f16, bf16 values and the scales of
 * blocks. Other types pass. */
bool tensor_check_finite(const struct tensor_info *t, struct gm_error *err);
/* Bytes of a shape in a type, checked: false (with the reason) when a row is no multiple of the
 * block, a size is negative or the product wraps. */
bool tensor_bytes(enum dtype type, const int64_t *shape, int n_dims, size_t *bytes,
                  struct gm_error *err);

/* Tensors by name: what the readers keep. Names are copied. */
struct tensor_table {
    struct tensor_info *items;
    int n, cap;
    uint32_t *slots; /* open addressing, item + 1 */
    uint32_t n_slots;
};
/* Adds, or says false when the name is already there (no error set). */
bool tensor_table_add(struct tensor_table *table, const struct tensor_info *info);
const struct tensor_info *tensor_table_find(const struct tensor_table *table, const char *name);
void tensor_table_sort(struct tensor_table *table); /* by place in the file */
void tensor_table_free(struct tensor_table *table);

#endif
