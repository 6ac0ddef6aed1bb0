/* model_items.h - private to model*.c: every parameter of a model in one list, in the order of
 * training and of files.
 *
 *     struct item *items = model_items(m, &n);     // mem_free
 *     for (int i = 0; i < n; i++) ... items[i].mat or items[i].norm is where the value hangs in the
 * model
 */
#ifndef GM_MODEL_ITEMS_H
#define GM_MODEL_ITEMS_H

#include "engine/model/model.h"

struct item {
    char name[96];      /* in Hugging Face files */
    char gguf[48];      /* in GGUF files */
    struct mat *mat;    /* matrices */
    const float **norm; /* norm weights: 1 x cols */
    int64_t rows, cols;
    int turned_heads; /* llama in GGUF: rows of so many heads stand in interleaved order; 0: as they
                         are */
};

struct item *model_items(struct model *m, int *n);

/* What a model owns besides its source. */
struct model_memory {
    float *norms; /* all norm weights, Gemma's +1 added */
    size_t n_norms;
    void *copies; /* matrices turned round, or random ones */
};
/* Allocates layers and norms; the pointers of the layers point to where the norms will be. */
bool model_lay_out(struct model *m, struct gm_error *err);

#endif
