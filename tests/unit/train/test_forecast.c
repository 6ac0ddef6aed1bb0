/* Forecasts: the sizes are those that opening a run then takes; a smaller budget computes more layers again, and never goes over it; what does
 * not fit is refused by an error that names changes; a plan leaves nothing behind. */
#include "tests/unit/train/train_test.h"

#include "engine/train/trainer.h"
#include "tests/unit/fixtures.h"

#include <math.h>

static char *root, *data;

static const char *const MODELS[] = {"gemma3_text", "gemma2", "llama", "smollm2", "phi3"};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS };

static struct train_options options(const char *model)
{
    struct train_options o = train_options_default();
    o.model = mem_printf("%s/models/%s", fixtures_dir(), model);
    o.data = mem_copy(data);
    o.run = mem_copy("forecast");
    o.iters = 6;
    o.batch_size = 4;
    o.lora.rank = 4;
    o.lora.keys = (1u << PROJ_COUNT) - 1;
    o.sample_every = 0;
    o.compute = GM_COMPUTE_BF16;
    return o;
}

static struct trainer *must_plan(const struct train_options *o, struct pool *pool)
{
    struct gm_error err = {0};
    struct trainer *t = trainer_plan(o, 0, pool, &err);
    if (!t)
        fail_msg("%s: %s", o->model, err.text);
    return t;
}

/* Parameters as an adapter lays them out, the workspace as a pass plans it, and all of it as accounted memory says. */
static void sizes_are_those_of_the_run(void **state)
{
    for (int i = 0; i < 3 * N_MODELS; i++) {
        struct gm_error err = {0};
        struct pool *pool = pool_new(2, &err);
        struct train_options o = options(MODELS[i / 3]);
        if (i % 3 == 1)
            train_options_tune(&o, TUNE_DORA);
        if (i % 3 == 2)
            train_options_tune(&o, TUNE_FULL);
        struct trainer *t = must_plan(&o, pool);
        const struct forecast f = *trainer_forecast(t);
        if (i % 3 < 2) {
            struct lora *l = lora_new(&trainer_model(t)->config, &o.lora, 1, &err);
            assert_int_equal(f.parameters, l->set.count);
            lora_free(l);
        } else {
            const double count = (double)trainer_model(t)->full.count; /* the configuration does not count every norm */
            assert_true(fabs((double)f.parameters - count) < 0.01 * count);
        }
        assert_true(f.time.step > 0 && f.time.evaluation > 0 && f.time.total > 6 * f.time.step && f.tokens > f.targets && f.targets > 0);
        const size_t planned = mem_live_bytes();
        trainer_free(t);
        t = trainer_new(&o, root, pool, NULL, &err);
        if (!t)
            fail_msg("%s", err.text);
        /* The plan stood there with all but gradients, moments and activations. */
        const double took = (double)mem_live_bytes() - (double)planned;
        const double arrays = 3 * (double)mem_block_bytes(f.parameters * sizeof(float)), said = (double)f.memory.activations + arrays;
        const double slack = i % 3 == 2 ? 0.08 : 0.002; /* full: packing grows a little with the batches that were tried */
        if (fabs(took - said) > slack * said + 8192)
            fail_msg("%s %d: planned %.0f bytes, took %.0f", MODELS[i / 3], i % 3, said, took);
        trainer_free(t);
        char *dir = path_join(root, "forecast");
        assert_true(dir_remove(dir, NULL));
        mem_free(dir);
        train_options_free(&o);
        pool_free(pool);
    }
}

/* TinyLlama's shape; what the process itself takes plays no part. */
static void budget_decides(void **state)
{
    static const char shape[] = "{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_size\":5632,\"num_hidden_layers\":22,"
                                "\"num_attention_heads\":32,\"num_key_value_heads\":4,\"tie_word_embeddings\":false}";
    struct gm_error err = {0};
    struct model_config config;
    assert_true(model_config_parse(&config, shape, strlen(shape), "shape", &err));
    struct train_options o = train_options_default();
    struct forecast_input in = {.config = &config, .options = &o, .mode = GM_COMPUTE_BF16, .supervised = 0.5, .weights = 2200000000, .program = 20000000,
                                .own = 20000000, .available = 16000000000, .samples_s = 1,
                                .probe = {.tokens = 512, .targets = 256, .embed = 0.001, .forward = 0.02, .backward = 0.03, .lowest = 0.025, .head = 0.1,
                                          .head_loss = 0.05, .parameter = 1e-9, .packing = 10000000}};
    struct forecast all, f;
    assert_true(forecast_choose(&in, &all, &err));
    assert_int_equal(all.recomputed, 0);
    assert_int_equal(all.budget, 20000000 + 12800000000);
    assert_int_equal(all.walked, 22);
    /* 4 rows of 512 tokens: four times what was measured. */
    const double step = 4 * (0.001 + 22 * 0.02 + 21 * 0.03 + 0.025 + 0.1) + 1e-9 * (double)all.parameters;
    assert_true(fabs(all.time.step - step) < 1e-9);
    int before = 0, kinds = 0;
    for (uint64_t budget = all.memory.total; budget > 0; budget -= 4000000) {
        o.memory_budget = budget;
        if (!forecast_choose(&in, &f, &err))
            break;
        struct forecast less;
        assert_true(f.memory.total <= budget && f.recomputed >= before);
        assert_true(fabs(f.time.step - all.time.step - 4 * f.recomputed * 0.02) < 1e-9);
        if (f.recomputed > 0) { /* one less would not have been enough */
            forecast_make(&in, &o, f.recomputed - 1, &less);
            assert_true(less.memory.total > budget);
        }
        kinds += f.recomputed != before;
        before = f.recomputed;
    }
    assert_true(kinds >= 20 && before >= 21); /* the topmost layer is kept in the place that serves the others */
    assert_int_equal(err.code, GM_E_MEMORY);
    assert_int_equal(f.recomputed, 22);
    assert_non_null(strstr(err.text, "--batch-size 2 saves"));
    assert_non_null(strstr(err.text, "a 4-bit base"));
    assert_non_null(strstr(err.text, "--memory-budget"));

    struct forecast_change changes[FORECAST_CHANGES];
    int n = forecast_changes(&in, &f, changes);
    assert_true(n >= 5 && n <= FORECAST_CHANGES);
    for (int i = 1; i < n; i++)
        assert_true(changes[i - 1].f.memory.total <= changes[i].f.memory.total);
    o.memory_budget = 0; /* auto goes into the margin before it refuses */
    in.available = all.memory.total - in.own;
    in.weights += 1;
    o.checkpoint_layers = 0;
    assert_false(forecast_choose(&in, &f, &err));
    in.weights -= 1;
    assert_true(forecast_choose(&in, &f, &err));
    assert_true(f.memory.total > f.budget);
    train_options_free(&o);
}

static void a_run_is_refused(void **state)
{
    struct gm_error err = {0};
    struct pool *pool = pool_new(2, &err);
    struct train_options o = options("llama");
    char *dir = path_join(root, "forecast");
    o.memory_budget = 1000000;
    assert_null(trainer_new(&o, root, pool, NULL, &err));
    assert_int_equal(err.code, GM_E_MEMORY);
    assert_false(dir_exists(dir));
    struct trainer *t = must_plan(&o, pool); /* a plan is told all the same */
    assert_true(trainer_forecast(t)->memory.total > trainer_forecast(t)->budget);
    trainer_free(t);
    mem_free(dir);
    train_options_free(&o);
    pool_free(pool);
}

/* Layers computed again or kept: the same adapter, in bf16, and run.json says how many. */
static void recomputing_changes_no_bit(void **state)
{
    struct gm_error err = {0};
    struct pool *pool = pool_new(2, &err);
    char *files[2];
    for (int lean = 0; lean < 2; lean++) {
        struct train_options o = options("llama");
        mem_free(o.run);
        o.run = mem_copy(lean ? "lean" : "rich");
        o.checkpoint_layers = lean;
        o.memory_budget = lean ? 4000000000 : 0;
        struct trainer *t = trainer_new(&o, root, pool, NULL, &err);
        if (!t || !trainer_run(t, &err))
            fail_msg("%s", err.text);
        assert_int_equal(trainer_options(t)->recompute_layers, lean ? trainer_forecast(t)->walked : 0);
        files[lean] = mem_printf("%s/checkpoints/0000006/adapters.safetensors", trainer_run_dir(t));
        trainer_free(t);
        train_options_free(&o);
    }
    assert_true(same_file(files[0], files[1]));
    mem_free(files[0]);
    mem_free(files[1]);
    pool_free(pool);
}

static void a_plan_leaves_nothing(void **state)
{
    struct gm_error err = {0};
    struct pool *pool = pool_new(1, &err);
    struct train_options o = options("smollm2");
    const size_t live = mem_live_bytes();
    trainer_free(must_plan(&o, pool));
    assert_int_equal(mem_live_bytes(), live);
    char *dir = path_join(root, "forecast");
    assert_false(dir_exists(dir));
    mem_free(dir);
    train_options_free(&o);
    pool_free(pool);
}

static void words(void **state)
{
    char text[24], line[FORECAST_LINE];
    assert_string_equal(forecast_bytes(1200, text), "2 kB");
    assert_string_equal(forecast_bytes(5185536, text), "5.2 MB");
    assert_string_equal(forecast_bytes(714000000, text), "714 MB");
    assert_string_equal(forecast_bytes(1034000000, text), "1.03 GB");
    assert_string_equal(forecast_seconds(0.0452, text), "45 ms");
    assert_string_equal(forecast_seconds(0.45, text), "0.45 s");
    assert_string_equal(forecast_seconds(3.2, text), "3.2 s");
    assert_string_equal(forecast_seconds(150, text), "2.5 min");
    assert_string_equal(forecast_seconds(2400, text), "40 min");
    assert_string_equal(forecast_seconds(9000, text), "2.5 h");
    assert_string_equal(forecast_seconds(3.5 * 86400, text), "3.5 days");
    assert_string_equal(forecast_seconds(500 * 86400.0, text), "500 days");
    assert_string_equal(forecast_seconds(3.2 * 31556952, text), "3.2 years");
    assert_string_equal(forecast_seconds(1e12, text), "31689 years");
    assert_string_equal(forecast_seconds(NAN, text), "unknown");
    struct forecast f = {.memory.total = 714000000, .time = {.step = 0.45, .total = 240}, .disk.total = 12000000};
    assert_string_equal(forecast_line(&f, line), "714 MB, 0.45 s a step, done in 4.0 min, 12 MB on disk");
    f.time.total = NAN;
    assert_string_equal(forecast_line(&f, line), "714 MB, 12 MB on disk");
}

static int set_up(void **state)
{
    root = new_folder();
    char *rows = many_rows(40);
    data = put_file(root, "rows.jsonl", rows);
    mem_free(rows);
    return 0;
}

static int tear_down(void **state)
{
    remove_folder(root);
    mem_free(data);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_the_run),
        cmocka_unit_test(budget_decides),
        cmocka_unit_test(a_run_is_refused),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(a_plan_leaves_nothing),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
