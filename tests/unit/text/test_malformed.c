/* A tokenizer.json is untrusted: what is wrong is named, and no damage to it makes the program read
 * or write where it must not. */
#include "tests/unit/text/vectors.h"

#include "engine/base/rng.h"
#include "engine/format/model_source.h"
#include "engine/text/chat_template.h"

#include <unistd.h>

#define MODEL                                                                                 \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": " \
    "[[\"a\", \"b\"]]}"
#define DECODER "\"decoder\": {\"type\": \"ByteLevel\"}"
#define PRE "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

static void test_named(void **state)
{
    const struct {
        const char *json, *says;
        enum gm_code code;
    } cases[] = {
        {"", "tok", GM_E_INPUT},
        {"[1]", "not a JSON object", GM_E_INPUT},
        {"{\"model\": ", "tok", GM_E_INPUT},
        {"{" MODEL "}", "no decoder", GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER "}", "model", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"type\": \"WordPiece\"}}", "WordPiece",
         GM_E_UNSUPPORTED},
        {"{" DECODER "," MODEL "}", "ByteLevel", GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER "," MODEL ", \"normalizer\": {\"type\": \"NFKC\"}}", "NFKC",
         GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER "," MODEL ", \"post_processor\": {\"type\": \"BertProcessing\"}}",
         "BertProcessing", GM_E_UNSUPPORTED},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\"}," DECODER "," MODEL "}", "without a replacement",
         GM_E_UNSUPPORTED},
        {"{\"pre_tokenizer\": {\"type\": \"Punctuation\"}," DECODER "," MODEL "}", "Punctuation",
         GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER ", \"model\": {\"type\": \"Unigram\"}}", "BPE tokenizer", GM_E_UNSUPPORTED},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a(?<=x)\"}, "
         "\"behavior\": \"Isolated\"}," DECODER "," MODEL "}",
         "at byte 3", GM_E_UNSUPPORTED},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"x\"}, "
         "\"behavior\": \"Torn\"}," DECODER "," MODEL "}",
         "Torn", GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}",
         "two pieces", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}", "-1",
         GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": 99999999999}, \"merges\": []}}",
         "99999999999", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": \"x\"}, \"merges\": []}}",
         "not an integer", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {}, \"merges\": []}}", "empty", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}",
         "merges[0]", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"b\"]]}}",
         "\"b\"", GM_E_INPUT},
        {"{" PRE "," DECODER
         ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]}}",
         "\"ab\"", GM_E_INPUT},
        {"{" PRE "," DECODER
         ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}}",
         "dropout", GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER
         ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"u\"}}",
         "\"u\"", GM_E_INPUT},
        {"{" PRE "," DECODER ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], "
                             "\"continuing_subword_prefix\": \"##\"}}",
         "##", GM_E_UNSUPPORTED},
        {"{" PRE "," DECODER "," MODEL ", \"added_tokens\": [{\"id\": 1, \"content\": \"<x>\"}]}",
         "added_tokens[0]", GM_E_INPUT},
        {"{" PRE "," DECODER "," MODEL ", \"added_tokens\": [{\"id\": -7, \"content\": \"<x>\"}]}",
         "added_tokens[0]", GM_E_INPUT},
        {"{" PRE "," DECODER "," MODEL ", \"added_tokens\": [{\"id\": 7}]}", "content", GM_E_INPUT},
        {"{" PRE "," DECODER "," MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", "
                                       "\"single\": [{\"SpecialToken\": {\"id\": \"q\"}}]}}",
         "\"q\"", GM_E_INPUT},
        {"{" PRE "," DECODER "," MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", "
                                       "\"single\": [{\"SpecialToken\": {\"id\": \"q\"}}],"
         "\"special_tokens\": {\"q\": {\"ids\": [77]}}}}",
         "77", GM_E_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gm_error err = {0};
        struct tokenizer *t =
            tokenizer_open_json(cases[i].json, strlen(cases[i].json), NULL, "tok", &err);
        assert_null(t);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, "tok") ||
            err.code != cases[i].code)
            fail_msg("case %zu: code %d: %s", i, (int)err.code, err.text);
    }
    struct gm_error err = {0};
    const char *good = "{" PRE "," DECODER "," MODEL "}";
    struct tokenizer *t = tokenizer_open_json(good, strlen(good), NULL, "tok", &err);
    assert_non_null(t);
    tokenizer_free(t);
    assert_null(tokenizer_open_json(good, strlen(good), "{\"bos_token\": ", "tok", &err));
    assert_non_null(strstr(err.text, "tokenizer_config.json"));
}

/* Damages a file in a few places; whatever still opens must encode, decode and render without harm.
 */
static void mutate(const char *family, uint64_t rounds)
{
    char name[256];
    size_t n;
    snprintf(name, sizeof name, "tokenizers/%s/tokenizer.json", family);
    char *json = read_text(name, &n), *damaged = mem_new(n + 1, 1);
    static const char *const words[] = {"null",       "-1",     "\"\"",          "[]",
                                        "{}",         "999999", "\"ByteLevel\"", "\"Prepend\"",
                                        "\"<0x41>\"", "true",   "\xC3",          "\\u0000"};
    static const char text[] = "the <bos> sea <|im_end|>\n\n 12 \xF0\x9F\xA6\x99 don't \t x";
    size_t opened = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        struct rng r = rng_stream(11, family, i);
        memcpy(damaged, json, n);
        size_t len = n;
        for (uint64_t k = 1 + rng_below(&r, 4); k > 0; k--) {
            size_t at = rng_below(&r, rng_below(&r, 2) ? n : 4096);
            if (rng_below(&r, 3) == 0)
                damaged[at] = (char)rng_below(&r, 256);
            else if (rng_below(&r, 2))
                damaged[at] = "0123456789\"{}[],:tf"[rng_below(&r, 19)];
            else {
                const char *w = words[rng_below(&r, 12)];
                if (at + strlen(w) < n)
                    memcpy(damaged + at, w, strlen(w));
            }
        }
        if (rng_below(&r, 16) == 0)
            len = rng_below(&r, n);
        struct gm_error err = {0};
        struct tokenizer *t = tokenizer_open_json(damaged, len, NULL, "damaged", &err);
        if (!t) {
            assert_true(err.code != GM_OK && err.text[0]);
            continue;
        }
        opened++;
        struct id_list ids = {0};
        struct str out = {0};
        assert_true(tokenizer_encode(t, text, sizeof text - 1, TOKENIZE_ADD_SPECIAL, &ids, &err));
        assert_true(tokenizer_decode(t, ids.ids, ids.n, false, &out, &err));
        for (int32_t id = 0; id < tokenizer_vocab_size(t) && id < 300; id++)
            assert_true(tokenizer_decode(t, &id, 1, true, &out, &err));
        id_list_free(&ids);
        str_free(&out);
        tokenizer_free(t);
    }
    assert_true(opened > 0 && opened < rounds); /* both ways were walked */
    mem_free(json);
    mem_free(damaged);
}

static void test_mutated(void **state)
{
    mutate("gemma3", 250);
    mutate("llama2", 250);
    mutate("smollm2", 250);
    mutate("llama3", 250);
    mutate("phi3", 250);
}

/* The same for the metadata of a GGUF: the header may lie about anything. */
static void mutate_gguf(const char *name, uint64_t rounds)
{
    char path[] = "/tmp/gemmaiku-damaged-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    size_t n, opened = 0;
    char *file = read_text(name, &n), *damaged = mem_new(n, 1);
    const char *keys = memmem(file, n, "tokenizer.ggml.model", 20);
    assert_non_null(keys);
    size_t from = (size_t)(keys - file);
    for (uint64_t i = 0; i < rounds; i++) {
        struct rng r = rng_stream(12, name, i);
        memcpy(damaged, file, n);
        for (uint64_t k = 1 + rng_below(&r, 6); k > 0; k--) {
            size_t at = from + rng_below(&r, rng_below(&r, 2) ? 512 : 16384);
            if (at < n)
                damaged[at] = rng_below(&r, 3) ? (char)rng_below(&r, 256)
                                               : (char)(damaged[at] ^ (1 << rng_below(&r, 8)));
        }
        struct gm_error err = {0};
        assert_true(file_replace(path, damaged, n, &err));
        struct model_source src = {0};
        if (!model_source_open_tokenizer(&src, path, &err))
            continue;
        struct tokenizer *t = tokenizer_open(&src, &err);
        if (t) {
            opened++;
            struct id_list ids = {0};
            struct str out = {0};
            assert_true(tokenizer_encode(t, "the <s> sea \xF0\x9F\xA6\x99 12\n", 19,
                                         TOKENIZE_ADD_SPECIAL, &ids, &err));
            assert_true(tokenizer_decode(t, ids.ids, ids.n, false, &out, &err));
            struct chat_template *tpl = chat_template_open(&src, t, NULL, &err);
            const struct chat_message m = {"user", "rain"};
            err = (struct gm_error){0};
            if (tpl && !chat_encode(tpl, t, &m, 1, true, &ids, NULL, &err)) /* a damaged template may say so */
                assert_true(err.code != GM_OK && err.text[0]);
            chat_template_free(tpl);
            char *json = tokenizer_to_json(t);
            mem_free(json);
            id_list_free(&ids);
            str_free(&out);
        } else {
            assert_true(err.code != GM_OK && err.text[0]);
        }
        tokenizer_free(t);
        model_source_close(&src);
    }
    assert_true(opened > 0 && opened < rounds);
    unlink(path);
    mem_free(file);
    mem_free(damaged);
}

static void test_mutated_gguf(void **state)
{
    mutate_gguf("quantised/gguf/llama_f16.gguf", 300);
    mutate_gguf("quantised/gguf/smollm2_q8_0.gguf", 300);
}

/* SentencePiece's protobuf: what is wrong, or asks for more than there is. */
static void test_model_named(void **state)
{
    const struct {
        const char *bytes;
        size_t n;
        const char *says;
        enum gm_code code;
    } cases[] = {
        {"", 0, "bpe", GM_E_UNSUPPORTED},                                                      /* unigram is what no word means */
        {"\x12\x02\x18\x01", 4, "unigram", GM_E_UNSUPPORTED},
        {"\x12\x02\x18\x02\x1A\x02\x20\x00", 8, "no pieces", GM_E_INPUT},
        {"\x12\x02\x18\x02", 4, "remove_extra_whitespaces", GM_E_UNSUPPORTED},
        {"\x12\x02\x18\x02\x1A\x05\x20\x00\x12\x01x", 11, "precompiled_charsmap", GM_E_UNSUPPORTED},
        {"\x0A\xFF\xFF\xFF\xFF\x0F", 6, "longer than the file", GM_E_INPUT},
        {"\x0A\x03\x0A\x63" "a", 5, "longer than the file", GM_E_INPUT},
        {"\x0A", 1, "within a number", GM_E_INPUT},
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11, "64 bits", GM_E_INPUT},
        {"\x0B", 1, "unknown kind", GM_E_INPUT},
        {"\x02\x00", 2, "no number", GM_E_INPUT},
        {"\x0A\x05\x0A\x01" "a\x18\x05", 7, "type 5", GM_E_UNSUPPORTED},
        {"\x0A\x03\x0A\x01" "a\x0A\x03\x0A\x01" "a", 10, "two ids", GM_E_INPUT},
        {"\x0A\x03\x0A\x01\xFF", 5, "UTF-8", GM_E_INPUT},
        {"\x0A\x08\x0A\x01" "a\x15\x00\x00\xC0\x7F", 10, "no number", GM_E_INPUT}, /* a score that is none */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gm_error err = {0};
        struct tokenizer *t = tokenizer_open_model(cases[i].bytes, cases[i].n, NULL, "tok", &err);
        assert_null(t);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, "tok") || err.code != cases[i].code)
            fail_msg("case %zu: code %d: %s", i, (int)err.code, err.text);
    }
    struct gm_error err = {0};
    static const char good[] = "\x0A\x03\x0A\x01" "a\x12\x02\x18\x02\x1A\x02\x20\x00";
    struct tokenizer *t = tokenizer_open_model(good, sizeof good - 1, NULL, "tok", &err);
    assert_non_null(t);
    tokenizer_free(t);
    assert_null(tokenizer_open_model(good, sizeof good - 1, "{\"added_tokens_decoder\": {\"x\": {}}}", "tok", &err));
    assert_non_null(strstr(err.text, "no id"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_named), cmocka_unit_test(test_model_named), cmocka_unit_test(test_mutated),
                                       cmocka_unit_test(test_mutated_gguf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
