/*
 * The connection is cut at every byte of a transaction's conversation, in each direction. Whatever
 * is told must be what the counter says: COMMITTED, once; UNKNOWN, at most once, and only if EXEC
 * was sent; anything else, not at all.
 *
 * By default the cuts are some bytes apart. GAVEL_FULL=1 makes one at every byte.
 */
#include "counter.h"
#include "relay.h"

#include <stdio.h>
#include <stdlib.h>

/* What is swept: a client's and a transaction's options, and how a link is cut. */
typedef struct sweep_plan {
    gavel_config config;
    gavel_transaction transaction;
    relay_cut cut;
    unsigned step;   /* bytes between two cuts, unless GAVEL_FULL=1 */
    bool is_certain; /* nothing but COMMITTED will do */
} sweep_plan;

typedef struct sweep_trial {
    gavel_outcome outcome;
    unsigned n_execs;
    bool has_cut;
} sweep_trial;

/* For every_link_cut and the like, which last until then. */
#define SHORT_DEADLINE_MS 60

/* No cut needs a time-out to be noticed, and none may come because the machine is busy. */
#define LONG_MS 60000

/* A short deadline came before the place of the cut: on a busy machine, and says nothing. */
static bool was_slow(const sweep_plan *plan, const sweep_trial *trial)
{
    gavel_status status = trial->outcome.status;
    return plan->transaction.deadline_ms == SHORT_DEADLINE_MS && !trial->has_cut &&
           (status == GAVEL_DEADLINE || status == GAVEL_UNKNOWN);
}

static void judge(const sweep_plan *plan, const sweep_trial *trial, long long value)
{
    const gavel_outcome *outcome = &trial->outcome;
    const char *status = gavel_status_name(outcome->status);
    unsigned byte = (unsigned)plan->cut.n_bytes;
    if (gavel_is_committed(outcome))
        cr_assert_eq(
            value, 1, "byte %u: %s, but %lld times: %s", byte, status, value, outcome->message);
    else if (outcome->status == GAVEL_UNKNOWN)
        cr_assert(value == 0 || value == 1, "byte %u: UNKNOWN, and %lld times", byte, value);
    else
        cr_assert_eq(
            value, 0, "byte %u: %s, but %lld times: %s", byte, status, value, outcome->message);
    if (outcome->status == GAVEL_UNKNOWN)
        cr_assert_gt(trial->n_execs, 0, "byte %u: UNKNOWN, and no EXEC was sent", byte);
    if (plan->is_certain || (!trial->has_cut && !was_slow(plan, trial)))
        cr_assert_eq(
            outcome->status, GAVEL_COMMITTED, "byte %u: %s: %s", byte, status, outcome->message);
}

/* One cut. The client must be of use afterwards, too. */
static sweep_trial run_trial(test_server *server, const sweep_plan *plan)
{
    server_do(server, "FLUSHALL", (char *)NULL);
    test_relay *relay = relay_start(server, NULL, NULL, &plan->cut);
    gavel_client *client = live_open(relay_url(relay), &plan->config);
    sweep_trial trial = {.outcome = counter_run(client, NULL, plan->transaction)};
    trial.n_execs = relay_n_execs(relay);
    trial.has_cut = relay_has_cut(relay);
    relay_deliver(relay);
    long long value = counter_value(server);
    judge(plan, &trial, value);
    if (trial.has_cut && !plan->cut.is_for_every_link) {
        gavel_outcome outcome =
            counter_run(client, NULL, (gavel_transaction){.deadline_ms = LONG_MS});
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
        cr_assert_eq(counter_value(server), value + 1);
    }
    gavel_close(client);
    relay_stop(relay);
    return trial;
}

/* From byte 0 until a run is unaffected. */
static void run_sweep(sweep_plan plan)
{
    const char *full = getenv("GAVEL_FULL");
    unsigned step = full != NULL && full[0] == '1' ? 1 : plan.step;
    if (plan.transaction.deadline_ms == 0)
        plan.transaction.deadline_ms = LONG_MS;
    plan.config.connect_timeout_ms = LONG_MS;
    plan.config.command_timeout_ms = LONG_MS;
    test_server *server = server_start(NULL);
    unsigned n_of_status[GAVEL_UNKNOWN + 1] = {0};
    unsigned n_from_marker = 0;
    unsigned n_trials = 0;
    unsigned n_slow = 0;
    for (bool has_cut = true; has_cut; n_trials++) {
        sweep_trial trial = run_trial(server, &plan);
        if (was_slow(&plan, &trial)) {
            cr_assert_lt(n_slow++, 100, "byte %u: always too slow", (unsigned)plan.cut.n_bytes);
            continue; /* once more at the same byte */
        }
        has_cut = trial.has_cut;
        n_of_status[trial.outcome.status]++;
        n_from_marker += trial.outcome.is_from_marker;
        plan.cut.n_bytes += step;
    }
    server_stop(server);
    cr_log_info("%u trials, %u committed (%u by the marker), %u unknown", n_trials,
        n_of_status[GAVEL_COMMITTED], n_from_marker, n_of_status[GAVEL_UNKNOWN]);
    cr_assert_gt(n_trials, 2);
}

/* ---- Towards the server -------------------------------------------------------------------- */

Test(sweep, cut_at_once)
{
    run_sweep((sweep_plan){
        .cut = {.action = RELAY_CUT, .side = RELAY_TO_SERVER}, .step = 3, .is_certain = true});
}

/* The server has done what it will do before gavel knows that anything is wrong. */
Test(sweep, cut_when_executed)
{
    run_sweep((sweep_plan){.cut = {.action = RELAY_LOSE_REPLY, .side = RELAY_TO_SERVER},
        .step = 1,
        .is_certain = true});
}

/* The server hears of it when gavel has told its caller the outcome. */
Test(sweep, delivered_late)
{
    run_sweep((sweep_plan){
        .cut = {.action = RELAY_LATE, .side = RELAY_TO_SERVER}, .step = 1, .is_certain = true});
}

Test(sweep, without_markers)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .cut = {.action = RELAY_LOSE_REPLY, .side = RELAY_TO_SERVER},
        .step = 7});
}

Test(sweep, late_without_markers)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .cut = {.action = RELAY_LATE, .side = RELAY_TO_SERVER},
        .step = 7});
}

Test(sweep, with_an_id)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .transaction = {.id = GAVEL_STR("payment 1")},
        .cut = {.action = RELAY_LOSE_REPLY, .side = RELAY_TO_SERVER},
        .step = 7,
        .is_certain = true});
}

Test(sweep, late_with_an_id)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .transaction = {.id = GAVEL_STR("payment 1")},
        .cut = {.action = RELAY_LATE, .side = RELAY_TO_SERVER},
        .step = 7,
        .is_certain = true});
}

/* No link gets further than the one before, up to the deadline. */
Test(sweep, every_link_cut)
{
    run_sweep((sweep_plan){.transaction = {.deadline_ms = SHORT_DEADLINE_MS, .max_faults = 2},
        .cut = {.action = RELAY_LOSE_REPLY, .side = RELAY_TO_SERVER, .is_for_every_link = true},
        .step = 7});
}

Test(sweep, every_link_late)
{
    run_sweep((sweep_plan){.transaction = {.deadline_ms = SHORT_DEADLINE_MS, .max_faults = 2},
        .cut = {.action = RELAY_LATE, .side = RELAY_TO_SERVER, .is_for_every_link = true},
        .step = 7});
}

/* ---- Towards the client -------------------------------------------------------------------- */

Test(sweep, replies_cut)
{
    run_sweep((sweep_plan){
        .cut = {.action = RELAY_CUT, .side = RELAY_TO_CLIENT}, .step = 1, .is_certain = true});
}

Test(sweep, replies_cut_without_markers)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .cut = {.action = RELAY_CUT, .side = RELAY_TO_CLIENT},
        .step = 3});
}

Test(sweep, replies_cut_with_an_id)
{
    run_sweep((sweep_plan){.config = {.has_no_markers = true},
        .transaction = {.id = GAVEL_STR("payment 1")},
        .cut = {.action = RELAY_CUT, .side = RELAY_TO_CLIENT},
        .step = 3,
        .is_certain = true});
}

Test(sweep, replies_cut_on_every_link)
{
    run_sweep((sweep_plan){.transaction = {.deadline_ms = SHORT_DEADLINE_MS, .max_faults = 2},
        .cut = {.action = RELAY_CUT, .side = RELAY_TO_CLIENT, .is_for_every_link = true},
        .step = 5});
}
