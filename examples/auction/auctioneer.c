/*
 * The auctioneer: the parent of a race. On one libev loop it closes the items one after the other
 * while the bidders still bid, shows the progress, and sees that every team leaves.
 */
#include "progress.h"
#include "race.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define TICK_MS 20
#define CLOSE_DEADLINE_MS 1000
#define RETRY_MS 500      /* before a close that failed is tried again */
#define LATE_MS 1000      /* after the race's end, for the items to be closed under the bidders */
#define PATIENCE_MS 10000 /* after the race's end, for the items to be closed at all */
#define GRACE_MS 7000     /* for teams that were told to stop: longer than a bid's deadline */
#define ECHO_MS 500       /* two interrupts that come so close are one */

enum hammer_state { HAMMER_UP, HAMMER_FALLING, HAMMER_DOWN };

/* One item's close. */
struct hammer {
    struct auctioneer *auctioneer;
    struct closing closing;
    enum hammer_state state;
    int64_t due_ms;
};

struct auctioneer {
    const struct race *race;
    const pid_t *pids;
    struct ev_loop *loop;
    gavel_client *client;
    struct hammer *hammers;
    size_t n_falling;
    size_t n_up;
    uint64_t (*reports)[N_TOLD]; /* the latest of each team */
    bool has_teams;              /* some team has not left */
    bool has_given_up;           /* on closing what is still open */
    bool has_complained;
    int64_t interrupted_ms; /* 0: it is not */
    int64_t give_up_ms;     /* stop trying to close */
    int64_t stop_ms;        /* tell the teams to stop; if they were told to, end them */
    bool has_told_to_stop;
    struct progress progress;
    ev_timer tick;
    ev_io pipe;
    ev_signal signals[2];
};

/* ---- Closing ------------------------------------------------------------------------------- */

static void on_closed(const gavel_outcome *outcome, void *user)
{
    const struct closing *closing = user;
    struct hammer *hammer = closing->owner;
    struct auctioneer *auctioneer = hammer->auctioneer;
    bool is_closed = outcome->status == GAVEL_COMMITTED ||
                     (outcome->status == GAVEL_ABORTED && outcome->abort_code == IS_CLOSED);

    auctioneer->n_falling--;
    if (is_closed) {
        hammer->state = HAMMER_DOWN;
        return;
    }
    /* Closing twice is harmless, so even an UNKNOWN close is simply tried again. */
    hammer->state = HAMMER_UP;
    hammer->due_ms = wall_ms() + RETRY_MS;
    auctioneer->n_up++;
    if (!auctioneer->has_complained)
        trouble_outcome("closing an item", outcome);
    auctioneer->has_complained = true;
}

static void let_fall(struct auctioneer *auctioneer, struct hammer *hammer, int64_t now_ms)
{
    struct plan plan;
    hammer->closing.at_ms = now_ms;
    closing_plan(&hammer->closing, &plan);
    plan.transaction.deadline_ms = CLOSE_DEADLINE_MS;
    if (gavel_submit(auctioneer->client, &plan.transaction, on_closed) == 0)
        return; /* no memory: with the next tick, then */
    hammer->state = HAMMER_FALLING;
    auctioneer->n_up--;
    auctioneer->n_falling++;
}

/* The items are closed from three quarters of the time on, one after the other. */
static bool set_hammers(struct auctioneer *auctioneer)
{
    const struct race *race = auctioneer->race;
    int64_t quarter_ms = race->seconds * 250;

    auctioneer->hammers = calloc(race->n_items, sizeof(auctioneer->hammers[0]));
    if (auctioneer->hammers == NULL)
        return false;
    for (size_t i = 0; i < race->n_items; i++) {
        struct hammer *hammer = &auctioneer->hammers[i];
        hammer->auctioneer = auctioneer;
        hammer->due_ms = race->start_ms + 3 * quarter_ms +
                         quarter_ms * (int64_t)(i + 1) / (int64_t)race->n_items;
        hammer->closing = (struct closing){
            .owner = hammer, .keys = race->items[i].keys, .is_forced = true, .is_brief = true};
    }
    auctioneer->n_up = race->n_items;
    return true;
}

static void close_all_now(struct auctioneer *auctioneer)
{
    int64_t now_ms = wall_ms();
    for (size_t i = 0; i < auctioneer->race->n_items; i++)
        if (auctioneer->hammers[i].due_ms > now_ms)
            auctioneer->hammers[i].due_ms = now_ms;
    if (auctioneer->give_up_ms > now_ms + 2 * LATE_MS)
        auctioneer->give_up_ms = now_ms + 2 * LATE_MS;
    if (auctioneer->stop_ms > now_ms + LATE_MS)
        auctioneer->stop_ms = now_ms + LATE_MS;
}

/* ---- The teams ----------------------------------------------------------------------------- */

static void signal_teams(const struct auctioneer *auctioneer, int number)
{
    for (size_t i = 0; i < auctioneer->race->n_processes; i++)
        kill(auctioneer->pids[i], number);
}

/* Teams leave by themselves when all items are closed. If that takes too long (bidders who write
 * without watching can keep a close from ever coming first) they are told to stop, and at last are
 * ended. */
static void hurry_teams(struct auctioneer *auctioneer, int64_t now_ms)
{
    if (!auctioneer->has_teams || now_ms < auctioneer->stop_ms)
        return;
    signal_teams(auctioneer, auctioneer->has_told_to_stop ? SIGKILL : SIGTERM);
    auctioneer->has_told_to_stop = true;
    auctioneer->stop_ms = now_ms + GRACE_MS;
}

static void show_progress(struct auctioneer *auctioneer, bool is_last)
{
    uint64_t counts[N_TOLD] = {0};
    for (size_t team = 0; team < auctioneer->race->n_processes; team++)
        for (size_t i = 0; i < N_TOLD; i++)
            counts[i] += auctioneer->reports[team][i];
    progress_show(&auctioneer->progress, counts, wall_ms(), is_last);
}

/* ---- Events -------------------------------------------------------------------------------- */

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct auctioneer *auctioneer = timer->data;
    int64_t now_ms = wall_ms();
    (void)events;

    if (now_ms >= auctioneer->give_up_ms && auctioneer->n_up > 0)
        auctioneer->has_given_up = true;
    for (size_t i = 0; i < auctioneer->race->n_items && !auctioneer->has_given_up; i++) {
        struct hammer *hammer = &auctioneer->hammers[i];
        if (hammer->state == HAMMER_UP && hammer->due_ms <= now_ms)
            let_fall(auctioneer, hammer, now_ms);
    }
    hurry_teams(auctioneer, now_ms);
    show_progress(auctioneer, false);
    bool has_work =
        auctioneer->n_falling > 0 || (auctioneer->n_up > 0 && !auctioneer->has_given_up);
    if (!has_work && !auctioneer->has_teams)
        ev_break(loop, EVBREAK_ALL);
}

/* The teams' reports; the end of the pipe is that of the last team. */
static void on_report(struct ev_loop *loop, ev_io *io, int events)
{
    struct auctioneer *auctioneer = io->data;
    struct report reports[16]; /* each was written in one piece, so the pipe holds whole ones */
    ssize_t size = read(io->fd, reports, sizeof(reports));
    (void)events;

    if (size <= 0) {
        auctioneer->has_teams = false;
        ev_io_stop(loop, io);
        close_all_now(auctioneer);
        return;
    }
    for (size_t i = 0; i < (size_t)size / sizeof(reports[0]); i++)
        memcpy(auctioneer->reports[reports[i].process - 1], reports[i].n, sizeof(reports[i].n));
}

/* Once: close the items now, and verify. Once more: leave at once. A Ctrl-C may come twice, from
 * the terminal and from the script that started the race; that counts as one. */
static void on_interrupt(struct ev_loop *loop, ev_signal *signal, int events)
{
    struct auctioneer *auctioneer = signal->data;
    (void)events;

    int64_t now_ms = wall_ms();
    if (now_ms - auctioneer->interrupted_ms < ECHO_MS)
        return;
    if (auctioneer->interrupted_ms == 0) {
        auctioneer->interrupted_ms = now_ms;
        trouble("interrupted: closing the items (once more: leave at once)");
        close_all_now(auctioneer);
        return;
    }
    signal_teams(auctioneer, SIGKILL);
    ev_signal_stop(loop, signal);
    raise(signal->signum);
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void start_watchers(struct auctioneer *auctioneer, int report_fd)
{
    const int numbers[2] = {SIGINT, SIGTERM};
    sigset_t set;

    ev_timer_init(&auctioneer->tick, on_tick, 0., TICK_MS / 1000.);
    auctioneer->tick.data = auctioneer;
    ev_timer_start(auctioneer->loop, &auctioneer->tick);
    ev_io_init(&auctioneer->pipe, on_report, report_fd, EV_READ);
    auctioneer->pipe.data = auctioneer;
    ev_io_start(auctioneer->loop, &auctioneer->pipe);
    sigemptyset(&set);
    for (size_t i = 0; i < 2; i++) {
        ev_signal_init(&auctioneer->signals[i], on_interrupt, numbers[i]);
        auctioneer->signals[i].data = auctioneer;
        ev_signal_start(auctioneer->loop, &auctioneer->signals[i]);
        sigaddset(&set, numbers[i]);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void stop_watchers(struct auctioneer *auctioneer)
{
    ev_timer_stop(auctioneer->loop, &auctioneer->tick);
    ev_io_stop(auctioneer->loop, &auctioneer->pipe);
    for (size_t i = 0; i < 2; i++)
        ev_signal_stop(auctioneer->loop, &auctioneer->signals[i]);
}

int auctioneer_run(const struct race *race, int report_fd, const pid_t *pids)
{
    struct auctioneer auctioneer = {.race = race,
        .pids = pids,
        .has_teams = true,
        .stop_ms = race->start_ms + race->seconds * 1000 + LATE_MS,
        .give_up_ms = race->start_ms + race->seconds * 1000 + PATIENCE_MS};
    gavel_error error = {.message = "no memory"};
    int status = EXIT_TROUBLE;

    auctioneer.loop = ev_loop_new(EVFLAG_AUTO);
    auctioneer.reports = calloc(race->n_processes, sizeof(auctioneer.reports[0]));
    if (auctioneer.loop == NULL || auctioneer.reports == NULL || !set_hammers(&auctioneer))
        goto done;
    auctioneer.client = gavel_open(
        race->options->url, &(gavel_config){.loop = auctioneer.loop, .name = "auctioneer"}, &error);
    if (auctioneer.client == NULL)
        goto done;
    progress_init(&auctioneer.progress, race->start_ms);
    start_watchers(&auctioneer, report_fd);
    ev_run(auctioneer.loop, 0);
    stop_watchers(&auctioneer);
    show_progress(&auctioneer, true);
    if (auctioneer.n_up + auctioneer.n_falling == 0)
        status = EXIT_FINE;
    else
        trouble("%zu of %zu items could not be closed", auctioneer.n_up + auctioneer.n_falling,
            race->n_items);
done:
    if (auctioneer.client == NULL)
        trouble("%s", error.message);
    gavel_close(auctioneer.client);
    if (auctioneer.loop != NULL)
        ev_loop_destroy(auctioneer.loop);
    free(auctioneer.hammers);
    free(auctioneer.reports);
    return status;
}
