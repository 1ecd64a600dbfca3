/*
 * The commands on strings. For the table in sim_commands.c.
 */
#include "sim_commands.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Gives the key a string value, whatever was there; its time to live goes. */
static sim__key *put_string(sim__call *call, size_t i, gavel_bytes value)
{
    int db = call->session->db;
    sim__key *key = sim__find(call->server, db, call->args[i]);
    if (key != NULL && key->type != SIM__STRING) {
        sim__delete(call->server, key);
        key = NULL;
    }
    if (key == NULL)
        key = sim__add(call->server, db, call->args[i], SIM__STRING);
    sim__set_string(key, value);
    key->expires_at_ms = SIM__NO_EXPIRY;
    sim__touch_arg(call, i);
    return key;
}

static void say_string(sim__call *call, const sim__key *key)
{
    if (key != NULL)
        sim__reply_bulk(call->out, key->string);
    else
        sim__reply_nil(call->out);
}

void sim__run_get(sim__call *call)
{
    sim__key *key;
    if (sim__find_typed(call, call->args[1], SIM__STRING, &key))
        say_string(call, key);
}

void sim__run_getdel(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__STRING, &key))
        return;
    say_string(call, key);
    if (key == NULL)
        return;
    sim__delete(call->server, key);
    sim__touch_arg(call, 1);
}

void sim__run_mget(sim__call *call)
{
    sim__reply_array(call->out, call->n_args - 1);
    for (size_t i = 1; i < call->n_args; i++) {
        const sim__key *key = sim__find(call->server, call->session->db, call->args[i]);
        say_string(call, key != NULL && key->type == SIM__STRING ? key : NULL);
    }
}

/* ---- SET ----------------------------------------------------------------------------------- */

typedef struct set_options {
    bool is_nx;
    bool is_xx;
    bool is_get;
    bool keeps_ttl;
    size_t expiry_arg; /* 0: none */
    int64_t unit_ms;   /* 0: none; the same one may be given again, and the last one holds */
} set_options;

static bool parse_set_options(const sim__call *call, set_options *ret_options)
{
    set_options options = {0};
    for (size_t i = 3; i < call->n_args; i++) {
        bool is_ex = sim__arg_is(call, i, "EX");
        int64_t unit_ms = is_ex ? 1000 : 1;
        bool has_other_unit = options.unit_ms != 0 && options.unit_ms != unit_ms;
        if (sim__arg_is(call, i, "NX") && !options.is_xx) {
            options.is_nx = true;
        } else if (sim__arg_is(call, i, "XX") && !options.is_nx) {
            options.is_xx = true;
        } else if (sim__arg_is(call, i, "GET")) {
            options.is_get = true;
        } else if (sim__arg_is(call, i, "KEEPTTL") && options.unit_ms == 0) {
            options.keeps_ttl = true;
        } else if ((is_ex || sim__arg_is(call, i, "PX")) && !has_other_unit && !options.keeps_ttl &&
                   i + 1 < call->n_args) {
            options.unit_ms = unit_ms;
            options.expiry_arg = ++i;
        } else {
            return false;
        }
    }
    *ret_options = options;
    return true;
}

static bool take_expiry(sim__call *call, const set_options *options, int64_t *ret_at_ms)
{
    int64_t value;
    if (options->expiry_arg == 0)
        return true;
    if (!sim__arg_int(call, options->expiry_arg, &value))
        return false;
    if (value <= 0) {
        sim__reply_error(call->out, "ERR invalid expire time in 'set' command");
        return false;
    }
    return sim__expiry_of(call, value, options->unit_ms, ret_at_ms);
}

void sim__run_set(sim__call *call)
{
    set_options options;
    int64_t expires_at_ms = SIM__NO_EXPIRY;
    if (!parse_set_options(call, &options)) {
        sim__say_syntax_error(call);
        return;
    }
    if (!take_expiry(call, &options, &expires_at_ms))
        return;
    sim__key *key;
    if (options.is_get) {
        if (!sim__find_typed(call, call->args[1], SIM__STRING, &key))
            return;
        say_string(call, key);
    }
    key = sim__find(call->server, call->session->db, call->args[1]);
    if (key != NULL ? options.is_nx : options.is_xx) {
        if (!options.is_get)
            sim__reply_nil(call->out);
        return;
    }
    if (key != NULL && options.keeps_ttl)
        expires_at_ms = key->expires_at_ms;
    put_string(call, 1, call->args[2])->expires_at_ms = expires_at_ms;
    if (!options.is_get)
        sim__reply_status(call->out, "OK");
}

void sim__run_setnx(sim__call *call)
{
    bool is_absent = sim__find(call->server, call->session->db, call->args[1]) == NULL;
    if (is_absent)
        put_string(call, 1, call->args[2]);
    sim__reply_int(call->out, is_absent);
}

void sim__run_mset(sim__call *call)
{
    if (call->n_args % 2 == 0) {
        sim__say_arity(call);
        return;
    }
    for (size_t i = 1; i < call->n_args; i += 2)
        put_string(call, i, call->args[i + 1]);
    sim__reply_status(call->out, "OK");
}

/* ---- Numbers and lengths ------------------------------------------------------------------- */

static void add(sim__call *call, int64_t by)
{
    sim__key *key;
    int64_t value = 0;
    if (!sim__find_typed(call, call->args[1], SIM__STRING, &key))
        return;
    if (key != NULL && !gavel__parse_int(key->string, &value)) {
        sim__reply_error(call->out, "ERR value is not an integer or out of range");
        return;
    }
    if (by > 0 ? value > INT64_MAX - by : value < INT64_MIN - by) {
        sim__reply_error(call->out, "ERR increment or decrement would overflow");
        return;
    }
    char storage[GAVEL__INT_SIZE];
    if (key == NULL)
        key = sim__add(call->server, call->session->db, call->args[1], SIM__STRING);
    sim__set_string(key, gavel__format_int(value + by, storage));
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, value + by);
}

void sim__run_incr(sim__call *call)
{
    add(call, 1);
}

void sim__run_decr(sim__call *call)
{
    add(call, -1);
}

void sim__run_incrby(sim__call *call)
{
    int64_t by;
    if (sim__arg_int(call, 2, &by))
        add(call, by);
}

void sim__run_decrby(sim__call *call)
{
    int64_t by;
    if (!sim__arg_int(call, 2, &by))
        return;
    if (by == INT64_MIN)
        sim__reply_error(call->out, "ERR decrement would overflow");
    else
        add(call, -by);
}

void sim__run_append(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__STRING, &key))
        return;
    if (key == NULL)
        key = sim__add(call->server, call->session->db, call->args[1], SIM__STRING);
    gavel_bytes more = call->args[2];
    gavel_bytes old = key->string;
    char *joined = sim__alloc(old.size + more.size, 1);
    if (old.size > 0)
        memcpy(joined, old.data, old.size);
    if (more.size > 0)
        memcpy(joined + old.size, more.data, more.size);
    sim__set_string(key, (gavel_bytes){joined, old.size + more.size});
    free(joined);
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, (int64_t)key->string.size);
}

void sim__run_strlen(sim__call *call)
{
    sim__key *key;
    if (sim__find_typed(call, call->args[1], SIM__STRING, &key))
        sim__reply_int(call->out, key != NULL ? (int64_t)key->string.size : 0);
}
