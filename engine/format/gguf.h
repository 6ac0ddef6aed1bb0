/* gguf.h - reading of GGUF files, versions 2 and 3 (mapped, never copied).
 *
 * All counts, lengths, types, offsets are checked against the file when it is opened, before any
 * allocation that depends on them; later getters only look things up. Getters are typed: asking for
 * a number where a string stands is an error naming the key and both types.
 * `*out` holds the default; an OPTIONAL key that is absent leaves it so. Texts and arrays point
 * into the mapping. Threads: read-only after opening.
 *
 *     struct gguf g;
 *     struct gguf_text arch;
 *     if (!gguf_open(&g, path, err)
 *         || !gguf_string(&g, "general.architecture", REQUIRED, &arch, err)) ...
 *     if (gguf_text_is(arch, "llama")) ...
 */
#ifndef GM_FORMAT_GGUF_H
#define GM_FORMAT_GGUF_H

#include "engine/base/file.h"
#include "engine/format/need.h"
#include "engine/format/tensor.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_text {
    const char *data; /* not terminated; never NULL */
    size_t len;
};

struct gguf_kv {
    char *key;
    enum gguf_type type;       /* GGUF_ARRAY for arrays */
    enum gguf_type element;    /* type of the elements of an array; else == type */
    uint64_t n;                /* elements; 1 for scalars */
    const unsigned char *data; /* first element, any alignment */
    struct gguf_text *strings; /* the elements when they are strings */
};

struct gguf {
    char *path; /* or the label of bytes: for messages */
    uint32_t version;
    uint64_t alignment;
    int n_tensors;
    const struct tensor_info *tensors; /* in file order; shapes outermost first */
    int n_kv;
    struct gguf_kv *kv;         /* in file order */
    const unsigned char *bytes; /* the whole file */
    size_t size;
    /* private */
    struct mapping map;
    struct tensor_table table;
    uint32_t *slots;
    uint32_t n_slots;
};

bool gguf_open(struct gguf *g, const char *path, struct gm_error *err);
/* `data` stays the caller's, 8-aligned, and must outlive g. */
bool gguf_open_bytes(struct gguf *g, const void *data, size_t size, const char *label,
                     struct gm_error *err);
void gguf_close(struct gguf *g);
const struct tensor_info *gguf_find(const struct gguf *g, const char *name); /* NULL: not there */

const struct gguf_kv *gguf_get(const struct gguf *g, const char *key); /* NULL: not there */
bool gguf_has(const struct gguf *g, const char *key);
bool gguf_string(const struct gguf *g, const char *key, enum need need, struct gguf_text *out,
                 struct gm_error *err);
/* Any integer type; negative or out of [min, max] is an error. */
bool gguf_u64(const struct gguf *g, const char *key, enum need need, uint64_t min, uint64_t max,
              uint64_t *out, struct gm_error *err);
bool gguf_i64(const struct gguf *g, const char *key, enum need need, int64_t min, int64_t max,
              int64_t *out, struct gm_error *err);
bool gguf_f64(const struct gguf *g, const char *key, enum need need, double min, double max,
              double *out, struct gm_error *err); /* f32, f64 or an integer; finite */
bool gguf_bool(const struct gguf *g, const char *key, enum need need, bool *out,
               struct gm_error *err);
bool gguf_text_is(struct gguf_text t, const char *text);

/* Arrays. `*n` is the count; an absent OPTIONAL array leaves pointer and count as they are. */
bool gguf_array_string(const struct gguf *g, const char *key, enum need need,
                       const struct gguf_text **out, uint64_t *n, struct gm_error *err);
/* f32 / i32 (or u32) elements copied to new aligned memory (mem_free). */
bool gguf_array_f32(const struct gguf *g, const char *key, enum need need, float **out, uint64_t *n,
                    struct gm_error *err);
bool gguf_array_i32(const struct gguf *g, const char *key, enum need need, int32_t **out,
                    uint64_t *n, struct gm_error *err);
bool gguf_array_bool(const struct gguf *g, const char *key, enum need need, bool **out, uint64_t *n,
                     struct gm_error *err);

const char *gguf_type_name(enum gguf_type t); /* "string" */
/* Tensor types by the number in the file: name of every published type ("IQ2_XXS"; NULL for unknown
 * numbers), and ours if we read it. */
const char *gguf_tensor_type_name(uint32_t id);
bool gguf_tensor_type(uint32_t id, enum dtype *type);

#endif
