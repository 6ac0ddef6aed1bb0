/* chat_while_training.c - what chat and screen lose while the machine trains, and what training gets meanwhile.
 * Usage: chat_while_training [SHAPE [SEQ [SECONDS [THREADS]]]]   (gemma3-270m 512 5, physical cores; takes about 3 * SECONDS) */
#include "src/cli/shapes.h"
#include "src/cli/while_training.h"

#include <stdio.h>
#include <stdlib.h>

static void print_answers(const char *name, const struct answers *a)
{
    printf("%-16s first token %6.1f ms (longest %6.1f)   %6.1f tok/s\n", name, 1e3 * a->first_token_s, 1e3 * a->first_token_most_s, a->tokens_per_second);
}

static void print_lateness(const char *name, const struct lateness *l)
{
    printf("%-16s wakes late by %.2f ms (median), %.2f (99 %%), %.2f at most\n", name, 1e3 * l->p50, 1e3 * l->p99, 1e3 * l->most);
}

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    struct while_training_result r;
    struct pool *pool = pool_new(argc > 4 ? atoi(argv[4]) : 0, &err);
    struct model *m = pool ? shape_model(argc > 1 ? argv[1] : "gemma3-270m", DT_BF16, &err) : NULL;
    bool ok = m && while_training(m, pool, GM_COMPUTE_AUTO, FAMILY_AUTO, argc > 2 ? atoi(argv[2]) : 512, argc > 3 ? atof(argv[3]) : 5, &r, &err);
    if (ok) {
        print_answers("alone", &r.alone);
        print_answers("while training", &r.training);
        printf("%-16s %.0f %%\n", "rate kept", 100 * r.training.tokens_per_second / r.alone.tokens_per_second);
        printf("%-16s %.0f tok/s alone, %.0f while answers are made\n", "training", r.trained_alone, r.trained_meanwhile);
        print_lateness("screen, alone", &r.idle);
        print_lateness("screen, training", &r.busy);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    model_free(m);
    pool_free(pool);
    return ok ? 0 : 1;
}
