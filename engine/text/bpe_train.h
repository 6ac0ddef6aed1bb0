/* bpe_train.h - makes a byte-level BPE vocabulary from a text.
 *
 * Ids: <pad> <eos> <bos> <unk> <start_of_turn> <end_of_turn> (0..5), the 256 bytes, then the merges
 * by frequency. Words are GPT-2's (with their leading space); none crosses a line, the newline is a
 * token of its own. Deterministic: pairs of equal count by lowest ids. Threads: the calling one
 * alone; 44 MB of verse take it seconds.
 *
 *     struct str json = {0};
 *     bpe_train(text, n, 4096, &json, &err);
 *     file_replace("tokenizer.json", json.data, json.len, &err);
 */
#ifndef GM_TEXT_BPE_TRAIN_H
#define GM_TEXT_BPE_TRAIN_H

#include "engine/base/error.h"
#include "engine/base/str.h"

/* n_pieces counts everything (512..65536). A text with too few pairs gives fewer pieces, which is
 * an error naming both numbers. */
bool bpe_train(const char *text, size_t n, int n_pieces, struct str *tokenizer_json,
               struct gm_error *err);
/* The tokenizer_config.json to go with it: special tokens and the Gemma 3 chat template. */
void bpe_train_config(struct str *tokenizer_config_json);

#endif
