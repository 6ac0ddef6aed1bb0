/* fuzz_tokenizer_use.c - shared by the targets that open tokenizers: a text to ids and back, at once and id by id, and the vocabulary said again. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/text/detok.h"

#include <assert.h>
#include <string.h>

void fuzz_use_tokenizer(const struct tokenizer *t, const char *text, size_t n);

/* What is shown while ids come is what all of them are, and never half a character. */
static void stream(const struct tokenizer *t, const struct id_list *ids, const struct str *whole)
{
    struct detok d;
    struct str shown = {0};
    detok_init(&d, t);
    for (size_t i = 0; i < ids->n; i++) {
        assert(detok_push(&d, ids->ids[i], &shown));
        assert(utf8_valid(str_text(&shown), shown.len));
    }
    detok_finish(&d, &shown);
    assert(shown.len == whole->len && memcmp(str_text(&shown), str_text(whole), shown.len) == 0);
    detok_free(&d);
    str_free(&shown);
}

void fuzz_use_tokenizer(const struct tokenizer *t, const char *text, size_t n)
{
    struct gm_error err = {0};
    const struct text_span spans[] = {{0, n / 4}, {n / 2, n / 2 + n / 4}};
    struct gguf_out *g = gguf_out_new();
    for (unsigned flags = 0; flags < 4; flags++) {
        struct id_list ids = {0};
        struct str back = {0};
        if (tokenizer_encode(t, text, n, flags, &ids, &err)) {
            for (size_t i = 0; i < ids.n; i++)
                assert(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(t));
            if (tokenizer_decode(t, ids.ids, ids.n, true, &back, &err))
                stream(t, &ids, &back);
            tokenizer_decode(t, ids.ids, ids.n, false, &back, &err);
        } else {
            assert(err.text[0]);
        }
        if (utf8_valid(text, n / 4) && utf8_valid(text + n / 4, n - n / 4))
            tokenizer_encode_spans(t, text, n, spans, 2, flags, &ids, &err);
        id_list_free(&ids);
        str_free(&back);
    }
    mem_free(tokenizer_to_json(t));
    mem_free(tokenizer_config_to_json(t, "{{ x }}"));
    tokenizer_to_gguf(t, tokenizer_vocab_size(t), false, NULL, g, &err);
    tokenizer_gguf_caveat(t);
    gguf_out_free(g);
}
