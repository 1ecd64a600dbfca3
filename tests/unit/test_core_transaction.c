/*
 * Requests: what is taken over and what is refused, with the words that the caller is told; and
 * the small tables that go with it: commands, records of ids, errors of the server, outcomes.
 */
#include "core/transaction.h"

#include "faulty_memory.h"

#include "base/text.h"
#include "core/commands.h"
#include "core/identity.h"
#include "core/server_error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static gavel_verdict do_nothing(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_COMMIT;
}

typedef struct desk {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__buffer scratch;
    gavel__limits limits;
    gavel__transaction transaction;
} desk;

static void open(desk *d)
{
    *d = (desk){.memory = {.n_left = MEMORY_ENOUGH},
        .limits = {.key_prefix = GAVEL_STR("g:"),
            .default_deadline_ms = 5000,
            .max_deadline_us = 10000000}};
    d->allocator = faulty_allocator(&d->memory);
    gavel__buffer_init(&d->scratch, &d->allocator);
    gavel__arena_init(&d->transaction.arena, &d->allocator);
    gavel__list_init(&d->transaction.node);
    d->transaction.started_us = 1000;
}

static void close(desk *d)
{
    gavel__arena_finish(&d->transaction.arena);
    gavel__buffer_finish(&d->scratch);
    cr_assert_eq(d->memory.n_blocks, 0);
}

static bool begin(desk *d, const gavel_transaction *request)
{
    return gavel__transaction_begin(&d->transaction, request, &d->limits, &d->scratch);
}

static void is_refused(const gavel_transaction *request, const char *words)
{
    desk d;
    open(&d);
    cr_assert_not(begin(&d, request), "not refused: %s", words);
    cr_assert_eq((int)d.transaction.outcome.status, (int)GAVEL_INVALID);
    cr_assert_str_eq(d.transaction.outcome.message, words);
    cr_assert_eq((int)d.transaction.state, (int)GAVEL__TX_ENDED);
    close(&d);
}

/* ---- Taking over --------------------------------------------------------------------------- */

Test(core_transaction, zeroes_are_the_defaults)
{
    desk d;
    open(&d);
    gavel_bytes key = GAVEL_STR("a");
    cr_assert(begin(&d, &(gavel_transaction){.body = do_nothing, .keys = &key, .n_keys = 1}));
    cr_assert_eq(d.transaction.deadline_us, 1000 + 5000000);
    cr_assert_eq(d.transaction.max_attempts, UINT32_MAX);
    cr_assert_eq(d.transaction.max_conflicts, 10000);
    cr_assert_eq(d.transaction.max_faults, UINT32_MAX);
    cr_assert_null(d.transaction.id_key.data);
    cr_assert_eq(d.transaction.n_reads, 0);
    close(&d);
}

Test(core_transaction, keys_reads_id_and_digest_are_copied)
{
    desk d;
    open(&d);
    char key[] = "a";
    char field[] = "f";
    char id[] = "x";
    char digest[] = "dd";
    gavel_bytes keys[] = {{key, 1}};
    gavel_read reads[] = {{.key = {key, 1}}, {.key = {key, 1}, .field = {field, 1}}};
    gavel_transaction request = {.body = do_nothing,
        .keys = keys,
        .n_keys = 1,
        .reads = reads,
        .n_reads = 2,
        .id = {id, 1},
        .digest = {digest, 2}};
    cr_assert(begin(&d, &request));
    key[0] = field[0] = id[0] = digest[0] = '!';
    gavel__transaction *transaction = &d.transaction;
    cr_assert_eq(transaction->n_keys, 2, "each key once, and the id's");
    cr_assert(gavel__bytes_equal(transaction->keys[0], GAVEL_STR("a")));
    cr_assert(gavel__bytes_equal(transaction->keys[1], GAVEL_STR("g:id:{x}")));
    cr_assert(gavel__transaction_has_key(transaction, GAVEL_STR("g:id:{x}")));
    cr_assert_not(gavel__transaction_has_key(transaction, GAVEL_STR("!")));
    cr_assert_eq(transaction->n_reads, 3);
    cr_assert(gavel__bytes_equal(
        transaction->reads[0].encoded, GAVEL_STR("*2\r\n$3\r\nGET\r\n$1\r\na\r\n")));
    cr_assert(gavel__bytes_equal(
        transaction->reads[1].encoded, GAVEL_STR("*3\r\n$4\r\nHGET\r\n$1\r\na\r\n$1\r\nf\r\n")));
    cr_assert(gavel__bytes_equal(
        transaction->reads[2].encoded, GAVEL_STR("*2\r\n$3\r\nGET\r\n$8\r\ng:id:{x}\r\n")));
    cr_assert(gavel__bytes_equal(transaction->digest, GAVEL_STR("dd")));
    close(&d);
}

Test(core_transaction, reads_are_found_in_any_order)
{
    desk d;
    open(&d);
    gavel_read reads[] = {{.key = GAVEL_STR("a")}, {.key = GAVEL_STR("b")},
        {.key = GAVEL_STR("h"), .field = GAVEL_STR("f")}};
    cr_assert(begin(&d, &(gavel_transaction){.body = do_nothing, .reads = reads, .n_reads = 3}));
    gavel_bytes storage[3];
    gavel__transaction *transaction = &d.transaction;
    for (int i = 0; i < 2; i++) {
        gavel__command command = gavel__command_get(storage, GAVEL_STR("b"));
        cr_assert_eq(gavel__transaction_find_read(transaction, &command), &transaction->reads[1]);
        command = gavel__command_get(storage, GAVEL_STR("a"));
        cr_assert_eq(gavel__transaction_find_read(transaction, &command), &transaction->reads[0]);
        command = gavel__command_hget(storage, GAVEL_STR("h"), GAVEL_STR("f"));
        cr_assert_eq(gavel__transaction_find_read(transaction, &command), &transaction->reads[2]);
        command = gavel__command_hget(storage, GAVEL_STR("h"), GAVEL_STR("g"));
        cr_assert_null(gavel__transaction_find_read(transaction, &command));
        command = gavel__command_get(storage, GAVEL_STR("h"));
        cr_assert_null(gavel__transaction_find_read(transaction, &command));
    }
    close(&d);
}

Test(core_transaction, a_transaction_can_begin_anew)
{
    desk d;
    open(&d);
    gavel_bytes keys[] = {GAVEL_STR("a"), GAVEL_STR("b")};
    gavel_transaction request = {.body = do_nothing, .keys = keys, .n_keys = 2};
    d.transaction.ticket = 5;
    cr_assert(begin(&d, &request));
    gavel__transaction_reset(&d.transaction);
    cr_assert_eq(d.transaction.ticket, 5);
    cr_assert_eq(d.transaction.n_keys, 0);
    cr_assert(begin(&d, &request));
    cr_assert_eq(d.transaction.n_keys, 2);
    close(&d);
}

Test(core_transaction, without_memory_nothing_was_sent)
{
    gavel_bytes keys[] = {GAVEL_STR("a")};
    static const char value[70000] = "x"; /* more than one block */
    gavel_bytes args[] = {GAVEL_STR("GETRANGE"), GAVEL_STR("b"), {value, sizeof(value)}};
    gavel_command command = {.args = args, .n_args = 3};
    gavel_read reads[] = {{.command = &command}, {.key = GAVEL_STR("c")}};
    gavel_transaction request = {.body = do_nothing,
        .keys = keys,
        .n_keys = 1,
        .reads = reads,
        .n_reads = 2,
        .id = GAVEL_STR("x"),
        .digest = GAVEL_STR("d")};
    bool is_done = false;
    size_t n = 0;
    for (; !is_done; n++) {
        desk d;
        open(&d);
        d.memory.n_left = n;
        is_done = begin(&d, &request);
        if (!is_done) {
            cr_assert_eq((int)d.transaction.outcome.status, (int)GAVEL_NOT_SENT);
            cr_assert_str_eq(d.transaction.outcome.message, "no memory");
        }
        close(&d);
    }
    cr_assert_gt(n, 3);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(core_transaction, a_request_that_contradicts_itself_is_refused)
{
    gavel_bytes key = GAVEL_STR("a");
    gavel_read read = {.key = key};
    is_refused(NULL, "no transaction (NULL)");
    is_refused(&(gavel_transaction){.keys = &key, .n_keys = 1}, "the transaction has no body");
    is_refused(
        &(gavel_transaction){.body = do_nothing, .n_keys = 2}, "n_keys is 2, but keys is NULL");
    is_refused(
        &(gavel_transaction){.body = do_nothing, .n_reads = 1}, "n_reads is 1, but reads is NULL");
    is_refused(
        &(gavel_transaction){.body = do_nothing, .keys = &key}, "keys is set, but n_keys is 0");
    is_refused(
        &(gavel_transaction){.body = do_nothing, .reads = &read}, "reads is set, but n_reads is 0");
}

/* A field of a newer version must not be passed over in silence. */
Test(core_transaction, what_was_made_for_a_newer_version_is_refused)
{
    gavel_bytes args[] = {GAVEL_STR("GET"), GAVEL_STR("a")};
    gavel_command command = {.args = args, .n_args = 2, .reserved = {0, 1}};
    gavel_read reads[] = {{.command = &command}, {.key = args[1], .reserved = {0, 1}}};
    is_refused(&(gavel_transaction){.body = do_nothing, .reads = reads, .n_reads = 1},
        "the command's " GAVEL__UNCLEAN_ROOM ": \"GET\"");
    is_refused(&(gavel_transaction){.body = do_nothing, .reads = &reads[1], .n_reads = 1},
        "a read's " GAVEL__UNCLEAN_ROOM);
    is_refused(&(gavel_transaction){.body = do_nothing, .reserved = {[5] = 1}},
        "the transaction's " GAVEL__UNCLEAN_ROOM);
}

Test(core_transaction, what_is_declared_twice_is_refused)
{
    gavel_bytes keys[] = {GAVEL_STR("a\n"), GAVEL_STR("a\n")};
    is_refused(&(gavel_transaction){.body = do_nothing, .keys = keys, .n_keys = 2},
        "declared twice: \"a\\x0a\"");
    gavel_read reads[] = {{.key = GAVEL_STR("a")}, {.key = GAVEL_STR("a")}};
    is_refused(&(gavel_transaction){.body = do_nothing, .reads = reads, .n_reads = 2},
        "declared twice: \"a\"");
}

Test(core_transaction, one_that_declares_nothing_is_begun)
{
    desk d;
    open(&d);
    cr_assert(begin(&d, &(gavel_transaction){.body = do_nothing}));
    cr_assert_eq(d.transaction.n_keys + d.transaction.n_reads, 0);
    close(&d);
}

Test(core_transaction, an_id_is_one_whatever_is_declared)
{
    const gavel_bytes keys[] = {GAVEL_STR("a"), GAVEL_STR("b"), GAVEL_STR("a")};
    const gavel_read read_b = {.key = keys[1]};
    const gavel_transaction requests[] = {
        {.keys = keys, .n_keys = 2},
        {.keys = keys + 1, .n_keys = 2},
        {.keys = keys, .n_keys = 1, .reads = &read_b, .n_reads = 1},
        {.reads = &read_b, .n_reads = 1},
        {.n_keys = 0},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        desk d;
        open(&d);
        gavel_transaction request = requests[i];
        request.body = do_nothing;
        request.id = GAVEL_STR("x");
        cr_assert(begin(&d, &request));
        cr_expect(gavel__bytes_equal(d.transaction.id_key, GAVEL_STR("g:id:{x}")), "%zu", i);
        close(&d);
    }
}

Test(core_transaction, too_many_keys_are_refused)
{
    enum { N = GAVEL_MAX_KEYS + 1 };
    static char names[N][8];
    static gavel_bytes keys[N];
    static gavel_read reads[N];
    for (int i = 0; i < N; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "k%d", i);
        keys[i] = gavel_str(names[i]);
        reads[i] = (gavel_read){.key = keys[i]};
    }
    static const char words[] = "more than 512 keys; the first one too many is: \"k512\"";
    gavel_transaction request = {.body = do_nothing, .keys = keys, .n_keys = N};
    is_refused(&request, words);
    request = (gavel_transaction){.body = do_nothing, .reads = reads, .n_reads = N};
    is_refused(&request, words);
    request.n_reads = GAVEL_MAX_KEYS;
    request.id = GAVEL_STR("x");
    is_refused(&request, "more than 512 keys; the first one too many is: \"g:id:{x}\"");
    desk d;
    open(&d);
    request.id = (gavel_bytes){NULL, 0};
    cr_assert(begin(&d, &request));
    close(&d);
}

Test(core_transaction, a_declared_command_without_keys_or_that_steers_is_refused)
{
    gavel_bytes args[] = {GAVEL_STR("MGET"), GAVEL_STR("a"), GAVEL_STR("b")};
    gavel_bytes watch[] = {GAVEL_STR("watch"), GAVEL_STR("a")};
    gavel_command commands[] = {{.n_keys = 0}, {.args = args, .n_args = 1}};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        gavel_read read = {.command = &commands[i]};
        is_refused(&(gavel_transaction){.body = do_nothing, .reads = &read, .n_reads = 1},
            i == 0 ? "the command has too few arguments: no name"
                   : "too few arguments for the command's keys: \"MGET\"");
    }
    gavel_read read = {.command = &(gavel_command){.args = watch, .n_args = 2}};
    is_refused(&(gavel_transaction){.body = do_nothing, .reads = &read, .n_reads = 1},
        "\"watch\" is no command for a body: it steers the connection, the transaction or the "
        "server");
}

Test(core_transaction, a_read_that_is_two_is_refused)
{
    gavel_bytes args[] = {GAVEL_STR("LLEN"), GAVEL_STR("a")};
    gavel_command command = {.args = args, .n_args = 2};
    gavel_read reads[] = {{.command = &command, .key = GAVEL_STR("b")},
        {.command = &command, .field = GAVEL_STR("f")}, {.command = &command, .key = args[1]}};
    static const char *const words[] = {
        "a read has a command, LLEN \"a\", and a key, \"b\", as well",
        "a read has a command, LLEN \"a\", and a field, \"f\", as well",
        "a read has a command, LLEN \"a\", and a key, \"a\", as well"};
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        is_refused(
            &(gavel_transaction){.body = do_nothing, .reads = &reads[i], .n_reads = 1}, words[i]);
}

Test(core_transaction, a_deadline_that_outlives_the_markers_is_refused)
{
    gavel_bytes key = GAVEL_STR("a");
    gavel_transaction request = {
        .body = do_nothing, .keys = &key, .n_keys = 1, .deadline_ms = 10001};
    is_refused(&request, "deadline_ms is longer than half of marker_ttl_ms");
    desk d;
    open(&d);
    request.deadline_ms = 10000;
    cr_assert(begin(&d, &request));
    close(&d);
    open(&d);
    d.limits.max_deadline_us = 0;
    request.deadline_ms = UINT32_MAX;
    cr_assert(begin(&d, &request));
    close(&d);
}

Test(core_transaction, ids_and_digests_that_do_not_fit_are_refused)
{
    static const char bytes[300] = "x";
    gavel_bytes key = GAVEL_STR("a");
    gavel_transaction request = {.body = do_nothing, .keys = &key, .n_keys = 1};
    request.id = (gavel_bytes){bytes, 0};
    is_refused(&request, "an id has 1 to 256 bytes");
    request.id.size = GAVEL_ID_MAX + 1;
    is_refused(&request, "an id has 1 to 256 bytes");
    request.id.size = GAVEL_ID_MAX;
    request.digest = (gavel_bytes){bytes, GAVEL_DIGEST_MAX + 1};
    is_refused(&request, "a digest has at most 64 bytes");
    request.digest.size = GAVEL_DIGEST_MAX;
    request.id.data = NULL;
    is_refused(&request, "a digest, but no id that it belongs to");
    request.id.data = bytes;
    request.is_read_only = true;
    is_refused(&request, "a read-only transaction has nothing to keep under an id");
    request.is_read_only = false;
    desk d;
    open(&d);
    cr_assert(begin(&d, &request));
    close(&d);
}

/* ---- Commands ------------------------------------------------------------------------------ */

static bool resolve(gavel_command command, gavel__command *ret_command)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__purpose purpose = {.use = GAVEL__USE_WRITE};
    return gavel__command_resolve(&command, &purpose, ret_command, message) == GAVEL__RESOLVED;
}

Test(core_transaction, commands_resolve_to_their_keys)
{
    gavel_bytes args[] = {GAVEL_STR("X"), GAVEL_STR("a"), GAVEL_STR("b"), GAVEL_STR("c")};
    gavel__command resolved;
    cr_assert(resolve((gavel_command){.args = args, .n_args = 4, .n_keys = 1}, &resolved));
    cr_assert_eq(resolved.n_keys, 1);
    cr_assert_eq(gavel__command_key(&resolved, 0).data, args[1].data);
    cr_assert(resolve(
        (gavel_command){.args = args, .n_args = 4, .first_key = 2, .n_keys = 2}, &resolved));
    cr_assert_eq(resolved.n_keys, 2);
    cr_assert_eq(gavel__command_key(&resolved, 0).data, args[2].data);
    cr_assert_eq(gavel__command_key(&resolved, 1).data, args[3].data);
    gavel__command untouched = resolved;
    cr_assert_not(resolve(
        (gavel_command){.args = args, .n_args = 4, .first_key = 2, .n_keys = 3}, &resolved));
    cr_assert_eq(memcmp(&untouched, &resolved, sizeof(resolved)), 0);
    cr_assert(
        resolve((gavel_command){.args = args, .n_args = 1, .first_key = 0, .n_keys = GAVEL_NO_KEYS},
            &resolved));
    cr_assert_eq(resolved.n_keys, 0);
}

/* ---- Records of ids ------------------------------------------------------------------------ */

Test(core_transaction, a_record_gives_back_its_result)
{
    static const char digest[GAVEL_DIGEST_MAX] = {0, 1, 2, '\r', '\n'};
    size_t digest_sizes[] = {0, 1, GAVEL_DIGEST_MAX};
    size_t result_sizes[] = {0, 1, GAVEL_RESULT_MAX};
    for (int i = 0; i < 9; i++) {
        gavel_bytes stored = {digest, digest_sizes[i % 3]};
        gavel_outcome outcome = {.result_size = result_sizes[i / 3]};
        memset(outcome.result, 'r', outcome.result_size);
        char storage[GAVEL__IDENTITY_SIZE];
        gavel_bytes record = gavel__identity_record(stored, &outcome, storage);
        cr_assert_eq(record.size, 3 + stored.size + outcome.result_size);
        gavel_outcome read = {0};
        const char *message = NULL;
        cr_assert_eq(
            (int)gavel__identity_check(record, stored, &read, &message), (int)GAVEL_COMMITTED);
        cr_assert(read.is_duplicate);
        cr_assert_eq(read.result_size, outcome.result_size);
        cr_assert_eq(memcmp(read.result, outcome.result, read.result_size), 0);
    }
}

Test(core_transaction, another_digest_is_another_request)
{
    char storage[GAVEL__IDENTITY_SIZE];
    gavel_bytes record =
        gavel__identity_record(GAVEL_STR("dd"), &(gavel_outcome){.result_size = 0}, storage);
    gavel_bytes others[] = {GAVEL_STR("de"), GAVEL_STR("d"), GAVEL_STR("ddd"), GAVEL_STR("")};
    for (size_t i = 0; i < 4; i++) {
        gavel_outcome outcome = {0};
        const char *message = NULL;
        cr_assert_eq(
            (int)gavel__identity_check(record, others[i], &outcome, &message), (int)GAVEL_INVALID);
        cr_assert_str_eq(message, "the id was used before, for a request with another digest");
        cr_assert_not(outcome.is_duplicate);
    }
    gavel_outcome outcome = {0};
    const char *message = NULL;
    cr_assert_eq((int)gavel__identity_check(record, (gavel_bytes){NULL, 0}, &outcome, &message),
        (int)GAVEL_COMMITTED, "not compared");
}

Test(core_transaction, what_is_no_record_is_told)
{
    static char bytes[400] = "g1";
    struct {
        const char *data;
        size_t size;
    } records[] = {{"", 0}, {"g", 1}, {"g1", 2}, {"g2\0", 3}, {"G1\0", 3}, {"x1\0result", 9},
        {"g1\001", 3}, {"g1\377d", 4}, {bytes, 3 + GAVEL_RESULT_MAX + 1}, {bytes, sizeof(bytes)}};
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        /* On the heap, so that a look past the end is found. */
        char *copy = malloc(records[i].size + 1);
        memcpy(copy, records[i].data, records[i].size);
        copy = realloc(copy, records[i].size > 0 ? records[i].size : 1);
        gavel_outcome outcome = {0};
        const char *message = NULL;
        cr_assert_eq((int)gavel__identity_check((gavel_bytes){copy, records[i].size},
                         (gavel_bytes){NULL, 0}, &outcome, &message),
            (int)GAVEL_INVALID, "record %zu", i);
        cr_assert_str_eq(message, "the key of the id holds something that is no record of an id");
        cr_assert_eq(outcome.result_size, 0);
        free(copy);
    }
}

/* ---- Errors of the server, outcomes -------------------------------------------------------- */

Test(core_transaction, errors_of_the_server_are_sorted)
{
    static const struct {
        const char *words;
        gavel__remedy remedy;
    } errors[] = {
        {"LOADING Redis is loading the dataset in memory", GAVEL__REMEDY_TRY_AGAIN},
        {"BUSY Redis is busy running a script.", GAVEL__REMEDY_TRY_AGAIN},
        {"TRYAGAIN Multiple keys request during rehashing of slot", GAVEL__REMEDY_TRY_AGAIN},
        {"CLUSTERDOWN The cluster is down", GAVEL__REMEDY_TRY_AGAIN},
        {"MASTERDOWN Link with MASTER is down", GAVEL__REMEDY_TRY_AGAIN},
        {"NOREPLICAS Not enough good replicas to write.", GAVEL__REMEDY_TRY_AGAIN},
        {"READONLY You can't write against a read only replica.", GAVEL__REMEDY_RECONNECT},
        {"NOAUTH Authentication required.", GAVEL__REMEDY_RECONNECT},
        {"EXECABORT Transaction discarded because of: LOADING Redis", GAVEL__REMEDY_TRY_AGAIN},
        {"EXECABORT Transaction discarded because of: READONLY You", GAVEL__REMEDY_RECONNECT},
        {"EXECABORT Transaction discarded because of: OOM command", GAVEL__REMEDY_GIVE_UP},
        {"EXECABORT Transaction discarded because of previous errors.", GAVEL__REMEDY_GIVE_UP},
        {"EXECABORT because of: ", GAVEL__REMEDY_GIVE_UP},
        {"EXECABORT", GAVEL__REMEDY_GIVE_UP},
        {"WRONGTYPE Operation against a key", GAVEL__REMEDY_GIVE_UP},
        {"OOM command not allowed when used memory > 'maxmemory'.", GAVEL__REMEDY_GIVE_UP},
        {"NOPERM this user has no permissions", GAVEL__REMEDY_GIVE_UP},
        {"BUSYKEY Target key name already exists.", GAVEL__REMEDY_GIVE_UP},
        {"ERR because of: LOADING ", GAVEL__REMEDY_GIVE_UP},
        {"LOADIN", GAVEL__REMEDY_GIVE_UP},
        {"", GAVEL__REMEDY_GIVE_UP},
    };
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        cr_assert_eq((int)gavel__server_error_remedy(gavel_str(errors[i].words)),
            (int)errors[i].remedy, "%s", errors[i].words);
}

Test(core_transaction, every_status_has_a_name_and_a_meaning)
{
    cr_assert_str_eq(gavel_status_name(GAVEL_INVALID), "INVALID");
    cr_assert_str_eq(gavel_status_name(GAVEL_COMMITTED_WITH_ERRORS), "COMMITTED_WITH_ERRORS");
    for (int i = 0; i <= GAVEL_COMMITTED_NOT_DURABLE; i++) {
        cr_assert_str_neq(gavel_status_name((gavel_status)i), "?");
        cr_assert_str_neq(gavel_status_meaning((gavel_status)i), "?");
    }
    cr_assert_str_eq(gavel_status_name((gavel_status)(GAVEL_COMMITTED_NOT_DURABLE + 1)), "?");
    cr_assert_str_eq(gavel_status_meaning((gavel_status)99), "?");
    cr_assert_eq((int)GAVEL_INVALID, 0, "memory that is zeroed claims no commit");
}
