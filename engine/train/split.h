/* split.h - which rows belong together: the split of one file, duplicates, and leaks between
 * splits. Private to this room.
 *
 * Two rows share something when their prompts are the same words, or a whole line of their answers
 * is (case and punctuation aside, lines of one word not counted). Sharing is transitive: groups of
 * rows stay on one side. Threads: one.
 */
#ifndef GM_TRAIN_SPLIT_H
#define GM_TRAIN_SPLIT_H

#include "engine/train/dataset.h"

/* Moves groups of one source's train rows into valid and test, a tenth of the rows each (where wanted), as the
 * seed says. Returns false when the rows hang together so that no group is small enough: then
 * single rows are moved, and their overlap shows as leaks. */
bool split_make(struct dataset *d, int source, bool valid, bool test, uint64_t seed);
/* Fills duplicate_of and the findings. */
void split_find_duplicates(struct dataset *d);
void split_find_twins(struct dataset *d); /* after the duplicates */
void split_find_leaks(struct dataset *d);

#endif
