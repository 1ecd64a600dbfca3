/*
 * Simulated Sentinels, primaries and replicas against real ones: what they answer, and which fields
 * it has. How failovers go, and how long they take, was measured; see test_sim_sentinel.c.
 */
#include "sentinels.h"
#include "sim.h"
#include "sim_raw.h"

#include "base/buffer.h"
#include "base/text.h"

#include <criterion/criterion.h>

#include <hiredis.h>

#include <stdio.h>
#include <string.h>

#define TEXT_SIZE 8192
#define FIRST_SENTINEL 3

/* ---- Replies as text ----------------------------------------------------------------------- */

/* What is said of the texts of a list. */
typedef enum kept {
    ALL,   /* they are the same */
    NAMES, /* every other one is the name of a field; the values are their own */
    NONE   /* only how many there are */
} kept;

static void append(char text[TEXT_SIZE], const char *more)
{
    size_t used = strlen(text);
    gavel__format(text + used, TEXT_SIZE - used, "%s", more);
}

static void print(char text[TEXT_SIZE], const redisReply *reply, kept which)
{
    char number[32];
    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        append(text, "[");
        for (size_t i = 0; i < reply->elements; i++) {
            const redisReply *element = reply->element[i];
            bool is_hidden = element->type != REDIS_REPLY_ARRAY &&
                             (which == NONE || (which == NAMES && i % 2 == 1));
            if (is_hidden)
                append(text, "?");
            else
                print(text, element, which);
            append(text, ", ");
        }
        append(text, "]");
        break;
    case REDIS_REPLY_INTEGER:
        gavel__format(number, sizeof number, "%lld", reply->integer);
        append(text, number);
        break;
    case REDIS_REPLY_NIL:
        append(text, "nil");
        break;
    default:
        append(text, reply->type == REDIS_REPLY_ERROR ? "-" : "");
        append(text, reply->str);
    }
}

static redisReply *parse(const char *bytes, size_t size)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redisReaderFeed(reader, bytes, size);
    cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
    cr_assert(reply != NULL, "no reply in time");
    redisReaderFree(reader);
    return reply;
}

/* ---- Both ---------------------------------------------------------------------------------- */

typedef struct both {
    live_sentinels real;
    sim_world *world;
} both;

static void begin(both *b)
{
    sentinels_begin(&b->real);
    b->world = sim_create(1);
    char version[SERVER_VERSION_SIZE];
    server_version(b->real.servers[0], version);
    sim_set_version(b->world, version);
    cr_assert_eq(sim_add_sentinels(b->world, &(sim_service){.name = "main"}), FIRST_SENTINEL);
    sim_run_for(b->world, 5 * SIM_SECOND);
}

static void end(both *b)
{
    sim_destroy(b->world);
    sentinels_end(&b->real);
}

/* The server's number is the simulated one's. */
static redisReply *ask_real(both *b, size_t server, const char *line)
{
    test_server *asked =
        server < FIRST_SENTINEL ? b->real.servers[server] : b->real.all[server - FIRST_SENTINEL];
    redisContext *context = server_connect(asked);
    redisReply *reply = redisCommand(context, line);
    cr_assert(reply != NULL);
    redisFree(context);
    return reply;
}

static redisReply *ask_simulated(both *b, size_t server, const char *line)
{
    sim_raw raw;
    sim_choose(b->world, server);
    cr_assert(sim_raw_open(&raw, b->world));
    sim_raw_send(&raw, line);
    const char *bytes = sim_raw_take(&raw, SIM_SECOND);
    redisReply *reply = parse(bytes, strlen(bytes));
    sim_raw_close(&raw);
    return reply;
}

static void compare(both *b, size_t server, const char *line, kept which)
{
    char real[TEXT_SIZE] = "";
    char simulated[TEXT_SIZE] = "";
    redisReply *reply = ask_real(b, server, line);
    print(real, reply, which);
    freeReplyObject(reply);
    reply = ask_simulated(b, server, line);
    print(simulated, reply, which);
    freeReplyObject(reply);
    cr_expect_str_eq(simulated, real, "server %d, %s: simulated %s, real %s", (int)server, line,
        simulated, real);
}

static void compare_all(both *b, size_t server, const char *const *lines, kept which)
{
    for (size_t i = 0; lines[i] != NULL; i++)
        compare(b, server, lines[i], which);
}

/* ---- Sentinels ----------------------------------------------------------------------------- */

static void compare_sentinels(both *b)
{
    static const char *const same[] = {"PING", "ROLE", "GET a", "MULTI", "SELECT 1", "ECHO a",
        "SENTINEL", "SENTINEL FOO", "SENTINEL MASTER", "SENTINEL MYID x", "SENTINEL MASTER x",
        "SENTINEL GET-MASTER-ADDR-BY-NAME x", "SENTINEL FAILOVER x", "SENTINEL REPLICAS x",
        "SENTINEL SENTINELS x", "SUBSCRIBE", "SUBSCRIBE a", "UNSUBSCRIBE", "UNSUBSCRIBE a",
        "CLIENT SETNAME me", "AUTH a", "HELLO 7", NULL};
    static const char *const like[] = {"SENTINEL MASTER main", "SENTINEL REPLICAS main",
        "SENTINEL SENTINELS main", "SENTINEL MASTERS", "HELLO 2", NULL};
    compare_all(b, FIRST_SENTINEL, same, ALL);
    compare_all(b, FIRST_SENTINEL, like, NAMES);
    compare(b, FIRST_SENTINEL, "SENTINEL GET-MASTER-ADDR-BY-NAME main", NONE);
}

/* ---- Primaries and replicas ---------------------------------------------------------------- */

static void find_line(const char *info, const char *name, char value[128])
{
    const char *found = strstr(info, name);
    cr_assert(found != NULL, "no %s in %s", name, info);
    cr_assert_eq(sscanf(found + strlen(name), ":%127[^\r\n]", value), 1);
}

/* All that the simulated one tells, the real one tells as well. */
static void compare_info(both *b, size_t server)
{
    redisReply *real = ask_real(b, server, "INFO replication");
    redisReply *simulated = ask_simulated(b, server, "INFO replication");
    for (char *line = strtok(simulated->str, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        char wanted[160];
        snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(line, ":"), line);
        cr_expect(strstr(real->str, wanted) != NULL, "no %s", wanted);
    }
    static const char *const same[] = {"role", "connected_slaves", "second_repl_offset",
        "master_replid2", "master_failover_state"};
    freeReplyObject(simulated);
    simulated = ask_simulated(b, server, "INFO replication");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        char one[128], other[128];
        find_line(real->str, same[i], one);
        find_line(simulated->str, same[i], other);
        cr_expect_str_eq(one, other, "server %d: %s", (int)server, same[i]);
    }
    freeReplyObject(real);
    freeReplyObject(simulated);
}

static void compare_servers(both *b)
{
    static const char *const on_primary[] = {
        "SET a 1", "WAIT 0 1", "WAIT 1 -1", "WAIT x 1", "WAIT 1 x", "WAIT 1", NULL};
    static const char *const on_replica[] = {
        "GET a", "SET a 1", "BLPOP a 0", "WAIT 1 1", "WAIT x 1", "EXISTS a", NULL};
    sim_choose(b->world, 0);
    compare_all(b, 0, on_primary, ALL);
    sim_run_for(b->world, SIM_SECOND);
    while (sentinels_count(b->real.servers[1], "a") != 1)
        continue;
    compare_all(b, 1, on_replica, ALL);
    for (size_t i = 0; i < 2; i++) {
        compare(b, i, "ROLE", NONE);
        compare(b, i, "HELLO 2", NAMES);
        compare_info(b, i);
    }
}

Test(sim_equals_sentinel, answers_as_real_ones)
{
    both b;
    begin(&b);
    compare_sentinels(&b);
    compare_servers(&b);
    end(&b);
}
