/*
 * A simulated cluster: what its nodes answer while slots move, in both flavours. Each row was
 * measured on Redis 7.0.15 and 8.2, or on Valkey 9.1; see also test_sim_equals_cluster.c.
 */
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <stdio.h>

/* Of {t}: server 2 has it at first. It moves to server 0. */
#define SLOT 15891
#define A 2
#define B 0

#define MOVED_TO_B "-MOVED 15891 10.0.1.1:6379\r\n"
#define MOVED_TO_A "-MOVED 15891 10.0.1.3:6379\r\n"
#define ASK_B "-ASK 15891 10.0.1.1:6379\r\n"
#define TRYAGAIN "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
#define CROSSSLOT "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
#define EXECABORT "-EXECABORT Transaction discarded because of previous errors.\r\n"

#define VALKEY "valkey 9.1.2"

typedef struct rig {
    sim_world *world;
    bool is_valkey;
    sim_raw a;
    sim_raw b;
} rig;

static sim_raw open_raw(sim_world *world, size_t server)
{
    sim_raw raw;
    sim_choose(world, server);
    cr_assert(sim_raw_open(&raw, world));
    return raw;
}

static rig begin(const char *version)
{
    rig r = {.world = sim_create(1), .is_valkey = version[0] == 'v'};
    sim_set_version(r.world, version);
    sim_add_cluster(r.world, NULL);
    r.a = open_raw(r.world, A);
    r.b = open_raw(r.world, B);
    ASK(&r.a, "SET {t}k 1\nSET {t}m 7", OK OK);
    return r;
}

static void end(rig *r)
{
    sim_raw_close(&r->a);
    sim_raw_close(&r->b);
    sim_destroy(r->world);
}

/* By an operator, on one node. */
static void tell(rig *r, size_t server, const char *format, size_t about)
{
    char id[64], line[160];
    size_t before = sim_choose(r->world, about);
    snprintf(id, sizeof id, "%.40s", sim_do(r->world, "CLUSTER MYID").data + strlen("$40\r\n"));
    snprintf(line, sizeof line, format, id);
    sim_choose(r->world, server);
    DO(r->world, line, OK);
    sim_choose(r->world, before);
}

static void begin_to_move(rig *r)
{
    tell(r, B, "CLUSTER SETSLOT 15891 IMPORTING %s", A);
    tell(r, A, "CLUSTER SETSLOT 15891 MIGRATING %s", B);
}

static void move_key(rig *r, const char *key)
{
    char line[160];
    snprintf(line, sizeof line, "MIGRATE 10.0.1.1 6379 %s 0 1000 REPLACE", key);
    sim_choose(r->world, A);
    DO(r->world, line, OK);
}

static void assign(rig *r)
{
    tell(r, B, "CLUSTER SETSLOT 15891 NODE %s", B);
    tell(r, A, "CLUSTER SETSLOT 15891 NODE %s", B);
}

/* What the two flavours answer. */
#define ASK_EITHER(r, raw, lines, redis, valkey)                                                   \
    ASK(raw, lines, (r)->is_valkey ? (valkey) : (redis))

typedef void walk(rig *r);

static void walk_both(walk *walked)
{
    static const char *const versions[] = {"7.0.15", "8.2.3", VALKEY};
    for (size_t i = 0; i < 3; i++) {
        rig r = begin(versions[i]);
        walked(&r);
        end(&r);
    }
}

/* ---- Standing slots ------------------------------------------------------------------------ */

static void elsewhere(rig *r)
{
    ASK(&r->b, "WATCH {t}k\nGET {t}k", MOVED_TO_A MOVED_TO_A);
    ASK(&r->b, "MULTI\nSET {t}k 2\nEXEC", OK MOVED_TO_A EXECABORT);
    ASK(&r->a, "GET {t}k", "$1\r\n1\r\n");
}

Test(sim_cluster, another_node_names_the_owner)
{
    walk_both(elsewhere);
}

static void two_slots(rig *r)
{
    ASK(&r->a, "WATCH {t}k {u}z\nMGET {t}k {u}z", CROSSSLOT CROSSSLOT);
    ASK(&r->a, "MULTI\nSET {t}k 2\nSET {0}k 2\nEXEC", OK QUEUED "+QUEUED\r\n" CROSSSLOT);
    ASK(&r->a, "PING", "+PONG\r\n");
}

Test(sim_cluster, keys_of_two_slots_are_refused)
{
    walk_both(two_slots);
}

static void without_keys(rig *r)
{
    ASK(&r->a, "WATCH {t}x\nMULTI\nPING", OK OK QUEUED);
    sim_believe(r->world, A, SLOT, B);
    ASK(&r->a, "EXEC", "*1\r\n+PONG\r\n");
}

Test(sim_cluster, an_exec_without_keys_is_not_refused)
{
    walk_both(without_keys);
}

static void greeting(rig *r)
{
    ASK_EITHER(r, &r->a, "SELECT 0\nSELECT 1", OK "-ERR SELECT is not allowed in cluster mode\r\n",
        OK "-ERR DB index is out of range\r\n");
    const char *hello = sim_raw_ask(&r->a, "HELLO 2");
    cr_expect(strstr(hello, "$4\r\nmode\r\n$7\r\ncluster\r\n") != NULL, "%s", hello);
    cr_expect(strstr(hello, r->is_valkey ? "$6\r\nvalkey\r\n" : "$5\r\nredis\r\n") != NULL);
}

Test(sim_cluster, says_what_it_is)
{
    walk_both(greeting);
}

static void unserved(rig *r)
{
    sim_believe(r->world, A, SLOT, SIM_MAX_SERVERS);
    ASK(&r->a, "GET {t}k", "-CLUSTERDOWN Hash slot not served\r\n");
}

Test(sim_cluster, a_slot_of_nobody_is_not_served)
{
    walk_both(unserved);
}

/* ---- CLUSTER SLOTS ------------------------------------------------------------------------- */

static void append_node(char *text, const sim_world *world, size_t server, const char *host)
{
    size_t before = sim_choose((sim_world *)(uintptr_t)world, server);
    gavel_bytes id = sim_do((sim_world *)(uintptr_t)world, "CLUSTER MYID");
    sprintf(text + strlen(text), "*4\r\n%s:6379\r\n%.*s", host, (int)id.size, id.data);
    sim_choose((sim_world *)(uintptr_t)world, before);
}

static void expect_slots(rig *r, const char *hosts[3], const char *metadata[3])
{
    static const char *const ranges[] = {
        ":0\r\n:5460\r\n", ":5461\r\n:10921\r\n", ":10922\r\n:16383\r\n"};
    char expected[1024] = "*3\r\n";
    for (size_t i = 0; i < 3; i++) {
        sprintf(expected + strlen(expected), "*3\r\n%s", ranges[i]);
        append_node(expected, r->world, i, hosts[i]);
        strcat(expected, metadata[i]);
    }
    ASK(&r->a, "CLUSTER SLOTS", expected);
}

static void endpoints(rig *r)
{
    const char *none[] = {"*0\r\n", "*0\r\n", "*0\r\n"};
    const char *ips[] = {"*2\r\n$2\r\nip\r\n$8\r\n10.0.1.1\r\n",
        "*2\r\n$2\r\nip\r\n$8\r\n10.0.1.2\r\n", "*2\r\n$2\r\nip\r\n$8\r\n10.0.1.3\r\n"};
    expect_slots(r,
        (const char *[]){"$8\r\n10.0.1.1\r\n", "$8\r\n10.0.1.2\r\n", "$8\r\n10.0.1.3\r\n"}, none);
    sim_set_endpoint(r->world, SIM_ENDPOINT_EMPTY);
    expect_slots(r, (const char *[]){"$0\r\n\r\n", "$0\r\n\r\n", "$0\r\n\r\n"}, none);
    ASK(&r->b, "GET {t}k", "-MOVED 15891 :6379\r\n");
    sim_set_endpoint(r->world, SIM_ENDPOINT_UNKNOWN);
    expect_slots(r, (const char *[]){NIL, NIL, NIL}, ips);
    ASK(&r->b, "GET {t}k", "-MOVED 15891 :6379\r\n");
    sim_set_endpoint(r->world, SIM_ENDPOINT_NO_NAME);
    expect_slots(r, (const char *[]){"$1\r\n?\r\n", "$1\r\n?\r\n", "$1\r\n?\r\n"}, ips);
    ASK(&r->b, "GET {t}k", "-MOVED 15891 ?:6379\r\n");
}

Test(sim_cluster, tells_addresses_in_every_way)
{
    walk_both(endpoints);
}

static void each_its_own_map(rig *r)
{
    sim_believe(r->world, B, SLOT, 1);
    ASK(&r->b, "GET {t}k", "-MOVED 15891 10.0.1.2:6379\r\n");
    cr_expect_eq(sim_believed_owner(r->world, B, SLOT), 1);
    cr_expect_eq(sim_owner_of(r->world, SLOT), A);
    ASK(&r->a, "GET {t}k", "$1\r\n1\r\n");
    const char *slots = sim_raw_ask(&r->b, "CLUSTER SLOTS");
    cr_expect(strncmp(slots, "*5\r\n", 4) == 0, "%s", slots);
}

Test(sim_cluster, a_node_may_believe_an_old_map)
{
    walk_both(each_its_own_map);
}

/* ---- A slot that moves key by key ---------------------------------------------------------- */

static void nothing_moved_yet(rig *r)
{
    begin_to_move(r);
    ASK(&r->a, "WATCH {t}k {t}m\nUNWATCH", OK OK);
    ASK(&r->a, "WATCH {t}x\nGET {t}x", ASK_B ASK_B);
    ASK(&r->a, "WATCH {t}k {t}x\nMGET {t}k {t}x", TRYAGAIN TRYAGAIN);
    ASK(&r->a, "MULTI\nSET {t}k 1\nINCR {t}m\nEXEC", OK QUEUED QUEUED "*2\r\n" OK ":8\r\n");
    ASK_EITHER(r, &r->a, "MULTI\nSET {t}k 1\nSET {t}x 1\nEXEC", OK QUEUED ASK_B EXECABORT,
        OK QUEUED QUEUED TRYAGAIN);
    ASK_EITHER(r, &r->a, "MULTI\nSET {t}x 1\nEXEC", OK ASK_B EXECABORT, OK QUEUED ASK_B);
    ASK(&r->b, "WATCH {t}k", MOVED_TO_A);
    ASK(&r->b, "ASKING\nWATCH {t}k\nUNWATCH", OK OK OK);
    ASK(&r->b, "ASKING\nWATCH {t}k {t}m", OK TRYAGAIN);
    ASK(&r->b, "ASKING\nGET {t}k", OK NIL);
}

Test(sim_cluster, before_the_first_key_has_moved)
{
    walk_both(nothing_moved_yet);
}

static void one_moved(rig *r)
{
    sim_raw w = open_raw(r->world, A);
    ASK(&w, "WATCH {t}k {t}m", OK);
    begin_to_move(r);
    move_key(r, "{t}m");
    ASK(&r->a, "WATCH {t}k {t}m\nWATCH {t}m\nWATCH {t}k\nWATCH {t}m\nUNWATCH",
        TRYAGAIN ASK_B OK ASK_B OK);
    ASK_EITHER(r, &w, "MULTI\nSET {t}k w\nINCR {t}m\nEXEC", OK QUEUED ASK_B EXECABORT,
        OK QUEUED QUEUED NIL_ARRAY);
    ASK(&r->b, "ASKING\nWATCH {t}k {t}m", OK TRYAGAIN);
    ASK(&r->b, "ASKING\nMULTI\nINCR {t}m\nSET {t}k B\nEXEC", OK OK QUEUED QUEUED TRYAGAIN);
    ASK(&r->b, "ASKING\nMULTI\nASKING\nINCR {t}m\nASKING\nSET {t}k B\nEXEC",
        OK OK QUEUED QUEUED QUEUED QUEUED TRYAGAIN);
    ASK(&r->a, "GET {t}k", "$1\r\n1\r\n");
    sim_raw_close(&w);
}

Test(sim_cluster, while_keys_are_on_both_sides)
{
    walk_both(one_moved);
}

static void all_moved(rig *r)
{
    sim_raw w = open_raw(r->world, A);
    ASK(&w, "WATCH {t}k", OK);
    begin_to_move(r);
    move_key(r, "{t}m");
    move_key(r, "{t}k");
    ASK(&r->a, "WATCH {t}k {t}m", ASK_B);
    ASK_EITHER(r, &r->a, "MULTI\nSET {t}k 1\nEXEC", OK ASK_B EXECABORT, OK QUEUED ASK_B);
    ASK(&w, "MULTI\nPING\nEXEC", OK QUEUED NIL_ARRAY);
    ASK(&r->b, "ASKING\nWATCH {t}k {t}m\nGET {t}k\nUNWATCH", OK OK MOVED_TO_A OK);
    ASK(&r->b, "ASKING\nGET {t}k\nASKING\nMULTI\nSET {t}k 3\nINCR {t}m\nEXEC",
        OK "$1\r\n1\r\n" OK OK QUEUED QUEUED "*2\r\n" OK ":8\r\n");
    ASK(&r->b, "ASKING\nGET {t}k\nMULTI\nSET {t}k 3\nEXEC",
        OK "$1\r\n3\r\n" OK MOVED_TO_A EXECABORT);
    ASK(&r->b, "ASKING\nUNWATCH\nWATCH {t}k", OK OK MOVED_TO_A);
    sim_raw_close(&w);
}

Test(sim_cluster, before_a_slot_is_assigned)
{
    walk_both(all_moved);
}

static void assigned(rig *r)
{
    sim_raw w = open_raw(r->world, B);
    sim_raw queued = open_raw(r->world, A);
    sim_raw unkeyed = open_raw(r->world, A);
    ASK(&queued, "WATCH {t}x\nMULTI\nSET {t}k 5", OK OK QUEUED);
    ASK(&unkeyed, "WATCH {t}x\nMULTI\nPING", OK OK QUEUED);
    begin_to_move(r);
    move_key(r, "{t}m");
    move_key(r, "{t}k");
    ASK(&w, "ASKING\nWATCH {t}k {t}m", OK OK);
    assign(r);
    ASK(&r->a, "GET {t}k", MOVED_TO_B);
    ASK(&w, "MULTI\nSET {t}k 3\nINCR {t}m\nEXEC", OK QUEUED QUEUED "*2\r\n" OK ":8\r\n");
    ASK(&r->b, "SET {t}x other", OK);
    ASK(&queued, "EXEC\nPING", MOVED_TO_B "+PONG\r\n");
    ASK(&unkeyed, "EXEC", "*1\r\n+PONG\r\n");
    cr_expect_eq(sim_owner_of(r->world, SLOT), B);
    sim_raw_close(&w);
    sim_raw_close(&queued);
    sim_raw_close(&unkeyed);
}

Test(sim_cluster, behind_the_assignment)
{
    walk_both(assigned);
}

static void there_and_back(rig *r)
{
    sim_raw w = open_raw(r->world, A);
    ASK(&w, "WATCH {t}k", OK);
    sim_raw absent = open_raw(r->world, A);
    ASK(&absent, "WATCH {t}x", OK);
    begin_to_move(r);
    move_key(r, "{t}m");
    move_key(r, "{t}k");
    assign(r);
    tell(r, A, "CLUSTER SETSLOT 15891 IMPORTING %s", B);
    tell(r, B, "CLUSTER SETSLOT 15891 MIGRATING %s", A);
    sim_choose(r->world, B);
    DO(r->world, "MIGRATE 10.0.1.3 6379 {t}m 0 1000", OK);
    DO(r->world, "MIGRATE 10.0.1.3 6379 {t}k 0 1000", OK);
    tell(r, A, "CLUSTER SETSLOT 15891 NODE %s", A);
    tell(r, B, "CLUSTER SETSLOT 15891 NODE %s", A);
    ASK(&w, "MULTI\nSET {t}k 3\nEXEC", OK QUEUED NIL_ARRAY);
    ASK(&absent, "MULTI\nSET {t}x 3\nEXEC", OK QUEUED "*1\r\n" OK);
    ASK(&r->b, "GET {t}k", MOVED_TO_A);
    sim_raw_close(&w);
    sim_raw_close(&absent);
}

Test(sim_cluster, a_key_that_was_away_is_changed)
{
    walk_both(there_and_back);
}

static void all_types(rig *r)
{
    static const char *const looks = "LRANGE {t}l 0 -1\nHGETALL {t}h\nSCARD {t}s\nZSCORE {t}z b";
    static const char *const values = "*2\r\n$1\r\nx\r\n$1\r\ny\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
                                      ":2\r\n$3\r\n1.5\r\n";
    ASK(&r->a, "RPUSH {t}l x y\nHSET {t}h f v\nSADD {t}s a b\nZADD {t}z 1.5 b\nPEXPIRE {t}m 60000",
        ":2\r\n:1\r\n:2\r\n:1\r\n:1\r\n");
    ASK(&r->a, looks, values);
    begin_to_move(r);
    static const char *const keys[] = {"{t}l", "{t}h", "{t}s", "{t}z", "{t}k", "{t}m"};
    for (size_t i = 0; i < 6; i++)
        move_key(r, keys[i]);
    assign(r);
    ASK(&r->b, looks, values);
    const char *left = sim_raw_ask(&r->b, "PTTL {t}m");
    cr_expect(strncmp(left, ":59", 3) == 0, "%s", left);
    sim_choose(r->world, A);
    cr_expect_eq(sim_n_keys(r->world), 0);
}

Test(sim_cluster, values_and_times_to_live_move_along)
{
    walk_both(all_types);
}

/* ---- What operators are refused ------------------------------------------------------------ */

static void refusals(rig *r)
{
    ASK(&r->a, "CLUSTER KEYSLOT {t}k\nCLUSTER COUNTKEYSINSLOT 15891\nCLUSTER GETKEYSINSLOT 15891 1",
        ":15891\r\n:2\r\n*1\r\n$4\r\n{t}k\r\n");
    ASK(&r->a, "CLUSTER SETSLOT 16384 STABLE", "-ERR Invalid or out of range slot\r\n");
    ASK(&r->a, "CLUSTER SETSLOT 0 MIGRATING x", "-ERR I'm not the owner of hash slot 0\r\n");
    ASK(&r->a, "CLUSTER SETSLOT 15891 IMPORTING x",
        "-ERR I'm already the owner of hash slot 15891\r\n");
    ASK(&r->a, "CLUSTER SETSLOT 15891 MIGRATING x", "-ERR I don't know about node x\r\n");
    ASK(&r->a, "CLUSTER SETSLOT 15891 NODE x", "-ERR Unknown node x\r\n");
    ASK(&r->a, "MIGRATE 10.0.1.1 6379 {t}x 0 1000", "+NOKEY\r\n");
}

Test(sim_cluster, operators_are_refused_what_cannot_be)
{
    walk_both(refusals);
}

Test(sim_cluster, a_server_alone_knows_no_cluster)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    static const char *const disabled = "-ERR This instance has cluster support disabled\r\n";
    ASK(&raw, "CLUSTER SLOTS", disabled);
    ASK(&raw, "ASKING", disabled);
    ASK(&raw, "MSET a 1 b 2", OK);
    sim_raw_close(&raw);
    sim_destroy(world);
}
