/* tensor.c - what can be said of a tensor without knowing which file it came from, and the table of
 * names. */
#include "engine/format/tensor.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t tensor_elements(const struct tensor_info *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= t->shape[i];
    return n;
}

const char *tensor_shape_text(const struct tensor_info *t, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < t->n_dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? ", " : "", t->shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
    return out;
}

bool tensor_bytes(enum dtype type, const int64_t *shape, int n_dims, size_t *bytes,
                  struct gm_error *err)
{
    if (n_dims < 0 || n_dims > TENSOR_DIMS_MAX)
        return error_set(err, GM_E_UNSUPPORTED, "%d dimensions (at most %d are read)", n_dims,
                         TENSOR_DIMS_MAX);
    size_t rows = 1, elements = 1;
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] < 0)
            return error_set(err, GM_E_INPUT, "dimension %d is negative", i);
        bool fits = checked_mul(elements, (size_t)shape[i], &elements) && elements <= INT64_MAX;
        if (fits && i + 1 < n_dims)
            fits = checked_mul(rows, (size_t)shape[i], &rows);
        if (!fits)
            return error_set(err, GM_E_INPUT, "the product of its dimensions does not fit 63 bits");
    }
    size_t cols = n_dims > 0 ? (size_t)shape[n_dims - 1] : 1, row_bytes;
    if (cols % (size_t)dtype_block(type) != 0)
        return error_set(err, GM_E_INPUT,
                         "a row of %zu elements is no multiple of the %d of a block of %s", cols,
                         dtype_block(type), dtype_name(type));
    if (!dtype_row_bytes(type, cols, &row_bytes) || !checked_mul(row_bytes, rows, bytes) ||
        *bytes > INT64_MAX)
        return error_set(err, GM_E_INPUT, "its size in bytes does not fit 63 bits");
    return true;
}

bool tensor_mat(const struct tensor_info *t, struct mat *out, struct gm_error *err)
{
    char shape[128];
    if (!dtype_is_weight(t->type))
        return error_set(err, GM_E_UNSUPPORTED,
                         "tensor \"%s\" holds %s, which is no weight type (convert it to BF16)",
                         t->name, dtype_name(t->type));
    if (t->n_dims < 1 || tensor_elements(t) == 0)
        return error_set(
            err, GM_E_INPUT,
            "tensor \"%s\" has shape %s (a matrix or a vector with elements is needed)", t->name,
            tensor_shape_text(t, shape, sizeof shape));
    int64_t cols = t->shape[t->n_dims - 1];
    *out = (struct mat){
        .data = t->data, .type = t->type, .rows = tensor_elements(t) / cols, .cols = cols};
    if (!dtype_row_bytes(t->type, (size_t)cols, &out->row_bytes))
        return error_set(err, GM_E_INPUT,
                         "tensor \"%s\": a row of %" PRId64
                         " elements is no multiple of a block of %s",
                         t->name, cols, dtype_name(t->type));
    return true;
}

bool tensor_mat_expect(const struct tensor_info *t, int64_t rows, int64_t cols, struct mat *out,
                       struct gm_error *err)
{
    char shape[128];
    bool fits = rows == 0 ? t->n_dims == 1 && t->shape[0] == cols
                          : t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
    if (fits)
        return tensor_mat(t, out, err);
    tensor_shape_text(t, shape, sizeof shape);
    if (rows == 0)
        return error_set(err, GM_E_INPUT,
                         "tensor \"%s\" has shape %s (the configuration asks for [%" PRId64 "])",
                         t->name, shape, cols);
    return error_set(err, GM_E_INPUT,
                     "tensor \"%s\" has shape %s (the configuration asks for [%" PRId64 ", %" PRId64
                     "])",
                     t->name, shape, rows, cols);
}

/* The table of names. */

static uint32_t *slot_of(const struct tensor_table *table, const char *name)
{
    uint32_t mask = table->n_slots - 1, at = (uint32_t)hash64(name, strlen(name), 0) & mask;
    while (table->slots[at] != 0 && strcmp(table->items[table->slots[at] - 1].name, name) != 0)
        at = (at + 1) & mask;
    return &table->slots[at];
}

static void reindex(struct tensor_table *table, uint32_t n_slots)
{
    mem_free(table->slots);
    table->slots = mem_new(n_slots, sizeof *table->slots);
    table->n_slots = n_slots;
    for (int i = 0; i < table->n; i++)
        *slot_of(table, table->items[i].name) = (uint32_t)i + 1;
}

bool tensor_table_add(struct tensor_table *table, const struct tensor_info *info)
{
    if (tensor_table_find(table, info->name))
        return false;
    if (table->n == table->cap) {
        int cap = table->cap ? 2 * table->cap : 64;
        table->items =
            mem_grow(table->items, (size_t)table->cap, (size_t)cap, sizeof *table->items);
        table->cap = cap;
        reindex(table, 2 * (uint32_t)cap);
    }
    struct tensor_info *item = &table->items[table->n];
    *item = *info;
    item->name = mem_copy(info->name);
    uint32_t *slot = slot_of(table, item->name);
    *slot = (uint32_t)++table->n;
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor_info *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q)
        return p < q ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

void tensor_table_sort(struct tensor_table *table)
{
    if (table->n == 0)
        return;
    qsort(table->items, (size_t)table->n, sizeof *table->items, by_place);
    reindex(table, table->n_slots);
}

const struct tensor_info *tensor_table_find(const struct tensor_table *table, const char *name)
{
    if (table->n == 0)
        return NULL;
    uint32_t slot = *slot_of(table, name);
    return slot ? &table->items[slot - 1] : NULL;
}

void tensor_table_free(struct tensor_table *table)
{
    for (int i = 0; i < table->n; i++)
        mem_free((void *)(uintptr_t)table->items[i].name);
    mem_free(table->items);
    mem_free(table->slots);
    *table = (struct tensor_table){0};
}
