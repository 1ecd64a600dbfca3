/* Locks on a real server: acquiring, holding, releasing. */
#include "locking.h"

#include <criterion/criterion.h>

Test(lock, is_held_by_one_and_told_who, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    cr_expect_gt(gavel_lock_remaining_ms(lock), 5000);
    cr_expect_leq(gavel_lock_remaining_ms(lock), 10000);
    cr_expect_neq(gavel_lock_fence(lock), 0);
    gavel_lock_outcome busy = locking_try(other);
    cr_expect_eq(busy.status, GAVEL_LOCK_BUSY);
    cr_expect(live_contains(busy.message, "pid="), "%s", busy.message);
    cr_expect(live_contains(busy.message, "fence="), "%s", busy.message);
    locking_expect_try(rig.client, GAVEL_LOCK_BUSY);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    locking_expect_try(other, GAVEL_LOCK_HELD);
    gavel_close(other);
    live_end(&rig);
}

Test(lock, record_is_one_printable_line, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    redisReply *record = server_command(rig.server, "GET", "gavel:lock:{l}", NULL);
    cr_assert_gt(record->len, 33);
    cr_expect_eq(strspn(record->str, "0123456789abcdef"), 32);
    char fence[64];
    snprintf(fence, sizeof(fence), " fence=%lld since=", (long long)gavel_lock_fence(lock));
    cr_expect(live_contains(record->str, fence), "%s", record->str);
    cr_expect(live_contains(record->str, " host="), "%s", record->str);
    for (size_t i = 0; i < record->len; i++)
        cr_expect(record->str[i] >= ' ' && record->str[i] <= '~');
    freeReplyObject(record);
    long long ttl = server_int(rig.server, "PTTL", "gavel:lock:{l}", NULL);
    cr_expect(ttl > 30000 && ttl <= 60000, "%lld", ttl);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock, fence_only_grows, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    int64_t last = 0;
    for (int i = 0; i < 50; i++) {
        if (i == 20)
            server_do(rig.server, "FLUSHALL", NULL);
        if (i == 30)
            server_do(rig.server, "SCRIPT", "FLUSH", NULL);
        if (i == 40) {
            server_kill(rig.server);
            server_restart(rig.server);
        }
        gavel_lock *lock = locking_take(rig.client, 0);
        cr_expect_gt(gavel_lock_fence(lock), last);
        last = gavel_lock_fence(lock);
        locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    }
    live_end(&rig);
}

Test(lock, fence_is_above_a_number_ahead_of_the_clock, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "gavel:lock-fence:{l}", "4000000000000000", NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    cr_expect_eq(gavel_lock_fence(lock), 4000000000000001);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock, names_do_not_run_into_each_other, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    const gavel_bytes names[] = {GAVEL_STR("a"), GAVEL_STR("a:queue"), GAVEL_STR("queue:a"),
        GAVEL_STR("a\0b"), GAVEL_STR("a b\r\n%s{}"), GAVEL_STR("fence:a")};
    gavel_lock *locks[6];
    for (size_t i = 0; i < 6; i++) {
        gavel_lock_outcome got =
            gavel_lock_acquire(rig.client, &(gavel_lock_request){.name = names[i]});
        cr_assert_eq(got.status, GAVEL_LOCK_HELD, "%s", got.message);
        locks[i] = got.lock;
    }
    for (size_t i = 0; i < 6; i++)
        locking_expect_released(locks[i], GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock, bad_requests_are_invalid, .timeout = 60)
{
    static char long_name[GAVEL_LOCK_NAME_MAX + 1];
    live_rig rig = live_begin(NULL, NULL);
    const gavel_lock_request bad[] = {{.lease_ms = 1000}, {.name = GAVEL_STR("")},
        {.name = {long_name, sizeof(long_name)}}, {.name = GAVEL_STR("l"), .lease_ms = 99},
        {.name = GAVEL_STR("l"), .lease_ms = 86400001}, {.name = GAVEL_STR("l"), .reserved = {1}}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        gavel_lock_outcome outcome = gavel_lock_acquire(rig.client, &bad[i]);
        cr_expect_eq(outcome.status, GAVEL_LOCK_INVALID);
        cr_expect_neq(outcome.message[0], '\0');
    }
    cr_expect_eq(gavel_lock_release(NULL).status, GAVEL_LOCK_INVALID);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    live_end(&rig);
}

Test(lock, lease_can_be_extended_and_shortened, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 1000);
    cr_expect_eq(gavel_lock_extend(lock, 60000).status, GAVEL_LOCK_HELD);
    cr_expect_gt(gavel_lock_remaining_ms(lock), 50000);
    cr_expect_gt(server_int(rig.server, "PTTL", "gavel:lock:{l}", NULL), 50000);
    cr_expect_eq(gavel_lock_extend(lock, 2000).status, GAVEL_LOCK_HELD);
    cr_expect_leq(gavel_lock_remaining_ms(lock), 2000);
    cr_expect_eq(gavel_lock_extend(lock, 1).status, GAVEL_LOCK_INVALID);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

/* ---- Guarded commands ---------------------------------------------------------------------- */

static gavel_lock_outcome set_x(gavel_lock *lock, gavel_bytes value)
{
    return gavel_lock_do(lock,
        &(gavel_lock_command){.command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("x"), value)});
}

Test(lock, guarded_command_runs_only_under_the_grant, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    cr_expect_eq(set_x(lock, GAVEL_STR("a \r\n%s")).status, GAVEL_LOCK_HELD);
    cr_expect(server_says(rig.server, "a \r\n%s", "GET", "x", NULL));
    server_do(rig.server, "SET", "gavel:lock:{l}", "somebody else", NULL);
    gavel_lock_outcome lost = set_x(lock, GAVEL_STR("b"));
    cr_expect_eq(lost.status, GAVEL_LOCK_LOST);
    cr_expect_eq(lost.reason, GAVEL_LOCK_TAKEN);
    cr_expect_eq(gavel_lock_remaining_ms(lock), 0);
    cr_expect_eq(set_x(lock, GAVEL_STR("c")).status, GAVEL_LOCK_LOST);
    cr_expect(server_says(rig.server, "a \r\n%s", "GET", "x", NULL));
    locking_expect_released(lock, GAVEL_LOCK_LOST);
    cr_expect(server_says(rig.server, "somebody else", "GET", "gavel:lock:{l}", NULL));
    live_end(&rig);
}

Test(lock, guarded_command_hands_out_its_reply, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "RPUSH", "list", "1", "two", NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    gavel_lock_command range = {.command = GAVEL_COMMAND(GAVEL_STR("LRANGE"), GAVEL_STR("list"),
                                    GAVEL_STR("0"), GAVEL_STR("-1")),
        .keep_reply = true};
    gavel_lock_outcome got = gavel_lock_do(lock, &range);
    cr_assert_eq(got.status, GAVEL_LOCK_HELD, "%s", got.message);
    cr_assert_eq(got.reply->n_elements, 2);
    cr_expect_eq(got.reply->elements[1].text.size, 3);
    gavel_lock_outcome_clear(&got);
    gavel_lock_outcome_clear(&got);
    gavel_lock_command absent = {
        .command = GAVEL_COMMAND(GAVEL_STR("GET"), GAVEL_STR("none")), .keep_reply = true};
    got = gavel_lock_do(lock, &absent);
    cr_expect_eq(got.reply->type, GAVEL_REPLY_NIL);
    gavel_lock_outcome_clear(&got);
    gavel_lock_command wrong = {.command = GAVEL_COMMAND(GAVEL_STR("INCR"), GAVEL_STR("list"))};
    got = gavel_lock_do(lock, &wrong);
    cr_expect_eq(got.status, GAVEL_LOCK_REJECTED);
    cr_expect(live_contains(got.message, "WRONGTYPE"), "%s", got.message);
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.keep_reply = true}).status, GAVEL_LOCK_INVALID);
    wrong.reserved[0] = 1;
    cr_expect_eq(gavel_lock_do(lock, &wrong).status, GAVEL_LOCK_INVALID);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock, guarded_command_passes_many_keys, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    gavel_command eval = GAVEL_COMMAND(GAVEL_STR("ZADD"), GAVEL_STR("z"), GAVEL_STR("1"),
        GAVEL_STR("m"), GAVEL_STR("2"), GAVEL_STR("n"));
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.command = eval}).status, GAVEL_LOCK_HELD);
    gavel_command unite = GAVEL_COMMAND(
        GAVEL_STR("ZUNIONSTORE"), GAVEL_STR("u"), GAVEL_STR("2"), GAVEL_STR("z"), GAVEL_STR("z"));
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.command = unite}).status, GAVEL_LOCK_HELD);
    gavel_command del = GAVEL_COMMAND(GAVEL_STR("DEL"), GAVEL_STR("z"), GAVEL_STR("u"));
    del.n_keys = 2;
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.command = del}).status, GAVEL_LOCK_HELD);
    cr_expect_eq(server_int(rig.server, "EXISTS", "z", "u", NULL), 0);
    del.n_keys = 3;
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.command = del}).status, GAVEL_LOCK_INVALID);
    gavel_command unknown = GAVEL_COMMAND(GAVEL_STR("NONSUCH"), GAVEL_STR("z"));
    gavel_lock_outcome outcome = gavel_lock_do(lock, &(gavel_lock_command){.command = unknown});
    cr_expect_eq(outcome.status, GAVEL_LOCK_INVALID);
    cr_expect(live_contains(outcome.message, "n_keys must say"), "%s", outcome.message);
    unknown.n_keys = 1;
    cr_expect_eq(
        gavel_lock_do(lock, &(gavel_lock_command){.command = unknown}).status, GAVEL_LOCK_REJECTED);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

/* ---- Misuse -------------------------------------------------------------------------------- */

static gavel_verdict use_lock(gavel_tx *tx, void *user)
{
    (void)tx;
    gavel_client *client = *(gavel_client **)user;
    cr_expect_eq(locking_try(client).status, GAVEL_LOCK_INVALID);
    return GAVEL_ABORT;
}

Test(lock, is_refused_in_a_body, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    cr_expect_eq(live_run(rig.client, "key", use_lock, &rig.client).status, GAVEL_ABORTED);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

Test(lock, record_of_another_type_is_rejected, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "LPUSH", "gavel:lock:{l}", "x", NULL);
    gavel_lock_outcome outcome = locking_try(rig.client);
    cr_expect_eq(outcome.status, GAVEL_LOCK_REJECTED);
    cr_expect(live_contains(outcome.message, "WRONGTYPE"), "%s", outcome.message);
    server_do(rig.server, "DEL", "gavel:lock:{l}", NULL);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    live_end(&rig);
}

Test(lock, unreachable_server_is_not_sent, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    server_kill(rig.server);
    gavel_lock_outcome outcome = locking_try(rig.client);
    cr_expect_eq(outcome.status, GAVEL_LOCK_NOT_SENT);
    cr_expect(live_contains(outcome.message, "unix:"), "%s", outcome.message);
    int64_t begun_us = live_now_us();
    outcome = gavel_lock_acquire(
        rig.client, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 200});
    cr_expect_eq(outcome.status, GAVEL_LOCK_NOT_SENT);
    cr_expect_geq(live_now_us() - begun_us, 200000);
    cr_expect_lt(live_now_us() - begun_us, 30000000);
    server_restart(rig.server);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    live_end(&rig);
}
