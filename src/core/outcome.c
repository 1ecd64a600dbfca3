/*
 * Outcomes: the table of statuses, and the memory of kept replies.
 */
#include "core/outcome.h"

#include "base/text.h"

const char *gavel_status_name(gavel_status status)
{
    switch (status) {
#define STATUS_NAME(code, name, meaning)                                                           \
    case GAVEL_##code:                                                                             \
        return name;
        GAVEL_STATUSES(STATUS_NAME)
#undef STATUS_NAME
    }
    return "?";
}

const char *gavel_status_meaning(gavel_status status)
{
    switch (status) {
#define STATUS_MEANING(code, name, meaning)                                                        \
    case GAVEL_##code:                                                                             \
        return meaning;
        GAVEL_STATUSES(STATUS_MEANING)
#undef STATUS_MEANING
    }
    return "?";
}

/* Kept replies stand behind the arena that they live in, so that clearing needs no client. */
struct kept_replies {
    gavel_allocator allocator;
    gavel__arena arena;
    gavel_reply replies[];
};

bool gavel__outcome_keep_replies(gavel_outcome *outcome, const gavel_allocator *allocator,
    const gavel_reply *replies, size_t n_replies)
{
    struct kept_replies *kept =
        gavel__alloc(allocator, 1, sizeof(*kept) + n_replies * sizeof(gavel_reply));
    if (kept == NULL)
        return false;
    kept->allocator = *allocator;
    gavel__arena_init(&kept->arena, &kept->allocator);
    outcome->replies = kept->replies;
    outcome->n_replies = n_replies;
    for (size_t i = 0; i < n_replies; i++) {
        if (!gavel__arena_copy_reply(&kept->arena, &replies[i], &kept->replies[i])) {
            gavel_outcome_clear(outcome);
            return false;
        }
    }
    return true;
}

void gavel_outcome_clear(gavel_outcome *outcome)
{
    if (outcome == NULL || outcome->replies == NULL)
        return;
    struct kept_replies *kept = (struct kept_replies *)((char *)(uintptr_t)outcome->replies -
                                                        offsetof(struct kept_replies, replies));
    gavel_allocator allocator = kept->allocator;
    gavel__arena_finish(&kept->arena);
    gavel__free(&allocator, kept);
    outcome->replies = NULL;
    outcome->n_replies = 0;
}
