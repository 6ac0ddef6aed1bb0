/* encode.h - rows to token ids and loss mask, on all cores. Private to this room. */
#ifndef GM_TRAIN_ENCODE_H
#define GM_TRAIN_ENCODE_H

#include "engine/train/rows.h"

/* Fills ids, targets, supervised, n, n_full, n_supervised of rows[i] from raw->rows[i]; memory from
 * the store. A row that cannot be encoded is counted in raw as bad. */
void encode_rows(struct row *rows, struct row_list *raw, struct store *store,
                 const struct dataset_options *o, const struct tokenizer *t,
                 const struct chat_template *tpl);

#endif
