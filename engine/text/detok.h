/* detok.h - ids one at a time to text that can be shown at once.
 *
 * A character may be spread over several tokens: bytes wait here until it is complete. All that was
 * appended, put together, is what tokenizer_decode(skip_special = true) gives for all the ids. Byte
 * tokens of SentencePiece vocabularies wait until their run ends or grows valid: that is how their
 * decoder works.
 *
 * Memory: a plain value, allocates through its str only; detok_free. Threads: one.
 *
 *     struct detok d;
 *     detok_init(&d, tokenizer);
 *     while (sample(&id)) { detok_push(&d, id, &out); show(&out); }
 *     detok_finish(&d, &out);
 */
#ifndef GM_TEXT_DETOK_H
#define GM_TEXT_DETOK_H

#include "engine/text/tokenizer.h"

struct detok {
    const struct tokenizer *tokenizer;
    struct str held; /* bytes that are not a complete character yet */
    int strip_left;  /* spaces that the beginning of the text may still lose */
    bool skip_special;
    bool begun; /* a piece was shown */
};

void detok_init(
    struct detok *d,
    const struct tokenizer *t); /* skip_special = true; may be changed before the first push */
/* Appends the complete characters that this id brings. False (nothing appended) for an id outside
 * the vocabulary. */
bool detok_push(struct detok *d, int32_t id, struct str *out);
void detok_finish(
    struct detok *d,
    struct str *out); /* what is left, invalid bytes as U+FFFD; ready for a new text */
void detok_free(struct detok *d);

#endif
