/*
 * Loops over the world. All attached clients share one loop, as in a program with one libev loop;
 * each blocking client has one of its own, whose turn runs the world while it sleeps. For the
 * clients under test, through loop/loop.h.
 */
#include "sim_internal.h"

#include "client/client.h"
#include "core/check.h"

/* How long a blocking client may sleep before the run is declared stuck. */
#define STUCK_AFTER_US (3600 * SIM_SECOND)

typedef struct sim_loop {
    gavel__loop base;
    gavel__list node; /* among the world's loops */
    sim_world *world;
    const sim__process *process;
    const gavel_allocator *allocator;
    gavel__loop_owner owner;
    gavel__list watched; /* of sim_watch */
    int64_t due_us;
    bool is_blocking;
    bool is_woken;
    bool is_busy;
    bool is_served; /* inside its watches' callbacks */
    uint64_t phase; /* the last one of the shared loop that it has taken part in */
} sim_loop;

/* What stands behind a gavel__watch. */
typedef struct sim_watch {
    gavel__list node;
    gavel__watch *watch;
    sim__connection *connection;
    bool is_pending; /* to be looked at in this turn */
} sim_watch;

static sim_loop *of(gavel__loop *base)
{
    return (sim_loop *)base;
}

static int64_t now_us(gavel__loop *base)
{
    return of(base)->world->now_us;
}

static bool watch(gavel__loop *base, gavel__watch *watch)
{
    sim_loop *loop = of(base);
    sim_watch *kept = watch->backend;
    if (kept != NULL && kept->connection == sim__connection_by_fd(loop->world, watch->fd))
        return true; /* The wants are read from the watch itself. */
    if (kept != NULL)
        sim__fail(loop->world, "the fd of a watch was changed while it was watched");
    kept = gavel__alloc(loop->allocator, 1, sizeof *kept);
    if (kept == NULL)
        return false;
    kept->watch = watch;
    kept->connection = sim__connection_by_fd(loop->world, watch->fd);
    if (kept->connection == NULL)
        sim__fail(loop->world, "an fd is watched that is no transport's");
    gavel__list_append(&loop->watched, &kept->node);
    watch->backend = kept;
    return true;
}

static void unwatch(gavel__loop *base, gavel__watch *watch)
{
    sim_watch *kept = watch->backend;
    if (kept == NULL)
        return;
    watch->backend = NULL;
    gavel__list_remove(&kept->node);
    gavel__free(of(base)->allocator, kept);
}

static void wake_at(gavel__loop *base, int64_t due_us)
{
    of(base)->due_us = due_us;
}

static void wake(gavel__loop *base)
{
    of(base)->is_woken = true;
    if (!of(base)->is_blocking)
        of(base)->world->is_awake = true;
}

static void set_busy(gavel__loop *base, bool is_busy)
{
    of(base)->is_busy = is_busy;
}

static bool is_readable(const sim_watch *kept)
{
    return kept->watch->wants_read && sim__connection_is_readable(kept->connection);
}

static bool is_writable(const sim_watch *kept)
{
    return kept->watch->wants_write && sim__connection_is_writable(kept->connection);
}

static bool is_ready(const sim_loop *loop)
{
    if (loop->process->is_stopped)
        return false;
    if (loop->is_woken || loop->due_us <= loop->world->now_us)
        return true;
    for (gavel__list *node = loop->watched.next; node != &loop->watched; node = node->next) {
        const sim_watch *kept = GAVEL__CONTAINER(node, sim_watch, node);
        if (is_readable(kept) || is_writable(kept))
            return true;
    }
    return false;
}

/* Marks what is ready, so that each is served once a turn. */
static void mark_pending(sim_loop *loop)
{
    for (gavel__list *node = loop->watched.next; node != &loop->watched; node = node->next) {
        sim_watch *kept = GAVEL__CONTAINER(node, sim_watch, node);
        kept->is_pending = is_readable(kept) || is_writable(kept);
    }
}

/* A random one, since the order in which a kernel tells of fds is nobody's to rely on. */
static sim_watch *take_pending(sim_loop *loop)
{
    size_t n_pending = 0;
    sim_watch *chosen = NULL;
    for (gavel__list *node = loop->watched.next; node != &loop->watched; node = node->next) {
        sim_watch *kept = GAVEL__CONTAINER(node, sim_watch, node);
        if (kept->is_pending && gavel__random_below(&loop->world->network, ++n_pending) == 0)
            chosen = kept;
    }
    if (chosen != NULL)
        chosen->is_pending = false;
    return chosen;
}

/* What its client says of itself, between two events, is true. */
static void check(const sim_loop *loop)
{
    const gavel_client *client = loop->owner.owner;
    gavel__engine_check(&client->engine);
}

/* The callbacks of one turn. */
static void serve(sim_loop *loop)
{
    loop->is_woken = false;
    if (loop->due_us <= loop->world->now_us)
        loop->due_us = GAVEL__NEVER;
    mark_pending(loop);
    for (sim_watch *kept = take_pending(loop); kept != NULL; kept = take_pending(loop)) {
        check(loop);
        kept->watch->on_ready(kept->watch, is_readable(kept), is_writable(kept));
    }
}

/* The next attached loop that has not had its part of this phase. A callback of one loop may create
 * and destroy others, so the search begins anew each time. */
static sim_loop *next_attached(sim_world *world, uint64_t phase)
{
    for (gavel__list *node = world->loops.next; node != &world->loops; node = node->next) {
        sim_loop *loop = GAVEL__CONTAINER(node, sim_loop, node);
        if (!loop->is_blocking && !loop->process->is_stopped && loop->phase < phase) {
            loop->phase = phase;
            return loop;
        }
    }
    return NULL;
}

void sim__loops_turn(sim_world *world)
{
    bool is_kept_awake = false;
    uint64_t phase = ++world->n_phases;
    for (sim_loop *loop; (loop = next_attached(world, phase)) != NULL;) {
        check(loop);
        is_kept_awake |= loop->owner.on_turn(loop->owner.owner); /* May have destroyed it. */
    }
    phase = ++world->n_phases;
    for (sim_loop *loop; (loop = next_attached(world, phase)) != NULL;) {
        if (!is_ready(loop))
            continue;
        loop->is_served = true;
        serve(loop);
        loop->is_served = false;
        is_kept_awake = true;
    }
    world->is_awake |= is_kept_awake;
}

bool sim__loops_are_ready(sim_world *world)
{
    for (gavel__list *node = world->loops.next; node != &world->loops; node = node->next) {
        const sim_loop *loop = GAVEL__CONTAINER(node, sim_loop, node);
        if (!loop->is_blocking && is_ready(loop))
            return true;
    }
    return false;
}

int64_t sim__loops_due_us(const sim_world *world)
{
    int64_t due_us = INT64_MAX;
    for (gavel__list *node = world->loops.next; node != &world->loops; node = node->next) {
        const sim_loop *loop = GAVEL__CONTAINER(node, sim_loop, node);
        if (loop->process->is_stopped || (world->is_turning && !loop->is_blocking))
            continue;
        if (loop->is_blocking && loop->due_us <= world->now_us)
            continue; /* its caller sleeps elsewhere, on a link: it is looked at when that is over
                       */
        if (loop->due_us < due_us)
            due_us = loop->due_us;
    }
    return due_us;
}

bool sim_is_busy(const sim_world *world)
{
    for (gavel__list *node = world->loops.next; node != &world->loops; node = node->next) {
        const sim_loop *loop = GAVEL__CONTAINER(node, sim_loop, node);
        if (loop->is_busy && !loop->process->is_crashed)
            return true;
    }
    return false;
}

static void sleep_until_ready(sim_loop *loop)
{
    int64_t end_us = loop->world->now_us + STUCK_AFTER_US;
    while (!is_ready(loop)) {
        if (loop->world->now_us >= end_us)
            sim__fail(loop->world, "a blocking client sleeps for ever");
        sim__step(loop->world, end_us);
    }
}

static void turn(gavel__loop *base)
{
    sim_loop *loop = of(base);
    bool is_kept_awake = loop->owner.on_turn(loop->owner.owner);
    if (loop->owner.unlock != NULL)
        loop->owner.unlock(loop->owner.owner);
    if (!is_kept_awake)
        sleep_until_ready(loop);
    if (loop->owner.lock != NULL)
        loop->owner.lock(loop->owner.owner);
    loop->is_served = true;
    serve(loop);
    loop->is_served = false;
}

static void destroy(gavel__loop *base)
{
    sim_loop *loop = of(base);
    if (loop->is_served)
        sim__fail(loop->world, "a loop is destroyed inside a watch's callback");
    while (!gavel__list_is_empty(&loop->watched))
        unwatch(base, GAVEL__CONTAINER(loop->watched.next, sim_watch, node)->watch);
    gavel__list_remove(&loop->node);
    gavel__free(loop->allocator, loop);
}

static const gavel__loop_ops ops = {
    .now_us = now_us,
    .watch = watch,
    .unwatch = unwatch,
    .wake_at = wake_at,
    .wake = wake,
    .set_busy = set_busy,
    .turn = turn,
    .destroy = destroy,
};

static gavel__loop *create(sim__process *process, const gavel__loop_owner *owner,
    const gavel_allocator *allocator, bool is_blocking)
{
    sim_loop *loop = gavel__alloc(allocator, 1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->base.ops = &ops;
    loop->world = process->world;
    loop->process = process;
    loop->allocator = allocator;
    loop->owner = *owner;
    loop->due_us = GAVEL__NEVER;
    loop->is_blocking = is_blocking;
    gavel__list_init(&loop->watched);
    gavel__list_append(&loop->world->loops, &loop->node);
    return &loop->base;
}

gavel__loop *sim__loop_create(
    void *process, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    return create(process, owner, allocator, false);
}

gavel__loop *sim__loop_create_blocking(
    void *process, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    return create(process, owner, allocator, true);
}
