/* lora_gguf.c - GGUF LoRA files, as llama.cpp's converter writes them: general.type "adapter", adapter.type "lora", one alpha for all;
 * what multiplies B A is alpha / rank of the tensor, or 1 where alpha is 0. */
#include "engine/model/lora_private.h"

#include "engine/base/mem.h"
#include "engine/model/model_items.h"

#include <stdio.h>
#include <string.h>

bool lora_gguf_name(const struct lora_reading *r, const char *name, int *index, char *half)
{
    int layer = 0, used = 0;
    if (sscanf(name, "blk.%4d.%n", &layer, &used) != 1 || used == 0 || layer < 0 || layer >= r->config->n_layers)
        return false;
    const char *rest = name + used;
    struct module modules[MODULE_COUNT_MAX];
    int n_modules = model_modules(r->config, modules);
    for (int k = 0; k < n_modules; k++) {
        size_t n = strlen(modules[k].gguf);
        if (strncmp(rest, modules[k].gguf, n) != 0)
            continue;
        bool a = strcmp(rest + n, ".weight.lora_a") == 0;
        if (!a && strcmp(rest + n, ".weight.lora_b") != 0)
            continue;
        *index = layer * PROJ_COUNT + (int)modules[k].first;
        *half = a ? 'a' : 'b';
        return true;
    }
    return false;
}

int64_t lora_gguf_row(const struct model_config *c, enum proj p, int64_t o)
{
    int heads = item_turned_heads(c, p);
    return heads > 0 ? item_turned_row(o, (int64_t)heads * c->head_dim, heads) : o;
}

bool lora_gguf_check(const struct lora_reading *r, const struct gguf *g, struct gm_error *err)
{
    struct gguf_text type = {"", 0}, kind = {"", 0}, architecture = {"", 0};
    if (!gguf_string(g, "general.type", OPTIONAL, &type, err) || !gguf_string(g, "adapter.type", OPTIONAL, &kind, err) ||
        !gguf_string(g, "general.architecture", REQUIRED, &architecture, err))
        return false;
    if (!gguf_text_is(type, "adapter"))
        return error_set(err, GM_E_INPUT, "it is a model, not an adapter: \"general.type\" is \"%.*s\" (name it with --model)",
                         (int)(type.len < 40 ? type.len : 40), type.data);
    if (!gguf_text_is(kind, "lora"))
        return error_set(err, GM_E_UNSUPPORTED, "\"adapter.type\" is \"%.*s\", which is not supported (known: lora)",
                         (int)(kind.len < 40 ? kind.len : 40), kind.data);
    if (!gguf_text_is(architecture, model_config_architecture(r->config)))
        return error_set(err, GM_E_INPUT, "it is for \"%.*s\", the model is \"%s\"", (int)(architecture.len < 40 ? architecture.len : 40),
                         architecture.data, model_config_architecture(r->config));
    if (gguf_has(g, "adapter.alora.invocation_tokens"))
        return error_set(err, GM_E_UNSUPPORTED, "\"adapter.alora.invocation_tokens\" is not supported (adapters that wait for a call)");
    return true;
}

bool lora_gguf_scale(struct lora_reading *r, const struct gguf *g, struct gm_error *err)
{
    double alpha = 0;
    if (!gguf_f64(g, "adapter.lora.alpha", OPTIONAL, -1e9, 1e9, &alpha, err))
        return false;
    if (alpha != 0) {
        lora_scale_parts(r, NULL, alpha);
    } else {
        r->options.scale = 1;
        r->options.alpha = (float)r->options.rank;
    }
    return true;
}
