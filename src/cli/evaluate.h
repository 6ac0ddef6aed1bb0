/* evaluate.h - how good a model is on the rows of a data set: loss, and answers of its own with their verdicts. Shared by eval and demo. */
#ifndef GM_CLI_EVALUATE_H
#define GM_CLI_EVALUATE_H

#include "engine/infer/metrics.h"
#include "engine/train/dataset.h"
#include "src/cli/cli.h"

struct evaluation {
    double loss; /* nats per supervised token */
    int64_t tokens, bytes; /* supervised; bytes of the rows' texts (text rows only) */
    int rows;
    double bleu, chrf;
    int n, strict, three_lines, possible; /* answers judged */
};

/* Both end early (GM_E_CANCELLED) when *cancel becomes true; cancel may be NULL. */
/* Loss over the split's rows. */
bool evaluate_loss(const struct session *s, const struct dataset *d, enum split split, atomic_bool *cancel, struct evaluation *e, struct gm_error *err);
/* The same in batches of that many rows, at most so many of them (negative: all). */
bool evaluate_batches(const struct session *s, const struct dataset *d, enum split split, int batch_rows, int batches, atomic_bool *cancel,
                      struct evaluation *e, struct gm_error *err);
/* An answer to the prompt of every row of the splits in `splits` (bit 1 << split), again and again with new seeds until there are `at_least` (0: once each). */
bool evaluate_answers(const struct session *s, const struct dataset *d, unsigned splits, const char *system, const struct sampling *sampling,
                      int at_least, atomic_bool *cancel, struct evaluation *e, struct gm_error *err);
json_t *evaluation_json(const struct evaluation *e);

#endif
