/*
 * Rounds of many transactions on a real server: what they cost, that the shortcuts they take are
 * given up where the server does not allow them or cannot say enough, and who shares with whom.
 */
#include "attached.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { MAX_JOBS = 64 };

/* Jobs with a key of their own each: k0, k1 ... */
typedef struct crowd {
    attached_rig rig;
    attached_job jobs[MAX_JOBS];
} crowd;

/* So that every GET finds a string, and MGET can do. */
static void set_all(crowd *self, int n)
{
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        server_do(self->rig.live.server, "SET", key, "100", NULL);
    }
}

static void submit_all(crowd *self, int n)
{
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "k%d", i);
        attached_submit(&self->rig, &self->jobs[i], name);
    }
}

/* Submits n jobs at once, and runs them to their end. */
static void run_all(crowd *self, int n)
{
    submit_all(self, n);
    ev_run(self->rig.loop, 0);
}

static void expect_all(crowd *self, int n, long long value)
{
    for (int i = 0; i < n; i++) {
        attached_expect_ended(&self->jobs[i], GAVEL_COMMITTED);
        cr_expect_eq(attached_value_of(&self->rig, self->jobs[i].name), value, "k%d", i);
    }
}

static gavel_stats stats_of(const crowd *self)
{
    gavel_stats stats;
    gavel_read_stats(self->rig.live.client, &stats);
    return stats;
}

/* Unless the config says so, no round ends because a busy machine lets bodies wait. */
static crowd *begin(gavel_config config)
{
    static crowd self;
    if (config.max_round_body_us == 0)
        config.max_round_body_us = 60000000;
    self = (crowd){.rig = attached_begin(&config)};
    return &self;
}

/* A client of a user with these rights, over the port; `rights` end with NULL. */
static crowd *begin_as_user(const char *const *rights)
{
    static crowd self;
    self = (crowd){.rig = {.loop = ev_loop_new(EVFLAG_AUTO)}};
    self.rig.live.server = server_start(&(server_options){.has_tcp = true});
    gavel_bytes args[32] = {GAVEL_STR("ACL"), GAVEL_STR("SETUSER"), GAVEL_STR("ann"),
        GAVEL_STR("on"), GAVEL_STR(">secret"), GAVEL_STR("+@all")};
    size_t n_args = 6;
    for (size_t i = 0; rights[i] != NULL; i++)
        args[n_args++] = gavel_str(rights[i]);
    redisReply *reply = server_command_bytes(self.rig.live.server, args, n_args);
    cr_assert_eq(reply->type, REDIS_REPLY_STATUS, "%s", reply->str);
    freeReplyObject(reply);
    char url[128];
    snprintf(
        url, sizeof(url), "redis://ann:secret@127.0.0.1:%d", server_port(self.rig.live.server));
    self.rig.live.client = live_open(url, &(gavel_config){.loop = self.rig.loop});
    return &self;
}

static void end(crowd *self)
{
    attached_end(&self->rig);
}

/* ---- What it costs ------------------------------------------------------------------------- */

/*
 * Half of them share the first round, the other half reads behind its EXEC: three round trips, and
 * two rounds of WATCH, MGET, MULTI, MSET, EXEC. Behind the last EXEC nothing is read: none of them
 * could use what all want.
 */
Test(rounds, sixty_four_transactions_on_as_many_keys_take_three_round_trips)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    set_all(self, 64);
    run_all(self, 64);
    expect_all(self, 64, 101);
    gavel_stats stats = stats_of(self);
    cr_expect_eq(stats.n_rounds, 2, "%d", (int)stats.n_rounds);
    cr_expect_eq(stats.n_round_trips, 3, "%d", (int)stats.n_round_trips);
    cr_expect_eq(stats.n_commands, 10, "%d", (int)stats.n_commands);
    cr_expect_leq(stats.n_marker_commands, 3, "%d", (int)stats.n_marker_commands);
    cr_expect_eq(stats.n_attempts, 64);
    cr_expect_eq(stats.n_conflicts, 0);
    end(self);
}

/* With more links nobody takes more of anything, but for what a link costs to begin with. */
Test(rounds, with_several_links_they_take_hardly_more)
{
    crowd *self = begin((gavel_config){.max_links = 0});
    set_all(self, 64);
    run_all(self, 64);
    expect_all(self, 64, 101);
    gavel_stats stats = stats_of(self);
    cr_expect_leq(stats.n_rounds, 8, "%d", (int)stats.n_rounds);
    cr_expect_leq(stats.n_commands, 8 * 7 + 8, "%d", (int)stats.n_commands);
    cr_expect_eq(stats.n_attempts, 64);
    end(self);
}

Test(rounds, sixty_four_transactions_on_one_key_take_two_round_trips)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    set_all(self, 1);
    for (int i = 0; i < 64; i++)
        attached_submit(&self->rig, &self->jobs[i], "k0");
    ev_run(self->rig.loop, 0);
    for (int i = 0; i < 64; i++)
        attached_expect_ended(&self->jobs[i], GAVEL_COMMITTED);
    cr_expect_eq(attached_value_of(&self->rig, "k0"), 164);
    gavel_stats stats = stats_of(self);
    cr_expect_eq(stats.n_rounds, 1);
    cr_expect_eq(stats.n_round_trips, 2);
    cr_expect_eq(
        stats.n_commands, 7, "%d: WATCH, GET, MULTI, SET, EXEC; WATCH, GET", (int)stats.n_commands);
    end(self);
}

/* What is absent cannot be told from another type by MGET: a second try, and then one by one. */
Test(rounds, absent_keys_cost_one_round_trip_once)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    run_all(self, 16);
    expect_all(self, 16, 1);
    cr_expect_eq(stats_of(self).n_round_trips, 3, "%d", (int)stats_of(self).n_round_trips);
    cr_expect_eq(stats_of(self).n_attempts, 16);
    end(self);
}

static gavel_verdict read_four(gavel_tx *tx, void *user)
{
    attached_job *self = user;
    self->n_runs++;
    gavel_bytes value = {NULL, 0};
    static const gavel_bytes keys[] = {{"k0", 2}, {"k1", 2}, {"k2", 2}, {"k3", 2}};
    for (size_t i = 0; i < 4; i++)
        gavel_get(tx, keys[i], &value);
    return GAVEL_COMMIT;
}

static const gavel_read four_reads[] = {
    {.key = {"k0", 2}}, {.key = {"k1", 2}}, {.key = {"k2", 2}}, {.key = {"k3", 2}}};

Test(rounds, those_that_only_read_strings_cost_one_command)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    set_all(self, 4);
    for (int i = 0; i < 20; i++)
        self->jobs[i].ticket = gavel_submit(self->rig.live.client,
            &(gavel_transaction){.body = read_four,
                .user = &self->jobs[i],
                .reads = four_reads,
                .n_reads = 4,
                .is_read_only = true},
            attached_on_done);
    ev_run(self->rig.loop, 0);
    for (int i = 0; i < 20; i++)
        attached_expect_ended(&self->jobs[i], GAVEL_COMMITTED);
    cr_expect_eq(stats_of(self).n_commands, 1);
    cr_expect_eq(stats_of(self).n_round_trips, 1);
    end(self);
}

/* ---- What the server does not allow -------------------------------------------------------- */

static void run_without(const char *const *rights, long long before)
{
    crowd *self = begin_as_user(rights);
    if (before > 0)
        set_all(self, 20);
    for (int n = 1; n <= 2; n++) {
        for (int i = 0; i < MAX_JOBS; i++)
            self->jobs[i] = (attached_job){.n_done = 0};
        run_all(self, 20);
        expect_all(self, 20, before + n);
    }
    cr_expect_eq(stats_of(self).n_outcomes[GAVEL_COMMITTED], 40);
    cr_expect_eq(stats_of(self).n_links_down, 0);
    cr_expect_eq(stats_of(self).n_conflicts, 0);
    end(self);
}

Test(rounds, a_user_without_mset_and_mget_works_as_ever)
{
    static const char *const no_mset[] = {"~*", "-mset", NULL};
    static const char *const no_mget[] = {"~*", "-mget", NULL};
    static const char *const neither[] = {"~*", "-mset", "-mget", NULL};
    const char *const *const rights[] = {no_mset, no_mget, neither};
    for (size_t i = 0; i < 3; i++) {
        run_without(rights[i], 100);
        run_without(rights[i], 0);
    }
}

Test(rounds, a_user_without_mget_reads_on_as_ever)
{
    static const char *const rights[] = {"~*", "-mget", NULL};
    crowd *self = begin_as_user(rights);
    set_all(self, 4);
    self->jobs[0].ticket = gavel_submit(self->rig.live.client,
        &(gavel_transaction){.body = read_four,
            .user = &self->jobs[0],
            .reads = four_reads,
            .n_reads = 4,
            .is_read_only = true},
        attached_on_done);
    ev_run(self->rig.loop, 0);
    attached_expect_ended(&self->jobs[0], GAVEL_COMMITTED);
    cr_expect_eq(self->jobs[0].n_runs, 1);
    end(self);
}

/* The rules may also change while the client is at work. */
Test(rounds, a_right_that_is_taken_away_is_not_missed)
{
    static const char *const rights[] = {"~*", NULL};
    crowd *self = begin_as_user(rights);
    set_all(self, 20);
    run_all(self, 20);
    expect_all(self, 20, 101);
    server_do(self->rig.live.server, "ACL", "SETUSER", "ann", "-mset", "-mget", NULL);
    for (int i = 0; i < 20; i++)
        self->jobs[i] = (attached_job){.n_done = 0};
    run_all(self, 20);
    expect_all(self, 20, 102);
    end(self);
}

/* A key that one of them may read but not write: MSET is refused for all, SET for that one. */
Test(rounds, a_key_that_may_not_be_written_is_told_to_the_right_one)
{
    static const char *const rights[] = {"~k0", "~k1", "~k2", "~gavel:*", "%R~k3", "~k4", NULL};
    if (server_program_major() < 7)
        cr_skip_test("6.2 has no rights to read only");
    crowd *self = begin_as_user(rights);
    set_all(self, 5);
    run_all(self, 5);
    for (int i = 0; i < 5; i++) {
        attached_expect_ended(&self->jobs[i], i == 3 ? GAVEL_REJECTED : GAVEL_COMMITTED);
        cr_expect_eq(attached_value_of(&self->rig, self->jobs[i].name), i == 3 ? 100 : 101);
    }
    cr_expect(live_contains(self->jobs[3].outcome.message, "NOPERM"), "%s",
        self->jobs[3].outcome.message);
    end(self);
}

/* ---- What MGET does not say ---------------------------------------------------------------- */

Test(rounds, a_wrong_type_among_many_reads_is_told_to_the_right_one)
{
    crowd *self = begin((gavel_config){.max_links = 0});
    set_all(self, 10);
    server_do(self->rig.live.server, "DEL", "k6", NULL);
    server_do(self->rig.live.server, "RPUSH", "k6", "x", NULL);
    run_all(self, 10);
    for (int i = 0; i < 10; i++) {
        attached_expect_ended(&self->jobs[i], i == 6 ? GAVEL_REJECTED : GAVEL_COMMITTED);
        if (i != 6)
            cr_expect_eq(attached_value_of(&self->rig, self->jobs[i].name), 101);
    }
    cr_expect(live_contains(self->jobs[6].outcome.message, "WRONGTYPE"));
    cr_expect(live_contains(self->jobs[6].outcome.message, "\"k6\""), "%s",
        self->jobs[6].outcome.message);
    cr_expect_eq(server_int(self->rig.live.server, "LLEN", "k6", NULL), 1);
    end(self);
}

/* Each value fits in max_reply_bytes; all of them together do not. */
Test(rounds, values_that_fit_one_by_one_are_read)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.max_reply_bytes = 65536});
    static char big[20000];
    memset(big, 'x', sizeof(big) - 1);
    char keys[6][8];
    gavel_read reads[6];
    for (int i = 0; i < 6; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        server_do(rig.server, "SET", keys[i], big, NULL);
        reads[i] = (gavel_read){.key = gavel_str(keys[i])};
    }
    attached_job job = {.n_runs = 0};
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){.body = read_four, .user = &job, .reads = reads, .n_reads = 6});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    live_end(&rig);
}

/* ---- Conflicts ----------------------------------------------------------------------------- */

static void meddle_once(attached_job *self)
{
    if (self->n_runs == 1)
        server_do(self->rig->live.server, "INCRBY", "k2", "1000", NULL);
}

/* Somebody changes one key of many: all try again at once, and nobody's write is lost. */
Test(rounds, one_changed_key_costs_the_others_one_more_try)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    set_all(self, 8);
    self->jobs[0].in_body = meddle_once;
    run_all(self, 8);
    for (int i = 0; i < 8; i++) {
        attached_expect_ended(&self->jobs[i], GAVEL_COMMITTED);
        cr_expect_eq(self->jobs[i].outcome.n_conflicts, 1);
        cr_expect_eq(self->jobs[i].outcome.n_attempts, 2);
        cr_expect_eq(
            attached_value_of(&self->rig, self->jobs[i].name), i == 2 ? 1101 : 101, "k%d", i);
    }
    cr_expect_eq(stats_of(self).n_conflicts, 1);
    cr_expect_eq(stats_of(self).n_round_trips, 4);
    end(self);
}

/* ---- Widths -------------------------------------------------------------------------------- */

Test(rounds, a_width_of_one_gives_each_its_own_exec)
{
    crowd *self = begin((gavel_config){.max_round_width = 1, .max_links = 2});
    run_all(self, 20);
    expect_all(self, 20, 1);
    cr_expect_eq(stats_of(self).n_rounds, 20);
    end(self);
}

Test(rounds, a_round_keeps_to_its_bounds)
{
    static const gavel_config configs[] = {
        {.max_round_keys = 4, .max_links = 1}, {.max_round_bytes = 1, .max_links = 1}};
    static const uint64_t n_rounds[] = {5, 20};
    for (size_t i = 0; i < 2; i++) {
        crowd *self = begin(configs[i]);
        run_all(self, 20);
        expect_all(self, 20, 1);
        cr_expect_eq(stats_of(self).n_rounds, n_rounds[i], "%d", (int)stats_of(self).n_rounds);
        cr_expect_eq(stats_of(self).n_attempts, 20);
        end(self);
    }
}

static void take_two_milliseconds(attached_job *self)
{
    (void)self;
    int64_t until_us = live_now_us() + 2000;
    while (live_now_us() < until_us)
        continue;
}

/* Two milliseconds are twice what the bodies of a round may take together. */
Test(rounds, slow_bodies_do_not_wait_for_one_another)
{
    crowd *self = begin((gavel_config){.max_links = 1, .max_round_body_us = 1000});
    for (int i = 0; i < 5; i++)
        self->jobs[i].in_body = take_two_milliseconds;
    run_all(self, 5);
    expect_all(self, 5, 1);
    cr_expect_eq(stats_of(self).n_rounds, 5);
    cr_expect_eq(stats_of(self).n_attempts, 5);
    end(self);
}

Test(rounds, a_bound_on_keys_beyond_what_one_may_have_is_refused)
{
    gavel_error error = {{0}};
    cr_expect_null(gavel_open(
        "redis://localhost", &(gavel_config){.max_round_keys = GAVEL_MAX_KEYS + 1}, &error));
    cr_expect(live_contains(error.message, "max_round_keys"), "%s", error.message);
    gavel_client *client =
        gavel_open("redis://localhost", &(gavel_config){.max_round_keys = GAVEL_MAX_KEYS}, &error);
    cr_expect_not_null(client, "%s", error.message);
    gavel_close(client);
}

static void ignore(const gavel_outcome *outcome, void *user)
{
    (void)outcome;
    (void)user;
}

/* Among others, and several in a row. */
Test(rounds, a_solo_one_has_an_exec_of_its_own)
{
    crowd *self = begin((gavel_config){.max_links = 1});
    submit_all(self, 4);
    for (int i = 4; i < 7; i++) {
        attached_job *job = &self->jobs[i];
        job->rig = &self->rig;
        snprintf(job->name, sizeof(job->name), "k%d", i);
        job->key = gavel_str(job->name);
        gavel_submit(self->rig.live.client,
            &(gavel_transaction){.body = live_add_one,
                .user = &job->key,
                .reads = &(gavel_read){.key = job->key},
                .n_reads = 1,
                .is_solo = true},
            ignore);
    }
    ev_run(self->rig.loop, 0);
    for (int i = 0; i < 7; i++)
        cr_expect_eq(attached_value_of(&self->rig, self->jobs[i].name), 1, "k%d", i);
    cr_expect_eq(stats_of(self).n_rounds, 4, "four share one, three have their own");
    end(self);
}
