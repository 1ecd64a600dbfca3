/*
 * The simulated server against a real one: random commands on a few connections, with WATCH, MULTI,
 * EXEC and BLPOP between them, must be answered alike, byte for byte.
 */
#include "server.h"
#include "sim.h"
#include "sim_raw.h"

#include "base/buffer.h"
#include "base/random.h"

#include <criterion/criterion.h>

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_SEQUENCES 200
#define N_COMMANDS 80
#define N_CONNECTIONS 3
#define MAX_PIPELINED 3
#define LINE_SIZE 128

/* "K" is a key, "V" a value, "F" a field, "N" a number, "I" one of the connections' ids. Times to
 * live are too long to be noticed, but by PTTL: see is_same_line.
 */
static const char *const forms[] = {"MULTI", "MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD",
    "UNWATCH", "WATCH K", "WATCH K", "WATCH K K", "WATCH", "EXEC now", "PING", "PING V", "PING V V",
    "ECHO V", "FROB", "FROB K V", "get", "Get K V", "GET K", "GET K", "GET K", "MGET K K K",
    "SET K V", "SET K N", "SET K N", "SET K V NX", "SET K V XX", "SET K V GET", "SET K N NX GET",
    "SET K V EX 100", "SET K V PX 100000", "SET K N KEEPTTL", "SET K V EX 0", "SET K V EX -5",
    "SET K V XX GET", "SET K V GET PX 100000 NX", "SET K V EX 100 XX GET", "SET K V XX KEEPTTL GET",
    "SET K V EX 50 EX 100", "SET K V PX 100000 NX NX", "SET K V KEEPTTL KEEPTTL", "SET K V PX 0",
    "SET K V GET GET", "SET K V EX V", "SET K V NX XX", "SET K V EX 100 PX 100000", "SET K V EX",
    "SET K V KEEPTTL EX 100", "SET K V EX 9223372036854775807", "SET K", "SETNX K V", "GETDEL K",
    "MSET K V K N", "MSET K", "MSET K V K", "APPEND K V", "APPEND K N", "STRLEN K", "INCR K",
    "INCR K", "DECR K", "INCRBY K N", "DECRBY K N", "INCRBY K V", "INCRBY K 9223372036854775807",
    "DECRBY K -9223372036854775808", "DEL K", "DEL K K K", "UNLINK K", "EXISTS K K", "TYPE K",
    "EXPIRE K 100", "PEXPIRE K 100000", "EXPIRE K -1", "PEXPIRE K 0", "EXPIRE K V",
    "EXPIRE K 9223372036854775807", "EXPIRE K 100 V", "TTL K", "PTTL K", "PTTL K", "PERSIST K",
    "SET K V PX 1000000000000000", "PEXPIRE K 1000000000000000", "FLUSHALL", "FLUSHDB", "DBSIZE",
    "SELECT 0", "SELECT 0", "SELECT 1", "SELECT 16", "SELECT V", "HSET K F V", "HSET K F N F N",
    "HSET K F", "HSET K F V F", "HGET K F", "HMGET K F F", "HGETALL K", "HLEN K", "HEXISTS K F",
    "HDEL K F", "HDEL K F F", "HINCRBY K F N", "HINCRBY K F V", "HINCRBY K F 9223372036854775807",
    "RPUSH K V V", "RPUSH K", "LPUSH K N V", "LPOP K", "LLEN K", "LTRIM K 1 -1", "LTRIM K N N",
    "LTRIM K 0 V", "LTRIM K 0", "BLPOP K V", "BLPOP K -1", "BLPOP K", "BLPOP", "LRANGE K 0 -1",
    "LRANGE K N N", "LRANGE K -2 1", "LRANGE K V 1", "SADD K F F", "SADD K F", "SREM K F",
    "SISMEMBER K F", "SCARD K", "ZADD K N F", "ZADD K N F N F", "ZADD K V F", "ZADD K 1.5 F",
    "ZADD K N", "ZADD K N F N", "ZREM K F", "ZSCORE K F", "ZRANGE K 0 -1",
    "ZRANGE K 0 -1 WITHSCORES", "ZRANGE K N N", "ZCARD K", "CLIENT SETNAME V", "CLIENT UNBLOCK I",
    "CLIENT UNBLOCK V", "CLIENT UNBLOCK I V", "CLIENT KILL ID 0", "AUTH V", "AUTH V V V"};

/* With more to wait for, and to be served with. */
static const char *const waiting_forms[] = {"BLPOP K 0", "BLPOP K 0", "BLPOP K 0", "BLPOP K K 0",
    "BLPOP K V", "BLPOP K -1", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "WATCH K", "UNWATCH",
    "RPUSH K V", "RPUSH K V", "RPUSH K V", "RPUSH K V", "RPUSH K V V", "RPUSH K V V V",
    "LPUSH K V V", "LPOP K", "LLEN K", "LRANGE K 0 -1", "LTRIM K 1 -1", "DEL K", "DEL K", "DEL K K",
    "DEL K K K", "SET K V", "SET K V NX GET", "GETDEL K", "SADD K V", "PEXPIRE K 100000",
    "PEXPIRE K 0", "TYPE K", "FLUSHALL", "FLUSHALL", "SELECT 0", "SELECT 0", "SELECT 1",
    "CLIENT UNBLOCK I", "CLIENT UNBLOCK I ERROR", "CLIENT UNBLOCK I TIMEOUT", "PING"};

static const char *const numbers[] = {"0", "1", "-1", "2", "7", "-3", "10", "01", "-0"};

typedef struct drawing {
    gavel__random *random;
    const char *const *forms;
    size_t n_forms;
    const char *keys;    /* one letter each */
    const uint64_t *ids; /* of the connections, on the server that the line is for */
} drawing;

static const char *draw_word(const drawing *from, char kind, char storage[LINE_SIZE])
{
    uint64_t number = gavel__random_next(from->random);
    const char *letters = kind == 'K' ? from->keys : kind == 'F' ? "fgh" : "uvwx";
    switch (kind) {
    case 'K':
    case 'F':
    case 'V':
        snprintf(storage, LINE_SIZE, "%c", letters[number % strlen(letters)]);
        return storage;
    case 'N':
        return numbers[number % (sizeof numbers / sizeof numbers[0])];
    case 'I':
        snprintf(storage, LINE_SIZE, "%llu", (unsigned long long)from->ids[number % N_CONNECTIONS]);
        return storage;
    default:
        return NULL;
    }
}

/* A line from a form: each word that is one of the five letters is replaced. */
static void draw_line(const drawing *from, char line[LINE_SIZE])
{
    const char *form = from->forms[gavel__random_below(from->random, from->n_forms)];
    size_t used = 0;
    while (*form != '\0') {
        char storage[LINE_SIZE];
        size_t size = strcspn(form, " ");
        const char *word = size == 1 ? draw_word(from, form[0], storage) : NULL;
        used += (size_t)snprintf(line + used, LINE_SIZE - used, "%s%.*s", used > 0 ? " " : "",
            word != NULL ? (int)strlen(word) : (int)size, word != NULL ? word : form);
        form += size;
        form += *form == ' ';
    }
}

/* One to a few lines, for one send. Nothing behind a FLUSHALL: servers of late let others go on
 * while they flush, before they run it. */
static void draw_lines(const drawing *from, char lines[MAX_PIPELINED * LINE_SIZE])
{
    size_t n_lines = 1 + (size_t)gavel__random_below(from->random, MAX_PIPELINED);
    size_t used = 0;
    for (size_t i = 0; i < n_lines; i++) {
        char line[LINE_SIZE];
        draw_line(from, line);
        used += (size_t)snprintf(
            lines + used, MAX_PIPELINED * LINE_SIZE - used, "%s%s", i > 0 ? "\n" : "", line);
        if (strcmp(line, "FLUSHALL") == 0)
            break;
    }
}

/* ---- The real server ----------------------------------------------------------------------- */

static void send_to_redis(redisContext *connection, const char *lines)
{
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    sim_raw_compose(&out, lines);
    cr_assert_eq(write(connection->fd, out.data, out.size), (ssize_t)out.size);
    gavel__buffer_finish(&out);
}

/* The bytes of one reply; the reader only tells where it ends. */
static void take_from_redis(redisContext *connection, gavel__buffer *reply)
{
    redisReader *reader = redisReaderCreate();
    void *parsed = NULL;
    gavel__buffer_clear(reply);
    while (parsed == NULL) {
        char chunk[1024];
        ssize_t n = read(connection->fd, chunk, sizeof chunk);
        cr_assert_gt(n, 0);
        gavel__buffer_append(reply, (gavel_bytes){chunk, (size_t)n});
        redisReaderFeed(reader, chunk, (size_t)n);
        cr_assert_eq(redisReaderGetReply(reader, &parsed), REDIS_OK);
    }
    freeReplyObject(parsed);
    redisReaderFree(reader);
    gavel__buffer_append(reply, (gavel_bytes){"", 1});
}

/* As many bytes as are expected, or fewer if they do not come within the connection's time-out. */
static void take_bytes_from_redis(redisContext *connection, size_t size, gavel__buffer *reply)
{
    gavel__buffer_clear(reply);
    while (reply->size < size) {
        char chunk[1024];
        size_t missing = size - reply->size;
        ssize_t n = recv(connection->fd, chunk, missing < sizeof chunk ? missing : sizeof chunk, 0);
        if (n <= 0)
            break;
        gavel__buffer_append(reply, (gavel_bytes){chunk, (size_t)n});
    }
    gavel__buffer_append(reply, (gavel_bytes){"", 1});
}

static bool has_bytes_from_redis(const redisContext *connection)
{
    char byte;
    return recv(connection->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
}

static uint64_t id_on_redis(redisContext *connection)
{
    redisReply *reply = redisCommand(connection, "CLIENT ID");
    cr_assert(reply != NULL && reply->type == REDIS_REPLY_INTEGER);
    uint64_t id = (uint64_t)reply->integer;
    freeReplyObject(reply);
    return id;
}

/* A reply's line, or what is left of it to live: real time passes, the simulated hardly does. */
static bool is_same_line(const char *simulated, const char *real, size_t size)
{
    const long long max_passed_ms = 10000;
    long long simulated_ms = 0, real_ms = 0;
    if (sscanf(simulated, ":%lld", &simulated_ms) == 1 && simulated_ms > 2 * max_passed_ms &&
        sscanf(real, ":%lld", &real_ms) == 1)
        return real_ms <= simulated_ms && real_ms > simulated_ms - max_passed_ms;
    return strncmp(simulated, real, size) == 0;
}

static bool is_same_answer(const char *simulated, const char *real)
{
    while (*simulated != '\0' && *real != '\0') {
        size_t size = strcspn(simulated, "\n") + 1;
        if (!is_same_line(simulated, real, size))
            return false;
        simulated += size;
        real += strcspn(real, "\n") + 1;
    }
    return *simulated == *real;
}

/* One that is younger than what is simulated. */
static test_server *start_server(void)
{
    test_server *server = server_start(NULL);
    if (!server_is_at_least(server, 7, 0)) {
        server_stop(server);
        cr_skip_test("the simulator plays 7.0 and later");
    }
    return server;
}

/* ---- Both ---------------------------------------------------------------------------------- */

typedef struct servers {
    test_server *real;
    sim_world *simulated;
    redisContext *to_real[N_CONNECTIONS];
    sim_raw to_simulated[N_CONNECTIONS];
    uint64_t real_ids[N_CONNECTIONS];
    uint64_t simulated_ids[N_CONNECTIONS];
    gavel__buffer reply;
} servers;

static servers open_servers(uint64_t seed, test_server *real)
{
    servers both = {.real = real, .simulated = sim_create(seed)};
    char version[SERVER_VERSION_SIZE];
    server_version(real, version);
    sim_set_version(both.simulated, version);
    sim_set_faults(both.simulated, &(sim_faults){.latency_min_us = 1, .latency_max_us = 2});
    server_do(real, "FLUSHALL", NULL);
    gavel__buffer_init(&both.reply, &gavel__system_allocator);
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        cr_assert(sim_raw_open(&both.to_simulated[i], both.simulated));
        both.simulated_ids[i] = both.to_simulated[i].connection;
        both.to_real[i] = server_connect(real);
        both.real_ids[i] = id_on_redis(both.to_real[i]);
        redisSetTimeout(both.to_real[i], (struct timeval){.tv_sec = 5});
    }
    return both;
}

static void close_servers(servers *both)
{
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        sim_raw_close(&both->to_simulated[i]);
        redisFree(both->to_real[i]);
    }
    while (server_info(both->real, "blocked_clients") > 0)
        continue;
    sim_destroy(both->simulated);
    gavel__buffer_finish(&both->reply);
}

static void compare_sequence(uint64_t seed, test_server *real)
{
    gavel__random random;
    gavel__random_seed(&random, seed);
    servers both = open_servers(seed, real);
    static const uint64_t no_ids[N_CONNECTIONS] = {900000000, 900000001, 900000002};
    drawing from = {&random, forms, sizeof forms / sizeof forms[0], "abcd", no_ids};
    for (int i = 0; i < N_COMMANDS; i++) {
        char line[LINE_SIZE];
        draw_line(&from, line);
        size_t chosen = (size_t)gavel__random_below(&random, N_CONNECTIONS);
        sim_raw *raw = &both.to_simulated[chosen];
        send_to_redis(both.to_real[chosen], line);
        take_from_redis(both.to_real[chosen], &both.reply);
        sim_raw_send(raw, line);
        cr_assert(is_same_answer(sim_raw_take(raw, 10), both.reply.data),
            "sequence %d, command %d, %s: simulated %s, real %s", (int)seed, i, line,
            raw->reply.data, both.reply.data);
    }
    close_servers(&both);
}

Test(sim_equals_redis, answers_byte_for_byte)
{
    test_server *server = start_server();
    for (uint64_t seed = 0; seed < N_SEQUENCES; seed++)
        compare_sequence(seed, server);
    server_stop(server);
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* Until as many clients wait on the real server as on the simulated one. An answer to this question
 * comes behind all that was said before, so nothing more may have come then. */
static void settle(servers *both, const char *what)
{
    size_t n_blocked = sim_n_blocked(both->simulated);
    int n_tries = 0;
    while ((size_t)server_info(both->real, "blocked_clients") != n_blocked)
        cr_assert_lt(++n_tries, 10000, "%s: %d should wait", what, (int)n_blocked);
    for (size_t i = 0; i < N_CONNECTIONS; i++)
        cr_assert_not(has_bytes_from_redis(both->to_real[i]), "%s: more is answered", what);
}

/* What has been sent to the simulated server has `us` of its time to be answered. */
static void compare_answers(servers *both, int64_t us, const char *what)
{
    sim_run_for(both->simulated, us);
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        const char *simulated = sim_raw_take(&both->to_simulated[i], 0);
        take_bytes_from_redis(both->to_real[i], strlen(simulated), &both->reply);
        cr_assert_str_eq(simulated, both->reply.data, "%s: connection %d, simulated %s, real %s",
            what, (int)i, simulated, both->reply.data);
    }
    settle(both, what);
}

/* When all wait, one is let go from outside, so that it goes on. */
static void let_one_go(servers *both, size_t chosen)
{
    char line[LINE_SIZE];
    char id[32];
    snprintf(
        line, sizeof line, "CLIENT UNBLOCK %llu", (unsigned long long)both->simulated_ids[chosen]);
    snprintf(id, sizeof id, "%llu", (unsigned long long)both->real_ids[chosen]);
    sim_do(both->simulated, line);
    server_do(both->real, "CLIENT", "UNBLOCK", id, NULL);
    compare_answers(both, 50, line);
}

/* One that does not wait, as a rule. */
static size_t draw_connection(const servers *both, gavel__random *random)
{
    for (;;) {
        size_t chosen = (size_t)gavel__random_below(random, N_CONNECTIONS);
        if (!sim_is_blocked(both->simulated, both->simulated_ids[chosen]) ||
            gavel__random_below(random, 20) == 0)
            return chosen;
    }
}

static void compare_waiting_sequence(uint64_t seed, test_server *real, uint64_t *ret_n_served)
{
    gavel__random random;
    gavel__random_seed(&random, seed);
    servers both = open_servers(seed, real);
    for (int i = 0; i < N_COMMANDS; i++) {
        char lines[MAX_PIPELINED * LINE_SIZE];
        char real_lines[MAX_PIPELINED * LINE_SIZE];
        size_t n_forms = sizeof waiting_forms / sizeof waiting_forms[0];
        size_t chosen = draw_connection(&both, &random);
        gavel__random same = random;
        draw_lines(&(drawing){&random, waiting_forms, n_forms, "ab", both.simulated_ids}, lines);
        draw_lines(&(drawing){&same, waiting_forms, n_forms, "ab", both.real_ids}, real_lines);
        char what[MAX_PIPELINED * LINE_SIZE + 64];
        snprintf(what, sizeof what, "sequence %d, command %d, %s", (int)seed, i, lines);
        sim_raw_send(&both.to_simulated[chosen], lines);
        send_to_redis(both.to_real[chosen], real_lines);
        compare_answers(&both, 50, what);
        while (sim_n_blocked(both.simulated) == N_CONNECTIONS)
            let_one_go(&both, chosen);
    }
    *ret_n_served += sim_get_counters(both.simulated)->n_served;
    close_servers(&both);
}

Test(sim_equals_redis, waits_and_is_served_alike)
{
    test_server *server = start_server();
    uint64_t n_served = 0;
    for (uint64_t seed = 0; seed < N_SEQUENCES; seed++)
        compare_waiting_sequence(seed, server, &n_served);
    cr_expect_gt(n_served, 2 * N_SEQUENCES, "only %d were served", (int)n_served);
    server_stop(server);
}

Test(sim_equals_redis, times_out_alike)
{
    static const char *const lines[] = {"BLPOP a 0.01\nPING", "BLPOP a 0.2",
        "BLPOP a b 1e-5\nGET a", "BLPOP a nan", "BLPOP a inf", "BLPOP a 1e30", "BLPOP a -0.1",
        "BLPOP a 0x1p-5", "MULTI\nBLPOP a 0.05\nEXEC", "WATCH a\nBLPOP a 0.01\nMULTI\nPING\nEXEC"};
    test_server *server = start_server();
    servers both = open_servers(1, server);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        sim_raw_send(&both.to_simulated[i % N_CONNECTIONS], lines[i]);
        send_to_redis(both.to_real[i % N_CONNECTIONS], lines[i]);
        compare_answers(&both, SIM_SECOND, lines[i]);
    }
    close_servers(&both);
    server_stop(server);
}
