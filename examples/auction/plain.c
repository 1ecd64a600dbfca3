/*
 * Plain hiredis: URLs, connections and counted commands.
 */
#include "plain.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_S 2

#define CLUSTER "redis+cluster://"

/* How often a node may name another one. */
#define N_HOPS 8

/* What a URL says; the strings point into the copy of it. */
struct address {
    char url[1024];
    char *host;   /* NULL: a unix socket */
    char *others; /* of a Cluster: more of its nodes; else NULL */
    char *path;
    char *user;
    char *password;
    int64_t port;
    int64_t database;
};

/* Percent-decodes in place. NULL is taken. False for a bad code. */
static bool decode(char *text)
{
    if (text == NULL)
        return true;
    char *out = text;
    for (; *text != '\0'; text++, out++) {
        *out = *text;
        if (*text != '%')
            continue;
        if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
            return false;
        char digits[3] = {text[1], text[2], '\0'};
        *out = (char)strtol(digits, NULL, 16);
        text += 2;
    }
    *out = '\0';
    return true;
}

/* Cuts the text at the first of the marks, and returns what is behind it; NULL if there is none. */
static char *cut(char *text, const char *mark)
{
    char *found = text != NULL ? strstr(text, mark) : NULL;
    if (found == NULL)
        return NULL;
    *found = '\0';
    return found + strlen(mark);
}

/* host[:port] */
static bool parse_host(struct address *address, char *rest)
{
    char *port = NULL;
    if (rest[0] == '[') {
        rest++;
        port = cut(rest, "]");
        if (port == NULL)
            return false;
        port = port[0] == ':' ? port + 1 : NULL;
    } else {
        port = cut(rest, ":");
    }
    address->host = rest;
    address->port = 6379;
    return rest[0] != '\0' && (port == NULL || parse_number(port, 1, 65535, &address->port));
}

/* The part behind redis://, which is [user[:password]@]host[:port][,host[:port]...][/db]. */
static bool parse_tcp(struct address *address, char *rest, bool is_cluster)
{
    char *host = cut(rest, "@");

    if (host != NULL) {
        address->user = rest;
        address->password = cut(rest, ":");
        rest = host;
    }
    char *database = cut(rest, "/");
    address->others = is_cluster ? cut(rest, ",") : NULL;
    return parse_host(address, rest) && (database == NULL || database[0] == '\0' ||
                                            parse_number(database, 0, 1000000, &address->database));
}

bool plain_is_cluster(const char *url)
{
    return strncmp(url, CLUSTER, strlen(CLUSTER)) == 0;
}

static bool parse_url(const char *url, struct address *address)
{
    if (strlen(url) >= sizeof(address->url))
        return false;
    memcpy(address->url, url, strlen(url) + 1);
    if (strncmp(url, "unix://", 7) == 0) {
        address->path = address->url + 7;
        char *database = cut(address->path, "?db=");
        if (database != NULL && !parse_number(database, 0, 1000000, &address->database))
            return false;
    } else if (plain_is_cluster(url)) {
        if (!parse_tcp(address, address->url + strlen(CLUSTER), true))
            return false;
    } else if (strncmp(url, "redis://", 8) != 0 || !parse_tcp(address, address->url + 8, false)) {
        return false;
    }
    return decode(address->host) && decode(address->path) && decode(address->user) &&
           decode(address->password);
}

/* Runs one command of the login. */
static bool is_accepted(redisReply *reply, redisContext *context, gavel_error *ret_error)
{
    bool is_ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    if (!is_ok)
        snprintf(ret_error->message, sizeof(ret_error->message), "the server: %s",
            reply != NULL ? reply->str : context->errstr);
    if (reply != NULL)
        freeReplyObject(reply);
    return is_ok;
}

static bool log_in(redisContext *context, const struct address *address, gavel_error *ret_error)
{
    char database[24];
    if (address->password != NULL && address->user[0] != '\0' &&
        !is_accepted(PLAIN(context, "AUTH", address->user, address->password), context, ret_error))
        return false;
    if (address->password != NULL && address->user[0] == '\0' &&
        !is_accepted(PLAIN(context, "AUTH", address->password), context, ret_error))
        return false;
    snprintf(database, sizeof(database), "%" PRId64, address->database);
    return address->database == 0 ||
           is_accepted(PLAIN(context, "SELECT", database), context, ret_error);
}

static redisContext *connect_to(const struct address *address, gavel_error *ret_error)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    redisContext *context;

    if (address->host != NULL)
        context = redisConnectWithTimeout(address->host, (int)address->port, timeout);
    else
        context = redisConnectUnixWithTimeout(address->path, timeout);
    if (context == NULL || context->err != 0) {
        snprintf(ret_error->message, sizeof(ret_error->message), "no connection: %s",
            context != NULL ? context->errstr : "no memory");
        goto fail;
    }
    redisSetTimeout(context, timeout);
    if (!log_in(context, address, ret_error))
        goto fail;
    return context;

fail:
    if (context != NULL)
        redisFree(context);
    return NULL;
}

static bool take_url(const char *url, struct address *address, gavel_error *ret_error)
{
    bool is_taken = parse_url(url, address);
    if (!is_taken)
        snprintf(ret_error->message, sizeof(ret_error->message),
            "the URL is none of redis://, unix:// or " CLUSTER
            ", which verify and the rivals need");
    return is_taken;
}

redisContext *plain_connect(const char *url, gavel_error *ret_error)
{
    struct address address = {0};
    if (!take_url(url, &address, ret_error))
        return NULL;
    redisContext *context = connect_to(&address, ret_error);
    while (context == NULL && address.others != NULL) {
        char *next = address.others;
        address.others = cut(next, ",");
        if (parse_host(&address, next))
            context = connect_to(&address, ret_error);
    }
    return context;
}

/* "MOVED SLOT HOST:PORT": the host is empty if it is the same one. */
static bool read_moved(const redisReply *reply, const redisContext *from, struct address *address)
{
    static char place[256];
    if (reply->type != REDIS_REPLY_ERROR || sscanf(reply->str, "MOVED %*d %255s", place) != 1)
        return false;
    char *colon = strrchr(place, ':');
    if (colon == NULL || !parse_number(colon + 1, 1, 65535, &address->port))
        return false;
    *colon = '\0';
    address->host = colon > place ? place : from->tcp.host;
    return true;
}

bool plain_go_to(redisContext **context, const char *url, const char *key, gavel_error *ret_error)
{
    struct address address = {0};
    if (!plain_is_cluster(url))
        return true;
    if (!take_url(url, &address, ret_error))
        return false;
    for (int i = 0; i < N_HOPS; i++) {
        redisReply *reply = PLAIN(*context, "EXISTS", key);
        bool is_moved = reply != NULL && read_moved(reply, *context, &address);
        freeReplyObject(reply);
        if (!is_moved)
            return true; /* whatever else is wrong will show */
        redisContext *next = connect_to(&address, ret_error);
        if (next == NULL)
            return false;
        redisFree(*context);
        *context = next;
    }
    snprintf(
        ret_error->message, sizeof(ret_error->message), "its nodes do not agree who has %s", key);
    return false;
}

redisReply *plain_command(redisContext *context, size_t n_args, const char *const *args)
{
    const char *copies[16]; /* hiredis 0.14 wants an array that it might change, and does not */
    size_t sizes[16];
    if (n_args > 16)
        return NULL;
    for (size_t i = 0; i < n_args; i++) {
        copies[i] = args[i];
        sizes[i] = strlen(args[i]);
    }
    return redisCommandArgv(context, (int)n_args, copies, sizes);
}
