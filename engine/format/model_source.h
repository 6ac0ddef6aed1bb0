/* model_source.h - what MODEL names: a Hugging Face directory, a .gguf file, a built-in name
 * ("nano"), or a hub id `org/name` in the local cache.
 *
 * It finds and opens files and hands out tensors, the parsed config.json or the GGUF metadata, and
 * the small files beside them (tokenizer.json ...). It knows nothing of architectures. A sharded
 * model must agree with its index both ways. Threads: read-only after opening.
 *
 *     struct model_source s;
 *     if (!model_source_open(&s, "HuggingFaceTB/SmolLM2-135M-Instruct", err)) return false;
 *     const struct tensor_info *t = model_source_find(&s, "model.embed_tokens.weight");
 *     model_source_close(&s);
 */
#ifndef GM_FORMAT_MODEL_SOURCE_H
#define GM_FORMAT_MODEL_SOURCE_H

#include "engine/base/str.h"
#include "engine/format/gguf.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"

enum source_kind { SOURCE_HF, SOURCE_GGUF };

struct model_source {
    enum source_kind kind;
    bool builtin;      /* SOURCE_HF whose files are embedded in the program */
    char *name;        /* for people: "nano", "smollm2", "org/name", "model.gguf" */
    char *path;        /* the directory or the .gguf file; the builtin name when builtin */
    json_t *config;    /* config.json; NULL for GGUF and where a directory holds a tokenizer only */
    struct gguf *gguf; /* NULL for SOURCE_HF */
    int n_tensors;     /* over all shards */
    /* private */
    struct safetensors *shards;
    char **shard_names;
    int n_shards;
};

bool model_source_open(struct model_source *s, const char *model, struct gm_error *err);
/* The same without weights, where there are any; a directory that holds a tokenizer only opens too.
 */
bool model_source_open_tokenizer(struct model_source *s, const char *model, struct gm_error *err);
void model_source_close(struct model_source *s);

const struct tensor_info *model_source_find(const struct model_source *s,
                                            const char *name); /* NULL: not there */
const struct tensor_info *model_source_tensor(const struct model_source *s,
                                              int i); /* 0 <= i < n_tensors */

/* Files beside the weights, by plain name. A GGUF has none. */
bool model_source_has_file(const struct model_source *s, const char *name);
bool model_source_read_file(const struct model_source *s, const char *name, size_t max_bytes,
                            struct str *out, struct gm_error *err);
json_t *model_source_read_json(const struct model_source *s, const char *name, size_t max_bytes,
                               struct gm_error *err);
/* Names of the files beside the weights (for copying them into a fused model), sorted. Free each
 * and the array with mem_free. */
bool model_source_files(const struct model_source *s, char ***names, size_t *count,
                        struct gm_error *err);

/* sha256 of the weights: of the file, or, with shards, of the lines "HEX  NAME\n" in order of name.
 * For run.json. */
bool model_source_hash(const struct model_source *s, char hex[65], struct gm_error *err);
/* To tell one model from another without reading it all: sha256 over name, type, shape of every tensor, in order of name, and 256
 * bytes of it in four places. The same weights in one file or in shards have one fingerprint; other types of the same model have
 * others. Reads about 1 MB of a model of 300 tensors, whatever its size. */
void model_source_fingerprint(const struct model_source *s, char hex[65]);

#endif
