/*
 * The guard: whether this thread is inside a body or a hook, from where gavel must not be called.
 */
#ifndef GAVEL__GUARD_H
#define GAVEL__GUARD_H

#include <stdbool.h>

/* Around every call of a body or a hook; they nest. */
void gavel__guard_enter(void);
void gavel__guard_leave(void);

bool gavel__guard_is_inside(void);

#endif
