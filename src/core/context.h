/*
 * The context: what every part of core needs, whatever it decides. There is one, the engine's, and
 * the others point to it.
 */
#ifndef GAVEL__CONTEXT_H
#define GAVEL__CONTEXT_H

#include "base/memory.h"
#include "base/random.h"

#include <gavel/client.h>

struct gavel__transaction;

typedef struct gavel__context {
    const gavel_allocator *allocator; /* borrowed */
    /* Likewise: of the replies that outcomes keep, which their callers free when they like. */
    const gavel_allocator *reply_allocator;
    gavel_hooks hooks;    /* on_event may be NULL */
    gavel__random random; /* for jitter, tables, numbers of markers */
    gavel_stats stats;
} gavel__context;

void gavel__context_init(gavel__context *context, const gavel_allocator *allocator,
    const gavel_hooks *hooks, uint64_t seed);

/* Tells the hooks. `transaction` NULL: an event of a link. */
void gavel__context_tell(gavel__context *context, gavel_event_type type, uint32_t link,
    const struct gavel__transaction *transaction, const char *message);

/* Tells the hooks that a commit is lost, or may be: `type`. */
void gavel__context_tell_lost(
    gavel__context *context, gavel_event_type type, gavel_ticket ticket, const char *message);

#endif
