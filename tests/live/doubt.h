/*
 * What the tests of doubt share: a server, a relay that loses the first EXEC in one way or another,
 * and a client behind it.
 */
#ifndef TEST_LIVE_DOUBT_H
#define TEST_LIVE_DOUBT_H

#include "counter.h"
#include "relay.h"

/* What a relay does to one EXEC on link 0, and to what comes after it. */
typedef struct doubt_plan {
    relay_action action;
    unsigned round;       /* 0: 1. The EXEC is this round's */
    const char *before;   /* NULL: no. The late EXEC arrives before this command of a later link */
    const char *cut;      /* NULL: none. This command never gets through on later links */
    unsigned n_delivered; /* how many late links `before` delivered */
} doubt_plan;

/* The hook that does it; `user` is the plan. */
relay_action doubt_follow(test_relay *relay, const relay_command *command, void *user);

typedef struct doubt_rig {
    test_server *server;
    test_relay *relay;
    gavel_client *client;
} doubt_rig;

doubt_rig doubt_begin(relay_hook *hook, void *user, const gavel_config *config);

/* Closes the client, unless it is NULL, and stops the others. */
void doubt_end(doubt_rig *rig);

/* Asserts that the counter holds `value`, and that a further transaction commits on top of it. */
void doubt_goes_on(doubt_rig *rig, long long value);

extern const gavel_transaction doubt_plain;
extern const gavel_config doubt_no_markers;

#endif
