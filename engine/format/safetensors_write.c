/* safetensors_write.c - the writer, and the table of type names that reader and writer share. */
#include "engine/format/safetensors.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/format/safetensors_types.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct type_row {
    const char *name;
    int type; /* enum dtype, or -1: known but not read */
};

/* In the format's own order, which is the writer's order backwards. */
static const struct type_row types[] = {
    {"BOOL", DT_BOOL},   {"F4", -1},      {"F6_E2M3", -1}, {"F6_E3M2", -1}, {"U8", DT_U8},
    {"I8", DT_I8},       {"F8_E5M2", -1}, {"F8_E4M3", -1}, {"F8_E8M0", -1}, {"F8_E4M3FNUZ", -1},
    {"F8_E5M2FNUZ", -1}, {"I16", DT_I16}, {"U16", DT_U16}, {"F16", DT_F16}, {"BF16", DT_BF16},
    {"I32", DT_I32},     {"U32", DT_U32}, {"F32", DT_F32}, {"C64", -1},     {"F64", DT_F64},
    {"I64", DT_I64},     {"U64", DT_U64},
};
enum { N_TYPES = sizeof types / sizeof *types };

enum safetensors_known safetensors_type(const char *name, enum dtype *type)
{
    for (int i = 0; i < N_TYPES; i++) {
        if (strcmp(types[i].name, name) != 0)
            continue;
        if (types[i].type < 0)
            return SAFETENSORS_TYPE_KNOWN;
        *type = (enum dtype)types[i].type;
        return SAFETENSORS_TYPE_READ;
    }
    return SAFETENSORS_TYPE_UNKNOWN;
}

int safetensors_type_rank(enum dtype type)
{
    for (int i = 0; i < N_TYPES; i++)
        if (types[i].type == (int)type)
            return i;
    return -1;
}

const char *safetensors_type_name(enum dtype type)
{
    int rank = safetensors_type_rank(type);
    return rank < 0 ? NULL : types[rank].name;
}

struct job {
    const struct tensor_out *t;
    size_t bytes;
};

static int by_type_and_name(const void *a, const void *b)
{
    const struct tensor_out *x = ((const struct job *)a)->t, *y = ((const struct job *)b)->t;
    int p = safetensors_type_rank(x->type), q = safetensors_type_rank(y->type);
    return p != q ? q - p : strcmp(x->name, y->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(**(const char *const *const *)a, **(const char *const *const *)b);
}

static bool check_jobs(const char *path, struct job *jobs, int n, struct gm_error *err)
{
    for (int i = 0; i < n; i++) {
        const struct tensor_out *t = jobs[i].t;
        if (!t->name || !*t->name || strcmp(t->name, "__metadata__") == 0 ||
            !utf8_valid(t->name, strlen(t->name)))
            return error_set(
                err, GM_E_INPUT,
                "write %s: tensor %d has a name that the format cannot hold (rename it)", path, i);
        if (!safetensors_type_name(t->type))
            return error_set(
                err, GM_E_UNSUPPORTED,
                "write %s: tensor \"%s\" is of type %s, which safetensors cannot hold (write BF16)",
                path, t->name, dtype_name(t->type));
        if (!tensor_bytes(t->type, t->shape, t->n_dims, &jobs[i].bytes, err))
            return error_context(err, "write %s: tensor \"%s\"", path, t->name);
    }
    qsort(jobs, (size_t)n, sizeof *jobs, by_type_and_name);
    for (int i = 1; i < n; i++)
        if (strcmp(jobs[i - 1].t->name, jobs[i].t->name) == 0)
            return error_set(err, GM_E_INPUT, "write %s: tensor \"%s\" twice (rename one)", path,
                             jobs[i].t->name);
    return true;
}

static void put_meta(struct str *header, const char *const *pairs, int n_pairs)
{
    const char *const **order = mem_new((size_t)n_pairs, sizeof *order);
    for (int i = 0; i < n_pairs; i++)
        order[i] = pairs + 2 * i;
    qsort(order, (size_t)n_pairs, sizeof *order, by_key);
    str_add(header, "\"__metadata__\":{");
    for (int i = 0; i < n_pairs; i++) {
        if (i > 0)
            str_add_char(header, ',');
        json_quote(header, order[i][0], strlen(order[i][0]));
        str_add_char(header, ':');
        json_quote(header, order[i][1], strlen(order[i][1]));
    }
    str_add_char(header, '}');
    mem_free(order);
}

static bool put_header(const char *path, struct str *header, const struct job *jobs, int n,
                       const char *const *pairs, int n_pairs, struct gm_error *err)
{
    size_t at = 0;
    str_add_char(header, '{');
    if (n_pairs > 0)
        put_meta(header, pairs, n_pairs);
    for (int i = 0; i < n; i++) {
        const struct tensor_out *t = jobs[i].t;
        size_t end;
        if (!checked_add(at, jobs[i].bytes, &end))
            return error_set(err, GM_E_INPUT,
                             "write %s: the sizes of its tensors do not fit 64 bits (write fewer)",
                             path);
        if (i > 0 || n_pairs > 0)
            str_add_char(header, ',');
        json_quote(header, t->name, strlen(t->name));
        str_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_type_name(t->type));
        for (int d = 0; d < t->n_dims; d++)
            str_printf(header, "%s%" PRId64, d ? "," : "", t->shape[d]);
        str_printf(header, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    str_add_char(header, '}');
    while (header->len % 8 != 0)
        str_add_char(header, ' ');
    return true;
}

bool tensor_out_put(const struct tensor_out *t, size_t bytes, struct writer *w, const char *path,
                    struct gm_error *err)
{
    uint64_t before = w->written;
    if (t->produce) {
        if (!t->produce(t->arg, w, err))
            return error_context(err, "write %s: tensor \"%s\"", path, t->name);
    } else {
        writer_write(w, t->data, bytes);
    }
    /* A failed write keeps its errno for writer_commit to tell; the count says nothing then. */
    if (w->failed_errno == 0 && w->written - before != bytes)
        return error_set(err, GM_E_INPUT,
                         "write %s: tensor \"%s\" needs %zu bytes and got %" PRIu64
                         " (a defect of this program)",
                         path, t->name, bytes, w->written - before);
    return true;
}

bool safetensors_write(const char *path, const struct tensor_out *tensors, int n,
                       const char *const *meta_pairs, int n_pairs, struct gm_error *err)
{
    struct job *jobs = mem_new((size_t)(n > 0 ? n : 1), sizeof *jobs);
    struct str header = {0};
    struct writer w = {0};
    for (int i = 0; i < n; i++)
        jobs[i].t = &tensors[i];
    bool ok = check_jobs(path, jobs, n, err) &&
              put_header(path, &header, jobs, n, meta_pairs, n_pairs, err) &&
              writer_open(&w, path, err);
    if (ok) {
        unsigned char length[8];
        for (int i = 0; i < 8; i++)
            length[i] = (unsigned char)((uint64_t)header.len >> (8 * i));
        writer_write(&w, length, sizeof length);
        writer_write(&w, str_text(&header), header.len);
        for (int i = 0; i < n && ok; i++)
            ok = tensor_out_put(jobs[i].t, jobs[i].bytes, &w, path, err);
        if (ok)
            ok = writer_commit(&w, err);
        else
            writer_abort(&w);
    }
    str_free(&header);
    mem_free(jobs);
    return ok;
}
