/* MODEL in all its forms: folders, shards, GGUF, the hub's cache, built-in names; and what is said
 * of those that are none. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/builtin/builtin.h"
#include "engine/format/model_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/gm_source_XXXXXX";

static int set_up(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}
static int tear_down(void **state)
{
    return dir_remove(folder, NULL) ? 0 : -1;
}

static void copy_file(const char *from, const char *to)
{
    struct gm_error err = {0};
    struct str text = {0};
    if (!file_read_all(from, 1 << 20, &text, &err) ||
        !file_replace(to, str_text(&text), text.len, &err))
        fail_msg("%s", err.text);
    str_free(&text);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    struct gm_error err = {0};
    char *path = path_join(dir, name);
    if (!file_replace(path, text, strlen(text), &err))
        fail_msg("%s", err.text);
    mem_free(path);
}

/* A folder of its own under the test's folder, with a fixture's files in it (none when NULL). */
static char *new_folder(const char *name, const char *fixture)
{
    struct gm_error err = {0};
    char *dir = path_join(folder, name);
    assert_true(dir_make(dir, &err));
    if (!fixture)
        return dir;
    char *from = mem_printf(FIXTURES "/models/%s", fixture), **names;
    size_t n;
    assert_true(dir_list(from, &names, &n, &err));
    for (size_t i = 0; i < n; i++) {
        char *a = path_join(from, names[i]), *b = path_join(dir, names[i]);
        copy_file(a, b);
        mem_free(a);
        mem_free(b);
        mem_free(names[i]);
    }
    mem_free(names);
    mem_free(from);
    return dir;
}

static void open_ok(struct model_source *s, const char *model)
{
    struct gm_error err = {0};
    if (!model_source_open(s, model, &err))
        fail_msg("%s", err.text);
}

static void refused(const char *model, const char *says)
{
    struct gm_error err = {0};
    struct model_source s;
    bool ok = model_source_open(&s, model, &err);
    if (ok || err.code == GM_OK || !strstr(err.text, says))
        fail_msg("%s: %s, wanted \"%s\"", model, ok ? "accepted" : err.text, says);
}

static void test_fixtures(void **state)
{
    static const char *const names[] = {"llama_f32",   "llama_f16", "llama_sharded",
                                        "gemma3_text", "smollm2",   "stories260k"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model_source s;
        struct gm_error err = {0};
        struct str text = {0};
        char *path = mem_printf(FIXTURES "/models/%s/", names[i]), hex[65], **files;
        size_t n_files;
        open_ok(&s, path);
        assert_int_equal(s.kind, SOURCE_HF);
        assert_string_equal(s.name, names[i]);
        assert_true(json_is_object(s.config) && !s.gguf && !s.builtin);
        for (int k = 0; k < s.n_tensors; k++)
            assert_ptr_equal(model_source_find(&s, model_source_tensor(&s, k)->name),
                             model_source_tensor(&s, k));
        assert_null(model_source_tensor(&s, s.n_tensors));
        assert_null(model_source_tensor(&s, -1));
        assert_non_null(model_source_find(&s, "model.embed_tokens.weight"));
        assert_non_null(model_source_find(&s, "model.norm.weight"));
        assert_null(model_source_find(&s, "model.nothing"));
        assert_true(model_source_has_file(&s, "tokenizer.json"));
        assert_false(model_source_has_file(&s, "no.json"));
        assert_false(model_source_has_file(&s, "../llama_f32/config.json"));
        assert_true(model_source_read_file(&s, "tokenizer.json", 1 << 20, &text, &err) &&
                    text.len > 100);
        str_free(&text);
        assert_false(model_source_read_file(&s, "tokenizer.json", 10, &text, &err));
        assert_false(model_source_read_file(&s, "../llama_f32/config.json", 1 << 20, &text, &err));
        json_t *tok = model_source_read_json(&s, "tokenizer.json", 1 << 20, &err);
        assert_true(json_is_object(tok));
        json_decref(tok);
        assert_true(model_source_hash(&s, hex, &err));
        assert_int_equal(strlen(hex), 64);
        assert_true(model_source_files(&s, &files, &n_files, &err));
        bool config = false;
        for (size_t k = 0; k < n_files; k++) {
            config |= strcmp(files[k], "config.json") == 0;
            assert_null(strstr(files[k], "safetensors"));
            mem_free(files[k]);
        }
        assert_true(config);
        mem_free(files);
        model_source_close(&s);
        mem_free(path);
    }
}

static void test_sharded(void **state)
{
    struct model_source s, one;
    struct gm_error err = {0};
    char a[65], b[65];
    open_ok(&s, FIXTURES "/models/llama_sharded");
    open_ok(&one, FIXTURES "/models/llama_f16");
    assert_int_equal(s.n_shards, 3);
    assert_int_equal(s.n_tensors, one.n_tensors);
    assert_true(model_source_hash(&s, a, &err) && model_source_hash(&one, b, &err));
    assert_string_not_equal(a, b);
    model_source_close(&one);
    model_source_close(&s);
}

static void test_gguf(void **state)
{
    struct model_source s;
    struct gm_error err = {0};
    struct str text = {0};
    char hex[65], file_hex[65], **files;
    size_t n;
    const char *path = FIXTURES "/quantised/gguf/smollm2_q8_0.gguf";
    open_ok(&s, path);
    assert_int_equal(s.kind, SOURCE_GGUF);
    assert_true(s.gguf && !s.config && s.n_tensors == s.gguf->n_tensors);
    assert_string_equal(s.name, "smollm2_q8_0.gguf");
    assert_non_null(model_source_find(&s, "token_embd.weight"));
    assert_ptr_equal(model_source_tensor(&s, 0), &s.gguf->tensors[0]);
    assert_false(model_source_has_file(&s, "tokenizer.json"));
    assert_false(model_source_read_file(&s, "tokenizer.json", 100, &text, &err));
    assert_true(model_source_hash(&s, hex, &err) && sha256_file(path, file_hex, NULL, &err));
    assert_string_equal(hex, file_hex);
    assert_true(model_source_files(&s, &files, &n, &err) && n == 0);
    mem_free(files);
    model_source_close(&s);
    char *other =
        path_join(folder, "a model without an ending"); /* the magic decides, not the name */
    copy_file(path, other);
    open_ok(&s, other);
    assert_int_equal(s.kind, SOURCE_GGUF);
    model_source_close(&s);
    mem_free(other);
}

static void test_tokenizer_only(void **state)
{
    struct model_source s;
    struct gm_error err = {0};
    char *dir = new_folder("only_tokenizer", NULL), *to = path_join(dir, "tokenizer.json");
    assert_false(model_source_open_tokenizer(&s, dir, &err));
    copy_file(FIXTURES "/models/llama_f32/tokenizer.json", to);
    assert_true(model_source_open_tokenizer(&s, dir, &err));
    assert_true(!s.config && s.n_tensors == 0 && model_source_has_file(&s, "tokenizer.json"));
    assert_null(model_source_find(&s, "x"));
    char hex[65];
    assert_false(model_source_hash(&s, hex, &err));
    model_source_close(&s);
    refused(dir, "no config.json");
    assert_true(model_source_open_tokenizer(&s, FIXTURES "/models/llama_sharded", &err));
    assert_true(s.config && s.n_tensors == 0);
    model_source_close(&s);
    assert_true(model_source_open_tokenizer(&s, FIXTURES "/quantised/gguf/llama_f16.gguf", &err));
    assert_non_null(s.gguf);
    model_source_close(&s);
    mem_free(to);
    mem_free(dir);
}

/* An index that does not fit its shards. */
static void test_bad_index(void **state)
{
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"{", "cut short"},
        {"[]", "object"},
        {"{\"metadata\": {}}", "\"weight_map\" is missing"},
        {"{\"weight_map\": []}", "is an array"},
        {"{\"weight_map\": {}}", "names no tensor"},
        {"{\"weight_map\": {\"a\": 1}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"model-9.safetensors\"}}",
         "names model-9.safetensors, which is not there"},
        {"{\"weight_map\": {\"a\": \"config.json\"}}", "config.json"},
        {"{\"weight_map\": {\"nothing\": \"model-00003-of-00003.safetensors\"}}",
         "\"nothing\" is said to be in model-00003-of-00003"},
        {"{\"weight_map\": {\"model.norm.weight\": \"model-00003-of-00003.safetensors\"}}",
         "which the index does not name"},
        {"{\"weight_map\": {\"a\": \"x\", \"a\": \"y\"}}", "duplicate"},
    };
    char *dir = new_folder("bad_index", "llama_sharded");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(dir, "model.safetensors.index.json", cases[i].index);
        refused(dir, cases[i].says);
    }
    mem_free(dir);
}

static void test_shards(void **state)
{
    struct gm_error err = {0};
    char *dir = new_folder("shards", "llama_sharded"),
         *third = path_join(dir, "model-00003-of-00003.safetensors"),
         *first = path_join(dir, "model-00001-of-00003.safetensors"),
         *index = path_join(dir, "model.safetensors.index.json");
    struct model_source s;
    open_ok(&s, dir);
    model_source_close(&s);
    copy_file(FIXTURES "/models/llama_f16/model.safetensors",
              third); /* holds everything: each tensor twice */
    refused(dir, "stands twice");
    struct str text = {0};
    assert_true(file_read_all(first, 1 << 20, &text, &err));
    assert_true(file_replace(third, text.data, text.len, &err));
    refused(dir, "is said to be in model-00003-of-00003.safetensors and is not");
    assert_true(file_replace(third, text.data, text.len - 1, &err));
    refused(dir, "cut short");
    str_free(&text);
    unlink(third);
    refused(dir, "which is not there");
    write_text(dir, "model.safetensors", "x");
    refused(dir, "remove the one that is old");
    unlink(index);
    refused(dir, "model.safetensors");
    mem_free(index);
    mem_free(first);
    mem_free(third);
    mem_free(dir);
}

static void test_bad_folders(void **state)
{
    struct gm_error err = {0};
    struct model_source s;
    assert_false(model_source_open(&s, "", &err));
    assert_int_equal(err.code, GM_E_USAGE);
    refused("/no/such/folder/at/all", "No such file");
    refused("/dev/null", "not a regular file");
    char *dir = new_folder("empty", NULL);
    refused(dir, "no config.json");
    write_text(dir, "config.json", "[1]");
    refused(dir, "no JSON object");
    write_text(dir, "config.json", "{\"a\": }");
    refused(dir, "config.json:1:");
    write_text(dir, "config.json", "{}");
    refused(dir, "no model.safetensors");
    write_text(dir, "model.gguf", "GGUF");
    refused(dir, "model.gguf)");
    write_text(dir, "pytorch_model.bin", "x");
    refused(dir, "pickles");
    write_text(dir, "adapter_config.json", "{}");
    refused(dir, "--adapter");
    write_text(dir, "model.safetensors",
               "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
    refused(dir, "git lfs pull");
    char *file = path_join(dir, "config.json"), *gguf = path_join(dir, "model.gguf"),
         *weights = path_join(dir, "w.safetensors");
    refused(file, "name the folder");
    refused(gguf, "cut short");
    copy_file(FIXTURES "/models/llama_f32/model.safetensors", weights);
    refused(weights, "name the folder");
    mem_free(weights);
    mem_free(gguf);
    mem_free(file);
    mem_free(dir);
}

static void test_hub_cache(void **state)
{
    struct gm_error err = {0};
    struct model_source s;
    char *hub = new_folder("home/hub", NULL), *home = path_join(folder, "home"),
         *cache = path_join(folder, "home/hub");
    char *refs = new_folder("home/hub/models--some--tiny/refs", NULL),
         *snapshot = new_folder(
             "home/hub/models--some--tiny/snapshots/0123456789abcdef0123456789abcdef01234567",
             "llama_f32");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    setenv("HF_HOME", home, 1);
    refused("some/tiny", "snapshots/main is not there"); /* no refs/main: never another snapshot */
    write_text(refs, "main", "0123456789abcdef0123456789abcdef01234567\n");
    open_ok(&s, "some/tiny");
    assert_string_equal(s.name, "some/tiny");
    assert_string_equal(s.path, snapshot);
    assert_true(s.n_tensors > 0);
    model_source_close(&s);
    refused("some/other", "hf download some/other");
    refused("some/../tiny", "some/../tiny");
    write_text(refs, "main", "../../../../etc");
    refused("some/tiny", "no commit");
    write_text(refs, "main", "0123456789abcdef0123456789abcdef01234567");
    setenv("HF_HUB_CACHE", "/nowhere", 1); /* goes before HF_HOME */
    refused("some/tiny", "/nowhere");
    setenv("HF_HUB_CACHE", cache, 1);
    unsetenv("HF_HOME");
    open_ok(&s, "some/tiny");
    model_source_close(&s);
    setenv("GM_TEST_HOME", home, 1);
    setenv("HF_HUB_CACHE", "$GM_TEST_HOME/hub", 1);
    open_ok(&s, "some/tiny");
    model_source_close(&s);
    setenv("HF_HUB_CACHE", "${GM_TEST_HOME}/hub", 1);
    open_ok(&s, "some/tiny");
    model_source_close(&s);
    setenv("HF_HUB_CACHE", "$GM_TEST_NOWHERE/hub", 1);
    refused("some/tiny", "$GM_TEST_NOWHERE/hub");
    setenv("HF_HUB_CACHE", "~/hub", 1);
    setenv("HOME", home, 1);
    open_ok(&s, "some/tiny");
    model_source_close(&s);
    /* revisions: a name in refs, or a commit that needs none */
    write_text(refs, "v1.0", "0123456789abcdef0123456789abcdef01234567");
    open_ok(&s, "some/tiny@v1.0");
    assert_string_equal(s.path, snapshot);
    model_source_close(&s);
    open_ok(&s, "some/tiny@0123456789abcdef0123456789abcdef01234567");
    model_source_close(&s);
    refused("some/tiny@v2", "hf download some/tiny --revision v2");
    refused("some/tiny@../../x", "some/tiny@../../x");
    /* downloaded in part */
    char *link = path_join(snapshot, "generation_config.json"), *weights = path_join(snapshot, "model.safetensors");
    unlink(link);
    assert_int_equal(symlink("../../blobs/0123", link), 0);
    refused("some/tiny", "generation_config.json was not downloaded to its end");
    assert_true(model_source_open_tokenizer(&s, "some/tiny", &err)); /* needs no weights */
    model_source_close(&s);
    unlink(link);
    unlink(weights);
    refused("some/tiny", "holds no weights");
    mem_free(link);
    mem_free(weights);
    char *config = path_join(snapshot, "config.json");
    unlink(config);
    assert_false(model_source_open(&s, "some/tiny", &err));
    assert_non_null(strstr(err.text, "some/tiny"));
    unsetenv("HF_HUB_CACHE");
    mem_free(config);
    mem_free(snapshot);
    mem_free(refs);
    mem_free(cache);
    mem_free(home);
    mem_free(hub);
}

/* `nano` is opened from the program itself where the build has it, and is named as missing where it
 * has not. */
static void test_builtin(void **state)
{
    struct gm_error err = {0};
    struct model_source s;
    bool there = builtin_find("nano/model.safetensors") && builtin_find("nano/config.json");
    bool ok = model_source_open(&s, "nano", &err);
    if (ok != there)
        fail_msg("nano: %s", err.text);
    if (!ok) {
        assert_non_null(strstr(err.text, "nano"));
        return;
    }
    assert_true(s.builtin && s.n_tensors > 0 && model_source_has_file(&s, "tokenizer.json"));
    model_source_close(&s);
}

/* One file or three, the same fingerprint; a changed byte at the end of a tensor, another one. */
static void test_fingerprint(void **state)
{
    struct gm_error err = {0};
    struct model_source s, one, changed;
    char a[65], b[65], c[65];
    open_ok(&s, FIXTURES "/models/llama_sharded");
    char *dir = new_folder("one", "llama_sharded"), *index = path_join(dir, "model.safetensors.index.json"),
         *file = path_join(dir, "model.safetensors");
    struct tensor_out *out = mem_new((size_t)s.n_tensors, sizeof *out);
    unsigned char *copy = NULL;
    for (int i = 0; i < s.n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(&s, i);
        out[i] = (struct tensor_out){.name = t->name, .type = t->type, .n_dims = t->n_dims, .data = t->data};
        memcpy(out[i].shape, t->shape, sizeof t->shape);
    }
    assert_int_equal(unlink(index), 0);
    for (int i = 1; i <= 3; i++) {
        char *shard = mem_printf("%s/model-%05d-of-00003.safetensors", dir, i);
        assert_int_equal(unlink(shard), 0);
        mem_free(shard);
    }
    assert_true(safetensors_write(file, out, s.n_tensors, NULL, 0, &err));
    open_ok(&one, dir);
    const struct tensor_info *last = model_source_tensor(&s, s.n_tensors - 1);
    copy = mem_new(1, last->bytes);
    memcpy(copy, last->data, last->bytes);
    copy[last->bytes - 1] ^= 1;
    out[s.n_tensors - 1].data = copy;
    model_source_fingerprint(&s, a);
    model_source_fingerprint(&one, b);
    model_source_close(&one);
    assert_true(safetensors_write(file, out, s.n_tensors, NULL, 0, &err));
    open_ok(&changed, dir);
    model_source_fingerprint(&changed, c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    model_source_close(&s);
    model_source_close(&changed);
    mem_free(copy);
    mem_free(out);
    mem_free(file);
    mem_free(index);
    mem_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),    cmocka_unit_test(test_sharded),
        cmocka_unit_test(test_gguf),        cmocka_unit_test(test_tokenizer_only),
        cmocka_unit_test(test_bad_index),   cmocka_unit_test(test_shards),
        cmocka_unit_test(test_bad_folders), cmocka_unit_test(test_hub_cache),
        cmocka_unit_test(test_builtin),     cmocka_unit_test(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
