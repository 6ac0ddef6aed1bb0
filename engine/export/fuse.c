/* fuse.c - a model folder for Hugging Face with the adapter folded in: W' = W + scale B A, summed in f32, rounded once to the type.
 *
 * Rows are produced while the file is written; no fused matrix ever stands in memory as a whole.
 */
#include "engine/export/export.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SMALL_FILE_MAX = 64 << 20 };

struct fused {
    const struct export_request *request;
    enum dtype type;
    struct tensor_out *tensors;
    struct source *sources;
    int n, cap;
    uint64_t rows_done, rows_all;
};
struct source { /* where a tensor's rows come from */
    struct fused *all;
    char *name;
    struct mat plain;  /* data NULL: projection p of a layer */
    int layer;
    enum proj p;
    float subtract;    /* Gemma's norms: 1 */
};

void export_fused_row(const struct model *m, const struct lora *l, int layer, enum proj p, int64_t o, float *out)
{
    const struct mat *w = &m->layers[layer].w[p];
    mat_row_to_f32(w, o, out);
    const struct lora_pair *pair = l ? lora_at(l, layer, p) : NULL;
    if (!pair)
        return;
    const float *a = l->set.w + pair->a, *b = l->set.w + pair->b + o * l->options.rank;
    for (int64_t i = 0; i < w->cols; i++) {
        float delta = 0;
        for (int k = 0; k < l->options.rank; k++)
            delta += b[k] * a[(int64_t)k * w->cols + i];
        out[i] += l->options.scale * delta;
    }
}

static const struct mat *shape_of(const struct source *s)
{
    return s->plain.data ? &s->plain : &s->all->request->model->layers[s->layer].w[s->p];
}

/* Row `o` as it stands in the file: in `row` for F32, else in `half`. */
static const void *make_row(const struct source *s, int64_t o, float *row, uint16_t *half)
{
    const struct export_request *r = s->all->request;
    const int64_t n = shape_of(s)->cols;
    if (s->plain.data)
        mat_row_to_f32(&s->plain, o, row);
    else
        export_fused_row(r->model, r->lora, s->layer, s->p, o, row);
    for (int64_t i = 0; s->subtract != 0 && i < n; i++)
        row[i] -= s->subtract;
    if (s->all->type == DT_F32)
        return row;
    for (int64_t i = 0; i < n; i++)
        half[i] = s->all->type == DT_BF16 ? f32_to_bf16(row[i]) : f32_to_f16(row[i]);
    return half;
}

/* After each row. False: cancelled. */
static bool go_on(struct source *s, int64_t o, double from, double share, struct gm_error *err)
{
    const struct export_request *r = s->all->request;
    if (r->cancel && (o & 63) == 0 && atomic_load(r->cancel))
        return error_set(err, GM_E_CANCELLED, "export to %s: cancelled", r->out);
    s->all->rows_done++;
    if (r->progress && (s->all->rows_done & 1023) == 0)
        r->progress(r->arg, from + share * (double)s->all->rows_done / (double)s->all->rows_all, s->name);
    return true;
}

static bool produce(void *arg, struct writer *w, struct gm_error *err)
{
    struct source *s = arg;
    const struct mat *m = shape_of(s);
    const size_t bytes = (size_t)m->cols * (s->all->type == DT_F32 ? 4 : 2);
    float *row = mem_new((size_t)m->cols, sizeof *row);
    uint16_t *half = mem_new((size_t)m->cols, sizeof *half);
    bool ok = true;
    for (int64_t o = 0; o < m->rows && ok; o++) {
        writer_write(w, make_row(s, o, row, half), bytes);
        ok = go_on(s, o, 0, 0.6, err);
    }
    mem_free(row);
    mem_free(half);
    return ok;
}

static bool check_tensor(struct source *s, const struct tensor_out *want, const struct safetensors *file, struct gm_error *err)
{
    const struct mat *m = shape_of(s);
    const struct tensor_info *t = safetensors_find(file, want->name);
    const size_t bytes = (size_t)m->cols * (s->all->type == DT_F32 ? 4 : 2);
    if (!t || t->type != want->type || t->bytes != bytes * (size_t)m->rows)
        return error_set(err, GM_E_CHECK, "prove %s: %s is not what was written (the disk may be bad)", s->all->request->out, want->name);
    float *row = mem_new((size_t)m->cols, sizeof *row);
    uint16_t *half = mem_new((size_t)m->cols, sizeof *half);
    bool ok = true;
    for (int64_t o = 0; o < m->rows && ok; o++) {
        if (memcmp(make_row(s, o, row, half), (const unsigned char *)t->data + (size_t)o * bytes, bytes) != 0)
            ok = error_set(err, GM_E_CHECK, "prove %s: row %lld of %s is not what was written (the disk may be bad)", s->all->request->out, (long long)o,
                           want->name);
        ok = ok && go_on(s, o, 0.6, 0.2, err);
    }
    mem_free(row);
    mem_free(half);
    return ok;
}

static struct source *add(struct fused *f, char *name, int n_dims, int64_t rows, int64_t cols)
{
    assert(f->n < f->cap);
    struct source *s = &f->sources[f->n];
    *s = (struct source){.all = f, .name = name};
    f->tensors[f->n++] = (struct tensor_out){.name = name, .type = f->type, .n_dims = n_dims,
                                             .shape = {n_dims == 1 ? cols : rows, n_dims == 1 ? 0 : cols}, .produce = produce, .arg = s};
    f->rows_all += (uint64_t)rows;
    return s;
}

/* The model holds norms with Gemma's +1; Hugging Face stores them without. The stored tensor is exact, so it comes first. */
static void add_norm(struct fused *f, char *name, const float *norm, int64_t n)
{
    const struct model *m = f->request->model;
    if (!norm) {
        mem_free(name);
        return;
    }
    const struct tensor_info *stored = m->source && m->source->kind == SOURCE_HF ? model_source_find(m->source, name) : NULL;
    struct source *s = add(f, name, 1, 1, n);
    if (!stored || !tensor_mat_expect(stored, 0, n, &s->plain, NULL)) {
        s->plain = mat_f32(norm, 1, n);
        s->subtract = m->config.norm_plus_one ? 1 : 0;
    }
}

static void add_layer(struct fused *f, int i)
{
    const struct model *m = f->request->model;
    const struct layer *l = &m->layers[i];
    bool sandwich = m->config.sandwich_norm;
    const int64_t d = m->config.d_model, head = m->config.head_dim;
    const struct { const char *name; const float *norm; int64_t n; } norms[] = {
        {"input_layernorm", l->norm_in, d},
        {"post_attention_layernorm", sandwich ? l->norm_attn_out : l->norm_mlp_in, d},
        {"pre_feedforward_layernorm", sandwich ? l->norm_mlp_in : NULL, d},
        {"post_feedforward_layernorm", sandwich ? l->norm_mlp_out : NULL, d},
        {"self_attn.q_norm", l->norm_q, head},
        {"self_attn.k_norm", l->norm_k, head}};
    for (size_t k = 0; k < sizeof norms / sizeof *norms; k++)
        add_norm(f, mem_printf("model.layers.%d.%s.weight", i, norms[k].name), norms[k].norm, norms[k].n);
    for (int p = 0; p < PROJ_COUNT; p++) {
        struct source *s = add(f, mem_printf("model.layers.%d.%s.weight", i, proj_name((enum proj)p)), 2, l->w[p].rows, l->w[p].cols);
        s->layer = i;
        s->p = (enum proj)p;
    }
}

/* All tensors of the model as Hugging Face names them; sources point to f, which stays where it is. */
static void fused_init(struct fused *f, const struct export_request *r, enum dtype type)
{
    const struct model *m = r->model;
    *f = (struct fused){.request = r, .type = type, .cap = m->config.n_layers * 13 + 3};
    f->tensors = mem_new((size_t)f->cap, sizeof *f->tensors);
    f->sources = mem_new((size_t)f->cap, sizeof *f->sources);
    add(f, mem_copy("model.embed_tokens.weight"), 2, m->embed.rows, m->embed.cols)->plain = m->embed;
    for (int i = 0; i < m->config.n_layers; i++)
        add_layer(f, i);
    add_norm(f, mem_copy("model.norm.weight"), m->norm_final, m->config.d_model);
    if (!m->config.tied_head)
        add(f, mem_copy("lm_head.weight"), 2, m->head.rows, m->head.cols)->plain = m->head;
}

static void fused_free(struct fused *f)
{
    for (int i = 0; i < f->n; i++)
        mem_free(f->sources[i].name);
    mem_free(f->tensors);
    mem_free(f->sources);
}

static bool write_weights(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err)
{
    static const char *const meta[] = {"format", "pt"};
    struct fused f;
    fused_init(&f, r, type);
    char *file = path_join(folder, "model.safetensors");
    bool ok = safetensors_write(file, f.tensors, f.n, meta, 1, err);
    fused_free(&f);
    mem_free(file);
    return ok;
}

bool export_check_fused(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err)
{
    struct fused f;
    struct safetensors written;
    char *file = path_join(folder, "model.safetensors");
    bool ok = safetensors_open(&written, file, err);
    mem_free(file);
    if (!ok)
        return false;
    fused_init(&f, r, type);
    if (written.n_tensors != f.n)
        ok = error_set(err, GM_E_CHECK, "prove %s: it holds %d tensors, not %d", r->out, written.n_tensors, f.n);
    for (int i = 0; i < f.n && ok; i++)
        ok = check_tensor(&f.sources[i], &f.tensors[i], &written, err);
    fused_free(&f);
    safetensors_close(&written);
    return ok;
}

static bool write_config(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err)
{
    const struct model *m = r->model;
    json_t *config = m->source && m->source->config ? json_deep_copy(m->source->config) : model_config_to_json(&m->config);
    const char *name = type == DT_F32 ? "float32" : type == DT_F16 ? "float16" : "bfloat16";
    json_object_set_new(config, "torch_dtype", json_string(name));
    if (json_object_get(config, "dtype"))
        json_object_set_new(config, "dtype", json_string(name));
    char *file = path_join(folder, "config.json");
    bool ok = json_write_file(file, config, err);
    json_decref(config);
    mem_free(file);
    return ok;
}

static bool write_text(const char *folder, const char *name, const char *text, size_t n, struct gm_error *err)
{
    char *file = path_join(folder, name);
    bool ok = file_replace(file, text, n, err);
    mem_free(file);
    return ok;
}

/* The base's own files as they are; from a GGUF, rebuilt. */
static bool write_tokenizer(const struct export_request *r, const char *folder, struct gm_error *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                                        "tokenizer.model", "chat_template.jinja", "added_tokens.json"};
    const struct model_source *source = r->model->source;
    bool ok = true;
    if (source && source->kind == SOURCE_HF) {
        for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++) {
            struct str text = {0};
            if (!model_source_has_file(source, names[i]))
                continue;
            ok = model_source_read_file(source, names[i], SMALL_FILE_MAX, &text, err)
                 && write_text(folder, names[i], str_text(&text), text.len, err);
            str_free(&text);
        }
        return ok;
    }
    char *tokenizer = tokenizer_to_json(r->tokenizer), *config = tokenizer_config_to_json(r->tokenizer, r->template_text);
    ok = write_text(folder, "tokenizer.json", tokenizer, strlen(tokenizer), err)
         && write_text(folder, "tokenizer_config.json", config, strlen(config), err);
    mem_free(tokenizer);
    mem_free(config);
    return ok;
}

bool export_write_fused(const struct export_request *r, enum dtype type, const char *folder, struct gm_error *err)
{
    return write_weights(r, type, folder, err) && write_config(r, type, folder, err) && write_tokenizer(r, folder, err);
}
