/* gguf.c - opening a GGUF file: "GGUF", version, counts, key-value pairs, tensor infos, padding,
 * data (ggml, docs/gguf.md).
 *
 * The cursor never leaves the file; no count is believed before the bytes that it promises can be
 * there.
 */
#include "engine/format/gguf.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/format/sniff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    STRING_MAX = 16 << 20,
    ARRAY_MAX = 64 << 20,
    KEY_MAX = 65535,
    NAME_MAX_BYTES = 63,
    KV_MAX = 1 << 16,
    TENSORS_MAX = 1 << 20,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MIN = 8,
    ALIGNMENT_MAX = 1 << 20,
    KV_MIN_BYTES = 8 + 1 + 4 + 1,        /* length of key, one letter, type, one byte */
    TENSOR_MIN_BYTES = 8 + 1 + 4 + 4 + 8 /* length of name, one letter, dimensions, type, offset */
};

struct cursor {
    const char *path, *key; /* key: of the pair whose value is read; NULL: none */
    uint64_t item;          /* and which element of it */
    const unsigned char *data;
    size_t size, at;
    struct gm_error *err;
};

static const char again[] = "the file is damaged: download or copy it again";

static bool fail(struct cursor *c, enum gm_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(struct cursor *c, enum gm_code code, const char *format, ...)
{
    char fact[700];
    va_list args;
    va_start(args, format);
    vsnprintf(fact, sizeof fact, format, args);
    va_end(args);
    if (c->key && c->item == 0)
        return error_set(c->err, code, "read %s: at byte %zu: key \"%.80s\": %s", c->path, c->at, c->key, fact);
    if (c->key)
        return error_set(c->err, code, "read %s: at byte %zu: key \"%.80s\", element %" PRIu64 ": %s", c->path, c->at, c->key,
                         c->item, fact);
    return error_set(c->err, code, "read %s: at byte %zu: %s", c->path, c->at, fact);
}

static bool need_bytes(struct cursor *c, uint64_t n, const char *what)
{
    if (n <= c->size - c->at)
        return true;
    return fail(c, GM_E_INPUT,
                "%s needs %" PRIu64
                " bytes, the file has %zu left (it is cut short: download or copy it again)",
                what, n, c->size - c->at);
}

static bool get_u32(struct cursor *c, uint32_t *out, const char *what)
{
    if (!need_bytes(c, 4, what))
        return false;
    memcpy(out, c->data + c->at, 4);
    c->at += 4;
    return true;
}

static bool get_u64(struct cursor *c, uint64_t *out, const char *what)
{
    if (!need_bytes(c, 8, what))
        return false;
    memcpy(out, c->data + c->at, 8);
    c->at += 8;
    return true;
}

static bool get_text(struct cursor *c, struct gguf_text *out, uint64_t max, const char *what)
{
    uint64_t n;
    if (!get_u64(c, &n, what))
        return false;
    if (n > max) {
        c->at -= 8;
        return fail(c, GM_E_INPUT, "%s claims %" PRIu64 " bytes, at most %" PRIu64 " are read (%s)",
                    what, n, max, again);
    }
    if (!need_bytes(c, n, what))
        return false;
    *out = (struct gguf_text){.data = (const char *)c->data + c->at, .len = (size_t)n};
    c->at += (size_t)n;
    return true;
}

/* A key or a tensor's name: text that can be a C string. */
static bool get_name(struct cursor *c, char **out, uint64_t max, const char *what)
{
    struct gguf_text t;
    if (!get_text(c, &t, max, what))
        return false;
    if (t.len == 0)
        return fail(c, GM_E_INPUT, "%s is empty (%s)", what, again);
    if (memchr(t.data, 0, t.len) || !utf8_valid(t.data, t.len))
        return fail(c, GM_E_INPUT, "%s holds a NUL or is not UTF-8 (%s)", what, again);
    *out = mem_copy_n(t.data, t.len);
    return true;
}

/* Bytes of one element; 0 for strings and arrays. */
static size_t type_bytes(enum gguf_type t)
{
    switch (t) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32:
        return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64:
        return 8;
    default:
        return 0;
    }
}

/* Looks for the key's slot: the one that holds it, or the free one. */
static uint32_t *kv_slot(const struct gguf *g, const char *key)
{
    uint32_t mask = g->n_slots - 1, at = (uint32_t)hash64(key, strlen(key), 0) & mask;
    while (g->slots[at] != 0 && strcmp(g->kv[g->slots[at] - 1].key, key) != 0)
        at = (at + 1) & mask;
    return &g->slots[at];
}

const struct gguf_kv *gguf_get(const struct gguf *g, const char *key)
{
    uint32_t slot = g->n_slots ? *kv_slot(g, key) : 0;
    return slot ? &g->kv[slot - 1] : NULL;
}

/* n strings, one after the other: where each lies. */
static bool get_strings(struct cursor *c, struct gguf_kv *kv)
{
    if (!need_bytes(c, kv->n * 8, "an array of strings")) /* n is at most ARRAY_MAX */
        return false;
    kv->strings = mem_alloc((size_t)(kv->n ? kv->n : 1) * sizeof *kv->strings, kv->key, c->err);
    if (!kv->strings)
        return error_context(c->err, "read %s", c->path);
    for (c->item = 0; c->item < kv->n; c->item++)
        if (!get_text(c, &kv->strings[c->item], STRING_MAX, "a string"))
            return false;
    return true;
}

static bool get_values(struct cursor *c, struct gguf_kv *kv)
{
    kv->data = c->data + c->at;
    if (kv->element == GGUF_STRING)
        return get_strings(c, kv);
    size_t bytes = (size_t)kv->n * type_bytes(kv->element);
    if (!need_bytes(c, bytes, kv->type == GGUF_ARRAY ? "an array" : "a value"))
        return false;
    for (size_t i = 0; kv->element == GGUF_BOOL && i < bytes; i++)
        if (kv->data[i] > 1)
            return fail(c, GM_E_INPUT, "it holds a truth value that is neither 0 nor 1 (%s)", again);
    c->at += bytes;
    return true;
}

static bool get_type(struct cursor *c, enum gguf_type *out)
{
    uint32_t id;
    if (!get_u32(c, &id, "the type of a value"))
        return false;
    if (id >= GGUF_TYPE_COUNT) {
        c->at -= 4;
        return fail(c, GM_E_INPUT, "it is of type %" PRIu32 ", which does not exist (%s)", id, again);
    }
    *out = (enum gguf_type)id;
    return true;
}

static bool get_kv(struct cursor *c, struct gguf *g)
{
    struct gguf_kv *kv = &g->kv[g->n_kv];
    if (!get_name(c, &kv->key, KEY_MAX, "a key"))
        return false;
    g->n_kv++; /* from here on gguf_close frees it */
    uint32_t *slot = kv_slot(g, kv->key);
    if (*slot)
        return fail(c, GM_E_INPUT, "key \"%s\" stands there twice (%s)", kv->key, again);
    *slot = (uint32_t)g->n_kv;
    c->key = kv->key;
    c->item = 0;
    if (!get_type(c, &kv->type))
        return false;
    kv->element = kv->type;
    kv->n = 1;
    if (kv->type == GGUF_ARRAY) {
        if (!get_type(c, &kv->element) || !get_u64(c, &kv->n, "the length of an array"))
            return false;
        if (kv->element == GGUF_ARRAY)
            return fail(c, GM_E_UNSUPPORTED,
                        "it is an array of arrays (such files are not read here)");
        if (kv->n > ARRAY_MAX)
            return fail(c, GM_E_INPUT,
                        "it claims an array of %" PRIu64 " elements, at most %d are read (%s)",
                        kv->n, ARRAY_MAX, again);
    }
    bool ok = get_values(c, kv);
    c->key = NULL;
    return ok;
}

static bool get_pairs(struct cursor *c, struct gguf *g, uint64_t n)
{
    if (n > KV_MAX || n > (c->size - c->at) / KV_MIN_BYTES)
        return fail(c, GM_E_INPUT,
                    "the header claims %" PRIu64
                    " key-value pairs, more than the file can hold or than is read (%s)",
                    n, again);
    uint32_t slots = 64;
    while (slots < 2 * n)
        slots *= 2;
    g->slots = mem_new(slots, sizeof *g->slots);
    g->n_slots = slots;
    g->kv = mem_new((size_t)n + 1, sizeof *g->kv);
    for (uint64_t i = 0; i < n; i++)
        if (!get_kv(c, g))
            return false;
    return true;
}

static bool check_alignment(struct gguf *g, struct cursor *c)
{
    const struct gguf_kv *kv = gguf_get(g, "general.alignment");
    g->alignment = ALIGNMENT_DEFAULT;
    if (!kv)
        return true;
    uint32_t a;
    if (kv->type != GGUF_U32)
        return error_set(c->err, GM_E_INPUT,
                         "read %s: general.alignment is of type %s, not u32 (%s)", c->path,
                         gguf_type_name(kv->type), again);
    memcpy(&a, kv->data, 4);
    if (a < ALIGNMENT_MIN || a > ALIGNMENT_MAX || (a & (a - 1)) != 0)
        return error_set(c->err, GM_E_INPUT,
                         "read %s: general.alignment is %" PRIu32
                         ", it must be a power of two of %d to %d (%s)",
                         c->path, a, ALIGNMENT_MIN, ALIGNMENT_MAX, again);
    g->alignment = a;
    return true;
}

static bool check_split(const struct gguf *g, struct cursor *c)
{
    const struct gguf_kv *kv = gguf_get(g, "split.count");
    uint16_t parts = 0;
    if (kv && kv->type == GGUF_U16)
        memcpy(&parts, kv->data, 2);
    if (parts <= 1)
        return true;
    return error_set(c->err, GM_E_UNSUPPORTED,
                     "read %s: it is one of %u parts of a split file (join them with "
                     "`llama-gguf-split --merge`)",
                     c->path, parts);
}

/* Where the tensor's data must lie: right behind the one before, padded. */
static bool place_tensor(struct cursor *c, const struct gguf *g, struct tensor_info *t,
                         uint64_t offset, uint64_t *expected)
{
    struct gm_error why = {0};
    uint64_t end;
    if (!tensor_bytes(t->type, t->shape, t->n_dims, &t->bytes, &why))
        return fail(c, why.code, "tensor \"%s\": %s (%s)", t->name, why.text, again);
    if (offset % g->alignment != 0)
        return fail(c, GM_E_INPUT,
                    "tensor \"%s\" begins at byte %" PRIu64
                    " of the data, which is no multiple of the alignment %" PRIu64 " (%s)",
                    t->name, offset, g->alignment, again);
    if (offset != *expected)
        return fail(c, GM_E_INPUT,
                    "tensor \"%s\" begins at byte %" PRIu64 " of the data, %s %" PRIu64
                    " where the one before ends (%s)",
                    t->name, offset, offset < *expected ? "overlapping" : "leaving a gap after",
                    *expected, again);
    if (!checked_add_u64(offset, t->bytes, &end) || !checked_add_u64(end, g->alignment - 1, &end))
        return fail(c, GM_E_INPUT, "tensor \"%s\" ends beyond 64 bits (%s)", t->name, again);
    *expected = end & ~(g->alignment - 1);
    t->data = c->data; /* placed when the start of the data is known */
    return true;
}

static bool get_tensor(struct cursor *c, struct gguf *g, uint64_t *offset, uint64_t *expected)
{
    struct tensor_info t = {0};
    char *name = NULL;
    uint32_t n_dims, type;
    bool ok = get_name(c, &name, NAME_MAX_BYTES, "the name of a tensor");
    t.name = name;
    if (ok)
        ok = get_u32(c, &n_dims, "the number of dimensions");
    if (ok && n_dims > TENSOR_DIMS_MAX)
        ok = fail(c, GM_E_INPUT, "tensor \"%s\" has %" PRIu32 " dimensions, at most %d exist (%s)",
                  name, n_dims, TENSOR_DIMS_MAX, again);
    for (uint32_t i = 0; ok && i < n_dims; i++) {
        uint64_t v;
        ok = get_u64(c, &v, "a dimension");
        if (ok && v > INT64_MAX)
            ok = fail(c, GM_E_INPUT, "tensor \"%s\" has a dimension that does not fit 63 bits (%s)",
                      name, again);
        if (ok)
            t.shape[n_dims - 1 - i] = (int64_t)v;
    }
    if (ok) {
        t.n_dims = (int)n_dims;
        ok = get_u32(c, &type, "the type of a tensor");
    }
    if (ok && !gguf_tensor_type(type, &t.type)) {
        const char *known = gguf_tensor_type_name(type);
        ok = known ? fail(c, GM_E_UNSUPPORTED,
                          "tensor \"%s\" is of type %s, which is not read here (take a Q8_0, "
                          "Q4_K_M, BF16 or F16 file)",
                          name, known)
                   : fail(c, GM_E_UNSUPPORTED,
                          "tensor \"%s\" is of type %" PRIu32
                          ", which has no known name or size (%s)",
                          name, type, "take a Q8_0, Q4_K_M, BF16 or F16 file");
    }
    ok = ok && get_u64(c, offset, "the place of a tensor") &&
         place_tensor(c, g, &t, *offset, expected);
    if (ok && !tensor_table_add(&g->table, &t))
        ok = fail(c, GM_E_INPUT, "tensor \"%s\" stands there twice (%s)", name, again);
    mem_free(name);
    return ok;
}

static bool get_tensors(struct cursor *c, struct gguf *g, uint64_t n)
{
    if (n > TENSORS_MAX || n > (c->size - c->at) / TENSOR_MIN_BYTES)
        return fail(c, GM_E_INPUT,
                    "the header claims %" PRIu64
                    " tensors, more than the file can hold or than is read (%s)",
                    n, again);
    uint64_t *offsets = mem_new((size_t)n + 1, sizeof *offsets), expected = 0;
    bool ok = true;
    for (uint64_t i = 0; ok && i < n; i++)
        ok = get_tensor(c, g, &offsets[i], &expected);
    /* The data begins at the next border; it may be missing altogether when there are no tensors.
     */
    uint64_t start = ((uint64_t)c->at + g->alignment - 1) & ~(g->alignment - 1);
    for (int i = 0; ok && i < g->table.n; i++) {
        struct tensor_info *t = &g->table.items[i];
        uint64_t room = start <= c->size ? c->size - start
                                         : 0; /* padding after the last tensor may be missing */
        if (offsets[i] > room || t->bytes > room - offsets[i])
            ok = error_set(c->err, GM_E_INPUT,
                           "read %s: tensor \"%s\" ends at byte %" PRIu64
                           " of the data, which has %" PRIu64
                           " (the file is cut short: download or copy it again)",
                           c->path, t->name, offsets[i] + t->bytes, room);
        else
            t->data = t->bytes ? c->data + start + offsets[i] : NULL;
    }
    mem_free(offsets);
    return ok;
}

static bool get_version(struct cursor *c, struct gguf *g)
{
    uint32_t magic;
    if (!sniff_refuse(c->data, c->size, SNIFF_GGUF, c->path, c->err) ||
        !get_u32(c, &magic, "the magic"))
        return false;
    if (!sniff_is_gguf(c->data, c->size)) {
        c->at = 0;
        return fail(c, GM_E_INPUT,
                    "it does not begin with \"GGUF\" (this is no GGUF file, or it is damaged: "
                    "download it again)");
    }
    if (!get_u32(c, &g->version, "the version"))
        return false;
    if ((g->version & 0xffffu) == 0)
        return fail(c, GM_E_UNSUPPORTED,
                    "it is written for big-endian machines (take the little-endian file)");
    if (g->version < 2 || g->version > 3)
        return fail(c, GM_E_UNSUPPORTED,
                    "it is GGUF version %" PRIu32 ", versions 2 and 3 are read (convert it again)",
                    g->version);
    return true;
}

static bool parse(struct gguf *g, struct gm_error *err)
{
    struct cursor c = {.path = g->path, .data = g->bytes, .size = g->size, .err = err};
    uint64_t n_tensors, n_kv;
    if (!get_version(&c, g) || !get_u64(&c, &n_tensors, "the number of tensors") ||
        !get_u64(&c, &n_kv, "the number of pairs") || !get_pairs(&c, g, n_kv) ||
        !check_alignment(g, &c) || !check_split(g, &c) || !get_tensors(&c, g, n_tensors))
        return false;
    g->tensors = g->table.items;
    g->n_tensors = g->table.n;
    return true;
}

bool gguf_open(struct gguf *g, const char *path, struct gm_error *err)
{
    struct mapping map = {0};
    *g = (struct gguf){0};
    if (!mapping_open(&map, path, err))
        return false;
    *g = (struct gguf){.path = mem_copy(path), .bytes = map.data, .size = map.size, .map = map};
    if (parse(g, err))
        return true;
    gguf_close(g);
    return false;
}

bool gguf_open_bytes(struct gguf *g, const void *data, size_t size, const char *label,
                     struct gm_error *err)
{
    *g = (struct gguf){.path = mem_copy(label), .bytes = data, .size = size};
    if (parse(g, err))
        return true;
    gguf_close(g);
    return false;
}

void gguf_close(struct gguf *g)
{
    for (int i = 0; i < g->n_kv; i++) {
        mem_free(g->kv[i].key);
        mem_free(g->kv[i].strings);
    }
    mem_free(g->kv);
    mem_free(g->slots);
    tensor_table_free(&g->table);
    if (g->map.path)
        mapping_close(&g->map);
    mem_free(g->path);
    *g = (struct gguf){0};
}

const struct tensor_info *gguf_find(const struct gguf *g, const char *name)
{
    return tensor_table_find(&g->table, name);
}
