/* export_all.c - see export_all.h. */
#include "src/cli/export_all.h"

#include "engine/base/mem.h"
#include "engine/export/all.h"
#include "engine/format/json.h"
#include "engine/train/run.h"
#include "src/cli/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The rows that loss and form are measured on, as the run saw them. */
struct rows {
    char *data;
    struct dataset_options options;
    struct run_info run; /* dir NULL: no run */
};

static bool read_run_options(struct rows *r, const char *run_dir, struct gm_error *err)
{
    const char *data = NULL;
    int64_t length = r->options.max_seq_length, seed = 0;
    bool ok = run_info_open(&r->run, run_dir, err);
    const json_t *o = ok ? json_object_get(r->run.json, "options") : NULL;
    ok = ok && json_get_string(o, "data", REQUIRED, &data, err) && json_get_int(o, "max_seq_length", OPTIONAL, 8, 1000000, &length, err)
         && json_get_bool(o, "mask_prompt", OPTIONAL, &r->options.mask_prompt, err) && json_get_int(o, "seed", OPTIONAL, 0, INT64_MAX, &seed, err);
    if (ok) {
        r->options.max_seq_length = (int)length;
        r->options.seed = (uint64_t)seed;
        if (!r->data)
            r->data = mem_copy(data);
    }
    return ok;
}

struct measuring {
    const struct session *s;
    struct compute exact;       /* f32: in bf16 what a storage type costs would drown in what the products round */
    const struct dataset *rows; /* NULL: nothing to measure on */
    struct sampling sampling;
    int answers;
    atomic_bool *cancel;
};

static bool loss_and_form(void *arg, const struct model *m, const struct lora *l, struct export_measurement *out, struct gm_error *err)
{
    const struct measuring *w = arg;
    if (!w->rows)
        return true;
    struct session s = *w->s; /* the same with another model in it */
    s.model = (struct model *)(uintptr_t)m;
    s.lora = (struct lora *)(uintptr_t)l;
    struct evaluation e = {0};
    struct session exact = s;
    exact.compute = w->exact;
    exact.lora = l ? lora_copy(l) : NULL;
    if (exact.lora)
        lora_bind(exact.lora, m, &w->exact);
    bool ok = evaluate_loss(&exact, w->rows, SPLIT_VALID, w->cancel, &e, err);
    lora_free(exact.lora);
    if (!ok || (s.tpl && !evaluate_answers(&s, w->rows, 1u << SPLIT_VALID, s.system, &w->sampling, w->answers, w->cancel, &e, err)))
        return false;
    out->loss = e.loss;
    out->n = e.n;
    out->form_rate = e.n ? (double)e.strict / e.n : NAN;
    return true;
}

/* A number, and how far it is from that of the first row. */
static void put_change(struct str *s, double value, double base, bool first, int width, int places)
{
    char text[32] = "-", moved[32] = "";
    if (isfinite(value)) {
        snprintf(text, sizeof text, "%.*f", places, value);
        if (!first)
            snprintf(moved, sizeof moved, "%+.*f", places, value - base);
    }
    str_printf(s, " %*s %*s", width, text, width, moved);
}

/* 80 columns are enough for it. */
static void print_table(const struct export_all_result *all, const struct general *g)
{
    const struct export_measurement *base = &all->rows[0].measured;
    cli_note(g, "KL: mean, to the unfused model; same: share of positions with the same best token");
    if (base->n)
        cli_note(g, "5-7-5: per cent of %d answers to the validation prompts at temperature 0.7, the same seeds for each", base->n);
    printf("%-17s %-6s %7s %8s %6s %8s %8s %6s %6s\n", "", "type", "MB", "KL", "same %", "val loss", "change", "5-7-5%", "change");
    for (int i = 0; i < all->n_rows; i++) {
        const struct export_all_row *r = &all->rows[i];
        struct str s = {0};
        if (!r->listed)
            continue;
        str_printf(&s, "%-17s %-6s %7.1f", r->name[0] ? r->name : r->target, r->type, (double)r->bytes / 1e6);
        if (i > 0)
            str_printf(&s, " %8.2g %6.1f", r->mean_kl, 100 * r->greedy_agreement);
        else
            str_printf(&s, " %8s %6s", "", "");
        put_change(&s, r->measured.loss, base->loss, i == 0, 8, 4);
        put_change(&s, 100 * r->measured.form_rate, 100 * base->form_rate, i == 0, 6, 1);
        while (s.len > 0 && s.data[s.len - 1] == ' ')
            s.data[--s.len] = '\0';
        printf("%s\n", str_text(&s));
        str_free(&s);
    }
}

static json_t *all_json(const struct export_all_result *all, const char *out)
{
    json_t *o = export_all_json(all);
    json_object_set_new(o, "to", json_string("all"));
    json_object_set_new(o, "out", json_text(out));
    json_object_set_new(o, "bytes", json_integer((json_int_t)all->bytes));
    return o;
}

bool cli_export_all(const struct export_request *r, struct session *s, const char *data, int answers, const struct general *g, struct gm_error *err)
{
    struct rows rows = {.data = data ? mem_copy(data) : NULL, .options = {.max_seq_length = 512, .mask_prompt = true, .system = s->system, .pool = s->pool}};
    struct measuring w = {.s = s, .sampling = sampling_default(), .answers = answers, .cancel = r->cancel};
    struct export_all_request a = {.each = *r, .measure = loss_and_form, .arg = &w};
    struct export_all_result all = {0};
    w.sampling.seed = g->seed;
    bool ok = !s->run_dir || read_run_options(&rows, s->run_dir, err);
    struct dataset *d = ok && rows.data ? dataset_open(rows.data, &rows.options, s->tokenizer, s->tpl, err) : NULL;
    ok = ok && (!rows.data || (d && dataset_check_ids(d, s->model->config.vocab_size, err)));
    if (d && d->count[SPLIT_VALID] > 0)
        w.rows = d;
    ok = ok && compute_init(&w.exact, s->pool, GM_TASTE, GM_COMPUTE_F32, FAMILY_AUTO, err);
    ok = ok && export_all(&a, &s->compute, &all, err);
    cli_share_end();
    if (ok && g->json) {
        cli_print_json(all_json(&all, r->out));
    } else if (ok) { /* the table last: it is what one waits for */
        for (int i = 0; i < all.n_notes; i++)
            cli_note(g, "note: %s", all.notes[i]);
        cli_note(g, "proved: every one was read back, the numbers are in its proof.json");
        print_table(&all, g);
        cli_print_clean(r->out, strlen(r->out));
        printf("  %.1f MB\n", (double)all.bytes / 1e6);
    }
    export_all_free(&all);
    compute_free(&w.exact);
    dataset_free(d);
    run_info_free(&rows.run);
    mem_free(rows.data);
    return ok;
}
