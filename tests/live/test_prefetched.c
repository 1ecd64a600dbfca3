/*
 * Rounds that stand: what was read behind an EXEC is there for the next transaction that reads the
 * same. That saves it a round trip, and must never let it decide on what is no longer true.
 */
#include "tools.h"

#include <criterion/criterion.h>

#define KEY GAVEL_STR("key")

/* For so long what was read ahead is used. A busy machine may let us wait for longer: then it is
 * read anew, which says nothing, and one more client is opened. */
#define FRESH_US 5000

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

/* Increments at most 21 times, until the machine has let it wait. Returns how often it has not. */
static int increment_while_fresh(test_server *server)
{
    live_rig rig = {server, live_open(server_url(server), NULL)};
    int n_fresh = 0;
    bool is_fresh = true;
    int64_t before_us = live_now_us();
    server_do(server, "DEL", "key", NULL);
    cr_expect_eq(live_increment(rig.client, "key").n_round_trips, 2);
    for (int n_runs = 1; n_fresh < 20 && is_fresh; n_runs++) {
        int64_t begun_us = live_now_us();
        gavel_outcome outcome = live_increment(rig.client, "key");
        is_fresh = live_now_us() - before_us < FRESH_US;
        before_us = begun_us;
        n_fresh += is_fresh;
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect(!is_fresh || outcome.n_round_trips == 1, "%u", outcome.n_round_trips);
        cr_expect_eq(server_int(server, "GET", "key", NULL), n_runs + 1);
    }
    gavel_close(rig.client);
    return n_fresh;
}

Test(prefetched, the_next_on_the_same_key_takes_one_round_trip)
{
    test_server *server = server_start(NULL);
    for (int n_fresh = 0; n_fresh < 20;)
        n_fresh += increment_while_fresh(server);
    server_stop(server);
}

Test(prefetched, a_change_in_between_costs_an_attempt_and_no_update)
{
    test_server *server = server_start(NULL);
    for (bool is_fresh = false; !is_fresh;) {
        gavel_client *client = live_open(server_url(server), NULL);
        int64_t before_us = live_now_us();
        live_increment(client, "key");
        server_do(server, "SET", "key", "100", NULL);
        gavel_outcome outcome = live_increment(client, "key");
        is_fresh = live_now_us() - before_us < FRESH_US;
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect(!is_fresh || outcome.n_conflicts == 1, "%u", outcome.n_conflicts);
        cr_expect_eq(outcome.n_round_trips, 2);
        cr_expect_eq(server_int(server, "GET", "key", NULL), 101);
        gavel_close(client);
    }
    server_stop(server);
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
