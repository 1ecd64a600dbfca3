/*
 * Loops over libev: the program's own, or a new one. For clients, as gavel__loop_create_ev.
 *
 * Watchers of libev's that are always there: one that runs before each sleep (on_turn), a timerfd,
 * because libev's own timers round up to a millisecond, and an eventfd to be woken by, because
 * libev's own way aborts the program when there are no file descriptors left. In the program's loop
 * there is also one that runs after the fds were looked at: callbacks from there come before the
 * program's own preparations for the next sleep, which may depend on them. One more, idle, keeps
 * the loop from sleeping while on_turn asks for that.
 *
 * None of these but idle, nor a watched fd, may keep the program's ev_run from returning: only
 * set_busy does. libev counts what is started, so each start there is followed by ev_unref, and
 * each stop preceded by ev_ref. In a loop of gavel's own they count: else ev_run would return, not
 * sleep.
 */
#include "loop/loop.h"

#include "base/list.h"
#include "loop/alarm.h"

#include <ev.h>

typedef struct loop_ev {
    gavel__loop base;
    gavel__loop_owner owner;
    const gavel_allocator *allocator; /* borrowed */
    struct ev_loop *loop;
    bool is_own;
    bool is_busy;

    ev_prepare prepare;
    ev_check check;
    ev_idle idle;
    ev_io timer;
    ev_io waker;

    gavel__alarm alarm;
    bool has_alarm;      /* both of its fds */
    gavel__list watched; /* of watched_ev */
} loop_ev;

/* What stands behind a gavel__watch. */
typedef struct watched_ev {
    ev_io io;
    gavel__list node;
    gavel__watch *watch;
    loop_ev *self;
} watched_ev;

/* ---- Counting ------------------------------------------------------------------------------ */

static void after_start(loop_ev *self)
{
    if (!self->is_own)
        ev_unref(self->loop);
}

static void before_stop(loop_ev *self)
{
    if (!self->is_own)
        ev_ref(self->loop);
}

static void start_io(loop_ev *self, ev_io *io)
{
    ev_io_start(self->loop, io);
    after_start(self);
}

static void stop_io(loop_ev *self, ev_io *io)
{
    if (!ev_is_active(io))
        return;
    before_stop(self);
    ev_io_stop(self->loop, io);
}

static void set_busy(gavel__loop *loop, bool is_busy)
{
    loop_ev *self = (loop_ev *)loop;
    if (self->is_own || self->is_busy == is_busy)
        return;
    self->is_busy = is_busy;
    if (is_busy)
        ev_ref(self->loop);
    else
        ev_unref(self->loop);
}

/* ---- Time ---------------------------------------------------------------------------------- */

static int64_t now_us(gavel__loop *loop)
{
    (void)loop;
    return gavel__alarm_now_us();
}

static void wake_at(gavel__loop *loop, int64_t due_us)
{
    gavel__alarm_set(&((loop_ev *)loop)->alarm, due_us);
}

static void wake(gavel__loop *loop)
{
    gavel__alarm_wake(&((loop_ev *)loop)->alarm);
}

/* The loop is awake, and that is all that was wanted: on_turn follows. */
static void on_timer(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    gavel__alarm_drain(io->fd);
    gavel__alarm_on_timer(&((loop_ev *)io->data)->alarm);
}

static void on_waker(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    gavel__alarm_drain(io->fd);
    gavel__alarm_on_waker(&((loop_ev *)io->data)->alarm);
}

/* ---- Turns --------------------------------------------------------------------------------- */

/* libev does not sleep while an idle watcher is there. It counts in any loop: there is more to do.
 */
static void set_awake(loop_ev *self, bool is_awake)
{
    if (is_awake)
        ev_idle_start(self->loop, &self->idle);
    else
        ev_idle_stop(self->loop, &self->idle);
}

/* Only its being there matters. */
static void on_idle(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop;
    (void)idle;
    (void)events;
}

static void on_prepare(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    loop_ev *self = prepare->data;
    (void)loop;
    (void)events;
    set_awake(self, false);
    /* If it is false the owner may have destroyed us. */
    if (self->owner.on_turn(self->owner.owner))
        set_awake(self, true);
}

static void on_check(struct ev_loop *loop, ev_check *check, int events)
{
    loop_ev *self = check->data;
    (void)loop;
    (void)events;
    self->owner.on_turn(self->owner.owner); /* it may have destroyed us */
}

static void unlock(struct ev_loop *loop)
{
    loop_ev *self = ev_userdata(loop);
    self->owner.unlock(self->owner.owner);
}

static void lock(struct ev_loop *loop)
{
    loop_ev *self = ev_userdata(loop);
    self->owner.lock(self->owner.owner);
}

static void turn(gavel__loop *loop)
{
    loop_ev *self = (loop_ev *)loop;
    ev_run(self->loop, EVRUN_ONCE);
}

/* ---- Watching ------------------------------------------------------------------------------ */

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
    gavel__watch *watch = ((watched_ev *)io->data)->watch;
    (void)loop;
    /* libev tells of errors and hang-ups as both, but only if both were wanted. */
    watch->on_ready(watch, (events & EV_READ) != 0, (events & EV_WRITE) != 0);
}

static watched_ev *begin_watching(loop_ev *self, gavel__watch *watch)
{
    watched_ev *watched = gavel__alloc(self->allocator, 1, sizeof(*watched));
    if (watched == NULL)
        return NULL;
    watched->watch = watch;
    watched->self = self;
    ev_io_init(&watched->io, on_io, watch->fd, EV_NONE);
    watched->io.data = watched;
    gavel__list_append(&self->watched, &watched->node);
    watch->backend = watched;
    return watched;
}

static bool watch_fd(gavel__loop *loop, gavel__watch *watch)
{
    loop_ev *self = (loop_ev *)loop;
    watched_ev *watched = watch->backend;
    int events = (watch->wants_read ? EV_READ : 0) | (watch->wants_write ? EV_WRITE : 0);
    if (watched == NULL)
        watched = begin_watching(self, watch);
    if (watched == NULL)
        return false;
    if (ev_is_active(&watched->io) && watched->io.events == events && watched->io.fd == watch->fd)
        return true;
    stop_io(self, &watched->io);
    ev_io_set(&watched->io, watch->fd, events);
    if (events != 0)
        start_io(self, &watched->io);
    return true;
}

static void end_watching(watched_ev *watched)
{
    stop_io(watched->self, &watched->io);
    gavel__list_remove(&watched->node);
    watched->watch->backend = NULL;
    gavel__free(watched->self->allocator, watched);
}

static void unwatch(gavel__loop *loop, gavel__watch *watch)
{
    (void)loop;
    if (watch->backend != NULL)
        end_watching(watch->backend);
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Takes a loop that was only half built. */
static void destroy(gavel__loop *loop)
{
    loop_ev *self = (loop_ev *)loop;
    gavel__list *node;
    while ((node = gavel__list_pop(&self->watched)) != NULL)
        end_watching(GAVEL__CONTAINER(node, watched_ev, node));
    set_busy(loop, false);
    if (self->loop != NULL) {
        set_awake(self, false);
        stop_io(self, &self->timer);
        stop_io(self, &self->waker);
        if (ev_is_active(&self->prepare)) {
            before_stop(self);
            ev_prepare_stop(self->loop, &self->prepare);
        }
        if (ev_is_active(&self->check)) {
            before_stop(self);
            ev_check_stop(self->loop, &self->check);
        }
    }
    gavel__alarm_finish(&self->alarm);
    if (self->is_own && self->loop != NULL)
        ev_loop_destroy(self->loop);
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
    .destroy = destroy,
};

static loop_ev *allocate(const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    loop_ev *self = gavel__alloc(allocator, 1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->base.ops = &ops;
    self->owner = *owner;
    self->allocator = allocator;
    gavel__list_init(&self->watched);
    self->has_alarm = gavel__alarm_init(&self->alarm);
    ev_prepare_init(&self->prepare, on_prepare);
    ev_check_init(&self->check, on_check);
    ev_idle_init(&self->idle, on_idle);
    ev_io_init(&self->timer, on_timer, self->alarm.timer_fd, EV_READ);
    ev_io_init(&self->waker, on_waker, self->alarm.waker_fd, EV_READ);
    self->prepare.data = self;
    self->check.data = self;
    self->timer.data = self;
    self->waker.data = self;
    return self;
}

static void start(loop_ev *self)
{
    /* After all the program's own, which may still bring work. */
    ev_set_priority(&self->prepare, EV_MINPRI);
    ev_prepare_start(self->loop, &self->prepare);
    after_start(self);
    if (!self->is_own) {
        /* After the fds' own callbacks. */
        ev_set_priority(&self->check, EV_MINPRI);
        ev_check_start(self->loop, &self->check);
        after_start(self);
    }
    start_io(self, &self->timer);
    start_io(self, &self->waker);
    if (self->owner.unlock != NULL && self->is_own) {
        ev_set_userdata(self->loop, self);
        ev_set_loop_release_cb(self->loop, unlock, lock);
    }
}

gavel__loop *gavel__loop_create_ev(
    struct ev_loop *program_loop, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    loop_ev *self = allocate(owner, allocator);
    if (self == NULL)
        return NULL;
    self->is_own = program_loop == NULL;
    if (self->has_alarm)
        self->loop = self->is_own ? ev_loop_new(EVFLAG_AUTO | EVFLAG_NOSIGMASK) : program_loop;
    if (self->loop == NULL) {
        destroy(&self->base);
        return NULL;
    }
    start(self);
    return &self->base;
}
