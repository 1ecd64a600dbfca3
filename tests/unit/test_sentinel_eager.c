/*
 * Eager: a primary that a Sentinel has promoted is followed before it is named.
 */
#include "sentinel_stage.h"

TestSuite(sentinel_eager, .init = sentinels_set_up, .fini = sentinels_tear_down);

static const words promoting = {
    .port = 7, .flags = "master,failover_in_progress", .state = "wait_promotion", .promoted = 8};

/* The second of them has promoted a replica. */
static void promote(void)
{
    sentinels.is_eager = true;
    all_answer((words){.port = 7});
    answer(1, promoting);
    now += 20 * MS;
    answer(1, promoting);
}

Test(sentinel_eager, who_is_eager_follows_the_one_that_is_promoted)
{
    promote();
    cr_expect_eq(sentinels.primary.port, 8);
    cr_expect_eq(sentinels.generation, 2);
    cr_expect(sentinels.is_provisional && is_trusted());
    all_answer((words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 7, "its leader says now that it leads none");
}

Test(sentinel_eager, nobody_else_follows_it)
{
    promote();
    sentinels_tear_down();
    sentinels_set_up();
    all_answer((words){.port = 7});
    answer(1, promoting);
    now += 20 * MS;
    answer(1, promoting);
    cr_expect_eq(sentinels.primary.port, 7);
    cr_expect_not(is_trusted());
}

Test(sentinel_eager, one_that_is_only_selected_is_not_followed)
{
    words selected = promoting;
    selected.state = "send_slaveof_noone";
    sentinels.is_eager = true;
    all_answer((words){.port = 7});
    answer(1, selected);
    answer(1, selected);
    cr_expect_eq(sentinels.primary.port, 7);
    cr_expect_not(is_trusted());
}

Test(sentinel_eager, when_it_is_named_it_is_not_left)
{
    promote();
    answer(1, (words){.port = 8, .epoch = 1, .was = 7, .flags = "master,failover_in_progress"});
    cr_expect_eq(sentinels.generation, 2);
    cr_expect_not(sentinels.is_provisional);
    cr_expect(is_trusted());
    answer(0, (words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 8, "one that is behind leads nobody back");
}

Test(sentinel_eager, a_failover_that_is_given_up_leads_back)
{
    promote();
    answer(1, (words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 7);
    cr_expect_eq(sentinels.generation, 3);
    cr_expect_not(sentinels.is_provisional);
    cr_expect(is_trusted());
}

/* The next failover of the same Sentinel promotes another one. */
Test(sentinel_eager, of_two_promotions_the_last_one_counts)
{
    words other = promoting;
    other.promoted = 9;
    promote();
    now += 20 * MS;
    answer(1, other);
    cr_expect_eq(sentinels.primary.port, 9);
    cr_expect(sentinels.is_provisional && is_trusted());
    answer(1, (words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 7);
}

Test(sentinel_eager, a_leader_that_is_silent_leads_back_after_five_seconds)
{
    promote();
    now += 901 * MS;
    answer(0, (words){.port = 7});
    answer(2, (words){.port = 7});
    cr_expect_not(is_trusted());
    cr_expect_eq(sentinels.primary.port, 8);
    now += 3900 * MS;
    answer(0, (words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 8);
    now += 300 * MS;
    answer(0, (words){.port = 7});
    answer(2, (words){.port = 7});
    cr_expect_eq(sentinels.primary.port, 7);
    cr_expect(is_trusted());
}

Test(sentinel_eager, a_promotion_that_takes_five_seconds_is_not_believed_any_more)
{
    promote();
    for (int i = 0; i < 49; i++) {
        now += 100 * MS;
        answer(1, promoting);
        cr_assert(is_trusted());
    }
    now += 200 * MS;
    answer(1, promoting);
    cr_expect_not(is_trusted());
    cr_expect_eq(sentinels.primary.port, 8);
    answer(1, (words){.port = 8, .epoch = 1, .was = 7});
    cr_expect(is_trusted());
}

Test(sentinel_eager, where_two_lead_a_failover_nobody_is_believed)
{
    promote();
    answer(2, (words){.port = 7, .flags = "master,failover_in_progress"});
    answer(1, promoting);
    cr_expect_not(is_trusted());
}
