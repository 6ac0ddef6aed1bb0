/* worse.h - the greater of two errors. What is no number is the worst, and stays it: fmax() and a plain comparison would lose it, and a kernel that gives
 * NaN would pass. */
#ifndef GM_TEST_WORSE_H
#define GM_TEST_WORSE_H

#include <math.h>

static inline double worse(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

#endif
