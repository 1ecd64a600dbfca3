/*
 * The control lane: scripts in order, and what becomes of each. When the link is lost, the calls in
 * flight are handed back one by one; most are made again, since the scripts can be asked twice.
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/server_error.h"

/* Of the pause between two attempts to connect. */
static const int64_t min_retry_us = 20000;
static const int64_t max_retry_us = 1000000;

/* ---- Lanes --------------------------------------------------------------------------------- */

void gavel__lock_lane_reset(gavel__locks *locks, gavel__lock_lane *lane, int64_t now_us)
{
    lane->lane.state = GAVEL__LANE_DOWN;
    lane->lane.is_condemned = false;
    lane->lane.n_new_replies = 0;
    lane->lane.out = NULL;
    lane->is_blocked = false;
    lane->n_skipped = 0;
    int64_t pause_us = 0;
    if (lane->lane.n_failures > 0) {
        uint32_t n_doublings = lane->lane.n_failures < 7 ? lane->lane.n_failures - 1 : 6;
        pause_us = min_retry_us << n_doublings;
        if (pause_us > max_retry_us)
            pause_us = max_retry_us;
        pause_us -= (int64_t)gavel__random_below(&locks->random, (uint64_t)pause_us / 2);
    }
    lane->lane.n_failures++;
    lane->retry_us = now_us + pause_us;
}

void gavel__lock_lane_wrote(gavel__lock_lane *lane, size_t size_before, size_t n_replies)
{
    lane->lane.n_appended += lane->lane.out->size - size_before;
    lane->lane.n_new_replies += n_replies;
}

/* ---- Calls --------------------------------------------------------------------------------- */

void gavel__lock_call_init(gavel__lock_call *call, gavel_lock *lock, gavel__lock_op *op)
{
    *call = (gavel__lock_call){.lock = lock, .op = op};
    gavel__list_init(&call->node);
}

void gavel__lock_call_request(
    gavel__locks *locks, gavel__lock_call *call, gavel__lock_call_kind kind)
{
    call->kind = kind;
    call->state = GAVEL__LOCK_CALL_PENDING;
    gavel__list_append(&locks->pending, &call->node);
}

void gavel__lock_call_withdraw(gavel__lock_call *call)
{
    if (call->state != GAVEL__LOCK_CALL_PENDING)
        return;
    gavel__list_remove(&call->node);
    call->state = GAVEL__LOCK_CALL_IDLE;
}

bool gavel__lock_on_error(gavel_lock *lock, gavel_bytes words)
{
    char shown[GAVEL_MESSAGE_SIZE];
    gavel__printable(words, shown, sizeof(shown));
    gavel__format(lock->message, sizeof(lock->message), "%s", shown);
    switch (gavel__server_error_remedy(words)) {
    case GAVEL__REMEDY_GIVE_UP:
        return false;
    case GAVEL__REMEDY_TRY_AGAIN:
        return true;
    case GAVEL__REMEDY_RECONNECT:
        gavel__lane_condemn(&lock->locks->lanes[0].lane, lock->message);
        return true;
    }
    return false;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static gavel_bytes owner_of(const gavel_lock *lock)
{
    return (gavel_bytes){lock->owner, sizeof(lock->owner)};
}

static gavel_bytes turn_of(const gavel_lock *lock)
{
    return (gavel_bytes){lock->turn, sizeof(lock->turn)};
}

static gavel__lock_taking taking_of(const gavel_lock *lock, gavel_bytes turn)
{
    return (gavel__lock_taking){
        owner_of(lock), lock->lease_ms, turn, gavel_str(lock->locks->config.holder)};
}

static void write_user_call(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel__lock_call *call)
{
    gavel_lock *lock = call->lock;
    if (call->op->kind == GAVEL__LOCK_OP_DO) {
        gavel__buffer_append(out, (gavel_bytes){call->op->wire.data, call->op->wire.size});
        return;
    }
    if (call->op->lease_ms != 0)
        lock->lease_ms = call->op->lease_ms;
    gavel__lock_shorten_lease(lock, call->sent_us);
    gavel__lock_write_renew(out, keys, owner_of(lock), lock->lease_ms);
}

static void write_call(gavel__locks *locks, gavel__lock_call *call, gavel__buffer *out)
{
    gavel_lock *lock = call->lock;
    gavel__lock_line *line = lock != NULL ? lock->line : call->line;
    gavel__lock_keys keys;
    gavel__lock_keys_init(
        &keys, locks->config.key_prefix, lock != NULL ? lock->name : line->map_node.key);
    gavel__lock_taking taking;
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
        taking = taking_of(lock, GAVEL_STR(""));
        gavel__lock_write_offer(out, &keys, turn_of(lock));
        gavel__lock_write_take(out, &keys, &taking);
        break;
    case GAVEL__LOCK_CALL_TAKE:
        taking = taking_of(lock, (gavel_bytes){line->turn, line->turn_size});
        gavel__lock_write_take(out, &keys, &taking);
        break;
    case GAVEL__LOCK_CALL_RENEW:
        gavel__lock_write_renew(out, &keys, owner_of(lock), lock->lease_ms);
        break;
    case GAVEL__LOCK_CALL_RELEASE:
        gavel__lock_write_release(out, &keys, owner_of(lock), turn_of(lock));
        break;
    case GAVEL__LOCK_CALL_HAND_OFF:
        gavel__lock_write_hand_off(out, &keys, (gavel_bytes){line->turn, line->turn_size});
        break;
    case GAVEL__LOCK_CALL_USER:
        write_user_call(out, &keys, call);
        break;
    }
}

static bool prolongs(const gavel__lock_call *call)
{
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
    case GAVEL__LOCK_CALL_TAKE:
    case GAVEL__LOCK_CALL_RENEW:
        return true;
    case GAVEL__LOCK_CALL_USER:
        return call->op->kind == GAVEL__LOCK_OP_EXTEND;
    case GAVEL__LOCK_CALL_RELEASE:
    case GAVEL__LOCK_CALL_HAND_OFF:
        break;
    }
    return false;
}

static void send_call(gavel__locks *locks, gavel__lock_call *call, int64_t now_us)
{
    gavel__lock_lane *control = &locks->lanes[0];
    gavel__buffer *out = control->lane.out;
    size_t size_before = out->size;
    call->state = GAVEL__LOCK_CALL_IN_FLIGHT;
    call->sent_us = now_us;
    call->has_offered = false;
    gavel__list_append(&control->calls, &call->node);
    write_call(locks, call, out);
    gavel__lock_lane_wrote(control, size_before, call->kind == GAVEL__LOCK_CALL_PROBE ? 2 : 1);
    call->end_byte = out->has_failed ? UINT64_MAX : control->lane.n_appended;
    if (prolongs(call))
        call->lock->lingers_until_us =
            now_us + (int64_t)call->lock->lease_ms * 1000 + locks->config.timeout_us;
}

void gavel__lock_control_advance(gavel__locks *locks, int64_t now_us)
{
    gavel__lock_lane *control = &locks->lanes[0];
    if (gavel__list_is_empty(&locks->pending))
        return;
    if (control->lane.state != GAVEL__LANE_UP) {
        control->is_wanted = true;
        return;
    }
    while (!control->lane.is_condemned && !gavel__list_is_empty(&locks->pending)) {
        gavel__list *node = gavel__list_pop(&locks->pending);
        send_call(locks, GAVEL__CONTAINER(node, gavel__lock_call, node), now_us);
    }
}
