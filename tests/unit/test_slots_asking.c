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

/* ---- Anything ------------------------------------------------------------------------------- */

/* What holds whatever is said. */
static void check(void)
{
    size_t n_there = 0;
    size_t n_slots[GAVEL__MAX_NODES] = {0};
    for (size_t slot = 0; slot < GAVEL__N_SLOTS; slot++) {
        uint16_t node = slots.node_of[slot];
        cr_assert(node == GAVEL__NO_NODE || node < slots.n_nodes);
        if (node != GAVEL__NO_NODE)
            n_slots[node]++;
    }
    for (uint16_t i = 0; i < slots.n_nodes; i++) {
        const gavel__slots_node *node = slots.nodes[i];
        bool is_there = node->place.host[0] != '\0';
        n_there += is_there;
        cr_assert_eq(node->n_slots, n_slots[i]);
        cr_assert(is_there || (node->n_slots == 0 && !node->is_listed && !node->is_seed));
        cr_assert_leq(node->shard, slots.n_shards);
    }
    cr_assert_eq(slots.by_name.n_nodes, n_there);
}

static int64_t draw(int64_t below)
{
    return (int64_t)gavel__random_below(&randomness, (uint64_t)below);
}

static gavel_reply draw_node(void)
{
    static const char *const hosts[] = {"h", "i", "", "?", "a b", "::1"};
    gavel_reply host = draw(30) == 0 ? nil : string(hosts[draw(20) == 0 ? draw(6) : draw(2)]);
    return draw(100) == 0 ? integer(draw(9))
                          : node_at(host, 7000 + draw(draw(50) == 0 ? 70000 : 9));
}

static gavel_reply draw_range(int64_t first, int64_t last)
{
    size_t n = 3 + (size_t)draw(3);
    gavel_reply *elements = take_parts(n);
    elements[0] = integer(draw(300) == 0 ? draw(20000) - 2000 : first);
    elements[1] = integer(draw(300) == 0 ? draw(20000) - 2000 : last);
    for (size_t i = 2; i < n; i++)
        elements[i] = draw_node();
    return array(elements, draw(100) == 0 ? (size_t)draw(3) : n);
}

/* Ranges with gaps, in one answer of a few something that cannot be. */
static gavel_reply draw_answer(void)
{
    gavel_reply *ranges = take_parts(64);
    size_t n = 0;
    for (int64_t first = draw(100); first < GAVEL__N_SLOTS && n < 64; n++) {
        int64_t last = first + draw(4000);
        ranges[n] = draw_range(first, last < GAVEL__N_SLOTS ? last : GAVEL__N_SLOTS - 1);
        first = last + 1 + (draw(3) == 0 ? draw(100) : 0);
    }
    return draw(20) == 0 ? nil : array(ranges, n);
}

static void draw_redirect(void)
{
    gavel_bytes hosts[] = {GAVEL_STR("h"), GAVEL_STR("j"), GAVEL_STR(""), GAVEL_STR("a b")};
    gavel__redirect said = {.is_ask = draw(2) == 0,
        .slot = (uint16_t)draw(GAVEL__N_SLOTS),
        .host = hosts[draw(4)],
        .port = 7000 + (int)draw(12)};
    uint16_t node = gavel__slots_on_redirect(&slots, &said, "here", now);
    if (node != GAVEL__NO_NODE && !said.is_ask)
        cr_assert_eq(slots.node_of[said.slot], node);
}

Test(slots_asking, whatever_is_said_the_map_is_whole)
{
    uint16_t asked = GAVEL__NO_NODE;
    for (int i = 0; i < 4000; i++) {
        now += draw(draw(10) == 0 ? 20 * SECOND : SECOND);
        gavel__slots_advance(&slots, now);
        if (asked == GAVEL__NO_NODE)
            asked = gavel__slots_begin(&slots, now);
        n_parts = 0;
        switch (asked != GAVEL__NO_NODE ? draw(4) : 2 + draw(2)) {
        case 0:
            gavel__slots_on_loss(&slots, asked, "lost", now);
            asked = GAVEL__NO_NODE;
            break;
        case 1:
            gavel__slots_ask(&slots, &out, now);
            gavel__buffer_clear(&out);
            hand(draw_answer());
            asked = GAVEL__NO_NODE;
            break;
        case 2:
            draw_redirect();
            break;
        default:
            gavel__slots_urge(&slots, now);
            break;
        }
        check();
        cr_assert_eq(slots.asked, asked);
    }
    cr_expect(slots.n_answers > 100 && slots.answer > slots.n_answers + 100, "%d of %d",
        (int)slots.n_answers, (int)slots.answer);
}

Test(slots_asking, whoever_misses_a_replica_has_it_asked_less_and_less_often)
{
    const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
    begin();
    hand(array(ranges, 1));
    for (int64_t expected = 100 * MS; expected <= 6400 * MS; expected *= 2) {
        int64_t before_us = slots.asked_us;
        gavel__slots_on_missed_replica(&slots, now);
        now = gavel__slots_due_us(&slots);
        cr_expect_eq(now - before_us, expected < 5 * SECOND ? expected : 5 * SECOND);
        begin();
        hand(array(ranges, 1));
    }
}
