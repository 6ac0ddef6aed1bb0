/* safetensors.c - the reader: u64 length of the header, the header (JSON), the bytes of the tensors
 * without gaps.
 *
 * The rules are those of the format's reference reader (huggingface/safetensors, README.md and
 * tensor.rs), and duplicates are refused.
 */
#include "engine/format/safetensors.h"

#include "engine/base/mem.h"
#include "engine/format/json_scan.h"
#include "engine/format/safetensors_types.h"
#include "engine/format/sniff.h"

#include <inttypes.h>
#include <string.h>

enum { HEADER_MAX = 100000000, TENSORS_MAX = 1 << 20, META_MAX = 1 << 16 };

/* One tensor of the header, as read so far. */
struct entry {
    struct tensor_info info;
    uint64_t begin, end;
    bool has_type, has_shape, has_offsets;
};

static const char again[] = "the file is damaged: download or copy it again";

static bool read_type(struct json_scan *h, const char *name, struct entry *e, struct str *text)
{
    if (!scan_string(h, text))
        return false;
    e->has_type = true;
    switch (safetensors_type(str_text(text), &e->info.type)) {
    case SAFETENSORS_TYPE_READ:
        return true;
    case SAFETENSORS_TYPE_KNOWN:
        return scan_fail(h, GM_E_UNSUPPORTED,
                         "tensor \"%s\" is of type %s, which is not read here (convert it to BF16)",
                         name, str_text(text));
    default:
        return scan_fail(h, GM_E_INPUT, "tensor \"%s\" is of an unknown type \"%s\" (%s)", name,
                         str_text(text), again);
    }
}

static bool read_shape(struct json_scan *h, const char *name, struct entry *e)
{
    e->has_shape = true;
    e->info.n_dims = 0;
    for (bool more = scan_array(h); more; more = scan_more(h, ']')) {
        uint64_t v;
        if (!scan_u64(h, &v))
            return false;
        if (e->info.n_dims == TENSOR_DIMS_MAX)
            return scan_fail(
                h, GM_E_UNSUPPORTED,
                "tensor \"%s\" has more than %d dimensions (such tensors are not read here)", name,
                TENSOR_DIMS_MAX);
        if (v > INT64_MAX)
            return scan_fail(h, GM_E_INPUT,
                             "tensor \"%s\" has a dimension that does not fit 63 bits (%s)", name,
                             again);
        e->info.shape[e->info.n_dims++] = (int64_t)v;
    }
    return !h->failed;
}

static bool read_offsets(struct json_scan *h, const char *name, struct entry *e)
{
    uint64_t v[2] = {0, 0};
    int n = 0;
    e->has_offsets = true;
    for (bool more = scan_array(h); more; more = scan_more(h, ']')) {
        if (n == 2)
            return scan_fail(h, GM_E_INPUT, "tensor \"%s\" has more than two data_offsets (%s)",
                             name, again);
        if (!scan_u64(h, &v[n++]))
            return false;
    }
    if (!h->failed && n != 2)
        return scan_fail(h, GM_E_INPUT, "tensor \"%s\" has fewer than two data_offsets (%s)", name,
                         again);
    e->begin = v[0];
    e->end = v[1];
    return !h->failed;
}

/* What must hold of one tensor alone: its bytes lie in the file and are as many as shape and type
 * say. */
static bool check_entry(struct json_scan *h, const struct entry *e, uint64_t data_size)
{
    const char *name = e->info.name;
    if (!e->has_type || !e->has_shape || !e->has_offsets)
        return scan_fail(h, GM_E_INPUT, "tensor \"%s\" has no %s (%s)", name,
                         !e->has_type    ? "dtype"
                         : !e->has_shape ? "shape"
                                         : "data_offsets",
                         again);
    if (e->end < e->begin)
        return scan_fail(h, GM_E_INPUT,
                         "tensor \"%s\" ends at %" PRIu64 ", before it begins at %" PRIu64 " (%s)",
                         name, e->end, e->begin, again);
    if (e->end > data_size)
        return scan_fail(h, GM_E_INPUT,
                         "tensor \"%s\" ends at byte %" PRIu64 " of the data, which has %" PRIu64
                         " (the file is cut short: download or copy it again)",
                         name, e->end, data_size);
    size_t bytes;
    char shape[128];
    struct gm_error why = {0};
    if (!tensor_bytes(e->info.type, e->info.shape, e->info.n_dims, &bytes, &why))
        return scan_fail(h, why.code, "tensor \"%s\": %s (%s)", name, why.text, again);
    if (bytes != e->end - e->begin)
        return scan_fail(
            h, GM_E_INPUT,
            "tensor \"%s\" of type %s and shape %s needs %zu bytes and has %" PRIu64 " (%s)", name,
            dtype_name(e->info.type), tensor_shape_text(&e->info, shape, sizeof shape), bytes,
            e->end - e->begin, again);
    return true;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [b, e]}; other members are skipped, as the
 * reference does. */
static bool read_tensor(struct safetensors *s, struct json_scan *h, const char *name,
                        const unsigned char *data, uint64_t data_size)
{
    struct entry e = {.info = {.name = name}};
    struct str key = {0}, text = {0};
    bool ok = true;
    for (bool more = scan_object(h); more && ok; more = ok && scan_more(h, '}')) {
        ok = scan_key(h, &key);
        bool *seen = NULL;
        if (ok && strcmp(str_text(&key), "dtype") == 0)
            seen = &e.has_type;
        else if (ok && strcmp(str_text(&key), "shape") == 0)
            seen = &e.has_shape;
        else if (ok && strcmp(str_text(&key), "data_offsets") == 0)
            seen = &e.has_offsets;
        if (ok && seen && *seen)
            ok = scan_fail(h, GM_E_INPUT, "tensor \"%s\" has two fields \"%s\" (%s)", name,
                           str_text(&key), again);
        if (!ok)
            break;
        ok = seen == &e.has_type      ? read_type(h, name, &e, &text)
             : seen == &e.has_shape   ? read_shape(h, name, &e)
             : seen == &e.has_offsets ? read_offsets(h, name, &e)
                                      : scan_skip(h);
    }
    str_free(&key);
    str_free(&text);
    if (!ok || h->failed || !check_entry(h, &e, data_size))
        return false;
    e.info.data = data + e.begin;
    e.info.bytes = (size_t)(e.end - e.begin);
    if (s->table.n >= TENSORS_MAX)
        return scan_fail(h, GM_E_UNSUPPORTED, "more than %d tensors (such files are not read here)",
                         TENSORS_MAX);
    if (!tensor_table_add(&s->table, &e.info))
        return scan_fail(h, GM_E_INPUT, "tensor \"%s\" stands there twice (%s)", name, again);
    return true;
}

static bool read_meta(struct safetensors *s, struct json_scan *h)
{
    struct str key = {0}, value = {0};
    bool ok = true;
    int cap = 0;
    if (scan_peek(h) == 'n') /* MLX writes null where it has nothing to say */
        return scan_skip(h);
    for (bool more = scan_object(h); more && ok; more = ok && scan_more(h, '}')) {
        ok = scan_key(h, &key) && scan_string(h, &value);
        if (ok && safetensors_meta(s, str_text(&key)))
            ok = scan_fail(h, GM_E_INPUT, "__metadata__ has \"%s\" twice (%s)", str_text(&key),
                           again);
        if (ok && s->n_meta >= META_MAX)
            ok = scan_fail(h, GM_E_UNSUPPORTED,
                           "__metadata__ has more than %d entries (such files are not read here)",
                           META_MAX);
        if (!ok)
            break;
        if (s->n_meta == cap) {
            int more_cap = cap ? 2 * cap : 8;
            s->meta = mem_grow(s->meta, 2 * (size_t)cap, 2 * (size_t)more_cap, sizeof *s->meta);
            cap = more_cap;
        }
        s->meta[2 * s->n_meta] = str_take(&key);
        s->meta[2 * s->n_meta + 1] = str_take(&value);
        s->n_meta++;
    }
    str_free(&key);
    str_free(&value);
    return ok && !h->failed;
}

static bool read_header(struct safetensors *s, struct json_scan *h, const unsigned char *data,
                        uint64_t data_size)
{
    struct str key = {0};
    bool ok = true, had_meta = false;
    for (bool more = scan_object(h); more && ok; more = ok && scan_more(h, '}')) {
        ok = scan_key(h, &key);
        if (!ok)
            break;
        if (strcmp(str_text(&key), "__metadata__") == 0) {
            ok = had_meta ? scan_fail(h, GM_E_INPUT, "__metadata__ stands there twice (%s)", again)
                          : read_meta(s, h);
            had_meta = true;
        } else if (key.len == 0) {
            ok = scan_fail(h, GM_E_INPUT, "a tensor without a name (%s)", again);
        } else {
            ok = read_tensor(s, h, str_text(&key), data, data_size);
        }
    }
    str_free(&key);
    return ok && scan_end(h);
}

/* Tensors sorted by place must cover the data from the first byte to the last, none of it twice. */
static bool check_cover(const struct safetensors *s, const unsigned char *data, uint64_t data_size,
                        struct gm_error *err)
{
    uint64_t at = 0;
    for (int i = 0; i < s->table.n; i++) {
        const struct tensor_info *t = &s->table.items[i];
        uint64_t begin = (uint64_t)((const unsigned char *)t->data - data);
        if (begin != at)
            return error_set(err, GM_E_INPUT,
                             "read %s: tensor \"%s\" begins at byte %" PRIu64
                             " of the data, %s byte %" PRIu64 " where the one before ends (%s)",
                             s->label, t->name, begin,
                             begin < at ? "overlapping" : "leaving a gap after", at, again);
        at += t->bytes;
    }
    if (at != data_size)
        return error_set(err, GM_E_INPUT,
                         "read %s: the tensors end at byte %" PRIu64
                         " of the data, the file at %" PRIu64 " (%s)",
                         s->label, at, data_size, again);
    return true;
}

/* Tensors that their type cannot be read from move to memory of our own. */
static bool align_tensors(struct safetensors *s, struct gm_error *err)
{
    for (int i = 0; i < s->table.n; i++) {
        struct tensor_info *t = &s->table.items[i];
        if (t->bytes == 0 || (uintptr_t)t->data % dtype_block_bytes(t->type) == 0)
            continue;
        if (!s->copies)
            s->copies = mem_new((size_t)s->table.n, sizeof *s->copies);
        void *copy = mem_alloc(t->bytes, t->name, err);
        if (!copy)
            return error_context(err, "read %s", s->label);
        memcpy(copy, t->data, t->bytes);
        s->copies[s->n_copies++] = copy;
        t->data = copy;
    }
    return true;
}

static bool parse(struct safetensors *s, struct gm_error *err)
{
    if (!sniff_refuse(s->bytes, s->size, SNIFF_SAFETENSORS, s->label, err))
        return false;
    if (s->size < 8)
        return error_set(err, GM_E_INPUT,
                         "read %s: it has %zu bytes, the length of the header alone needs 8 (%s)",
                         s->label, s->size, again);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | s->bytes[i];
    if (n > HEADER_MAX)
        return error_set(err, GM_E_INPUT,
                         "read %s: at byte 0: a header of %" PRIu64
                         " bytes, at most %d are read (this is no safetensors file, "
                         "or it is damaged: download it again)",
                         s->label, n, HEADER_MAX);
    if (n > s->size - 8)
        return error_set(err, GM_E_INPUT,
                         "read %s: at byte 0: the header should have %" PRIu64
                         " bytes, the file has %zu in all (it is cut "
                         "short: download or copy it again)",
                         s->label, n, s->size);
    const unsigned char *data = s->bytes + 8 + n;
    uint64_t data_size = s->size - 8 - n;
    struct json_scan h = json_scan_begin((const char *)s->bytes + 8, (size_t)n, s->label, 8, err);
    if (!read_header(s, &h, data, data_size))
        return false;
    tensor_table_sort(&s->table);
    if (!check_cover(s, data, data_size, err) || !align_tensors(s, err))
        return false;
    s->tensors = s->table.items;
    s->n_tensors = s->table.n;
    return true;
}

bool safetensors_open_bytes(struct safetensors *s, const void *data, size_t size, const char *label,
                            struct gm_error *err)
{
    *s = (struct safetensors){.label = mem_copy(label), .bytes = data, .size = size};
    if (parse(s, err))
        return true;
    safetensors_close(s);
    return false;
}

bool safetensors_open(struct safetensors *s, const char *path, struct gm_error *err)
{
    struct mapping map = {0};
    *s = (struct safetensors){0};
    if (!mapping_open(&map, path, err))
        return false;
    *s = (struct safetensors){
        .label = mem_copy(path), .bytes = map.data, .size = map.size, .map = map};
    if (parse(s, err))
        return true;
    safetensors_close(s);
    return false;
}

void safetensors_close(struct safetensors *s)
{
    for (int i = 0; i < s->n_copies; i++)
        mem_free(s->copies[i]);
    mem_free(s->copies);
    for (int i = 0; i < 2 * s->n_meta; i++)
        mem_free(s->meta[i]);
    mem_free(s->meta);
    tensor_table_free(&s->table);
    if (s->map.path)
        mapping_close(&s->map);
    mem_free(s->label);
    *s = (struct safetensors){0};
}

const struct tensor_info *safetensors_find(const struct safetensors *s, const char *name)
{
    return tensor_table_find(&s->table, name);
}

const char *safetensors_meta(const struct safetensors *s, const char *key)
{
    for (int i = 0; i < s->n_meta; i++)
        if (strcmp(s->meta[2 * i], key) == 0)
            return s->meta[2 * i + 1];
    return NULL;
}
