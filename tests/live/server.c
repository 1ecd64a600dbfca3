/*
 * The private redis-server of server.h.
 *
 *     test ---fork, exec---> redis-server     dies with the test (PR_SET_PDEATHSIG)
 *       '------fork--------> janitor          outlives the test by a moment: when the pipe from the
 *                                             test closes, it removes the server's folder
 */
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 64
#define START_TRIES 20 /* of five ports one is too high for a cluster's node, or more */
#define START_TIMEOUT_MS 20000
#define PEEK_TIMEOUT_S 10

struct test_server {
    char folder[64];
    char path[80];
    char url[96];
    char tcp_url[64];
    char port[16];
    bool has_tls;
    char *password;
    char *config;
    char **args; /* copies, ended by NULL */
    pid_t pid;   /* 0: not running */
    pid_t janitor;
    int janitor_pipe; /* the janitor reads its other end */
    redisContext *peek;
};

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("test server: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

static void *not_null(void *memory)
{
    if (memory == NULL)
        give_up("no memory");
    return memory;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- The folder and its janitor ------------------------------------------------------------- */

/* Removes a folder with one level of folders in it (Redis makes appendonlydir). */
static void remove_folder(const char *folder, int depth)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        bool is_self = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!is_self && unlink(path) != 0 && depth == 0)
            remove_folder(path, depth + 1);
    }
    closedir(directory);
    rmdir(folder);
}

static void make_folder(test_server *server)
{
    const char *parent = getenv("TMPDIR");
    int n = snprintf(server->folder, sizeof(server->folder), "%s/gavel-test-XXXXXX",
        parent != NULL ? parent : "/tmp");
    /* A socket's path has little room. */
    if (n < 0 || (size_t)n >= sizeof(server->folder))
        snprintf(server->folder, sizeof(server->folder), "/tmp/gavel-test-XXXXXX");
    if (mkdtemp(server->folder) == NULL)
        give_up("%s: %s", server->folder, strerror(errno));
    snprintf(server->path, sizeof(server->path), "%s/socket", server->folder);
    snprintf(server->url, sizeof(server->url), "unix://%s", server->path);
}

static void start_janitor(test_server *server)
{
    int ends[2];
    if (pipe(ends) != 0)
        give_up("pipe: %s", strerror(errno));
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    server->janitor = fork();
    if (server->janitor < 0)
        give_up("fork: %s", strerror(errno));
    if (server->janitor == 0) {
        close(ends[1]);
        char nothing;
        while (read(ends[0], &nothing, 1) < 0 && errno == EINTR)
            continue;
        remove_folder(server->folder, 0);
        _exit(0);
    }
    close(ends[0]);
    server->janitor_pipe = ends[1];
}

/* ---- The process ---------------------------------------------------------------------------- */

static const char *program_name(void)
{
    const char *program = getenv("GAVEL_REDIS_SERVER");
    return program != NULL && program[0] != '\0' ? program : "redis-server";
}

int server_program_major(void)
{
    char line[512];
    int major = 0;
    snprintf(line, sizeof(line), "'%s' --version", program_name());
    FILE *said = popen(line, "r");
    if (said == NULL || fgets(line, sizeof(line), said) == NULL)
        give_up("%s does not tell its version", program_name());
    const char *version = strstr(line, "v=");
    if (pclose(said) != 0 || version == NULL || sscanf(version, "v=%d", &major) != 1)
        give_up("not a version: %s", line);
    return major;
}

const char *const *server_debug_args(void)
{
    static const char *const args[] = {"--enable-debug-command", "yes", NULL};
    return server_program_major() >= 7 ? args : &args[2];
}

static const char *config_path(const test_server *server, char *path, size_t size)
{
    snprintf(path, size, "%s/config", server->folder);
    return path;
}

static void write_config(const test_server *server)
{
    char path[sizeof(server->folder) + 8];
    FILE *file = fopen(config_path(server, path, sizeof(path)), "w");
    if (file == NULL || fputs(server->config, file) < 0 || fclose(file) != 0)
        give_up("%s: %s", path, strerror(errno));
}

/* In the child. Its output goes to a log in the folder, for a start that fails. */
static void exec_server(const test_server *server, pid_t parent)
{
    const char *program = program_name();
    const char *args[MAX_ARGS] = {program, server->has_tls ? "--tls-port" : "--port", server->port,
        "--bind", "127.0.0.1", "--unixsocket", server->path, "--dir", server->folder, "--save", "",
        "--appendonly", "no", "--daemonize", "no"};
    size_t n_args = 0;
    while (args[n_args] != NULL)
        n_args++;
    char config[sizeof(server->folder) + 8];
    if (server->config != NULL) { /* which the server takes as its first argument only */
        memmove(&args[2], &args[1], n_args++ * sizeof(args[0]));
        args[1] = config_path(server, config, sizeof(config));
    }
    if (server->password != NULL) {
        args[n_args++] = "--requirepass";
        args[n_args++] = server->password;
    }
    if (server->has_tls) {
        args[n_args++] = "--port";
        args[n_args++] = "0";
    }
    for (size_t i = 0; server->args[i] != NULL && n_args < MAX_ARGS - 1; i++)
        args[n_args++] = server->args[i];

    char log[sizeof(server->folder) + 8];
    snprintf(log, sizeof(log), "%s/log", server->folder);
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* exec does not write to its arguments; its type is older than const. */
    execvp(program, (char *const *)(uintptr_t)args);
    dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(127);
}

static void spawn(test_server *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0)
        give_up("fork: %s", strerror(errno));
    if (server->pid == 0)
        exec_server(server, parent);
}

static void reap(test_server *server)
{
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    server->pid = 0;
}

static redisContext *connect_to(const test_server *server)
{
    redisContext *context = redisConnectUnix(server->path);
    if (context == NULL || context->err != 0) {
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, (struct timeval){.tv_sec = PEEK_TIMEOUT_S});
    return context;
}

/* Up is a server that answers, though it be NOAUTH; one that is still loading is not. */
static bool is_up(const test_server *server)
{
    redisContext *context = connect_to(server);
    if (context == NULL)
        return false;
    redisReply *reply = redisCommand(context, "PING");
    bool is_up = reply != NULL &&
                 !(reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "LOADING", 7) == 0);
    freeReplyObject(reply);
    redisFree(context);
    return is_up;
}

/* False: the process ended by itself. */
static bool wait_until_up(test_server *server)
{
    int64_t last_ms = now_ms() + START_TIMEOUT_MS;
    while (!is_up(server)) {
        if (waitpid(server->pid, NULL, WNOHANG) != 0) {
            server->pid = 0;
            return false;
        }
        if (now_ms() > last_ms)
            give_up("no answer for %d ms", START_TIMEOUT_MS);
        pause_a_little();
    }
    return true;
}

/* Somebody else may take the port before the server does: then another one is tried. */
static void choose_port(test_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        give_up("no port: %s", strerror(errno));
    close(fd);
    snprintf(server->port, sizeof(server->port), "%d", ntohs(address.sin_port));
    snprintf(server->tcp_url, sizeof(server->tcp_url), "%s://127.0.0.1:%s",
        server->has_tls ? "rediss" : "redis", server->port);
}

static FILE *open_log(const test_server *server)
{
    char path[sizeof(server->folder) + 8];
    snprintf(path, sizeof(path), "%s/log", server->folder);
    FILE *log = fopen(path, "r");
    if (log == NULL)
        give_up("%s: %s", path, strerror(errno));
    return log;
}

static void show_log(const test_server *server)
{
    FILE *log = open_log(server);
    char line[512];
    while (fgets(line, sizeof(line), log) != NULL)
        fputs(line, stderr);
    fclose(log);
}

/* Whether it did not start because it was built without TLS: 6.2 does not know the option then,
 * later ones do. */
static bool lacks_tls(const test_server *server)
{
    FILE *log = open_log(server);
    char line[512];
    bool is_lacking = false;
    while (fgets(line, sizeof(line), log) != NULL)
        is_lacking = is_lacking || strstr(line, ">>> 'tls-port") != NULL ||
                     strstr(line, "Failed finding TLS support") != NULL;
    fclose(log);
    return is_lacking;
}

/* ---- Starting and stopping ------------------------------------------------------------------ */

static void copy_options(test_server *server, const server_options *options)
{
    size_t n_args = 0;
    while (options->args != NULL && options->args[n_args] != NULL)
        n_args++;
    server->args = not_null(calloc(n_args + 1, sizeof(char *)));
    for (size_t i = 0; i < n_args; i++)
        server->args[i] = not_null(strdup(options->args[i]));
    if (options->password != NULL)
        server->password = not_null(strdup(options->password));
    if (options->config != NULL)
        server->config = not_null(strdup(options->config));
}

test_server *server_start(const server_options *options)
{
    server_options defaults = {0};
    if (options == NULL)
        options = &defaults;
    test_server *server = not_null(calloc(1, sizeof(*server)));
    copy_options(server, options);
    make_folder(server);
    if (server->config != NULL)
        write_config(server);
    start_janitor(server);
    server->has_tls = options->has_tls;
    snprintf(server->port, sizeof(server->port), "0");
    for (int i = 0; i < START_TRIES; i++) {
        if (options->has_tcp || options->has_tls)
            choose_port(server);
        spawn(server);
        if (wait_until_up(server))
            return server;
        if (options->has_tls && lacks_tls(server)) {
            server_stop(server);
            return NULL;
        }
        if (!options->has_tcp && !options->has_tls)
            break;
    }
    show_log(server);
    give_up("redis-server does not start");
}

void server_stop(test_server *server)
{
    if (server == NULL)
        return;
    server_kill(server);
    close(server->janitor_pipe);
    while (waitpid(server->janitor, NULL, 0) < 0 && errno == EINTR)
        continue;
    for (size_t i = 0; server->args[i] != NULL; i++)
        free(server->args[i]);
    free(server->args);
    free(server->password);
    free(server->config);
    free(server);
}

const char *server_url(const test_server *server)
{
    return server->url;
}

const char *server_tcp_url(const test_server *server)
{
    if (server->tcp_url[0] == '\0')
        give_up("started without has_tcp and has_tls");
    return server->tcp_url;
}

const char *server_path(const test_server *server)
{
    return server->path;
}

int server_port(const test_server *server)
{
    return atoi(server->port);
}

bool server_is_running(const test_server *server)
{
    return server->pid != 0;
}

void server_kill(test_server *server)
{
    redisFree(server->peek);
    server->peek = NULL;
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    reap(server);
}

void server_restart(test_server *server)
{
    if (server->pid != 0)
        give_up("restarted while it runs");
    for (int i = 0; i < START_TRIES; i++) {
        spawn(server);
        if (wait_until_up(server))
            return;
        /* Somebody's connection may have got its port meanwhile. */
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    show_log(server);
    give_up("redis-server does not start again");
}

void server_pause(test_server *server)
{
    kill(server->pid, SIGSTOP);
    int status = 0;
    while (waitpid(server->pid, &status, WUNTRACED) < 0 && errno == EINTR)
        continue;
    if (!WIFSTOPPED(status))
        give_up("redis-server ended");
}

void server_resume(test_server *server)
{
    kill(server->pid, SIGCONT);
}

/* ---- Looking -------------------------------------------------------------------------------- */

redisContext *server_connect(const test_server *server)
{
    redisContext *context = connect_to(server);
    if (context == NULL)
        give_up("cannot connect");
    if (server->password == NULL)
        return context;
    redisReply *reply = redisCommand(context, "AUTH %s", server->password);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        give_up("AUTH: %s", reply != NULL ? reply->str : context->errstr);
    freeReplyObject(reply);
    return context;
}

redisReply *server_command_bytes(test_server *server, const gavel_bytes *args, size_t n_args)
{
    const char *data[MAX_ARGS];
    size_t sizes[MAX_ARGS];
    if (n_args > MAX_ARGS)
        give_up("more than %d arguments", MAX_ARGS);
    for (size_t i = 0; i < n_args; i++) {
        data[i] = args[i].data;
        sizes[i] = args[i].size;
    }
    if (server->peek == NULL)
        server->peek = server_connect(server);
    redisReply *reply = redisCommandArgv(server->peek, (int)n_args, data, sizes);
    if (reply == NULL)
        give_up("%s: %s", data[0], server->peek->errstr);
    return reply;
}

static redisReply *command(test_server *server, va_list words)
{
    gavel_bytes args[MAX_ARGS];
    size_t n_args = 0;
    const char *word;
    while ((word = va_arg(words, const char *)) != NULL) {
        if (n_args == MAX_ARGS)
            give_up("more than %d arguments", MAX_ARGS);
        args[n_args++] = gavel_str(word);
    }
    redisReply *reply = server_command_bytes(server, args, n_args);
    if (reply->type == REDIS_REPLY_ERROR)
        give_up("%s: %s", args[0].data, reply->str);
    return reply;
}

redisReply *server_command(test_server *server, ...)
{
    va_list words;
    va_start(words, server);
    redisReply *reply = command(server, words);
    va_end(words);
    return reply;
}

void server_do(test_server *server, ...)
{
    va_list words;
    va_start(words, server);
    freeReplyObject(command(server, words));
    va_end(words);
}

long long server_int(test_server *server, ...)
{
    va_list words;
    va_start(words, server);
    redisReply *reply = command(server, words);
    va_end(words);
    long long value = -1;
    if (reply->type == REDIS_REPLY_INTEGER)
        value = reply->integer;
    else if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS)
        value = strtoll(reply->str, NULL, 10);
    else if (reply->type != REDIS_REPLY_NIL)
        give_up("a reply of type %d is no number", reply->type);
    freeReplyObject(reply);
    return value;
}

bool server_says(test_server *server, const char *expected, ...)
{
    va_list words;
    va_start(words, expected);
    redisReply *reply = command(server, words);
    va_end(words);
    bool is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
    bool is_same = is_text && (size_t)reply->len == strlen(expected) &&
                   memcmp(reply->str, expected, strlen(expected)) == 0;
    freeReplyObject(reply);
    return is_same;
}

static const char *info_field(const redisReply *info, const char *field)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "\n%s:", field);
    const char *found = strstr(info->str, line);
    if (found == NULL)
        give_up("INFO has no %s", field);
    return found + n;
}

void server_version(test_server *server, char ret_version[SERVER_VERSION_SIZE])
{
    redisReply *reply = server_command(server, "INFO", "server", (char *)NULL);
    const char *version = info_field(reply, "redis_version");
    snprintf(ret_version, SERVER_VERSION_SIZE, "%.*s", (int)strcspn(version, "\r\n"), version);
    freeReplyObject(reply);
}

bool server_is_at_least(test_server *server, int major, int minor)
{
    char version[SERVER_VERSION_SIZE];
    int have_major = 0;
    int have_minor = 0;
    server_version(server, version);
    if (sscanf(version, "%d.%d", &have_major, &have_minor) != 2)
        give_up("a version that is none: %s", version);
    return have_major > major || (have_major == major && have_minor >= minor);
}

long long server_info(test_server *server, const char *field)
{
    redisReply *reply = server_command(server, "INFO", "everything", (char *)NULL);
    long long value = strtoll(info_field(reply, field), NULL, 10);
    freeReplyObject(reply);
    return value;
}
