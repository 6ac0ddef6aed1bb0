/* facts.h - what a path holds, as a JSON tree: the one source of `inspect` and `check`.
 *
 * Facts are gathered as far as they can be: what is damaged or not supported becomes a line in "notes" (known and harmless: a vision
 * tower that is passed over) or in "faults" (it would not work), and the rest is told all the same.
 *
 *     json_t *facts = facts_of(path, &options, &err);     // NULL: not there, or nothing that is known
 *     {"path", "kind", "summary": "llama, 135 M parameters, bf16", "bytes", "notes": [...], "faults": [...], "warnings": [...],
 *      "tensors": {...}, "metadata": {...}, "config": {...}, "tokenizer": {...}, "template": {...}, "adapter": {...}, "run": {...}}
 *
 * Threads: the caller's; with a pool, weights are looked at on all cores.
 */
#ifndef GM_CLI_FACTS_H
#define GM_CLI_FACTS_H

#include "engine/format/model_source.h"
#include "engine/format/recognise.h"
#include "src/cli/cli.h"

struct facts_options {
    bool all_tensors;     /* a list of every tensor */
    bool whole_template;  /* its text, not its first lines */
    bool whole_arrays;    /* metadata arrays in full */
    bool verify;          /* open as for use: every weight finite, hashes of checkpoints, every row */
    struct pool *pool;    /* may be NULL */
    const char *base;     /* of adapters; NULL: the one they name */
};

json_t *facts_of(const char *path, const struct facts_options *o, struct gm_error *err);
bool facts_works(const json_t *facts); /* no faults */

/* "135 M", "4.6 K" into out; returns out. */
const char *facts_size(int64_t n, char out[24]);

/* For the files that gather: */
struct facts {
    json_t *out;
    const struct facts_options *o;
    const char *path;
};
void facts_note(struct facts *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void facts_warn(struct facts *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void facts_fault(struct facts *f, const struct gm_error *err); /* the text of an error */
void facts_summary(struct facts *f, const char *format, ...) __attribute__((format(printf, 2, 3))); /* appended */

void facts_tensors(struct facts *f, const struct tensor_info *const *tensors, int n);
void facts_metadata_safetensors(struct facts *f, const struct safetensors *s);
void facts_metadata_gguf(struct facts *f, const struct gguf *g);
void facts_model(struct facts *f, const char *model); /* folder, GGUF, hub id, built-in */
void facts_tokenizer(struct facts *f, const struct tokenizer *t);
void facts_adapter_gguf(struct facts *f, const char *path);
void facts_adapter(struct facts *f, const char *path);  /* folder, .safetensors or GGUF */
void facts_run(struct facts *f, const char *dir);
void facts_checkpoint(struct facts *f, const char *dir);
bool facts_modelfile(struct facts *f, struct gm_error *err);
void facts_small_file(struct facts *f, enum artifact what); /* data, settings, theme, template ... */

#endif
