/* model_items.c - the parameters of the architecture in order: names in both kinds of files, shapes,
 * and where each hangs in the model. */
#include "engine/model/model_items.h"

#include "engine/base/mem.h"
#include "engine/model/config_private.h"
#include "engine/model/ropes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { ROPE_ROWS = 2048 }; /* longer sequences: a pass or a decoder makes its own tables */

static const struct {
    const char *hf, *gguf;
    enum proj first;
    int n;
} MODULES[] = {{"self_attn.q_proj", "attn_q", PROJ_Q, 1},
               {"self_attn.k_proj", "attn_k", PROJ_K, 1},
               {"self_attn.v_proj", "attn_v", PROJ_V, 1},
               {"self_attn.o_proj", "attn_output", PROJ_O, 1},
               {"mlp.gate_proj", "ffn_gate", PROJ_GATE, 1},
               {"mlp.up_proj", "ffn_up", PROJ_UP, 1},
               {"mlp.down_proj", "ffn_down", PROJ_DOWN, 1},
               {"self_attn.qkv_proj", "attn_qkv", PROJ_Q, 3},
               {"mlp.gate_up_proj", "ffn_up", PROJ_GATE, 2}};
enum { N_MODULES = sizeof MODULES / sizeof *MODULES };

const char *proj_name(enum proj p)
{
    return MODULES[p].hf;
}

bool module_parse(const char *name, unsigned *keys)
{
    for (int i = 0; i < N_MODULES; i++) {
        const char *full = MODULES[i].hf;
        if (strcmp(name, full) == 0 || strcmp(name, strchr(full, '.') + 1) == 0) {
            *keys = ((1u << MODULES[i].n) - 1) << MODULES[i].first;
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

/* The module that begins with product p, as an index of MODULES. */
static int module_at(const struct model_config *c, enum proj p)
{
    return !c->fused          ? (int)p
           : p == PROJ_Q      ? PROJ_COUNT
           : p == PROJ_GATE   ? PROJ_COUNT + 1
                              : (int)p;
}

int model_modules(const struct model_config *c, struct module modules[MODULE_COUNT_MAX])
{
    int n = 0;
    for (int p = 0; p < PROJ_COUNT; p += modules[n - 1].n) {
        int at = module_at(c, (enum proj)p);
        struct module *m = &modules[n++];
        *m = (struct module){.name = MODULES[at].hf,
                             .gguf = MODULES[at].gguf,
                             .first = (enum proj)p,
                             .n = MODULES[at].n};
        for (int k = 0; k < m->n; k++) {
            int64_t out;
            proj_shape(c, (enum proj)(p + k), &out, &m->in);
            m->out += out;
        }
    }
    return n;
}

bool module_find(const struct model_config *c, const char *name, struct module *m)
{
    struct module all[MODULE_COUNT_MAX];
    int n = model_modules(c, all);
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0) {
            *m = all[i];
            return true;
        }
    return false;
}

bool module_of(const struct model_config *c, enum proj p, struct module *m)
{
    struct module all[MODULE_COUNT_MAX];
    int n = model_modules(c, all);
    for (int i = 0; i < n; i++)
        if (all[i].first == p) {
            *m = all[i];
            return true;
        }
    return false;
}

/* A list that grows item by item. */
struct listing {
    struct model *m;
    struct item *items;
    int n, layer;
};

static struct item *add(struct listing *l, int64_t rows, int64_t cols)
{
    struct item *i = &l->items[l->n++];
    *i = (struct item){.rows = rows, .cols = cols, .n_parts = 1, .part_rows = {rows}};
    return i;
}

static void name_item(struct item *i, int layer, const char *hf, const char *gguf, const char *end)
{
    snprintf(i->name, sizeof i->name, "model.layers.%d.%s.%s", layer, hf, end);
    snprintf(i->gguf, sizeof i->gguf, "blk.%d.%s.%s", layer, gguf, end);
}

static void add_norm(struct listing *l, const char *hf, const char *gguf, const float **norm,
                     int64_t cols)
{
    struct item *i = add(l, 1, cols);
    name_item(i, l->layer, hf, gguf, "weight");
    i->vector = norm;
    i->plus_one = l->m->config.norm_plus_one;
}

static bool has_bias(const struct model_config *c, enum proj p)
{
    return p <= PROJ_V ? c->qkv_bias : p == PROJ_O ? c->o_bias : c->mlp_bias;
}

int item_turned_heads(const struct model_config *c, enum proj p)
{
    if (!config_family_of(c)->turns_rows || p > PROJ_K)
        return 0;
    return p == PROJ_Q ? c->n_heads : c->n_kv_heads;
}

int64_t item_turned_row(int64_t row, int64_t rows, int heads)
{
    int64_t head = rows / heads, half = head / 2;
    return row / head * head + 2 * (row % half) + row % head / half;
}

static void add_module(struct listing *l, const struct module *m)
{
    const struct model_config *c = &l->m->config;
    struct layer *layer = &l->m->layers[l->layer];
    struct item *w = add(l, m->out, m->in);
    name_item(w, l->layer, m->name, m->gguf, "weight");
    w->mat = &layer->w[m->first];
    w->turned_heads = item_turned_heads(c, m->first);
    w->n_parts = m->n;
    for (int k = 0; k < m->n; k++) {
        int64_t in;
        proj_shape(c, (enum proj)((int)m->first + k), &w->part_rows[k], &in);
    }
    if (!has_bias(c, m->first))
        return;
    assert(m->n == 1); /* no family has both */
    struct item *b = add(l, 1, m->out);
    name_item(b, l->layer, m->name, m->gguf, "bias");
    b->vector = &layer->bias[m->first];
    b->turned_heads = w->turned_heads;
}

static void add_layer(struct listing *l)
{
    const struct model_config *c = &l->m->config;
    struct layer *layer = &l->m->layers[l->layer];
    struct module modules[MODULE_COUNT_MAX];
    int n = model_modules(c, modules), k = 0;
    add_norm(l, "input_layernorm", "attn_norm", &layer->norm_in, c->d_model);
    for (; modules[k].first <= PROJ_O; k++)
        add_module(l, &modules[k]);
    if (c->qk_norm) {
        add_norm(l, "self_attn.q_norm", "attn_q_norm", &layer->norm_q, c->head_dim);
        add_norm(l, "self_attn.k_norm", "attn_k_norm", &layer->norm_k, c->head_dim);
    }
    if (c->sandwich_norm) { /* post_attention_layernorm: in Gemma of attention's output, in Llama
                               before the MLP */
        add_norm(l, "post_attention_layernorm", "post_attention_norm", &layer->norm_attn_out,
                 c->d_model);
        add_norm(l, "pre_feedforward_layernorm", "ffn_norm", &layer->norm_mlp_in, c->d_model);
    } else {
        add_norm(l, "post_attention_layernorm", "ffn_norm", &layer->norm_mlp_in, c->d_model);
    }
    for (; k < n; k++)
        add_module(l, &modules[k]);
    if (c->sandwich_norm)
        add_norm(l, "post_feedforward_layernorm", "post_ffw_norm", &layer->norm_mlp_out,
                 c->d_model);
}

static struct item *add_named(struct listing *l, const char *hf, const char *gguf, int64_t rows,
                              int64_t cols)
{
    struct item *i = add(l, rows, cols);
    snprintf(i->name, sizeof i->name, "%s", hf);
    snprintf(i->gguf, sizeof i->gguf, "%s", gguf);
    return i;
}

struct item *model_items(struct model *m, int *n)
{
    enum { PER_LAYER = 2 * PROJ_COUNT + 6 };
    const struct model_config *c = &m->config;
    struct listing l = {
        .m = m, .items = mem_new((size_t)c->n_layers * PER_LAYER + 3, sizeof *l.items)};
    add_named(&l, "model.embed_tokens.weight", "token_embd.weight", c->vocab_size, c->d_model)->mat =
        &m->embed;
    for (l.layer = 0; l.layer < c->n_layers; l.layer++)
        add_layer(&l);
    struct item *final = add_named(&l, "model.norm.weight", "output_norm.weight", 1, c->d_model);
    final->vector = &m->norm_final;
    final->plus_one = c->norm_plus_one;
    if (!c->tied_head)
        add_named(&l, "lm_head.weight", "output.weight", c->vocab_size, c->d_model)->mat = &m->head;
    *n = l.n;
    return l.items;
}

char *item_stored_name(const struct model *m, const struct item *i)
{
    static const char inner[] = "model.";
    if (strncmp(i->name, inner, strlen(inner)) == 0)
        return mem_printf("%s%s", m->prefix, i->name + strlen(inner));
    return mem_printf("%s%s", strcmp(m->prefix, "language_model.model.") == 0 ? "language_model." : "", i->name);
}

void item_set(const struct item *i, const struct mat *whole)
{
    int64_t at = 0;
    for (int k = 0; k < i->n_parts; at += i->part_rows[k++])
        i->mat[k] = mat_rows(whole, at, i->part_rows[k]);
}

struct mat item_mat(const struct item *i)
{
    struct mat whole = i->mat[0]; /* the others follow it in memory */
    whole.rows = i->rows;
    return whole;
}

bool model_lay_out(struct model *m, struct gm_error *err)
{
    const struct model_config *c = &m->config;
    struct model_memory *memory = m->owned = mem_new(1, sizeof *memory);
    m->prefix = "model.";
    m->layers = mem_new((size_t)c->n_layers, sizeof *m->layers);
    int n;
    struct item *items = model_items(m, &n);
    for (int i = 0; i < n; i++)
        memory->n_vectors += items[i].vector ? (size_t)items[i].cols : 0;
    memory->vectors = mem_alloc(memory->n_vectors * sizeof(float), "norm weights", err);
    size_t at = 0;
    for (int i = 0; memory->vectors && i < n; i++)
        if (items[i].vector) {
            *items[i].vector = memory->vectors + at;
            at += (size_t)items[i].cols;
        }
    mem_free(items);
    if (!memory->vectors)
        return false;
    m->ropes = mem_new(1, sizeof *m->ropes);
    return ropes_init(m->ropes, c, c->max_positions < ROPE_ROWS ? c->max_positions : ROPE_ROWS, err);
}
