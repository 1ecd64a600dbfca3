/*
 * A private redis-server for a test: its own unix socket and folder, gone when the test ends,
 * however it ends. For Criterion tests and plain programs alike.
 *
 * Nothing here returns an error: a server that cannot be started, reached or understood is told on
 * standard error and aborts the test. Functions are for one thread; the server dies with the thread
 * that started it, so start it in one that lives as long as the test.
 *
 * GAVEL_REDIS_SERVER names another program than "redis-server".
 */
#ifndef TEST_LIVE_SERVER_H
#define TEST_LIVE_SERVER_H

#include <gavel/bytes.h>

#include <hiredis.h>

#include <stdbool.h>

typedef struct test_server test_server;

/* Zero means the default, which stands beside the field. */
typedef struct server_options {
    bool has_tcp;         /* false: the unix socket only; else a free loopback port too */
    bool has_tls;         /* false; else that port speaks TLS, and args name the certificates */
    const char *password; /* NULL: none. Of the default user */
    const char *config;   /* NULL: none. The text of a configuration file, which may be rewritten */
    /* NULL: none. More of redis-server's arguments, ended by NULL; they come last and so win:
     * {"--user", "bob", "on", ">secret", "~*", "+@all", NULL} */
    const char *const *args;
} server_options;

/* Starts a server and returns when it answers. `options` may be NULL, and is copied. NULL: has_tls,
 * and this server was built without. */
test_server *server_start(const server_options *options);

/* The first number of the version of the program that is started: 6, though of a Valkey it is 7, 8
 * or 9.
 */
int server_program_major(void);

/* Arguments for a server that takes DEBUG: from 7.0 on it has to be told. */
const char *const *server_debug_args(void);

/* Ends the server, removes its folder, frees. Takes NULL, and a server killed or paused. */
void server_stop(test_server *server);

/* The URL of the socket, and of the port (has_tcp, has_tls), without a login. They live as long as
 * the server, and stay the same over a restart. */
const char *server_url(const test_server *server);
const char *server_tcp_url(const test_server *server);

/* The path of the socket; the port, or 0. */
const char *server_path(const test_server *server);
int server_port(const test_server *server);

/* Whether it was started, and not killed since. */
bool server_is_running(const test_server *server);

/* ---- What can happen to a server ------------------------------------------------------------ */

/* Ends it at once, with all its data and links. It is gone when this returns. */
void server_kill(test_server *server);

/* Starts a killed server again, empty, at the same address. */
void server_restart(test_server *server);

/* Stops it from running without ending it, and lets it go on. It stands still when this returns. */
void server_pause(test_server *server);
void server_resume(test_server *server);

/* ---- Looking at it past gavel --------------------------------------------------------------- */

/* One more connection, logged in; for redisFree. */
redisContext *server_connect(const test_server *server);

/*
 * Runs a command, given as words ended by NULL, on a connection kept for this, and returns its
 * reply, for freeReplyObject. An error reply aborts the test.
 */
redisReply *server_command(test_server *server, ...) __attribute__((sentinel));

/* The same, with arguments that hold any byte, and an error reply is returned like any other. */
redisReply *server_command_bytes(test_server *server, const gavel_bytes *args, size_t n_args);

/* The same as server_command, for commands whose reply nobody needs. */
void server_do(test_server *server, ...) __attribute__((sentinel));

/* The same, for commands that answer an integer, or a string that holds one; nil is -1. */
long long server_int(test_server *server, ...) __attribute__((sentinel));

/* Whether the command's reply is this string. */
bool server_says(test_server *server, const char *expected, ...) __attribute__((sentinel));

#define SERVER_VERSION_SIZE 16

/* Which Redis it is, such as "7.0.15". Valkey says which one it is compatible with. */
void server_version(test_server *server, char ret_version[SERVER_VERSION_SIZE]);

/* Whether it is that version or a later one. */
bool server_is_at_least(test_server *server, int major, int minor);

/* A field of INFO that is a number, such as "total_commands_processed". */
long long server_info(test_server *server, const char *field);

#endif
