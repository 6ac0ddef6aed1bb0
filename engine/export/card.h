/* card.h - README.md of an export: what it is, how it was made, what was measured, what was not, and how to use it.
 *
 * Facts come from the run (run.json, journal.jsonl, samples.jsonl) and from the proof; what is not known is said to be so. Texts that others
 * wrote (names, samples, a system message) are cleaned, quoted or fenced, so that they cannot become markup. The front matter is what the
 * Hugging Face hub reads.
 *
 * Memory: the text is the caller's (mem_free). Threads: any.
 *
 *     struct card c = {.target = "ollama", .name = "haiku", .base = "google/gemma-3-270m-it", .run_dir = "runs/first", .step = 600, ...};
 *     char *text = card_write(&c);
 */
#ifndef GM_EXPORT_CARD_H
#define GM_EXPORT_CARD_H

#include "engine/base/str.h"

struct card_proof {
    int sequences;
    int64_t positions;
    double mean_kl, max_kl, greedy_agreement, max_logit_difference;
    int prompts_verified; /* by the Modelfile; 0: there is none */
};
struct card {
    const char *target;       /* what --to was */
    const char *type;         /* how weights are stored: "bf16" */
    const char *name;         /* of the folder or file */
    const char *base;         /* what the base is called; a hub id where it is one */
    const char *license;      /* of the base; NULL: not known */
    bool has_adapter;         /* else: the base as it is */
    const char *system;       /* what it was trained with; NULL: none */
    const char *run_dir;      /* NULL: not of a run */
    int step;                 /* of the checkpoint; -1 unknown */
    const struct card_proof *proof;
    const char *const *notes; /* programs that will differ, types fallen back on */
    int n_notes;
    const char *fuse_table;   /* markdown, of --to all; NULL: not measured */
};
char *card_write(const struct card *c);

struct model_source;
/* "mit", "apache-2.0": what the base's README.md or its GGUF says; NULL: nothing, or nothing that can be a name. mem_free. */
char *card_license(const struct model_source *base);

#endif
