/* tokenizer.json, "%%%%", tokenizer_config.json (may be missing), "%%%%", a text to encode. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/text/tokenizer.h"

const char *const FUZZ_WORDS[] = {"%%%%\n", "\"added_tokens\":", "\"content\":", "\"lstrip\":true", "\"normalizer\":", "\"pre_tokenizer\":", "\"Split\"", "\"Regex\":", "\"ByteLevel\"",
                                  "\"Metaspace\"", "\"Sequence\"", "\"merges\":", "\"vocab\":", "\"byte_fallback\":true", "\\\\p{L}", "(?!\\\\S)", "(a+)+$", "[^\\\\s]{1,3}", "\"NFC\"",
                                  "\"Replace\"", "<0x0A>", "\xE2\x96\x81", "\xF0\x9F\x8C\xB8", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[3];
    struct gm_error err = {0};
    fuzz_parts(data, size, part, 3);
    char *json = mem_copy_n((const char *)part[0].data, part[0].size),
         *config = part[1].size ? mem_copy_n((const char *)part[1].data, part[1].size) : NULL;
    struct tokenizer *t = tokenizer_open_json(json, part[0].size, config, "fuzz", &err);
    if (t) {
        const char *text = part[2].size ? (const char *)part[2].data : "An old pond's 1234 frogs\n\n  jump in <s>";
        size_t n = part[2].size ? part[2].size : 40;
        struct id_list ids = {0};
        struct str back = {0};
        for (unsigned flags = 0; flags < 4; flags++)
            tokenizer_encode(t, text, n, flags, &ids, &err);
        tokenizer_decode(t, ids.ids, ids.n, false, &back, &err);
        tokenizer_decode(t, ids.ids, ids.n, true, &back, &err);
        id_list_free(&ids);
        str_free(&back);
        mem_free(tokenizer_to_json(t));
        struct gguf_out *g = gguf_out_new();
        tokenizer_to_gguf(t, tokenizer_vocab_size(t), false, NULL, g, &err);
        gguf_out_free(g);
        tokenizer_free(t);
    }
    mem_free(json);
    mem_free(config);
    return 0;
}
