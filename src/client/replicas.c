/*
 * A client's replicas: see the header.
 */
#include "client/replicas.h"

#include <assert.h>

static bool open_replica(gavel_client *client, gavel__replica *replica, const gavel__seed *place)
{
    const gavel__address *base = &client->address;
    gavel__site_name name = {.label = base->is_tls ? "rediss://" : "redis://",
        .host = place->host,
        .port = place->port,
        .database = base->database,
        .user = base->user,
        .password = base->password};
    if (!gavel__site_open(&replica->site, &client->site, &name))
        return false;
    replica->site.link_config.kind = GAVEL__LINK_TO_REPLICA;
    replica->node = gavel__engine_add_replica(&client->engine, replica->site.own.label);
    if (replica->node == NULL)
        return false;
    gavel__engine_set_primary(&client->engine, replica->node, client->engine.nodes.first, 0);
    return true;
}

bool gavel__replicas_open(gavel_client *client)
{
    size_t n = client->address.n_replicas;
    gavel__replicas *replicas =
        gavel__alloc(&client->allocator, 1, sizeof(*replicas) + n * sizeof(replicas->all[0]));
    if (replicas == NULL)
        return false;
    client->replicas = replicas;
    for (; replicas->n < n; replicas->n++) {
        gavel__replica *replica = &replicas->all[replicas->n];
        if (!open_replica(client, replica, &client->address.replicas[replicas->n])) {
            gavel__site_finish(&replica->site, false);
            return false;
        }
    }
    return true;
}

void gavel__replicas_close(gavel_client *client, bool is_child)
{
    if (client->replicas == NULL)
        return;
    for (size_t i = 0; i < client->replicas->n; i++)
        gavel__site_finish(&client->replicas->all[i].site, is_child);
    gavel__free(&client->allocator, client->replicas);
    client->replicas = NULL;
}

gavel__site *gavel__replicas_site(const gavel_client *client, const gavel__node *node)
{
    assert(node->index > 0 && node->index <= client->replicas->n);
    return &client->replicas->all[node->index - 1].site;
}
