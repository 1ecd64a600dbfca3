/*
 * The commands on hashes, lists, sets and sorted sets. For the table in sim_commands.c. Hashes and
 * sets answer in order of insertion, which real ones do only while they are small.
 */
#include "sim_commands.h"

#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_SIZE 64

/* ---- What they share ----------------------------------------------------------------------- */

static size_t place_of(const sim__key *key, const sim__item *item)
{
    return (size_t)(item - key->items);
}

/* The key of that type, added if absent. NULL after an error. */
static sim__key *need(sim__call *call, sim__type type)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], type, &key))
        return NULL;
    return key != NULL ? key : sim__add(call->server, call->session->db, call->args[1], type);
}

static void say_size(sim__call *call, sim__type type)
{
    sim__key *key;
    if (sim__find_typed(call, call->args[1], type, &key))
        sim__reply_int(call->out, key != NULL ? (int64_t)key->n_items : 0);
}

static void say_presence(sim__call *call, sim__type type)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], type, &key))
        return;
    sim__reply_int(call->out, key != NULL && sim__item_find(key, call->args[2]) != NULL);
}

/* Removes members; a key without any goes. */
static void remove_members(sim__call *call, sim__type type)
{
    sim__key *key;
    int64_t n_removed = 0;
    if (!sim__find_typed(call, call->args[1], type, &key))
        return;
    for (size_t i = 2; key != NULL && i < call->n_args; i++) {
        const sim__item *item = sim__item_find(key, call->args[i]);
        if (item == NULL)
            continue;
        sim__item_remove(key, place_of(key, item));
        n_removed++;
    }
    if (key != NULL && key->n_items == 0)
        sim__delete(call->server, key);
    if (n_removed > 0)
        sim__touch_arg(call, 1);
    sim__reply_int(call->out, n_removed);
}

/* The items from argument 2 to argument 3, negative ones counted from the end: [first, end). */
static bool take_range(sim__call *call, size_t n_items, size_t *ret_first, size_t *ret_end)
{
    int64_t first;
    int64_t last;
    int64_t n = (int64_t)n_items;
    if (!sim__arg_int(call, 2, &first) || !sim__arg_int(call, 3, &last))
        return false;
    if (first < 0)
        first = first + n < 0 ? 0 : first + n;
    if (last < 0)
        last += n;
    if (last >= n)
        last = n - 1;
    *ret_first = first > last ? 0 : (size_t)first;
    *ret_end = first > last ? 0 : (size_t)last + 1;
    return true;
}

/* ---- Hashes -------------------------------------------------------------------------------- */

static void say_value(sim__call *call, const sim__item *item)
{
    if (item != NULL)
        sim__reply_bulk(call->out, item->value);
    else
        sim__reply_nil(call->out);
}

/* True if the field is new. */
static bool put_field(sim__key *key, gavel_bytes field, gavel_bytes value)
{
    sim__item *item = sim__item_find(key, field);
    if (item == NULL) {
        sim__item_insert(key, key->n_items, field, value);
        return true;
    }
    gavel_bytes old = item->value;
    item->value = sim__copy(value);
    sim__free_bytes(old);
    return false;
}

void sim__run_hget(sim__call *call)
{
    sim__key *key;
    if (sim__find_typed(call, call->args[1], SIM__HASH, &key))
        say_value(call, key != NULL ? sim__item_find(key, call->args[2]) : NULL);
}

void sim__run_hmget(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__HASH, &key))
        return;
    sim__reply_array(call->out, call->n_args - 2);
    for (size_t i = 2; i < call->n_args; i++)
        say_value(call, key != NULL ? sim__item_find(key, call->args[i]) : NULL);
}

void sim__run_hset(sim__call *call)
{
    if (call->n_args % 2 != 0) {
        sim__say_arity(call);
        return;
    }
    sim__key *key = need(call, SIM__HASH);
    if (key == NULL)
        return;
    int64_t n_new = 0;
    for (size_t i = 2; i < call->n_args; i += 2)
        n_new += put_field(key, call->args[i], call->args[i + 1]);
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, n_new);
}

void sim__run_hdel(sim__call *call)
{
    remove_members(call, SIM__HASH);
}

void sim__run_hgetall(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__HASH, &key))
        return;
    size_t n_items = key != NULL ? key->n_items : 0;
    sim__reply_array(call->out, 2 * n_items);
    for (size_t i = 0; i < n_items; i++) {
        sim__reply_bulk(call->out, key->items[i].member);
        sim__reply_bulk(call->out, key->items[i].value);
    }
}

void sim__run_hlen(sim__call *call)
{
    say_size(call, SIM__HASH);
}

void sim__run_hexists(sim__call *call)
{
    say_presence(call, SIM__HASH);
}

void sim__run_hincrby(sim__call *call)
{
    int64_t by;
    int64_t value = 0;
    sim__key *key;
    if (!sim__arg_int(call, 3, &by) || !sim__find_typed(call, call->args[1], SIM__HASH, &key))
        return;
    const sim__item *item = key != NULL ? sim__item_find(key, call->args[2]) : NULL;
    if (item != NULL && !gavel__parse_int(item->value, &value)) {
        sim__reply_error(call->out, "ERR hash value is not an integer");
        return;
    }
    if (by > 0 ? value > INT64_MAX - by : value < INT64_MIN - by) {
        sim__reply_error(call->out, "ERR increment or decrement would overflow");
        return;
    }
    char storage[GAVEL__INT_SIZE];
    put_field(need(call, SIM__HASH), call->args[2], gavel__format_int(value + by, storage));
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, value + by);
}

/* ---- Lists --------------------------------------------------------------------------------- */

static void add_elements(sim__call *call, bool is_at_head)
{
    sim__key *key = need(call, SIM__LIST);
    if (key == NULL)
        return;
    if (key->n_items == 0)
        sim__note_list(call->server, call->session->db, call->args[1]);
    for (size_t i = 2; i < call->n_args; i++)
        sim__item_insert(key, is_at_head ? 0 : key->n_items, call->args[i], GAVEL_STR(""));
    sim__touch_arg(call, 1);
    sim__reply_int(call->out, (int64_t)key->n_items);
}

void sim__reply_popped(sim__server *server, sim__key *key, gavel__buffer *out)
{
    sim__reply_bulk(out, key->items[0].member);
    sim__item_remove(key, 0);
    if (key->n_items == 0)
        sim__delete(server, key);
}

void sim__run_rpush(sim__call *call)
{
    add_elements(call, false);
}

void sim__run_lpush(sim__call *call)
{
    add_elements(call, true);
}

void sim__run_lpop(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__LIST, &key))
        return;
    if (key == NULL) {
        sim__reply_nil(call->out);
        return;
    }
    sim__reply_popped(call->server, key, call->out);
    sim__touch_arg(call, 1);
}

void sim__run_ltrim(sim__call *call)
{
    sim__key *key;
    size_t first;
    size_t end;
    if (!take_range(call, 0, &first, &end) ||
        !sim__find_typed(call, call->args[1], SIM__LIST, &key))
        return;
    if (key != NULL) {
        take_range(call, key->n_items, &first, &end);
        while (key->n_items > end)
            sim__item_remove(key, key->n_items - 1);
        while (first-- > 0)
            sim__item_remove(key, 0);
        if (key->n_items == 0)
            sim__delete(call->server, key);
        sim__touch_arg(call, 1);
    }
    sim__reply_status(call->out, "OK");
}

static void say_range(sim__call *call, sim__type type, bool with_scores)
{
    sim__key *key;
    size_t first;
    size_t end;
    if (!take_range(call, 0, &first, &end))
        return; /* The bounds are looked at before the key, as the real server does. */
    if (!sim__find_typed(call, call->args[1], type, &key))
        return;
    take_range(call, key != NULL ? key->n_items : 0, &first, &end);
    sim__reply_array(call->out, (end - first) * (with_scores ? 2 : 1));
    for (size_t i = first; i < end; i++) {
        sim__reply_bulk(call->out, key->items[i].member);
        if (with_scores)
            sim__reply_score(call->out, key->items[i].score);
    }
}

void sim__run_lrange(sim__call *call)
{
    say_range(call, SIM__LIST, false);
}

void sim__run_llen(sim__call *call)
{
    say_size(call, SIM__LIST);
}

/* ---- Sets ---------------------------------------------------------------------------------- */

void sim__run_sadd(sim__call *call)
{
    sim__key *key = need(call, SIM__SET);
    if (key == NULL)
        return;
    int64_t n_new = 0;
    for (size_t i = 2; i < call->n_args; i++)
        n_new += put_field(key, call->args[i], GAVEL_STR(""));
    if (n_new > 0)
        sim__touch_arg(call, 1);
    sim__reply_int(call->out, n_new);
}

void sim__run_srem(sim__call *call)
{
    remove_members(call, SIM__SET);
}

void sim__run_sismember(sim__call *call)
{
    say_presence(call, SIM__SET);
}

void sim__run_scard(sim__call *call)
{
    say_size(call, SIM__SET);
}

/* ---- Sorted sets --------------------------------------------------------------------------- */

static bool parse_score(gavel_bytes text, double *ret_score)
{
    char copy[FLOAT_SIZE];
    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    double score = strtod(copy, &end);
    if (end != copy + text.size || isnan(score) || copy[0] == ' ')
        return false;
    *ret_score = score == 0 ? 0 : score; /* A small sorted set forgets the sign of -0. */
    return true;
}

static size_t place_for(const sim__key *key, double score, gavel_bytes member)
{
    size_t place = 0;
    for (; place < key->n_items; place++) {
        const sim__item *item = &key->items[place];
        if (item->score < score)
            continue;
        if (item->score > score || sim__compare_bytes(item->member, member) > 0)
            break;
    }
    return place;
}

typedef enum placed { UNCHANGED, MOVED, ADDED } placed;

static placed put_score(sim__key *key, double score, gavel_bytes member)
{
    const sim__item *item = sim__item_find(key, member);
    bool is_new = item == NULL;
    if (!is_new && item->score == score)
        return UNCHANGED;
    if (!is_new)
        sim__item_remove(key, place_of(key, item));
    size_t place = place_for(key, score, member);
    sim__item_insert(key, place, member, GAVEL_STR(""))->score = score;
    return is_new ? ADDED : MOVED;
}

/* Without its options: NX, XX, GT, LT, CH and INCR are syntax errors here. */
void sim__run_zadd(sim__call *call)
{
    double score = 0;
    if (call->n_args % 2 != 0) {
        sim__say_syntax_error(call);
        return;
    }
    for (size_t i = 2; i < call->n_args; i += 2) {
        if (!parse_score(call->args[i], &score)) {
            sim__reply_error(call->out, "ERR value is not a valid float");
            return;
        }
    }
    sim__key *key = need(call, SIM__ZSET);
    if (key == NULL)
        return;
    int64_t n_new = 0;
    bool is_changed = false;
    for (size_t i = 2; i < call->n_args; i += 2) {
        parse_score(call->args[i], &score);
        placed result = put_score(key, score, call->args[i + 1]);
        n_new += result == ADDED;
        is_changed |= result != UNCHANGED;
    }
    if (is_changed)
        sim__touch_arg(call, 1);
    sim__reply_int(call->out, n_new);
}

void sim__run_zrem(sim__call *call)
{
    remove_members(call, SIM__ZSET);
}

void sim__run_zscore(sim__call *call)
{
    sim__key *key;
    if (!sim__find_typed(call, call->args[1], SIM__ZSET, &key))
        return;
    const sim__item *item = key != NULL ? sim__item_find(key, call->args[2]) : NULL;
    if (item != NULL)
        sim__reply_score(call->out, item->score);
    else
        sim__reply_nil(call->out);
}

/* By rank only. */
void sim__run_zrange(sim__call *call)
{
    bool with_scores = call->n_args == 5 && sim__arg_is(call, 4, "WITHSCORES");
    if (call->n_args > 4 && !with_scores)
        sim__say_syntax_error(call);
    else
        say_range(call, SIM__ZSET, with_scores);
}

void sim__run_zcard(sim__call *call)
{
    say_size(call, SIM__ZSET);
}
