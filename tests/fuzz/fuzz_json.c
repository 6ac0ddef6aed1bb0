/* Any bytes as JSON: the tree of Jansson behind our checks, and the scanner for large files. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/format/json_scan.h"

const char *const FUZZ_WORDS[] = {"{", "}", "[", "]", ":", ",", "\"", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "true", "null", "1e999", "[[[[[[[[", "{\"a\":", "\xEF\xBB\xBF", NULL};

static void scan_value(struct json_scan *s, int depth)
{
    struct str text = {0};
    char next = scan_peek(s);
    if (next == '{' && depth < 20) {
        for (bool more = scan_object(s); more; more = scan_more(s, '}'))
            if (scan_key(s, &text))
                scan_value(s, depth + 1);
    } else if (next == '[' && depth < 20) {
        for (bool more = scan_array(s); more; more = scan_more(s, ']'))
            scan_value(s, depth + 1);
    } else if (next == '"') {
        scan_string(s, &text);
    } else {
        scan_skip(s);
    }
    str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    const char *text = (const char *)data;
    json_t *tree = json_parse(text, size, "fuzz", &err);
    if (tree) {
        char *line = json_line(tree), *pretty = json_pretty(tree);
        mem_free(line);
        mem_free(pretty);
    }
    json_decref(tree);
    struct json_scan s = json_scan_begin(text, size, "fuzz", 0, &err);
    scan_value(&s, 0);
    scan_end(&s);
    return 0;
}
