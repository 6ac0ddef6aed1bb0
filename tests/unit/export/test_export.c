/* Exports appear whole or not at all: what is in the way, who cancels, what was damaged between writing and reading back. */
#include "desk.h"

static void the_target_exists(void **state)
{
    struct desk d;
    struct gm_error err = {0};
    struct export_result result;
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.to = EXPORT_PEFT;
    assert_true(dir_make(d.out, &err));
    char *mine = path_join(d.out, "mine"), *deep = path_join(d.folder, "deep");
    assert_true(file_replace(mine, "x", 1, &err));
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_int_equal(err.code, GM_E_INPUT);
    assert_non_null(strstr(err.text, "it exists"));
    assert_true(file_exists(mine));
    assert_int_equal(count_names(d.out), 1);
    d.request.force = true; /* what is not ours is not removed, whatever is told */
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_non_null(strstr(err.text, "no export"));
    assert_true(file_exists(mine));
    char *proof = path_join(d.out, "proof.json");
    assert_true(file_replace(proof, "{}", 2, &err));
    mem_free(proof);
    done(&d);
    assert_false(file_exists(mine));
    assert_int_equal(count_names(d.out), 4);
    assert_int_equal(count_names(deep), 1); /* nothing beside it */
    d.request.out = mine; /* a file in the way of a folder */
    assert_true(file_replace(mine, "x", 1, &err));
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    assert_non_null(strstr(err.text, "no folder"));
    assert_true(file_exists(mine));
    d.request.out = "/"; /* no name at all */
    d.request.force = false;
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    d.request.out = "";
    assert_false(export_run(&d.request, &d.tools.compute, &result, &err));
    mem_free(mine);
    mem_free(deep);
    desk_close(&d);
}

static void a_slash_at_the_end(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", "llama/mlx");
    d.request.to = EXPORT_MLX;
    char *out = mem_printf("%s//", d.out);
    d.request.out = out;
    done(&d);
    assert_int_equal(count_names(d.out), 4);
    mem_free(out);
    desk_close(&d);
}

struct saboteur {
    atomic_bool cancel;
    const char *stage; /* at the first report that begins so: */
    const char *file;  /* damages this file of the folder that is being made; NULL: cancels */
    long at;           /* which byte is flipped, from the end when negative; 0: the file is cut in half */
    const char *folder;
    int calls;
    double last;
};

static void sabotage(void *arg, double share, const char *what)
{
    struct saboteur *s = arg;
    assert_true(share >= s->last && share <= 1); /* never backwards */
    s->last = share;
    if (strncmp(what, s->stage, strlen(s->stage)) != 0 || s->calls++ > 0)
        return;
    if (!s->file) {
        atomic_store(&s->cancel, true);
        return;
    }
    char **names, *made = NULL;
    size_t n;
    assert_true(dir_list(s->folder, &names, &n, NULL));
    for (size_t i = 0; i < n; i++) {
        if (strstr(names[i], "making"))
            made = mem_printf("%s/%s/%s", s->folder, names[i], s->file);
        mem_free(names[i]);
    }
    mem_free(names);
    assert_non_null(made);
    FILE *f = fopen(made, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = s->at < 0 ? size + s->at : s->at;
    if (s->at == 0) {
        assert_int_equal(ftruncate(fileno(f), size / 2), 0);
    } else {
        fseek(f, at, SEEK_SET);
        int c = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(c ^ 0x10, f);
    }
    fclose(f);
    mem_free(made);
}

static void with(struct desk *d, struct saboteur *s)
{
    static char deep[128];
    snprintf(deep, sizeof deep, "%s/deep", d->folder);
    s->folder = deep;
    d->request.progress = sabotage;
    d->request.arg = s;
    d->request.cancel = &s->cancel;
}

static void cancelled(void **state)
{
    struct desk d;
    desk_open(&d, "models/gemma3_text", "gemma3_text/mlx");
    static const char *const stages[] = {"model.", "reading back", "comparing"};
    for (int i = 0; i < 3; i++) {
        struct saboteur s = {.stage = stages[i]};
        with(&d, &s);
        refused(&d, GM_E_CANCELLED, "cancelled");
        assert_true(s.calls > 0);
    }
    d.request.to = EXPORT_PEFT;
    struct saboteur s = {.stage = "reading back"};
    with(&d, &s);
    refused(&d, GM_E_CANCELLED, "cancelled");
    desk_close(&d);
}

/* One bit anywhere between writing and reading back: the weights, the tokenizer, the adapter. A cut file, too. */
static void damage_is_refused(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", "llama/mlx");
    static const long places[] = {-1, -70000, 0};
    for (int i = 0; i < 3; i++) {
        struct saboteur s = {.stage = "reading back", .file = "model.safetensors", .at = places[i]};
        with(&d, &s);
        refused(&d, places[i] ? GM_E_CHECK : GM_E_INPUT, places[i] ? "not what was written" : "model.safetensors");
        assert_int_equal(s.calls, 1);
    }
    struct saboteur tokenizer = {.stage = "reading back", .file = "tokenizer.json"};
    with(&d, &tokenizer);
    refused(&d, GM_E_INPUT, "tokenizer.json");
    static const char *const files[] = {"adapters.safetensors", "adapter_model.safetensors"};
    for (int to = EXPORT_MLX; to <= EXPORT_PEFT; to++) {
        struct saboteur s = {.stage = "reading back", .file = files[to], .at = -5};
        d.request.to = (enum export_to)to;
        with(&d, &s);
        refused(&d, GM_E_CHECK, "another one");
    }
    desk_close(&d);
}

static void no_adapter(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", NULL);
    d.request.to = EXPORT_MLX;
    refused(&d, GM_E_USAGE, "no adapter");
    desk_close(&d);
}

static void names(void **state)
{
    enum export_to to;
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        assert_true(export_to_parse(export_target((enum export_to)i)->name, &to) && to == (enum export_to)i);
    assert_false(export_to_parse("gguf2", &to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_exists), cmocka_unit_test(a_slash_at_the_end), cmocka_unit_test(cancelled), cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(no_adapter), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
