/* plan.c - which tensors a weight file will hold. */
#include "engine/export/plan.h"

#include "engine/base/mem.h"
#include "engine/model/model_items.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const float F16_END = 65520; /* from here on F16 rounds to infinity */

static struct planned *add(struct plan *p, char *name, enum dtype type, int64_t rows, int64_t cols)
{
    p->tensors = mem_room(p->tensors, p->n, &p->cap, sizeof *p->tensors);
    struct planned *t = &p->tensors[p->n++];
    *t = (struct planned){.plan = p, .name = name, .type = type, .n_dims = 2, .shape = {rows, cols}, .rows = rows, .cols = cols};
    return t;
}

/* ---- what the rows of an item are made of ---- */

bool export_projection(const struct model *m, const struct mat *mat, int *layer, enum proj *p)
{
    for (int i = 0; i < m->config.n_layers; i++)
        if (mat >= m->layers[i].w && mat < m->layers[i].w + PROJ_COUNT) {
            *layer = i;
            *p = (enum proj)(mat - m->layers[i].w);
            return true;
        }
    return false;
}

static void set_pieces(struct planned *t, const struct item *item)
{
    t->n_pieces = item->n_parts;
    for (int i = 0; i < item->n_parts; i++) {
        struct plan_piece *piece = &t->pieces[i];
        piece->mat = item->mat[i];
        if (!export_projection(t->plan->job->r.model, &item->mat[i], &piece->layer, &piece->proj))
            piece->layer = -1;
    }
}

/* Norms and biases. The model holds Gemma's norms with +1, as GGUF does; Hugging Face stores them without, and what is stored is exact. A bias is turned
 * as the rows that it is added to. */
static void set_vector(struct planned *t, const struct item *item)
{
    const struct model *m = t->plan->job->r.model;
    const bool hf = t->plan->form == PLAN_SAFETENSORS;
    const struct tensor_info *stored = hf && m->full.count == 0 && m->source && m->source->kind == SOURCE_HF
                                           ? model_source_find(m->source, t->name)
                                           : NULL;
    struct plan_piece *piece = &t->pieces[0];
    t->n_pieces = 1;
    piece->layer = -1;
    if (stored && tensor_mat_expect(stored, 0, item->cols, &piece->mat, NULL))
        return;
    piece->mat = mat_f32(*item->vector, t->rows, t->cols);
    t->add = hf && item->plus_one ? -1 : 0;
    t->turned_heads = hf ? 0 : item->turned_heads;
}

static struct planned *add_vector(struct plan *p, char *name, enum dtype type, const struct item *item)
{
    bool turned = p->form == PLAN_GGUF && item->turned_heads > 0;
    struct planned *t = add(p, name, type, turned ? item->cols : 1, turned ? 1 : item->cols);
    t->n_dims = 1;
    t->shape[0] = item->cols;
    set_vector(t, item);
    return t;
}

/* ---- safetensors ---- */

static void add_mlx(struct plan *p, const struct item *item, char *name)
{
    size_t stem = strlen(name) - strlen(".weight");
    int bits = p->mlx == DT_MLX4 ? 4 : 8;
    struct planned *t = add(p, name, DT_U32, item->rows, item->cols);
    t->shape[1] = item->cols * bits / 32;
    t->part = PART_CODES;
    set_pieces(t, item);
    for (int part = PART_SCALES; part <= PART_BIASES; part++) {
        t = add(p, mem_printf("%.*s.%s", (int)stem, name, part == PART_SCALES ? "scales" : "biases"), p->mlx_scales, item->rows, item->cols);
        t->shape[1] = item->cols / p->group;
        t->part = (enum plan_part)part;
        set_pieces(t, item);
    }
}

static bool is_planned(const struct plan *p, size_t n_planned, const char *name, size_t n, const char *end)
{
    for (size_t i = 0; i < n_planned; i++)
        if (strncmp(p->tensors[i].name, name, n) == 0 && strcmp(p->tensors[i].name + n, end) == 0)
            return true;
    return false;
}

/* What else stands in the base's files (a vision tower) goes along as it is. Scales and biases of MLX codes belong to matrices planned already. */
static bool add_others(struct plan *p, struct gm_error *err)
{
    const struct model_source *source = p->job->r.model->source;
    const size_t mine = p->n;
    for (int i = 0; source && source->kind == SOURCE_HF && i < source->n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(source, i);
        size_t n = strlen(t->name);
        bool companion = text_ends(t->name, ".scales") || text_ends(t->name, ".biases");
        if (is_planned(p, mine, t->name, n, "") || (companion && is_planned(p, mine, t->name, n - strlen(".scales"), ".weight")))
            continue;
        if (companion && p->mlx == DT_COUNT)
            return error_set(err, GM_E_UNSUPPORTED, "%s is quantised and no part of the text model (choose --type mlx4 or mlx8)", t->name);
        struct planned *o = add(p, mem_copy(t->name), t->type, 1, 1);
        o->n_dims = t->n_dims;
        memcpy(o->shape, t->shape, sizeof o->shape);
        o->row_bytes = t->bytes;
        o->bits = t->data;
    }
    if (p->n > mine)
        export_note(p->job, "%zu tensors beside the text model are copied as they are", p->n - mine);
    return true;
}

static bool plan_safetensors(struct plan *p, struct item *items, int n, struct gm_error *err)
{
    int left = 0;
    for (int i = 0; i < n; i++) {
        char *name = item_stored_name(p->job->r.model, &items[i]);
        bool coded = p->mlx != DT_COUNT && items[i].cols % p->group == 0;
        if (items[i].vector)
            add_vector(p, name, p->floats, &items[i]);
        else if (coded)
            add_mlx(p, &items[i], name);
        else
            set_pieces(add(p, name, p->floats, items[i].rows, items[i].cols), &items[i]);
        left += p->mlx != DT_COUNT && !items[i].vector && !coded;
    }
    if (left > 0)
        export_note(p->job, "%d matrices stay %s: their rows are no multiple of %d", left, dtype_name(p->floats), p->group);
    return add_others(p, err);
}

/* Groups of 64, or of 32 where that is what the rows allow; the base's own where it is quantised the same way. */
static void choose_mlx(struct plan *p, const struct item *items, int n)
{
    const struct model *m = p->job->r.model;
    const struct mat *q = &m->layers[0].w[PROJ_Q];
    p->mlx = p->job->type == EXPORT_MLX4 ? DT_MLX4 : DT_MLX8;
    p->mlx_scales = p->floats;
    p->group = 64;
    if (p->job->r.lora && dtype_is_mlx(q->type))
        export_note(
            p->job,
            "the adapted matrices are quantised a second time, which can cost more than the adapter changed (--to all tells, --type bf16 does not)");
    if (q->type == p->mlx) {
        p->group = q->group;
        p->mlx_scales = q->scale_type;
        return;
    }
    for (int i = 0; i < n; i++)
        if (items[i].mat && items[i].cols % 64 != 0)
            p->group = 32;
}

/* ---- GGUF ---- */

/* "blk.7.attn_v.weight" -> "attn_v": what a note names. */
static void kind_of(const char *name, char out[48])
{
    int layer;
    if (sscanf(name, "blk.%d.%47[a-z_0-9]", &layer, out) != 2)
        snprintf(out, 48, "%s", name);
}

struct fallback { /* matrices of one kind that got another type than was wanted */
    char kind[48];
    enum dtype wanted, got;
    int64_t cols;
    int count;
};
enum { FALLBACKS_MAX = 64 };

static void count_fallback(struct fallback *list, int *n, const char *name, enum dtype wanted, enum dtype got, int64_t cols)
{
    struct fallback f = {.wanted = wanted, .got = got, .cols = cols, .count = 1};
    kind_of(name, f.kind);
    for (int i = 0; i < *n; i++)
        if (strcmp(list[i].kind, f.kind) == 0 && list[i].wanted == wanted && list[i].got == got) {
            list[i].count++;
            return;
        }
    if (*n < FALLBACKS_MAX)
        list[(*n)++] = f;
}

static void tell_fallbacks(struct export_job *j, const struct fallback *list, int n)
{
    bool told[FALLBACKS_MAX] = {false};
    for (int i = 0; i < n; i++) {
        if (told[i])
            continue;
        struct str names = {0};
        for (int k = i; k < n; k++)
            if (list[k].wanted == list[i].wanted && list[k].got == list[i].got && list[k].cols == list[i].cols) {
                told[k] = true;
                str_printf(&names, "%s%s", names.len ? ", " : "", list[k].kind);
                if (list[k].count > 1)
                    str_printf(&names, " (%d)", list[k].count);
            }
        if (list[i].cols > 0)
            export_note(j, "%s instead of %s: rows of %" PRId64 " are no multiple of %d: %s", dtype_name(list[i].got), dtype_name(list[i].wanted),
                        list[i].cols, dtype_block(list[i].wanted), str_text(&names));
        else
            export_note(j, "%s instead of %s: weights beyond the range of F16: %s", dtype_name(list[i].got), dtype_name(list[i].wanted),
                        str_text(&names));
        str_free(&names);
    }
}

/* Tensors that follow from the configuration. */
static void add_computed(struct plan *p)
{
    const struct model_config *c = &p->job->r.model->config;
    int n = model_config_tensors(c, p->computed);
    for (int i = 0; i < n; i++) {
        struct planned *t = add(p, mem_copy(p->computed[i].name), DT_F32, 1, p->computed[i].n);
        t->n_dims = 1;
        t->shape[0] = t->cols;
        t->n_pieces = 1;
        t->pieces[0] = (struct plan_piece){.mat = mat_f32(p->computed[i].values, 1, t->cols), .layer = -1};
    }
}

static void plan_gguf(struct plan *p, struct item *items, int n)
{
    const struct model_config *c = &p->job->r.model->config;
    struct fallback list[FALLBACKS_MAX];
    int n_list = 0;
    add_computed(p);
    for (int i = 0; i < n; i++) {
        if (items[i].vector) {
            add_vector(p, mem_copy(items[i].gguf), DT_F32, &items[i]);
            continue;
        }
        enum dtype wanted = storage_wanted(p->job->type, items[i].gguf, c->n_layers, c->tied_head), got = storage_that_fits(wanted, items[i].cols);
        struct planned *t = add(p, mem_copy(items[i].gguf), got, items[i].rows, items[i].cols);
        t->turned_heads = items[i].turned_heads;
        set_pieces(t, &items[i]);
        if (got != wanted)
            count_fallback(list, &n_list, t->name, wanted, got, t->cols);
    }
    tell_fallbacks(p->job, list, n_list);
}

/* A weight that F16 would make infinite: GGUF takes F32 for that tensor; readers of safetensors take all tensors in one type. */
static bool settle_f16(struct plan *p, struct gm_error *err)
{
    struct fallback list[FALLBACKS_MAX];
    int n_list = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct planned *t = &p->tensors[i];
        if (t->type != DT_F16 || t->bits || t->part != PART_WHOLE || (t->pieces[0].mat.type == DT_F16 && !p->job->r.lora))
            continue;
        export_progress(p->job, 0, t->name);
        if (export_cancelled(p->job, err))
            return false;
        if (plan_max_abs(t) < F16_END)
            continue;
        if (p->form == PLAN_SAFETENSORS)
            return error_set(err, GM_E_UNSUPPORTED, "tensor %s reaches beyond the range of F16, which ends at 65504 (choose --type bf16 or f32)",
                             t->name);
        t->type = DT_F32;
        count_fallback(list, &n_list, t->name, DT_F16, DT_F32, 0);
    }
    tell_fallbacks(p->job, list, n_list);
    return true;
}

/* ---- opening ---- */

static enum dtype floats_of(const struct plan *p)
{
    switch (p->job->type) {
    case EXPORT_F32:
        return DT_F32;
    case EXPORT_F16:
        return DT_F16;
    case EXPORT_MLX4:
    case EXPORT_MLX8: { /* MLX rounds scales after it has made the codes: F16's three bits more are worth much. Gemma's activations need BF16's range */
        const struct model *m = p->job->r.model;
        enum dtype base = m->layers[0].w[PROJ_Q].type;
        if (dtype_is_mlx(base))
            return m->layers[0].w[PROJ_Q].scale_type == DT_F16 ? DT_F16 : DT_BF16;
        return base == DT_F32 || base == DT_BF16 || m->config.scaled_embed ? DT_BF16 : DT_F16;
    }
    default:
        return DT_BF16;
    }
}

/* Bytes of a row as the file has it. */
static size_t row_bytes(const struct planned *t)
{
    size_t bytes = 0;
    if (t->part == PART_WHOLE)
        dtype_row_bytes(t->type, (size_t)t->cols, &bytes);
    else
        bytes = (size_t)t->shape[1] * dtype_block_bytes(t->type);
    return bytes;
}

/* Scratch of the threads: a row in f32 and what is made of it. */
static bool make_room(struct plan *p, struct gm_error *err)
{
    int64_t widest = 256;
    for (size_t i = 0; i < p->n; i++)
        widest = p->tensors[i].cols > widest ? p->tensors[i].cols : widest;
    p->work_bytes = (size_t)widest * 4 * sizeof(float);
    p->chunk = mem_alloc(PLAN_CHUNK_BYTES + (size_t)widest * sizeof(float), "rows of an export", err);
    p->work = p->chunk ? mem_alloc(p->work_bytes * (size_t)pool_slots(p->job->c->pool), "rows of an export", err) : NULL;
    return p->work != NULL;
}

bool plan_open(struct plan *p, struct export_job *j, enum plan_form form, struct gm_error *err)
{
    *p = (struct plan){.job = j, .form = form, .mlx = DT_COUNT};
    p->floats = floats_of(p);
    int n;
    bool ok = true;
    struct item *items = model_items((struct model *)(uintptr_t)j->r.model, &n); /* lists, changes nothing */
    if (form == PLAN_GGUF) {
        plan_gguf(p, items, n);
    } else {
        if (j->type == EXPORT_MLX4 || j->type == EXPORT_MLX8)
            choose_mlx(p, items, n);
        ok = plan_safetensors(p, items, n, err);
    }
    mem_free(items);
    ok = ok && make_room(p, err) && settle_f16(p, err);
    for (size_t i = 0; ok && i < p->n; i++) {
        struct planned *t = &p->tensors[i];
        if (!t->bits)
            t->row_bytes = row_bytes(t);
        p->bytes_all += (uint64_t)t->rows * t->row_bytes;
    }
    if (!ok)
        plan_close(p);
    return ok;
}

void plan_close(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        mem_free(p->tensors[i].name);
    mem_free(p->tensors);
    mem_free(p->work);
    mem_free(p->chunk);
    *p = (struct plan){0};
}

struct tensor_out plan_tensor_out(struct planned *t)
{
    struct tensor_out o = {.name = t->name, .type = t->type, .n_dims = t->n_dims, .produce = plan_produce, .arg = t};
    memcpy(o.shape, t->shape, sizeof o.shape);
    return o;
}
