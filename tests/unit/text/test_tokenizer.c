/* Ids, decoded text and positions against the vectors of Hugging Face's library; literal spans;
 * GGUF vocabularies; a rebuilt tokenizer.json. */
#include "tests/unit/text/vectors.h"

#include "engine/base/rng.h"
#include "engine/text/detok.h"

struct run {
    const struct tokenizer *t, *other;
    size_t bad, seen;
};

static bool text_is(const struct str *s, const json_t *want)
{
    return s->len == json_string_length(want) &&
           memcmp(str_text(s), json_string_value(want), s->len) == 0;
}

static void encode(const struct tokenizer *t, const json_t *text, unsigned flags,
                   struct id_list *out)
{
    struct gm_error err = {0};
    if (!tokenizer_encode(t, json_string_value(text), json_string_length(text), flags, out, &err))
        fail_msg("%s", err.text);
}

static void decode(const struct tokenizer *t, const struct id_list *ids, bool skip, struct str *out)
{
    struct gm_error err = {0};
    if (!tokenizer_decode(t, ids->ids, ids->n, skip, out, &err))
        fail_msg("%s", err.text);
}

static bool equal(const struct id_list *a, const struct id_list *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0);
}

/* ---- the published vectors ---- */

static void check_row(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids"),
                 *bos = json_object_get(row, "bos");
    const json_t *decoded = json_object_get(row, "decoded"),
                 *skip = json_object_get(row, "decoded_skip");
    if (!decoded)
        decoded = text;
    if (!skip)
        skip = decoded;
    struct id_list plain = {0}, special = {0};
    struct str out = {0};
    encode(r->t, text, 0, &plain);
    bool ok = same_ids(&plain, ids);
    if (!ok)
        show_ids(json_string_value(text), &plain, ids);
    encode(r->t, text, TOKENIZE_ADD_SPECIAL, &special);
    size_t n_bos = json_array_size(bos);
    ok = ok && special.n == plain.n + n_bos &&
         (plain.n == 0 || memcmp(special.ids + n_bos, plain.ids, plain.n * sizeof *plain.ids) == 0);
    for (size_t k = 0; ok && k < n_bos; k++)
        ok = special.ids[k] == json_integer_value(json_array_get(bos, k));
    for (size_t k = 0; ok && k < plain.n; k++) /* positions rise and stay inside */
        ok = plain.starts[k] <= json_string_length(text) &&
             (k == 0 || plain.starts[k] >= plain.starts[k - 1]);
    decode(r->t, &plain, false, &out);
    ok = ok && text_is(&out, decoded);
    str_clear(&out);
    decode(r->t, &special, true, &out);
    ok = ok && text_is(&out, skip);
    if (!ok) {
        printf("row %zu: %s -> %s\n", i, json_string_value(text), str_text(&out));
        r->bad++;
    }
    str_free(&out);
    id_list_free(&plain);
    id_list_free(&special);
}

/* Spans over text without special strings change nothing; with them, they take away exactly the
 * special ids inside. */
static void check_spans(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    const json_t *text = json_object_get(row, "text");
    const char *bytes = json_string_value(text);
    size_t n = json_string_length(text);
    struct id_list plain = {0}, spanned = {0}, literal = {0};
    struct gm_error err = {0};
    struct rng rng = rng_stream(5, "spans", i);
    struct text_span spans[8];
    size_t n_spans = 0;
    for (size_t at = 0; at < n && n_spans < 8; n_spans++) {
        size_t begin = at + rng_below(&rng, n - at), end = begin + 1 + rng_below(&rng, n - begin);
        spans[n_spans] = (struct text_span){begin, end};
        at = end;
    }
    encode(r->t, text, 0, &plain);
    assert_true(tokenizer_encode_spans(r->t, bytes, n, spans, n_spans, 0, &spanned, &err));
    bool special = false;
    for (size_t k = 0; k < plain.n; k++)
        special = special || tokenizer_is_special(r->t, plain.ids[k]);
    if (!special && !equal(&plain, &spanned))
        r->bad++;
    for (size_t k = 0; k < spanned.n; k++) {
        if (!tokenizer_is_special(r->t, spanned.ids[k]))
            continue;
        size_t len, at = spanned.starts[k];
        assert_non_null(tokenizer_piece(r->t, spanned.ids[k], &len));
        for (size_t s = 0; s < n_spans; s++)
            if (at < spans[s].end && spans[s].begin < at + len)
                r->bad++;
    }
    encode(r->t, text, TOKENIZE_LITERAL, &literal);
    struct text_span all = {0, n};
    id_list_clear(&spanned);
    assert_true(tokenizer_encode_spans(r->t, bytes, n, &all, 1, 0, &spanned, &err));
    if (!equal(&literal, &spanned))
        r->bad++;
    for (size_t k = 0; k < literal.n; k++)
        if (tokenizer_is_special(r->t, literal.ids[k]) &&
            strcmp(tokenizer_piece(r->t, literal.ids[k], NULL), "<unk>") != 0)
            r->bad++;
    r->seen += special;
    id_list_free(&plain);
    id_list_free(&spanned);
    id_list_free(&literal);
}

static void check_family(const char *family)
{
    struct tokenizer *t = open_family(family);
    struct run r = {.t = t};
    char name[256];
    snprintf(name, sizeof name, "tokenizers/%s/vectors.jsonl", family);
    assert_true(each_row(name, check_row, &r) > 400);
    assert_int_equal(r.bad, 0);
    each_row(name, check_spans, &r);
    assert_int_equal(r.bad, 0);
    assert_true(r.seen > 5);
    tokenizer_free(t);
}

static void test_gemma3(void **state)
{
    check_family("gemma3");
}
static void test_llama2(void **state)
{
    check_family("llama2");
}
static void test_smollm2(void **state)
{
    check_family("smollm2");
}

static void test_llama3(void **state)
{
    check_family("llama3");
}
static void test_phi3(void **state)
{
    check_family("phi3");
}

static void test_getters(void **state)
{
    struct tokenizer *t = open_family("gemma3");
    assert_int_equal(tokenizer_bos(t), 2);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_int_equal(tokenizer_pad(t), 0);
    assert_true(tokenizer_adds_bos(t));
    assert_true(tokenizer_is_special(t, tokenizer_id_of(t, "<end_of_turn>")));
    assert_false(tokenizer_is_special(t, tokenizer_id_of(t, "\n\n")));
    assert_int_equal(tokenizer_id_of(t, "no such piece"), -1);
    assert_null(tokenizer_piece(t, tokenizer_vocab_size(t), NULL));
    assert_null(tokenizer_piece(t, -1, NULL));
    tokenizer_free(t);
    t = open_family("smollm2");
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);
}

/* ---- decoding and streaming: random ids ---- */

static void check_decode(const json_t *row, size_t i, void *arg)
{
    struct tokenizer **families = arg;
    const char *family = json_string_value(json_object_get(row, "family"));
    const struct tokenizer *t = families[strcmp(family, "gemma3") == 0   ? 0
                                         : strcmp(family, "llama2") == 0 ? 1
                                                                         : 2];
    const json_t *ids = json_object_get(row, "ids");
    for (int skip = 0; skip < 2; skip++) {
        const json_t *want = json_object_get(row, skip ? "decoded_skip" : "decoded");
        struct detok d;
        struct str out = {0};
        detok_init(&d, t);
        d.skip_special = skip;
        for (size_t k = 0; k < json_array_size(ids); k++) {
            size_t before = out.len;
            assert_true(detok_push(&d, (int32_t)json_integer_value(json_array_get(ids, k)), &out));
            assert_true(utf8_valid(str_text(&out) + before,
                                   out.len - before)); /* complete characters only */
        }
        detok_finish(&d, &out);
        if (!text_is(&out, want))
            fail_msg("row %zu: %s instead of %s", i, str_text(&out), json_string_value(want));
        assert_false(detok_push(&d, tokenizer_vocab_size(t), &out));
        assert_false(detok_push(&d, -1, &out));
        detok_free(&d);
        str_free(&out);
    }
}

static void test_decode(void **state)
{
    struct tokenizer *families[3] = {open_path(FIXTURES "/tokenizers/gemma3"), open_path(FIXTURES "/tokenizers/llama2"),
                                     open_path(FIXTURES "/tokenizers/smollm2")};
    assert_int_equal(each_row("text/decode.jsonl", check_decode, families), 360);
    struct gm_error err = {0};
    struct str out = {0};
    int32_t outside[] = {5, 1 << 20};
    assert_false(tokenizer_decode(families[0], outside, 2, false, &out, &err));
    assert_non_null(strstr(err.text, "1048576"));
    str_free(&out);
    for (int i = 0; i < 3; i++)
        tokenizer_free(families[i]);
}

static void test_stream_at_once(void **state)
{ /* what can be shown is shown with the token that completes it */
    struct tokenizer *t = open_family("smollm2");
    struct detok d;
    struct str out = {0};
    struct id_list ids = {0};
    struct gm_error err = {0};
    assert_true(tokenizer_encode(t, "a\xF0\x9F\xA6\x99", 5, 0, &ids, &err));
    assert_true(ids.n >= 3);
    detok_init(&d, t);
    detok_push(&d, ids.ids[0], &out);
    assert_string_equal(str_text(&out), "a");
    for (size_t i = 1; i + 1 < ids.n; i++)
        detok_push(&d, ids.ids[i], &out);
    assert_string_equal(str_text(&out), "a");
    detok_push(&d, ids.ids[ids.n - 1], &out);
    assert_string_equal(str_text(&out), "a\xF0\x9F\xA6\x99");
    str_clear(&out);
    detok_push(&d, ids.ids[1], &out); /* cut off */
    detok_finish(&d, &out);
    assert_string_equal(str_text(&out), "\xEF\xBF\xBD");
    detok_free(&d);
    str_free(&out);
    id_list_free(&ids);
    tokenizer_free(t);
}

/* ---- added tokens with their flags ---- */

static void check_flags(const json_t *row, size_t i, void *arg)
{
    size_t *checked = arg;
    char *json = json_dumps(json_object_get(row, "tokenizer"), JSON_COMPACT);
    struct gm_error err = {0};
    struct tokenizer *t = tokenizer_open_json(json, strlen(json), NULL, "flags", &err);
    if (!t)
        fail_msg("%s", err.text);
    const json_t *texts = json_object_get(row, "rows"), *one;
    size_t k;
    json_array_foreach(texts, k, one)
    {
        struct id_list ids = {0};
        encode(t, json_object_get(one, "text"), 0, &ids);
        if (!same_ids(&ids, json_object_get(one, "ids"))) {
            show_ids(json_string_value(json_object_get(one, "text")), &ids,
                     json_object_get(one, "ids"));
            fail_msg("tokenizer %zu: %s", i, json);
        }
        (*checked)++;
        id_list_free(&ids);
    }
    tokenizer_free(t);
    free(json);
}

static void test_flags(void **state)
{
    size_t checked = 0;
    assert_int_equal(each_row("text/flags.jsonl", check_flags, &checked), 30);
    assert_int_equal(checked, 1200);
}

/* Replacements one behind the other would make gigabytes of one letter; errors may be nobody's. */
static void test_growth(void **state)
{
    static const char one[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aaaaaaaa\"}";
    static const char part[] = "{\"type\": \"Sequence\", \"%s\": [%s, %s, %s]}";
    for (int decoder = 0; decoder < 2; decoder++) {
        struct str json = {0}, rules = {0};
        struct gm_error err = {0};
        str_printf(&rules, part, decoder ? "decoders" : "normalizers", one, one, one);
        str_printf(&json, "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"normalizer\": %s, \"decoder\": %s}",
                   decoder ? "null" : str_text(&rules), decoder ? str_text(&rules) : "{\"type\": \"Fuse\"}");
        assert_null(tokenizer_open_json(str_text(&json), json.len, NULL, "t", &err));
        assert_non_null(strstr(err.text, "64 times as long"));
        str_free(&json);
        str_free(&rules);
    }
    assert_null(tokenizer_open_json("{}", 2, NULL, "t", NULL));
    assert_null(tokenizer_open_model("\n", 1, NULL, "t", NULL));
    (void)state;
}

/* ---- GGUF ---- */

static void check_same(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    struct id_list a = {0}, b = {0};
    struct str x = {0}, y = {0};
    for (unsigned flags = 0; flags < 4; flags++) {
        encode(r->t, json_object_get(row, "text"), flags, &a);
        encode(r->other, json_object_get(row, "text"), flags, &b);
        decode(r->t, &a, flags & 1, &x);
        decode(r->other, &a, flags & 1, &y);
        if (!equal(&a, &b) || x.len != y.len || strcmp(str_text(&x), str_text(&y)) != 0) {
            r->bad++;
            printf("row %zu: %s | %s | %s\n", i, json_string_value(json_object_get(row, "text")),
                   str_text(&x), str_text(&y));
        }
        id_list_clear(&a);
        id_list_clear(&b);
        str_clear(&x);
        str_clear(&y);
    }
    id_list_free(&a);
    id_list_free(&b);
    str_free(&x);
    str_free(&y);
}

static struct tokenizer *rebuilt(const struct tokenizer *t)
{
    struct gm_error err = {0};
    char *json = tokenizer_to_json(t), *config = tokenizer_config_to_json(t, "{{ x }}");
    struct tokenizer *u = tokenizer_open_json(json, strlen(json), config, "rebuilt", &err);
    if (!u)
        fail_msg("%s", err.text);
    assert_int_equal(tokenizer_bos(u), tokenizer_bos(t));
    assert_int_equal(tokenizer_eos(u), tokenizer_eos(t));
    assert_int_equal(tokenizer_pad(u), tokenizer_pad(t));
    assert_int_equal(tokenizer_vocab_size(u), tokenizer_vocab_size(t));
    char *again = tokenizer_to_json(u);
    assert_string_equal(json, again);
    mem_free(again);
    mem_free(json);
    mem_free(config);
    return u;
}

/* The vocabulary of a GGUF, the tokenizer.json that we make of it, and the one that the model came
 * with: all the same ids. */
static void check_gguf(const char *gguf, const char *directory, const char *vectors)
{
    struct tokenizer *t = open_fixture(gguf), *hf = open_fixture(directory), *u = rebuilt(t);
    struct run r = {.t = t, .other = hf};
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    r.other = u;
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    tokenizer_free(t);
    tokenizer_free(hf);
    tokenizer_free(u);
}

static void test_gguf_llama(void **state)
{
    check_gguf("quantised/gguf/llama_f16.gguf", "models/llama", "tokenizers/llama2/vectors.jsonl");
}
static void test_gguf_smollm2(void **state)
{
    check_gguf("quantised/gguf/smollm2_q8_0.gguf", "models/smollm2",
               "tokenizers/smollm2/vectors.jsonl");
}

/* ---- size ---- */

static void test_long_text(void **state)
{ /* quadratic merging would take hours here */
    struct tokenizer *t = open_family("llama2");
    size_t n = 1 << 20;
    char *text = mem_new(n, 1);
    for (size_t i = 0; i < n; i++)
        text[i] = "the rain and the sea \n"[i % 22];
    struct id_list ids = {0};
    struct str out = {0};
    struct gm_error err = {0};
    double began = clock_seconds();
    assert_true(tokenizer_encode(t, text, n, 0, &ids, &err));
    assert_true(clock_seconds() - began < 60);
    assert_true(tokenizer_decode(t, ids.ids, ids.n, false, &out, &err));
    assert_int_equal(out.len, n);
    assert_memory_equal(out.data, text, n);
    id_list_free(&ids);
    str_free(&out);
    mem_free(text);
    tokenizer_free(t);
}

static void test_word_cache(void **state)
{ /* a long text, whose words are looked up, against its parts, whose words are merged */
    struct tokenizer *t = open_family("smollm2");
    struct str text = {0};
    struct id_list whole = {0}, parts = {0};
    struct gm_error err = {0};
    for (int i = 0; i < 400; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "x%d the\xC3\xA9 don't see %d  birds%s<|im_end|>",
                         i % 37, i * 7919 % 1000, i % 3 ? "" : "\n\n");
        uint32_t at = (uint32_t)text.len;
        size_t first = parts.n;
        assert_true(tokenizer_encode(t, line, (size_t)n, 0, &parts, &err));
        for (size_t k = first; k < parts.n; k++)
            parts.starts[k] += at;
        str_add_n(&text, line, (size_t)n);
    }
    assert_true(tokenizer_encode(t, text.data, text.len, 0, &whole, &err));
    assert_true(equal(&whole, &parts));
    assert_memory_equal(whole.starts, parts.starts, parts.n * sizeof *parts.starts);
    str_free(&text);
    id_list_free(&whole);
    id_list_free(&parts);
    tokenizer_free(t);
}

static void test_not_utf8(void **state)
{
    struct tokenizer *t = open_family("gemma3");
    struct id_list ids = {0};
    struct gm_error err = {0};
    assert_false(tokenizer_encode(t, "rain\xFF", 5, 0, &ids, &err));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_non_null(strstr(err.text, "byte 5"));
    assert_int_equal(ids.n, 0);
    id_list_free(&ids);
    tokenizer_free(t);
}

/* ---- the published SmolLM2 file: only where GEMMAIKU_SMOLLM2 names it ---- */

static void check_real(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    struct id_list ids = {0};
    struct str out = {0};
    encode(r->t, json_object_get(row, "text"), TOKENIZE_ADD_SPECIAL, &ids);
    decode(r->t, &ids, false, &out);
    r->bad += !same_ids(&ids, json_object_get(row, "ids")) ||
              !text_is(&out, json_object_get(row, "decoded"));
    id_list_free(&ids);
    str_free(&out);
}

static void test_real_smollm2(void **state)
{
    const char *path = getenv("GEMMAIKU_SMOLLM2");
    if (!path)
        skip();
    struct tokenizer *t = open_path(path), *u = rebuilt(t);
    struct run r = {.t = t};
    assert_int_equal(each_row("real_smollm2/tokenizer_vectors.jsonl", check_real, &r), 200);
    r.t = u;
    each_row("real_smollm2/tokenizer_vectors.jsonl", check_real, &r);
    assert_int_equal(r.bad, 0);
    tokenizer_free(t);
    tokenizer_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma3),       cmocka_unit_test(test_llama2),
        cmocka_unit_test(test_smollm2),      cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_phi3),         cmocka_unit_test(test_getters),
        cmocka_unit_test(test_decode),       cmocka_unit_test(test_stream_at_once),
        cmocka_unit_test(test_flags),        cmocka_unit_test(test_growth),       cmocka_unit_test(test_gguf_llama),
        cmocka_unit_test(test_gguf_smollm2), cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_word_cache),   cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_real_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
