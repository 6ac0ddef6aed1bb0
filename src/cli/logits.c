/* logits.c - `gemmaiku logits`: all logits of a sequence, to hold against other programs. */
#include "src/cli/cli.h"

#include "engine/base/mem.h"
#include "engine/format/safetensors.h"
#include "engine/model/pass.h"

#include <stdio.h>

/* Tokens, positions and borders of one sequence. */
static bool compute_logits(struct session *s, const int32_t *ids, int n, float *logits, struct gm_error *err)
{
    struct pass_limits limits = {.kind = PASS_FORWARD, .max_tokens = n, .max_seqs = 1, .mode = s->compute.mode};
    struct pass *p = pass_new(s->model, s->lora ? &s->lora->options : NULL, &limits, err);
    if (!p)
        return false;
    int32_t *positions = mem_new((size_t)n, sizeof *positions), borders[2] = {0, n};
    for (int i = 0; i < n; i++)
        positions[i] = i;
    struct batch b = {.T = n, .ids = ids, .positions = positions, .n_seqs = 1, .seq_start = borders};
    const float *hidden = pass_hidden(p, &s->compute, s->lora, &b, NULL);
    pass_logits(p, &s->compute, hidden, n, logits);
    mem_free(positions);
    pass_free(p);
    return true;
}

int command_logits(int argc, char **argv)
{
    struct general g = {0};
    const char *model = NULL, *adapter = NULL, *ids_text = NULL, *out = NULL;
    int status;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &model, "MODEL", "folder, .gguf, hub id in the cache, or nano", 0, 0, NULL, NULL},
        {"--adapter", ARG_TEXT, &adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--ids", ARG_TEXT, &ids_text, "1,2,3", "the sequence", 0, 0, NULL, NULL},
        {"--out", ARG_TEXT, &out, "FILE.safetensors", "tensors `logits` [T, V] (row t: after token t) and `ids` [T]", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "logits", .positional = "", .table = table, .summary = "Next-token logits after every token of a sequence."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    int32_t *ids = NULL;
    int n = 0;
    if (!ids_text || !out) {
        error_set(&err, GM_E_USAGE, "read command line: logits needs --ids and --out (gemmaiku logits --help)");
        return cli_fail(&err);
    }
    struct session s = {0};
    struct session_options o = {.model = model, .adapter = adapter, .needs_weights = true, .no_text = true};
    if (!cli_parse_ids(ids_text, &ids, &n, &err) || !session_open(&s, &o, &g, &err)) {
        mem_free(ids);
        return cli_fail(&err);
    }
    int vocab = s.model->config.vocab_size;
    bool ok = true;
    for (int i = 0; ok && i < n; i++)
        if (ids[i] >= vocab)
            ok = error_set(&err, GM_E_INPUT, "compute logits: id %d lies outside the vocabulary of %d", ids[i], vocab);
    float *logits = ok ? mem_alloc((size_t)n * (size_t)vocab * sizeof *logits, "logits", &err) : NULL;
    ok = ok && logits && compute_logits(&s, ids, n, logits, &err);
    if (ok) {
        const struct tensor_out tensors[] = {
            {.name = "logits", .type = DT_F32, .n_dims = 2, .shape = {n, vocab}, .data = logits},
            {.name = "ids", .type = DT_I32, .n_dims = 1, .shape = {n}, .data = ids}};
        ok = safetensors_write(out, tensors, 2, NULL, 0, &err);
    }
    if (ok && g.json)
        cli_print_json(json_pack("{s:s, s:i, s:i, s:s, s:s}", "out", out, "tokens", n, "vocab", vocab, "compute",
                                 compute_mode_name(s.compute.mode), "kernel", family_name(s.compute.family)));
    mem_free(logits);
    mem_free(ids);
    session_close(&s);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
