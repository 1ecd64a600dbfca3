/*
 * A Redis Cluster of six for a test, gone when it ends: three primaries, which have the slots in
 * equal parts and in order, and a replica of each. It takes two to four seconds to begin: a primary
 * does not serve before.
 */
#ifndef TEST_LIVE_CLUSTERS_H
#define TEST_LIVE_CLUSTERS_H

#include "tools.h"

enum { CLUSTERS_N_PRIMARIES = 3, CLUSTERS_N = 6, CLUSTERS_N_SLOTS = 16384 };

typedef struct live_cluster {
    test_server *nodes[CLUSTERS_N]; /* at first those from 3 on are replicas of 0, 1, 2 */
    char ids[CLUSTERS_N][41];
    char url[128];                  /* of two of them */
    int64_t elected_us[CLUSTERS_N]; /* when it last took its primary's place; 0: long ago */
} live_cluster;

/* Returns when every node knows all the others, and serves. */
void clusters_begin(live_cluster *cluster);

/* Takes nodes that were killed or paused, and a cluster that has ended or is zeroed. */
void clusters_end(live_cluster *cluster);

/* ---- Looking -------------------------------------------------------------------------------- */

/* The node that has the slot, of those that run; which one `node` believes it is; its number. */
size_t clusters_owner(live_cluster *cluster, int slot);
size_t clusters_believed_owner(live_cluster *cluster, size_t node, int slot);

/* Whom the node follows; itself for a primary. */
size_t clusters_primary_of(live_cluster *cluster, size_t node);

/* The number at a key, of whoever has it; -1: none. */
long long clusters_count(live_cluster *cluster, const char *key);

/* ---- Slots that move ------------------------------------------------------------------------ */

/* The steps of a move: both sides are opened, the target's first; up to n of its keys go over,
 * false: there were none; all primaries are told, the target first. */
void clusters_open_slot(live_cluster *cluster, int slot, size_t to);
bool clusters_move_keys(live_cluster *cluster, int slot, size_t to, int n);
void clusters_assign_slot(live_cluster *cluster, int slot, size_t to);

/* Returns when all that run have heard of the same epochs. A node that takes a slot before may
 * draw an epoch that is another's as well, and lose the slot again. */
void clusters_settle(live_cluster *cluster);

/* All of these steps. The two nodes must be there. */
void clusters_move_slot(live_cluster *cluster, int slot, size_t to);

/* At once, as Valkey 9 and Redis 8.4 can; returns when all know. False: this server cannot. */
bool clusters_move_slot_at_once(live_cluster *cluster, int slot, size_t to);

/* ---- Failovers ------------------------------------------------------------------------------ */

/* Lets a replica take its primary's place, as an operator does, or kills a primary, which takes
 * some three seconds. Returns when all that run have heard of it; the number of the new primary. */
size_t clusters_fail_over(live_cluster *cluster, size_t primary);
size_t clusters_kill(live_cluster *cluster, size_t primary);

/* The same, but the replica does not get what is written by `meanwhile`, which is to be brief. */
size_t clusters_kill_ahead(
    live_cluster *cluster, size_t primary, void (*meanwhile)(void *user), void *user);

/* A primary that is not heard of for that long is replaced. 0: 10 s, as at first, so that nobody
 * is on a machine that is loaded. */
void clusters_set_timeout(live_cluster *cluster, int node_timeout_ms);

#endif
