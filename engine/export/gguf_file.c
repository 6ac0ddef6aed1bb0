/* gguf_file.c - a fused model, or an adapter, as one GGUF file for llama.cpp and what is built on it (ggml, docs/gguf.md).
 *
 * What the architecture is comes from the model room, the vocabulary and the template from the text room; here: what the file is called and holds.
 */
#include "engine/export/plan.h"

#include "engine/base/mem.h"
#include "engine/export/card.h"
#include "engine/format/gguf_write.h"
#include "engine/format/hub_cache.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { QUANTIZATION_VERSION = 2 };

/* llama.cpp's numbers of whole files' types. */
static uint32_t file_type(enum export_type type)
{
    switch (type) {
    case EXPORT_F32:
        return 0;
    case EXPORT_F16:
        return 1;
    case EXPORT_Q4_0:
        return 2;
    case EXPORT_Q8_0:
        return 7;
    case EXPORT_Q4_K_M:
        return 15;
    default:
        return 32; /* BF16 */
    }
}

/* "135M", "1.1B": as model names have it. */
static void size_label(int64_t parameters, char *out, size_t size)
{
    static const struct { double unit; char letter; } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double v = (double)parameters / units[i].unit;
        if (v >= 1 || units[i].letter == 'K') {
            snprintf(out, size, "%.*f%c", v < 9.95 ? 1 : 0, v, units[i].letter);
            return;
        }
    }
}

/* llama.cpp takes "phi-3" or "phi3" in a name for the sign that special tokens eat the spaces behind them: it has to be there just where they do. */
static char *settle_phi3(char *name, bool strips)
{
    bool found = false;
    for (char *p = name; *p; p++) {
        if (strncasecmp(p, "phi-3", 5) != 0 && strncasecmp(p, "phi3", 4) != 0)
            continue;
        found = true;
        if (!strips)
            p[2] = '1'; /* "Ph1-3" */
    }
    if (found || !strips)
        return name;
    char *with = mem_printf("%s (Phi-3)", name);
    mem_free(name);
    return with;
}

/* The name without folders and ".gguf". */
static char *plain_name(const struct export_request *r)
{
    const char *from = r->model_name && *r->model_name ? r->model_name : r->model->config.family;
    struct str clean = {0};
    char *trimmed = path_trimmed(from);
    text_clean(&clean, path_base(trimmed), strlen(path_base(trimmed)), false, false);
    mem_free(trimmed);
    char *name = str_take(&clean);
    if (strlen(name) > 5 && text_ends(name, ".gguf"))
        name[strlen(name) - 5] = 0;
    return settle_phi3(name, tokenizer_strips_like_phi3(r->tokenizer));
}

void export_put_general(struct gguf_out *g, const struct export_job *j)
{
    const struct export_request *r = &j->r;
    char *name = plain_name(r), label[24];
    char *whole = mem_printf("%s%s", name, r->lora ? " tuned" : "");
    gguf_out_text(g, "general.name", whole);
    size_label(model_config_parameters(&r->model->config), label, sizeof label);
    gguf_out_text(g, "general.size_label", label);
    char *license = card_license(r->model->source);
    if (license && *license)
        gguf_out_text(g, "general.license", license);
    mem_free(license);
    if (r->lora) {
        gguf_out_u32(g, "general.base_model.count", 1);
        gguf_out_text(g, "general.base_model.0.name", name);
        char *repository = r->model_name ? hub_repository(r->model_name) : NULL;
        if (repository) {
            char *owner = mem_copy_n(repository, strcspn(repository, "/")), *address = mem_printf("https://huggingface.co/%s", repository);
            gguf_out_text(g, "general.base_model.0.organization", owner);
            gguf_out_text(g, "general.base_model.0.repo_url", address);
            mem_free(owner);
            mem_free(address);
        }
        mem_free(repository);
    }
    mem_free(name);
    mem_free(whole);
}

bool export_write_gguf(struct export_job *j, const char *file, struct gm_error *err)
{
    const struct export_request *r = &j->r;
    const struct model_config *c = &r->model->config;
    struct plan *p = j->plan;
    struct gguf_out *g = gguf_out_new();
    bool ok = model_config_to_gguf(c, g, err);
    gguf_out_text(g, "general.type", "model");
    export_put_general(g, j);
    gguf_out_u32(g, "general.file_type", file_type(j->type));
    gguf_out_u32(g, "general.quantization_version", QUANTIZATION_VERSION);
    ok = ok && tokenizer_to_gguf(r->tokenizer, c->vocab_size, j->ollama ? j->ollama->add_bos : tokenizer_adds_bos(r->tokenizer),
                                r->tpl ? chat_template_text(r->tpl) : NULL, g, err);
    if (ok && tokenizer_gguf_caveat(r->tokenizer))
        export_note(j, "%s", tokenizer_gguf_caveat(r->tokenizer));
    for (size_t i = 0; ok && i < p->n; i++) {
        struct tensor_out t = plan_tensor_out(&p->tensors[i]);
        gguf_out_tensor(g, &t);
    }
    ok = ok && gguf_write(g, file, err);
    gguf_out_free(g);
    return ok;
}

bool export_check_gguf(struct export_job *j, const char *file, struct gm_error *err)
{
    struct plan *p = j->plan;
    struct gguf written;
    if (!gguf_open(&written, file, err))
        return false;
    bool ok = (size_t)written.n_tensors == p->n
              || error_set(err, GM_E_CHECK, "it holds %d tensors, not %zu", written.n_tensors, p->n);
    for (size_t i = 0; ok && i < p->n; i++)
        ok = plan_check(&p->tensors[i], gguf_find(&written, p->tensors[i].name), err);
    gguf_close(&written);
    return ok;
}
