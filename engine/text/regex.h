/* regex.h - the patterns by which pre-tokenisers cut texts, matched as Oniguruma matches them.
 *
 * Backtracking, leftmost-first: alternatives in order, ? * + {m,n} greedy or lazy, possessive ?+ *+ ++, groups, (?:...),
 * (?>...), (?i:...), look-ahead (?=...) (?!...), ^ $ \A \z (lines as in Ruby), classes with ranges, \s \d \r ... and
 * \p{L}, \p{Lu}, \P{N}, \p{^L}. What else the syntax knows (look-behind, back references, \w, \b, scripts, && in
 * classes, a loop over something that may be empty) is refused by name when compiled.
 *
 * Bounded: a program has at most 4096 instructions, groups nest at most 16 deep; within one attempt the states already
 * tried are remembered, so that a pattern such as (a+)+b does not blow up; and a text pays for its steps (REGEX_STEPS_PER_BYTE):
 * beyond that regex_find says REGEX_TOO_LONG instead of going on.
 *
 * Memory: regex_free, regex_run_free. Threads: a compiled pattern is read-only; a run belongs to one thread.
 *
 *     struct regex *re = regex_compile(pattern, n, err);
 *     struct regex_run run = regex_run_begin(text_bytes);
 *     while (regex_find(re, &run, text, begin, at, end, &hit) == REGEX_FOUND) ...
 */
#ifndef GM_TEXT_REGEX_H
#define GM_TEXT_REGEX_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct regex;
struct regex *regex_compile(const char *pattern, size_t n, struct gm_error *err);
void regex_free(struct regex *re);
bool regex_may_be_empty(const struct regex *re); /* it matches nothing at all somewhere */

enum { REGEX_STEPS_PER_BYTE = 1024, REGEX_STEPS_FREE = 1 << 20 };

struct regex_run { /* scratch of the matcher */
    uint64_t steps_left;
    struct regex_choice *stack;
    size_t n_stack, cap_stack;
    struct regex_seen *seen;
    uint64_t attempt;
};
struct regex_run regex_run_begin(size_t text_bytes);
void regex_run_free(struct regex_run *run);

struct regex_hit {
    size_t begin, end;
};
enum regex_answer { REGEX_NONE, REGEX_FOUND, REGEX_TOO_LONG };
/* The first match that begins at `at` or behind it, in text[begin, end), which is UTF-8. */
enum regex_answer regex_find(const struct regex *re, struct regex_run *run, const char *text, size_t begin, size_t at, size_t end,
                             struct regex_hit *hit);

#endif
