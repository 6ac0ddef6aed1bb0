/* The model card: facts of a run, and texts of strangers that stay texts. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/export/card.h"
#include "engine/export/peers.h"
#include "tests/unit/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static void put(const char *name, const char *text)
{
    char *path = path_join(folder, name);
    struct gm_error err = {0};
    assert_true(file_replace(path, text, strlen(text), &err));
    mem_free(path);
}

static int make_run(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/card-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put("run.json", "{\"format\": 1, \"name\": \"evil `run`\", \"data_sha256\": \"abc\", \"model_sha256\": \"def\", \"rows\": {\"train\": 90, \"valid\": 10, \"test\": 0},"
                    " \"options\": {\"model\": \"m\", \"data\": \"d|ata\\u001b[31m\", \"iters\": 600, \"rank\": 16, \"scale\": 2.0, \"learning_rate\": 0.0002, \"fine_tune_type\": \"lora\"}}");
    put("journal.jsonl", "{\"event\":\"start\",\"step\":0,\"time_s\":0,\"parameters\":430080,\"valid_source\":\"file\",\"valid_overlap\":3}\n"
                         "{\"event\":\"eval\",\"step\":0,\"time_s\":1,\"loss\":5.5,\"tokens\":9}\n{\"event\":\"form\",\"step\":0,\"time_s\":1,\"rate\":0.0,\"n\":4,\"interval\":[0,0.5]}\n"
                         "{\"event\":\"eval\",\"step\":600,\"time_s\":2,\"loss\":2.25,\"tokens\":9}\n{\"event\":\"form\",\"step\":600,\"time_s\":2,\"rate\":0.75,\"n\":4,\"interval\":[0.3,0.95]}\n"
                         "{\"event\":\"eval\",\"step\":700,\"time_s\":3,\"loss\":2.5,\"tokens\":9}\n");
    put("samples.jsonl", "{\"prompt\":\"rain\",\"step\":300,\"temperature\":0.3,\"text\":\"an earlier one\"}\n"
                         "{\"prompt\":\"ra`in\",\"step\":600,\"temperature\":0.3,\"text\":\"old pond\\n```\\n# not a heading\\n````\\u001b[2J\",\"verdict\":{\"strict\":true,\"syllables\":[5,7,5]}}\n"
                         "{\"prompt\":\"a\",\"step\":600,\"temperature\":0.3,\"text\":\"second\",\"verdict\":{}}\n{\"prompt\":\"a\",\"step\":600,\"temperature\":0.3,\"text\":\"third\",\"verdict\":{}}\n"
                         "{\"prompt\":\"a\",\"step\":600,\"temperature\":1.0,\"text\":\"warm\",\"verdict\":{}}\n");
    (void)state;
    return 0;
}

static int remove_run(void **state)
{
    struct gm_error err = {0};
    (void)state;
    return dir_remove(folder, &err) ? 0 : -1;
}

static void contains(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("\"%s\" is not in\n%s", what, text);
}

static void test_run(void **state)
{
    const struct card_proof proof = {5, 123, 1e-4, 1e-3, 0.999, 0.02, 42};
    const char *notes[] = {"[click](http://x) <b>"};
    const struct card c = {.target = "ollama", .type = "q8_0", .name = "my haiku", .base = "org/base-270m", .license = "mit", .has_adapter = true, .system = "Be ``` brief.",
                           .run_dir = folder, .step = 600, .proof = &proof, .notes = notes, .n_notes = 1};
    char *text = card_write(&c);
    if (getenv("GEMMAIKU_SHOW"))
        print_message("%s\n", text);
    static const char *const facts[] = {
        "---\nbase_model: \"org/base-270m\"\nbase_model_relation: finetune\nlicense: \"mit\"\nlibrary_name: gguf\n", "- ollama\n---\n", "# my haiku\n", "| data, sha256 | `abc` |",
        "| run | `evil 'run'` |", "| rows | 90 for training, 10 for validation, 0 for testing |", "| validation rows | from file; 3 of them are training rows as well |",
        "| steps | 600 of 600 |", "| rank | 16 |", "| learning rate | 0.0002 |", "| the base, before | 0 | 5.5000 |", "| this export | 600 | 2.2500 |", "| last | 700 | 2.5000 |",
        "75 % of 4 samples were haiku", "; 0 % before training", "Temperature 0.3, in form: 5-7-5. Prompt `ra'in`", "`````\nold pond\n```\n# not a heading\n````", "second", "warm",
        "5 sequences, 123 positions, mean KL 0.0001", "42 conversations", "ollama create my-haiku -f Modelfile", "````\nBe ``` brief.\n````", "- \\[click\\](http://x) \\<b\\>", "d/ata"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        contains(text, facts[i]);
    assert_null(strstr(text, "earlier"));
    assert_null(strstr(text, "third"));
    assert_null(strchr(text, 0x1b));
    assert_null(strstr(text, "language:"));
    mem_free(text);
    (void)state;
}

/* What is not known is said, for every target. */
static void test_unknown(void **state)
{
    static const char *const targets[] = {"mlx", "peft", "gguf-lora", "safetensors", "gguf", "ollama"};
    for (int i = 0; i < 6; i++) {
        const struct card c = {.target = targets[i], .name = "x", .base = "/home/somebody/m.gguf", .has_adapter = true, .step = -1};
        char *text = card_write(&c);
        contains(text, "data, settings and losses are not known");
        contains(text, "The license of the base is not known here");
        contains(text, "Not measured");
        assert_null(strstr(text, "base_model:"));
        mem_free(text);
    }
    (void)state;
}

static void test_peers(void **state)
{
    struct model_config c = {.family = "gemma3_text", .n_layers = 2, .d_model = 640, .head_dim = 256, .scaled_embed = true, .sliding_window = 512, .sliding = {1, 0}};
    const char *lines[PEERS_MAX];
    bool scale = false, adapter = false, window = false;
    int n = peers_that_differ(EXPORT_MLX, &c, NULL, lines);
    for (int i = 0; i < n; i++) {
        adapter |= strstr(lines[i], "Ollama takes safetensors adapters") != NULL;
        window |= strstr(lines[i], "no sliding window") != NULL;
    }
    assert_true(adapter && !window);
    snprintf(c.family, sizeof c.family, "gemma2");
    for (n = peers_that_differ(EXPORT_SAFETENSORS, &c, NULL, lines); n-- > 0;)
        window |= strstr(lines[n], "no sliding window") != NULL;
    assert_true(window);
    c.d_model = 1024; /* a whole root: nothing is rounded */
    snprintf(c.family, sizeof c.family, "gemma3_text");
    for (n = peers_that_differ(EXPORT_GGUF, &c, NULL, lines); n-- > 0;)
        scale |= strstr(lines[n], "exact root") != NULL;
    assert_false(scale);
    c.d_model = 1152;
    for (n = peers_that_differ(EXPORT_OLLAMA, &c, NULL, lines); n-- > 0;)
        scale |= strstr(lines[n], "exact root") != NULL;
    assert_true(scale);
    char *path = mem_printf("%s/models/llama", fixtures_dir());
    struct model_source source;
    struct gm_error err = {0};
    bool rebuilt = false, named = false;
    assert_true(model_source_open_tokenizer(&source, path, &err));
    json_t *config = model_source_read_json(&source, "tokenizer_config.json", 1 << 20, &err);
    named = json_is_false(json_object_get(config, "legacy"));
    for (n = peers_that_differ(EXPORT_PEFT, &c, &source, lines); n-- > 0;)
        rebuilt |= strstr(lines[n], "builds a LlamaTokenizer") != NULL;
    assert_int_equal(rebuilt, named);
    json_decref(config);
    model_source_close(&source);
    mem_free(path);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_run), cmocka_unit_test(test_unknown), cmocka_unit_test(test_peers)};
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
