/* while_training.c - see while_training.h. */
#include "src/cli/while_training.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/number.h"
#include "engine/infer/sampler.h"
#include "engine/model/decode.h"
#include "engine/train/step.h"
#include "src/cli/random_batch.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 48, ANSWER = 65, ANSWER_LEAST = 9, ROUNDS_LEAST = 5, ROUNDS_MOST = 256, WAKES_MAX = 1 << 16, RUNS_MAX = 1 << 14 };
static const double WAKE_S = 0.004, ANSWER_S = 1 /* ends it before its last token */, ALONE_S = 0.2; /* before a question training goes on undisturbed */

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
    double *late; /* of all times that it was started */
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
    int failed = pthread_create(&s->thread, NULL, screen_thread, s);
    return failed == 0 || error_set(err, GM_E_IO, "start a thread: %s", strerror(failed));
}

static void screen_stop(struct screen *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
}

static struct lateness screen_lateness(const struct screen *s)
{
    return (struct lateness){quantile(s->late, s->n, 0.5), quantile(s->late, s->n, 0.99), quantile(s->late, s->n, 1)};
}

/* ---- the trainer ---- */

struct trainer_side {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint_least64_t at; /* updates so far, and pool_runs() at the end of the last one: high and low half */
    struct compute compute;
    struct step step;
    struct random_batch batch;
    double *done; /* [RUNS_MAX] share of an update's time that is over when so many of its runs are; undisturbed */
    int n_done;
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
    for (uint64_t updates = 1; !atomic_load(&t->stop); updates++) {
        step_run(&t->step, 1e-4, t->batch.b.n_targets, 1, same_batch, t, &result);
        atomic_store(&t->at, updates << 32 | pool_runs(t->compute.pool, GM_TRAIN));
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
    t->done = mem_new(RUNS_MAX, sizeof *t->done);
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
    mem_free(t->done);
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
    void *scratch;
    int vocab;
};
struct timing { /* of one answer */
    double first_s, rate, pause_s; /* the longest between two tokens */
};

static bool next_token(struct taster_side *t, int slot, const int32_t *ids, int n, int32_t *id, struct gm_error *err)
{
    const struct sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    struct decode_item item = {.slot = slot, .ids = ids, .n = n, .logits = t->logits};
    struct rng rng = rng_stream(0, "sample", 0);
    struct draw row = {.logits = t->logits, .sampling = &greedy, .rng = &rng};
    bool ok = decoder_run(t->decoder, &t->compute, &item, 1, err);
    if (ok)
        sampler_draw(&t->compute, &row, 1, t->vocab, t->scratch);
    *id = row.id;
    return ok;
}

/* As the generator does it: the gate is kept for the whole answer, and training let through between two tokens; alone: it is not. */
static bool answer(struct taster_side *t, bool alone, struct timing *out, struct gm_error *err)
{
    int32_t ids[PROMPT], id;
    for (int i = 0; i < PROMPT; i++)
        ids[i] = (i * 7919 + 13) % t->vocab;
    double began = clock_seconds();
    int slot = decoder_take(t->decoder);
    pool_hold(t->compute.pool);
    bool ok = next_token(t, slot, ids, PROMPT, &id, err);
    double first = clock_seconds(), last = first;
    *out = (struct timing){.first_s = first - began};
    int i = 1;
    for (; ok && i < ANSWER && (i < ANSWER_LEAST || last < first + ANSWER_S); i++) {
        if (!alone)
            pool_give_way(t->compute.pool);
        ok = next_token(t, slot, &id, 1, &id, err);
        double now = clock_seconds();
        out->pause_s = fmax(out->pause_s, now - last);
        last = now;
    }
    pool_release(t->compute.pool);
    out->rate = (i - 1) / (last - first);
    decoder_release(t->decoder, slot);
    return ok;
}

static bool taster_open(struct taster_side *t, const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, struct gm_error *err)
{
    t->vocab = m->config.vocab_size;
    return compute_init(&t->compute, pool, GM_TASTE, mode, family, err)
           && (t->decoder = decoder_new(m, 1, PROMPT + ANSWER, t->compute.mode == GM_COMPUTE_F32, err))
           && (t->logits = mem_alloc((size_t)t->vocab * sizeof(float), "logits", err))
           && (t->scratch = mem_alloc(sampler_draw_scratch_bytes(&t->compute, t->vocab), "sampling", err));
}

static void taster_close(struct taster_side *t)
{
    decoder_free(t->decoder);
    mem_free(t->logits);
    mem_free(t->scratch);
    compute_free(&t->compute);
}

/* ---- together ---- */

static uint32_t updates(const struct trainer_side *t)
{
    return (uint32_t)(atomic_load(&t->at) >> 32);
}

/* How many runs of the pool the update that goes on has had so far. */
static int runs_of_update(const struct trainer_side *t)
{
    return (int)(pool_runs(t->compute.pool, GM_TRAIN) - (uint32_t)atomic_load(&t->at));
}

/* Updates so far, the part of the one that goes on included. */
static double progress(const struct trainer_side *t)
{
    uint32_t n;
    int runs;
    do {
        n = updates(t);
        runs = runs_of_update(t);
    } while (n != updates(t));
    return t->n_done > 0 ? n + t->done[runs < t->n_done ? runs : t->n_done - 1] : n;
}

/* Waits for the end of an update; when that was. */
static double next_update(const struct trainer_side *t)
{
    for (uint32_t before = updates(t); updates(t) == before;)
        sleep_until(clock_seconds() + 0.001);
    return clock_seconds();
}

/* Watches an update that nobody disturbs: how far it is after each of its runs. */
static void watch_update(struct trainer_side *t)
{
    double began = next_update(t);
    int n = 0;
    for (uint32_t now = updates(t); updates(t) == now;) {
        int runs = runs_of_update(t);
        for (double s = clock_seconds() - began; n <= runs && n < RUNS_MAX;)
            t->done[n++] = s;
        sleep_until(clock_seconds() + 0.0002);
    }
    double whole = clock_seconds() - began;
    for (int i = 0; i < n; i++)
        t->done[i] /= whole;
    t->n_done = n;
}

/* Answers alone (training stands at the gate) and while training take turns, since the machine changes by the second. */
struct rounds {
    int n;
    double first[2][ROUNDS_MOST], rate[2][ROUNDS_MOST], pause[2][ROUNDS_MOST], kept[ROUNDS_MOST];
    double updates, seconds; /* of training and of the clock, while answers were made */
};

static bool one_answer(struct rounds *r, struct taster_side *taster, bool alone, struct screen *screen, struct gm_error *err)
{
    struct timing t = {0};
    if (!screen_start(screen, err))
        return false;
    bool ok = answer(taster, alone, &t, err);
    screen_stop(screen);
    r->first[!alone][r->n] = t.first_s, r->rate[!alone][r->n] = t.rate, r->pause[!alone][r->n] = t.pause_s;
    return ok;
}

static bool one_round(struct rounds *r, const struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], struct gm_error *err)
{
    pool_hold(taster->compute.pool);
    sleep_until(clock_seconds() + 0.01); /* what was begun is over */
    bool ok = one_answer(r, taster, true, &screens[0], err);
    pool_release(taster->compute.pool);
    sleep_until(clock_seconds() + ALONE_S * (1 + r->n % 8 / 8.0)); /* anywhere in an update */
    double at = progress(trainer), began = clock_seconds();
    ok = ok && one_answer(r, taster, false, &screens[1], err);
    r->updates += progress(trainer) - at;
    r->seconds += clock_seconds() - began;
    r->kept[r->n] = r->rate[1][r->n] / r->rate[0][r->n];
    r->n++;
    return ok;
}

static struct answers answers_of(struct rounds *r, int trains)
{
    return (struct answers){quantile(r->first[trains], r->n, 0.5), quantile(r->first[trains], r->n, 1), quantile(r->rate[trains], r->n, 0.5),
                            quantile(r->pause[trains], r->n, 0.5), quantile(r->pause[trains], r->n, 1)};
}

static bool ask(const struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], double seconds, struct while_training_result *r,
                struct gm_error *err)
{
    struct rounds *rounds = mem_new(1, sizeof *rounds);
    bool ok = true;
    for (double end = clock_seconds() + seconds; ok && rounds->n < ROUNDS_MOST && (rounds->n < ROUNDS_LEAST || clock_seconds() < end);)
        ok = one_round(rounds, trainer, taster, screens, err);
    r->alone = answers_of(rounds, 0);
    r->training = answers_of(rounds, 1);
    r->rate_kept = quantile(rounds->kept, rounds->n, 0.5);
    r->trained_meanwhile = rounds->updates * (double)trainer->batch.b.T / rounds->seconds;
    mem_free(rounds);
    return ok;
}

/* Tokens per second. */
static double train_alone(const struct trainer_side *t, double seconds)
{
    double began = next_update(t), ended = began;
    uint32_t before = updates(t);
    while (ended < began + seconds)
        ended = next_update(t);
    return (updates(t) - before) * (double)t->batch.b.T / (ended - began);
}

static bool measure(struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], double seconds, struct while_training_result *r,
                    struct gm_error *err)
{
    thread_background(); /* the caller is the one who answers */
    int failed = pthread_create(&trainer->thread, NULL, trainer_thread, trainer);
    if (failed)
        return error_set(err, GM_E_IO, "start a thread: %s", strerror(failed));
    next_update(trainer); /* the first touches memory for the first time */
    watch_update(trainer);
    double before = train_alone(trainer, seconds / 2);
    bool ok = ask(trainer, taster, screens, 2 * seconds, r, err);
    if (ok)
        r->trained_alone = (before + train_alone(trainer, seconds / 2)) / 2;
    r->idle = screen_lateness(&screens[0]);
    r->busy = screen_lateness(&screens[1]);
    atomic_store(&trainer->stop, true);
    pthread_join(trainer->thread, NULL);
    return ok;
}

bool while_training(const struct model *m, struct pool *pool, enum compute_mode mode, enum family family, int seq, double seconds,
                    struct while_training_result *r, struct gm_error *err)
{
    struct trainer_side trainer = {.n_done = 0};
    struct taster_side taster = {.vocab = 0};
    struct screen screens[2] = {{.late = mem_new(WAKES_MAX, sizeof(double))}, {.late = mem_new(WAKES_MAX, sizeof(double))}};
    *r = (struct while_training_result){.trained_alone = 0};
    bool ok = trainer_open(&trainer, m, pool, mode, family, seq, err) && taster_open(&taster, m, pool, mode, family, err)
              && measure(&trainer, &taster, screens, seconds, r, err);
    taster_close(&taster);
    trainer_close(&trainer);
    mem_free(screens[0].late);
    mem_free(screens[1].late);
    return ok;
}

/* ---- the report ---- */

static json_t *answers_json(const struct answers *a)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "first_token_ms", 1e3 * a->first_token_s, "first_token_ms_most", 1e3 * a->first_token_most_s,
                     "tokens_per_second", a->tokens_per_second, "pause_ms", 1e3 * a->pause_s, "pause_ms_most", 1e3 * a->pause_most_s);
}

json_t *while_training_json(const struct while_training_result *r)
{
    return json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "alone", answers_json(&r->alone), "training", answers_json(&r->training), "rate_kept",
                     r->rate_kept, "trained_alone", r->trained_alone, "trained_meanwhile", r->trained_meanwhile,
                     "training_kept", r->trained_meanwhile / r->trained_alone, "wake_late_ms_p50", 1e3 * r->busy.p50, "wake_late_ms_p99", 1e3 * r->busy.p99);
}

static void print_answers(const char *name, const struct answers *a)
{
    printf("  %-16s first token %6.1f ms (longest %6.1f)   %6.1f tok/s, longest pause %6.1f ms (of all %6.1f)\n", name, 1e3 * a->first_token_s,
           1e3 * a->first_token_most_s, a->tokens_per_second, 1e3 * a->pause_s, 1e3 * a->pause_most_s);
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
    printf("  %-16s %.0f %%\n", "rate kept", 100 * r->rate_kept);
    printf("  %-16s %.0f %%: %.0f tok/s alone, %.0f while answers are made\n", "training keeps", 100 * r->trained_meanwhile / r->trained_alone,
           r->trained_alone, r->trained_meanwhile);
    print_lateness("screen, alone", &r->idle);
    print_lateness("screen, training", &r->busy);
}
