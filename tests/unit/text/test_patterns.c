/* Patterns of pre-tokenisers: the matcher alone, against the library, against the published patterns coded by hand, and
 * against those who would make it work for ever. */
#include "tests/unit/text/vectors.h"

#include "engine/base/rng.h"
#include "engine/text/regex.h"
#include "engine/text/unicode.h"

/* ---- against the library ---- */

struct run {
    json_t *models;
    size_t checked;
};

static struct tokenizer *open_parts(const json_t *models, const json_t *row)
{
    json_t *whole = json_deep_copy(json_object_get(row, "parts"));
    json_object_set(whole, "added_tokens", json_object_get(row, "added"));
    json_object_set(whole, "model", json_object_get(models, json_string_value(json_object_get(row, "model"))));
    char *text = json_dumps(whole, JSON_COMPACT);
    struct gm_error err = {0};
    struct tokenizer *t = tokenizer_open_json(text, strlen(text), NULL, "parts", &err);
    if (!t)
        fail_msg("%s", err.text);
    free(text);
    json_decref(whole);
    return t;
}

static void check_ids(const struct tokenizer *t, const json_t *row, const json_t *parts)
{
    const json_t *text = json_object_get(row, "text"), *decoded = json_object_get(row, "decoded");
    struct id_list ids = {0};
    struct str out = {0};
    struct gm_error err = {0};
    if (!tokenizer_encode(t, json_string_value(text), json_string_length(text), TOKENIZE_ADD_SPECIAL, &ids, &err) ||
        !tokenizer_decode(t, ids.ids, ids.n, false, &out, &err))
        fail_msg("%s", err.text);
    if (!same_ids(&ids, json_object_get(row, "ids")) || strcmp(str_text(&out), json_string_value(decoded)) != 0) {
        show_ids(json_string_value(text), &ids, json_object_get(row, "ids"));
        char *what = json_dumps(parts, JSON_COMPACT);
        fail_msg("%s: %s instead of %s", what, str_text(&out), json_string_value(decoded));
    }
    id_list_free(&ids);
    str_free(&out);
}

/* What we write of it is the same tokenizer again. */
static void check_case(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    if (i == 0) {
        r->models = json_deep_copy(row);
        return;
    }
    struct tokenizer *t = open_parts(r->models, row);
    const json_t *rows = json_object_get(row, "rows"), *one;
    size_t k;
    json_array_foreach(rows, k, one)
    {
        check_ids(t, one, json_object_get(row, "parts"));
        r->checked++;
    }
    tokenizer_free(t);
}

static void test_library(void **state)
{
    struct run r = {0};
    each_row("text/patterns.jsonl", check_case, &r);
    assert_true(r.checked > 2000);
    json_decref(r.models);
}

/* ---- the published patterns, coded by hand, against the matcher ---- */

static const char *const marks[] = {"a",    "s",      "S",      "T",      "re",     "L",          "7",          "12345",    " ",      "  ",
                                    "\n",   "\r\n",   "\t",     "'",      "'s",     "'LL",        "'\xC5\xBF",  "!",        "?!",     "\xC3\xA9",
                                    "\xCC\x81", "\xC2\xA0", "\xE3\x80\x80", "\xE6\x97\xA5", "\xF0\x9F\xA6\x99", "\xD9\xA3", "\xC2\xBD", "_", "\xC2\x85", "e\xCC\x81"};

struct cuts {
    size_t begin[512], end[512], n;
};

static void all_matches(const char *pattern, const char *text, size_t n, struct cuts *out)
{
    struct gm_error err = {0};
    struct regex *re = regex_compile(pattern, strlen(pattern), &err);
    if (!re)
        fail_msg("%s", err.text);
    struct regex_run run = regex_run_begin(n);
    struct regex_hit hit;
    out->n = 0;
    for (size_t at = 0; at < n && regex_find(re, &run, text, 0, at, n, &hit) == REGEX_FOUND; at = hit.end) {
        assert_true(hit.end > hit.begin && hit.begin == at); /* they tile the text */
        out->begin[out->n] = hit.begin;
        out->end[out->n++] = hit.end;
    }
    regex_run_free(&run);
    regex_free(re);
}

/* Every byte is a token of its own unless `whole`: then each stretch that is cut, once made a piece, is one. */
static void test_by_hand(void **state)
{
    static const char *const patterns[] = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"};
    for (int p = 0; p < 3; p++) {
        for (uint64_t i = 0; i < 400; i++) {
            struct rng r = rng_stream(3, "cuts", i);
            struct str text = {0};
            for (uint64_t k = 1 + rng_below(&r, 24); k > 0; k--)
                str_add(&text, marks[rng_below(&r, sizeof marks / sizeof marks[0])]);
            struct cuts cuts;
            all_matches(patterns[p], text.data, text.len, &cuts);
            /* a vocabulary in which each of these stretches is a piece, and ignore_merges: one id for each */
            json_t *vocab = json_object(), *root;
            for (size_t k = 0; k < cuts.n; k++) {
                struct str piece = {0};
                for (size_t b = cuts.begin[k]; b < cuts.end[k]; b++) {
                    unsigned char byte = (unsigned char)text.data[b];
                    bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
                    str_add_utf8(&piece, itself ? byte : 0x100u + (byte < 127 ? byte : byte == 173 ? 67u : byte - 94u));
                }
                if (!json_object_get(vocab, str_text(&piece)))
                    json_object_set_new(vocab, str_text(&piece), json_integer((json_int_t)json_object_size(vocab)));
                str_free(&piece);
            }
            root = json_pack("{s:{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b}]}, s:{s:s}, s:{s:o, s:[], s:b}}", "pre_tokenizer", "type", "Sequence",
                             "pretokenizers", "type", "Split", "pattern", "Regex", patterns[p], "behavior", "Isolated", "invert", 0, "type", "ByteLevel",
                             "add_prefix_space", 0, "use_regex", 0, "decoder", "type", "ByteLevel", "model", "vocab", vocab, "merges", "ignore_merges", 1);
            assert_non_null(root);
            char *json = json_dumps(root, JSON_COMPACT);
            struct gm_error err = {0};
            struct tokenizer *t = tokenizer_open_json(json, strlen(json), NULL, "cuts", &err);
            if (!t)
                fail_msg("%s", err.text);
            struct id_list ids = {0};
            assert_true(tokenizer_encode(t, text.data, text.len, 0, &ids, &err));
            bool same = ids.n == cuts.n;
            for (size_t k = 0; same && k < ids.n; k++)
                same = ids.starts[k] == cuts.begin[k];
            if (!same)
                fail_msg("pattern %d cuts %s otherwise by hand: %zu pieces, not %zu", p, text.data, ids.n, cuts.n);
            id_list_free(&ids);
            tokenizer_free(t);
            free(json);
            json_decref(root);
            str_free(&text);
        }
    }
}

/* ---- the matcher alone ---- */

static void test_matches(void **state)
{
    static const struct {
        const char *pattern, *text;
        int begin, end; /* -1: no match */
    } cases[] = {
        {"a|ab", "xab", 1, 2},          {"(?:ab|a)c", "abac", 2, 4},       {"a{2}", "aaa", 0, 2},           {"a{2,}?b", "aaab", 0, 4},
        {"a{,2}b", "aaab", 1, 4},       {"(ab){2,3}", "abababab", 0, 6},   {"(?:ab){0}c", "abc", 2, 3},     {"a*?b", "aab", 0, 3},
        {"a?+a", "a", -1, 0},           {"a++a", "aaa", -1, 0},            {"(?>a|ab)c", "abc", -1, 0},     {"(?:a|ab)c", "abc", 0, 3},
        {"x(?=y)", "xzxy", 2, 3},       {"x(?!y)", "xyxz", 2, 3},          {"(?i:As)", "xaS", 1, 3},        {"(?i:k)", "\xE2\x84\xAA", 0, 3},
        {"\\p{Lu}\\p{Ll}+", "aBcd", 1, 4}, {"\\P{L}", "ab1", 2, 3},        {"\\p{^N}", "12a", 2, 3},        {"[^\\s\\p{L}]+", "ab !?", 3, 5},
        {"[a-c-]+", "x-b-d", 1, 4},     {"[\\]\\-x]+", "a]-x", 1, 4},      {"\\x41\\x{1F999}", "A\xF0\x9F\xA6\x99", 0, 5}, {"\\u00e9", "e\xC3\xA9", 1, 3},
        {"^b", "a\nb", 2, 3},           {"a$", "a\nb", 0, 1},              {"\\Ab", "ab", -1, 0},           {"b\\z", "bab", 2, 3},
        {"", "ab", 0, 0},               {".", "\n\xE6\x97\xA5", 1, 4},     {"(?:a+|b)+c", "abaac", 0, 5},   {"\\S\\s", "a\xC2\x85", 0, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gm_error err = {0};
        struct regex *re = regex_compile(cases[i].pattern, strlen(cases[i].pattern), &err);
        if (!re)
            fail_msg("%s: %s", cases[i].pattern, err.text);
        struct regex_run run = regex_run_begin(16);
        struct regex_hit hit = {0, 0};
        enum regex_answer answer = regex_find(re, &run, cases[i].text, 0, 0, strlen(cases[i].text), &hit);
        if ((answer == REGEX_FOUND) != (cases[i].begin >= 0) || (answer == REGEX_FOUND && (hit.begin != (size_t)cases[i].begin || hit.end != (size_t)cases[i].end)))
            fail_msg("%s in %s: %d, %zu..%zu", cases[i].pattern, cases[i].text, (int)answer, hit.begin, hit.end);
        regex_run_free(&run);
        regex_free(re);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *pattern, *says;
        enum gm_code code;
    } cases[] = {
        {"a(?<=b)", "byte 3", GM_E_UNSUPPORTED},  {"(?<x>a)", "(?...)", GM_E_UNSUPPORTED},     {"\\w+", "backslash", GM_E_UNSUPPORTED},
        {"\\b", "backslash", GM_E_UNSUPPORTED},   {"(a)\\1", "backslash", GM_E_UNSUPPORTED},   {"\\p{Han}", "\\p{...}", GM_E_UNSUPPORTED},
        {"[a[b]]", "class", GM_E_UNSUPPORTED},    {"[a&&b]", "&&", GM_E_UNSUPPORTED},          {"[]a]", "begins with ]", GM_E_UNSUPPORTED},
        {"(a*)*", "may be empty", GM_E_UNSUPPORTED}, {"(?=a)+", "may be empty", GM_E_UNSUPPORTED}, {"a{2}+", "behind this count", GM_E_UNSUPPORTED},
        {"a**", "one repetition", GM_E_UNSUPPORTED}, {"a{1001}", "1000", GM_E_UNSUPPORTED},    {"(?i:\xC3\xA9)", "ASCII", GM_E_UNSUPPORTED},
        {"(", "without its )", GM_E_INPUT},       {")", "too many", GM_E_INPUT},               {"[a", "without its ]", GM_E_INPUT},
        {"*a", "nothing to repeat", GM_E_INPUT},  {"a\\", "backslash", GM_E_INPUT},            {"[b-a]", "backwards", GM_E_INPUT},
        {"\\x{110000}", "too large", GM_E_INPUT}, {"\xFF", "UTF-8", GM_E_INPUT},               {"\\p", "{name}", GM_E_INPUT},
        {"((((((((((((((((((a))))))))))))))))))", "deep", GM_E_UNSUPPORTED},
        {"(?:(?:(?:ab){100}c){100}d){100}", "4096", GM_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gm_error err = {0};
        assert_null(regex_compile(cases[i].pattern, strlen(cases[i].pattern), &err));
        if (!strstr(err.text, cases[i].says) || err.code != cases[i].code)
            fail_msg("%s: code %d: %s", cases[i].pattern, (int)err.code, err.text);
    }
    for (uint64_t i = 0; i < 20000; i++) { /* anything at all compiles or says why not */
        struct rng r = rng_stream(4, "patterns", i);
        struct str p = {0};
        for (uint64_t k = 1 + rng_below(&r, 16); k > 0; k--) {
            static const char *const parts[] = {"a", "b", "(", ")", "(?:", "(?=", "(?!", "(?>", "(?i:", "[", "]", "[^", "*", "+", "?", "|", "{2,3}", "{0}", "\\s", "\\S", "\\p{L}", ".", "-", "^", "$"};
            str_add(&p, parts[rng_below(&r, sizeof parts / sizeof parts[0])]);
        }
        struct gm_error err = {0};
        struct regex *re = regex_compile(p.data, p.len, &err);
        assert_true(re || err.text[0]);
        if (re) {
            struct regex_run run = regex_run_begin(12);
            struct regex_hit hit;
            enum regex_answer answer = regex_find(re, &run, "ab aab\nbab a", 0, 0, 12, &hit);
            assert_true(answer != REGEX_FOUND || (hit.begin <= hit.end && hit.end <= 12));
            regex_run_free(&run);
            regex_free(re);
        }
        str_free(&p);
    }
}

/* What blows up in a plain backtracker is remembered here; what is quadratic runs out of its steps and is told. */
static void test_bounded(void **state)
{
    static const char *const patterns[] = {"(a+)+b", "(a|a)+b", "(a|aa)+b", "a*a*a*a*b", "(?:a?){30}a{30}b", "(?=(a+)+b)c"};
    char text[200];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct gm_error err = {0};
        struct regex *re = regex_compile(patterns[i], strlen(patterns[i]), &err);
        if (!re)
            fail_msg("%s", err.text);
        struct regex_run run = regex_run_begin(1 << 16);
        struct regex_hit hit;
        if (regex_find(re, &run, text, 0, 0, sizeof text, &hit) != REGEX_NONE)
            fail_msg("%s did not come to an end", patterns[i]);
        regex_run_free(&run);
        regex_free(re);
    }
    const char *json = "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                       "\"\\\\d{1,3}(?=(?:\\\\d{3})*(?!\\\\d))\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}, "
                       "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"vocab\": {\"1\": 0, \"11\": 1}, \"merges\": [\"1 1\"]}}";
    struct gm_error err = {0};
    struct tokenizer *t = tokenizer_open_json(json, strlen(json), NULL, "digits", &err);
    if (!t)
        fail_msg("%s", err.text);
    struct id_list ids = {0};
    char *digits = mem_new(40000, 1);
    memset(digits, '1', 40000);
    assert_true(tokenizer_encode(t, digits, 1000, 0, &ids, &err));
    size_t n = ids.n;
    assert_false(tokenizer_encode(t, digits, 40000, 0, &ids, &err));
    assert_non_null(strstr(err.text, "steps"));
    assert_int_equal(ids.n, n); /* nothing was appended */
    id_list_free(&ids);
    mem_free(digits);
    tokenizer_free(t);
}

/* ---- normal forms ---- */

static void test_compose(void **state)
{ /* what decomposes into two comes together again, unless it is excluded; syllables by computing */
    size_t pairs = 0, composed = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint32_t parts[2];
        int n = unicode_decompose(c, parts);
        if (n != 2)
            continue;
        uint32_t again = unicode_compose(parts[0], parts[1]);
        assert_true(again == c || again == 0);
        pairs++;
        composed += again == c;
    }
    assert_true(pairs > 12000 && pairs - composed < 100);
    assert_int_equal(unicode_compose('a', 'b'), 0);
    assert_int_equal(unicode_combining_class(0x301), 230);
    assert_int_equal(unicode_combining_class('a'), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_library), cmocka_unit_test(test_by_hand), cmocka_unit_test(test_matches),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_bounded), cmocka_unit_test(test_compose)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
