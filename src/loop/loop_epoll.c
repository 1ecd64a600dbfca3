/*
 * Loops that the program polls: one epoll descriptor, which stands for all that is watched, for the
 * time to be awake at, and for other threads that wake. For clients, as gavel__loop_create_epoll.
 *
 * A child process shares the descriptor with its parent, not a copy of it: what the child took out
 * would be gone for the parent too. So there nothing is taken out.
 */
#include "loop/loop.h"

#include "base/fork.h"
#include "base/list.h"
#include "loop/alarm.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

/* What one turn looks at; the rest stays ready, and is the next one's. */
#define N_EVENTS 64

typedef struct loop_epoll {
    gavel__loop base;
    gavel__loop_owner owner;
    const gavel_allocator *allocator; /* borrowed */
    int fd;                           /* -1: none */
    uint64_t fork_generation;         /* of the process that it is polled in */
    gavel__alarm alarm;
    gavel__list watched; /* of watched_epoll */

    struct epoll_event events[N_EVENTS]; /* the turn's */
    int n_events;
} loop_epoll;

/* What stands behind a gavel__watch. */
typedef struct watched_epoll {
    gavel__list node;
    gavel__watch *watch;
    uint32_t events; /* as epoll was told */
} watched_epoll;

/* ---- Time ---------------------------------------------------------------------------------- */

static int64_t now_us(gavel__loop *loop)
{
    (void)loop;
    return gavel__alarm_now_us();
}

static void wake_at(gavel__loop *loop, int64_t due_us)
{
    gavel__alarm_set(&((loop_epoll *)loop)->alarm, due_us);
}

static void wake(gavel__loop *loop)
{
    gavel__alarm_wake(&((loop_epoll *)loop)->alarm);
}

/* The program keeps its loop going as it likes: gavel_turn tells it. */
static void set_busy(gavel__loop *loop, bool is_busy)
{
    (void)loop;
    (void)is_busy;
}

/* ---- Watching ------------------------------------------------------------------------------ */

/* Adds, changes or takes out what epoll looks for: with events 0 it would still tell of hang-ups.
 * `what` comes back with the event. False: no memory. */
static bool control(loop_epoll *self, int fd, uint32_t events, void *what)
{
    struct epoll_event event = {.events = events, .data = {.ptr = what}};
    if (events == 0)
        return epoll_ctl(self->fd, EPOLL_CTL_DEL, fd, &event) == 0;
    return epoll_ctl(self->fd, EPOLL_CTL_MOD, fd, &event) == 0 ||
           (errno == ENOENT && epoll_ctl(self->fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* Not ready again after this, and not in this turn either. */
static void end_watching(loop_epoll *self, watched_epoll *watched)
{
    for (int i = 0; i < self->n_events; i++) {
        if (self->events[i].data.ptr == watched)
            self->events[i].data.ptr = NULL;
    }
    if (watched->events != 0 && self->fork_generation == gavel__fork_generation())
        control(self, watched->watch->fd, 0, NULL);
    gavel__list_remove(&watched->node);
    watched->watch->backend = NULL;
    gavel__free(self->allocator, watched);
}

static void unwatch(gavel__loop *loop, gavel__watch *watch)
{
    if (watch->backend != NULL)
        end_watching((loop_epoll *)loop, watch->backend);
}

static watched_epoll *begin_watching(loop_epoll *self, gavel__watch *watch)
{
    watched_epoll *watched = gavel__alloc(self->allocator, 1, sizeof(*watched));
    if (watched == NULL)
        return NULL;
    watched->watch = watch;
    gavel__list_append(&self->watched, &watched->node);
    watch->backend = watched;
    return watched;
}

static bool watch_fd(gavel__loop *loop, gavel__watch *watch)
{
    loop_epoll *self = (loop_epoll *)loop;
    watched_epoll *watched = watch->backend;
    uint32_t events = (watch->wants_read ? EPOLLIN : 0U) | (watch->wants_write ? EPOLLOUT : 0U);
    if (watched == NULL)
        watched = begin_watching(self, watch);
    if (watched == NULL)
        return false;
    if (watched->events == events || control(self, watch->fd, events, watched)) {
        watched->events = events;
        return true;
    }
    end_watching(self, watched);
    return false;
}

/* ---- Turns --------------------------------------------------------------------------------- */

/* Errors and hang-ups are told as whatever was wanted: reading or writing says which it is. */
static void tell_ready(gavel__watch *watch, uint32_t events)
{
    bool has_failed = (events & (EPOLLERR | EPOLLHUP)) != 0;
    bool is_readable = watch->wants_read && (has_failed || (events & EPOLLIN) != 0);
    bool is_writable = watch->wants_write && (has_failed || (events & EPOLLOUT) != 0);
    watch->on_ready(watch, is_readable, is_writable);
}

static void serve(loop_epoll *self, const struct epoll_event *event)
{
    void *what = event->data.ptr;
    if (what == &self->alarm.timer_fd)
        gavel__alarm_on_timer(&self->alarm);
    else if (what == &self->alarm.waker_fd)
        gavel__alarm_on_waker(&self->alarm);
    else if (what != NULL)
        tell_ready(((watched_epoll *)what)->watch, event->events);
}

static void turn(gavel__loop *loop)
{
    loop_epoll *self = (loop_epoll *)loop;
    self->n_events = epoll_wait(self->fd, self->events, N_EVENTS, 0);
    for (int i = 0; i < self->n_events; i++)
        serve(self, &self->events[i]);
    self->n_events = 0;
    /* The program has work of its own, too: what is left makes the descriptor readable. */
    if (self->owner.on_turn(self->owner.owner))
        wake(loop);
}

static int poll_fd(gavel__loop *loop)
{
    return ((loop_epoll *)loop)->fd;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Takes a loop that was only half built. */
static void destroy(gavel__loop *loop)
{
    loop_epoll *self = (loop_epoll *)loop;
    gavel__list *node;
    while ((node = gavel__list_pop(&self->watched)) != NULL)
        end_watching(self, GAVEL__CONTAINER(node, watched_epoll, node));
    gavel__alarm_finish(&self->alarm);
    if (self->fd >= 0)
        close(self->fd);
    gavel__free(self->allocator, self);
}

static const gavel__loop_ops ops = {
    .now_us = now_us,
    .watch = watch_fd,
    .unwatch = unwatch,
    .wake_at = wake_at,
    .wake = wake,
    .set_busy = set_busy,
    .turn = turn,
    .poll_fd = poll_fd,
    .destroy = destroy,
};

gavel__loop *gavel__loop_create_epoll(
    const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    loop_epoll *self = gavel__alloc(allocator, 1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->base.ops = &ops;
    self->owner = *owner;
    self->allocator = allocator;
    self->fork_generation = gavel__fork_generation();
    gavel__list_init(&self->watched);
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    /* Once each time that they become readable: so they need not be read. */
    if (gavel__alarm_init(&self->alarm) && self->fd >= 0 &&
        control(self, self->alarm.timer_fd, EPOLLIN | EPOLLET, &self->alarm.timer_fd) &&
        control(self, self->alarm.waker_fd, EPOLLIN | EPOLLET, &self->alarm.waker_fd))
        return &self->base;
    destroy(&self->base);
    return NULL;
}
