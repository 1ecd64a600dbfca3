/*
 * Addresses from URLs. Used by gavel_open; knows no network.
 *
 *     redis://user:password@host:port/db?name=value&name=value      rediss:// the same
 *             ------login--- --endpoint-- -  -------options-------
 *     unix://user:password@/path?db=n&name=value
 *     redis+sentinel://login@endpoint,endpoint/service/db?sentinel_user=...
 *     redis+cluster://login@endpoint,endpoint?name=value
 *
 * No error quotes any part of the URL: a password with a character that should have been encoded
 * can end up in what looks like a host or a port.
 */
#include "redis/url.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PORT_DEFAULT 6379
#define SENTINEL_PORT_DEFAULT 26379
#define PORT_MAX 65535
#define DATABASE_MAX 65535
#define HOST_MAX 253 /* The longest name in the DNS. */

/* What one parse is at work on. */
typedef struct parse {
    const gavel_allocator *allocator;
    gavel__address address; /* so far */
    bool has_database;      /* named already, behind the slash or as an option */
    const char *error;      /* why it failed */
} parse;

static bool fail(parse *p, const char *error)
{
    p->error = error;
    return false;
}

/* ---- Cutting ------------------------------------------------------------------------------- */

/* The place of the first or last `c`, or the size if there is none. */
static size_t find_first(gavel_bytes text, char c)
{
    size_t i = 0;
    while (i < text.size && text.data[i] != c)
        i++;
    return i;
}

static size_t find_last(gavel_bytes text, char c)
{
    for (size_t i = text.size; i > 0; i--) {
        if (text.data[i - 1] == c)
            return i - 1;
    }
    return text.size;
}

static gavel_bytes before(gavel_bytes text, size_t place)
{
    return (gavel_bytes){text.data, place};
}

/* What follows the byte at `place`; nothing follows the end. */
static gavel_bytes after(gavel_bytes text, size_t place)
{
    size_t start = place < text.size ? place + 1 : text.size;
    return (gavel_bytes){text.data + start, text.size - start};
}

/* ---- Characters ---------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes the percent code at `i`; 0 for one that is broken or means NUL. */
static char decode_code(gavel_bytes text, size_t i)
{
    if (text.size - i < 3)
        return 0;
    int high = hex_value(text.data[i + 1]);
    int low = hex_value(text.data[i + 2]);
    if (high < 0 || low < 0)
        return 0;
    return (char)(high * 16 + low);
}

/* A new string with the percent codes of `text` decoded. */
static bool decode(parse *p, gavel_bytes text, char **ret_string)
{
    char *string = gavel__alloc(p->allocator, text.size + 1, 1);
    if (string == NULL)
        return fail(p, "out of memory");
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            c = decode_code(text, i);
            i += 2;
        }
        if (c == 0) {
            gavel__free(p->allocator, string);
            return fail(
                p, "a percent sign must be followed by two hexadecimal digits other than 00");
        }
        string[size++] = c;
    }
    *ret_string = string;
    return true;
}

/* ---- Parts --------------------------------------------------------------------------------- */

static bool parse_number(gavel_bytes text, int64_t min, int64_t max, int *ret_number)
{
    int64_t number;
    if (!gavel__parse_int(text, &number) || number < min || number > max)
        return false;
    *ret_number = (int)number;
    return true;
}

static bool parse_database(parse *p, gavel_bytes text)
{
    int database;
    if (!parse_number(text, 0, DATABASE_MAX, &database))
        return fail(p, "the database is not a number from 0 to 65535");
    if (p->has_database && database != p->address.database)
        return fail(p, "the database behind the slash and the one of ?db= differ");
    p->has_database = true;
    p->address.database = database;
    return true;
}

static bool parse_login(parse *p, gavel_bytes login)
{
    size_t colon = find_first(login, ':');
    gavel_bytes user = before(login, colon);
    gavel_bytes password = after(login, colon);
    if (user.size == 0 && password.size == 0)
        return fail(p, "there is an @ but no user and no password before it");
    if (user.size > 0 && !decode(p, user, &p->address.user))
        return false;
    return colon == login.size || decode(p, password, &p->address.password);
}

static bool is_host_name(gavel_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!is_letter(c) && !is_digit(c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    return name.size > 0 && name.size <= HOST_MAX;
}

/* A host name has nothing to decode: what it may hold needs no percent code. */
static bool parse_host_name(parse *p, gavel_bytes name, char **ret_host)
{
    if (name.size == 0)
        return fail(p, "the host is missing");
    if (!is_host_name(name))
        return fail(p, "the host is not a name, an IPv4 address or an IPv6 address in brackets");
    return decode(p, name, ret_host);
}

static bool parse_ipv6(parse *p, gavel_bytes text, char **ret_host)
{
    struct in6_addr unused;
    char *host;
    if (text.size >= INET6_ADDRSTRLEN || find_first(text, '%') < text.size)
        return fail(p, "what stands in brackets is not an IPv6 address");
    if (!decode(p, text, &host))
        return false;
    if (inet_pton(AF_INET6, host, &unused) != 1) {
        gavel__free(p->allocator, host);
        return fail(p, "what stands in brackets is not an IPv6 address");
    }
    *ret_host = host;
    return true;
}

/* host, host:port, [ipv6], [ipv6]:port. The seed's port is the default one. */
static bool parse_endpoint(parse *p, gavel_bytes endpoint, gavel__seed *seed)
{
    bool is_ipv6 = endpoint.size > 0 && endpoint.data[0] == '[';
    gavel_bytes behind_colon = after(endpoint, find_first(endpoint, ':'));
    if (!is_ipv6 && find_first(behind_colon, ':') < behind_colon.size)
        return fail(p, "the host holds a colon: an IPv6 address stands in brackets");
    size_t host_end = find_first(endpoint, is_ipv6 ? ']' : ':');
    if (is_ipv6 && host_end == endpoint.size)
        return fail(p, "the bracket around the host is not closed");
    bool is_host = is_ipv6 ? parse_ipv6(p, after(before(endpoint, host_end), 0), &seed->host)
                           : parse_host_name(p, before(endpoint, host_end), &seed->host);
    if (!is_host)
        return false;

    gavel_bytes rest = is_ipv6 ? after(endpoint, host_end)
                               : (gavel_bytes){endpoint.data + host_end, endpoint.size - host_end};
    if (rest.size == 0)
        return true;
    if (rest.data[0] != ':' || !parse_number(after(rest, 0), 1, PORT_MAX, &seed->port))
        return fail(p, "the port is not a number from 1 to 65535");
    return true;
}

/* host[:port], joined by commas. The array is the address's, set in any case. */
static bool parse_places(
    parse *p, gavel_bytes hosts, int default_port, gavel__seed **ret_places, size_t *n_places)
{
    gavel__seed *places = gavel__alloc(p->allocator, GAVEL__SEEDS_MAX, sizeof(*places));
    *ret_places = places;
    if (places == NULL)
        return fail(p, "out of memory");
    for (bool has_more = true; has_more;) {
        size_t end = find_first(hosts, ',');
        if (*n_places == GAVEL__SEEDS_MAX)
            return fail(p, "there are more than 32 hosts");
        gavel__seed *place = &places[(*n_places)++];
        *place = (gavel__seed){.port = default_port};
        if (!parse_endpoint(p, before(hosts, end), place))
            return false;
        has_more = end < hosts.size;
        hosts = after(hosts, end);
    }
    return true;
}

static bool parse_seeds(parse *p, gavel_bytes hosts, int default_port)
{
    return parse_places(p, hosts, default_port, &p->address.seeds, &p->address.n_seeds);
}

/* ---- Options ------------------------------------------------------------------------------- */

/* One more, for the one who knows it. */
static bool add_option(parse *p, gavel_bytes name, gavel_bytes value)
{
    gavel__address *address = &p->address;
    gavel__url_option option = {.name = NULL};
    if (address->n_options == GAVEL__URL_OPTIONS_MAX)
        return fail(p, "there are more than 32 options");
    if (address->options == NULL)
        address->options = gavel__alloc(p->allocator, GAVEL__URL_OPTIONS_MAX, sizeof(option));
    if (address->options == NULL)
        return fail(p, "out of memory");
    if (!decode(p, name, &option.name))
        return false;
    if (!decode(p, value, &option.value)) {
        gavel__free(p->allocator, option.name);
        return false;
    }
    address->options[address->n_options++] = option;
    return true;
}

static bool parse_sentinel_option(
    parse *p, gavel_bytes value, char **place, const char *if_repeated)
{
    if (p->address.kind != GAVEL__ADDRESS_SENTINEL)
        return fail(p, "sentinel_user and sentinel_password are for redis+sentinel:// only");
    if (*place != NULL)
        return fail(p, if_repeated);
    return decode(p, value, place);
}

static bool parse_replicas(parse *p, gavel_bytes value)
{
    gavel__address *address = &p->address;
    char *hosts;
    if (address->kind != GAVEL__ADDRESS_SERVER)
        return fail(p, "replicas is for redis://, rediss:// and unix://: a Cluster and Sentinels "
                       "know theirs");
    if (address->replicas != NULL)
        return fail(p, "the option replicas is there twice");
    if (!decode(p, value, &hosts))
        return false;
    bool is_parsed =
        parse_places(p, gavel_str(hosts), PORT_DEFAULT, &address->replicas, &address->n_replicas);
    gavel__free(p->allocator, hosts);
    return is_parsed;
}

static bool parse_option(parse *p, gavel_bytes option, bool *has_db)
{
    size_t equals = find_first(option, '=');
    gavel_bytes name = before(option, equals);
    gavel_bytes value = after(option, equals);
    if (equals == option.size || name.size == 0)
        return fail(p, "behind the question mark stands name=value, or several joined by &");
    if (find_first(name, '%') < name.size)
        return fail(p, "an option's name is written without percent codes: only its value has any");
    if (gavel__bytes_equal(name, GAVEL_STR("sentinel_user")))
        return parse_sentinel_option(
            p, value, &p->address.sentinel_user, "the option sentinel_user is there twice");
    if (gavel__bytes_equal(name, GAVEL_STR("sentinel_password")))
        return parse_sentinel_option(
            p, value, &p->address.sentinel_password, "the option sentinel_password is there twice");
    if (gavel__bytes_equal(name, GAVEL_STR("replicas")))
        return parse_replicas(p, value);
    if (!gavel__bytes_equal(name, GAVEL_STR("db")))
        return add_option(p, name, value);
    if (*has_db)
        return fail(p, "the option db is there twice");
    *has_db = true;
    return parse_database(p, value);
}

/* What follows the question mark; at least one option. */
static bool parse_options(parse *p, gavel_bytes text)
{
    bool has_db = false;
    for (bool has_more = true; has_more;) {
        size_t end = find_first(text, '&');
        if (!parse_option(p, before(text, end), &has_db))
            return false;
        has_more = end < text.size;
        text = after(text, end);
    }
    return true;
}

/* ---- Forms --------------------------------------------------------------------------------- */

/* Cuts the options off, and takes them. */
static bool cut_options(parse *p, gavel_bytes *rest)
{
    size_t question = find_first(*rest, '?');
    gavel_bytes options = after(*rest, question);
    if (find_first(*rest, '#') < rest->size)
        return fail(p, "there must be no fragment (#); in a password # is written as %23");
    bool has_options = question < rest->size;
    *rest = before(*rest, question);
    return !has_options || parse_options(p, options);
}

/* The login ends at the last @, and must hold nothing that ends it before. */
static bool check_login(parse *p, gavel_bytes rest)
{
    size_t at = find_last(rest, '@');
    gavel_bytes login = before(rest, at);
    if (at == rest.size || (find_first(login, '/') == at && find_first(login, '?') == at &&
                               find_first(login, '#') == at))
        return true;
    return fail(p, "in a user, password or option / is written as %2F, ? as %3F, # as %23, @ as "
                   "%40");
}

/* Takes the login, and cuts it and the options off: [login@]hosts[/path]. */
static bool cut_frame(parse *p, gavel_bytes rest, gavel_bytes *ret_hosts, gavel_bytes *ret_path)
{
    if (!check_login(p, rest) || !cut_options(p, &rest))
        return false;
    size_t slash = find_first(rest, '/');
    gavel_bytes authority = before(rest, slash);
    size_t at = find_last(authority, '@');
    *ret_path = after(rest, slash);
    *ret_hosts = at < authority.size ? after(authority, at) : authority;
    if (p->address.kind != GAVEL__ADDRESS_SERVER && find_first(authority, '@') < at)
        return fail(p, "a login stands once, in front of all hosts (a Sentinel's own is the option "
                       "sentinel_password); in a user or password @ is written as %40");
    return at == authority.size || parse_login(p, before(authority, at));
}

/* What follows redis:// or rediss://. */
static bool parse_tcp(parse *p, gavel_bytes rest)
{
    gavel_bytes host;
    gavel_bytes database;
    gavel__seed seed = {.port = PORT_DEFAULT};
    if (!cut_frame(p, rest, &host, &database))
        return false;
    if (find_first(host, ',') < host.size)
        return fail(p, "several hosts: Sentinels are at redis+sentinel://host,host/NAME, the "
                       "nodes of a Cluster at redis+cluster://host,host");
    bool is_endpoint = parse_endpoint(p, host, &seed);
    p->address.host = seed.host;
    p->address.port = seed.port;
    return is_endpoint && (database.size == 0 || parse_database(p, database));
}

/* What follows redis+sentinel:// or rediss+sentinel://. */
static bool parse_sentinel(parse *p, gavel_bytes rest)
{
    gavel_bytes hosts;
    gavel_bytes path;
    p->address.kind = GAVEL__ADDRESS_SENTINEL;
    if (!cut_frame(p, rest, &hosts, &path) || !parse_seeds(p, hosts, SENTINEL_PORT_DEFAULT))
        return false;
    size_t slash = find_first(path, '/');
    gavel_bytes database = after(path, slash);
    if (slash == 0)
        return fail(p, "behind the Sentinels stands the name by which they know the primary: "
                       "redis+sentinel://host,host/NAME");
    if (!decode(p, before(path, slash), &p->address.service))
        return false;
    return database.size == 0 || parse_database(p, database);
}

/* What follows redis+cluster:// or rediss+cluster://. */
static bool parse_cluster(parse *p, gavel_bytes rest)
{
    gavel_bytes hosts;
    gavel_bytes database;
    p->address.kind = GAVEL__ADDRESS_CLUSTER;
    if (!cut_frame(p, rest, &hosts, &database) || !parse_seeds(p, hosts, PORT_DEFAULT))
        return false;
    if (database.size > 0 && !parse_database(p, database))
        return false;
    return p->address.database == 0 || fail(p, "of a Cluster only database 0 is used");
}

/* What follows unix://. */
static bool parse_unix(parse *p, gavel_bytes rest)
{
    if (!cut_options(p, &rest))
        return false;
    /* A path may hold an @, too; a login holds no bare slash. */
    size_t at = find_last(before(rest, find_first(rest, '/')), '@');
    bool has_login = at < find_first(rest, '/');
    gavel_bytes path = has_login ? after(rest, at) : rest;
    if (path.size == 0 || path.data[0] != '/')
        return fail(p, "a unix socket's path must be absolute: unix:///path/of/socket, or with a "
                       "login unix://user:password@/path; in a password / is written as %2F");
    if (has_login && !parse_login(p, before(rest, at)))
        return false;
    if (!decode(p, path, &p->address.path))
        return false;
    if (strlen(p->address.path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return fail(p, "the path is too long for a unix socket");
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

static bool cut_prefix(gavel_bytes *text, const char *prefix)
{
    size_t size = strlen(prefix);
    if (!gavel__bytes_start_with(*text, (gavel_bytes){prefix, size}))
        return false;
    *text = (gavel_bytes){text->data + size, text->size - size};
    return true;
}

static bool parse_url(parse *p, gavel_bytes url)
{
    static const struct {
        const char *prefix;
        bool is_tls;
        bool (*parse_rest)(parse *p, gavel_bytes rest);
    } forms[] = {{"redis://", false, parse_tcp}, {"rediss://", true, parse_tcp},
        {"unix://", false, parse_unix}, {"redis+sentinel://", false, parse_sentinel},
        {"redis-sentinel://", false, parse_sentinel}, {"rediss+sentinel://", true, parse_sentinel},
        {"rediss-sentinel://", true, parse_sentinel}, {"redis+cluster://", false, parse_cluster},
        {"redis-cluster://", false, parse_cluster}, {"rediss+cluster://", true, parse_cluster},
        {"rediss-cluster://", true, parse_cluster}};
    for (size_t i = 0; i < url.size; i++) {
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 127)
            return fail(p, "it holds a blank or a control character, which must be percent-coded");
    }
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (!cut_prefix(&url, forms[i].prefix))
            continue;
        p->address.is_tls = forms[i].is_tls;
        return forms[i].parse_rest(p, url);
    }
    return fail(p, "it must begin with redis://, rediss://, unix://, or redis or rediss and "
                   "+sentinel:// or +cluster://");
}

/* The room that a label takes: each byte of a path or name becomes at most four; scheme, port and
 * database take less than 64. */
static size_t label_room(const gavel__address *address)
{
    size_t room = 64;
    for (size_t i = 0; i < address->n_seeds; i++)
        room += strlen(address->seeds[i].host) + 16;
    if (address->service != NULL)
        room += 4 * strlen(address->service);
    if (address->host != NULL)
        room += strlen(address->host);
    if (address->path != NULL)
        room += 4 * strlen(address->path);
    return room;
}

/* Behind what the label holds so far. */
static void append_host(char *label, size_t size, const char *host, int port)
{
    size_t used = strlen(label);
    gavel__format_place(label + used, size - used, host, port);
}

static void append_printable(char *label, size_t size, const char *text)
{
    size_t used = strlen(label);
    gavel__printable(gavel_str(text), label + used, size - used);
}

static void append_place(char *label, size_t size, const gavel__address *address)
{
    if (address->path != NULL)
        append_printable(label, size, address->path);
    else if (address->kind == GAVEL__ADDRESS_SERVER)
        append_host(label, size, address->host, address->port);
    for (size_t i = 0; i < address->n_seeds; i++) {
        if (i > 0)
            strcat(label, ",");
        append_host(label, size, address->seeds[i].host, address->seeds[i].port);
    }
    if (address->service == NULL)
        return;
    strcat(label, "/");
    append_printable(label, size, address->service);
}

static const char *scheme_of(const gavel__address *address)
{
    if (address->path != NULL)
        return "unix";
    if (address->kind == GAVEL__ADDRESS_SENTINEL)
        return address->is_tls ? "rediss+sentinel" : "redis+sentinel";
    if (address->kind == GAVEL__ADDRESS_CLUSTER)
        return address->is_tls ? "rediss+cluster" : "redis+cluster";
    return address->is_tls ? "rediss" : "redis";
}

static bool make_label(parse *p)
{
    const gavel__address *address = &p->address;
    size_t size = label_room(address);
    char *label = gavel__alloc(p->allocator, size, 1);
    if (label == NULL)
        return fail(p, "out of memory");
    p->address.label = label;
    gavel__format(label, size, "%s://", scheme_of(address));
    append_place(label, size, address);
    size_t used = strlen(label);
    if (address->database != 0) {
        const char *form = address->path != NULL ? "?db=" : "/";
        gavel__format(label + used, size - used, "%s%d", form, address->database);
    }
    return true;
}

const char *gavel__url_default(void)
{
    const char *url = getenv("GAVEL_URL");
    return url != NULL && url[0] != '\0' ? url : "redis://127.0.0.1:6379";
}

bool gavel__address_parse(const char *url, const gavel_allocator *allocator,
    gavel__address *ret_address, gavel_error *ret_error)
{
    parse p = {.allocator = allocator};
    if (!parse_url(&p, gavel_str(url)) || !make_label(&p)) {
        gavel__address_finish(&p.address, allocator);
        gavel__format(ret_error->message, sizeof(ret_error->message), "bad URL: %s", p.error);
        return false;
    }
    *ret_address = p.address;
    return true;
}

const char *gavel__address_strip(const gavel__address *address, const char *message)
{
    size_t size = strlen(address->label);
    if (strncmp(message, address->label, size) != 0)
        return message;
    if (strncmp(message + size, " (", 2) == 0) /* and which of its addresses */
        return message + size + 1;
    return strncmp(message + size, ": ", 2) == 0 ? message + size + 2 : message;
}

void gavel__address_finish(gavel__address *address, const gavel_allocator *allocator)
{
    gavel__wipe_string(address->password);
    gavel__wipe_string(address->sentinel_password);
    for (size_t i = 0; i < address->n_seeds; i++)
        gavel__free(allocator, address->seeds[i].host);
    for (size_t i = 0; i < address->n_replicas; i++)
        gavel__free(allocator, address->replicas[i].host);
    for (size_t i = 0; i < address->n_options; i++) {
        /* Somebody may have taken password for an option. */
        gavel__wipe_string(address->options[i].value);
        gavel__free(allocator, address->options[i].name);
        gavel__free(allocator, address->options[i].value);
    }
    gavel__free(allocator, address->options);
    gavel__free(allocator, address->host);
    gavel__free(allocator, address->path);
    gavel__free(allocator, address->user);
    gavel__free(allocator, address->password);
    gavel__free(allocator, address->label);
    gavel__free(allocator, address->service);
    gavel__free(allocator, address->seeds);
    gavel__free(allocator, address->replicas);
    gavel__free(allocator, address->sentinel_user);
    gavel__free(allocator, address->sentinel_password);
    *address = (gavel__address){0};
}
