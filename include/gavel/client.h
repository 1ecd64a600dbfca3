/*
 * Clients: a program's handle on one Redis server, or on a Cluster.
 *
 * A client is of one of two kinds, for all its life:
 *
 *   blocking   opened without a loop. gavel_run may be called from any number of threads at once.
 *              There is no thread behind it: whoever waits drives the connections, for all. (But
 *              while it holds locks, one of gavel's own renews them when nobody else drives.)
 *   attached   opened with the program's own libev loop (config.loop), or for any other one
 *              (config.is_polled; gavel/polled.h). gavel_submit, and everything else on this
 *              client, in the loop's thread only. Callbacks come from the loop, never from inside
 *              gavel_submit.
 *
 * Connections are made when they are first needed, and made again when they are lost.
 */
#ifndef GAVEL_CLIENT_H
#define GAVEL_CLIENT_H

#include <gavel/export.h>
#include <gavel/outcome.h>
#include <gavel/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ev_loop;

typedef struct gavel_client gavel_client;

/*
 * Where a client's memory comes from. As realloc: memory NULL allocates; size 0 frees and returns
 * NULL; NULL on failure, the old block untouched. Called by the thread that is inside gavel; for a
 * blocking client, that may be any thread that uses it, one at a time. hiredis, libev and OpenSSL
 * use malloc all the same, and so do the replies that an outcome of gavel_run or gavel_lock_do
 * keeps: these are freed whenever their caller likes.
 */
typedef struct gavel_allocator {
    void *(*resize)(void *user, void *memory, size_t size);
    void *user;
} gavel_allocator;

/* ---- What happens inside, as it happens ---------------------------------------------------- */

typedef enum gavel_event_type {
    GAVEL_EVENT_LINK_UP,     /* connected, logged in, checked: `message` is the server's URL */
    GAVEL_EVENT_LINK_DOWN,   /* lost, or never came up: `message` says why */
    GAVEL_EVENT_ATTEMPT,     /* a body has run; `status` is not set */
    GAVEL_EVENT_CONFLICT,    /* an attempt was lost to somebody else's write */
    GAVEL_EVENT_IN_DOUBT,    /* a link was lost between EXEC and its reply */
    GAVEL_EVENT_OUTCOME,     /* a transaction ended, with `status` */
    GAVEL_EVENT_LINK_CLOSED, /* by gavel itself, no fault: it waited, and nobody does any more */
    GAVEL_EVENT_LOST, /* a transaction that was told COMMITTED is not in the data; see below */
    GAVEL_EVENT_MAY_BE_LOST /* likewise, but it may be there, or a part of it */
} gavel_event_type;

/*
 * GAVEL_EVENT_LOST: a server that crashed or failed over has gone back to an older state of its
 * data, and a transaction whose outcome was COMMITTED, or COMMITTED_WITH_ERRORS, is not in it. Told
 * by a client that has on_event, once for each, when a link was lost and one is up, and the client
 * is driven. `ticket` is that of its outcome; `user` is NULL, since what it points to may be gone.
 * It may come before gavel_run has returned in its thread. A ticket of 0: some more are lost, which
 * committed more than a minute before the last one, or before 2^20 others, and so cannot be named.
 * docs/semantics.md says what cannot be told.
 *
 * GAVEL_EVENT_MAY_BE_LOST: the same, in a Cluster, of a transaction whose slot has migrated since,
 * or may have. Its keys went one after another, and a server that went back meanwhile, or after,
 * may have lost any of them, or none. Told instead of LOST, never of one that was told as LOST.
 */
typedef struct gavel_event {
    gavel_event_type type;
    uint32_t link;       /* which link, from 0; of all nodes of a Cluster */
    void *user;          /* the transaction's; NULL for an event of a link, and of losses */
    gavel_ticket ticket; /* the transaction's, as in its outcome; 0 for an event of a link */
    uint32_t n_attempts; /* the transaction's, so far; of losses: 0 */
    gavel_status status; /* OUTCOME only */
    const char *message; /* never NULL; valid during the call; holds no secret */
} gavel_event;

typedef enum gavel_log_level { GAVEL_LOG_DEBUG, GAVEL_LOG_INFO, GAVEL_LOG_WARNING } gavel_log_level;

/*
 * Callbacks for watching a client at work. Any of them may be NULL. They run in the thread that is
 * inside gavel, must not call gavel, and see no password. `user` is hooks.user.
 */
typedef struct gavel_hooks {
    void (*on_event)(const gavel_event *event, void *user);
    void (*on_log)(gavel_log_level level, const char *line, void *user);
    void *user;
    uint64_t reserved[4]; /* zero; see gavel/gavel.h */
} gavel_hooks;

/*
 * A ready on_log: writes each line to standard error, at once, in a single write:
 *
 *     2026-11-29T09:00:00.123Z gavel warning: redis://db:6379: link 0: Connection refused
 *
 * A client that has it tells what is of the level in the environment's GAVEL_LOG, or above: debug,
 * info, warning; off tells nothing; not set or empty, it is info. With debug there is a line for
 * each event, too. GAVEL_LOG also gives this log to a client whose on_log is NULL; gavel_open fails
 * if it says anything else. Any thread. `user` is not looked at.
 *
 * Every line of a client begins with its server, and one of a link with the server that the link
 * leads to: a node, say, of a Cluster. `link` of an event is the same number. Where gavel_open
 * fails there is none: that line begins with "gavel_open" and says why, to the config's on_log as
 * well. That a server cannot be reached is told once for each reason; then the link that comes up
 * says how many tries have failed before.
 */
GAVEL_EXPORT void gavel_log_stderr(gavel_log_level level, const char *line, void *user);

/*
 * What to do where several processes want the same keys. Every write commits through WATCH in all
 * of them; they differ in which one goes first.
 *
 *     adaptive     races, as long as that pays; a transaction that keeps losing queues at the key's
 *                  gate
 *     optimistic   only races: a transaction may lose until its attempts or its time run out
 *     gated        queues always: for keys that are known to be hot
 *
 * A gate is a queue on the server that all processes share. Its waiters are woken in order of
 * arrival and cost nothing meanwhile; a holder that dies holds them up until its lease ends.
 */
typedef enum gavel_mode { GAVEL_ADAPTIVE, GAVEL_OPTIMISTIC, GAVEL_GATED } gavel_mode;

/* ---- Logging in with what changes ---------------------------------------------------------- */

/* A login that the program is asked for. */
typedef struct gavel_login gavel_login;

/*
 * Names the user (NULL: the default one) and the password or token (NULL: none) of a login. To be
 * called inside a gavel_log_in, in its thread; the last call counts. Both are copied, so they may
 * be wiped when it returns; gavel's copies are wiped when the server has answered the login.
 */
GAVEL_EXPORT void gavel_login_use(gavel_login *login, const char *user, const char *password);

/*
 * Asked as whom to log in, anew for each connection, once that is there: for passwords that are
 * rotated and tokens that expire. Calls gavel_login_use and returns NULL; or returns why there is
 * no login, for people, without a secret: a string that lives as long as the thread.
 *
 * It runs in a thread of gavel's own, at most once at a time for each client, and may take its
 * time. Meanwhile connections that are up go on, and connect_timeout_ms does not count; deadlines
 * do, and nothing is sent. If there is no login, or the server refuses it, the next try asks again,
 * within the deadlines (a login of the URL's or the config's that is refused is final). gavel_close
 * waits until it has returned. It must not call gavel with this client.
 */
typedef const char *gavel_log_in(gavel_login *login, void *user);

/* ---- Servers that are elsewhere than they say ---------------------------------------------- */

/* Where a server is. */
typedef struct gavel_address {
    char host[256]; /* a name, or a number; IPv6 without brackets; ends in a NUL */
    int port;       /* from 1 to 65535 */
} gavel_address;

/*
 * For servers behind NAT, a tunnel or the network of containers: they name one another by addresses
 * that do not lead there from here. Is handed such an address, and writes over it the one to be
 * dialled; one that is good as it is it leaves alone. Asked of the primary that Sentinels name, of
 * other Sentinels than those in the URL, and of all nodes of a Cluster but the URL's. What is no
 * address counts as unchanged.
 *
 * It runs in the thread that is inside gavel, again and again for the same address, and should give
 * the same answer, at once: a name that it returns is looked up by gavel. It must not call gavel.
 */
typedef void gavel_map_address(gavel_address *address, void *user);

/* ---- Opening and closing ------------------------------------------------------------------- */

/* Zero means the default, which stands beside the field. */
typedef struct gavel_config {
    struct ev_loop *loop; /* NULL: a blocking client, or a polled one; else an attached one */
    bool is_polled;       /* true: attached to any other loop; see gavel/polled.h */
    uint32_t max_links;   /* 0: 4. Connections to the server */
    gavel_mode mode;      /* 0: GAVEL_ADAPTIVE */
    /* 0: 4. Connections beside max_links: one for each gate that is waited for or held at the same
     * time. At most 64 together with max_links, also where either is the default. */
    uint32_t max_gate_links;
    /* 0: 16. Connections beside these that wait for locks, one for each name, at most 256: beyond
     * that a wait begins when another has ended. */
    uint32_t max_waiting_links;
    uint32_t gate_lease_ms; /* 0: 500. At least 50. For how long a dead holder holds others up */
    uint32_t max_queued;    /* 0: 65536. Transactions waiting at once; one more is NOT_SENT */
    /*
     * Transactions that are ready at the same time share rounds, each one WATCH ... EXEC. A round
     * takes no further one when it has reached any of these; a single one is never refused.
     */
    uint32_t max_round_width; /* 0: 64. Transactions; 1: each has its own EXEC */
    uint32_t max_round_keys;  /* 0: 128. At most 512 */
    size_t max_round_bytes;   /* 0: 1 MiB. Of writes: what is beyond runs again in the next round */
    uint32_t max_round_body_us; /* 0: 1000. Of bodies, one after another: the rest runs later */
    /* 0: 5000. Of transactions that name none; at most half of marker_ttl_ms */
    uint32_t default_deadline_ms;
    uint32_t connect_timeout_ms; /* 0: 1000. Connecting and logging in, for each address */
    uint32_t command_timeout_ms; /* 0: 1000. Silence of the server before a link is given up */
    /* false: each link has a marker, a small key that its EXECs count up, and which tells whether
     * an EXEC was made whose reply was lost. true: such a transaction is UNKNOWN, unless it has an
     * id. */
    bool has_no_markers;
    uint32_t marker_ttl_ms; /* 0: 900000. At least 600000; deadlines: at most half of it */
    uint64_t id_ttl_ms;     /* 0: a day. How long an id is remembered; at most 100 years */
    /* NULL: "gavel:". Of the keys that gavel itself writes; at most 64 bytes, no brace. Clients
     * share ids, gates and locks with those of the same prefix, and with no others. */
    const char *key_prefix;
    const char *name;     /* NULL: "gavel". For CLIENT SETNAME; no blanks; "": none */
    const char *user;     /* NULL: the URL's, or the server's default user */
    const char *password; /* NULL: the URL's, or none */
    gavel_log_in *log_in; /* NULL: these do not change. Else asked for both, at each login */
    void *log_in_user;    /* its `user` */
    /*
     * For rediss:// only. The server's certificate must be valid, signed by an authority that is
     * trusted, and for the URL's host. Files are in PEM form; they are read by gavel_open, or, if
     * that fails, which the log tells, by the next connection, and anew after a certificate was
     * refused.
     */
    const char *ca_file;     /* NULL: the system's authorities, where ca_folder is NULL too */
    const char *ca_folder;   /* NULL: none. Of certificates, as `openssl rehash` makes it */
    const char *cert_file;   /* NULL: none. Ours, with what links it to its authority behind it */
    const char *key_file;    /* NULL: in cert_file. The key of it, without a passphrase */
    const char *server_name; /* NULL: the host that is dialled. Whose certificate it has to be */
    bool is_insecure; /* false. true: any certificate will do, so whoever is between reads along */
    /* false: where fewer than a majority of the Sentinels answer, nothing is committed, since the
     * primary may have been replaced. true: the one that was last named is believed then. */
    bool may_go_without_sentinels;
    size_t max_reply_bytes;    /* 0: 64 MiB. Who reads more is NOT_SENT */
    uint64_t seed;             /* 0: from the system. Of the jitter, for replaying */
    gavel_allocator allocator; /* resize NULL: malloc's */
    gavel_hooks hooks;
    /* 0: none. Of transactions that name none; as theirs, GAVEL_ALL_REPLICAS too. What asks for
     * replicas is up to 4 more connections; it needs markers. */
    uint32_t min_replicas;
    uint32_t durable_ms;            /* 0: 1000. Likewise */
    bool needs_fsync;               /* false. true: of all transactions */
    gavel_map_address *map_address; /* NULL: servers are where others say that they are */
    void *map_address_user;         /* its `user` */
    /* false: after a failover the primary is the one that a Sentinel names. true: the replica that
     * is promoted is gone to a second earlier. If that failover is given up all the same, since the
     * Sentinel that led it has died in just that second, what was committed there is lost, and told
     * so (GAVEL_EVENT_LOST). For Sentinels only. */
    bool is_failover_eager;
    uint64_t reserved[11]; /* zero; see gavel/gavel.h */
} gavel_config;

#define GAVEL_ERROR_SIZE 512

/* Why gavel_open failed, for people. Holds no password. */
typedef struct gavel_error {
    char message[GAVEL_ERROR_SIZE];
} gavel_error;

/*
 * Opens a client for the server at `url`:
 *
 *     redis://[user[:password]@]host[:port][/db]     rediss://... the same over TLS
 *     unix://[user[:password]@]/path/of/socket
 *     redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/NAME[/db]
 *                                                    rediss+sentinel://... the same over TLS
 *     redis+cluster://[user[:password]@]host[:port][,host[:port]...]
 *                                                    rediss+cluster://... the same over TLS
 *
 * NULL: the one in the environment's GAVEL_URL, which the gavel command reads as well, or if that
 * is not set or empty redis://127.0.0.1:6379. Each form may end in options, joined by an ampersand:
 *
 *     redis://host?name=billing&deadline_ms=2000&mode=gated
 *
 *     db                                         the database, as behind the slash
 *     name, key_prefix, mode                     as in gavel_config; modes: adaptive, optimistic,
 *                                                gated
 *     connect_timeout_ms, command_timeout_ms     as there
 *     max_links                                  as there
 *     ca_file, ca_folder, cert_file, key_file,   as there
 *     server_name
 *     insecure                                   its is_insecure: yes or no
 *     deadline_ms                                its default_deadline_ms
 *     min_replicas, durable_ms                   as there; a number of replicas, or all
 *     needs_fsync                                as there: yes or no
 *     replicas                                   of redis://, rediss:// and unix://: host[:port],
 *                                                joined by commas; for is_stale_ok
 *     without_sentinels                          its may_go_without_sentinels: yes or no
 *     eager_failover                             its is_failover_eager: yes or no
 *     sentinel_user, sentinel_password           the login at the Sentinels, for redis+sentinel://;
 *                                                what stands in front is the server's
 *
 * With Sentinels (also written redis-sentinel://) the server is the primary that they know by NAME,
 * wherever it is. The hosts are some of them, one at least, at port 26379 unless it is named; the
 * others are learnt. A failover costs time: what was under way is tried again at the new primary,
 * or asked for there. A primary is believed only while a majority of the Sentinels vouches for it
 * (docs/design.md, Sentinels). That there is no such NAME, or that a host refuses the login, is no
 * Sentinel, or has TLS where the URL says otherwise, the log tells at once. Where that has been so
 * of a majority of the hosts for a second (with without_sentinels: of all), and none of them has
 * ever named a primary, transactions end as NOT_SENT; else at their deadlines.
 * With rediss, each Sentinel and server shows a certificate for its host, as the URL has it or
 * others name it (and map_address says), a number as an IP address; or all show one for the name in
 * server_name.
 *
 * In a Cluster (also written redis-cluster://) the hosts are some of its nodes, one at least, at
 * port 6379 unless it is named; the others are learnt, and who serves which slot. All keys of a
 * transaction are in one slot (gavel/transaction.h). max_links and the other bounds on connections
 * are for each node. Replicas are read by transactions with is_stale_ok alone; and only database 0
 * is used, also of a Valkey that has more of them. A slot that moves, and a replica that takes its
 * primary's place, cost time, and nothing else; but what a failover undid is told by
 * GAVEL_EVENT_LOST or MAY_BE_LOST. With rediss, certificates are as above.
 *
 * An option that is unknown, repeated or out of bounds is an error, and so is one that gavel_config
 * sets otherwise, or a login that does. User, password, path and the values of options are
 * percent-decoded; a password holds no bare slash, question mark or number sign (%2F, %3F, %23). An
 * IPv6 host stands in brackets. Of a host with several addresses each is tried; a name is looked up
 * by a thread of gavel's own, which ends with the answer, and which nobody waits for. Does not
 * connect, so an unreachable server is told by the first transaction; but for rediss:// it reads
 * the authorities, which may take a tenth of a second. `config` may be NULL; it is copied, with its
 * strings. Returns NULL, with the reason in the log and in *ret_error unless that is NULL, for a
 * bad URL or config, TLS in a build without it, or no memory. For an attached client: in the loop's
 * thread.
 *
 * A client does not survive fork(): in the child every call on it is refused, and gavel_close frees
 * it, unless another thread was inside it at that moment: then it is left as it is.
 */
GAVEL_EXPORT gavel_client *gavel_open(
    const char *url, const gavel_config *config, gavel_error *ret_error);

/*
 * Completes everything in flight and frees the client. What was not sent ends as CANCELLED. What
 * was sent and not answered: a blocking client waits for it, up to the deadlines; an attached one
 * does not wait, it ends as UNKNOWN. What waits for replicas ends as COMMITTED_NOT_DURABLE. Takes
 * NULL. Callers of gavel_run in other threads are told, and gavel_close returns when they have
 * left; no thread may begin a call on the client after gavel_close was called. For an attached
 * client: in the loop's thread, and allowed inside a completion callback (the memory goes when that
 * has returned), not inside a body or hook, where it does nothing but log.
 *
 * Locks that are held are released and their handles freed: a blocking client waits for the server
 * as gavel_lock_release does, an attached one sends what it can without waiting, and the leases end
 * the rest. Requests for locks end as transactions do.
 */
GAVEL_EXPORT void gavel_close(gavel_client *client);

/* ---- Running transactions ------------------------------------------------------------------ */

/*
 * Runs a transaction and returns its outcome, by the deadline. Blocks; any thread; `transaction`
 * and what it points to need to live only during the call. On an attached client, in a body and in
 * a hook it returns INVALID at once, and so it does for a NULL. With keep_replies, pass the outcome
 * to gavel_outcome_clear. The thread must not be cancelled (pthread_cancel) in here.
 */
GAVEL_EXPORT gavel_outcome gavel_run(gavel_client *client, const gavel_transaction *transaction);

/*
 * Told once for every submitted transaction, from the client's loop. `outcome` and its replies
 * live until the callback returns. May submit, cancel and close; must not wait for this client, by
 * turning its loop, say. `user` is the transaction's.
 */
typedef void gavel_done(const gavel_outcome *outcome, void *user);

/*
 * Starts a transaction on an attached client and returns its ticket. `done` is called exactly
 * once, later, also for a transaction that is INVALID. Returns 0, and will not call `done`, only
 * when there was no memory or the call was not allowed: a blocking or closing client, none, no
 * `done`, another process than the opener, inside a body or a hook; the log says which. A client
 * with work in flight keeps ev_run from returning, or gavel_turn says true; one without does not.
 */
GAVEL_EXPORT gavel_ticket gavel_submit(
    gavel_client *client, const gavel_transaction *transaction, gavel_done *done);

/*
 * Takes a transaction back: `done` will be called with CANCELLED, later. If its EXEC is already on
 * its way the outcome is what that comes to, and only a further attempt is cancelled; if it waits
 * for replicas it ends as COMMITTED_NOT_DURABLE. Returns false, and does nothing, for a ticket that
 * is 0 or already done. Legal in every completion callback.
 */
GAVEL_EXPORT bool gavel_cancel(gavel_client *client, gavel_ticket ticket);

/* ---- Statistics ---------------------------------------------------------------------------- */

/* Latencies, call to outcome. Bucket i counts those below gavel_latency_bound_us(i). */
#define GAVEL_N_LATENCIES 96

/* Of gavel_stats' counters of outcomes: more than there are statuses. */
#define GAVEL_N_STATUSES 32

typedef struct gavel_stats {
    uint64_t n_outcomes[GAVEL_N_STATUSES]; /* by status; those that are none: 0 */
    uint64_t n_attempts;                   /* runs of bodies, those with AGAIN not counted */
    uint64_t n_conflicts;                  /* EXECs that answered nil */
    uint64_t n_rounds;                     /* rounds that reached EXEC */
    uint64_t n_round_trips;                /* writes followed by a wait for their replies */
    uint64_t n_commands;                   /* sent, without those for markers */
    uint64_t n_marker_commands;            /* sent for markers; a watched marker is no command */
    uint64_t n_in_doubt;                   /* rounds whose reply to EXEC was lost */
    uint64_t n_settled;                    /* of these, settled by the marker */
    uint64_t n_links_up;                   /* links that came up, ever */
    uint64_t n_links_down;                 /* links that were lost or never came up */
    uint64_t n_sends;                      /* write system calls */
    uint64_t n_receives;                   /* read system calls */
    uint64_t latencies[GAVEL_N_LATENCIES];
    uint64_t n_lost;        /* commits that the server has lost: see GAVEL_EVENT_LOST */
    uint64_t n_may_be_lost; /* and those that it may have lost: GAVEL_EVENT_MAY_BE_LOST */
    uint64_t reserved[14];  /* zero; see gavel/gavel.h */
} gavel_stats;

/*
 * Copies the client's counters. Blocking client: any thread. Zeroes in a body or hook, in a child
 * process, and for a client that is NULL; `ret_stats` must not be.
 */
GAVEL_EXPORT void gavel_read_stats(gavel_client *client, gavel_stats *ret_stats);

/* The upper bound of a bucket, in microseconds: four buckets to each doubling; the last one has
 * none and says INT64_MAX. Any thread. */
GAVEL_EXPORT int64_t gavel_latency_bound_us(size_t bucket);

#ifdef __cplusplus
}
#endif

#endif
