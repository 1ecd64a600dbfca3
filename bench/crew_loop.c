/*
 * Crews on a loop: all callers of a process on one libev loop, a flush for each wire once per turn,
 * and timers that are good for less than a millisecond. See crew.h.
 */
#include "crew.h"
#include "timers.h"

#include <ev.h>

#include <stdio.h>
#include <stdlib.h>

struct fleet {
    struct timers timers;
    ev_io on_timer;
    ev_prepare before_sleep;
    ev_io *on_readable;  /* by wire */
    struct wire **dirty; /* those with something to flush; has room for all */
    size_t n_dirty;
    size_t n_active; /* callers that are not done */
};

static void on_lost(struct crew *crew)
{
    caller_fail(&crew->callers[0], "the connection is lost", GAVEL_STR(""));
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct crew *crew = ev_userdata(loop);
    (void)events;
    if (!wire_receive(watcher->data) && !crew->has_failed)
        on_lost(crew);
}

static void on_before_sleep(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    struct crew *crew = ev_userdata(loop);
    struct fleet *fleet = crew->fleet;
    (void)watcher;
    (void)events;
    for (size_t i = 0; i < fleet->n_dirty; i++)
        if (!wire_flush(fleet->dirty[i]))
            on_lost(crew);
    fleet->n_dirty = 0;
    timers_arm(&fleet->timers);
}

/* A caller that is settled was thinking; another one was pausing. */
static void wake(struct caller *caller)
{
    if (caller->is_settled)
        caller_begin(caller);
    else
        caller_attempt(caller);
}

static void on_timer(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct crew *crew = ev_userdata(loop);
    struct timers *timers = &crew->fleet->timers;
    (void)watcher;
    (void)events;
    timers_acknowledge(timers);
    int64_t now_ns = measure_now_ns();
    for (struct caller *due; (due = timers_take(timers, now_ns)) != NULL;)
        wake(due);
}

void fleet_sleep(struct caller *caller, int64_t until_ns)
{
    timers_add(&caller->crew->fleet->timers, until_ns, caller);
}

void fleet_mark_dirty(struct crew *crew, struct wire *wire)
{
    crew->fleet->dirty[crew->fleet->n_dirty++] = wire;
}

void fleet_break(struct crew *crew)
{
    ev_break(crew->loop, EVBREAK_ALL);
}

void fleet_on_settled(struct caller *caller)
{
    struct crew *crew = caller->crew;
    int64_t now_ns = measure_now_ns();
    if (!caller_plan(caller, now_ns)) {
        if (--crew->fleet->n_active == 0)
            fleet_break(crew);
    } else if (caller->start_ns > now_ns) {
        fleet_sleep(caller, caller->start_ns);
    } else {
        caller_begin(caller);
    }
}

bool fleet_open(struct crew *crew)
{
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    if (fleet == NULL)
        return false;
    crew->fleet = fleet;
    crew->loop = ev_loop_new(EVFLAG_AUTO);
    fleet->on_readable = calloc(crew->n_wires + 1, sizeof(*fleet->on_readable));
    fleet->dirty = calloc(crew->n_wires + 1, sizeof(struct wire *));
    if (!timers_open(&fleet->timers, crew->n_callers) || crew->loop == NULL ||
        fleet->on_readable == NULL || fleet->dirty == NULL)
        return false;
    ev_set_userdata(crew->loop, crew);
    ev_prepare_init(&fleet->before_sleep, on_before_sleep);
    ev_prepare_start(crew->loop, &fleet->before_sleep);
    ev_io_init(&fleet->on_timer, on_timer, fleet->timers.fd, EV_READ);
    ev_io_start(crew->loop, &fleet->on_timer);
    for (size_t i = 0; i < crew->n_wires; i++) {
        ev_io_init(&fleet->on_readable[i], on_readable, wire_fd(crew->wires[i]), EV_READ);
        fleet->on_readable[i].data = crew->wires[i];
        ev_io_start(crew->loop, &fleet->on_readable[i]);
    }
    return true;
}

void fleet_close(struct crew *crew)
{
    struct fleet *fleet = crew->fleet;
    if (fleet == NULL)
        return;
    if (crew->loop != NULL)
        ev_loop_destroy(crew->loop);
    timers_close(&fleet->timers);
    free(fleet->on_readable);
    free(fleet->dirty);
    free(fleet);
}

bool crew_run_loop(struct crew *crew)
{
    crew->fleet->n_active = crew->n_callers;
    for (size_t i = 0; i < crew->n_callers; i++) {
        struct caller *caller = &crew->callers[i];
        caller->is_settled = true;
        caller->start_ns = measure_now_ns();
        fleet_on_settled(caller);
    }
    if (crew->fleet->n_active > 0)
        ev_run(crew->loop, 0);
    return !crew->has_failed;
}
