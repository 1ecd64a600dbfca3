/*
 * Attached clients: gavel_submit on the program's own loop. The work itself is done when a link has
 * brought something, and when that loop is about to sleep: what one turn submits leaves together.
 */
#include "client/client.h"

/* Logs why not. */
static bool admit(gavel_client *client, const char *call)
{
    const char *refusal = gavel__client_refusal(client, false);
    if (refusal == NULL && client->is_closing)
        refusal = "the client is closing";
    if (refusal != NULL)
        gavel__client_log(client, GAVEL_LOG_WARNING, "%s: %s", call, refusal);
    return refusal == NULL;
}

gavel_ticket gavel_submit(
    gavel_client *client, const gavel_transaction *transaction, gavel_done *done)
{
    if (!admit(client, "gavel_submit"))
        return 0;
    if (done == NULL) {
        gavel__client_log(client, GAVEL_LOG_WARNING, "gavel_submit: there is no callback (NULL)");
        return 0;
    }
    gavel__transaction *submitted =
        gavel__engine_submit(&client->engine, transaction, gavel__client_now_us(client));
    if (submitted == NULL) {
        gavel__client_log(client, GAVEL_LOG_WARNING, "gavel_submit: no memory");
        return 0;
    }
    submitted->done = done;
    gavel__client_await_turn(client);
    return submitted->ticket;
}

bool gavel_cancel(gavel_client *client, gavel_ticket ticket)
{
    if (!admit(client, "gavel_cancel"))
        return false;
    gavel__transaction *transaction = gavel__engine_find(&client->engine, ticket);
    if (transaction == NULL)
        return false;
    gavel__engine_cancel(&client->engine, transaction, gavel__client_now_us(client));
    gavel__client_await_turn(client);
    return true;
}
