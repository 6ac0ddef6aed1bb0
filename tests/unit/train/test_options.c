/* Options: the learning rate at every update, JSON there and back, what is refused. */
#include "tests/unit/train/train_test.h"

#include "engine/train/options.h"

#include <math.h>

static void rate_rises_and_falls(void **state)
{
    struct train_options o = train_options_default();
    o.learning_rate = 3e-4;
    o.warmup = 9;
    o.warmup_percent = false;
    for (int t = 1; t <= 9; t++)
        assert_true(fabs(lr_at(&o, t, 300) - 3e-4 * t / 9) < 1e-18);
    assert_true(fabs(lr_at(&o, 300, 300) - 3e-5) < 1e-18);
    double half = lr_at(&o, 9 + 291 / 2 + 1, 300); /* just behind the middle of the cosine */
    assert_true(half < 3e-4 * 0.55 && half > 3e-4 * 0.54);
    for (int t = 9; t < 300; t++)
        assert_true(lr_at(&o, t + 1, 300) < lr_at(&o, t, 300));
    o.schedule = LR_LINEAR;
    assert_true(fabs(lr_at(&o, 9 + 97, 300) - 3e-4 * (1 - 0.9 / 3)) < 1e-12);
    assert_true(fabs(lr_at(&o, 300, 300) - 3e-5) < 1e-18);
    o.schedule = LR_CONSTANT;
    assert_true(lr_at(&o, 300, 300) == 3e-4 && lr_at(&o, 10, 300) == 3e-4 &&
                lr_at(&o, 3, 300) < 3e-4);
    o.warmup = 0.03;
    o.warmup_percent = true; /* W = ceil(0.03 * 250) = 8 */
    assert_true(lr_at(&o, 7, 250) < 3e-4 && lr_at(&o, 8, 250) == 3e-4);
    o.warmup = 0;
    assert_true(lr_at(&o, 1, 250) == 3e-4);
    o.schedule = LR_COSINE;
    o.warmup_percent = false;
    o.warmup = 10; /* longer than the run */
    assert_true(isfinite(lr_at(&o, 3, 3)) && isfinite(lr_at(&o, 1, 1)));
}

/* Against numbers of mlx.optimizers.schedulers, joined as mlx-lm joins them (warm-up of 3 from 1e-7). */
static void rates_of_mlx(void **state)
{
    struct train_options o = train_options_default();
    o.warmup = 3;
    o.warmup_percent = false;
    o.warmup_init = 1e-7;
    static const struct {
        enum lr_schedule schedule;
        int n;
        double arguments[3], rates[8];
    } cases[] = {
        {LR_COSINE, 3, {1e-5, 4, 1e-7}, {1e-7, 3.4e-6, 6.7e-6, 1e-5, 1e-5, 8.550178619e-6, 5.05e-6, 1.549821341e-6}},
        {LR_LINEAR, 3, {1e-5, 0, 4}, {1e-7, 3.4e-6, 6.7e-6, 1e-5, 1e-5, 7.5e-6, 5e-6, 2.5e-6}},
        {LR_EXPONENTIAL, 2, {1e-5, 0.5}, {1e-7, 3.4e-6, 6.7e-6, 1e-5, 1e-5, 5e-6, 2.5e-6, 1.25e-6}},
        {LR_STEP, 3, {1e-5, 0.5, 2}, {1e-7, 3.4e-6, 6.7e-6, 1e-5, 1e-5, 1e-5, 5e-6, 5e-6}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.schedule = cases[i].schedule;
        o.n_lr_arguments = cases[i].n;
        memcpy(o.lr_arguments, cases[i].arguments, sizeof o.lr_arguments);
        for (int t = 1; t <= 8; t++)
            assert_true(fabs(lr_at(&o, t, 100) - cases[i].rates[t - 1]) < 1e-11);
    }
    struct gm_error err = {0};
    o.model = mem_copy("m");
    o.data = mem_copy("d");
    assert_true(train_options_check(&o, &err));
    struct train_options back = train_options_default();
    json_t *json = train_options_to_json(&o);
    assert_true(train_options_from_json(&back, json, "run.json", &err));
    assert_int_equal(back.n_lr_arguments, o.n_lr_arguments);
    assert_int_equal(back.schedule, LR_STEP);
    for (int t = 1; t <= 8; t++)
        assert_true(lr_at(&back, t, 100) == lr_at(&o, t, 100));
    json_decref(json);
    train_options_free(&back);
    o.n_lr_arguments = 2;
    assert_false(train_options_check(&o, &err));
    assert_non_null(strstr(err.text, "takes 3 to 3 numbers"));
    train_options_free(&o);
}

static void defaults_are_those_of_the_manual(void **state)
{
    struct train_options o = train_options_default();
    assert_int_equal(o.iters, 600);
    assert_int_equal(o.batch_size * o.grad_accumulation, 4);
    assert_int_equal(o.lora.rank, 16);
    assert_true(o.lora.scale == 2.0f && o.lora.dropout == 0.0f && o.max_grad_norm == 1.0 &&
                o.learning_rate == 2e-4);
    assert_int_equal(o.lora.keys, (1 << PROJ_COUNT) - 1);
    assert_int_equal(o.max_seq_length, 512);
    assert_int_equal(o.val_batches, -1);
    assert_int_equal(o.n_temps, 3);
}

static void json_there_and_back(void **state)
{
    struct train_options o = train_options_default(), back = train_options_default();
    struct gm_error err = {0};
    o.model = mem_copy("models/a \"b\"");
    o.data = mem_copy("haiku");
    o.system = mem_copy("Be brief.\n");
    o.seed = UINT64_MAX - 3;
    o.learning_rate = 1.0 / 3;
    o.lora.dropout = 0.1f;
    o.lora.keys = 1u << PROJ_Q | 1u << PROJ_DOWN;
    o.tune = TUNE_LORA;
    o.schedule = LR_LINEAR;
    o.optimizer = OPT_SGD;
    o.checkpoint_layers = 0;
    o.kernel = FAMILY_AVX2;
    o.compute = GM_COMPUTE_F32;
    o.n_temps = 2;
    o.shuffle = false;
    o.head_skip = true;
    o.memory_budget = 3000000000;
    o.recompute_layers = 5;
    o.early_stop = 3;
    json_t *j = train_options_to_json(&o);
    char *text = json_pretty(j);
    json_decref(j);
    j = json_parse(text, strlen(text), "options", &err);
    assert_non_null(j);
    if (!train_options_from_json(&back, j, "run.json", &err))
        fail_msg("%s", err.text);
    assert_string_equal(back.model, o.model);
    assert_string_equal(back.system, o.system);
    assert_null(back.run);
    assert_true(back.seed == o.seed && back.learning_rate == o.learning_rate &&
                back.lora.dropout == o.lora.dropout);
    assert_true(back.lora.keys == o.lora.keys && back.schedule == LR_LINEAR &&
                back.optimizer == OPT_SGD && back.checkpoint_layers == 0);
    assert_true(back.kernel == FAMILY_AVX2 && back.compute == GM_COMPUTE_F32 && back.n_temps == 2 &&
                !back.shuffle);
    assert_true(back.head_skip && back.memory_budget == 3000000000 && back.recompute_layers == 5 && back.early_stop == 3);
    json_t *again = train_options_to_json(&back);
    assert_true(json_equal(j, again));
    json_decref(again);
    json_decref(j);
    mem_free(text);
    train_options_free(&o);
    train_options_free(&back);
}

static void nonsense_is_refused(void **state)
{
    static const char *const BAD[] = {
        "{\"model\": \"m\", \"data\": \"d\", \"iters\": 0}",
        "{\"model\": \"m\", \"data\": \"d\", \"iters\": \"many\"}",
        "{\"model\": \"m\", \"data\": \"d\", \"batch_size\": 99999999}",
        "{\"model\": \"m\", \"data\": \"d\", \"lr_schedule\": \"wild\"}",
        "{\"model\": \"m\", \"data\": \"d\", \"keys\": [\"x_proj\"]}",
        "{\"model\": \"m\", \"data\": \"d\", \"keys\": []}",
        "{\"model\": \"m\", \"data\": \"d\", \"kernel\": \"abacus\"}",
        "{\"model\": \"m\", \"data\": \"d\", \"sample_temps\": [1,1,1,1,1,1,1,1,1]}",
        "{\"model\": \"m\", \"data\": \"d\", \"sample_temps\": [-1]}",
        "{\"model\": \"m\", \"data\": \"d\", \"init_random\": true}",
        "{\"model\": 5, \"data\": \"d\"}",
        "{\"data\": \"d\"}",
        "[]",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct gm_error err = {0};
        struct train_options o = train_options_default();
        json_t *j = json_parse(BAD[i], strlen(BAD[i]), "options", &err);
        assert_non_null(j);
        if (train_options_from_json(&o, j, "run.json", &err) || !*err.text)
            fail_msg("accepted: %s", BAD[i]);
        json_decref(j);
        train_options_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_rises_and_falls), cmocka_unit_test(rates_of_mlx),
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(json_there_and_back),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
