/* tokenizer.model, "%%%%", tokenizer_config.json (may be missing). */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/text/tokenizer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *const FUZZ_WORDS[] = {"%%%%\n", "\x0A\x0E\x0A\x05\xE2\x96\x81", "\x18\x02", "\x18\x04", "\x18\x06", "\xFF\xFF\xFF\xFF\x7F", "<0x0A>", "<s>", "\xE2\x96\x81\xE2\x96\x81", "\x12\x02\x18\x02",
                                  "\x1A\x02\x20\x00", "\"added_tokens_decoder\":", "\"special\":true", "\"rstrip\":true", NULL};

void fuzz_use_tokenizer(const struct tokenizer *t, const char *text, size_t n); /* fuzz_tokenizer_use.c */

/* Said as tokenizer.json it can be read, but for a piece with a NUL. (Its ids are those of the original where every letter of a piece is a piece, as in
 * any vocabulary that was trained: merges of a tokenizer.json are told by pieces.) */
static void check_json(const struct tokenizer *t)
{
    struct gm_error err = {0};
    char *json = tokenizer_to_json(t);
    struct tokenizer *again = tokenizer_open_json(json, strlen(json), NULL, "fuzz", &err);
    if (!again && !strstr(err.text, "NUL"))
        fprintf(stderr, "%s\n", err.text);
    assert(again || strstr(err.text, "NUL"));
    tokenizer_free(again);
    mem_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[2];
    struct gm_error err = {0};
    fuzz_parts(data, size, part, 2);
    char *bytes = mem_copy_n((const char *)part[0].data, part[0].size),
         *config = part[1].size ? mem_copy_n((const char *)part[1].data, part[1].size) : NULL;
    struct tokenizer *t = tokenizer_open_model(bytes, part[0].size, config, "fuzz", &err);
    if (t) {
        static const char text[] = "An old pond's 1234 frogs\n\n   jump in <s> \xF0\x9F\xA6\x99 \xE2\x96\x81";
        fuzz_use_tokenizer(t, text, sizeof text - 1);
        check_json(t);
    } else {
        assert(err.text[0]);
    }
    tokenizer_free(t);
    mem_free(bytes);
    mem_free(config);
    return 0;
}
