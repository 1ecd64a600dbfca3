/*
 * What all of a client's files stand on: whether a call is allowed, the end of a wait.
 */
#include "client/client.h"

#include "base/fork.h"
#include "core/guard.h"

const char *gavel__client_refusal(const gavel_client *client, bool wants_blocking)
{
    if (gavel__guard_is_inside())
        return "called from inside a body or a hook";
    if (client == NULL)
        return "there is no client (NULL): gavel_open has failed, and its last argument says why";
    if (client->fork_generation != gavel__fork_generation())
        return "the client was opened by another process";
    if (wants_blocking != client->platform.is_blocking)
        return wants_blocking ? "the client is not a blocking one: use gavel_submit"
                              : "the client is a blocking one: use gavel_run";
    return NULL;
}

void gavel__client_end_wait(gavel_client *client, gavel__waiter *waiter)
{
    if (waiter == client->driver)
        client->needs_wake = true; /* it may be told by somebody else, while it sleeps there */
    waiter->is_done = true;
    pthread_cond_signal(&waiter->told);
}

/* ---- Watching ------------------------------------------------------------------------------ */

bool gavel__client_watch_link(
    gavel_client *client, gavel__watch *watch, gavel__link *link, bool may_read)
{
    int fd = gavel__link_fd(link);
    bool wants_write = fd >= 0 && gavel__link_wants_write(link);
    if (fd < 0 || (!may_read && !wants_write)) {
        if (watch->backend != NULL)
            client->loop->ops->unwatch(client->loop, watch);
        watch->fd = -1;
        return true;
    }
    if (watch->backend != NULL && watch->fd == fd && watch->wants_write == wants_write &&
        watch->wants_read == may_read)
        return true;
    watch->fd = fd;
    watch->wants_read = may_read;
    watch->wants_write = wants_write;
    client->needs_wake = true;
    return client->loop->ops->watch(client->loop, watch);
}
