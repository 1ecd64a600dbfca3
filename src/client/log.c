/*
 * The log: what a client tells of itself, a line at a time, to the program's callback or to
 * standard error. A server that cannot be reached is told once, not once a try; the line of the
 * link that comes up at last says how many there were.
 */
#include "client/client.h"

#include "base/text.h"
#include "client/config.h"
#include "core/guard.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- To standard error --------------------------------------------------------------------- */

/* Programs call this, too, with whatever they have. */
static const char *name_of(gavel_log_level level)
{
    bool is_level = (unsigned)level <= (unsigned)GAVEL_LOG_WARNING;
    return is_level ? gavel__config_log_levels[level] : "?";
}

void gavel_log_stderr(gavel_log_level level, const char *line, void *user)
{
    char text[GAVEL__LOG_SIZE + 64];
    char when[32];
    struct timespec now;
    struct tm date;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &date);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &date);
    gavel__format(text, sizeof(text) - 1, "%s.%03ldZ gavel %s: %s", when, now.tv_nsec / 1000000,
        name_of(level), line);
    size_t size = strlen(text);
    text[size++] = '\n';
    /* In one write, so that no other thread's line stands in it. Who would be told of a failure? */
    if (write(STDERR_FILENO, text, size) < 0)
        return;
}

bool gavel__log_configure(gavel_hooks *hooks, gavel__log *ret_log, gavel_error *ret_error)
{
    int level;
    if (!gavel__config_log(&level, ret_error))
        return false;
    if (level >= 0 && hooks->on_log == NULL)
        hooks->on_log = gavel_log_stderr;
    if (level < 0)
        level = GAVEL_LOG_INFO;
    bool is_ours = hooks->on_log == gavel_log_stderr;
    *ret_log = (gavel__log){
        .least = is_ours ? level : GAVEL_LOG_DEBUG,
        .has_events = is_ours && level == GAVEL_LOG_DEBUG,
    };
    return true;
}

/* The hooks of a configuration that is not sound are none. */
static gavel_hooks hooks_of(const gavel_config *config)
{
    bool are_sound = config != NULL && gavel__config_is_clean(config);
    return are_sound ? config->hooks : (gavel_hooks){.on_log = NULL};
}

void gavel__log_refusal(const gavel_config *config, const gavel_error *error)
{
    gavel__log log = {.least = GAVEL_LOG_DEBUG};
    gavel_hooks hooks = hooks_of(config);
    gavel_error unused;
    if (!gavel__log_configure(&hooks, &log, &unused) && hooks.on_log == NULL)
        hooks.on_log = gavel_log_stderr;
    if (hooks.on_log == NULL || log.least > GAVEL_LOG_WARNING)
        return;
    char line[GAVEL__LOG_SIZE];
    gavel__format(line, sizeof(line), "gavel_open: %s", error->message);
    gavel__guard_enter();
    hooks.on_log(GAVEL_LOG_WARNING, line, hooks.user);
    gavel__guard_leave();
}

/* ---- Lines --------------------------------------------------------------------------------- */

static bool is_told(const gavel_client *client, gavel_log_level level)
{
    return client != NULL && client->hooks.on_log != NULL && (int)level >= client->log.least;
}

static void tell(const gavel_client *client, gavel_log_level level, const char *line)
{
    gavel__guard_enter();
    client->hooks.on_log(level, line, client->hooks.user);
    gavel__guard_leave();
}

void gavel__client_log(gavel_client *client, gavel_log_level level, const char *format, ...)
{
    if (!is_told(client, level))
        return;
    char line[GAVEL__LOG_SIZE];
    gavel__format(line, sizeof(line), "%s: ", client->address.label);
    size_t used = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, sizeof(line) - used, format, arguments);
    va_end(arguments);
    tell(client, level, line);
}

/* Of a Cluster that is a node's, not the URL's. */
static const gavel__address *server_of(const gavel__connection *connection)
{
    return connection->site->link_config.address;
}

void gavel__client_log_link(
    const gavel__connection *connection, gavel_log_level level, const char *text)
{
    char line[GAVEL__LOG_SIZE];
    if (!is_told(connection->client, level))
        return;
    gavel__format(line, sizeof(line), "%s: link %" PRIu32 ": %s", server_of(connection)->label,
        gavel__lane_number(connection->lane), text);
    tell(connection->client, level, line);
}

void gavel__client_log_up(const gavel__connection *connection, const char *remark)
{
    gavel__log *log = &connection->client->log;
    bool is_news = log->n_failures > 0 || remark != NULL;
    char after[64] = "";
    char text[GAVEL__LOG_SIZE];
    if (log->n_failures > 0)
        gavel__format(after, sizeof(after), ", after %" PRIu32 " failed tries in %.1f s",
            log->n_failures, (double)(connection->client->now_us - log->failing_us) / 1e6);
    gavel__format(text, sizeof(text), "up%s%s%s", after, remark != NULL ? ": " : "",
        remark != NULL ? remark : "");
    gavel__client_log_link(connection, is_news ? GAVEL_LOG_INFO : GAVEL_LOG_DEBUG, text);
    log->n_failures = 0;
    log->n_told = 0;
}

void gavel__client_log_down(
    const gavel__connection *connection, const char *message, bool is_wanted)
{
    char text[GAVEL__LOG_SIZE];
    gavel__format(text, sizeof(text), "%s: %s", is_wanted ? "closed" : "down",
        gavel__address_strip(server_of(connection), message));
    gavel__client_log_link(connection, is_wanted ? GAVEL_LOG_DEBUG : GAVEL_LOG_INFO, text);
}

/* FNV-1a. */
static uint64_t digest(const char *message)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (; *message != '\0'; message++)
        digest = (digest ^ (unsigned char)*message) * UINT64_C(0x100000001b3);
    return digest;
}

/* Whether this was told since a link came up; notes it. Of more than there is room for nothing is
 * told: they change with each try. */
static bool was_told(gavel__log *log, const char *message)
{
    uint64_t wanted = digest(message);
    for (size_t i = 0; i < log->n_told; i++) {
        if (log->told[i] == wanted)
            return true;
    }
    if (log->n_told == GAVEL__LOG_MAX_TOLD)
        return true;
    log->told[log->n_told++] = wanted;
    return false;
}

void gavel__client_log_failure(
    const gavel__connection *connection, const char *message, bool is_next_at_once)
{
    gavel__log *log = &connection->client->log;
    char text[GAVEL__LOG_SIZE];
    if (log->n_failures++ == 0)
        log->failing_us = connection->client->now_us;
    if (was_told(log, message))
        return;
    gavel__format(text, sizeof(text), "%s%s", gavel__address_strip(server_of(connection), message),
        is_next_at_once ? "; trying the next address" : "");
    gavel__client_log_link(connection, GAVEL_LOG_WARNING, text);
}

void gavel__client_log_lost(gavel_client *client, const gavel__audit *audit)
{
    char since[48] = "";
    if (audit->oldest_s > 0)
        gavel__format(since, sizeof(since), " of the last %" PRIu32 " s",
            (uint32_t)(client->now_us / 1000000) - audit->oldest_s + 1);
    if (audit->n_lost > 0)
        gavel__client_log(client, GAVEL_LOG_WARNING,
            "%" PRIu64 " %s%s undone: the server has lost what was committed", audit->n_lost,
            audit->n_lost == 1 ? "commit" : "commits", since);
    if (audit->n_may_be_lost > 0)
        gavel__client_log(client, GAVEL_LOG_WARNING,
            "%" PRIu64 " %s%s may be undone: a slot has migrated, and a server may have lost what "
            "was committed there",
            audit->n_may_be_lost, audit->n_may_be_lost == 1 ? "commit" : "commits", since);
}

/* ---- Events -------------------------------------------------------------------------------- */

static void log_event(gavel_client *client, const gavel_event *event)
{
    const char *message = gavel__address_strip(&client->address, event->message);
    switch (event->type) {
    case GAVEL_EVENT_LINK_UP:
    case GAVEL_EVENT_LINK_DOWN:
    case GAVEL_EVENT_LINK_CLOSED:
        break; /* the pump logs them, and knows more */
    case GAVEL_EVENT_ATTEMPT:
        gavel__client_log(client, GAVEL_LOG_DEBUG, "attempt %" PRIu32, event->n_attempts);
        break;
    case GAVEL_EVENT_CONFLICT:
        gavel__client_log(client, GAVEL_LOG_DEBUG, "conflict in attempt %" PRIu32 ": %s",
            event->n_attempts, message);
        break;
    case GAVEL_EVENT_IN_DOUBT:
        gavel__client_log(
            client, GAVEL_LOG_DEBUG, "link %" PRIu32 ": in doubt: %s", event->link, message);
        break;
    case GAVEL_EVENT_OUTCOME:
        gavel__client_log(client, GAVEL_LOG_DEBUG, "%s in attempt %" PRIu32 "%s%s",
            gavel_status_name(event->status), event->n_attempts, message[0] != '\0' ? ": " : "",
            message);
        break;
    case GAVEL_EVENT_LOST:
        gavel__client_log(client, GAVEL_LOG_DEBUG, "LOST: %s", message);
        break;
    case GAVEL_EVENT_MAY_BE_LOST:
        gavel__client_log(client, GAVEL_LOG_DEBUG, "MAY_BE_LOST: %s", message);
        break;
    }
}

static void on_event(const gavel_event *event, void *user)
{
    gavel_client *client = user;
    log_event(client, event);
    if (client->hooks.on_event != NULL)
        client->hooks.on_event(event, client->hooks.user);
}

gavel_hooks gavel__client_engine_hooks(gavel_client *client)
{
    if (!client->log.has_events)
        return client->hooks;
    return (gavel_hooks){.on_event = on_event, .user = client};
}
