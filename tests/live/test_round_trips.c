/*
 * What a transaction costs in round trips, and that nothing read ahead to save one is ever trusted:
 * what others wrote in between is always seen.
 */
#include "tools.h"

#include <criterion/criterion.h>

#define KEY GAVEL_STR("key")

Test(round_trips, a_first_attempt_takes_two_round_trips)
{
    live_rig rig = live_begin(NULL, NULL);
    static const char *const keys[] = {"a", "b", "c"};
    for (uint64_t n = 1; n <= 3; n++) {
        gavel_outcome outcome = live_increment(rig.client, keys[n - 1]);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_eq(outcome.n_round_trips, 2);
        cr_expect_eq(outcome.n_attempts, 1);
        gavel_stats stats;
        gavel_read_stats(rig.client, &stats);
        cr_expect_eq(stats.n_round_trips, 2 * n);
        cr_expect_eq(stats.n_rounds, n);
    }
    live_end(&rig);
}

Test(round_trips, a_further_one_on_the_same_key_takes_no_more)
{
    live_rig rig = live_begin(NULL, NULL);
    for (int i = 0; i < 5; i++) {
        gavel_outcome outcome = live_increment(rig.client, "key");
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_leq(outcome.n_round_trips, 2);
        cr_expect_geq(outcome.n_round_trips, 1);
        server_do(rig.server, "INCR", "other", NULL);
    }
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 5);
    live_end(&rig);
}

/* Whatever a client may have read ahead: what another one has written since is seen. */
Test(round_trips, what_others_wrote_in_between_is_seen)
{
    live_rig rig = live_begin(NULL, NULL);
    for (int i = 0; i < 5; i++) {
        gavel_outcome outcome = live_increment(rig.client, "key");
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        server_do(rig.server, "INCRBY", "key", "10", NULL);
    }
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 55);
    live_end(&rig);
}

static gavel_verdict abort_with_the_value(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = 0;
    gavel_get_int(tx, KEY, &value);
    return gavel_abort(tx, (int)value);
}

static gavel_verdict tell_the_value(gavel_tx *tx, void *user)
{
    int64_t *value = user;
    gavel_get_int(tx, KEY, value);
    return GAVEL_COMMIT;
}

/* And also by those who write nothing, whose verdict no EXEC would prove wrong. */
Test(round_trips, what_others_wrote_in_between_is_seen_by_readers)
{
    live_rig rig = live_begin(NULL, NULL);
    for (int i = 1; i <= 5; i++) {
        live_increment(rig.client, "key");
        server_do(rig.server, "SET", "key", "77", NULL);
        gavel_outcome outcome = live_run(rig.client, "key", abort_with_the_value, NULL);
        cr_expect_eq(outcome.status, GAVEL_ABORTED, "%s", outcome.message);
        cr_expect_eq(outcome.abort_code, 77);
        live_increment(rig.client, "key");
        server_do(rig.server, "SET", "key", "88", NULL);
        int64_t value = 0;
        outcome = live_run(rig.client, "key", tell_the_value, &value);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_eq(value, 88);
    }
    live_end(&rig);
}

static gavel_verdict add_one_after_meddling_once(gavel_tx *tx, void *user)
{
    if (gavel_attempt(tx) == 0)
        server_do(user, "SET", "key", "10", NULL);
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

Test(round_trips, a_conflict_takes_one_round_trip_more)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome = live_run(rig.client, "key", add_one_after_meddling_once, rig.server);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_round_trips, 3);
    cr_expect_eq(outcome.n_conflicts, 1);
    cr_expect_eq(outcome.n_attempts, 2);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_round_trips, 3);
    cr_expect_eq(stats.n_conflicts, 1);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 11);
    live_end(&rig);
}

static gavel_verdict read_three(gavel_tx *tx, void *user)
{
    int64_t *sum = user;
    static const gavel_bytes keys[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    *sum = 0;
    for (size_t i = 0; i < 3; i++) {
        int64_t value = 0;
        gavel_get_int(tx, keys[i], &value);
        *sum += value;
    }
    return GAVEL_COMMIT;
}

Test(round_trips, a_read_only_one_takes_one_round_trip)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "MSET", "a", "1", "b", "20", "c", "300", NULL);
    int64_t sum = 0;
    gavel_transaction transaction = {.body = read_three,
        .user = &sum,
        .reads = (gavel_read[]){{.key = {"a", 1}}, {.key = {"b", 1}}, {.key = {"c", 1}}},
        .n_reads = 3,
        .is_read_only = true};
    gavel_outcome outcome = gavel_run(rig.client, &transaction);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_round_trips, 1);
    cr_expect_eq(sum, 321);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_round_trips, 1);

    transaction.is_read_only = false;
    outcome = gavel_run(rig.client, &transaction);
    cr_expect_eq(outcome.n_round_trips, 2, "EXEC proves that several reads are one snapshot");
    live_end(&rig);
}

Test(round_trips, what_was_not_declared_takes_one_round_trip_more)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "MSET", "a", "1", "b", "20", "c", "300", NULL);
    int64_t sum = 0;
    gavel_outcome outcome = live_run(rig.client, "a", read_three, &sum);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_round_trips, 3);
    cr_expect_eq(outcome.n_attempts, 1, "runs that end as AGAIN are not counted");
    cr_expect_eq(sum, 321);
    live_end(&rig);
}

static gavel_verdict read_and_add_one(gavel_tx *tx, void *user)
{
    unsigned *n_runs = user;
    int64_t value = 0;
    *n_runs += 1;
    gavel_get_int(tx, KEY, &value);
    return gavel_set_int(tx, KEY, value + 1) ? GAVEL_COMMIT : GAVEL_ABORT;
}

static gavel_verdict write_one(gavel_tx *tx, void *user)
{
    unsigned *n_runs = user;
    *n_runs += 1;
    return gavel_set_int(tx, GAVEL_STR("other"), *n_runs) ? GAVEL_COMMIT : GAVEL_ABORT;
}

/* Runs it, and says how many round trips the client has made for it. */
static uint64_t count_round_trips(gavel_client *client, gavel_body *body, unsigned *n_runs)
{
    gavel_stats before, after;
    gavel_read_stats(client, &before);
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = body, .user = n_runs});
    gavel_read_stats(client, &after);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_attempts, 1);
    cr_expect_eq(after.n_attempts - before.n_attempts, 1);
    cr_expect_eq(outcome.n_round_trips, after.n_round_trips - before.n_round_trips);
    return outcome.n_round_trips;
}

/* As the first program in the README does it. */
Test(round_trips, one_that_declares_nothing_takes_no_more_than_one_that_does)
{
    live_rig rig = live_begin(NULL, NULL);
    unsigned n_runs = 0;
    for (int i = 0; i < 5; i++)
        cr_expect_eq(count_round_trips(rig.client, read_and_add_one, &n_runs), 2);
    cr_expect_eq(n_runs, 10, "each ran once to say what it reads");
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 5);
    live_end(&rig);
}

Test(round_trips, one_that_only_writes_takes_one_behind_another)
{
    live_rig rig = live_begin(NULL, NULL);
    unsigned n_writes = 0;
    unsigned n_reads = 0;
    for (unsigned i = 1; i <= 4; i++) {
        cr_expect_eq(count_round_trips(rig.client, write_one, &n_writes), 2);
        cr_expect_eq(count_round_trips(rig.client, write_one, &n_writes), 1);
        cr_expect_eq(n_writes, 2 * i, "none has run twice");
        cr_expect_eq(count_round_trips(rig.client, read_and_add_one, &n_reads), 2);
    }
    cr_expect_eq(server_int(rig.server, "GET", "other", NULL), 8);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 4);
    live_end(&rig);
}
