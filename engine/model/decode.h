/* decode.h - generating with a key/value cache, many sequences at once, each with its own adapter.
 *
 * A decoder owns cache slots. One call takes new tokens of any number of sequences (a prompt block,
 * or one token each), and gives logits of the last token of each. Sequences may have different
 * adapters and lengths; those with the same adapter should stand next to one another. With long
 * rotary factors the length that a sequence has with an item decides for that item's tokens
 * (ropes.h). Threads: one decoder belongs to one thread.
 *
 *     struct decoder *d = decoder_new(model, 16, 512, &err);
 *     int slot = decoder_take(d);
 *     struct decode_item item = {.slot = slot, .lora = adapter, .ids = prompt, .n = n_prompt,
 * .logits = logits}; decoder_run(d, &compute, &item, 1);
 */
#ifndef GM_MODEL_DECODE_H
#define GM_MODEL_DECODE_H

#include "engine/kernel/head_int8.h"
#include "engine/model/lora.h"

struct decode_item {
    int slot;
    const struct lora *lora; /* NULL: the base */
    const int32_t *ids;
    int n;
    float *logits; /* [vocab] of the last token; NULL: not wanted. Best where those of the items lie one behind another: made in one product */
    struct head_want want; /* with decoder_head(): which logits must be exact; zero: all */
};
struct decoder;
/* Cache in bf16 (f32 when `f32_cache`: the f32 compute path). */
struct decoder *decoder_new(const struct model *m, int n_slots, int max_tokens, bool f32_cache,
                            struct gm_error *err);
void decoder_free(struct decoder *d);
/* From now on the weights are read here: the same model, stored otherwise (packed.h). */
void decoder_use(struct decoder *d, const struct model *m);
/* From now on logits come from here (of the same model's head), exact where an item wants that; NULL: from the head, as they do at first. */
void decoder_head(struct decoder *d, const struct head_int8 *head);
int decoder_take(struct decoder *d); /* a free slot, empty; -1: none */
void decoder_release(struct decoder *d, int slot);
void decoder_truncate(struct decoder *d, int slot, int n); /* keeps the first n tokens */
void decoder_copy(struct decoder *d, int to, int from, int n); /* shares a prompt: the first n tokens */
int decoder_length(const struct decoder *d, int slot);
/* From now on asked between the blocks (256 rows) that long prompts are cut into; false ends the run: what went through stays in the cache. NULL: nobody. */
void decoder_between(struct decoder *d, bool (*go_on)(void *arg), void *arg);
/* false only when a sequence would outgrow max_tokens (err says so), or between two blocks was told to end (GM_E_CANCELLED). */
bool decoder_run(struct decoder *d, const struct compute *c, const struct decode_item *items,
                 int n_items, struct gm_error *err);

#endif
