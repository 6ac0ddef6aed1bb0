/* while_training.h - how it feels to work while the machine trains: one LoRA training thread, one thread that answers and one that wakes up like a screen, on the
 * program's own pool and gate.
 *
 *     struct while_training_result r;
 *     while_training(model, pool, GM_COMPUTE_AUTO, FAMILY_AUTO, 512, 10, &r, &err);
 */
#ifndef GM_CLI_WHILE_TRAINING_H
#define GM_CLI_WHILE_TRAINING_H

#include "engine/format/json.h"
#include "engine/kernel/compute.h"
#include "engine/model/model.h"

struct answers { /* several, one after another; a prompt of 48 tokens, 65 tokens or a second each */
    double first_token_s, first_token_most_s; /* median, longest; of an answer */
    double tokens_per_second;                 /* median of the answers, from the first token to the last */
    double pause_s, pause_most_s;             /* the longest between two tokens of an answer: median of the answers, longest of all */
};
struct lateness { /* how much later than it asked a thread at normal priority woke up, seconds */
    double p50, p99, most;
};
struct while_training_result {
    struct answers alone, training; /* in turns */
    double rate_kept;               /* while training, of the rate alone: median of the rounds */
    double trained_alone, trained_meanwhile; /* tokens per second of training, while nobody asks and while answers are made */
    struct lateness idle, busy;              /* of the screen's thread: nothing trains; training and answers */
};
/* seq: tokens of an update. Takes about 3 * seconds, and some updates. */
bool while_training(const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, int seq, double seconds,
                    struct while_training_result *r, struct gm_error *err);
json_t *while_training_json(const struct while_training_result *r);
void while_training_print(const char *name, const struct while_training_result *r); /* of the model */

#endif
