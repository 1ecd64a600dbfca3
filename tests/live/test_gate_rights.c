/*
 * Gates that the server does not let somebody use: he does without them, and stands in nobody's
 * way.
 */
#include "chaos.h"
#include "counter.h"
#include "tools.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

static gavel_verdict turn_away(gavel_tx *tx, void *user)
{
    (void)user;
    return gavel_abort(tx, 1);
}

/* ---- Rights ----------------------------------------------------------------- */

/* Half of the crews are bob's, whose rights these are. */
static void expect_works_for(const char *const *rights)
{
    test_server *server = server_start(&(server_options){.has_tcp = true, .args = rights});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(server));
    chaos_crew *crews[4];
    chaos_tally tallies[4];
    for (size_t i = 0; i < 4; i++) {
        chaos_plan plan = {.kind = i < 2 ? CHAOS_BLOCKING : CHAOS_ATTACHED,
            .n_workers = 2,
            .n_callers = 2,
            .url = i % 2 == 0 ? url : NULL,
            .config = {.mode = i == 0 ? GAVEL_ADAPTIVE : GAVEL_GATED, .gate_lease_ms = 100}};
        crews[i] = chaos_start(server, &plan);
    }
    for (size_t i = 0; i < 4; i++)
        chaos_await_commits(crews[i], 100);
    for (size_t i = 0; i < 4; i++) {
        tallies[i] = chaos_join(crews[i]);
        chaos_expect_all_committed(&tallies[i]);
    }
    chaos_expect_value(server, "counter", tallies, 4);
    server_stop(server);
}

Test(gate_rights, a_user_without_rights_on_gates_does_without)
{
    static const char *const rights[] = {
        "--user", "bob", "on", "nopass", "~counter", "~gavel:m:*", "&*", "+@all", NULL};
    expect_works_for(rights);
}

Test(gate_rights, a_user_who_may_not_wait_does_without)
{
    static const char *const rights[] = {
        "--user", "bob", "on", "nopass", "~*", "&*", "+@all", "-blpop", NULL};
    expect_works_for(rights);
}

Test(gate_rights, a_user_who_may_not_hand_on_does_without)
{
    static const char *const rights[] = {
        "--user", "bob", "on", "nopass", "~*", "&*", "+@all", "-rpush", NULL};
    expect_works_for(rights);
}

Test(gate_rights, a_user_with_the_rights_of_old_does_without)
{
    static const char *const rights[] = {"--user", "bob", "on", "nopass", "~counter", "~gavel:*",
        "+hello", "+auth", "+select", "+watch", "+unwatch", "+multi", "+exec", "+get", "+set",
        "+incr", "+pexpire", NULL};
    expect_works_for(rights);
}

/* He can take the gate, and not give it back: then he must not take it again and again. */
Test(gate_rights, a_user_who_may_not_hand_on_keeps_nobody_out_for_long)
{
    static const char *const rights[] = {
        "--user", "bob", "on", "nopass", "~*", "&*", "+@all", "-rpush", NULL};
    gavel_config config = {.mode = GAVEL_GATED, .gate_lease_ms = 1000};
    test_server *server = server_start(&(server_options){.has_tcp = true, .args = rights});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(server));
    gavel_client *bob = live_open(url, &config);
    gavel_client *other = live_open(server_url(server), &config);
    int64_t waited_us = 0;
    for (int i = 0; i < 20; i++) {
        live_counter counter = {.n_runs = 0};
        ASSERT_TOLD(live_run(bob, "counter", turn_away, &counter), GAVEL_ABORTED);
        gavel_outcome outcome = counter_run(other, NULL, (gavel_transaction){.deadline_ms = 10000});
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
        waited_us += outcome.elapsed_us;
    }
    cr_expect_lt(waited_us, 8000000, "%" PRId64 " us", waited_us);
    gavel_close(other);
    gavel_close(bob);
    server_stop(server);
}

/* Out of memory the server refuses to hand on, like anything else; it is no matter of rights. The
 * turn that was handed on before is there for the next one, on a busy machine too. */
Test(gate_rights, a_server_that_was_out_of_memory_has_gates_again)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = 3000});
    ASSERT_TOLD(counter_run(rig.client, NULL, (gavel_transaction){.body = NULL}), GAVEL_COMMITTED);
    server_do(rig.server, "CONFIG", "SET", "maxmemory", "1", NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, (gavel_transaction){.body = NULL}), GAVEL_REJECTED);
    server_do(rig.server, "CONFIG", "SET", "maxmemory", "0", NULL);
    gavel_outcome outcome =
        counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 30000});
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_expect(outcome.is_gated);
    live_end(&rig);
}
