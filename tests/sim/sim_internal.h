/*
 * What the parts of the simulator share. Tests use sim.h only.
 *
 *     sim_world.c        clock, events, randomness, running
 *     sim_open.c         clients and results
 *     sim_process.c      programs that pause and crash
 *     sim_loop.c         gavel__loop over the world
 *     sim_transport.c    gavel__transport over the network
 *     sim_network.c      streams of bytes, breaks
 *     sim_hosts.c        the server's name and addresses
 *     sim_replication.c  primaries and replicas; sim_info.c: what they tell of that
 *     sim_sentinel.c     Sentinels; sim_sentinel_commands.c: what they answer
 *     sim_cluster.c      nodes of a cluster, and what they refuse because of slots
 *     sim_cluster_bus.c  what they hear of each other; sim_cluster_moves.c: slots that move
 *     sim_cluster_commands.c   CLUSTER, ASKING, READONLY
 *     sim_faults.c       what goes wrong by itself, actors
 *     sim_servers.c      the servers of the world
 *     sim_server.c       sessions, MULTI and EXEC
 *     sim_blocking.c     sessions that wait; sim_wait.c: WAIT, WAITAOF
 *     sim_parse.c        RESP, as it comes in
 *     sim_reply.c        RESP, as it goes out
 *     sim_commands.c     the table; sim_strings.c, sim_collections.c: the commands on values; their
 *                        declarations stand in sim_commands.h
 *     sim_store.c        keys, values, expiry
 *     sim_journal.c      what has happened
 *
 *     transport -> connection -> (stream of pieces) -> session -> command -> store
 */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "sim.h"

#include "base/buffer.h"
#include "base/list.h"
#include "base/random.h"

#define SIM__MAX_ARMED 16

/* The clock at the beginning, and the server's wall clock then. */
#define SIM__START_US INT64_C(1000000000)
#define SIM__EPOCH_MS INT64_C(1700000000000)

/* fds of transports start here, far from any that a process has. */
#define SIM__FIRST_FD 1000000

/* ---- Memory -------------------------------------------------------------------------------- */

/* Zeroed; aborts instead of failing. */
void *sim__alloc(size_t n, size_t size);
void *sim__resize(void *memory, size_t n, size_t size);
gavel_bytes sim__copy(gavel_bytes bytes);
void sim__free_bytes(gavel_bytes bytes);

/* Prints and aborts. */
_Noreturn void sim__fail(const sim_world *world, const char *why);

/* ---- Events -------------------------------------------------------------------------------- */

typedef void sim__action(sim_world *world, void *subject);

typedef struct sim__event {
    int64_t due_us;
    uint64_t order; /* events due together happen in the order in which they were scheduled */
    sim__action *action;
    void *subject; /* lives as long as the world */
} sim__event;

void sim__schedule(sim_world *world, int64_t due_us, sim__action *action, void *subject);

/* One event, or the clock moves up to end_us; attached clients are served. Not twice at a time on
 * the same loop, but a blocking client may run the world from inside another's callback. */
void sim__step(sim_world *world, int64_t end_us);

bool sim__chance(gavel__random *random, uint32_t per_mille);

/* Uniform in low .. high. */
int64_t sim__between(gavel__random *random, int64_t low, int64_t high);

/* ---- The store (sim_store.c) --------------------------------------------------------------- */

typedef enum sim__type { SIM__STRING, SIM__HASH, SIM__LIST, SIM__SET, SIM__ZSET } sim__type;

/* A field and its value, or an element of a list, set or sorted set (`value` unused). */
typedef struct sim__item {
    gavel_bytes member;
    gavel_bytes value;
    double score;
} sim__item;

#define SIM__NO_EXPIRY INT64_MAX

typedef struct sim__key {
    int db;
    gavel_bytes name;
    sim__type type;
    int64_t expires_at_ms;
    gavel_bytes string;
    sim__item *items; /* in order of insertion; a sorted set's by score and member */
    size_t n_items;
    size_t capacity;
} sim__key;

typedef struct sim__store {
    sim__key **keys; /* by database and name */
    size_t n_keys;
    size_t capacity;
} sim__store;

typedef struct sim__server sim__server;

int64_t sim__now_ms(const sim__server *server);

/* The key, or NULL. One that has expired is deleted first, and touched. */
sim__key *sim__find(sim__server *server, int db, gavel_bytes name);

/* The same, but leaves it there, though it be past its time. */
sim__key *sim__peek(const sim__server *server, int db, gavel_bytes name);

/* Whether they have the same name, value and time to live. */
bool sim__is_same_key(const sim__key *a, const sim__key *b);

/* Whether the key is there and past its time; leaves it there. */
bool sim__is_expired(const sim__server *server, int db, gavel_bytes name);
bool sim__is_present(const sim__server *server, int db, gavel_bytes name);

/* Adds a key that must be absent. */
sim__key *sim__add(sim__server *server, int db, gavel_bytes name, sim__type type);

/* Removes the key; touching it is the caller's. */
void sim__delete(sim__server *server, sim__key *key);
void sim__delete_all(sim__server *server);

/* A copy of a key of another server, where there is none of that name. */
sim__key *sim__add_copy(sim__server *server, const sim__key *from);

/* Copies of all keys there, into a store without any. */
void sim__load(sim__server *server, const sim__store *from);
void sim__forget_saved(sim__server *server);

/* As memcmp, a prefix before what it begins. */
int sim__compare_bytes(gavel_bytes a, gavel_bytes b);

/* Replaces the string by a copy. */
void sim__set_string(sim__key *key, gavel_bytes value);

/* The item with that member, or NULL. */
sim__item *sim__item_find(const sim__key *key, gavel_bytes member);

/* Inserts copies before place `at`. */
sim__item *sim__item_insert(sim__key *key, size_t at, gavel_bytes member, gavel_bytes value);
void sim__item_remove(sim__key *key, size_t at);

/* ---- The server (sim_server.c) ------------------------------------------------------------- */

typedef struct sim__args {
    gavel_bytes *args;
    size_t n_args;
} sim__args;

sim__args sim__args_copy(const sim__args *command);

/* Frees copied ones, and leaves none. */
void sim__args_free(sim__args *command);

typedef struct sim__watched {
    int db;
    gavel_bytes name;
    bool was_expired; /* when it was watched: that it goes is then no change */
} sim__watched;

/* Where a client stands with BLPOP and WAIT. */
typedef enum sim__wait {
    SIM__RUNNING,
    SIM__BLOCKED,  /* waits; what it has sent behind that stays unserved */
    SIM__UNBLOCKED /* is answered, and goes on at the end of the server's iteration */
} sim__wait;

/* What WAIT or WAITAOF wait for: that so many have this much. */
typedef struct sim__wanted {
    bool is_set;      /* else it is BLPOP that waits */
    bool is_of_files; /* WAITAOF */
    int64_t n_local;  /* WAITAOF's: this server, too */
    int64_t n_replicas;
    int64_t offset;
} sim__wanted;

/* A client, as the server knows it. */
typedef struct sim__session {
    gavel__list node; /* among the server's sessions */
    sim__server *server;
    uint64_t number; /* the connection's; 0: sim_do */
    int db;
    bool has_login;
    bool is_in_multi;
    bool is_dirty_cas;  /* a watched key was touched */
    bool is_dirty_exec; /* a command was refused while queueing */
    bool is_asking;     /* ASKING, for the next command or transaction */
    bool is_reader;     /* READONLY */
    bool wants_close;
    sim__watched *watched;
    size_t n_watched;
    sim__args *queue;
    size_t n_queue;
    sim__wait wait;
    uint64_t wait_order;   /* of all that block or are unblocked */
    int64_t wait_until_ms; /* SIM__NO_EXPIRY: for ever */
    sim__args waiting;     /* the BLPOP or WAIT, while BLOCKED */
    sim__wanted wanted;
    sim__args channels;   /* that it has subscribed to */
    int64_t last_offset;  /* the server's, when the last command had run */
    gavel__buffer answer; /* to it, while UNBLOCKED */
} sim__session;

/* A command being run. */
typedef struct sim__call {
    sim_world *world;
    sim__server *server;
    sim__session *session;
    const struct sim__command *command;
    const gavel_bytes *args;
    size_t n_args;
    gavel__buffer *out;
} sim__call;

typedef enum sim__flag {
    SIM__WRITES = 1,      /* refused by a server that is full or read-only */
    SIM__AT_ONCE = 2,     /* not queued by MULTI */
    SIM__NO_LOGIN = 4,    /* allowed before a login */
    SIM__NO_CHANCE = 8,   /* spared by error_per_mille: a server in trouble still runs it */
    SIM__EVERYWHERE = 16, /* Sentinels know it as well */
    SIM__SENTINEL = 32    /* only they do */
} sim__flag;

typedef struct sim__command {
    const char *name; /* in lower case */
    int arity;        /* with the name; negative: at least */
    unsigned flags;
    void (*run)(sim__call *call);
} sim__command;

/* NULL: unknown to any server. */
const sim__command *sim__command_find(gavel_bytes name);

/* Whether it writes; EXEC does if something that is queued does. */
bool sim__is_write(const sim__command *command, const sim__session *session);

sim__session *sim__session_create(sim__server *server, uint64_t number);

/* Takes NULL. */
void sim__session_destroy(sim__session *session);

/* Runs or queues one command and appends its reply. */
void sim__session_command(sim__session *session, const sim__args *command, gavel__buffer *out);

/* Tells every session that watches the key that it has changed. */
void sim__touch(sim__server *server, int db, gavel_bytes name);

void sim__watch(sim__session *session, gavel_bytes name);
void sim__unwatch_all(sim__session *session);
void sim__discard(sim__session *session);

/* EXEC: answers nil or EXECABORT, or runs what is queued. */
void sim__run_exec(sim__call *call);

/* ---- Waiting (sim_blocking.c) -------------------------------------------------------------- */

/* A key that has become a list during this command: those who wait for it may be served. */
typedef struct sim__ready {
    int db;
    gavel_bytes name;
} sim__ready;

/* Notes that the key was added as a list. */
void sim__note_list(sim__server *server, int db, gavel_bytes name);

/* Behind a command: gives to those who wait what has become ready, as long as it lasts. */
void sim__serve_blocked(sim__server *server);

/* Answers a BLOCKED client nil, or an error. */
void sim__unblock(sim__session *session, bool is_error);

/* The client is about to go: it is not served any more. */
void sim__forget_wait(sim__session *session);

/* An UNBLOCKED client goes on: appends the answer that it has not got yet. Else nothing. */
void sim__take_answer(sim__session *session, gavel__buffer *out);

/* Begins to wait. */
void sim__block(sim__call *call, int64_t until_ms);

/* Answers those whose WAIT is over. */
void sim__serve_waiting(sim__server *server);

/* The server becomes a replica: whoever waits is told so, and its link closed. A Valkey in a
 * cluster sends those in BLPOP elsewhere, and leaves the others alone. */
void sim__end_waits(sim__server *server);

/* A node of a cluster sends those in BLPOP elsewhere whose slot it has lost. */
void sim__redirect_waiting(sim__server *server);

void sim__run_blpop(sim__call *call);
/* Whether it has what it waits for; says how far it is. (sim_wait.c) */
bool sim__has_wanted(const sim__session *session);
void sim__say_wanted(const sim__session *session, gavel__buffer *out);

void sim__run_wait(sim__call *call);
void sim__run_waitaof(sim__call *call);

/* ---- Replication, as commands see it (sim_replication.c) ----------------------------------- */

/* A command that has changed the data is part of the write that is open; copied. */
void sim__record(sim__server *server, int db, const sim__args *command);
void sim__record_removal(sim__server *server, const char *command, int db, gavel_bytes name);

/* The write is complete: it goes to the replicas. */
void sim__end_write(sim__server *server);

/* As HELLO and INFO tell it. */
const char *sim__mode_of(const sim__server *server);

void sim__run_info(sim__call *call);
void sim__run_sentinel(sim__call *call);
void sim__run_subscribe(sim__call *call);
void sim__run_unsubscribe(sim__call *call);
void sim__run_role(sim__call *call);

/* ---- Parsing (sim_parse.c) ----------------------------------------------------------------- */

typedef enum sim__parsed { SIM__INCOMPLETE, SIM__COMPLETE, SIM__MALFORMED } sim__parsed;

/*
 * Looks at the bytes from *offset on. COMPLETE: *ret_command has the arguments (the array is to be
 * freed, the bytes point into `bytes`; no arguments for an empty command), *offset is behind it.
 * MALFORMED: *ret_error says why.
 */
sim__parsed sim__parse(
    gavel_bytes bytes, size_t *offset, sim__args *ret_command, const char **ret_error);

/* ---- Replies (sim_reply.c) ----------------------------------------------------------------- */

void sim__reply_status(gavel__buffer *out, const char *text);
void sim__reply_error(gavel__buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim__reply_int(gavel__buffer *out, int64_t value);
void sim__reply_bulk(gavel__buffer *out, gavel_bytes bytes);
void sim__reply_score(gavel__buffer *out, double score);
void sim__reply_nil(gavel__buffer *out);
void sim__reply_nil_array(gavel__buffer *out);
void sim__reply_array(gavel__buffer *out, size_t n);

/* ---- The network (sim_network.c) ----------------------------------------------------------- */

/* Bytes that travel together. */
typedef struct sim__piece {
    gavel__list node;
    int64_t at_us;
    size_t size;
    char data[];
} sim__piece;

/* One direction of a connection: what is sent is cut in pieces, which arrive in order. */
typedef struct sim__stream {
    gavel__list pieces;
    int64_t last_at_us;
    uint64_t n_bytes;   /* sent, or, to the client, delivered */
    int64_t ends_at_us; /* when its end arrives, behind all pieces; INT64_MAX: it has none yet */
} sim__stream;

typedef enum sim__progress {
    SIM__DIALLING,
    SIM__REFUSED,
    SIM__OPEN,
    SIM__LOST /* for the client; the server may still get what is under way */
} sim__progress;

typedef struct sim__connection {
    sim_world *world;
    struct sim__process *process;
    sim__server *server; /* what was dialled */
    uint64_t number;
    sim__progress progress; /* as the client sees it */
    bool is_closed;         /* the client has closed its transport */
    bool is_mute;           /* nothing enters it any more, not even an end */
    sim_host host;          /* how it is there */
    bool has_received;      /* since it last sent: the next send begins a round trip */
    sim__session *session;  /* NULL before the connection is made and after the server's close */
    sim__stream to_server;
    sim__stream to_client;
    gavel__buffer unserved; /* arrived at the server */
    gavel__buffer unread;   /* arrived at the client */
    const char *reason;     /* why it was lost */
} sim__connection;

/* What a dial is for. */
typedef struct sim__target {
    sim__server *server;
    sim_host host; /* how it is there */
} sim__target;

sim__connection *sim__connection_create(struct sim__process *process, sim__target target);
void sim__connection_destroy(sim__connection *connection);

/* Takes all bytes. */
void sim__connection_send(sim__connection *connection, gavel_bytes bytes);

/* The client closes, or has lost it: see sim_break. */
void sim__connection_break(sim__connection *connection, size_t kept_bytes, int64_t late_us);
void sim__connection_close(sim__connection *connection);

/* The client's process ends, and its kernel closes. */
void sim__connection_abandon(sim__connection *connection);

/* The client's host is gone: see sim_orphan. */
void sim__connection_orphan(sim__connection *connection, int64_t us);

/* Nothing passes any more: see sim_mute. */
void sim__connection_mute(sim__connection *connection);

bool sim__connection_is_readable(const sim__connection *connection);
bool sim__connection_is_writable(const sim__connection *connection);

/* The server closes; replies under way still arrive. */
void sim__connection_kill(sim__connection *connection);

/* NULL for an fd that is none of ours. */
sim__connection *sim__connection_by_fd(const sim_world *world, int fd);

/* Whether the client has left: what is said to it reaches nobody. */
bool sim__is_client_gone(const sim__session *session);

/* Lets a client of number 1 or more go on with what it has sent, if the server reads. */
void sim__network_serve(sim__session *session);

/* The server closes at once, between events. */
void sim__network_kill(sim__session *session);

/* Says something to the client that it has not asked for. */
void sim__network_push(sim__session *session, gavel_bytes bytes);

/* A drawn time in which the server deals with the clients that are ready together. */
int64_t sim__draw_iteration(sim_world *world);

/* The server has begun to read again. */
void sim__network_resume(sim__server *server);

/* The server is gone, and all connections to it. */
void sim__network_reset(sim__server *server);

/* ---- Faults (sim_faults.c) ----------------------------------------------------------------- */

/* A drawn delay for a break: 0, or what late_per_mille and late_max_us make of it. */
int64_t sim__draw_late(sim_world *world);

/* Whether a cut falls into the next n bytes: then *ret_cut is it, used up, and *ret_n_before is
 * how many of them come before it. */
bool sim__take_cut(sim__connection *connection, sim_direction direction, size_t n, sim_cut *ret_cut,
    size_t *ret_n_before);

/* The error that this command is to get, or NULL. */
const char *sim__take_refusal(
    sim_world *world, const sim__command *command, const sim__session *session);

typedef struct sim__actor {
    sim_world *world;
    int64_t mean_us;
    bool is_stopped;
    bool is_fault; /* belongs to the faults */
    sim_act *act;
    void *user;
    char *line; /* a writer's */
} sim__actor;

/* ---- The journal (sim_journal.c) ----------------------------------------------------------- */

sim_entry *sim__journal_add(
    sim_world *world, const sim__session *session, const sim__args *command, sim_how how);

/* Completes an entry by its reply, and takes it into the hash. */
void sim__journal_finish(sim_world *world, sim_entry *entry, gavel_bytes reply);
void sim__journal_clear(sim_world *world);
void sim__journal_call_hook(sim_world *world);

/* ---- Processes (sim_process.c) ------------------------------------------------------------- */

/* A program with one client, or a platform's. It is the `user` of the platform. */
typedef struct sim__process {
    sim_world *world;
    size_t number;
    gavel_client *client; /* NULL: not one that the simulator has opened */
    bool is_blocking;
    bool is_stopped; /* paused, or crashed: none of its code runs */
    bool is_crashed; /* it dials no more, and nobody is there to hear of results */
} sim__process;

/* Lives as long as the world. */
sim__process *sim__process_create(sim_world *world, bool is_blocking);

/* The process of a client that sim_open has opened; NULL for another one. */
sim__process *sim__process_of(const sim_world *world, const gavel_client *client);

/* Closes the clients that have crashed, and frees all processes. */
void sim__processes_destroy(sim_world *world);

/* ---- Loops (sim_loop.c) -------------------------------------------------------------------- */

gavel__loop *sim__loop_create(
    void *process, const gavel__loop_owner *owner, const gavel_allocator *allocator);
gavel__loop *sim__loop_create_blocking(
    void *process, const gavel__loop_owner *owner, const gavel_allocator *allocator);

/* One turn of all attached clients. */
void sim__loops_turn(sim_world *world);

/* Whether an attached client has to be served now. */
bool sim__loops_are_ready(sim_world *world);

/* When some loop wants to be woken; INT64_MAX: never. */
int64_t sim__loops_due_us(const sim_world *world);

/* ---- Names (sim_hosts.c) ------------------------------------------------------------------- */

/* A look-up that is to be answered. */
typedef struct sim__look_up {
    gavel__list node;
    gavel__lookup *lookup;
} sim__look_up;

gavel__look_up sim__begin_look_up;

/* Whose address that is; the first server's are counted as dialled. */
sim__target sim__target_of(sim_world *world, const gavel__endpoint *endpoint);

/* Nobody needs the answers any more. */
void sim__hosts_destroy(sim_world *world);

gavel__transport *sim__dial(void *process, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error);

/* ---- Servers (sim_servers.c) --------------------------------------------------------------- */

struct sim__server {
    sim_world *world;
    size_t number;
    char host[16];
    int port;
    gavel__list sessions;
    sim__session *outsider; /* sim_do's */
    gavel__buffer outsider_out;
    sim__store store;
    sim__store saved;  /* what it begins with when it has lost the rest */
    sim__ready *ready; /* by the command that runs, in order */
    size_t n_ready;
    bool is_iteration_ending; /* end_iteration is scheduled, or runs */
    char *user;
    char *password;
    int64_t silent_until_us;
    int64_t down_until_us;
    sim__server *primary; /* that it follows; NULL: it is one itself */
    bool is_recorded;     /* it has, or has had, a replica */
    int64_t applying_ms;  /* the primary's time of day, in a command from there; else 0 */
    struct sim__replication *replication;
    struct sim__sentinel *sentinel; /* NULL: it is none */
    struct sim__node *node;         /* NULL: it is in no cluster */
};

sim__server *sim__server_create(sim_world *world);
void sim__servers_destroy(sim_world *world);

/* Aborts for one that is not there; the second one returns NULL, but for where one has listened. */
sim__server *sim__server_at(const sim_world *world, size_t server);
sim__server *sim__server_by_address(const sim_world *world, uint32_t address, int port);

bool sim__is_silent(const sim__server *server);
bool sim__is_down(const sim__server *server);

typedef struct sim__partition {
    sim_machines some;
    sim_machines others;
    int64_t until_us;
} sim__partition;

sim_machines sim__machine_of(const sim__process *process);

/* When they can reach each other again; 0: they can. */
int64_t sim__parted_until(const sim_world *world, sim_machines one, sim_machines other);

/* ---- The world ----------------------------------------------------------------------------- */

/* The Redis that Valkey tells old clients to be. */
#define SIM__VALKEY_COMPATIBILITY "7.2.4"

/* Whether the server is of this version of Redis, or a later one. */
bool sim__is_at_least(const sim_world *world, long major, long minor);

struct sim_world {
    uint64_t seed;
    char version[16]; /* of the server, such as "7.0.15" */
    bool is_valkey;
    int64_t now_us;
    sim__event *events; /* a binary heap */
    size_t n_events;
    size_t events_capacity;
    uint64_t n_scheduled;
    gavel__random network; /* one for each purpose: a change in one leaves the others alone */
    gavel__random chance;
    gavel__random actors_random;
    gavel__random test;
    gavel__random topology;

    gavel__list loops;
    bool is_awake;   /* the program's loop is not asleep */
    bool is_turning; /* it is in its callbacks */
    bool can_wait;
    uint32_t n_turns_now; /* without the clock having moved */
    uint64_t n_phases;
    size_t n_transports;
    sim__process **processes;
    size_t n_processes;

    sim_host hosts[SIM_MAX_HOSTS];
    size_t n_hosts;
    int64_t look_up_us;
    gavel__list look_ups;
    uint64_t n_look_ups;
    uint64_t n_dials[SIM_MAX_HOSTS];

    sim__connection **connections; /* connection number n is n - 1 */
    size_t n_connections;
    size_t connections_capacity;

    sim__server *servers[SIM_MAX_SERVERS]; /* by number */
    size_t n_servers;
    sim__server *meant; /* by what names none: see sim_choose */
    uint64_t n_touches;
    uint64_t n_waits;
    sim__partition partitions[SIM__MAX_ARMED]; /* some of them may be over */
    size_t n_partitions;
    struct sim__service *service; /* of its Sentinels; NULL: there are none */
    struct sim__cluster *cluster; /* NULL: there is none */

    sim_faults faults;
    sim_cut cuts[SIM__MAX_ARMED];
    size_t n_cuts;
    sim_refusal refusals[SIM__MAX_ARMED];
    size_t n_refusals;
    sim__actor **actors;
    size_t n_actors;

    sim_entry **journal;
    size_t n_journal;
    size_t journal_capacity;
    size_t n_hooked; /* entries that the hook has seen */
    uint64_t hash;
    uint64_t n_execs;
    uint64_t running_exec; /* 0: none */
    sim_hook *hook;
    void *hook_user;
    bool is_in_hook;
    sim_counters counters;

    sim_result **results;
    size_t n_results;
    size_t n_results_done;
};

#endif
