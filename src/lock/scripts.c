/*
 * Scripts and replies. Used by call.c, line.c and answers.c.
 *
 * The record is one line: "OWNER fence=N since=MS pid=N host=TEXT" of a holder, "- TURN" of a lock
 * that is handed off. A script compares a record's first 32 bytes with the owner, so nothing that
 * stands behind them can pass for it.
 */
#include "lock/scripts.h"

#include "base/resp.h"
#include "base/text.h"

#define TEXT_OF_MACRO(x) #x
#define TEXT_OF(x) TEXT_OF_MACRO(x)
#define IS_MINE "string.sub(r,1," TEXT_OF(GAVEL__LOCK_OWNER_SIZE) ")==ARGV[1] "
#define GET_RECORD "local r=redis.call('GET',KEYS[1]) "

/* Any other hand-off ends with this: at most one turn lies in the queue. */
#define HAND_OFF(turn, ttl)                                                                        \
    "redis.call('SET',KEYS[1],'- '.." turn ",'PX'," ttl ") "                                       \
    "redis.call('DEL',KEYS[2]) "                                                                   \
    "redis.call('RPUSH',KEYS[2]," turn ") "                                                        \
    "redis.call('PEXPIRE',KEYS[2]," ttl ") "                                                       \
    "return 1"

static const char offer_script[] =
    "if redis.call('EXISTS',KEYS[1])==1 then return 0 end " HAND_OFF("ARGV[1]", "ARGV[2]");

/* The number is the larger of the last one plus one and the server's clock in microseconds, so that
 * it grows after the data were lost, too. */
static const char take_script[] = GET_RECORD
    "if r and " IS_MINE "then "
    "redis.call('PEXPIRE',KEYS[1],ARGV[2]) return {1,string.match(r,'fence=(%d+)')} end "
    "local turn=ARGV[3] "
    "if turn=='' and r and string.sub(r,1,2)=='- ' then turn=redis.call('LPOP',KEYS[2]) or '' end "
    "if turn=='' or (r and r~='- '..turn) then return {0,redis.call('PTTL',KEYS[1]),r} end "
    "local t=redis.call('TIME') "
    "local last=tonumber(redis.call('GET',KEYS[3]) or '0') or 0 "
    "local fence=string.format('%.0f',math.max(last+1,t[1]*1000000+t[2])) "
    "local since=string.format('%.0f',t[1]*1000+math.floor(t[2]/1000)) "
    "redis.call('SET',KEYS[3],fence,'PX',ARGV[5]) "
    "redis.call('SET',KEYS[1],ARGV[1]..' fence='..fence..' since='..since..' '..ARGV[4],"
    "'PX',ARGV[2]) "
    "return {1,fence}";

static const char hand_off_script[] =
    GET_RECORD "if r~='- '..ARGV[1] then return 0 end " HAND_OFF("ARGV[1]", "ARGV[2]");

static const char renew_script[] = GET_RECORD "if not r then return 0 end "
                                              "if not(" IS_MINE ") then return r end "
                                              "redis.call('PEXPIRE',KEYS[1],ARGV[2]) return 1";

/* Asked again after a lost reply, it finds its own hand-off. */
static const char release_script[] =
    GET_RECORD "if not r then return 0 end "
               "if r=='- '..ARGV[2] then return 1 end "
               "if not(" IS_MINE ") then return r end " HAND_OFF("ARGV[2]", "ARGV[3]");

/* ARGV[2] of the command's arguments stand before its keys. */
static const char do_script[] = GET_RECORD "if not r then return 0 end "
                                           "if not(" IS_MINE ") then return r end "
                                           "return {1,redis.pcall(unpack(ARGV,2))}";

/* ---- Writing ------------------------------------------------------------------------------- */

void gavel__lock_keys_init(gavel__lock_keys *ret_keys, const char *prefix, gavel_bytes name)
{
    gavel_bytes head = gavel_str(prefix);
    char(*storage)[sizeof(ret_keys->storage[0])] = ret_keys->storage;
    ret_keys->record = gavel__name_of(GAVEL__NAME_LOCK, head, name, storage[0]);
    ret_keys->queue = gavel__name_of(GAVEL__NAME_LOCK_QUEUE, head, name, storage[1]);
    ret_keys->fence = gavel__name_of(GAVEL__NAME_LOCK_FENCE, head, name, storage[2]);
}

/* EVAL of a script; behind this come its n keys, those of the lock first, and then its n arguments.
 */
static void begin_eval(gavel__buffer *out, const char *script, size_t n_keys, size_t n_args)
{
    gavel__resp_begin(out, 3 + n_keys + n_args);
    gavel__resp_arg(out, GAVEL_STR("EVAL"));
    gavel__resp_arg(out, gavel_str(script));
    gavel__resp_arg_int(out, (int64_t)n_keys);
}

void gavel__lock_write_offer(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes turn)
{
    begin_eval(out, offer_script, 2, 2);
    gavel__resp_arg(out, keys->record);
    gavel__resp_arg(out, keys->queue);
    gavel__resp_arg(out, turn);
    gavel__resp_arg_int(out, GAVEL__LOCK_HAND_OFF_MS);
}

void gavel__lock_write_take(
    gavel__buffer *out, const gavel__lock_keys *keys, const gavel__lock_taking *taking)
{
    begin_eval(out, take_script, 3, 5);
    gavel__resp_arg(out, keys->record);
    gavel__resp_arg(out, keys->queue);
    gavel__resp_arg(out, keys->fence);
    gavel__resp_arg(out, taking->owner);
    gavel__resp_arg_int(out, taking->lease_ms);
    gavel__resp_arg(out, taking->turn);
    gavel__resp_arg(out, taking->holder);
    gavel__resp_arg_int(out, GAVEL__LOCK_FENCE_TTL_MS);
}

void gavel__lock_write_hand_off(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes turn)
{
    begin_eval(out, hand_off_script, 2, 2);
    gavel__resp_arg(out, keys->record);
    gavel__resp_arg(out, keys->queue);
    gavel__resp_arg(out, turn);
    gavel__resp_arg_int(out, GAVEL__LOCK_HAND_OFF_MS);
}

void gavel__lock_write_renew(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner, uint32_t lease_ms)
{
    begin_eval(out, renew_script, 1, 2);
    gavel__resp_arg(out, keys->record);
    gavel__resp_arg(out, owner);
    gavel__resp_arg_int(out, lease_ms);
}

void gavel__lock_write_release(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner, gavel_bytes turn)
{
    begin_eval(out, release_script, 2, 3);
    gavel__resp_arg(out, keys->record);
    gavel__resp_arg(out, keys->queue);
    gavel__resp_arg(out, owner);
    gavel__resp_arg(out, turn);
    gavel__resp_arg_int(out, GAVEL__LOCK_HAND_OFF_MS);
}

void gavel__lock_write_do(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner,
    const gavel__command *command)
{
    begin_eval(out, do_script, 1 + command->n_keys, 1 + command->n_args);
    gavel__resp_arg(out, keys->record);
    for (size_t i = 0; i < command->n_keys; i++)
        gavel__resp_arg(out, gavel__command_key(command, i));
    gavel__resp_arg(out, owner);
    for (size_t i = 0; i < command->n_args; i++)
        gavel__resp_arg(out, command->args[i]);
}

void gavel__lock_write_wait(gavel__buffer *out, const gavel__lock_keys *keys)
{
    const gavel_bytes wait[] = {GAVEL_STR("BLPOP"), keys->queue, GAVEL_STR("0")};
    gavel__resp_name_waiter(out, keys->record);
    gavel__resp_command(out, wait, 3);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static gavel__lock_answer nonsense(void)
{
    return (gavel__lock_answer){.verdict = GAVEL__LOCK_VERDICT_NONSENSE,
        .text = GAVEL_STR("the server's reply is none that the script can give")};
}

static gavel__lock_answer error(const gavel_reply *reply)
{
    return (gavel__lock_answer){.verdict = GAVEL__LOCK_VERDICT_ERROR, .text = reply->text};
}

static gavel__lock_answer read_grant(const gavel_reply *reply)
{
    int64_t fence;
    if (reply->elements[1].type != GAVEL_REPLY_STRING ||
        !gavel__parse_int(reply->elements[1].text, &fence) || fence <= 0)
        return nonsense();
    return (gavel__lock_answer){.verdict = GAVEL__LOCK_VERDICT_OURS, .fence = fence};
}

gavel__lock_answer gavel__lock_read_take(const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_ERROR)
        return error(reply);
    if (reply->type != GAVEL_REPLY_ARRAY || reply->n_elements < 2)
        return nonsense();
    if (reply->elements[0].integer == 1)
        return read_grant(reply);
    gavel__lock_answer answer = {
        .verdict = GAVEL__LOCK_VERDICT_ABSENT, .remaining_ms = reply->elements[1].integer};
    if (reply->n_elements > 2 && reply->elements[2].type == GAVEL_REPLY_STRING) {
        answer.verdict = GAVEL__LOCK_VERDICT_FOREIGN;
        answer.text = reply->elements[2].text;
    }
    return answer;
}

gavel__lock_answer gavel__lock_read(const gavel_reply *reply)
{
    switch (reply->type) {
    case GAVEL_REPLY_ERROR:
        return error(reply);
    case GAVEL_REPLY_STRING:
        return (gavel__lock_answer){.verdict = GAVEL__LOCK_VERDICT_FOREIGN, .text = reply->text};
    case GAVEL_REPLY_INTEGER:
        return (gavel__lock_answer){
            .verdict = reply->integer == 1 ? GAVEL__LOCK_VERDICT_OURS : GAVEL__LOCK_VERDICT_ABSENT};
    case GAVEL_REPLY_ARRAY:
        if (reply->n_elements == 2)
            return (gavel__lock_answer){
                .verdict = GAVEL__LOCK_VERDICT_OURS, .reply = &reply->elements[1]};
        break;
    case GAVEL_REPLY_NIL:
    case GAVEL_REPLY_STATUS:
        break;
    }
    return nonsense();
}
