/*
 * Checks of the engine's state, for tests.
 */
#ifndef GAVEL__CHECK_H
#define GAVEL__CHECK_H

#include "core/engine.h"

/* Asserts what holds between two calls. Costs as much as there is. */
void gavel__engine_check(const gavel__engine *engine);

#endif
