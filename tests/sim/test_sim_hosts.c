/*
 * The server's name on the simulator: resolvers that take long or fail, hosts with several
 * addresses, and programs that know better where a server is.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static const sim_host one_that_serves[] = {SIM_HOST_SERVES};

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    gavel_set_int(tx, GAVEL_STR("counter"), value + 1);
    return GAVEL_COMMIT;
}

static gavel_transaction increment(uint32_t deadline_ms)
{
    static const gavel_read reads[] = {{.key = {"counter", 7}}};
    return (gavel_transaction){
        .body = add_one, .reads = reads, .n_reads = 1, .deadline_ms = deadline_ms};
}

/* Runs one, and returns how long that took. */
static int64_t run(
    sim_world *world, gavel_client *client, uint32_t deadline_ms, gavel_status expected)
{
    gavel_transaction transaction = increment(deadline_ms);
    int64_t begun_us = sim_now_us(world);
    const sim_result *result = sim_submit(world, client, &transaction);
    cr_assert(sim_finish(world, 60 * SIM_SECOND));
    cr_expect_eq(result->outcome.status, expected, "%s: %s",
        gavel_status_name(result->outcome.status), result->outcome.message);
    return result->done_at_us - begun_us;
}

static void break_last_connection(sim_world *world)
{
    sim_break(world, sim_get_counters(world)->n_connections, SIZE_MAX, 0);
    sim_run_for(world, SIM_MILLISECOND);
}

/* ---- Resolvers that take long --------------------------------------------------------------- */

/* Far longer than connecting may take, which only begins when the address is known. */
Test(sim_hosts, a_slow_resolver_is_waited_for)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
    int64_t took_us = run(world, client, 20000, GAVEL_COMMITTED);
    cr_expect_geq(took_us, 5 * SIM_SECOND);
    cr_expect_lt(took_us, 5 * SIM_SECOND + 10 * SIM_MILLISECOND);
    cr_expect_eq(sim_n_look_ups(world), 1);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, a_slow_resolver_holds_no_deadline_up)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
    cr_expect_eq(run(world, client, 1000, GAVEL_DEADLINE), SIM_SECOND);
    cr_expect_eq(sim_n_look_ups(world), 1);
    cr_expect_lt(run(world, client, 20000, GAVEL_COMMITTED), 4 * SIM_SECOND + SIM_SECOND / 10);
    gavel_close(client);
    sim_destroy(world);
}

/* The address is known; that this was a while ago is a reason to ask, and none to wait. */
Test(sim_hosts, a_slow_resolver_keeps_nobody_from_the_last_good_address)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    run(world, client, 1000, GAVEL_COMMITTED);
    sim_run_for(world, 6 * SIM_SECOND);
    sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
    break_last_connection(world);
    cr_expect_lt(run(world, client, 1000, GAVEL_COMMITTED), 3 * SIM_MILLISECOND);
    cr_expect_eq(sim_n_look_ups(world), 2);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, a_server_that_has_moved_is_found)
{
    const sim_host moved[] = {SIM_HOST_REFUSES, SIM_HOST_SERVES};
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    run(world, client, 1000, GAVEL_COMMITTED);
    sim_set_hosts(world, SIM_MILLISECOND, moved, 2);
    break_last_connection(world);
    cr_expect_lt(run(world, client, 1000, GAVEL_COMMITTED), 200 * SIM_MILLISECOND);
    cr_expect_eq(sim_n_dials(world, 1), 1);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, a_blocking_client_neither)
{
    for (int can_wait = 0; can_wait < 2; can_wait++) {
        sim_world *world = sim_create(1);
        sim_allow_wait(world, can_wait);
        gavel_client *client = sim_open_blocking(world, NULL);
        sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
        gavel_transaction transaction = increment(1000);
        int64_t begun_us = sim_now_us(world);
        cr_expect_eq(gavel_run(client, &transaction).status, GAVEL_DEADLINE);
        cr_expect_eq(sim_now_us(world) - begun_us, SIM_SECOND);
        transaction = increment(20000);
        cr_expect_eq(gavel_run(client, &transaction).status, GAVEL_COMMITTED);
        cr_expect_lt(sim_now_us(world) - begun_us, 5 * SIM_SECOND + 10 * SIM_MILLISECOND);
        gavel_close(client);
        sim_destroy(world);
    }
}

/* A lane that is being dialled holds nobody up on the others. */
Test(sim_hosts, other_links_go_on)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, &(gavel_config){.max_links = 2, .max_round_width = 1});
    for (int i = 0; i < 2; i++) {
        gavel_transaction transaction = increment(1000);
        sim_submit(world, client, &transaction);
    }
    cr_assert(sim_finish(world, SIM_SECOND));
    sim_run_for(world, 6 * SIM_SECOND);
    sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
    gavel_transaction transaction = increment(1000);
    if (sim_get_counters(world)->n_connections == 2)
        break_last_connection(world);
    for (int i = 0; i < 10; i++)
        sim_submit(world, client, &transaction);
    cr_assert(sim_finish(world, SIM_SECOND / 2));
    cr_expect_eq(sim_n_results_with(world, GAVEL_COMMITTED), 12);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, an_answer_serves_for_a_while)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    for (int i = 0; i < 5; i++) {
        run(world, client, 1000, GAVEL_COMMITTED);
        break_last_connection(world);
    }
    cr_expect_eq(sim_n_dials(world, 0), 5);
    cr_expect_eq(sim_n_look_ups(world), 1);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, closing_waits_for_no_resolver)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    sim_set_hosts(world, 5 * SIM_SECOND, one_that_serves, 1);
    gavel_transaction transaction = increment(20000);
    const sim_result *result = sim_submit(world, client, &transaction);
    sim_run_for(world, SIM_SECOND);
    gavel_close(client);
    cr_expect_eq(result->outcome.status, GAVEL_CANCELLED);
    sim_run_for(world, 10 * SIM_SECOND); /* and is not disturbed by the answer */
    gavel_client *other = sim_open(world, NULL);
    sim_submit(world, other, &transaction);
    sim_run_for(world, SIM_SECOND);
    gavel_close(other);
    sim_destroy(world); /* before the answer */
}

Test(sim_hosts, a_name_that_is_not_there_is_told)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    sim_set_hosts(world, SIM_MILLISECOND, NULL, 0);
    gavel_transaction transaction = increment(20000);
    transaction.max_faults = 3;
    const sim_result *result = sim_submit(world, client, &transaction);
    cr_assert(sim_finish(world, 20 * SIM_SECOND));
    cr_expect_eq(result->outcome.status, GAVEL_NOT_SENT);
    cr_expect_not_null(strstr(result->outcome.message, "redis://simulated:6379: no such name"),
        "%s", result->outcome.message);
    cr_expect_geq(sim_n_look_ups(world), 3);
    sim_set_hosts(world, SIM_MILLISECOND, one_that_serves, 1);
    run(world, client, 20000, GAVEL_COMMITTED);
    gavel_close(client);
    sim_destroy(world);
}

/* ---- Several addresses ---------------------------------------------------------------------- */

typedef struct link_events {
    int n_up;
    int n_down;
} link_events;

static void count_links(const gavel_event *event, void *user)
{
    link_events *events = user;
    events->n_up += event->type == GAVEL_EVENT_LINK_UP;
    events->n_down += event->type == GAVEL_EVENT_LINK_DOWN;
}

Test(sim_hosts, the_next_address_is_tried_at_once)
{
    const sim_host hosts[] = {SIM_HOST_REFUSES, SIM_HOST_REFUSES, SIM_HOST_SERVES};
    link_events events = {0};
    sim_world *world = sim_create(1);
    sim_set_hosts(world, 0, hosts, 3);
    gavel_client *client =
        sim_open(world, &(gavel_config){.hooks = {.on_event = count_links, .user = &events}});
    gavel_transaction transaction = increment(1000);
    transaction.max_faults = 1;
    const sim_result *result = sim_submit(world, client, &transaction);
    cr_assert(sim_finish(world, SIM_SECOND));
    cr_expect_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
    cr_expect_lt(result->outcome.elapsed_us, 3 * SIM_MILLISECOND);
    cr_expect_eq(events.n_up, 1);
    cr_expect_eq(events.n_down, 0, "an address is not the server");
    /* The last good one comes first, and the others after it. */
    break_last_connection(world);
    run(world, client, 1000, GAVEL_COMMITTED);
    cr_expect_eq(sim_n_dials(world, 0), 1);
    cr_expect_eq(sim_n_dials(world, 1), 1);
    cr_expect_eq(sim_n_dials(world, 2), 2);
    const sim_host moved[] = {SIM_HOST_REFUSES, SIM_HOST_SERVES, SIM_HOST_REFUSES};
    sim_set_hosts(world, 0, moved, 3);
    break_last_connection(world);
    run(world, client, 1000, GAVEL_COMMITTED);
    cr_expect_eq(sim_n_dials(world, 2), 3);
    cr_expect_eq(sim_n_dials(world, 0), 2);
    cr_expect_eq(sim_n_dials(world, 1), 2);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, an_address_that_does_not_answer_costs_one_timeout)
{
    const sim_host hosts[] = {SIM_HOST_HANGS, SIM_HOST_SERVES};
    sim_world *world = sim_create(1);
    sim_set_hosts(world, 0, hosts, 2);
    gavel_client *client = sim_open(world, &(gavel_config){.connect_timeout_ms = 300});
    int64_t took_us = run(world, client, 20000, GAVEL_COMMITTED);
    cr_expect_geq(took_us, 300 * SIM_MILLISECOND);
    cr_expect_lt(took_us, 303 * SIM_MILLISECOND);
    break_last_connection(world);
    cr_expect_lt(run(world, client, 20000, GAVEL_COMMITTED), 3 * SIM_MILLISECOND);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_hosts, when_all_have_failed_the_name_is_looked_up_anew)
{
    const sim_host hosts[] = {SIM_HOST_REFUSES, SIM_HOST_REFUSES};
    link_events events = {0};
    sim_world *world = sim_create(1);
    sim_set_hosts(world, 0, hosts, 2);
    gavel_client *client =
        sim_open(world, &(gavel_config){.hooks = {.on_event = count_links, .user = &events}});
    gavel_transaction transaction = increment(20000);
    transaction.max_faults = 4;
    const sim_result *result = sim_submit(world, client, &transaction);
    cr_assert(sim_finish(world, 20 * SIM_SECOND));
    cr_expect_eq(result->outcome.status, GAVEL_NOT_SENT);
    cr_expect_not_null(strstr(result->outcome.message, "(10.0.0.2): connection refused"), "%s",
        result->outcome.message);
    cr_expect_geq(events.n_down, 4);
    cr_expect_eq(sim_n_look_ups(world), (uint64_t)events.n_down + 1);
    cr_expect_eq(sim_n_dials(world, 0), (uint64_t)events.n_down);
    cr_expect_eq(sim_n_dials(world, 1), (uint64_t)events.n_down);
    gavel_close(client);
    sim_destroy(world);
}

/* ---- Servers that are elsewhere than they say ----------------------------------------------- */

/* What a program was asked, and what it has made of the primary's address. */
typedef struct network {
    char asked[16][sizeof(((gavel_address *)NULL)->host) + 16];
    size_t n_asked;
    char told[GAVEL_MESSAGE_SIZE]; /* by the log, of the primary */
} network;

static void translate(gavel_address *address, void *user)
{
    network *self = user;
    cr_assert_lt(self->n_asked, 16);
    snprintf(
        self->asked[self->n_asked++], sizeof self->asked[0], "%s:%d", address->host, address->port);
    if (strcmp(address->host, "10.0.1.1") != 0)
        return;
    strcpy(address->host, "tunnel.example");
    address->port = 7;
}

static void note_primary(gavel_log_level level, const char *line, void *user)
{
    const char *words = strstr(line, "the primary is");
    (void)level;
    if (words != NULL)
        snprintf(((network *)user)->told, GAVEL_MESSAGE_SIZE, "%s", words);
}

static size_t n_times_asked(const network *self, const char *address)
{
    size_t n = 0;
    for (size_t i = 0; i < self->n_asked; i++)
        n += strcmp(self->asked[i], address) == 0;
    return n;
}

/* The world's only name leads to the first server, which the Sentinels call 10.0.1.1. */
Test(sim_hosts, what_sentinels_name_is_dialled_where_the_program_says)
{
    network self = {.n_asked = 0};
    sim_world *world = sim_create(1);
    cr_assert_eq(sim_add_sentinels(world, NULL), 3);
    gavel_client *client = sim_open_url(world, "redis+sentinel://10.0.1.4:26379/mymaster",
        &(gavel_config){.map_address = translate,
            .map_address_user = &self,
            .hooks = {.on_log = note_primary, .user = &self}});
    run(world, client, 20000, GAVEL_COMMITTED);
    cr_expect_geq(sim_n_dials(world, 0), 1);
    cr_expect(
        strstr(self.told, "is 10.0.1.1:6379 now, at tunnel.example:7 (") != NULL, "%s", self.told);
    cr_expect_eq(n_times_asked(&self, "10.0.1.1:6379"), 1);
    cr_expect_eq(n_times_asked(&self, "10.0.1.5:26379"), 1, "learnt from the first one");
    cr_expect_eq(n_times_asked(&self, "10.0.1.6:26379"), 1);
    cr_expect_eq(self.n_asked, 3, "the URL's is right already");
    uint64_t n_dials = sim_n_dials(world, 0);
    sim_choose(world, 3);
    sim_do(world, "SENTINEL FAILOVER mymaster");
    sim_run_for(world, 20 * SIM_SECOND);
    run(world, client, 20000, GAVEL_COMMITTED);
    cr_expect_eq(sim_n_dials(world, 0), n_dials, "the new one is where it says");
    cr_expect(strstr(self.told, "at tunnel") == NULL, "%s", self.told);
    gavel_close(client);
    sim_destroy(world);
}
