/*
 * Outcomes, inside: how a message, and the replies that a caller asked to keep, get into one.
 */
#ifndef GAVEL__OUTCOME_H
#define GAVEL__OUTCOME_H

#include "base/arena.h"

#include <gavel/outcome.h>

/* What is to be told besides the status; cut to what there is room for. */
void gavel__outcome_set_message(gavel_outcome *outcome, const char *message);

/*
 * Deep copies of `replies` into the outcome, to be freed by gavel_outcome_clear. False, and none in
 * the outcome, when there is no memory.
 */
bool gavel__outcome_keep_replies(gavel_outcome *outcome, const gavel_allocator *allocator,
    const gavel_reply *replies, size_t n_replies);

#endif
