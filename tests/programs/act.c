/* Acts: see the header. */
#include "act.h"

#include "prose.h"

#include <string.h>

void act_begin(act *self, const batch_program *program)
{
    *self = (act){.program = program, .told = prose_begin()};
    gavel__format(self->log_number, sizeof self->log_number, "%d", program->number);
    self->log = (batch_step){.kind = STEP_WRITE,
        .words = {"RPUSH", batch_log, self->log_number},
        .n_words = 3,
        .n_keys = 1};
}

void act_end(act *self)
{
    gavel__buffer_finish(&self->told);
}

/* ---- What is seen -------------------------------------------------------------------------- */

static void note(act *self, gavel_bytes seen)
{
    for (size_t i = 0; i < seen.size; i++) /* FNV-1a */
        self->hash = (self->hash ^ (unsigned char)seen.data[i]) * UINT64_C(0x100000001b3);
    size_t room = sizeof self->trace_text - self->trace.size;
    size_t size = seen.size < room ? seen.size : room;
    memcpy(self->trace_text + self->trace.size, seen.data, size);
    self->trace.size += size;
}

static void note_text(act *self, gavel__buffer *text)
{
    note(self, prose_bytes(text));
    gavel__buffer_finish(text);
}

static void begin_trace(act *self)
{
    self->trace = (gavel_bytes){self->trace_text, 0};
    self->hash = UINT64_C(0xcbf29ce484222325);
    self->last = 0;
    self->n_writes = 0;
    self->is_refused = false;
}

/* The low bits of FNV hardly mix. */
static uint64_t choice(const act *self)
{
    return self->hash >> 24;
}

static bool is_due(const act *self, const batch_step *step)
{
    switch (step->when) {
    case WHEN_EVER:
        return true;
    case WHEN_ODD:
        return (choice(self) & 1) != 0;
    case WHEN_EVEN:
        return (choice(self) & 1) == 0;
    }
    return true;
}

/* ---- Steps --------------------------------------------------------------------------------- */

static gavel_bytes word(const batch_step *step, size_t i)
{
    return gavel_str(step->words[i]);
}

static gavel_command command_of(const batch_step *step, gavel_bytes words[STEP_MAX_WORDS])
{
    for (size_t i = 0; i < step->n_words; i++)
        words[i] = word(step, i);
    return (gavel_command){.args = words,
        .n_args = step->n_words,
        .n_keys = step->n_keys > 0 ? step->n_keys : GAVEL_NO_KEYS};
}

/* A typed read; the value as text, which is in `storage` or lives until the body returns. */
typedef struct act_look {
    gavel_found found;
    gavel_bytes value;
    char storage[GAVEL__INT_SIZE];
} act_look;

static void look_as_int(act *self, gavel_tx *tx, const batch_step *step, act_look *look)
{
    self->last = 0;
    look->found = step->kind == STEP_GET_INT
                      ? gavel_get_int(tx, word(step, 1), &self->last)
                      : gavel_hget_int(tx, word(step, 1), word(step, 2), &self->last);
    look->value = gavel__format_int(self->last, look->storage);
}

static void look_as_text(gavel_tx *tx, const batch_step *step, act_look *look)
{
    look->found = step->kind == STEP_GET
                      ? gavel_get(tx, word(step, 1), &look->value)
                      : gavel_hget(tx, word(step, 1), word(step, 2), &look->value);
}

/* Two runs may agree and both be wrong: where nothing was written yet, the server must say the
 * same. */
static bool is_at_odds(const act *self, const batch_step *step, const act_look *look)
{
    if (self->ask == NULL || self->n_writes > 0 || look->found == GAVEL_NOT_YET ||
        look->found == GAVEL_FAILED)
        return false;
    gavel_bytes words[STEP_MAX_WORDS];
    gavel_command command = command_of(step, words);
    gavel__buffer expected = prose_begin();
    if (look->found == GAVEL_FOUND) {
        prose_say(&expected, "$%zu\r\n", look->value.size);
        gavel__buffer_append(&expected, look->value);
        prose_say(&expected, "\r\n");
    } else {
        prose_say(&expected, "$-1\r\n");
    }
    const char *reply = self->ask(self->asked, command.args, command.n_args);
    bool is_odd = strcmp(reply, prose_string(&expected)) != 0;
    gavel__buffer_finish(&expected);
    return is_odd;
}

static gavel_found take_typed_read(
    act *self, gavel_tx *tx, const batch_step *step, gavel__buffer *seen)
{
    act_look look = {.found = GAVEL_FAILED};
    if (step->kind == STEP_GET_INT || step->kind == STEP_HGET_INT)
        look_as_int(self, tx, step, &look);
    else
        look_as_text(tx, step, &look);
    if (look.found == GAVEL_FOUND)
        prose_quote(seen, look.value);
    if (is_at_odds(self, step, &look))
        prose_say(seen, ", but the server says otherwise");
    return look.found;
}

static gavel_found take_query(gavel_tx *tx, const batch_step *step, gavel__buffer *seen)
{
    gavel_bytes words[STEP_MAX_WORDS];
    gavel_command command = command_of(step, words);
    const gavel_reply *reply;
    gavel_found found = gavel_query(tx, &command, &reply);
    if (found == GAVEL_FOUND)
        prose_say_reply(seen, reply);
    return found;
}

/* False: something is missing. */
static bool take_read(act *self, gavel_tx *tx, const batch_step *step)
{
    gavel__buffer seen = prose_begin();
    prose_say(&seen, "%s %s: ", step->words[0], step->words[1]);
    gavel_found found = step->kind == STEP_QUERY ? take_query(tx, step, &seen)
                                                 : take_typed_read(self, tx, step, &seen);
    if (found != GAVEL_FOUND)
        prose_say(&seen, found == GAVEL_ABSENT ? "absent" : "failed");
    prose_say(&seen, "; ");
    note_text(self, &seen);
    return found != GAVEL_NOT_YET;
}

/* A typed write that changes what is there, by the command that it is. */
static bool change(gavel_tx *tx, const gavel_command *command)
{
    const gavel_bytes *words = command->args;
    int64_t number = 0;
    (void)gavel__parse_int(words[command->n_args - 1], &number);
    if (gavel__bytes_equal(words[0], GAVEL_STR("INCRBY")))
        return gavel_incr(tx, words[1], number);
    if (gavel__bytes_equal(words[0], GAVEL_STR("HINCRBY")))
        return gavel_hincr(tx, words[1], words[2], number);
    if (gavel__bytes_equal(words[0], GAVEL_STR("APPEND")))
        return gavel_append(tx, words[1], words[2]);
    if (gavel__bytes_equal(words[0], GAVEL_STR("PEXPIRE")))
        return gavel_expire_ms(tx, words[1], (uint64_t)number);
    if (gavel__bytes_equal(words[0], GAVEL_STR("PERSIST")))
        return gavel_persist(tx, words[1]);
    if (gavel__bytes_equal(words[0], GAVEL_STR("DEL")))
        return gavel_del_many(tx, words + 1, command->n_args - 1);
    return command->n_args == 4 ? gavel_set_keep(tx, words[1], words[2])
                                : gavel_set_px(tx, words[1], words[2], (uint64_t)number);
}

static bool write_step(gavel_tx *tx, const batch_step *step, int64_t value)
{
    gavel_bytes words[STEP_MAX_WORDS];
    gavel_command command = command_of(step, words);
    switch ((int)step->kind) {
    case STEP_SET:
        return gavel_set(tx, words[1], words[2]);
    case STEP_SET_INT:
        return gavel_set_int(tx, words[1], value);
    case STEP_DEL:
        return gavel_del(tx, words[1]);
    case STEP_HSET:
        return gavel_hset(tx, words[1], words[2], words[3]);
    case STEP_HSET_INT:
        return gavel_hset_int(tx, words[1], words[2], value);
    case STEP_HDEL:
        return gavel_hdel(tx, words[1], words[2]);
    case STEP_CHANGE:
        return change(tx, &command);
    default: /* WRITE, REFUSED */
        return gavel_write(tx, &command);
    }
}

static void take_write(act *self, gavel_tx *tx, const batch_step *step)
{
    int64_t value = self->last + step->amount;
    bool is_written = write_step(tx, step, value);
    if (is_written)
        self->writes[self->n_writes++] = (act_write){step, value};
    self->is_refused |= step->kind == STEP_REFUSED;
    note(self, is_written ? GAVEL_STR("written; ") : GAVEL_STR("not written; "));
}

void act_add_log(act *self)
{
    self->writes[self->n_writes++] = (act_write){&self->log, 0};
}

size_t act_compose(
    const act_write *write, gavel_bytes args[STEP_MAX_WORDS], char storage[GAVEL__INT_SIZE])
{
    const batch_step *step = write->step;
    command_of(step, args);
    if (step->kind == STEP_SET_INT || step->kind == STEP_HSET_INT)
        args[step->n_words - 1] = gavel__format_int(write->value, storage);
    return step->n_words;
}

/* Steps that are neither reads nor writes; true: the body ends with the verdict. */
static bool take_other(act *self, gavel_tx *tx, const batch_step *step, gavel_verdict *ret_verdict)
{
    static const char too_long[GAVEL_RESULT_MAX + 1] = "";
    char result[GAVEL__INT_SIZE];
    gavel_bytes words[STEP_MAX_WORDS];
    gavel_command command = command_of(step, words);
    switch ((int)step->kind) {
    case STEP_RESULT:
        gavel_set_result(tx, gavel__format_int((int64_t)choice(self), result));
        return false;
    case STEP_TOO_LONG:
        gavel_set_result(tx, (gavel_bytes){too_long, sizeof too_long});
        return false;
    case STEP_ABORT:
        *ret_verdict = gavel_abort(tx, 1 + (int)(choice(self) % 100000));
        return true;
    case STEP_RETRY:
        *ret_verdict = GAVEL_RETRY;
        return true;
    case STEP_BARE_AGAIN:
        *ret_verdict = GAVEL_AGAIN;
        return true;
    case STEP_NO_VERDICT:
        *ret_verdict = (gavel_verdict)99;
        return true;
    default: /* STEERING */
        gavel_write(tx, &command);
        return false;
    }
}

static gavel_verdict commit(act *self, gavel_tx *tx)
{
    bool would_write = self->n_writes > 0 || self->program->id != NULL;
    if (self->is_trial && would_write && !self->is_refused)
        return gavel_abort(tx, ACT_WOULD_WRITE);
    if (would_write && self->program->is_logged && write_step(tx, &self->log, 0))
        act_add_log(self);
    return GAVEL_COMMIT;
}

static gavel_verdict run(gavel_tx *tx, void *user)
{
    act *self = user;
    const batch_program *program = self->program;
    begin_trace(self);
    for (size_t i = 0; i < program->n_steps; i++) {
        const batch_step *step = &program->steps[i];
        gavel_verdict verdict = GAVEL_COMMIT;
        if (!is_due(self, step))
            continue;
        if (step_is_write(step))
            take_write(self, tx, step);
        else if (!step_is_read(step) && take_other(self, tx, step, &verdict))
            return verdict;
        else if (step_is_read(step) && !take_read(self, tx, step) && program->is_hasty)
            return GAVEL_AGAIN;
    }
    return commit(self, tx);
}

/* ---- Requests ------------------------------------------------------------------------------ */

static bool is_same_command(const gavel_command *a, const gavel_command *b)
{
    bool is_same = a->n_args == b->n_args;
    for (size_t i = 0; is_same && i < a->n_args; i++)
        is_same = gavel__bytes_equal(a->args[i], b->args[i]);
    return is_same;
}

static void declare_read(act_request *request, const batch_step *step)
{
    size_t n = request->transaction.n_reads;
    gavel_command *command = &request->commands[n];
    *command = command_of(step, request->words[n]);
    for (size_t i = 0; i < n; i++) {
        if (is_same_command(&request->commands[i], command))
            return;
    }
    request->reads[n] = (gavel_read){.command = command};
    if (step->kind != STEP_QUERY)
        request->reads[n] = (gavel_read){.key = command->args[1],
            .field = step->n_words > 2 ? command->args[2] : (gavel_bytes){NULL, 0}};
    request->transaction.n_reads++;
}

static bool is_declared(const act_request *request, gavel_bytes key, bool is_sparing)
{
    const gavel_transaction *transaction = &request->transaction;
    for (size_t i = 0; i < transaction->n_keys; i++) {
        if (gavel__bytes_equal(request->keys[i], key))
            return true;
    }
    for (size_t i = 0; is_sparing && i < transaction->n_reads; i++) {
        const gavel_command *command = &request->commands[i];
        for (size_t k = 1; k <= command->n_keys && k < command->n_args; k++) {
            if (gavel__bytes_equal(command->args[k], key))
                return true;
        }
    }
    return false;
}

static void declare_keys(act_request *request, const batch_step *step, bool is_sparing)
{
    for (size_t i = 1; i <= step->n_keys; i++) {
        if (!is_declared(request, word(step, i), is_sparing))
            request->keys[request->transaction.n_keys++] = word(step, i);
    }
}

void act_prepare(act *self, act_request *ret_request)
{
    const batch_program *program = self->program;
    *ret_request = (act_request){.transaction = {.body = run,
                                     .user = self,
                                     .deadline_ms = 20000,
                                     .max_conflicts = program->max_conflicts,
                                     .is_read_only = program->is_read_only,
                                     .is_solo = program->is_solo,
                                     .keep_replies = program->keep_replies,
                                     .id = gavel_str(program->id),
                                     .digest = gavel_str(program->digest)}};
    for (size_t i = 0; i < program->n_steps; i++) {
        const batch_step *step = &program->steps[i];
        if (step_is_read(step) && step->is_declared && !program->is_terse)
            declare_read(ret_request, step);
    }
    for (size_t i = 0; i < program->n_steps; i++) {
        if (step_is_write(&program->steps[i]) && !program->is_blind)
            declare_keys(ret_request, &program->steps[i], program->is_sparing);
    }
    gavel_transaction *transaction = &ret_request->transaction;
    transaction->keys = transaction->n_keys > 0 ? ret_request->keys : NULL;
    transaction->reads = transaction->n_reads > 0 ? ret_request->reads : NULL;
}

/* ---- Outcomes ------------------------------------------------------------------------------ */

/* Then its body need not have run in the attempt that counts. */
static bool may_be_told_by_id(const act *self, const gavel_outcome *outcome)
{
    return outcome->is_duplicate || (self->program->id != NULL && outcome->status == GAVEL_INVALID);
}

/* There is a reply to each write, if they were asked for, and the status says whether one failed.
 */
static bool are_replies_sound(const act *self, const gavel_outcome *outcome)
{
    if (!self->program->keep_replies || !act_has_written(self))
        return outcome->replies == NULL && outcome->n_replies == 0;
    bool has_errors = false;
    for (size_t i = 0; i < outcome->n_replies; i++)
        has_errors |= outcome->replies[i].type == GAVEL_REPLY_ERROR;
    return outcome->n_replies == self->n_writes &&
           has_errors == (outcome->status == GAVEL_COMMITTED_WITH_ERRORS);
}

void act_tell(act *self, const gavel_outcome *outcome)
{
    gavel__buffer *told = &self->told;
    self->n_told++;
    self->status = outcome->status;
    self->is_duplicate = outcome->is_duplicate;
    self->is_absurd = !are_replies_sound(self, outcome);
    gavel__buffer_clear(told);
    prose_say(told, "%s%s, code %d, result ", gavel_status_name(outcome->status),
        outcome->is_duplicate ? " as a duplicate" : "", outcome->abort_code);
    prose_quote(told, (gavel_bytes){outcome->result, outcome->result_size});
    prose_say(told, outcome->is_from_marker ? ", from the marker, " : ", ");
    if (outcome->status != GAVEL_CONFLICT)
        prose_quote(told, gavel_str(outcome->message));
    prose_say(told, outcome->replies != NULL ? "\n      replies:" : "\n      no replies");
    for (size_t i = 0; i < outcome->n_replies; i++) {
        prose_say(told, " ");
        prose_say_reply(told, &outcome->replies[i]);
    }
    if (may_be_told_by_id(self, outcome))
        return;
    prose_say(told, "\n      saw %016llx: ", (unsigned long long)self->hash);
    gavel__buffer_append(told, self->trace);
}

bool act_has_written(const act *self)
{
    gavel_outcome outcome = {.status = self->status};
    return gavel_is_committed(&outcome) && !self->is_duplicate &&
           (self->n_writes > 0 || self->program->id != NULL);
}
