/* sequences.h - private to engine/export: the token sequences that a proof runs through both models.
 *
 * Prompts, rendered by the template where there is one, each followed by what the unfused model answers greedily: there, from the last token of the prompt
 * on, the two have to agree. And random sequences, drawn from the vocabulary by a named stream, which no model has learnt to smooth over.
 */
#ifndef GM_EXPORT_SEQUENCES_H
#define GM_EXPORT_SEQUENCES_H

#include "engine/export/parts.h"

enum { SEQUENCE_MAX = 96, SEQUENCES_RANDOM = 4, SEQUENCES_ASKED = 4, SEQUENCES = SEQUENCES_RANDOM + SEQUENCES_ASKED };

struct sequence {
    int32_t ids[SEQUENCE_MAX];
    int n;
    int answer; /* position of the last token of the prompt; < 0: random */
};
struct sequences {
    struct sequence list[SEQUENCES];
    int n;
};
bool sequences_make(struct sequences *s, const struct export_job *j, const struct compute *exact, struct gm_error *err);

#endif
