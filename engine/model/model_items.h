/* model_items.h - private to model*.c: every parameter of a model in one list, in the order of
 * training and of files.
 *
 *     struct item *items = model_items(m, &n);     // mem_free
 *     for (int i = 0; i < n; i++) ... items[i].mat or items[i].vector is where the value hangs in
 *                                     the model
 */
#ifndef GM_MODEL_ITEMS_H
#define GM_MODEL_ITEMS_H

#include "engine/model/model.h"

struct item {
    char name[96];        /* in Hugging Face files, after the prefix of the model's files */
    char gguf[48];        /* in GGUF files */
    struct mat *mat;      /* matrices: n_parts views of consecutive rows; one unless fused */
    const float **vector; /* norm weights and biases: 1 x cols */
    int64_t rows, cols;
    int n_parts;
    int64_t part_rows[3];
    bool plus_one;    /* a norm of Gemma: Hugging Face files hold w - 1 */
    int turned_heads; /* llama in GGUF: rows of so many heads stand in interleaved order; 0: as they
                         are */
};

struct item *model_items(struct model *m, int *n);
int item_turned_heads(const struct model_config *c, enum proj p);
/* GGUF keeps row h*D + 2k + s of q and k of llama files where Hugging Face has h*D + s*D/2 + k: where row `row` of ours stands there. */
int64_t item_turned_row(int64_t row, int64_t rows, int heads);
void item_set(const struct item *i, const struct mat *whole); /* hangs the matrix in, cut into parts */
struct mat item_mat(const struct item *i);                    /* all parts as the one they are */

/* The name in the model's own Hugging Face files, behind their prefix; mem_free. */
char *item_stored_name(const struct model *m, const struct item *i);

/* What a model owns besides its source. */
struct model_memory {
    float *vectors; /* all norm weights, Gemma's +1 added, and biases */
    size_t n_vectors;
    void *copies; /* matrices turned round, or random ones */
};
/* Allocates layers and vectors; the pointers of the layers point to where the vectors will be. */
bool model_lay_out(struct model *m, struct gm_error *err);

#endif
