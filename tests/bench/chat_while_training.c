/* chat_while_training.c - what chat and screen lose while the machine trains, and what training gets meanwhile.
 * Usage: chat_while_training [SHAPE [SEQ [SECONDS [THREADS]]]]   (gemma3-270m 512 5, physical cores; takes about 3 * SECONDS, and some updates) */
#include "src/cli/shapes.h"
#include "src/cli/while_training.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    struct while_training_result r;
    struct pool *pool = pool_new(argc > 4 ? atoi(argv[4]) : 0, &err);
    struct model *m = pool ? shape_model(argc > 1 ? argv[1] : "gemma3-270m", DT_BF16, &err) : NULL;
    bool ok = m && while_training(m, pool, GM_COMPUTE_AUTO, FAMILY_AUTO, argc > 2 ? atoi(argv[2]) : 512, argc > 3 ? atof(argv[3]) : 5, &r, &err);
    if (ok) {
        while_training_print(argc > 1 ? argv[1] : "gemma3-270m", &r);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    model_free(m);
    pool_free(pool);
    return ok ? 0 : 1;
}
