/* One vocabulary in its three forms: tokenizer.json, tokenizer.model, the metadata of a GGUF. What one form becomes in
 * another gives the same ids. */
#include "tests/unit/text/vectors.h"

#include "engine/format/gguf_write.h"

#include <sys/stat.h>
#include <unistd.h>

struct run {
    const struct tokenizer *t, *other;
    const json_t **instead; /* by row: ids of SentencePiece where they are others */
    size_t bad, rows, skipped, differing;
    bool phi3, gguf;
};

static struct id_list ids_of(const struct tokenizer *t, const json_t *text, unsigned flags)
{
    struct id_list ids = {0};
    struct gm_error err = {0};
    if (!tokenizer_encode(t, json_string_value(text), json_string_length(text), flags, &ids, &err))
        fail_msg("%s", err.text);
    return ids;
}

/* Where llama.cpp strips behind </s> and the vocabulary does not. */
static bool space_behind_end(const char *text)
{
    for (const char *p = text; (p = strstr(p, "</s>")); p += 4)
        if (strchr(" \t\n\r\v\f", p[4]) || (unsigned char)p[4] >= 0x80)
            return true;
    return false;
}

/* A text that holds U+2581 beside a space: one vocabulary cuts it out as it stands, by scores it is a space itself. */
static bool mark_beside_space(const char *text)
{
    return strstr(text, "\xE2\x96\x81 ") || strstr(text, " \xE2\x96\x81");
}

static void check_same(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    const json_t *text = json_object_get(row, "text");
    r->rows++;
    if ((r->phi3 && space_behind_end(json_string_value(text))) || (r->gguf && mark_beside_space(json_string_value(text)))) {
        r->skipped++;
        return;
    }
    for (unsigned flags = 0; flags < 4; flags++) {
        struct id_list a = ids_of(r->t, text, flags), b = ids_of(r->other, text, flags);
        struct str x = {0}, y = {0};
        struct gm_error err = {0};
        bool same = a.n == b.n && (a.n == 0 || memcmp(a.ids, b.ids, a.n * sizeof *a.ids) == 0);
        assert_true(tokenizer_decode(r->t, a.ids, a.n, flags & 1, &x, &err));
        assert_true(tokenizer_decode(r->other, a.ids, a.n, flags & 1, &y, &err));
        same = same && x.len == y.len && memcmp(str_text(&x), str_text(&y), x.len) == 0;
        if (!same && r->bad++ < 5) {
            printf("row %zu, flags %u: %s | %s | %s\n  ", i, flags, json_string_value(text), str_text(&x), str_text(&y));
            for (size_t k = 0; k < a.n || k < b.n; k++)
                printf(" %d/%d", k < a.n ? a.ids[k] : -1, k < b.n ? b.ids[k] : -1);
            printf("\n");
        }
        id_list_free(&a);
        id_list_free(&b);
        str_free(&x);
        str_free(&y);
    }
}

/* ---- GGUF ---- */

static struct tokenizer *through_gguf(const struct tokenizer *t, int rows, const char *name)
{
    char path[] = "/tmp/gemmaiku-vocabulary-XXXXXX.gguf";
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    close(fd);
    struct gm_error err = {0};
    struct gguf_out *g = gguf_out_new();
    gguf_out_text(g, "general.architecture", "llama");
    gguf_out_text(g, "general.name", name);
    if (!tokenizer_to_gguf(t, rows, tokenizer_adds_bos(t), "{{ x }}", g, &err) || !gguf_write(g, path, &err))
        fail_msg("%s", err.text);
    gguf_out_free(g);
    struct tokenizer *back = open_path(path);
    unlink(path);
    return back;
}

static void check_gguf(const char *source, const char *vectors)
{
    struct tokenizer *t = open_fixture(source);
    bool phi3 = tokenizer_strips_like_phi3(t);
    int rows = tokenizer_vocab_size(t) + 7;
    struct tokenizer *back = through_gguf(t, rows, phi3 ? "Tiny Phi-3" : "tiny");
    assert_int_equal(tokenizer_vocab_size(back), rows);
    assert_int_equal(tokenizer_bos(back), tokenizer_bos(t));
    assert_int_equal(tokenizer_eos(back), tokenizer_eos(t));
    assert_int_equal(tokenizer_pad(back), tokenizer_pad(t));
    struct run r = {.t = t, .other = back, .phi3 = phi3, .gguf = true};
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    assert_true(r.rows > 400 && r.skipped < 20);
    char *json = tokenizer_to_json(back);
    struct gm_error err = {0};
    struct tokenizer *again = tokenizer_open_json(json, strlen(json), NULL, "again", &err);
    if (!again)
        fail_msg("%s", err.text);
    r = (struct run){.t = back, .other = again};
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    mem_free(json);
    tokenizer_free(again);
    tokenizer_free(back);
    tokenizer_free(t);
}

static void test_gguf(void **state)
{
    check_gguf("tokenizers/gemma3", "tokenizers/gemma3/vectors.jsonl");
    check_gguf("tokenizers/llama2", "tokenizers/llama2/vectors.jsonl");
    check_gguf("tokenizers/llama3", "tokenizers/llama3/vectors.jsonl");
    check_gguf("tokenizers/phi3", "tokenizers/phi3/vectors.jsonl");
    check_gguf("tokenizers/smollm2", "tokenizers/smollm2/vectors.jsonl");
}

/* ---- tokenizer.model ---- */

static struct tokenizer *open_model_file(const char *family, bool with_config)
{
    char folder[] = "/tmp/gemmaiku-vocabulary-XXXXXX", name[256];
    static const char *const files[] = {"tokenizer.model", "tokenizer_config.json"};
    assert_non_null(mkdtemp(folder));
    struct gm_error err = {0};
    for (int i = 0; i < 1 + with_config; i++) {
        size_t n;
        snprintf(name, sizeof name, "tokenizers/%s/%s", family, files[i]);
        char *bytes = read_text(name, &n), *path = path_join(folder, files[i]);
        assert_true(file_replace(path, bytes, n, &err));
        mem_free(bytes);
        mem_free(path);
    }
    struct tokenizer *t = open_path(folder);
    for (int i = 0; i < 2; i++) {
        char *path = path_join(folder, files[i]);
        unlink(path);
        mem_free(path);
    }
    rmdir(folder);
    return t;
}

static void take_differing(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    json_int_t at = json_integer_value(json_object_get(row, "row"));
    assert_true(at >= 0 && at < 1000);
    r->instead[at] = json_incref(json_object_get(row, "ids"));
}

/* Special strings cut out, as the library has it: the ids of tokenizer.json, or SentencePiece's where runs of spaces are
 * cut otherwise. Literally: SentencePiece's own, as far as its control pieces go. */
static void check_model_row(const json_t *row, size_t i, void *arg)
{
    struct run *r = arg;
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    struct id_list plain = ids_of(r->t, text, 0), literal = ids_of(r->t, text, TOKENIZE_LITERAL);
    bool like_json = same_ids(&plain, ids), like_model = r->instead[i] && same_ids(&plain, r->instead[i]);
    if (!like_json && !like_model) {
        show_ids(json_string_value(text), &plain, ids);
        r->bad++;
    }
    r->differing += !like_json;
    if (r->phi3 && !same_ids(&literal, r->instead[i] ? r->instead[i] : ids)) {
        show_ids(json_string_value(text), &literal, r->instead[i] ? r->instead[i] : ids);
        r->bad++;
    }
    id_list_free(&plain);
    id_list_free(&literal);
}

static void check_model(const char *family, bool no_user_pieces)
{
    char vectors[256], differing[256];
    snprintf(vectors, sizeof vectors, "tokenizers/%s/vectors.jsonl", family);
    snprintf(differing, sizeof differing, "tokenizers/%s/vectors_model_differing.jsonl", family);
    const json_t **instead = mem_new(1000, sizeof *instead);
    struct tokenizer *t = open_model_file(family, true);
    struct run r = {.t = t, .instead = instead, .phi3 = no_user_pieces};
    assert_true(each_row(differing, take_differing, &r) > 10);
    each_row(vectors, check_model_row, &r);
    assert_int_equal(r.bad, 0);
    assert_true(r.differing < 20);
    /* as a tokenizer.json, and from there as a GGUF */
    char *json = tokenizer_to_json(t);
    struct gm_error err = {0};
    struct tokenizer *u = tokenizer_open_json(json, strlen(json), NULL, "rebuilt", &err);
    if (!u)
        fail_msg("%s", err.text);
    r = (struct run){.t = t, .other = u};
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    tokenizer_free(u);
    bool phi3 = tokenizer_strips_like_phi3(t);
    u = through_gguf(t, tokenizer_vocab_size(t), phi3 ? "phi3" : "x");
    r = (struct run){.t = t, .other = u, .phi3 = phi3, .gguf = true};
    each_row(vectors, check_same, &r);
    assert_int_equal(r.bad, 0);
    tokenizer_free(u);
    tokenizer_free(t);
    for (size_t i = 0; i < 1000; i++)
        json_decref((json_t *)instead[i]);
    mem_free(instead);
    mem_free(json);
}

static void test_model(void **state)
{
    check_model("gemma3", false);
    check_model("llama2", true);
    check_model("phi3", true);
    struct tokenizer *t = open_model_file("gemma3", false); /* turn marks are known by their names */
    assert_true(tokenizer_is_special(t, tokenizer_id_of(t, "<start_of_turn>")));
    assert_int_equal(tokenizer_bos(t), 2);
    assert_true(tokenizer_adds_bos(t));
    tokenizer_free(t);
}

/* ---- published vocabularies: only where GEMMAIKU_VOCABULARIES names a folder with llama.cpp's ggml-vocab-*.gguf, the texts
 * beside them (.inp) and their ids (.out) ---- */

static void check_published(const char *folder, const char *name)
{
    struct str texts = {0}, ids = {0};
    struct gm_error err = {0};
    char *file = mem_printf("%s/ggml-vocab-%s.gguf", folder, name), *inp = mem_printf("%s.inp", file), *out = mem_printf("%s.out", file);
    if (!file_read_all(inp, 1 << 20, &texts, &err) || !file_read_all(out, 1 << 20, &ids, &err))
        fail_msg("%s", err.text);
    struct tokenizer *t = open_path(file);
    static const char between[] = "\n__ggml_vocab_test__\n";
    size_t rows = 0;
    const char *line = str_text(&ids);
    for (const char *text = str_text(&texts), *end; (end = strstr(text, between)); text = end + sizeof between - 1, rows++) {
        struct id_list have = {0};
        assert_true(tokenizer_encode(t, text, (size_t)(end - text), TOKENIZE_LITERAL, &have, &err));
        for (size_t k = 0; k < have.n; k++) {
            char *after;
            if (strtol(line, &after, 10) != have.ids[k] || after == line)
                fail_msg("%s, row %zu: %.60s", name, rows, text);
            line = after;
        }
        while (*line == ' ')
            line++;
        assert_int_equal(*line, '\n'); /* no more ids than ours */
        line++;
        id_list_free(&have);
    }
    assert_true(rows > 40);
    tokenizer_free(t);
    str_free(&texts);
    str_free(&ids);
    mem_free(file);
    mem_free(inp);
    mem_free(out);
}

static void test_published(void **state)
{
    static const char *const names[] = {"llama-bpe", "llama-spm", "phi-3", "qwen2", "gpt-2", "starcoder", "refact", "command-r", "gemma-4"};
    const char *folder = getenv("GEMMAIKU_VOCABULARIES");
    if (!folder)
        skip();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_published(folder, names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gguf), cmocka_unit_test(test_model), cmocka_unit_test(test_published)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
