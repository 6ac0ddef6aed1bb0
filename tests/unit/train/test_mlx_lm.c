/* Runs of mlx-lm itself, repeated by our trainer: three updates on from the files of its first run, LoRA and DoRA, through
 * --resume-adapter-file; the losses and the weights are those of its second run.
 *
 * mlx-lm counts one more target in every padded row: the pad, 0, behind the last token. The rows here have it, so that the sums agree.
 */
#include "tests/unit/fixtures.h"
#include "tests/unit/train/train_test.h"
#include "tests/unit/worse.h"

#include "engine/format/safetensors.h"
#include "engine/train/trainer.h"

#include <math.h>

enum { ITERS = 3 };

/* What its loss looks at: every token from the end of the prompt on, and the pad. */
static void write_rows(const json_t *rows, const char *folder)
{
    struct str text = {0};
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row)
    {
        json_t *ids = json_object_get(row, "ids"), *input = json_deep_copy(ids), *labels = json_array();
        json_int_t prompt = json_integer_value(json_object_get(row, "prompt_length"));
        for (size_t t = 0; t < json_array_size(ids); t++)
            json_array_append_new(labels, (json_int_t)t < prompt ? json_integer(-100) : json_deep_copy(json_array_get(ids, t)));
        json_array_append_new(input, json_integer(0));
        json_array_append_new(labels, json_integer(0));
        json_t *o = json_object();
        json_object_set_new(o, "input_ids", input);
        json_object_set_new(o, "labels", labels);
        char *line = json_line(o);
        str_printf(&text, "%s\n", line);
        mem_free(line);
        json_decref(o);
    }
    mem_free(put_file(folder, "train.jsonl", str_text(&text)));
    mem_free(put_file(folder, "valid.jsonl", str_text(&text)));
    str_free(&text);
}

static json_t *read_json(const char *adapter, const char *name)
{
    struct gm_error err = {0};
    char *path = mem_printf("%s/adapters/%s/%s", fixtures_dir(), adapter, name);
    json_t *o = json_load_file_checked(path, 1 << 22, &err);
    if (!o)
        fail_msg("%s", err.text);
    mem_free(path);
    return o;
}

struct losses {
    double at[ITERS + 1];
};

static void on_event(void *arg, const struct train_event *e)
{
    if (e->kind == TRAIN_STEP && e->step <= ITERS)
        ((struct losses *)arg)->at[e->step] = e->loss;
}

/* As the command in expected.json says it. */
static struct train_options options_of(const char *run, const char *model, const json_t *config, const char *data)
{
    struct train_options o = train_options_default();
    const json_t *p = json_object_get(config, "lora_parameters"), *keys = json_object_get(p, "keys");
    train_options_tune(&o, strcmp(json_string_value(json_object_get(config, "fine_tune_type")), "dora") == 0 ? TUNE_DORA : TUNE_LORA);
    o.run = mem_copy("again");
    o.model = mem_printf("%s/models/%s", fixtures_dir(), model);
    o.data = mem_copy(data);
    o.resume_adapter = mem_printf("%s/adapters/%s/first/adapters.safetensors", fixtures_dir(), run);
    o.iters = ITERS;
    o.learning_rate = json_number_value(json_object_get(config, "learning_rate"));
    o.schedule = LR_CONSTANT;
    o.warmup = 0;
    o.optimizer = OPT_ADAM;
    o.bias_correction = false;
    o.max_grad_norm = 0;
    o.batch_size = (int)json_integer_value(json_object_get(config, "batch_size"));
    o.lora.rank = (int)json_integer_value(json_object_get(p, "rank"));
    o.lora.scale = (float)json_number_value(json_object_get(p, "scale"));
    o.lora.alpha = o.lora.scale * (float)o.lora.rank;
    o.lora.num_layers = (int)json_integer_value(json_object_get(config, "num_layers"));
    o.lora.keys = 0;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        unsigned which;
        assert_true(module_parse(json_string_value(json_array_get(keys, i)), &which) && (which & (which - 1)) == 0);
        o.lora.keys |= which;
    }
    o.sample_every = 0;
    o.steps_per_eval = o.save_every = 1000;
    o.compute = GM_COMPUTE_F32;
    return o;
}

struct end {
    double off, moved; /* greatest distance of a weight from where it should be, and from where it began */
    double cosine;     /* of the way gone and the way to go */
};

static struct end compare(const struct lora *have, const char *run, const struct model_config *c)
{
    struct gm_error err = {0};
    char *first = mem_printf("%s/adapters/%s/first", fixtures_dir(), run), *second = mem_printf("%s/adapters/%s/second", fixtures_dir(), run);
    struct lora *from = lora_load(first, c, &err), *want = lora_load(second, c, &err);
    struct end e = {0};
    double dot = 0, gone = 0, to_go = 0;
    if (!from || !want)
        fail_msg("%s", err.text);
    assert_int_equal(have->set.count, want->set.count);
    for (size_t i = 0; i < want->set.count; i++) {
        double start = (double)from->set.w[i], x = (double)have->set.w[i] - start, y = (double)want->set.w[i] - start;
        e.off = worse(e.off, fabs(x - y));
        e.moved = fmax(e.moved, fabs(y));
        dot += x * y;
        gone += x * x;
        to_go += y * y;
    }
    e.cosine = dot / sqrt(gone * to_go);
    lora_free(from);
    lora_free(want);
    mem_free(first);
    mem_free(second);
    return e;
}

static void repeat(const char *run, const char *rows_of, const char *model, double loss_tolerance, double weight_tolerance, double cosine)
{
    struct gm_error err = {0};
    struct losses losses = {{0}};
    struct train_listener listener = {on_event, &losses};
    char *root = new_folder(), *data = path_join(root, "data");
    assert_true(dir_make(data, &err));
    json_t *expected = read_json(run, "expected.json"), *rows = read_json(rows_of, "expected.json"),
           *config = read_json(run, "second/adapter_config.json");
    write_rows(json_object_get(rows, "rows"), data);
    struct pool *pool = pool_new(2, &err);
    struct train_options o = options_of(run, model, config, data);
    struct trainer *t = trainer_new(&o, root, pool, &listener, &err);
    if (!t || !trainer_run(t, &err))
        fail_msg("%s", err.text);
    const json_t *want = json_object_get(expected, "second_losses_recomputed");
    for (int i = 0; i < ITERS; i++) {
        double loss = json_number_value(json_array_get(want, (size_t)i));
        if (!(fabs(losses.at[i + 1] - loss) <= loss_tolerance))
            fail_msg("%s, update %d: loss %.7f, not %.7f", run, i + 1, losses.at[i + 1], loss);
    }
    struct lora *l = trainer_adapter_copy(t, NULL);
    struct end e = compare(l, run, &trainer_model(t)->config);
    if (!(e.off <= weight_tolerance) || !(e.cosine >= cosine) || e.moved < 1e-3)
        fail_msg("%s: a weight is off by %g after moves of %g, cosine %g", run, e.off, e.moved, e.cosine);
    lora_free(l);
    trainer_free(t);
    train_options_free(&o);
    pool_free(pool);
    json_decref(expected);
    json_decref(rows);
    json_decref(config);
    mem_free(data);
    remove_folder(root);
}

static void lora_in_f32(void **state)
{
    repeat("llama_f32_mlx_lm_lora", "llama_f32_mlx_lm_lora", "llama_f32", 2e-5, 1e-5, 0.99999);
}

static void dora_in_f32(void **state)
{
    repeat("llama_f32_mlx_lm_dora", "llama_f32_mlx_lm_lora", "llama_f32", 2e-5, 1e-5, 0.99999);
}

/* Its model computes in bf16, ours in f32. Adam's step is nearly the sign of the gradient, which rounding may turn where it is small. */
static void lora_on_bf16(void **state)
{
    repeat("gemma3_text_mlx_lm_lora", "gemma3_text_mlx_lm_lora", "gemma3_text", 0.06, 0.1, 0.97);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lora_in_f32), cmocka_unit_test(dora_in_f32), cmocka_unit_test(lora_on_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
