/* model.c - binding: every parameter of the architecture is looked up in the source, checked, and
 * hung into the model. */
#include "engine/model/model_items.h"

#include "engine/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROPE_ROWS = 2048 }; /* longer sequences: a pass or a decoder makes its own tables */

static const struct {
    const char *hf, *gguf;
} PROJECTIONS[PROJ_COUNT] = {{"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
                             {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
                             {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
                             {"mlp.down_proj", "ffn_down"}};

const char *proj_name(enum proj p)
{
    return PROJECTIONS[p].hf;
}

bool proj_parse(const char *name, enum proj *p)
{
    for (int i = 0; i < PROJ_COUNT; i++) {
        const char *full = PROJECTIONS[i].hf;
        if (strcmp(name, full) == 0 || strcmp(name, strchr(full, '.') + 1) == 0) {
            *p = (enum proj)i;
            return true;
        }
    }
    return false;
}

void proj_shape(const struct model_config *c, enum proj p, int64_t *out, int64_t *in)
{
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    const int64_t outs[PROJ_COUNT] = {q, kv, kv, c->d_model, c->d_ff, c->d_ff, c->d_model};
    *out = outs[p];
    *in = p == PROJ_O ? q : p == PROJ_DOWN ? c->d_ff : c->d_model;
}

static struct item *add_item(struct item *items, int *n)
{
    struct item *i = &items[(*n)++];
    *i = (struct item){0};
    return i;
}

static void add_norm(struct item *items, int *n, int layer, const char *hf, const char *gguf,
                     const float **norm, int64_t cols)
{
    struct item *i = add_item(items, n);
    snprintf(i->name, sizeof i->name, "model.layers.%d.%s.weight", layer, hf);
    snprintf(i->gguf, sizeof i->gguf, "blk.%d.%s.weight", layer, gguf);
    i->norm = norm;
    i->rows = 1;
    i->cols = cols;
}

static void add_projection(struct item *items, int *n, struct model *m, int layer, enum proj p)
{
    struct item *i = add_item(items, n);
    snprintf(i->name, sizeof i->name, "model.layers.%d.%s.weight", layer, PROJECTIONS[p].hf);
    snprintf(i->gguf, sizeof i->gguf, "blk.%d.%s.weight", layer, PROJECTIONS[p].gguf);
    i->mat = &m->layers[layer].w[p];
    proj_shape(&m->config, p, &i->rows, &i->cols);
    if (strcmp(m->config.family, "llama") == 0 && (p == PROJ_Q || p == PROJ_K))
        i->turned_heads = p == PROJ_Q ? m->config.n_heads : m->config.n_kv_heads;
}

static void add_layer(struct item *items, int *n, struct model *m, int layer)
{
    const struct model_config *c = &m->config;
    struct layer *l = &m->layers[layer];
    add_norm(items, n, layer, "input_layernorm", "attn_norm", &l->norm_in, c->d_model);
    for (int p = PROJ_Q; p <= PROJ_O; p++)
        add_projection(items, n, m, layer, (enum proj)p);
    if (c->qk_norm) {
        add_norm(items, n, layer, "self_attn.q_norm", "attn_q_norm", &l->norm_q, c->head_dim);
        add_norm(items, n, layer, "self_attn.k_norm", "attn_k_norm", &l->norm_k, c->head_dim);
    }
    if (c->sandwich_norm) { /* post_attention_layernorm: in Gemma of attention's output, in Llama
                               before the MLP */
        add_norm(items, n, layer, "post_attention_layernorm", "post_attention_norm",
                 &l->norm_attn_out, c->d_model);
        add_norm(items, n, layer, "pre_feedforward_layernorm", "ffn_norm", &l->norm_mlp_in,
                 c->d_model);
    } else {
        add_norm(items, n, layer, "post_attention_layernorm", "ffn_norm", &l->norm_mlp_in,
                 c->d_model);
    }
    for (int p = PROJ_GATE; p <= PROJ_DOWN; p++)
        add_projection(items, n, m, layer, (enum proj)p);
    if (c->sandwich_norm)
        add_norm(items, n, layer, "post_feedforward_layernorm", "post_ffw_norm", &l->norm_mlp_out,
                 c->d_model);
}

static void add_matrix(struct item *items, int *n, const char *hf, const char *gguf,
                       struct mat *mat, int64_t rows, int64_t cols)
{
    struct item *i = add_item(items, n);
    snprintf(i->name, sizeof i->name, "%s", hf);
    snprintf(i->gguf, sizeof i->gguf, "%s", gguf);
    i->mat = mat;
    i->rows = rows;
    i->cols = cols;
}

struct item *model_items(struct model *m, int *n)
{
    const struct model_config *c = &m->config;
    struct item *items = mem_new((size_t)c->n_layers * (PROJ_COUNT + 6) + 3, sizeof *items);
    *n = 0;
    add_matrix(items, n, "model.embed_tokens.weight", "token_embd.weight", &m->embed, c->vocab_size,
               c->d_model);
    for (int i = 0; i < c->n_layers; i++)
        add_layer(items, n, m, i);
    struct item *final = add_item(items, n);
    *final = (struct item){.name = "model.norm.weight",
                           .gguf = "output_norm.weight",
                           .norm = &m->norm_final,
                           .rows = 1,
                           .cols = c->d_model};
    if (!c->tied_head)
        add_matrix(items, n, "lm_head.weight", "output.weight", &m->head, c->vocab_size,
                   c->d_model);
    return items;
}

bool model_lay_out(struct model *m, struct gm_error *err)
{
    const struct model_config *c = &m->config;
    struct model_memory *memory = m->owned = mem_new(1, sizeof *memory);
    m->layers = mem_new((size_t)c->n_layers, sizeof *m->layers);
    int n;
    struct item *items = model_items(m, &n);
    for (int i = 0; i < n; i++)
        memory->n_norms += items[i].norm ? (size_t)items[i].cols : 0;
    memory->norms = mem_alloc(memory->n_norms * sizeof(float), "norm weights", err);
    size_t at = 0;
    for (int i = 0; memory->norms && i < n; i++)
        if (items[i].norm) {
            *items[i].norm = memory->norms + at;
            at += (size_t)items[i].cols;
        }
    mem_free(items);
    int64_t rows = c->max_positions < ROPE_ROWS ? c->max_positions : ROPE_ROWS;
    bool slides = false;
    for (int i = 0; i < c->n_layers; i++)
        slides = slides || c->sliding[i];
    return memory->norms &&
           rope_table_init(&m->rope, rows, c->head_dim, c->rope_theta, c->rope_linear_factor,
                           err) &&
           (!slides ||
            rope_table_init(&m->rope_local, rows, c->head_dim, c->rope_theta_local, 1, err));
}

struct binding {
    struct model *m;
    const struct model_source *source;
    const struct tensor_info **used;
    int n_used;
    unsigned char *copy; /* room for matrices turned round */
};

static const struct tensor_info *find(struct binding *b, const struct item *i, struct gm_error *err)
{
    const char *name = b->source->kind == SOURCE_GGUF ? i->gguf : i->name;
    const struct tensor_info *t = model_source_find(b->source, name);
    if (!t)
        error_set(err, GM_E_INPUT,
                  "tensor \"%s\" [%" PRId64 ", %" PRId64
                  "] is missing (the file is not whole, or of another model)",
                  name, i->rows, i->cols);
    else
        b->used[b->n_used++] = t;
    return t;
}

static bool bind_norm(struct binding *b, const struct item *i, struct gm_error *err)
{
    struct mat m;
    const struct tensor_info *t = find(b, i, err);
    if (!t || !tensor_mat_expect(t, 0, i->cols, &m, err) || !tensor_check_finite(t, err))
        return false;
    float *to = (float *)(uintptr_t)*i->norm;
    mat_row_to_f32(&m, 0, to);
    if (b->m->config.norm_plus_one && b->source->kind == SOURCE_HF)
        for (int64_t k = 0; k < i->cols; k++)
            to[k] += 1;
    b->m->weight_bytes += t->bytes;
    return true;
}

/* GGUF keeps row h*D + 2k + s of q and k of llama files where Hugging Face has h*D + s*D/2 + k. */
static void turn_rows(struct binding *b, struct mat *m, int heads)
{
    int64_t head = m->rows / heads, half = head / 2;
    const unsigned char *from = m->data;
    for (int64_t r = 0; r < m->rows; r++) {
        int64_t h = r / head, s = r % head / half, k = r % half;
        memcpy(b->copy + (size_t)r * m->row_bytes,
               from + (size_t)(h * head + 2 * k + s) * m->row_bytes, m->row_bytes);
    }
    m->data = b->copy;
    b->copy += (size_t)m->rows * m->row_bytes;
}

static bool bind_matrix(struct binding *b, const struct item *i, struct gm_error *err)
{
    const struct tensor_info *t = find(b, i, err);
    if (!t || !tensor_mat_expect(t, i->rows, i->cols, i->mat, err) || !tensor_check_finite(t, err))
        return false;
    b->m->weight_bytes += t->bytes;
    if (b->copy && i->turned_heads > 0)
        turn_rows(b, i->mat, i->turned_heads);
    return true;
}

static bool all_ones(const struct tensor_info *t)
{
    int64_t n = tensor_elements(t);
    const float *f = t->data;
    for (int64_t i = 0; t->type == DT_F32 && i < n; i++)
        if (f[i] != 1.0f)
            return false;
    return t->type == DT_F32;
}

static bool harmless(const struct binding *b, const struct tensor_info *t)
{
    static const char frequencies[] = ".rotary_emb.inv_freq";
    size_t n = strlen(t->name), tail = sizeof frequencies - 1;
    if (b->source->kind == SOURCE_GGUF)
        return strcmp(t->name, "rope_freqs.weight") == 0 && all_ones(t);
    return (n > tail && strcmp(t->name + n - tail, frequencies) == 0) ||
           (b->m->config.tied_head && strcmp(t->name, "lm_head.weight") == 0);
}

/* A tensor that nobody reads would change the numbers (a bias, say): better an error than a
 * silently different model. */
static bool check_all_used(const struct binding *b, struct gm_error *err)
{
    for (int i = 0; i < b->source->n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(b->source, i);
        bool known = harmless(b, t);
        for (int k = 0; k < b->n_used && !known; k++)
            known = b->used[k] == t;
        if (!known)
            return error_set(err, GM_E_UNSUPPORTED,
                             "tensor \"%s\" is not supported in a model of type %s", t->name,
                             b->m->config.family);
    }
    return true;
}

static bool room_for_turned(struct binding *b, const struct item *items, int n,
                            struct gm_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++) {
        const struct tensor_info *t =
            items[i].turned_heads > 0 ? model_source_find(b->source, items[i].gguf) : NULL;
        bytes += t ? t->bytes : 0;
    }
    struct model_memory *memory = b->m->owned;
    if (bytes > 0)
        b->copy = memory->copies = mem_alloc(bytes, "turned attention weights", err);
    return bytes == 0 || b->copy;
}

static bool bind_all(struct model *m, const struct model_source *source, struct gm_error *err)
{
    int n;
    struct item *items = model_items(m, &n);
    struct binding b = {.m = m, .source = source, .used = mem_new((size_t)n, sizeof *b.used)};
    bool ok = source->kind != SOURCE_GGUF || room_for_turned(&b, items, n, err);
    for (int i = 0; ok && i < n; i++)
        ok = items[i].norm ? bind_norm(&b, &items[i], err) : bind_matrix(&b, &items[i], err);
    ok = ok && check_all_used(&b, err);
    if (ok && m->config.tied_head)
        m->head = m->embed;
    mem_free(b.used);
    mem_free(items);
    return ok;
}

struct model *model_open_source(struct model_source *source, struct gm_error *err)
{
    struct model *m = mem_new(1, sizeof *m);
    if (!model_config_read(&m->config, source, err)) {
        mem_free(m);
        return NULL;
    }
    if (!model_lay_out(m, err) || !bind_all(m, source, err)) {
        error_context(err, "open model %s", source->path ? source->path : source->name);
        model_free(m); /* does not own the source yet */
        return NULL;
    }
    m->source = source;
    return m;
}

struct model *model_open(const char *name, struct gm_error *err)
{
    struct model_source *source = mem_new(1, sizeof *source);
    if (!model_source_open(source, name, err)) {
        mem_free(source);
        return NULL;
    }
    struct model *m = model_open_source(source, err);
    if (!m) {
        model_source_close(source);
        mem_free(source);
    }
    return m;
}

struct tokenizer *model_tokenizer(const struct model *m, const struct model_source *source,
                                  const char *name, struct gm_error *err)
{
    struct tokenizer *t = tokenizer_open(source, err);
    if (t && tokenizer_vocab_size(t) > m->config.vocab_size) {
        error_set(err, GM_E_INPUT,
                  "open model %s: the tokenizer has %d pieces, the model %d rows (they do not "
                  "belong together)",
                  name, tokenizer_vocab_size(t), m->config.vocab_size);
        tokenizer_free(t);
        return NULL;
    }
    return t;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    struct model_memory *memory = m->owned;
    if (memory) {
        mem_free(memory->norms);
        mem_free(memory->copies);
        mem_free(memory);
    }
    rope_table_free(&m->rope);
    rope_table_free(&m->rope_local);
    mem_free(m->full.params);
    mem_free(m->full.w);
    mem_free(m->layers);
    if (m->source) {
        model_source_close(m->source);
        mem_free(m->source);
    }
    mem_free(m);
}
