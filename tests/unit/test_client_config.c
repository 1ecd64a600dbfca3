/* Configurations: each option at both ends of its bounds and beyond, and what is checked besides.
 */
#include "client/config.h"

#include "base/memory.h"
#include "core/engine.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The largest value that the field can hold. */
static uint64_t widest(const gavel__config_field *field)
{
    return field->size == sizeof(uint64_t) ? UINT64_MAX : UINT32_MAX;
}

static void set(gavel_config *config, const gavel__config_field *field, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;
    const void *from = field->size == sizeof(value) ? (void *)&value : (void *)&narrow;
    memcpy((char *)config + field->offset, from, field->size);
}

static uint64_t get(const gavel_config *config, const gavel__config_field *field)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    memcpy(field->size == sizeof(wide) ? (void *)&wide : (void *)&narrow,
        (const char *)config + field->offset, field->size);
    return field->size == sizeof(wide) ? wide : narrow;
}

/* Whether the field may be that; all others are such that their sums with it are no matter. */
static bool takes(const gavel__config_field *field, uint64_t value, gavel_error *ret_error)
{
    gavel_config complete;
    gavel_config config = {.max_links = 1, .max_gate_links = 1, .has_no_markers = true};
    set(&config, field, value);
    bool is_taken = gavel__config_complete(&config, &complete, ret_error);
    if (is_taken)
        cr_expect_eq(get(&complete, field), value, "%s", field->name);
    return is_taken;
}

static void expect_refused(const gavel_config *config, const char *message)
{
    gavel_config complete;
    gavel_error error = {{0}};
    cr_expect_not(gavel__config_complete(config, &complete, &error), "%s", message);
    cr_expect_str_eq(error.message, message);
}

Test(client_config, every_field_is_bounded_at_both_ends)
{
    gavel_error error;
    size_t n_fields = 0;
    for (const gavel__config_field *field = gavel__config_fields; field->name != NULL; field++) {
        if (field->kind != GAVEL__CONFIG_NUMBER)
            continue;
        bool is_summed =
            strcmp(field->name, "max_links") == 0 || strcmp(field->name, "max_gate_links") == 0;
        cr_expect(takes(field, field->min, &error), "%s: %s", field->name, error.message);
        cr_expect(takes(field, field->max - is_summed, &error), "%s", error.message);
        if (field->min > 1) {
            cr_expect_not(takes(field, field->min - 1, &error), "%s", field->name);
            cr_expect(strstr(error.message, " is less than ") != NULL, "%s", error.message);
        }
        if (field->max < widest(field)) {
            cr_expect_not(takes(field, field->max + 1, &error), "%s", field->name);
            cr_expect_not(takes(field, widest(field), &error), "%s", field->name);
            cr_expect(strstr(error.message, " is more than ") != NULL, "%s", error.message);
            cr_expect(strstr(error.message, field->name) != NULL, "%s", error.message);
        }
        n_fields++;
    }
    cr_expect_eq(n_fields, 16);
}

Test(client_config, zero_is_the_default)
{
    gavel_config complete;
    gavel_config zero = {.seed = 0};
    gavel_error error;
    for (int i = 0; i < 2; i++) {
        cr_assert(gavel__config_complete(i == 0 ? NULL : &zero, &complete, &error));
        for (const gavel__config_field *field = gavel__config_fields; field->name != NULL; field++)
            cr_expect(field->kind == GAVEL__CONFIG_WORD || get(&complete, field) == field->fallback,
                "%s", field->name);
        cr_expect_str_eq(complete.key_prefix, "gavel:");
        cr_expect_str_eq(complete.name, "gavel");
        cr_expect_eq(complete.allocator.resize, gavel__system_allocator.resize);
        cr_expect_eq(complete.seed, 0);
    }
}

/* Options are checked one by one before they are added up. */
Test(client_config, sums_do_not_overflow)
{
    expect_refused(
        &(gavel_config){.max_gate_links = UINT32_MAX}, "config: max_gate_links is more than 64");
    expect_refused(&(gavel_config){.max_links = UINT32_MAX, .max_gate_links = 5},
        "config: max_links is more than 64");
    expect_refused(&(gavel_config){.max_links = 60, .max_gate_links = 5},
        "config: max_links and max_gate_links together are more than 64");
    expect_refused(&(gavel_config){.max_links = GAVEL__MAX_LANES},
        "config: max_links and max_gate_links together are more than 64");
}

Test(client_config, what_was_made_for_a_newer_version_is_refused)
{
    expect_refused(&(gavel_config){.reserved = {[10] = 1}}, "config: " GAVEL__UNCLEAN_ROOM);
    expect_refused(&(gavel_config){.hooks.reserved = {1}}, "config: " GAVEL__UNCLEAN_ROOM);
}

Test(client_config, words)
{
    char prefix[66];
    memset(prefix, 'x', 65);
    prefix[65] = '\0';
    expect_refused(
        &(gavel_config){.key_prefix = prefix}, "config: key_prefix has more than 64 bytes");
    const char *const braces[] = {"{", "app}:", "{app}:"};
    for (size_t i = 0; i < 3; i++)
        expect_refused(&(gavel_config){.key_prefix = braces[i]},
            "config: key_prefix holds a brace, as only hash tags behind it may");
    expect_refused(
        &(gavel_config){.name = "two words"}, "config: name has a blank or an unprintable byte");
    expect_refused(&(gavel_config){.mode = (gavel_mode)3}, "config: mode is none of its enum");
    expect_refused(&(gavel_config){.marker_ttl_ms = 599999},
        "config: marker_ttl_ms is less than 600000: a late EXEC could outlive its marker");
    prefix[64] = '\0';
    gavel_config complete;
    gavel_error error;
    cr_expect(gavel__config_complete(
        &(gavel_config){.key_prefix = prefix, .name = ""}, &complete, &error));
}

/* ---- Options of URLs ----------------------------------------------------------------------- */

typedef struct reading {
    gavel__address address;
    gavel_config config;
    gavel_error error;
} reading;

static bool read_url(reading *self, const char *url, const gavel_config *config)
{
    *self = (reading){.error = {{0}}};
    return gavel__config_read(url, config, &self->address, &self->config, &self->error);
}

static void finish(reading *self)
{
    gavel__address_finish(&self->address, &gavel__system_allocator);
}

Test(client_config, options_of_the_url_count)
{
    reading self;
    cr_assert(read_url(&self,
        "redis://h?name=billing&deadline_ms=2000&mode=gated&max_links=2&connect_timeout_ms=3"
        "&command_timeout_ms=4&key_prefix=a%3a&db=5",
        NULL));
    cr_expect_str_eq(self.config.name, "billing");
    cr_expect_str_eq(self.config.key_prefix, "a:");
    cr_expect_eq(self.config.mode, GAVEL_GATED);
    cr_expect_eq(self.config.default_deadline_ms, 2000);
    cr_expect_eq(self.config.max_links, 2);
    cr_expect_eq(self.config.connect_timeout_ms, 3);
    cr_expect_eq(self.config.command_timeout_ms, 4);
    cr_expect_eq(self.config.max_gate_links, 4);
    cr_expect_eq(self.address.database, 5);
    finish(&self);
}

Test(client_config, what_is_in_both_may_be_the_same)
{
    reading self;
    const gavel_config config = {.name = "a", .max_links = 2, .mode = GAVEL_GATED};
    cr_assert(read_url(&self, "redis://h?name=a&max_links=2&mode=gated", &config));
    finish(&self);
}

Test(client_config, bad_options_are_told)
{
    static const struct {
        const char *query;
        const char *words;
    } cases[] = {
        {"name=b", "name in the URL and name in the config differ"},
        {"max_links=3", "max_links in the URL and max_links in the config differ"},
        {"mode=optimistic", "mode in the URL and mode in the config differ"},
        {"deadline_ms=8", "deadline_ms in the URL and default_deadline_ms in the config differ"},
        {"max_links=0", "max_links takes a number from 1 to 64"},
        {"max_links=65", "max_links takes a number from 1 to 64"},
        {"max_links=-1", "max_links takes a number"},
        {"deadline_ms=5s", "deadline_ms takes a number from 1 to 4294967295"},
        {"min_replicas=17", "min_replicas takes a number from 1 to 16, or all"},
        {"mode=fast", "mode is one of adaptive, optimistic, gated"},
        {"dedline_ms=5",
            "there is no option dedline_ms; there are db, sentinel_user, sentinel_password, name, "
            "key_prefix, mode, deadline_ms, min_replicas, durable_ms, connect_timeout_ms, "
            "command_timeout_ms, max_links"},
        {"connect_timeout_ms=1&key_prefix=a&connect_timeout_ms=2",
            "bad URL: the option connect_timeout_ms is there twice"},
        {"SECRET=5&SECRET=5", "an option is unknown"},
        {"without_sentinels=yes", "the URL does not begin with redis+sentinel://"},
        {"eager_failover=yes",
            "config: is_failover_eager (eager_failover in a URL) is for Sentinels"},
        {"SECRET=5", "an option is unknown; there are db, sentinel_user"},
        {"password=SECRET", "there is no option password; a login stands in front: redis://user:"},
        {"marker_ttl_ms=900000", "there is no option marker_ttl_ms"},
        {"key_prefix=%7b", "key_prefix holds a brace"},
    };
    const gavel_config config = {
        .name = "a", .max_links = 2, .mode = GAVEL_GATED, .default_deadline_ms = 7};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[128];
        reading self;
        snprintf(url, sizeof(url), "redis://h?%s", cases[i].query);
        cr_expect_not(read_url(&self, url, &config), "%s", url);
        cr_expect(
            strstr(self.error.message, cases[i].words) != NULL, "%s: %s", url, self.error.message);
        cr_expect(strstr(self.error.message, "SECRET") == NULL, "%s", self.error.message);
    }
}

Test(client_config, replicas_are_a_number_or_all_and_need_markers)
{
    gavel_config complete;
    gavel_error error;
    gavel_config all = {.min_replicas = GAVEL_ALL_REPLICAS};
    cr_assert(gavel__config_complete(&all, &complete, &error));
    cr_expect_eq(complete.min_replicas, GAVEL_ALL_REPLICAS);
    cr_expect_eq(complete.durable_ms, 1000);
    reading self;
    cr_assert(read_url(&self, "redis://h?min_replicas=all&durable_ms=7", NULL));
    cr_expect_eq(self.config.min_replicas, GAVEL_ALL_REPLICAS);
    cr_expect_eq(self.config.durable_ms, 7);
    finish(&self);
    cr_assert(read_url(&self, "redis://h?min_replicas=2&needs_fsync=yes", NULL));
    cr_expect(self.config.needs_fsync);
    cr_expect_eq(self.config.min_replicas, 2);
    finish(&self);
    expect_refused(&(gavel_config){.min_replicas = GAVEL_MAX_REPLICAS + 1},
        "config: min_replicas is more than 16");
    expect_refused(&(gavel_config){.min_replicas = 1, .has_no_markers = true},
        "config: min_replicas needs markers, and has_no_markers is set");
    expect_refused(&(gavel_config){.needs_fsync = true, .has_no_markers = true},
        "config: needs_fsync needs markers, and has_no_markers is set");
}

Test(client_config, options_of_tls)
{
    reading self;
    cr_assert(read_url(
        &self, "rediss://h?ca_file=%2Fa&ca_folder=/b&cert_file=c&key_file=d&server_name=e", NULL));
    gavel__tls_options options = gavel__config_tls(&self.config);
    cr_expect_str_eq(options.ca_file, "/a");
    cr_expect_str_eq(options.ca_folder, "/b");
    cr_expect_str_eq(options.cert_file, "c");
    cr_expect_str_eq(options.key_file, "d");
    cr_expect_str_eq(options.server_name, "e");
    cr_expect_not(options.is_insecure);
    finish(&self);
    cr_assert(read_url(&self, "rediss://h?insecure=yes", NULL));
    options = gavel__config_tls(&self.config);
    cr_expect(options.is_insecure);
    cr_expect(options.server_name == NULL, "each host's own");
    finish(&self);
}

Test(client_config, contradictions_about_tls_name_both)
{
    static char long_name[257];
    memset(long_name, 'a', sizeof(long_name) - 1);
    static const struct {
        const char *url;
        gavel_config config;
        const char *words[2];
    } cases[] = {
        {"redis://h", {.ca_file = "a"}, {"ca_file", "with redis, not rediss"}},
        {"redis://h", {.ca_folder = "a"}, {"ca_folder", "with redis, not rediss"}},
        {"redis://h", {.cert_file = "a"}, {"cert_file", "with redis, not rediss"}},
        {"redis://h", {.key_file = "a"}, {"key_file", "with redis, not rediss"}},
        {"redis://h", {.server_name = "a"}, {"server_name", "with redis, not rediss"}},
        {"redis://h?insecure=yes", {.name = "a"}, {"insecure in a URL", "with redis, not rediss"}},
        {"unix:///s", {.is_insecure = true}, {"is_insecure", "unix://"}},
        {"rediss://h", {.key_file = "a"}, {"key_file", "cert_file"}},
        {"rediss://h", {.ca_file = "a", .is_insecure = true}, {"ca_file", "is_insecure"}},
        {"rediss://h?insecure=yes", {.ca_folder = "a"}, {"ca_folder", "is_insecure"}},
        {"rediss://h?insecure=no", {.is_insecure = true}, {"insecure in the URL", "is_insecure"}},
        {"rediss://h?insecure=1", {.name = "a"}, {"insecure", "no, yes"}},
        {"rediss://h", {.server_name = ""}, {"server_name", "no host's name"}},
        {"rediss://h?server_name=", {.name = "a"}, {"server_name", "no host's name"}},
        {"rediss://h?server_name=a%0Ab", {.name = "a"}, {"server_name", "no host's name"}},
        {"rediss://h", {.server_name = long_name}, {"server_name", "no host's name"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reading self;
        cr_expect_not(read_url(&self, cases[i].url, &cases[i].config), "%s", cases[i].url);
        for (size_t j = 0; j < 2; j++)
            cr_expect(strstr(self.error.message, cases[i].words[j]) != NULL, "%s: %s", cases[i].url,
                self.error.message);
    }
}

Test(client_config, a_clusters_url_is_read_as_a_servers)
{
    reading self;
    cr_assert(read_url(&self, "redis+cluster://u@h,i:7?name=x&max_links=3", NULL));
    cr_expect_eq(self.address.kind, GAVEL__ADDRESS_CLUSTER);
    cr_expect_str_eq(self.config.name, "x");
    cr_expect_eq(self.config.max_links, 3);
    finish(&self);
    cr_assert(read_url(&self, "rediss+cluster://h?server_name=n", NULL));
    cr_expect_str_eq(gavel__config_tls(&self.config).server_name, "n");
    finish(&self);
    cr_assert(read_url(&self, "rediss+cluster://h", NULL));
    cr_expect(gavel__config_tls(&self.config).server_name == NULL);
    finish(&self);
    cr_expect_not(read_url(&self, "redis+cluster://h?without_sentinels=yes", NULL));
}

Test(client_config, a_default_deadline_is_within_the_markers_life)
{
    expect_refused(&(gavel_config){.default_deadline_ms = 450001},
        "config: default_deadline_ms is longer than half of marker_ttl_ms");
    gavel_config complete;
    gavel_error error;
    cr_expect(
        gavel__config_complete(&(gavel_config){.default_deadline_ms = 450000}, &complete, &error));
    cr_expect(gavel__config_complete(
        &(gavel_config){.default_deadline_ms = 450001, .has_no_markers = true}, &complete, &error));
}

Test(client_config, no_url_is_the_environments)
{
    reading self;
    setenv("GAVEL_URL", "redis://elsewhere?name=env", 1);
    cr_assert(read_url(&self, NULL, NULL));
    cr_expect_str_eq(self.address.host, "elsewhere");
    cr_expect_str_eq(self.config.name, "env");
    finish(&self);
}

/* ---- The login ------------------------------------------------------------------------------ */

static gavel__address read_login(const char *url, const gavel_config *config)
{
    gavel_config complete;
    gavel_error error;
    gavel__address address;
    bool is_read = gavel__config_read(url, config, &address, &complete, &error);
    cr_assert(is_read, "%s", error.message);
    return address;
}

/* The config's is the URL's. */
Test(client_config, a_login_beside_the_url)
{
    static const char *const urls[] = {
        "unix:///s", "redis://u@h", "rediss://:p@h", "redis://u:p@h"};
    for (size_t i = 0; i < 4; i++) {
        gavel__address address = read_login(urls[i], &(gavel_config){.user = "u", .password = "p"});
        cr_expect_str_eq(address.user, "u");
        cr_expect_str_eq(address.password, "p");
        gavel__address_finish(&address, &gavel__system_allocator);
    }
}

Test(client_config, a_login_that_differs_from_the_urls)
{
    gavel_config complete;
    gavel_error error;
    gavel__address address;
    const gavel_config config = {.user = "u", .password = "hunter2"};
    cr_expect_not(gavel__config_read("redis://u:secret@h", &config, &address, &complete, &error));
    cr_expect_str_eq(
        error.message, "config: password differs from the URL's: leave one of them out");
    cr_expect_not(gavel__config_read("redis://v@h", &config, &address, &complete, &error));
    cr_expect_str_eq(error.message, "config: user differs from the URL's: leave one of them out");
}

/* Whoever has a log asks for its level, once. */
Test(client_config, what_the_log_is_to_tell_is_no_matter_of_the_url)
{
    reading r;
    setenv("GAVEL_LOG", "verbose", 1);
    cr_assert(read_url(&r, "redis://h", NULL), "%s", r.error.message);
    finish(&r);
    int level;
    cr_expect_not(gavel__config_log(&level, &r.error));
    cr_expect_str_eq(
        r.error.message, "GAVEL_LOG in the environment is one of debug, info, warning, off");
}

static const char *no_login(gavel_login *login, void *user)
{
    (void)login;
    (void)user;
    return "none";
}

Test(client_config, a_login_that_is_asked_for_beside_one_that_is_there)
{
    static const char *const urls[] = {"redis://u@h", "redis://:p@h", "unix://u:p@/s"};
    gavel_config complete;
    gavel_error error;
    gavel__address address;
    const gavel_config config = {.log_in = no_login};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_not(gavel__config_read(urls[i], &config, &address, &complete, &error));
        cr_expect_str_eq(error.message, "config: log_in is set, and a user or password as well");
    }
}
