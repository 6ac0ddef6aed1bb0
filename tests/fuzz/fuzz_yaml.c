/* Any bytes as YAML. */
#include "tests/fuzz/fuzz.h"

#include "engine/format/yaml.h"

const char *const FUZZ_WORDS[] = {"---\n", "...\n", "a: ", "- ", "  ", "\n", "{", "}", "[", "]", "|\n", ">-\n", "\"", "'", "#", "&a", "*a", "!!str", "~", "true", "1e-5", "0x1F", ": ", "? ", "\t", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct yaml_lines lines = {0};
    json_t *tree = yaml_parse((const char *)data, size, "fuzz", &lines, &err);
    yaml_line(&lines, "a.b");
    yaml_lines_free(&lines);
    json_decref(tree);
    return 0;
}
