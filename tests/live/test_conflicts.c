/*
 * Conflicts on a real server: what makes EXEC answer nil and what does not, and what bounds the
 * attempts. The other writer is a second connection that the body itself drives, between the
 * values that it was given and the EXEC that follows: no race decides a test.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define KEY GAVEL_STR("key")

/* ---- What aborts EXEC ----------------------------------------------------------------------- */

typedef struct a_scene {
    const char *setup[8];  /* a command in words, run before */
    const char *meddle[8]; /* a command in words, run by the first attempt; or a function */
    void (*meddle_more)(test_server *server);
    test_server *server;
} a_scene;

static void run_words(test_server *server, const char *const words[8])
{
    if (words[0] != NULL)
        server_do(server, words[0], words[1], words[2], words[3], words[4], words[5], words[6],
            words[7], NULL);
}

/* Adds one to the key; before the first attempt ends, others do as the scene says. */
static gavel_verdict add_one_in_scene(gavel_tx *tx, void *user)
{
    const a_scene *scene = user;
    if (gavel_attempt(tx) == 0) {
        run_words(scene->server, scene->meddle);
        if (scene->meddle_more != NULL)
            scene->meddle_more(scene->server);
    }
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

static gavel_outcome play(live_rig *rig, a_scene *scene)
{
    static const gavel_bytes watched[] = {{"set", 3}};
    scene->server = rig->server;
    run_words(rig->server, scene->setup);
    return gavel_run(rig->client, &(gavel_transaction){.body = add_one_in_scene,
                                      .user = scene,
                                      .keys = watched,
                                      .n_keys = 1,
                                      .reads = &(gavel_read){.key = KEY},
                                      .n_reads = 1});
}

static void expect(a_scene scene, uint32_t n_conflicts, long long value)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome = play(&rig, &scene);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, n_conflicts, "%u conflicts", outcome.n_conflicts);
    cr_expect_eq(outcome.n_attempts, n_conflicts + 1);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), value);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

Test(conflicts, another_value_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"SET", "key", "9"}}, 1, 10);
}

Test(conflicts, the_same_value_written_again_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"SET", "key", "5"}}, 1, 6);
}

Test(conflicts, a_time_to_live_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"EXPIRE", "key", "1000"}}, 1, 6);
}

Test(conflicts, a_created_key_aborts)
{
    expect((a_scene){.meddle = {"SET", "key", "1"}}, 1, 2);
}

Test(conflicts, a_deleted_key_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"DEL", "key"}}, 1, 1);
}

static void create_and_delete(test_server *server)
{
    server_do(server, "SET", "key", "5", NULL);
    server_do(server, "DEL", "key", NULL);
}

Test(conflicts, a_key_created_and_deleted_aborts)
{
    expect((a_scene){.meddle_more = create_and_delete}, 1, 1);
}

Test(conflicts, a_write_by_a_script_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"},
               .meddle = {"EVAL", "return redis.call('INCR', KEYS[1])", "1", "key"}},
        1, 7);
}

Test(conflicts, a_key_only_declared_aborts_too)
{
    expect((a_scene){.meddle = {"SADD", "set", "member"}}, 1, 1);
}

Test(conflicts, flushall_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"FLUSHALL"}}, 1, 1);
}

static void swap_with_another_database(test_server *server)
{
    server_do(server, "SELECT", "1", NULL);
    server_do(server, "SET", "key", "40", NULL);
    server_do(server, "SELECT", "0", NULL);
    server_do(server, "SWAPDB", "0", "1", NULL);
}

Test(conflicts, swapdb_aborts)
{
    expect(
        (a_scene){.setup = {"SET", "key", "5"}, .meddle_more = swap_with_another_database}, 1, 41);
}

static void evict_everything(test_server *server)
{
    server_do(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-random", NULL);
    server_do(server, "CONFIG", "SET", "maxmemory", "1", NULL);
    while (server_int(server, "DBSIZE", NULL) > 0)
        continue;
    server_do(server, "CONFIG", "SET", "maxmemory", "0", NULL);
}

Test(conflicts, eviction_aborts)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle_more = evict_everything}, 1, 1);
}

Test(conflicts, reads_do_not_abort)
{
    expect((a_scene){.setup = {"SET", "key", "5"}, .meddle = {"GET", "key"}}, 0, 6);
}

Test(conflicts, a_member_that_is_there_already_does_not_abort)
{
    expect(
        (a_scene){.setup = {"SADD", "set", "member"}, .meddle = {"SADD", "set", "member"}}, 0, 1);
}

Test(conflicts, deleting_what_is_absent_does_not_abort)
{
    expect((a_scene){.meddle = {"DEL", "key"}}, 0, 1);
}

Test(conflicts, other_keys_do_not_abort)
{
    expect((a_scene){.meddle = {"SET", "another", "1"}}, 0, 1);
}

/* With a marker it would: the marker is there, and is watched. */
Test(conflicts, flushall_without_markers_spares_an_absent_key)
{
    gavel_config config = {.has_no_markers = true};
    live_rig rig = live_begin(NULL, &config);
    a_scene scene = {.meddle = {"FLUSHALL"}};
    gavel_outcome outcome = play(&rig, &scene);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, 0);
    live_end(&rig);
}

/* ---- Time to live --------------------------------------------------------------------------- */

/* The server's clock, in milliseconds. */
static long long server_time_ms(test_server *server)
{
    redisReply *time = server_command(server, "TIME", NULL);
    long long ms = atoll(time->element[0]->str) * 1000 + atoll(time->element[1]->str) / 1000;
    freeReplyObject(time);
    return ms;
}

/* The key's time passes, and nobody looks at it: it is still there, and dead. */
static void outlive_key(test_server *server)
{
    char at[32];
    long long at_ms = server_time_ms(server) + 20;
    snprintf(at, sizeof(at), "%lld", at_ms);
    server_do(server, "SET", "key", "5", "PXAT", at, NULL);
    while (server_time_ms(server) <= at_ms)
        continue;
}

static live_rig begin_without_active_expiry(void)
{
    live_rig rig = live_begin(&(server_options){.args = server_debug_args()}, NULL);
    server_do(rig.server, "DEBUG", "SET-ACTIVE-EXPIRE", "0", NULL);
    return rig;
}

typedef struct dying_key {
    test_server *server;
    bool was_alive; /* when it was read */
} dying_key;

/* Reads the key, lives longer than it, and writes. */
static gavel_verdict outlive_the_value_read(gavel_tx *tx, void *user)
{
    dying_key *self = user;
    gavel_bytes key = KEY;
    int64_t value = 0;
    if (gavel_attempt(tx) == 0 && gavel_get_int(tx, key, &value) == GAVEL_FOUND) {
        self->was_alive = true;
        long long begin_ms = server_time_ms(self->server);
        while (server_time_ms(self->server) <= begin_ms + 300)
            continue;
    }
    return live_add_one(tx, &key);
}

Test(conflicts, a_time_to_live_that_passes_before_exec_aborts)
{
    live_rig rig = begin_without_active_expiry();
    dying_key key = {.server = rig.server};
    gavel_outcome outcome;
    do { /* on a busy machine it may have died before it is read */
        server_do(rig.server, "SET", "key", "5", "PX", "300", NULL);
        outcome = live_run(rig.client, "key", outlive_the_value_read, &key);
    } while (!key.was_alive);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    /* Before 7.0 a key that is dead when it is watched aborts, once more. */
    cr_expect_eq(outcome.n_conflicts, server_is_at_least(rig.server, 7, 0) ? 1 : 2);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 1, "the dead value was used");
    live_end(&rig);
}

Test(conflicts, a_key_that_is_dead_at_watch_does_not_abort)
{
    live_rig rig = begin_without_active_expiry();
    outlive_key(rig.server);
    cr_expect_eq(server_int(rig.server, "DBSIZE", NULL), 1, "not dead but gone");
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, server_is_at_least(rig.server, 7, 0) ? 0 : 1);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 1);
    live_end(&rig);
}

/* ---- A snapshot ----------------------------------------------------------------------------- */

typedef struct a_pair {
    test_server *server;
    int64_t left;
    int64_t right;
} a_pair;

/* Somebody changes the pair between its two reads' arrival and the verdict. */
static gavel_verdict read_pair(gavel_tx *tx, void *user)
{
    a_pair *pair = user;
    gavel_get_int(tx, GAVEL_STR("left"), &pair->left);
    gavel_get_int(tx, GAVEL_STR("right"), &pair->right);
    if (gavel_attempt(tx) == 0)
        server_do(pair->server, "MSET", "left", "2", "right", "2", NULL);
    return GAVEL_COMMIT;
}

Test(conflicts, what_a_body_only_reads_is_proved_as_well)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "MSET", "left", "1", "right", "1", NULL);
    a_pair pair = {.server = rig.server};
    gavel_read reads[] = {{.key = GAVEL_STR("left")}, {.key = GAVEL_STR("right")}};
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){.body = read_pair, .user = &pair, .reads = reads, .n_reads = 2});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, 1);
    cr_expect(pair.left == 2 && pair.right == 2);
    live_end(&rig);
}

static gavel_verdict commit_nothing(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_COMMIT;
}

Test(conflicts, an_empty_transaction_commits)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome = live_run(rig.client, "key", commit_nothing, NULL);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
    live_end(&rig);
}

/* ---- Verdicts ------------------------------------------------------------------------------- */

static gavel_verdict write_and_abort(gavel_tx *tx, void *user)
{
    const int *code = user;
    gavel_bytes key = KEY;
    live_add_one(tx, &key);
    gavel_set_result(tx, GAVEL_STR("result"));
    return gavel_abort(tx, *code);
}

Test(conflicts, a_body_that_aborts_writes_nothing_and_tells_its_code)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "key", "5", NULL);
    int codes[] = {1, 0, -1, 2147483647, -2147483647 - 1};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        gavel_outcome outcome = live_run(rig.client, "key", write_and_abort, &codes[i]);
        cr_expect_eq(outcome.status, GAVEL_ABORTED, "%s", outcome.message);
        cr_expect_eq(outcome.abort_code, codes[i]);
        cr_expect_eq(outcome.n_attempts, 1);
        cr_expect_eq(outcome.result_size, 0);
    }
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 5);
    live_end(&rig);
}

/* What the aborted one watched changes: if the link still watched it, the next would conflict. */
Test(conflicts, a_link_goes_back_clean_after_an_abort)
{
    gavel_config config = {.max_links = 1};
    live_rig rig = live_begin(NULL, &config);
    int code = 3;
    live_run(rig.client, "key", write_and_abort, &code);
    server_do(rig.server, "SET", "key", "1", NULL);
    gavel_outcome outcome = live_increment(rig.client, "another");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_conflicts, 0);
    cr_expect_eq(live_count_links(rig.server, "gavel"), 1);
    live_end(&rig);
}

/* Not satisfied before the third look, which finds what the second one's look brought about. */
static gavel_verdict wait_for_two(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    gavel_get_int(tx, KEY, &value);
    gavel_set(tx, KEY, GAVEL_STR("taken"));
    if (value >= 2)
        return GAVEL_COMMIT;
    server_do(user, "INCR", "key", NULL);
    return GAVEL_RETRY;
}

Test(conflicts, retry_reads_again_until_it_is_as_it_should_be)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome = live_run(rig.client, "key", wait_for_two, rig.server);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(outcome.n_attempts, 3);
    cr_expect_eq(outcome.n_conflicts, 2);
    cr_expect(server_says(rig.server, "taken", "GET", "key", NULL));
    live_end(&rig);
}

/* ---- Budgets -------------------------------------------------------------------------------- */

/* Somebody is faster in each attempt. */
static gavel_verdict always_lose(gavel_tx *tx, void *user)
{
    server_do(user, "INCR", "key", NULL);
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

static gavel_verdict always_retry(gavel_tx *tx, void *user)
{
    (void)tx;
    server_do(user, "INCR", "key", NULL);
    return GAVEL_RETRY;
}

static gavel_outcome lose(live_rig *rig, gavel_transaction transaction)
{
    gavel_read read = {.key = KEY};
    transaction.user = rig->server;
    transaction.reads = &read;
    transaction.n_reads = 1;
    return gavel_run(rig->client, &transaction);
}

static void expect_conflict(live_rig *rig, gavel_transaction transaction, uint32_t n_attempts)
{
    const char *reason = transaction.body == always_retry ? "the body said RETRY" : "\"key\"";
    server_do(rig->server, "SET", "key", "0", NULL);
    gavel_outcome outcome = lose(rig, transaction);
    cr_expect_eq(outcome.status, GAVEL_CONFLICT, "%s", outcome.message);
    cr_expect_eq(outcome.n_attempts, n_attempts, "%u attempts", outcome.n_attempts);
    cr_expect_eq(outcome.n_conflicts, n_attempts, "%u conflicts", outcome.n_conflicts);
    cr_expect(live_contains(outcome.message, reason), "%s", outcome.message);
    cr_expect_eq(server_int(rig->server, "GET", "key", NULL), n_attempts, "a write got through");
    cr_expect(live_is_usable(rig));
}

Test(conflicts, conflicts_and_attempts_are_bounded)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_body *const bodies[] = {always_lose, always_retry};
    for (size_t i = 0; i < 2; i++) {
        expect_conflict(&rig, (gavel_transaction){.body = bodies[i], .max_conflicts = 3}, 4);
        expect_conflict(&rig, (gavel_transaction){.body = bodies[i], .max_attempts = 1}, 1);
        expect_conflict(&rig, (gavel_transaction){.body = bodies[i], .max_attempts = 5}, 5);
    }
    live_end(&rig);
}

Test(conflicts, the_deadline_ends_a_race_that_cannot_be_won)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_body *const bodies[] = {always_lose, always_retry};
    for (size_t i = 0; i < 2; i++) {
        server_do(rig.server, "SET", "key", "0", NULL);
        int64_t begin_us = live_now_us();
        gavel_outcome outcome =
            lose(&rig, (gavel_transaction){
                           .body = bodies[i], .max_conflicts = UINT32_MAX, .deadline_ms = 1000});
        int64_t took_us = live_now_us() - begin_us;
        /* The time may run out while an EXEC that will fail is on its way. */
        bool is_unknown = bodies[i] == always_lose && outcome.status == GAVEL_UNKNOWN;
        cr_expect(is_unknown || outcome.status == GAVEL_DEADLINE, "%s: %s",
            gavel_status_name(outcome.status), outcome.message);
        cr_expect_geq(outcome.elapsed_us, 1000000);
        cr_expect(took_us >= 1000000 && took_us < 30000000, "took %lld us", (long long)took_us);
        cr_expect_gt(outcome.n_conflicts, 1, "body %zu: %u conflicts %u attempts %u trips %s", i,
            outcome.n_conflicts, outcome.n_attempts, outcome.n_round_trips, outcome.message);
        cr_expect_eq(server_int(rig.server, "GET", "key", NULL), outcome.n_attempts);
        cr_expect(live_is_usable(&rig));
    }
    live_end(&rig);
}

/* The body itself takes longer than there is time: its EXEC must not leave any more. */
static gavel_verdict take_too_long(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t begin_us = live_now_us();
    while (live_now_us() < begin_us + 60000)
        continue;
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

Test(conflicts, a_body_that_outlives_the_deadline_does_not_commit)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome =
        lose(&rig, (gavel_transaction){.body = take_too_long, .deadline_ms = 30});
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", outcome.message);
    cr_expect(live_is_usable(&rig));
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
    live_end(&rig);
}

static gavel_verdict write_by_query(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply = NULL;
    gavel_command push = GAVEL_COMMAND(GAVEL_STR("RPUSH"), GAVEL_STR("list"), GAVEL_STR("x"));
    gavel_query(tx, &push, &reply);
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

Test(conflicts, a_body_that_writes_by_a_query_is_refused_before_it_does)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome =
        lose(&rig, (gavel_transaction){.body = write_by_query, .max_conflicts = 2});
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "\"RPUSH\" writes"), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", "list", NULL), 0);
    live_end(&rig);
}
