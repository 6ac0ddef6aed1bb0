/* number.h - the small arithmetic that every room needs.
 *
 *     int64_t rows = min64(64, left), padded = round_up(rows, 16);
 *     double median = quantile(seconds, n, 0.5);   // and then seconds[0] is the least, seconds[n - 1] the most
 */
#ifndef GM_BASE_NUMBER_H
#define GM_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; } /* n >= 0, to > 0: to the next multiple */
static inline size_t align64(size_t n) { return (n + 63) & ~(size_t)63; } /* bytes, to whole cache lines */

/* Sorts the list and gives the number nearest to share q of it, of two equally near ones the larger; 0 where there is none. */
double quantile(double *list, int n, double q);

#endif
