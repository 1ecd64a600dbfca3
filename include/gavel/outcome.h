/*
 * Outcomes: what gavel tells about a transaction, exactly once.
 *
 * The status alone says whether the writes took effect:
 *
 *     they did                 COMMITTED, COMMITTED_WITH_ERRORS, COMMITTED_NOT_DURABLE
 *     they did not, for sure   INVALID, ABORTED, CONFLICT, DEADLINE, CANCELLED, NOT_SENT, REJECTED
 *     nobody can tell          UNKNOWN
 *
 * gavel never turns the third line into the first or the second by guessing, and never tries an
 * UNKNOWN transaction again by itself.
 */
#ifndef GAVEL_OUTCOME_H
#define GAVEL_OUTCOME_H

#include <gavel/bytes.h>
#include <gavel/export.h>
#include <gavel/reply.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every status: its code, its name, what it means. A zeroed outcome is INVALID, so that memory
 * never claims a commit that nobody made.
 */
#define GAVEL_STATUSES(X)                                                                          \
    X(INVALID, "INVALID", "the request or its body broke a rule; nothing was written")             \
    X(COMMITTED, "COMMITTED", "all writes took effect, as one step")                               \
    X(COMMITTED_WITH_ERRORS, "COMMITTED_WITH_ERRORS",                                              \
        "the server ran the writes, but at least one of them failed")                              \
    X(ABORTED, "ABORTED", "the body decided not to write")                                         \
    X(CONFLICT, "CONFLICT", "others kept changing the keys until the attempts ran out")            \
    X(DEADLINE, "DEADLINE", "the time ran out; nothing was written")                               \
    X(CANCELLED, "CANCELLED", "the program took it back in time; nothing was written")             \
    X(NOT_SENT, "NOT_SENT", "the writes never reached the server")                                 \
    X(REJECTED, "REJECTED", "the server refused; nothing was written")                             \
    X(UNKNOWN, "UNKNOWN", "the writes were sent and the answer was lost; they may have happened")  \
    X(COMMITTED_NOT_DURABLE, "COMMITTED_NOT_DURABLE",                                              \
        "all writes took effect, but too few replicas or disks have them in time")

typedef enum gavel_status {
#define GAVEL_STATUS_CODE(code, name, meaning) GAVEL_##code,
    GAVEL_STATUSES(GAVEL_STATUS_CODE)
#undef GAVEL_STATUS_CODE
} gavel_status;

/* The status's name, such as "COMMITTED"; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_status_name(gavel_status status);

/* One sentence on what the status means; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_status_meaning(gavel_status status);

/* The longest message, with its NUL; a longer one is cut. */
#define GAVEL_MESSAGE_SIZE 192

/* The longest result, in bytes, that gavel_set_result takes. */
#define GAVEL_RESULT_MAX 128

/* Names a transaction that a client has taken. Never used twice by it; 0 names none. */
typedef uint64_t gavel_ticket;

typedef struct gavel_outcome {
    gavel_status status;
    int abort_code;       /* ABORTED: what the body passed to gavel_abort, else 0 */
    uint32_t n_attempts;  /* runs of the body, those with AGAIN not counted */
    uint32_t n_conflicts; /* attempts lost because somebody else changed a key, or RETRY */
    uint32_t n_faults;    /* links that broke or did not come up, a server that cannot serve */
    /* Waited for on behalf of this transaction. What was read behind an EXEC before it need not be
     * waited for: so it is one less, or 0 for a duplicate. */
    uint32_t n_round_trips;
    int64_t elapsed_us; /* from the call to the outcome, in microseconds */
    /* The reply to EXEC was lost, and the marker told that it was made. If a single one of the
     * writes failed, that is lost as well. */
    bool is_from_marker;
    bool is_gated; /* the last attempt went through the gates of hot keys */
    /* COMMITTED earlier, under the same id: by another submission, or by an attempt of this one
     * whose reply was lost. If a single one of its writes failed, that is lost as well. */
    bool is_duplicate;
    size_t result_size;               /* the bytes in `result` */
    char result[GAVEL_RESULT_MAX];    /* what the body set; a duplicate's: what the first one set */
    char message[GAVEL_MESSAGE_SIZE]; /* why, for people: names the key or the server; may be "" */
    const gavel_reply *replies; /* to the writes, in order; only with keep_replies, else NULL */
    size_t n_replies;
    gavel_ticket ticket; /* what gavel_submit has returned; gavel_run draws one as well. 0: refused,
                          * so that no event names it */
    /* How many replicas had the writes, at least, when it was told. Only with min_replicas, else 0
     */
    uint32_t n_replicas;
    /*
     * Only with is_stale_ok, else 0: all that the primary had acknowledged so many ms before gavel
     * took the reply, and then began the body for the last time, is in what it read, at least. 0:
     * it was read at the primary. -1: at a replica, and it is not known.
     */
    int32_t stale_ms;
    uint64_t reserved[6]; /* zero; see gavel/gavel.h */
} gavel_outcome;

/* Room for any outcome's text, with its NUL. */
#define GAVEL_OUTCOME_TEXT_SIZE 512

/*
 * The outcome in one line for people, without a newline: its status, what that means, why, and
 * whatever was out of the ordinary:
 *
 *     COMMITTED: all writes took effect, as one step; 3 attempts, 2 conflicts
 *     ABORTED (code 1): the body decided not to write
 *     NOT_SENT: the writes never reached the server: redis://db:6379: Connection refused; 9 faults
 *
 * Writes at most `size` bytes to `text`, always with a NUL (unless size is 0), cuts what does not
 * fit, and returns `text`. Any thread, also in a completion callback.
 */
GAVEL_EXPORT const char *gavel_outcome_text(const gavel_outcome *outcome, char *text, size_t size);

/*
 * Frees the replies that an outcome holds and zeroes these fields. Takes NULL, an outcome without
 * replies, and one already cleared. Only an outcome that gavel_run returned for a transaction with
 * keep_replies needs it. Any thread.
 */
GAVEL_EXPORT void gavel_outcome_clear(gavel_outcome *outcome);

/* True where the writes took effect: COMMITTED, COMMITTED_WITH_ERRORS or COMMITTED_NOT_DURABLE. */
static inline bool gavel_is_committed(const gavel_outcome *outcome)
{
    return outcome->status == GAVEL_COMMITTED || outcome->status == GAVEL_COMMITTED_WITH_ERRORS ||
           outcome->status == GAVEL_COMMITTED_NOT_DURABLE;
}

#ifdef __cplusplus
}
#endif

#endif
