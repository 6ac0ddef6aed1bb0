/* bar.c - see bar.h. */
#include "ui/core/bar.h"

#include <math.h>
#include <string.h>

static double clamp(double x)
{
    return x > 0 ? fmin(x, 1) : 0; /* NAN: 0 */
}

int bar_text(char out[BAR_CELLS_MAX + 1], int cells, double share, double filled)
{
    cells = cells < 0 ? 0 : cells < BAR_CELLS_MAX ? cells : BAR_CELLS_MAX;
    int n = (int)lround(clamp(share) * cells);
    if (n == 0 && share > 0 && cells > 0)
        n = 1;
    int full = isnan(filled) ? n : (int)lround(clamp(filled) * n);
    memset(out, '#', (size_t)full);
    memset(out + full, '.', (size_t)(n - full));
    out[n] = 0;
    return n;
}
