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

enum { PARENTS_MAX = 16 };
static const uint64_t HASH_MAX = (uint64_t)4 << 30; /* bytes of a base that is compared by its hash */

/* The folder of the run that an adapter of it stands in: runs/NAME/checkpoints/STEP[/adapters.safetensors]; NULL: in none. mem_free. */
static char *run_above(const char *adapter)
{
    char *dir = mem_copy(adapter), *found = NULL;
    for (int i = 0; i < 4 && !found && *dir; i++) {
        char *json = path_join(dir, "run.json");
        if (file_exists(json))
            found = mem_copy(dir);
        mem_free(json);
        size_t n = (size_t)(path_base(dir) - dir);
        dir[n > 0 ? n - 1 : 0] = 0;
    }
    mem_free(dir);
    return found;
}

/* From run to run, by the adapter that each began with. */
static json_t *parents_json(const json_t *options)
{
    json_t *list = json_array(), *held = NULL;
    for (int i = 0; i < PARENTS_MAX; i++) {
        const char *adapter = json_string_value(json_object_get(options, "resume_adapter_file"));
        if (!adapter)
            break;
        char *dir = run_above(adapter), *json = dir ? path_join(dir, "run.json") : NULL;
        json_t *next = json ? json_load_file_checked(json, 16 << 20, &(struct gm_error){0}) : NULL, *o = json_object();
        json_object_set_new(o, "adapter", json_text(adapter));
        json_object_set_new(o, "run", dir ? json_text(path_base(dir)) : json_null());
        json_array_append_new(list, o);
        json_decref(held);
        held = next;
        options = json_object_get(next, "options");
        if (next)
            json_object_set(o, "data", json_object_get(options, "data"));
        mem_free(json);
        mem_free(dir);
    }
    json_decref(held);
    return list;
}

/* Is the base still the one that the run began with? resume refuses another. */
static void check_base(struct facts *f, const struct run_info *r, const char *model)
{
    struct model_source s;
    struct gm_error err = {0};
    const char *then = json_string_value(json_object_get(r->json, "model_sha256"));
    char now[65];
    uint64_t bytes = 0;
    if (!model_source_open(&s, model, &err)) {
        facts_warn(f, "its base is not here, and it cannot be resumed or talked to: %s", err.text);
        return;
    }
    for (int i = 0; i < s.n_tensors; i++)
        bytes += model_source_tensor(&s, i)->bytes;
    if (json_is_true(json_object_get(json_object_get(r->json, "options"), "init_random")))
        facts_note(f, "it began with random weights: its base was not compared");
    else if (bytes > HASH_MAX)
        facts_note(f, "its base %s is large: its hash was not compared", model);
    else if (then && model_source_hash(&s, now, &err) && strcmp(then, now) != 0)
        facts_warn(f, "its base %s is another one than it began with: it cannot be resumed", model);
    model_source_close(&s);
}

static void lineage(struct facts *f, const struct run_info *r, json_t *o)
{
    static const char *const copied[] = {"model_sha256", "tokenizer_sha256", "data_sha256", "rows", "created", "program"};
    json_t *l = json_object();
    const json_t *options = json_object_get(r->json, "options");
    const char *model = json_string_value(json_object_get(options, "model"));
    json_object_set_new(l, "model", model ? json_text(model) : json_null());
    json_object_set(l, "data", json_object_get(options, "data"));
    json_object_set_new(l, "parents", parents_json(options));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (json_object_get(r->json, copied[i]))
            json_object_set(l, copied[i], json_object_get(r->json, copied[i]));
    json_object_set_new(o, "lineage", l);
    if (model && f->o->verify)
        check_base(f, r, model);
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
