/* Batched generation: the fixtures' greedy text, every request of a batch as if it were alone, stopping, cancelling, streaming, the end of the context. */
#include "infer_test.h"

#include "engine/kernel/panels.h"

#include <pthread.h>

static void greedy_is_the_fixtures(const char *name)
{
    struct bench b;
    bench_open(&b, name);
    struct generator *g = generator_for(&b, 1, 64);
    struct generate_request r = greedy_request(&b);
    struct generated out = {0};
    struct str want = text_of(&b, N_GREEDY);
    run(&b, g, &r, 1, &out, NULL);
    assert_int_equal(out.n_tokens, N_GREEDY);
    assert_int_equal(out.stop, STOP_LENGTH);
    assert_string_equal(out.text, str_text(&want));
    generated_free(&out);
    /* a stop id is the end, is counted, and is no part of the text; the first one that occurs decides */
    int at = 0;
    while (b.greedy[at] != b.greedy[5])
        at++;
    r.stop_ids = &b.greedy[5];
    r.n_stop_ids = 1;
    run(&b, g, &r, 1, &out, NULL);
    assert_int_equal(out.stop, STOP_END);
    assert_int_equal(out.n_tokens, at + 1);
    generated_free(&out);
    str_free(&want);
    generator_free(g);
    bench_close(&b);
}

static void greedy_gemma(void **state) { greedy_is_the_fixtures("gemma3_text"); }
static void greedy_smollm2(void **state) { greedy_is_the_fixtures("smollm2"); }
static void greedy_llama(void **state) { greedy_is_the_fixtures("llama"); }

/* Eleven requests through four places: three adapters, prompts of several lengths, some the same, temperatures and seeds of their own. */
static void a_batch_is_each_alone(void **state)
{
    enum { N = 11 };
    struct bench b;
    bench_open(&b, "gemma3_text");
    struct lora *one = fixture_lora(&b.f), *other = lora_copy(one);
    for (size_t i = 0; i < other->set.count; i++)
        other->set.w[i] *= i % 2 ? 1.5f : -0.5f;
    const struct lora *adapters[] = {NULL, one, other};
    struct generate_request requests[N];
    for (int i = 0; i < N; i++) {
        requests[i] = greedy_request(&b);
        requests[i].n_prompt = i % 4 == 3 ? b.n_prompt : 3 + 5 * (i % 4);
        requests[i].lora = adapters[i % 3];
        requests[i].sampling.temperature = (float)(i % 5) * 0.4f;
        requests[i].sampling.seed = (uint64_t)(i / 2);
        requests[i].sampling.max_tokens = 6 + i;
        requests[i].sampling.top_p = i % 2 ? 0.9f : 1;
    }
    struct generator *many = generator_for(&b, 4, 64), *single = generator_for(&b, 1, 64);
    struct generated batch[N] = {{0}}, alone = {0};
    int different = 0;
    run(&b, many, requests, N, batch, NULL);
    for (int i = 0; i < N; i++) {
        run(&b, single, &requests[i], 1, &alone, NULL);
        assert_string_equal(batch[i].text, alone.text);
        assert_int_equal(batch[i].n_tokens, alone.n_tokens);
        assert_int_equal(batch[i].stop, alone.stop);
        assert_true(batch[i].temperature == requests[i].sampling.temperature);
        assert_int_equal(batch[i].seed, requests[i].sampling.seed);
        different += i > 0 && strcmp(batch[i].text, batch[0].text) != 0;
        generated_free(&alone);
    }
    assert_true(different >= N - 3); /* the requests were no copies of one another */
    for (int i = 0; i < N; i++)
        generated_free(&batch[i]);
    generator_free(many);
    generator_free(single);
    lora_free(one);
    lora_free(other);
    bench_close(&b);
}

/* Packed weights: any mixture of requests gives the texts that each has alone, to the bit, and twice the same; whoever asks for them without the
 * room or the kernels hears so. */
static void packed_is_each_alone(void **state)
{
    enum { N = 9 };
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!family_runs_here((enum family)f))
            continue;
        struct bench b;
        struct gm_error err = {0};
        bench_open(&b, "gemma3_text");
        tools_free(&b.tools);
        tools_init_for(&b.tools, 2, GM_COMPUTE_BF16, (enum family)f);
        struct generator *many = generator_for(&b, 8, 64), *single = generator_for(&b, 1, 64);
        struct lora *one = fixture_lora(&b.f), *other = lora_copy(one);
        const struct lora *adapters[] = {NULL, one, other};
        struct generate_request requests[N];
        struct generated batch[N] = {{0}}, alone = {0};
        for (size_t i = 0; i < other->set.count; i++)
            other->set.w[i] *= i % 2 ? 1.5f : -0.5f;
        for (int i = 0; i < N; i++) {
            requests[i] = greedy_request(&b);
            requests[i].lora = adapters[i % 3];
            requests[i].n_prompt = 3 + (i * 5) % (b.n_prompt - 3);
            requests[i].sampling.temperature = (float)(i % 3);
            requests[i].sampling.seed = (uint64_t)i;
        }
        generator_packing(many, 1);
        generator_packing(single, 1);
        if (!panels_help(&b.tools.compute)) {
            assert_false(generator_run(many, &b.tools.compute, requests, N, batch, NULL, &err));
            assert_non_null(strstr(err.text, family_name((enum family)f)));
        } else {
            run(&b, many, requests, N, batch, NULL);
            assert_true(generator_packed_bytes(many) > 0);
            for (int i = 0; i < N; i++) {
                run(&b, single, &requests[i], 1, &alone, NULL);
                assert_string_equal(batch[i].text, alone.text);
                generated_free(&alone);
                generated_free(&batch[i]);
            }
        }
        generator_free(many);
        generator_free(single);
        lora_free(one);
        lora_free(other);
        bench_close(&b);
    }
}

/* The head in one byte a weight: greedy, top-k and min-p, with penalties and adapters, give the texts of the exact head, packed or not; f32 refuses. */
static void int8_head_is_the_exact_one(void **state)
{
    enum { N = 9 };
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (int model = 0; model < 2 && family_runs_here((enum family)f); model++) { /* with the soft-cap, and without */
            struct bench b;
            bench_open(&b, model ? "gemma2" : "gemma3_text");
            tools_free(&b.tools);
            tools_init_for(&b.tools, 2, GM_COMPUTE_BF16, (enum family)f);
            struct generate_request requests[N];
            struct generated exact[N] = {{0}}, int8[N] = {{0}};
            for (int i = 0; i < N; i++) {
                requests[i] = greedy_request(&b);
                requests[i].n_prompt = 3 + (i * 5) % (b.n_prompt - 3);
                requests[i].sampling.temperature = i % 3 ? 0.9f : 0;
                requests[i].sampling.top_k = i % 3 == 1 ? 3 : 0;
                requests[i].sampling.min_p = i % 3 == 2 ? 0.3f : 0;
                requests[i].sampling.repeat_penalty = i % 2 ? 1.3f : 1;
                requests[i].sampling.seed = (uint64_t)i;
            }
            for (int packed = 0; packed <= panels_help(&b.tools.compute); packed++) {
                struct generator *g = generator_for(&b, 3, 64), *h = generator_for(&b, 3, 64);
                generator_packing(g, packed);
                generator_packing(h, packed);
                generator_int8_head(h, true);
                run(&b, g, requests, N, exact, NULL);
                run(&b, h, requests, N, int8, NULL);
                assert_true(generator_int8_bytes(h) > 0 && generator_int8_bytes(g) == 0);
                for (int i = 0; i < N; i++) {
                    assert_string_equal(exact[i].text, int8[i].text);
                    generated_free(&exact[i]);
                    generated_free(&int8[i]);
                }
                generator_free(g);
                generator_free(h);
            }
            bench_close(&b);
        }
    struct bench b;
    struct gm_error err = {0};
    bench_open(&b, "gemma3_text");
    struct generator *g = generator_for(&b, 1, 64);
    struct generate_request r = greedy_request(&b);
    struct generated out = {0};
    generator_int8_head(g, true);
    assert_false(generator_run(g, &b.tools.compute, &r, 1, &out, NULL, &err));
    assert_non_null(strstr(err.text, "--head exact"));
    generator_free(g);
    bench_close(&b);
}

static void a_seed_is_a_text(void **state)
{
    struct bench b;
    bench_open(&b, "smollm2");
    struct generator *g = generator_for(&b, 3, 64);
    struct generate_request r[3];
    struct generated out[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        r[i] = greedy_request(&b);
        r[i].sampling.temperature = 1;
        r[i].sampling.seed = i == 2 ? 8 : 7;
    }
    run(&b, g, r, 3, out, NULL);
    assert_string_equal(out[0].text, out[1].text);
    assert_string_not_equal(out[0].text, out[2].text);
    for (int i = 0; i < 3; i++)
        generated_free(&out[i]);
    generator_free(g);
    bench_close(&b);
}

/* ---- streaming and stop strings ---- */

struct heard {
    struct str text[4];
    int calls;
    atomic_bool cancel;
    int cancel_after;
};

static void hear(void *arg, int request, const char *bytes, size_t n)
{
    struct heard *h = arg;
    assert_true(n > 0);
    assert_true(utf8_valid(bytes, n)); /* whole characters */
    str_add_n(&h->text[request], bytes, n);
    if (++h->calls == h->cancel_after)
        atomic_store(&h->cancel, true);
}

static void heard_free(struct heard *h)
{
    for (int i = 0; i < 4; i++)
        str_free(&h->text[i]);
}

/* Any byte tokens, too: the pieces of broken characters are held back or replaced, but what is heard is what comes out. */
static void what_streams_is_the_text(void **state)
{
    static const char *const models[] = {"gemma3_text", "smollm2", "llama"};
    for (int k = 0; k < 3; k++) {
        struct bench b;
        bench_open(&b, models[k]);
        struct generator *g = generator_for(&b, 2, 64);
        struct generate_request r[4];
        struct generated out[4] = {{0}};
        struct heard h = {.calls = 0};
        for (int i = 0; i < 4; i++) {
            r[i] = greedy_request(&b);
            r[i].sampling.temperature = (float)i;
            r[i].sampling.seed = (uint64_t)i;
        }
        run(&b, g, r, 4, out, &(struct generate_hooks){.text = hear, .arg = &h});
        for (int i = 0; i < 4; i++) {
            assert_string_equal(str_text(&h.text[i]), out[i].text);
            generated_free(&out[i]);
        }
        heard_free(&h);
        generator_free(g);
        bench_close(&b);
    }
}

/* Of the greedy text a piece in the middle is the stop string, over the borders of tokens: what stands before it comes out, and nothing of it was ever
 * heard. A string that begins the same but never comes is given back in the end. */
static void stop_strings(void **state)
{
    struct bench b;
    bench_open(&b, "smollm2");
    struct generator *g = generator_for(&b, 1, 64);
    struct str all = text_of(&b, N_GREEDY), few = text_of(&b, 6);
    size_t from = utf8_complete_prefix(all.data, few.len);
    while (from > 0 && strncmp(all.data, all.data + from, 1) == 0)
        from--;
    for (size_t length = 1; length <= 12; length += 1) {
        char stop[16], never[20];
        if (!utf8_valid(all.data + from, length)) /* no whole characters */
            continue;
        memcpy(stop, all.data + from, length);
        stop[length] = 0;
        snprintf(never, sizeof never, "%s\x01", stop);
        size_t first = (size_t)(strstr(all.data, stop) - all.data);
        const char *strings[] = {never, stop};
        struct generate_request r = greedy_request(&b);
        struct generated out = {0};
        struct heard h = {.calls = 0};
        struct generate_hooks hooks = {.text = hear, .arg = &h};
        r.stop_strings = strings;
        r.n_stop_strings = 2;
        run(&b, g, &r, 1, &out, &hooks);
        assert_int_equal(out.stop, STOP_STRING);
        assert_int_equal(strlen(out.text), first);
        assert_memory_equal(out.text, all.data, first);
        assert_string_equal(str_text(&h.text[0]), out.text);
        assert_true(out.n_tokens < N_GREEDY);
        generated_free(&out);
        heard_free(&h);
        h = (struct heard){.calls = 0};
        r.n_stop_strings = 1; /* only the one that never comes */
        run(&b, g, &r, 1, &out, &hooks);
        assert_int_equal(out.stop, STOP_LENGTH);
        assert_string_equal(out.text, all.data);
        assert_string_equal(str_text(&h.text[0]), all.data);
        generated_free(&out);
        heard_free(&h);
    }
    str_free(&all);
    str_free(&few);
    generator_free(g);
    bench_close(&b);
}

/* ---- beside training ---- */

struct beside {
    struct pool *pool;
    atomic_int blocks; /* of training, so far */
    atomic_bool stop;
    int at_first_text;
    bool got_on;
};

static void train_block(void *arg, int block, int slot)
{
    atomic_fetch_add(&((struct beside *)arg)->blocks, 1);
}

static void *train_beside(void *arg)
{
    struct beside *b = arg;
    while (!atomic_load(&b->stop))
        pool_run(b->pool, GM_TRAIN, train_block, b, 4);
    return NULL;
}

/* A slow reader, until training got on: nothing but its turns between two tokens lets it. */
static void read_slowly(void *arg, int request, const char *bytes, size_t n)
{
    struct beside *b = arg;
    if (b->at_first_text < 0) {
        usleep(20000); /* what was begun before the gate closed is over */
        b->at_first_text = atomic_load(&b->blocks);
    }
    b->got_on = b->got_on || atomic_load(&b->blocks) > b->at_first_text;
    if (!b->got_on)
        usleep(20000);
}

static void training_gets_on_meanwhile(void **state)
{
    struct bench b;
    bench_open(&b, "gemma3_text");
    struct compute train = b.tools.compute;
    struct generate_request r = greedy_request(&b);
    struct generated alone = {0}, out = {0};
    struct beside beside = {.pool = b.tools.pool, .at_first_text = -1};
    pthread_t trainer;
    r.sampling.max_tokens = 200;
    struct generator *g = generator_for(&b, 1, 256);
    run(&b, g, &r, 1, &alone, NULL);
    b.tools.compute.role = GM_TASTE;
    assert_int_equal(pthread_create(&trainer, NULL, train_beside, &beside), 0);
    while (atomic_load(&beside.blocks) == 0)
        usleep(100);
    run(&b, g, &r, 1, &out, &(struct generate_hooks){.text = read_slowly, .arg = &beside});
    atomic_store(&beside.stop, true);
    pthread_join(trainer, NULL);
    assert_true(beside.at_first_text >= 0 && beside.got_on);
    assert_string_equal(out.text, alone.text);
    generated_free(&alone);
    generated_free(&out);
    generator_free(g);
    b.tools.compute = train;
    bench_close(&b);
}

/* ---- ends ---- */

static void cancelled_in_the_middle(void **state)
{
    struct bench b;
    bench_open(&b, "gemma3_text");
    struct generator *g = generator_for(&b, 2, 64);
    struct generate_request r[4];
    struct generated out[4] = {{0}};
    struct str whole = text_of(&b, N_GREEDY);
    struct heard h = {.cancel_after = 2};
    for (int i = 0; i < 4; i++)
        r[i] = greedy_request(&b);
    run(&b, g, r, 4, out, &(struct generate_hooks){.text = hear, .arg = &h, .cancel = &h.cancel});
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out[i].stop, STOP_CANCELLED);
        assert_string_equal(str_text(&h.text[i]), out[i].text);
        assert_memory_equal(out[i].text, whole.data, strlen(out[i].text));
        assert_true(i < 2 ? out[i].n_tokens > 0 && out[i].n_tokens < N_GREEDY : out[i].n_tokens == 0);
        generated_free(&out[i]);
    }
    /* the same generator goes on as if nothing had been */
    run(&b, g, r, 1, out, NULL);
    assert_string_equal(out[0].text, str_text(&whole));
    generated_free(&out[0]);
    heard_free(&h);
    str_free(&whole);
    generator_free(g);
    bench_close(&b);
}

static void the_context_is_full(void **state)
{
    struct bench b;
    bench_open(&b, "gemma3_text");
    struct generator *g = generator_for(&b, 2, b.n_prompt + 5);
    struct generate_request r = greedy_request(&b);
    struct generated out = {0};
    struct str want = text_of(&b, 5);
    struct gm_error err = {0};
    run(&b, g, &r, 1, &out, NULL);
    assert_int_equal(out.n_tokens, 5);
    assert_int_equal(out.stop, STOP_LENGTH);
    assert_string_equal(out.text, str_text(&want));
    generated_free(&out);
    int32_t *longer = mem_new((size_t)b.n_prompt + 5, sizeof *longer);
    memcpy(longer, b.prompt, (size_t)b.n_prompt * sizeof *longer);
    r.prompt = longer;
    r.n_prompt = b.n_prompt + 5;
    assert_false(generator_run(g, &b.tools.compute, &r, 1, &out, NULL, &err));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_non_null(strstr(err.text, "context"));
    longer[2] = b.f.model->config.vocab_size;
    r.n_prompt = 4;
    assert_false(generator_run(g, &b.tools.compute, &r, 1, &out, NULL, &err));
    assert_non_null(strstr(err.text, "vocabulary"));
    r.n_prompt = 0;
    assert_false(generator_run(g, &b.tools.compute, &r, 1, &out, NULL, &err));
    mem_free(longer);
    str_free(&want);
    generator_free(g);
    bench_close(&b);
}

static void one_token_and_none(void **state)
{
    struct bench b;
    bench_open(&b, "smollm2");
    struct generator *g = generator_for(&b, 2, 64);
    struct generate_request r = greedy_request(&b);
    struct generated out = {0};
    struct str want = text_of(&b, 1);
    r.sampling.max_tokens = 1;
    run(&b, g, &r, 1, &out, NULL);
    assert_int_equal(out.n_tokens, 1);
    assert_string_equal(out.text, str_text(&want));
    generated_free(&out);
    run(&b, g, &r, 0, NULL, NULL); /* no requests: nothing happens */
    str_free(&want);
    generator_free(g);
    bench_close(&b);
}

static void verdicts_come_along(void **state)
{
    struct bench b;
    bench_open(&b, "smollm2");
    struct gm_error err = {0};
    struct syllables *s = syllables_open(&err);
    struct generator *g = generator_for(&b, 1, 64);
    struct generate_request r = greedy_request(&b);
    struct generated out = {0};
    struct verdict want;
    run(&b, g, &r, 1, &out, NULL);
    assert_int_equal(out.verdict.n_lines, 0); /* nobody asked */
    generated_free(&out);
    generator_judge(g, s, form_find("haiku"));
    run(&b, g, &r, 1, &out, NULL);
    form_judge(s, form_find("haiku"), out.text, strlen(out.text), &want);
    assert_true(want.n_lines > 0);
    assert_int_equal(out.verdict.n_lines, want.n_lines);
    assert_int_equal(out.verdict.syllables[0], want.syllables[0]);
    generated_free(&out);
    generator_free(g);
    syllables_free(s);
    bench_close(&b);
}

/* The numbers of Wilson's interval for 8 of 60, and its borders. */
static void intervals(void **state)
{
    double low, high;
    rate_interval(8, 60, &low, &high);
    assert_true(fabs(low - 0.06907) < 1e-4 && fabs(high - 0.24163) < 1e-4);
    rate_interval(0, 120, &low, &high);
    assert_true(low == 0 && fabs(high - 0.03102) < 1e-4);
    rate_interval(5, 5, &low, &high);
    assert_true(high == 1 && low > 0.5);
    rate_interval(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_gemma), cmocka_unit_test(greedy_smollm2), cmocka_unit_test(greedy_llama),
                                       cmocka_unit_test(a_batch_is_each_alone), cmocka_unit_test(packed_is_each_alone), cmocka_unit_test(int8_head_is_the_exact_one), cmocka_unit_test(a_seed_is_a_text),
                                       cmocka_unit_test(what_streams_is_the_text), cmocka_unit_test(stop_strings),
                                       cmocka_unit_test(training_gets_on_meanwhile), cmocka_unit_test(cancelled_in_the_middle), cmocka_unit_test(the_context_is_full),
                                       cmocka_unit_test(one_token_and_none), cmocka_unit_test(verdicts_come_along), cmocka_unit_test(intervals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
