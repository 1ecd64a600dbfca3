/*
 * The guard: one number a thread.
 */
#include "core/guard.h"

static _Thread_local int depth;

void gavel__guard_enter(void)
{
    depth++;
}

void gavel__guard_leave(void)
{
    depth--;
}

bool gavel__guard_is_inside(void)
{
    return depth > 0;
}
