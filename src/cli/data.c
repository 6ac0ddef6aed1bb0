/* data.c - `gemmaiku data`: what is in a data set before a single step is trained. */
#include "src/cli/cli.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/train/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct data_args {
    const char *model, *data, *chat_template, *template_config, *form;
    int max_seq_length;
    bool mask_prompt, rows, gate;
};
struct split_facts {
    int rows, strict, possible, judged, truncated, duplicates, leaks;
    int64_t tokens, supervised;
    int longest;
};
static const char *const SPLITS[SPLIT_COUNT] = {"train", "valid", "test"};

static void gather(const struct dataset *d, const struct syllables *s, const struct form *form, struct split_facts out[SPLIT_COUNT])
{
    for (int i = 0; i < d->n_rows; i++) {
        const struct row *r = &d->rows[i];
        struct split_facts *f = &out[r->split];
        f->rows++;
        f->tokens += r->n;
        f->supervised += r->n_supervised;
        f->truncated += r->n_full > r->n;
        f->duplicates += r->duplicate_of >= 0;
        f->leaks += row_found(r, FIND_LEAK);
        f->longest = r->n_full > f->longest ? r->n_full : f->longest;
        if (!*r->answer)
            continue;
        struct verdict v;
        form_judge(s, form, r->answer, strlen(r->answer), &v);
        f->judged++;
        f->strict += v.strict;
        f->possible += v.possible;
    }
}

static json_t *facts_json(const struct split_facts *f)
{
    return json_pack("{s:i, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "rows", f->rows, "tokens", (json_int_t)f->tokens, "supervised_tokens",
                     (json_int_t)f->supervised, "longest", f->longest, "truncated", f->truncated, "duplicates", f->duplicates, "leaks", f->leaks,
                     "judged", f->judged, "strict", f->strict, "possible", f->possible);
}

/* What the gate found, and whether that is nothing. */
static json_t *findings_json(const struct dataset *d)
{
    json_t *o = json_object();
    for (int f = 0; f < FIND_COUNT; f++)
        json_object_set_new(o, finding_name((enum finding)f), json_integer(d->found[f]));
    return o;
}

static bool gate_open(const struct dataset *d)
{
    int found = 0;
    for (int f = 0; f < FIND_COUNT; f++)
        found += d->found[f];
    return found == 0;
}

static void print_findings(const struct dataset *d)
{
    if (gate_open(d)) {
        printf("\nthe gate found nothing\n");
        return;
    }
    printf("\nthe gate found, in rows:\n");
    for (int f = 0; f < FIND_COUNT; f++)
        if (d->found[f])
            printf("%6d  %-11s %s\n", d->found[f], finding_name((enum finding)f), finding_about((enum finding)f));
}

static void print_facts(const struct dataset *d, const struct split_facts f[SPLIT_COUNT], const char *title)
{
    printf("%-6s %6s %9s %10s %7s %5s %5s %5s %9s %8s\n", "split", "rows", "tokens", "supervised", "longest", "cut", "dup", "leak", title, "possible");
    for (int i = 0; i < SPLIT_COUNT; i++) {
        const struct split_facts *s = &f[i];
        char strict[24] = "-", possible[24] = "-", longest[16];
        if (s->judged) {
            snprintf(strict, sizeof strict, "%d", s->strict);
            snprintf(possible, sizeof possible, "%d", s->possible);
        }
        snprintf(longest, sizeof longest, "%d", s->longest);
        printf("%-6s %6d %9lld %10lld %7s %5d %5d %5d %9s %8s\n", SPLITS[i], s->rows, (long long)s->tokens, (long long)s->supervised, longest,
               s->truncated, s->duplicates, s->leaks, strict, possible);
    }
    print_findings(d);
    if (d->n_skipped)
        printf("\n%d row%s left out\n", d->n_skipped, d->n_skipped == 1 ? " was" : "s were");
    if (d->notes.len) {
        putchar('\n');
        cli_print_folded(str_text(&d->notes), 0, 2);
    }
}

static json_t *row_json(const struct syllables *s, const struct form *form, const struct row *r)
{
    struct verdict v;
    form_judge(s, form, r->answer, strlen(r->answer), &v);
    json_t *counts = json_array();
    for (int i = 0; i < v.n_lines && i < FORM_LINES; i++)
        json_array_append_new(counts, json_integer(v.syllables[i]));
    json_t *o = json_object();
    json_object_set_new(o, "file", json_text(r->file));
    json_object_set_new(o, "line", json_integer(r->line));
    json_object_set_new(o, "split", json_string(SPLITS[r->split]));
    json_object_set_new(o, "prompt", json_string(r->prompt));
    json_object_set_new(o, "answer", json_string(r->answer));
    json_object_set_new(o, "tokens", json_integer(r->n_full));
    json_object_set_new(o, "supervised_tokens", json_integer(r->n_supervised));
    json_object_set_new(o, "truncated", json_boolean(r->n_full > r->n));
    json_object_set_new(o, "duplicate_of", r->duplicate_of >= 0 ? json_integer(r->duplicate_of) : json_null());
    json_object_set_new(o, "leak", json_boolean(row_found(r, FIND_LEAK)));
    json_t *findings = json_array();
    for (int f = 0; f < FIND_COUNT; f++)
        if (r->findings >> f & 1)
            json_array_append_new(findings, json_string(finding_name((enum finding)f)));
    json_object_set_new(o, "findings", findings);
    json_object_set_new(o, "syllables", counts);
    json_object_set_new(o, "strict", json_boolean(v.strict));
    json_object_set_new(o, "possible", json_boolean(v.possible));
    return o;
}

static void tell(const struct dataset *d, const struct data_args *a, const struct general *g, const struct session *s)
{
    const struct form *form = form_find(a->form);
    struct split_facts facts[SPLIT_COUNT] = {{0}};
    if (a->rows) {
        for (int i = 0; i < d->n_rows; i++)
            cli_print_json(row_json(s->syllables, form, &d->rows[i]));
        return;
    }
    gather(d, s->syllables, form, facts);
    if (!g->json) {
        print_facts(d, facts, form->title);
        return;
    }
    json_t *o = json_object(), *splits = json_object();
    for (int i = 0; i < SPLIT_COUNT; i++)
        json_object_set_new(splits, SPLITS[i], facts_json(&facts[i]));
    json_object_set_new(o, "data", json_text(a->data));
    json_object_set_new(o, "rows", json_integer(d->n_rows));
    json_object_set_new(o, "skipped", json_integer(d->n_skipped));
    json_object_set_new(o, "truncated", json_integer(d->found[FIND_CUT]));
    json_object_set_new(o, "duplicates", json_integer(d->found[FIND_DUPLICATE]));
    json_object_set_new(o, "leaks", json_integer(d->found[FIND_LEAK]));
    json_t *sources = json_array();
    for (int i = 0; i < d->n_sources; i++)
        json_array_append_new(sources, json_pack("{s:o, s:f, s:i, s:b}", "data", json_text(d->sources[i].name), "weight", d->sources[i].weight, "rows",
                                                 d->sources[i].n_rows, "split_made", d->sources[i].split_made));
    json_object_set_new(o, "sources", sources);
    json_object_set_new(o, "findings", findings_json(d));
    json_object_set_new(o, "split_made", json_boolean(d->split_made));
    json_object_set_new(o, "sha256", json_string(d->hash));
    json_object_set_new(o, "splits", splits);
    json_object_set_new(o, "notes", json_stringn(str_text(&d->notes), d->notes.len));
    cli_print_json(o);
}

int command_data(int argc, char **argv)
{
    struct general g = {0};
    struct data_args a = {.form = "haiku", .max_seq_length = 512, .mask_prompt = true};
    int status;
    struct text_list more = {0};
    const struct arg table[] = {
        {"--data", ARG_TEXTS, &more, "DATA[:WEIGHT]", "the same as DATA, as `train` takes it", 0, 0, NULL, NULL},
        {"--model", ARG_TEXT, &a.model, "MODEL", "whose tokenizer and template count the tokens; default nano", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(a.chat_template, a.template_config),
        {"--max-seq-length", ARG_INT, &a.max_seq_length, "N", "longer rows are cut", 8, 1e6, NULL, NULL},
        {"--mask-prompt", ARG_ON_OFF, &a.mask_prompt, NULL, "loss on the answers only", 0, 0, NULL, NULL},
        {"--form", ARG_TEXT, &a.form, "NAME", "form to judge by", 0, 0, NULL, NULL},
        {"--gate", ARG_FLAG, &a.gate, NULL, "exit status 3 when a row has something to find", 0, 0, NULL, NULL},
        {"--rows", ARG_FLAG, &a.rows, NULL, "a JSON line for every row instead", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "data", .positional = "DATA[:WEIGHT]...", .table = table, .max_words = 64,
                            .summary = "Rows, tokens, supervised tokens, cut rows, duplicates, leaks between splits, verdicts, and what the data gate finds."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    if (!form_find(a.form)) {
        error_set(&err, GM_E_USAGE, "find form %s: there is none of this name (haiku and tanka are known)", a.form);
        return cli_fail(&err);
    }
    struct str sources = {0};
    for (int i = 0; i < spec.n_words + more.n; i++)
        str_printf(&sources, "%s%s", i ? "\n" : "", i < spec.n_words ? spec.words[i] : more.items[i - spec.n_words]);
    if (!sources.len) {
        error_set(&err, GM_E_USAGE, "read command line: data needs DATA (a file, a folder, or haiku)");
        return cli_fail(&err);
    }
    a.data = str_text(&sources);
    struct session s;
    struct session_options o = {.model = a.model, .chat_template = a.chat_template, .chat_template_config = a.template_config,
                                .needs_template = a.chat_template != NULL};
    if (!session_open(&s, &o, &g, &err)) {
        str_free(&sources);
        return cli_fail(&err);
    }
    struct gm_error none = {0};
    if (!s.tpl) /* text rows need none */
        session_template(&s, &o, &none);
    struct dataset_options options = {.max_seq_length = a.max_seq_length, .mask_prompt = a.mask_prompt, .seed = g.seed};
    struct dataset *d = dataset_open(a.data, &options, s.tokenizer, s.tpl, &err);
    if (d)
        tell(d, &a, &g, &s);
    int end = d && a.gate && !gate_open(d) ? EXIT_CHECK : EXIT_DONE;
    bool ok = d != NULL;
    dataset_free(d);
    session_close(&s);
    str_free(&sources);
    return ok ? cli_end(end) : cli_fail(&err);
}
