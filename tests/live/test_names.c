/*
 * Host names, with a resolver of the test's own in place of the system's: slow ones, several
 * addresses, IPv6.
 */
#include "locking.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The resolver -------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_stuck;              /* whoever asks gets no answer until this has ended */
    int n_asked;                /* so far */
    const char *const *numbers; /* what it finds */
} resolver = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void set_stuck(bool is_stuck)
{
    pthread_mutex_lock(&resolver.mutex);
    resolver.is_stuck = is_stuck;
    pthread_cond_broadcast(&resolver.changed);
    pthread_mutex_unlock(&resolver.mutex);
}

static void await_asked(int n)
{
    pthread_mutex_lock(&resolver.mutex);
    while (resolver.n_asked < n)
        pthread_cond_wait(&resolver.changed, &resolver.mutex);
    pthread_mutex_unlock(&resolver.mutex);
}

static void await_answer(void)
{
    pthread_mutex_lock(&resolver.mutex);
    resolver.n_asked++;
    pthread_cond_broadcast(&resolver.changed);
    while (resolver.is_stuck)
        pthread_cond_wait(&resolver.changed, &resolver.mutex);
    pthread_mutex_unlock(&resolver.mutex);
}

static struct addrinfo *make_info(const char *number, int port)
{
    struct addrinfo *info = calloc(1, sizeof(*info));
    struct sockaddr_in6 *ipv6 = calloc(1, sizeof(*ipv6));
    struct sockaddr_in *ipv4 = calloc(1, sizeof(*ipv4));
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons((uint16_t)port);
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = htons((uint16_t)port);
    bool is_ipv6 = inet_pton(AF_INET6, number, &ipv6->sin6_addr) == 1;
    inet_pton(AF_INET, number, &ipv4->sin_addr);
    info->ai_family = is_ipv6 ? AF_INET6 : AF_INET;
    info->ai_addrlen = is_ipv6 ? sizeof(*ipv6) : sizeof(*ipv4);
    info->ai_addr = is_ipv6 ? (struct sockaddr *)ipv6 : (struct sockaddr *)ipv4;
    if (is_ipv6)
        free(ipv4);
    else
        free(ipv6);
    return info;
}

/* In place of the system's. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
    struct addrinfo **ret_found)
{
    (void)host;
    (void)hints;
    await_answer();
    struct addrinfo **end = ret_found;
    for (const char *const *number = resolver.numbers; *number != NULL; number++) {
        *end = make_info(*number, atoi(service));
        end = &(*end)->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info->ai_addr);
        free(info);
        info = next;
    }
}

/* ---- The tests ----------------------------------------------------------------------------- */

static const char *const loopback[] = {"127.0.0.1", NULL};

/* A server under a name that has these addresses. */
static live_rig begin_test(
    const char *const *numbers, const server_options *options, const gavel_config *config)
{
    char url[64];
    live_rig rig = {.server = server_start(options)};
    resolver.numbers = numbers;
    snprintf(url, sizeof(url), "redis://name.test:%d", server_port(rig.server));
    rig.client = live_open(url, config);
    return rig;
}

static gavel_outcome increment_within(gavel_client *client, uint32_t deadline_ms)
{
    gavel_bytes key = GAVEL_STR("key");
    return gavel_run(client, &(gavel_transaction){.body = live_add_one,
                                 .user = &key,
                                 .keys = &key,
                                 .n_keys = 1,
                                 .deadline_ms = deadline_ms});
}

/* To the millisecond this is looked at in virtual time; here it must not depend on the resolver. */
static void expect_deadline(gavel_client *client, uint32_t deadline_ms)
{
    gavel_outcome outcome = increment_within(client, deadline_ms);
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", outcome.message);
    cr_expect_lt(outcome.elapsed_us, ((int64_t)deadline_ms + 5000) * 1000);
}

/* Connecting may take 100 ms, and has not even begun while the name is looked up. */
Test(names, a_slow_resolver_holds_no_deadline_up, .timeout = 60)
{
    set_stuck(true);
    live_rig rig = begin_test(
        loopback, &(server_options){.has_tcp = true}, &(gavel_config){.connect_timeout_ms = 100});
    expect_deadline(rig.client, 300);
    expect_deadline(rig.client, 300);
    await_asked(1);
    cr_expect_eq(resolver.n_asked, 1);
    set_stuck(false);
    gavel_outcome outcome = increment_within(rig.client, 20000);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(resolver.n_asked, 1);
    live_end(&rig);
}

/* The connection has to be dialled anew, and the name is looked up once more, since what is known
 * of it is old. */
Test(names, a_slow_resolver_loses_no_lock, .timeout = 60)
{
    locking_losses losses = {0};
    live_rig rig = begin_test(loopback, &(server_options){.has_tcp = true}, NULL);
    gavel_lock_outcome got = gavel_lock_acquire(rig.client, &(gavel_lock_request){
                                                                .name = GAVEL_STR("l"),
                                                                .lease_ms = 2000,
                                                                .on_lost = locking_on_lost,
                                                                .user = &losses,
                                                            });
    cr_assert_eq(got.status, GAVEL_LOCK_HELD, "%s", got.message);
    int64_t old_us = live_now_us() + 5100000;
    while (live_now_us() < old_us)
        cr_assert_eq(gavel_lock_extend(got.lock, 2000).status, GAVEL_LOCK_HELD);
    set_stuck(true);
    server_do(rig.server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", (char *)NULL);
    await_asked(2);
    for (int64_t end_us = live_now_us() + 3000000; live_now_us() < end_us;)
        cr_assert_eq(increment_within(rig.client, 20000).status, GAVEL_COMMITTED);
    cr_expect_eq(losses.n_lost, 0);
    set_stuck(false);
    locking_expect_released(got.lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

/* Nor does a child process, which has no such thread. */
Test(names, closing_waits_for_no_resolver, .timeout = 60)
{
    set_stuck(true);
    live_rig rig = begin_test(loopback, &(server_options){.has_tcp = true}, NULL);
    expect_deadline(rig.client, 100);
    await_asked(1);
    pid_t child = fork();
    if (child == 0) {
        gavel_close(rig.client);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    int64_t begun_us = live_now_us();
    live_end(&rig);
    cr_expect_lt(live_now_us() - begun_us, 5000000);
    set_stuck(false);
}

Test(names, every_address_is_tried, .timeout = 60)
{
    static const char *const numbers[] = {"127.0.0.2", "127.0.0.3", "127.0.0.1", NULL};
    live_rig rig = begin_test(numbers,
        &(server_options){
            .has_tcp = true, .args = (const char *const[]){"--bind", "127.0.0.1", NULL}},
        NULL);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(resolver.n_asked, 1);
    live_end(&rig);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool is_there = fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0;
    if (fd >= 0)
        close(fd);
    return is_there;
}

/* A name with addresses of both families, of which the server listens on one. */
Test(names, ipv6, .timeout = 60)
{
    static const char *const numbers[] = {"127.0.0.1", "::1", NULL};
    if (!has_ipv6())
        return;
    live_rig rig = begin_test(numbers,
        &(server_options){.has_tcp = true, .args = (const char *const[]){"--bind", "::1", NULL}},
        NULL);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    live_end(&rig);
}

/* The one that was good has become a replica: what it says at the handshake sends the client on. */
Test(names, the_next_address_when_the_last_good_one_is_a_replica, .timeout = 60)
{
    static const char *const numbers[] = {"127.0.0.1", "127.0.0.2", NULL};
    live_rig rig = begin_test(numbers,
        &(server_options){
            .has_tcp = true, .args = (const char *const[]){"--bind", "127.0.0.1", NULL}},
        NULL);
    char port[16];
    snprintf(port, sizeof(port), "%d", server_port(rig.server));
    const char *const args[] = {
        "--bind", "127.0.0.2", "--port", port, "--protected-mode", "no", NULL};
    test_server *next = server_start(&(server_options){.args = args});
    cr_assert_eq(live_increment(rig.client, "key").status, GAVEL_COMMITTED);
    server_do(rig.server, "REPLICAOF", "127.0.0.2", port, (char *)NULL);
    for (int i = 1; i <= 3; i++) {
        gavel_outcome outcome = increment_within(rig.client, 20000);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_eq(server_int(next, "GET", "key", (char *)NULL), i);
    }
    server_stop(next); /* the last one started is the first to be stopped */
    live_end(&rig);
}
