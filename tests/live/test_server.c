/* The test server itself: what the other live tests take for granted. */
#include "server.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0;
}

Test(server, answers_and_leaves_nothing_behind)
{
    test_server *server = server_start(NULL);
    server_do(server, "SET", "key", "12", NULL);
    cr_assert(server_says(server, "12", "GET", "key", NULL));
    cr_assert_not(server_says(server, "1", "GET", "key", NULL));
    cr_assert_eq(server_int(server, "INCR", "key", NULL), 13);
    cr_assert_eq(server_int(server, "GET", "none", NULL), -1);
    cr_assert_gt(server_info(server, "total_commands_processed"), 0);

    char *path = strdup(server_path(server));
    cr_assert(exists(path));
    server_stop(server);
    *strrchr(path, '/') = '\0';
    cr_assert_not(exists(path));
    free(path);
}

Test(server, takes_any_byte_and_returns_errors)
{
    test_server *server = server_start(NULL);
    gavel_bytes set[] = {GAVEL_STR("SET"), GAVEL_STR("k\0\r\n%s"), GAVEL_STR("v\0\r\n%s")};
    freeReplyObject(server_command_bytes(server, set, 3));
    gavel_bytes get[] = {GAVEL_STR("GET"), GAVEL_STR("k\0\r\n%s")};
    redisReply *reply = server_command_bytes(server, get, 2);
    cr_assert_eq(reply->len, 6);
    cr_assert_arr_eq(reply->str, "v\0\r\n%s", 6);
    freeReplyObject(reply);
    gavel_bytes none[] = {GAVEL_STR("NONE")};
    reply = server_command_bytes(server, none, 1);
    cr_assert_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    server_stop(server);
}

Test(server, comes_back_empty_at_the_same_port)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    redisContext *context = redisConnect("127.0.0.1", server_port(server));
    cr_assert_eq(context->err, 0);
    server_do(server, "SET", "key", "1", NULL);
    server_kill(server);
    cr_assert_null(redisCommand(context, "PING"));
    redisFree(context);

    server_restart(server);
    cr_assert_eq(server_int(server, "EXISTS", "key", NULL), 0);
    context = redisConnect("127.0.0.1", server_port(server));
    cr_assert_eq(context->err, 0);
    redisFree(context);
    server_stop(server);
}

Test(server, stands_still_and_goes_on)
{
    test_server *server = server_start(NULL);
    redisContext *context = server_connect(server);
    server_pause(server);
    redisSetTimeout(context, (struct timeval){.tv_usec = 20000});
    cr_assert_null(redisCommand(context, "PING"));
    redisFree(context);
    server_resume(server);
    cr_assert(server_says(server, "PONG", "PING", NULL));
    server_pause(server);
    server_stop(server);
}

Test(server, takes_a_password_and_arguments)
{
    const char *const args[] = {
        "--user", "bob", "on", ">secret", "~bob:*", "-@all", "+get", "--maxclients", "20", NULL};
    test_server *server = server_start(&(server_options){.password = "open", .args = args});
    cr_assert(server_says(server, "default", "ACL", "WHOAMI", NULL));
    cr_assert_eq(server_info(server, "maxclients"), 20);
    redisContext *context = server_connect(server);
    redisReply *reply = redisCommand(context, "AUTH bob secret");
    cr_assert_eq(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    reply = redisCommand(context, "SET bob:1 x");
    cr_assert_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(context);
    server_stop(server);
}

/* A test that crashes takes its server and folder with it. */
Test(server, dies_with_its_test)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        test_server *server = server_start(NULL);
        const char *path = server_path(server);
        if (write(ends[1], path, strlen(path) + 1) > 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    char path[128];
    cr_assert_gt(read(ends[0], path, sizeof(path)), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    /* The janitor, and a server that got no death signal, would hold this end open. */
    close(ends[1]);
    cr_assert_eq(read(ends[0], path + 127, 1), 0);
    *strrchr(path, '/') = '\0';
    cr_assert_not(exists(path));
}
