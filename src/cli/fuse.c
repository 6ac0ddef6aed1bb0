/* fuse.c - `gemmaiku fuse`: mlx-lm's command line for a fused model, carried out by `export`. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/model_source.h"

#include <stdio.h>
#include <string.h>

struct fuse_args {
    const char *model, *adapter_path, *save_path, *gguf_path;
    bool dequantize, export_gguf;
};

enum { WORDS_MAX = 24 };
struct words {
    char *items[WORDS_MAX];
    int n;
};

static void add(struct words *w, const char *option, const char *value)
{
    w->items[w->n++] = mem_copy(option);
    if (value)
        w->items[w->n++] = mem_copy(value);
}

static int export_with(struct words *w, const struct general *g)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%d", g->threads);
    add(w, "--threads", threads);
    if (general_mode(g) != GM_COMPUTE_AUTO)
        add(w, "--compute", compute_mode_name(general_mode(g)));
    if (general_family(g) != FAMILY_AUTO)
        add(w, "--kernel", family_name(general_family(g)));
    if (g->json)
        add(w, "--json", NULL);
    if (g->quiet)
        add(w, "--quiet", NULL);
    int status = command_export(w->n, w->items);
    for (int i = 0; i < w->n; i++)
        mem_free(w->items[i]);
    return status;
}

/* The storage of the fused model: of a base in MLX's quantised form, the same again, unless --dequantize. NULL: the base's. */
static const char *storage_type(const struct fuse_args *a)
{
    struct model_source s;
    struct gm_error none = {0};
    const char *type = NULL;
    if (!a->dequantize && model_source_open_tokenizer(&s, a->model, &none)) {
        const json_t *q = s.config ? json_object_get(s.config, "quantization") : NULL;
        if (json_is_object(q))
            type = json_integer_value(json_object_get(q, "bits")) == 8 ? "mlx8" : "mlx4";
        model_source_close(&s);
    }
    return type;
}

/* mlx-lm writes over what it wrote before. A folder that no export made stays. */
static bool may_replace(const char *folder)
{
    char *proof = path_join(folder, "proof.json");
    bool ours = file_exists(proof);
    mem_free(proof);
    return ours;
}

static int run(const struct fuse_args *a, const struct general *g)
{
    struct words w = {0};
    const char *type = storage_type(a);
    add(&w, "--model", a->model);
    if (*a->adapter_path)
        add(&w, "--adapter", a->adapter_path);
    add(&w, "--to", "safetensors");
    add(&w, "--out", a->save_path);
    if (type)
        add(&w, "--type", type);
    if (may_replace(a->save_path))
        add(&w, "--force", NULL);
    int status = export_with(&w, g);
    if (status != EXIT_DONE || !a->export_gguf)
        return status;
    char *gguf = path_join(a->save_path, a->gguf_path);
    struct words second = {0};
    add(&second, "--model", a->model);
    if (*a->adapter_path)
        add(&second, "--adapter", a->adapter_path);
    add(&second, "--to", "gguf");
    add(&second, "--type", "f16");
    add(&second, "--out", gguf);
    mem_free(gguf);
    return export_with(&second, g);
}

int command_fuse(int argc, char **argv)
{
    struct general g = {0};
    struct fuse_args a = {.model = "mlx_model", .adapter_path = "adapters", .save_path = "fused_model", .gguf_path = "ggml-model-f16.gguf"};
    int status;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &a.model, "MODEL", "the base; default mlx_model", 0, 0, NULL, NULL},
        {"--adapter-path", ARG_TEXT, &a.adapter_path, "ADAPTER", "folder of the adapter, or a run; default adapters", 0, 0, NULL, NULL},
        {"--save-path", ARG_TEXT, &a.save_path, "FOLDER", "where the fused model goes; default fused_model", 0, 0, NULL, NULL},
        {"--dequantize", ARG_FLAG, &a.dequantize, NULL, "in bf16, whatever the base is stored in", 0, 0, NULL, NULL},
        {"--export-gguf", ARG_FLAG, &a.export_gguf, NULL, "a GGUF in f16, too", 0, 0, NULL, NULL},
        {"--gguf-path", ARG_TEXT, &a.gguf_path, "FILE", "its name in the folder; default ggml-model-f16.gguf", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "fuse", .positional = "", .table = table, .mlx_lm = true,
                            .summary = "mlx-lm's `mlx_lm.fuse`: a model with its adapter inside, written and proved by `export`."};
    return cli_begin(&spec, argc, argv, &g, &status) ? run(&a, &g) : status;
}
