/* sniff.h - recognising the files that people hand over by mistake: git-lfs pointers, web pages,
 * archives, pickles.
 *
 * A reader calls this before it complains about a header: "it is a git-lfs pointer (run `git lfs
 * pull`)" helps, "header too large" does not. Pure functions. Room-internal.
 */
#ifndef GM_FORMAT_SNIFF_H
#define GM_FORMAT_SNIFF_H

#include "engine/base/error.h"

enum sniff_wanted { SNIFF_JSON, SNIFF_SAFETENSORS, SNIFF_GGUF };

/* False, with an error, when the bytes are empty or are clearly another kind of file than `wanted`.
 * True says nothing. */
bool sniff_refuse(const unsigned char *bytes, size_t n, enum sniff_wanted wanted, const char *label,
                  struct gm_error *err);
/* True for the first bytes of such a file. */
bool sniff_is_gguf(const unsigned char *bytes, size_t n);
bool sniff_is_safetensors(const unsigned char *bytes, size_t n);

#endif
