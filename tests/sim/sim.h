/*
 * The simulator: a Redis server, a network and a clock, all in one thread and in virtual time.
 *
 * It stands in for libev and for sockets (see client/platform.h), so that the client under test is
 * the very code that ships. Everything that happens follows from the seed and from what the test
 * does: the same seed plays the same run, down to each byte and microsecond (see sim_hash). For
 * tests only. A misuse, no memory, or a run that cannot end prints a line and aborts.
 *
 *     sim_world *world = sim_create(seed);
 *     sim_set_faults(world, &(sim_faults){.break_send_per_mille = 20, .late_per_mille = 500});
 *     gavel_client *client = sim_open(world, NULL);
 *     for (size_t i = 0; i < 100; i++)
 *         sim_submit(world, client, &(gavel_transaction){.body = add_one, ...});
 *     assert(sim_finish(world, 60 * SIM_SECOND));
 *     ... compare sim_n_results_with(world, GAVEL_COMMITTED) with sim_get_int(world, "counter")
 *     gavel_close(client);
 *     sim_destroy(world);
 *
 * With Sentinels, before anything has connected:
 *
 *     size_t sentinel = sim_add_sentinels(world, &(sim_service){.n_replicas = 2});
 *     gavel_client *client = sim_open(world, NULL);
 *     ... server 0 is the primary, 1 and 2 are its replicas, the Sentinels have the next numbers.
 *     sim_choose(world, 0);
 *     sim_restart(world, 30 * SIM_SECOND, true);   kill -9, and started again 30 s later
 *     sim_silence(world, 5 * SIM_SECOND);          or stopped, and resumed 5 s later
 *     sim_choose(world, sentinel);
 *     sim_do(world, "SENTINEL FAILOVER mymaster"); or replaced by hand
 *     sim_choose(world, sentinel + 2);
 *     sim_silence(world, 8 * SIM_SECOND);          meanwhile one of them sees nothing
 *     sim_partition(world, SIM_MACHINE(0) | sim_machine_of(world, client), SIM_ALL_SERVERS, ...);
 *     ...
 *     sim_choose(world, sim_primary(world));       the data are those of the last primary
 *     ... sim_get_int(world, "counter")
 *
 * The timeline, with down_after_ms = 1000: 1.0 to 1.1 s after kill -9 (1.1 to 2.1 after a stop) the
 * Sentinels see it; 0.3 s later a replica is a primary; 0.9 s later the leader names it, and 0.1 s
 * later the others, who publish +switch-master; the leader does after one more second, when the
 * other replicas have been told. A primary that was replaced goes on being one for ten seconds.
 */
#ifndef SIM_H
#define SIM_H

#include "client/platform.h"

#include <gavel/gavel.h>

#define SIM_MILLISECOND INT64_C(1000)
#define SIM_SECOND INT64_C(1000000)

typedef struct sim_world sim_world;

/* An empty server that can be reached, no faults. Never NULL. */
sim_world *sim_create(uint64_t seed);

/* Takes NULL. Clients must have been closed, but for those that have crashed: a loop or transport
 * left open aborts, as a leak. */
void sim_destroy(sim_world *world);

/* Which Redis it plays: "7.0.15", unless it is told otherwise, or "valkey 9.1.2". What it does
 * differently is known for 7.0 and 8.0, and for Valkey 9 in a cluster. Before anything has
 * connected. */
void sim_set_version(sim_world *world, const char *version);

/* The clock, in microseconds. It moves only while the world runs, and does not start at 0. */
int64_t sim_now_us(const sim_world *world);

/* A number in 0 .. bound - 1 from the seed, for the choices of the test itself. */
uint64_t sim_random(sim_world *world, uint64_t bound);

/* Seeds to play, up to the one before `end`. */
typedef struct sim_seeds {
    int first;
    int end;
    bool is_one; /* that was asked for */
} sim_seeds;

/* The first n; or GAVEL_SEEDS of them, from GAVEL_FIRST_SEED on; or GAVEL_SEED alone. */
sim_seeds sim_choose_seeds(int n);

/* ---- Clients ------------------------------------------------------------------------------- */

/* The platform for gavel__open_on. Attached clients share one loop, as in a real program; each
 * blocking client has its own, which runs the world while gavel_run waits. */
gavel__platform sim_platform(sim_world *world, bool is_blocking);

/* Whether a blocking client's link can be waited for outside its loop. At first: no. */
void sim_allow_wait(sim_world *world, bool is_allowed);

/* Opens an attached client: of the service, or cluster, if there is one. `config` may be NULL. What
 * it wants of chance comes from the seed. */
gavel_client *sim_open(sim_world *world, const gavel_config *config);

/* The same, by a URL: see sim_host_of. */
gavel_client *sim_open_url(sim_world *world, const char *url, const gavel_config *config);

/* Opens a client for gavel_run, to be used from the test's own thread. */
gavel_client *sim_open_blocking(sim_world *world, const gavel_config *config);

/*
 * Stops the process that the client runs in, as SIGSTOP does, and lets it go on. None of its code
 * runs meanwhile and the clock goes on; its kernel still takes what comes. Each client is a process
 * of its own. From inside the client's own callback, it stops when that has returned.
 */
void sim_pause(sim_world *world, gavel_client *client);
void sim_resume(sim_world *world, gavel_client *client);

/*
 * Ends an attached client as kill -9 does: none of its code runs any more, what its kernel has
 * taken still goes out, and behind that its connections close. With orphaned_us above 0 its host
 * goes down, and the server notices so much later: see sim_orphan. The client must not be used, nor
 * closed: sim_destroy frees it, and makes the callbacks of gavel_submit then.
 */
void sim_crash(sim_world *world, gavel_client *client, int64_t orphaned_us);

/* What came of a submitted transaction. */
typedef struct sim_result {
    bool is_done;
    bool is_refused;       /* gavel_submit returned 0; `is_done` then, too */
    bool is_crashed;       /* its client crashed first: no outcome; `is_done` then, too */
    uint32_t n_done_calls; /* must end as 1; 0 if crashed */
    int64_t done_at_us;
    gavel_ticket ticket;
    gavel_outcome outcome; /* without its replies: they are gone with the callback */
    void *user;            /* the transaction's */
    gavel_body *body;      /* the transaction's; belongs to the simulator, as the next ones do */
    gavel_client *client;
    sim_world *world;
} sim_result;

/* gavel_submit, with the outcome kept. The result lives as long as the world. */
const sim_result *sim_submit(
    sim_world *world, gavel_client *client, const gavel_transaction *transaction);

size_t sim_n_results(const sim_world *world);
const sim_result *sim_result_at(const sim_world *world, size_t i); /* in order of submission */
size_t sim_n_results_with(const sim_world *world, gavel_status status);

/* ---- Running ------------------------------------------------------------------------------- */

typedef bool sim_predicate(sim_world *world, void *user);

/* Runs until the predicate holds; false when max_us have passed first. */
bool sim_run_until(sim_world *world, sim_predicate *predicate, void *user, int64_t max_us);

/* Runs for that long. */
void sim_run_for(sim_world *world, int64_t us);

/* Runs until every result of sim_submit is done; false when max_us have passed first. */
bool sim_finish(sim_world *world, int64_t max_us);

/* Whether any client has said that it has work in flight (the loop's set_busy). */
bool sim_is_busy(const sim_world *world);

/* ---- Several servers ----------------------------------------------------------------------- */

/* Servers have numbers. sim_create has made number 0. */
#define SIM_MAX_SERVERS 32

/* Adds another one, empty, and returns its number. Before anything has connected. */
size_t sim_add_server(sim_world *world);

/* Where it listens: "10.0.1.1", ... by number, and 6379, or 26379 for a Sentinel. */
const char *sim_host_of(const sim_world *world, size_t server);
int sim_port_of(const sim_world *world, size_t server);

/* It has died, and is there again at once with its data, at the next port. Dials to those that it
 * had before are refused. */
void sim_give_port(sim_world *world, size_t server);

/* What this header says of "the server" is meant for that one from now on; at first for number 0.
 * Returns which one was meant before. */
size_t sim_choose(sim_world *world, size_t server);

/* Machines, as a set: each server has one of its own, and each client. */
typedef uint64_t sim_machines;
#define SIM_MACHINE(server) (UINT64_C(1) << (server))
#define SIM_ALL_SERVERS UINT64_C(0xffffffff)
#define SIM_ALL_CLIENTS (~SIM_ALL_SERVERS)

/* That of a client. Those behind the 31st share one. */
sim_machines sim_machine_of(const sim_world *world, const gavel_client *client);

/*
 * For that long, no packet gets from `some` to `others`, or back. Nobody is told: what is sent is
 * sent again until it gets through, and dials hang. Up to 16 at a time.
 */
void sim_partition(sim_world *world, sim_machines some, sim_machines others, int64_t us);

/* ---- Replication --------------------------------------------------------------------------- */

/*
 * Adds a server that follows `primary`, with all of its data, and returns its number. What the
 * primary writes comes to it later, in order, an EXEC as a whole; by how much later is drawn for
 * each write: at first up to a few milliseconds.
 */
size_t sim_add_replica(sim_world *world, size_t primary);
void sim_set_lag(sim_world *world, size_t replica, int64_t min_us, int64_t max_us);

/* How long what is written takes, at most, until it is safe in the server's file; 0: it is before
 * the reply; -1, as at first: there is no file. Only WAITAOF tells, from 7.2 on. */
void sim_set_fsync(sim_world *world, size_t server, int64_t every_us);

/* For Sentinels: the lowest is promoted first; 0: never; at first 100. */
void sim_set_priority(sim_world *world, size_t replica, int priority);

/*
 * REPLICAOF. From a moment later on, `server` follows `primary`; itself: it is a primary, with what
 * it has. The data of one that follows another are replaced soon, when both are there, by that
 * one's. Clients stay connected, but for those that wait in BLPOP or WAIT for a primary.
 */
void sim_replicate(sim_world *world, size_t server, size_t primary);

/* What `server` follows; itself for a primary. */
size_t sim_primary_of(const sim_world *world, size_t server);

/* Whether they have the same keys, with the same values and times to live. */
bool sim_is_same_data(const sim_world *world, size_t one, size_t other);

/* How much of its history it has, in bytes. */
int64_t sim_offset(const sim_world *world, size_t server);

/* ---- Sentinels ----------------------------------------------------------------------------- */

/* 0, or NULL: what stands behind it. */
typedef struct sim_service {
    const char *name;             /* "mymaster"; borrowed only by the call */
    uint32_t n_replicas;          /* 2 */
    uint32_t n_sentinels;         /* 3 */
    uint32_t quorum;              /* a majority */
    uint32_t down_after_ms;       /* 1000 */
    uint32_t failover_timeout_ms; /* 10000; after one that came to nothing, twice as long */
} sim_service;

/*
 * Adds replicas of server 0, and Sentinels that watch it, and each other. Returns the number of the
 * first Sentinel: servers 1 and on are the replicas, those from there on the Sentinels. At most
 * once. `service` may be NULL.
 *
 * What a Sentinel knows survives its restart; one that does not keep its data believes in server 0
 * again, until it hears better. SENTINEL FAILOVER: sim_choose a Sentinel, and sim_do.
 */
size_t sim_add_sentinels(sim_world *world, const sim_service *service);

/* Where the history goes on: the primary that the highest config-epoch names, and that epoch. It
 * is one a second before any Sentinel names it, and may not be there any more. */
size_t sim_primary(const sim_world *world);
uint64_t sim_epoch(const sim_world *world);

size_t sim_n_sentinels(const sim_world *world);

/* ---- Cluster ------------------------------------------------------------------------------- */

/* 0, or NULL: what stands behind it. */
typedef struct sim_cluster {
    uint32_t n_primaries;     /* 3 */
    uint32_t n_replicas;      /* of each of them; none */
    uint32_t node_timeout_ms; /* 1500. How long nobody hears of a node that is taken to be down */
    bool serves_reads_when_down; /* cluster-allow-reads-when-down */
} sim_cluster;

#define SIM_N_SLOTS 16384

/*
 * Makes the world a Redis Cluster. Servers 0 .. n_primaries - 1 have the slots, in equal parts and
 * in order; the servers behind them are replicas, of 0, 1, ... 0, 1, ... At most once. `cluster`
 * may be NULL.
 *
 * Each node has a slot map of its own, which may be old: see sim_believe. It answers as Redis 7.0
 * and 8 do, or as Valkey 9 does: see sim_set_version. sim_do is a client of the chosen server like
 * any other, and is sent elsewhere, too; while writers have to wait, it gets an error.
 *
 *     sim_choose(world, 3);
 *     sim_do(world, "CLUSTER FAILOVER");   server 3, a replica, takes the place of its primary
 *     sim_choose(world, 1);
 *     sim_restart(world, 5 * SIM_SECOND, true);   its replica does by itself, after 2.1 to 2.8 s
 *
 * Whoever has lost its slots follows the one that has them. A node takes the cluster to be down,
 * and answers CLUSTERDOWN, while a slot has no owner that lives, while it reaches less than half of
 * the primaries, and for two seconds after its start as a primary.
 */
void sim_add_cluster(sim_world *world, const sim_cluster *cluster);

unsigned sim_slot_of(const char *key);

/* Who has the slot; and who does as `server` believes. SIM_MAX_SERVERS: nobody. */
size_t sim_owner_of(const sim_world *world, unsigned slot);
size_t sim_believed_owner(const sim_world *world, size_t server, unsigned slot);

/* Chooses the server that has the key, or would get it: to look at the data, and for sim_do.
 * Returns which one was meant before. */
size_t sim_choose_by_key(sim_world *world, const char *key);

/* Lets `server` believe that `owner` has the slot, until it hears of a later epoch. */
void sim_believe(sim_world *world, size_t server, unsigned slot, size_t owner);

/* How long it takes until another node hears of an owner that is new; at first 100 us to 20 ms. */
void sim_set_gossip(sim_world *world, int64_t min_us, int64_t max_us);

/* How a slot goes to another node. 0: what stands behind it. */
typedef struct sim_move {
    unsigned slot;
    size_t to;        /* a primary, or who leads its shard by then */
    bool is_atomic;   /* as Valkey 9 and Redis 8.4 do; else key by key, with ASK and TRYAGAIN */
    int64_t key_us;   /* between two keys; 1 ms */
    int64_t pause_us; /* an atomic one: how long the old owner makes writers wait; 5 ms */
} sim_move;

/*
 * Begins to move the slot. It goes on through failovers and whatever else, when the two nodes can
 * reach each other again; an atomic one that has met such a thing is given up, and begins anew. One
 * of a slot that moves already waits for that.
 */
void sim_move_slot(sim_world *world, const sim_move *move);

/* Of the moves that have begun, how many are not over. */
size_t sim_n_moves(const sim_world *world);

/* What stands for the host in CLUSTER SLOTS, MOVED and ASK. */
typedef enum sim_endpoint {
    SIM_ENDPOINT_IP,
    SIM_ENDPOINT_EMPTY,   /* "", as by a node that knows no address of its own */
    SIM_ENDPOINT_UNKNOWN, /* cluster-preferred-endpoint-type unknown-endpoint: nil, and "" */
    SIM_ENDPOINT_NO_NAME  /* the same, hostname, of one that has none: "?" */
} sim_endpoint;

void sim_set_endpoint(sim_world *world, sim_endpoint endpoint);

/* ---- The server's name --------------------------------------------------------------------- */

/* What becomes of a dial to one of the server's addresses. */
typedef enum sim_host { SIM_HOST_SERVES, SIM_HOST_REFUSES, SIM_HOST_HANGS } sim_host;

#define SIM_MAX_HOSTS 8

/*
 * What look-ups that begin from now on bring, and after how long: n addresses, which serve, refuse
 * and hang as said (copied), from now on; none: there is no such name. At first: one that serves,
 * at once.
 */
void sim_set_hosts(sim_world *world, int64_t look_up_us, const sim_host *hosts, size_t n);

/* So far: look-ups that have begun, and dials to one of the addresses. */
uint64_t sim_n_look_ups(const sim_world *world);
uint64_t sim_n_dials(const sim_world *world, size_t host);

/* ---- Faults that happen by chance ---------------------------------------------------------- */

/*
 * Rates are per mille; 0 switches a fault off. `every` is a mean interval; the time to the next
 * one is uniform in 1 .. 2 * every.
 */
typedef struct sim_faults {
    int64_t latency_min_us; /* one way; 0 for both: 20 .. 120 */
    int64_t latency_max_us;
    uint32_t split_per_mille;       /* of sends and of replies: cut in pieces that travel apart */
    uint32_t short_send_per_mille;  /* the kernel takes only a part, or nothing for now */
    uint32_t stall_per_mille;       /* a piece, and what is behind it, comes late */
    int64_t stall_max_us;           /* 0: 100 ms */
    uint32_t break_send_per_mille;  /* of sends: the connection breaks at a random byte */
    uint32_t break_reply_per_mille; /* of pieces of replies: the same */
    /* Of connections that the client gives up, or that break: what is on its way to the server
     * comes there much later, and is run. The late EXEC that markers are made for. */
    uint32_t late_per_mille;
    int64_t late_max_us;       /* 0: 2 s */
    uint32_t refuse_per_mille; /* of dials: refused, at once or a little later */
    uint32_t hang_per_mille;   /* of dials: never answered */
    uint32_t error_per_mille;  /* of commands: refused with one of `errors`; not WATCH, MULTI
                                  and others that a server runs in any state */
    const char *const *errors; /* ended by NULL, borrowed; NULL: the usual states of a server */
    /* With several servers, each of these two happens to one of them, a Sentinel as well. */
    int64_t silence_every_us;  /* the server stops reading */
    int64_t silence_max_us;    /* 0: 100 ms */
    int64_t restart_every_us;  /* the server dies and comes again */
    int64_t restart_max_us;    /* 0: 100 ms. How long it is away */
    uint32_t forget_per_mille; /* of restarts: without its data */
    /* With Sentinels: the primary is killed or stopped for some seconds, parted from the others
     * with some of the Sentinels, or a Sentinel is told to replace it. In a cluster: one of the
     * primaries, likewise. */
    int64_t failover_every_us;
    int64_t move_every_us;    /* in a cluster: a slot with keys, as a rule, begins to move */
    int64_t evict_every_us;   /* a random key goes */
    const char *evict_prefix; /* of those keys, borrowed; NULL: any */
} sim_faults;

/* Copies them; they hold from now on, in place of those before. NULL: none. */
void sim_set_faults(sim_world *world, const sim_faults *faults);

/* A mixture drawn from the seed: each kind of fault may be there or not. Never without data loss
 * by the server's own doing: no forgetting, no eviction. */
sim_faults sim_draw_faults(sim_world *world);

/* ---- Faults at a chosen place -------------------------------------------------------------- */

typedef enum sim_direction { SIM_TO_SERVER, SIM_TO_CLIENT } sim_direction;

/*
 * A connection breaks after exactly `at_byte` bytes in one direction. To the server: these are
 * delivered and run, `late_us` later than otherwise; the client is cut off at once and gets no
 * more replies. To the client: it gets these bytes, and what it has sent is delivered `late_us`
 * later. 0 to the server: nothing of the first send arrives.
 */
typedef struct sim_cut {
    uint64_t connection; /* by number, from 1; 0: the bytes of all connections are counted on */
    sim_direction direction;
    uint64_t at_byte;
    int64_t late_us;
} sim_cut;

/* Happens once. Up to 16 at a time. */
void sim_cut_at(sim_world *world, const sim_cut *cut);

/* Breaks a connection now: of what is under way to the server, the first `kept_bytes` arrive,
 * late_us later than they would have. SIZE_MAX: all. */
void sim_break(sim_world *world, uint64_t connection, size_t kept_bytes, int64_t late_us);

/*
 * The client's host is gone without a word: what is under way still arrives, but no end behind it.
 * The server keeps the connection, served like any other, and gives it up `us` later, when it has
 * probed in vain (300 s by default). The client gets nothing more, and is told of a broken link.
 */
void sim_orphan(sim_world *world, uint64_t connection, int64_t us);

/*
 * The way between is gone, and neither side is told: what is under way to the server arrives, and
 * nothing passes any more. The server keeps the connection, served like any other, for ever; the
 * client until it gives it up.
 */
void sim_mute(sim_world *world, uint64_t connection);

/* The server closes the connection, as CLIENT KILL does: replies under way still arrive. */
void sim_kill(sim_world *world, uint64_t connection);

/* The server is silent from now on, as with SIGSTOP: it accepts, but reads nothing; then it reads
 * all. */
void sim_silence(sim_world *world, int64_t us);

/* The server dies, as with kill -9, refuses connections for down_us, and is there again. */
#define SIM_FOR_EVER (INT64_MAX / 4)
void sim_restart(sim_world *world, int64_t down_us, bool keeps_data);

/* Saves the data as they are now: what it begins with, and not nothing, when it is started again
 * without its data. */
void sim_save(sim_world *world);

/*
 * Refuses commands with an error line such as "OOM command not allowed", as the server does before
 * it queues or runs a command: inside MULTI this spoils the transaction, and EXEC itself answers
 * EXECABORT (or the bare error, for a redirection of a cluster).
 */
typedef struct sim_refusal {
    const char *command; /* its name, borrowed; NULL: any */
    uint32_t n_skipped;  /* so many are let through first */
    uint32_t n_times;    /* 0: for ever */
    const char *error;   /* borrowed */
} sim_refusal;

/* Up to 16 at a time; one that is used up makes room. */
void sim_refuse(sim_world *world, const sim_refusal *refusal);

/* Drops all refusals and cuts that have not happened. */
void sim_disarm(sim_world *world);

/* What logins must say from now on: `user` NULL is the default user. NULL password: any will do. */
void sim_set_login(sim_world *world, const char *user, const char *password);

/* ---- Others who use the server ------------------------------------------------------------- */

/*
 * Runs a command at once, atomically, as another client would. The line is split at blanks. Its
 * reply, as on the wire, lives until the next one. May be called in hooks and callbacks, too. BLPOP
 * does not wait here, as it does not inside MULTI.
 */
gavel_bytes sim_do(sim_world *world, const char *line);
gavel_bytes sim_do_args(sim_world *world, const gavel_bytes *args, size_t n_args);

/* Runs `line` (copied) at random times, on average every mean_us; in a cluster where its first key
 * is, if writers need not wait there. */
void sim_add_writer(sim_world *world, int64_t mean_us, const char *line);

/* Calls `act` at random times, on average every mean_us. */
typedef void sim_act(sim_world *world, void *user);
void sim_add_actor(sim_world *world, int64_t mean_us, sim_act *act, void *user);

/* Ends all writers and actors; the faults go on. */
void sim_stop_actors(sim_world *world);

/* ---- Looking at the data ------------------------------------------------------------------- */

/* All of these look at database 0, as it is now, and leave no trace in the journal. */
bool sim_exists(sim_world *world, gavel_bytes key);
bool sim_get(sim_world *world, gavel_bytes key, gavel_bytes *ret_value);
bool sim_hget(sim_world *world, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value);

/* The integer there; 0 for an absent key or field. Aborts for anything else. */
int64_t sim_get_int(sim_world *world, const char *key);
int64_t sim_hget_int(sim_world *world, const char *key, const char *field);

/* The number of elements of a list; 0 for an absent key. Aborts for anything else. */
size_t sim_llen(sim_world *world, const char *key);

/* The clients that wait in BLPOP, and whether one does, by the number of its connection. */
size_t sim_n_blocked(const sim_world *world);
bool sim_is_blocked(const sim_world *world, uint64_t connection);

/* The keys of all databases, in order. */
size_t sim_n_keys(const sim_world *world);
gavel_bytes sim_key_at(const sim_world *world, size_t i);

/* ---- The journal --------------------------------------------------------------------------- */

typedef enum sim_how {
    SIM_RAN,     /* it was run, and its reply given */
    SIM_QUEUED,  /* between MULTI and EXEC; it has another entry if it was run by EXEC */
    SIM_REFUSED, /* not known, not allowed, misformed or an injected error: nothing was run */
    SIM_BLOCKED  /* BLPOP has begun to wait; it has another entry, SIM_RAN, when it is answered */
} sim_how;

/* One command. EXEC's own entry comes after those of the commands that it ran. */
typedef struct sim_entry {
    uint64_t number; /* its place in the journal */
    int64_t at_us;
    size_t server;
    uint64_t connection; /* 0: sim_do, writers, eviction */
    uint64_t exec;       /* the number of the EXEC that ran it, or that it is; 0: none */
    sim_how how;
    bool is_change; /* the data are not as before */
    gavel_bytes *args;
    size_t n_args;
    gavel_bytes reply; /* as on the wire */
} sim_entry;

size_t sim_journal_size(const sim_world *world);
const sim_entry *sim_journal_at(const sim_world *world, size_t i);

/* Whether its command has that name. */
bool sim_entry_is(const sim_entry *entry, const char *name);

/* A hash of the whole journal with times, arguments and replies: equal for equal runs. */
uint64_t sim_hash(const sim_world *world);

/* Prints the journal to stderr, for people. */
void sim_print_journal(const sim_world *world);

/*
 * Called after every top-level command of a client, for each of its entries in turn; not for
 * entries of connection 0. What the hook does with sim_do comes before the next command, of
 * whichever client. May arm faults, too. NULL: none.
 */
typedef void sim_hook(sim_world *world, const sim_entry *entry, void *user);
void sim_set_hook(sim_world *world, sim_hook *hook, void *user);

typedef struct sim_counters {
    uint64_t n_connections;     /* dialled */
    uint64_t n_commands;        /* top-level commands of clients, run, queued or refused */
    uint64_t n_commits;         /* EXECs that ran */
    uint64_t n_conflicts;       /* EXECs that answered nil */
    uint64_t n_exec_aborts;     /* EXECs that answered an error */
    uint64_t n_round_trips;     /* sends by a client that has received since its last one */
    uint64_t n_bytes_to_server; /* taken by the kernel, delivered or not */
    uint64_t n_bytes_to_client; /* delivered */
    uint64_t n_breaks;          /* connections lost by a fault or cut */
    uint64_t n_late;            /* connections with something delivered late */
    uint64_t n_late_execs;      /* EXECs run for a client that had left */
    uint64_t n_late_commits;    /* those of them that ran their commands */
    uint64_t n_served;          /* BLPOPs that have waited and got an element */
    uint64_t n_served_late;     /* those of them whose client had left: the element is lost */
    uint64_t n_restarts;
    uint64_t n_failovers; /* replicas that have been promoted, by Sentinels or in a cluster */
    uint64_t n_moves;     /* slots that have gone to another node */
    uint64_t n_evictions;
} sim_counters;

const sim_counters *sim_get_counters(const sim_world *world);

#endif
