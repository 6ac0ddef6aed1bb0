/* export.c - `gemmaiku export`. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/export/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct bar {
    const struct general *general;
    bool open;
};

static void show_progress(void *arg, double share, const char *what)
{
    struct bar *bar = arg;
    if (bar->general->quiet || bar->general->plain || !isatty(2))
        return;
    struct str clean = {0};
    text_clean(&clean, what, strlen(what), false, false);
    fprintf(stderr, "\r%3.0f %%  %-60.60s", 100 * share, str_text(&clean));
    fflush(stderr);
    bar->open = true;
    str_free(&clean);
}

static json_t *result_json(const struct export_request *r, const struct export_result *p)
{
    json_t *proof = json_object(), *o = json_object();
    json_object_set_new(proof, "positions", json_integer(p->positions));
    json_object_set_new(proof, "max_logit_difference", json_real(p->max_logit_difference));
    json_object_set_new(proof, "mean_kl", json_real(p->mean_kl));
    json_object_set_new(proof, "max_kl", json_real(p->max_kl));
    json_object_set_new(proof, "greedy_agreement", json_real(p->greedy_agreement));
    json_object_set_new(o, "to", json_string(export_to_name(r->to)));
    json_object_set_new(o, "out", json_text(r->out));
    json_object_set_new(o, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(o, "proof", proof);
    return o;
}

static bool run(struct export_request *r, struct session *s, const struct general *g, struct gm_error *err)
{
    struct bar bar = {.general = g};
    struct export_result result;
    r->model = s->model;
    r->lora = s->lora;
    r->tokenizer = s->tokenizer;
    r->template_text = s->tpl ? chat_template_text(s->tpl) : NULL;
    r->model_name = s->model_name;
    r->progress = show_progress;
    r->arg = &bar;
    atomic_bool cancel = false;
    r->cancel = &cancel;
    signals_install(); /* nothing half written stays behind */
    signals_on_interrupt(&cancel);
    bool ok = export_run(r, &s->compute, &result, err);
    signals_on_interrupt(NULL);
    r->cancel = NULL;
    if (bar.open)
        fputs("\r\033[K", stderr);
    if (!ok && dir_exists(r->out) && !r->force)
        error_remedy(err, "choose another --out, or --force to replace it");
    if (!ok)
        return false;
    if (g->json) {
        cli_print_json(result_json(r, &result));
    } else {
        cli_print_clean(r->out, strlen(r->out));
        printf("  %.1f MB\n", (double)result.bytes / 1e6);
        cli_note(g, "proved: read back, %lld positions, greatest logit difference %.3g, mean KL %.3g, same best token at %.1f %%",
                 (long long)result.positions, result.max_logit_difference, result.mean_kl, 100 * result.greedy_agreement);
    }
    return true;
}

static bool parse_target(struct export_request *r, const char *to, const char *type, struct gm_error *err)
{
    if (!to)
        return error_set(err, GM_E_USAGE, "read command line: export needs --to mlx, peft or safetensors");
    if (!export_to_parse(to, &r->to))
        return error_set(err, GM_E_UNSUPPORTED, "export to %s: it is not supported yet (mlx, peft and safetensors are)", to);
    r->type = DT_COUNT;
    if (!type)
        return true;
    if (strcmp(type, "f32") == 0)
        r->type = DT_F32;
    else if (strcmp(type, "f16") == 0)
        r->type = DT_F16;
    else if (strcmp(type, "bf16") == 0)
        r->type = DT_BF16;
    else
        return error_set(err, GM_E_UNSUPPORTED, "export as %s: it is not supported yet (f32, f16 and bf16 are)", type);
    return true;
}

int command_export(int argc, char **argv)
{
    struct general g = {0};
    const char *model = NULL, *adapter = NULL, *to = NULL, *type = NULL, *chat_template = NULL;
    struct export_request r = {0};
    int status;
    const struct arg table[] = {
        {"--adapter", ARG_TEXT, &adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--model", ARG_TEXT, &model, "MODEL", "the base; default: the run's", 0, 0, NULL, NULL},
        {"--to", ARG_TEXT, &to, "mlx|peft|safetensors", "adapter for mlx-lm, adapter for PEFT, or the fused model as a Hugging Face folder", 0, 0, NULL, NULL},
        {"--type", ARG_TEXT, &type, "f32|f16|bf16", "of a fused model (an adapter is always f32); default the base's, bf16 if that is quantised", 0, 0, NULL, NULL},
        {"--chat-template", ARG_TEXT, &chat_template, "NAME|FILE", "another template than the model's", 0, 0, NULL, NULL},
        {"--out", ARG_TEXT, &r.out, "FOLDER", "where to write", 0, 0, NULL, NULL},
        {"--force", ARG_FLAG, &r.force, NULL, "replace what is there", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "export", .positional = "[RUN]", .table = table, .max_words = 1,
                            .summary = "Writes an adapter or a fused model for other programs, reads it back and proves that it says the same."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    if (!adapter && spec.n_words)
        adapter = spec.words[0];
    bool ok = parse_target(&r, to, type, &err);
    if (ok && !r.out)
        ok = error_set(&err, GM_E_USAGE, "read command line: export needs --out FOLDER");
    if (ok && !adapter && !model)
        ok = error_set(&err, GM_E_USAGE, "read command line: export needs --adapter or --model");
    if (ok && r.to != EXPORT_SAFETENSORS && r.type != DT_COUNT && r.type != DT_F32)
        ok = error_set(&err, GM_E_USAGE, "read command line: --type %s is for a fused model; an adapter is written in f32 (leave it out, or --to safetensors)", type);
    struct session s;
    struct session_options o = {.model = model, .adapter = adapter, .chat_template = chat_template, .needs_template = chat_template != NULL,
                                .needs_weights = true};
    if (ok && (ok = session_open(&s, &o, &g, &err))) {
        struct gm_error none = {0};
        if (!s.tpl) /* goes along where the model has one that is known */
            s.tpl = chat_template_open(s.source, s.tokenizer, s.chat_template, &none);
        ok = run(&r, &s, &g, &err);
        session_close(&s);
    }
    if (!ok && err.code == GM_E_CANCELLED && signals_caught())
        return cli_end(signals_exit(signals_caught()));
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
