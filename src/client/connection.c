/*
 * Connections: their end. What they bring, and when they are made, is the pump's.
 */
#include "client/client.h"

void gavel__connection_destroy(gavel__connection *connection)
{
    gavel_client *client = connection->client;
    gavel__connection **place = &client->connections;
    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
    connection->lane->connection = NULL;
    gavel__credentials_forget(&client->credentials, connection);
    gavel__link_destroy(connection->link);
    gavel__free(&client->allocator, connection);
}

bool gavel__connections_retire(gavel__node *node)
{
    bool are_gone = true;
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        are_gone &= lane->state == GAVEL__LANE_DOWN || lane->state == GAVEL__LANE_WANTED;
        if (lane->state == GAVEL__LANE_UP)
            gavel__lane_retire(lane);
    }
    return are_gone;
}

void gavel__connections_drop(gavel__node *node)
{
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->connection != NULL)
            gavel__connection_destroy(lane->connection);
        if (lane->state == GAVEL__LANE_WANTED) /* there is nowhere to dial, when it is time */
            gavel__lane_set_state(lane, GAVEL__LANE_DOWN);
    }
}
