/*
 * Clients: opening, closing, and what else concerns both kinds of them.
 */
#include "client/client.h"

#include <gavel/gavel.h>

#include "base/fork.h"
#include "base/random.h"
#include "base/text.h"
#include "client/cluster.h"
#include "client/config.h"
#include "client/replicas.h"
#include "client/sentinels.h"
#include "core/guard.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

const char *gavel_version(void)
{
#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
    return VERSION_TEXT(GAVEL_VERSION_MAJOR, GAVEL_VERSION_MINOR, GAVEL_VERSION_PATCH);
#undef VERSION_TEXT
#undef TEXT_OF
}

/* ---- Opening ------------------------------------------------------------------------------- */

static bool fail(gavel_error *ret_error, const char *message)
{
    gavel__format(ret_error->message, sizeof(ret_error->message), "%s", message);
    return false;
}

static int64_t marker_ttl_us(const gavel_config *config)
{
    if (config->has_no_markers)
        return 0;
    return (int64_t)config->marker_ttl_ms * 1000;
}

static gavel__link_config link_config(gavel_client *client, const gavel_config *config)
{
    return (gavel__link_config){
        .allocator = &client->allocator,
        .tls = client->tls,
        .name = client->name,
        .dial = client->platform.dial,
        .dialler = client->platform.user,
        .connect_timeout_us = (int64_t)config->connect_timeout_ms * 1000,
        .command_timeout_us = (int64_t)config->command_timeout_ms * 1000,
        .marker_ttl_us = marker_ttl_us(config),
        .max_reply_bytes = config->max_reply_bytes,
    };
}

static int64_t read_clock(void *clock)
{
    gavel__loop *loop = ((gavel_client *)clock)->loop;
    return loop->ops->now_us(loop);
}

static int64_t read_lease_clock(void *clock)
{
    return gavel__client_lease_now_us(clock);
}

static gavel__round_limits round_limits(gavel_client *client, const gavel_config *config)
{
    return (gavel__round_limits){
        .max_keys = config->max_round_keys,
        .max_bytes = config->max_round_bytes,
        .max_body_us = config->max_round_body_us,
        .read_clock = read_clock,
        .clock = client,
    };
}

/* As many wishes for replicas are asked for at once. */
static const uint32_t max_replica_links = 4;

/* So that the silence of a link on which WAIT blocks is none that it would be given up for. */
static int64_t wait_slice_us(const gavel_config *config)
{
    static const int64_t slice_us = 100000;
    int64_t half_timeout_us = (int64_t)config->command_timeout_ms * 500;
    return half_timeout_us < slice_us ? half_timeout_us : slice_us;
}

static void configure_engine(gavel_client *client, const gavel_config *config)
{
    const gavel__platform *platform = &client->platform;
    uint32_t max_gate_links = config->max_gate_links;
    if (config->mode == GAVEL_OPTIMISTIC)
        max_gate_links = 0;
    gavel__engine_config engine_config = {
        .allocator = &client->allocator,
        /* Any thread frees what gavel_run has returned, also beside one that is inside gavel. */
        .reply_allocator = platform->is_blocking ? &gavel__system_allocator : &client->allocator,
        .hooks = gavel__client_engine_hooks(client),
        .key_prefix = client->key_prefix,
        .server = client->address.label,
        .is_cluster = client->address.kind == GAVEL__ADDRESS_CLUSTER,
        .on_redirect = gavel__cluster_on_redirect,
        .redirect_user = client,
        .max_links = config->max_links,
        .max_gate_links = max_gate_links,
        .max_waiting_links = config->max_waiting_links,
        .max_replica_links = max_replica_links,
        .policy =
            {
                .max_width = config->max_round_width,
                .is_adaptive = config->mode == GAVEL_ADAPTIVE,
                .has_returning_callers = !platform->is_blocking,
            },
        .gates =
            {
                .holder = client->holder,
                .lease_us = (int64_t)config->gate_lease_ms * 1000,
                .are_always_up = config->mode == GAVEL_GATED,
            },
        .max_queued = config->max_queued,
        .default_deadline_ms = config->default_deadline_ms,
        .min_replicas = config->min_replicas,
        .durable_ms = config->durable_ms,
        .needs_fsync = config->needs_fsync,
        .wait_slice_us = wait_slice_us(config),
        .round_limits = round_limits(client, config),
        .marker_ttl_us = marker_ttl_us(config),
        .id_ttl_ms = (int64_t)config->id_ttl_ms,
        .ledger =
            {
                .is_kept = gavel__client_engine_hooks(client).on_event != NULL ||
                           client->address.kind != GAVEL__ADDRESS_SERVER,
                .read_lease_clock = read_lease_clock,
                .clock = client,
            },
        .identity = {platform->entropy(platform->user), platform->entropy(platform->user)},
    };
    uint64_t seed = platform->entropy(platform->user);
    engine_config.seed = config->seed != 0 ? config->seed : seed;
    gavel__engine_init(&client->engine, &engine_config);
}

static void wake_loop(void *waker)
{
    gavel__loop *loop = ((gavel_client *)waker)->loop;
    loop->ops->wake(loop);
}

static void configure_site(gavel_client *client, const gavel_config *config)
{
    gavel__site base = {
        .directory = {.look_up = client->platform.look_up,
            .resolver = client->platform.user,
            .wake = wake_loop,
            .waker = client},
        .mapping = {.map_address = config->map_address, .user = config->map_address_user},
        .link_config = link_config(client, config),
    };
    gavel__site_init(&client->site, &base, &client->address);
}

static void configure_credentials(gavel_client *client, const gavel_config *config)
{
    client->credentials = (gavel__credentials){
        .log_in = config->log_in,
        .user = config->log_in_user,
        .wake = wake_loop,
        .waker = client,
    };
    gavel__credentials_init(&client->credentials);
}

static bool on_turn(void *owner);

static void lock(void *owner)
{
    gavel_client *client = owner;
    pthread_mutex_lock(&client->mutex);
}

static void unlock(void *owner)
{
    gavel_client *client = owner;
    pthread_mutex_unlock(&client->mutex);
}

/* Here, and not within the deadline of the first transaction. What cannot be read is read again by
 * the connections. */
static bool set_up_tls(gavel_client *client, const gavel_config *config, gavel_error *ret_error)
{
    char message[GAVEL_MESSAGE_SIZE];
    bool is_final;
    if (!client->address.is_tls)
        return true;
    if (!gavel__has_tls())
        return fail(
            ret_error, "rediss://: this gavel was built without OpenSSL, and so without TLS");
    gavel__tls_options options = gavel__config_tls(config);
    client->tls = gavel__tls_create(&options, &client->allocator);
    if (client->tls == NULL)
        return fail(ret_error, "no memory");
    if (!gavel__tls_load(client->tls, message, &is_final))
        gavel__client_log(client, GAVEL_LOG_WARNING, "%s", message);
    if (config->is_insecure)
        gavel__client_log(
            client, GAVEL_LOG_WARNING, "is_insecure: the server's certificate is not checked");
    return true;
}

static bool set_up(gavel_client *client, const gavel_config *config, gavel_error *ret_error)
{
    const gavel_allocator *allocator = &client->allocator;
    if (!set_up_tls(client, config, ret_error))
        return false;
    client->key_prefix = gavel__copy_string(allocator, config->key_prefix);
    client->name = gavel__copy_string(allocator, config->name);
    if (client->key_prefix == NULL || client->name == NULL)
        return fail(ret_error, "no memory");
    configure_site(client, config);
    configure_credentials(client, config);
    configure_engine(client, config);
    gavel__loop_owner owner = {.on_turn = on_turn, .owner = client};
    if (client->platform.is_blocking) {
        owner.lock = lock;
        owner.unlock = unlock;
    }
    client->loop = client->platform.create_loop(client->platform.user, &owner, allocator);
    if (client->loop != NULL && client->platform.wall_us != NULL)
        client->engine.gates.config.epoch_us =
            client->platform.wall_us(client->platform.user) - gavel__client_now_us(client);
    if (client->loop == NULL)
        return fail(ret_error, "no memory or file descriptors for the loop");
    if (client->address.kind == GAVEL__ADDRESS_SENTINEL && !gavel__peers_open(client, config))
        return fail(ret_error, "no memory");
    if (client->address.kind == GAVEL__ADDRESS_CLUSTER && !gavel__cluster_open(client))
        return fail(ret_error, "no memory");
    if (client->address.n_replicas > 0 && !gavel__replicas_open(client))
        return fail(ret_error, "no memory");
    return true;
}

/* Its time-outs do not jump with the wall clock. */
static void init_renewer_cond(gavel_client *client)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->renewer_cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Frees all; nothing may be open. Takes a client that was only half built. */
static void destroy(gavel_client *client)
{
    while (client->connections != NULL)
        gavel__connection_destroy(client->connections);
    gavel__cluster_close(client, client->fork_generation != gavel__fork_generation());
    gavel__replicas_close(client, client->fork_generation != gavel__fork_generation());
    gavel__peers_close(client, client->fork_generation != gavel__fork_generation());
    gavel__locks_finish(&client->locks);
    gavel__site_finish(&client->site, client->fork_generation != gavel__fork_generation());
    gavel__credentials_finish(
        &client->credentials, client->fork_generation != gavel__fork_generation());
    if (client->loop != NULL)
        client->loop->ops->destroy(client->loop);
    if (client->engine.config.allocator != NULL)
        gavel__engine_finish(&client->engine);
    gavel__tls_destroy(client->tls);
    gavel__address_finish(&client->address, &client->allocator);
    gavel__free(&client->allocator, client->key_prefix);
    gavel__free(&client->allocator, client->name);
    pthread_cond_destroy(&client->left);
    if (client->renewer_state != GAVEL__RENEWER_RUNNING) /* else: in a child process, without it */
        pthread_cond_destroy(&client->renewer_cond);
    pthread_mutex_destroy(&client->mutex);
    gavel_allocator allocator = client->allocator;
    gavel__free(&allocator, client);
}

/* NULL: no memory. */
static gavel_client *create(const gavel__platform *platform, const gavel_config *config)
{
    gavel_client *client = gavel__alloc(&config->allocator, 1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->allocator = config->allocator;
    client->platform = *platform;
    client->hooks = config->hooks;
    gavel__format(client->holder, sizeof(client->holder), "%s",
        platform->holder != NULL ? platform->holder : "somebody");
    client->fork_generation = gavel__fork_generation();
    client->armed_us = GAVEL__NEVER;
    gavel__list_init(&client->waiters);
    pthread_mutex_init(&client->mutex, NULL);
    pthread_cond_init(&client->left, NULL);
    init_renewer_cond(client);
    return client;
}

static gavel_client *open_on(const gavel__platform *platform, const char *url,
    const gavel_config *config, gavel_error *ret_error)
{
    gavel_config complete;
    gavel__address address;
    if (!gavel__config_read(url, config, &address, &complete, ret_error))
        return NULL;
    gavel__log log;
    if (!gavel__log_configure(&complete.hooks, &log, ret_error)) {
        gavel__address_finish(&address, &complete.allocator);
        return NULL;
    }
    gavel_client *client = create(platform, &complete);
    if (client == NULL) {
        gavel__address_finish(&address, &complete.allocator);
        fail(ret_error, "no memory");
        return NULL;
    }
    client->address = address;
    client->log = log;
    if (!set_up(client, &complete, ret_error)) {
        destroy(client);
        return NULL;
    }
    return client;
}

gavel_client *gavel__open_on(const gavel__platform *platform, const char *url,
    const gavel_config *config, gavel_error *ret_error)
{
    gavel_error error;
    gavel_client *client = open_on(platform, url, config, &error);
    if (client != NULL)
        return client;
    gavel__log_refusal(config, &error);
    if (ret_error != NULL)
        *ret_error = error;
    return NULL;
}

static gavel__loop *create_real_loop(
    void *user, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    return gavel__loop_create_ev(user, owner, allocator);
}

static gavel__loop *create_polled_loop(
    void *user, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    (void)user;
    return gavel__loop_create_epoll(owner, allocator);
}

static uint64_t system_entropy(void *user)
{
    (void)user;
    return gavel__random_system_seed();
}

static int64_t system_wall_us(void *user)
{
    (void)user;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* "pid=N host=TEXT": nothing in it can look like more than one word. */
static void name_holder(char *text, size_t size)
{
    char host[65] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        gavel__format(host, sizeof(host), "unknown");
    for (char *at = host; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            *at = '?';
    }
    gavel__format(text, size, "pid=%ld host=%s", (long)getpid(), host);
}

/* A lease goes on while the machine sleeps, which CLOCK_MONOTONIC does not count. */
static int64_t boot_time_us(void *user)
{
    (void)user;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

gavel_client *gavel_open(const char *url, const gavel_config *config, gavel_error *ret_error)
{
    char holder[128];
    bool is_to_be_read = config != NULL && gavel__config_is_clean(config); /* else it is refused */
    gavel__platform platform = {
        .create_loop = create_real_loop,
        .dial = gavel__dial_socket,
        .look_up = gavel__look_up_on_thread,
        .entropy = system_entropy,
        .wall_us = system_wall_us,
        .holder = holder,
        .lease_now_us = boot_time_us,
        .user = is_to_be_read ? config->loop : NULL,
    };
    name_holder(holder, sizeof(holder));
    platform.is_polled = is_to_be_read && config->is_polled;
    if (platform.is_polled)
        platform.create_loop = create_polled_loop;
    platform.is_blocking = platform.user == NULL && !platform.is_polled;
    return gavel__open_on(&platform, url, config, ret_error);
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void close_locks(gavel_client *client, bool is_final)
{
    if (client->has_locks)
        gavel__locks_close(&client->locks, is_final, gavel__client_lease_now_us(client));
}

/* Until the server has the locks back, or the time is over. */
static void await_releases(gavel_client *client)
{
    gavel__waiter waiter = {.is_done = false};
    if (client->locks.n_ops == 0)
        return;
    client->closer = &waiter;
    gavel__client_await(client, &waiter);
    client->closer = NULL;
}

/* Callers are told; those whose EXEC is under way see it through, and the last one says so. */
static void close_blocking(gavel_client *client)
{
    pthread_mutex_lock(&client->mutex);
    client->is_closing = true;
    gavel__engine_cancel_all(&client->engine, false, gavel__client_now_us(client));
    close_locks(client, false);
    gavel__client_pump(client);
    client->loop->ops->wake(client->loop);
    gavel__renewer_wake(client);
    await_releases(client);
    while (client->n_waiters > 0)
        pthread_cond_wait(&client->left, &client->mutex);
    pthread_mutex_unlock(&client->mutex);
    gavel__renewer_join(client);
    destroy(client);
}

/* Every callback is made; nothing more comes in, so this ends. */
static void pump_dry(gavel_client *client)
{
    while (gavel__client_pump(client))
        continue;
}

void gavel__client_finish(gavel_client *client)
{
    pump_dry(client);
    destroy(client);
}

static void close_attached(gavel_client *client)
{
    client->is_closing = true;
    client->has_news = true;
    gavel__engine_cancel_all(&client->engine, true, gavel__client_now_us(client));
    close_locks(client, true);
    if (client->is_pumping || client->is_turning)
        return; /* in a callback: on_turn, or gavel_turn, finishes when the pump is through */
    gavel__client_finish(client);
}

/*
 * In a child of the opener: frees, and tells nobody. The parent goes on with its copy. If another
 * thread was inside the client when the process forked, ours is torn, and is left alone.
 */
static void close_in_child(gavel_client *client)
{
    if (client->platform.is_blocking && pthread_mutex_trylock(&client->mutex) != 0)
        return;
    if (client->platform.is_blocking)
        pthread_mutex_unlock(&client->mutex);
    client->hooks = (gavel_hooks){.on_event = NULL};
    client->engine.context.hooks = client->hooks;
    gavel__engine_cancel_all(&client->engine, true, 0);
    for (gavel__transaction *transaction;
         (transaction = gavel__engine_take_done(&client->engine)) != NULL;) {
        gavel_outcome_clear(&transaction->outcome);
        gavel__engine_release(&client->engine, transaction);
    }
    destroy(client);
}

void gavel_close(gavel_client *client)
{
    if (client == NULL)
        return;
    if (gavel__guard_is_inside()) {
        gavel__client_log(
            client, GAVEL_LOG_WARNING, "gavel_close: called from inside a body or a hook");
        return;
    }
    if (client->fork_generation != gavel__fork_generation())
        close_in_child(client);
    else if (client->is_closing)
        return;
    else if (client->platform.is_blocking)
        close_blocking(client);
    else
        close_attached(client);
}

/* The loop is about to sleep. */
static bool on_turn(void *owner)
{
    gavel_client *client = owner;
    if (client->is_pumping)
        return false; /* a callback turns the program's loop: the pump is further up the stack */
    client->has_told = false;
    bool has_more = gavel__client_pump(client);
    if (client->is_closing && client->platform.is_polled)
        return false; /* gavel_turn sees to it */
    if (client->is_closing && !client->platform.is_blocking) {
        gavel__client_finish(client);
        return false;
    }
    gavel__client_watch(client);
    /* After callbacks libev comes round once more: the program's preparations to sleep may have
     * come before them. */
    if (client->has_told && !client->platform.is_blocking && !client->platform.is_polled)
        return true;
    return has_more || client->has_news || gavel__client_is_driver_done(client);
}

/* ---- Statistics ---------------------------------------------------------------------------- */

void gavel_read_stats(gavel_client *client, gavel_stats *ret_stats)
{
    *ret_stats = (gavel_stats){.n_attempts = 0};
    if (client == NULL || gavel__guard_is_inside() ||
        client->fork_generation != gavel__fork_generation())
        return;
    if (client->platform.is_blocking)
        pthread_mutex_lock(&client->mutex);
    *ret_stats = client->engine.context.stats;
    for (const gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next) {
        const gavel__link_counters *counters = gavel__link_get_counters(connection->link);
        ret_stats->n_sends += counters->n_sends;
        ret_stats->n_receives += counters->n_receives;
    }
    if (client->platform.is_blocking)
        pthread_mutex_unlock(&client->mutex);
}
