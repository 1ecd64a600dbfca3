/*
 * The standard transaction of the live tests: adds one to a counter. Whatever happens to links and
 * servers, the counter must come to what the outcomes say.
 */
#ifndef TEST_LIVE_COUNTER_H
#define TEST_LIVE_COUNTER_H

#include "tools.h"

#include <gavel/gavel.h>

#include <criterion/criterion.h>

/* One caller's transaction on the key "counter". */
typedef struct live_counter {
    /* NULL: none. What happens to the server between the reads and EXEC of the first attempt. */
    void (*meddle)(void *context);
    void *context;
    const char *result; /* NULL: none. What the body sets as its result */
    unsigned n_runs;    /* of the body */
} live_counter;

/* The body; `user` is a live_counter. */
gavel_verdict counter_add(gavel_tx *tx, void *user);

/* Runs the transaction, with deadlines, ids and so on from `more`. `counter` NULL: a plain one. */
gavel_outcome counter_run(gavel_client *client, live_counter *counter, gavel_transaction more);

/*
 * Makes the client forget what it may have read of the counter behind an earlier EXEC, so that its
 * next transaction begins by reading.
 */
void counter_forget(gavel_client *client);

/* What the counter holds; 0 when there is none. */
long long counter_value(test_server *server);

/* Asserts a status; a failure shows the outcome's own words. Each argument is evaluated once. */
#define ASSERT_TOLD(outcome, expected)                                                             \
    do {                                                                                           \
        const gavel_outcome told = (outcome);                                                      \
        cr_assert_eq(told.status, expected, "%s, not %s: %s", gavel_status_name(told.status),      \
            gavel_status_name(expected), told.message);                                            \
    } while (0)

/* Asserts that the outcome's message says this. */
#define ASSERT_SAYS(outcome, words)                                                                \
    cr_assert_not_null(                                                                            \
        strstr((outcome).message, words), "no \"%s\" in: %s", words, (outcome).message)

#endif
