/*
 * Loops: where waiting happens. An interface, so that tests bring one with virtual time.
 *
 * A loop has one owner (a client). It tells the owner two things: that it is about to sleep
 * (on_turn: the moment to send what has gathered), and that a watched fd is ready.
 */
#ifndef GAVEL__LOOP_H
#define GAVEL__LOOP_H

#include "base/heap.h"
#include "base/memory.h"

struct ev_loop;

typedef struct gavel__loop gavel__loop;

/* One fd to be watched; stands in its owner's memory, which outlives the watching. */
typedef struct gavel__watch {
    void (*on_ready)(struct gavel__watch *watch, bool is_readable, bool is_writable);
    void *owner;
    int fd;
    bool wants_read;
    bool wants_write;
    void *backend; /* the loop's own; NULL while not watched */
} gavel__watch;

typedef struct gavel__loop_owner {
    /* Before every sleep, and in a program's loop also after it, when the fds have been served. If
     * it returns true, the loop does not sleep, and after a look at the fds comes here again. It
     * may destroy the loop; then it returns false. */
    bool (*on_turn)(void *owner);
    /* A blocking client's lock, given up for the sleep; NULL for none. */
    void (*unlock)(void *owner);
    void (*lock)(void *owner);
    void *owner;
} gavel__loop_owner;

typedef struct gavel__loop_ops {
    /* The monotonic clock, in microseconds. Any thread. */
    int64_t (*now_us)(gavel__loop *loop);

    /* Begins to watch, or takes over changed wants. False: no memory. */
    bool (*watch)(gavel__loop *loop, gavel__watch *watch);
    /* Ends the watching; takes a watch that is not watched. Not ready again after this. */
    void (*unwatch)(gavel__loop *loop, gavel__watch *watch);

    /* Sleep no longer than until due_us; GAVEL__NEVER: as long as you like. Finer than a
     * millisecond (a timerfd). Cheap if nothing has to be brought forward. */
    void (*wake_at)(gavel__loop *loop, int64_t due_us);

    /* Ends the sleep that another thread is in, or its next one. Any thread. */
    void (*wake)(gavel__loop *loop);

    /* Whether there is work in flight: if so the program's loop does not end by itself. */
    void (*set_busy)(gavel__loop *loop, bool is_busy);

    /* One turn. Of a loop of gavel's own: on_turn, sleep (unlocked), callbacks. Of one that is
     * polled: callbacks of what is ready, on_turn, which must not destroy the loop. */
    void (*turn)(gavel__loop *loop);

    /* Only for a loop that is polled, else NULL: the descriptor that becomes readable when a turn
     * has something to do. The same for all its life. */
    int (*poll_fd)(gavel__loop *loop);

    /* Takes a loop with watches; of its callbacks only inside on_turn. */
    void (*destroy)(gavel__loop *loop);
} gavel__loop_ops;

struct gavel__loop {
    const gavel__loop_ops *ops;
};

/*
 * A loop over libev: the program's own `program_loop`, or, if that is NULL, a new one. NULL: no
 * memory or no file descriptors.
 */
gavel__loop *gavel__loop_create_ev(
    struct ev_loop *program_loop, const gavel__loop_owner *owner, const gavel_allocator *allocator);

/* A loop that is polled: the program turns it when poll_fd is readable. Of one process; a child
 * only destroys its copy. NULL: no memory or no file descriptors. */
gavel__loop *gavel__loop_create_epoll(
    const gavel__loop_owner *owner, const gavel_allocator *allocator);

#endif
