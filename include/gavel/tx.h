/*
 * Bodies: what they read, write and decide.
 *
 * A body reads some keys, decides, and writes. gavel runs it on values that it has WATCHed and
 * sends its writes in one EXEC, so they take effect only if nothing that was read has changed. If
 * something has, gavel reads again and runs the body again. Hence the rules for a body:
 *
 *   - It may run many times, and in any thread that is inside gavel_run on the same client.
 *   - It has no effect outside the transaction, except on its own `user` data; it should set there
 *     all that it sets, every time.
 *   - It does not block, and calls nothing of gavel but the functions of this header.
 *   - It may check errors once, at the end, or never: a read or write that fails poisons the
 *     attempt, the functions after it do nothing, and the verdict no longer counts.
 *
 * Source: Redis, "Transactions" (WATCH, optimistic locking by check-and-set).
 */
#ifndef GAVEL_TX_H
#define GAVEL_TX_H

#include <gavel/bytes.h>
#include <gavel/export.h>
#include <gavel/reply.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One attempt, as its body sees it. Valid only while the body runs. */
typedef struct gavel_tx gavel_tx;

typedef enum gavel_verdict {
    GAVEL_COMMIT, /* make the writes, if nothing that was read has changed */
    GAVEL_ABORT,  /* make none; see gavel_abort */
    GAVEL_RETRY,  /* what was read is not yet as it should be: read again, after a pause */
    GAVEL_AGAIN   /* something read was not there yet (GAVEL_NOT_YET): fetch it, and run again */
} gavel_verdict;

/* The user's callback. `user` is the transaction's. */
typedef gavel_verdict gavel_body(gavel_tx *tx, void *user);

/*
 * A Redis command as counted arguments, its name first. Nothing is interpreted: a space, a NUL or
 * a percent sign in an argument is just a byte.
 *
 * gavel knows the commands of Redis and Valkey, with all their keys: every other argument of MSET,
 * as many as ZUNIONSTORE's number says, what follows STORE. Of others (a module's, a newer
 * server's) the caller says that their keys are n_keys arguments from first_key on; without n_keys
 * they are INVALID (the server tells: gavel_query of COMMAND GETKEYS and the command). Of a known
 * one it need not be said; what is said and wrong is INVALID.
 *
 * What the others do, the server is asked (COMMAND INFO) by whoever uses one first: once a client
 * and name, and again when a connection was lost, for a round trip more. That run of the body
 * counts as GAVEL_AGAIN, also if it was for a write. If the server says that one writes or blocks,
 * that is INVALID as a query, and so is a description without a key that the server names. More
 * keys may be described: of JSON.MGET the server names the first. The description stands where the
 * server says nothing or may not be asked, of a name of 30 bytes or more, and when 256 names were
 * asked for.
 */
typedef struct gavel_command {
    const gavel_bytes *args;
    size_t n_args;
    size_t first_key;     /* 0: as known; else, with n_keys, 1, the argument after the name */
    size_t n_keys;        /* 0: as known; GAVEL_NO_KEYS: none */
    uint64_t reserved[2]; /* zero; see gavel/gavel.h */
} gavel_command;

#define GAVEL_NO_KEYS SIZE_MAX

/*
 * GAVEL_COMMAND(GAVEL_STR("ZADD"), board, score, bidder): a command that gavel knows. Lives as long
 * as the block it stands in. For C; for C++ there is gavel::command in gavel/gavel.hpp.
 */
#ifndef __cplusplus
#define GAVEL_COMMAND(...)                                                                         \
    ((gavel_command){.args = (const gavel_bytes[]){__VA_ARGS__},                                   \
        .n_args = sizeof((const gavel_bytes[]){__VA_ARGS__}) / sizeof(gavel_bytes)})
#endif

/* ---- Texts --------------------------------------------------------------------------------- */

/*
 * What printf makes of a format, to be used as a key, a field, a value or an argument of a command:
 *
 *     gavel_bytes stock = gavel_keyf(tx, "stock:%lld", id);
 *
 * In memory of the attempt, valid until the body returns; whatever the program's locale. It is one
 * argument, with blanks or without. Where the attempt is poisoned, or the format makes it so, no
 * bytes.
 */
GAVEL_EXPORT gavel_bytes gavel_keyf(gavel_tx *tx, const char *format, ...) GAVEL_PRINTF(2, 3);

/* ---- Reading ------------------------------------------------------------------------------- */

/* An output (ret_value, ...) that is NULL is INVALID. */

/* What a read came to. Unless it is GAVEL_FOUND, the output is zero: 0, no bytes, NULL. */
typedef enum gavel_found {
    GAVEL_ABSENT,  /* no such key or field */
    GAVEL_FOUND,   /* the output is set */
    GAVEL_NOT_YET, /* not fetched yet: it will be there in the next run; return GAVEL_AGAIN, or go
                      on to name more reads: whatever the body returns then counts as AGAIN */
    GAVEL_FAILED   /* not a string or not a hash there, not an integer, or the attempt is
                      poisoned; the outcome's message will say which */
} gavel_found;

/*
 * The string at `key`. *ret_value points to memory of the attempt, valid until the body returns.
 * Sees the attempt's own writes. A read that was not declared is GAVEL_NOT_YET, once.
 */
GAVEL_EXPORT gavel_found gavel_get(gavel_tx *tx, gavel_bytes key, gavel_bytes *ret_value);

/* As gavel_get, for a decimal 64-bit integer in Redis's own form: no blanks, no leading zeros. */
GAVEL_EXPORT gavel_found gavel_get_int(gavel_tx *tx, gavel_bytes key, int64_t *ret_value);

/* The field of the hash at `key`; otherwise as gavel_get. */
GAVEL_EXPORT gavel_found gavel_hget(
    gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value);

/* The field of the hash at `key`; otherwise as gavel_get_int. */
GAVEL_EXPORT gavel_found gavel_hget_int(
    gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t *ret_value);

/*
 * As gavel_get, for a number as Redis reads one: "12", "0.5", "1e-3", "inf"; not NaN, and without
 * blanks. Whatever the program's locale.
 */
GAVEL_EXPORT gavel_found gavel_get_double(gavel_tx *tx, gavel_bytes key, double *ret_value);

/* The field of the hash at `key`; otherwise as gavel_get_double. */
GAVEL_EXPORT gavel_found gavel_hget_double(
    gavel_tx *tx, gavel_bytes key, gavel_bytes field, double *ret_value);

/* What gavel_ttl_ms finds where a key has no time to live. */
#define GAVEL_TTL_NONE (-1)

/*
 * For how many milliseconds the key will be there yet, as the server said when it was read (PTTL),
 * or as this attempt has set it; GAVEL_TTL_NONE: it does not pass. GAVEL_ABSENT: there is no such
 * key. Watches the key. To declare it: the command PTTL.
 */
GAVEL_EXPORT gavel_found gavel_ttl_ms(gavel_tx *tx, gavel_bytes key, int64_t *ret_ttl_ms);

/*
 * The server's clock when this attempt's values were read (TIME), in microseconds since 1970: one
 * clock for all who use the server. Nothing watches it. Not declared, it costs what any read does;
 * to declare it: the command TIME. In a Cluster it is that of the server that has the keys, so one
 * has to be declared, or to be read or written before; else INVALID.
 */
GAVEL_EXPORT gavel_found gavel_server_time_us(gavel_tx *tx, int64_t *ret_us);

/*
 * The reply to any command that only reads, such as ZSCORE or LRANGE; its keys are watched. What
 * takes replies apart stands in gavel/reply.h. *ret_reply lives until the body returns.
 * GAVEL_ABSENT when the reply is nil; an error reply is GAVEL_FAILED. gavel does not know what such
 * a command says of keys that this attempt has written, so a query after a write to one of its keys
 * fails.
 *
 * INVALID, before anything is sent, is a command that would take effect at once and outside the
 * transaction: one that writes (SORT and GEORADIUS with STORE), blocks (XREAD with BLOCK), may act
 * (PUBLISH, EVAL; not EVAL_RO), or concerns the connection or the server. Likewise one that reads
 * keys that it does not name (KEYS, SCAN, DBSIZE, RANDOMKEY, INFO, SORT with BY or GET patterns):
 * they could not be watched. An is_read_only transaction may use these: it is a snapshot, and
 * watches nothing; but not in a Cluster those without any key, since each server would tell of its
 * own part only. A command that gavel does not know is judged by what the server says of it, if
 * anything; see gavel_command. What scripts read is watched only as far as it is among their keys.
 *
 * What reads and writes at once is two calls: to pop, a query of LINDEX, and gavel_write of LPOP.
 */
GAVEL_EXPORT gavel_found gavel_query(
    gavel_tx *tx, const gavel_command *command, const gavel_reply **ret_reply);

/* ---- Writing ------------------------------------------------------------------------------- */

/*
 * Each of these adds one command to the attempt's EXEC and copies its arguments. They return false
 * when the attempt is poisoned, by this call or before; checking that is optional. A key that was
 * neither declared nor read is not watched: the write is made whatever the key holds by then.
 * A key, field or value with data NULL is INVALID; an empty one is GAVEL_STR("").
 */

/* SET key value. As SET does, this removes the key's time to live. */
GAVEL_EXPORT bool gavel_set(gavel_tx *tx, gavel_bytes key, gavel_bytes value);

/* SET key value, in decimal. */
GAVEL_EXPORT bool gavel_set_int(gavel_tx *tx, gavel_bytes key, int64_t value);

/* SET key value, in the shortest form that reads back as exactly this double. NaN is INVALID. */
GAVEL_EXPORT bool gavel_set_double(gavel_tx *tx, gavel_bytes key, double value);

/* The longest time to live: some 30,000 years. */
#define GAVEL_TTL_MAX_MS UINT64_C(1000000000000000)

/* SET key value PX ttl_ms: it passes after 1 to GAVEL_TTL_MAX_MS milliseconds. */
GAVEL_EXPORT bool gavel_set_px(gavel_tx *tx, gavel_bytes key, gavel_bytes value, uint64_t ttl_ms);

/* SET key value KEEPTTL: it passes when what was there would have passed. */
GAVEL_EXPORT bool gavel_set_keep(gavel_tx *tx, gavel_bytes key, gavel_bytes value);

/* PEXPIRE key ttl_ms: it passes after 1 to GAVEL_TTL_MAX_MS milliseconds, whatever is there. */
GAVEL_EXPORT bool gavel_expire_ms(gavel_tx *tx, gavel_bytes key, uint64_t ttl_ms);

/* PERSIST key: it passes no more. */
GAVEL_EXPORT bool gavel_persist(gavel_tx *tx, gavel_bytes key);

/* DEL key. */
GAVEL_EXPORT bool gavel_del(gavel_tx *tx, gavel_bytes key);

/* DEL of all these keys, in one command. */
GAVEL_EXPORT bool gavel_del_many(gavel_tx *tx, const gavel_bytes *keys, size_t n_keys);

/* APPEND key bytes: a string that is not there begins empty. */
GAVEL_EXPORT bool gavel_append(gavel_tx *tx, gavel_bytes key, gavel_bytes bytes);

/*
 * INCRBY key by; `by` may be negative, and what is not there counts from 0. This does not read: two
 * who only count are not in each other's way. Whoever wants to know the sum reads the key, before
 * or afterwards (gavel_get_int): that is a read like any other, and it sees the sum. Where the
 * value was read or written by this attempt and is no integer, or the sum would not fit in 64 bits,
 * the attempt is INVALID; else the server finds out, and the outcome is COMMITTED_WITH_ERRORS.
 */
GAVEL_EXPORT bool gavel_incr(gavel_tx *tx, gavel_bytes key, int64_t by);

/* HSET key field value. */
GAVEL_EXPORT bool gavel_hset(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes value);

/* HSET key field value, in decimal. */
GAVEL_EXPORT bool gavel_hset_int(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t value);

/* HSET key field value; otherwise as gavel_set_double. */
GAVEL_EXPORT bool gavel_hset_double(gavel_tx *tx, gavel_bytes key, gavel_bytes field, double value);

/* HINCRBY key field by; otherwise as gavel_incr. */
GAVEL_EXPORT bool gavel_hincr(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t by);

/* HDEL key field. */
GAVEL_EXPORT bool gavel_hdel(gavel_tx *tx, gavel_bytes key, gavel_bytes field);

/*
 * Any other command that may stand in MULTI. gavel does not model what it does: a read of one of
 * its keys later in the same attempt fails. INVALID are commands that concern the connection, the
 * transaction or the server rather than the data (WATCH, EXEC, SELECT, AUTH, SUBSCRIBE, SAVE,
 * MIGRATE and their like) and those that write keys that they do not name (FLUSHALL, FLUSHDB,
 * SWAPDB), or in another database (MOVE, COPY with DB). One that blocks elsewhere does not in
 * MULTI: BLPOP is LPOP.
 */
GAVEL_EXPORT bool gavel_write(gavel_tx *tx, const gavel_command *command);

/* ---- Deciding ------------------------------------------------------------------------------ */

/* Records `code` for the outcome and returns GAVEL_ABORT: return gavel_abort(tx, TOO_LOW). */
GAVEL_EXPORT gavel_verdict gavel_abort(gavel_tx *tx, int code);

/*
 * Sets the result that the outcome carries if this attempt commits, and that is stored under the
 * transaction's id, if it has one. Copies it. At most GAVEL_RESULT_MAX bytes; more poisons the
 * attempt. Returns as the writes do.
 */
GAVEL_EXPORT bool gavel_set_result(gavel_tx *tx, gavel_bytes result);

/* How many attempts of this transaction came before this one; 0 in the first. */
GAVEL_EXPORT uint32_t gavel_attempt(const gavel_tx *tx);

#ifdef __cplusplus
}
#endif

#endif
