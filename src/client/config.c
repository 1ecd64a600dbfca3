/*
 * Configurations: see the header.
 */
#include "client/config.h"

#include "base/text.h"
#include "core/engine.h"
#include "core/names.h"

#include <inttypes.h>
#include <stdlib.h>

/* Far above any use, and so far below what Redis can add to its clock that the sum is one. */
#define A_HUNDRED_YEARS_MS (UINT64_C(36525) * 86400000)

#define PLACE(name) offsetof(gavel_config, name), sizeof(((gavel_config *)NULL)->name)

#define NUMBER(field, in_url, from, zero, to, why)                                                 \
    {                                                                                              \
#field, in_url, GAVEL__CONFIG_NUMBER, PLACE(field), from, zero, to, why, NULL, NULL        \
    }
#define NUMBER_OR_ALL(field, in_url, to)                                                           \
    {                                                                                              \
#field, in_url, GAVEL__CONFIG_NUMBER_OR_ALL, PLACE(field), 1, 0, to, NULL, NULL, NULL      \
    }
#define WORD(field, in_url, null)                                                                  \
    {                                                                                              \
#field, in_url, GAVEL__CONFIG_WORD, PLACE(field), 0, 0, 0, NULL, null, NULL                \
    }
#define SWITCH(field, in_url)                                                                      \
    {                                                                                              \
#field, in_url, GAVEL__CONFIG_SWITCH, PLACE(field), 0, 0, 1, NULL, NULL, switches          \
    }
#define CHOICE(field, in_url, names)                                                               \
    {                                                                                              \
#field, in_url, GAVEL__CONFIG_CHOICE, PLACE(field), 0, 0,                                  \
            sizeof(names) / sizeof((names)[0]) - 1, NULL, NULL, names                              \
    }

static const char *const switches[] = {"no", "yes"};
static const char *const modes[] = {"adaptive", "optimistic", "gated"};

/* What has a name in URLs is a matter of where a program runs, not of how it was written. */
const gavel__config_field gavel__config_fields[] = {
    WORD(name, "name", "gavel"),
    WORD(key_prefix, "key_prefix", "gavel:"),
    CHOICE(mode, "mode", modes),
    NUMBER(default_deadline_ms, "deadline_ms", 1, 5000, UINT32_MAX, NULL),
    NUMBER_OR_ALL(min_replicas, "min_replicas", GAVEL_MAX_REPLICAS),
    NUMBER(durable_ms, "durable_ms", 1, 1000, UINT32_MAX, NULL),
    NUMBER(connect_timeout_ms, "connect_timeout_ms", 1, 1000, UINT32_MAX, NULL),
    NUMBER(command_timeout_ms, "command_timeout_ms", 1, 1000, UINT32_MAX, NULL),
    NUMBER(max_links, "max_links", 1, 4, GAVEL__MAX_LANES, NULL),
    WORD(ca_file, "ca_file", NULL),
    WORD(ca_folder, "ca_folder", NULL),
    WORD(cert_file, "cert_file", NULL),
    WORD(key_file, "key_file", NULL),
    WORD(server_name, "server_name", NULL),
    SWITCH(is_insecure, "insecure"),
    SWITCH(needs_fsync, "needs_fsync"),
    SWITCH(may_go_without_sentinels, "without_sentinels"),
    SWITCH(is_failover_eager, "eager_failover"),
    NUMBER(max_gate_links, NULL, 1, 4, GAVEL__MAX_LANES, NULL),
    NUMBER(max_waiting_links, NULL, 1, 16, 256, NULL),
    NUMBER(gate_lease_ms, NULL, 50, 500, UINT32_MAX, "a round has to fit into it"),
    NUMBER(max_queued, NULL, 1, 65536, UINT32_MAX, NULL),
    NUMBER(max_round_width, NULL, 1, 64, UINT32_MAX, NULL),
    NUMBER(max_round_keys, NULL, 1, 128, GAVEL_MAX_KEYS, NULL),
    NUMBER(max_round_bytes, NULL, 1, (size_t)1 << 20, SIZE_MAX, NULL),
    NUMBER(max_round_body_us, NULL, 1, 1000, UINT32_MAX, NULL),
    NUMBER(marker_ttl_ms, NULL, 600000, 900000, UINT32_MAX, "a late EXEC could outlive its marker"),
    NUMBER(id_ttl_ms, NULL, 1, 86400000, A_HUNDRED_YEARS_MS, NULL),
    NUMBER(max_reply_bytes, NULL, 1, (size_t)64 << 20, SIZE_MAX, NULL),
    {.name = NULL},
};

#undef PLACE
#undef NUMBER
#undef NUMBER_OR_ALL
#undef WORD
#undef SWITCH
#undef CHOICE

static bool fail(gavel_error *ret_error, const char *message)
{
    gavel__format(ret_error->message, sizeof(ret_error->message), "config: %s", message);
    return false;
}

/* ---- Fields -------------------------------------------------------------------------------- */

/* Numbers, choices and switches. */
static uint64_t get(const gavel_config *config, const gavel__config_field *field)
{
    bool is_on;
    uint64_t wide;
    uint32_t narrow;
    const char *place = (const char *)config + field->offset;
    if (field->size == sizeof(wide)) {
        memcpy(&wide, place, sizeof(wide));
        return wide;
    }
    if (field->size == sizeof(is_on)) {
        memcpy(&is_on, place, sizeof(is_on));
        return is_on;
    }
    memcpy(&narrow, place, sizeof(narrow));
    return narrow;
}

static void set(gavel_config *config, const gavel__config_field *field, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;
    bool is_on = value != 0;
    char *place = (char *)config + field->offset;
    if (field->size == sizeof(value))
        memcpy(place, &value, sizeof(value));
    else if (field->size == sizeof(is_on))
        memcpy(place, &is_on, sizeof(is_on));
    else
        memcpy(place, &narrow, sizeof(narrow));
}

static const char *get_word(const gavel_config *config, const gavel__config_field *field)
{
    const char *word;
    memcpy(&word, (const char *)config + field->offset, sizeof(word));
    return word;
}

static void set_word(gavel_config *config, const gavel__config_field *field, const char *word)
{
    memcpy((char *)config + field->offset, &word, sizeof(word));
}

/* ---- Bounds -------------------------------------------------------------------------------- */

static bool complete_number(
    gavel_config *config, const gavel__config_field *field, gavel_error *ret_error)
{
    uint64_t value = get(config, field);
    if (value == 0)
        set(config, field, field->fallback);
    if (value == 0 || (value >= field->min && value <= field->max))
        return true;
    bool is_less = value < field->min;
    bool has_reason = is_less && field->because != NULL;
    gavel__format(ret_error->message, sizeof(ret_error->message),
        "config: %s is %s than %" PRIu64 "%s%s", field->name, is_less ? "less" : "more",
        is_less ? field->min : field->max, has_reason ? ": " : "",
        has_reason ? field->because : "");
    return false;
}

static bool complete_field(
    gavel_config *config, const gavel__config_field *field, gavel_error *ret_error)
{
    switch (field->kind) {
    case GAVEL__CONFIG_NUMBER:
        return complete_number(config, field, ret_error);
    case GAVEL__CONFIG_NUMBER_OR_ALL:
        return get(config, field) == UINT32_MAX || complete_number(config, field, ret_error);
    case GAVEL__CONFIG_WORD:
        if (get_word(config, field) == NULL)
            set_word(config, field, field->word);
        return true;
    case GAVEL__CONFIG_SWITCH:
        return true;
    case GAVEL__CONFIG_CHOICE:
        if (get(config, field) <= field->max)
            return true;
        gavel__format(ret_error->message, sizeof(ret_error->message),
            "config: %s is none of its enum", field->name);
        return false;
    }
    return false;
}

static bool refuse_pair(const char *one, const char *reason, gavel_error *ret_error)
{
    gavel__format(ret_error->message, sizeof(ret_error->message), "config: %s %s", one, reason);
    return false;
}

/* The first of the options that only TLS has; NULL: none is set. */
static const char *find_tls_option(const gavel_config *config)
{
    return config->ca_file != NULL       ? "ca_file"
           : config->ca_folder != NULL   ? "ca_folder"
           : config->cert_file != NULL   ? "cert_file"
           : config->key_file != NULL    ? "key_file"
           : config->server_name != NULL ? "server_name"
           : config->is_insecure         ? "is_insecure (insecure in a URL)"
                                         : NULL;
}

/* What a name in the DNS can be, or an address; OpenSSL takes no other. */
#define HOST_MAX 253

static bool is_printable_word(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

static bool is_host(const char *name)
{
    return name[0] != '\0' && strlen(name) <= HOST_MAX && is_printable_word(name);
}

static bool check_tls(
    const gavel_config *config, const gavel__address *address, gavel_error *ret_error)
{
    const char *option = find_tls_option(config);
    if (option != NULL && !address->is_tls)
        return refuse_pair(option,
            address->path != NULL ? "is for TLS, and the URL begins with unix://, not rediss://"
                                  : "is for TLS, and the URL begins with redis, not rediss",
            ret_error);
    if (config->key_file != NULL && config->cert_file == NULL)
        return refuse_pair("key_file", "is set, and no cert_file that it would be for", ret_error);
    if (config->server_name != NULL && !is_host(config->server_name))
        return refuse_pair(
            "server_name", "is no host's name: leave it out for the URL's", ret_error);
    if (config->is_insecure && (config->ca_file != NULL || config->ca_folder != NULL))
        return refuse_pair(config->ca_file != NULL ? "ca_file" : "ca_folder",
            "is set, and is_insecure, by which nobody looks at it", ret_error);
    return true;
}

static bool check_sentinels(
    const gavel_config *config, const gavel__address *address, gavel_error *ret_error)
{
    const char *what = config->may_go_without_sentinels
                           ? "may_go_without_sentinels (without_sentinels in a URL)"
                       : config->is_failover_eager ? "is_failover_eager (eager_failover in a URL)"
                                                   : NULL;
    return what == NULL || address->kind == GAVEL__ADDRESS_SENTINEL ||
           refuse_pair(what, "is for Sentinels, and the URL does not begin with redis+sentinel://",
               ret_error);
}

gavel__tls_options gavel__config_tls(const gavel_config *config)
{
    return (gavel__tls_options){.ca_file = config->ca_file,
        .ca_folder = config->ca_folder,
        .cert_file = config->cert_file,
        .key_file = config->key_file,
        .server_name = config->server_name,
        .is_insecure = config->is_insecure};
}

static bool check_words(const gavel_config *config, gavel_error *ret_error)
{
    if (strlen(config->key_prefix) > GAVEL__PREFIX_MAX)
        return fail(ret_error, "key_prefix has more than 64 bytes");
    if (strpbrk(config->key_prefix, "{}") != NULL)
        return fail(ret_error, "key_prefix holds a brace, as only hash tags behind it may");
    if (!is_printable_word(config->name))
        return fail(ret_error, "name has a blank or an unprintable byte");
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

bool gavel__config_is_clean(const gavel_config *config)
{
    return GAVEL__HAS_CLEAN_ROOM(config) && GAVEL__HAS_CLEAN_ROOM(&config->hooks);
}

bool gavel__config_complete(
    const gavel_config *config, gavel_config *ret_config, gavel_error *ret_error)
{
    static const gavel_config nothing;
    gavel_config complete = config != NULL ? *config : nothing;
    if (!gavel__config_is_clean(&complete))
        return fail(ret_error, GAVEL__UNCLEAN_ROOM);
    for (const gavel__config_field *field = gavel__config_fields; field->name != NULL; field++) {
        if (!complete_field(&complete, field, ret_error))
            return false;
    }
    if (complete.is_polled && complete.loop != NULL)
        return fail(ret_error, "both is_polled and a libev loop: it has to be one of them");
    if (complete.max_links + complete.max_gate_links > GAVEL__MAX_LANES)
        return fail(ret_error, "max_links and max_gate_links together are more than 64");
    if (!complete.has_no_markers && complete.default_deadline_ms > complete.marker_ttl_ms / 2)
        return fail(ret_error, "default_deadline_ms is longer than half of marker_ttl_ms");
    if (complete.has_no_markers && complete.min_replicas > 0)
        return fail(ret_error, "min_replicas needs markers, and has_no_markers is set");
    if (complete.has_no_markers && complete.needs_fsync)
        return fail(ret_error, "needs_fsync needs markers, and has_no_markers is set");
    if (complete.allocator.resize == NULL)
        complete.allocator = gavel__system_allocator;
    if (!check_words(&complete, ret_error))
        return false;
    *ret_config = complete;
    return true;
}

/* ---- What the URL says --------------------------------------------------------------------- */

/* One that holds only what names hold: then it is no part of a password gone astray. */
static bool is_option_name(const char *name)
{
    return name[0] != '\0' && strlen(name) <= 32 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name);
}

static bool fail_login_option(const char *name, gavel_error *ret_error)
{
    gavel__format(ret_error->message, sizeof(ret_error->message),
        "bad URL: there is no option %s; a login stands in front: redis://user:password@host, "
        "unix://:password@/path",
        name);
    return false;
}

/* Those that the address takes itself; with the table's they are all. */
#define FIRST_OPTIONS "db, sentinel_user, sentinel_password"

static bool fail_unknown(const char *name, gavel_error *ret_error)
{
    char *text = ret_error->message;
    size_t size = sizeof(ret_error->message);
    if (strcmp(name, "password") == 0 || strcmp(name, "user") == 0 || strcmp(name, "username") == 0)
        return fail_login_option(name, ret_error);
    if (is_option_name(name))
        gavel__format(text, size, "bad URL: there is no option %s; there are " FIRST_OPTIONS, name);
    else
        gavel__format(text, size, "bad URL: an option is unknown; there are " FIRST_OPTIONS);
    for (const gavel__config_field *field = gavel__config_fields; field->name != NULL; field++) {
        size_t used = strlen(text);
        if (field->option != NULL)
            gavel__format(text + used, size - used, ", %s", field->option);
    }
    return false;
}

static bool fail_choice(const gavel__config_field *field, gavel_error *ret_error)
{
    char *text = ret_error->message;
    size_t size = sizeof(ret_error->message);
    gavel__format(text, size, "bad URL: %s is one of", field->option);
    for (uint64_t i = 0; i <= field->max; i++) {
        size_t used = strlen(text);
        gavel__format(text + used, size - used, "%s %s", i > 0 ? "," : "", field->choices[i]);
    }
    return false;
}

static bool fail_differing(const gavel__config_field *field, gavel_error *ret_error)
{
    gavel__format(ret_error->message, sizeof(ret_error->message),
        "%s in the URL and %s in the config differ: leave one of them out", field->option,
        field->name);
    return false;
}

static bool take_number(gavel_config *config, const gavel__config_field *field, const char *text,
    gavel_error *ret_error)
{
    int64_t value = 0;
    uint64_t before = get(config, field);
    if (!gavel__parse_int(gavel_str(text), &value) || value < 0 || (uint64_t)value < field->min ||
        (uint64_t)value > field->max) {
        gavel__format(ret_error->message, sizeof(ret_error->message),
            "bad URL: %s takes a number from %" PRIu64 " to %" PRIu64 "%s", field->option,
            field->min, field->max, field->kind == GAVEL__CONFIG_NUMBER ? "" : ", or all");
        return false;
    }
    if (before != 0 && before != (uint64_t)value)
        return fail_differing(field, ret_error);
    set(config, field, (uint64_t)value);
    return true;
}

static bool take_number_or_all(gavel_config *config, const gavel__config_field *field,
    const char *text, gavel_error *ret_error)
{
    uint64_t before = get(config, field);
    if (strcmp(text, "all") != 0)
        return take_number(config, field, text, ret_error);
    if (before != 0 && before != UINT32_MAX)
        return fail_differing(field, ret_error);
    set(config, field, UINT32_MAX);
    return true;
}

static bool take_word(gavel_config *config, const gavel__config_field *field, const char *text,
    gavel_error *ret_error)
{
    const char *before = get_word(config, field);
    if (before != NULL && strcmp(before, text) != 0)
        return fail_differing(field, ret_error);
    set_word(config, field, text);
    return true;
}

static bool take_choice(gavel_config *config, const gavel__config_field *field, const char *text,
    gavel_error *ret_error)
{
    uint64_t value = 0;
    uint64_t before = get(config, field);
    while (value <= field->max && strcmp(field->choices[value], text) != 0)
        value++;
    if (value > field->max)
        return fail_choice(field, ret_error);
    if (before != 0 && before != value)
        return fail_differing(field, ret_error);
    set(config, field, value);
    return true;
}

static bool take_option(
    gavel_config *config, const gavel__url_option *option, gavel_error *ret_error)
{
    const gavel__config_field *field = gavel__config_fields;
    while (
        field->name != NULL && (field->option == NULL || strcmp(field->option, option->name) != 0))
        field++;
    if (field->name == NULL)
        return fail_unknown(option->name, ret_error);
    switch (field->kind) {
    case GAVEL__CONFIG_NUMBER:
        return take_number(config, field, option->value, ret_error);
    case GAVEL__CONFIG_NUMBER_OR_ALL:
        return take_number_or_all(config, field, option->value, ret_error);
    case GAVEL__CONFIG_WORD:
        return take_word(config, field, option->value, ret_error);
    case GAVEL__CONFIG_SWITCH:
    case GAVEL__CONFIG_CHOICE:
        return take_choice(config, field, option->value, ret_error);
    }
    return false;
}

/* Then it is one that is known: the first of them was taken. */
static bool is_named_before(const gavel__address *address, const gavel__url_option *option)
{
    for (const gavel__url_option *other = address->options; other < option; other++) {
        if (strcmp(other->name, option->name) == 0)
            return true;
    }
    return false;
}

static bool take_options(
    gavel_config *config, const gavel__address *address, gavel_error *ret_error)
{
    for (size_t i = 0; i < address->n_options; i++) {
        const gavel__url_option *option = &address->options[i];
        if (is_named_before(address, option)) {
            gavel__format(ret_error->message, sizeof(ret_error->message),
                "bad URL: the option %s is there twice", option->name);
            return false;
        }
        if (!take_option(config, option, ret_error))
            return false;
    }
    return true;
}

/* Where the URL would have put it. */
static bool set_half(const char *wanted, char **place, const gavel_allocator *allocator)
{
    if (wanted == NULL || *place != NULL)
        return true;
    *place = gavel__copy_string(allocator, wanted);
    return *place != NULL;
}

static bool differ(const char *wanted, const char *there)
{
    return wanted != NULL && there != NULL && strcmp(wanted, there) != 0;
}

static bool take_login(const gavel_config *config, gavel__address *address,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    static const char reason[] = "differs from the URL's: leave one of them out";
    bool has_login = config->user != NULL || config->password != NULL || address->user != NULL ||
                     address->password != NULL;
    if (config->log_in != NULL && has_login)
        return refuse_pair("log_in", "is set, and a user or password as well", ret_error);
    if (differ(config->user, address->user))
        return refuse_pair("user", reason, ret_error);
    if (differ(config->password, address->password))
        return refuse_pair("password", reason, ret_error);
    bool is_set = set_half(config->user, &address->user, allocator) &&
                  set_half(config->password, &address->password, allocator);
    return is_set || fail(ret_error, "no memory");
}

const char *const gavel__config_log_levels[] = {"debug", "info", "warning", "off", NULL};

bool gavel__config_log(int *ret_level, gavel_error *ret_error)
{
    const char *name = getenv("GAVEL_LOG");
    *ret_level = -1;
    if (name == NULL || name[0] == '\0')
        return true;
    for (int i = 0; gavel__config_log_levels[i] != NULL; i++) {
        if (strcmp(gavel__config_log_levels[i], name) == 0)
            *ret_level = i;
    }
    if (*ret_level < 0)
        gavel__format(ret_error->message, sizeof(ret_error->message),
            "GAVEL_LOG in the environment is one of debug, info, warning, off");
    return *ret_level >= 0;
}

/* Of a bad URL that the program has not written: where it stands. */
static void name_environment(const char *url, gavel_error *error)
{
    static const char start[] = "bad URL: ";
    const char *variable = getenv("GAVEL_URL");
    char fault[GAVEL_ERROR_SIZE];
    if (url != NULL || variable == NULL || strncmp(error->message, start, strlen(start)) != 0)
        return;
    gavel__format(fault, sizeof(fault), "%s", error->message + strlen(start));
    gavel__format(error->message, sizeof(error->message),
        "bad URL in GAVEL_URL, in the environment: %s", fault);
}

bool gavel__config_read(const char *url, const gavel_config *config, gavel__address *ret_address,
    gavel_config *ret_config, gavel_error *ret_error)
{
    static const gavel_config nothing;
    gavel_config asked = config != NULL ? *config : nothing;
    const gavel_allocator *allocator =
        asked.allocator.resize != NULL ? &asked.allocator : &gavel__system_allocator;
    gavel__address address;
    /* Before the allocator, too, is used. */
    if (!gavel__config_is_clean(&asked))
        return fail(ret_error, GAVEL__UNCLEAN_ROOM);
    if (!gavel__address_parse(
            url != NULL ? url : gavel__url_default(), allocator, &address, ret_error)) {
        name_environment(url, ret_error);
        return false;
    }
    if (!take_options(&asked, &address, ret_error) || !check_tls(&asked, &address, ret_error) ||
        !check_sentinels(&asked, &address, ret_error) ||
        !take_login(&asked, &address, allocator, ret_error) ||
        !gavel__config_complete(&asked, ret_config, ret_error)) {
        name_environment(url, ret_error);
        gavel__address_finish(&address, allocator);
        return false;
    }
    *ret_address = address;
    return true;
}
