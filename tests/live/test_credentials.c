/*
 * Logins that the program is asked for: passwords that change, that are wrong for a while, that
 * nobody has, and a program that takes its time. No secret is told.
 */
#include "counter.h"

#include <ev.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static const gavel_transaction patient = {.deadline_ms = 60000};
/* Long enough to connect and to ask, also on a loaded machine: what is said rests on that. */
static const gavel_transaction hasty = {.deadline_ms = 1000};

/* What the program says when it is asked. */
static struct program {
    test_server *server;
    gavel_client *client;
    pthread_mutex_t mutex; /* of all that follows */
    pthread_cond_t changed;
    const char *password; /* of "ann"; NULL: it says why there is none */
    bool is_shut;         /* it does not answer */
    int n_wrong;          /* so many times it says a wrong one first */
    int n_asked;
    int n_inside;
    bool has_been_asked_twice_at_once;
    char said[16384];
} it;

static void hear(const char *words)
{
    pthread_mutex_lock(&it.mutex);
    size_t size = strlen(it.said);
    snprintf(it.said + size, sizeof(it.said) - size, "%s\n", words);
    pthread_mutex_unlock(&it.mutex);
}

static void hear_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    (void)user;
    hear(line);
}

static const char *log_in(gavel_login *login, void *user)
{
    const char *reason = NULL;
    cr_assert_eq(user, &it);
    pthread_mutex_lock(&it.mutex);
    it.n_asked++;
    it.has_been_asked_twice_at_once |= ++it.n_inside > 1;
    pthread_cond_broadcast(&it.changed);
    while (it.is_shut)
        pthread_cond_wait(&it.changed, &it.mutex);
    if (it.n_wrong > 0)
        gavel_login_use(login, "ann", "wrong-secret");
    else if (it.password != NULL)
        gavel_login_use(login, "ann", it.password);
    else
        reason = "the vault is sealed";
    it.n_wrong -= it.n_wrong > 0;
    it.n_inside--;
    pthread_mutex_unlock(&it.mutex);
    return reason;
}

static void set_password(const char *password)
{
    char rule[64];
    snprintf(rule, sizeof(rule), ">%s", password);
    server_do(it.server, "ACL", "SETUSER", "ann", "on", "resetpass", rule, "~*", "&*", "+@all",
        (char *)NULL);
}

static void shut(bool is_shut)
{
    pthread_mutex_lock(&it.mutex);
    it.is_shut = is_shut;
    pthread_cond_broadcast(&it.changed);
    pthread_mutex_unlock(&it.mutex);
}

static void open_client(struct ev_loop *loop)
{
    const gavel_config config = {
        .loop = loop, .log_in = log_in, .log_in_user = &it, .hooks = {.on_log = hear_log}};
    it.client = live_open(server_url(it.server), &config);
}

static void set_up(void)
{
    pthread_mutex_init(&it.mutex, NULL);
    pthread_cond_init(&it.changed, NULL);
    it.server = server_start(NULL);
    it.password = "first-secret";
    set_password(it.password);
}

static void tear_down(void)
{
    gavel_close(it.client);
    cr_expect_null(strstr(it.said, "secret"), "%s", it.said);
    cr_expect_not(it.has_been_asked_twice_at_once);
    server_stop(it.server);
}

TestSuite(credentials, .init = set_up, .fini = tear_down, .timeout = 60);

static void expect_committed(void)
{
    ASSERT_TOLD(counter_run(it.client, NULL, patient), GAVEL_COMMITTED);
}

static gavel_outcome expect_deadline(const char *words)
{
    gavel_outcome outcome = counter_run(it.client, NULL, hasty);
    ASSERT_TOLD(outcome, GAVEL_DEADLINE);
    ASSERT_SAYS(outcome, words);
    hear(outcome.message);
    return outcome;
}

/* Who is logged in stays so; each new connection asks. */
Test(credentials, a_password_that_is_rotated)
{
    open_client(NULL);
    expect_committed();
    cr_expect_eq(it.n_asked, 1);
    set_password("second-secret");
    it.password = "second-secret";
    expect_committed();
    cr_expect_eq(it.n_asked, 1);
    server_do(it.server, "CLIENT", "KILL", "USER", "ann", (char *)NULL);
    expect_committed();
    cr_expect_eq(it.n_asked, 2);
    cr_expect_eq(counter_value(it.server), 3);
}

/* What the server refuses is asked for again. */
Test(credentials, a_password_that_is_wrong_for_a_while)
{
    open_client(NULL);
    it.n_wrong = 3;
    expect_committed();
    cr_expect_eq(it.n_asked, 4);
}

Test(credentials, a_password_that_stays_wrong)
{
    open_client(NULL);
    it.n_wrong = 1000000;
    gavel_outcome outcome = expect_deadline("WRONGPASS");
    cr_expect_gt(outcome.n_faults, 1);
    it.n_wrong = 0;
    expect_committed();
}

Test(credentials, a_program_that_has_none)
{
    open_client(NULL);
    it.password = NULL;
    gavel_outcome outcome = expect_deadline("no login: the vault is sealed");
    cr_expect_gt(outcome.n_faults, 1);
    it.password = "first-secret";
    expect_committed();
}

static const char *say_nothing(gavel_login *login, void *user)
{
    (void)login;
    (void)user;
    return NULL;
}

Test(credentials, a_program_that_says_nothing)
{
    it.client = live_open(server_url(it.server), &(gavel_config){.log_in = say_nothing});
    expect_deadline("log_in has not called gavel_login_use");
}

/* The deadline rules; the answer is used when it comes. */
Test(credentials, a_program_that_takes_its_time)
{
    open_client(NULL);
    shut(true);
    expect_deadline(": log_in has not answered");
    shut(false);
    expect_committed();
    cr_expect_eq(counter_value(it.server), 1);
}

/* ---- Many threads -------------------------------------------------------------------------- */

static void *add_some(void *nothing)
{
    for (int i = 0; i < 20; i++)
        ASSERT_TOLD(counter_run(it.client, NULL, patient), GAVEL_COMMITTED);
    return nothing;
}

Test(credentials, many_threads)
{
    pthread_t threads[8];
    open_client(NULL);
    it.n_wrong = 2;
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add_some, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(counter_value(it.server), 160);
}

/* ---- Attached ------------------------------------------------------------------------------ */

static unsigned n_told;

static void on_done(const gavel_outcome *outcome, void *user)
{
    (void)user;
    ASSERT_TOLD(*outcome, GAVEL_COMMITTED);
    n_told++;
}

/* The loop turns while the program is asked. */
static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    pthread_mutex_lock(&it.mutex);
    bool is_asked = it.n_asked > 0;
    pthread_mutex_unlock(&it.mutex);
    if (!is_asked)
        return;
    cr_expect_eq(n_told, 0);
    ev_timer_stop(loop, timer);
    shut(false);
}

Test(credentials, a_loop_goes_on_while_the_program_is_asked)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer tick;
    live_counter counter = {.n_runs = 0};
    open_client(loop);
    shut(true);
    ev_timer_init(&tick, on_tick, 0., 0.001);
    ev_timer_start(loop, &tick);
    cr_assert_neq(gavel_submit(it.client,
                      &(gavel_transaction){.body = counter_add,
                          .user = &counter,
                          .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                          .n_reads = 1,
                          .deadline_ms = 60000},
                      on_done),
        0);
    ev_run(loop, 0);
    cr_expect_eq(n_told, 1);
    gavel_close(it.client);
    it.client = NULL;
    ev_loop_destroy(loop);
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void *open_up_when_asked(void *nothing)
{
    pthread_mutex_lock(&it.mutex);
    while (it.n_asked == 0)
        pthread_cond_wait(&it.changed, &it.mutex);
    pthread_mutex_unlock(&it.mutex);
    sched_yield();
    shut(false);
    return nothing;
}

/* What the program is asked with is its own again when the client is closed. */
Test(credentials, closing_waits_for_the_program)
{
    pthread_t thread;
    open_client(NULL);
    shut(true);
    expect_deadline(": log_in has not answered");
    cr_assert_eq(pthread_create(&thread, NULL, open_up_when_asked, NULL), 0);
    gavel_close(it.client);
    it.client = NULL;
    cr_expect_eq(it.n_inside, 0);
    pthread_join(thread, NULL);
}
