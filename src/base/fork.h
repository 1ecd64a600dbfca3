/*
 * Noticing fork(): a client belongs to the process that opened it.
 */
#ifndef GAVEL__FORK_H
#define GAVEL__FORK_H

#include <stdint.h>

/*
 * A number that differs in a parent and its child: kept in memory, so reading it costs no system
 * call (pthread_atfork raises it in the child). Any thread.
 */
uint64_t gavel__fork_generation(void);

#endif
