/*
 * Rounds that stand: what was read behind an EXEC is there for the next transaction that reads the
 * same. That saves it a round trip, and must never let it decide on what is no longer true.
 */
#include "tools.h"

#include <criterion/criterion.h>

#define KEY GAVEL_STR("key")

/* Aborts with what it sees. */
static gavel_verdict look(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = -1;
    gavel_get_int(tx, KEY, &value);
    return gavel_abort(tx, (int)value);
}

static gavel_verdict look_and_commit(gavel_tx *tx, void *user)
{
    gavel_get_int(tx, KEY, user);
    return GAVEL_COMMIT;
}

Test(prefetched, the_next_on_the_same_key_takes_one_round_trip)
{
    live_rig rig = live_begin(NULL, NULL);
    cr_expect_eq(live_increment(rig.client, "key").n_round_trips, 2);
    for (int i = 0; i < 20; i++) {
        gavel_outcome outcome = live_increment(rig.client, "key");
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_eq(outcome.n_round_trips, 1);
    }
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 21);
    live_end(&rig);
}

Test(prefetched, a_change_in_between_costs_an_attempt_and_no_update)
{
    live_rig rig = live_begin(NULL, NULL);
    live_increment(rig.client, "key");
    server_do(rig.server, "SET", "key", "100", NULL);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, 1);
    cr_expect_eq(outcome.n_round_trips, 2);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 101);
    live_end(&rig);
}

Test(prefetched, an_abort_is_decided_on_what_is_true_now)
{
    live_rig rig = live_begin(NULL, NULL);
    live_increment(rig.client, "key");
    server_do(rig.server, "SET", "key", "100", NULL);
    gavel_outcome outcome = live_run(rig.client, "key", look, NULL);
    cr_expect_eq(outcome.status, GAVEL_ABORTED);
    cr_expect_eq(outcome.abort_code, 100);
    live_end(&rig);
}

Test(prefetched, a_commit_without_writes_tells_what_is_true_now)
{
    live_rig rig = live_begin(NULL, NULL);
    live_increment(rig.client, "key");
    server_do(rig.server, "SET", "key", "100", NULL);
    int64_t value = -1;
    gavel_outcome outcome = live_run(rig.client, "key", look_and_commit, &value);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED);
    cr_expect_eq(value, 100);
    live_end(&rig);
}

Test(prefetched, a_mistake_in_the_data_is_told_of_the_data_as_they_are_now)
{
    live_rig rig = live_begin(NULL, NULL);
    live_increment(rig.client, "key");
    server_do(rig.server, "SET", "key", "no number", NULL);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", gavel_status_name(outcome.status));
    server_do(rig.server, "SET", "key", "7", NULL);
    outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 8);
    live_end(&rig);
}

Test(prefetched, others_keys_are_not_kept_waiting)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes keys[] = {GAVEL_STR("other"), KEY};
    live_increment(rig.client, "key");
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = live_add_one,
                                                      .user = &keys[1],
                                                      .keys = keys,
                                                      .n_keys = 2,
                                                      .reads = &(gavel_read){.key = KEY},
                                                      .n_reads = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 2);
    live_end(&rig);
}
