/* gguf_write.c - the GGUF writer: header, key-value pairs, tensor infos, padding, data (ggml,
 * docs/gguf.md).
 *
 * Pairs are kept as the bytes that they will be. A mistake of the caller (a key or a tensor told
 * twice, a name too long) is kept too, and told by gguf_write: builders need no error of their own.
 */
#include "engine/format/gguf_write.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 3, ALIGNMENT = 32, NAME_MAX_BYTES = 63, KEY_MAX = 65535 };

struct gguf_out {
    struct str pairs;
    struct str keys; /* each followed by a line break: keys hold none */
    uint64_t n_pairs;
    struct tensor_table table;  /* names, types, shapes, sizes, in the order told */
    struct tensor_out *tensors; /* the same, with where the data comes from */
    size_t cap;
    struct gm_error fault; /* the first mistake */
};

struct gguf_out *gguf_out_new(void)
{
    return mem_new(1, sizeof(struct gguf_out));
}

void gguf_out_free(struct gguf_out *g)
{
    if (!g)
        return;
    str_free(&g->pairs);
    str_free(&g->keys);
    tensor_table_free(&g->table);
    mem_free(g->tensors);
    mem_free(g);
}

/* Every machine that this program is built for is little-endian, as the file is. */
static void put(struct str *s, const void *value, size_t bytes)
{
    str_add_n(s, value, bytes);
}

static void put_u32(struct str *s, uint32_t v)
{
    put(s, &v, sizeof v);
}

static void put_u64(struct str *s, uint64_t v)
{
    put(s, &v, sizeof v);
}

static void put_text(struct str *s, const char *text, size_t n)
{
    put_u64(s, n);
    put(s, text, n);
}

static void fault(struct gguf_out *g, const char *what, const char *name)
{
    if (g->fault.code == GM_OK)
        error_set(&g->fault, GM_E_INPUT, "%s \"%.80s\" (a defect of this program)", what, name);
}

static bool has_key(const struct gguf_out *g, const char *key, size_t n)
{
    const char *at = str_text(&g->keys);
    while ((at = strstr(at, key)) != NULL) {
        if ((at == g->keys.data || at[-1] == '\n') && at[n] == '\n')
            return true;
        at += n;
    }
    return false;
}

static void put_key(struct gguf_out *g, const char *key, enum gguf_type type)
{
    size_t n = strlen(key);
    if (n == 0 || n > KEY_MAX || strchr(key, '\n') || !utf8_valid(key, n))
        fault(g, "no key is called", key);
    else if (has_key(g, key, n))
        fault(g, "told twice: key", key);
    else
        str_printf(&g->keys, "%s\n", key);
    g->n_pairs++;
    put_text(&g->pairs, key, n);
    put_u32(&g->pairs, type);
}

static void put_array(struct gguf_out *g, const char *key, enum gguf_type element, size_t n)
{
    put_key(g, key, GGUF_ARRAY);
    put_u32(&g->pairs, element);
    put_u64(&g->pairs, n);
}

void gguf_out_text(struct gguf_out *g, const char *key, const char *text)
{
    put_key(g, key, GGUF_STRING);
    put_text(&g->pairs, text, strlen(text));
}

void gguf_out_u32(struct gguf_out *g, const char *key, uint32_t value)
{
    put_key(g, key, GGUF_U32);
    put_u32(&g->pairs, value);
}

void gguf_out_f32(struct gguf_out *g, const char *key, float value)
{
    put_key(g, key, GGUF_F32);
    put(&g->pairs, &value, sizeof value);
}

void gguf_out_bool(struct gguf_out *g, const char *key, bool value)
{
    put_key(g, key, GGUF_BOOL);
    str_add_char(&g->pairs, value ? 1 : 0);
}

void gguf_out_texts(struct gguf_out *g, const char *key, const struct gguf_text *texts, size_t n)
{
    put_array(g, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_text(&g->pairs, texts[i].data, texts[i].len);
}

void gguf_out_f32s(struct gguf_out *g, const char *key, const float *values, size_t n)
{
    put_array(g, key, GGUF_F32, n);
    put(&g->pairs, values, n * sizeof *values);
}

void gguf_out_i32s(struct gguf_out *g, const char *key, const int32_t *values, size_t n)
{
    put_array(g, key, GGUF_I32, n);
    put(&g->pairs, values, n * sizeof *values);
}

void gguf_out_bools(struct gguf_out *g, const char *key, const bool *values, size_t n)
{
    put_array(g, key, GGUF_BOOL, n);
    for (size_t i = 0; i < n; i++)
        str_add_char(&g->pairs, values[i] ? 1 : 0);
}

void gguf_out_tensor(struct gguf_out *g, const struct tensor_out *tensor)
{
    struct tensor_info info = {
        .name = tensor->name, .type = tensor->type, .n_dims = tensor->n_dims};
    memcpy(info.shape, tensor->shape, sizeof info.shape);
    size_t n = strlen(tensor->name);
    struct gm_error why = {0};
    uint32_t id;
    if (n == 0 || n > NAME_MAX_BYTES || !utf8_valid(tensor->name, n))
        fault(g, "GGUF has no room for a tensor called", tensor->name);
    if (!gguf_type_id(tensor->type, &id) && g->fault.code == GM_OK)
        error_set(&g->fault, GM_E_UNSUPPORTED,
                  "tensor \"%.80s\" is of type %s, which GGUF cannot hold (choose another --type)",
                  tensor->name, dtype_name(tensor->type));
    if (!tensor_bytes(tensor->type, tensor->shape, tensor->n_dims, &info.bytes, &why) &&
        g->fault.code == GM_OK) {
        g->fault = why;
        error_context(&g->fault, "tensor \"%.80s\"", tensor->name);
    }
    if (!tensor_table_add(&g->table, &info)) {
        fault(g, "told twice: tensor", tensor->name);
        return;
    }
    int i = g->table.n - 1;
    g->tensors = mem_room(g->tensors, (size_t)i, &g->cap, sizeof *g->tensors);
    g->tensors[i] = *tensor;
}

static uint64_t padded(uint64_t n)
{
    return (n + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

/* Everything before the data, padded, into head; the bytes of the data into *data. */
static bool put_head(const struct gguf_out *g, struct str *head, uint64_t *data)
{
    put(head, "GGUF", 4);
    put_u32(head, VERSION);
    put_u64(head, (uint64_t)g->table.n);
    put_u64(head, g->n_pairs);
    put(head, str_text(&g->pairs), g->pairs.len);
    *data = 0;
    for (int i = 0; i < g->table.n; i++) {
        const struct tensor_info *t = &g->table.items[i];
        uint32_t id = 0;
        gguf_type_id(t->type, &id);
        put_text(head, t->name, strlen(t->name));
        put_u32(head, (uint32_t)t->n_dims);
        for (int d = t->n_dims - 1; d >= 0; d--) /* innermost first */
            put_u64(head, (uint64_t)t->shape[d]);
        put_u32(head, id);
        put_u64(head, *data);
        uint64_t end;
        if (!checked_add_u64(*data, t->bytes, &end) || end > UINT64_MAX - ALIGNMENT)
            return false;
        *data = padded(end);
    }
    while (head->len % ALIGNMENT != 0)
        str_add_char(head, 0);
    return true;
}

static bool put_tensors(const struct gguf_out *g, struct writer *w, const char *path,
                        struct gm_error *err)
{
    static const char zeros[ALIGNMENT];
    for (int i = 0; i < g->table.n; i++) {
        struct tensor_out t = g->tensors[i];
        size_t bytes = g->table.items[i].bytes;
        t.name = g->table.items[i].name; /* the copy: the caller's may be gone */
        if (!tensor_out_put(&t, bytes, w, path, err))
            return false;
        writer_write(w, zeros, (size_t)(padded(bytes) - bytes));
    }
    return true;
}

bool gguf_write(struct gguf_out *g, const char *path, struct gm_error *err)
{
    struct str head = {0};
    struct writer w = {0};
    uint64_t data;
    if (g->fault.code != GM_OK)
        return error_set(err, g->fault.code, "write %s: %s", path, g->fault.text);
    bool ok = put_head(g, &head, &data) ||
              error_set(err, GM_E_INPUT,
                        "write %s: the sizes of its tensors do not fit 64 bits (write fewer)",
                        path);
    if (ok && (ok = writer_open(&w, path, err))) {
        writer_write(&w, str_text(&head), head.len);
        ok = put_tensors(g, &w, path, err);
        if (ok)
            ok = writer_commit(&w, err);
        else
            writer_abort(&w);
    }
    str_free(&head);
    return ok;
}
