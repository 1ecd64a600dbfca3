/*
 * Waiting until writes are safe: WAIT and WAITAOF. For the table in sim_commands.c, and for
 * sim_blocking.c. Source: Redis 7.0, 7.2 and 8.0, replication.c.
 */
#include "sim_commands.h"
#include "sim_replication.h"

#include "base/text.h"

static int64_t n_replicas(const sim__session *session)
{
    const sim__wanted *wanted = &session->wanted;
    return (int64_t)sim__n_acks(session->server, wanted->offset, wanted->is_of_files);
}

/* Before 8.0, where the file is written once a second, it was said at once (Redis #13793). */
static int64_t n_local(const sim__session *session)
{
    const sim__replication *replication = session->server->replication;
    bool is_premature =
        replication->fsync_every_us > 0 && !sim__is_at_least(session->server->world, 8, 0);
    return is_premature || replication->fsynced_offset >= session->wanted.offset;
}

bool sim__has_wanted(const sim__session *session)
{
    const sim__wanted *wanted = &session->wanted;
    return n_replicas(session) >= wanted->n_replicas &&
           (wanted->n_local == 0 || n_local(session) >= wanted->n_local);
}

void sim__say_wanted(const sim__session *session, gavel__buffer *out)
{
    if (session->wanted.is_of_files) {
        sim__reply_array(out, 2);
        bool has_file = session->server->replication->fsync_every_us >= 0;
        sim__reply_int(out, has_file ? n_local(session) : 0);
    }
    sim__reply_int(out, n_replicas(session));
}

static void want(sim__call *call, sim__wanted wanted, int64_t timeout_ms)
{
    sim__session *session = call->session;
    session->wanted = wanted;
    session->wanted.is_set = true;
    session->wanted.offset = session->last_offset;
    bool may_block = session->number != 0 && call->world->running_exec == 0;
    if (may_block && !sim__has_wanted(session)) {
        sim__block(call, timeout_ms == 0 ? SIM__NO_EXPIRY : sim__now_ms(call->server) + timeout_ms);
        return;
    }
    sim__say_wanted(session, call->out);
    session->wanted = (sim__wanted){0};
}

static bool take_timeout(sim__call *call, size_t i, int64_t *ret_timeout_ms)
{
    if (!gavel__parse_int(call->args[i], ret_timeout_ms))
        sim__reply_error(call->out, "ERR timeout is not an integer or out of range");
    else if (*ret_timeout_ms < 0)
        sim__reply_error(call->out, "ERR timeout is negative");
    else
        return true;
    return false;
}

void sim__run_wait(sim__call *call)
{
    sim__wanted wanted = {0};
    int64_t timeout_ms;
    if (call->server->primary != NULL)
        sim__reply_error(call->out,
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 "
            "if a replica is configured to be writable (which is not the default) writes to "
            "replicas are just local and are not propagated.");
    else if (sim__arg_int(call, 1, &wanted.n_replicas) && take_timeout(call, 2, &timeout_ms))
        want(call, wanted, timeout_ms);
}

static bool take_local(sim__call *call, int64_t *ret_n)
{
    if (gavel__parse_int(call->args[1], ret_n) && *ret_n >= 0 && *ret_n <= 1)
        return true;
    sim__reply_error(call->out, "ERR value is out of range, must be between 0 and 1");
    return false;
}

static bool take_replicas(sim__call *call, int64_t *ret_n)
{
    if (gavel__parse_int(call->args[2], ret_n) && *ret_n >= 0)
        return true;
    sim__reply_error(call->out, "ERR value is out of range, must be positive");
    return false;
}

/* Known since 7.2. */
void sim__run_waitaof(sim__call *call)
{
    sim__wanted wanted = {.is_of_files = true};
    int64_t timeout_ms;
    if (!take_local(call, &wanted.n_local) || !take_replicas(call, &wanted.n_replicas) ||
        !take_timeout(call, 3, &timeout_ms))
        return;
    if (call->server->primary != NULL)
        sim__reply_error(call->out,
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to "
            "replicas are just local and are not propagated.");
    else if (wanted.n_local > 0 && call->server->replication->fsync_every_us < 0)
        sim__reply_error(call->out,
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    else
        want(call, wanted, timeout_ms);
}
