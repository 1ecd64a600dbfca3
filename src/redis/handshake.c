/*
 * Handshakes: written as commands, judged reply by reply. For links. The first bad reply decides.
 */
#include "redis/handshake.h"

#include "base/resp.h"
#include "base/text.h"

/* The oldest server whose WATCH notices a key whose time to live has passed. */
static const int version_min[] = {6, 2, 5};
#define VERSION_MIN "6.2.5"
#define N_VERSION_PARTS (sizeof(version_min) / sizeof(version_min[0]))

/* ---- Writing ------------------------------------------------------------------------------- */

static void write_command(
    gavel__handshake *handshake, gavel__handshake_step step, gavel__buffer *out, size_t n_args)
{
    handshake->steps[handshake->n_steps++] = step;
    gavel__resp_begin(out, n_args);
}

static void write_hello(
    gavel__handshake *handshake, const gavel__link_config *config, gavel__buffer *out)
{
    const gavel__handshake_login *login = &handshake->login;
    bool has_login = login->user != NULL || login->password != NULL;
    bool has_name = config->name[0] != '\0';
    write_command(
        handshake, GAVEL__HANDSHAKE_HELLO, out, (size_t)(2 + 3 * has_login + 2 * has_name));
    gavel__resp_arg(out, GAVEL_STR("HELLO"));
    gavel__resp_arg(out, GAVEL_STR("2"));
    if (has_login) {
        gavel__resp_arg(out, GAVEL_STR("AUTH"));
        gavel__resp_arg(out, gavel_str(login->user != NULL ? login->user : "default"));
        gavel__resp_arg(out, gavel_str(login->password));
    }
    if (has_name) {
        gavel__resp_arg(out, GAVEL_STR("SETNAME"));
        gavel__resp_arg(out, gavel_str(config->name));
    }
}

/* A password alone is the default user's, on a server of any age. */
static void write_auth(gavel__handshake *handshake, gavel__buffer *out)
{
    const gavel__handshake_login *login = &handshake->login;
    if (login->user == NULL && login->password == NULL)
        return;
    bool has_user = login->user != NULL;
    write_command(handshake, GAVEL__HANDSHAKE_AUTH, out, (size_t)(2 + has_user));
    gavel__resp_arg(out, GAVEL_STR("AUTH"));
    if (has_user)
        gavel__resp_arg(out, gavel_str(login->user));
    gavel__resp_arg(out, gavel_str(login->password));
}

static void write_without_hello(
    gavel__handshake *handshake, const gavel__link_config *config, gavel__buffer *out)
{
    write_auth(handshake, out);
    if (config->name[0] != '\0') {
        write_command(handshake, GAVEL__HANDSHAKE_SETNAME, out, 3);
        gavel__resp_arg(out, GAVEL_STR("CLIENT"));
        gavel__resp_arg(out, GAVEL_STR("SETNAME"));
        gavel__resp_arg(out, gavel_str(config->name));
    }
    write_command(handshake, GAVEL__HANDSHAKE_INFO, out, 1);
    gavel__resp_arg(out, GAVEL_STR("INFO"));
}

static void write_select(gavel__handshake *handshake, int database, gavel__buffer *out)
{
    write_command(handshake, GAVEL__HANDSHAKE_SELECT, out, 2);
    gavel__resp_arg(out, GAVEL_STR("SELECT"));
    gavel__resp_arg_int(out, database);
}

static void write_marker(
    gavel__handshake *handshake, gavel_bytes marker, int64_t ttl_us, gavel__buffer *out)
{
    int64_t ttl_ms = ttl_us / 1000;
    handshake->n_writes = 1;
    write_command(handshake, GAVEL__HANDSHAKE_SET, out, 5);
    gavel__resp_arg(out, GAVEL_STR("SET"));
    gavel__resp_arg(out, marker);
    gavel__resp_arg(out, GAVEL_STR("0"));
    gavel__resp_arg(out, GAVEL_STR("PX"));
    gavel__resp_arg_int(out, ttl_ms > 0 ? ttl_ms : 1);
}

void gavel__handshake_write(gavel__handshake *handshake, const gavel__link_config *config,
    gavel_bytes marker, gavel__buffer *out)
{
    *handshake = (gavel__handshake){
        .login = handshake->login, .has_no_hello = handshake->has_no_hello, .kind = config->kind};
    if (handshake->has_no_hello)
        write_without_hello(handshake, config, out);
    else
        write_hello(handshake, config, out);
    if (config->kind == GAVEL__LINK_TO_SENTINEL)
        return;
    if (config->address->database != 0)
        write_select(handshake, config->address->database, out);
    write_command(handshake, GAVEL__HANDSHAKE_MULTI, out, 1);
    gavel__resp_arg(out, GAVEL_STR("MULTI"));
    if (marker.size > 0 && config->marker_ttl_us > 0)
        write_marker(handshake, marker, config->marker_ttl_us, out);
    write_command(handshake, GAVEL__HANDSHAKE_EXEC, out, 1);
    gavel__resp_arg(out, GAVEL_STR("EXEC"));
}

/* ---- Errors -------------------------------------------------------------------------------- */

static bool find(gavel_bytes text, gavel_bytes part, size_t *ret_place)
{
    for (size_t i = 0; i + part.size <= text.size; i++) {
        if (gavel__bytes_equal((gavel_bytes){text.data + i, part.size}, part)) {
            *ret_place = i;
            return true;
        }
    }
    return false;
}

static gavel_bytes first_word(gavel_bytes text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] != ' ')
        size++;
    return (gavel_bytes){text.data, size};
}

/*
 * A server that does not know a command repeats its arguments. Any other words are kept unless
 * they hold the password or how it begins, for what is repeated may have been cut.
 */
gavel_bytes gavel__handshake_censor(gavel_bytes words, const char *password)
{
    size_t place;
    if (find(words, GAVEL_STR(", with args beginning with"), &place))
        words.size = place;
    gavel_bytes secret = gavel_str(password);
    if (secret.size > 8)
        secret.size = 8;
    if (secret.size > 0 && find(words, secret, &place)) {
        gavel_bytes code = first_word(words);
        return place >= code.size ? code : (gavel_bytes){words.data, 0};
    }
    return words;
}

/* Errors that stay the same however often one connects. Others, also those that nobody has thought
 * of, may pass: the one who connects bounds how often it tries. */
static bool is_final_error(gavel_bytes error)
{
    static const gavel_bytes because = {"because of: ", 12};
    size_t place;
    if (gavel__bytes_start_with(error, GAVEL_STR("EXECABORT")) && find(error, because, &place)) {
        place += because.size;
        error = (gavel_bytes){error.data + place, error.size - place};
    }
    static const char *const codes[] = {"WRONGPASS", "NOAUTH", "NOPERM", "NOPROTO", "DENIED"};
    gavel_bytes code = first_word(error);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (gavel__bytes_equal(code, gavel_str(codes[i])))
            return true;
    }
    return gavel__bytes_equal(code, GAVEL_STR("ERR")) &&
           !gavel__bytes_start_with(error, GAVEL_STR("ERR max number of clients"));
}

static const char *step_name(gavel__handshake_step step)
{
    switch (step) {
    case GAVEL__HANDSHAKE_HELLO:
        return "the login (HELLO)";
    case GAVEL__HANDSHAKE_AUTH:
        return "the login (AUTH)";
    case GAVEL__HANDSHAKE_SETNAME:
        return "the name (CLIENT SETNAME)";
    case GAVEL__HANDSHAKE_INFO:
        return "INFO";
    case GAVEL__HANDSHAKE_SELECT:
        return "the database (SELECT)";
    case GAVEL__HANDSHAKE_MULTI:
        return "MULTI";
    case GAVEL__HANDSHAKE_SET:
        return "the marker (SET)";
    case GAVEL__HANDSHAKE_EXEC:
        return "EXEC";
    }
    return "?";
}

/* Room for as whom. */
#define LOGIN_NAME_SIZE 80

static bool has_password(const gavel__handshake *handshake)
{
    return handshake->login.password != NULL && handshake->login.password[0] != '\0';
}

/* What can be done about it, as it goes on behind the step; "" where the server's words say it. */
static const char *advice(
    const gavel__handshake *handshake, gavel__handshake_step step, gavel_bytes error)
{
    gavel_bytes code = first_word(error);
    bool is_missing = gavel__bytes_equal(code, GAVEL_STR("NOAUTH"));
    bool is_wrong = gavel__bytes_equal(code, GAVEL_STR("WRONGPASS"));
    if ((is_missing || is_wrong) && !has_password(handshake)) {
        if (handshake->login.may_change)
            return " without a password (log_in has named none)";
        if (handshake->kind == GAVEL__LINK_TO_SENTINEL)
            return " without a password (?sentinel_password= in the URL)";
        return is_missing
                   ? " without a password (redis://:password@host, unix://:password@/path)"
                   : " of a user without a password (redis://:password@host has a password alone)";
    }
    bool is_marker = step == GAVEL__HANDSHAKE_SET && gavel__bytes_equal(code, GAVEL_STR("NOPERM"));
    return is_marker ? "; allow the user gavel's own keys (ACL SETUSER ... ~gavel:*)" : "";
}

/* As whom, with a blank in front; "" where nobody has logged in, and of a URL's user without a
 * password, which may be the password gone astray. */
static const char *login_name(const gavel__handshake *handshake, char storage[LOGIN_NAME_SIZE])
{
    char user[64];
    const gavel__handshake_login *login = &handshake->login;
    storage[0] = '\0';
    if (login->user != NULL && (has_password(handshake) || login->may_change))
        gavel__format(storage, LOGIN_NAME_SIZE, " as \"%s\"",
            gavel__printable(gavel_str(login->user), user, sizeof(user)));
    else if (login->user == NULL && has_password(handshake))
        gavel__format(storage, LOGIN_NAME_SIZE, " as the default user");
    return storage;
}

static bool refuse_error(const gavel__handshake *handshake, gavel__handshake_step step,
    gavel_bytes error, gavel__link_loss *ret_loss)
{
    gavel_bytes words = gavel__handshake_censor(error, handshake->login.password);
    char shown[GAVEL_MESSAGE_SIZE];
    char name[LOGIN_NAME_SIZE] = "";
    bool is_login = step == GAVEL__HANDSHAKE_HELLO || step == GAVEL__HANDSHAKE_AUTH;
    bool may_pass = is_login && handshake->login.may_change;
    *ret_loss =
        (gavel__link_loss){.is_final = is_final_error(error) && !may_pass, .server_error = words};
    gavel__format(ret_loss->message, sizeof(ret_loss->message), "the server refused %s%s%s: %s",
        step_name(step), is_login ? login_name(handshake, name) : "",
        advice(handshake, step, error),
        words.size > 0 ? gavel__printable(words, shown, sizeof(shown)) : "(words withheld)");
    return false;
}

static bool refuse(gavel__link_loss *ret_loss, bool is_final, const char *message)
{
    *ret_loss = (gavel__link_loss){.is_final = is_final};
    gavel__format(ret_loss->message, sizeof(ret_loss->message), "%s", message);
    return false;
}

/* ---- Judging ------------------------------------------------------------------------------- */

static bool is_status(const gavel_reply *reply, gavel_bytes text)
{
    return reply->type == GAVEL_REPLY_STATUS && gavel__bytes_equal(reply->text, text);
}

/* The text that HELLO tells under a name; none where it tells nothing. */
static gavel_bytes find_field(const gavel_reply *map, gavel_bytes name)
{
    for (size_t i = 0; i + 1 < map->n_elements; i += 2) {
        if (gavel__bytes_equal(map->elements[i].text, name))
            return map->elements[i + 1].text;
    }
    return (gavel_bytes){"", 0};
}

/* Reads the digits at the beginning of *text and cuts them off. */
static bool cut_number(gavel_bytes *text, int *ret_number)
{
    int number = 0;
    size_t n = 0;
    while (n < text->size && n < 4 && text->data[n] >= '0' && text->data[n] <= '9')
        number = number * 10 + (text->data[n++] - '0');
    if (n == 0)
        return false;
    *text = (gavel_bytes){text->data + n, text->size - n};
    *ret_number = number;
    return true;
}

/* Below 0: older than the oldest. False: it is no version, with two numbers or three. */
static bool compare_version(gavel_bytes version, int *ret_order)
{
    int order = 0;
    for (size_t i = 0; i < N_VERSION_PARTS; i++) {
        int part = 0;
        if (i > 0 && gavel__bytes_start_with(version, GAVEL_STR(".")))
            version = (gavel_bytes){version.data + 1, version.size - 1};
        else if (i == 1)
            return false;
        if (!cut_number(&version, &part) && i < 2)
            return false;
        if (order == 0)
            order = part - version_min[i];
    }
    *ret_order = order;
    return true;
}

static bool check_version(gavel_bytes version, gavel__link_loss *ret_loss)
{
    int order = 0;
    if (!compare_version(version, &order))
        return refuse(ret_loss, true, "the server does not tell its version");
    if (order >= 0)
        return true;
    char shown[32];
    refuse(ret_loss, true, "");
    gavel__format(ret_loss->message, sizeof(ret_loss->message),
        "too old: %s, gavel needs " VERSION_MIN " or newer",
        gavel__printable(version, shown, sizeof(shown)));
    return false;
}

/*
 * Before 8.0 Redis answered WAITAOF at once where the file is written once a second (#13793), and
 * Valkey does so still, as of 9.1.
 */
static bool can_tell_fsync(bool is_redis, gavel_bytes version)
{
    int major = 0;
    return is_redis && cut_number(&version, &major) && major >= 8;
}

/* What a server tells of itself. */
typedef struct self_portrait {
    gavel_bytes version;
    gavel_bytes mode;
    gavel_bytes role;
} self_portrait;

static bool is_no_sentinel(const self_portrait *server, gavel__link_loss *ret_loss)
{
    return !gavel__bytes_equal(server->mode, GAVEL_STR("sentinel")) ||
           refuse(ret_loss, true,
               "this is a Sentinel, which keeps no data: "
               "redis+sentinel://host,host/NAME goes to its primary");
}

/* A server by itself, which takes writes; or a replica of one. */
static bool check_server(
    const self_portrait *server, bool wants_replica, gavel__link_loss *ret_loss)
{
    gavel_bytes mode = server->mode;
    gavel_bytes role = server->role;
    bool is_replica = gavel__bytes_equal(role, GAVEL_STR("replica")) ||
                      gavel__bytes_equal(role, GAVEL_STR("slave"));
    if (gavel__bytes_equal(mode, GAVEL_STR("cluster")))
        return refuse(ret_loss, true,
            "this is a node of a Redis Cluster: "
            "redis+cluster://host,host goes to all of them");
    if (!is_no_sentinel(server, ret_loss))
        return false;
    if (wants_replica)
        return is_replica || refuse(ret_loss, false, "this is no replica");
    return !is_replica || refuse(ret_loss, false, "this is a replica, which takes no writes");
}

static bool check_sentinel(const self_portrait *server, gavel__link_loss *ret_loss)
{
    if (gavel__bytes_equal(server->mode, GAVEL_STR("sentinel")))
        return true;
    if (gavel__bytes_equal(server->mode, GAVEL_STR("cluster")))
        return refuse(ret_loss, true,
            "this is a node of a Redis Cluster, no Sentinel: redis+cluster:// is for it");
    return refuse(ret_loss, true,
        "this is a plain server, no Sentinel: redis:// is for it; Sentinels are mostly at port "
        "26379");
}

static bool check_portrait(
    const gavel__handshake *handshake, const self_portrait *server, gavel__link_loss *ret_loss)
{
    if (handshake->kind == GAVEL__LINK_TO_SENTINEL)
        return check_sentinel(server, ret_loss);
    if (!check_version(server->version, ret_loss))
        return false;
    if (handshake->kind == GAVEL__LINK_TO_NODE)
        return gavel__bytes_equal(server->mode, GAVEL_STR("cluster")) ||
               (is_no_sentinel(server, ret_loss) &&
                   refuse(
                       ret_loss, true, "this is no node of a Redis Cluster: redis:// is for it"));
    return check_server(server, handshake->kind == GAVEL__LINK_TO_REPLICA, ret_loss);
}

static bool check_hello(
    gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss)
{
    if (reply->type != GAVEL_REPLY_ARRAY)
        return refuse(ret_loss, false, "the reply to HELLO is not an array");
    self_portrait server = {.version = find_field(reply, GAVEL_STR("version")),
        .mode = find_field(reply, GAVEL_STR("mode")),
        .role = find_field(reply, GAVEL_STR("role"))};
    bool is_redis = gavel__bytes_equal(find_field(reply, GAVEL_STR("server")), GAVEL_STR("redis"));
    handshake->can_tell_fsync = can_tell_fsync(is_redis, server.version);
    return check_portrait(handshake, &server, ret_loss);
}

static bool check_info(
    gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss)
{
    if (reply->type != GAVEL_REPLY_STRING)
        return refuse(ret_loss, false, "the reply to INFO is not a text");
    self_portrait server = {.version = gavel__find_line(reply->text, GAVEL_STR("redis_version:")),
        .mode = gavel__find_line(reply->text, GAVEL_STR("redis_mode:")),
        .role = gavel__find_line(reply->text, GAVEL_STR("role:"))};
    bool is_redis = gavel__find_line(reply->text, GAVEL_STR("valkey_version:")).size == 0;
    handshake->can_tell_fsync = can_tell_fsync(is_redis, server.version);
    return check_portrait(handshake, &server, ret_loss);
}

static bool check_exec(
    const gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss)
{
    if (reply->type != GAVEL_REPLY_ARRAY || reply->n_elements != handshake->n_writes)
        return refuse(ret_loss, false, "the reply to EXEC is not the expected array");
    if (reply->n_elements == 0 || is_status(&reply->elements[0], GAVEL_STR("OK")))
        return true;
    if (reply->elements[0].type == GAVEL_REPLY_ERROR)
        return refuse_error(handshake, GAVEL__HANDSHAKE_SET, reply->elements[0].text, ret_loss);
    return refuse(ret_loss, false, "the reply to the marker's SET is not OK");
}

/* By a server or a proxy that has no such command, or does not let this user have it. Not said of a
 * wrong password. */
static bool is_command_refused(const gavel_reply *reply)
{
    size_t place;
    if (reply->type != GAVEL_REPLY_ERROR)
        return false;
    return gavel__bytes_start_with(reply->text, GAVEL_STR("NOPERM")) ||
           (gavel__bytes_start_with(reply->text, GAVEL_STR("ERR un")) && /* -known, -supported */
               find(reply->text, GAVEL_STR("command"), &place));
}

/* What gavel can do without, once it does without HELLO. */
static bool may_be_refused(gavel__handshake_step step, const gavel_reply *reply)
{
    bool is_needless = step == GAVEL__HANDSHAKE_SETNAME || step == GAVEL__HANDSHAKE_INFO;
    return is_needless && is_command_refused(reply);
}

static bool check(gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss)
{
    gavel__handshake_step step = handshake->steps[handshake->i_step];
    if (may_be_refused(step, reply))
        return true;
    if (reply->type == GAVEL_REPLY_ERROR)
        return refuse_error(handshake, step, reply->text, ret_loss);
    switch (step) {
    case GAVEL__HANDSHAKE_HELLO:
        return check_hello(handshake, reply, ret_loss);
    case GAVEL__HANDSHAKE_AUTH:
        return is_status(reply, GAVEL_STR("OK")) ||
               refuse(ret_loss, false, "the reply to AUTH is not OK");
    case GAVEL__HANDSHAKE_SETNAME:
        return true;
    case GAVEL__HANDSHAKE_INFO:
        return check_info(handshake, reply, ret_loss);
    case GAVEL__HANDSHAKE_SELECT:
        return is_status(reply, GAVEL_STR("OK")) ||
               refuse(ret_loss, false, "the reply to SELECT is not OK");
    case GAVEL__HANDSHAKE_MULTI:
        return is_status(reply, GAVEL_STR("OK")) ||
               refuse(ret_loss, false, "the reply to MULTI is not OK");
    case GAVEL__HANDSHAKE_SET:
        return is_status(reply, GAVEL_STR("QUEUED")) ||
               refuse(ret_loss, false, "the reply to the marker's SET is not QUEUED");
    case GAVEL__HANDSHAKE_EXEC:
        return check_exec(handshake, reply, ret_loss);
    }
    return false;
}

gavel__handshake_result gavel__handshake_take(
    gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss)
{
    gavel__handshake_step step = handshake->steps[handshake->i_step];
    handshake->is_hello_refused |= step == GAVEL__HANDSHAKE_HELLO && is_command_refused(reply);
    handshake->is_info_refused |= step == GAVEL__HANDSHAKE_INFO && is_command_refused(reply);
    /* Behind a HELLO that was refused nobody is logged in, and all else may well be refused. */
    if (!handshake->is_hello_refused && !check(handshake, reply, ret_loss))
        return GAVEL__HANDSHAKE_RESULT_BAD;
    if (++handshake->i_step < handshake->n_steps)
        return GAVEL__HANDSHAKE_RESULT_MORE;
    return handshake->is_hello_refused ? GAVEL__HANDSHAKE_RESULT_AGAIN
                                       : GAVEL__HANDSHAKE_RESULT_GOOD;
}
