/*
 * Locks: requests in, outcomes out, and whose turn it is.
 */
#include "lock/locks.h"

#include "base/slot.h"
#include "base/text.h"
#include "core/transaction.h"
#include "lock/parts.h"

static const uint32_t default_lease_ms = 10000;
static const uint32_t min_lease_ms = 100;
static const uint32_t max_lease_ms = 86400000;
static const uint32_t default_wait_ms = 10000;
static const uint32_t default_deadline_ms = 5000;

/* ---- Life ---------------------------------------------------------------------------------- */

void gavel__locks_init(gavel__locks *locks, const gavel__locks_config *config)
{
    *locks = (gavel__locks){.config = *config,
        .call_ops = &gavel__lock_call_ops,
        .wait_ops = &gavel__lock_wait_ops,
        .n_dials = config->questions->n_failed_dials};
    if (config->reply_allocator == NULL)
        locks->config.reply_allocator = config->allocator;
    gavel__random_seed(&locks->random, config->seed);
    gavel__map_init(&locks->lines, config->allocator, gavel__random_next(&locks->random));
    gavel__heap_init(&locks->lock_timers, config->allocator);
    gavel__heap_init(&locks->op_timers, config->allocator);
    gavel__list_init(&locks->all);
    gavel__list_init(&locks->lost);
    gavel__list_init(&locks->done);
}

static void free_ops(gavel_lock *lock)
{
    for (gavel__list *node; (node = gavel__list_pop(&lock->ops)) != NULL;) {
        gavel__lock_op *op = GAVEL__CONTAINER(node, gavel__lock_op, lock_node);
        gavel_lock_outcome_clear(&op->outcome);
        gavel__buffer_finish(&op->wire);
        gavel__free(lock->locks->config.allocator, op);
    }
}

static void free_lines(gavel__locks *locks)
{
    for (size_t i = 0; i < locks->lines.n_buckets; i++) {
        for (gavel__map_node *node = locks->lines.buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            gavel__free(
                locks->config.allocator, GAVEL__CONTAINER(node, gavel__lock_line, map_node));
        }
    }
    gavel__map_finish(&locks->lines);
}

void gavel__locks_finish(gavel__locks *locks)
{
    const gavel_allocator *allocator = locks->config.allocator;
    if (allocator == NULL)
        return;
    for (gavel__list *node; (node = gavel__list_pop(&locks->all)) != NULL;) {
        gavel_lock *lock = GAVEL__CONTAINER(node, gavel_lock, node);
        free_ops(lock);
        gavel__free(allocator, lock);
    }
    free_lines(locks);
    gavel__heap_finish(&locks->lock_timers);
    gavel__heap_finish(&locks->op_timers);
    locks->config.allocator = NULL;
}

/* ---- Acquiring ----------------------------------------------------------------------------- */

static const char *fault_of(const gavel_lock_request *request)
{
    uint32_t lease_ms = request->lease_ms;
    if (!GAVEL__HAS_CLEAN_ROOM(request))
        return "the request's " GAVEL__UNCLEAN_ROOM;
    if (request->name.data == NULL || request->name.size == 0)
        return "the lock has no name";
    if (request->name.size > GAVEL_LOCK_NAME_MAX)
        return "the lock's name has more than 512 bytes";
    if (lease_ms != 0 && (lease_ms < min_lease_ms || lease_ms > max_lease_ms))
        return "lease_ms is below 100 or above 86400000";
    return NULL;
}

static void write_hex(const uint64_t random[2], char hex[GAVEL__LOCK_OWNER_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < GAVEL__LOCK_OWNER_SIZE; i++)
        hex[i] = digits[random[i / 16] >> (i % 16 * 4) & 15];
}

static gavel_lock *make_lock(gavel__locks *locks)
{
    if (!gavel__heap_reserve(&locks->lock_timers, locks->n_locks + 1) ||
        !gavel__heap_reserve(&locks->op_timers, locks->n_ops + locks->n_locks + 2))
        return NULL;
    gavel_lock *lock = gavel__alloc(locks->config.allocator, 1, sizeof(*lock));
    if (lock == NULL)
        return NULL;
    lock->locks = locks;
    lock->acquire.kind = GAVEL__LOCK_OP_ACQUIRE;
    lock->release.kind = GAVEL__LOCK_OP_RELEASE;
    lock->acquire.lock = lock;
    lock->release.lock = lock;
    lock->call = &lock->calls[0];
    gavel__list_init(&lock->acquire.node);
    gavel__list_init(&lock->release.node);
    gavel__list_init(&lock->ops);
    gavel__list_init(&lock->line_node);
    gavel__list_init(&lock->lost_node);
    atomic_init(&lock->good_until_us, 0);
    gavel__list_append(&locks->all, &lock->node);
    locks->n_locks++;
    return lock;
}

static int64_t wait_us(const gavel__locks *locks, const gavel_lock_request *request)
{
    if (request->is_try)
        return locks->config.timeout_us;
    return (int64_t)(request->wait_ms != 0 ? request->wait_ms : default_wait_ms) * 1000;
}

/* Others of this client come first. */
static bool is_behind_others(const gavel_lock *lock)
{
    return lock->line->waiting.next != &lock->line_node;
}

gavel_lock *gavel__locks_acquire(gavel__locks *locks, const gavel_lock_request *request,
    const gavel__lock_caller *caller, int64_t now_us)
{
    const char *fault = fault_of(request);
    gavel_lock *lock = make_lock(locks);
    if (lock == NULL)
        return NULL;
    if (fault == NULL)
        lock->line = gavel__lock_line_enter(locks, request->name);
    for (size_t i = 0; i < 2; i++) {
        gavel__lock_call_init(&lock->calls[i], locks, lock->line);
        lock->calls[i].lock = lock;
    }
    lock->is_try = request->is_try;
    lock->is_fixed = request->is_fixed;
    lock->lease_ms = request->lease_ms != 0 ? request->lease_ms : default_lease_ms;
    lock->on_lost = request->on_lost;
    lock->user = request->user;
    write_hex(caller->random, lock->owner);
    write_hex(caller->random + 2, lock->turn);
    gavel__lock_op_open(&lock->acquire, caller, now_us);
    lock->acquire.ticket = ++locks->n_tickets;
    gavel__heap_set(&locks->op_timers, &lock->acquire.timer, now_us + wait_us(locks, request));
    if (fault != NULL)
        gavel__lock_fail(lock, GAVEL_LOCK_INVALID, fault, now_us);
    else if (lock->line == NULL)
        gavel__lock_fail(lock, GAVEL_LOCK_NOT_SENT, "no memory", now_us);
    else
        gavel__lock_line_join(lock);
    if (lock->is_try && lock->state == GAVEL__LOCK_STATE_WAITING && is_behind_others(lock))
        gavel__lock_give_up(lock, now_us);
    return lock;
}

bool gavel__locks_cancel(gavel__locks *locks, gavel_ticket ticket, int64_t now_us)
{
    for (gavel__list *node = locks->all.next; node != &locks->all; node = node->next) {
        gavel_lock *lock = GAVEL__CONTAINER(node, gavel_lock, node);
        if (lock->acquire.ticket != ticket)
            continue;
        if (lock->acquire.state != GAVEL__LOCK_OP_OPEN || lock->acquire.is_cancelled)
            return false;
        lock->acquire.is_cancelled = true;
        gavel__lock_give_up(lock, now_us);
        return true;
    }
    return false;
}

/* ---- Holding ------------------------------------------------------------------------------- */

static gavel__lock_op *make_op(gavel_lock *lock, gavel__lock_op_kind kind)
{
    gavel__locks *locks = lock->locks;
    if (!gavel__heap_reserve(&locks->op_timers, locks->n_ops + locks->n_locks + 2))
        return NULL;
    gavel__lock_op *op = gavel__alloc(locks->config.allocator, 1, sizeof(*op));
    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->lock = lock;
    gavel__list_init(&op->node);
    gavel__list_init(&op->lock_node);
    gavel__lock_call_init(&op->call, locks, lock->line);
    op->call.lock = lock;
    op->call.op = op;
    gavel__buffer_init(&op->wire, locks->config.allocator);
    return op;
}

/* It is refused, or on its way. */
static void begin(gavel__lock_op *op, const char *fault, int64_t timeout_us, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    gavel__heap_set(&lock->locks->op_timers, &op->timer, now_us + timeout_us);
    gavel__list_append(&lock->ops, &op->lock_node);
    if (fault != NULL)
        gavel__lock_op_settle(op, GAVEL_LOCK_INVALID, fault, now_us);
    else if (gavel__lock_expire(lock, now_us) || lock->state != GAVEL__LOCK_STATE_GRANTED)
        gavel__lock_op_settle_lost(op, lock->reason, now_us);
    else
        gavel__lock_call_request(&op->call, GAVEL__LOCK_CALL_USER);
}

gavel__lock_op *gavel__locks_extend(
    gavel_lock *lock, uint32_t lease_ms, const gavel__lock_caller *caller, int64_t now_us)
{
    gavel__lock_op *op = make_op(lock, GAVEL__LOCK_OP_EXTEND);
    if (op == NULL)
        return NULL;
    bool is_good = lease_ms == 0 || (lease_ms >= min_lease_ms && lease_ms <= max_lease_ms);
    op->lease_ms = lease_ms;
    gavel__lock_op_open(op, caller, now_us);
    begin(op, is_good ? NULL : "lease_ms is below 100 or above 86400000",
        lock->locks->config.timeout_us, now_us);
    return op;
}

/* Whether a script can touch the lock's record and this key. */
static bool is_within_reach(
    const gavel_lock *lock, gavel_bytes key, char ret_message[GAVEL_MESSAGE_SIZE])
{
    gavel_bytes name = lock->line->map_node.key;
    uint16_t slot = gavel__slot_of(name);
    if (!lock->locks->config.is_cluster || gavel__slot_of(key) == slot)
        return true;
    char names[2][40];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE,
        "the lock \"%s\" is in slot %u, and the command's key \"%s\" in %u: give them a common "
        "{tag}",
        gavel__printable(name, names[0], sizeof(names[0])), (unsigned)slot,
        gavel__printable(key, names[1], sizeof(names[1])), (unsigned)gavel__slot_of(key));
    return false;
}

static bool are_within_reach(
    const gavel_lock *lock, const gavel__command *command, char ret_message[GAVEL_MESSAGE_SIZE])
{
    size_t i = 0;
    while (
        i < command->n_keys && is_within_reach(lock, gavel__command_key(command, i), ret_message))
        i++;
    return i == command->n_keys;
}

/* Finds the command's keys. False: what is wrong with it stands in `ret_message`. */
static bool resolve(const gavel_lock_command *guarded, gavel__command *ret_command,
    char ret_message[GAVEL_MESSAGE_SIZE])
{
    const gavel_command *command = &guarded->command;
    if (!GAVEL__HAS_CLEAN_ROOM(guarded)) {
        gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "the command's %s", GAVEL__UNCLEAN_ROOM);
        return false;
    }
    if (command->n_args > GAVEL_LOCK_ARGS_MAX) {
        gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "the command has more than 4096 arguments");
        return false;
    }
    gavel__purpose purpose = {.use = GAVEL__USE_LOCKED};
    return gavel__command_resolve(command, &purpose, ret_command, ret_message) == GAVEL__RESOLVED;
}

gavel__lock_op *gavel__locks_do(gavel_lock *lock, const gavel_lock_command *command,
    const gavel__lock_caller *caller, int64_t now_us)
{
    gavel__lock_op *op = make_op(lock, GAVEL__LOCK_OP_DO);
    if (op == NULL)
        return NULL;
    gavel__command resolved;
    char fault[GAVEL_MESSAGE_SIZE];
    bool is_good = resolve(command, &resolved, fault) && are_within_reach(lock, &resolved, fault);
    uint32_t deadline_ms = command->deadline_ms != 0 ? command->deadline_ms : default_deadline_ms;
    op->keep_reply = command->keep_reply;
    if (is_good) {
        gavel__lock_keys keys;
        gavel__lock_keys_init(&keys, lock->locks->config.key_prefix, lock->line->map_node.key);
        gavel__lock_write_do(
            &op->wire, &keys, (gavel_bytes){lock->owner, sizeof(lock->owner)}, &resolved);
    }
    if (op->wire.has_failed) {
        gavel__buffer_finish(&op->wire);
        gavel__free(lock->locks->config.allocator, op);
        return NULL;
    }
    gavel__lock_op_open(op, caller, now_us);
    begin(op, is_good ? NULL : fault, (int64_t)deadline_ms * 1000, now_us);
    return op;
}

void gavel__locks_release(gavel_lock *lock, const gavel__lock_caller *caller, int64_t now_us)
{
    gavel__locks *locks = lock->locks;
    gavel__lock_expire(lock, now_us);
    gavel__lock_op_open(&lock->release, caller, now_us);
    gavel__heap_set(&locks->op_timers, &lock->release.timer, now_us + locks->config.timeout_us);
    if (lock->state == GAVEL__LOCK_STATE_FORFEITED)
        gavel__lock_op_settle_lost(&lock->release, lock->reason, now_us);
    gavel__lock_end(lock, now_us);
}

/* ---- Closing ------------------------------------------------------------------------------- */

/* A caller that was not told yet that it holds the lock is told that it does not. */
static void take_grant_back(gavel_lock *lock)
{
    gavel__lock_op *op = &lock->acquire;
    if (op->state != GAVEL__LOCK_OP_SETTLED || op->outcome.status != GAVEL_LOCK_HELD)
        return;
    op->outcome.status = GAVEL_LOCK_CANCELLED;
    op->outcome.lock = NULL;
    op->outcome.fence = 0;
    gavel__format(op->outcome.message, sizeof(op->outcome.message), "the client is closing");
}

static void close_op(gavel__lock_op *op, bool is_final, int64_t now_us)
{
    bool is_sent = op->is_doubtful || gavel__lock_call_is_sent(&op->call);
    if (op->state != GAVEL__LOCK_OP_OPEN || (is_sent && !is_final))
        return;
    gavel__lock_op_settle(
        op, is_sent ? GAVEL_LOCK_UNKNOWN : GAVEL_LOCK_CANCELLED, "the client is closing", now_us);
    gavel__lock_call_withdraw(&op->call);
}

static void close_request(gavel_lock *lock, bool is_final, int64_t now_us)
{
    lock->acquire.is_cancelled = true;
    gavel__lock_give_up(lock, now_us);
    if (is_final && lock->state == GAVEL__LOCK_STATE_WAITING)
        gavel__lock_fail(lock, GAVEL_LOCK_UNKNOWN, "the client is closing", now_us);
}

/* Its script is sent if there is a link. In a Cluster another node may have it, or get it yet. */
static void close_release(gavel_lock *lock, int64_t now_us)
{
    const gavel__locks_config *config = &lock->locks->config;
    uint16_t slot = lock->call->question.slot;
    bool may_be_sent =
        config->is_cluster || gavel__questions_trouble(config->questions, slot)[0] == '\0';
    gavel__lock_op_settle(&lock->release,
        may_be_sent || lock->release.is_doubtful ? GAVEL_LOCK_UNKNOWN : GAVEL_LOCK_NOT_SENT,
        "the client is closing", now_us);
}

static void close_lock(gavel_lock *lock, bool is_final, int64_t now_us)
{
    for (gavel__list *node = lock->ops.next; node != &lock->ops; node = node->next)
        close_op(GAVEL__CONTAINER(node, gavel__lock_op, lock_node), is_final, now_us);
    switch (lock->state) {
    case GAVEL__LOCK_STATE_WAITING:
        close_request(lock, is_final, now_us);
        break;
    case GAVEL__LOCK_STATE_GRANTED:
    case GAVEL__LOCK_STATE_FORFEITED:
        take_grant_back(lock);
        gavel__locks_release(lock, &(gavel__lock_caller){.done = NULL}, now_us);
        break;
    case GAVEL__LOCK_STATE_ENDING:
        if (is_final)
            close_release(lock, now_us);
        break;
    case GAVEL__LOCK_STATE_ENDED:
        break;
    }
}

void gavel__locks_close(gavel__locks *locks, bool is_final, int64_t now_us)
{
    gavel__list *next;
    locks->is_closing = true;
    for (gavel__list *node = locks->all.next; node != &locks->all; node = next) {
        gavel_lock *lock = GAVEL__CONTAINER(node, gavel_lock, node);
        next = node->next;
        close_lock(lock, is_final, now_us);
    }
}

/* ---- Events -------------------------------------------------------------------------------- */

void gavel__locks_advance(gavel__locks *locks, int64_t now_us)
{
    gavel__locks_expire(locks, now_us);
    gavel__locks_end_overdue(locks, now_us);
    gavel__locks_end_tries(locks, now_us);
}

bool gavel__locks_has_overdue(const gavel__locks *locks, int64_t now_us)
{
    const gavel__heap_node *first = gavel__heap_first(&locks->op_timers);
    return first != NULL && first->due_us <= now_us;
}

int64_t gavel__locks_due_us(const gavel__locks *locks)
{
    int64_t due_us = GAVEL__NEVER;
    const gavel__heap_node *first = gavel__heap_first(&locks->lock_timers);
    if (first != NULL)
        due_us = first->due_us;
    first = gavel__heap_first(&locks->op_timers);
    if (first != NULL && first->due_us < due_us)
        due_us = first->due_us;
    return due_us;
}

bool gavel__locks_are_busy(const gavel__locks *locks)
{
    return locks->n_ops > 0 || locks->n_held > 0 || !gavel__list_is_empty(&locks->lost) ||
           !gavel__list_is_empty(&locks->done);
}

gavel_lock *gavel__locks_take_lost(gavel__locks *locks)
{
    gavel__list *node = gavel__list_pop(&locks->lost);
    return node != NULL ? GAVEL__CONTAINER(node, gavel_lock, lost_node) : NULL;
}

bool gavel__locks_are_idle(const gavel__locks *locks)
{
    return locks->n_calls == 0 && gavel__list_is_empty(&locks->lost) &&
           gavel__list_is_empty(&locks->done);
}
