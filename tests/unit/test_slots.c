/*
 * Slots: what is made of CLUSTER SLOTS and of redirects.
 */
#include "faulty_memory.h"
#include "slots_stage.h"

TestSuite(slots, .init = slots_set_up, .fini = slots_tear_down);

/* ---- The map ------------------------------------------------------------------------------- */

Test(slots, the_question_is_a_command)
{
    static const char text[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
    cr_expect_eq(begin(), 0);
    cr_expect_eq(out.size, strlen(text));
    cr_expect_eq(memcmp(out.data, text, strlen(text)), 0);
}

Test(slots, at_first_nothing_is_known)
{
    for (size_t slot = 0; slot < GAVEL__N_SLOTS; slot++)
        cr_assert_eq(slots.node_of[slot], GAVEL__NO_NODE);
    cr_expect_eq(count_moved(), 0);
    cr_expect(is_refused("none has answered yet"));
}

Test(slots, an_answer_says_where_each_is)
{
    answer_two();
    uint16_t first = find("h:7001");
    uint16_t second = find("h:7002");
    uint16_t replica = find("h:7003");
    cr_expect_eq(slots.node_of[0], first);
    cr_expect_eq(slots.node_of[8191], first);
    cr_expect_eq(slots.node_of[8192], second);
    cr_expect_eq(slots.node_of[16383], second);
    cr_expect_eq(slots.nodes[first]->n_slots, 8192);
    cr_expect_eq(slots.nodes[second]->n_slots, 8192);
    cr_expect_eq(slots.nodes[replica]->shard, slots.nodes[first]->shard);
    cr_expect_neq(slots.nodes[second]->shard, slots.nodes[first]->shard);
    cr_expect_eq(slots.nodes[first]->place.port, 7001);
    cr_expect_str_eq(slots.nodes[first]->place.host, "h");
    cr_expect_eq(slots.nodes[first]->generation, 1);
    cr_expect_eq(count_moved(), GAVEL__N_SLOTS);
}

Test(slots, what_has_moved_is_told_once_and_in_order)
{
    answer_two();
    count_moved();
    const gavel_reply ranges[] = {range(0, 8000, 7001, 7003), range(8001, 16383, 7002, 0)};
    answer(ranges, 2);
    for (uint16_t expected = 8001; expected < 8192; expected++) {
        uint16_t slot;
        bool has_migrated;
        cr_assert(gavel__slots_take_moved(&slots, &slot, &has_migrated));
        cr_assert(has_migrated);
        cr_assert_eq(slot, expected);
    }
    cr_expect_eq(count_moved(), 0);
    cr_expect_eq(slots.nodes[find("h:7001")]->n_slots, 8001);
    redirect("MOVED 3 h:7002");
    redirect("MOVED 16383 h:7001");
    cr_expect_eq(count_moved(), 2);
}

Test(slots, a_failover_makes_the_replica_the_node)
{
    answer_two();
    count_moved();
    uint16_t replica = find("h:7003");
    const gavel_reply ranges[] = {range(0, 8191, 7003, 7001), range(8192, 16383, 7002, 0)};
    answer(ranges, 2);
    cr_expect_eq(find("h:7003"), replica);
    cr_expect_eq(slots.nodes[replica]->generation, 1);
    cr_expect_eq(slots.node_of[5], replica);
    cr_expect_eq(count_moved(), 8192);
}

Test(slots, one_without_a_host_is_where_the_answer_came_from)
{
    gavel_reply metadata[] = {string("ip"), string("10.0.0.9")};
    gavel_reply odd[4] = {string("?"), integer(7004), string("c0ffee"), array(metadata, 2)};
    gavel_reply ranges[5][3];
    const gavel_reply nodes[5] = {node_at(nil, 7001), node_at(string(""), 7002),
        node_at(string("?"), 7003), array(odd, 4), node_at(string("2001:db8::7"), 7005)};
    gavel_reply all[5];
    for (size_t i = 0; i < 5; i++) {
        ranges[i][0] = integer((int64_t)i);
        ranges[i][1] = integer((int64_t)i);
        ranges[i][2] = nodes[i];
        all[i] = array(ranges[i], 3);
    }
    answer(all, 5);
    static const char *const names[5] = {
        "here:7001", "here:7002", "here:7003", "10.0.0.9:7004", "2001:db8::7:7005"};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_neq(slots.node_of[i], GAVEL__NO_NODE);
        cr_expect_str_eq(slots.nodes[slots.node_of[i]]->name, names[i]);
    }
}

Test(slots, what_an_answer_leaves_out_stays_if_its_node_does)
{
    answer_two();
    count_moved();
    const gavel_reply some[] = {range(0, 99, 7001, 0), range(200, 299, 7001, 0)};
    answer(some, 2);
    cr_expect_eq(slots.node_of[150], find("h:7001"));
    cr_expect_eq(slots.node_of[8191], find("h:7001"));
    cr_expect_eq(slots.node_of[8192], GAVEL__NO_NODE, "its node is no node any more");
    cr_expect_eq(count_moved(), 8192);
}

/* ---- Answers that are none ----------------------------------------------------------------- */

static void refuse(gavel_reply reply, const char *reason)
{
    now += 10 * SECOND;
    begin();
    hand(reply);
    cr_expect(is_refused(reason));
    cr_expect_eq(slots.by_name.n_nodes, 1, "of a refused answer nothing stays: %s", reason);
    cr_expect_eq(count_moved(), 0);
}

Test(slots, an_answer_that_is_none_is_refused)
{
    refuse(nil, "is no list");
    refuse(integer(3), "is no list");
    refuse(string("OK"), "is no list");
    refuse(array(NULL, 0), "is empty");
    refuse((gavel_reply){.type = GAVEL_REPLY_ERROR,
               .text = GAVEL_STR("ERR This instance has cluster support disabled")},
        "ERR This instance has cluster support disabled");
}

Test(slots, slots_that_there_are_not_are_refused)
{
    const int64_t bounds[][2] = {
        {0, 16384}, {-1, 5}, {6, 5}, {16384, 16384}, {INT64_MIN, INT64_MAX}, {0, INT64_MAX}};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        const gavel_reply ranges[] = {
            range(100, 200, 7001, 0), range(bounds[i][0], bounds[i][1], 7002, 0)};
        refuse(array(ranges, 2), "slots that there are not");
    }
    const gavel_reply words[] = {string("a"), string("b"), node_at(string("h"), 7001)};
    const gavel_reply odd[] = {array(words, 3)};
    refuse(array(odd, 1), "slots that there are not");
    const gavel_reply none[] = {array(NULL, 0)};
    refuse(array(none, 1), "slots that there are not");
    refuse(array(&nil, 1), "slots that there are not");
}

Test(slots, a_slot_that_is_named_twice_is_refused)
{
    const gavel_reply ranges[] = {range(0, 100, 7001, 0), range(100, 200, 7002, 0)};
    refuse(array(ranges, 2), "names a slot twice");
    const gavel_reply same[] = {range(7, 7, 7001, 7002), range(7, 7, 7001, 7002)};
    refuse(array(same, 2), "names a slot twice");
}

static void refuse_node(gavel_reply node)
{
    const gavel_reply words[] = {integer(5), integer(9), node};
    const gavel_reply ranges[] = {range(100, 200, 7001, 0), array(words, 3)};
    refuse(array(ranges, 2), "without a place");
}

Test(slots, a_node_that_is_nowhere_is_refused)
{
    char endless[300];
    memset(endless, 'x', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    refuse_node(nil);
    refuse_node(integer(7));
    refuse_node(array(NULL, 0));
    refuse_node(node_at(integer(1), 7001));
    refuse_node(node_at(string(endless), 7001));
    refuse_node(node_at(string("a b"), 7001));
    refuse_node(node_at(string("a\n"), 7001));
    refuse_node(node_at(string("h"), 0));
    refuse_node(node_at(string("h"), -1));
    refuse_node(node_at(string("h"), 65536));
    const gavel_reply words[] = {integer(5), integer(9)};
    const gavel_reply ranges[] = {array(words, 2)};
    refuse(array(ranges, 1), "without a place");
}

Test(slots, more_nodes_than_there_may_be_are_refused)
{
    static gavel_reply ranges[GAVEL__MAX_NODES];
    for (int i = 0; i < GAVEL__MAX_NODES; i++)
        ranges[i] = range(i, i, i + 1, 0);
    refuse(array(ranges, GAVEL__MAX_NODES), "more than 1024 nodes");
    now += 10 * SECOND;
    answer(ranges, GAVEL__MAX_NODES - 1);
    cr_expect_eq(slots.by_name.n_nodes, GAVEL__MAX_NODES, "with the seed");
    cr_expect_eq(slots.n_answers, 1);
    cr_expect_eq(redirect("MOVED 5 elsewhere:1"), GAVEL__NO_NODE);
    cr_expect_eq(slots.node_of[5], find("h:6"));
    cr_expect_eq(redirect("MOVED 5 h:9"), find("h:9"));
}

Test(slots, replicas_that_are_nowhere_or_too_many_are_passed_over)
{
    static gavel_reply words[3 + 3 * GAVEL__MAX_NODES];
    size_t n = 3;
    words[0] = integer(0);
    words[1] = integer(16383);
    words[2] = node_at(string("h"), 7001);
    words[n++] = nil;
    words[n++] = node_at(string("h"), 0);
    while (n < 3 + 3 * GAVEL__MAX_NODES) {
        words[n] = node_at(string("r"), (int64_t)n);
        n++;
    }
    const gavel_reply ranges[] = {array(words, n)};
    answer(ranges, 1);
    cr_expect_eq(slots.node_of[16383], find("h:7001"));
    cr_expect_eq(slots.by_name.n_nodes, GAVEL__MAX_NODES);
}

Test(slots, a_map_stays_when_an_answer_is_refused)
{
    answer_two();
    count_moved();
    gavel__slots_urge(&slots, now);
    now += 10 * SECOND;
    begin();
    hand(array(NULL, 0));
    cr_expect_eq(slots.node_of[0], find("h:7001"));
    cr_expect_eq(slots.by_name.n_nodes, 4);
    cr_expect_eq(count_moved(), 0);
}

Test(slots, without_memory_an_answer_is_refused_whole)
{
    bool is_done = false;
    for (size_t n = 0; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__slots_finish(&slots);
        gavel__slots_init(&slots, &allocator, &randomness);
        if (gavel__slots_add_seed(&slots, "seed", 1)) {
            answer_two();
            is_done = slots.n_answers == 1;
            cr_assert(is_done || is_refused("there is no memory"));
            cr_assert_eq(slots.by_name.n_nodes, is_done ? 4 : 1);
            cr_assert_eq(count_moved(), is_done ? GAVEL__N_SLOTS : 0);
        }
        gavel__slots_finish(&slots);
        cr_assert_eq(memory.n_blocks, 0);
    }
    gavel__slots_init(&slots, &gavel__system_allocator, &randomness);
}

/* ---- Redirects ----------------------------------------------------------------------------- */

Test(slots, moved_is_believed_at_once)
{
    answer_two();
    count_moved();
    uint16_t slot;
    cr_expect_eq(redirect("MOVED 12000 h:7001"), find("h:7001"));
    cr_expect_eq(slots.node_of[12000], find("h:7001"));
    cr_expect_eq(slots.node_of[12001], find("h:7002"));
    cr_expect_eq(slots.nodes[find("h:7001")]->n_slots, 8193);
    bool has_migrated;
    cr_assert(gavel__slots_take_moved(&slots, &slot, &has_migrated));
    cr_expect_eq(slot, 12000);
    redirect("MOVED 12000 h:7001");
    cr_expect_eq(count_moved(), 0, "it is there already");
}

/* h:7003 is the replica of h:7001. */
Test(slots, who_takes_over_from_its_own_primary_has_another_copy)
{
    answer_two();
    count_moved();
    uint16_t slot;
    bool has_migrated;
    redirect("MOVED 3 h:7003");
    cr_assert(gavel__slots_take_moved(&slots, &slot, &has_migrated));
    cr_expect_not(has_migrated);
    redirect("MOVED 3 h:7002");
    cr_assert(gavel__slots_take_moved(&slots, &slot, &has_migrated));
    cr_expect(has_migrated);
    const gavel_reply ranges[] = {range(0, 8191, 7003, 7001), range(8192, 16383, 7002, 0)};
    answer(ranges, 2);
    while (gavel__slots_take_moved(&slots, &slot, &has_migrated))
        cr_assert_eq(has_migrated, slot == 3);
}

/* Whether slot 3 has migrated, of those that have moved. */
static bool has_slot_3_migrated(void)
{
    uint16_t slot;
    bool has_migrated;
    bool has_it = false;
    while (gavel__slots_take_moved(&slots, &slot, &has_migrated))
        has_it |= slot == 3 && has_migrated;
    return has_it;
}

Test(slots, one_that_was_away_and_takes_its_place_again_has_another_copy)
{
    answer_two();
    const gavel_reply ranges[] = {range(0, 8191, 7003, 0), range(8192, 16383, 7002, 0)};
    count_moved();
    answer(ranges, 2);
    cr_expect_not(has_slot_3_migrated());
    now += 100 * SECOND;
    gavel__slots_advance(&slots, now);
    redirect("MOVED 3 h:7001");
    cr_expect_not(has_slot_3_migrated());
}

Test(slots, who_gives_its_last_slot_away_becomes_a_replica_and_has_no_copy)
{
    const gavel_reply ranges[] = {range(3, 3, 7001, 7003), range(4, 16383, 7002, 7004)};
    answer(ranges, 2);
    count_moved();
    const gavel_reply all[] = {range(3, 16383, 7002, 7001)};
    answer(all, 1);
    cr_expect(has_slot_3_migrated());
    redirect("MOVED 3 h:7001");
    cr_expect_not(has_slot_3_migrated(), "it has one by now");
    redirect("MOVED 3 h:7003");
    cr_expect(has_slot_3_migrated(), "its shard was another one");
}

Test(slots, one_of_which_nothing_is_known_may_have_no_copy)
{
    answer_two();
    count_moved();
    const gavel_reply ranges[] = {range(0, 8191, 7009, 7001), range(8192, 16383, 7002, 0)};
    answer(ranges, 2);
    cr_expect(has_slot_3_migrated());
}

Test(slots, moved_may_lead_to_one_that_is_new)
{
    answer_two();
    uint16_t node = redirect("MOVED 12000 :7602");
    cr_expect_str_eq(slots.nodes[node]->name, "here:7602");
    cr_expect_eq(slots.node_of[12000], node);
    node = redirect("MOVED 12002 2001:db8::7:7000");
    cr_expect_str_eq(slots.nodes[node]->place.host, "2001:db8::7");
    cr_expect_eq(slots.nodes[node]->place.port, 7000);
}

/* Nodes are to be known by names, and this one has none: whoever says so need not be on its host.
 */
Test(slots, where_one_is_that_has_no_name_only_the_map_tells)
{
    answer_two();
    count_moved();
    now += 1000000;
    cr_expect_eq(redirect("MOVED 12001 ?:7602"), GAVEL__NO_NODE);
    cr_expect_eq(redirect("ASK 12001 ?:7602"), GAVEL__NO_NODE);
    cr_expect_eq(count_moved(), 0);
    cr_expect_eq(find("here:7602"), GAVEL__NO_NODE);
    cr_expect_neq(gavel__slots_begin(&slots, now), GAVEL__NO_NODE);
}

Test(slots, ask_leads_elsewhere_and_moves_nothing)
{
    answer_two();
    count_moved();
    uint16_t node = redirect("ASK 12000 h:7009");
    cr_expect_str_eq(slots.nodes[node]->name, "h:7009");
    cr_expect_eq(slots.node_of[12000], find("h:7002"));
    cr_expect_eq(count_moved(), 0);
    cr_expect(gavel__slots_is_used(&slots, node, now));
    cr_expect_eq(redirect("ASK 12000 h:7001"), find("h:7001"));
}

/* ---- Nodes that come and go ---------------------------------------------------------------- */

Test(slots, one_that_nobody_names_is_gone_after_a_while)
{
    answer_two();
    uint16_t second = find("h:7002");
    const gavel_reply ranges[] = {range(0, 16383, 7001, 7003)};
    answer(ranges, 1);
    cr_expect_eq(find("h:7002"), second, "something may be on its way there");
    cr_expect(gavel__slots_is_used(&slots, second, now));
    cr_expect_not(gavel__slots_is_used(&slots, second, now + 10 * SECOND));
    int64_t gone_us = now + 120 * SECOND;
    gavel__slots_advance(&slots, gone_us - 1);
    cr_expect_eq(find("h:7002"), second);
    gavel__slots_advance(&slots, gone_us);
    cr_expect_eq(find("h:7002"), GAVEL__NO_NODE);
    now = gone_us;
    cr_expect_eq(redirect("ASK 1 h:7004"), second, "the number is given away");
    cr_expect_eq(slots.nodes[second]->generation, 2);
}

/* Where each start of a node gives it another address. */
Test(slots, thousands_may_have_been_nodes)
{
    for (int port = 1; port <= 3000; port++) {
        const gavel_reply ranges[] = {range(0, 8191, port, 0), range(8192, 16383, port + 1, 0)};
        answer(ranges, 2);
        now += 60 * SECOND;
        gavel__slots_advance(&slots, now);
    }
    cr_expect_neq(find("h:3001"), GAVEL__NO_NODE);
    cr_expect_eq(find("h:2000"), GAVEL__NO_NODE);
    cr_expect_leq(slots.n_nodes, 8, "%u numbers", (unsigned)slots.n_nodes);
}

Test(slots, one_that_is_led_to_stays_for_a_while_more)
{
    answer_two();
    uint16_t node = redirect("ASK 12000 h:7009");
    now += 9 * SECOND;
    gavel__slots_advance(&slots, now);
    redirect("ASK 12000 h:7009");
    now += 9 * SECOND;
    gavel__slots_advance(&slots, now);
    cr_expect_eq(find("h:7009"), node);
    cr_expect(gavel__slots_is_used(&slots, node, now));
    now += 2 * SECOND;
    gavel__slots_advance(&slots, now);
    cr_expect_eq(find("h:7009"), GAVEL__NO_NODE);
}

Test(slots, seeds_and_replicas_stay_but_are_not_used)
{
    cr_expect_not(gavel__slots_is_used(&slots, 0, now));
    answer_two();
    now += 11 * SECOND;
    gavel__slots_advance(&slots, now);
    cr_expect_eq(find("seed:1"), 0);
    cr_expect_neq(find("h:7003"), GAVEL__NO_NODE);
    cr_expect_not(gavel__slots_is_used(&slots, find("h:7003"), now));
    cr_expect(gavel__slots_is_used(&slots, find("h:7001"), now));
}

Test(slots, a_seed_may_be_a_node)
{
    cr_assert(gavel__slots_add_seed(&slots, "h", 7001));
    answer_two();
    cr_expect_eq(find("h:7001"), 1);
    cr_expect_eq(slots.nodes[1]->n_slots, 8192);
    cr_expect_eq(slots.nodes[1]->generation, 1);
}

Test(slots, who_is_asked_is_not_forgotten_meanwhile)
{
    const gavel_reply ranges[] = {range(0, 16383, 7001, 0)};
    answer(ranges, 1);
    redirect("MOVED 5 h:7002");
    while (gavel__slots_begin(&slots, now) != find("h:7002")) {
        if (slots.asked != GAVEL__NO_NODE)
            gavel__slots_on_loss(&slots, slots.asked, "lost", now);
        now += SECOND;
    }
    redirect("MOVED 5 h:7001");
    now += 20 * SECOND;
    gavel__slots_advance(&slots, now);
    cr_expect_neq(find("h:7002"), GAVEL__NO_NODE);
    gavel__slots_ask(&slots, &out, now);
    hand(array(ranges, 1));
    now += 20 * SECOND;
    gavel__slots_advance(&slots, now);
    cr_expect_eq(find("h:7002"), GAVEL__NO_NODE);
}
