/*
 * A client's replicas: see the header.
 */
#include "client/replicas.h"

#include "base/text.h"

#include <assert.h>

static bool is_there(const gavel__replica *replica)
{
    return replica->place.host[0] != '\0';
}

/* ---- Coming and going ---------------------------------------------------------------------- */

/* A place in the array that nobody has. NULL: no memory, or there are too many. */
static gavel__replica *find_free(gavel_client *client)
{
    gavel__replicas *replicas = client->replicas;
    for (size_t i = 0; i < replicas->n; i++) {
        if (!is_there(&replicas->all[i]))
            return &replicas->all[i];
    }
    if (replicas->n == GAVEL__REPLICAS_MAX)
        return NULL;
    gavel__replica *replica = &replicas->all[replicas->n];
    replica->node = gavel__engine_add_replica(&client->engine, "");
    if (replica->node == NULL)
        return NULL;
    replicas->n++;
    return replica;
}

/* False: no memory. */
static bool arrive(
    gavel_client *client, const gavel__place_name *place, bool is_told, int64_t now_us)
{
    const gavel__address *base = &client->address;
    gavel__site_name name = {.label = base->is_tls ? "rediss://" : "redis://",
        .host = place->host,
        .port = place->port,
        .database = base->database,
        .is_told = is_told,
        .user = base->user,
        .password = base->password};
    gavel__replica *replica = find_free(client);
    if (replica == NULL)
        return false;
    if (!gavel__site_open(&replica->site, &client->site, &name)) {
        gavel__site_finish(&replica->site, false);
        return false;
    }
    replica->place = *place;
    replica->site.link_config.kind = GAVEL__LINK_TO_REPLICA;
    replica->node->label = replica->site.own.label;
    gavel__engine_set_primary(&client->engine, replica->node, client->engine.nodes.first, now_us);
    return true;
}

/* False: not yet, there are links to it. */
static bool leave(gavel_client *client, gavel__replica *replica, int64_t now_us)
{
    gavel__engine_set_primary(&client->engine, replica->node, NULL, now_us);
    if (!gavel__connections_retire(replica->node))
        return false;
    gavel__connections_drop(replica->node);
    gavel__site_finish(&replica->site, false);
    replica->place.host[0] = '\0';
    replica->node->label = "";
    return true;
}

/* ---- Following Sentinels ------------------------------------------------------------------- */

static gavel__replica *find(gavel__replicas *replicas, const gavel__place_name *place)
{
    for (size_t i = 0; i < replicas->n; i++) {
        if (gavel__place_is_same(&replicas->all[i].place, place))
            return &replicas->all[i];
    }
    return NULL;
}

static bool is_named(const gavel__sentinels *known, const gavel__place_name *place)
{
    uint32_t i = 0;
    while (i < known->n_replicas && !gavel__place_is_same(&known->replicas[i], place))
        i++;
    return i < known->n_replicas;
}

static void leave_others(gavel_client *client, const gavel__sentinels *known, int64_t now_us)
{
    gavel__replicas *replicas = client->replicas;
    replicas->is_leaving = false;
    for (size_t i = 0; i < replicas->n; i++) {
        gavel__replica *replica = &replicas->all[i];
        if (is_there(replica) && !is_named(known, &replica->place))
            replicas->is_leaving |= !leave(client, replica, now_us);
    }
}

/* False: no memory. */
static bool make(gavel_client *client)
{
    if (client->replicas == NULL)
        client->replicas = gavel__alloc(&client->allocator, 1, sizeof(*client->replicas));
    return client->replicas != NULL;
}

bool gavel__replicas_follow(gavel_client *client, const gavel__sentinels *known, int64_t now_us)
{
    if (!make(client))
        return false;
    gavel__replicas *replicas = client->replicas;
    gavel__node *primary = client->engine.nodes.first;
    if (replicas->version == known->replicas_version && !replicas->is_leaving)
        return true;
    leave_others(client, known, now_us);
    for (uint32_t i = 0; i < known->n_replicas; i++) {
        const gavel__replica *replica = find(replicas, &known->replicas[i]);
        if (replica != NULL)
            gavel__engine_set_primary(&client->engine, replica->node, primary, now_us);
        else if (!arrive(client, &known->replicas[i], true, now_us))
            return false;
    }
    replicas->version = known->replicas_version;
    return !replicas->is_leaving;
}

/* ---- Life ---------------------------------------------------------------------------------- */

bool gavel__replicas_open(gavel_client *client)
{
    const gavel__address *address = &client->address;
    if (!make(client))
        return false;
    for (size_t i = 0; i < address->n_replicas; i++) {
        gavel__place_name place = {.port = address->replicas[i].port};
        gavel__format(place.host, sizeof(place.host), "%s", address->replicas[i].host);
        if (find(client->replicas, &place) == NULL && !arrive(client, &place, false, 0))
            return false;
    }
    return true;
}

void gavel__replicas_close(gavel_client *client, bool is_child)
{
    gavel__replicas *replicas = client->replicas;
    if (replicas == NULL)
        return;
    for (size_t i = 0; i < replicas->n; i++) {
        if (is_there(&replicas->all[i]))
            gavel__site_finish(&replicas->all[i].site, is_child);
    }
    gavel__free(&client->allocator, replicas);
    client->replicas = NULL;
}

gavel__site *gavel__replicas_site(const gavel_client *client, const gavel__node *node)
{
    assert(node->index > 0 && node->index <= client->replicas->n);
    gavel__replica *replica = &client->replicas->all[node->index - 1];
    return is_there(replica) ? &replica->site : NULL;
}
