/*
 * Links: one connection to one server, from dialling to its end.
 *
 *     DOWN --connect--> DIALLING --(LOGIN)--> HANDSHAKE --> UP
 *       ^                  |          |           |         |
 *       +------------------+----------+-----------+---------+   on_down, once
 *
 * LOGIN is only where the login is not the address's: connected, and not knowing yet as whom.
 * HANDSHAKE is one write: HELLO with the login and the name, SELECT, and a probe of MULTI and EXEC
 * that also plants the link's marker. (Two, the first time, where the server refuses HELLO.) A link
 * takes commands as bytes and hands out the replies in order; what they mean is for others. It
 * reads no clock: `now_us` comes in, on the caller's monotonic clock. Callbacks run inside the
 * calls that say so, and may call gavel__link_disconnect.
 */
#ifndef GAVEL__LINK_H
#define GAVEL__LINK_H

#include "base/buffer.h"
#include "redis/transport.h"

typedef struct gavel__link gavel__link;

typedef enum gavel__link_state {
    GAVEL__LINK_DOWN,
    GAVEL__LINK_DIALLING,
    GAVEL__LINK_LOGIN,
    GAVEL__LINK_HANDSHAKE,
    GAVEL__LINK_UP
} gavel__link_state;

/* Why a link went down. */
typedef struct gavel__link_loss {
    bool is_final;     /* trying again cannot help: wrong password, too old, MULTI not allowed */
    bool is_cut;       /* it was up, and the server or what lies between has closed it */
    bool is_too_large; /* the reply that came next is larger than max_reply_bytes */
    gavel_bytes server_error; /* the server's own words, where it said any; else data NULL */
    bool is_unheard; /* closed at the login without a word: the next connect tells whether TLS is
                        what the server speaks */
    char message[GAVEL_MESSAGE_SIZE]; /* names the server; holds no secret */
} gavel__link_loss;

typedef struct gavel__link_events {
    /* The handshake was answered well. */
    void (*on_up)(gavel__link *link, void *owner);
    /* One reply, in order. It lives until the callback returns. */
    void (*on_reply)(gavel__link *link, const gavel_reply *reply, void *owner);
    /* The link is DOWN; it may be connected again. Not called for gavel__link_disconnect. */
    void (*on_down)(gavel__link *link, const gavel__link_loss *loss, void *owner);
    void *owner;
    /* The fd is about to be closed, and must not be watched any longer: while a child process has
     * it too, closing does not take it out of an epoll. NULL: nobody watches. */
    void (*on_closing)(gavel__link *link, void *owner);
    /* LOGIN: as whom? For gavel__link_log_in, later. NULL: as the address says. */
    void (*on_login)(gavel__link *link, void *owner);
} gavel__link_events;

/* What a link leads to; nothing else will do. */
typedef enum gavel__link_kind {
    GAVEL__LINK_TO_SERVER,
    GAVEL__LINK_TO_REPLICA,
    GAVEL__LINK_TO_SENTINEL, /* which keeps no data */
    GAVEL__LINK_TO_NODE      /* of a Cluster, of whatever role: each tells who serves a slot */
} gavel__link_kind;

typedef struct gavel__link_config {
    const gavel_allocator *allocator; /* borrowed, as all of these */
    const gavel__address *address;
    gavel__tls *tls;  /* NULL: without */
    const char *name; /* for CLIENT SETNAME; "": none */
    gavel__dial *dial;
    void *dialler;
    int64_t connect_timeout_us;
    int64_t command_timeout_us;
    int64_t marker_ttl_us; /* 0: no marker */
    size_t max_reply_bytes;
    gavel__link_kind kind;
} gavel__link_config;

typedef struct gavel__link_counters {
    uint64_t n_sends; /* system calls */
    uint64_t n_receives;
} gavel__link_counters;

/* NULL when there is no memory. The config is copied, what it points to is borrowed. */
gavel__link *gavel__link_create(const gavel__link_config *config, const gavel__link_events *events);

/* Takes NULL. Not from inside one of the link's callbacks. */
void gavel__link_destroy(gavel__link *link);

/*
 * Begins to connect; the link must be DOWN. connect_timeout begins now. `marker` is the key to be
 * planted with the value 0. Both are copied. May call on_down before it returns.
 */
void gavel__link_connect(
    gavel__link *link, const gavel__endpoint *endpoint, gavel_bytes marker, int64_t now_us);

/*
 * LOGIN: what was asked by on_login; a user that is NULL is the default one. Both strings are
 * copied, and the copies wiped when the handshake is over. connect_timeout begins anew. May call
 * on_down before it returns.
 */
void gavel__link_log_in(gavel__link *link, const char *user, const char *password, int64_t now_us);

/* LOGIN: there is no login, for this reason. Calls on_down. */
void gavel__link_refuse_login(gavel__link *link, const char *reason);

/* Closes, says nothing, is DOWN. What was not sent is lost, and so are replies to come. Safe inside
 * the link's callbacks: nothing more is handed out. */
void gavel__link_disconnect(gavel__link *link);

gavel__link_state gavel__link_get_state(const gavel__link *link);

/* UP: what is out of the ordinary with this server, for the log; NULL: nothing. A constant. */
const char *gavel__link_remark(const gavel__link *link);

/* To be watched while the link is not DOWN; -1 then. */
int gavel__link_fd(const gavel__link *link);

/* Whether there are bytes that the kernel has not taken, or dialling needs to be told "writable".
 */
bool gavel__link_wants_write(const gavel__link *link);

/* Where commands for this link are written (UP only); gavel__link_flush sends them. */
gavel__buffer *gavel__link_out(gavel__link *link);

/* `n` more replies are to come. Where none was awaited, the silence that command_timeout bounds
 * begins now; else it goes on since the last byte received. */
void gavel__link_expect(gavel__link *link, size_t n, int64_t now_us);

/* Without a timeout silence is no fault: the server was asked to wait. */
void gavel__link_set_timeout(gavel__link *link, bool has_timeout);

/* Replies still to come. A reply that nobody expects breaks the link. */
size_t gavel__link_n_expected(const gavel__link *link);

/*
 * Sends what the kernel takes, in one system call if it can. Calls no callback: if sending fails,
 * the link is due at once (gavel__link_due_us), and goes down in the next on_ready, deliver or
 * on_time, after handing out the replies that had arrived. Nothing more is sent until then.
 */
void gavel__link_flush(gavel__link *link);

/* The fd is ready: goes on connecting, sends, receives (one system call if that empties the
 * socket). Calls any of the callbacks. */
void gavel__link_on_ready(gavel__link *link, bool is_readable, bool is_writable, int64_t now_us);

/*
 * Sleeps up to 10 ms for replies, outside of any loop; false if the transport cannot. In two
 * steps, so that a caller can give its lock up for the sleep: wait touches nothing of the link but
 * its socket and its receive buffer; others may append, expect and flush meanwhile, and nothing
 * else. Then deliver, under the lock, calls the callbacks.
 */
bool gavel__link_can_wait(const gavel__link *link);
void gavel__link_wait(gavel__link *link);
void gavel__link_deliver(gavel__link *link, int64_t now_us);

/* When gavel__link_on_time wants to be called; GAVEL__NEVER while nothing is awaited. */
int64_t gavel__link_due_us(const gavel__link *link);

/* Breaks the link if it has been silent too long, or cannot send; first receives what has arrived
 * meanwhile, which may do away with the reason. Calls any of the callbacks. */
void gavel__link_on_time(gavel__link *link, int64_t now_us);

/* UP: whether the server's WAITAOF may be believed. */
bool gavel__link_can_tell_fsync(const gavel__link *link);

/* Bytes of commands handed to the kernel since the link came UP, handshake not counted; still valid
 * inside and after on_down, until the next connect. */
uint64_t gavel__link_n_sent_bytes(const gavel__link *link);

const gavel__link_counters *gavel__link_get_counters(const gavel__link *link);

#endif
