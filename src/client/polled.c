/*
 * Polled clients: gavel_fd, gavel_turn and gavel_due_us, for programs with a loop of their own. All
 * else is as for other attached clients: see attached.c.
 */
#include "client/client.h"

#include <gavel/polled.h>

/* Logs why not. */
static bool admit(gavel_client *client, const char *call)
{
    const char *refusal =
        gavel__client_refusal(client, client != NULL && client->platform.is_blocking);
    if (refusal == NULL && !client->platform.is_polled)
        refusal = "the client was not opened with is_polled";
    if (refusal != NULL)
        gavel__client_log(client, GAVEL_LOG_WARNING, "%s: %s", call, refusal);
    return refusal == NULL;
}

int gavel_fd(gavel_client *client)
{
    if (!admit(client, "gavel_fd"))
        return -1;
    return client->loop->ops->poll_fd(client->loop);
}

bool gavel_turn(gavel_client *client)
{
    if (!admit(client, "gavel_turn"))
        return false;
    if (client->is_turning || client->is_pumping) {
        gavel__client_log(client, GAVEL_LOG_WARNING, "gavel_turn: called from inside a callback");
        return false;
    }
    client->is_turning = true;
    client->loop->ops->turn(client->loop);
    client->is_turning = false;
    if (client->is_closing) {
        gavel__client_finish(client);
        return false;
    }
    return client->is_busy;
}

int64_t gavel_due_us(gavel_client *client)
{
    if (!admit(client, "gavel_due_us"))
        return INT64_MAX;
    return client->has_news ? 0 : client->armed_us;
}
