/* Ids on a real server: what is submitted twice commits once, whoever submits it. */
#include "tools.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY GAVEL_STR("key")

/* Adds one, and the result is what the key then holds. */
static gavel_verdict add_one_and_tell(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = 0;
    char text[32];
    gavel_get_int(tx, KEY, &value);
    gavel_set_int(tx, KEY, value + 1);
    snprintf(text, sizeof(text), "it is%c%lld", '\0', (long long)value + 1);
    gavel_set_result(tx, (gavel_bytes){text, strlen("it is") + 1 + strlen(text + 6)});
    return GAVEL_COMMIT;
}

static gavel_outcome run_with_id(gavel_client *client, gavel_bytes id, gavel_bytes digest)
{
    return gavel_run(client, &(gavel_transaction){.body = add_one_and_tell,
                                 .reads = &(gavel_read){.key = KEY},
                                 .n_reads = 1,
                                 .id = id,
                                 .digest = digest});
}

#define NO_DIGEST ((gavel_bytes){NULL, 0})

static void expect_result(const gavel_outcome *outcome, gavel_bytes result, bool is_duplicate)
{
    cr_expect_eq(outcome->status, GAVEL_COMMITTED, "%s", outcome->message);
    cr_expect_eq(outcome->is_duplicate, is_duplicate);
    cr_expect_eq(outcome->result_size, result.size);
    cr_expect_arr_eq(outcome->result, result.data, result.size);
}

Test(ids, a_second_submission_gets_the_first_ones_result)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_bytes id = GAVEL_STR("payment\0\r\n%s");
    gavel_outcome outcome = run_with_id(rig.client, id, GAVEL_STR("d1"));
    expect_result(&outcome, GAVEL_STR("it is\0001"), false);
    cr_expect_eq(outcome.n_attempts, 1);
    outcome = run_with_id(other, id, GAVEL_STR("d1"));
    expect_result(&outcome, GAVEL_STR("it is\0001"), true);
    cr_expect_eq(outcome.n_attempts, 0, "the body was not needed");
    outcome = run_with_id(rig.client, id, GAVEL_STR("d1"));
    expect_result(&outcome, GAVEL_STR("it is\0001"), true);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 1);

    outcome = run_with_id(other, GAVEL_STR("another"), GAVEL_STR("d1"));
    expect_result(&outcome, GAVEL_STR("it is\0002"), false);
    gavel_close(other);
    live_end(&rig);
}

Test(ids, another_digest_is_invalid_and_none_is_not_compared)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes id = GAVEL_STR("payment");
    run_with_id(rig.client, id, GAVEL_STR("d1"));
    gavel_bytes others[] = {GAVEL_STR("d2"), GAVEL_STR("d"), GAVEL_STR("d11"), GAVEL_STR("")};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        gavel_outcome outcome = run_with_id(rig.client, id, others[i]);
        cr_expect_eq(outcome.status, GAVEL_INVALID, "\"%s\" passed", others[i].data);
        cr_expect(live_contains(outcome.message, "digest"), "%s", outcome.message);
        cr_expect_not(outcome.is_duplicate);
        cr_expect_eq(outcome.result_size, 0);
    }
    gavel_outcome outcome = run_with_id(rig.client, id, NO_DIGEST);
    expect_result(&outcome, GAVEL_STR("it is\0001"), true);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 1);
    live_end(&rig);
}

Test(ids, sizes_are_checked)
{
    live_rig rig = live_begin(NULL, NULL);
    static char bytes[GAVEL_ID_MAX + 1];
    memset(bytes, 'x', sizeof(bytes));
    gavel_bytes good = GAVEL_STR("id");
    gavel_outcome outcome = run_with_id(rig.client, (gavel_bytes){bytes, GAVEL_ID_MAX + 1}, good);
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "256"), "%s", outcome.message);
    outcome = run_with_id(rig.client, GAVEL_STR(""), good);
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    outcome = run_with_id(rig.client, good, (gavel_bytes){bytes, GAVEL_DIGEST_MAX + 1});
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "64"), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);

    gavel_bytes longest = {bytes, GAVEL_ID_MAX};
    gavel_bytes digest = {bytes, GAVEL_DIGEST_MAX};
    outcome = run_with_id(rig.client, longest, digest);
    expect_result(&outcome, GAVEL_STR("it is\0001"), false);
    outcome = run_with_id(rig.client, longest, digest);
    expect_result(&outcome, GAVEL_STR("it is\0001"), true);
    live_end(&rig);
}

static gavel_verdict set_long_result(gavel_tx *tx, void *user)
{
    static const char bytes[GAVEL_RESULT_MAX + 1];
    const size_t *size = user;
    gavel_set(tx, KEY, GAVEL_STR("1"));
    gavel_set_result(tx, (gavel_bytes){bytes, *size});
    return GAVEL_COMMIT;
}

Test(ids, a_result_has_a_longest_size)
{
    live_rig rig = live_begin(NULL, NULL);
    size_t size = GAVEL_RESULT_MAX + 1;
    gavel_outcome outcome = live_run(rig.client, "key", set_long_result, &size);
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "128"), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
    size = GAVEL_RESULT_MAX;
    outcome = live_run(rig.client, "key", set_long_result, &size);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.result_size, GAVEL_RESULT_MAX);
    live_end(&rig);
}

Test(ids, an_id_is_forgotten_in_time)
{
    gavel_config config = {.id_ttl_ms = 1234000, .key_prefix = "app:"};
    live_rig rig = live_begin(NULL, &config);
    run_with_id(rig.client, GAVEL_STR("payment"), NO_DIGEST);
    long long ttl_ms = server_int(rig.server, "PTTL", "app:id:{payment}", NULL);
    cr_expect(ttl_ms > 1200000 && ttl_ms <= 1234000, "%lld", ttl_ms);
    live_end(&rig);
}

Test(ids, what_did_not_commit_is_not_remembered)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "key", "not a number", NULL);
    gavel_outcome outcome = run_with_id(rig.client, GAVEL_STR("payment"), NO_DIGEST);
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    server_do(rig.server, "SET", "key", "4", NULL);
    outcome = run_with_id(rig.client, GAVEL_STR("payment"), NO_DIGEST);
    expect_result(&outcome, GAVEL_STR("it is\0005"), false);
    live_end(&rig);
}

Test(ids, a_key_that_holds_something_else_is_told)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "gavel:id:{string}", "no record", NULL);
    server_do(rig.server, "RPUSH", "gavel:id:{list}", "no record", NULL);
    gavel_outcome outcome = run_with_id(rig.client, GAVEL_STR("string"), NO_DIGEST);
    cr_expect_not(gavel_is_committed(&outcome));
    cr_expect(live_contains(outcome.message, "id"), "%s", outcome.message);
    outcome = run_with_id(rig.client, GAVEL_STR("list"), NO_DIGEST);
    cr_expect_not(gavel_is_committed(&outcome));
    cr_expect(live_contains(outcome.message, "id"), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Whatever is declared ------------------------------------------------------------------- */

/* Several ways to ask for the same: what is declared differs, and the keys too. */
static const gavel_bytes declared[] = {
    GAVEL_BYTES_INIT("key"), GAVEL_BYTES_INIT("other"), GAVEL_BYTES_INIT("{third}")};
static const gavel_read declared_reads[] = {{.key = GAVEL_BYTES_INIT("key")},
    {.key = GAVEL_BYTES_INIT("hash"), .field = GAVEL_BYTES_INIT("field")}};
static const gavel_transaction ways[] = {
    {.keys = NULL}, /* none */
    {.reads = declared_reads, .n_reads = 1},
    {.reads = declared_reads, .n_reads = 2},
    {.keys = declared, .n_keys = 1},
    {.keys = declared + 1, .n_keys = 2},
    {.keys = declared + 2, .n_keys = 1, .reads = declared_reads, .n_reads = 1, .is_solo = true},
};
enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

static gavel_outcome run_in_a_way(gavel_client *client, size_t way, gavel_bytes id)
{
    gavel_transaction request = ways[way];
    request.body = add_one_and_tell;
    request.id = id;
    return gavel_run(client, &request);
}

Test(ids, an_id_is_one_whatever_is_declared)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *clients[] = {rig.client, live_open(server_url(rig.server), NULL)};
    for (size_t first = 0; first < N_WAYS; first++) {
        char id[16];
        char value[16];
        snprintf(id, sizeof(id), "payment %zu", first);
        snprintf(value, sizeof(value), "it is%c%zu", '\0', first + 1);
        gavel_bytes result = {value, strlen("it is") + 2};
        gavel_outcome outcome = run_in_a_way(rig.client, first, gavel_str(id));
        expect_result(&outcome, result, false);
        for (size_t i = 0; i < 2 * N_WAYS; i++) {
            outcome = run_in_a_way(clients[i % 2], i / 2, gavel_str(id));
            expect_result(&outcome, result, true);
        }
        cr_expect_eq(server_int(rig.server, "GET", "key", NULL), (long long)first + 1);
    }
    gavel_close(clients[1]);
    live_end(&rig);
}

/* It reads nothing of its own, and writes where no other one does. */
static gavel_verdict write_blindly(gavel_tx *tx, void *user)
{
    gavel_incr(tx, gavel_str(user), 1);
    return GAVEL_COMMIT;
}

Test(ids, an_id_is_one_whatever_is_written)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_transaction request = {.body = write_blindly, .user = "a", .id = GAVEL_STR("payment")};
    gavel_outcome outcome = gavel_run(rig.client, &request);
    cr_expect(outcome.status == GAVEL_COMMITTED && !outcome.is_duplicate, "%s", outcome.message);
    request.user = "b";
    outcome = gavel_run(other, &request);
    cr_expect(outcome.status == GAVEL_COMMITTED && outcome.is_duplicate, "%s", outcome.message);
    outcome = run_in_a_way(rig.client, 1, request.id);
    cr_expect(outcome.status == GAVEL_COMMITTED && outcome.is_duplicate, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "a", "b", "key", NULL), 1);
    gavel_close(other);
    live_end(&rig);
}

/* ---- At the same time ----------------------------------------------------------------------- */

typedef struct twin {
    pthread_t thread;
    gavel_client *client;
    pthread_barrier_t *both_read;
    size_t way;
    gavel_outcome outcome;
} twin;

/* The first attempts of both wait for one another: each has read that the id is not there yet. */
static gavel_verdict meet_the_twin(gavel_tx *tx, void *user)
{
    twin *self = user;
    int64_t value;
    if (gavel_get_int(tx, KEY, &value) != GAVEL_NOT_YET && gavel_attempt(tx) == 0)
        pthread_barrier_wait(self->both_read);
    return add_one_and_tell(tx, NULL);
}

static void *run_twin(void *argument)
{
    twin *self = argument;
    gavel_transaction request = ways[self->way];
    request.body = meet_the_twin;
    request.user = self;
    request.id = GAVEL_STR("payment");
    self->outcome = gavel_run(self->client, &request);
    return NULL;
}

static void run_twins(size_t way, size_t others_way)
{
    test_server *server = server_start(NULL);
    pthread_barrier_t both_read;
    cr_assert_eq(pthread_barrier_init(&both_read, NULL, 2), 0);
    twin twins[2];
    for (size_t i = 0; i < 2; i++) {
        twins[i] = (twin){.client = live_open(server_url(server), NULL),
            .both_read = &both_read,
            .way = i == 0 ? way : others_way};
        cr_assert_eq(pthread_create(&twins[i].thread, NULL, run_twin, &twins[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(twins[i].thread, NULL);
        gavel_close(twins[i].client);
        expect_result(&twins[i].outcome, GAVEL_STR("it is\0001"), twins[i].outcome.is_duplicate);
    }
    cr_expect_eq(twins[0].outcome.is_duplicate + twins[1].outcome.is_duplicate, 1);
    cr_expect_eq(twins[0].outcome.n_conflicts + twins[1].outcome.n_conflicts, 1);
    cr_expect_eq(server_int(server, "GET", "key", NULL), 1);
    pthread_barrier_destroy(&both_read);
    server_stop(server);
}

Test(ids, two_clients_at_the_same_time_commit_once)
{
    run_twins(1, 1);
}

Test(ids, two_clients_that_declare_different_keys_commit_once)
{
    run_twins(0, 1);
    run_twins(2, 4);
}
