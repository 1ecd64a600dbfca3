/*
 * A polled client on a libuv loop. Needs libuv 1.x; the program links it, gavel does not.
 *
 *     gavel_client *client = gavel_open(url, &(gavel_config){.is_polled = true}, &error);
 *     gavel_libuv *adapter = gavel_libuv_attach(client, uv_default_loop());
 *     gavel_submit(client, &transaction, on_done);
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *     ...
 *     gavel_libuv_detach(adapter);
 *     gavel_close(client);
 *
 * All in the loop's thread. An attached client keeps uv_run from returning until it is detached,
 * with work in flight or without, unless the program says uv_unref((uv_handle_t *)&adapter->poll).
 */
#ifndef GAVEL_ADAPTERS_LIBUV_H
#define GAVEL_ADAPTERS_LIBUV_H

#include <gavel/polled.h>

#include <stdlib.h>
#include <uv.h>

typedef struct gavel_libuv {
    uv_poll_t poll;
    gavel_client *client;
} gavel_libuv;

/* libuv's callback. An error of the descriptor is for the client to find out. */
static inline void gavel_libuv_on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    gavel_turn(((gavel_libuv *)poll->data)->client);
}

/* libuv's callback: nothing refers to the adapter any more. */
static inline void gavel_libuv_on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Takes the client out of its loop, from which it may be closed; legal in a callback of gavel's.
 * The adapter is freed by the loop, in one of its next turns. Takes NULL. */
static inline void gavel_libuv_detach(gavel_libuv *adapter)
{
    if (adapter != NULL)
        uv_close((uv_handle_t *)&adapter->poll, gavel_libuv_on_closed);
}

/* Has the loop turn the client. NULL, and nothing has changed: the client is not polled (see its
 * log), or libuv had no memory. The loop has to run, or run on, before it is closed. */
static inline gavel_libuv *gavel_libuv_attach(gavel_client *client, uv_loop_t *loop)
{
    int fd = gavel_fd(client);
    gavel_libuv *adapter = fd >= 0 ? (gavel_libuv *)malloc(sizeof(*adapter)) : NULL;
    if (adapter == NULL || uv_poll_init(loop, &adapter->poll, fd) != 0) {
        free(adapter);
        return NULL;
    }
    adapter->client = client;
    adapter->poll.data = adapter;
    if (uv_poll_start(&adapter->poll, UV_READABLE, gavel_libuv_on_readable) == 0)
        return adapter;
    gavel_libuv_detach(adapter);
    return NULL;
}

#endif
