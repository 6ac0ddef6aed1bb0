/* What stays in the caches between two runs: a conversation computes what is new and says what it would say without memory; nothing that is no longer true is
 * used. */
#include "infer_test.h"

#include "engine/kernel/panels.h"

enum { CONTEXT = 160, TURNS = 4, QUESTION = 3, ANSWER = 12 };

/* Two generators for one model: `g` remembers, `fresh` does not. */
struct pair {
    struct bench b;
    struct generator *g, *fresh;
};

static void pair_open(struct pair *p, const char *model, enum compute_mode mode, int slots)
{
    bench_open(&p->b, model);
    tools_free(&p->b.tools);
    tools_init(&p->b.tools, 2, mode);
    p->g = generator_for(&p->b, slots, CONTEXT);
    p->fresh = generator_for(&p->b, 1, CONTEXT);
    generator_remember(p->g, true);
    if (mode == GM_COMPUTE_BF16) { /* one row and many have the same bits */
        generator_packing(p->g, panels_help(&p->b.tools.compute));
        generator_packing(p->fresh, panels_help(&p->b.tools.compute));
    }
}

static void pair_close(struct pair *p)
{
    generator_free(p->g);
    generator_free(p->fresh);
    bench_close(&p->b);
}

/* Both answer alike; how many tokens of the prompt the one that remembers did not compute. */
static int ask(struct pair *p, const struct generate_request *r)
{
    struct generated out = {0}, want = {0};
    run(&p->b, p->g, r, 1, &out, NULL);
    run(&p->b, p->fresh, r, 1, &want, NULL);
    int cached = out.n_cached;
    assert_string_equal(out.text, want.text);
    assert_int_equal(out.n_tokens, want.n_tokens);
    assert_int_equal(want.n_cached, 0);
    generated_free(&out);
    generated_free(&want);
    return cached;
}

static struct generate_request request(const int32_t *ids, int n, float temperature)
{
    struct generate_request r = {.prompt = ids, .n_prompt = n, .sampling = sampling_default()};
    r.sampling.temperature = temperature;
    r.sampling.max_tokens = ANSWER;
    return r;
}

/* The tokens that the prompt is answered with, from one that forgets. */
static void answer_ids(struct pair *p, const int32_t *ids, int n, int32_t out[ANSWER])
{
    struct gm_error err = {0};
    const int64_t vocab = p->b.f.model->config.vocab_size;
    struct decoder *d = decoder_new(p->b.f.model, 1, CONTEXT, p->b.tools.compute.mode == GM_COMPUTE_F32, &err);
    float *logits = mem_new((size_t)vocab, sizeof *logits);
    struct decode_item item = {.slot = decoder_take(d), .ids = ids, .n = n, .logits = logits};
    for (int k = 0; k < ANSWER; k++) {
        assert_true(decoder_run(d, &p->b.tools.compute, &item, 1, &err));
        out[k] = 0;
        for (int i = 1; i < vocab; i++)
            if (logits[i] > logits[out[k]])
                out[k] = i;
        item.ids = &out[k];
        item.n = 1;
    }
    mem_free(logits);
    decoder_free(d);
}

/* Turns of a greedy conversation, each question behind the answer before it: all but the new ids are there, the answers' included. */
static void turns(const char *model, enum compute_mode mode, bool shares)
{
    struct pair p;
    int32_t ids[CONTEXT];
    pair_open(&p, model, mode, 1);
    int n = p.b.n_prompt < 20 ? p.b.n_prompt : 20, before = 0;
    memcpy(ids, p.b.prompt, (size_t)n * sizeof *ids);
    for (int turn = 0; turn < TURNS; turn++) {
        struct generate_request r = request(ids, n, 0);
        int cached = ask(&p, &r);
        if (mode == GM_COMPUTE_F32) /* there the tokens are those that a decoder of our own gives */
            assert_int_equal(cached, shares ? before : 0);
        else
            assert_true(turn == 0 || cached >= n - QUESTION - ANSWER);
        answer_ids(&p, ids, n, ids + n);
        before = n + ANSWER - 1; /* the last token of an answer was chosen, but never read */
        n += ANSWER;
        for (int i = 0; i < QUESTION; i++)
            ids[n + i] = p.b.prompt[(turn + i) % p.b.n_prompt];
        n += QUESTION;
    }
    pair_close(&p);
}

static void every_turn_computes_what_is_new(void **state)
{
    static const char *const models[] = {"gemma3_text", "smollm2", "llama", "qwen3", "gemma2"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        turns(models[i], GM_COMPUTE_F32, true);
        if (i != 3) /* bf16 twice is enough of one kind */
            turns(models[i], GM_COMPUTE_BF16, true);
    }
    turns("phi3_long", GM_COMPUTE_F32, false); /* the length of a conversation decides how its keys are turned */
}

/* The template may write the past otherwise; temperatures and seeds are no part of what is kept. */
static void only_what_is_the_same_is_kept(void **state)
{
    struct pair p;
    int32_t ids[CONTEXT];
    pair_open(&p, "gemma3_text", GM_COMPUTE_BF16, 1);
    const int n = p.b.n_prompt;
    memcpy(ids, p.b.prompt, (size_t)n * sizeof *ids);
    struct generate_request r = request(ids, n, 0);
    assert_int_equal(ask(&p, &r), 0);
    assert_int_equal(ask(&p, &r), n - 1); /* asked again: the logits of the last token are wanted */
    r.sampling.temperature = 1;
    for (uint64_t seed = 0; seed < 4; seed++) {
        r.sampling.seed = seed;
        assert_int_equal(ask(&p, &r), n - 1);
    }
    ids[n / 2] = ids[n / 2] == 5 ? 6 : 5; /* other words in the middle of the past */
    assert_int_equal(ask(&p, &r), n / 2);
    r.n_prompt = n / 2 + 2; /* and less of it */
    assert_int_equal(ask(&p, &r), n / 2 + 1);
    ids[0] = ids[0] == 5 ? 6 : 5;
    assert_int_equal(ask(&p, &r), 0);
    pair_close(&p);
}

/* An adapter whose numbers changed at the same address; another one; the base again. */
static void another_adapter_is_another_memory(void **state)
{
    struct pair p;
    pair_open(&p, "gemma3_text", GM_COMPUTE_BF16, 2);
    struct lora *one = fixture_lora(&p.b.f);
    const int n = p.b.n_prompt;
    struct generate_request base = request(p.b.prompt, n, 0), tuned = base;
    tuned.lora = one;
    assert_int_equal(ask(&p, &base), 0);
    assert_int_equal(ask(&p, &tuned), 0);
    assert_int_equal(ask(&p, &base), n - 1); /* a place for each */
    assert_int_equal(ask(&p, &tuned), n - 1);
    for (size_t i = 0; i < one->set.count; i++)
        one->set.w[i] *= i % 2 ? 1.5f : -0.5f;
    lora_changed(one, &p.b.tools.compute);
    generator_forget(p.g);
    assert_int_equal(ask(&p, &tuned), 0);
    assert_int_equal(ask(&p, &base), 0);
    lora_free(one);
    pair_close(&p);
}

/* Samples of another prompt take the other places, however often. */
static void others_leave_it_its_place(void **state)
{
    enum { SAMPLES = 3 };
    struct pair p;
    int32_t other[CONTEXT];
    pair_open(&p, "smollm2", GM_COMPUTE_BF16, SAMPLES + 1);
    const int n = p.b.n_prompt;
    struct generate_request r = request(p.b.prompt, n, 0), samples[SAMPLES];
    assert_int_equal(ask(&p, &r), 0);
    for (int round = 0; round < 3; round++) {
        struct generated out[SAMPLES] = {{0}};
        for (int i = 0; i < n; i++)
            other[i] = p.b.prompt[(i + 1 + round) % n];
        for (int i = 0; i < SAMPLES; i++) {
            samples[i] = request(other, n, 1);
            samples[i].sampling.seed = (uint64_t)i;
        }
        run(&p.b, p.g, samples, SAMPLES, out, NULL);
        for (int i = 0; i < SAMPLES; i++)
            generated_free(&out[i]);
        assert_int_equal(ask(&p, &r), n - 1);
    }
    pair_close(&p);
}

static void stop_at_once(void *arg, int request, const char *bytes, size_t n)
{
    atomic_store((atomic_bool *)arg, true);
}

/* Stopped in the middle, or refused because it is too long: what stands there is still the truth. And nothing grows. */
static void stopped_and_refused(void **state)
{
    struct pair p;
    struct gm_error err = {0};
    struct generated out = {0};
    pair_open(&p, "gemma3_text", GM_COMPUTE_BF16, 1);
    const int n = p.b.n_prompt;
    struct generate_request r = request(p.b.prompt, n, 0);
    int32_t longer[CONTEXT + 1];
    for (int i = 0; i <= CONTEXT; i++)
        longer[i] = p.b.prompt[i % n];
    assert_int_equal(ask(&p, &r), 0);
    enum { ROUNDS = 5 };
    size_t live = 0; /* after one time round: texts keep their room */
    for (int i = 0; i < 2 * ROUNDS; i++) {
        const int round = i % ROUNDS;
        atomic_bool cancel = false;
        r.prompt = longer + round;
        r.sampling.max_tokens = CONTEXT; /* until the first text comes */
        r.sampling.temperature = 3;
        run(&p.b, p.g, &r, 1, &out, &(struct generate_hooks){.text = stop_at_once, .arg = &cancel, .cancel = &cancel});
        assert_int_equal(out.stop, STOP_CANCELLED);
        generated_free(&out);
        r = request(longer, CONTEXT + 1, 0);
        assert_false(generator_run(p.g, &p.b.tools.compute, &r, 1, &out, NULL, &err));
        r.n_prompt = n + round;
        ask(&p, &r);
        r.n_prompt = n;
        if (i == ROUNDS - 1)
            live = mem_live_bytes();
    }
    assert_int_equal(mem_live_bytes(), live);
    pair_close(&p);
}

/* The first text of a short prompt stops all, while a long one that begins alike is being computed, and another one waits for a place. What went through of the
 * long one is kept. */
static void stopped_within_a_prompt(void **state)
{
    enum { N = 3, LONG = 700 };
    struct bench b;
    int32_t ids[LONG];
    int within = 0;
    bench_open(&b, "gemma3_text");
    for (int i = 0; i < LONG; i++)
        ids[i] = b.prompt[i % b.n_prompt];
    for (uint64_t seed = 0; seed < 10; seed++) { /* a token may have no text */
        atomic_bool cancel = false;
        struct generated out[N] = {{0}};
        struct generator *g = generator_for(&b, 2, LONG + 20);
        generator_remember(g, true);
        struct generate_request r[N] = {request(ids, b.n_prompt, 3), request(ids, LONG, 0), request(ids + 1, LONG - 1, 0)};
        r[0].sampling.seed = seed;
        r[0].sampling.max_tokens = 1;
        run(&b, g, r, N, out, &(struct generate_hooks){.text = stop_at_once, .arg = &cancel, .cancel = &cancel});
        if (atomic_load(&cancel) && out[1].n_tokens == 0) {
            for (int i = 1; i < N; i++) {
                assert_int_equal(out[i].stop, STOP_CANCELLED);
                assert_string_equal(out[i].text, "");
            }
            assert_int_equal(out[0].stop, STOP_LENGTH);
            struct generated again = {0};
            run(&b, g, &r[1], 1, &again, NULL);
            assert_true(again.n_cached >= 256 && again.n_cached < LONG - 1);
            assert_int_equal(again.n_tokens, ANSWER);
            generated_free(&again);
            within++;
        }
        for (int i = 0; i < N; i++)
            generated_free(&out[i]);
        generator_free(g);
    }
    assert_true(within > 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_turn_computes_what_is_new), cmocka_unit_test(only_what_is_the_same_is_kept),
                                       cmocka_unit_test(another_adapter_is_another_memory), cmocka_unit_test(others_leave_it_its_place),
                                       cmocka_unit_test(stopped_and_refused), cmocka_unit_test(stopped_within_a_prompt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
