/*
 * Whom the turning of the loop is handed to, and who is woken. What takes moments at most in a real
 * program (a caller in recv, a thread that is not scheduled) is stretched here for as long as the
 * test wants, so that whoever waits for it waits for ever, and does not only lose some time.
 *
 * The platform is the real one, but for two things: a receive that may wait is held at a gate, and
 * the clock can be moved, which the loop's own timer does not know.
 */
#include "crew.h"

#include "client/platform.h"
#include "loop/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* After so long a time nobody comes any more. Callers wait longer. */
#define HANG_MS 10000
#define DEADLINE_MS 60000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static bool is_gate_shut;     /* a receive that may wait does not return */
static int n_at_gate;         /* threads in such a receive */
static bool can_wait;         /* links have a receive that may wait */
static int n_asleep_in_loop;  /* between unlock and lock of the loop */
static int64_t clock_skew_us; /* what the client's clock is ahead */

static void change(int *number, int by)
{
    pthread_mutex_lock(&mutex);
    *number += by;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void await(const int *number, int value)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += HANG_MS / 1000;
    pthread_mutex_lock(&mutex);
    while (*number != value)
        CHECK(pthread_cond_timedwait(&changed, &mutex, &end) != ETIMEDOUT, "for ever");
    pthread_mutex_unlock(&mutex);
}

static void set_gate(bool is_shut)
{
    pthread_mutex_lock(&mutex);
    is_gate_shut = is_shut;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* ---- The transport ------------------------------------------------------------------------- */

typedef struct gated {
    gavel__transport base;
    gavel__transport *inner;
} gated;

static gavel__progress gated_connect(gavel__transport *transport)
{
    gavel__transport *inner = ((gated *)transport)->inner;
    gavel__progress progress = inner->ops->connect(inner);
    memcpy(transport->message, inner->message, sizeof(transport->message));
    return progress;
}

static long gated_send(gavel__transport *transport, const char *data, size_t size)
{
    gavel__transport *inner = ((gated *)transport)->inner;
    return inner->ops->send(inner, data, size);
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&mutex);
    n_at_gate++;
    pthread_cond_broadcast(&changed);
    while (is_gate_shut)
        pthread_cond_wait(&changed, &mutex);
    n_at_gate--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static long gated_receive(gavel__transport *transport, char *data, size_t size, bool wait)
{
    gavel__transport *inner = ((gated *)transport)->inner;
    if (wait)
        wait_at_gate();
    return inner->ops->receive(inner, data, size, wait);
}

static void gated_close(gavel__transport *transport)
{
    gavel__transport *inner = ((gated *)transport)->inner;
    inner->ops->close(inner);
    free(transport);
}

static const gavel__transport_ops gated_ops = {
    .connect = gated_connect,
    .send = gated_send,
    .receive = gated_receive,
    .close = gated_close,
};

static gavel__transport *dial_gated(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    gavel__transport *inner = gavel__dial_socket(dialler, destination, allocator, ret_error);
    gated *self = calloc(1, sizeof(*self));
    CHECK(inner != NULL && self != NULL, "cannot dial");
    self->base = (gavel__transport){.ops = &gated_ops, .fd = inner->fd, .can_wait = can_wait};
    self->inner = inner;
    return &self->base;
}

/* ---- The loop ------------------------------------------------------------------------------ */

static const gavel__loop_ops *real_ops;
static gavel__loop_ops skewed_ops;
static gavel__loop_owner client_owner;

static int64_t skewed_now_us(gavel__loop *loop)
{
    pthread_mutex_lock(&mutex);
    int64_t skew_us = clock_skew_us;
    pthread_mutex_unlock(&mutex);
    return real_ops->now_us(loop) + skew_us;
}

static void unlock_and_tell(void *owner)
{
    client_owner.unlock(owner);
    change(&n_asleep_in_loop, 1);
}

static void lock_and_tell(void *owner)
{
    change(&n_asleep_in_loop, -1);
    client_owner.lock(owner);
}

static gavel__loop *create_skewed_loop(
    void *user, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    (void)user;
    client_owner = *owner;
    gavel__loop_owner telling = *owner;
    telling.unlock = unlock_and_tell;
    telling.lock = lock_and_tell;
    gavel__loop *loop = gavel__loop_create_ev(NULL, &telling, allocator);
    CHECK(loop != NULL, "no loop");
    real_ops = loop->ops;
    skewed_ops = *real_ops;
    skewed_ops.now_us = skewed_now_us;
    loop->ops = &skewed_ops;
    return loop;
}

static uint64_t entropy(void *user)
{
    (void)user;
    return (uint64_t)crew_now_us();
}

/* `user` is the command. */
static gavel_verdict ask(gavel_tx *tx, void *user)
{
    const gavel_reply *reply;
    gavel_query(tx, user, &reply);
    return GAVEL_COMMIT;
}

/* The client asks the server of the command by which callers wait, and hears that it may not: from
 * now on it asks no more, and the callers' word stands. */
static void ask_of_command(gavel_client *client)
{
    gavel_bytes args[] = {
        GAVEL_STR("AWAIT"), GAVEL_STR("STREAMS"), GAVEL_STR("nothing"), GAVEL_STR("$")};
    gavel_command command = {.args = args, .n_args = 4, .first_key = 2, .n_keys = 1};
    gavel_outcome outcome = gavel_run(
        client, &(gavel_transaction){.body = ask, .user = &command, .is_read_only = true});
    CHECK(outcome.status == GAVEL_COMMITTED, "%s", outcome.message);
}

static gavel_client *open_gated(const test_server *server, bool its_links_can_wait)
{
    can_wait = its_links_can_wait;
    static const gavel_config patient = {
        .connect_timeout_ms = 10 * DEADLINE_MS, .command_timeout_ms = 10 * DEADLINE_MS};
    gavel__platform platform = {.create_loop = create_skewed_loop,
        .dial = dial_gated,
        .entropy = entropy,
        .is_blocking = true};
    gavel_error error = {{0}};
    gavel_client *client = gavel__open_on(&platform, server_url(server), &patient, &error);
    CHECK(client != NULL, "%s", error.message);
    ask_of_command(client);
    return client;
}

/* ---- Callers ------------------------------------------------------------------------------- */

/* Waits for an entry of a stream, by XREAD under a name that gavel does not know, since it lets no
 * query block: the server answers when the test writes it, and holds up this link alone. */
typedef struct caller {
    pthread_t thread;
    gavel_client *client;
    gavel_bytes stream;
    gavel_status status;
    char message[GAVEL_MESSAGE_SIZE];
    int has_returned;
} caller;

static void *call(void *argument)
{
    caller *self = argument;
    gavel_bytes args[] = {GAVEL_STR("AWAIT"), GAVEL_STR("BLOCK"), GAVEL_STR("0"),
        GAVEL_STR("STREAMS"), self->stream, GAVEL_STR("$")};
    gavel_command command = {.args = args, .n_args = 6, .first_key = 4, .n_keys = 1};
    gavel_read read = {.command = &command};
    gavel_outcome outcome = gavel_run(self->client, &(gavel_transaction){.body = ask,
                                                        .user = &command,
                                                        .reads = &read,
                                                        .n_reads = 1,
                                                        .is_read_only = true,
                                                        .deadline_ms = DEADLINE_MS});
    self->status = outcome.status;
    memcpy(self->message, outcome.message, sizeof(self->message));
    change(&self->has_returned, 1);
    return NULL;
}

/* Returns when the server has the caller's read, the n-th one that waits there. */
static void begin(caller *self, test_server *server, long long n)
{
    CHECK(pthread_create(&self->thread, NULL, call, self) == 0, "no thread");
    while (server_info(server, "blocked_clients") != n)
        crew_sleep_us(1000);
}

static void answer(const caller *self, test_server *server)
{
    server_do(server, "XADD", self->stream.data, "*", "field", "value", (char *)NULL);
}

static void end(caller *self, gavel_status status)
{
    await(&self->has_returned, 1);
    pthread_join(self->thread, NULL);
    CHECK(self->status == status, "%s: %s", gavel_status_name(self->status), self->message);
}

/* ---- The tests ----------------------------------------------------------------------------- */

/*
 * The first caller is alone and sleeps on its link; the second one comes and turns the loop; the
 * third waits. When the second is done the third has to go on: the first does not hear of it.
 */
static void is_not_handed_to_a_sleeper(test_server *server)
{
    gavel_client *client = open_gated(server, true);
    caller first = {.client = client, .stream = GAVEL_STR("first")};
    caller second = {.client = client, .stream = GAVEL_STR("second")};
    caller third = {.client = client, .stream = GAVEL_STR("third")};
    set_gate(true);
    begin(&first, server, 1);
    await(&n_at_gate, 1);
    begin(&second, server, 2);
    await(&n_asleep_in_loop, 1);
    begin(&third, server, 3);
    answer(&second, server);
    end(&second, GAVEL_COMMITTED);
    answer(&third, server);
    end(&third, GAVEL_COMMITTED);
    set_gate(false);
    answer(&first, server);
    end(&first, GAVEL_COMMITTED);
    gavel_close(client);
}

/* Who is told by another thread while it sleeps in the loop is woken. */
static void is_woken_when_told(test_server *server)
{
    gavel_client *client = open_gated(server, false);
    caller driver = {.client = client, .stream = GAVEL_STR("driver")};
    begin(&driver, server, 1);
    await(&n_asleep_in_loop, 1);
    pthread_mutex_lock(&mutex);
    clock_skew_us = DEADLINE_MS * INT64_C(1000);
    pthread_mutex_unlock(&mutex);
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = NULL});
    CHECK(outcome.status == GAVEL_INVALID, "%s", gavel_status_name(outcome.status));
    end(&driver, GAVEL_DEADLINE);
    gavel_close(client);
    clock_skew_us = 0;
}

/*
 * The process was stopped for longer than the deadline. The first caller, asleep on its link, finds
 * its answer there when it goes on; but another thread comes before it, and sees the time.
 */
static void is_not_told_while_it_may_have_its_answer(test_server *server)
{
    gavel_client *client = open_gated(server, true);
    caller first = {.client = client, .stream = GAVEL_STR("first")};
    set_gate(true);
    begin(&first, server, 1);
    await(&n_at_gate, 1);
    answer(&first, server);
    pthread_mutex_lock(&mutex);
    clock_skew_us = DEADLINE_MS * INT64_C(1000);
    pthread_mutex_unlock(&mutex);
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = NULL});
    CHECK(outcome.status == GAVEL_INVALID, "%s", gavel_status_name(outcome.status));
    set_gate(false);
    end(&first, GAVEL_COMMITTED);
    gavel_close(client);
    clock_skew_us = 0;
}

int main(void)
{
    const char *const args[] = {
        "--rename-command", "XREAD", "AWAIT", "--rename-command", "COMMAND", "", NULL};
    test_server *server = server_start(&(server_options){.args = args});
    is_not_handed_to_a_sleeper(server);
    is_woken_when_told(server);
    is_not_told_while_it_may_have_its_answer(server);
    server_stop(server);
    return 0;
}
