/* with_syllables.h - the built-in table as *state of a group of tests: set_up and tear_down are the group's fixtures. */
#ifndef GM_TESTS_WITH_SYLLABLES_H
#define GM_TESTS_WITH_SYLLABLES_H

#include "engine/verse/syllables.h"

static int set_up(void **state)
{
    struct gm_error err = {0};
    *state = syllables_open(&err);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    syllables_free(*state);
    return 0;
}

#endif
