/* regex_private.h - the program that a pattern becomes; for regex_parse.c and regex_match.c alone. */
#ifndef GM_TEXT_REGEX_PRIVATE_H
#define GM_TEXT_REGEX_PRIVATE_H

#include "engine/text/regex.h"

#include <stdbool.h>

/* Characters: ranges and general categories (a bit each, as in unicode.h), all of it perhaps turned round. */
struct regex_set {
    uint64_t ascii[2]; /* the answer for U+0000..U+007F */
    uint32_t categories;
    bool space, negated;
    uint32_t (*ranges)[2];
    size_t n_ranges;
};

enum regex_op {
    RX_SET,    /* one character of set x */
    RX_RUN,    /* min..max characters of set x, in one of the modes */
    RX_SPLIT,  /* go on at x, or else at y */
    RX_JUMP,   /* to x */
    RX_AHEAD,  /* what follows up to its RX_DONE must match here; go on at x */
    RX_NOT_AHEAD,
    RX_ATOMIC, /* what follows up to its RX_DONE, its first match only; go on at x behind it */
    RX_LINE_BEGIN,
    RX_LINE_END,
    RX_TEXT_BEGIN,
    RX_TEXT_END,
    RX_DONE
};
enum regex_mode { RX_GREEDY, RX_LAZY, RX_POSSESSIVE };

struct regex_step {
    enum regex_op op;
    enum regex_mode mode;
    uint32_t x, y;
    uint32_t min, max;
};

struct regex {
    struct regex_step *steps;
    size_t n_steps, cap_steps;
    struct regex_set *sets;
    size_t n_sets, cap_sets;
    bool nullable;
};

enum { RX_STEPS_MAX = 4096, RX_DEPTH_MAX = 16, RX_REPEAT_MAX = 1000 };
#define RX_NO_MAX UINT32_MAX

bool regex_set_has(const struct regex_set *set, uint32_t c);

#endif
