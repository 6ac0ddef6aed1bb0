/* What a path claims to be: folders by the names in them, files by name and first bytes. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/recognise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/gm_recognise_XXXXXX";

static void put(const char *name, const char *bytes, size_t n)
{
    char *path = path_join(root, name);
    char *folder = mem_copy_n(path, (size_t)(path_base(path) - path));
    struct gm_error err = {0};
    if (!dir_make(folder, &err) || !file_replace(path, bytes, n, &err))
        fail_msg("%s", err.text);
    mem_free(folder);
    mem_free(path);
}

static const struct {
    const char *files; /* in one folder, with blanks between */
    enum artifact what;
} folders[] = {
    {"config.json model.safetensors tokenizer.json", ARTIFACT_MODEL},
    {"config.json", ARTIFACT_MODEL}, /* without its weights */
    {"config.json model.safetensors.index.json adapter_config.json", ARTIFACT_MODEL},
    {"adapter_config.json adapters.safetensors", ARTIFACT_ADAPTER},
    {"adapter_config.json adapter_model.safetensors tokenizer.json", ARTIFACT_ADAPTER},
    {"run.json journal.jsonl", ARTIFACT_RUN},
    {"state.json adapters.safetensors adapter_config.json", ARTIFACT_CHECKPOINT},
    {"state.json model.safetensors config.json", ARTIFACT_CHECKPOINT},
    {"Modelfile model.gguf", ARTIFACT_MODELFILE},
    {"model.gguf", ARTIFACT_MODEL},
    {"tokenizer.json special_tokens_map.json", ARTIFACT_TOKENIZER},
    {"tokenizer.model", ARTIFACT_TOKENIZER},
    {"train.jsonl valid.jsonl", ARTIFACT_DATA},
    {"test.csv", ARTIFACT_DATA},
};

static void folders_by_what_they_hold(void **state)
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *names = mem_copy(folders[i].files), *rest = NULL, folder[16], path[64];
        snprintf(folder, sizeof folder, "f%zu", i);
        for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
            snprintf(path, sizeof path, "%s/%s", folder, name);
            put(path, "x", 1);
        }
        char *full = path_join(root, folder);
        struct gm_error err = {0};
        enum artifact what;
        assert_true(recognise(full, &what, &err));
        assert_string_equal(artifact_name(what), artifact_name(folders[i].what));
        mem_free(full);
        mem_free(names);
    }
}

static const struct {
    const char *name, *bytes;
    size_t n;
    int what; /* -1: nothing that is known */
    const char *says;
} files[] = {
    {"a.gguf", "not one", 7, ARTIFACT_GGUF, NULL}, /* a claim only */
    {"blob", "GGUF\3\0\0\0", 8, ARTIFACT_GGUF, NULL},
    {"blob2", "\x10\0\0\0\0\0\0\0{\"a\":1}", 15, ARTIFACT_WEIGHTS, NULL},
    {"0000100_adapters.safetensors", "", 0, ARTIFACT_ADAPTER, NULL},
    {"model.safetensors", "", 0, ARTIFACT_WEIGHTS, NULL},
    {"rows.json", "[{\"text\": \"x\"}]", 15, ARTIFACT_DATA, NULL},
    {"some.json", "{\"model_type\": \"llama\"}", 23, ARTIFACT_MODEL_CONFIG, NULL},
    {"other.json", "{\"peft_type\": \"LORA\"}", 21, ARTIFACT_ADAPTER_CONFIG, NULL},
    {"tok.json", "{\"added_tokens\": []}", 20, ARTIFACT_TOKENIZER, NULL},
    {"set.json", "{\"iters\": 3}", 12, ARTIFACT_SETTINGS, NULL},
    {"set.yml", "iters: 3", 8, ARTIFACT_SETTINGS, NULL},
    {"template", "{% for m in messages %}{% endfor %}", 35, ARTIFACT_TEMPLATE, NULL},
    {"chat_template.jinja", "x", 1, ARTIFACT_TEMPLATE, NULL},
    {"Modelfile.haiku", "FROM x", 6, ARTIFACT_MODELFILE, NULL},
    {"mine.theme", "name x", 6, ARTIFACT_THEME, NULL},
    {"letter", "Dear all,", 9, -1, "nothing that is known"},
    {"facts.json", "{\"rows\": {}}", 12, -1, "nothing that is known"},
    {"void", "", 0, -1, "it is empty"},
    {"page", "<!DOCTYPE html>", 15, -1, "web page"},
    {"zip", "PK\3\4xxxx", 8, -1, "pickle"},
};

static void files_by_name_and_first_bytes(void **state)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct gm_error err = {0};
        enum artifact what = ARTIFACT_COUNT;
        put(files[i].name, files[i].bytes, files[i].n);
        char *path = path_join(root, files[i].name);
        bool ok = recognise(path, &what, &err);
        if (ok != (files[i].what >= 0))
            fail_msg("%s: %s", files[i].name, ok ? artifact_name(what) : err.text);
        if (ok)
            assert_string_equal(artifact_name(what), artifact_name((enum artifact)files[i].what));
        else
            assert_non_null(strstr(err.text, files[i].says));
        mem_free(path);
    }
    struct gm_error err = {0};
    enum artifact what;
    assert_false(recognise("/nowhere/at/all", &what, &err));
    assert_non_null(strstr(err.text, "no such file or folder"));
}

static int set_up(void **state)
{
    return mkdtemp(root) ? 0 : -1;
}
static int tear_down(void **state)
{
    return dir_remove(root, NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders_by_what_they_hold), cmocka_unit_test(files_by_name_and_first_bytes)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
