/* builtin.h - the files that live inside the program: the `nano` model, the `haiku` data, the
 * pronunciation table.
 *
 * A built-in file is bytes with a name, nothing more; the readers of the other rooms treat it as
 * they treat a person's own files. What is embedded, and how to add to it, stands in embed.cmake.
 *
 * Memory: the bytes belong to the program image: read-only, 64-byte aligned, there for as long as
 * the process is, never freed. The byte after the last one is 0 and not counted in `size`. Threads:
 * any.
 *
 *     const struct builtin_file *f = builtin_find("haiku/train.jsonl");   // NULL: this build has
 * no such file if (f) read_rows(f->data, f->size);
 */
#ifndef GM_BUILTIN_BUILTIN_H
#define GM_BUILTIN_BUILTIN_H

#include <stddef.h>

struct builtin_file {
    const char *name; /* "nano/model.safetensors", "haiku/train.jsonl", "verse/counts.bin" */
    const unsigned char *data;
    size_t size;
};

const struct builtin_file *
builtin_find(const char *name);                     /* NULL when there is none of this name */
const struct builtin_file *builtin_list(size_t *n); /* all of them, sorted by name */

#endif
