/*
 * A polled client in an epoll of the program's own.
 *
 *     gavel_client *client = gavel_open(url, &(gavel_config){.is_polled = true}, &error);
 *     gavel_epoll_attach(client, epoll_fd, client);
 *     gavel_submit(client, &transaction, on_done);
 *     while (epoll_wait(epoll_fd, &event, 1, -1) == 1) {
 *         if (event.data.ptr == client)
 *             gavel_turn(client);
 *         else
 *             ...
 *     }
 *     gavel_epoll_detach(client, epoll_fd);
 *     gavel_close(client);
 *
 * All by one thread at a time. Where events carry something else than a pointer, add gavel_fd with
 * epoll_ctl and EPOLLIN: it is all that is done here.
 */
#ifndef GAVEL_ADAPTERS_EPOLL_H
#define GAVEL_ADAPTERS_EPOLL_H

#include <gavel/polled.h>

#include <sys/epoll.h>

/* Has the epoll tell when the client is to be turned, by an event whose data.ptr is `tag`. False:
 * the client is not polled (see its log), or as epoll_ctl's errno says. */
static inline bool gavel_epoll_attach(gavel_client *client, int epoll_fd, void *tag)
{
    int fd = gavel_fd(client);
    struct epoll_event event;
    event.events = EPOLLIN;
    event.data.ptr = tag;
    return fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Takes the client out of the epoll, from which it may be closed; legal in a callback of gavel's.
 * Events that epoll_wait has brought already still carry the tag. */
static inline void gavel_epoll_detach(gavel_client *client, int epoll_fd)
{
    struct epoll_event unused;
    int fd = gavel_fd(client);
    if (fd >= 0)
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &unused);
}

#endif
