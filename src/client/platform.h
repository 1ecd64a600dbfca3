/*
 * Platforms: what a client stands on. The real one is libev and sockets; tests put a simulated
 * server and virtual time in their place, and everything above stays the same code.
 */
#ifndef GAVEL__PLATFORM_H
#define GAVEL__PLATFORM_H

#include "client/directory.h"
#include "loop/loop.h"
#include "redis/transport.h"

typedef struct gavel__platform {
    gavel__loop *(*create_loop)(
        void *user, const gavel__loop_owner *owner, const gavel_allocator *allocator);
    gavel__dial *dial;               /* its `dialler` is `user` */
    gavel__look_up *look_up;         /* of host names; NULL where there are none */
    uint64_t (*entropy)(void *user); /* unpredictable: names markers, seeds hashes and jitter */
    int64_t (*wall_us)(void *user);  /* the time of day, since 1970; NULL: 0. For people */
    const char *holder;              /* who we are, in records: "pid=N host=TEXT"; copied */
    /* The clock that leases are measured on, in microseconds; any thread. NULL: the loop's. */
    int64_t (*lease_now_us)(void *user);
    void *user;
    bool is_blocking; /* the loop is gavel's own: gavel_run; else gavel_submit */
    bool is_polled;   /* the program turns the loop, by gavel_turn */
} gavel__platform;

/* gavel_open on a platform, which is copied. config.loop is not looked at. */
gavel_client *gavel__open_on(const gavel__platform *platform, const char *url,
    const gavel_config *config, gavel_error *ret_error);

#endif
