/*
 * A polled client on a libevent base. Needs libevent 2.0; the program links it, gavel does not.
 *
 *     gavel_client *client = gavel_open(url, &(gavel_config){.is_polled = true}, &error);
 *     struct event *event = gavel_libevent_attach(client, base);
 *     gavel_submit(client, &transaction, on_done);
 *     event_base_dispatch(base);
 *     ...
 *     gavel_libevent_detach(event);
 *     gavel_close(client);
 *
 * All in the thread that runs the base. An attached client keeps event_base_dispatch from returning
 * until it is detached, with work in flight or without.
 *
 * libev, on which gavel stands, has functions of libevent's names. With libgavel.so the program's
 * are libevent's all the same; who links libgavel.a puts -levent in front of -lev.
 */
#ifndef GAVEL_ADAPTERS_LIBEVENT_H
#define GAVEL_ADAPTERS_LIBEVENT_H

#include <gavel/polled.h>

#include <event2/event.h>

/* libevent's callback. */
static inline void gavel_libevent_on_readable(evutil_socket_t fd, short events, void *client)
{
    (void)fd;
    (void)events;
    gavel_turn((gavel_client *)client);
}

/* Takes the client out of its base, from which it may be closed, and frees the event; legal in a
 * callback of gavel's. Takes NULL. */
static inline void gavel_libevent_detach(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

/* Has the base turn the client. NULL: the client is not polled (see its log), or libevent had no
 * memory. The event is for gavel_libevent_detach. */
static inline struct event *gavel_libevent_attach(gavel_client *client, struct event_base *base)
{
    int fd = gavel_fd(client);
    struct event *event = NULL;
    if (fd >= 0)
        event = event_new(base, fd, EV_READ | EV_PERSIST, gavel_libevent_on_readable, client);
    if (event == NULL || event_add(event, NULL) == 0)
        return event;
    gavel_libevent_detach(event);
    return NULL;
}

#endif
