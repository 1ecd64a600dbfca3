/*
 * Sentinels: which primary is followed, and until when it is believed.
 */
#include "sentinel_stage.h"

TestSuite(sentinel, .init = sentinels_set_up, .fini = sentinels_tear_down);

/* ---- Which one ----------------------------------------------------------------------------- */

Test(sentinel, a_majority_names_the_first_one)
{
    answer(0, (words){.port = 7});
    cr_expect_eq(sentinels.generation, 0);
    answer(1, (words){.port = 7});
    cr_expect_eq(sentinels.generation, 1);
    cr_expect_eq(sentinels.primary.port, 7);
    cr_expect_str_eq(sentinels.primary.host, "h");
    cr_expect(is_trusted());
}

Test(sentinel, a_higher_epoch_is_followed_from_whoever_knows_it)
{
    all_answer((words){.port = 7, .epoch = 3});
    answer(1, (words){.port = 8, .epoch = 4});
    cr_expect_eq(sentinels.primary.port, 8);
    cr_expect_eq(sentinels.generation, 2);
    cr_expect(is_trusted(), "the others hear of it later");
}

Test(sentinel, one_that_is_behind_leads_nobody_back)
{
    all_answer((words){.port = 7, .epoch = 3});
    answer(1, (words){.port = 8, .epoch = 4});
    answer(0, (words){.port = 7, .epoch = 3});
    answer(2, (words){.port = 7, .epoch = 3});
    cr_expect_eq(sentinels.primary.port, 8);
    cr_expect_eq(sentinels.generation, 2);
}

Test(sentinel, one_that_is_behind_is_no_part_of_the_majority)
{
    answer(0, (words){.port = 7, .epoch = 3});
    answer(1, (words){.port = 8, .epoch = 4});
    cr_expect_eq(sentinels.generation, 0);
    answer(2, (words){.port = 8, .epoch = 4});
    cr_expect_eq(sentinels.primary.port, 8);
}

Test(sentinel, what_its_leader_says_of_the_old_primary_is_not_said_of_the_new_one)
{
    all_answer((words){.port = 7, .epoch = 3});
    answer(2, (words){.port = 9,
                  .epoch = 4,
                  .was = 7,
                  .flags = "o_down,failover_in_progress",
                  .ping_ms = 2300});
    cr_expect_eq(sentinels.primary.port, 9);
    cr_expect(is_trusted());
    all_answer((words){.port = 9, .epoch = 4});
    cr_expect_eq(sentinels.generation, 2);
    cr_expect(is_trusted());
}

/* Its epoch was read before the failover, and its place after it. */
Test(sentinel, an_answer_that_is_torn_is_not_followed)
{
    all_answer((words){.port = 7, .epoch = 3});
    answer(2, (words){.port = 9, .epoch = 3, .was = 7});
    cr_expect_eq(sentinels.primary.port, 7);
    answer(2, (words){.port = 9, .epoch = 4, .was = 7});
    cr_expect_eq(sentinels.primary.port, 9);
}

Test(sentinel, what_was_set_up_anew_is_followed_when_nobody_names_our_primary)
{
    for (int epoch = 3; epoch >= 0; epoch -= 3) {
        all_answer((words){.port = 7, .epoch = epoch});
        uint64_t generation = sentinels.generation;
        now += 9000 * MS;
        all_answer((words){.port = 8, .epoch = 0});
        cr_expect_eq(sentinels.primary.port, 7);
        now += 2000 * MS;
        all_answer((words){.port = 8, .epoch = 0});
        cr_expect_eq(sentinels.primary.port, 8);
        cr_expect_eq(sentinels.generation, generation + 1);
        cr_expect(is_trusted());
        sentinels.generation = 0;
    }
}

/* ---- Until when ---------------------------------------------------------------------------- */

Test(sentinel, it_is_believed_for_a_part_of_down_after)
{
    all_answer((words){.port = 7});
    now += DOWN_AFTER_MS * 9 / 10 * MS - 1;
    cr_expect(is_trusted());
    now++;
    cr_expect_not(is_trusted());
    answer(0, (words){.port = 7});
    cr_expect_not(is_trusted(), "one is no majority");
    answer(2, (words){.port = 7});
    cr_expect(is_trusted());
}

Test(sentinel, it_counts_when_they_were_asked_not_when_they_answered)
{
    all_answer((words){.port = 7});
    int64_t until_us = sentinels.trusted_until_us;
    for (uint32_t i = 0; i < 2; i++) {
        sentinels.all[i].ask_us = now;
        cr_assert_eq(gavel__sentinels_ask(&sentinels, i, &out, now), 2);
    }
    now += 400 * MS;
    for (uint32_t i = 0; i < 2; i++) {
        hand_master(i, &(words){.port = 7});
        hand_address(i, 7);
    }
    cr_expect_eq(sentinels.trusted_until_us, until_us);
}

Test(sentinel, who_takes_it_to_be_down_does_not_vouch_for_it)
{
    all_answer((words){.port = 7});
    now += 1000 * MS;
    answer(0, (words){.port = 7, .flags = "master,s_down"});
    answer(1, (words){.port = 7});
    cr_expect_not(is_trusted());
    answer(2, (words){.port = 7});
    cr_expect(is_trusted());
}

Test(sentinel, a_silence_has_begun_before_they_are_asked)
{
    all_answer((words){.port = 7, .ping_ms = 500});
    now += 400 * MS - 1;
    cr_expect(is_trusted());
    now++;
    cr_expect_not(is_trusted());
}

Test(sentinel, while_one_is_about_to_replace_it_it_is_not_believed)
{
    const words leader = {.port = 7, .flags = "master,failover_in_progress"};
    all_answer((words){.port = 7});
    answer(1, leader);
    cr_expect_not(is_trusted());
    answer(0, (words){.port = 7});
    cr_expect_not(is_trusted());
    answer(1, (words){.port = 7});
    cr_expect(is_trusted(), "it has given up");
    answer(1, leader);
    now += 1100 * MS;
    answer(0, (words){.port = 7});
    answer(2, (words){.port = 7});
    cr_expect(is_trusted(), "it is gone");
}

/* It does nothing for thirty seconds, and knows nothing. */
Test(sentinel, one_that_stands_still_is_not_heard)
{
    const words leader = {.port = 7, .flags = "master,failover_in_progress", .is_tilted = true};
    all_answer((words){.port = 7});
    answer(1, leader);
    cr_expect_not(is_trusted(), "it was not asked yet");
    answer(1, leader);
    cr_expect(is_trusted());
    now += 900 * MS;
    answer(1, leader);
    answer(0, (words){.port = 7});
    cr_expect_not(is_trusted(), "it does not vouch");
    answer(1, (words){.port = 7, .flags = "master,failover_in_progress"});
    answer(2, (words){.port = 7});
    cr_expect_not(is_trusted(), "it goes on");
}

Test(sentinel, the_one_who_knows_the_new_epoch_vouches_alone_for_ten_seconds)
{
    all_answer((words){.port = 7, .epoch = 3});
    answer(1, (words){.port = 8, .epoch = 4});
    now += 9000 * MS;
    answer(1, (words){.port = 8, .epoch = 4});
    cr_expect(is_trusted());
    now += 1500 * MS;
    answer(1, (words){.port = 8, .epoch = 4});
    cr_expect_not(is_trusted());
}

Test(sentinel, without_a_majority_only_who_wants_so_goes_on)
{
    all_answer((words){.port = 7});
    now += 2000 * MS;
    gavel__sentinels_advance(&sentinels, now);
    cr_expect_not(is_trusted());
    sentinels.may_go_without = true;
    cr_expect_leq(gavel__sentinels_due_us(&sentinels, now - 2000 * MS), now);
    gavel__sentinels_advance(&sentinels, now);
    cr_expect(is_trusted());
    answer(0, (words){.port = 8, .epoch = 1});
    cr_expect_eq(sentinels.primary.port, 8, "but whoever knows better is followed");
}

/* ---- Replicas ------------------------------------------------------------------------------ */

Test(sentinel, there_are_as_many_replicas_as_anybody_knows_who_names_the_primary)
{
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 0);
    all_answer((words){.port = 7});
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 2);
    answer(1, (words){.port = 7, .n_replicas = "3"});
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 3);
    answer(2, (words){.port = 7, .n_replicas = "4294967295"});
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 3);
    answer(1, (words){.port = 7, .n_replicas = "1"});
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 2, "one that is gone was forgotten");
    answer(0, (words){.port = 9, .n_replicas = "7"});
    cr_expect_eq(gavel__sentinels_count_replicas(&sentinels), 1);
}

/* ---- Whom to ask --------------------------------------------------------------------------- */

Test(sentinel, they_are_asked_seldom_while_all_is_well_and_often_while_it_is_not)
{
    all_answer((words){.port = 7});
    all_answer((words){.port = 7});
    cr_expect_eq(sentinels.all[2].ask_us, now + DOWN_AFTER_MS * 9 / 40 * MS);
    all_answer((words){.port = 7, .flags = "master,s_down"});
    cr_expect_eq(sentinels.all[2].ask_us, now + 50 * MS);
}

Test(sentinel, whoever_is_urged_asks_at_once_but_not_all_the_time)
{
    all_answer((words){.port = 7});
    now += 3 * MS;
    gavel__sentinels_urge(&sentinels, now);
    cr_expect_eq(sentinels.all[0].ask_us, now + 7 * MS);
    now += 20 * MS;
    gavel__sentinels_urge(&sentinels, now);
    cr_expect_leq(sentinels.all[0].ask_us, now);
}

Test(sentinel, they_name_one_another)
{
    sentinels.all[0].ask_us = now;
    cr_assert_eq(gavel__sentinels_ask(&sentinels, 0, &out, now), 4);
    hand_id(0);
    hand_master(0, &(words){.port = 7});
    hand_address(0, 7);
    const gavel_reply fields[] = {
        string("ip"), string("x"), string("port"), string("9"), string("runid"), string("abc")};
    const gavel_reply other = array(fields, 6);
    const gavel_reply both[] = {other, other};
    hand(0, array(both, 2));
    cr_assert_eq(sentinels.n, N + 1);
    cr_expect_str_eq(sentinels.all[N].place.host, "x");
    cr_expect(gavel__sentinels_wants(&sentinels, N, now));
}

Test(sentinel, one_that_is_known_by_two_names_counts_once)
{
    answer(0, (words){.port = 7});
    sentinels.all[1].ask_us = now;
    gavel__sentinels_ask(&sentinels, 1, &out, now);
    hand(1, string(sentinels.all[0].id));
    hand_master(1, &(words){.port = 7});
    hand_address(1, 7);
    hand_others(1);
    cr_expect(sentinels.all[1].is_double);
    cr_expect_eq(sentinels.generation, 0);
    cr_expect_not(gavel__sentinels_wants(&sentinels, 1, now + 10000 * MS));
    answer(2, (words){.port = 7});
    cr_expect_eq(sentinels.generation, 1);
}

/* Who it is, is heard from the other one first, when it has been asked itself. */
Test(sentinel, one_that_another_has_named_is_not_its_own_double)
{
    sentinels.all[1].ask_us = now;
    cr_assert_eq(gavel__sentinels_ask(&sentinels, 1, &out, now), 4);
    char id[41];
    snprintf(id, sizeof(id), "%040d", 1);
    const gavel_reply fields[] = {
        string("ip"), string("s"), string("port"), string("2"), string("runid"), string(id)};
    const gavel_reply other = array(fields, 6);
    sentinels.all[0].ask_us = now;
    gavel__sentinels_ask(&sentinels, 0, &out, now);
    hand_id(0);
    hand_master(0, &(words){.port = 7});
    hand_address(0, 7);
    hand(0, array(&other, 1));
    cr_assert_str_eq(sentinels.all[1].id, id);
    hand_id(1);
    cr_expect_not(sentinels.all[1].is_double);
}

/* Without its epoch and flags an address says too little. */
Test(sentinel, one_that_may_not_be_asked_for_all_says_nothing)
{
    for (uint32_t i = 0; i < N; i++) {
        sentinels.all[i].ask_us = now;
        gavel__sentinels_ask(&sentinels, i, &out, now);
        hand_id(i);
        hand(i, (gavel_reply){.type = GAVEL_REPLY_ERROR, .text = GAVEL_STR("NOPERM no")});
        hand_address(i, 7);
        hand_others(i);
    }
    cr_expect_eq(sentinels.generation, 0);
    cr_expect_str_eq(sentinels.all[0].trouble, "Sentinel s:1, asked for \"m\": NOPERM no");
}

/* ---- Sentinels that go elsewhere, and other trouble ---------------------------------------- */

static const char *id_of(uint32_t i)
{
    static char id[41];
    snprintf(id, sizeof(id), "%040d", (int)i);
    return id;
}

/* The i-th names one more, at this place. */
static void name_another(uint32_t i, const char *host, int at_port, const char *id)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", at_port);
    const gavel_reply fields[] = {
        string("ip"), string(host), string("port"), string(port), string("runid"), string(id)};
    const gavel_reply other = array(fields, 6);
    bool is_new = !sentinels.all[i].is_identified;
    sentinels.all[i].ask_us = now;
    sentinels.all[i].list_us = now;
    gavel__sentinels_ask(&sentinels, i, &out, now);
    if (is_new)
        hand_id(i);
    hand_master(i, &(words){.port = 7});
    hand_address(i, 7);
    hand(i, array(&other, 1));
}

/* That of the URL is a name, which leads to wherever it is; the one that others told is not. */
Test(sentinel, a_place_that_was_told_is_tried_by_its_name_when_it_is_lost)
{
    answer(0, (words){.port = 7});
    sentinels.all[1].ask_us = now; /* under way when the first one tells of it */
    cr_assert_eq(gavel__sentinels_ask(&sentinels, 1, &out, now), 4);
    name_another(0, "10.0.0.2", 9, id_of(1));
    hand_id(1);
    hand_master(1, &(words){.port = 7});
    hand_address(1, 7);
    hand_others(1);
    cr_assert_eq(sentinels.n, N + 1);
    cr_expect_not(sentinels.all[1].is_double, "it has answered, and the other one has not");
    cr_expect(sentinels.all[N].is_double);
    lose(1, "lost", false);
    cr_expect_not(sentinels.all[N].is_double);
    cr_expect(gavel__sentinels_wants(&sentinels, N, now));
    cr_assert_eq(gavel__sentinels_ask(&sentinels, N, &out, now), 4);
    hand(N, string(id_of(1)));
    cr_expect(sentinels.all[1].is_double);
    hand_master(N, &(words){.port = 7});
    hand_address(N, 7);
    hand_others(N);
    lose(N, "lost", false);
    cr_expect_not(sentinels.all[1].is_double);
}

Test(sentinel, one_that_has_moved_is_found_where_the_others_say)
{
    all_answer((words){.port = 7});
    name_another(0, "moved", 9, id_of(2));
    cr_expect_eq(sentinels.n, N, "it is where it was");
    now += 6000 * MS;
    lose(2, "lost", false);
    sentinels.all[0].ask_us = now;
    cr_expect_eq(gavel__sentinels_ask(&sentinels, 0, &out, now), 3, "where are the others?");
    sentinels.all[0].n_awaited = 0;
    name_another(0, "moved", 9, id_of(2));
    cr_assert_eq(sentinels.n, N + 1);
    cr_expect(gavel__sentinels_wants(&sentinels, N, now));
    sentinels.all[N].ask_us = now;
    gavel__sentinels_ask(&sentinels, N, &out, now);
    hand(N, string(id_of(2)));
    cr_expect(sentinels.all[2].is_double);
    cr_expect_not(sentinels.all[N].is_double);
}

/* The name of a service that leads to any of them, say. */
Test(sentinel, who_is_behind_a_name_is_asked_on_each_connection)
{
    all_answer((words){.port = 7});
    lose(1, "lost", false);
    sentinels.all[1].ask_us = now;
    sentinels.all[1].list_us = now + 1;
    cr_assert_eq(gavel__sentinels_ask(&sentinels, 1, &out, now), 3);
    hand(1, string(id_of(0)));
    hand_master(1, &(words){.port = 7});
    hand_address(1, 7);
    cr_expect(sentinels.all[1].is_double);
}

Test(sentinel, those_that_were_taken_away_for_good_are_counted_no_more)
{
    all_answer((words){.port = 7});
    for (int i = 0; i < 3; i++)
        name_another(0, "ghost", 100 + i, id_of(10 + (uint32_t)i));
    now += 1000 * MS;
    answer(0, (words){.port = 7});
    answer(1, (words){.port = 7});
    answer(2, (words){.port = 7});
    cr_expect_not(is_trusted(), "three of six");
    now += 1600000 * MS;
    all_answer((words){.port = 7});
    all_answer((words){.port = 7});
    cr_expect(is_trusted());
}

/* What one has said that is there no more, of an epoch of old, keeps nobody from those that are. */
Test(sentinel, a_dead_one_is_not_believed_for_ever)
{
    all_answer((words){.port = 7, .epoch = 5});
    for (int i = 0; i < 2; i++) {
        now += 9000 * MS;
        answer(0, (words){.port = 8, .epoch = 0});
        answer(1, (words){.port = 8, .epoch = 0});
    }
    cr_expect_eq(sentinels.primary.port, 8);
    cr_expect(is_trusted());
}

/* Its clock has jumped, or it lies. */
Test(sentinel, times_that_make_no_sense_are_none)
{
    const char *const pings[] = {"-3600000", "-9223372036854775808", "9223372036854775807"};
    for (size_t i = 0; i < sizeof(pings) / sizeof(pings[0]); i++) {
        for (uint32_t j = 0; j < N; j++)
            answer(j, (words){.port = 7, .ping = pings[i], .down_after = pings[i]});
        cr_expect_leq(sentinels.trusted_until_us, now + 27000 * MS, "of thirty seconds");
        cr_expect_geq(sentinels.trusted_until_us, now);
    }
}

/* ---- For people ---------------------------------------------------------------------------- */

static const char *explanation(void)
{
    static char message[GAVEL_MESSAGE_SIZE];
    gavel__sentinels_explain(&sentinels, now, message);
    return message;
}

Test(sentinel, it_is_told_why_there_is_no_primary)
{
    lose(0, "s:1: Connection refused", false);
    cr_expect_not_null(strstr(explanation(), "Connection refused"));
    for (uint32_t i = 0; i < N; i++)
        answer(i, (words){.port = 0});
    cr_expect_not_null(
        strstr(explanation(), "Sentinel s:1, asked for \"m\": ERR No such master with that name"),
        "%s", explanation());
    answer(0, (words){.port = 7});
    cr_expect_not_null(strstr(explanation(), "of the Sentinels 1 answers, and 2 are needed to "
                                             "believe a primary (unless without_sentinels=yes): "),
        "%s", explanation());
    sentinels.may_go_without = true;
    cr_expect_null(strstr(explanation(), "unless"), "%s", explanation());
    sentinels.may_go_without = false;
    answer(1, (words){.port = 8});
    cr_expect_not_null(strstr(explanation(), "different primaries"), "%s", explanation());
    all_answer((words){.port = 7, .flags = "master,s_down"});
    cr_expect_not_null(strstr(explanation(), "h:7"), "%s", explanation());
}

/* ---- No such service ----------------------------------------------------------------------- */

Test(sentinel, a_majority_that_denies_it_for_a_second_is_believed)
{
    const words denial = {.port = 0};
    answer(0, denial);
    answer(1, denial);
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now));
    now += 1000 * MS;
    answer(0, denial);
    cr_expect(gavel__sentinels_are_hopeless(&sentinels, now));
    lose(0, "lost", false);
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now), "one is no majority");
    answer(0, denial);
    cr_expect_not(
        gavel__sentinels_are_hopeless(&sentinels, now), "it may have been started just now");
    now += 1000 * MS;
    cr_expect(gavel__sentinels_are_hopeless(&sentinels, now));
    answer(2, (words){.port = 7});
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now), "one knows it");
}

/* It has no TLS, say, or it refuses the login. */
Test(sentinel, a_majority_that_cannot_be_asked_for_reasons_that_stay_is_given_up)
{
    lose(0, "s:1: a moment ago", true);
    now += 1000 * MS;
    lose(0, "s:1: Connection refused", false);
    lose(1, "s:2: no TLS", true);
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now));
    now += 1000 * MS;
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now), "one is no majority");
    answer(0, (words){.port = 0});
    now += 1000 * MS;
    cr_expect(gavel__sentinels_are_hopeless(&sentinels, now), "one does not know it");
    lose(0, "s:1: Connection refused", false);
    lose(2, "s:3: no TLS", true);
    now += 1000 * MS;
    lose(2, "s:3: no TLS", true);
    cr_expect(gavel__sentinels_are_hopeless(&sentinels, now));
    cr_expect_not_null(strstr(explanation(), "no TLS"), "%s", explanation());
    sentinels.may_go_without = true;
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now), "one may be enough");
}

Test(sentinel, what_was_once_there_is_not_denied)
{
    all_answer((words){.port = 7});
    for (int i = 0; i < 2; i++) {
        all_answer((words){.port = 0});
        now += 2000 * MS;
    }
    cr_expect_not(gavel__sentinels_are_hopeless(&sentinels, now));
}

/* ---- Replicas ------------------------------------------------------------------------------ */

static void hand_some_replicas(uint32_t i)
{
    const gavel_reply one[] = {
        string("ip"), string("h"), string("port"), string("11"), string("flags"), string("slave")};
    const gavel_reply dead[] = {string("ip"), string("h"), string("port"), string("12"),
        string("flags"), string("s_down,slave")};
    const gavel_reply lost[] = {string("ip"), string("h"), string("port"), string("13"),
        string("flags"), string("slave,disconnected")};
    const gavel_reply nowhere[] = {string("flags"), string("slave")};
    const gavel_reply all[] = {array(lost, 6), array(one, 6), array(nowhere, 2), array(dead, 6)};
    hand(i, array(all, 4));
}

/* Asks the i-th, which is to be asked for replicas, and answers. */
static void answer_with_replicas(uint32_t i, words said)
{
    sentinels.all[i].ask_us = now;
    gavel__buffer_clear(&out);
    gavel__sentinels_ask(&sentinels, i, &out, now);
    gavel__buffer_append(&out, (gavel_bytes){"", 1});
    cr_expect_not_null(strstr(out.data, "REPLICAS"));
    hand_master(i, &said);
    hand_address(i, said.port);
    hand_some_replicas(i);
    cr_assert_eq(sentinels.all[i].n_awaited, 0);
}

Test(sentinel, is_asked_for_replicas_that_are_wanted)
{
    all_answer((words){.port = 7, .epoch = 1});
    cr_expect_eq(sentinels.replicas_version, 0);
    sentinels.wants_replicas = true;
    answer_with_replicas(0, (words){.port = 7, .epoch = 1});
    cr_expect_eq(sentinels.replicas_version, 1);
    cr_assert_eq(sentinels.n_replicas, 1);
    cr_expect_eq(sentinels.replicas[0].port, 11);
    answer(1, (words){.port = 7, .epoch = 1}); /* not each time, of each */
    now += 1000 * MS;
    answer_with_replicas(1, (words){.port = 6, .epoch = 0});
    cr_expect_eq(sentinels.replicas_version, 1, "they are another primary's");
}
