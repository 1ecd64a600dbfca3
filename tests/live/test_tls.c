/*
 * TLS, against a redis-server that speaks it: which certificates are taken and which are not, and
 * that whatever is wrong is told by the first transaction, at once, with what to do. Large values,
 * many threads, and a server that is killed.
 */
#include "certificates.h"
#include "counter.h"

#include "redis/tls.h"

#include <ev.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static const gavel_transaction plain = {.deadline_ms = 60000};

static struct tls_rig {
    certificates files;
    test_server *server;
    char *ca; /* the path of its certificate */
    char log[4096];
} it;

static char *path(const char *file)
{
    return certificates_path(&it.files, file);
}

static void set_up(void)
{
    it.files = certificates_begin();
    it.ca = path("ca.pem");
}

static void tear_down(void)
{
    server_stop(it.server);
    certificates_end(&it.files);
    free(it.ca);
}

TestSuite(tls, .init = set_up, .fini = tear_down, .timeout = 100);

/* What the server demands of clients, and what else it is started with. */
typedef struct demand {
    bool wants_certificate;
    bool is_old; /* TLS 1.2 only */
    bool keeps_data;
    bool is_cluster; /* a node of one */
} demand;

/* A server that shows the certificate of that name. */
static void start_server(const char *name, demand wanted)
{
    char cert[160];
    char key[160];
    snprintf(cert, sizeof(cert), "%s/%s.pem", it.files.folder, name);
    snprintf(key, sizeof(key), "%s/%s.key", it.files.folder, name);
    const char *args[] = {"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file",
        it.ca, "--tls-auth-clients", wanted.wants_certificate ? "yes" : "no", "--tls-protocols",
        wanted.is_old ? "TLSv1.2" : "TLSv1.2 TLSv1.3", "--appendonly",
        wanted.keeps_data ? "yes" : "no", "--appendfsync", "no", "--cluster-enabled",
        wanted.is_cluster ? "yes" : "no", "--tls-cluster", "yes", NULL};
    it.server = server_start(&(server_options){.has_tls = true, .args = args});
    if (it.server != NULL)
        return;
    tear_down(); /* which a skipped test does not do */
    cr_skip_test("a server that was built without TLS");
}

/* With a certificate for 127.0.0.1, by the authority. */
static void start_good_server(demand wanted)
{
    certificates_make(&it.files,
        &(certificate){.name = "good", .issuer = "ca", .hosts = "DNS:localhost,IP:127.0.0.1"});
    start_server("good", wanted);
}

static void hear_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    (void)user;
    size_t size = strlen(it.log);
    snprintf(it.log + size, sizeof(it.log) - size, "%s\n", line);
}

static gavel_client *open_client(const gavel_config *config)
{
    gavel_config heard = *config;
    heard.hooks = (gavel_hooks){.on_log = hear_log};
    return live_open(server_tcp_url(it.server), &heard);
}

/* A client so configured commits. */
static void expect_good(const gavel_config *config)
{
    gavel_client *client = open_client(config);
    long long before = counter_value(it.server);
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_COMMITTED);
    cr_assert_eq(counter_value(it.server), before + 1);
    gavel_close(client);
}

static void expect_not_sent(gavel_client *client, const char *words)
{
    gavel_outcome outcome = counter_run(client, NULL, plain);
    ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
    ASSERT_SAYS(outcome, words);
    ASSERT_SAYS(outcome, "127.0.0.1");
}

/* It is told, by the first fault, and nothing is written. */
static void expect_told(gavel_client *client, const char *words)
{
    gavel_stats stats;
    expect_not_sent(client, words);
    gavel_read_stats(client, &stats);
    cr_assert_eq(stats.n_links_down, 1, "%u", (unsigned)stats.n_links_down);
}

static void expect_bad(const gavel_config *config, const char *words)
{
    gavel_client *client = open_client(config);
    expect_told(client, words);
    gavel_close(client);
    cr_assert_eq(counter_value(it.server), 0);
}

/* ---- A Cluster ------------------------------------------------------------------------------ */

/* Of one node, which has all slots. */
Test(tls, a_cluster)
{
    char url[300];
    start_good_server((demand){.is_cluster = true});
    if (!server_is_at_least(it.server, 7, 0)) {
        tear_down();
        cr_skip_test("a server that takes no ranges of slots");
    }
    server_do(it.server, "CLUSTER", "ADDSLOTSRANGE", "0", "16383", NULL);
    snprintf(url, sizeof(url), "rediss+cluster://127.0.0.1:%d?ca_file=%s&server_name=localhost",
        server_port(it.server), it.ca);
    gavel_client *client = live_open(url, NULL);
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_COMMITTED);
    ASSERT_TOLD(live_increment(client, "elsewhere"), GAVEL_COMMITTED);
    gavel_close(client);
    snprintf(url, sizeof(url), "rediss+cluster://127.0.0.1:%d?ca_file=%s&server_name=x.example",
        server_port(it.server), it.ca);
    client = live_open(url, NULL);
    expect_not_sent(client, "not for x.example"); /* the seed may have been dialled twice by then */
    gavel_close(client);
}

/* ---- The server's certificate -------------------------------------------------------------- */

Test(tls, the_right_authority)
{
    start_good_server((demand){.is_old = false});
    expect_good(&(gavel_config){.ca_file = it.ca});
    certificates_run(&it.files, "mkdir folder && cp ca.pem folder && openssl rehash folder");
    char *folder = path("folder");
    expect_good(&(gavel_config){.ca_folder = folder});
    setenv("SSL_CERT_FILE", it.ca, 1);
    expect_good(&(gavel_config){.ca_file = NULL});
    free(folder);
}

Test(tls, the_right_authority_and_an_older_protocol)
{
    start_good_server((demand){.is_old = true});
    expect_good(&(gavel_config){.ca_file = it.ca});
}

Test(tls, the_authority_in_the_url)
{
    start_good_server((demand){.is_old = false});
    char url[256];
    snprintf(url, sizeof(url), "%s?ca_file=%s", server_tcp_url(it.server), it.ca);
    gavel_client *client = live_open(url, NULL);
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_COMMITTED);
    gavel_close(client);
}

Test(tls, a_wrong_authority)
{
    certificates_make(&it.files, &(certificate){.name = "other"});
    char *other = path("other.pem");
    start_good_server((demand){.is_old = false});
    expect_bad(&(gavel_config){.ca_file = other}, "not trusted here: name its file as ca_file");
    expect_bad(&(gavel_config){.ca_file = NULL}, "not trusted here: name its file as ca_file");
    free(other);
}

Test(tls, a_wrong_name)
{
    certificates_make(&it.files,
        &(certificate){.name = "wrong", .issuer = "ca", .hosts = "DNS:other.example,IP:10.0.0.1"});
    start_server("wrong", (demand){.is_old = false});
    expect_bad(&(gavel_config){.ca_file = it.ca}, "not for 127.0.0.1");
    expect_bad(&(gavel_config){.ca_file = it.ca}, "server_name");
    expect_bad(&(gavel_config){.ca_file = it.ca, .server_name = "x.example"}, "not for x.example");
    expect_good(&(gavel_config){.ca_file = it.ca, .server_name = "other.example"});
    expect_good(&(gavel_config){.ca_file = it.ca, .server_name = "10.0.0.1"});
}

/* Each host that is dialled is to have its own: here a port has two names, and a certificate for
 * one of them. */
Test(tls, each_of_several_hosts_has_a_name)
{
    char url[96];
    certificates_make(
        &it.files, &(certificate){.name = "local", .issuer = "ca", .hosts = "DNS:localhost"});
    start_server("local", (demand){.is_old = false});
    int port = server_port(it.server);
    snprintf(url, sizeof(url), "rediss+sentinel://127.0.0.1:%d,localhost:%d/m", port, port);
    gavel_client *client =
        live_open(url, &(gavel_config){.ca_file = it.ca, .hooks = {.on_log = hear_log}});
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_NOT_SENT);
    gavel_close(client);
    cr_assert(strstr(it.log, "not for 127.0.0.1") != NULL, "%s", it.log);
    cr_assert(strstr(it.log, "not for localhost") == NULL, "%s", it.log);
    cr_assert(strstr(it.log, "Sentinel localhost") != NULL, "%s", it.log);
}

Test(tls, an_expired_certificate)
{
    certificates_make(&it.files,
        &(certificate){.name = "old", .issuer = "ca", .hosts = "IP:127.0.0.1", .is_expired = true});
    start_server("old", (demand){.is_old = false});
    expect_bad(&(gavel_config){.ca_file = it.ca}, "expired: it has to be renewed at the server");
}

Test(tls, a_self_signed_certificate)
{
    certificates_make(&it.files, &(certificate){.name = "self", .hosts = "IP:127.0.0.1"});
    char *self = path("self.pem");
    start_server("self", (demand){.is_old = false});
    expect_bad(&(gavel_config){.ca_file = it.ca}, "self-signed: to trust it, name its file");
    expect_good(&(gavel_config){.ca_file = self});
    free(self);
}

Test(tls, any_certificate_if_somebody_says_so)
{
    certificates_make(&it.files, &(certificate){.name = "self", .hosts = "DNS:other.example"});
    start_server("self", (demand){.is_old = false});
    expect_good(&(gavel_config){.is_insecure = true});
    cr_assert_not_null(strstr(it.log, "is_insecure: the server's certificate is not checked"));
}

/* ---- Ours ---------------------------------------------------------------------------------- */

static void show_certificate(bool is_old)
{
    certificates_make(&it.files, &(certificate){.name = "me", .issuer = "ca", .hosts = "DNS:me"});
    certificates_make(&it.files, &(certificate){.name = "stranger", .hosts = "DNS:me"});
    certificates_run(&it.files, "cat me.pem me.key > both.pem");
    char *me = path("me.pem");
    char *my_key = path("me.key");
    char *both = path("both.pem");
    char *stranger = path("stranger.pem");
    char *strange_key = path("stranger.key");
    start_good_server((demand){.wants_certificate = true, .is_old = is_old});
    expect_bad(&(gavel_config){.ca_file = it.ca}, "demands a client's certificate: set cert_file");
    expect_bad(&(gavel_config){.ca_file = it.ca, .cert_file = stranger, .key_file = strange_key},
        "the server refused our certificate, cert_file ");
    expect_good(&(gavel_config){.ca_file = it.ca, .cert_file = me, .key_file = my_key});
    expect_good(&(gavel_config){.ca_file = it.ca, .cert_file = both});
    free(me);
    free(my_key);
    free(both);
    free(stranger);
    free(strange_key);
}

Test(tls, a_client_shows_its_certificate)
{
    show_certificate(false);
}

Test(tls, a_client_shows_its_certificate_by_an_older_protocol)
{
    show_certificate(true);
}

/* ---- Files --------------------------------------------------------------------------------- */

Test(tls, files_that_are_of_no_use)
{
    certificates_make(&it.files, &(certificate){.name = "me", .issuer = "ca", .hosts = "DNS:me"});
    certificates_run(&it.files, "openssl ec -in me.key -aes128 -passout pass:word -out shut.key");
    char *me = path("me.pem");
    char *shut = path("shut.key");
    char *ca_key = path("ca.key");
    start_good_server((demand){.is_old = false});
    expect_bad(&(gavel_config){.ca_file = "/none"}, "ca_file /none: No such file or directory");
    expect_bad(&(gavel_config){.ca_folder = "/none"}, "ca_folder /none: No such file or directory");
    expect_bad(&(gavel_config){.ca_file = ca_key}, "holds no certificate in PEM form");
    expect_bad(&(gavel_config){.cert_file = ca_key}, "holds no certificate in PEM form");
    expect_bad(&(gavel_config){.cert_file = me, .key_file = ca_key},
        "not the key of the certificate in cert_file");
    expect_bad(&(gavel_config){.cert_file = me, .key_file = shut}, "or one with a passphrase");
    expect_bad(&(gavel_config){.cert_file = me}, "holds no private key in PEM form");
    free(me);
    free(shut);
    free(ca_key);
}

/* What could not be read is told, and read by the next connection, if it is there by then. */
Test(tls, a_file_that_comes_later)
{
    char *later = path("later.pem");
    start_good_server((demand){.is_old = false});
    gavel_client *client = open_client(&(gavel_config){.ca_file = later});
    cr_assert_not_null(strstr(it.log, "later.pem: No such file or directory"), "%s", it.log);
    expect_told(client, "later.pem: No such file or directory");
    certificates_run(&it.files, "cp ca.pem later.pem");
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_COMMITTED);
    gavel_close(client);
    free(later);
}

/* A certificate that was refused may have been replaced since. */
Test(tls, a_file_that_is_replaced)
{
    certificates_make(&it.files, &(certificate){.name = "other"});
    char *other = path("other.pem");
    start_good_server((demand){.is_old = false});
    gavel_client *client = open_client(&(gavel_config){.ca_file = other});
    expect_told(client, "not trusted here");
    certificates_run(&it.files, "cp ca.pem other.pem");
    ASSERT_TOLD(counter_run(client, NULL, plain), GAVEL_COMMITTED);
    gavel_close(client);
    free(other);
}

/* A process that has no descriptor left for a moment is no reason to give up. */
Test(tls, no_descriptor_for_a_moment)
{
    struct rlimit limit;
    struct rlimit none;
    char message[GAVEL_MESSAGE_SIZE];
    bool is_final = true;
    gavel__tls *tls =
        gavel__tls_create(&(gavel__tls_options){.ca_file = it.ca, .server_name = "localhost"},
            &gavel__system_allocator);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
    for (int fd = 3; dup(0) == fd; fd++) /* below 3 + n all are taken */
        none.rlim_cur = (rlim_t)fd + 1;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_expect_not(gavel__tls_load(tls, message, &is_final));
    cr_expect_not(is_final);
    cr_expect_not_null(strstr(message, "Too many open files"), "%s", message);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect(gavel__tls_load(tls, message, &is_final));
    gavel__tls_destroy(tls);
}

/* ---- The wrong port ------------------------------------------------------------------------ */

Test(tls, a_port_that_speaks_none)
{
    static const char *const names[] = {NULL, "n.example", "a.rather.long.name.example"};
    char url[64];
    it.server = server_start(&(server_options){.has_tcp = true});
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", server_port(it.server));
        gavel_config named = {.server_name = names[i % 3]};
        gavel_client *client = live_open(url, &named);
        expect_told(
            client, "the server does not speak TLS on this port: begin the URL with redis, ");
        gavel_close(client);
    }
}

/* The first connection ends without a word; the second one finds out why. */
Test(tls, a_port_that_speaks_nothing_else)
{
    char url[64];
    start_good_server((demand){.is_old = false});
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server_port(it.server));
        gavel_client *client = live_open(url, NULL);
        gavel_outcome outcome = counter_run(client, NULL, plain);
        ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
        ASSERT_SAYS(outcome, "the server speaks TLS on this port: begin the URL with rediss");
        gavel_stats stats;
        gavel_read_stats(client, &stats);
        cr_assert_eq(stats.n_links_down, 2, "%u", (unsigned)stats.n_links_down);
        gavel_close(client);
    }
}

static void expect_told_of_sentinel(const char *scheme, const char *words)
{
    char url[64];
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d/m", scheme, server_port(it.server));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = counter_run(client, NULL, plain);
    ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
    ASSERT_SAYS(outcome, words);
    ASSERT_SAYS(outcome, "Sentinel 127.0.0.1");
    gavel_close(client);
}

/* As of any other server, but for the second in which others might know better. */
Test(tls, sentinels_at_the_wrong_port)
{
    it.server = server_start(&(server_options){.has_tcp = true});
    expect_told_of_sentinel("rediss+sentinel",
        "the server does not speak TLS on this port: begin the URL with redis, ");
    server_stop(it.server);
    start_good_server((demand){.is_old = false});
    expect_told_of_sentinel(
        "redis+sentinel", "the server speaks TLS on this port: begin the URL with rediss");
}

/* ---- Much ---------------------------------------------------------------------------------- */

#define LARGE ((size_t)10 << 20)

static gavel_verdict copy_large(gavel_tx *tx, void *user)
{
    gavel_bytes value;
    if (gavel_get(tx, GAVEL_STR("large"), &value) == GAVEL_FOUND && value.size == LARGE &&
        memcmp(value.data, user, LARGE) == 0)
        gavel_set(tx, GAVEL_STR("copy"), value);
    else
        gavel_set(tx, GAVEL_STR("large"), (gavel_bytes){user, LARGE});
    return GAVEL_COMMIT;
}

static char *make_large(void)
{
    char *value = malloc(LARGE);
    cr_assert_not_null(value);
    for (size_t i = 0; i < LARGE; i++)
        value[i] = (char)(i * i >> 3);
    return value;
}

static gavel_transaction copying(char *value)
{
    static const gavel_read read = {.key = {"large", 5}};
    return (gavel_transaction){
        .body = copy_large, .user = value, .reads = &read, .n_reads = 1, .deadline_ms = 60000};
}

static void expect_copy(const char *value)
{
    redisReply *copy = server_command(it.server, "GET", "copy", (char *)NULL);
    cr_assert(copy->len == LARGE && memcmp(copy->str, value, LARGE) == 0);
    freeReplyObject(copy);
}

/* There, back, and there again. */
Test(tls, large_values)
{
    char *value = make_large();
    gavel_transaction transaction = copying(value);
    start_good_server((demand){.is_old = false});
    gavel_client *client = open_client(&(gavel_config){.ca_file = it.ca});
    for (int i = 0; i < 2; i++)
        ASSERT_TOLD(gavel_run(client, &transaction), GAVEL_COMMITTED);
    expect_copy(value);
    gavel_close(client);
    free(value);
}

static void expect_commit(const gavel_outcome *outcome, void *user)
{
    (void)user;
    ASSERT_TOLD(*outcome, GAVEL_COMMITTED);
}

/* What OpenSSL holds back of a reply would not wake the loop. */
Test(tls, large_values_on_a_loop)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    char *value = make_large();
    gavel_transaction transaction = copying(value);
    start_good_server((demand){.is_old = false});
    gavel_client *client = open_client(&(gavel_config){.loop = loop, .ca_file = it.ca});
    for (int i = 0; i < 2; i++) {
        cr_assert_neq(gavel_submit(client, &transaction, expect_commit), 0);
        ev_run(loop, 0);
    }
    expect_copy(value);
    gavel_close(client);
    ev_loop_destroy(loop);
    free(value);
}

#define N_THREADS 64

/* What the threads of a test share, and what they were told. */
static struct {
    gavel_client *client;
    unsigned n_each;
    atomic_uint n_committed;
    atomic_uint n_unknown;
    atomic_uint n_others;
} crowd;

static void *add_often(void *nothing)
{
    (void)nothing;
    for (unsigned i = 0; i < crowd.n_each; i++) {
        switch (counter_run(crowd.client, NULL, plain).status) {
        case GAVEL_COMMITTED:
            crowd.n_committed++;
            break;
        case GAVEL_UNKNOWN:
            crowd.n_unknown++;
            break;
        default:
            crowd.n_others++;
        }
    }
    return NULL;
}

static void start_threads(pthread_t *threads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add_often, NULL), 0);
}

static void join_threads(const pthread_t *threads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

Test(tls, many_threads)
{
    pthread_t threads[N_THREADS];
    start_good_server((demand){.is_old = false});
    crowd.client = open_client(&(gavel_config){.ca_file = it.ca});
    crowd.n_each = 20;
    start_threads(threads, N_THREADS);
    join_threads(threads, N_THREADS);
    cr_assert_eq(crowd.n_committed, N_THREADS * 20);
    cr_assert_eq(counter_value(it.server), N_THREADS * 20);
    gavel_close(crowd.client);
}

/* Killed in the middle, and started again with its data: nothing is COMMITTED that is not there,
 * and nothing twice. */
Test(tls, a_server_that_is_killed)
{
    pthread_t threads[8];
    start_good_server((demand){.keeps_data = true});
    crowd.client = open_client(&(gavel_config){.ca_file = it.ca});
    crowd.n_each = 300;
    start_threads(threads, 8);
    for (unsigned i = 1; i <= 4; i++) {
        while (crowd.n_committed + crowd.n_unknown + crowd.n_others < 400 * i)
            sched_yield();
        server_kill(it.server);
        server_restart(it.server);
    }
    join_threads(threads, 8);
    long long value = counter_value(it.server);
    cr_assert_eq(crowd.n_others, 0);
    cr_assert_geq(value, crowd.n_committed);
    cr_assert_leq(value, crowd.n_committed + crowd.n_unknown);
    gavel_close(crowd.client);
}
