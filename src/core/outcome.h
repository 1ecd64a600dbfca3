/*
 * Outcomes, inside: how the replies that a caller asked to keep get into one.
 */
#ifndef GAVEL__OUTCOME_H
#define GAVEL__OUTCOME_H

#include "base/arena.h"

#include <gavel/outcome.h>

/*
 * Deep copies of `replies` into the outcome, to be freed by gavel_outcome_clear. False, and none in
 * the outcome, when there is no memory.
 */
bool gavel__outcome_keep_replies(gavel_outcome *outcome, const gavel_allocator *allocator,
    const gavel_reply *replies, size_t n_replies);

#endif
