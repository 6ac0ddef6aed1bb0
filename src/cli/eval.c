/* eval.c - `gemmaiku eval`. */
#include "src/cli/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void print_evaluation(const struct evaluation *e)
{
    double low, high;
    printf("loss        %.4f nats per token over %lld supervised tokens of %d rows\nperplexity  %.3f\n", e->loss, (long long)e->tokens, e->rows,
           exp(e->loss));
    if (e->bytes > 0)
        printf("bits/byte   %.4f over %lld bytes\n", e->loss * (double)e->tokens / log(2) / (double)e->bytes, (long long)e->bytes);
    if (e->n == 0)
        return;
    rate_interval(e->strict, e->n, &low, &high);
    printf("5-7-5       %.1f %% (%.1f..%.1f) of %d answers; possible %.1f %%; three lines %.1f %%\nBLEU        %.2f\nchrF        %.2f\n",
           100.0 * e->strict / e->n, 100 * low, 100 * high, e->n, 100.0 * e->possible / e->n, 100.0 * e->three_lines / e->n, e->bleu, e->chrf);
}

int command_eval(int argc, char **argv)
{
    static const char splits[] = "train|valid|test";
    struct general g = {0};
    const char *model = NULL, *adapter = NULL, *data = "haiku", *chat_template = NULL, *template_config = NULL, *system = NULL;
    int split = SPLIT_TEST, status, n = 0, max_seq_length = 512;
    bool samples = true, mask_prompt = true;
    struct sampling sampling = sampling_default();
    const struct arg table[] = {
        {"--model", ARG_TEXT, &model, "MODEL", "folder, .gguf, hub id in the cache, or nano (default; with RUN as adapter: the run's)", 0, 0, NULL, NULL},
        {"--adapter", ARG_TEXT, &adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--data", ARG_TEXT, &data, "DATA", "folder, file, or haiku (default)", 0, 0, NULL, NULL},
        {"--split", ARG_CHOICE, &split, splits, "which rows", 0, 0, NULL, NULL},
        {"--system", ARG_TEXT, &system, "TEXT", "system message", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(chat_template, template_config),
        {"--max-seq-length", ARG_INT, &max_seq_length, "N", "longer rows are cut", 8, 1e6, NULL, NULL},
        {"--mask-prompt", ARG_ON_OFF, &mask_prompt, NULL, "loss on the answers only", 0, 0, NULL, NULL},
        {"-n", ARG_INT, &n, "N", "at least N answers; default one a row", 0, 1e6, NULL, NULL},
        {"--no-samples", ARG_OFF, &samples, NULL, "loss only", 0, 0, NULL, NULL},
        CLI_SAMPLING_ARGS(sampling),
        {0}};
    struct arg_spec spec = {.command = "eval", .positional = "", .table = table,
                            .summary = "Loss and perplexity on a split, and answers to its prompts: BLEU, chrF, form rate with its 95 % interval."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    struct session s;
    struct evaluation e = {.bleu = NAN, .chrf = NAN};
    struct session_options o = {.model = model, .adapter = adapter, .chat_template = chat_template,
                                .chat_template_config = template_config, .needs_template = chat_template != NULL,
                                .needs_weights = true};
    sampling.seed = g.seed;
    if (!sampling_check(&sampling, &err) || !session_open(&s, &o, &g, &err))
        return cli_fail(&err);
    if (!system)
        system = s.system;
    if (!s.tpl) { /* text rows need none */
        struct gm_error none = {0};
        session_template(&s, &o, &none);
    }
    struct dataset_options options = {.max_seq_length = max_seq_length, .mask_prompt = mask_prompt, .system = system, .seed = g.seed};
    struct dataset *d = dataset_open(data, &options, s.tokenizer, s.tpl, &err);
    bool fits = d && dataset_check_ids(d, s.model->config.vocab_size, &err), ok = fits && d->count[split] > 0;
    if (fits && !ok)
        error_set(&err, GM_E_INPUT, "evaluate %s: its split %s has no rows", data, split == SPLIT_TRAIN ? "train" : split == SPLIT_VALID ? "valid" : "test");
    ok = ok && evaluate_loss(&s, d, (enum split)split, NULL, &e, &err)
         && (!samples || !s.tpl || evaluate_answers(&s, d, 1u << split, system, &sampling, n, NULL, &e, &err));
    if (ok && g.json)
        cli_print_json(evaluation_json(&e));
    else if (ok)
        print_evaluation(&e);
    dataset_free(d);
    session_close(&s);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
