/*
 * Sentinels: watching, and failing over. See sim_sentinel.h.
 */
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define SENTINEL_PORT 26379

#define TICK_MIN_US (80 * SIM_MILLISECOND)
#define TICK_MAX_US (120 * SIM_MILLISECOND)
#define PING_US SIM_SECOND

/* A primary that says for so long, and its down-after, that it is none, is taken to be down. */
#define NO_PRIMARY_US (20 * SIM_SECOND)

/* A tick that comes so late lets a Sentinel distrust what it sees, for so long. */
#define TILT_TRIGGER_US (2 * SIM_SECOND)
#define TILT_US (30 * SIM_SECOND)

/* Between two messages by which Sentinels tell each other of their configuration. */
#define HELLO_US (2 * SIM_SECOND)

static void tick(sim_world *world, void *subject);

/* ---- Who sees whom ------------------------------------------------------------------------- */

bool sim__is_sentinel(const sim__server *server)
{
    return server->sentinel != NULL;
}

static bool is_running(const sim__server *server)
{
    return !sim__is_down(server) && !sim__is_silent(server);
}

bool sim__reaches(const sim__server *from, const sim__server *to)
{
    return is_running(to) &&
           sim__parted_until(from->world, SIM_MACHINE(from->number), SIM_MACHINE(to->number)) == 0;
}

const sim__server *sim__named(const sim__sentinel *sentinel)
{
    return sentinel->failover == SIM__RECONFIGURING ? sentinel->promoted : sentinel->primary;
}

static int64_t draw_ms(sim_world *world, int64_t low_ms, int64_t high_ms)
{
    return sim__between(&world->topology, low_ms * SIM_MILLISECOND, high_ms * SIM_MILLISECOND);
}

/* ---- Looking ------------------------------------------------------------------------------- */

static void look_at(sim__server *self, const sim__server *server)
{
    sim_world *world = self->world;
    sim__view *view = &self->sentinel->views[server->number];
    int64_t down_after_us = world->service->down_after_us;
    int64_t period_us = down_after_us < PING_US ? down_after_us : PING_US;
    bool is_due = world->now_us >= view->pinged_us + period_us || sim__is_down(server);
    if (view->owed_us == 0 && is_due) {
        view->owed_us = world->now_us;
        view->pinged_us = world->now_us;
    }
    if (view->owed_us != 0 && sim__reaches(self, server)) {
        view->owed_us = 0;
        view->answered_us = world->now_us;
    }
    if (server->primary == NULL || server != self->sentinel->primary)
        view->replica_us = 0;
    else if (view->replica_us == 0 && view->owed_us == 0)
        view->replica_us = world->now_us;
    view->is_down =
        (view->owed_us != 0 && world->now_us - view->owed_us > down_after_us) ||
        (view->replica_us != 0 && world->now_us - view->replica_us > down_after_us + NO_PRIMARY_US);
}

/* How many Sentinels that can be reached, and it itself; with `who_agree`, only those who take the
 * primary to be down. */
static size_t n_peers(const sim__server *self, bool who_agree)
{
    size_t n = 0;
    for (size_t i = 0; i < self->world->n_servers; i++) {
        const sim__server *other = self->world->servers[i];
        if (!sim__is_sentinel(other) || (other != self && !sim__reaches(self, other)))
            continue;
        n += !who_agree || (other->sentinel->primary == self->sentinel->primary &&
                               other->sentinel->views[self->sentinel->primary->number].is_down);
    }
    return n;
}

size_t sim__n_who_agree(const sim__server *self)
{
    return n_peers(self, true);
}

size_t sim_n_sentinels(const sim_world *world)
{
    size_t n = 0;
    for (size_t i = 0; i < world->n_servers; i++)
        n += sim__is_sentinel(world->servers[i]);
    return n;
}

/* ---- Hearing of what others have done ------------------------------------------------------ */

/* They talk by way of the servers that they watch. */
static bool hears(const sim__server *self, const sim__server *other)
{
    if (!is_running(other))
        return false;
    for (size_t i = 0; i < self->world->n_servers; i++) {
        const sim__server *server = self->world->servers[i];
        if (!sim__is_sentinel(server) && sim__reaches(self, server) && sim__reaches(other, server))
            return true;
    }
    return false;
}

/* An event of the service, as Sentinels name those whom it is about. */
static void tell(sim__server *self, const char *event, const sim__server *replica)
{
    const sim__server *primary = self->sentinel->primary;
    const char *name = self->world->service->name;
    char message[200];
    if (replica == NULL)
        gavel__format(
            message, sizeof message, "master %s %s %d", name, primary->host, primary->port);
    else
        gavel__format(message, sizeof message, "slave %s:%d %s %d @ %s %s %d", replica->host,
            replica->port, replica->host, replica->port, name, primary->host, primary->port);
    sim__publish(self, event, message);
}

static void switch_to(sim__server *self, sim__server *primary)
{
    sim__sentinel *sentinel = self->sentinel;
    const sim__server *old = sentinel->primary;
    sentinel->failover = SIM__STEADY;
    sentinel->promoted = NULL;
    if (primary == old)
        return;
    sentinel->primary = primary;
    memset(sentinel->views, 0, sizeof sentinel->views);
    char message[160];
    gavel__format(message, sizeof message, "%s %s %d %s %d", self->world->service->name, old->host,
        old->port, primary->host, primary->port);
    sim__publish(self, "+switch-master", message);
}

static void hear(sim__server *self)
{
    sim_world *world = self->world;
    sim__sentinel *sentinel = self->sentinel;
    const sim__sentinel *best = NULL;
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__server *other = world->servers[i];
        if (other == self || !sim__is_sentinel(other) || !hears(self, other))
            continue;
        if (other->sentinel->last_epoch > sentinel->last_epoch)
            sentinel->last_epoch = other->sentinel->last_epoch;
        if (other->sentinel->epoch > sentinel->epoch &&
            (best == NULL || other->sentinel->epoch > best->epoch))
            best = other->sentinel;
    }
    if (best == NULL) {
        sentinel->hello_us = 0;
    } else if (sentinel->hello_us == 0) {
        sentinel->hello_us = world->now_us + sim__between(&world->topology, 1, HELLO_US);
    } else if (world->now_us >= sentinel->hello_us) {
        sentinel->hello_us = 0;
        sentinel->epoch = best->epoch;
        switch_to(self, world->servers[sim__named(best)->number]);
    }
}

static void hear_now(sim_world *world, void *subject)
{
    (void)world;
    if (is_running(subject))
        hear(subject);
}

/* Whoever leads a failover does not wait for the next message. */
static void tell_others(const sim__server *self)
{
    sim_world *world = self->world;
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *other = world->servers[i];
        if (other == self || !sim__is_sentinel(other) || !is_running(other) || !hears(other, self))
            continue;
        other->sentinel->hello_us = world->now_us + draw_ms(world, 10, 110);
        sim__schedule(world, other->sentinel->hello_us, hear_now, other);
    }
}

/* ---- Failing over -------------------------------------------------------------------------- */

static bool is_candidate(const sim__server *self, const sim__server *server)
{
    return !sim__is_sentinel(server) && server != self->sentinel->primary &&
           sim__reaches(self, server) && !self->sentinel->views[server->number].is_down &&
           server->replication->priority != 0;
}

/* As its INFO has it. One that is still a primary, since nobody has told it yet, has none. */
static int64_t replica_offset(const sim__server *server)
{
    return server->primary != NULL ? server->replication->offset : 0;
}

static bool is_better(const sim__server *a, const sim__server *b)
{
    const sim__replication *left = a->replication;
    const sim__replication *right = b->replication;
    if (left->priority != right->priority)
        return left->priority < right->priority;
    if (replica_offset(a) != replica_offset(b))
        return replica_offset(a) > replica_offset(b);
    return strcmp(left->run_id, right->run_id) < 0;
}

static sim__server *select_replica(const sim__server *self)
{
    sim__server *best = NULL;
    for (size_t i = 0; i < self->world->n_servers; i++) {
        sim__server *server = self->world->servers[i];
        if (is_candidate(self, server) && (best == NULL || is_better(server, best)))
            best = server;
    }
    return best;
}

static void start(sim__server *self, bool is_forced)
{
    sim_world *world = self->world;
    sim__sentinel *sentinel = self->sentinel;
    sentinel->failover = SIM__SELECTING;
    sentinel->failover_epoch = ++sentinel->last_epoch;
    sentinel->is_forced = is_forced;
    sentinel->promoted = NULL;
    sentinel->step_us =
        world->now_us + (is_forced ? draw_ms(world, 30, 80) : draw_ms(world, 120, 230));
}

/* From those who are to vote. */
static void learn_epochs(sim__server *self)
{
    for (size_t i = 0; i < self->world->n_servers; i++) {
        const sim__server *other = self->world->servers[i];
        if (sim__is_sentinel(other) && sim__reaches(self, other) &&
            other->sentinel->last_epoch > self->sentinel->last_epoch)
            self->sentinel->last_epoch = other->sentinel->last_epoch;
    }
}

/* Those who have granted a failover do not begin one themselves for a while. */
static void take_votes(sim__server *self)
{
    sim_world *world = self->world;
    int64_t until_us = world->now_us + 2 * world->service->failover_timeout_us;
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *other = world->servers[i];
        if (!sim__is_sentinel(other) || (other != self && !sim__reaches(self, other)))
            continue;
        other->sentinel->may_start_us = until_us + draw_ms(world, 0, 1000);
        other->sentinel->last_epoch = self->sentinel->last_epoch;
    }
}

static void start_if_needed(sim__server *self)
{
    const sim_world *world = self->world;
    const sim__sentinel *sentinel = self->sentinel;
    size_t n_votes = n_peers(self, false);
    if (sentinel->failover != SIM__STEADY || !sentinel->views[sentinel->primary->number].is_down ||
        world->now_us < sentinel->may_start_us || n_peers(self, true) < world->service->quorum ||
        n_votes < world->service->quorum || n_votes <= sim_n_sentinels(world) / 2)
        return;
    learn_epochs(self);
    start(self, false);
    tell(self, "+try-failover", NULL);
    take_votes(self);
}

static void give_up(sim__sentinel *sentinel)
{
    sentinel->failover = SIM__STEADY;
    sentinel->promoted = NULL;
}

static void reconfigure_replicas(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    for (size_t i = 0; i < self->world->n_servers; i++) {
        sim__server *server = self->world->servers[i];
        if (sim__is_sentinel(server) || server == sentinel->promoted ||
            server == sentinel->primary || server->primary == NULL || !sim__reaches(self, server))
            continue;
        sim__follow(server, sentinel->promoted);
        sim__kill_clients(server);
    }
}

static bool has_other_replicas(const sim__server *self)
{
    for (size_t i = 0; i < self->world->n_servers; i++) {
        const sim__server *server = self->world->servers[i];
        if (!sim__is_sentinel(server) && server != self->sentinel->promoted &&
            server != self->sentinel->primary && sim__reaches(self, server))
            return true;
    }
    return false;
}

static void select_one(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    sentinel->promoted = select_replica(self);
    if (sentinel->promoted == NULL) {
        give_up(sentinel);
        return;
    }
    tell(self, "+selected-slave", sentinel->promoted);
    sentinel->failover = SIM__PROMOTING;
    sentinel->step_us = self->world->now_us + draw_ms(self->world, 70, 110);
}

static void promote(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    if (!sim__reaches(self, sentinel->promoted)) {
        give_up(sentinel);
        return;
    }
    self->world->counters.n_failovers++;
    sim__lead(sentinel->promoted);
    sim__kill_clients(sentinel->promoted);
    sentinel->failover = SIM__WAITING;
    sentinel->step_us = self->world->now_us + draw_ms(self->world, 700, 1000);
}

/* Of the promoted one: it is a primary now. */
static void take_info(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    if (!sim__reaches(self, sentinel->promoted)) {
        if (self->world->now_us > sentinel->step_us + self->world->service->failover_timeout_us)
            give_up(sentinel);
        return;
    }
    sentinel->epoch = sentinel->failover_epoch;
    sentinel->failover = SIM__RECONFIGURING;
    sentinel->step_us = self->world->now_us;
    if (has_other_replicas(self))
        sentinel->step_us += draw_ms(self->world, 850, 1100);
    tell(self, "+promoted-slave", sentinel->promoted);
    tell_others(self);
    reconfigure_replicas(self);
}

static void go_on(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    if (self->world->now_us < sentinel->step_us)
        return;
    switch (sentinel->failover) {
    case SIM__STEADY:
        break;
    case SIM__SELECTING:
        select_one(self);
        break;
    case SIM__PROMOTING:
        promote(self);
        break;
    case SIM__WAITING:
        take_info(self);
        break;
    case SIM__RECONFIGURING:
        switch_to(self, sentinel->promoted);
        break;
    }
}

static void take_step(sim_world *world, void *subject)
{
    const sim__server *self = subject;
    if (is_running(self) && world->now_us >= self->sentinel->tilt_until_us)
        go_on(subject);
}

const char *sim__force_failover(sim__server *self)
{
    if (self->sentinel->failover != SIM__STEADY)
        return "INPROG Failover already in progress";
    if (select_replica(self) == NULL)
        return "NOGOODSLAVE No suitable replica to promote";
    start(self, true);
    tell(self, "+try-failover", NULL);
    return NULL;
}

/* ---- Strays -------------------------------------------------------------------------------- */

/* A server that is no primary any more for this Sentinel, but thinks otherwise, or that follows the
 * wrong one. */
static void mind_stray(sim__server *self, sim__server *server)
{
    sim_world *world = self->world;
    sim__sentinel *sentinel = self->sentinel;
    sim__view *view = &sentinel->views[server->number];
    const sim__server *primary = sim__named(sentinel);
    bool is_right = server == primary || server == sentinel->promoted || server->primary == primary;
    if (is_right || !sim__reaches(self, server)) {
        view->stray_us = 0;
        return;
    }
    if (view->stray_us == 0)
        view->stray_us = world->now_us;
    int64_t patience_us =
        server->primary == NULL ? sentinel->patience_us : world->service->failover_timeout_us;
    if (world->now_us - view->stray_us < patience_us || !sim__reaches(self, primary) ||
        primary->primary != NULL || sentinel->failover != SIM__STEADY)
        return;
    view->stray_us = 0;
    sim__follow(server, sentinel->primary);
    sim__kill_clients(server);
}

/* ---- Ticks --------------------------------------------------------------------------------- */

static void schedule_tick(sim__server *self, int64_t at_us)
{
    self->sentinel->is_ticking = true;
    sim__schedule(self->world, at_us, tick, self);
}

static void act(sim__server *self)
{
    sim_world *world = self->world;
    for (size_t i = 0; i < world->n_servers; i++) {
        if (!sim__is_sentinel(world->servers[i]))
            look_at(self, world->servers[i]);
    }
    for (size_t i = 0; i < world->n_servers; i++) {
        if (!sim__is_sentinel(world->servers[i]))
            mind_stray(self, world->servers[i]);
    }
    start_if_needed(self);
    go_on(self);
}

static void tick(sim_world *world, void *subject)
{
    sim__server *self = subject;
    sim__sentinel *sentinel = self->sentinel;
    sentinel->is_ticking = false;
    if (sim__is_down(self))
        return;
    if (sim__is_silent(self)) {
        schedule_tick(self, self->silent_until_us);
        return;
    }
    if (sentinel->ticked_us != 0 && world->now_us - sentinel->ticked_us > TILT_TRIGGER_US) {
        sentinel->tilt_until_us = world->now_us + TILT_US;
        sentinel->hello_us = 0;
    }
    sentinel->ticked_us = world->now_us;
    hear(self);
    if (world->now_us >= sentinel->tilt_until_us)
        act(self);
    int64_t next_us = world->now_us + sim__between(&world->topology, TICK_MIN_US, TICK_MAX_US);
    if (sentinel->failover != SIM__STEADY && sentinel->step_us > world->now_us &&
        sentinel->step_us < next_us)
        sim__schedule(world, sentinel->step_us, take_step, self);
    schedule_tick(self, next_us);
}

/* ---- Creating ------------------------------------------------------------------------------ */

static void forget_views(sim__server *self)
{
    sim__sentinel *sentinel = self->sentinel;
    memset(sentinel->views, 0, sizeof sentinel->views);
    give_up(sentinel);
    sentinel->ticked_us = 0;
    sentinel->tilt_until_us = 0;
    sentinel->hello_us = 0;
    sentinel->may_start_us = 0;
    sentinel->patience_us = draw_ms(self->world, 9800, 10100);
}

void sim__sentinel_die(sim__server *server, bool keeps_config)
{
    sim__sentinel *sentinel = server->sentinel;
    if (sentinel->failover == SIM__RECONFIGURING)
        sentinel->primary = sentinel->promoted; /* So it is in its file, with the epoch. */
    forget_views(server);
    if (keeps_config)
        return;
    sentinel->primary = server->world->servers[0];
    sentinel->epoch = 0;
    sentinel->last_epoch = 0;
}

void sim__sentinel_rise(sim__server *server)
{
    if (!server->sentinel->is_ticking)
        schedule_tick(server, server->world->now_us);
}

static void add_sentinel(sim_world *world)
{
    sim__server *server = sim__server_create(world);
    server->port = SENTINEL_PORT;
    server->sentinel = sim__alloc(1, sizeof *server->sentinel);
    sim__draw_id(world, server->sentinel->id);
    server->sentinel->primary = world->servers[0];
    forget_views(server);
    schedule_tick(server, world->now_us + sim__between(&world->topology, 0, TICK_MAX_US));
}

size_t sim_add_sentinels(sim_world *world, const sim_service *service)
{
    static const sim_service none = {0};
    const sim_service *wanted = service != NULL ? service : &none;
    if (world->service != NULL)
        sim__fail(world, "a world has one service");
    sim__service *own = sim__alloc(1, sizeof *own);
    world->service = own;
    gavel__format(
        own->name, sizeof own->name, "%s", wanted->name != NULL ? wanted->name : "mymaster");
    size_t n = wanted->n_sentinels != 0 ? wanted->n_sentinels : 3;
    own->quorum = wanted->quorum != 0 ? wanted->quorum : n / 2 + 1;
    own->down_after_us =
        SIM_MILLISECOND * (wanted->down_after_ms != 0 ? wanted->down_after_ms : 1000);
    own->failover_timeout_us =
        SIM_MILLISECOND * (wanted->failover_timeout_ms != 0 ? wanted->failover_timeout_ms : 10000);
    size_t n_replicas = wanted->n_replicas != 0 ? wanted->n_replicas : 2;
    while (n_replicas-- > 0)
        sim_add_replica(world, 0);
    size_t first = world->n_servers;
    while (n-- > 0)
        add_sentinel(world);
    return first;
}

void sim__sentinels_destroy(sim_world *world)
{
    for (size_t i = 0; i < world->n_servers; i++)
        free(world->servers[i]->sentinel);
    free(world->service);
}

/* ---- For tests ----------------------------------------------------------------------------- */

static const sim__sentinel *best_informed(const sim_world *world)
{
    const sim__sentinel *best = NULL;
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__sentinel *sentinel = world->servers[i]->sentinel;
        if (sentinel != NULL && (best == NULL || sentinel->epoch > best->epoch))
            best = sentinel;
    }
    return best;
}

size_t sim_primary(const sim_world *world)
{
    const sim__sentinel *best = best_informed(world);
    return best != NULL ? sim__named(best)->number : 0;
}

uint64_t sim_epoch(const sim_world *world)
{
    const sim__sentinel *best = best_informed(world);
    return best != NULL ? best->epoch : 0;
}
