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
