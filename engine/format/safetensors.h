/* safetensors.h - reading (mapped, never copied) and writing of .safetensors files.
 *
 * The reader believes nothing: every rule of the format (sizes, order, no gaps, no overlap, no
 * duplicate, exact end of file) is checked before the caller sees a tensor; an error names the
 * file, the place, the fact and what to do. A tensor whose bytes lie on an address that its type
 * cannot be read from (writers that do not pad the header) is copied to aligned memory; all others
 * stay in the mapping. Threads: read-only after opening.
 *
 *     struct safetensors s;
 *     if (!safetensors_open(&s, path, err)) return false;
 *     const struct tensor_info *t = safetensors_find(&s, "model.norm.weight");
 *     safetensors_close(&s);
 */
#ifndef GM_FORMAT_SAFETENSORS_H
#define GM_FORMAT_SAFETENSORS_H

#include "engine/base/file.h"
#include "engine/format/tensor.h"

struct safetensors {
    char *label; /* the path, or the label of embedded bytes: for messages */
    int n_tensors;
    const struct tensor_info *tensors; /* in the order of their bytes */
    int n_meta;
    char **meta;                /* key, value, key, value ... of __metadata__ */
    const unsigned char *bytes; /* the whole file */
    size_t size;
    /* private */
    struct mapping map;
    struct tensor_table table;
    void **copies;
    int n_copies;
};

bool safetensors_open(struct safetensors *s, const char *path, struct gm_error *err);
/* `data` stays the caller's and must outlive s. */
bool safetensors_open_bytes(struct safetensors *s, const void *data, size_t size, const char *label,
                            struct gm_error *err);
void safetensors_close(struct safetensors *s);
const struct tensor_info *safetensors_find(const struct safetensors *s,
                                           const char *name);               /* NULL: not there */
const char *safetensors_meta(const struct safetensors *s, const char *key); /* NULL: not there */

/* One tensor to write: `data`, or `produce`, which writes exactly its bytes with writer_write and
 * returns false to give up. */
struct tensor_out {
    const char *name;
    enum dtype type;
    int n_dims;
    int64_t shape[TENSOR_DIMS_MAX];
    const void *data;
    bool (*produce)(void *arg, struct writer *w, struct gm_error *err);
    void *arg;
};
/* Writes the `bytes` of one tensor, from data or producer, and sees that there are as many. For the
 * writers of this room. */
bool tensor_out_put(const struct tensor_out *t, size_t bytes, struct writer *w, const char *path,
                    struct gm_error *err);

/* Writes the file whole or not at all. Bytes depend on the arguments' content alone: tensors are
 * sorted by type (as the format's own writer does) and name, metadata by key; the header is padded
 * so that data is 8-aligned. `meta_pairs`: key, value, key, value ... Producers run in the file's
 * order. */
bool safetensors_write(const char *path, const struct tensor_out *tensors, int n,
                       const char *const *meta_pairs, int n_pairs, struct gm_error *err);

#endif
