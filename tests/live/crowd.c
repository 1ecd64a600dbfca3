/*
 * The crowd of crowd.h.
 */
#include "crowd.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#include <ev.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEADLINE_MS = 60000 };

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- One transaction ------------------------------------------------------------------------ */

enum { DECLARES, READS, WRITES_BLINDLY, HAS_IDS };

static int way_of(const crowd_caller *self)
{
    return self->number % CROWD_N_EACH;
}

static gavel_verdict count_blindly(gavel_tx *tx, void *user)
{
    const crowd_caller *self = user;
    gavel_incr(tx, gavel_str(self->client->crowd->counter), 1);
    gavel_incr(tx, gavel_str(self->own), 1);
    return GAVEL_COMMIT;
}

static gavel_verdict count(gavel_tx *tx, void *user)
{
    const crowd_caller *self = user;
    gavel_bytes counter = gavel_str(self->client->crowd->counter);
    int64_t value;
    if (gavel_get_int(tx, counter, &value) == GAVEL_NOT_YET)
        return GAVEL_AGAIN;
    gavel_set_int(tx, counter, value + 1);
    gavel_incr(tx, gavel_str(self->own), 1);
    return GAVEL_COMMIT;
}

typedef struct request {
    gavel_transaction transaction;
    gavel_read read;
    char id[32];
} request;

static void prepare(crowd_caller *self, request *ret_request)
{
    int way = way_of(self);
    *ret_request = (request){.read.key = gavel_str(self->client->crowd->counter),
        .transaction = {.body = way == WRITES_BLINDLY ? count_blindly : count,
            .user = self,
            .deadline_ms = DEADLINE_MS}};
    if (way == DECLARES || way == HAS_IDS) {
        ret_request->transaction.reads = &ret_request->read;
        ret_request->transaction.n_reads = 1;
    }
    if (way == HAS_IDS) {
        self->n_ids += !self->is_second;
        snprintf(ret_request->id, sizeof(ret_request->id), "%d-%lld", self->number, self->n_ids);
        ret_request->transaction.id = gavel_str(ret_request->id);
    }
}

/* Of two with one id the second commits only where the first has not. */
static void note_id(crowd_caller *self, const gavel_outcome *told)
{
    bool is_committed = gavel_is_committed(told);
    if (!self->is_second) {
        self->n_committed += is_committed;
        self->has_committed = is_committed;
        self->has_been_doubtful = told->status == GAVEL_UNKNOWN;
    } else {
        bool is_repeated = is_committed && self->has_committed && !told->is_duplicate;
        self->n_repeated += is_repeated;
        self->n_committed += is_committed && (!self->has_committed || is_repeated);
        self->n_unknown +=
            (self->has_been_doubtful && !is_committed) || told->status == GAVEL_UNKNOWN;
    }
    self->is_second = !self->is_second;
}

static void note(crowd_caller *self, const gavel_outcome *told)
{
    if (!gavel_is_committed(told) && told->status != GAVEL_UNKNOWN) {
        self->other = *told;
        self->n_other++;
    }
    if (way_of(self) == HAS_IDS)
        note_id(self, told);
    else {
        self->n_committed += gavel_is_committed(told);
        self->n_unknown += told->status == GAVEL_UNKNOWN;
    }
}

/* ---- Three ways to drive a client ------------------------------------------------------------ */

static void *call(void *user)
{
    crowd_caller *self = user;
    request next;
    while (!self->client->crowd->is_over) {
        prepare(self, &next);
        gavel_outcome told = gavel_run(self->client->client, &next.transaction);
        note(self, &told);
        if (way_of(self) == HAS_IDS)
            sleep_ms(1); /* each leaves a record in the slot */
    }
    return NULL;
}

static void submit(crowd_caller *self);

static void on_done(const gavel_outcome *told, void *user)
{
    crowd_caller *self = user;
    note(self, told);
    if (!self->client->crowd->is_over)
        submit(self);
}

static void submit(crowd_caller *self)
{
    request next;
    prepare(self, &next);
    cr_assert_neq(gavel_submit(self->client->client, &next.transaction, on_done), 0);
}

static void *turn(void *user)
{
    crowd_client *self = user;
    for (int i = 0; i < CROWD_N_EACH; i++)
        submit(&self->callers[i]);
    if (self->loop != NULL)
        ev_run(self->loop, 0);
    else {
        struct pollfd polled = {.fd = gavel_fd(self->client), .events = POLLIN};
        while (gavel_turn(self->client))
            poll(&polled, 1, -1);
    }
    return NULL;
}

/* ---- The reader ------------------------------------------------------------------------------ */

static gavel_verdict read_all(gavel_tx *tx, void *user)
{
    crowd_reader *self = user;
    int64_t value;
    gavel_get_int(tx, gavel_str(self->crowd->counter), &value);
    self->counted = value;
    self->sum = 0;
    for (int i = 0; i < CROWD_N; i++) {
        const crowd_client *client = &self->crowd->clients[i / CROWD_N_EACH];
        gavel_get_int(tx, gavel_str(client->callers[i % CROWD_N_EACH].own), &value);
        self->sum += value;
    }
    return GAVEL_COMMIT;
}

static void read_once(crowd_reader *self, bool is_read_only)
{
    gavel_read reads[CROWD_N + 1] = {{.key = gavel_str(self->crowd->counter)}};
    for (int i = 0; i < CROWD_N; i++) {
        const crowd_client *client = &self->crowd->clients[i / CROWD_N_EACH];
        reads[i + 1].key = gavel_str(client->callers[i % CROWD_N_EACH].own);
    }
    gavel_outcome told = gavel_run(self->client, &(gavel_transaction){.body = read_all,
                                                     .user = self,
                                                     .reads = reads,
                                                     .n_reads = CROWD_N + 1,
                                                     .is_read_only = is_read_only,
                                                     .deadline_ms = DEADLINE_MS});
    if (gavel_is_committed(&told)) {
        self->n_read++;
        self->n_torn += self->counted != self->sum;
    } else if (told.status != GAVEL_UNKNOWN && told.status != GAVEL_CONFLICT) {
        self->other = told;
        self->n_other++;
    }
}

static void *read_on(void *user)
{
    crowd_reader *self = user;
    for (int i = 0; !self->crowd->is_over; i++) {
        read_once(self, i % 2 == 0);
        sleep_ms(1);
    }
    return NULL;
}

static void begin_reader(live_crowd *crowd)
{
    crowd_reader *self = &crowd->reader;
    gavel_config config = crowd->config;
    config.name = "crowd";
    self->crowd = crowd;
    self->client = live_open(crowd->cluster->url, &config);
    cr_assert_eq(pthread_create(&self->thread, NULL, read_on, self), 0);
}

/* ---- Beginning and ending -------------------------------------------------------------------- */

static void on_event(const gavel_event *event, void *user)
{
    crowd_client *self = user;
    self->n_lost += event->type == GAVEL_EVENT_LOST;
    self->n_may_be_lost += event->type == GAVEL_EVENT_MAY_BE_LOST;
}

static void begin_client(live_crowd *crowd, int number)
{
    crowd_client *self = &crowd->clients[number];
    bool is_blocking = number < 2;
    gavel_config config = crowd->config;
    self->crowd = crowd;
    self->loop = number == 2 ? ev_loop_new(EVFLAG_AUTO) : NULL;
    config.loop = self->loop;
    config.is_polled = number == 3;
    config.name = "crowd";
    config.hooks = (gavel_hooks){.on_event = on_event, .user = self};
    self->client = live_open(crowd->cluster->url, &config);
    self->n_threads = is_blocking ? CROWD_N_EACH : 1;
    for (int i = 0; i < CROWD_N_EACH; i++) {
        crowd_caller *caller = &self->callers[i];
        caller->client = self;
        /* Ids leave records, so only those who block and can pause have them. */
        caller->number = number * CROWD_N_EACH + (is_blocking ? i : i % HAS_IDS);
        snprintf(caller->own, sizeof(caller->own), "{%s}own:%d:%d", crowd->tag, number, i);
    }
    for (int i = 0; i < self->n_threads; i++) {
        void *user = is_blocking ? (void *)&self->callers[i] : (void *)self;
        cr_assert_eq(pthread_create(&self->threads[i], NULL, is_blocking ? call : turn, user), 0);
    }
}

void crowd_begin(
    live_crowd *self, live_cluster *cluster, const char *tag, const gavel_config *config)
{
    *self = (live_crowd){.cluster = cluster, .begun_us = live_now_us()};
    if (config != NULL)
        self->config = *config;
    snprintf(self->tag, sizeof(self->tag), "%s", tag);
    snprintf(self->counter, sizeof(self->counter), "{%s}all", tag);
    self->slot = gavel__slot_of(gavel_str(self->counter));
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        begin_client(self, i);
    begin_reader(self);
}

static long long sum(const crowd_client *client, size_t offset)
{
    long long n = 0;
    for (int i = 0; i < CROWD_N_EACH; i++)
        n += *(const atomic_llong *)((const char *)&client->callers[i] + offset);
    return n;
}

#define SUM(client, field) sum(client, offsetof(crowd_caller, field))

void crowd_await(const live_crowd *self, long long n)
{
    long long wanted[CROWD_N_CLIENTS];
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        wanted[i] = SUM(&self->clients[i], n_committed) + n;
    for (int i = 0; i < CROWD_N_CLIENTS; i++) {
        while (SUM(&self->clients[i], n_committed) < wanted[i])
            sleep_ms(2);
    }
    long long n_read = self->reader.n_read;
    while (self->reader.n_read < n_read + 2)
        sleep_ms(2);
}

void crowd_end(live_crowd *self)
{
    self->is_over = true;
    self->ended_us = live_now_us();
    for (int i = 0; i < CROWD_N_CLIENTS; i++) {
        for (int j = 0; j < self->clients[i].n_threads; j++)
            pthread_join(self->clients[i].threads[j], NULL);
    }
    pthread_join(self->reader.thread, NULL);
    if (self->is_killing) {
        self->is_killing = false;
        pthread_join(self->killer, NULL);
    }
}

/* ---- What happens to the slot ---------------------------------------------------------------- */

void crowd_fill(const live_crowd *self, int n_keys)
{
    size_t owner = clusters_owner(self->cluster, self->slot);
    redisContext *context = server_connect(self->cluster->nodes[owner]);
    for (int i = 0; i < n_keys; i++)
        redisAppendCommand(context, "SET {%s}filler:%d x", self->tag, i);
    for (int i = 0; i < n_keys; i++) {
        redisReply *reply = NULL;
        cr_assert_eq(redisGetReply(context, (void **)&reply), REDIS_OK);
        cr_assert_eq(reply->type, REDIS_REPLY_STATUS, "%s", reply->str);
        freeReplyObject(reply);
    }
    redisFree(context);
}

static size_t another_primary(live_cluster *cluster, size_t than)
{
    size_t node = than;
    do
        node = (node + 1) % CLUSTERS_N;
    while (!server_is_running(cluster->nodes[node]) || clusters_primary_of(cluster, node) != node);
    return node;
}

static void move(const live_crowd *self, size_t to, int at_a_time)
{
    if (at_a_time == 0) {
        cr_assert(clusters_move_slot_at_once(self->cluster, self->slot, to));
        return;
    }
    clusters_open_slot(self->cluster, self->slot, to);
    while (clusters_move_keys(self->cluster, self->slot, to, at_a_time))
        continue;
    clusters_assign_slot(self->cluster, self->slot, to);
}

void crowd_wander(const live_crowd *self, int at_a_time)
{
    size_t from = clusters_owner(self->cluster, self->slot);
    move(self, another_primary(self->cluster, from), at_a_time);
    move(self, from, at_a_time);
}

/* ---- Links that are lost --------------------------------------------------------------------- */

/* One that is closing its port just now is passed by. */
static void kill_links_of(const test_server *server)
{
    redisContext *context = redisConnectUnix(server_path(server));
    redisReply *list = NULL;
    if (context != NULL && context->err == 0)
        list = redisCommand(context, "CLIENT LIST");
    if (list != NULL && list->type == REDIS_REPLY_STRING) {
        char *rest;
        for (char *line = strtok_r(list->str, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest)) {
            long long id;
            if (strstr(line, " name=crowd ") == NULL || sscanf(line, "id=%lld", &id) != 1)
                continue;
            freeReplyObject(redisCommand(context, "CLIENT KILL ID %lld", id));
        }
    }
    freeReplyObject(list);
    if (context != NULL)
        redisFree(context);
}

static void *kill_links(void *user)
{
    live_crowd *self = user;
    sigset_t pipe; /* a server may be killed between connecting and asking */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    for (size_t i = 0; self->is_killing; i = (i + 1) % CLUSTERS_N) {
        kill_links_of(self->cluster->nodes[i]);
        sleep_ms(20);
    }
    return NULL;
}

void crowd_lose_links(live_crowd *self)
{
    self->is_killing = true;
    cr_assert_eq(pthread_create(&self->killer, NULL, kill_links, self), 0);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static long long there(const live_crowd *self, const char *key)
{
    long long count = clusters_count(self->cluster, key);
    return count < 0 ? 0 : count;
}

typedef struct one_more {
    gavel_bytes key; /* the body's, first */
    bool is_done;
} one_more;

static void on_tick_done(const gavel_outcome *told, void *user)
{
    (void)told;
    ((one_more *)user)->is_done = true;
}

/* One transaction more, which the crowd's counters do not know of: so the client is driven. */
static void tick(crowd_client *self)
{
    char key[48];
    snprintf(key, sizeof(key), "{%s}tick", self->crowd->tag);
    gavel_bytes bytes = gavel_str(key);
    gavel_transaction transaction = {.body = live_add_one, .user = &bytes};
    if (self->n_threads > 1) {
        gavel_run(self->client, &transaction);
        return;
    }
    one_more tick = {.key = bytes};
    transaction.user = &tick;
    gavel_submit(self->client, &transaction, on_tick_done);
    while (!tick.is_done) {
        if (self->loop != NULL)
            ev_run(self->loop, EVRUN_ONCE);
        else {
            poll(&(struct pollfd){.fd = gavel_fd(self->client), .events = POLLIN}, 1, -1);
            gavel_turn(self->client);
        }
    }
}

static int complain(const char *what, const char *who, long long found, long long wanted)
{
    fprintf(stderr, "%s %s: %lld, not %lld\n", who, what, found, wanted);
    return 1;
}

/* Found late is found, too: it takes an answer of each node to tell. */
static void await_losses(crowd_client *self, long long n_there)
{
    enum { SECONDS = 20 };
    int64_t until_us = live_now_us() + SECONDS * INT64_C(1000000);
    while (SUM(self, n_committed) - self->n_lost - self->n_may_be_lost > n_there &&
           live_now_us() < until_us) {
        tick(self);
        sleep_ms(5);
    }
}

static int check_caller(const crowd_caller *self, bool may_have_lost)
{
    int n_wrong = 0;
    long long found = there(self->client->crowd, self->own);
    if (self->n_other > 0) {
        fprintf(stderr, "%s: %lld times neither committed nor unknown, at last %s (%s)\n",
            self->own, (long long)self->n_other, gavel_status_name(self->other.status),
            self->other.message);
        n_wrong++;
    }
    if (found > self->n_committed + self->n_unknown)
        n_wrong += complain("is more than was told", self->own, found, self->n_committed);
    if (!may_have_lost && found < self->n_committed)
        n_wrong += complain("is less than was told", self->own, found, self->n_committed);
    if (!may_have_lost && self->n_repeated > 0)
        n_wrong += complain("has repeated ids", self->own, self->n_repeated, 0);
    return n_wrong;
}

static int check_client(crowd_client *self, bool may_have_lost, long long *total)
{
    int n_wrong = 0;
    long long found = 0;
    gavel_stats stats;
    for (int i = 0; i < CROWD_N_EACH; i++)
        found += there(self->crowd, self->callers[i].own);
    if (may_have_lost)
        await_losses(self, found);
    for (int i = 0; i < CROWD_N_EACH; i++)
        n_wrong += check_caller(&self->callers[i], may_have_lost);
    long long committed = SUM(self, n_committed), unknown = SUM(self, n_unknown);
    if (found < committed - self->n_lost - self->n_may_be_lost)
        n_wrong += complain("lost commits untold", self->callers[0].own, found, committed);
    if (found > committed - self->n_lost + unknown)
        n_wrong += complain(
            "were told lost, in vain", self->callers[0].own, self->n_lost, committed - found);
    if (SUM(self, n_repeated) > self->n_lost + self->n_may_be_lost)
        n_wrong += complain("has repeated ids", self->callers[0].own, SUM(self, n_repeated),
            self->n_lost + self->n_may_be_lost);
    gavel_read_stats(self->client, &stats);
    if ((long long)stats.n_lost != self->n_lost)
        n_wrong += complain("n_lost", self->callers[0].own, (long long)stats.n_lost, self->n_lost);
    self->crowd->n_links_lost += (long long)stats.n_links_down;
    *total += found;
    return n_wrong;
}

static int check_reader(const crowd_reader *self)
{
    int n_wrong = 0;
    if (self->n_torn > 0)
        n_wrong += complain("has read what never was", "reader", self->n_torn, 0);
    if (self->n_other > 0) {
        fprintf(stderr, "reader: %lld times neither committed nor unknown, at last %s (%s)\n",
            (long long)self->n_other, gavel_status_name(self->other.status), self->other.message);
        n_wrong++;
    }
    return n_wrong;
}

int crowd_check(live_crowd *self, bool may_have_lost)
{
    int n_wrong = 0;
    long long total = 0;
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        n_wrong += check_client(&self->clients[i], may_have_lost, &total);
    long long found = there(self, self->counter);
    if (found != total)
        n_wrong += complain("is not the sum of its parts", self->counter, found, total);
    n_wrong += check_reader(&self->reader);
    gavel_close(self->reader.client);
    for (int i = 0; i < CROWD_N_CLIENTS; i++) {
        gavel_close(self->clients[i].client);
        if (self->clients[i].loop != NULL)
            ev_loop_destroy(self->clients[i].loop);
    }
    return n_wrong;
}

/* ---- For a table ----------------------------------------------------------------------------- */

long long crowd_n_committed(const live_crowd *self)
{
    long long n = 0;
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        n += SUM(&self->clients[i], n_committed);
    return n;
}

long long crowd_n_unknown(const live_crowd *self)
{
    long long n = 0;
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        n += SUM(&self->clients[i], n_unknown);
    return n;
}

long long crowd_n_lost(const live_crowd *self)
{
    long long n = 0;
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        n += self->clients[i].n_lost;
    return n;
}

long long crowd_n_may_be_lost(const live_crowd *self)
{
    long long n = 0;
    for (int i = 0; i < CROWD_N_CLIENTS; i++)
        n += self->clients[i].n_may_be_lost;
    return n;
}

double crowd_seconds(const live_crowd *self)
{
    return (double)((self->is_over ? self->ended_us : live_now_us()) - self->begun_us) / 1e6;
}
