/* all.c - see all.h. */
#include "engine/export/all.h"

#include "engine/export/card.h"
#include "engine/export/parts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct part {
    enum export_to to;
    enum export_type type;
} PARTS[] = {{EXPORT_MLX, EXPORT_AS_BASE}, {EXPORT_PEFT, EXPORT_AS_BASE}, {EXPORT_GGUF_LORA, EXPORT_AS_BASE}, {EXPORT_SAFETENSORS, EXPORT_AS_BASE},
             {EXPORT_GGUF, EXPORT_F16}, {EXPORT_GGUF, EXPORT_Q8_0},  {EXPORT_GGUF, EXPORT_Q4_K_M}, {EXPORT_OLLAMA, EXPORT_Q8_0}};
enum { N_PARTS = sizeof PARTS / sizeof *PARTS };
_Static_assert((int)N_PARTS < (int)EXPORT_ALL_MAX, "a row for each, and one for the unfused model");

struct all_job {
    const struct export_all_request *a;
    const struct compute *c;
    struct export_all_result *result;
    const char *folder; /* where it is made */
    int part, n_parts;  /* under way */
};

static void on_progress(void *arg, double share, const char *what)
{
    const struct all_job *j = arg;
    const struct export_request *each = &j->a->each;
    if (each->progress)
        each->progress(each->arg, (j->part + share) / j->n_parts, what);
}

/* What several forms have to say is said once: "model-f16.gguf, model-q8_0.gguf: ...". */
static void add_note(struct export_all_result *r, const char *name, const char *text)
{
    for (int i = 0; i < r->n_notes; i++) {
        char *behind = strstr(r->notes[i], ": ");
        if (behind && strcmp(behind + 2, text) == 0) {
            char *longer = mem_printf("%.*s, %s: %s", (int)(behind - r->notes[i]), r->notes[i], name, text);
            mem_free(r->notes[i]);
            r->notes[i] = longer;
            return;
        }
    }
    r->notes = mem_grow(r->notes, (size_t)r->n_notes, (size_t)r->n_notes + 1, sizeof *r->notes);
    r->notes[r->n_notes++] = mem_printf("%s: %s", name, text);
}

static bool measure(struct all_job *j, const struct model *m, const struct lora *l, struct export_measurement *out, struct gm_error *err)
{
    *out = (struct export_measurement){.loss = NAN, .form_rate = NAN};
    return !j->a->measure || j->a->measure(j->a->arg, m, l, out, err);
}

static bool measure_written(struct all_job *j, const char *path, struct export_all_row *row, struct gm_error *err)
{
    if (!row->listed || !j->a->measure)
        return true;
    on_progress(j, 0.99, "measuring loss and form");
    struct model *m = model_open(path, err);
    bool ok = m && measure(j, m, NULL, &row->measured, err);
    model_free(m);
    return ok;
}

static struct export_request request_of(const struct all_job *j, const struct part *p)
{
    struct export_request r = j->a->each;
    r.to = p->to;
    r.type = p->to == EXPORT_SAFETENSORS ? r.type : p->type;
    return r;
}

static bool is_wanted(const struct all_job *j, const struct part *p) { return j->a->each.lora || export_target(p->to)->whole_model; }

static struct export_all_row *add_row(struct all_job *j, const struct export_request *r, const struct export_result *made)
{
    struct export_all_result *all = j->result;
    struct export_all_row *row = &all->rows[all->n_rows++];
    const struct export_target *target = export_target(r->to);
    *row = (struct export_all_row){.target = target->name, .bytes = made->bytes, .mean_kl = made->mean_kl, .max_kl = made->max_kl,
                                   .type = target->whole_model ? export_storage(export_type_for(r->model, r->type))->name : "f32",
                                   .greedy_agreement = made->greedy_agreement,
                                   .listed = target->whole_model && r->to != EXPORT_OLLAMA, /* whose GGUF is in already */
                                   .measured = {.loss = NAN, .form_rate = NAN}};
    snprintf(row->name, sizeof row->name, "%s", r->label);
    all->bytes += made->bytes;
    return row;
}

/* One form. A refusal of this form alone is a note; false: nothing can go on. */
static bool make_part(struct all_job *j, const struct part *p, struct gm_error *err)
{
    struct export_result result;
    struct gm_error why = {0};
    char *name = export_default_name(p->to, p->type), *path = path_join(j->folder, name);
    struct export_request r = request_of(j, p);
    r.out = path;
    r.label = name;
    r.progress = on_progress;
    r.arg = j;
    bool ok = export_run(&r, j->c, &result, &why);
    for (int i = 0; i < result.n_notes; i++)
        add_note(j->result, name, result.notes[i]);
    if (ok) {
        ok = measure_written(j, path, add_row(j, &r, &result), err);
    } else if (why.code == GM_E_CHECK || why.code == GM_E_UNSUPPORTED || why.code == GM_E_USAGE) {
        char *text = mem_printf("left out: %s", why.text);
        add_note(j->result, name, text);
        mem_free(text);
        ok = true;
    } else {
        error_set(err, why.code, "%s: %s", name, why.text);
    }
    export_result_free(&result);
    mem_free(name);
    mem_free(path);
    return ok;
}

static json_t *row_json(const struct export_all_row *row, const struct export_all_row *unfused)
{
    json_t *o = json_object();
    const struct export_measurement *m = &row->measured, *u = &unfused->measured;
    json_object_set_new(o, "target", json_string(row->target));
    json_object_set_new(o, "type", json_string(row->type));
    json_object_set_new(o, "name", json_string(row->name));
    json_object_set_new(o, "bytes", json_integer((json_int_t)row->bytes));
    json_object_set_new(o, "mean_kl", json_number(row->mean_kl));
    json_object_set_new(o, "max_kl", json_number(row->max_kl));
    json_object_set_new(o, "greedy_agreement", json_number(row->greedy_agreement));
    json_object_set_new(o, "loss", json_number(m->loss));
    json_object_set_new(o, "loss_change", json_number(m->loss - u->loss));
    json_object_set_new(o, "form_rate", json_number(m->form_rate));
    json_object_set_new(o, "form_rate_change", json_number(m->form_rate - u->form_rate));
    json_object_set_new(o, "n", json_integer(m->n));
    return o;
}

json_t *export_all_json(const struct export_all_result *result)
{
    json_t *o = json_object(), *rows = json_array(), *notes = json_array();
    for (int i = 0; i < result->n_rows; i++)
        if (result->rows[i].listed)
            json_array_append_new(rows, row_json(&result->rows[i], &result->rows[0]));
    for (int i = 0; i < result->n_notes; i++)
        json_array_append_new(notes, json_text(result->notes[i]));
    json_object_set_new(o, "fuse_loss", rows);
    json_object_set_new(o, "notes", notes);
    return o;
}

static bool write_table(struct all_job *j, struct gm_error *err)
{
    return json_write_in(j->folder, "fuse_loss.json", export_all_json(j->result), err);
}

/* The card of them all, with the table in words. */
static bool write_card(struct all_job *j, struct gm_error *err)
{
    const struct export_all_result *all = j->result;
    struct str table = {0};
    str_add(&table, "| | type | MB | mean KL | greatest KL | same best token | validation loss | 5-7-5 |\n|---|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < all->n_rows; i++) {
        const struct export_all_row *row = &all->rows[i];
        if (!row->listed)
            continue;
        str_printf(&table, "| %s | %s | %.1f | %.2g | %.2g | %.1f %% | ", row->name[0] ? row->name : row->target, row->type,
                   (double)row->bytes / 1e6, row->mean_kl, row->max_kl, 100 * row->greedy_agreement);
        str_printf(&table, isfinite(row->measured.loss) ? "%.4f | " : "not measured | ", row->measured.loss);
        str_printf(&table, isfinite(row->measured.form_rate) ? "%.0f %% of %d |\n" : "not measured |\n", 100 * row->measured.form_rate,
                   row->measured.n);
    }
    struct card c = {.target = "all", .notes = (const char *const *)all->notes, .n_notes = all->n_notes, .fuse_table = str_text(&table)};
    bool ok = export_put_card(&j->a->each, &c, j->folder, err);
    str_free(&table);
    return ok;
}

static bool make(void *arg, const char *folder, struct gm_error *err)
{
    struct all_job *j = arg;
    const struct export_request *each = &j->a->each;
    struct export_all_row *unfused = &j->result->rows[j->result->n_rows++];
    uint64_t need = 0;
    for (int i = 0; i < N_PARTS; i++) {
        struct export_request r = request_of(j, &PARTS[i]);
        need += is_wanted(j, &PARTS[i]) ? export_bytes_estimate(&r) : 0;
    }
    j->folder = folder;
    *unfused = (struct export_all_row){.target = "unfused", .type = "", .greedy_agreement = 1, .listed = true,
                                       .bytes = each->model->weight_bytes + (each->lora ? each->lora->set.count * sizeof(float) : 0)};
    if (!export_check_space(folder, need, err) || !measure(j, each->model, each->lora, &unfused->measured, err))
        return false;
    for (j->part = 0; j->part < N_PARTS; j->part++)
        if (is_wanted(j, &PARTS[j->part]) && !make_part(j, &PARTS[j->part], err))
            return false;
    return write_table(j, err) && write_card(j, err);
}

bool export_all(const struct export_all_request *a, const struct compute *c, struct export_all_result *result, struct gm_error *err)
{
    *result = (struct export_all_result){0};
    struct all_job j = {.a = a, .c = c, .result = result, .n_parts = N_PARTS};
    return export_whole_folder(&a->each, make, &j, err);
}

void export_all_free(struct export_all_result *result)
{
    for (int i = 0; i < result->n_notes; i++)
        mem_free(result->notes[i]);
    mem_free(result->notes);
    *result = (struct export_all_result){0};
}
