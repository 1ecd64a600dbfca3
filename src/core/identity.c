/*
 * Identities: see the header for the layout.
 */
#include "core/identity.h"

#include "base/text.h"

#include <string.h>

static const gavel_bytes version = {"g1", 2};

const gavel_bytes gavel__identity_tombstone = {"g0", 2};

const char gavel__identity_duplicate[] = "committed before, under the same id";

gavel_bytes gavel__identity_record(
    gavel_bytes digest, const gavel_outcome *outcome, char storage[GAVEL__IDENTITY_SIZE])
{
    size_t size = version.size;
    memcpy(storage, version.data, version.size);
    storage[size++] = (char)digest.size;
    if (digest.size > 0)
        memcpy(storage + size, digest.data, digest.size);
    size += digest.size;
    memcpy(storage + size, outcome->result, outcome->result_size);
    return (gavel_bytes){storage, size + outcome->result_size};
}

gavel_status gavel__identity_check(
    gavel_bytes record, gavel_bytes digest, gavel_outcome *ret_outcome, const char **ret_message)
{
    size_t header = version.size + 1;
    size_t digest_size = record.size >= header ? (unsigned char)record.data[version.size] : 0;
    if (record.size < header || !gavel__bytes_start_with(record, version) ||
        record.size < header + digest_size ||
        record.size - header - digest_size > GAVEL_RESULT_MAX) {
        *ret_message = "the key of the id holds something that is no record of an id";
        return GAVEL_INVALID;
    }
    gavel_bytes stored = {record.data + header, digest_size};
    if (digest.data != NULL && !gavel__bytes_equal(stored, digest)) {
        *ret_message = "the id was used before, for a request with another digest";
        return GAVEL_INVALID;
    }
    ret_outcome->is_duplicate = true;
    ret_outcome->result_size = record.size - header - digest_size;
    memcpy(ret_outcome->result, stored.data + digest_size, ret_outcome->result_size);
    *ret_message = gavel__identity_duplicate;
    return GAVEL_COMMITTED;
}
