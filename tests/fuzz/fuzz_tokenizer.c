/* tokenizer.json, "%%%%", tokenizer_config.json (may be missing), "%%%%", a text to encode. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/text/tokenizer.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {"%%%%\n", "\"added_tokens\":", "\"content\":", "\"lstrip\":true", "\"normalizer\":", "\"pre_tokenizer\":", "\"Split\"", "\"Regex\":", "\"ByteLevel\"",
                                  "\"Metaspace\"", "\"Sequence\"", "\"merges\":", "\"vocab\":", "\"byte_fallback\":true", "\\\\p{L}", "(?!\\\\S)", "(a+)+$", "[^\\\\s]{1,3}", "\"NFC\"",
                                  "\"Replace\"", "<0x0A>", "\xE2\x96\x81", "\xF0\x9F\x8C\xB8", NULL};

void fuzz_use_tokenizer(const struct tokenizer *t, const char *text, size_t n); /* fuzz_tokenizer_use.c */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[3];
    struct gm_error err = {0};
    fuzz_parts(data, size, part, 3);
    char *json = mem_copy_n((const char *)part[0].data, part[0].size),
         *config = part[1].size ? mem_copy_n((const char *)part[1].data, part[1].size) : NULL;
    struct tokenizer *t = tokenizer_open_json(json, part[0].size, config, "fuzz", &err);
    if (t && part[2].size)
        fuzz_use_tokenizer(t, (const char *)part[2].data, part[2].size);
    else if (t)
        fuzz_use_tokenizer(t, "An old pond's 1234 frogs\n\n  jump in <s>", 40);
    else
        assert(err.text[0]);
    tokenizer_free(t);
    mem_free(json);
    mem_free(config);
    return 0;
}
