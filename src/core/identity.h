/*
 * Identities: the record that a commit leaves under the caller's id, and how a second submission
 * reads it. The record is "g1", a byte with the digest's size, the digest, and the result.
 *
 * An end that writes nothing leaves a tombstone there, "g0", for a second. It says nothing to
 * whoever reads it, who runs as if the id were free. But an EXEC that an earlier submission has
 * sent, whose caller was told UNKNOWN, watches this key: should it still arrive, it gets nil.
 */
#ifndef GAVEL__IDENTITY_H
#define GAVEL__IDENTITY_H

#include <gavel/outcome.h>
#include <gavel/transaction.h>

#define GAVEL__IDENTITY_SIZE (3 + GAVEL_DIGEST_MAX + GAVEL_RESULT_MAX)

/* The record for this digest and the outcome's result, in `storage`. */
gavel_bytes gavel__identity_record(
    gavel_bytes digest, const gavel_outcome *outcome, char storage[GAVEL__IDENTITY_SIZE]);

/* What stands for a commit that did not and will not happen, and how long. */
extern const gavel_bytes gavel__identity_tombstone;

/* What a duplicate's message says. */
extern const char gavel__identity_duplicate[];

#define GAVEL__TOMBSTONE_TTL_MS 1000

/*
 * COMMITTED, with is_duplicate and the stored result in the outcome, if the record is of the same
 * request; INVALID if the id stands for another one (digest.data NULL: not compared), or if the
 * record is none. *ret_message is a constant.
 */
gavel_status gavel__identity_check(
    gavel_bytes record, gavel_bytes digest, gavel_outcome *ret_outcome, const char **ret_message);

#endif
