/*
 * Ids in doubt: with markers off, only the record under a caller's own id can tell whether EXEC was
 * made. It does, in every order; and one id commits once, whoever submits it.
 */
#include "doubt.h"

/* EXEC has to leave before that deadline, on a busy machine too. */
#define HASTY_MS 800

static const gavel_transaction payment = {.id = {"payment 1", 9}, .digest = {"12 EUR", 6}};
static const gavel_bytes account = {"account", 7};
static const gavel_transaction with_more_keys = {
    .id = {"payment 1", 9}, .digest = {"12 EUR", 6}, .keys = &account, .n_keys = 1};
static const gavel_transaction other_payload = {.id = {"payment 1", 9}, .digest = {"13 EUR", 6}};

static void assert_receipt(const gavel_outcome *outcome, const char *receipt)
{
    cr_assert_eq(outcome->result_size, strlen(receipt));
    cr_assert_arr_eq(outcome->result, receipt, strlen(receipt));
}

/* `before`: see doubt_plan. The counter must be 1, whatever the order. */
static void run_payment(relay_action action, const char *before, bool is_made)
{
    doubt_plan plan = {.action = action, .before = before};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &doubt_no_markers);
    live_counter counter = {.result = "receipt"};
    gavel_outcome outcome = counter_run(rig.client, &counter, payment);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_from_marker);
    cr_assert_eq(outcome.is_duplicate, is_made);
    assert_receipt(&outcome, "receipt");
    relay_deliver(rig.relay);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt_ids, a_lost_reply_is_resolved)
{
    run_payment(RELAY_LOSE_REPLY, NULL, true);
}

Test(doubt_ids, an_exec_that_never_arrives_is_made_again)
{
    run_payment(RELAY_CUT, NULL, false);
}

Test(doubt_ids, late_before_the_retry_watches)
{
    run_payment(RELAY_LATE, "WATCH", true);
}

Test(doubt_ids, late_before_the_retry_reads)
{
    run_payment(RELAY_LATE, "GET", true);
}

Test(doubt_ids, late_just_before_the_retrys_exec)
{
    run_payment(RELAY_LATE, "EXEC", true);
}

Test(doubt_ids, late_after_the_outcome)
{
    run_payment(RELAY_LATE, NULL, false);
}

/* With markers the marker is asked first, and a duplicate is only what another submission made. */
Test(doubt_ids, the_marker_tells_first)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    live_counter counter = {.result = "receipt"};
    gavel_outcome outcome = counter_run(rig.client, &counter, payment);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    cr_assert_not(outcome.is_duplicate);
    assert_receipt(&outcome, "receipt");
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* What one client could not tell, the next submission can, from another client too. */
static void submit_again(relay_action action, gavel_transaction again, bool is_made)
{
    doubt_plan plan = {.action = action, .cut = "HELLO"};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &doubt_no_markers);
    gavel_transaction hasty = payment;
    hasty.deadline_ms = HASTY_MS;
    live_counter first = {.result = "receipt 1"};
    gavel_outcome outcome = counter_run(rig.client, &first, hasty);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(outcome.result_size, 0);

    gavel_client *other = live_open(server_url(rig.server), NULL);
    live_counter second = {.result = "receipt 2"};
    outcome = counter_run(other, &second, again);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(outcome.is_duplicate, is_made);
    assert_receipt(&outcome, is_made ? "receipt 1" : "receipt 2");
    cr_assert_eq(counter_value(rig.server), 1);
    gavel_close(other);
    relay_deliver(rig.relay);
    plan.cut = NULL;
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt_ids, unknown_and_made_is_found_by_the_next)
{
    submit_again(RELAY_LOSE_REPLY, payment, true);
}

Test(doubt_ids, unknown_and_not_made_is_made_by_the_next)
{
    submit_again(RELAY_CUT, payment, false);
}

Test(doubt_ids, unknown_and_late_is_made_by_the_next)
{
    submit_again(RELAY_LATE, payment, false);
}

Test(doubt_ids, the_next_may_declare_other_keys)
{
    submit_again(RELAY_LOSE_REPLY, with_more_keys, true);
    submit_again(RELAY_LATE, with_more_keys, false);
}

/* The link is slow, not lost: the second submission overtakes the first. */
Test(doubt_ids, overtaken_while_stalled)
{
    doubt_plan plan = {.action = RELAY_STALL};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    gavel_transaction hasty = payment;
    hasty.deadline_ms = HASTY_MS;
    ASSERT_TOLD(counter_run(rig.client, NULL, hasty), GAVEL_UNKNOWN);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_outcome outcome = counter_run(other, NULL, payment);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_duplicate);
    gavel_close(other);
    cr_assert_eq(relay_deliver(rig.relay), 1);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

static gavel_verdict look_and_decline(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    (void)user;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    return gavel_abort(tx, 7);
}

/* Its caller was told ABORTED, so that the first submission's EXEC must come to nothing. */
static void decline(relay_action action, const gavel_config *config)
{
    doubt_plan plan = {.action = action, .cut = "HELLO"};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, config);
    gavel_transaction request = payment;
    request.deadline_ms = HASTY_MS;
    ASSERT_TOLD(counter_run(rig.client, NULL, request), GAVEL_UNKNOWN);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    request.deadline_ms = 0;
    request.body = look_and_decline;
    request.reads = &(gavel_read){.key = GAVEL_STR("counter")};
    request.n_reads = 1;
    ASSERT_TOLD(gavel_run(other, &request), GAVEL_ABORTED);
    cr_assert_eq(relay_deliver(rig.relay), 1);
    cr_assert_eq(counter_value(rig.server), 0);
    gavel_outcome outcome = counter_run(other, NULL, payment);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_duplicate);
    gavel_close(other);
    plan.cut = NULL;
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt_ids, unknown_and_late_comes_to_nothing_after_an_abort)
{
    decline(RELAY_LATE, &doubt_no_markers);
}

Test(doubt_ids, stalled_and_late_comes_to_nothing_after_an_abort)
{
    decline(RELAY_STALL, NULL);
}

static void reuse(const gavel_config *config, relay_action action)
{
    doubt_plan plan = {.action = action};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, config);
    live_counter counter = {.result = "receipt"};
    ASSERT_TOLD(counter_run(rig.client, &counter, payment), GAVEL_COMMITTED);
    gavel_outcome outcome = counter_run(rig.client, NULL, payment);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_duplicate);
    assert_receipt(&outcome, "receipt");
    outcome = counter_run(rig.client, NULL, other_payload);
    ASSERT_TOLD(outcome, GAVEL_INVALID);
    cr_assert_eq(outcome.result_size, 0);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt_ids, another_payload_is_invalid)
{
    reuse(NULL, RELAY_PASS);
}

Test(doubt_ids, another_payload_is_invalid_after_doubt)
{
    reuse(&doubt_no_markers, RELAY_LOSE_REPLY);
}

Test(doubt_ids, another_payload_is_invalid_after_a_retry)
{
    reuse(&doubt_no_markers, RELAY_CUT);
}
