/* condition.h - condition variables that are waited on until a time of clock_seconds(): nobody sets that clock, while a jump of the wall's would make a wait
 * last for hours, or end it at once.
 *
 *     condition_init(&ready);                               // pthread_cond_destroy() as ever
 *     double until = clock_seconds() + 1;
 *     while (!there && condition_wait(&ready, &mutex, until))
 *         ;
 */
#ifndef GM_BASE_CONDITION_H
#define GM_BASE_CONDITION_H

#include <pthread.h>
#include <stdbool.h>

void condition_init(pthread_cond_t *c);
bool condition_wait(pthread_cond_t *c, pthread_mutex_t *m, double until); /* false: the time has come */

#endif
