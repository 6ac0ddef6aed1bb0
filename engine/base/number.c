/* number.c - see number.h. */
#include "engine/base/number.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *list, int n, double q)
{
    if (n <= 0)
        return 0;
    qsort(list, (size_t)n, sizeof *list, by_value);
    return list[(int)(q * (n - 1) + 0.5)];
}
