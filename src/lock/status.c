/*
 * The names and meanings of a lock's statuses and reasons, and the memory of kept replies.
 */
#include <gavel/lock.h>

#define NAME_CASE(code, name, meaning)                                                             \
    case GAVEL_LOCK_##code:                                                                        \
        return name;
#define MEANING_CASE(code, name, meaning)                                                          \
    case GAVEL_LOCK_##code:                                                                        \
        return meaning;

const char *gavel_lock_status_name(gavel_lock_status status)
{
    switch (status) {
        GAVEL_LOCK_STATUSES(NAME_CASE)
    }
    return "?";
}

const char *gavel_lock_status_meaning(gavel_lock_status status)
{
    switch (status) {
        GAVEL_LOCK_STATUSES(MEANING_CASE)
    }
    return "?";
}

const char *gavel_lock_reason_name(gavel_lock_reason reason)
{
    switch (reason) {
        GAVEL_LOCK_REASONS(NAME_CASE)
    }
    return "?";
}

const char *gavel_lock_reason_meaning(gavel_lock_reason reason)
{
    switch (reason) {
        GAVEL_LOCK_REASONS(MEANING_CASE)
    }
    return "?";
}

void gavel_lock_outcome_clear(gavel_lock_outcome *outcome)
{
    if (outcome == NULL || outcome->reply == NULL)
        return;
    /* The reply is kept as a transaction's are. */
    gavel_outcome kept = {.replies = outcome->reply, .n_replies = 1};
    gavel_outcome_clear(&kept);
    outcome->reply = NULL;
}
