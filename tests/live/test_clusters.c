/*
 * The cluster that tests start: it serves, slots move, replicas take over.
 */
#include "clusters.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#define KEY "{t}k"
#define SLOT 15891

Test(clusters, serves_moves_and_fails_over)
{
    live_cluster cluster;
    clusters_begin(&cluster);
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        cr_expect_eq(clusters_believed_owner(&cluster, i, SLOT), 2);
        cr_expect_eq(clusters_primary_of(&cluster, i), i % CLUSTERS_N_PRIMARIES);
    }
    server_do(cluster.nodes[2], "MSET", KEY, "7", "{t}other", "8", NULL);
    cr_expect_eq(gavel__slot_of(GAVEL_STR(KEY)), SLOT);
    clusters_open_slot(&cluster, SLOT, 0);
    cr_expect(clusters_move_keys(&cluster, SLOT, 0, 1));
    cr_expect_eq(server_int(cluster.nodes[2], "DBSIZE", NULL), 1);
    cr_expect(clusters_move_keys(&cluster, SLOT, 0, 10));
    cr_expect_not(clusters_move_keys(&cluster, SLOT, 0, 10));
    clusters_assign_slot(&cluster, SLOT, 0);
    cr_expect_eq(clusters_owner(&cluster, SLOT), 0);
    cr_expect_eq(clusters_count(&cluster, KEY), 7);
    if (clusters_move_slot_at_once(&cluster, SLOT, 2))
        cr_expect_eq(clusters_count(&cluster, KEY), 7);
    clusters_move_slot(&cluster, SLOT, 1);
    cr_expect_eq(clusters_fail_over(&cluster, 1), 4);
    cr_expect_eq(clusters_owner(&cluster, SLOT), 4);
    cr_expect_eq(clusters_count(&cluster, KEY), 7);
    cr_expect_eq(clusters_fail_over(&cluster, 4), 1);
    clusters_end(&cluster);
}

Test(clusters, a_dead_primary_is_replaced)
{
    live_cluster cluster;
    clusters_begin(&cluster);
    server_do(cluster.nodes[2], "SET", KEY, "7", NULL);
    cr_assert_eq(server_int(cluster.nodes[2], "WAIT", "1", "30000", NULL), 1);
    cr_expect_eq(clusters_kill(&cluster, 2), 5);
    cr_expect_eq(clusters_count(&cluster, KEY), 7);
    clusters_end(&cluster);
}
