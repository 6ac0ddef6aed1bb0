/* fixtures.h - where the fixtures lie: tests/fixtures, or another set of the same layout named by GEMMAIKU_FIXTURES. */
#ifndef GM_TEST_FIXTURES_H
#define GM_TEST_FIXTURES_H

#include <stdlib.h>

static inline const char *fixtures_dir(void)
{
    const char *other = getenv("GEMMAIKU_FIXTURES");
    return other && other[0] ? other : FIXTURES;
}

#endif
