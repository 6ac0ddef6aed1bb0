/* session.c - opens a model with tokenizer, template, adapter and the means to compute. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/run.h"

#include <string.h>

static char *copy_or_null(const char *text)
{
    return text ? mem_copy(text) : NULL;
}

/* What a run was trained with: the model, for those who name the run only, its system message and its template. */
static bool read_run(struct session *s, const char *checkpoint, char **model, struct lora_origin *origin, struct gm_error *err)
{
    char *up = path_join(checkpoint, "../..");
    struct run_info info;
    bool ok = run_info_open(&info, up, err);
    s->run_dir = up;
    if (!ok)
        return false;
    text_clean_fixed(origin->run, sizeof origin->run, info.name, strlen(info.name));
    const char *name = NULL, *system = NULL, *template = NULL, *variables = NULL;
    json_t *options = json_object_get(info.json, "options");
    ok = json_get_string(options, "model", REQUIRED, &name, err) && json_get_string(options, "system", OPTIONAL, &system, err)
         && json_get_string(options, "chat_template", OPTIONAL, &template, err)
         && json_get_string(options, "chat_template_config", OPTIONAL, &variables, err);
    if (ok) {
        if (!*model)
            *model = mem_copy(name);
        s->system = copy_or_null(system);
        s->chat_template = copy_or_null(template);
        s->chat_template_config = copy_or_null(variables);
    }
    run_info_free(&info);
    return ok;
}

static bool open_adapter(struct session *s, const struct session_options *o, char **model, struct gm_error *err)
{
    bool is_run = false;
    struct lora_origin from = {0};
    char *path = run_adapter_path(cli_runs_root(), o->adapter, &is_run, &s->step, err);
    if (!path)
        return false;
    bool ok = !is_run || read_run(s, path, model, &from, err);
    char *full = path_join(path, "model.safetensors");
    bool is_model = ok && is_run && file_exists(full);
    if (ok)
        s->adapter_name = mem_copy(o->adapter);
    if (is_model) { /* full fine-tuning: the checkpoint is the model */
        mem_free(*model);
        *model = mem_copy(path);
    } else if (ok && !*model) {
        ok = error_set(err, GM_E_USAGE, "open adapter %s: the model is not told (give --model)", o->adapter);
    }
    mem_free(full);
    if (ok && !is_model) {
        s->model = model_open(*model, err);
        ok = s->model && (s->lora = lora_load_for(path, o->adapter, *model, &s->model->config, err));
        if (ok && is_run) /* it may leave its run now */
            memcpy(s->lora->origin.run, from.run, sizeof from.run);
    }
    mem_free(path);
    return ok;
}

bool session_template(struct session *s, const struct session_options *o, struct gm_error *err)
{
    const char *template = o->chat_template ? o->chat_template : s->chat_template;
    const char *variables = o->chat_template_config ? o->chat_template_config : s->chat_template_config;
    s->tpl = chat_template_open(s->source, s->tokenizer, template, err);
    return s->tpl && (!variables || chat_template_set_variables(s->tpl, variables, err));
}

bool session_open(struct session *s, const struct session_options *o, const struct general *g, struct gm_error *err)
{
    *s = (struct session){0};
    char *model = o->model ? mem_copy(o->model) : NULL;
    bool ok = true;
    if (o->adapter)
        ok = open_adapter(s, o, &model, err);
    if (!model)
        model = mem_copy("nano");
    if (ok && o->needs_weights) {
        if (!s->model)
            s->model = model_open(model, err);
        ok = s->model != NULL;
        if (ok)
            s->source = s->model->source;
    } else if (ok) {
        s->source = mem_new(1, sizeof *s->source);
        s->owns_source = true;
        ok = model_source_open_tokenizer(s->source, model, err);
        if (!ok) {
            mem_free(s->source);
            s->source = NULL;
        }
    }
    ok = ok && (o->no_text || (s->tokenizer = s->model ? model_tokenizer(s->model, s->source, model, err) : tokenizer_open(s->source, err)));
    struct gm_error refused = {0};
    if (ok && (o->needs_template || o->chat_template_config) && !session_template(s, o, &refused) && (o->needs_template || s->tpl)) {
        ok = false; /* a template that is not needed may be missing, but not be given nonsense */
        if (err)
            *err = refused;
    }
    ok = ok && (s->syllables = syllables_open(err));
    if (ok && o->needs_weights)
        ok = (s->pool = pool_new(g->threads, err)) && compute_init(&s->compute, s->pool, GM_TASTE, general_mode(g), general_family(g), err);
    if (ok && s->lora && o->needs_weights) {
        struct str why = {0};
        lora_bind(s->lora, s->model, &s->compute);
        if (!lora_fits(s->lora, s->source, &why))
            cli_note(g, "warning: %s", str_text(&why));
        str_free(&why);
    }
    for (int i = 0; ok && s->model && i < s->model->n_notes; i++)
        cli_note(g, "%s: %s", model, s->model->notes[i]);
    s->model_name = model;
    if (!s->adapter_name)
        s->adapter_name = mem_copy("base");
    if (!ok)
        session_close(s);
    return ok;
}

void session_close(struct session *s)
{
    compute_free(&s->compute);
    pool_free(s->pool);
    lora_free(s->lora);
    syllables_free(s->syllables);
    chat_template_free(s->tpl);
    tokenizer_free(s->tokenizer);
    if (s->owns_source && s->source) {
        model_source_close(s->source);
        mem_free(s->source);
    }
    model_free(s->model);
    mem_free(s->model_name);
    mem_free(s->adapter_name);
    mem_free(s->run_dir);
    mem_free(s->system);
    mem_free(s->chat_template);
    mem_free(s->chat_template_config);
    *s = (struct session){0};
}

bool session_prompt(const struct session *s, const char *system, const char *prompt, bool raw, struct id_list *ids, struct gm_error *err)
{
    if (raw)
        return tokenizer_encode(s->tokenizer, prompt, strlen(prompt), TOKENIZE_ADD_SPECIAL | TOKENIZE_LITERAL, ids, err);
    struct chat_message messages[2];
    size_t n = 0;
    if (!system)
        system = s->system;
    if (system && *system)
        messages[n++] = (struct chat_message){"system", system};
    messages[n++] = (struct chat_message){"user", prompt};
    return chat_encode(s->tpl, s->tokenizer, messages, n, true, ids, NULL, err);
}

json_t *session_generated_json(const struct session *s, const struct generated *r, const char *prompt)
{
    struct generated named = *r;
    named.prompt_text = prompt;
    named.adapter = s->adapter_name;
    named.step = s->step;
    return generated_json(&named);
}
