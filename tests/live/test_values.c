/*
 * What gavel says of values that a body has written, against what the server makes of them: random
 * bodies set, count, append, delete and give times to live, and then read all of it; after the EXEC
 * the server must have the same. Where a value cannot be counted, nothing may have changed.
 */
#include "tools.h"

#include "base/random.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { N_KEYS = 3, N_FIELDS = 2, N_ROUNDS = 1500, MAX_EDITS = 6, TEXT_SIZE = 96 };

static const gavel_bytes keys[N_KEYS] = {{"a", 1}, {"b", 1}, {"c", 1}};
static const gavel_bytes fields[N_FIELDS] = {{"f", 1}, {"g", 1}};

/* What is known of one key or field. */
typedef struct sight {
    gavel_found found;
    char text[TEXT_SIZE];
    gavel_found life_found; /* keys only */
    int64_t life_ms;
} sight;

typedef struct program {
    uint64_t seed;
    bool reads_first; /* what it will count is known then */
    sight keys[N_KEYS];
    sight fields[N_FIELDS];
} program;

/* ---- The bodies ---------------------------------------------------------------------------- */

static const int64_t steps[] = {1, -1, 0, 40, INT64_MAX, INT64_MIN};

static int64_t draw_step(gavel__random *random)
{
    return steps[gavel__random_below(random, sizeof steps / sizeof steps[0])];
}

static void edit_key(gavel_tx *tx, gavel__random *random)
{
    gavel_bytes key = keys[gavel__random_below(random, N_KEYS)];
    uint64_t life_ms = 1000000 * (1 + gavel__random_below(random, 9));
    switch (gavel__random_below(random, 11)) {
    case 0:
        gavel_set(tx, key, GAVEL_STR("word"));
        break;
    case 1:
        gavel_set_int(tx, key, draw_step(random));
        break;
    case 2:
        gavel_set_double(tx, key, (double)draw_step(random) / 3);
        break;
    case 3:
        gavel_set_px(tx, key, GAVEL_STR("7"), life_ms);
        break;
    case 4:
        gavel_set_keep(tx, key, GAVEL_STR("8"));
        break;
    case 5:
        gavel_expire_ms(tx, key, life_ms);
        break;
    case 6:
        gavel_persist(tx, key);
        break;
    case 7:
        gavel_append(tx, key, GAVEL_STR("1"));
        break;
    case 8:
        gavel_del(tx, key);
        break;
    case 9:
        gavel_del_many(tx, keys + 1, N_KEYS - 1);
        break;
    default:
        gavel_incr(tx, key, draw_step(random));
    }
}

static void edit_field(gavel_tx *tx, gavel__random *random)
{
    gavel_bytes hash = GAVEL_STR("h");
    gavel_bytes field = fields[gavel__random_below(random, N_FIELDS)];
    switch (gavel__random_below(random, 5)) {
    case 0:
        gavel_hset_int(tx, hash, field, draw_step(random));
        break;
    case 1:
        gavel_hset_double(tx, hash, field, 0.1);
        break;
    case 2:
        gavel_hdel(tx, hash, field);
        break;
    case 3:
        gavel_del(tx, hash);
        break;
    default:
        gavel_hincr(tx, hash, field, draw_step(random));
    }
}

static void keep_text(sight *self, gavel_bytes text)
{
    self->text[0] = '\0';
    if (self->found == GAVEL_FOUND)
        snprintf(self->text, TEXT_SIZE, "%.*s", (int)text.size, text.data);
}

static void read_all(gavel_tx *tx, program *self)
{
    gavel_bytes text = {NULL, 0};
    for (size_t i = 0; i < N_KEYS; i++) {
        self->keys[i].found = gavel_get(tx, keys[i], &text);
        keep_text(&self->keys[i], text);
        self->keys[i].life_found = gavel_ttl_ms(tx, keys[i], &self->keys[i].life_ms);
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        self->fields[i].found = gavel_hget(tx, GAVEL_STR("h"), fields[i], &text);
        keep_text(&self->fields[i], text);
    }
}

static gavel_verdict run_program(gavel_tx *tx, void *user)
{
    program *self = user;
    gavel__random random;
    gavel__random_seed(&random, self->seed);
    if (self->reads_first)
        read_all(tx, self);
    for (uint64_t n = 1 + gavel__random_below(&random, MAX_EDITS); n > 0; n--) {
        if (gavel__random_below(&random, 4) == 0)
            edit_field(tx, &random);
        else
            edit_key(tx, &random);
    }
    read_all(tx, self);
    return GAVEL_COMMIT;
}

/* ---- The server ---------------------------------------------------------------------------- */

static void look(test_server *server, program *ret_seen)
{
    for (size_t i = 0; i < N_KEYS + N_FIELDS; i++) {
        bool is_key = i < N_KEYS;
        sight *seen = is_key ? &ret_seen->keys[i] : &ret_seen->fields[i - N_KEYS];
        redisReply *reply =
            is_key ? server_command(server, "GET", keys[i].data, NULL)
                   : server_command(server, "HGET", "h", fields[i - N_KEYS].data, NULL);
        seen->found = reply->type == REDIS_REPLY_NIL ? GAVEL_ABSENT : GAVEL_FOUND;
        keep_text(seen, (gavel_bytes){reply->str, (size_t)reply->len});
        freeReplyObject(reply);
        if (is_key)
            seen->life_ms = server_int(server, "PTTL", keys[i].data, NULL);
    }
}

static void expect_same(const sight *told, const sight *seen, uint64_t seed)
{
    cr_assert_eq(told->found, seen->found, "seed %d", (int)seed);
    cr_assert_str_eq(told->text, seen->text, "seed %d", (int)seed);
}

/* What was left to live then is more than now, by less than the next possible one. */
static void expect_same_life(const sight *told, const sight *seen, uint64_t seed)
{
    bool is_there = told->life_found == GAVEL_FOUND;
    cr_assert_eq(told->life_found, told->found, "seed %d", (int)seed);
    cr_assert_eq(is_there, seen->life_ms != -2, "seed %d", (int)seed);
    if (is_there && told->life_ms == GAVEL_TTL_NONE)
        cr_assert_eq(seen->life_ms, -1, "seed %d", (int)seed);
    if (is_there && told->life_ms != GAVEL_TTL_NONE)
        cr_assert(seen->life_ms <= told->life_ms && seen->life_ms > told->life_ms - 900000,
            "seed %d: %lld is %lld", (int)seed, (long long)told->life_ms, (long long)seen->life_ms);
}

static void compare(const program *told, const program *seen)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        expect_same(&told->keys[i], &seen->keys[i], told->seed);
        expect_same_life(&told->keys[i], &seen->keys[i], told->seed);
    }
    for (size_t i = 0; i < N_FIELDS; i++)
        expect_same(&told->fields[i], &seen->fields[i], told->seed);
}

/* Nothing is to have changed, but that time has passed. */
static void compare_unchanged(const program *before, const program *after, uint64_t seed)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        expect_same(&before->keys[i], &after->keys[i], seed);
        cr_assert_eq(before->keys[i].life_ms < 0, after->keys[i].life_ms < 0, "seed %d", (int)seed);
    }
    for (size_t i = 0; i < N_FIELDS; i++)
        expect_same(&before->fields[i], &after->fields[i], seed);
}

static gavel_outcome run(gavel_client *client, program *self)
{
    gavel_bytes names[N_KEYS + 1] = {keys[0], keys[1], keys[2], GAVEL_STR("h")};
    return gavel_run(
        client, &(gavel_transaction){
                    .body = run_program, .user = self, .keys = names, .n_keys = N_KEYS + 1});
}

/*
 * A counter that is known to fail is INVALID, and nothing has changed; where gavel had not read the
 * value, the server finds out. Either way what the body read is what the server has.
 */
Test(values, are_told_as_the_server_makes_them)
{
    live_rig rig = live_begin(NULL, NULL);
    size_t n_invalid = 0, n_with_errors = 0;
    for (uint64_t seed = 0; seed < N_ROUNDS; seed++) {
        program before, after, self = {.seed = seed, .reads_first = seed % 2 == 0};
        look(rig.server, &before);
        gavel_outcome outcome = run(rig.client, &self);
        look(rig.server, &after);
        if (outcome.status == GAVEL_INVALID) {
            cr_assert(live_contains(outcome.message, "counting"), "%s", outcome.message);
            compare_unchanged(&before, &after, seed);
            n_invalid++;
            continue;
        }
        if (outcome.status == GAVEL_COMMITTED_WITH_ERRORS)
            n_with_errors++;
        else
            cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        compare(&self, &after);
    }
    cr_expect_gt(n_invalid, N_ROUNDS / 20, "%d", (int)n_invalid);
    cr_expect_lt(n_invalid, N_ROUNDS / 2, "%d", (int)n_invalid);
    cr_expect_gt(n_with_errors, 10, "%d", (int)n_with_errors);
    live_end(&rig);
}
