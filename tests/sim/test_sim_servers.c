/*
 * Several servers in a world: each with its own data, links, faults and address, and partitions
 * between machines.
 */
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

/* Raw links to servers 0 and 1. */
typedef struct two {
    sim_world *world;
    sim_raw raw[2];
} two;

static two open_two(uint64_t seed)
{
    two both = {.world = sim_create(seed)};
    cr_assert_eq(sim_add_server(both.world), 1);
    for (size_t i = 0; i < 2; i++) {
        sim_choose(both.world, i);
        cr_assert(sim_raw_open(&both.raw[i], both.world));
    }
    sim_choose(both.world, 0);
    return both;
}

static void close_two(two *both)
{
    sim_raw_close(&both->raw[0]);
    sim_raw_close(&both->raw[1]);
    sim_destroy(both->world);
}

Test(sim_servers, each_has_its_own_data)
{
    two both = open_two(1);
    ASK(&both.raw[0], "SET a 1", OK);
    ASK(&both.raw[1], "GET a\nSET b 2", NIL OK);
    cr_expect_eq(sim_get_int(both.world, "a"), 1);
    cr_expect_eq(sim_choose(both.world, 1), 0);
    cr_expect_eq(sim_get_int(both.world, "b"), 2);
    cr_expect_eq(sim_n_keys(both.world), 1);
    cr_expect_eq(sim_journal_at(both.world, sim_journal_size(both.world) - 1)->server, 1);
    close_two(&both);
}

Test(sim_servers, what_one_watches_another_does_not_touch)
{
    two both = open_two(1);
    ASK(&both.raw[0], "WATCH a", OK);
    ASK(&both.raw[1], "SET a 1", OK);
    ASK(&both.raw[0], "MULTI\nGET a\nEXEC", OK QUEUED "*1\r\n" NIL);
    close_two(&both);
}

static gavel_verdict put(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_int(tx, GAVEL_STR("a"), 1);
    return GAVEL_COMMIT;
}

Test(sim_servers, each_is_reached_at_its_address)
{
    sim_world *world = sim_create(1);
    sim_add_server(world);
    cr_assert_str_eq(sim_host_of(world, 1), "10.0.1.2");
    gavel_client *client = sim_open_url(world, "redis://10.0.1.2:6379", NULL);
    sim_choose(world, 1);
    sim_submit(world, client, &(gavel_transaction){.body = put});
    cr_assert(sim_finish(world, SIM_SECOND));
    cr_expect_eq(sim_get_int(world, "a"), 1);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_servers, each_has_its_own_faults)
{
    two both = open_two(1);
    sim_choose(both.world, 1);
    sim_silence(both.world, 50 * SIM_MILLISECOND);
    ASK(&both.raw[1], "PING", "");
    ASK(&both.raw[0], "PING", "+PONG\r\n");
    sim_restart(both.world, 50 * SIM_MILLISECOND, false);
    sim_run_for(both.world, SIM_MILLISECOND);
    ASK(&both.raw[0], "PING", "+PONG\r\n");
    ASK(&both.raw[1], "PING", "");
    cr_expect(both.raw[1].is_broken);
    cr_expect_not(both.raw[0].is_broken);
    close_two(&both);
}

/* ---- Partitions ---------------------------------------------------------------------------- */

Test(sim_servers, parted_machines_hear_each_other_later)
{
    two both = open_two(1);
    sim_partition(both.world, SIM_MACHINE(1), SIM_ALL_CLIENTS, SIM_SECOND);
    sim_raw_send(&both.raw[1], "INCR a\nINCR a");
    ASK(&both.raw[0], "PING", "+PONG\r\n");
    cr_expect_str_eq(sim_raw_take(&both.raw[1], 980 * SIM_MILLISECOND), "");
    cr_expect_str_eq(sim_raw_take(&both.raw[1], 20 * SIM_MILLISECOND), ":1\r\n:2\r\n");
    close_two(&both);
}

Test(sim_servers, nobody_is_told_of_a_partition)
{
    two both = open_two(1);
    sim_partition(both.world, SIM_ALL_CLIENTS, SIM_MACHINE(1), 2 * SIM_SECOND);
    sim_choose(both.world, 1);
    sim_restart(both.world, SIM_MILLISECOND, true);
    ASK(&both.raw[1], "PING", "");
    cr_expect_not(both.raw[1].is_broken);
    sim_raw late;
    cr_expect_not(sim_raw_open(&late, both.world), "a dial hangs");
    cr_expect_not(late.is_broken);
    cr_expect_str_eq(sim_raw_take(&both.raw[1], SIM_SECOND), "");
    cr_expect(both.raw[1].is_broken);
    sim_raw_close(&late);
    close_two(&both);
}

Test(sim_servers, what_was_under_way_arrives_when_a_partition_ends)
{
    two both = open_two(1);
    sim_set_faults(both.world, &(sim_faults){.latency_min_us = 100, .latency_max_us = 100});
    sim_raw_send(&both.raw[0], "INCR a");
    sim_run_for(both.world, 150);
    cr_expect_eq(sim_get_int(both.world, "a"), 1);
    sim_partition(both.world, SIM_ALL_SERVERS, SIM_ALL_CLIENTS, SIM_SECOND);
    cr_expect_str_eq(sim_raw_take(&both.raw[0], 900 * SIM_MILLISECOND), "");
    cr_expect_str_eq(sim_raw_take(&both.raw[0], 101 * SIM_MILLISECOND), ":1\r\n");
    close_two(&both);
}
