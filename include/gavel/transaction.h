/*
 * Transactions: what a program asks for.
 *
 * What a body is, and what it may do, stands in gavel/tx.h.
 */
#ifndef GAVEL_TRANSACTION_H
#define GAVEL_TRANSACTION_H

#include <gavel/bytes.h>
#include <gavel/tx.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Something that a transaction is going to read, fetched in the first round trip. */
typedef struct gavel_read {
    gavel_bytes key;
    gavel_bytes field; /* data NULL: the string at the key; else that field of the hash */
    /* Not NULL: the reply to this command, as for gavel_query; then key and field are left out. The
     * body asks for it by the same bytes, capitals too: gavel_server_time_us by TIME, not time. Of
     * one that gavel does not know the server is asked first, and it is fetched when the body asks
     * for it: once a client and name, a round trip more; see gavel_command. */
    const gavel_command *command;
    uint64_t reserved[2]; /* zero; see gavel/gavel.h */
} gavel_read;

/*
 * What gavel_run and gavel_submit take. Zero means the default, which stands beside the field.
 * Both copy the keys, reads, id and digest; `user` is only passed on.
 *
 * What is read is what is guarded: at the commit nothing that the body has read, and none of
 * `keys`, has been changed by others. Nothing has to be declared. A read that is not declared costs
 * a round trip more, but not where nothing is declared (no keys, reads or id): then the body runs
 * once before, to say what it reads, and only what that run did not name costs more. A key that is
 * only written is not watched: others' writes to it are no conflict, and it has no order in time
 * with them; name it in `keys` where that matters, also if other clients read it to write it and
 * shall get their turn (docs/semantics.md, Gates). A body that reads nothing, with no `keys`,
 * commits in one round trip; in two, where its link is new or the link's last round has read, but
 * for has_no_markers. A key appears in `keys` at most once, and so does a read in `reads`; a key
 * may have several reads, and be in `keys` too.
 *
 * In a Cluster all keys of a transaction lie in one slot: those that it declares, reads, writes, or
 * names in commands; a channel of SPUBLISH is one of them, one of PUBLISH goes along. Otherwise it
 * is INVALID, at once or when the body comes to the key, and the message names two of them. A
 * common hash tag puts them there: the slot is that of what stands between the first { and the next
 * }, so that "user:{7}:cart" and "user:{7}:mail" share one.
 * docs/across_slots.md has what to do where that is not possible.
 */
typedef struct gavel_transaction {
    gavel_body *body; /* must be set */
    void *user;
    const gavel_bytes *keys; /* watched, not fetched: keys that are written in order, say */
    size_t n_keys;
    const gavel_read *reads; /* watched and fetched */
    size_t n_reads;
    /* 0: the client's, 5000. From the call to the outcome; see marker_ttl_ms */
    uint32_t deadline_ms;
    uint32_t max_attempts;  /* 0: no bound of its own. Runs of the body, whatever ends them */
    uint32_t max_conflicts; /* 0: 10000. Attempts lost to others, or RETRY; one more: CONFLICT */
    uint32_t max_faults;    /* 0: no bound of its own. Of links and servers; one more: NOT_SENT */
    /* The body only reads: a snapshot, never a conflict. One round trip; two where one of many
     * strings turns out to be absent. */
    bool is_read_only;
    bool is_solo;      /* in a round of its own: shares its EXEC with no other transaction */
    bool keep_replies; /* hand the replies to the writes out in the outcome */
    /*
     * The caller's own id: two transactions with one id commit once, by whichever process and
     * however far apart (within id_ttl_ms, a day); the second is told COMMITTED with is_duplicate
     * and the first one's result. data NULL: none. 1 to GAVEL_ID_MAX bytes; not with
     * is_read_only. Nothing but its bytes counts: with other keys, declared or not, and another
     * body it is the same id. An id is for one server, database and key_prefix; in a Cluster for
     * the slot of the keys, of which one has to be declared: the same id with keys of another slot
     * is another one. It is read like a key, so a body that reads nothing commits in two round
     * trips with it. An id that was not committed (ABORTED, say) is free: who comes again runs.
     * With an id ABORTED costs the round trips of a commit: it makes sure that nothing submitted
     * before, and told UNKNOWN, takes effect later.
     */
    gavel_bytes id;
    /* What the id stands for, a hash of the request say: the same id with another digest is
     * INVALID, and so is a digest without an id. data NULL: not compared. At most GAVEL_DIGEST_MAX
     * bytes. */
    gavel_bytes digest;
    /*
     * Told when so many replicas have what it has written, at most GAVEL_MAX_REPLICAS, or all; 0:
     * the client's, none. If they have not within durable_ms: COMMITTED_NOT_DURABLE. What a
     * failover has undone by then runs again, and is not told. Keys are free meanwhile. A
     * transaction that writes nothing is told at once. Needs markers. It proves less than it seems,
     * but for all replicas: docs/semantics.md, Replicas.
     */
    uint32_t min_replicas;
    /* 0: the client's, 1000. From EXEC's reply on, within the deadline. If the server is lost
     * meanwhile, and no other has taken its place by then: UNKNOWN. So who would rather wait for
     * that says more than a failover takes. */
    uint32_t durable_ms;
    /*
     * Told when it is in the append-only file on the server's disk, and on those of min_replicas;
     * if not within durable_ms: COMMITTED_NOT_DURABLE. With appendfsync everysec that takes a
     * second, with a replica two: name more than these in durable_ms. Only with Redis from 8.0 on:
     * what others answer to WAITAOF is not to be believed, and the transaction is REJECTED. false:
     * the client's.
     */
    bool needs_fsync;
    /*
     * Only with is_read_only: what it reads may be older than what the primary has. Then it is read
     * from a replica, as one snapshot: of the node of its keys, in a Cluster; of those that the
     * Sentinels know, or that the URL names in `replicas`. Where there is none, or none can be had,
     * or has answered by half of the time to the deadline (if that is 50 ms at least), it is read
     * at the primary; so is what a replica takes for a write: name SORT_RO and
     * GEORADIUS_RO instead of SORT and GEORADIUS. How old it was at most is told in the outcome's
     * stale_ms. A body that writes is INVALID. See docs/semantics.md, Old reads.
     */
    bool is_stale_ok;
    /* Only with is_stale_ok: what is older, in ms, or may be as far as is known, is read at the
     * primary. 0: however old. The primary is asked each 50 ms at most, and when somebody reads: so
     * less than 100, or than from one such read to the next, mostly leads there. */
    uint32_t max_stale_ms;
    uint64_t reserved[6]; /* zero; see gavel/gavel.h */
} gavel_transaction;

/* The most keys in one transaction, its id's among them: WATCH costs the server the square of their
 * number. */
#define GAVEL_MAX_KEYS 512

/* For min_replicas: the largest number; all that the primary has ever shown this client, or that
 * its Sentinels know of, and one at least; none, whatever the client's default is. */
#define GAVEL_MAX_REPLICAS 16
#define GAVEL_ALL_REPLICAS UINT32_MAX
#define GAVEL_NO_REPLICAS (UINT32_MAX - 1)

#define GAVEL_ID_MAX 256
#define GAVEL_DIGEST_MAX 64

#ifdef __cplusplus
}
#endif

#endif
