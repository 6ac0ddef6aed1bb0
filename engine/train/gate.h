/* gate.h - the data gate: what is wrong with single rows, before a step is trained on them. Private to this room.
 *
 * Duplicates, twins and leaks are found by split.h; here a row is looked at alone: no answer, damaged encodings, double
 * bos, marks of chat templates that are plain text. Nothing is changed or dropped here. Threads: one.
 */
#ifndef GM_TRAIN_GATE_H
#define GM_TRAIN_GATE_H

#include "engine/train/rows.h"

bool gate_no_answer(const struct raw_row *row);
/* Bytes of UTF-8 that were taken for Windows-1252 and written as UTF-8 again, U+FFFD, or control characters. */
bool gate_damaged(const char *text);
/* The first mark of a chat template in the row's texts, copied to mark; false: none. t may be NULL. */
bool gate_chat_mark(const struct raw_row *row, const struct tokenizer *t, char mark[40]);
/* Sets the findings of rows[i] from raw->rows[i] (and its ids, where there are any). */
void gate_look(struct dataset *d, const struct row_list *raw, const struct tokenizer *t);

#endif
