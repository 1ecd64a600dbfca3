/*
 * What the locks know: requests, lines, operations, calls, as data. The files of this folder change
 * it, each its part (see parts.h); the client reads a few fields of a lock.
 */
#ifndef GAVEL__LOCK_STATE_H
#define GAVEL__LOCK_STATE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "core/question.h"
#include "lock/scripts.h"

#include <stdatomic.h>

typedef struct gavel__locks gavel__locks;
typedef struct gavel__lock_line gavel__lock_line;

typedef enum gavel__lock_call_kind {
    GAVEL__LOCK_CALL_PROBE, /* offer and take: for a lock that may be free, or ours. Two replies */
    GAVEL__LOCK_CALL_TAKE,  /* take, with the turn that the line was given */
    GAVEL__LOCK_CALL_RENEW,
    GAVEL__LOCK_CALL_RELEASE,  /* release */
    GAVEL__LOCK_CALL_HAND_OFF, /* the turn that the line was given, to the next */
    GAVEL__LOCK_CALL_USER      /* an operation of the user's: extend, do */
} gavel__lock_call_kind;

/* call.c has the drawing, and what holds in each. */
typedef enum gavel__lock_call_state {
    GAVEL__LOCK_CALL_IDLE,
    GAVEL__LOCK_CALL_OUT
} gavel__lock_call_state;

typedef struct gavel__lock_call {
    gavel__question question;
    gavel__list node; /* among the line's */
    gavel__lock_call_state state;
    gavel__lock_call_kind kind;
    int64_t sent_us;   /* OUT: when it was written, if it was */
    uint32_t lease_ms; /* likewise: the lease that it asks for; 0: none */
    gavel__lock_line *line;
    struct gavel_lock *lock; /* whose it is; NULL: the line's own */
    struct gavel__lock_op *op;
} gavel__lock_call;

typedef enum gavel__lock_op_kind {
    GAVEL__LOCK_OP_ACQUIRE,
    GAVEL__LOCK_OP_EXTEND,
    GAVEL__LOCK_OP_DO,
    GAVEL__LOCK_OP_RELEASE
} gavel__lock_op_kind;

/* The steps, in their order; op.c has what holds in each. */
typedef enum gavel__lock_op_state {
    GAVEL__LOCK_OP_NONE,
    GAVEL__LOCK_OP_OPEN,
    GAVEL__LOCK_OP_SETTLED, /* to be told */
    GAVEL__LOCK_OP_TOLD
} gavel__lock_op_state;

typedef struct gavel__lock_op {
    gavel__list node;       /* SETTLED: among those to be told */
    gavel__list lock_node;  /* EXTEND, DO: among the lock's */
    gavel__heap_node timer; /* the deadline */
    gavel__lock_op_kind kind;
    gavel__lock_op_state state;
    struct gavel_lock *lock;
    gavel__lock_call call; /* EXTEND, DO */
    int64_t begun_us;
    bool is_overdue;   /* the deadline has passed; the answer under way decides, if it comes soon */
    bool is_cancelled; /* likewise */
    bool is_doubtful;  /* something was sent whose answer was lost */
    gavel_lock_outcome outcome;
    gavel_lock_done *done; /* NULL: nobody */
    void *user;
    void *waiter;        /* the blocking caller; NULL: none */
    gavel_ticket ticket; /* ACQUIRE */
    uint32_t lease_ms;   /* EXTEND */
    bool keep_reply;     /* DO */
    gavel__buffer wire;  /* DO: the command, as it is sent */
} gavel__lock_op;

typedef enum gavel__lock_state {
    GAVEL__LOCK_STATE_WAITING,
    GAVEL__LOCK_STATE_GRANTED,
    GAVEL__LOCK_STATE_FORFEITED, /* lost, and not yet released by the program */
    GAVEL__LOCK_STATE_ENDING,    /* being released; the program has no handle any more */
    GAVEL__LOCK_STATE_ENDED      /* freed when nothing refers to it */
} gavel__lock_state;

struct gavel_lock {
    gavel__list node; /* of all */
    gavel__locks *locks;
    gavel__lock_state state;
    gavel__heap_node timer; /* the next thing to do for it, other than deadlines */
    gavel__lock_op acquire;
    gavel__lock_op release;
    gavel__list ops; /* EXTEND, DO that are not told, or whose call is not back */
    gavel__lock_call calls[2];
    gavel__lock_call *call; /* the one that it asks with; the other is IDLE, or put aside */

    gavel__lock_line *line; /* of its name; NULL: the request was refused, or there was no memory */
    gavel__list line_node;  /* WAITING: among those who wait there */
    bool is_try;
    bool must_probe;   /* WAITING, first in line: the server is to be probed next */
    bool was_answered; /* WAITING: somebody else holds it, the server says */
    bool has_fault;    /* WAITING: the offer was refused, in the words of `message` */
    bool is_lasting;   /* the fault; else it may pass */

    uint32_t lease_ms; /* that is asked for from now on */
    bool is_fixed;
    gavel_lock_lost *on_lost;
    void *user;
    int64_t fence;
    int64_t renew_us;                 /* GRANTED: when to renew */
    _Atomic int64_t good_until_us;    /* GRANTED: held for certain until then; else 0 */
    bool is_lingering;                /* the server may hold it for us though we are done with it */
    int64_t lingers_until_us;         /* no longer than this, when all that it asked is back */
    bool is_given_back;               /* says the server; a call put aside may still be granted */
    bool must_release;                /* one was, or may have been, after the release was sent */
    gavel__list lost_node;            /* FORFEITED: to be told */
    gavel_lock_reason reason;         /* FORFEITED */
    char message[GAVEL_MESSAGE_SIZE]; /* of the last trouble */
    char owner[GAVEL__LOCK_OWNER_SIZE];
    char turn[GAVEL__LOCK_TURN_SIZE]; /* that its offer or release hands to the next */
};

/* One name, as long as there are locks of it here or something of it is under way. */
struct gavel__lock_line {
    gavel__map_node map_node;
    gavel__locks *locks;
    size_t n_users;         /* the locks of this name, and whoever looks at what came back */
    gavel__list waiting;    /* of gavel_lock, in order of arrival; only the first asks the server */
    gavel__list calls;      /* OUT, in order; and `back` */
    gavel__strand strand;   /* theirs */
    gavel__lock_call *back; /* what came back of it is being looked at; else NULL */
    gavel__question wait;   /* stands in the server's queue for them all */
    char turn[GAVEL__LOCK_TURN_SIZE * 2];
    size_t turn_size; /* above 0: the lock was handed off to this client */
    gavel__lock_call hand_off;
    char name[];
};

typedef struct gavel__locks_config {
    const gavel_allocator *allocator;       /* borrowed, as all of these */
    const gavel_allocator *reply_allocator; /* of replies that outcomes keep. NULL: allocator */
    gavel__questions *questions;
    const char *key_prefix;
    bool is_cluster;                    /* a script reaches the keys of one slot */
    const char *holder;                 /* printable, for the record: "pid=7 host=x" */
    int64_t (*read_clock)(void *clock); /* counts while the machine sleeps, too */
    void *clock;
    int64_t timeout_us; /* for a connection and an answer */
    int64_t answer_us;  /* for an answer */
    uint64_t seed;
} gavel__locks_config;

struct gavel__locks {
    gavel__locks_config config;
    const gavel__question_ops *call_ops;
    const gavel__question_ops *wait_ops;
    gavel__random random;
    gavel__map lines;
    gavel__list all;  /* locks */
    gavel__list lost; /* to be told */
    gavel__list done; /* ops to be told */
    gavel__heap lock_timers;
    gavel__heap op_timers;
    size_t n_locks;
    size_t n_ops;   /* OPEN */
    size_t n_held;  /* GRANTED */
    size_t n_calls; /* not IDLE */
    uint64_t n_tickets;
    uint64_t n_dials; /* that had failed when tries were last looked at */
    bool is_closing;
};

static inline int64_t gavel__locks_now_us(const gavel__locks *locks)
{
    return locks->config.read_clock(locks->config.clock);
}

/*
 * What a request needs from outside. `random` names the grant: four numbers that nobody can guess.
 */
typedef struct gavel__lock_caller {
    gavel_lock_done *done;
    void *user;
    void *waiter;
    uint64_t random[4]; /* acquire only */
} gavel__lock_caller;

#endif
