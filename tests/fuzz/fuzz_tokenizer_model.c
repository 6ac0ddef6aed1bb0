/* tokenizer.model, "%%%%", tokenizer_config.json (may be missing). */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/text/tokenizer.h"

const char *const FUZZ_WORDS[] = {"%%%%\n", "\x0A\x0E\x0A\x05\xE2\x96\x81", "\x18\x02", "\x18\x04", "\x18\x06", "\xFF\xFF\xFF\xFF\x7F", "<0x0A>", "<s>", "\xE2\x96\x81\xE2\x96\x81", "\x12\x02\x18\x02",
                                  "\x1A\x02\x20\x00", "\"added_tokens_decoder\":", "\"special\":true", "\"rstrip\":true", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "An old pond's 1234 frogs\n\n   jump in <s> \xF0\x9F\xA6\x99 \xE2\x96\x81";
    struct fuzz_part part[2];
    struct gm_error err = {0};
    fuzz_parts(data, size, part, 2);
    char *bytes = mem_copy_n((const char *)part[0].data, part[0].size),
         *config = part[1].size ? mem_copy_n((const char *)part[1].data, part[1].size) : NULL;
    struct tokenizer *t = tokenizer_open_model(bytes, part[0].size, config, "fuzz", &err);
    if (t) {
        struct id_list ids = {0};
        struct str back = {0};
        struct gguf_out *g = gguf_out_new();
        for (unsigned flags = 0; flags < 4; flags++)
            tokenizer_encode(t, text, sizeof text - 1, flags, &ids, &err);
        tokenizer_decode(t, ids.ids, ids.n, false, &back, &err);
        mem_free(tokenizer_to_json(t));
        tokenizer_to_gguf(t, tokenizer_vocab_size(t), false, NULL, g, &err);
        gguf_out_free(g);
        id_list_free(&ids);
        str_free(&back);
        tokenizer_free(t);
    }
    mem_free(bytes);
    mem_free(config);
    return 0;
}
