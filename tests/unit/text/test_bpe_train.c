/* Training a vocabulary: against a slow trainer that recounts everything for each merge; and what
 * the result must be good for. */
#include "tests/unit/text/vectors.h"

#include "engine/base/rng.h"
#include "engine/text/bpe_train.h"
#include "engine/text/chat_template.h"

static char *verse(size_t lines, uint64_t seed, size_t *n)
{ /* lines of made-up words, some much more frequent than others */
    struct str s = {0};
    struct rng r = rng_stream(seed, "verse", 0);
    for (size_t i = 0; i < lines; i++) {
        for (int w = 0; w < 6; w++) {
            uint64_t word = rng_below(&r, 1 + rng_below(&r, 400));
            struct rng letters = rng_stream(word, "word", 0);
            if (w)
                str_add_char(&s, ' ');
            for (int k = 0; k < 2 + (int)(word % 7); k++)
                str_add_char(&s, "etaoinshrdlu"[rng_below(&letters, 12)]);
        }
        if (i % 5 == 0)
            str_add(&s, ", \xC3\xA9t\xC3\xA9 <bos>");
        str_add(&s, i % 4 ? "\n" : "\n\n");
    }
    *n = s.len;
    return str_take(&s);
}

/* ---- the slow trainer ---- */

struct slow {
    int32_t *ids; /* the text, one symbol each; -1 between words */
    size_t n;
    char *pieces[2048];
    int n_pieces;
    int left[2048], right[2048], n_merges;
};

static bool word_starts(const char *t, size_t i)
{ /* enough of the rules for the text above: ASCII letters, marks, single spaces, newlines */
    unsigned char a = (unsigned char)t[i - 1], b = (unsigned char)t[i];
    if (a == '\n' || b == '\n' || b == ' ')
        return true;
    if (a == ' ')
        return false;
    bool la = (a >= 'a' && a <= 'z') || a >= 0x80, lb = (b >= 'a' && b <= 'z') || b >= 0x80;
    return la != lb;
}

static void slow_train(struct slow *s, const char *text, size_t n, int n_pieces,
                       char *const first[262])
{
    s->ids = mem_new(2 * n, sizeof *s->ids);
    for (size_t i = 0; i < n; i++) {
        if (i && word_starts(text, i))
            s->ids[s->n++] = -1;
        s->ids[s->n++] = 6 + (unsigned char)text[i];
    }
    for (int i = 0; i < 262; i++)
        s->pieces[i] = mem_copy(first[i]);
    s->n_pieces = 262;
    uint32_t *counts = mem_new(2048 * 2048, sizeof *counts);
    while (s->n_pieces < n_pieces) {
        memset(counts, 0, (size_t)2048 * 2048 * sizeof *counts);
        for (size_t i = 0; i + 1 < s->n; i++)
            if (s->ids[i] >= 0 && s->ids[i + 1] >= 0)
                counts[s->ids[i] * 2048 + s->ids[i + 1]]++;
        size_t best = 0;
        int id = -1;
        for (;;) {
            best = 0;
            for (size_t p = 0; p < (size_t)2048 * 2048; p++)
                if (counts[p] > counts[best])
                    best = p;
            assert_true(counts[best] >= 2);
            char *joined = mem_printf("%s%s", s->pieces[best / 2048], s->pieces[best % 2048]);
            id = -1;
            for (int k = 0; k < s->n_pieces; k++)
                if (strcmp(s->pieces[k], joined) == 0)
                    id = k;
            if (id >= 0 && id < 6) { /* would spell a special token */
                counts[best] = 0;
                mem_free(joined);
                continue;
            }
            if (id < 0)
                s->pieces[id = s->n_pieces++] = joined;
            else
                mem_free(joined);
            break;
        }
        int a = (int)(best / 2048), b = (int)(best % 2048);
        s->left[s->n_merges] = a;
        s->right[s->n_merges++] = b;
        size_t out = 0;
        for (size_t i = 0; i < s->n;) {
            bool hit = i + 1 < s->n && s->ids[i] == a && s->ids[i + 1] == b;
            s->ids[out++] = hit ? id : s->ids[i];
            i += hit ? 2 : 1;
        }
        s->n = out;
    }
    mem_free(counts);
}

static void test_against_slow(void **state)
{
    size_t n;
    char *text = verse(500, 3, &n);
    struct str json = {0};
    struct gm_error err = {0};
    enum { PIECES = 520 };
    if (!bpe_train(text, n, PIECES, &json, &err))
        fail_msg("%s", err.text);
    struct tokenizer *t = tokenizer_open_json(json.data, json.len, NULL, "trained", &err);
    assert_non_null(t);
    char *first[262];
    for (int i = 0; i < 262; i++)
        first[i] = mem_copy(tokenizer_piece(t, i, NULL));
    struct slow *s = mem_new(1, sizeof *s);
    slow_train(s, text, n, PIECES, first);
    assert_int_equal(tokenizer_vocab_size(t), PIECES);
    for (int i = 0; i < PIECES; i++)
        assert_string_equal(tokenizer_piece(t, i, NULL), s->pieces[i]);
    json_t *root = json_loadb(json.data, json.len, 0, NULL);
    json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    assert_int_equal(json_array_size(merges), s->n_merges);
    for (int i = 0; i < s->n_merges; i++) {
        assert_string_equal(json_string_value(json_array_get(json_array_get(merges, (size_t)i), 0)),
                            s->pieces[s->left[i]]);
        assert_string_equal(json_string_value(json_array_get(json_array_get(merges, (size_t)i), 1)),
                            s->pieces[s->right[i]]);
    }
    json_decref(root);
    for (int i = 0; i < PIECES; i++)
        mem_free(s->pieces[i]);
    for (int i = 0; i < 262; i++)
        mem_free(first[i]);
    mem_free(s->ids);
    mem_free(s);
    tokenizer_free(t);
    str_free(&json);
    mem_free(text);
}

static void test_use(void **state)
{
    size_t n;
    char *text = verse(3000, 9, &n);
    struct str json = {0}, again = {0}, config = {0}, out = {0};
    struct gm_error err = {0};
    if (!bpe_train(text, n, 900, &json, &err))
        fail_msg("%s", err.text);
    assert_true(bpe_train(text, n, 900, &again, &err));
    assert_string_equal(json.data, again.data);
    bpe_train_config(&config);
    struct tokenizer *t = tokenizer_open_json(json.data, json.len, config.data, "trained", &err);
    assert_non_null(t);
    assert_int_equal(tokenizer_pad(t), 0);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_int_equal(tokenizer_bos(t), 2);
    struct id_list ids = {0};
    assert_true(tokenizer_encode(t, text, n, TOKENIZE_ADD_SPECIAL | TOKENIZE_LITERAL, &ids, &err));
    assert_int_equal(ids.ids[0], 2);
    assert_true(ids.n < n / 2); /* it compresses */
    int32_t newline = tokenizer_id_of(t, "\xC4\x8A");
    for (size_t i = 1; i < ids.n; i++) {
        assert_true(ids.ids[i] >= 6); /* "<bos>" in the text stayed text */
        size_t end = i + 1 < ids.n ? ids.starts[i + 1] : n;
        bool has_newline = memchr(text + ids.starts[i], '\n', end - ids.starts[i]) != NULL;
        assert_int_equal(has_newline, ids.ids[i] == newline);
    }
    assert_true(tokenizer_decode(t, ids.ids, ids.n, true, &out, &err));
    assert_int_equal(out.len, n);
    assert_memory_equal(out.data, text, n);
    id_list_clear(&ids); /* every byte can be said, NUL and parts of characters included */
    assert_true(tokenizer_encode(t, "\x00\x01\x7F\xF0\x9F\xA6\x99", 7, 0, &ids, &err));
    str_clear(&out);
    assert_true(tokenizer_decode(t, ids.ids, ids.n, false, &out, &err));
    assert_int_equal(out.len, 7);
    json_t *root = json_loads(config.data, 0, NULL);
    struct chat_template *tpl =
        chat_template_from_text(json_string_value(json_object_get(root, "chat_template")), t, &err);
    assert_non_null(tpl);
    int32_t stop[8];
    assert_true(chat_stop_ids(tpl, t, stop) > 0);
    chat_template_free(tpl);
    json_decref(root);
    id_list_free(&ids);
    str_free(&out);
    str_free(&json);
    str_free(&again);
    str_free(&config);
    tokenizer_free(t);
    mem_free(text);
}

static void test_refused(void **state)
{
    struct str json = {0};
    struct gm_error err = {0};
    assert_false(bpe_train("rain rain rain", 14, 4096, &json, &err));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_non_null(strstr(err.text, "4096"));
    assert_false(bpe_train("rain", 4, 100, &json, &err));
    assert_int_equal(err.code, GM_E_USAGE);
    assert_false(bpe_train("", 0, 512, &json, &err));
    assert_int_equal(json.len, 0);
    str_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_slow),
        cmocka_unit_test(test_use),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
