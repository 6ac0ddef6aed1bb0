/* export.c - the way of every export: check, write beside the target, prove, rename. */
#include "engine/export/card.h"
#include "engine/export/peers.h"
#include "engine/export/plan.h"
#include "engine/export/whole.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_FILES = 256 << 10, PIECE_BYTES = 130 }; /* configuration, card, proof; a piece in tokenizer.json (Gemma's: 33 MB for 262,144) */

void export_note(struct export_job *j, const char *format, ...)
{
    struct export_result *r = j->result;
    struct str s = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&s, format, args);
    va_end(args);
    r->notes = mem_grow(r->notes, (size_t)r->n_notes, (size_t)r->n_notes + 1, sizeof *r->notes);
    r->notes[r->n_notes++] = str_take(&s);
}

void export_result_free(struct export_result *result)
{
    for (int i = 0; i < result->n_notes; i++)
        mem_free(result->notes[i]);
    mem_free(result->notes);
    *result = (struct export_result){0};
}

bool export_cancelled(const struct export_job *j, struct gm_error *err)
{
    if (!j->r.cancel || !atomic_load(j->r.cancel))
        return false;
    error_set(err, GM_E_CANCELLED, "cancelled");
    return true;
}

void export_progress(const struct export_job *j, double share, const char *what)
{
    if (j->r.progress)
        j->r.progress(j->r.arg, share, what);
}

static uint64_t text_bytes(const struct model *m)
{
    return SMALL_FILES + (uint64_t)m->config.vocab_size * PIECE_BYTES;
}

/* Near enough for a form: what is really needed is known when the tensors are planned. */
uint64_t export_bytes_estimate(const struct export_request *r)
{
    static const double bits[EXPORT_TYPE_COUNT] = {[EXPORT_F32] = 32, [EXPORT_F16] = 16, [EXPORT_BF16] = 16, [EXPORT_Q8_0] = 8.5, [EXPORT_Q4_0] = 4.6,
                                                   [EXPORT_Q4_K_M] = 5.2, [EXPORT_MLX4] = 4.5, [EXPORT_MLX8] = 8.5};
    if (!export_target(r->to)->whole_model)
        return r->lora ? (uint64_t)r->lora->set.count * sizeof(float) + 65536 : 0;
    enum export_type type = export_type_for(r->model, r->type);
    return (uint64_t)((double)model_config_parameters(&r->model->config) * bits[type] / 8) + text_bytes(r->model);
}

/* What may be replaced as a whole: a folder of ours, or an empty one. Somebody's home must survive a slip. */
static bool is_replaceable(const char *folder)
{
    static const char *const OURS[] = {"proof.json", "fuse_loss.json"};
    bool ours = false;
    for (size_t i = 0; !ours && i < sizeof OURS / sizeof *OURS; i++) {
        char *path = path_join(folder, OURS[i]);
        ours = file_exists(path);
        mem_free(path);
    }
    char **names;
    size_t n;
    if (ours || !dir_list(folder, &names, &n, NULL))
        return ours;
    for (size_t i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    return n == 0;
}

static bool check_place(const char *out, const char *suffix, bool force, struct gm_error *err)
{
    struct stat st;
    if (lstat(out, &st) != 0)
        return true;
    if (!force)
        return error_set(err, GM_E_INPUT, "it exists");
    if (!suffix && !S_ISDIR(st.st_mode))
        return error_set(err, GM_E_INPUT, "it is no folder (choose another name)");
    if (!suffix && !is_replaceable(out))
        return error_set(err, GM_E_INPUT, "the folder is not empty and no export, which --force would remove (choose another name)");
    if (suffix && !S_ISREG(st.st_mode))
        return error_set(err, GM_E_INPUT, "it is no file (choose another name)");
    return true;
}

static bool wrong_type(enum export_type type, const struct export_target *t, struct gm_error *err)
{
    struct str known = {0};
    for (int i = EXPORT_AS_BASE + 1; i < EXPORT_TYPE_COUNT; i++)
        if (t->types >> i & 1)
            str_printf(&known, "%s%s", known.len ? ", " : "", export_storage((enum export_type)i)->name);
    error_set(err, GM_E_USAGE, "%s is no type for %s (known: %s)", export_storage(type)->name, t->name, known.len ? str_text(&known) : "f32");
    str_free(&known);
    return false;
}

static bool check_request(const struct export_request *r, const char *out, struct gm_error *err)
{
    const struct export_target *t = export_target(r->to);
    if (!t->whole_model && !r->lora)
        return error_set(err, GM_E_USAGE, r->run_dir ? "the run trained all weights: there is no adapter to write (--to safetensors, gguf or ollama)"
                                                     : "there is no adapter to write (name one with --adapter, or --to safetensors for a whole model)");
    bool adapter = !t->whole_model && r->type == EXPORT_F32; /* it is always F32 */
    if (r->type != EXPORT_AS_BASE && !(t->types >> r->type & 1) && !adapter)
        return wrong_type(r->type, t, err);
    return check_place(out, t->suffix, r->force, err);
}

bool export_check_space(const char *folder, uint64_t need, struct gm_error *err)
{
    uint64_t free_bytes;
    if (!disk_free_bytes(folder, &free_bytes, err))
        return false;
    if (need > free_bytes)
        return error_set(err, GM_E_IO, "%.1f MB are needed, %.1f MB are free (make room, or choose another --out)", (double)need / 1e6,
                         (double)free_bytes / 1e6);
    return true;
}

static void count_files(const char *folder, struct export_result *out)
{
    char **names;
    size_t n;
    if (!dir_list(folder, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(folder, names[i]);
        struct stat st;
        if (stat(path, &st) == 0)
            out->bytes += (uint64_t)st.st_size;
        out->files++;
        mem_free(path);
        mem_free(names[i]);
    }
    mem_free(names);
}

bool export_put_card(const struct export_request *r, struct card *c, const char *folder, struct gm_error *err)
{
    char *license = card_license(r->model->source);
    c->name = path_base(r->out);
    c->base = r->model_name && *r->model_name ? r->model_name : r->model->config.family;
    c->license = license;
    c->has_adapter = r->lora != NULL;
    c->system = r->system;
    c->run_dir = r->run_dir;
    c->step = r->step;
    char *text = card_write(c);
    bool ok = file_replace_in(folder, "README.md", text, strlen(text), err);
    mem_free(text);
    mem_free(license);
    return ok;
}

static bool write_card(const struct export_job *j, const char *folder, struct gm_error *err)
{
    const struct export_result *p = j->result;
    const struct export_target *target = export_target(j->r.to);
    const struct card_proof proof = {p->sequences,       p->positions, p->mean_kl, p->max_kl, p->greedy_agreement, p->max_logit_difference,
                                     p->prompts_verified};
    struct card c = {.target = target->name, .type = target->whole_model ? export_storage(j->type)->name : NULL, .proof = &proof,
                     .notes = (const char *const *)p->notes, .n_notes = p->n_notes};
    return export_put_card(&j->r, &c, folder, err);
}

static bool write_target(struct export_job *j, const char *path, struct gm_error *err)
{
    switch (j->r.to) {
    case EXPORT_MLX:
        return lora_save_mlx(j->r.lora, path, j->r.model_name, err);
    case EXPORT_PEFT:
        return export_write_peft(j, path, err);
    case EXPORT_GGUF_LORA:
        return export_write_gguf_lora(j, path, err);
    case EXPORT_GGUF:
        return export_write_gguf(j, path, err);
    case EXPORT_OLLAMA: {
        char *file = path_join(path, "model.gguf");
        bool ok = export_write_gguf(j, file, err) && export_write_modelfile(j, path, err);
        mem_free(file);
        return ok;
    }
    default:
        return export_write_safetensors(j, path, err);
    }
}

/* Writes and proves inside the folder `made`: the target is that folder, or the file of its name in there, with its proof beside it. */
static bool write_and_prove(struct export_job *j, const char *made, const char *file, const char *proof, struct gm_error *err)
{
    const char *path = file ? file : made;
    if (!write_target(j, path, err))
        return false;
    export_progress(j, SHARE_CHECKING / 100.0, "reading back");
    return !export_cancelled(j, err) && export_prove(j, path, proof, err) && (file || write_card(j, made, err)) && dir_sync(made, err)
           && !export_cancelled(j, err);
}

/* Everything behind the checks of what was asked. */
static bool make(struct export_job *j, struct whole *w, struct gm_error *err)
{
    const struct export_target *target = export_target(j->r.to);
    const char *lines[PEERS_MAX];
    struct plan plan;
    if (!whole_make(w, err))
        return false;
    for (int i = 0, n = peers_that_differ(j->r.to, &j->r.model->config, j->r.model->source, lines); i < n; i++)
        export_note(j, "%s", lines[i]);
    if (j->r.to == EXPORT_GGUF)
        export_note_bos(j);
    if (target->whole_model) {
        if (!plan_open(&plan, j, target->gguf ? PLAN_GGUF : PLAN_SAFETENSORS, err))
            return false;
        j->plan = &plan;
    }
    char *file = target->suffix ? path_join(w->made, path_base(w->out)) : NULL;
    char *proof = file ? mem_printf("%s.proof.json", file) : path_join(w->made, "proof.json");
    bool ok = export_check_space(w->parent, j->plan ? j->plan->bytes_all + text_bytes(j->r.model) : export_bytes_estimate(&j->r), err)
              && write_and_prove(j, w->made, file, proof, err);
    if (ok)
        count_files(w->made, j->result);
    if (ok && file) { /* the proof first: where the file stands, its proof does */
        char *proof_out = mem_printf("%s.proof.json", w->out);
        ok = whole_place(w, proof, proof_out, j->r.force, err);
        if (ok && !(ok = whole_place(w, file, w->out, j->r.force, err)))
            unlink(proof_out);
        mem_free(proof_out);
    } else if (ok) {
        ok = whole_place(w, w->made, w->out, j->r.force, err);
    }
    mem_free(file);
    mem_free(proof);
    if (j->plan)
        plan_close(j->plan);
    return ok;
}

/* out: for errors; NULL: the caller names it. */
static bool end(struct whole *w, const char *out, bool ok, struct gm_error *err)
{
    if (!ok && err && out)
        error_context(err, err->code == GM_E_CHECK ? "prove %s" : "export to %s", out);
    whole_end(w, ok);
    return ok;
}

bool export_run(const struct export_request *request, const struct compute *c, struct export_result *result, struct gm_error *err)
{
    *result = (struct export_result){0};
    struct export_job j = {.r = *request, .type = export_type_for(request->model, request->type), .c = c, .result = result};
    struct whole w;
    struct ollama_template ollama = {0};
    bool ok = whole_begin(&w, request->out, err);
    j.r.out = request->label ? request->label : w.out; /* from here on for the card: files go by w */
    ok = ok && check_request(&j.r, w.out, err) && (j.r.to != EXPORT_OLLAMA || export_ollama_begin(&j, &ollama, err)) && make(&j, &w, err);
    ollama_template_free(&ollama);
    return end(&w, request->label ? NULL : w.out, ok, err);
}

bool export_whole_folder(const struct export_request *r, bool (*fill)(void *arg, const char *folder, struct gm_error *err), void *arg,
                         struct gm_error *err)
{
    struct whole w;
    bool ok = whole_begin(&w, r->out, err) && check_place(w.out, NULL, r->force, err) && whole_make(&w, err) && fill(arg, w.made, err)
              && dir_sync(w.made, err) && whole_place(&w, w.made, w.out, r->force, err);
    return end(&w, w.out, ok, err);
}
