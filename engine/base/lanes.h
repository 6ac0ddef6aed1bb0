/* lanes.h - a job whose units lie one behind another in memory: every thread walks a stretch of its own.
 *
 * The pool hands out blocks to whoever comes, so neighbouring blocks go to different threads and each must find its place in memory anew. Where the work is to read,
 * that costs: the processor asks ahead only for whom it has seen walk a while. Here the units are cut into as many lanes as there are threads. A thread
 * takes units from the front of its own lane, and when that is empty from the end of another's; so all end together, however slow one is. Like the number of a
 * block, that of a unit alone says what is to be computed.
 *
 *     lanes_run(pool, GM_TASTE, units_fn, arg, n_units, 4, 64);     // units_fn(arg, first, n, slot), n <= 4
 */
#ifndef GM_BASE_LANES_H
#define GM_BASE_LANES_H

#include "engine/base/pool.h"

typedef void (*lanes_fn)(void *arg, int first, int n, int slot);
/* most: units of one call. block: units after which the gate is looked at (pool.h): about a millisecond's. */
void lanes_run(struct pool *p, enum gm_role role, lanes_fn fn, void *arg, int n_units, int most, int block);
/* Where a lane begins; lane pool_lanes() is the end of all. */
int lanes_first(const struct pool *p, int n_units, int lane);

#endif
