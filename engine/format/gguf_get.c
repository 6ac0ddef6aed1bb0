/* gguf_get.c - typed access to the key-value pairs of an open GGUF file. */
#include "engine/format/gguf.h"

#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool gguf_has(const struct gguf *g, const char *key)
{
    return gguf_get(g, key) != NULL;
}

bool gguf_text_is(struct gguf_text t, const char *text)
{
    return t.len == strlen(text) && memcmp(t.data, text, t.len) == 0;
}

/* The pair, or NULL; then *ok says whether that is fine. */
static const struct gguf_kv *pair(const struct gguf *g, const char *key, enum need need, bool *ok,
                                  struct gm_error *err)
{
    const struct gguf_kv *kv = gguf_get(g, key);
    *ok = kv || need == OPTIONAL;
    if (!*ok)
        error_set(err, GM_E_INPUT,
                  "read %s: key \"%s\" is missing (convert the model again with a newer converter)",
                  g->path, key);
    return kv;
}

static bool wrong_type(const struct gguf *g, const struct gguf_kv *kv, const char *wanted,
                       struct gm_error *err)
{
    bool array = kv->type == GGUF_ARRAY;
    return error_set(
        err, GM_E_INPUT, "read %s: key \"%s\" is of type %s%s, not %s (convert the model again)",
        g->path, kv->key, array ? "array of " : "", gguf_type_name(kv->element), wanted);
}

/* Element i as a signed number; *big is set when it is a u64 beyond that. False: no integer. */
static bool as_integer(const struct gguf_kv *kv, uint64_t i, int64_t *out, bool *big)
{
    const unsigned char *p = kv->data;
    *big = false;
    switch (kv->element) {
#define CASE(id, ctype)                         \
    case id: {                                  \
        ctype v;                                \
        memcpy(&v, p + i * sizeof v, sizeof v); \
        *out = (int64_t)v;                      \
        *big = id == GGUF_U64 && *out < 0;      \
        return true;                            \
    }
        CASE(GGUF_U8, uint8_t)
        CASE(GGUF_I8, int8_t)
        CASE(GGUF_U16, uint16_t)
        CASE(GGUF_I16, int16_t)
        CASE(GGUF_U32, uint32_t)
        CASE(GGUF_I32, int32_t)
        CASE(GGUF_U64, uint64_t)
        CASE(GGUF_I64, int64_t)
#undef CASE
    default:
        return false;
    }
}

bool gguf_string(const struct gguf *g, const char *key, enum need need, struct gguf_text *out,
                 struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv = pair(g, key, need, &ok, err);
    if (!kv)
        return ok;
    if (kv->type != GGUF_STRING)
        return wrong_type(g, kv, "a string", err);
    *out = kv->strings[0];
    return true;
}

/* An integer of any type; NULL as pair() gives it, or for another type. */
static const struct gguf_kv *integer(const struct gguf *g, const char *key, enum need need,
                                     int64_t *v, bool *big, bool *ok, struct gm_error *err)
{
    const struct gguf_kv *kv = pair(g, key, need, ok, err);
    if (kv && (kv->type == GGUF_ARRAY || !as_integer(kv, 0, v, big))) {
        *ok = wrong_type(g, kv, "an integer", err);
        return NULL;
    }
    return kv;
}

bool gguf_i64(const struct gguf *g, const char *key, enum need need, int64_t min, int64_t max,
              int64_t *out, struct gm_error *err)
{
    bool ok, big;
    int64_t v;
    if (!integer(g, key, need, &v, &big, &ok, err))
        return ok;
    if (big || v < min || v > max)
        return error_set(err, GM_E_INPUT,
                         "read %s: key \"%s\" is %s%" PRId64 " (it must be %" PRId64 " to %" PRId64
                         ")",
                         g->path, key, big ? "more than " : "", big ? INT64_MAX : v, min, max);
    *out = v;
    return true;
}

bool gguf_u64(const struct gguf *g, const char *key, enum need need, uint64_t min, uint64_t max,
              uint64_t *out, struct gm_error *err)
{
    bool ok, big;
    int64_t v;
    if (!integer(g, key, need, &v, &big, &ok, err))
        return ok;
    if ((v < 0 && !big) || (uint64_t)v < min || (uint64_t)v > max) {
        char value[32];
        snprintf(value, sizeof value, big ? "%" PRIu64 : "%" PRId64, v);
        return error_set(err, GM_E_INPUT,
                         "read %s: key \"%s\" is %s (it must be %" PRIu64 " to %" PRIu64 ")",
                         g->path, key, value, min, max);
    }
    *out = (uint64_t)v;
    return true;
}

bool gguf_f64(const struct gguf *g, const char *key, enum need need, double min, double max,
              double *out, struct gm_error *err)
{
    bool ok, big;
    int64_t whole;
    double v;
    const struct gguf_kv *kv = pair(g, key, need, &ok, err);
    if (!kv)
        return ok;
    if (kv->type == GGUF_F32) {
        float f;
        memcpy(&f, kv->data, 4);
        v = (double)f;
    } else if (kv->type == GGUF_F64) {
        memcpy(&v, kv->data, 8);
    } else if (kv->type != GGUF_ARRAY && as_integer(kv, 0, &whole, &big)) {
        v = big ? (double)(uint64_t)whole : (double)whole;
    } else {
        return wrong_type(g, kv, "a number", err);
    }
    if (!isfinite(v) || v < min || v > max)
        return error_set(err, GM_E_INPUT, "read %s: key \"%s\" is %g (it must be %g to %g)",
                         g->path, key, v, min, max);
    *out = v;
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, enum need need, bool *out,
               struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv = pair(g, key, need, &ok, err);
    if (!kv)
        return ok;
    if (kv->type != GGUF_BOOL)
        return wrong_type(g, kv, "true or false", err);
    *out = kv->data[0] != 0;
    return true;
}

/* The pair when it is an array of one of two element types. */
static const struct gguf_kv *array(const struct gguf *g, const char *key, enum need need,
                                   enum gguf_type a, enum gguf_type b, const char *wanted, bool *ok,
                                   struct gm_error *err)
{
    const struct gguf_kv *kv = pair(g, key, need, ok, err);
    if (kv && (kv->type != GGUF_ARRAY || (kv->element != a && kv->element != b))) {
        *ok = wrong_type(g, kv, wanted, err);
        return NULL;
    }
    return kv;
}

bool gguf_array_string(const struct gguf *g, const char *key, enum need need,
                       const struct gguf_text **out, uint64_t *n, struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv =
        array(g, key, need, GGUF_STRING, GGUF_STRING, "an array of strings", &ok, err);
    if (kv) {
        *out = kv->strings;
        *n = kv->n;
    }
    return ok;
}

/* n elements of `size` bytes, copied to aligned memory of our own. */
static void *copied(const struct gguf *g, const struct gguf_kv *kv, size_t size,
                    struct gm_error *err)
{
    void *block = mem_alloc((size_t)(kv->n ? kv->n : 1) * size, kv->key, err);
    if (block)
        memcpy(block, kv->data, (size_t)kv->n * size);
    else
        error_context(err, "read %s", g->path);
    return block;
}

bool gguf_array_f32(const struct gguf *g, const char *key, enum need need, float **out, uint64_t *n,
                    struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv = array(g, key, need, GGUF_F32, GGUF_F32, "an array of f32", &ok, err);
    if (!kv)
        return ok;
    float *block = copied(g, kv, sizeof *block, err);
    if (!block)
        return false;
    *out = block;
    *n = kv->n;
    return true;
}

bool gguf_array_i32(const struct gguf *g, const char *key, enum need need, int32_t **out,
                    uint64_t *n, struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv = array(g, key, need, GGUF_I32, GGUF_U32, "an array of i32", &ok, err);
    if (!kv)
        return ok;
    int32_t *block = copied(g, kv, sizeof *block, err);
    if (!block)
        return false;
    for (uint64_t i = 0; kv->element == GGUF_U32 && i < kv->n; i++) {
        if (block[i] >= 0)
            continue;
        mem_free(block);
        return error_set(err, GM_E_INPUT,
                         "read %s: key \"%s\", element %" PRIu64
                         ": it does not fit 31 bits (convert the model again)",
                         g->path, key, i);
    }
    *out = block;
    *n = kv->n;
    return true;
}

bool gguf_array_bool(const struct gguf *g, const char *key, enum need need, bool **out, uint64_t *n,
                     struct gm_error *err)
{
    bool ok;
    const struct gguf_kv *kv =
        array(g, key, need, GGUF_BOOL, GGUF_BOOL, "an array of true and false", &ok, err);
    if (!kv)
        return ok;
    bool *block = copied(g, kv, sizeof *block,
                         err); /* each byte was found to be 0 or 1 when the file was opened */
    if (!block)
        return false;
    *out = block;
    *n = kv->n;
    return true;
}
