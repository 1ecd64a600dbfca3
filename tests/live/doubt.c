/* What the tests of doubt share: see the header. */
#include "doubt.h"

const gavel_transaction doubt_plain = {.deadline_ms = 0};
const gavel_config doubt_no_markers = {.has_no_markers = true};

relay_action doubt_follow(test_relay *relay, const relay_command *command, void *user)
{
    doubt_plan *plan = user;
    unsigned round = plan->round > 0 ? plan->round : 1;
    if (command->link == 0)
        return relay_is_exec(command) && command->round == round ? plan->action : RELAY_PASS;
    if (plan->cut != NULL && relay_is(command, plan->cut))
        return RELAY_CUT;
    if (plan->before != NULL && plan->n_delivered == 0 && command->round > 0 &&
        relay_is(command, plan->before))
        plan->n_delivered = relay_deliver(relay);
    return RELAY_PASS;
}

doubt_rig doubt_begin(relay_hook *hook, void *user, const gavel_config *config)
{
    doubt_rig rig = {.server = server_start(NULL)};
    rig.relay = relay_start(rig.server, hook, user, NULL);
    rig.client = live_open(relay_url(rig.relay), config);
    return rig;
}

void doubt_end(doubt_rig *rig)
{
    gavel_close(rig->client);
    relay_stop(rig->relay);
    server_stop(rig->server);
}

void doubt_goes_on(doubt_rig *rig, long long value)
{
    cr_assert_eq(counter_value(rig->server), value);
    gavel_outcome outcome = counter_run(rig->client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(counter_value(rig->server), value + 1);
}
