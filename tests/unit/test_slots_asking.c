/*
 * Slots: when is asked for them, and whom.
 */
#include "slots_stage.h"

#include <stdio.h>

TestSuite(slots_asking, .init = slots_set_up, .fini = slots_tear_down);

/* ---- When ---------------------------------------------------------------------------------- */

Test(slots_asking, it_is_asked_at_once_and_then_once_a_minute)
{
    cr_expect_leq(gavel__slots_due_us(&slots), now);
    for (int i = 0; i < 20; i++) {
        const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
        begin();
        cr_expect_eq(gavel__slots_due_us(&slots), GAVEL__NEVER);
        cr_expect_eq(gavel__slots_begin(&slots, now), GAVEL__NO_NODE, "one at a time");
        hand(array(ranges, 1));
        int64_t pause_us = gavel__slots_due_us(&slots) - now;
        cr_expect(pause_us >= 54 * SECOND && pause_us < 66 * SECOND);
        now += pause_us - 1;
        cr_expect_eq(gavel__slots_begin(&slots, now), GAVEL__NO_NODE);
        now++;
    }
}

Test(slots_asking, what_was_asked_without_a_reason_may_be_the_same)
{
    for (int i = 0; i < 5; i++) {
        const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
        begin();
        hand(array(ranges, 1));
        if (i < 4)
            now = gavel__slots_due_us(&slots);
    }
    redirect("MOVED 5 h:7001");
    cr_expect_eq(gavel__slots_due_us(&slots), now + 100 * MS);
}

/* From one question to the next, which there is a reason for. */
static int64_t pause_after_urge(void)
{
    int64_t before_us = slots.asked_us;
    gavel__slots_urge(&slots, now);
    now = gavel__slots_due_us(&slots);
    return now - before_us;
}

Test(slots_asking, a_reason_to_ask_is_heeded_at_once_after_a_quiet_time)
{
    answer_two();
    now += 20 * SECOND;
    gavel__slots_urge(&slots, now);
    cr_expect_eq(gavel__slots_due_us(&slots), now);
}

Test(slots_asking, it_is_asked_less_often_while_the_answer_is_the_same)
{
    const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
    begin();
    hand(array(ranges, 1));
    for (int64_t expected = 100 * MS; expected <= 6400 * MS; expected *= 2) {
        int64_t before_us = slots.asked_us;
        redirect("MOVED 5 h:7001");
        now = gavel__slots_due_us(&slots);
        cr_expect_eq(now - before_us, expected < 5 * SECOND ? expected : 5 * SECOND);
        begin();
        hand(array(ranges, 1));
    }
    const gavel_reply others[] = {range(0, 16383, 7002, 0)};
    redirect("MOVED 5 h:7001");
    now = gavel__slots_due_us(&slots);
    begin();
    hand(array(others, 1));
    cr_expect_eq(pause_after_urge(), 100 * MS, "it is another");
}

Test(slots_asking, while_slots_are_without_service_it_is_asked_each_half_second)
{
    const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
    static const int64_t pauses_ms[] = {100, 200, 400, 500, 500, 500, 500, 500};
    begin();
    hand(array(ranges, 1));
    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        cr_expect_eq(pause_after_urge(), pauses_ms[i] * MS);
        begin();
        hand(array(ranges, 1));
    }
}

Test(slots_asking, what_is_said_while_it_is_asked_is_a_reason_to_ask_again)
{
    const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
    begin();
    gavel__slots_urge(&slots, now);
    now += 10 * MS;
    hand(array(ranges, 1));
    cr_expect_eq(gavel__slots_due_us(&slots), now + 90 * MS);
}

Test(slots_asking, a_storm_of_redirects_costs_a_question_each_tenth_of_a_second_at_most)
{
    int n_asked = 0;
    int64_t end_us = now + 10 * SECOND;
    answer_two();
    for (int i = 0; now < end_us; i++, now += MS) {
        char error[64];
        snprintf(error, sizeof(error), "MOVED %d h:%d", i % 16384, 7001 + i % 2);
        redirect(error);
        if (gavel__slots_begin(&slots, now) == GAVEL__NO_NODE)
            continue;
        n_asked++;
        gavel__slots_ask(&slots, &out, now);
        const gavel_reply ranges[] = {range(0, 8191, 7001, 7003), range(8192, 16383, 7002, 0)};
        n_parts = 0;
        hand(array(ranges, 2));
    }
    cr_expect(n_asked > 20 && n_asked <= 100, "%d", n_asked);
}

/* ---- Whom ---------------------------------------------------------------------------------- */

Test(slots_asking, primaries_are_asked_then_replicas_then_seeds)
{
    answer_two();
    gavel__slots_urge(&slots, now);
    now = gavel__slots_due_us(&slots);
    static const char *const order[] = {"h:700", "h:700", "h:7003", "seed:1"};
    for (size_t i = 0; i < 4; i++) {
        uint16_t node = gavel__slots_begin(&slots, now);
        cr_assert_neq(node, GAVEL__NO_NODE);
        cr_expect_eq(strncmp(slots.nodes[node]->name, order[i], strlen(order[i])), 0, "%s",
            slots.nodes[node]->name);
        cr_expect_eq(slots.nodes[node]->n_slots > 0, i < 2);
        gavel__slots_on_loss(&slots, node, "lost", now);
        if (i < 3)
            cr_expect_eq(gavel__slots_due_us(&slots), now, "nothing was asked of it");
    }
    cr_expect_eq(gavel__slots_begin(&slots, now), GAVEL__NO_NODE, "all were asked");
    cr_expect_gt(gavel__slots_due_us(&slots), now);
    now = gavel__slots_due_us(&slots);
    cr_expect_neq(gavel__slots_begin(&slots, now), GAVEL__NO_NODE);
}

Test(slots_asking, one_that_was_lost_is_asked_after_all_others)
{
    answer_two();
    gavel__slots_on_loss(&slots, find("h:7001"), "lost", now);
    for (int i = 0; i < 20; i++) {
        const gavel_reply ranges[] = {range(0, 8191, 7001, 7003), range(8192, 16383, 7002, 0)};
        if (i > 0)
            gavel__slots_urge(&slots, now);
        now = gavel__slots_due_us(&slots);
        if (now >= slots.nodes[find("h:7001")]->doubtful_until_us)
            break;
        cr_expect_eq(begin(), find("h:7002"));
        hand(array(ranges, 2));
    }
    bool is_asked[2] = {false, false};
    for (int i = 0; i < 20; i++) {
        now += 70 * SECOND;
        const gavel_reply ranges[] = {range(0, 8191, 7001, 7003), range(8192, 16383, 7002, 0)};
        is_asked[begin() == find("h:7001")] = true;
        hand(array(ranges, 2));
    }
    cr_expect(is_asked[0] && is_asked[1], "at random");
}

Test(slots_asking, while_nobody_answers_all_are_asked_again_and_again)
{
    cr_assert(gavel__slots_add_seed(&slots, "other", 2));
    int64_t start_us = now;
    int n_passes = 0;
    for (int i = 0; now < start_us + 60 * SECOND; i++) {
        uint16_t node = gavel__slots_begin(&slots, now);
        cr_assert_neq(node, GAVEL__NO_NODE);
        gavel__slots_on_loss(&slots, node, "no route to host", now);
        n_passes += gavel__slots_due_us(&slots) > now;
        now = gavel__slots_due_us(&slots);
        if (i % 2 == 0)
            cr_expect_eq(now, slots.asked_us, "the other seed at once");
    }
    cr_expect(n_passes >= 100 && n_passes <= 130, "%d", n_passes);
    cr_expect(is_refused("no route to host"));
}

Test(slots_asking, errors_do_not_make_a_storm)
{
    int n_asked = 0;
    int64_t start_us = now;
    gavel_reply error = {.type = GAVEL_REPLY_ERROR, .text = GAVEL_STR("LOADING")};
    cr_assert(gavel__slots_add_seed(&slots, "other", 2));
    while (now < start_us + 60 * SECOND) {
        begin();
        hand(error);
        gavel__slots_urge(&slots, now);
        cr_assert_geq(gavel__slots_due_us(&slots), now + 100 * MS);
        now = gavel__slots_due_us(&slots);
        n_asked++;
    }
    cr_expect_leq(n_asked, 250, "%d", n_asked);
}
