/* checked.h - sizes from untrusted files: arithmetic that says when it wraps. True = fits.
 *
 *     size_t bytes;
 *     if (!checked_mul(rows, row_bytes, &bytes)) return error_set(err, GM_E_INPUT, "...");
 */
#ifndef GM_BASE_CHECKED_H
#define GM_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool checked_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool checked_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool checked_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }

#endif
