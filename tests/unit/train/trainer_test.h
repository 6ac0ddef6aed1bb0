/* trainer_test.h - runs of a tiny model under a root of their own, with a listener that remembers and may stop them at a step. */
#ifndef GM_TEST_TRAINER_H
#define GM_TEST_TRAINER_H

#include "tests/unit/fixtures.h"
#include "tests/unit/train/train_test.h"

#include "engine/train/checkpoint.h"
#include "engine/train/trainer.h"

enum { ITERS = 14, ROWS = 23 };

static char *root, *data;

static inline char *model_folder(void)
{
    return path_join(fixtures_dir(), "models/smollm2");
}

static inline struct model *fixture_model(void)
{
    struct gm_error err = {0};
    char *folder = model_folder();
    struct model *m = model_open(folder, &err);
    if (!m)
        fail_msg("%s", err.text);
    mem_free(folder);
    return m;
}

static inline struct train_options options(const char *name)
{
    struct train_options o = train_options_default();
    o.model = model_folder();
    o.data = mem_copy(data);
    o.run = name ? mem_copy(name) : NULL;
    o.iters = ITERS;
    o.batch_size = 2;
    o.grad_accumulation = 2; /* 4 of 23 rows an update: passes end inside updates */
    o.learning_rate = 5e-3;
    o.lora.rank = 4;
    o.lora.dropout = 0.1f;
    o.steps_per_eval = 5;
    o.save_every = 4;
    o.sample_every = 5;
    o.samples_per_temp = 2;
    o.sample_max_tokens = 8;
    o.seed = 11;
    o.compute = GM_COMPUTE_F32;
    return o;
}

/* ---- a listener that remembers, and stops at a step ---- */

struct seen {
    struct trainer *t;
    int stop_at;
    int count[TRAIN_ENDED + 1], last_step;
    double eval_0, last_eval, last_loss;
    char end[256], warning[512];
    uint64_t allocations[ITERS + 1];
};

static inline void on_event(void *arg, const struct train_event *e)
{
    struct seen *s = arg;
    s->count[e->kind]++;
    if (e->kind == TRAIN_EVAL) {
        s->last_eval = e->loss;
        if (e->step == 0)
            s->eval_0 = e->loss;
    }
    if (e->kind == TRAIN_STEP) {
        s->last_loss = e->loss;
        s->last_step = e->step;
        if (e->step <= ITERS)
            s->allocations[e->step] = mem_allocations();
        if (e->step == s->stop_at && s->t)
            trainer_ask_stop(s->t);
    }
    if (e->kind == TRAIN_WARNING)
        snprintf(s->warning, sizeof s->warning, "%s", e->text);
    if (e->kind == TRAIN_ENDED)
        snprintf(s->end, sizeof s->end, "%s", e->text);
}

struct outcome {
    bool ok;
    struct gm_error err;
    struct seen seen;
};

static inline struct outcome run_with(struct train_options *o, const char *resume_dir, int iters,
                               int threads, int stop_at)
{
    struct outcome out = {.seen.stop_at = stop_at};
    struct pool *pool = pool_new(threads, &out.err);
    struct train_listener l = {on_event, &out.seen};
    struct trainer *t = resume_dir ? trainer_resume(resume_dir, iters, pool, &l, &out.err)
                                   : trainer_new(o, root, pool, &l, &out.err);
    out.seen.t = t;
    if (t)
        out.ok = trainer_run(t, &out.err);
    trainer_free(t);
    pool_free(pool);
    if (o)
        train_options_free(o);
    return out;
}

static inline char *dir_of(const char *name)
{
    return path_join(root, name);
}

static inline void must_finish(const struct outcome *o)
{
    if (!o->ok)
        fail_msg("%s", o->err.text);
    assert_string_equal(o->seen.end, "finished");
}

static inline void assert_same_checkpoint(const char *a, const char *b, int step)
{
    static const char *const FILES[] = {"adapters.safetensors", "optimizer.safetensors",
                                        "adapter_config.json"};
    for (int i = 0; i < 3; i++) {
        char *x = mem_printf("%s/%s/checkpoints/%07d/%s", root, a, step, FILES[i]),
             *y = mem_printf("%s/%s/checkpoints/%07d/%s", root, b, step, FILES[i]);
        if (!same_file(x, y))
            fail_msg("%s and %s differ", x, y);
        mem_free(x);
        mem_free(y);
    }
}

static inline int setup(void **state)
{
    root = new_folder();
    data = path_join(root, "data");
    char *text = many_rows(ROWS + 6), *cut = text;
    for (int i = 0; i < ROWS; i++)
        cut = strchr(cut, '\n') + 1;
    char *valid = mem_copy(cut);
    *cut = 0;
    assert_true(dir_make(data, NULL));
    mem_free(put_file(data, "train.jsonl", text));
    mem_free(put_file(data, "valid.jsonl", valid));
    mem_free(valid);
    mem_free(text);
    return 0;
}

static inline int teardown(void **state)
{
    mem_free(data);
    remove_folder(root);
    return 0;
}

#endif
