/*
 * The simulated server against a real one: random commands on two connections, with WATCH, MULTI
 * and EXEC between them, must be answered alike, byte for byte.
 */
#include "server.h"
#include "sim.h"
#include "sim_raw.h"

#include "base/buffer.h"
#include "base/random.h"

#include <criterion/criterion.h>

#include <hiredis/hiredis.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define N_SEQUENCES 200
#define N_COMMANDS 80
#define N_CONNECTIONS 2
#define LINE_SIZE 128

/* "K" is a key, "V" a value, "F" a field, "N" a number. Times to live are too long to be noticed.
 */
static const char *const forms[] = {"MULTI", "MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD",
    "UNWATCH", "WATCH K", "WATCH K", "WATCH K K", "WATCH", "EXEC now", "PING", "PING V", "PING V V",
    "ECHO V", "FROB", "FROB K V", "get", "Get K V", "GET K", "GET K", "GET K", "MGET K K K",
    "SET K V", "SET K N", "SET K N", "SET K V NX", "SET K V XX", "SET K V GET", "SET K N NX GET",
    "SET K V EX 100", "SET K V PX 100000", "SET K N KEEPTTL", "SET K V EX 0", "SET K V EX -5",
    "SET K V EX V", "SET K V NX XX", "SET K V EX 100 PX 100000", "SET K V EX",
    "SET K V KEEPTTL EX 100", "SET K V EX 9223372036854775807", "SET K", "SETNX K V", "GETDEL K",
    "MSET K V K N", "MSET K", "MSET K V K", "APPEND K V", "APPEND K N", "STRLEN K", "INCR K",
    "INCR K", "DECR K", "INCRBY K N", "DECRBY K N", "INCRBY K V", "INCRBY K 9223372036854775807",
    "DECRBY K -9223372036854775808", "DEL K", "DEL K K K", "UNLINK K", "EXISTS K K", "TYPE K",
    "EXPIRE K 100", "PEXPIRE K 100000", "EXPIRE K -1", "PEXPIRE K 0", "EXPIRE K V",
    "EXPIRE K 9223372036854775807", "EXPIRE K 100 V", "TTL K", "PERSIST K", "FLUSHALL", "FLUSHDB",
    "DBSIZE", "SELECT 0", "SELECT 0", "SELECT 1", "SELECT 16", "SELECT V", "HSET K F V",
    "HSET K F N F N", "HSET K F", "HSET K F V F", "HGET K F", "HMGET K F F", "HGETALL K", "HLEN K",
    "HEXISTS K F", "HDEL K F", "HDEL K F F", "HINCRBY K F N", "HINCRBY K F V",
    "HINCRBY K F 9223372036854775807", "RPUSH K V V", "RPUSH K", "LPUSH K N V", "LPOP K", "LLEN K",
    "LRANGE K 0 -1", "LRANGE K N N", "LRANGE K -2 1", "LRANGE K V 1", "SADD K F F", "SADD K F",
    "SREM K F", "SISMEMBER K F", "SCARD K", "ZADD K N F", "ZADD K N F N F", "ZADD K V F",
    "ZADD K 1.5 F", "ZADD K N", "ZADD K N F N", "ZREM K F", "ZSCORE K F", "ZRANGE K 0 -1",
    "ZRANGE K 0 -1 WITHSCORES", "ZRANGE K N N", "ZCARD K", "CLIENT SETNAME V", "AUTH V",
    "AUTH V V V"};

static const char *const numbers[] = {"0", "1", "-1", "2", "7", "-3", "10", "01", "-0"};

static const char *draw_word(gavel__random *random, char kind, char *storage)
{
    switch (kind) {
    case 'K':
        storage[0] = (char)('a' + gavel__random_below(random, 4));
        break;
    case 'F':
        storage[0] = (char)('f' + gavel__random_below(random, 3));
        break;
    case 'V':
        storage[0] = (char)('u' + gavel__random_below(random, 4));
        break;
    case 'N':
        return numbers[gavel__random_below(random, sizeof numbers / sizeof numbers[0])];
    default:
        return NULL;
    }
    storage[1] = '\0';
    return storage;
}

/* A line from a form: each word that is one of the four letters is replaced. */
static void draw_line(gavel__random *random, char line[LINE_SIZE])
{
    const char *form = forms[gavel__random_below(random, sizeof forms / sizeof forms[0])];
    size_t used = 0;
    while (*form != '\0') {
        char storage[2];
        size_t size = strcspn(form, " ");
        const char *word = size == 1 ? draw_word(random, form[0], storage) : NULL;
        used += (size_t)snprintf(line + used, LINE_SIZE - used, "%s%.*s", used > 0 ? " " : "",
            word != NULL ? (int)strlen(word) : (int)size, word != NULL ? word : form);
        form += size;
        form += *form == ' ';
    }
}

/* ---- The real server ----------------------------------------------------------------------- */

static void send_to_redis(redisContext *connection, const char *line)
{
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    sim_raw_compose(&out, line);
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

/* ---- Both ---------------------------------------------------------------------------------- */

typedef struct pair {
    sim_raw simulated;
    redisContext *real;
} pair;

static void open_pairs(pair pairs[N_CONNECTIONS], sim_world *world, const test_server *server)
{
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        cr_assert(sim_raw_open(&pairs[i].simulated, world));
        pairs[i].real = server_connect(server);
    }
}

static void close_pairs(pair pairs[N_CONNECTIONS])
{
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        sim_raw_close(&pairs[i].simulated);
        redisFree(pairs[i].real);
    }
}

static void compare_sequence(uint64_t seed, test_server *server, gavel__buffer *reply)
{
    gavel__random random;
    gavel__random_seed(&random, seed);
    sim_world *world = sim_create(seed);
    sim_set_faults(world, &(sim_faults){.latency_min_us = 1, .latency_max_us = 2});
    server_do(server, "FLUSHALL", NULL);
    pair pairs[N_CONNECTIONS];
    open_pairs(pairs, world, server);
    for (int i = 0; i < N_COMMANDS; i++) {
        char line[LINE_SIZE];
        draw_line(&random, line);
        pair *chosen = &pairs[gavel__random_below(&random, N_CONNECTIONS)];
        send_to_redis(chosen->real, line);
        take_from_redis(chosen->real, reply);
        sim_raw_send(&chosen->simulated, line);
        cr_assert_str_eq(sim_raw_take(&chosen->simulated, 10), reply->data,
            "sequence %d, command %d, %s: simulated %s, real %s", (int)seed, i, line,
            chosen->simulated.reply.data, reply->data);
    }
    close_pairs(pairs);
    sim_destroy(world);
}

Test(sim_equals_redis, answers_byte_for_byte)
{
    test_server *server = server_start(NULL);
    gavel__buffer reply;
    gavel__buffer_init(&reply, &gavel__system_allocator);
    for (uint64_t seed = 0; seed < N_SEQUENCES; seed++)
        compare_sequence(seed, server, &reply);
    gavel__buffer_finish(&reply);
    server_stop(server);
}
