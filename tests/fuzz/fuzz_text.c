/* Any bytes as text: the syllable checker, the cleaner of everything that is shown, and UTF-8. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/verse/form.h"

#include <assert.h>
#include <string.h>

const char *const FUZZ_WORDS[] = {"\n", "'s", "1,234", "3.5", "$20", "fire", "-", "\xE2\x80\x99", "\xE2\x80\xA8", "\xE2\x80\xAE", "\x1b[31m", "\xC2\x9B", "A.I.", "\xF0\x9F\x8C\xB8", NULL};

static struct syllables *syllables;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gm_error err = {0};
    syllables = syllables_open(&err);
    return syllables == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct verdict v;
    form_judge(syllables, form_find("haiku"), text, size, &v);
    assert(!v.strict || v.possible);
    struct str clean = {0};
    text_clean(&clean, text, size, true, false);
    assert(utf8_valid(str_text(&clean), clean.len));
    for (size_t i = 0; i < clean.len; i++) { /* no control byte reaches a terminal */
        unsigned char c = (unsigned char)clean.data[i];
        assert(c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7F));
        assert(c != 0xC2 || (unsigned char)clean.data[i + 1] >= 0xA0);
    }
    str_free(&clean);
    return 0;
}
