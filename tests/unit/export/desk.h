/* desk.h - for the tests of this room: a base, an adapter, and an empty folder to write to. */
#ifndef GM_TESTS_DESK_H
#define GM_TESTS_DESK_H

#include "../model/model_test.h"

#include "../fixtures.h"
#include "engine/export/all.h"
#include "engine/text/chat_template.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct desk { /* a base, an adapter, and an empty folder to write to */
    struct tools tools;
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat_template *tpl;
    struct lora *lora;
    char folder[64], *out;
    struct export_request request;
};

static inline void desk_open(struct desk *d, const char *model, const char *adapter)
{
    struct gm_error err = {0};
    *d = (struct desk){.folder = "/tmp/gemmaiku-test-XXXXXX"};
    assert_non_null(mkdtemp(d->folder));
    d->out = path_join(d->folder, "deep/out");
    tools_init(&d->tools, 2, GM_COMPUTE_F32);
    bool elsewhere = model[0] == '/' || strcmp(model, "nano") == 0; /* no fixture */
    char *path = elsewhere ? mem_copy(model) : mem_printf("%s/%s", fixtures_dir(), model), *adapter_path = adapter ? mem_printf("%s/adapters/%s", fixtures_dir(), adapter) : NULL;
    if (!(d->model = model_open(path, &err)) || !(d->tokenizer = tokenizer_open(d->model->source, &err)))
        fail_msg("%s", err.text);
    if (adapter && !(d->lora = lora_load(adapter_path, &d->model->config, &err)))
        fail_msg("%s", err.text);
    if (d->lora)
        lora_bind(d->lora, d->model, &d->tools.compute);
    d->request = (struct export_request){.to = EXPORT_SAFETENSORS, .type = EXPORT_AS_BASE, .model = d->model, .lora = d->lora, .tokenizer = d->tokenizer,
                                         .tpl = d->tpl = chat_template_open(d->model->source, d->tokenizer, NULL, NULL), .model_name = "base", .out = d->out};
    mem_free(path);
    mem_free(adapter_path);
}

/* The same, where the base's folder lacks a tokenizer: that of another one. */
static inline void desk_open_with(struct desk *d, const char *model, const char *tokenizer, const char *adapter)
{
    struct gm_error err = {0};
    struct model_source other;
    char *path = mem_printf("%s/%s", fixtures_dir(), model), *tokenizer_path = mem_printf("%s/%s", fixtures_dir(), tokenizer),
         *adapter_path = mem_printf("%s/adapters/%s", fixtures_dir(), adapter);
    *d = (struct desk){.folder = "/tmp/gemmaiku-test-XXXXXX"};
    assert_non_null(mkdtemp(d->folder));
    d->out = path_join(d->folder, "deep/out");
    tools_init(&d->tools, 2, GM_COMPUTE_F32);
    if (!model_source_open_tokenizer(&other, tokenizer_path, &err) || !(d->model = model_open(path, &err)) || !(d->tokenizer = tokenizer_open(&other, &err))
        || !(d->lora = lora_load(adapter_path, &d->model->config, &err)))
        fail_msg("%s", err.text);
    lora_bind(d->lora, d->model, &d->tools.compute);
    model_source_close(&other);
    d->request = (struct export_request){.model = d->model, .lora = d->lora, .tokenizer = d->tokenizer, .model_name = "base", .out = d->out};
    mem_free(path);
    mem_free(tokenizer_path);
    mem_free(adapter_path);
}

static inline int count_names(const char *folder)
{
    char **names;
    size_t n;
    assert_true(dir_list(folder, &names, &n, NULL));
    for (size_t i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    return (int)n;
}

static inline void desk_close(struct desk *d)
{
    lora_free(d->lora);
    chat_template_free(d->tpl);
    tokenizer_free(d->tokenizer);
    model_free(d->model);
    tools_free(&d->tools);
    dir_remove(d->folder, NULL);
    mem_free(d->out);
}

static inline struct export_result done(struct desk *d)
{
    struct gm_error err = {0};
    struct export_result result;
    if (!export_run(&d->request, &d->tools.compute, &result, &err))
        fail_msg("%s", err.text);
    struct export_result numbers = result;
    export_result_free(&result);
    numbers.notes = NULL;
    return numbers;
}

/* Fails with `code`; the folder is as empty as before. */
static inline void refused(struct desk *d, enum gm_code code, const char *word)
{
    struct gm_error err = {0};
    struct export_result result;
    if (export_run(&d->request, &d->tools.compute, &result, &err))
        fail_msg("nothing was found wrong (%s expected)", word);
    if (err.code != code || !strstr(err.text, word))
        fail_msg("code %d, \"%s\": code %d and \"%s\" expected", err.code, err.text, code, word);
    export_result_free(&result);
    assert_int_equal(count_names(d->folder), 0);
}

static inline void file_open(struct safetensors *s, const char *folder, const char *name)
{
    struct gm_error err = {0};
    char *path = path_join(folder, name);
    if (!safetensors_open(s, path, &err))
        fail_msg("%s", err.text);
    mem_free(path);
}

static inline json_t *json_of(const char *folder, const char *name)
{
    struct gm_error err = {0};
    char *path = path_join(folder, name);
    json_t *o = json_load_file_checked(path, 1 << 20, &err);
    if (!o)
        fail_msg("%s", err.text);
    mem_free(path);
    return o;
}

/* Two files hold the same tensors, to the bit. */
static inline void same_tensors(const struct safetensors *a, const struct safetensors *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor_info *x = &a->tensors[i], *y = tensor(b, "%s", x->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->shape, y->shape, sizeof *x->shape * (size_t)x->n_dims);
        assert_int_equal(x->bytes, y->bytes);
        if (memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s differs", x->name);
    }
}

#endif
