/*
 * The context: see the header.
 */
#include "core/context.h"

#include "core/guard.h"
#include "core/transaction.h"

void gavel__context_init(gavel__context *context, const gavel_allocator *allocator,
    const gavel_hooks *hooks, uint64_t seed)
{
    *context = (gavel__context){.allocator = allocator, .hooks = *hooks};
    gavel__random_seed(&context->random, seed);
}

static void call(gavel__context *context, const gavel_event *event)
{
    gavel__guard_enter();
    context->hooks.on_event(event, context->hooks.user);
    gavel__guard_leave();
}

void gavel__context_tell(gavel__context *context, gavel_event_type type, uint32_t link,
    const gavel__transaction *transaction, const char *message)
{
    if (context->hooks.on_event == NULL)
        return;
    gavel_event event = {.type = type, .link = link, .message = message};
    if (transaction != NULL) {
        event.user = transaction->user;
        event.ticket = transaction->ticket;
        event.n_attempts = transaction->outcome.n_attempts;
        event.status = transaction->outcome.status;
    }
    call(context, &event);
}

void gavel__context_tell_lost(
    gavel__context *context, gavel_event_type type, gavel_ticket ticket, const char *message)
{
    gavel_event event = {.type = type, .ticket = ticket, .message = message};
    if (context->hooks.on_event != NULL)
        call(context, &event);
}
