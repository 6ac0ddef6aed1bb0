/* gguf_write.h - writing of GGUF files, version 3.
 *
 * A builder gathers metadata (each key once, written in the order told) and tensors; gguf_write() lays them out as every
 * reader wants it: offsets are the running sum of sizes padded to 32, the last tensor is padded too, names have at most 63
 * bytes. The file appears whole or not at all, and its bytes depend on what was told alone. Texts, arrays and names are
 * copied; tensor data is not (it is produced while writing). Memory: gguf_out_free. Threads: one.
 *
 *     struct gguf_out *g = gguf_out_new();
 *     gguf_out_text(g, "general.architecture", "llama");
 *     gguf_out_u32(g, "llama.block_count", 22);
 *     gguf_out_tensor(g, &tensor);                      // shape outermost first, as everywhere here
 *     bool ok = gguf_write(g, "model.gguf", err);
 *     gguf_out_free(g);
 */
#ifndef GM_FORMAT_GGUF_WRITE_H
#define GM_FORMAT_GGUF_WRITE_H

#include "engine/format/gguf.h"
#include "engine/format/safetensors.h" /* struct tensor_out */

struct gguf_out;
struct gguf_out *gguf_out_new(void);
void gguf_out_free(struct gguf_out *g);

void gguf_out_text(struct gguf_out *g, const char *key, const char *text);
void gguf_out_u32(struct gguf_out *g, const char *key, uint32_t value);
void gguf_out_f32(struct gguf_out *g, const char *key, float value);
void gguf_out_bool(struct gguf_out *g, const char *key, bool value);
void gguf_out_texts(struct gguf_out *g, const char *key, const struct gguf_text *texts, size_t n);
void gguf_out_f32s(struct gguf_out *g, const char *key, const float *values, size_t n);
void gguf_out_i32s(struct gguf_out *g, const char *key, const int32_t *values, size_t n);
void gguf_out_bools(struct gguf_out *g, const char *key, const bool *values, size_t n);

/* Types that GGUF has no number for are refused by gguf_write. */
void gguf_out_tensor(struct gguf_out *g, const struct tensor_out *tensor);
bool gguf_write(struct gguf_out *g, const char *path, struct gm_error *err);

/* The number of a type in the file; false: GGUF has none. */
bool gguf_type_id(enum dtype type, uint32_t *id);

#endif
