/*
 * Directories: where the server of a client is to be found. For clients.
 *
 * Where to dial is asked when dialling. A unix socket, or a host that is written as a number, is
 * its own answer. A name is looked up, never by the thread that asks: the answer comes later, by
 * gavel__lookup_answer, and wakes the client's loop. It is waited for only while nothing is known
 * of the name. Later look-ups, when what is known is some seconds old, or a dial has tried all of
 * it in vain, are for the dials that begin when they are answered.
 *
 *     begin --> next: LATER ... ENDPOINT --on_failure: true--> next: ENDPOINT --on_good
 *                    NONE                --on_failure: false
 *
 * A dial tries each endpoint once, the one that was good last before all others.
 */
#ifndef GAVEL__DIRECTORY_H
#define GAVEL__DIRECTORY_H

#include "redis/endpoint.h"

/* ---- Look-ups ------------------------------------------------------------------------------ */

/* One look-up under way. It outlives its directory, if that does not want to know any more. */
typedef struct gavel__lookup gavel__lookup;

/* Begins a look-up, without waiting; sees to it that it is answered once, in whatever thread. */
typedef void gavel__look_up(void *user, gavel__lookup *lookup);

/* The system's resolver, on a thread of its own that nobody waits for. `user` is unused. */
gavel__look_up gavel__look_up_on_thread;

/* The answer: endpoints in the order in which they are to be tried (copied), or none, and why. The
 * look-up must not be used any more. Any thread. */
void gavel__lookup_answer(
    gavel__lookup *lookup, const gavel__endpoint *endpoints, size_t n, const char *message);

/* ---- Directories --------------------------------------------------------------------------- */

typedef struct gavel__directory {
    const gavel__address *address; /* borrowed */
    gavel__look_up *look_up;
    void *resolver;            /* its `user` */
    void (*wake)(void *waker); /* an answer is there; any thread; it may not call back */
    void *waker;
    gavel__lookup *pending; /* NULL: none is under way */
    gavel__endpoint fixed;  /* what needs no look-up */
    gavel__endpoint *endpoints;
    size_t n_endpoints;               /* 0: none is known */
    size_t good;                      /* of these: the last one that was good, and is tried first */
    uint64_t version;                 /* how often `endpoints` were others */
    int64_t answered_us;              /* when it was last looked up */
    char message[GAVEL_MESSAGE_SIZE]; /* why none is known */
} gavel__directory;

/* One dial's way through the endpoints. */
typedef struct gavel__route {
    uint64_t version; /* of the endpoints that `tried` and `current` mean */
    uint32_t tried;   /* a bit for each */
    uint32_t current;
} gavel__route;

typedef enum gavel__directory_answer {
    GAVEL__DIRECTORY_ANSWER_ENDPOINT,
    GAVEL__DIRECTORY_ANSWER_LATER, /* ask again when woken */
    GAVEL__DIRECTORY_ANSWER_NONE   /* there is none left; why is in the directory's message */
} gavel__directory_answer;

/* Sets all but the first five fields, which the caller has filled in. Does not look up yet. */
void gavel__directory_init(gavel__directory *directory);

/* Takes a zeroed directory. In a child process, nobody answers any more what the parent asked. */
void gavel__directory_finish(gavel__directory *directory, bool is_child);

/* A dial begins: looks up, if nothing is known, or only what is old. */
void gavel__directory_begin(gavel__directory *directory, gavel__route *route, int64_t now_us);

/* Where to dial next. */
gavel__directory_answer gavel__directory_next(gavel__directory *directory, gavel__route *route,
    int64_t now_us, gavel__endpoint *ret_endpoint);

/* The endpoint was of no use; returns whether another one is left to this dial. Else looks up. */
bool gavel__directory_on_failure(gavel__directory *directory, gavel__route *route);

/* The endpoint is of use. */
void gavel__directory_on_good(gavel__directory *directory, const gavel__route *route);

#endif
