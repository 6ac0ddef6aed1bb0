/* recognise.h - what a path claims to be: by the names in a folder, by name and first bytes of a file.
 *
 * A claim only: whether it holds is for the reader of that kind. A damaged "model.safetensors" is weights, an empty folder
 * with a config.json is a model. Reads at most RECOGNISE_BYTES of a file.
 *
 *     enum artifact what;
 *     if (!recognise("out/haiku", &what, err)) ...     // not there, or nothing that is known here
 *     puts(artifact_name(what));                       // "adapter"
 */
#ifndef GM_FORMAT_RECOGNISE_H
#define GM_FORMAT_RECOGNISE_H

#include "engine/base/error.h"

enum { RECOGNISE_BYTES = 1 << 16 };

enum artifact {
    ARTIFACT_MODEL,         /* a Hugging Face or MLX folder */
    ARTIFACT_GGUF,          /* a model, or an adapter: general.type says */
    ARTIFACT_WEIGHTS,       /* a .safetensors file */
    ARTIFACT_ADAPTER,       /* a folder, or a .safetensors file with adapter_config.json beside it */
    ARTIFACT_RUN,
    ARTIFACT_CHECKPOINT,    /* of a run */
    ARTIFACT_DATA,          /* a file of rows, or a folder of such */
    ARTIFACT_TOKENIZER,     /* tokenizer.json, tokenizer.model, or a folder with one */
    ARTIFACT_MODEL_CONFIG,  /* config.json */
    ARTIFACT_ADAPTER_CONFIG,
    ARTIFACT_INDEX,         /* model.safetensors.index.json */
    ARTIFACT_TEMPLATE,      /* a chat template in Jinja */
    ARTIFACT_SETTINGS,      /* YAML or JSON for -c */
    ARTIFACT_MODELFILE,     /* or a folder with one */
    ARTIFACT_THEME,
    ARTIFACT_JOURNAL,       /* journal.jsonl or samples.jsonl of a run */
    ARTIFACT_PROOF,         /* of an export */
    ARTIFACT_COUNT
};
const char *artifact_name(enum artifact a); /* "model", "adapter config" */

bool recognise(const char *path, enum artifact *what, struct gm_error *err);

#endif
