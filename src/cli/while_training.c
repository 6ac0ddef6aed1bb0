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

enum { PROMPT = 48, ANSWER = 65, ROUNDS_LEAST = 5, ROUNDS_MOST = 256, WAKES_MAX = 1 << 16, UPDATES = 2 /* at least, while answers are made */ };
static const double WAKE_S = 0.004, ALONE_S = 0.2; /* before a question training goes on undisturbed */

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
    atomic_bool stop, pause, pauses;
    atomic_long tokens;         /* so far */
    _Atomic double last_update; /* when the last one ended */
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
        atomic_store(&t->pauses, atomic_load(&t->pause));
        if (atomic_load(&t->pauses)) {
            sleep_until(clock_seconds() + 0.001);
            continue;
        }
        step_run(&t->step, 1e-4, t->batch.b.n_targets, 1, same_batch, t, &result);
        atomic_store(&t->last_update, clock_seconds());
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

/* As the generator does it: the gate is kept for the whole answer, and training let through between two tokens. */
static bool answer(struct taster_side *t, struct timing *out, struct gm_error *err)
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
    for (int i = 1; ok && i < ANSWER; i++) {
        pool_give_way(t->compute.pool);
        ok = next_token(t, slot, &id, 1, &id, err);
        double now = clock_seconds();
        out->pause_s = fmax(out->pause_s, now - last);
        last = now;
    }
    pool_release(t->compute.pool);
    out->rate = (ANSWER - 1) / (last - first);
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

/* Waits for the end of an update; when that was. */
static double next_update(struct trainer_side *t)
{
    for (long before = atomic_load(&t->tokens); atomic_load(&t->tokens) == before;)
        sleep_until(clock_seconds() + 0.001);
    return clock_seconds();
}

/* One answer behind the other, from the end of an update to the end of another one: tokens of training per second. */
static bool train_meanwhile(struct trainer_side *trainer, struct taster_side *taster, double seconds, double *rate, struct gm_error *err)
{
    struct timing ignored;
    bool ok = true;
    long first = atomic_load(&trainer->tokens), now = first, began_at = 0, update = 0;
    double began = 0, ended = 0, until = clock_seconds() + seconds;
    while (ok && (update == 0 || now < began_at + UPDATES * update || clock_seconds() < until)) {
        ok = answer(taster, &ignored, err);
        now = atomic_load(&trainer->tokens);
        ended = atomic_load(&trainer->last_update);
        if (update == 0 && now > first) {
            update = now - first;
            began_at = now;
            began = ended;
        }
    }
    *rate = (double)(now - began_at) / (ended - began);
    return ok;
}

/* Answers alone and while training take turns, since the machine changes by the second. */
struct rounds {
    int n;
    double first[2][ROUNDS_MOST], rate[2][ROUNDS_MOST], pause[2][ROUNDS_MOST], kept[ROUNDS_MOST];
};

static bool one_round(struct rounds *r, struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], struct gm_error *err)
{
    bool ok = true;
    for (int trains = 0; ok && trains < 2; trains++) {
        struct timing t;
        atomic_store(&trainer->pause, !trains);
        while (atomic_load(&trainer->pauses) == trains)
            sleep_until(clock_seconds() + 0.001);
        if (trains)
            sleep_until(clock_seconds() + ALONE_S * (1 + r->n % 8 / 8.0)); /* anywhere in an update */
        ok = screen_start(&screens[trains], err);
        if (!ok)
            break;
        ok = answer(taster, &t, err);
        screen_stop(&screens[trains]);
        r->first[trains][r->n] = t.first_s, r->rate[trains][r->n] = t.rate, r->pause[trains][r->n] = t.pause_s;
    }
    r->kept[r->n] = r->rate[1][r->n] / r->rate[0][r->n];
    r->n++;
    return ok;
}

static struct answers answers_of(struct rounds *r, int trains)
{
    return (struct answers){quantile(r->first[trains], r->n, 0.5), quantile(r->first[trains], r->n, 1), quantile(r->rate[trains], r->n, 0.5),
                            quantile(r->pause[trains], r->n, 0.5), quantile(r->pause[trains], r->n, 1)};
}

static bool ask(struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], double seconds, struct while_training_result *r,
                struct gm_error *err)
{
    struct rounds *rounds = mem_new(1, sizeof *rounds);
    bool ok = true;
    for (double end = clock_seconds() + seconds; ok && rounds->n < ROUNDS_MOST && (rounds->n < ROUNDS_LEAST || clock_seconds() < end);)
        ok = one_round(rounds, trainer, taster, screens, err);
    r->alone = answers_of(rounds, 0);
    r->training = answers_of(rounds, 1);
    r->rate_kept = quantile(rounds->kept, rounds->n, 0.5);
    mem_free(rounds);
    return ok;
}

static double train_alone(struct trainer_side *trainer, double seconds)
{
    double began = next_update(trainer), ended = began; /* the first touches memory for the first time */
    long before = atomic_load(&trainer->tokens);
    while (ended < began + seconds)
        ended = next_update(trainer);
    return (double)(atomic_load(&trainer->tokens) - before) / (ended - began);
}

static bool measure(struct trainer_side *trainer, struct taster_side *taster, struct screen screens[2], double seconds, struct while_training_result *r,
                    struct gm_error *err)
{
    thread_background(); /* the caller is the one who answers */
    int failed = pthread_create(&trainer->thread, NULL, trainer_thread, trainer);
    if (failed)
        return error_set(err, GM_E_IO, "start a thread: %s", strerror(failed));
    double before = train_alone(trainer, seconds / 2);
    bool ok = ask(trainer, taster, screens, 2 * seconds, r, err) && train_meanwhile(trainer, taster, seconds, &r->trained_meanwhile, err);
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
    struct trainer_side trainer = {.tokens = 0};
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
