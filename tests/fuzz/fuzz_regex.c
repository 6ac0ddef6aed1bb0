/* A pattern of a pre-tokeniser, "%%%%", a text: cut in bounded time, and every match lies where it may. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/str.h"
#include "engine/text/regex.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {"%%%%\n", "(?i:", "(?:", "(?>", "(?=", "(?!", "(", ")", "|", "*", "+", "?", "*+", "++", "?+", "*?", "{1,3}", "{,4}", "{2,}", "{999}", "[^\\s\\p{L}]", "[a-z]", "[", "]", "^", "$", "\\A", "\\z",
                                  "\\s", "\\S", "\\d", "\\p{L}", "\\p{Lu}", "\\P{N}", "\\p{^M}", "\\r\\n", "(a+)+b", "(a|a)*", "'s", "aaaaaaaaaaaaaaaaaaaaaaaa", "\xC3\xA9", "\xE6\x9D\xBE", "\xF0\x9F\x8C\xB8", "\n", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[2];
    struct gm_error err = {0};
    fuzz_parts(data, size, part, 2);
    struct regex *re = regex_compile((const char *)part[0].data, part[0].size, &err);
    assert(re || err.text[0]);
    const char *text = part[1].size ? (const char *)part[1].data : "Don't  stop:\r\n 1234 \xC3\xA9t\xC3\xA9s \xE6\x9D\xBE";
    size_t end = part[1].size ? part[1].size : 31;
    if (re && utf8_valid(text, end)) {
        struct regex_run run = regex_run_begin(end);
        struct regex_hit hit;
        for (size_t at = 0; at <= end && regex_find(re, &run, text, 0, at, end, &hit) == REGEX_FOUND;) {
            assert(hit.begin >= at && hit.end >= hit.begin && hit.end <= end);
            at = hit.end > at ? hit.end : at + 1;
            while (at < end && ((unsigned char)text[at] & 0xC0) == 0x80)
                at++;
        }
        regex_run_free(&run);
    }
    regex_free(re);
    return 0;
}
