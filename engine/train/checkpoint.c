/* checkpoint.c - see checkpoint.h. The state is checkpoint_state.c's. */
#include "engine/train/checkpoint.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/safetensors.h"
#include "engine/text/tokenizer.h"
#include "engine/train/checkpoint_state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct param_set *set_of(const struct checkpoint_parts *p)
{
    return p->lora ? &p->lora->set : &p->model->full;
}

static char *checkpoints_dir(const char *run_dir)
{
    return path_join(run_dir, "checkpoints");
}

char *checkpoint_path(const char *run_dir, int step)
{
    return mem_printf("%s/checkpoints/%07d", run_dir, step);
}

uint64_t checkpoint_bytes(const struct checkpoint_parts *p)
{
    return (uint64_t)set_of(p)->count * sizeof(float) * (p->optimizer->m ? 3 : 1) + (1 << 20);
}

/* ---- tensors by name ---- */

static struct tensor_out tensor_of(const struct param *q, const char *name, const float *array)
{
    struct tensor_out t = {.name = name, .type = DT_F32, .data = array + q->offset};
    if (q->rows == 1) {
        t.n_dims = 1;
        t.shape[0] = q->cols;
    } else {
        t.n_dims = 2;
        t.shape[0] = q->rows;
        t.shape[1] = q->cols;
    }
    return t;
}

/* The arrays of a set (weights: suffix ""; moments: ".m", ".v") as one file. */
static bool write_arrays(const char *path, const struct param_set *set, const float *const *arrays,
                         const char *const *suffixes, int n_arrays, struct gm_error *err)
{
    static const char *const META[] = {"format", "pt"};
    int n = 0;
    struct tensor_out *tensors = mem_new((size_t)set->n_params * (size_t)n_arrays, sizeof *tensors);
    char **names = mem_new((size_t)set->n_params * (size_t)n_arrays, sizeof *names);
    for (int a = 0; a < n_arrays; a++)
        for (int i = 0; i < set->n_params; i++, n++) {
            names[n] = mem_printf("%s%s", set->params[i].name, suffixes[a]);
            tensors[n] = tensor_of(&set->params[i], names[n], arrays[a]);
        }
    bool ok = safetensors_write(path, tensors, n, META, 1, err);
    for (int i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    mem_free(tensors);
    return ok;
}

static bool read_array(const struct safetensors *s, const struct param_set *set, float *array,
                       const char *suffix, struct gm_error *err)
{
    for (int i = 0; i < set->n_params; i++) {
        const struct param *q = &set->params[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s", q->name, suffix);
        const struct tensor_info *t = safetensors_find(s, name);
        if (!t || t->type != DT_F32 || tensor_elements(t) != q->rows * q->cols)
            return error_set(err, GM_E_INPUT, "read %s: tensor %s is %s", s->label, name,
                             t ? "of another type or shape" : "missing");
        memcpy(array + q->offset, t->data, (size_t)(q->rows * q->cols) * sizeof *array);
    }
    return true;
}

static bool is_finite(const float *x, size_t n)
{
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero += x[i] * 0.0f; /* NaN as soon as one value is not finite */
    return zero == 0.0f;
}

/* ---- saving ---- */

static const char *const SIDE_FILES[] = {"config.json",
                                         "generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "tokenizer.model",
                                         "vocab.json",
                                         "merges.txt",
                                         "chat_template.jinja"};
enum { N_SIDE_FILES = sizeof SIDE_FILES / sizeof *SIDE_FILES, SIDE_FILE_MAX = 256 << 20 };

static bool copy_side_files(const char *dir, const struct model_source *source,
                            struct gm_error *err)
{
    for (int i = 0; i < N_SIDE_FILES; i++) {
        if (!model_source_has_file(source, SIDE_FILES[i]))
            continue;
        struct str text = {0};
        bool ok = model_source_read_file(source, SIDE_FILES[i], SIDE_FILE_MAX, &text, err) &&
                  file_replace_in(dir, SIDE_FILES[i], str_text(&text), text.len, err);
        str_free(&text);
        if (!ok)
            return false;
    }
    return true;
}

/* A GGUF base has no files to copy: they are made from what it says. */
static bool make_side_files(const char *dir, const struct checkpoint_parts *p, struct gm_error *err)
{
    char *tokenizer = tokenizer_to_json(p->tokenizer),
         *config = tokenizer_config_to_json(p->tokenizer, p->template_text);
    bool ok = json_write_in(dir, "config.json", model_config_to_json(&p->model->config), err) &&
              file_replace_in(dir, "tokenizer.json", tokenizer, strlen(tokenizer), err) &&
              file_replace_in(dir, "tokenizer_config.json", config, strlen(config), err);
    mem_free(tokenizer);
    mem_free(config);
    return ok;
}

static bool write_weights(const char *dir, const struct checkpoint_parts *p, struct gm_error *err)
{
    if (p->lora)
        return lora_save_mlx(p->lora, dir, p->model_name, err);
    const float *weights = p->model->full.w;
    char *path = path_join(dir, "model.safetensors");
    bool ok = write_arrays(path, &p->model->full, &weights, &(const char *){""}, 1, err);
    mem_free(path);
    return ok && (p->source->kind == SOURCE_HF ? copy_side_files(dir, p->source, err)
                                               : make_side_files(dir, p, err));
}

static bool write_moments(const char *dir, const struct checkpoint_parts *p, struct gm_error *err)
{
    if (!p->optimizer->m)
        return true;
    const float *arrays[] = {p->optimizer->m, p->optimizer->v};
    static const char *const SUFFIXES[] = {".m", ".v"};
    char *path = path_join(dir, "optimizer.safetensors");
    bool ok = write_arrays(path, set_of(p), arrays, SUFFIXES, 2, err);
    mem_free(path);
    return ok;
}

static bool fill_folder(const char *dir, const struct checkpoint_parts *p,
                        const struct checkpoint_state *s, struct gm_error *err)
{
    const struct optimizer *o = p->optimizer;
    if (!is_finite(set_of(p)->w, set_of(p)->count) ||
        (o->m && !(is_finite(o->m, o->count) && is_finite(o->v, o->count))))
        return error_set(err, GM_E_INPUT,
                         "a weight or moment is not finite (lower --learning-rate)");
    return write_weights(dir, p, err) && write_moments(dir, p, err) &&
           checkpoint_state_write(dir, s, err) && dir_sync(dir, err);
}

/* The finished folder takes its name; one of that name, left from before a resume, goes. */
static bool put_in_place(const char *temp, const char *final, const char *parent, const char *old,
                         struct gm_error *err)
{
    bool replaces = dir_exists(final);
    if (replaces && rename(final, old) != 0)
        return error_errno(err, "move %s", final);
    if (rename(temp, final) != 0) {
        error_errno(err, "move %s", temp);
        if (replaces && rename(old, final) != 0)
            error_context(err, "%s is now %s", final, old);
        return false;
    }
    if (!dir_sync(parent, err))
        return false;
    return !replaces || dir_remove(old, err);
}

bool checkpoint_save(const char *run_dir, const struct checkpoint_parts *p,
                     const struct checkpoint_state *s, struct gm_error *err)
{
    char *parent = checkpoints_dir(run_dir), *final = checkpoint_path(run_dir, s->step);
    char *temp = mem_printf("%s/.%07d.tmp-%ld", parent, s->step, (long)getpid()),
         *old = mem_printf("%s/.%07d.old-%ld", parent, s->step, (long)getpid());
    dir_remove(temp, NULL); /* of a saving that failed */
    bool ok = dir_make(temp, err) && fill_folder(temp, p, s, err) &&
              put_in_place(temp, final, parent, old, err);
    if (!ok) {
        dir_remove(temp, NULL);
        error_context(err, "save checkpoint %s", final);
    }
    mem_free(parent);
    mem_free(final);
    mem_free(temp);
    mem_free(old);
    return ok;
}

bool checkpoint_update(const char *run_dir, const struct checkpoint_state *s, struct gm_error *err)
{
    char *dir = checkpoint_path(run_dir, s->step);
    bool ok = checkpoint_state_write(dir, s, err);
    mem_free(dir);
    return ok;
}

bool checkpoint_remove(const char *run_dir, int step, struct gm_error *err)
{
    char *dir = checkpoint_path(run_dir, step), *parent = checkpoints_dir(run_dir),
         *old = mem_printf("%s/.%07d.old-%ld", parent, step, (long)getpid());
    bool ok = rename(dir, old) == 0
                  ? dir_remove(old, err)
                  : error_errno(err, "remove %s", dir); /* never half a checkpoint under its name */
    mem_free(dir);
    mem_free(parent);
    mem_free(old);
    return ok;
}

/* ---- loading ---- */

static bool load_adapter(const char *dir, const struct checkpoint_parts *p, struct gm_error *err)
{
    struct lora *l = lora_load(dir, &p->model->config, err);
    if (!l)
        return false;
    bool ok = l->set.count == p->lora->set.count && l->options.rank == p->lora->options.rank &&
              l->options.keys == p->lora->options.keys && l->options.dora == p->lora->options.dora;
    if (ok) {
        memcpy(p->lora->set.w, l->set.w, l->set.count * sizeof *l->set.w);
        p->lora->origin = l->origin;
    } else {
        error_set(err, GM_E_INPUT, "read %s: kind, rank or projections are not those of the run", dir);
    }
    lora_free(l);
    return ok;
}

static bool load_file(const char *dir, const char *name, const struct param_set *set,
                      float **arrays, const char *const *suffixes, int n, struct gm_error *err)
{
    struct safetensors s;
    char *path = path_join(dir, name);
    bool ok = safetensors_open(&s, path, err);
    mem_free(path);
    if (!ok)
        return false;
    for (int i = 0; ok && i < n; i++)
        ok = read_array(&s, set, arrays[i], suffixes[i], err);
    safetensors_close(&s);
    return ok;
}

static bool load_weights(const char *dir, const struct checkpoint_parts *p, struct gm_error *err)
{
    if (p->lora)
        return load_adapter(dir, p, err);
    if (!load_file(dir, "model.safetensors", &p->model->full, &p->model->full.w,
                   &(const char *){""}, 1, err))
        return false;
    model_norms_changed(p->model);
    return true;
}

bool checkpoint_load(const char *run_dir, int step, const struct checkpoint_parts *p,
                     struct checkpoint_state *s, struct gm_error *err)
{
    static const char *const SUFFIXES[] = {".m", ".v"};
    char *dir = checkpoint_path(run_dir, step);
    float *moments[] = {p->optimizer->m, p->optimizer->v};
    bool ok = checkpoint_read_state(dir, s, NULL, err) && checkpoint_state_verify(dir, err) &&
              load_weights(dir, p, err) &&
              (!p->optimizer->m ||
               load_file(dir, "optimizer.safetensors", set_of(p), moments, SUFFIXES, 2, err));
    if (ok && s->step != step)
        ok = error_set(err, GM_E_INPUT, "read %s/state.json: it is of step %d", dir, s->step);
    if (ok)
        p->optimizer->updates = s->optimizer_updates;
    mem_free(dir);
    return ok;
}

/* ---- listing ---- */

static int step_of_name(const char *name)
{
    if (strlen(name) < 7 || strlen(name) > 9)
        return -1;
    for (const char *p = name; *p; p++)
        if (!isdigit((unsigned char)*p))
            return -1;
    return atoi(name);
}

static int ascending(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

bool checkpoint_steps(const char *run_dir, int **steps, int *n, struct gm_error *err)
{
    char *parent = checkpoints_dir(run_dir), **names;
    size_t count;
    *steps = NULL;
    *n = 0;
    bool ok = !dir_exists(parent) || dir_list(parent, &names, &count, err);
    if (ok && dir_exists(parent)) {
        *steps = mem_new(count + 1, sizeof **steps);
        for (size_t i = 0; i < count; i++) {
            int step = step_of_name(names[i]);
            char *state = mem_printf("%s/%s/state.json", parent, names[i]);
            if (step >= 0 && file_exists(state))
                (*steps)[(*n)++] = step;
            mem_free(state);
            mem_free(names[i]);
        }
        mem_free(names);
        qsort(*steps, (size_t)*n, sizeof **steps, ascending);
    }
    mem_free(parent);
    return ok;
}

void checkpoint_sweep(const char *run_dir)
{
    char *parent = checkpoints_dir(run_dir), **names;
    size_t count;
    if (dir_list(parent, &names, &count, NULL)) {
        for (size_t i = 0; i < count; i++) {
            char *path = path_join(parent, names[i]);
            if (names[i][0] == '.')
                dir_remove(path, NULL);
            mem_free(path);
            mem_free(names[i]);
        }
        mem_free(names);
    }
    mem_free(parent);
}
