/* model.c - binding: every parameter of the architecture is looked up in the source, checked, and
 * hung into the model. */
#include "engine/model/model_items.h"

#include "engine/base/mem.h"
#include "engine/model/config_private.h"
#include "engine/model/model_quant.h"
#include "engine/model/ropes.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64 };

struct binding {
    struct model *m;
    const struct model_source *source;
    const struct tensor_info **used;
    int n_used;
    unsigned char *copy; /* room for matrices turned round */
};

__attribute__((format(printf, 2, 3))) static void note(struct model *m, const char *format, ...)
{
    struct str text = {0}, clean = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    text_clean(&clean, str_text(&text), text.len, false, false); /* it holds names from the file, maybe cut */
    str_free(&text);
    char **more = mem_new((size_t)m->n_notes + 1, sizeof *more);
    for (int i = 0; i < m->n_notes; i++)
        more[i] = m->notes[i];
    mem_free(m->notes);
    m->notes = more;
    m->notes[m->n_notes++] = str_take(&clean);
}

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

/* Where the text part stands in a file that holds more: names of several generations of writers. */
static void find_prefix(struct binding *b)
{
    static const char *const prefixes[] = {"model.", "language_model.model.",
                                           "model.language_model."};
    for (int i = 0; i < 3 && b->source->kind == SOURCE_HF; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        if (model_source_find(b->source, name)) {
            b->m->prefix = prefixes[i];
            return;
        }
    }
}

/* The name of an item in this source; mem_free. */
static char *stored_name(const struct binding *b, const struct item *i)
{
    return b->source->kind == SOURCE_GGUF ? mem_copy(i->gguf) : item_stored_name(b->m, i);
}

static void use(struct binding *b, const struct tensor_info *t)
{
    b->used[b->n_used++] = t;
    b->m->weight_bytes += t->bytes;
}

static const struct tensor_info *find(struct binding *b, const struct item *i, struct gm_error *err)
{
    char *name = stored_name(b, i);
    const struct tensor_info *t = model_source_find(b->source, name);
    if (!t)
        error_set(err, GM_E_INPUT,
                  "tensor \"%s\" [%" PRId64 ", %" PRId64
                  "] is missing (the file is not whole, or of another model)",
                  name, i->rows, i->cols);
    else
        use(b, t);
    mem_free(name);
    return t;
}

static bool bind_vector(struct binding *b, const struct item *i, struct gm_error *err)
{
    struct mat m;
    const struct tensor_info *t = find(b, i, err);
    if (!t || !tensor_mat_expect(t, 0, i->cols, &m, err) || !tensor_check_finite(t, err))
        return false;
    float *to = (float *)(uintptr_t)*i->vector;
    mat_row_to_f32(&m, 0, to);
    if (i->plus_one && b->source->kind == SOURCE_HF)
        for (int64_t k = 0; k < i->cols; k++)
            to[k] += 1;
    if (i->turned_heads > 0 && b->source->kind == SOURCE_GGUF) {
        float *from = mem_new((size_t)i->cols, sizeof *from);
        memcpy(from, to, (size_t)i->cols * sizeof *from);
        for (int64_t k = 0; k < i->cols; k++)
            to[k] = from[item_turned_row(k, i->cols, i->turned_heads)];
        mem_free(from);
    }
    return true;
}

static void turn_rows(struct binding *b, struct mat *m, int heads)
{
    const unsigned char *from = m->data;
    for (int64_t r = 0; r < m->rows; r++)
        memcpy(b->copy + (size_t)r * m->row_bytes,
               from + (size_t)item_turned_row(r, m->rows, heads) * m->row_bytes, m->row_bytes);
    m->data = b->copy;
    b->copy += (size_t)m->rows * m->row_bytes;
}

/* As MLX stores it, or as one tensor. */
static bool find_matrix(struct binding *b, const struct item *i, struct mat *m, struct gm_error *err)
{
    char *module = stored_name(b, i);
    char *end = strrchr(module, '.');
    struct quantised q;
    assert(end);
    *end = 0;
    bool quantised = quant_find(b->source, module, &q),
         ok = quantised && quant_mat(b->source, module, &q, i->rows, i->cols, m, err);
    mem_free(module);
    if (!quantised) {
        const struct tensor_info *t = find(b, i, err);
        if (t && t->type == DT_U32)
            return error_set(err, GM_E_INPUT,
                             "tensor \"%s\" holds codes (U32), but its scales are missing", t->name);
        return t && tensor_mat_expect(t, i->rows, i->cols, m, err) && tensor_check_finite(t, err);
    }
    if (ok) {
        use(b, q.weight);
        use(b, q.scales);
        if (q.biases)
            use(b, q.biases);
    }
    return ok;
}

static bool bind_matrix(struct binding *b, const struct item *i, struct gm_error *err)
{
    struct mat m;
    if (!find_matrix(b, i, &m, err))
        return false;
    if (b->copy && i->turned_heads > 0)
        turn_rows(b, &m, i->turned_heads);
    item_set(i, &m);
    return true;
}

/* Tensors that a text model need not read: those of pictures, and what is computed here. */
static bool of_pictures(const struct binding *b, const char *name)
{
    static const char *const heads[] = {"vision_tower.", "multi_modal_projector.",
                                        "model.vision_tower.", "model.multi_modal_projector."};
    if (strcmp(b->m->config.family, "gemma3_text") != 0)
        return false;
    if (b->source->kind == SOURCE_GGUF)
        return starts_with(name, "v.") || starts_with(name, "mm.");
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (starts_with(name, heads[i]))
            return true;
    return false;
}

static bool harmless(const struct binding *b, const char *name)
{
    static const char frequencies[] = ".rotary_emb.inv_freq";
    size_t n = strlen(name), tail = sizeof frequencies - 1;
    if (b->source->kind == SOURCE_GGUF) /* the configuration's reader took them */
        return strcmp(name, "rope_freqs.weight") == 0 || starts_with(name, "rope_factors_");
    return (n > tail && strcmp(name + n - tail, frequencies) == 0) ||
           (b->m->config.tied_head && (starts_with(name, "lm_head.") ||
                                       starts_with(name, "language_model.lm_head.")));
}

/* A tensor that nobody reads would change the numbers (a bias, say): better an error than a
 * silently different model. */
static bool check_all_used(const struct binding *b, struct gm_error *err)
{
    int pictures = 0;
    for (int i = 0; i < b->source->n_tensors; i++) {
        const struct tensor_info *t = model_source_tensor(b->source, i);
        bool known = harmless(b, t->name), picture = of_pictures(b, t->name);
        pictures += picture;
        for (int k = 0; k < b->n_used && !known && !picture; k++)
            known = b->used[k] == t;
        if (!known && !picture)
            return error_set(err, GM_E_UNSUPPORTED,
                             "tensor \"%s\" is not supported in a model of type %s", t->name,
                             b->m->config.family);
    }
    if (pictures > 0)
        note(b->m, "vision tower and projector are not used (%d tensors): the model reads text only",
             pictures);
    return true;
}

static bool room_for_turned(struct binding *b, const struct item *items, int n,
                            struct gm_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++) {
        const struct tensor_info *t = items[i].mat && items[i].turned_heads > 0
                                          ? model_source_find(b->source, items[i].gguf)
                                          : NULL;
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
    struct binding b = {.m = m, .source = source, .used = mem_new((size_t)n * 3, sizeof *b.used)};
    find_prefix(&b);
    bool ok = source->kind != SOURCE_GGUF || room_for_turned(&b, items, n, err);
    for (int i = 0; ok && i < n; i++)
        ok = items[i].vector ? bind_vector(&b, &items[i], err) : bind_matrix(&b, &items[i], err);
    ok = ok && check_all_used(&b, err);
    if (ok && m->config.tied_head)
        m->head = m->embed;
    mem_free(b.used);
    mem_free(items);
    return ok;
}

static void note_unknown_keys(struct model *m, const struct model_source *source)
{
    struct str names = {0};
    config_list_unknown(source->config, &names);
    config_list_unknown(json_object_get(source->config, "text_config"), &names);
    if (names.len)
        note(m, "config.json: %s %s not known here and not used", str_text(&names), strchr(str_text(&names), ',') ? "are" : "is");
    str_free(&names);
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
    if (source->kind == SOURCE_HF)
        note_unknown_keys(m, source);
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
        mem_free(memory->vectors);
        mem_free(memory->copies);
        mem_free(memory);
    }
    if (m->ropes)
        ropes_free(m->ropes);
    mem_free(m->ropes);
    for (int i = 0; i < m->n_notes; i++)
        mem_free(m->notes[i]);
    mem_free(m->notes);
    mem_free(m->masters);
    mem_free(m->full.params);
    mem_free(m->full.w);
    mem_free(m->layers);
    if (m->source) {
        model_source_close(m->source);
        mem_free(m->source);
    }
    mem_free(m);
}
