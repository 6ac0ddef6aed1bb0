/* The steady state: after the first step nothing is asked of the allocator any more, neither through mem.h nor past it, and 2,000 updates
 * of a whole run leave not a byte more than there was.
 *
 * malloc and its kin are this program's own here: they count, and hand on to the C library. */
#include "tests/unit/fixtures.h"
#include "tests/unit/train/train_test.h"

#include "engine/train/batch.h"
#include "engine/train/step.h"
#include "engine/train/trainer.h"

#include <stdatomic.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOC 1
static atomic_ullong calls;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void *malloc(size_t n)
{
    atomic_fetch_add(&calls, 1);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&calls, 1);
    return __libc_realloc(p, n);
}
int posix_memalign(void **p, size_t align, size_t n)
{
    atomic_fetch_add(&calls, 1);
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12;
}
static unsigned long long malloc_calls(void)
{
    return atomic_load(&calls);
}
#else
#define COUNTS_MALLOC 0
static unsigned long long malloc_calls(void)
{
    return 0;
}
#endif

enum { STEPS = 24, SETTLED = 600, UPDATES = SETTLED + 2000, BATCH = 3 }; /* settled: evaluation, samples and a checkpoint have been there, and none is due */

/* ---- the step itself ---- */

struct feed {
    struct batcher *rows;
    int64_t at;
};

static const struct batch *next(void *arg, int i)
{
    struct feed *f = arg;
    return batcher_fill(f->rows, f->at + (int64_t)i * BATCH, BATCH);
}

static void steps_allocate_nothing(void **state)
{
    char *folder = new_folder(), *text = many_rows(40), *data = put_file(folder, "rows.jsonl", text);
    struct gm_error err = {0};
    struct pool *pool = pool_new(2, &err);
    char *model = path_join(fixtures_dir(), "models/smollm2");
    struct text_tools tools = open_tools(model);
    struct dataset_options of_data = {.max_seq_length = 512, .mask_prompt = true};
    struct dataset *d = dataset_open(data, &of_data, tools.tokenizer, tools.tpl, &err);
    struct model *m = model_open(model, &err);
    if (!d || !m)
        fail_msg("%s", err.text);
    for (int turn = 0; turn < 6; turn++) { /* f32 and bf16; LoRA, LoRA with dropout and layers computed again, DoRA */
        struct compute c;
        struct train_options o = train_options_default();
        o.lora.rank = 4;
        o.lora.dropout = turn / 2 == 1 ? 0.1f : 0;
        o.lora.dora = turn / 2 == 2;
        assert_true(compute_init(&c, pool, GM_TRAIN, turn % 2 ? GM_COMPUTE_BF16 : GM_COMPUTE_F32, FAMILY_AUTO, &err));
        struct lora *l = lora_new(&m->config, &o.lora, 1, &err);
        lora_bind(l, m, &c);
        struct feed feed = {.rows = batcher_new(d, SPLIT_TRAIN, BATCH, true, 5, &err)};
        struct pass_limits limits = {.kind = PASS_LORA, .mode = c.mode, .recompute_layers = turn / 2 == 1 ? 2 : 0};
        if (!feed.rows)
            fail_msg("%s", err.text);
        batcher_limits(feed.rows, &limits);
        struct pass *p = pass_new(m, &o.lora, &limits, &err);
        struct optimizer *adam = optimizer_new(&o, l->set.count, &err);
        struct step s = {.pass = p, .compute = &c, .lora = l, .optimizer = adam, .grads = mem_new(l->set.count, sizeof(float))};
        uint64_t ours = 0;
        unsigned long long theirs = 0;
        for (int k = 0; k < STEPS + 14; k++) { /* the first ones see every shape of batch: packing memory grows to the largest */
            struct step_result r;
            if (k == 14) {
                ours = mem_allocations();
                theirs = malloc_calls();
            }
            assert_int_equal(step_run(&s, 1e-3, batcher_supervised(feed.rows, feed.at, 2 * BATCH), 2, next, &feed, &r), STEP_DONE);
            feed.at += 2 * BATCH;
        }
        assert_int_equal(mem_allocations() - ours, 0);
        assert_int_equal(malloc_calls() - theirs, 0);
        mem_free(s.grads);
        optimizer_free(adam);
        pass_free(p);
        batcher_free(feed.rows);
        lora_free(l);
        compute_free(&c);
    }
    model_free(m);
    dataset_free(d);
    close_tools(&tools);
    pool_free(pool);
    mem_free(model);
    mem_free(data);
    mem_free(text);
    remove_folder(folder);
}

/* ---- a run ---- */

struct grown {
    size_t live, rss;                 /* at update SETTLED */
    size_t live_at_end, rss_at_end;
};

static void on_event(void *arg, const struct train_event *e)
{
    struct grown *g = arg;
    if (e->kind == TRAIN_STEP && e->step == SETTLED) {
        g->live = mem_live_bytes();
        g->rss = mem_rss_bytes();
    } else if (e->kind == TRAIN_STEP && e->step == UPDATES) {
        g->live_at_end = mem_live_bytes();
        g->rss_at_end = mem_rss_bytes();
    }
}

static void a_run_does_not_grow(void **state)
{
    char *root = new_folder(), *text = many_rows(40);
    struct gm_error err = {0};
    struct grown g = {0};
    struct pool *pool = pool_new(2, &err);
    struct train_options o = train_options_default();
    o.model = path_join(fixtures_dir(), "models/smollm2");
    o.data = put_file(root, "rows.jsonl", text);
    o.run = mem_copy("steady");
    o.iters = UPDATES;
    o.batch_size = 2;
    o.lora.rank = 2;
    o.steps_per_eval = 500;
    o.save_every = 500;
    o.sample_every = 500;
    o.samples_per_temp = 1;
    o.sample_max_tokens = 8;
    o.compute = GM_COMPUTE_BF16;
    struct trainer *t = trainer_new(&o, root, pool, &(struct train_listener){on_event, &g}, &err);
    if (!t || !trainer_run(t, &err))
        fail_msg("%s", err.text);
    trainer_free(t);
    print_message("accounted: %zu bytes at update %d, %zu at update %d; resident: %+.3f MiB\n", g.live, SETTLED, g.live_at_end, UPDATES,
                  ((double)g.rss_at_end - (double)g.rss) / (1 << 20));
    assert_true(g.live > 0);
    assert_int_equal(g.live, g.live_at_end);
    if (COUNTS_MALLOC) /* loosely: how much an allocator keeps of what was given back is its own affair; a sanitizer keeps all */
        assert_true(g.rss_at_end < g.rss + (4 << 20));
    train_options_free(&o);
    pool_free(pool);
    mem_free(text);
    remove_folder(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(a_run_does_not_grow),
    };
    print_message("malloc is %scounted\n", COUNTS_MALLOC ? "" : "not ");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
