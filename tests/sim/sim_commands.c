/*
 * The commands: their table, those of the connection, of transactions, and of keys of any type.
 * For the server. Source: the Redis 7.0 command reference; the errors are Redis's own words.
 */
#include "sim_cluster.h"
#include "sim_commands.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define N_DATABASES 16

/* ---- What commands share ------------------------------------------------------------------- */

bool sim__find_typed(sim__call *call, gavel_bytes name, sim__type type, sim__key **ret_key)
{
    sim__key *key = sim__find(call->server, call->session->db, name);
    if (key != NULL && key->type != type) {
        sim__reply_error(call->out, SIM__WRONGTYPE);
        return false;
    }
    *ret_key = key;
    return true;
}

bool sim__arg_int(sim__call *call, size_t i, int64_t *ret_value)
{
    if (gavel__parse_int(call->args[i], ret_value))
        return true;
    sim__reply_error(call->out, "ERR value is not an integer or out of range");
    return false;
}

bool sim__arg_is(const sim__call *call, size_t i, const char *word)
{
    return gavel__bytes_equal_nocase(call->args[i], gavel_str(word));
}

void sim__touch_arg(sim__call *call, size_t i)
{
    sim__touch(call->server, call->session->db, call->args[i]);
}

void sim__say_syntax_error(sim__call *call)
{
    sim__reply_error(call->out, "ERR syntax error");
}

void sim__say_arity(sim__call *call)
{
    sim__reply_error(
        call->out, "ERR wrong number of arguments for '%s' command", call->command->name);
}

bool sim__expiry_of(sim__call *call, int64_t value, int64_t unit_ms, int64_t *ret_at_ms)
{
    int64_t now_ms = sim__now_ms(call->server);
    if (value > INT64_MAX / unit_ms || value < INT64_MIN / unit_ms ||
        value * unit_ms > INT64_MAX - now_ms - 1) {
        sim__reply_error(call->out, "ERR invalid expire time in '%s' command", call->command->name);
        return false;
    }
    *ret_at_ms = now_ms + value * unit_ms;
    return true;
}

/* ---- The connection ------------------------------------------------------------------------ */

static bool log_in(sim__call *call, gavel_bytes user, gavel_bytes password)
{
    const sim__server *server = call->server;
    const char *name = server->user != NULL ? server->user : "default";
    if (server->password != NULL &&
        (!gavel__bytes_equal(user, gavel_str(name)) ||
            !gavel__bytes_equal(password, gavel_str(server->password)))) {
        sim__reply_error(
            call->out, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    call->session->has_login = true;
    return true;
}

static void run_auth(sim__call *call)
{
    if (call->n_args > 3) {
        sim__say_syntax_error(call);
        return;
    }
    if (call->n_args == 2 && call->server->password == NULL) {
        sim__reply_error(call->out,
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?");
        return;
    }
    gavel_bytes user = call->n_args == 3 ? call->args[1] : GAVEL_STR("default");
    if (log_in(call, user, call->args[call->n_args - 1]))
        sim__reply_status(call->out, "OK");
}

static bool check_name(sim__call *call, gavel_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            sim__reply_error(call->out,
                "ERR Client names cannot contain spaces, newlines or special characters.");
            return false;
        }
    }
    return true;
}

static bool take_hello_options(sim__call *call)
{
    for (size_t i = 2; i < call->n_args; i++) {
        size_t n_behind = call->n_args - 1 - i;
        if (sim__arg_is(call, i, "AUTH") && n_behind >= 2) {
            if (!log_in(call, call->args[i + 1], call->args[i + 2]))
                return false;
            i += 2;
        } else if (sim__arg_is(call, i, "SETNAME") && n_behind >= 1) {
            if (!check_name(call, call->args[i + 1]))
                return false;
            i += 1;
        } else {
            sim__reply_error(call->out, "ERR Syntax error in HELLO option '%.*s'",
                (int)call->args[i].size, call->args[i].data);
            return false;
        }
    }
    return true;
}

static void say_hello(sim__call *call)
{
    gavel__buffer *out = call->out;
    bool is_sentinel = sim__is_sentinel(call->server);
    sim__reply_array(out, is_sentinel ? 12 : 14);
    sim__reply_bulk(out, GAVEL_STR("server"));
    sim__reply_bulk(out, gavel_str(call->world->is_valkey ? "valkey" : "redis"));
    sim__reply_bulk(out, GAVEL_STR("version"));
    sim__reply_bulk(out, gavel_str(call->world->version));
    sim__reply_bulk(out, GAVEL_STR("proto"));
    sim__reply_int(out, 2);
    sim__reply_bulk(out, GAVEL_STR("id"));
    sim__reply_int(out, (int64_t)call->session->number);
    sim__reply_bulk(out, GAVEL_STR("mode"));
    sim__reply_bulk(out, gavel_str(sim__mode_of(call->server)));
    if (!is_sentinel) {
        sim__reply_bulk(out, GAVEL_STR("role"));
        sim__reply_bulk(out, gavel_str(call->server->primary != NULL ? "replica" : "master"));
    }
    sim__reply_bulk(out, GAVEL_STR("modules"));
    sim__reply_array(out, 0);
}

/* RESP3 is not simulated: it is refused as by a server that does not know it. */
static void run_hello(sim__call *call)
{
    int64_t version = 2;
    if (call->n_args > 1 && !gavel__parse_int(call->args[1], &version)) {
        sim__reply_error(call->out, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2) {
        sim__reply_error(call->out, "NOPROTO unsupported protocol version");
        return;
    }
    if (!take_hello_options(call))
        return;
    if (!call->session->has_login) {
        sim__reply_error(call->out,
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
            "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and "
            "select the RESP protocol version at the same time");
        return;
    }
    say_hello(call);
}

static void run_select(sim__call *call)
{
    int64_t db;
    if (!sim__arg_int(call, 1, &db))
        return;
    bool is_node = call->server->node != NULL;
    if (is_node && db != 0 && !call->world->is_valkey) {
        sim__reply_error(call->out, "ERR SELECT is not allowed in cluster mode");
        return;
    }
    if (db < 0 || db >= (is_node ? 1 : N_DATABASES)) {
        sim__reply_error(call->out, "ERR DB index is out of range");
        return;
    }
    call->session->db = (int)db;
    sim__reply_status(call->out, "OK");
}

/* NULL: none, or one that is about to be closed. */
static sim__session *session_by_id(const sim__server *server, int64_t id)
{
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (id > 0 && session->number == (uint64_t)id && !session->wants_close)
            return session;
    }
    return NULL;
}

static void run_client_unblock(sim__call *call)
{
    int64_t id;
    bool is_error = call->n_args == 4 && sim__arg_is(call, 3, "ERROR");
    if (call->n_args == 4 && !is_error && !sim__arg_is(call, 3, "TIMEOUT")) {
        sim__reply_error(call->out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!sim__arg_int(call, 2, &id))
        return;
    sim__session *target = session_by_id(call->server, id);
    bool is_blocked = target != NULL && target->wait == SIM__BLOCKED;
    if (is_blocked)
        sim__unblock(target, is_error);
    sim__reply_int(call->out, is_blocked);
}

/* CLIENT KILL ID id: not the caller itself, as without SKIPME no. What the server has said to the
 * client still arrives. */
static void run_client_kill(sim__call *call)
{
    int64_t id;
    if (!gavel__parse_int(call->args[3], &id) || id <= 0) {
        sim__reply_error(call->out, "ERR client-id should be greater than 0");
        return;
    }
    sim__session *target = session_by_id(call->server, id);
    bool is_killed = target != NULL && target != call->session;
    if (is_killed) {
        if (target->wait == SIM__BLOCKED)
            sim__forget_wait(target);
        target->wants_close = true;
        sim_kill(call->world, target->number);
    }
    sim__reply_int(call->out, is_killed);
}

static void run_client(sim__call *call)
{
    if (sim__arg_is(call, 1, "SETNAME") && call->n_args == 3) {
        if (check_name(call, call->args[2]))
            sim__reply_status(call->out, "OK");
    } else if (sim__arg_is(call, 1, "ID") && call->n_args == 2) {
        sim__reply_int(call->out, (int64_t)call->session->number);
    } else if (sim__arg_is(call, 1, "UNBLOCK") && (call->n_args == 3 || call->n_args == 4)) {
        run_client_unblock(call);
    } else if (sim__arg_is(call, 1, "KILL") && call->n_args == 4 && sim__arg_is(call, 2, "ID")) {
        run_client_kill(call);
    } else {
        sim__reply_error(call->out, "ERR unknown subcommand '%.*s'. Try CLIENT HELP.",
            (int)call->args[1].size, call->args[1].data);
    }
}

static void run_ping(sim__call *call)
{
    bool is_subscribed = call->session->channels.n_args > 0;
    if (is_subscribed && call->n_args <= 2) {
        sim__reply_array(call->out, 2);
        sim__reply_bulk(call->out, GAVEL_STR("pong"));
        sim__reply_bulk(call->out, call->n_args == 2 ? call->args[1] : GAVEL_STR(""));
    } else if (call->n_args > 2)
        sim__say_arity(call);
    else if (call->n_args == 2)
        sim__reply_bulk(call->out, call->args[1]);
    else
        sim__reply_status(call->out, "PONG");
}

static void run_echo(sim__call *call)
{
    sim__reply_bulk(call->out, call->args[1]);
}

static void run_quit(sim__call *call)
{
    call->session->wants_close = true;
    sim__reply_status(call->out, "OK");
}

/* ---- Transactions -------------------------------------------------------------------------- */

static void run_watch(sim__call *call)
{
    if (call->session->is_in_multi) {
        sim__reply_error(call->out, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    /* What is already dirty needs no further watching, says the real server too. */
    for (size_t i = 1; i < call->n_args && !call->session->is_dirty_cas; i++)
        sim__watch(call->session, call->args[i]);
    sim__reply_status(call->out, "OK");
}

static void run_unwatch(sim__call *call)
{
    sim__unwatch_all(call->session);
    call->session->is_dirty_cas = false;
    sim__reply_status(call->out, "OK");
}

static void run_multi(sim__call *call)
{
    if (call->session->is_in_multi) {
        sim__reply_error(call->out, "ERR MULTI calls can not be nested");
        return;
    }
    call->session->is_in_multi = true;
    sim__reply_status(call->out, "OK");
}

static void run_discard(sim__call *call)
{
    if (!call->session->is_in_multi) {
        sim__reply_error(call->out, "ERR DISCARD without MULTI");
        return;
    }
    sim__discard(call->session);
    sim__reply_status(call->out, "OK");
}

/* ---- Keys of any type ---------------------------------------------------------------------- */

static void run_del(sim__call *call)
{
    int64_t n_deleted = 0;
    for (size_t i = 1; i < call->n_args; i++) {
        sim__key *key = sim__find(call->server, call->session->db, call->args[i]);
        if (key == NULL)
            continue;
        sim__delete(call->server, key);
        sim__touch_arg(call, i);
        n_deleted++;
    }
    sim__reply_int(call->out, n_deleted);
}

static void run_exists(sim__call *call)
{
    int64_t n_found = 0;
    for (size_t i = 1; i < call->n_args; i++)
        n_found += sim__find(call->server, call->session->db, call->args[i]) != NULL;
    sim__reply_int(call->out, n_found);
}

static void run_type(sim__call *call)
{
    static const char *const names[] = {"string", "hash", "list", "set", "zset"};
    const sim__key *key = sim__find(call->server, call->session->db, call->args[1]);
    sim__reply_status(call->out, key != NULL ? names[key->type] : "none");
}

static void expire(sim__call *call, int64_t unit_ms)
{
    int64_t value;
    int64_t at_ms;
    if (!sim__arg_int(call, 2, &value) || !sim__expiry_of(call, value, unit_ms, &at_ms))
        return;
    if (call->n_args > 3) {
        sim__reply_error(
            call->out, "ERR Unsupported option %.*s", (int)call->args[3].size, call->args[3].data);
        return;
    }
    sim__key *key = sim__find(call->server, call->session->db, call->args[1]);
    if (key == NULL) {
        sim__reply_int(call->out, 0);
        return;
    }
    if (at_ms <= sim__now_ms(call->server))
        sim__delete(call->server, key);
    else
        key->expires_at_ms = at_ms;
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, 1);
}

static void run_expire(sim__call *call)
{
    expire(call, 1000);
}

static void run_pexpire(sim__call *call)
{
    expire(call, 1);
}

static int64_t time_to_live_ms(sim__call *call)
{
    const sim__key *key = sim__find(call->server, call->session->db, call->args[1]);
    if (key == NULL)
        return -2;
    return key->expires_at_ms == SIM__NO_EXPIRY ? -1
                                                : key->expires_at_ms - sim__now_ms(call->server);
}

static void run_pttl(sim__call *call)
{
    sim__reply_int(call->out, time_to_live_ms(call));
}

static void run_ttl(sim__call *call)
{
    int64_t ttl_ms = time_to_live_ms(call);
    sim__reply_int(call->out, ttl_ms < 0 ? ttl_ms : (ttl_ms + 500) / 1000);
}

static void run_persist(sim__call *call)
{
    sim__key *key = sim__find(call->server, call->session->db, call->args[1]);
    bool has_expiry = key != NULL && key->expires_at_ms != SIM__NO_EXPIRY;
    if (has_expiry) {
        key->expires_at_ms = SIM__NO_EXPIRY;
        sim__touch_arg(call, 1);
    }
    sim__reply_int(call->out, has_expiry);
}

/* Deletes the keys of one database, or of all for -1, as many DELs would. */
static void flush(sim__call *call, int db)
{
    sim__server *server = call->server;
    for (size_t i = server->store.n_keys; i-- > 0;) {
        sim__key *key = server->store.keys[i];
        if (db >= 0 && key->db != db)
            continue;
        int key_db = key->db;
        gavel_bytes name = sim__copy(key->name);
        sim__delete(server, key);
        sim__touch(server, key_db, name);
        sim__free_bytes(name);
    }
    sim__reply_status(call->out, "OK");
}

static void run_flushall(sim__call *call)
{
    flush(call, -1);
}

static void run_flushdb(sim__call *call)
{
    flush(call, call->session->db);
}

static void run_dbsize(sim__call *call)
{
    int64_t n_keys = 0;
    for (size_t i = 0; i < call->server->store.n_keys; i++)
        n_keys += call->server->store.keys[i]->db == call->session->db;
    sim__reply_int(call->out, n_keys);
}

/* ---- What commands do ---------------------------------------------------------------------- */

/* As Redis 6.2: name, arity, flags, first, last, step, categories. */
static void tell_of(sim__call *call, const sim__command *command)
{
    sim__reply_array(call->out, 7);
    sim__reply_bulk(call->out, gavel_str(command->name));
    sim__reply_int(call->out, command->arity);
    sim__reply_array(call->out, 1);
    sim__reply_status(call->out, command->flags & SIM__WRITES ? "write" : "readonly");
    for (size_t i = 0; i < 3; i++)
        sim__reply_int(call->out, 1);
    sim__reply_array(call->out, 0);
}

/* COMMAND INFO name ...; of those alone that have one key, the first argument, as gavel asks of no
 * others. */
static void run_command(sim__call *call)
{
    if (!sim__arg_is(call, 1, "INFO")) {
        sim__say_syntax_error(call);
        return;
    }
    sim__reply_array(call->out, call->n_args - 2);
    for (size_t i = 2; i < call->n_args; i++) {
        const sim__command *command = sim__command_find(call->args[i]);
        if (command != NULL)
            tell_of(call, command);
        else
            sim__reply_nil_array(call->out);
    }
}

/* ---- The table ----------------------------------------------------------------------------- */

#define HANDSHAKE (SIM__NO_LOGIN | SIM__NO_CHANCE)
#define FRAME (SIM__AT_ONCE | SIM__NO_CHANCE)

static const sim__command commands[] = {
    {"append", 3, SIM__WRITES, sim__run_append},
    {"asking", 1, SIM__NO_CHANCE, sim__run_asking},
    {"auth", -2, HANDSHAKE | SIM__EVERYWHERE, run_auth},
    {"blpop", -3, SIM__WRITES, sim__run_blpop},
    {"client", -2, SIM__NO_CHANCE | SIM__EVERYWHERE, run_client},
    {"cluster", -2, SIM__NO_CHANCE, sim__run_cluster},
    {"command", -2, 0, run_command},
    {"counter.add", 2, SIM__WRITES, sim__run_incr}, /* a module's, that gavel does not know */
    {"counter.tell", 2, 0, sim__run_get},           /* likewise */
    {"dbsize", 1, 0, run_dbsize},
    {"decr", 2, SIM__WRITES, sim__run_decr},
    {"decrby", 3, SIM__WRITES, sim__run_decrby},
    {"del", -2, SIM__WRITES, run_del},
    {"discard", 1, FRAME, run_discard},
    {"echo", 2, 0, run_echo},
    {"exec", 1, SIM__AT_ONCE, sim__run_exec},
    {"exists", -2, 0, run_exists},
    {"expire", -3, SIM__WRITES, run_expire},
    {"flushall", -1, SIM__WRITES, run_flushall},
    {"flushdb", -1, SIM__WRITES, run_flushdb},
    {"get", 2, 0, sim__run_get},
    {"getdel", 2, SIM__WRITES, sim__run_getdel},
    {"hdel", -3, SIM__WRITES, sim__run_hdel},
    {"hello", -1, HANDSHAKE | SIM__EVERYWHERE, run_hello},
    {"hexists", 3, 0, sim__run_hexists},
    {"hget", 3, 0, sim__run_hget},
    {"hgetall", 2, 0, sim__run_hgetall},
    {"hincrby", 4, SIM__WRITES, sim__run_hincrby},
    {"hlen", 2, 0, sim__run_hlen},
    {"hmget", -3, 0, sim__run_hmget},
    {"hset", -4, SIM__WRITES, sim__run_hset},
    {"incr", 2, SIM__WRITES, sim__run_incr},
    {"incrby", 3, SIM__WRITES, sim__run_incrby},
    {"info", -1, SIM__NO_CHANCE | SIM__EVERYWHERE, sim__run_info},
    {"llen", 2, 0, sim__run_llen},
    {"lpop", 2, SIM__WRITES, sim__run_lpop},
    {"lpush", -3, SIM__WRITES, sim__run_lpush},
    {"lrange", 4, 0, sim__run_lrange},
    {"ltrim", 4, SIM__WRITES, sim__run_ltrim},
    {"mget", -2, 0, sim__run_mget},
    {"migrate", -6, SIM__WRITES, sim__run_migrate},
    {"mset", -3, SIM__WRITES, sim__run_mset},
    {"multi", 1, FRAME, run_multi},
    {"persist", 2, SIM__WRITES, run_persist},
    {"pexpire", -3, SIM__WRITES, run_pexpire},
    {"ping", -1, SIM__EVERYWHERE, run_ping},
    {"pttl", 2, 0, run_pttl},
    {"quit", -1, HANDSHAKE | SIM__AT_ONCE, run_quit},
    {"readonly", 1, SIM__NO_CHANCE, sim__run_readonly},
    {"readwrite", 1, SIM__NO_CHANCE, sim__run_readwrite},
    {"role", 1, SIM__NO_CHANCE | SIM__EVERYWHERE, sim__run_role},
    {"rpush", -3, SIM__WRITES, sim__run_rpush},
    {"sadd", -3, SIM__WRITES, sim__run_sadd},
    {"scard", 2, 0, sim__run_scard},
    {"select", 2, SIM__NO_CHANCE, run_select},
    {"sentinel", -2, SIM__SENTINEL, sim__run_sentinel},
    {"set", -3, SIM__WRITES, sim__run_set},
    {"setnx", 3, SIM__WRITES, sim__run_setnx},
    {"sismember", 3, 0, sim__run_sismember},
    {"srem", -3, SIM__WRITES, sim__run_srem},
    {"strlen", 2, 0, sim__run_strlen},
    {"subscribe", -2, SIM__SENTINEL, sim__run_subscribe},
    {"ttl", 2, 0, run_ttl},
    {"type", 2, 0, run_type},
    {"unlink", -2, SIM__WRITES, run_del},
    {"unsubscribe", -1, SIM__SENTINEL, sim__run_unsubscribe},
    {"unwatch", 1, SIM__NO_CHANCE, run_unwatch},
    {"wait", 3, 0, sim__run_wait},
    {"waitaof", 4, 0, sim__run_waitaof},
    {"watch", -2, FRAME, run_watch},
    {"zadd", -4, SIM__WRITES, sim__run_zadd},
    {"zcard", 2, 0, sim__run_zcard},
    {"zrange", -4, 0, sim__run_zrange},
    {"zrem", -3, SIM__WRITES, sim__run_zrem},
    {"zscore", 3, 0, sim__run_zscore},
};

const sim__command *sim__command_find(gavel_bytes name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (gavel__bytes_equal_nocase(name, gavel_str(commands[i].name)))
            return &commands[i];
    }
    return NULL;
}
