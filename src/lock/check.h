/*
 * Checks of the locks' state, for tests.
 */
#ifndef GAVEL__LOCK_CHECK_H
#define GAVEL__LOCK_CHECK_H

#include "lock/locks.h"

/* Asserts what holds between two calls, when timers were looked at. Costs as much as there is. */
void gavel__locks_check(const gavel__locks *locks);

#endif
