/*
 * A process of bidders on gavel: one attached client on one libev loop, and each bidder has one
 * transaction in flight. There is no thread, and no lock.
 */
#include "race.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>

struct floor;

struct racer {
    struct bidder bidder;
    struct floor *floor;
    gavel_ticket ticket; /* 0: nothing in flight */
    bool is_resting;     /* after trouble with the server; the next tick makes it bid again */
};

struct floor {
    struct team *team;
    struct ev_loop *loop;
    gavel_client *client;
    struct racer *racers;
    size_t n_racers;
    size_t n_bidding; /* racers that have not finished */
    bool is_stopping;
    bool has_complained;
    ev_timer tick;
    ev_signal terminate;
};

static void on_done(const gavel_outcome *outcome, void *user);

static void finish(struct racer *racer)
{
    struct floor *floor = racer->floor;
    if (--floor->n_bidding == 0)
        ev_break(floor->loop, EVBREAK_ALL);
}

static void bid_again(struct racer *racer)
{
    struct plan plan;
    if (racer->floor->is_stopping || !bidder_next(&racer->bidder)) {
        finish(racer);
        return;
    }
    bid_plan(&racer->bidder.bid, &plan);
    racer->ticket = gavel_submit(racer->floor->client, &plan.transaction, on_done);
    racer->is_resting = racer->ticket == 0; /* no memory: later, then */
}

static enum told told_of(const gavel_outcome *outcome)
{
    switch (outcome->status) {
    case GAVEL_COMMITTED:
    case GAVEL_COMMITTED_NOT_DURABLE:
        return TOLD_ACCEPTED;
    case GAVEL_COMMITTED_WITH_ERRORS:
        return TOLD_BROKEN;
    case GAVEL_ABORTED:
        return TOLD_REFUSED;
    case GAVEL_UNKNOWN:
        return TOLD_UNKNOWN;
    case GAVEL_INVALID:
    case GAVEL_CONFLICT:
    case GAVEL_DEADLINE:
    case GAVEL_CANCELLED:
    case GAVEL_NOT_SENT:
    case GAVEL_REJECTED:
        return TOLD_NOT_MADE;
    }
    return TOLD_BROKEN;
}

/* Says the first trouble of this process; the ledger has them all. */
static void complain(struct floor *floor, const gavel_outcome *outcome)
{
    char what[32];
    if (floor->has_complained || outcome->status == GAVEL_CANCELLED)
        return;
    floor->has_complained = true;
    snprintf(what, sizeof(what), "process %zu", floor->team->process);
    trouble_outcome(what, outcome);
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    const struct bid *bid = user;
    struct racer *racer = bid->owner;
    enum told told = told_of(outcome);

    racer->ticket = 0;
    bidder_told(&racer->bidder, told, outcome->abort_code);
    if (told == TOLD_ACCEPTED || told == TOLD_REFUSED) {
        bid_again(racer);
        return;
    }
    complain(racer->floor, outcome);
    racer->is_resting = true;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct floor *floor = timer->data;
    (void)loop;
    (void)events;

    team_report(floor->team);
    for (size_t i = 0; i < floor->n_racers; i++) {
        if (floor->racers[i].is_resting) {
            floor->racers[i].is_resting = false;
            bid_again(&floor->racers[i]);
        }
    }
}

/* No further bids. Those in flight are taken back, or their answers awaited if it is too late. */
static void on_terminate(struct ev_loop *loop, ev_signal *signal, int events)
{
    struct floor *floor = signal->data;
    (void)loop;
    (void)events;

    floor->is_stopping = true;
    for (size_t i = 0; i < floor->n_racers; i++)
        gavel_cancel(floor->client, floor->racers[i].ticket);
}

static bool open_floor(struct floor *floor, struct team *team)
{
    gavel_error error;

    *floor = (struct floor){.team = team, .n_racers = team->race->n_bidders};
    floor->racers = calloc(floor->n_racers, sizeof(floor->racers[0]));
    floor->loop = ev_loop_new(EVFLAG_AUTO);
    if (floor->racers == NULL || floor->loop == NULL) {
        trouble("process %zu: no memory", team->process);
        return false;
    }
    floor->client = gavel_open(team->race->options->url,
        &(gavel_config){.loop = floor->loop, .name = "auction-race"}, &error);
    if (floor->client == NULL) {
        trouble("%s", error.message);
        return false;
    }
    for (size_t i = 0; i < floor->n_racers; i++) {
        struct racer *racer = &floor->racers[i];
        if (!bidder_init(&racer->bidder, team, i + 1)) {
            trouble("process %zu: no memory", team->process);
            return false;
        }
        racer->bidder.bid.owner = racer;
        racer->floor = floor;
    }
    return true;
}

static void close_floor(struct floor *floor)
{
    gavel_close(floor->client);
    for (size_t i = 0; floor->racers != NULL && i < floor->n_racers; i++)
        bidder_finish(&floor->racers[i].bidder);
    free(floor->racers);
    if (floor->loop != NULL)
        ev_loop_destroy(floor->loop);
}

static void run_floor(struct floor *floor)
{
    sigset_t all;

    ev_timer_init(&floor->tick, on_tick, 0., REPORT_PAUSE_MS / 1000.);
    floor->tick.data = floor;
    ev_timer_start(floor->loop, &floor->tick);
    ev_signal_init(&floor->terminate, on_terminate, SIGTERM);
    floor->terminate.data = floor;
    ev_signal_start(floor->loop, &floor->terminate);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);

    floor->n_bidding = floor->n_racers;
    for (size_t i = 0; i < floor->n_racers; i++)
        bid_again(&floor->racers[i]);
    if (floor->n_bidding > 0)
        ev_run(floor->loop, 0);

    ev_timer_stop(floor->loop, &floor->tick);
    ev_signal_stop(floor->loop, &floor->terminate);
}

int team_by_gavel(struct team *team)
{
    struct floor floor;
    int status = EXIT_TROUBLE;

    if (open_floor(&floor, team)) {
        run_floor(&floor);
        status = EXIT_FINE;
    }
    close_floor(&floor);
    return status;
}
