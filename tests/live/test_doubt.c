/*
 * Doubt: the link is lost between EXEC and its reply. Whether EXEC was executed, never arrived, or
 * arrives late, in whatever order with the question for the marker and the retry: what is told is
 * true, and nothing is applied twice.
 */
#include "doubt.h"

#include <stdio.h>

/* ---- The marker tells ---------------------------------------------------------------------- */

Test(doubt, a_lost_reply_is_resolved)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    live_counter counter = {.result = "receipt"};
    gavel_outcome outcome = counter_run(rig.client, &counter, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    cr_assert_not(outcome.is_duplicate);
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(outcome.result_size, 7);
    cr_assert_arr_eq(outcome.result, "receipt", 7);
    cr_assert_eq(relay_n_execs(rig.relay), 1);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_assert_eq(stats.n_in_doubt, 1);
    cr_assert_eq(stats.n_settled, 1);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* The marker counts on from round to round. */
Test(doubt, a_later_rounds_lost_reply_is_resolved)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY, .round = 4};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &(gavel_config){.max_links = 1});
    for (unsigned i = 1; i <= 4; i++) {
        gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
        cr_assert_eq(outcome.is_from_marker, i == 4);
    }
    doubt_goes_on(&rig, 4);
    doubt_end(&rig);
}

/* When reads behind EXEC were in vain for a while, EXEC is the last that was sent. */
Test(doubt, the_lost_reply_is_to_the_last_command)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY, .round = 21};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &(gavel_config){.max_links = 1});
    for (unsigned i = 1; i <= 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "other:%u", i);
        ASSERT_TOLD(live_increment(rig.client, key), GAVEL_COMMITTED);
    }
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt, an_exec_that_never_arrives_is_made_again)
{
    doubt_plan plan = {.action = RELAY_CUT};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_from_marker);
    cr_assert_eq(outcome.n_attempts, 2);
    cr_assert_eq(outcome.n_faults, 1);
    cr_assert_eq(relay_n_execs(rig.relay), 2);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* The old EXEC arrives at this point of the new link's doings. */
static void run_late(const char *before, bool is_made)
{
    doubt_plan plan = {.action = RELAY_LATE, .before = before};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    if (before == NULL)
        plan.n_delivered = relay_deliver(rig.relay);
    cr_assert_eq(plan.n_delivered, 1);
    cr_assert_eq(outcome.is_from_marker, is_made);
    cr_assert_eq(relay_n_execs(rig.relay), is_made ? 1 : 2);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt, late_before_the_new_link_is_up)
{
    run_late("PEXPIRE", true);
}

Test(doubt, late_between_touching_and_asking)
{
    run_late("GET", false);
}

Test(doubt, late_before_the_retry_watches)
{
    run_late("WATCH", false);
}

Test(doubt, late_before_the_retry_begins_to_commit)
{
    run_late("MULTI", false);
}

Test(doubt, late_just_before_the_retrys_exec)
{
    run_late("EXEC", false);
}

Test(doubt, late_after_the_outcome)
{
    run_late(NULL, false);
}

/* ---- Misfortune upon misfortune ------------------------------------------------------------ */

typedef struct doubt_script {
    relay_action on_exec[4]; /* of the first round of each link */
    unsigned n_questions_to_cut;
} doubt_script;

static relay_action follow_script(test_relay *relay, const relay_command *command, void *user)
{
    (void)relay;
    doubt_script *script = user;
    if (relay_is(command, "PEXPIRE") && script->n_questions_to_cut > 0) {
        script->n_questions_to_cut--;
        return RELAY_LOSE_REPLY;
    }
    if (command->link < 4 && command->round == 1 && relay_is(command, "EXEC"))
        return script->on_exec[command->link];
    return RELAY_PASS;
}

Test(doubt, every_exec_is_late)
{
    doubt_script script = {.on_exec = {RELAY_LATE, RELAY_LATE, RELAY_LATE}};
    doubt_rig rig = doubt_begin(follow_script, &script, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(outcome.n_attempts, 4);
    cr_assert_eq(relay_n_execs(rig.relay), 4);
    cr_assert_eq(relay_deliver(rig.relay), 3);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt, the_retrys_reply_is_lost_as_well)
{
    doubt_script script = {.on_exec = {RELAY_LATE, RELAY_CUT, RELAY_LOSE_REPLY}};
    doubt_rig rig = doubt_begin(follow_script, &script, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    cr_assert_eq(outcome.n_attempts, 3);
    cr_assert_eq(relay_deliver(rig.relay), 1);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

Test(doubt, the_markers_answer_is_lost_too)
{
    doubt_script script = {.on_exec = {RELAY_LOSE_REPLY}, .n_questions_to_cut = 2};
    doubt_rig rig = doubt_begin(follow_script, &script, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* A link that comes up and dies when it is asked must not be made anew without a pause. */
Test(doubt, asking_in_vain_is_paced)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY, .cut = "PEXPIRE"};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 1000});
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_leq(relay_n_links(rig.relay), 50, "%u links", relay_n_links(rig.relay));
    doubt_end(&rig);
}

/* ---- Nobody can tell ----------------------------------------------------------------------- */

/* Runs once, with what is done to the server when the doubt begins. */
static void forget_markers(const gavel_event *event, void *user)
{
    test_server *const *server = user;
    if (event->type != GAVEL_EVENT_IN_DOUBT)
        return;
    redisReply *markers = server_command(*server, "KEYS", "gavel:m:*", (char *)NULL);
    cr_assert_gt(markers->elements, 0);
    for (size_t i = 0; i < markers->elements; i++)
        server_do(*server, "DEL", markers->element[i]->str, (char *)NULL);
    freeReplyObject(markers);
}

static void falsify_markers(const gavel_event *event, void *user)
{
    test_server *const *server = user;
    if (event->type != GAVEL_EVENT_IN_DOUBT)
        return;
    redisReply *markers = server_command(*server, "KEYS", "gavel:m:*", (char *)NULL);
    for (size_t i = 0; i < markers->elements; i++)
        server_do(*server, "SET", markers->element[i]->str, "7", (char *)NULL);
    freeReplyObject(markers);
}

static void run_without_truth(
    relay_action action, void (*on_event)(const gavel_event *event, void *user), long long value)
{
    doubt_plan plan = {.action = action};
    test_server *server = NULL;
    gavel_config config = {.hooks = {.on_event = on_event, .user = &server}};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &config);
    server = rig.server;
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(relay_n_execs(rig.relay), 1);
    doubt_goes_on(&rig, value);
    doubt_end(&rig);
}

Test(doubt, a_lost_marker_tells_nothing)
{
    run_without_truth(RELAY_LOSE_REPLY, forget_markers, 1);
}

Test(doubt, a_lost_marker_tells_nothing_of_an_exec_that_was_not_made)
{
    run_without_truth(RELAY_CUT, forget_markers, 0);
}

Test(doubt, a_marker_with_another_number_tells_nothing)
{
    run_without_truth(RELAY_LOSE_REPLY, falsify_markers, 1);
}

static void run_without_markers(relay_action action, long long value)
{
    doubt_plan plan = {.action = action};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &doubt_no_markers);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(relay_n_execs(rig.relay), 1);
    cr_assert_eq(server_int(rig.server, "EXISTS", "counter", (char *)NULL), value);
    doubt_goes_on(&rig, value);
    doubt_end(&rig);
}

Test(doubt, without_markers_a_lost_reply_is_unknown)
{
    run_without_markers(RELAY_LOSE_REPLY, 1);
}

Test(doubt, without_markers_an_exec_that_never_arrives_is_unknown)
{
    run_without_markers(RELAY_CUT, 0);
}

/* ---- The deadline comes first -------------------------------------------------------------- */

/* EXEC has to leave before the deadline, on a busy machine too. */
static void run_out_of_time(relay_action action, const char *cut, long long value)
{
    doubt_plan plan = {.action = action, .cut = cut};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 800});
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_geq(outcome.elapsed_us, 800000);
    relay_deliver(rig.relay);
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(relay_n_execs(rig.relay), 1);
    plan.cut = NULL;
    doubt_goes_on(&rig, value);
    doubt_end(&rig);
}

Test(doubt, no_link_up_to_the_deadline)
{
    run_out_of_time(RELAY_LOSE_REPLY, "HELLO", 1);
}

Test(doubt, no_link_up_to_the_deadline_and_exec_never_arrives)
{
    run_out_of_time(RELAY_CUT, "HELLO", 0);
}

Test(doubt, late_after_giving_up)
{
    run_out_of_time(RELAY_LATE, "HELLO", 1);
}

/* The marker was touched, its answer was lost: the late EXEC fails, but gavel cannot know. */
Test(doubt, late_after_giving_up_with_the_marker_touched)
{
    run_out_of_time(RELAY_LATE, "GET", 0);
}

Test(doubt, the_deadline_comes_during_exec)
{
    run_out_of_time(RELAY_STALL, NULL, 1);
}

/* A link that is silent for too long is given up; what it may still do is forestalled. */
Test(doubt, a_stalled_link_is_left_for_another)
{
    doubt_plan plan = {.action = RELAY_STALL};
    gavel_config config = {.command_timeout_ms = 500};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, &config);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_from_marker);
    cr_assert_eq(outcome.n_attempts, 2);
    cr_assert_eq(relay_deliver(rig.relay), 1);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}
