/* while_training.c - see while_training.h. */
#include "src/cli/while_training.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/model/decode.h"
#include "engine/train/step.h"
#include "src/cli/random_batch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 48, ANSWER = 33, ANSWERS_MAX = 256, WAKES_MAX = 1 << 16 };
static const double WAKE_S = 0.004, PAUSE_S = 0.2; /* between answers training goes on undisturbed */

static void sleep_until(double when)
{
    double left = when - clock_seconds();
    if (left <= 0)
        return;
    struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&t, NULL);
}

/* ---- the screen's thread ---- */

struct screen {
    pthread_t thread;
    atomic_bool stop;
    double *late;
    int n;
};

static void *screen_thread(void *arg)
{
    struct screen *s = arg;
    thread_interactive();
    while (!atomic_load(&s->stop) && s->n < WAKES_MAX) {
        double due = clock_seconds() + WAKE_S;
        sleep_until(due);
        s->late[s->n++] = clock_seconds() - due;
    }
    return NULL;
}

static bool screen_start(struct screen *s, struct gm_error *err)
{
    atomic_store(&s->stop, false);
    s->n = 0;
    int failed = pthread_create(&s->thread, NULL, screen_thread, s);
    return failed == 0 || error_set(err, GM_E_IO, "start a thread: %s", strerror(failed));
}

static struct lateness screen_end(struct screen *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    return (struct lateness){quantile(s->late, s->n, 0.5), quantile(s->late, s->n, 0.99), quantile(s->late, s->n, 1)};
}

/* ---- the trainer ---- */

struct trainer_side {
    pthread_t thread;
    atomic_bool stop;
    atomic_long tokens; /* so far */
    struct compute compute;
    struct step step;
    struct random_batch batch;
};

static const struct batch *same_batch(void *arg, int i)
{
    return &((struct trainer_side *)arg)->batch.b;
}

static void *trainer_thread(void *arg)
{
    struct trainer_side *t = arg;
    struct step_result result;
    thread_background();
    while (!atomic_load(&t->stop)) {
        step_run(&t->step, 1e-4, t->batch.b.n_targets, 1, same_batch, t, &result);
        atomic_fetch_add(&t->tokens, (long)result.tokens);
    }
    return NULL;
}

static bool trainer_open(struct trainer_side *t, const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, int seq,
                         struct gm_error *err)
{
    struct train_options o = train_options_default();
    random_batch_init(&t->batch, seq, 1, 1.0 / 3, m->config.vocab_size);
    if (!compute_init(&t->compute, pool, GM_TRAIN, mode, family, err)) {
        train_options_free(&o);
        return false;
    }
    struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = seq, .max_targets = t->batch.b.n_targets, .max_seqs = 1, .max_seq_tokens = seq,
                                 .mode = t->compute.mode};
    struct lora *l = lora_new(&m->config, &o.lora, 1, err);
    t->step = (struct step){.compute = &t->compute, .lora = l};
    bool ok = l && (t->step.pass = pass_new(m, &o.lora, &limits, err));
    if (ok)
        lora_bind(l, m, &t->compute);
    ok = ok && (t->step.optimizer = optimizer_new(&o, l->set.count, err))
         && (t->step.grads = mem_alloc(l->set.count * sizeof(float), "gradients", err));
    train_options_free(&o);
    return ok;
}

static void trainer_close(struct trainer_side *t)
{
    optimizer_free(t->step.optimizer);
    mem_free(t->step.grads);
    pass_free(t->step.pass);
    lora_free(t->step.lora);
    compute_free(&t->compute);
    random_batch_free(&t->batch);
}

/* ---- the one who answers ---- */

struct taster_side {
    struct compute compute;
    struct decoder *decoder;
    float *logits;
    int vocab;
};

static int32_t best_token(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* As the generator does it: the gate is kept for a whole token, and for a prompt. */
static bool decode(struct taster_side *t, int slot, const int32_t *ids, int n, struct gm_error *err)
{
    struct decode_item item = {.slot = slot, .ids = ids, .n = n, .logits = t->logits};
    pool_hold(t->compute.pool);
    bool ok = decoder_run(t->decoder, &t->compute, &item, 1, err);
    pool_release(t->compute.pool);
    return ok;
}

static bool answer(struct taster_side *t, double *first_s, double *rate, struct gm_error *err)
{
    int32_t ids[PROMPT], id;
    for (int i = 0; i < PROMPT; i++)
        ids[i] = (i * 7919 + 13) % t->vocab;
    double began = clock_seconds();
    int slot = decoder_take(t->decoder);
    bool ok = decode(t, slot, ids, PROMPT, err);
    id = best_token(t->logits, t->vocab);
    double first = clock_seconds();
    for (int i = 1; ok && i < ANSWER; i++) {
        ok = decode(t, slot, &id, 1, err);
        id = best_token(t->logits, t->vocab);
    }
    *first_s = first - began;
    *rate = (ANSWER - 1) / (clock_seconds() - first);
    decoder_release(t->decoder, slot);
    return ok;
}

/* Answers for so long; trained: the tokens that training got through per second of answering; NULL: not asked. */
static bool answers(struct taster_side *t, double seconds, struct answers *out, atomic_long *tokens, double *trained, struct gm_error *err)
{
    double first[ANSWERS_MAX], rate[ANSWERS_MAX], spent = 0;
    long done = 0;
    int n = 0;
    bool ok = true;
    for (double end = clock_seconds() + seconds; ok && n < ANSWERS_MAX && (n < 3 || clock_seconds() < end); n++) {
        long before = tokens ? atomic_load(tokens) : 0;
        double began = clock_seconds();
        ok = answer(t, &first[n], &rate[n], err);
        spent += clock_seconds() - began;
        done += tokens ? atomic_load(tokens) - before : 0;
        sleep_until(clock_seconds() + PAUSE_S);
    }
    *out = (struct answers){quantile(first, n, 0.5), quantile(first, n, 1), quantile(rate, n, 0.5)};
    if (trained)
        *trained = (double)done / spent;
    return ok;
}

static bool taster_open(struct taster_side *t, const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, struct gm_error *err)
{
    t->vocab = m->config.vocab_size;
    return compute_init(&t->compute, pool, GM_TASTE, mode, family, err)
           && (t->decoder = decoder_new(m, 1, PROMPT + ANSWER, t->compute.mode == GM_COMPUTE_F32, err))
           && (t->logits = mem_alloc((size_t)t->vocab * sizeof(float), "logits", err));
}

static void taster_close(struct taster_side *t)
{
    decoder_free(t->decoder);
    mem_free(t->logits);
    compute_free(&t->compute);
}

/* ---- together ---- */

/* Waits for the end of an update; when that was. */
static double next_update(struct trainer_side *t)
{
    for (long before = atomic_load(&t->tokens); atomic_load(&t->tokens) == before;)
        sleep_until(clock_seconds() + 0.001);
    return clock_seconds();
}

static bool measure(struct trainer_side *trainer, struct taster_side *taster, struct screen *screen, double seconds, struct while_training_result *r,
                    struct gm_error *err)
{
    thread_background(); /* the caller is the one who answers */
    if (!screen_start(screen, err))
        return false;
    bool ok = answers(taster, seconds, &r->alone, NULL, NULL, err);
    r->idle = screen_end(screen);
    int failed = ok ? pthread_create(&trainer->thread, NULL, trainer_thread, trainer) : 0;
    if (failed)
        return error_set(err, GM_E_IO, "start a thread: %s", strerror(failed));
    if (!ok)
        return false;
    double began = next_update(trainer), ended = began; /* the first touches memory for the first time */
    long before = atomic_load(&trainer->tokens);
    while (ended < began + seconds)
        ended = next_update(trainer);
    r->trained_alone = (double)(atomic_load(&trainer->tokens) - before) / (ended - began);
    ok = screen_start(screen, err);
    if (ok) {
        ok = answers(taster, seconds, &r->training, &trainer->tokens, &r->trained_meanwhile, err);
        r->busy = screen_end(screen);
    }
    atomic_store(&trainer->stop, true);
    pthread_join(trainer->thread, NULL);
    return ok;
}

bool while_training(const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, int seq, double seconds,
                    struct while_training_result *r, struct gm_error *err)
{
    struct trainer_side trainer = {.tokens = 0};
    struct taster_side taster = {.vocab = 0};
    struct screen screen = {.late = mem_new(WAKES_MAX, sizeof(double))};
    *r = (struct while_training_result){.trained_alone = 0};
    bool ok = trainer_open(&trainer, m, pool, mode, family, seq, err) && taster_open(&taster, m, pool, mode, family, err)
              && measure(&trainer, &taster, &screen, seconds, r, err);
    taster_close(&taster);
    trainer_close(&trainer);
    mem_free(screen.late);
    return ok;
}

/* ---- the report ---- */

static json_t *answers_json(const struct answers *a)
{
    return json_pack("{s:f, s:f, s:f}", "first_token_ms", 1e3 * a->first_token_s, "first_token_ms_most", 1e3 * a->first_token_most_s, "tokens_per_second",
                     a->tokens_per_second);
}

json_t *while_training_json(const struct while_training_result *r)
{
    return json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f}", "alone", answers_json(&r->alone), "training", answers_json(&r->training), "rate_kept",
                     r->training.tokens_per_second / r->alone.tokens_per_second, "trained_alone", r->trained_alone, "trained_meanwhile", r->trained_meanwhile,
                     "wake_late_ms_p50", 1e3 * r->busy.p50, "wake_late_ms_p99", 1e3 * r->busy.p99);
}

static void print_answers(const char *name, const struct answers *a)
{
    printf("  %-16s first token %6.1f ms (longest %6.1f)   %6.1f tok/s\n", name, 1e3 * a->first_token_s, 1e3 * a->first_token_most_s, a->tokens_per_second);
}

static void print_lateness(const char *name, const struct lateness *l)
{
    printf("  %-16s wakes late by %.2f ms (median), %.2f (99 %%), %.2f at most\n", name, 1e3 * l->p50, 1e3 * l->p99, 1e3 * l->most);
}

void while_training_print(const char *name, const struct while_training_result *r)
{
    printf("chat while training, %s\n", name);
    print_answers("alone", &r->alone);
    print_answers("while training", &r->training);
    printf("  %-16s %.0f %%\n", "rate kept", 100 * r->training.tokens_per_second / r->alone.tokens_per_second);
    printf("  %-16s %.0f tok/s alone, %.0f while answers are made\n", "training", r->trained_alone, r->trained_meanwhile);
    print_lateness("screen, alone", &r->idle);
    print_lateness("screen, training", &r->busy);
}
