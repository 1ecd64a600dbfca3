/*
 * A simulated cluster against a real one: random commands on a few connections, while a slot goes
 * back and forth between two nodes key by key, must be answered alike.
 */
#include "clusters.h"
#include "sim.h"
#include "sim_raw.h"

#include "base/random.h"
#include "base/text.h"

#include <criterion/criterion.h>

#include <hiredis.h>

#include <stdio.h>
#include <string.h>

#define N_SEQUENCES 60
#define N_STEPS 100
#define N_CONNECTIONS 4
#define LINE_SIZE 160
#define TEXT_SIZE 4096

/* Of {t}: node 2 has it at first. It goes to node 0 and back. */
#define SLOT 15891

/* ---- Both ---------------------------------------------------------------------------------- */

/* The simulated nodes have the numbers of the real ones. */
typedef struct both {
    live_cluster real;
    sim_world *world;
    char sim_ids[CLUSTERS_N][41];
    size_t owner;
    size_t other;
    bool is_open; /* the slot is on its way from `owner` to `other` */
    gavel__random random;
    size_t nodes[N_CONNECTIONS];
    redisContext *to_real[N_CONNECTIONS];
    sim_raw to_sim[N_CONNECTIONS];
} both;

static void take_version(both *b)
{
    char version[SERVER_VERSION_SIZE];
    char text[64];
    server_version(b->real.nodes[0], version);
    redisReply *info = server_command(b->real.nodes[0], "INFO", "server", NULL);
    const char *valkey = strstr(info->str, "valkey_version:");
    if (valkey != NULL)
        snprintf(text, sizeof text, "valkey %.*s", (int)strcspn(valkey + 15, "\r\n"), valkey + 15);
    else
        snprintf(text, sizeof text, "%s", version);
    freeReplyObject(info);
    sim_set_version(b->world, text);
}

/* What is simulated is Redis from 7.0 on, and Valkey from 9 on. */
static bool is_simulated(both *b)
{
    redisReply *info = server_command(b->real.nodes[0], "INFO", "server", NULL);
    int valkey = 0;
    const char *found = strstr(info->str, "valkey_version:");
    bool is_valkey = found != NULL && sscanf(found, "valkey_version:%d", &valkey) == 1;
    freeReplyObject(info);
    return is_valkey ? valkey >= 9 : server_is_at_least(b->real.nodes[0], 7, 0);
}

static bool begin(both *b)
{
    *b = (both){.owner = 2, .other = 0};
    clusters_begin(&b->real);
    if (!is_simulated(b)) {
        clusters_end(&b->real);
        return false;
    }
    b->world = sim_create(1);
    take_version(b);
    sim_set_faults(b->world, &(sim_faults){.latency_min_us = 1, .latency_max_us = 2});
    sim_add_cluster(b->world, &(sim_cluster){.n_replicas = 1});
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        sim_choose(b->world, i);
        snprintf(b->sim_ids[i], sizeof b->sim_ids[i], "%.40s",
            sim_do(b->world, "CLUSTER MYID").data + strlen("$40\r\n"));
    }
    return true;
}

static void end(both *b)
{
    sim_destroy(b->world);
    clusters_end(&b->real);
}

/* ---- Replies as text, with numbers for nodes ------------------------------------------------- */

static void append(char text[TEXT_SIZE], const char *more)
{
    size_t used = strlen(text);
    gavel__format(text + used, TEXT_SIZE - used, "%s", more);
}

static void print(char text[TEXT_SIZE], const redisReply *reply)
{
    char number[32];
    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        append(text, "[");
        for (size_t i = 0; i < reply->elements; i++) {
            print(text, reply->element[i]);
            append(text, ", ");
        }
        append(text, "]");
        break;
    case REDIS_REPLY_INTEGER:
        gavel__format(number, sizeof number, ":%lld", reply->integer);
        append(text, number);
        break;
    case REDIS_REPLY_NIL:
        append(text, "nil");
        break;
    default:
        append(text, reply->type == REDIS_REPLY_ERROR    ? "-"
                     : reply->type == REDIS_REPLY_STATUS ? "+"
                                                         : "$");
        append(text, reply->str);
    }
}

static void replace(char text[TEXT_SIZE], const char *name, size_t node)
{
    char changed[TEXT_SIZE], number[16];
    char *found;
    gavel__format(number, sizeof number, "@%zu", node);
    while ((found = strstr(text, name)) != NULL) {
        gavel__format(changed, sizeof changed, "%.*s%s%s", (int)(found - text), text, number,
            found + strlen(name));
        memcpy(text, changed, TEXT_SIZE);
    }
}

static void name_nodes(const both *b, char text[TEXT_SIZE], bool is_real)
{
    char name[64];
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        const char *host = is_real ? "127.0.0.1" : sim_host_of(b->world, i);
        int port = is_real ? server_port(b->real.nodes[i]) : sim_port_of(b->world, i);
        gavel__format(name, sizeof name, "%s:%d", host, port);
        replace(text, name, i);
        gavel__format(name, sizeof name, "$%s, :%d", host, port);
        replace(text, name, i);
        replace(text, is_real ? b->real.ids[i] : b->sim_ids[i], i);
    }
}

static void ask_real(both *b, redisContext *context, const char *line, char text[TEXT_SIZE])
{
    redisReply *reply = redisCommand(context, line);
    cr_assert(reply != NULL, "%s: %s", line, context->errstr);
    text[0] = '\0';
    print(text, reply);
    freeReplyObject(reply);
    name_nodes(b, text, true);
}

static void ask_simulated(both *b, sim_raw *raw, const char *line, char text[TEXT_SIZE])
{
    sim_raw_send(raw, line);
    bool may_wait = strncmp(line, "BLPOP", 5) == 0;
    const char *bytes = sim_raw_take(raw, may_wait ? SIM_SECOND : 10);
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redisReaderFeed(reader, bytes, strlen(bytes));
    cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
    cr_assert(reply != NULL, "%s is not answered", line);
    text[0] = '\0';
    print(text, reply);
    freeReplyObject(reply);
    redisReaderFree(reader);
    name_nodes(b, text, false);
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void open_one(both *b, size_t i, size_t node)
{
    b->nodes[i] = node;
    b->to_real[i] = server_connect(b->real.nodes[node]);
    sim_choose(b->world, node);
    cr_assert(sim_raw_open(&b->to_sim[i], b->world));
}

static void close_all(both *b)
{
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        redisFree(b->to_real[i]);
        sim_raw_close(&b->to_sim[i]);
    }
}

static void compare(both *b, size_t i, const char *line, const char *where)
{
    char real[TEXT_SIZE], simulated[TEXT_SIZE];
    ask_real(b, b->to_real[i], line, real);
    ask_simulated(b, &b->to_sim[i], line, simulated);
    cr_assert_str_eq(simulated, real, "%s, node %d, %s: simulated %s, real %s", where,
        (int)b->nodes[i], line, simulated, real);
}

/* ---- An operator ----------------------------------------------------------------------------- */

/* On a connection of its own; *format has a %s for a node's name. */
static void operate(both *b, size_t node, const char *format, size_t about)
{
    char line[LINE_SIZE], real[TEXT_SIZE], simulated[TEXT_SIZE];
    redisContext *context = server_connect(b->real.nodes[node]);
    sim_raw raw;
    sim_choose(b->world, node);
    cr_assert(sim_raw_open(&raw, b->world));
    gavel__format(line, sizeof line, format, b->real.ids[about]);
    ask_real(b, context, line, real);
    gavel__format(line, sizeof line, format, b->sim_ids[about]);
    ask_simulated(b, &raw, line, simulated);
    cr_assert_str_eq(
        simulated, real, "node %d, %s: simulated %s, real %s", (int)node, format, simulated, real);
    sim_raw_close(&raw);
    redisFree(context);
}

static void move_key(both *b, char key, const char *option)
{
    char real[TEXT_SIZE], simulated[TEXT_SIZE], line[LINE_SIZE];
    redisContext *context = server_connect(b->real.nodes[b->owner]);
    sim_raw raw;
    sim_choose(b->world, b->owner);
    cr_assert(sim_raw_open(&raw, b->world));
    gavel__format(line, sizeof line, "MIGRATE 127.0.0.1 %d {t}%c 0 5000%s",
        server_port(b->real.nodes[b->other]), key, option);
    ask_real(b, context, line, real);
    gavel__format(line, sizeof line, "MIGRATE %s %d {t}%c 0 5000%s",
        sim_host_of(b->world, b->other), sim_port_of(b->world, b->other), key, option);
    ask_simulated(b, &raw, line, simulated);
    cr_assert_str_eq(simulated, real, "%s: simulated %s, real %s", line, simulated, real);
    sim_raw_close(&raw);
    redisFree(context);
}

static void open_slot(both *b)
{
    operate(b, b->other, "CLUSTER SETSLOT 15891 IMPORTING %s", b->owner);
    operate(b, b->owner, "CLUSTER SETSLOT 15891 MIGRATING %s", b->other);
    b->is_open = true;
}

static void assign_slot(both *b)
{
    for (char key = 'a'; key <= 'd'; key++)
        move_key(b, key, " REPLACE");
    clusters_settle(&b->real);
    operate(b, b->other, "CLUSTER SETSLOT 15891 NODE %s", b->other);
    operate(b, b->owner, "CLUSTER SETSLOT 15891 NODE %s", b->other);
    operate(b, 1, "CLUSTER SETSLOT 15891 NODE %s", b->other);
    size_t old = b->owner;
    b->owner = b->other;
    b->other = old;
    b->is_open = false;
}

static void do_something(both *b)
{
    char key = (char)('a' + gavel__random_below(&b->random, 4));
    if (!b->is_open)
        open_slot(b);
    else if (gavel__random_below(&b->random, 5) == 0)
        assign_slot(b);
    else
        move_key(b, key, gavel__random_below(&b->random, 2) == 0 ? "" : " REPLACE");
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* "K" is a key of the slot, "O" one of another slot, "V" a value. */
static const char *const forms[] = {"GET K", "GET K", "SET K V", "SET K V", "SET K 1", "INCR K",
    "MGET K K", "MGET K K K", "MSET K V K V", "DEL K", "DEL K K", "EXISTS K K", "TYPE K",
    "RPUSH K V", "WATCH K", "WATCH K", "WATCH K K", "WATCH K K K", "UNWATCH", "MULTI", "MULTI",
    "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "ASKING", "ASKING", "ASKING", "PING", "READONLY",
    "READWRITE", "GET O", "WATCH K O", "MGET K O", "SELECT 0", "SELECT 1", "FROB K", "GET"};

static void draw_line(both *b, char line[LINE_SIZE])
{
    const char *form = forms[gavel__random_below(&b->random, sizeof forms / sizeof forms[0])];
    size_t used = 0;
    for (; *form != '\0'; form++) {
        bool is_word = form[1] == ' ' || form[1] == '\0';
        bool is_alone = is_word && used > 0 && line[used - 1] == ' ';
        char letter = (char)('a' + gavel__random_below(&b->random, 4));
        char word[16] = {*form};
        if (is_alone && *form == 'K')
            gavel__format(word, sizeof word, "{t}%c", letter);
        else if (is_alone && *form == 'O')
            gavel__format(word, sizeof word, "{%c}k", letter);
        else if (is_alone && *form == 'V')
            word[0] = letter;
        used += (size_t)snprintf(line + used, LINE_SIZE - used, "%s", word);
    }
}

static void play_sequence(both *b, uint64_t seed)
{
    char line[LINE_SIZE], where[64];
    gavel__random_seed(&b->random, seed);
    for (size_t i = 0; i < N_CONNECTIONS; i++)
        open_one(b, i, i % 2 == 0 ? b->owner : i == 1 ? b->other : 1);
    for (int i = 0; i < N_STEPS; i++) {
        snprintf(where, sizeof where, "sequence %d, step %d", (int)seed, i);
        draw_line(b, line);
        if (gavel__random_below(&b->random, 10) == 0)
            do_something(b);
        compare(b, (size_t)gavel__random_below(&b->random, N_CONNECTIONS), line, where);
    }
    close_all(b);
}

Test(sim_equals_cluster, answers_alike_while_a_slot_moves)
{
    both b;
    if (!begin(&b))
        cr_skip_test("the simulator plays Redis from 7.0 on, and Valkey from 9 on");
    for (uint64_t seed = 0; seed < N_SEQUENCES; seed++)
        play_sequence(&b, seed);
    end(&b);
}

/* ---- At rest --------------------------------------------------------------------------------- */

Test(sim_equals_cluster, answers_alike_at_rest)
{
    static const char *const lines[] = {"CLUSTER SLOTS", "CLUSTER KEYSLOT a{b}c", "CLUSTER MYID",
        "CLUSTER COUNTKEYSINSLOT 0", "CLUSTER COUNTKEYSINSLOT 16384", "CLUSTER GETKEYSINSLOT 0 10",
        "CLUSTER SETSLOT 16384 STABLE", "CLUSTER SETSLOT 0 STABLE", "CLUSTER SETSLOT 0 MIGRATING x",
        "CLUSTER SETSLOT 0 IMPORTING x", "CLUSTER SETSLOT 0 NODE x", "CLUSTER FROB", "CLUSTER",
        "GET {t}a", "WATCH {t}a", "READONLY", "GET {t}a", "WATCH {t}a", "GET {b}a", "UNWATCH",
        "MULTI", "GET {t}a", "EXEC", "MULTI", "GET {t}a", "SET {t}a 1", "EXEC", "BLPOP {t}q 0.01",
        "READWRITE", "GET {t}a", "SELECT 0", "SELECT 1", "ASKING", "PING", "MGET {t}a {u}a"};
    both b;
    if (!begin(&b))
        cr_skip_test("the simulator plays Redis from 7.0 on, and Valkey from 9 on");
    open_one(&b, 0, 0);
    open_one(&b, 1, 2);
    open_one(&b, 2, 5);
    open_one(&b, 3, 3);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        for (size_t j = 0; j < N_CONNECTIONS; j++)
            compare(&b, j, lines[i], "at rest");
    }
    close_all(&b);
    end(&b);
}
