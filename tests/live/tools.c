/* What the live tests share: see the header. */
#include "tools.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

live_rig live_begin(const server_options *options, const gavel_config *config)
{
    live_rig rig = {.server = server_start(options)};
    rig.client = live_open(server_url(rig.server), config);
    return rig;
}

void live_end(live_rig *rig)
{
    gavel_close(rig->client);
    server_stop(rig->server);
}

gavel_client *live_open(const char *url, const gavel_config *config)
{
    gavel_error error = {{0}};
    gavel_client *client = gavel_open(url, config, &error);
    cr_assert_not_null(client, "%s", error.message);
    return client;
}

/* ---- Transactions --------------------------------------------------------------------------- */

gavel_verdict live_add_one(gavel_tx *tx, void *user)
{
    const gavel_bytes *key = user;
    int64_t value = 0;
    gavel_get_int(tx, *key, &value);
    gavel_set_int(tx, *key, value + 1);
    return GAVEL_COMMIT;
}

gavel_outcome live_increment(gavel_client *client, const char *key)
{
    gavel_bytes name = gavel_str(key);
    return live_run(client, key, live_add_one, &name);
}

gavel_outcome live_increment_impatiently(gavel_client *client, const char *key)
{
    gavel_bytes name = gavel_str(key);
    return gavel_run(client, &(gavel_transaction){.body = live_add_one,
                                 .user = &name,
                                 .reads = &(gavel_read){.key = name},
                                 .n_reads = 1,
                                 .max_faults = 2});
}

gavel_outcome live_run(gavel_client *client, const char *key, gavel_body *body, void *user)
{
    gavel_read read = {.key = gavel_str(key)};
    return gavel_run(
        client, &(gavel_transaction){.body = body, .user = user, .reads = &read, .n_reads = 1});
}

bool live_is_usable(live_rig *rig)
{
    long long before = server_int(rig->server, "GET", "usable", NULL);
    gavel_outcome outcome = live_increment(rig->client, "usable");
    long long after = server_int(rig->server, "GET", "usable", NULL);
    return outcome.status == GAVEL_COMMITTED && after == (before < 0 ? 0 : before) + 1;
}

/* ---- Asking and waiting --------------------------------------------------------------------- */

bool live_contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

int64_t live_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int live_count_links(test_server *server, const char *name)
{
    char field[128];
    snprintf(field, sizeof(field), " name=%s ", name);
    redisReply *list = server_command(server, "CLIENT", "LIST", NULL);
    int n_links = 0;
    for (const char *at = list->str; (at = strstr(at, field)) != NULL; at++)
        n_links++;
    freeReplyObject(list);
    return n_links;
}

void live_await_no_links(test_server *server, const char *name)
{
    while (live_count_links(server, name) > 0)
        continue;
}

/* ---- Peers that are no Redis ---------------------------------------------------------------- */

struct fake_server {
    char url[64];
    pid_t pid;
};

const char fake_handshake[] = "*14\r\n"
                              "$6\r\nserver\r\n$5\r\nredis\r\n"
                              "$7\r\nversion\r\n$6\r\n7.0.15\r\n"
                              "$5\r\nproto\r\n:2\r\n"
                              "$2\r\nid\r\n:1\r\n"
                              "$4\r\nmode\r\n$10\r\nstandalone\r\n"
                              "$4\r\nrole\r\n$6\r\nmaster\r\n"
                              "$7\r\nmodules\r\n*0\r\n"
                              "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n";

static void play(int fd, const char *const *answers, bool hangs_up)
{
    char heard[4096];
    ssize_t n = 0;
    for (; *answers != NULL && (n = recv(fd, heard, sizeof(heard), 0)) > 0; answers++)
        send(fd, *answers, strlen(*answers), MSG_NOSIGNAL);
    while (!hangs_up && recv(fd, heard, sizeof(heard), 0) > 0)
        continue;
    close(fd);
}

fake_server *fake_start(const char *const *answers, bool hangs_up)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    cr_assert_eq(listen(listener, 16), 0);
    fake_server *fake = calloc(1, sizeof(*fake));
    cr_assert_not_null(fake);
    snprintf(fake->url, sizeof(fake->url), "redis://127.0.0.1:%d", ntohs(address.sin_port));
    fake->pid = fork();
    cr_assert_geq(fake->pid, 0);
    if (fake->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
            play(fd, answers, hangs_up);
        _exit(1);
    }
    close(listener);
    return fake;
}

void fake_stop(fake_server *fake)
{
    kill(fake->pid, SIGKILL);
    waitpid(fake->pid, NULL, 0);
    free(fake);
}

const char *fake_url(const fake_server *fake)
{
    return fake->url;
}
