/* table.h - rows of comma- or tab-separated files (RFC 4180). Private to this room.
 *
 * The first line names the columns: prompt and completion (or response, answer), instruction, input and output, or
 * text; case does not matter, other columns are ignored and told. Fields in quotes may hold separators, line breaks and
 * doubled quotes. A .csv whose header has semicolons and no comma is cut at semicolons. In a .tsv a quote that does not
 * close at the end of a field is an ordinary character. Rows that do not fit are counted like those of JSON. Threads: one.
 *
 *     if (table_ending(path)) ok = table_read(&list, &store, bytes, n, path, SPLIT_TRAIN, &ignored, err);
 */
#ifndef GM_TRAIN_TABLE_H
#define GM_TRAIN_TABLE_H

#include "engine/train/rows.h"

bool table_ending(const char *path); /* .csv or .tsv */
/* ignored: the names of the columns that say nothing here, comma-separated, are added. */
bool table_read(struct row_list *list, struct store *store, const char *bytes, size_t n,
                const char *file, enum split split, struct str *ignored, struct gm_error *err);

#endif
