/* facts_run.c - facts of a run and of its checkpoints: what it began with, how far it went, what is left of it. */
#include "src/cli/facts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/checkpoint_state.h"
#include "engine/train/run.h"

#include <math.h>
#include <string.h>

static bool count_event(void *arg, json_t *event)
{
    json_t *counts = arg;
    const char *kind = json_string_value(json_object_get(event, "event"));
    if (kind)
        json_object_set_new(counts, kind, json_integer(json_integer_value(json_object_get(counts, kind)) + 1));
    return true;
}

/* Is what the run began from still the same? */
static void lineage(struct facts *f, const struct run_info *r, json_t *o)
{
    static const char *const copied[] = {"model_sha256", "tokenizer_sha256", "data_sha256", "rows", "created", "program"};
    json_t *l = json_object();
    const json_t *options = json_object_get(r->json, "options");
    const char *model = json_string_value(json_object_get(options, "model")), *parent = json_string_value(json_object_get(options, "resume_adapter_file"));
    json_object_set_new(l, "model", model ? json_text(model) : json_null());
    json_object_set(l, "data", json_object_get(options, "data"));
    if (parent)
        json_object_set_new(l, "parent", json_text(parent));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (json_object_get(r->json, copied[i]))
            json_object_set(l, copied[i], json_object_get(r->json, copied[i]));
    json_object_set_new(o, "lineage", l);
    struct model_source s;
    struct gm_error err = {0};
    if (!model || !f->o->verify)
        return;
    if (!model_source_open(&s, model, &err)) {
        facts_warn(f, "its base is not here, and it cannot be resumed or talked to: %s", err.text);
        return;
    }
    model_source_close(&s);
}

static json_t *checkpoint_json(const struct checkpoint_info *c)
{
    const char *best = c->best_loss && c->best_form ? "loss, form" : c->best_loss ? "loss" : c->best_form ? "form" : NULL;
    return json_pack("{s:i, s:o, s:o, s:i, s:I, s:o}", "step", c->step, "val_loss", json_number(c->val_loss), "form_rate", json_number(c->form_rate), "form_n",
                     c->form_n, "bytes", (json_int_t)c->bytes, "best", best ? json_string(best) : json_null());
}

void facts_run(struct facts *f, const char *dir)
{
    struct run_info r;
    struct gm_error err = {0};
    if (!run_info_open(&r, dir, &err)) {
        facts_fault(f, &err);
        return;
    }
    json_t *o = json_object(), *checkpoints = json_array(), *events = json_object();
    json_object_set_new(o, "name", json_text(r.name));
    json_object_set_new(o, "state", json_string(r.state));
    json_object_set_new(o, "step", json_integer(r.last_step));
    json_object_set_new(o, "iters", json_integer(r.iters));
    json_object_set_new(o, "val_loss", json_number(r.last_val_loss));
    lineage(f, &r, o);
    json_object_set(o, "options", json_object_get(r.json, "options"));
    char *journal = path_join(dir, "journal.jsonl");
    if (!journal_read(journal, count_event, events, &err))
        facts_fault(f, &err);
    mem_free(journal);
    json_object_set_new(o, "events", events);
    for (int i = 0; i < r.n_checkpoints; i++) {
        const struct checkpoint_info *c = &r.checkpoints[i];
        json_array_append_new(checkpoints, checkpoint_json(c));
        err = (struct gm_error){0};
        if (f->o->verify && !checkpoint_state_verify(c->path, &err)) {
            if (i == r.n_checkpoints - 1)
                facts_fault(f, &err);
            else
                facts_warn(f, "%s", err.text);
        }
    }
    json_object_set_new(o, "checkpoints", checkpoints);
    json_object_set_new(f->out, "run", o);
    if (r.n_checkpoints == 0)
        facts_warn(f, "it has no checkpoint yet");
    facts_summary(f, "%s at step %d of %d, %d checkpoint%s", r.state, r.last_step, r.iters, r.n_checkpoints, r.n_checkpoints == 1 ? "" : "s");
    if (isfinite(r.last_val_loss))
        facts_summary(f, "validation loss %.4f", r.last_val_loss);
    run_info_free(&r);
}

void facts_checkpoint(struct facts *f, const char *dir)
{
    struct checkpoint_state s = {0};
    struct gm_error err = {0};
    uint64_t bytes = 0;
    if (!checkpoint_read_state(dir, &s, &bytes, &err) || (f->o->verify && !checkpoint_state_verify(dir, &err)))
        facts_fault(f, &err);
    json_object_set_new(f->out, "checkpoint", json_pack("{s:i, s:o, s:o, s:i, s:I, s:o}", "step", s.step, "val_loss", json_number(s.val_loss), "form_rate",
                                                        json_number(s.form_rate), "form_n", s.form_n, "bytes", (json_int_t)bytes, "why", json_text(s.why)));
    facts_summary(f, "step %d", s.step);
    char *adapter = path_join(dir, "adapters.safetensors");
    if (file_exists(adapter))
        facts_adapter(f, dir);
    else
        facts_model(f, dir);
    mem_free(adapter);
}
