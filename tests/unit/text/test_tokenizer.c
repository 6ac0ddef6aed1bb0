/* Ids, decoded text and positions against the vectors of Hugging Face's library; literal spans; streaming; rebuilt tokenizer.json. */
#include "tests/unit/text/vectors.h"

#include "engine/base/rng.h"
#include "engine/text/detok.h"

struct run {
    const struct tokenizer *t;
    size_t bad;
};

static bool text_is(const struct str *s, const json_t *want) {
    return s->len == json_string_length(want) && memcmp(str_text(s), json_string_value(want), s->len) == 0;
}

static void check_row(const json_t *row, size_t i, void *arg) {
    struct run *r = arg;
    struct gm_error err = {0};
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids"), *bos = json_object_get(row, "bos");
    const json_t *decoded = json_object_get(row, "decoded"), *skip = json_object_get(row, "decoded_skip");
    if (!decoded) decoded = text;
    if (!skip) skip = decoded;
    struct id_list plain = {0}, special = {0};
    struct str out = {0};
    assert_true(tokenizer_encode(r->t, json_string_value(text), json_string_length(text), 0, &plain, &err));
    bool ok = same_ids(&plain, ids);
    if (!ok) show_ids(json_string_value(text), &plain, ids);
    assert_true(tokenizer_encode(r->t, json_string_value(text), json_string_length(text), TOKENIZE_ADD_SPECIAL, &special, &err));
    size_t n_bos = json_array_size(bos);
    ok = ok && special.n == plain.n + n_bos && memcmp(special.ids + n_bos, plain.ids, plain.n * sizeof *plain.ids) == 0;
    for (size_t k = 0; ok && k < n_bos; k++) ok = special.ids[k] == json_integer_value(json_array_get(bos, k));
    for (size_t k = 0; ok && k < plain.n; k++) /* positions rise and stay inside */
        ok = plain.starts[k] <= json_string_length(text) && (k == 0 || plain.starts[k] >= plain.starts[k - 1]);
    assert_true(tokenizer_decode(r->t, plain.ids, plain.n, false, &out, &err));
    if (!text_is(&out, decoded)) ok = false;
    str_clear(&out);
    assert_true(tokenizer_decode(r->t, special.ids, special.n, true, &out, &err));
    if (!text_is(&out, skip)) ok = false;
    if (!ok) {
        printf("row %zu: %s -> %s\n", i, json_string_value(text), str_text(&out));
        r->bad++;
    }
    str_free(&out);
    id_list_free(&plain);
    id_list_free(&special);
}

static void check_family(const char *family, size_t rows) {
    struct tokenizer *t = open_family(family);
    struct run r = {.t = t};
    char name[256];
    snprintf(name, sizeof name, "tokenizers/%s/vectors.jsonl", family);
    assert_int_equal(each_row(name, check_row, &r), rows);
    assert_int_equal(r.bad, 0);
    tokenizer_free(t);
}

static void test_gemma3(void **state) { check_family("gemma3", 428); }
static void test_llama2(void **state) { check_family("llama2", 428); }
static void test_smollm2(void **state) { check_family("smollm2", 428); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma3),
        cmocka_unit_test(test_llama2),
        cmocka_unit_test(test_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
