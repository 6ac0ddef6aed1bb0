/* export.c - `gemmaiku export`. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/export/export.h"
#include "src/cli/export_all.h"

#include <stdio.h>
#include <string.h>

#define TARGETS "mlx|peft|gguf-lora|safetensors|gguf|ollama|all"
#define TYPES "f32|f16|bf16|q8_0|q4_0|q4_k_m|mlx4|mlx8"

static void show_progress(void *general, double share, const char *what)
{
    cli_share(general, share, what);
}

static json_t *result_json(const struct export_request *r, const struct export_result *p)
{
    json_t *proof = json_object(), *o = json_object(), *notes = json_array();
    json_object_set_new(proof, "sequences", json_integer(p->sequences));
    json_object_set_new(proof, "positions", json_integer(p->positions));
    json_object_set_new(proof, "max_logit_difference", json_real(p->max_logit_difference));
    json_object_set_new(proof, "mean_kl", json_real(p->mean_kl));
    json_object_set_new(proof, "max_kl", json_real(p->max_kl));
    json_object_set_new(proof, "greedy_agreement", json_real(p->greedy_agreement));
    if (r->to == EXPORT_OLLAMA)
        json_object_set_new(proof, "prompts_verified", json_integer(p->prompts_verified));
    json_object_set_new(o, "to", json_string(export_target(r->to)->name));
    json_object_set_new(o, "type", json_string(export_target(r->to)->whole_model ? export_storage(export_type_for(r->model, r->type))->name : "f32"));
    json_object_set_new(o, "out", json_text(r->out));
    json_object_set_new(o, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(o, "proof", proof);
    for (int i = 0; i < p->n_notes; i++)
        json_array_append_new(notes, json_text(p->notes[i]));
    json_object_set_new(o, "notes", notes);
    return o;
}

static void print_result(const struct export_request *r, const struct export_result *p, const struct general *g)
{
    if (g->json) {
        cli_print_json(result_json(r, p));
        return;
    }
    cli_print_clean(r->out, strlen(r->out));
    printf("  %.1f MB\n", (double)p->bytes / 1e6);
    for (int i = 0; i < p->n_notes; i++)
        cli_note(g, "note: %s", p->notes[i]);
    cli_note(g, "proved: read back, %d sequences, %lld positions, greatest logit difference %.3g, mean KL %.3g, greatest %.3g, same best token at %.1f %%",
             p->sequences, (long long)p->positions, p->max_logit_difference, p->mean_kl, p->max_kl, 100 * p->greedy_agreement);
    if (r->to == EXPORT_OLLAMA)
        cli_note(g, "Modelfile: the ids of %d conversations are those of the training", p->prompts_verified);
}

struct asked { /* what --to all wants to know besides */
    bool all;
    const char *data;
    int answers;
};

static bool run_one(struct export_request *r, struct session *s, const struct general *g, struct gm_error *err)
{
    struct export_result result;
    bool ok = export_run(r, &s->compute, &result, err);
    cli_share_end();
    if (ok)
        print_result(r, &result, g);
    export_result_free(&result);
    return ok;
}

static bool run(struct export_request *r, struct session *s, const struct asked *asked, struct general *g, struct gm_error *err)
{
    r->model = s->model;
    r->lora = s->lora;
    r->tokenizer = s->tokenizer;
    r->tpl = s->tpl;
    r->system = s->system;
    r->model_name = s->model_name;
    r->run_dir = s->run_dir;
    r->step = s->step;
    r->progress = show_progress;
    r->arg = g;
    atomic_bool cancel = false;
    r->cancel = &cancel;
    signals_install(); /* nothing half written stays behind */
    signals_on_interrupt(&cancel);
    bool ok = asked->all ? cli_export_all(r, s, asked->data, asked->answers, g, err) : run_one(r, s, g, err);
    signals_on_interrupt(NULL);
    r->cancel = NULL;
    cli_share_end();
    if (!ok && path_exists(r->out) && !r->force)
        error_remedy(err, "choose another --out, or --force to replace it");
    return ok;
}

static bool parse_target(struct export_request *r, const char *to, const char *type, struct gm_error *err)
{
    if (!to)
        return error_set(err, GM_E_USAGE, "read command line: export needs --to (" TARGETS ")");
    if (strcmp(to, "all") == 0)
        r->to = EXPORT_SAFETENSORS; /* whose type --type is */
    else if (!export_to_parse(to, &r->to))
        return error_set(err, GM_E_USAGE, "read command line: --to %s is not known (" TARGETS ")", to);
    r->type = EXPORT_AS_BASE;
    if (type && !export_type_parse(type, &r->type))
        return error_set(err, GM_E_USAGE, "read command line: --type %s is not known (" TYPES ")", type);
    if (type && strcmp(to, "all") == 0 && !(export_target(r->to)->types >> r->type & 1))
        return error_set(err, GM_E_USAGE, "read command line: --to all takes --type for its safetensors folder, which is never %s (leave it out)", type);
    if (type && !export_target(r->to)->whole_model && r->type != EXPORT_F32)
        return error_set(err, GM_E_USAGE, "read command line: --type %s is for a fused model; an adapter is written in f32 (leave it out, or --to safetensors)",
                         type);
    return true;
}

int command_export(int argc, char **argv)
{
    struct general g = {0};
    const char *model = NULL, *adapter = NULL, *to = NULL, *type = NULL, *chat_template = NULL, *template_config = NULL;
    struct sampling sampling = sampling_default();
    struct export_request r = {0};
    struct asked asked = {0};
    int status;
    const struct arg table[] = {
        {"--adapter", ARG_TEXT, &adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--model", ARG_TEXT, &model, "MODEL", "the base; default: the run's", 0, 0, NULL, NULL},
        {"--to", ARG_TEXT, &to, TARGETS, "adapter for mlx-lm, PEFT or llama.cpp; fused model as a Hugging Face (or MLX) folder, a GGUF file, or a folder for Ollama with its Modelfile; all: every form, and what each costs", 0, 0, NULL, NULL},
        {"--type", ARG_TEXT, &type, TYPES, "of a fused model (an adapter is always f32): q... for gguf and ollama, mlx... for safetensors; default the base's, bf16 if that is quantised", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(chat_template, template_config),
        {"--out", ARG_TEXT, &r.out, "PATH", "where to write: a folder, or the .gguf file", 0, 0, NULL, NULL},
        {"--data", ARG_TEXT, &asked.data, "DATA", "--to all: loss and form are measured on its validation rows; default: the run's", 0, 0, NULL, NULL},
        {"-n", ARG_INT, &asked.answers, "N", "--to all: at least N answers; default one a row", 0, 1e6, NULL, NULL},
        {"--system", ARG_TEXT, &r.system_line, "TEXT", "--to ollama: the SYSTEM line; default what the run was trained with, and another one is warned about", 0, 0, NULL, NULL},
        CLI_CHOOSING_ARGS(sampling),
        {"--force", ARG_FLAG, &r.force, NULL, "replace what is there", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "export", .positional = "[RUN]", .table = table, .max_words = 1,
                            .summary = "Writes an adapter or a fused model for other programs, reads it back and proves that it says the same. "
                                       "--temp and the other sampling options go into the Modelfile of --to ollama."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    if (!adapter && spec.n_words)
        adapter = spec.words[0];
    bool ok = parse_target(&r, to, type, &err);
    if (ok && !r.out)
        ok = error_set(&err, GM_E_USAGE, "read command line: export needs --out PATH");
    if (ok && !adapter && !model)
        ok = error_set(&err, GM_E_USAGE, "read command line: export needs --adapter or --model");
    struct session s;
    struct session_options o = {.model = model, .adapter = adapter, .chat_template = chat_template,
                                .chat_template_config = template_config, .needs_template = chat_template != NULL,
                                .needs_weights = true};
    if (ok && (ok = session_open(&s, &o, &g, &err))) {
        struct gm_error none = {0};
        if (!s.tpl) /* goes along where the model has one that is known */
            session_template(&s, &o, &none);
        r.sampling = &sampling;
        asked.all = strcmp(to, "all") == 0;
        ok = run(&r, &s, &asked, &g, &err);
        session_close(&s);
    }
    if (!ok && err.code == GM_E_CANCELLED && signals_caught()) {
        cli_note(&g, "stopped: nothing of %s is kept", r.out);
        return cli_end(signals_exit(signals_caught()));
    }
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
