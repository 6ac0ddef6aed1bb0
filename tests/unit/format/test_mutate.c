/* Thousands of damaged files, the same ones in each run: a reader may accept or refuse, but never
 * leave its bytes, hang, or accept a tensor that does not lie in the file. Meant for the sanitizer
 * build; in the plain one it still checks what is handed out. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/format/gguf.h"
#include "engine/format/json.h"
#include "engine/format/safetensors.h"
#include "gguf_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 6000 };

/* Numbers that arithmetic trips over. */
static const uint64_t spikes[] = {0,
                                  1,
                                  7,
                                  8,
                                  31,
                                  32,
                                  33,
                                  127,
                                  255,
                                  256,
                                  65535,
                                  1u << 16,
                                  1u << 31,
                                  UINT32_MAX,
                                  1ull << 32,
                                  1ull << 61,
                                  1ull << 62,
                                  INT64_MAX,
                                  1ull << 63,
                                  UINT64_MAX - 31,
                                  UINT64_MAX - 7,
                                  UINT64_MAX};
static const char *const words[] = {"[",       "]",       "{",    "}",
                                    "\"",      ":",       ",",    "-",
                                    "\\u0000", "\\ud800", "null", "99999999999999999999",
                                    "e9",      "\xff",    "0"};

/* A damaged copy of exactly its size (free it). `head`: damage falls on the first bytes, where the
 * structure is. */
static unsigned char *damaged(struct rng *r, const char *good, size_t n, size_t head, bool text,
                              size_t *out_n)
{
    struct str s = {0};
    str_add_n(&s, good, n);
    for (uint64_t k = 1 + rng_below(r, 3); k > 0 && s.len > 0; k--) {
        size_t at = (size_t)rng_below(r, s.len < head ? s.len : head);
        uint64_t how = rng_below(r, text ? 7 : 6),
                 spike = spikes[rng_below(r, sizeof spikes / sizeof *spikes)];
        size_t width = rng_below(r, 2) ? 8 : 4;
        if (how == 0) {
            s.data[at] = (char)rng_u32(r);
        } else if (how == 1) {
            s.data[at] ^= (char)(1u << rng_below(r, 8));
        } else if (how == 2) {
            memcpy(s.data + at, &spike, s.len - at < width ? s.len - at : width);
        } else if (how == 3) {
            s.len = rng_below(r, 2) ? at : s.len - (size_t)rng_below(r, s.len < 64 ? s.len : 64);
        } else if (how == 4) { /* a piece is missing */
            size_t piece = (size_t)rng_below(r, 1 + (s.len - at < 40 ? s.len - at : 40));
            memmove(s.data + at, s.data + at + piece, s.len - at - piece);
            s.len -= piece;
        } else if (how == 5) { /* a piece stands twice */
            size_t from = (size_t)rng_below(r, s.len),
                   piece = s.len - from < 40 ? s.len - from : 40;
            struct str t = {0};
            str_add_n(&t, s.data, at);
            str_add_n(&t, s.data + from, piece);
            str_add_n(&t, s.data + at, s.len - at);
            str_free(&s);
            s = t;
        } else {
            const char *word = words[rng_below(r, sizeof words / sizeof *words)];
            size_t m = strlen(word);
            memcpy(s.data + at, word, s.len - at < m ? s.len - at : m);
        }
    }
    unsigned char *exact = malloc(s.len ? s.len : 1);
    if (s.len)
        memcpy(exact, s.data, s.len);
    *out_n = s.len;
    str_free(&s);
    return exact;
}

/* Reads every byte that the tensor claims, so that the sanitizer sees where they lie. */
static unsigned touch(const struct tensor_info *t, const unsigned char *file, size_t n,
                      bool may_be_copy)
{
    const unsigned char *p = t->data;
    struct gm_error err;
    struct mat m;
    unsigned sum = 0;
    if (t->bytes > 0 && !may_be_copy)
        assert_true(p >= file && t->bytes <= n && p + t->bytes <= file + n);
    for (size_t i = 0; i < t->bytes; i++)
        sum += p[i];
    tensor_check_finite(t, &err);
    if (tensor_mat(t, &m, &err))
        assert_true((size_t)m.rows * m.row_bytes == t->bytes);
    return sum;
}

static void check_error(const struct gm_error *err, const char *label)
{
    if (err->code == GM_OK || !strstr(err->text, label))
        fail_msg("an error without a place: %s", err->text);
    for (const char *p = err->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            fail_msg("a control byte in an error");
}

static int round_safetensors(const unsigned char *bytes, size_t n)
{
    struct gm_error err = {0};
    struct safetensors s;
    if (!safetensors_open_bytes(&s, bytes, n, "damaged", &err)) {
        check_error(&err, "damaged");
        return 0;
    }
    for (int i = 0; i < s.n_tensors; i++)
        touch(&s.tensors[i], bytes, n, s.n_copies > 0);
    safetensors_close(&s);
    return 1;
}

static int round_gguf(const unsigned char *bytes, size_t n)
{
    struct gm_error err = {0};
    struct gguf g;
    if (!gguf_open_bytes(&g, bytes, n, "damaged", &err)) {
        check_error(&err, "damaged");
        return 0;
    }
    size_t sum = 0;
    for (int i = 0; i < g.n_tensors; i++)
        touch(&g.tensors[i], bytes, n, false);
    for (int i = 0; i < g.n_kv; i++) {
        const struct gguf_kv *kv = &g.kv[i];
        assert_ptr_equal(gguf_get(&g, kv->key), kv);
        for (uint64_t k = 0; kv->element == GGUF_STRING && k < kv->n; k++)
            for (size_t c = 0; c < kv->strings[k].len; c++)
                sum += (unsigned char)kv->strings[k].data[c];
        double d;
        uint64_t u;
        bool b;
        gguf_f64(&g, kv->key, REQUIRED, -1e300, 1e300, &d, &err);
        gguf_u64(&g, kv->key, REQUIRED, 0, UINT64_MAX, &u, &err);
        gguf_bool(&g, kv->key, REQUIRED, &b, &err);
    }
    gguf_close(&g);
    return sum != SIZE_MAX;
}

static int round_json(const unsigned char *bytes, size_t n)
{
    struct gm_error err = {0};
    json_t *v = json_parse((const char *)bytes, n, "damaged", &err);
    if (!v) {
        check_error(&err, "damaged");
        return 0;
    }
    char *line = json_line(v);
    json_t *again = json_parse(line, strlen(line), "again", &err); /* what we write we can read */
    if (!again || !json_equal(v, again))
        fail_msg("does not survive: %s (%s)", line, err.text);
    json_decref(again);
    json_decref(v);
    mem_free(line);
    return 1;
}

static void mutate(const char *stream, const char *good, size_t n, size_t head, bool text,
                   int (*fn)(const unsigned char *, size_t))
{
    int accepted = 0;
    struct rng r = rng_stream(7, stream, 0);
    for (int i = 0; i < ROUNDS; i++) {
        size_t m;
        unsigned char *bytes = damaged(&r, good, n, head, text, &m);
        accepted += fn(bytes, m);
        free(bytes);
    }
    assert_true(accepted > 0 &&
                accepted < ROUNDS); /* else the damage, or the judge, does nothing */
}

static void test_safetensors(void **state)
{
    struct str s = {0};
    struct gm_error err = {0};
    struct tensor_out out[5] = {{.name = "a", .type = DT_F32, .n_dims = 2, .shape = {3, 4}},
                                {.name = "b.weight", .type = DT_BF16, .n_dims = 1, .shape = {7}},
                                {.name = "c", .type = DT_U8, .n_dims = 0},
                                {.name = "d", .type = DT_F16, .n_dims = 3, .shape = {2, 0, 2}},
                                {.name = "e", .type = DT_I64, .n_dims = 1, .shape = {2}}};
    static const unsigned char zeros[64];
    const char *meta[] = {"format", "pt", "note", "\xc3\xa9\"\\"};
    char path[] = "/tmp/gm_mutate_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 5; i++)
        out[i].data = zeros;
    assert_true(safetensors_write(path, out, 5, meta, 2, &err) &&
                file_read_all(path, 4096, &s, &err));
    unlink(path);
    uint64_t header;
    memcpy(&header, s.data, 8);
    assert_int_equal(round_safetensors((const unsigned char *)s.data, s.len), 1);
    mutate("safetensors", s.data, s.len, 8 + (size_t)header, true, round_safetensors);
    str_free(&s);
}

static void test_gguf(void **state)
{
    struct str s = {0};
    put_good(&s);
    unsigned char *copy = malloc(s.len);
    memcpy(copy, s.data, s.len);
    assert_int_equal(round_gguf(copy, s.len), 1);
    free(copy);
    mutate("gguf", s.data, s.len, s.len - 160, false, round_gguf);
    str_free(&s);
}

static void test_json(void **state)
{
    static const char good[] =
        "{\"model_type\": \"gemma3_text\", \"a\": [1, -2.5e3, 0.1, true, null], \"s\": "
        "\"\\u00e9\\ud83d\\ude00 \xe6\x97\xa5\\n\", \"o\": {\"x\": {\"y\": [[]]}}}";
    mutate("json", good, sizeof good - 1, sizeof good - 1, true, round_json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_safetensors),
                                       cmocka_unit_test(test_gguf), cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
