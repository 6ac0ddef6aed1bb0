/* builtin.c - looks up embedded files by name. The table itself is written by embed.cmake at
 * configure time. */
#include "engine/builtin/builtin.h"

#include <string.h>

/* In the generated file. Sorted by name; one more row than counted, so that the table may be empty.
 */
extern const struct builtin_file builtin_files[];
extern const size_t builtin_file_count;

const struct builtin_file *builtin_find(const char *name)
{
    size_t low = 0, high = builtin_file_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, builtin_files[middle].name);
        if (order == 0)
            return &builtin_files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct builtin_file *builtin_list(size_t *n)
{
    *n = builtin_file_count;
    return builtin_files;
}
