/*
 * Clients of a real Cluster, at length: whatever becomes of its slots, nodes and links, the
 * counters are what the outcomes say. GAVEL_RUNS is how often each kind is played, 1 at first; each
 * run says how it went.
 */
#include "crowd.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static live_cluster cluster;

static void tear_down(void)
{
    clusters_end(&cluster);
}

TestSuite(cluster_stress, .fini = tear_down, .timeout = 800);

static int n_runs(void)
{
    const char *runs = getenv("GAVEL_RUNS");
    return runs != NULL && runs[0] != '\0' ? atoi(runs) : 1;
}

/* A kind of misfortune. */
typedef struct stress {
    const char *name;
    int n_keys;           /* of the slot, beside the crowd's */
    int at_a_time;        /* keys that move; 0: the slot moves at once */
    int n_moves;          /* there and back */
    int n_failovers;      /* by hand, of the node that has the slot */
    bool is_killed;       /* that node */
    bool is_ahead;        /* of its replica, which takes its place: commits are lost */
    bool has_moved_ahead; /* the slot comes to it meanwhile */
    bool are_links_lost;
    gavel_config config;
} stress;

static void await_some(void *user)
{
    crowd_await(user, 20);
}

/* The slot comes to a node whose replica hears nothing of it. */
static size_t target;

static void move_ahead(void *user)
{
    live_crowd *crowd = user;
    char slot[8];
    snprintf(slot, sizeof(slot), "%d", crowd->slot);
    clusters_open_slot(&cluster, crowd->slot, target);
    while (clusters_move_keys(&cluster, crowd->slot, target, 10))
        continue;
    server_do(cluster.nodes[target], "CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[target], NULL);
    for (size_t i = 0; i < CLUSTERS_N_PRIMARIES; i++) {
        while (clusters_believed_owner(&cluster, i, crowd->slot) != target)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    await_some(user);
}

static void kill_one(const stress *kind, live_crowd *crowd)
{
    size_t owner = clusters_owner(&cluster, crowd->slot);
    if (kind->has_moved_ahead) {
        target = (owner + 1) % CLUSTERS_N_PRIMARIES;
        clusters_kill_ahead(&cluster, target, move_ahead, crowd);
    } else
        clusters_kill_ahead(&cluster, owner, kind->is_ahead ? await_some : NULL, crowd);
}

static int play(const stress *kind, int run)
{
    live_crowd crowd;
    char tag[16];
    snprintf(tag, sizeof(tag), "t%d", run);
    crowd_begin(&crowd, &cluster, tag, &kind->config);
    crowd_fill(&crowd, kind->n_keys);
    crowd_await(&crowd, 50);
    if (kind->are_links_lost)
        crowd_lose_links(&crowd);
    for (int i = 0; i < kind->n_moves; i++) {
        crowd_wander(&crowd, kind->at_a_time);
        crowd_await(&crowd, 20);
    }
    for (int i = 0; i < kind->n_failovers; i++) {
        clusters_fail_over(&cluster, clusters_owner(&cluster, crowd.slot));
        crowd_await(&crowd, 20);
    }
    if (kind->is_killed) {
        kill_one(kind, &crowd);
        crowd_await(&crowd, 20);
    }
    crowd_end(&crowd);
    int n_wrong = crowd_check(&crowd, kind->is_killed);
    printf("%s: run %d: %lld committed, %.0f a second, %lld unknown, %lld lost, %lld may be lost, "
           "%lld links lost, %d wrong\n",
        kind->name, run, crowd_n_committed(&crowd),
        (double)crowd_n_committed(&crowd) / crowd_seconds(&crowd), crowd_n_unknown(&crowd),
        crowd_n_lost(&crowd), crowd_n_may_be_lost(&crowd), crowd.n_links_lost, n_wrong);
    fflush(stdout);
    return n_wrong;
}

static void play_all(const stress *kind)
{
    for (int i = 0; i < n_runs(); i++) {
        if (i == 0 || kind->is_killed)
            clusters_begin(&cluster);
        cr_expect_eq(play(kind, i), 0, "%s, run %d", kind->name, i);
        if (kind->is_killed && i + 1 < n_runs())
            clusters_end(&cluster);
    }
}

Test(cluster_stress, key_by_key)
{
    play_all(
        &(stress){.name = "key by key, 2,000 keys", .n_keys = 2000, .at_a_time = 10, .n_moves = 2});
}

Test(cluster_stress, key_by_key_with_links_lost)
{
    play_all(&(stress){.name = "key by key, 2,000 keys, links lost",
        .n_keys = 2000,
        .at_a_time = 10,
        .n_moves = 2,
        .are_links_lost = true});
}

Test(cluster_stress, many_keys)
{
    play_all(&(stress){
        .name = "key by key, 50,000 keys", .n_keys = 50000, .at_a_time = 20, .n_moves = 1});
}

Test(cluster_stress, many_keys_with_links_lost)
{
    play_all(&(stress){.name = "key by key, 50,000 keys, links lost",
        .n_keys = 50000,
        .at_a_time = 100,
        .n_moves = 1,
        .are_links_lost = true});
}

Test(cluster_stress, failovers_by_hand)
{
    play_all(&(stress){.name = "failovers by hand", .n_failovers = 2});
}

Test(cluster_stress, failovers_by_hand_with_links_lost)
{
    play_all(&(stress){
        .name = "failovers by hand, links lost", .n_failovers = 2, .are_links_lost = true});
}

Test(cluster_stress, primaries_that_are_killed)
{
    play_all(&(stress){.name = "kill -9", .is_killed = true});
}

Test(cluster_stress, primaries_that_are_killed_with_links_lost)
{
    play_all(&(stress){.name = "kill -9, links lost", .is_killed = true, .are_links_lost = true});
}

Test(cluster_stress, primaries_that_are_killed_ahead_of_their_replicas)
{
    play_all(
        &(stress){.name = "kill -9, ahead of the replica", .is_killed = true, .is_ahead = true});
}

Test(cluster_stress, primaries_that_are_killed_when_a_slot_has_come_back)
{
    play_all(&(stress){.name = "key by key, then kill -9, ahead of the replica, links lost",
        .n_keys = 500,
        .at_a_time = 10,
        .n_moves = 1,
        .is_killed = true,
        .is_ahead = true,
        .are_links_lost = true});
}

Test(cluster_stress, primaries_that_are_killed_when_a_slot_has_come)
{
    play_all(&(stress){.name = "key by key while ahead of the replica, kill -9",
        .is_killed = true,
        .has_moved_ahead = true});
}

Test(cluster_stress, key_by_key_with_gates)
{
    play_all(&(stress){.name = "key by key, 2,000 keys, gated, links lost",
        .n_keys = 2000,
        .at_a_time = 10,
        .n_moves = 2,
        .are_links_lost = true,
        .config = {.mode = GAVEL_GATED}});
}

Test(cluster_stress, key_by_key_and_failovers)
{
    play_all(&(stress){.name = "key by key, then failovers by hand, links lost",
        .n_keys = 2000,
        .at_a_time = 10,
        .n_moves = 1,
        .n_failovers = 2,
        .are_links_lost = true});
}

Test(cluster_stress, failovers_with_replicas)
{
    play_all(&(stress){.name = "failovers by hand, all replicas, links lost",
        .n_failovers = 2,
        .are_links_lost = true,
        .config = {.min_replicas = GAVEL_ALL_REPLICAS}});
}

/* ---- Where the server can move a slot at once ------------------------------------------------ */

TestSuite(cluster_at_once, .fini = tear_down, .timeout = 800);

static void play_at_once(const stress *kind)
{
    clusters_begin(&cluster);
    bool can = clusters_move_slot_at_once(&cluster, 0, 1);
    clusters_end(&cluster);
    if (!can)
        cr_skip_test("a server that moves slots key by key");
    play_all(kind);
}

Test(cluster_at_once, few_keys)
{
    play_at_once(&(stress){.name = "at once, 2,000 keys", .n_keys = 2000, .n_moves = 5});
}

Test(cluster_at_once, with_links_lost)
{
    play_at_once(&(stress){.name = "at once, 2,000 keys, links lost",
        .n_keys = 2000,
        .n_moves = 5,
        .are_links_lost = true});
}

Test(cluster_at_once, many_keys)
{
    play_at_once(&(stress){.name = "at once, 50,000 keys", .n_keys = 50000, .n_moves = 2});
}
