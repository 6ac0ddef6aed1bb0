/* pool.h - one pool of worker threads with the compute gate.
 *
 * A computation is a set of independent blocks; workers and the calling thread take block numbers from an atomic
 * counter until none is left. What a block computes must depend on its number alone, never on who runs it or how many
 * workers there are: then results are the same bits for any thread count. Blocks are handed out in the order of their
 * numbers: a block may wait for one with a lower number, which is done or running.
 *
 * The gate: two roles share the pool. GM_TASTE (chat, samples, evaluation asked for by a person) goes first: while it runs or holds the gate, no new
 * block of GM_TRAIN is handed out; blocks are sized to last at most about a millisecond (5 ms at the very most), so a chat reply starts at once.
 * Each role may be used by one thread at a time (the trainer, the taster).
 *
 * So that training gets on while a long answer is made, whoever holds the gate gives way between two tokens: training that has waited for 64 ms or more
 * gets an eighth of the time it waited, 40 ms at most (pool_turn). Tasting keeps eight ninths of its rate, a text flows as before (every 64 ms one token comes
 * 8 ms later), and training goes on at a ninth of its speed.
 *
 * Workers spin shortly (40 us), then sleep: an idle pool costs no CPU. They take no signals and run at background priority, so that
 * the UI thread is never late.
 *
 *     struct pool *pool = pool_new(n_threads, &err);        // n_threads = workers + the caller
 *     pool_run(pool, GM_TRAIN, block_fn, arg, n_blocks);    // returns when all blocks are done
 */
#ifndef GM_BASE_POOL_H
#define GM_BASE_POOL_H

#include "engine/base/error.h"

#include <stdint.h>

enum gm_role { GM_TRAIN = 0, GM_TASTE = 1 };

struct pool;
/* `slot` numbers the running thread for scratch memory: 0 <= slot < pool_slots(pool); never two running blocks with one slot. */
typedef void (*pool_fn)(void *arg, int block, int slot);

struct pool *pool_new(int n_threads, struct gm_error *err); /* 0 = physical cores available to the process */
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);
int pool_slots(const struct pool *p); /* threads + 1: both callers may be inside at once */
void pool_run(struct pool *p, enum gm_role role, pool_fn fn, void *arg, int n_blocks);
/* A lane is one thread's share of memory that all read together (lanes.h): that of slot `slot`, out of pool_lanes(). With very many threads some share one. */
enum { POOL_LANES = 64 };
int pool_lanes(const struct pool *p);
int pool_lane(const struct pool *p, int slot); /* 0: the callers' */
/* What a lane's worker will read in the next job but has not been given yet: when it finds no block to take, it asks for those bytes, in this order, instead of
 * waiting idly; so memory is not idle either while the caller does what only one thread can. Asked for once after each call; only a hint: bytes that are
 * gone by then do no harm. The callers' own lane has nobody to ask. */
enum { POOL_AHEAD = 3 };
struct pool_bytes {
    const void *data;
    size_t bytes;
};
void pool_ahead(struct pool *p, int lane, const struct pool_bytes *ranges, int n);
/* Tasting keeps the gate over several pool_run calls (a prompt, an answer). Nests. */
void pool_hold(struct pool *p);
void pool_release(struct pool *p);
/* While holding: training's turn, if it is due; returns when that is over. Nothing happens where nobody waits at the gate. */
void pool_give_way(struct pool *p);
double pool_turn(double waited); /* how long a turn is due to training that has waited for so long, seconds; 0: none yet */
/* How often the role has begun a run that was cut into blocks, modulo 2^32: tells how far a long computation has got. Any thread. */
uint32_t pool_runs(const struct pool *p, enum gm_role role);
/* Share of the last second in which training had to wait for tasting, 0..1: the status line tells it. */
double pool_training_held_share(struct pool *p);
/* Puts the calling thread behind interactive ones (SCHED_BATCH, nice +5). Workers do it themselves; the trainer and tasting threads,
 * which work beside them, should too. */
void thread_background(void);
void thread_interactive(void); /* the opposite, for a thread that sleeps most of the time and shall not be late when it wakes */
/* Writes every page of a block once (its contents stay), so that no step has to wait for the system to make them. */
void mem_touch(struct pool *p, enum gm_role role, void *block, size_t bytes);
int cpu_physical_cores(void); /* that this process may run on */

#endif
