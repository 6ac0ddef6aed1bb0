/* gguf_bytes.h - putting a GGUF file together byte by byte, truthful or not. For the tests of this
 * room. */
#ifndef GM_TESTS_GGUF_BYTES_H
#define GM_TESTS_GGUF_BYTES_H

#include "engine/base/str.h"

#include <stdint.h>
#include <string.h>

static inline void put_u32(struct str *s, uint32_t v)
{
    str_add_n(s, (const char *)&v, 4);
}
static inline void put_u64(struct str *s, uint64_t v)
{
    str_add_n(s, (const char *)&v, 8);
}
static inline void put_text_n(struct str *s, const char *t, size_t n)
{
    put_u64(s, n);
    str_add_n(s, t, n);
}
static inline void put_text(struct str *s, const char *t)
{
    put_text_n(s, t, strlen(t));
}
static inline void put_head(struct str *s, uint32_t version, uint64_t tensors, uint64_t pairs)
{
    str_add_n(s, "GGUF", 4);
    put_u32(s, version);
    put_u64(s, tensors);
    put_u64(s, pairs);
}
static inline void put_key(struct str *s, const char *key, uint32_t type)
{
    put_text(s, key);
    put_u32(s, type);
}
static inline void put_kv_text(struct str *s, const char *key, const char *value)
{
    put_key(s, key, 8);
    put_text(s, value);
}
static inline void put_kv_u32(struct str *s, const char *key, uint32_t value)
{
    put_key(s, key, 4);
    put_u32(s, value);
}
static inline void put_array(struct str *s, const char *key, uint32_t type, uint64_t n)
{
    put_key(s, key, 9);
    put_u32(s, type);
    put_u64(s, n);
}
/* Dimensions innermost first, as the file has them. */
static inline void put_tensor(struct str *s, const char *name, uint32_t n_dims, const uint64_t *ne,
                              uint32_t type, uint64_t offset)
{
    put_text(s, name);
    put_u32(s, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        put_u64(s, ne[i]);
    put_u32(s, type);
    put_u64(s, offset);
}
static inline void put_pad(struct str *s, size_t alignment)
{
    while (s->len % alignment != 0)
        str_add_char(s, 0);
}
static inline void put_zeros(struct str *s, size_t n)
{
    while (n-- > 0)
        str_add_char(s, 0);
}

/* A small true file: two tensors, one value of many kinds. */
static inline void put_good(struct str *s)
{
    static const uint64_t matrix[2] = {32, 3}, vector[1] = {5};
    float f = 0.5f;
    double d = -2.25;
    put_head(s, 3, 2, 13);
    put_kv_text(s, "general.architecture", "llama");
    put_kv_u32(s, "llama.block_count", 7);
    put_key(s, "a.u8", 0);
    str_add_char(s, (char)200);
    put_key(s, "a.i8", 1);
    str_add_char(s, (char)-5);
    put_key(s, "a.f32", 6);
    str_add_n(s, (const char *)&f, 4);
    put_key(s, "a.bool", 7);
    str_add_char(s, 1);
    put_key(s, "a.u64", 10);
    put_u64(s, UINT64_MAX);
    put_key(s, "a.f64", 12);
    str_add_n(s, (const char *)&d, 8);
    put_array(s, "a.texts", 8, 3);
    put_text(s, "one");
    put_text(s, "");
    put_text_n(s, "t\0o", 3);
    put_array(s, "a.floats", 6, 2);
    str_add_n(s, (const char *)&f, 4);
    str_add_n(s, (const char *)&f, 4);
    put_array(s, "a.ints", 5, 2);
    put_u32(s, 1);
    put_u32(s, (uint32_t)-1);
    put_array(s, "a.bools", 7, 2);
    str_add_n(s, "\1\0", 2);
    put_array(s, "a.none", 8, 0);
    put_tensor(s, "w", 2, matrix, 8, 0); /* Q8_0: 3 rows of 34 bytes, padded to 128 */
    put_tensor(s, "v", 1, vector, 0, 128);
    put_pad(s, 32);
    put_zeros(s, 128);
    put_zeros(s, 32);
}

#endif
