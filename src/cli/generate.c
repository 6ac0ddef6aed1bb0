/* generate.c - `gemmaiku generate`: n samples of one prompt in one batch, each with its verdict. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

struct generate_args {
    const char *model, *adapter, *prompt, *system, *chat_template, *template_config, *form;
    struct sampling sampling;
    struct text_list prompts, stops;
    int n, packed, head;
    bool raw;
};

struct stream {
    int shown; /* the request that streams to stdout; -1: none */
};

static void show_text(void *arg, int request, const char *bytes, size_t n)
{
    const struct stream *stream = arg;
    if (request != stream->shown)
        return;
    cli_print_clean(bytes, n);
    fflush(stdout);
}

static void print_verdict(const struct general *g, const struct generated *r)
{
    struct str counts = {0};
    cli_counts(&counts, &r->verdict);
    cli_note(g, "[seed %llu  temp %g  %d token%s%s  %.2f s  %s  %s]", (unsigned long long)r->seed, (double)r->temperature, r->n_tokens, r->n_tokens == 1 ? "" : "s",
             r->stop == STOP_LENGTH ? ", cut" : "", r->seconds, counts.len ? str_text(&counts) : "no line", cli_verdict_word(&r->verdict));
    str_free(&counts);
}

static bool run(const struct generate_args *a, const struct general *g, struct session *s, struct gm_error *err)
{
    struct id_list ids = {0};
    int32_t stop_ids[8];
    if (!session_prompt(s, a->system, a->prompt, a->raw, &ids, err))
        return false;
    int n_stop = s->tpl ? (int)chat_stop_ids(s->tpl, s->tokenizer, stop_ids) : 0;
    if (n_stop == 0 && tokenizer_eos(s->tokenizer) >= 0)
        stop_ids[n_stop++] = tokenizer_eos(s->tokenizer);
    struct generate_request *requests = mem_new((size_t)a->n, sizeof *requests);
    struct generated *results = mem_new((size_t)a->n, sizeof *results);
    for (int i = 0; i < a->n; i++) {
        requests[i] = (struct generate_request){.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = s->lora, .sampling = a->sampling,
                                                .stop_ids = stop_ids, .n_stop_ids = n_stop, .stop_strings = a->stops.items,
                                                .n_stop_strings = a->stops.n};
        requests[i].sampling.seed = a->sampling.seed + (uint64_t)i;
    }
    int places = a->n < 16 ? a->n : 16;
    struct stream stream = {.shown = !g->json && a->n == 1 ? 0 : -1};
    struct generate_hooks hooks = {.text = show_text, .arg = &stream};
    struct generator *gen = generator_new(s->model, s->tokenizer, places, (int)ids.n + a->sampling.max_tokens + 1, &s->compute, err);
    bool ok = gen != NULL;
    if (ok) {
        generator_judge(gen, s->syllables, form_find(a->form));
        generator_packing(gen, a->packed);
        generator_int8_head(gen, a->head == 1);
        ok = generator_run(gen, &s->compute, requests, a->n, results, &hooks, err);
    }
    for (int i = 0; ok && i < a->n; i++) {
        if (g->json) {
            cli_print_json(session_generated_json(s, &results[i], a->prompt));
        } else {
            if (stream.shown < 0)
                cli_print_clean(results[i].text, strlen(results[i].text));
            printf("\n%s", i + 1 < a->n ? "\n" : "");
            fflush(stdout);
            print_verdict(g, &results[i]);
        }
        generated_free(&results[i]);
    }
    if (gen && generator_packed_bytes(gen) > 0 && g->json == false)
        cli_note(g, "[weights packed a second time: %.0f MB]", (double)generator_packed_bytes(gen) / 1e6);
    if (gen && generator_int8_bytes(gen) > 0 && g->json == false)
        cli_note(g, "[int8 head: %.0f MB]", (double)generator_int8_bytes(gen) / 1e6);
    generator_free(gen);
    mem_free(requests);
    mem_free(results);
    id_list_free(&ids);
    return ok;
}

int command_generate(int argc, char **argv)
{
    struct general g = {0};
    struct generate_args a = {.sampling = sampling_default(), .n = 1, .packed = -1, .form = "haiku"};
    int status;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &a.model, "MODEL", "folder, .gguf, hub id in the cache, or nano (default; with RUN as adapter: the run's)", 0, 0, NULL, NULL},
        {"--adapter", ARG_TEXT, &a.adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--prompt", ARG_TEXTS, &a.prompts, "TEXT", "the prompt; - reads standard input", 0, 0, NULL, NULL},
        {"--system", ARG_TEXT, &a.system, "TEXT", "system message", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(a.chat_template, a.template_config),
        CLI_SAMPLING_ARGS(a.sampling),
        {"--stop", ARG_TEXTS, &a.stops, "TEXT", "end the answer before this text; may come more than once", 0, 0, NULL, NULL},
        {"-n", ARG_INT, &a.n, "N", "samples, with seeds from --seed upwards", 1, 10000, NULL, NULL},
        CLI_PACKED_ARG(a.packed),
        CLI_HEAD_ARG(a.head),
        {"--form", ARG_TEXT, &a.form, "NAME", "form to judge by", 0, 0, NULL, NULL},
        {"--raw", ARG_FLAG, &a.raw, NULL, "no chat template: go on with the prompt as it stands", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "generate", .positional = "[PROMPT]", .table = table, .max_words = 1, .mlx_lm = true, .summary = "Text from a prompt."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    struct str text = {0};
    bool ok = sampling_check(&a.sampling, &err);
    const int told = a.prompts.n + spec.n_words;
    a.sampling.seed = g.seed;
    if (told > 0)
        a.prompt = spec.n_words > 0 ? spec.words[0] : a.prompts.items[0];
    if (ok && told > 1)
        ok = error_set(&err, GM_E_USAGE, "read command line: generate takes one prompt, and %d are told (leave one out)", told);
    if (ok && told == 0)
        ok = error_set(&err, GM_E_USAGE, "read command line: generate needs a prompt (--prompt TEXT; --prompt - reads it from standard input)");
    if (ok && !form_find(a.form))
        ok = error_set(&err, GM_E_USAGE, "find form %s: there is none of this name (haiku and tanka are known)", a.form);
    if (ok && strcmp(a.prompt, "-") == 0) {
        ok = cli_read_stdin(&text, 16 << 20, &err);
        a.prompt = str_text(&text);
    }
    if (ok && !utf8_valid(a.prompt, strlen(a.prompt)))
        ok = error_set(&err, GM_E_INPUT, "read prompt: it is not valid UTF-8");
    struct session s = {0};
    struct session_options o = {.model = a.model, .adapter = a.adapter, .chat_template = a.chat_template,
                                .chat_template_config = a.template_config, .needs_template = !a.raw, .needs_weights = true};
    if (ok && session_open(&s, &o, &g, &err)) {
        ok = run(&a, &g, &s, &err);
        session_close(&s);
    } else {
        ok = false;
    }
    str_free(&text);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
