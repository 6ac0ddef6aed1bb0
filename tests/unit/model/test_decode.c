/* The decoder: greedy texts of the fixtures, batches equal single runs, cut prompts, copies,
 * limits. */
#include "model_test.h"

static int best(const float *logits, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        at = logits[i] > logits[at] ? i : at;
    return at;
}

static void run(struct decoder *d, const struct compute *c, const struct decode_item *items, int n)
{
    struct gm_error err = {0};
    if (!decoder_run(d, c, items, n, &err))
        fail_msg("%s", err.text);
}

static void greedy(const char *name, enum family family, enum compute_mode mode, bool must_match)
{
    struct tools t;
    struct fixture f;
    struct gm_error err = {0};
    tools_init_for(&t, 2, mode, family);
    fixture_open(&f, name);
    const struct tensor_info *prompt = safetensors_find(&f.expected, "greedy.prompt");
    if (!prompt) { /* test_story */
        fixture_close(&f);
        tools_free(&t);
        return;
    }
    int vocab = f.model->config.vocab_size;
    float *logits = mem_new((size_t)vocab, sizeof *logits);
    struct decoder *d = decoder_new(f.model, 2, 64, mode == GM_COMPUTE_F32, &err);
    assert_non_null(d);
    const struct tensor_info *want = tensor(&f.expected, "greedy.ids");
    struct decode_item item = {.slot = decoder_take(d),
                               .ids = prompt->data,
                               .n = (int)prompt->shape[0],
                               .logits = logits};
    int same = 0;
    int n = (int)want->shape[0] < 30 ? (int)want->shape[0] : 30;
    for (int i = 0; i < n; i++) {
        run(d, &t.compute, &item, 1);
        int32_t next = ((const int32_t *)want->data)[i];
        same += best(logits, vocab) == next;
        item.ids = &((const int32_t *)want->data)[i];
        item.n = 1;
    }
    if (same < n - (must_match ? 0 : 3))
        fail_msg("%s: %d of %d tokens as expected", name, same, n);
    assert_int_equal(decoder_length(d, item.slot), prompt->shape[0] + n - 1);
    decoder_free(d);
    mem_free(logits);
    fixture_close(&f);
    tools_free(&t);
}

static void test_greedy(void **state)
{
    for (enum family family = FAMILY_AUTO; next_family(&family);)
        for (int i = 0; i < N_MODELS; i++) {
            greedy(MODELS[i], family, GM_COMPUTE_F32, true);
            greedy(MODELS[i], family, GM_COMPUTE_BF16, false);
        }
}

/* stories260k: the trained model tells the same story in both modes; its ids hold the first token
 * too. */
static void test_story(void **state)
{
    struct gm_error err = {0};
    for (int mode = 0; mode < 2 && fixture_there("models/stories260k"); mode++) {
        struct tools t;
        struct fixture f;
        tools_init(&t, 2, mode ? GM_COMPUTE_F32 : GM_COMPUTE_BF16);
        fixture_open(&f, "stories260k");
        const struct tensor_info *want = tensor(&f.expected, "greedy.ids");
        const int32_t *ids = want->data;
        int vocab = f.model->config.vocab_size, n = (int)want->shape[0];
        float *logits = mem_new((size_t)vocab, sizeof *logits);
        struct decoder *d = decoder_new(f.model, 1, n + 1, mode, &err);
        int32_t token = f.model->config.bos_id;
        struct decode_item item = {
            .slot = decoder_take(d), .ids = &token, .n = 1, .logits = logits};
        for (int i = ids[0] == token ? 1 : 0; i < n; i++) {
            run(d, &t.compute, &item, 1);
            token = best(logits, vocab);
            assert_int_equal(token, ids[i]);
        }
        decoder_free(d);
        mem_free(logits);
        fixture_close(&f);
        tools_free(&t);
    }
}

/* Three sequences with two adapters and the base, of different lengths, against each one alone
 * through a pass. */
static void batch(enum compute_mode mode, double tolerance)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 2, mode);
    fixture_open(&f, "gemma3_text");
    char *path = path_join(fixtures_dir(), "adapters/gemma3_text/mlx");
    struct lora *a = fixture_lora(&f), *b = lora_load(path, &f.model->config, &err);
    assert_non_null(b);
    mem_free(path);
    const struct lora *adapters[4] = {a, b, NULL, b};
    const struct tensor_info *ids = tensor(&f.expected, "ids.2");
    int vocab = f.model->config.vocab_size;
    enum { N = 4 };
    const int longest = (int)ids->shape[0], lengths[N] = {longest, 41, 33, 5},
              prompts[N] = {longest - 6, 33, 1, 3};
    float *logits = mem_new((size_t)(N * vocab), sizeof *logits);
    struct decoder *d = decoder_new(f.model, N, 80, mode == GM_COMPUTE_F32, &err);
    struct decode_item items[N];
    for (int i = 0; i < N; i++)
        items[i] = (struct decode_item){
            .slot = decoder_take(d), .lora = adapters[i], .ids = ids->data, .n = prompts[i]};
    assert_int_equal(decoder_take(d), -1);
    run(d, &t.compute, items, N);     /* prompts, no logits */
    for (int at = 0; at < longest; at++) { /* then token by token, until each has its length */
        struct decode_item some[N];
        int n = 0;
        for (int i = 0; i < N; i++)
            if (decoder_length(d, items[i].slot) < lengths[i]) {
                some[n] = items[i];
                some[n].ids = (const int32_t *)ids->data + decoder_length(d, items[i].slot);
                some[n].n = 1;
                some[n++].logits = logits + i * vocab;
            }
        if (n == 0)
            break;
        run(d, &t.compute, some, n);
    }
    for (int i = 0; i < N; i++) {
        float *alone =
            logits_of(f.model, adapters[i], &t.compute, ids->data, lengths[i], NULL, NULL);
        near("batched", logits + i * vocab, alone + (lengths[i] - 1) * vocab, vocab, tolerance);
        mem_free(alone);
    }
    decoder_free(d);
    mem_free(logits);
    lora_free(a);
    lora_free(b);
    fixture_close(&f);
    tools_free(&t);
}

static void test_batch(void **state)
{
    batch(GM_COMPUTE_F32, 1e-4);
    batch(GM_COMPUTE_BF16, 0.3);
}

/* A copy goes on like its original; cutting back and writing again gives the same; too long is an
 * error and changes nothing. */
static void test_copy_and_limits(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 1, GM_COMPUTE_F32);
    fixture_open(&f, "smollm2");
    const struct tensor_info *ids = tensor(&f.expected, "ids.2");
    int vocab = f.model->config.vocab_size;
    float *logits = mem_new((size_t)(3 * vocab), sizeof *logits);
    struct decoder *d = decoder_new(f.model, 2, 24, true, &err);
    int one = decoder_take(d), two = decoder_take(d);
    struct decode_item item = {.slot = one, .ids = ids->data, .n = 20};
    run(d, &t.compute, &item, 1);
    decoder_copy(d, two, one, 20);
    struct decode_item next[2] = {
        {.slot = one, .ids = (const int32_t *)ids->data + 20, .n = 1, .logits = logits},
        {.slot = two, .ids = (const int32_t *)ids->data + 20, .n = 1, .logits = logits + vocab}};
    run(d, &t.compute, next, 2);
    assert_memory_equal(logits, logits + vocab, (size_t)vocab * sizeof *logits);
    decoder_truncate(d, one, 7);
    struct decode_item rest = {
        .slot = one, .ids = (const int32_t *)ids->data + 7, .n = 14, .logits = logits + 2 * vocab};
    run(d, &t.compute, &rest, 1);
    near("after truncation", logits + 2 * vocab, logits, vocab, 1e-5);
    assert_int_equal(decoder_length(d, one), 21);
    struct decode_item over = {.slot = one, .ids = ids->data, .n = 4, .logits = logits};
    assert_false(decoder_run(d, &t.compute, &over, 1, &err));
    assert_non_null(strstr(err.text, "24"));
    assert_int_equal(decoder_length(d, one), 21);
    decoder_release(d, two);
    assert_int_equal(decoder_take(d), two);
    assert_int_equal(decoder_length(d, two), 0);
    decoder_free(d);
    mem_free(logits);
    fixture_close(&f);
    tools_free(&t);
}

static void long_text(int32_t *ids, int n, int vocab)
{
    for (int i = 0; i < n; i++)
        ids[i] = (i * 37 + i / 7) % vocab;
}

/* Prompts longer than a block of rows, several at once. */
static void test_long_prompts(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_text");
    int vocab = f.model->config.vocab_size;
    static int32_t ids[500];
    long_text(ids, 500, vocab);
    float *logits = mem_new((size_t)(2 * vocab), sizeof *logits);
    struct decoder *d = decoder_new(f.model, 2, 500, true, &err);
    struct decode_item items[2] = {
        {.slot = decoder_take(d), .ids = ids, .n = 500, .logits = logits},
        {.slot = decoder_take(d), .ids = ids, .n = 300, .logits = logits + vocab}};
    run(d, &t.compute, items, 2);
    for (int i = 0; i < 2; i++) {
        float *alone = logits_of(f.model, NULL, &t.compute, ids, items[i].n, NULL, NULL);
        near("long prompt", logits + i * vocab, alone + (items[i].n - 1) * vocab, vocab, 1e-4);
        mem_free(alone);
    }
    decoder_free(d);
    mem_free(logits);
    fixture_close(&f);
    tools_free(&t);
}

struct asked {
    int times, enough; /* how often it may go on */
};

static bool ask(void *arg)
{
    struct asked *a = arg;
    return ++a->times <= a->enough;
}

/* Between the blocks of long prompts somebody is asked; who ends the run there finds the blocks that went through, and goes on to the same logits. */
static void test_between(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_text");
    int vocab = f.model->config.vocab_size;
    static int32_t ids[700];
    long_text(ids, 700, vocab);
    float *logits = mem_new((size_t)(2 * vocab), sizeof *logits);
    struct decoder *d = decoder_new(f.model, 2, 701, true, &err);
    struct asked always = {.enough = 100}, once = {.enough = 1};
    struct decode_item item = {.slot = decoder_take(d), .ids = ids, .n = 700, .logits = logits};
    decoder_between(d, ask, &always);
    run(d, &t.compute, &item, 1);
    assert_int_equal(always.times, 2); /* three blocks */
    decoder_truncate(d, item.slot, 0);
    item.logits = logits + vocab;
    decoder_between(d, ask, &once);
    assert_false(decoder_run(d, &t.compute, &item, 1, &err));
    assert_int_equal(err.code, GM_E_CANCELLED);
    int n = decoder_length(d, item.slot);
    assert_true(n == 512 && once.times == 2);
    decoder_between(d, NULL, NULL);
    item.ids += n;
    item.n -= n;
    run(d, &t.compute, &item, 1);
    near("went on", logits + vocab, logits, vocab, 1e-5);
    item.ids = ids;
    item.n = 1; /* nothing is cut, nobody asked */
    decoder_between(d, ask, &once);
    run(d, &t.compute, &item, 1);
    assert_int_equal(once.times, 2);
    decoder_free(d);
    mem_free(logits);
    fixture_close(&f);
    tools_free(&t);
}

/* Long factors: a prompt is turned by the length it has as a whole, also where it is cut into blocks;
 * later tokens by the length there is with them, while the cache keeps what it has. Without a cache
 * the border changes all positions, so the same ids, fed to it in two ways, differ. */
static void test_long_rope(void **state)
{
    struct gm_error err = {0};
    struct tools t;
    struct fixture f;
    static int32_t ids[400];
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "phi3_long");
    const int vocab = f.model->config.vocab_size, border = f.model->config.rope.original_positions;
    for (int i = 0; i < 400; i++)
        ids[i] = (i * 37 + i / 7) % vocab;
    float *logits = mem_new((size_t)vocab, sizeof *logits);
    struct decoder *d = decoder_new(f.model, 3, 400, true, &err);
    const int lengths[] = {border - 1, border, border + 1, 400};
    for (int i = 0; i < 4; i++) {
        struct decode_item item = {.slot = decoder_take(d), .ids = ids, .n = lengths[i], .logits = logits};
        run(d, &t.compute, &item, 1);
        float *alone = logits_of(f.model, NULL, &t.compute, ids, lengths[i], NULL, NULL);
        near("whole prompt", logits, alone + (lengths[i] - 1) * vocab, vocab, 1e-4);
        if (lengths[i] == border + 1) { /* in two pieces: the first is turned by the short factors */
            double apart = 0;
            struct decode_item piece = {.slot = decoder_take(d), .ids = ids, .n = border};
            run(d, &t.compute, &piece, 1);
            piece = (struct decode_item){.slot = piece.slot, .ids = ids + border, .n = 1, .logits = logits};
            run(d, &t.compute, &piece, 1);
            for (int k = 0; k < vocab; k++)
                apart = fmax(apart, fabs((double)logits[k] - (double)alone[border * vocab + k]));
            assert_true(apart > 1e-2);
            decoder_release(d, piece.slot);
        }
        mem_free(alone);
        decoder_release(d, item.slot);
    }
    decoder_free(d);
    mem_free(logits);
    fixture_close(&f);
    tools_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_rope),
        cmocka_unit_test(test_greedy), cmocka_unit_test(test_story), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_copy_and_limits), cmocka_unit_test(test_long_prompts), cmocka_unit_test(test_between)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
