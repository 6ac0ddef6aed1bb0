/* rows.h - from the JSON of a row to what it says: turns of a conversation, a text, or ids with
 * labels. Private to this room.
 *
 * Texts and numbers are copied into a store: blocks of memory that live and die as one, because a
 * data set has hundreds of thousands of small pieces. Threads: one.
 *
 *     struct raw_row raw;
 *     if (!row_read(&raw, &store, json, &err)) ...      // err: the fact; the caller says where
 */
#ifndef GM_TRAIN_ROWS_H
#define GM_TRAIN_ROWS_H

#include "engine/format/json.h"
#include "engine/train/dataset.h"

struct store {
    struct store_block *blocks;
};
void *store_take(struct store *s, size_t bytes); /* 8-byte aligned, not zeroed */
char *store_text(struct store *s, const char *text);
void store_free(struct store *s);

struct raw_row {
    enum row_form form;
    const char *file;
    int line;
    struct chat_message *messages; /* ROW_MESSAGES, ROW_CONVERSATIONS */
    int n_messages;
    const char *text;      /* ROW_TEXT */
    int32_t *ids, *labels; /* ROW_IDS: labels -100 = no loss */
    int n_ids;
};
bool row_read(struct raw_row *row, struct store *store, const json_t *value, struct gm_error *err);
/* First user turn and last assistant turn, or the text as the answer; "" where there is none. */
const char *row_prompt(const struct raw_row *row);
const char *row_answer(const struct raw_row *row);

/* All rows of a file's bytes: JSON Lines, or one JSON array. Rows that are no rows are counted; the
 * first one's error is kept. */
struct row_list {
    struct raw_row *rows;
    enum split *splits;
    int n, cap;
    int n_bad, n_unseen; /* unseen: not encoded, as all in front of them were bad */
    struct gm_error first_bad;
};
bool rows_read_file(struct row_list *list, struct store *store, const char *bytes, size_t n,
                    const char *file, enum split split, struct gm_error *err);
void rows_add(struct row_list *list, const struct raw_row *row, enum split split);
void rows_count_bad(struct row_list *list, const struct gm_error *why);
void row_list_free(struct row_list *list); /* not the store */

#endif
