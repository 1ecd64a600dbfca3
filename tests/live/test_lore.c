/*
 * Commands that the server knows and gavel does not: here some that the server has under another
 * name. What COMMAND INFO says of them, and what it is good for.
 */
#include "tools.h"

#include <criterion/criterion.h>

#define JOBS GAVEL_STR("jobs")

/* As a module would name them. */
static const char *const renamed[] = {"--rename-command", "LPOP", "jobs.take", "--rename-command",
    "LLEN", "jobs.count", "--rename-command", "LMOVE", "jobs.move", "--user", "bob", "on", "nopass",
    "~*", "&*", "+@all", "-command", NULL};

static const server_options with_jobs = {.has_tcp = true, .args = renamed};

typedef struct use {
    gavel_command command;
    bool is_write;
    int64_t count; /* what a query found */
} use;

static gavel_verdict do_it(gavel_tx *tx, void *user)
{
    use *self = user;
    const gavel_reply *reply = NULL;
    gavel_bytes other;
    self->count = 0;
    gavel_get(tx, GAVEL_STR("other"), &other); /* so that a snapshot is one of several reads */
    if (self->is_write)
        gavel_write(tx, &self->command);
    else if (gavel_query(tx, &self->command, &reply) == GAVEL_FOUND)
        gavel_reply_int(reply, &self->count);
    return GAVEL_COMMIT;
}

static gavel_outcome run(live_rig *rig, use *self, bool is_read_only)
{
    return gavel_run(rig->client,
        &(gavel_transaction){.body = do_it, .user = self, .is_read_only = is_read_only});
}

static void expect_invalid(live_rig *rig, use self, const char *words)
{
    gavel_outcome outcome = run(rig, &self, false);
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", outcome.message);
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
}

static use of_jobs(const char *name, size_t n_keys)
{
    static gavel_bytes args[2];
    args[0] = gavel_str(name);
    args[1] = JOBS;
    return (use){.command = {.args = args, .n_args = 2, .n_keys = n_keys}};
}

/* The jobs would be gone. */
Test(lore, a_query_that_writes_is_not_sent)
{
    live_rig rig = live_begin(&with_jobs, NULL);
    server_do(rig.server, "RPUSH", "jobs", "1", "2", "3", NULL);
    expect_invalid(&rig, of_jobs("jobs.take", 1), "\"jobs.take\" writes");
    expect_invalid(&rig, of_jobs("JOBS.TAKE", 1), "\"JOBS.TAKE\" writes");
    use count = of_jobs("jobs.count", 1);
    gavel_outcome outcome = run(&rig, &count, false);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(count.count, 3);
    use take = of_jobs("jobs.take", 1);
    take.is_write = true;
    outcome = run(&rig, &take, false);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "jobs.count", "jobs", NULL), 2);
    live_end(&rig);
}

Test(lore, a_key_that_is_left_out_is_told)
{
    live_rig rig = live_begin(&with_jobs, NULL);
    gavel_bytes args[] = {
        GAVEL_STR("jobs.move"), JOBS, GAVEL_STR("done"), GAVEL_STR("LEFT"), GAVEL_STR("RIGHT")};
    use move = {.command = {.args = args, .n_args = 5, .n_keys = 1}, .is_write = true};
    expect_invalid(&rig, move,
        "the keys of \"jobs.move\" are arguments 1, 2 (so the server says), and first_key and "
        "n_keys say: 1 from 1 on");
    move.command.n_keys = 0;
    expect_invalid(&rig, move, "the server names arguments 1, 2");
    expect_invalid(&rig, of_jobs("JOB.MOVE", 0), "neither gavel nor the server knows");
    live_end(&rig);
}

/* Without a question more, in the two kinds of round. */
Test(lore, who_may_not_ask_is_taken_at_his_word)
{
    test_server *server = server_start(&with_jobs);
    char url[64];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(server));
    for (int is_read_only = 0; is_read_only < 2; is_read_only++) {
        live_rig rig = {server, live_open(url, NULL)};
        server_do(server, "DEL", "jobs", NULL);
        server_do(server, "RPUSH", "jobs", "7", NULL);
        use take = of_jobs("jobs.take", 1);
        gavel_outcome outcome = run(&rig, &take, is_read_only != 0);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        gavel_close(rig.client);
    }
    server_stop(server);
}
