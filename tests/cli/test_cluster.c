/* gavel with a Cluster: locks of all its nodes, slots that move, a node that is down. */
#include "tool.h"

#include "base/slot.h"
#include "clusters.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(cluster, .timeout = 120);

#define RECORD "0123456789abcdef0123456789abcdef fence=5 since=1000 pid=7 host=h"

/* A lock at each primary. */
static const int slots[CLUSTERS_N_PRIMARIES] = {100, 6000, 12000};
static char names[CLUSTERS_N_PRIMARIES][GAVEL__SLOT_TAG_SIZE + 1];

static live_cluster begin(void)
{
    live_cluster cluster;
    clusters_begin(&cluster);
    setenv("GAVEL_URL", cluster.url, 1);
    for (size_t i = 0; i < CLUSTERS_N_PRIMARIES; i++)
        gavel__slot_write_tag((uint16_t)slots[i], names[i]);
    return cluster;
}

static void put(const live_cluster *cluster, size_t node, const char *name)
{
    char key[64];
    snprintf(key, sizeof(key), "gavel:lock:{%s}", name);
    server_do(cluster->nodes[node], "SET", key, RECORD, NULL);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

/* It is listed once, at that node. */
static void expect_at(const tool *self, const char *name, const live_cluster *cluster, size_t node)
{
    char part[64];
    snprintf(part, sizeof(part), "\"name\": \"%s\"", name);
    cr_expect_eq(count(self->output, part), 1, "%s: %s", name, self->output);
    const char *found = strstr(self->output, part);
    snprintf(part, sizeof(part), "\"node\": \"127.0.0.1:%d\"}", server_port(cluster->nodes[node]));
    cr_assert_not_null(found);
    const char *place = strstr(found, part);
    const char *end = strchr(found, '}');
    cr_expect(place != NULL && place < end, "%s: not at %s: %s", name, part, self->output);
}

static void all_nodes_are_listed(live_cluster *cluster)
{
    tool self, holder, waiter;
    put(cluster, 0, names[0]);
    put(cluster, 1, names[1]);
    tool_start(&holder, "lock", names[2], "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    tool_start(&waiter, "lock", names[2], "--", tool_puppet(), "env", NULL);
    tool_await_waiters(cluster->nodes[2], names[2], 1);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0, "%s", self.errors);
    for (size_t i = 0; i < CLUSTERS_N_PRIMARIES; i++)
        expect_at(&self, names[i], cluster, i);
    cr_expect_eq(count(self.output, "\"waiting\": 1,"), 1, "%s", self.output);
    cr_expect_eq(count(self.output, "\"waiting\": 0,"), 2, "%s", self.output);
    cr_expect_eq(tool_run(&self, "locks", NULL), 0);
    cr_expect(live_contains(self.output, "  NODE\n"), "%s", self.output);
    kill(holder.pid, SIGTERM);
    cr_expect_eq(tool_end(&holder), 3);
    cr_expect_eq(tool_end(&waiter), 0);
}

/* While a slot is on its way its keys are at both nodes. */
static void a_slot_that_moves(live_cluster *cluster)
{
    tool self;
    clusters_open_slot(cluster, slots[0], 1);
    cr_expect(clusters_move_keys(cluster, slots[0], 1, 10));
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0, "%s", self.errors);
    expect_at(&self, names[0], cluster, 1);
    /* It was found: else nobody would be asked. */
    cr_expect_eq(tool_run(&self, "unlock", names[0], NULL), 64);
    cr_expect(live_contains(self.errors, "--force"), "%s", self.errors);
    clusters_assign_slot(cluster, slots[0], 1);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0, "%s", self.errors);
    expect_at(&self, names[0], cluster, 1);
    cr_expect_eq(tool_run(&self, "unlock", "--force", names[0], NULL), 0, "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "--force", names[0], NULL), 1, "%s", self.errors);
    cr_expect_eq(tool_run(&self, "lock", names[0], "true", NULL), 0, "%s", self.errors);
}

/* The others' locks are listed all the same. */
static void a_node_that_is_down(live_cluster *cluster)
{
    tool self;
    char place[32];
    put(cluster, 2, names[2]);
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        server_do(cluster->nodes[i], "CONFIG", "SET", "cluster-replica-no-failover", "yes", NULL);
        server_do(cluster->nodes[i], "CONFIG", "SET", "cluster-require-full-coverage", "no", NULL);
    }
    server_kill(cluster->nodes[1]);
    snprintf(place, sizeof(place), "127.0.0.1:%d: ", server_port(cluster->nodes[1]));
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 69);
    cr_expect(live_contains(self.errors, place), "%s", self.errors);
    cr_expect_eq(count(self.errors, "left out"), 1, "%s", self.errors);
    expect_at(&self, names[2], cluster, 2);
    cr_expect_eq(tool_run(&self, "unlock", "--force", names[1], NULL), 69);
    cr_expect(live_contains(self.errors, place), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "--force", names[2], NULL), 0, "%s", self.errors);
}

Test(cluster, locks_of_all_its_nodes)
{
    live_cluster cluster = begin();
    all_nodes_are_listed(&cluster);
    a_slot_that_moves(&cluster);
    a_node_that_is_down(&cluster);
    clusters_end(&cluster);
}
