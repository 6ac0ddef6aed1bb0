/* origin.c - what an adapter in training says of where it comes from (struct lora_origin). Files of equal runs are equal to the byte, so the
 * run's name is not among it: its id stands for everything that decides the weights. */
#include "engine/train/run_files.h"
#include "engine/train/trainer_private.h"

#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

static void hash_text(char hex[65], const char *text)
{
    hex[0] = 0;
    if (text && *text)
        sha256_bytes(text, strlen(text), hex);
}

/* Options without names (the hashes stand for what they named) and without what only looks on. */
static void make_id(const struct train_options *o, const struct lora_origin *from, char *id, size_t size)
{
    static const char *const others[] = {"run", "model", "data", "system", "chat_template", "resume_adapter_file", "iters", "epochs",
                                         "steps_per_report", "steps_per_eval", "val_batches", "save_every", "sample_every", "samples_per_temp",
                                         "sample_max_tokens", "sample_temps", "early_stop", "grad_checkpoint", "memory_budget", "recompute_layers"};
    json_t *j = json_object(), *options = train_options_to_json(o);
    char hex[65];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        json_object_del(options, others[i]);
    json_object_set_new(j, "options", options);
    json_object_set_new(j, "base", json_string(from->base_sha256));
    json_object_set_new(j, "data", json_string(from->data_sha256));
    json_object_set_new(j, "template", json_string(from->template_sha256));
    json_object_set_new(j, "system", json_string(from->system_sha256));
    json_object_set_new(j, "parent", json_string(from->parent_sha256));
    char *line = json_line(j);
    sha256_bytes(line, strlen(line), hex);
    snprintf(id, size, "%.32s", hex);
    mem_free(line);
    json_decref(j);
}

void trainer_set_origin(struct trainer *t, const struct run_origin *run)
{
    if (!t->lora)
        return;
    struct lora_origin *o = &t->lora->origin; /* parent_sha256 is there already */
    text_clean_fixed(o->base, sizeof o->base, t->o.model, strlen(t->o.model));
    model_source_fingerprint(t->source, o->base_fingerprint);
    memcpy(o->base_sha256, run->model_sha256, sizeof o->base_sha256);
    memcpy(o->data_sha256, run->data_sha256, sizeof o->data_sha256);
    hash_text(o->template_sha256, t->tpl ? chat_template_text(t->tpl) : NULL);
    hash_text(o->system_sha256, t->o.system);
    snprintf(o->program, sizeof o->program, "gemmaiku " GM_VERSION);
    make_id(&t->o, o, o->run_id, sizeof o->run_id);
}
