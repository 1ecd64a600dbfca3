/*
 * What nodes of a cluster hear of each other: new owners of slots, who is down, and a replica that
 * takes its primary's place. See sim_cluster.h. Source: Redis 7.0, cluster.c, and what was measured
 * on it.
 *
 * They do not send messages, but look at each other ten times a second, and tell each other at
 * least twice in a node timeout which slots they have; of a slot that was taken, at once. Who
 * claims a slot with the higher epoch has it. A failover goes the way of the real ones:
 *
 *     nobody reaches the primary for a node timeout --most primaries agree--> it has failed
 *     --0.5 to 1 s--> a replica asks most primaries --> it is the primary, with all slots
 *
 * By CLUSTER FAILOVER: the primary makes writers wait, the replica has all that was written, and
 * takes over some milliseconds later.
 */
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include <string.h>

#define TICK_MIN_US (80 * SIM_MILLISECOND)
#define TICK_MAX_US (120 * SIM_MILLISECOND)

/* Between the end of a silence and the node's first look: what lay in its sockets is run before. */
#define LOOK_MIN_US (1 * SIM_MILLISECOND)
#define LOOK_MAX_US (3 * SIM_MILLISECOND)

/* A primary that was started does not write at once: it may have been replaced. */
#define STARTING_US (2 * SIM_SECOND)
#define REJOINING_MIN_US (500 * SIM_MILLISECOND)
#define REJOINING_MAX_US (5 * SIM_SECOND)

#define ELECTION_US (500 * SIM_MILLISECOND)
#define RANK_US SIM_SECOND
#define AGAIN_MIN_US (4 * SIM_SECOND)

#define MANUAL_US (5 * SIM_SECOND)
#define STEP_MAX_US (5 * SIM_MILLISECOND)

static void tick(sim_world *world, void *subject);
static void step_manual(sim_world *world, void *subject);

/* ---- Who is who ---------------------------------------------------------------------------- */

sim__server *sim__leader_of(const sim__server *server)
{
    const sim_world *world = server->world;
    sim__server *found = NULL;
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *other = world->servers[i];
        if (other->primary == NULL && other->node->shard == server->node->shard &&
            (found == NULL || other->node->epoch > found->node->epoch))
            found = other;
    }
    return found;
}

static bool owns_slots(const sim__node *node, size_t server)
{
    return memchr(node->owners, (int)server, sizeof node->owners) != NULL;
}

/* The primaries that vote, as the node knows. */
static sim_machines voters_of(const sim__server *server)
{
    sim_machines voters = 0;
    for (size_t i = 0; i < server->world->n_servers; i++) {
        if (owns_slots(server->node, i))
            voters |= SIM_MACHINE(i);
    }
    return voters;
}

static size_t size_of(sim_machines set)
{
    size_t n = 0;
    for (; set != 0; set &= set - 1)
        n++;
    return n;
}

static bool is_missed(const sim__server *server, size_t other)
{
    const sim__node *node = server->node;
    int64_t timeout_us = server->world->cluster->node_timeout_us;
    return other != server->number &&
           (node->failed_us[other] != 0 ||
               server->world->now_us - node->answered_us[other] > timeout_us);
}

/* ---- Slots --------------------------------------------------------------------------------- */

static void follow(sim__server *server, sim__server *primary)
{
    server->node->shard = primary->node->shard;
    sim__follow(server, primary);
    sim__pause(server, 0);
}

/* Whether the other one claims anything that this one does not know of. */
static bool has_news(const sim__node *node, const sim__server *from)
{
    const sim__node *told = from->node;
    unsigned n = 0;
    for (unsigned slot = 0; slot < SIM_N_SLOTS; slot++)
        n += told->owners[slot] == from->number && told->since[slot] > node->since[slot];
    return n > 0;
}

/* What the other one claims with a higher epoch is the other's. */
void sim__hear(sim__server *server, sim__server *from)
{
    sim__node *node = server->node;
    const sim__node *told = from->node;
    size_t mine = server->primary != NULL ? server->primary->number : server->number;
    bool has_lost = false;
    bool was_handed = false;
    if (from->primary != NULL || !has_news(node, from))
        return;
    for (unsigned slot = 0; slot < SIM_N_SLOTS; slot++) {
        uint8_t owner = node->owners[slot];
        if (told->owners[slot] != from->number || told->since[slot] <= node->since[slot])
            continue;
        node->since[slot] = told->since[slot];
        if (owner == from->number)
            continue;
        node->owners[slot] = (uint8_t)from->number;
        sim__open_slot *open = sim__open_slot_of(server, slot);
        if (open != NULL && open->is_importing)
            open->other = from;
        else
            sim__set_open(server, slot, false, NULL);
        has_lost |= owner == mine;
        was_handed |= slot == node->handed_slot;
        if (owner == server->number)
            sim__drop_slot(server, slot);
    }
    if (has_lost && !owns_slots(node, mine) && server != from)
        follow(server, from);
    else if (was_handed)
        sim__pause(server, 0);
}

void sim__hear_word(sim_world *world, void *subject)
{
    const sim__word *word = subject;
    (void)world;
    if (sim__reaches(word->from, word->to) && sim__reaches(word->to, word->from))
        sim__hear(word->to, word->from);
}

void sim__announce(sim__server *server, int64_t min_us, int64_t max_us)
{
    sim_world *world = server->world;
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *other = world->servers[i];
        if (other == server || other->node == NULL)
            continue;
        int64_t at_us = world->now_us + sim__between(&world->topology, min_us, max_us);
        sim__schedule(world, at_us, sim__hear_word, &other->node->words[server->number]);
    }
}

/* ---- Pauses -------------------------------------------------------------------------------- */

static void end_pause(sim_world *world, void *subject)
{
    sim__server *server = subject;
    if (world->now_us >= server->node->paused_until_us)
        sim__network_resume(server);
}

void sim__pause(sim__server *server, int64_t until_us)
{
    sim__node *node = server->node;
    bool was_paused = node->paused_until_us > server->world->now_us;
    node->paused_until_us = until_us;
    node->handed_slot = SIM_N_SLOTS;
    if (was_paused || until_us > server->world->now_us)
        sim__schedule(server->world, until_us, end_pause, server);
}

bool sim__is_postponed(const sim__session *session, const sim__args *command)
{
    const sim__server *server = session->server;
    const sim__command *found = sim__command_find(command->args[0]);
    return server->node != NULL && server->world->now_us < server->node->paused_until_us &&
           found != NULL && sim__is_write(found, session);
}

/* ---- Failovers ----------------------------------------------------------------------------- */

/* Who votes for the replica tells it who has taken which slots meanwhile. */
static void learn_from(sim__server *replica, const sim__server *voter)
{
    sim__node *node = replica->node;
    for (size_t slot = 0; slot < SIM_N_SLOTS; slot++) {
        if (voter->node->since[slot] <= node->since[slot])
            continue;
        node->owners[slot] = voter->node->owners[slot];
        node->since[slot] = voter->node->since[slot];
    }
}

static bool is_elected(sim__server *replica, bool is_agreed)
{
    sim_world *world = replica->world;
    sim_machines voters = voters_of(replica);
    size_t n_votes = 0;
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__server *voter = world->servers[i];
        bool is_heard = (voters & SIM_MACHINE(i)) && sim__reaches(replica, voter);
        if (!is_heard || (!is_agreed && voter->node->failed_us[replica->primary->number] == 0))
            continue;
        learn_from(replica, voter);
        n_votes++;
    }
    return n_votes > size_of(voters) / 2;
}

/* Of slots that are moving, replicas know. (Those of Redis 7 do not, and lose keys that way.) */
static void take_open_slots(sim__server *server, const sim__server *old)
{
    for (size_t i = 0; i < old->node->n_open; i++) {
        const sim__open_slot *open = &old->node->open[i];
        sim__set_open(server, open->slot, open->is_importing, open->other);
        sim__open_slot_of(server, open->slot)->is_by_move = open->is_by_move;
    }
}

static void take_over(sim__server *server)
{
    sim_world *world = server->world;
    sim__node *node = server->node;
    sim__server *old = server->primary;
    node->epoch = ++world->cluster->epoch;
    for (size_t slot = 0; slot < SIM_N_SLOTS; slot++) {
        if (node->owners[slot] != old->number)
            continue;
        node->owners[slot] = (uint8_t)server->number;
        node->since[slot] = node->epoch;
    }
    take_open_slots(server, old);
    sim__lead(server);
    node->failover_us = 0;
    node->manual_us = 0;
    world->counters.n_failovers++;
    sim__announce(server, 100, LOOK_MAX_US);
}

static size_t rank_of(const sim__server *replica)
{
    size_t rank = 0;
    for (size_t i = 0; i < replica->world->n_servers; i++) {
        const sim__server *other = replica->world->servers[i];
        rank += other != replica && other->primary == replica->primary &&
                other->replication->offset > replica->replication->offset;
    }
    return rank;
}

/* One that has not followed since it was started has nothing to offer. */
static bool may_take_over(const sim__server *server)
{
    const sim__node *node = server->node;
    return server->primary != NULL && node->failed_us[server->primary->number] != 0 &&
           owns_slots(node, server->primary->number) &&
           (server->replication->is_linked || server->replication->unlinked_us >= node->started_us);
}

static void mind_primary(sim__server *server)
{
    sim_world *world = server->world;
    sim__node *node = server->node;
    if (server->primary != NULL && server->primary->primary != NULL &&
        server->primary->primary != server && sim__reaches(server, server->primary))
        follow(server, server->primary->primary);
    if (!may_take_over(server)) {
        node->failover_us = 0;
    } else if (node->failover_us == 0) {
        node->failover_us = world->now_us + ELECTION_US + (int64_t)rank_of(server) * RANK_US +
                            sim__between(&world->topology, 0, ELECTION_US);
    } else if (world->now_us >= node->failover_us) {
        if (is_elected(server, false))
            take_over(server);
        else
            node->failover_us = world->now_us + AGAIN_MIN_US;
    }
}

static void schedule_step(sim__server *replica)
{
    sim_world *world = replica->world;
    int64_t at_us = world->now_us + sim__between(&world->topology, LOOK_MIN_US, STEP_MAX_US);
    sim__schedule(world, at_us, step_manual, replica);
}

static void step_manual(sim_world *world, void *subject)
{
    sim__server *replica = subject;
    sim__node *node = replica->node;
    sim__server *primary = replica->primary;
    if (node->manual_us == 0)
        return;
    if (primary == NULL || sim__is_down(replica) || world->now_us >= node->manual_us) {
        node->manual_us = 0;
        return;
    }
    bool is_there = sim__reaches(replica, primary) && !sim__is_silent(replica);
    bool was_paused = is_there && primary->node->paused_until_us > world->now_us;
    if (is_there && !was_paused)
        sim__pause(primary, node->manual_us);
    else if (was_paused && replica->replication->is_linked &&
             replica->replication->offset == primary->replication->offset &&
             is_elected(replica, true))
        take_over(replica);
    schedule_step(replica);
}

void sim__fail_over(sim__server *replica)
{
    replica->node->manual_us = replica->world->now_us + MANUAL_US;
    schedule_step(replica);
}

/* ---- Who is down --------------------------------------------------------------------------- */

static bool is_agreed_down(const sim__server *server, size_t other)
{
    sim_machines voters = voters_of(server);
    size_t n = 0;
    for (size_t i = 0; i < server->world->n_servers; i++) {
        const sim__server *voter = server->world->servers[i];
        bool is_heard = voter == server || sim__reaches(server, voter);
        n += (voters & SIM_MACHINE(i)) != 0 && is_heard && is_missed(voter, other);
    }
    return n > size_of(voters) / 2;
}

/* All that can be reached take the word of one. */
static void tell_of_failure(sim__server *server, size_t other)
{
    sim_world *world = server->world;
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *told = world->servers[i];
        bool is_told = told == server || sim__reaches(server, told);
        if (told->node != NULL && is_told && i != other && told->node->failed_us[other] == 0)
            told->node->failed_us[other] = world->now_us;
    }
}

static void look_at(sim__server *server, sim__server *other)
{
    sim_world *world = server->world;
    sim__node *node = server->node;
    size_t i = other->number;
    int64_t timeout_us = world->cluster->node_timeout_us;
    if (!sim__reaches(server, other)) {
        if (node->failed_us[i] == 0 && is_missed(server, i) && is_agreed_down(server, i))
            tell_of_failure(server, i);
        return;
    }
    node->answered_us[i] = world->now_us;
    if (!owns_slots(node, i) || world->now_us - node->failed_us[i] > 2 * timeout_us)
        node->failed_us[i] = 0;
    if (world->now_us - node->told_us[i] < timeout_us / 2)
        return;
    node->told_us[i] = world->now_us;
    other->node->told_us[server->number] = world->now_us;
    sim__hear(other, server);
    sim__hear(server, other);
}

/* ---- Whether the cluster is -----------------------------------------------------------------*/

static bool are_slots_served(const sim__node *node, sim_machines voters)
{
    for (size_t i = 0; i < SIM_MAX_SERVERS; i++) {
        if ((voters & SIM_MACHINE(i)) && node->failed_us[i] != 0)
            return false;
    }
    return memchr(node->owners, SIM__NOBODY, sizeof node->owners) == NULL;
}

static int64_t rejoining_us(const sim_world *world)
{
    int64_t us = world->cluster->node_timeout_us;
    us = us < REJOINING_MIN_US ? REJOINING_MIN_US : us;
    return us > REJOINING_MAX_US ? REJOINING_MAX_US : us;
}

static bool has_to_wait(const sim__server *server)
{
    const sim__node *node = server->node;
    int64_t now_us = server->world->now_us;
    return server->primary == NULL &&
           ((node->started_us != 0 && now_us - node->started_us < STARTING_US) ||
               (node->minority_us != 0 &&
                   now_us - node->minority_us < rejoining_us(server->world)));
}

static void judge(sim__server *server)
{
    sim__node *node = server->node;
    sim_machines voters = voters_of(server);
    size_t n_heard = 0;
    for (size_t i = 0; i < server->world->n_servers; i++)
        n_heard += (voters & SIM_MACHINE(i)) != 0 && !is_missed(server, i);
    bool is_minority = n_heard <= size_of(voters) / 2;
    if (is_minority)
        node->minority_us = server->world->now_us;
    bool is_down = is_minority || !are_slots_served(node, voters);
    if (is_down || !has_to_wait(server))
        node->is_down = is_down;
}

/* ---- Ticks --------------------------------------------------------------------------------- */

static void schedule_tick(sim__server *server, int64_t at_us)
{
    server->node->is_ticking = true;
    sim__schedule(server->world, at_us, tick, server);
}

static void tick(sim_world *world, void *subject)
{
    sim__server *server = subject;
    server->node->is_ticking = false;
    if (sim__is_down(server))
        return;
    if (sim__is_silent(server)) {
        int64_t look_us = sim__between(&world->topology, LOOK_MIN_US, LOOK_MAX_US);
        schedule_tick(server, server->silent_until_us + look_us);
        return;
    }
    for (size_t i = 0; i < world->n_servers; i++) {
        if (world->servers[i] != server && world->servers[i]->node != NULL)
            look_at(server, world->servers[i]);
    }
    mind_primary(server);
    judge(server);
    sim__forget_moves(server);
    sim__redirect_waiting(server);
    schedule_tick(server, world->now_us + sim__between(&world->topology, TICK_MIN_US, TICK_MAX_US));
}

void sim__node_start(sim__server *server)
{
    sim_world *world = server->world;
    for (size_t i = 0; i < world->n_servers; i++) {
        server->node->words[i] = (sim__word){server, world->servers[i]};
        server->node->answered_us[i] = world->now_us;
        server->node->told_us[i] = world->now_us;
    }
    if (!server->node->is_ticking)
        schedule_tick(server, world->now_us + sim__between(&world->topology, 0, TICK_MAX_US));
}

void sim__node_die(sim__server *server)
{
    server->node->paused_until_us = 0;
    server->node->handed_slot = SIM_N_SLOTS;
    server->node->manual_us = 0;
    server->node->failover_us = 0;
}

void sim__node_rise(sim__server *server)
{
    server->node->started_us = server->world->now_us;
    server->node->is_down = true;
    memset(server->node->failed_us, 0, sizeof server->node->failed_us);
    memset(server->node->told_us, 0, sizeof server->node->told_us);
    sim__node_start(server);
}
