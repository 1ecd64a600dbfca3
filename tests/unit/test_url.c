/*
 * URLs: what each form means, what is refused, and that no message repeats a secret.
 */
#include "redis/url.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse(const char *url, gavel__address *ret_address)
{
    gavel_error error = {{0}};
    return gavel__address_parse(url, &gavel__system_allocator, ret_address, &error);
}

typedef struct good_url {
    const char *url;
    const char *host; /* NULL: a unix socket at `path` */
    const char *path;
    const char *user;
    const char *password;
    const char *label;
    int port;
    int database;
    bool is_tls;
} good_url;

static const good_url good_urls[] = {
    {"redis://h", "h", NULL, NULL, NULL, "redis://h:6379", 6379, 0, false},
    {"redis://h/", "h", NULL, NULL, NULL, "redis://h:6379", 6379, 0, false},
    {"redis://h:1", "h", NULL, NULL, NULL, "redis://h:1", 1, 0, false},
    {"redis://h:65535/65535", "h", NULL, NULL, NULL, "redis://h:65535/65535", 65535, 65535, false},
    {"redis://h/0", "h", NULL, NULL, NULL, "redis://h:6379", 6379, 0, false},
    {"redis://a-b_c.D9.example:7/3", "a-b_c.D9.example", NULL, NULL, NULL,
        "redis://a-b_c.D9.example:7/3", 7, 3, false},
    {"redis://10.0.0.1:7", "10.0.0.1", NULL, NULL, NULL, "redis://10.0.0.1:7", 7, 0, false},
    {"rediss://h:7/2", "h", NULL, NULL, NULL, "rediss://h:7/2", 7, 2, true},
    {"redis://[::1]", "::1", NULL, NULL, NULL, "redis://[::1]:6379", 6379, 0, false},
    {"redis://u:p@[fe80::1]:7/1", "fe80::1", NULL, "u", "p", "redis://[fe80::1]:7/1", 7, 1, false},
    {"redis://u@h", "h", NULL, "u", NULL, "redis://h:6379", 6379, 0, false},
    {"redis://u:@h", "h", NULL, "u", "", "redis://h:6379", 6379, 0, false},
    {"redis://:p@h", "h", NULL, NULL, "p", "redis://h:6379", 6379, 0, false},
    {"redis://u:p:q@h", "h", NULL, "u", "p:q", "redis://h:6379", 6379, 0, false},
    {"redis://u:p@q@h", "h", NULL, "u", "p@q", "redis://h:6379", 6379, 0, false},
    {"redis://:p[]x@h:7", "h", NULL, NULL, "p[]x", "redis://h:7", 7, 0, false},
    {"redis://h?db=3", "h", NULL, NULL, NULL, "redis://h:6379/3", 6379, 3, false},
    {"redis://u:p@h:7/3?db=3&name=x", "h", NULL, "u", "p", "redis://h:7/3", 7, 3, false},
    {"unix:///a?name=&db=2", NULL, "/a", NULL, NULL, "unix:///a?db=2", 0, 2, false},
    {"redis://%75%3a:%70%40%2F%ff%25@h", "h", NULL, "u:", "p@/\xff%", "redis://h:6379", 6379, 0,
        false},
    {"unix:///tmp/r.sock", NULL, "/tmp/r.sock", NULL, NULL, "unix:///tmp/r.sock", 0, 0, false},
    {"unix:///a%20b%3f?db=7", NULL, "/a b?", NULL, NULL, "unix:///a b??db=7", 0, 7, false},
    {"unix:///a%0a%ff", NULL, "/a\n\xff", NULL, NULL, "unix:///a\\x0a\\xff", 0, 0, false},
    {"unix://u:p@/a@b", NULL, "/a@b", "u", "p", "unix:///a@b", 0, 0, false},
    {"unix://:p%2f%40@q@/a?db=7", NULL, "/a", NULL, "p/@@q", "unix:///a?db=7", 0, 7, false},
    {"unix://u@/a", NULL, "/a", "u", NULL, "unix:///a", 0, 0, false},
    {"unix:///a?db=0", NULL, "/a", NULL, NULL, "unix:///a", 0, 0, false},
};

/* Behind the first port, where none is named, stands that of Sentinels. */
static const struct {
    const char *url;
    const char *label;
    const char *service;
    const char *last_host;
    int last_port;
    bool is_tls;
} good_sentinels[] = {
    {"redis+sentinel://a/m", "redis+sentinel://a:26379/m", "m", "a", 26379, false},
    {"redis-sentinel://a/m/", "redis+sentinel://a:26379/m", "m", "a", 26379, false},
    {"rediss+sentinel://a:1,b:2,c/m/3", "rediss+sentinel://a:1,b:2,c:26379/m/3", "m", "c", 26379,
        true},
    {"rediss-sentinel://u:p@[::1]:7,b:2/m%20%01", "rediss+sentinel://[::1]:7,b:2/m \\x01", "m \x01",
        "b", 2, true},
};

/* Without a port a node is where a single server is. */
static const struct {
    const char *url;
    const char *label;
    const char *last_host;
    int last_port;
    size_t n_seeds;
    bool is_tls;
} good_clusters[] = {
    {"redis+cluster://a", "redis+cluster://a:6379", "a", 6379, 1, false},
    {"redis-cluster://a/", "redis+cluster://a:6379", "a", 6379, 1, false},
    {"redis+cluster://a,b:7/0", "redis+cluster://a:6379,b:7", "b", 7, 2, false},
    {"rediss+cluster://u:p@a:1,[::1]:2,c?db=0", "rediss+cluster://a:1,[::1]:2,c:6379", "c", 6379, 3,
        true},
    {"rediss-cluster://:p@[2001:db8::7]", "rediss+cluster://[2001:db8::7]:6379", "2001:db8::7",
        6379, 1, true},
};

static void expect_text(const char *url, const char *got, const char *wanted)
{
    if (wanted == NULL)
        cr_expect_null(got, "%s", url);
    else
        cr_expect(got != NULL && strcmp(got, wanted) == 0, "%s: %s, not %s", url,
            got != NULL ? got : "NULL", wanted);
}

Test(url, good_forms)
{
    for (size_t i = 0; i < sizeof(good_urls) / sizeof(good_urls[0]); i++) {
        const good_url *good = &good_urls[i];
        gavel__address address;
        cr_assert(parse(good->url, &address), "%s", good->url);
        expect_text(good->url, address.host, good->host);
        expect_text(good->url, address.path, good->path);
        expect_text(good->url, address.user, good->user);
        expect_text(good->url, address.password, good->password);
        expect_text(good->url, address.label, good->label);
        cr_expect(address.port == good->port, "%s", good->url);
        cr_expect(address.database == good->database, "%s", good->url);
        cr_expect(address.is_tls == good->is_tls, "%s", good->url);
        gavel__address_finish(&address, &gavel__system_allocator);
    }
}

Test(url, good_forms_of_sentinels)
{
    for (size_t i = 0; i < sizeof(good_sentinels) / sizeof(good_sentinels[0]); i++) {
        const char *url = good_sentinels[i].url;
        gavel__address address;
        cr_assert(parse(url, &address), "%s", url);
        cr_expect(address.kind == GAVEL__ADDRESS_SENTINEL, "%s", url);
        expect_text(url, address.host, NULL);
        expect_text(url, address.label, good_sentinels[i].label);
        expect_text(url, address.service, good_sentinels[i].service);
        const gavel__seed *last = &address.seeds[address.n_seeds - 1];
        expect_text(url, last->host, good_sentinels[i].last_host);
        cr_expect(last->port == good_sentinels[i].last_port, "%s", url);
        cr_expect(address.is_tls == good_sentinels[i].is_tls, "%s", url);
        gavel__address_finish(&address, &gavel__system_allocator);
    }
}

Test(url, good_forms_of_clusters)
{
    for (size_t i = 0; i < sizeof(good_clusters) / sizeof(good_clusters[0]); i++) {
        const char *url = good_clusters[i].url;
        gavel__address address;
        cr_assert(parse(url, &address), "%s", url);
        cr_expect(address.kind == GAVEL__ADDRESS_CLUSTER, "%s", url);
        expect_text(url, address.host, NULL);
        expect_text(url, address.service, NULL);
        expect_text(url, address.label, good_clusters[i].label);
        cr_assert(address.n_seeds == good_clusters[i].n_seeds, "%s", url);
        const gavel__seed *last = &address.seeds[address.n_seeds - 1];
        expect_text(url, last->host, good_clusters[i].last_host);
        cr_expect(last->port == good_clusters[i].last_port, "%s", url);
        cr_expect(address.is_tls == good_clusters[i].is_tls, "%s", url);
        gavel__address_finish(&address, &gavel__system_allocator);
    }
}

Test(url, a_cluster_has_the_login_and_the_options_of_a_server)
{
    gavel__address address;
    cr_assert(parse("redis+cluster://u:p%40@a,b?name=x&deadline_ms=7", &address));
    cr_expect_str_eq(address.user, "u");
    cr_expect_str_eq(address.password, "p@");
    cr_expect_eq(address.n_options, 2);
    cr_expect_eq(address.database, 0);
    gavel__address_finish(&address, &gavel__system_allocator);
}

Test(url, a_server_has_replicas)
{
    gavel__address address;
    cr_assert(parse("redis://u:p@a/2?replicas=b,%5b::1%5D:7%2Cc:8&name=x", &address));
    cr_assert_eq(address.n_replicas, 3);
    cr_expect_str_eq(address.replicas[0].host, "b");
    cr_expect_eq(address.replicas[0].port, 6379);
    cr_expect_str_eq(address.replicas[1].host, "::1");
    cr_expect_eq(address.replicas[1].port, 7);
    cr_expect_eq(address.replicas[2].port, 8);
    cr_expect_str_eq(address.label, "redis://a:6379/2");
    cr_expect_eq(address.n_options, 1);
    gavel__address_finish(&address, &gavel__system_allocator);
    cr_assert(parse("unix:///s?replicas=b", &address));
    cr_expect_eq(address.n_replicas, 1);
    gavel__address_finish(&address, &gavel__system_allocator);
}

Test(url, sentinels_have_a_login_of_their_own)
{
    gavel__address address;
    cr_assert(parse(
        "redis+sentinel://u:p@a/m/2?sentinel_password=s%40&sentinel_user=v&name=x", &address));
    cr_expect_str_eq(address.user, "u");
    cr_expect_str_eq(address.password, "p");
    cr_expect_str_eq(address.sentinel_user, "v");
    cr_expect_str_eq(address.sentinel_password, "s@");
    cr_expect_eq(address.database, 2);
    cr_expect_eq(address.n_options, 1);
    gavel__address_finish(&address, &gavel__system_allocator);
}

static const char *const bad_urls[] = {
    "redis+sentinel://",
    "redis+sentinel://a",
    "redis+sentinel://a/",
    "redis+sentinel:///m",
    "redis+sentinel://a,/m",
    "redis+sentinel://,a/m",
    "redis+sentinel://a:0/m",
    "redis+sentinel://a,b:x/m",
    "redis+sentinel://a,[::1/m",
    "redis+sentinel://a,[x]/m",
    "redis+sentinel://a/m/x",
    "redis+sentinel://a/m/1/2",
    "redis+sentinel://a//1",
    "redis+sentinel://a/m%00",
    "redis+sentinel://a/m?sentinel_user=a&sentinel_user=b",
    "redis://a?sentinel_user=a",
    "redis+cluster://",
    "redis+cluster:///0",
    "redis+cluster://a,",
    "redis+cluster://,a",
    "redis+cluster://a,,b",
    "redis+cluster://a:0",
    "redis+cluster://a,b:x",
    "redis+cluster://a,[::1",
    "redis+cluster://::1",
    "redis+cluster://a/1",
    "redis+cluster://a?db=1",
    "redis+cluster://a/m",
    "redis+cluster://a/0/0",
    "redis+cluster://a?sentinel_user=u",
    "redis+cluster://@a",
    "redis+clusters://a",
    "redis+cluster:/a",
    "",
    "h",
    "h:6379",
    "://h",
    "redis:",
    "redis:/h",
    "http://h",
    "REDIS://h",
    "redis+unix://h",
    " redis://h",
    "redis://h ",
    "redis://h\n",
    "redis://h\t/1",
    "redis://\x7f",
    "redis://u:p w@h",
    "redis://",
    "redis:///",
    "redis:///1",
    "redis://:7",
    "redis://u:p@",
    "redis://u:p@/1",
    "redis://@h",
    "redis://:@h",
    "redis://h:",
    "redis://h:/1",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:-1",
    "redis://h:+1",
    "redis://h:07",
    "redis://h:1a",
    "redis://h:1:2",
    "redis://h:99999999999999999999",
    "redis://h/-1",
    "redis://h/65536",
    "redis://h/1/",
    "redis://h//",
    "redis://h/x",
    "redis://h/01",
    "redis://h/1?db=2",
    "redis://h?db=1&db=1",
    "redis://h?",
    "redis://h?&db=1",
    "redis://h?db=1&",
    "redis://h?=1",
    "redis://h?a",
    "redis://h?%61=1",
    "redis://h?%64b=1",
    "redis://h?a=%",
    "redis://h?a=x@y",
    "redis://h?a=1#x",
    "redis://u:p?q@h",
    "redis://u:p#q@h",
    "redis://u:p/q@h",
    "redis://h#x",
    "redis://h/1#x",
    "redis://h%41",
    "redis://h,g",
    "redis://h\xc3\xa4",
    "redis://::1",
    "redis://[::1",
    "redis://::1]",
    "redis://[]",
    "redis://[h]",
    "redis://[::1]x",
    "redis://[::1]:",
    "redis://[::1]7",
    "redis://[fe80::1%25eth0]",
    "redis://[1.2.3.4]",
    "redis://[::1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22]",
    "redis://%@h",
    "redis://%4@h",
    "redis://%4g@h",
    "redis://%g4@h",
    "redis://u%00@h",
    "redis://u:%00@h",
    "redis://u:p%@h",
    "redis://u:p%4@h",
    "unix:",
    "unix://",
    "unix://tmp/s",
    "unix://h/tmp/s",
    "unix://@/tmp/s",
    "unix://u:p/q@/tmp/s",
    "unix://u:p@h/tmp/s",
    "unix://u:p@",
    "unix:///a?",
    "unix:///a?db",
    "unix:///a?db=",
    "unix:///a?db=x",
    "unix:///a?db=-1",
    "unix:///a?db=65536",
    "unix:///a?db=1&db=2",
    "unix:///a?db=1#x",
    "unix:///a#x",
    "unix:///a%00b",
    "unix:///a%",
    "unix:///a%1",
};

Test(url, bad_forms)
{
    for (size_t i = 0; i < sizeof(bad_urls) / sizeof(bad_urls[0]); i++) {
        gavel__address address = {.port = 4711};
        gavel_error error = {{0}};
        bool is_good =
            gavel__address_parse(bad_urls[i], &gavel__system_allocator, &address, &error);
        cr_expect_not(is_good, "%s", bad_urls[i]);
        cr_expect(address.port == 4711, "%s: the output was touched", bad_urls[i]);
        cr_expect(strlen(error.message) > strlen("bad URL: "), "%s", bad_urls[i]);
    }
}

/* Each says what to write instead. */
Test(url, mistakes_are_told_with_what_to_do)
{
    static const char *const cases[][2] = {
        {"localhost:6379", "it must begin with redis://"},
        {"redis://:pa/ss@h", "/ is written as %2F"},
        {"redis://:pa?ss@h", "? as %3F"},
        {"redis://:pa#ss@h", "# as %23"},
        {"redis://h/1?db=2", "the database behind the slash and the one of ?db= differ"},
        {"redis://h?db", "name=value"},
        {"redis://h?db=1&db=1", "twice"},
        {"redis://h?%64b=1", "an option's name is written without percent codes"},
        {"redis://h#1", "fragment"},
        {"redis://a,b", "redis+sentinel://host,host/NAME"},
        {"redis+sentinel://a,b", "redis+sentinel://host,host/NAME"},
        {"redis+sentinel://a/m?sentinel_user=a&sentinel_user=a",
            "option sentinel_user is there twice"},
        {"redis+sentinel://u:p@a,u:p@b/m", "a login stands once, in front of all hosts"},
        {"redis+cluster://u:p@a,u:p@b", "a login stands once, in front of all hosts"},
        {"redis+sentinel://u:p@p@a,b/m", "@ is written as %40"},
        {"redis://a?sentinel_password=x", "for redis+sentinel:// only"},
        {"redis://a,b", "redis+cluster://host,host"},
        {"redis+cluster://a/3", "of a Cluster only database 0 is used"},
        {"redis+cluster://a?db=3", "of a Cluster only database 0 is used"},
        {"redis+cluster://a/0?db=3", "differ"},
        {"redis+cluster://a/m", "the database is not a number"},
        {"redis+cluster://a?sentinel_user=u", "for redis+sentinel:// only"},
        {"redis://a?replicas=", "the host is missing"},
        {"redis://a?replicas=b,", "the host is missing"},
        {"redis://a?replicas=b:0", "the port is not a number"},
        {"redis://a?replicas=%zz", "percent"},
        {"redis://a?replicas=b&replicas=c", "the option replicas is there twice"},
        {"redis+cluster://a?replicas=b", "replicas is for redis://"},
        {"redis+sentinel://a/m?replicas=b", "replicas is for redis://"},
        {"cluster://a", "+sentinel:// or +cluster://"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gavel__address address;
        gavel_error error = {{0}};
        cr_assert_not(
            gavel__address_parse(cases[i][0], &gavel__system_allocator, &address, &error));
        cr_expect(strstr(error.message, cases[i][1]) != NULL, "%s: %s", cases[i][0], error.message);
    }
}

Test(url, options_are_decoded)
{
    gavel__address address;
    cr_assert(parse("redis://h?name=a%20b%26c&db=3&mode=&x=y=z", &address));
    cr_assert_eq(address.n_options, 3);
    cr_expect_str_eq(address.options[0].name, "name");
    cr_expect_str_eq(address.options[0].value, "a b&c");
    cr_expect_str_eq(address.options[1].name, "mode");
    cr_expect_str_eq(address.options[1].value, "");
    cr_expect_str_eq(address.options[2].value, "y=z");
    gavel__address_finish(&address, &gavel__system_allocator);
    char url[512] = "redis://h?a0=";
    for (int i = 1; i <= GAVEL__URL_OPTIONS_MAX; i++)
        snprintf(url + strlen(url), sizeof(url) - strlen(url), "&a%d=", i);
    cr_expect_not(parse(url, &address));
}

Test(url, the_default_is_the_environments)
{
    unsetenv("GAVEL_URL");
    cr_expect_str_eq(gavel__url_default(), "redis://127.0.0.1:6379");
    setenv("GAVEL_URL", "", 1);
    cr_expect_str_eq(gavel__url_default(), "redis://127.0.0.1:6379");
    setenv("GAVEL_URL", "redis://h", 1);
    cr_expect_str_eq(gavel__url_default(), "redis://h");
}

Test(url, no_url_is_a_bad_url)
{
    gavel__address address;
    cr_expect_not(parse(NULL, &address));
}

Test(url, the_length_of_a_path_and_of_a_host_is_bounded)
{
    char url[512];
    gavel__address address;
    const struct {
        const char *scheme;
        int max; /* bytes after the scheme */
    } cases[] = {{"unix:///", 106}, {"redis://", 253}};
    for (size_t i = 0; i < 2; i++) {
        snprintf(url, sizeof(url), "%s%0*d", cases[i].scheme, cases[i].max, 0);
        cr_assert(parse(url, &address), "%s", url);
        gavel__address_finish(&address, &gavel__system_allocator);
        snprintf(url, sizeof(url), "%s%0*d", cases[i].scheme, cases[i].max + 1, 0);
        cr_expect_not(parse(url, &address), "%s", url);
    }
}

/* Whatever is wrong with the URL, and wherever a careless password ends up. */
Test(url, messages_hold_no_secret)
{
    static const char *const urls[] = {
        "redis://u:SECRET@",
        "redis://u:SECRET@h:x",
        "redis://u:SECRET@h/x",
        "redis://u:SECRET",
        "redis://u:SEC/SECRET@h",
        "redis://u:SECRET/x@h",
        "redis://u:SECRET?x@h",
        "redis://h?SECRET",
        "redis://SECRET/",
        "redis://u:SECRET%@h",
        "redis://u:SECRET @h",
        "unix://u:SECRET@h/tmp",
        "unix://u:SEC/SECRET@/tmp",
        "SECRET",
        "redis://u:p@[SECRET]",
        "redis://u:p@SECRET!",
        "unix:///tmp?SECRET=1",
        "unix:///tmp?db=SECRET",
        "redis://h?sentinel_password=SECRET",
        "redis+sentinel://u:SECRET@a,b",
        "redis+sentinel://a/m?sentinel_password=SECRET%",
        "redis+cluster://u:SECRET@a/1",
        "redis+cluster://u:SECRET@a,,b",
        "redis+sentinel://a/m?sentinel_password=SECRET&sentinel_password=SECRET",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        gavel__address address = {0};
        gavel_error error = {{0}};
        if (gavel__address_parse(urls[i], &gavel__system_allocator, &address, &error)) {
            /* There it is a host's name, or an option's, which others look at. */
            cr_expect(strcmp(urls[i], "redis://SECRET/") == 0 ||
                      strcmp(urls[i], "unix:///tmp?SECRET=1") == 0);
            gavel__address_finish(&address, &gavel__system_allocator);
        }
        cr_expect_null(strstr(error.message, "SECRET"), "%s: %s", urls[i], error.message);
    }
}

Test(url, labels_hold_no_login)
{
    gavel__address address;
    cr_assert(parse("redis://USER:SECRET@h/3", &address));
    cr_expect_str_eq(address.label, "redis://h:6379/3");
    gavel__address_finish(&address, &gavel__system_allocator);
}

Test(url, finishing_wipes_frees_and_zeroes)
{
    gavel__address address = {0};
    gavel__address_finish(&address, &gavel__system_allocator);
    cr_assert(parse("redis://u:p@h", &address));
    gavel__address_finish(&address, &gavel__system_allocator);
    cr_expect_null(address.password);
    cr_expect_null(address.label);
}

static size_t n_leaks;

static bool holds_secret(const char *data, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++) {
        if (memcmp(data + i, "SECRET", 6) == 0)
            return true;
    }
    return false;
}

/* Looks at what is given back. */
static void *watch_memory(void *user, void *block, size_t size)
{
    if (block != NULL && size == 0)
        n_leaks += holds_secret(block, malloc_usable_size(block));
    return faulty_resize(user, block, size);
}

Test(url, a_password_that_was_taken_for_an_option_is_wiped)
{
    static const char *const urls[] = {"redis://h?password=SECRET", "redis://u:SECRET@h?db=1",
        "redis://h?password=SECRET&password=SECRET", "redis://h?password=SECRET&=1"};
    for (size_t i = 0; i < 4; i++) {
        faulty_memory memory = {.n_left = MEMORY_ENOUGH};
        gavel_allocator allocator = {.resize = watch_memory, .user = &memory};
        gavel__address address = {0};
        gavel_error error = {{0}};
        if (gavel__address_parse(urls[i], &allocator, &address, &error))
            gavel__address_finish(&address, &allocator);
        cr_expect_eq(memory.n_blocks, 0);
        cr_expect_eq(n_leaks, 0, "%s", urls[i]);
    }
}

Test(url, every_allocation_may_fail)
{
    static const char *const urls[] = {
        "redis://u:p@h:7/1", "redis://[::1]", "unix:///a?db=1&x=2&y=3", "redis+cluster://p@a,b"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        bool is_good = false;
        for (size_t n = 0; !is_good; n++) {
            cr_assert_lt(n, 10);
            faulty_memory memory = {.n_left = n};
            gavel_allocator allocator = faulty_allocator(&memory);
            gavel__address address = {0};
            gavel_error error = {{0}};
            is_good = gavel__address_parse(urls[i], &allocator, &address, &error);
            if (!is_good)
                cr_expect_str_eq(error.message, "bad URL: out of memory");
            gavel__address_finish(&address, &allocator);
            cr_expect_eq(memory.n_blocks, 0);
        }
    }
}

Test(url, a_message_without_the_label)
{
    char label[] = "redis://h:1";
    const gavel__address address = {.label = label};
    cr_expect_str_eq(gavel__address_strip(&address, "redis://h:1: refused"), "refused");
    cr_expect_str_eq(gavel__address_strip(&address, "redis://h:1 (::1): no"), "(::1): no");
    cr_expect_str_eq(gavel__address_strip(&address, "redis://h:12: no"), "redis://h:12: no");
    cr_expect_str_eq(gavel__address_strip(&address, "no memory"), "no memory");
    cr_expect_str_eq(gavel__address_strip(&address, ""), "");
}
