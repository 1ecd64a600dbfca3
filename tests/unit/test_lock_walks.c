/* The locks' state machine on random walks: callers, server, network and clock do what they may, in
 * any order, and after each step what the drawings say holds. */
#include "lock_stage.h"

#include "base/random.h"

enum { N_HANDLES = 6, N_STEPS = 400 };

typedef struct walk {
    lock_stage stage;
    gavel__random random;
    gavel_lock *held[N_HANDLES]; /* handles that are the program's */
    size_t n_held;
    size_t n_begun; /* outcomes that are to come */
    size_t n_told;
    bool is_closed;
} walk;

static uint64_t below(walk *self, uint64_t n)
{
    return gavel__random_below(&self->random, n);
}

static void on_told(const gavel_lock_outcome *outcome, void *user)
{
    walk *self = user;
    self->n_told++;
    if (outcome->lock != NULL)
        self->held[self->n_held++] = outcome->lock;
    cr_assert(outcome->status != GAVEL_LOCK_LOST || outcome->reason != GAVEL_LOCK_NOT_LOST);
}

static gavel__lock_caller caller_of(walk *self)
{
    gavel__lock_caller caller = {.done = on_told, .user = self};
    for (size_t i = 0; i < 4; i++)
        caller.random[i] = gavel__random_next(&self->random);
    self->n_begun++;
    return caller;
}

/* ---- The program ---------------------------------------------------------------------------- */

static void acquire(walk *self)
{
    if (self->n_held + (self->n_begun - self->n_told) >= N_HANDLES)
        return;
    gavel__lock_caller caller = caller_of(self);
    gavel_lock_request request = {.name = below(self, 3) == 0 ? GAVEL_STR("b") : GAVEL_STR("a"),
        .lease_ms = STAGE_LEASE_MS,
        .wait_ms = 1 + (uint32_t)below(self, 20000),
        .is_try = below(self, 4) == 0,
        .is_fixed = below(self, 8) == 0};
    gavel__locks_acquire(&self->stage.locks, &request, &caller, self->stage.now_us);
}

static void cancel(walk *self)
{
    uint64_t n_tickets = self->stage.locks.n_tickets;
    if (n_tickets > 0)
        gavel__locks_cancel(&self->stage.locks,
            n_tickets - below(self, n_tickets < 4 ? n_tickets : 4), self->stage.now_us);
}

static void use(walk *self)
{
    if (self->n_held == 0)
        return;
    size_t i = below(self, self->n_held);
    gavel_lock *lock = self->held[i];
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("k"), GAVEL_STR("v")),
        .deadline_ms = 1 + (uint32_t)below(self, 3000)};
    gavel__lock_caller caller = caller_of(self);
    switch (below(self, 3)) {
    case 0:
        gavel__locks_do(lock, &command, &caller, self->stage.now_us);
        break;
    case 1:
        gavel__locks_extend(lock, below(self, 2) == 0 ? 0 : 20000, &caller, self->stage.now_us);
        break;
    default:
        self->held[i] = self->held[--self->n_held];
        gavel__locks_release(lock, &caller, self->stage.now_us);
        break;
    }
}

/* ---- The server ----------------------------------------------------------------------------- */

#define INT(value)                                                                                 \
    {                                                                                              \
        .type = GAVEL_REPLY_INTEGER, .integer = (value)                                            \
    }
#define TEXT(kind, value)                                                                          \
    {                                                                                              \
        .type = GAVEL_REPLY_##kind, .text = { value, sizeof(value) - 1 }                           \
    }
#define RECORD "0123456789abcdef0123456789abcdef fence=1 since=2 pid=3 host=x"

static const gavel_reply granted[] = {INT(1), TEXT(STRING, "77")};
static const gavel_reply busy[] = {INT(0), INT(5000), TEXT(STRING, RECORD)};
static const gavel_reply absent[] = {INT(0), INT(-2), {.type = GAVEL_REPLY_NIL}};
static const gavel_reply done[] = {INT(1), TEXT(STATUS, "OK")};
static const gavel_reply turn[] = {TEXT(STRING, "queue"), TEXT(STRING, "some-turn")};

#define ARRAY(parts)                                                                               \
    {                                                                                              \
        .type = GAVEL_REPLY_ARRAY, .elements = (parts),                                            \
        .n_elements = sizeof(parts) / sizeof((parts)[0])                                           \
    }

static const gavel_reply to_take[] = {ARRAY(granted), ARRAY(granted), ARRAY(busy), ARRAY(busy),
    ARRAY(absent), TEXT(ERROR, "LOADING not yet"), TEXT(ERROR, "NOPERM never")};
static const gavel_reply to_others[] = {INT(1), INT(1), INT(1), INT(1), INT(0),
    TEXT(STRING, RECORD), TEXT(ERROR, "LOADING not yet"), TEXT(ERROR, "NOPERM never")};
static const gavel_reply to_do[] = {
    ARRAY(done), ARRAY(done), INT(0), TEXT(STRING, RECORD), TEXT(ERROR, "ERR the command's own")};
static const gavel_reply to_wait[] = {
    ARRAY(turn), ARRAY(turn), ARRAY(turn), TEXT(ERROR, "UNBLOCKED by the test")};

#define PICK(list) (&(list)[below(self, sizeof(list) / sizeof((list)[0]))])

static const gavel_reply *answer_to(walk *self, const gavel__question *question)
{
    static const gavel_reply one = INT(1);
    if (question->is_blocking)
        return question->n_answered == 0 ? &one : PICK(to_wait);
    const gavel__lock_call *call = GAVEL__CONTAINER(question, const gavel__lock_call, question);
    bool is_offer = call->kind == GAVEL__LOCK_CALL_PROBE && question->n_answered == 0;
    if (!is_offer && (call->kind == GAVEL__LOCK_CALL_PROBE || call->kind == GAVEL__LOCK_CALL_TAKE))
        return PICK(to_take);
    if (call->kind == GAVEL__LOCK_CALL_USER && call->op->kind == GAVEL__LOCK_OP_DO)
        return PICK(to_do);
    return PICK(to_others);
}

static void answer(walk *self)
{
    size_t i = below(self, 3);
    gavel__lane *lane = &self->stage.lane[i];
    if (lane->state == GAVEL__LANE_UP && !lane->is_condemned &&
        !gavel__inflight_is_empty(&lane->inflight))
        stage_reply(
            &self->stage, i, answer_to(self, gavel__inflight_current(&lane->inflight)->question));
}

static void change_link(walk *self)
{
    size_t i = below(self, 3);
    switch (self->stage.lane[i].state) {
    case GAVEL__LANE_WANTED:
        if (below(self, 6) > 0)
            stage_up(&self->stage, i);
        else
            stage_lose(&self->stage, i,
                &(gavel__loss){.is_final = below(self, 8) == 0, .message = "not to be reached"});
        break;
    case GAVEL__LANE_UP:
        if (self->stage.lane[i].is_condemned || below(self, 8) == 0)
            stage_down(&self->stage, i, below(self, 2) == 0);
        break;
    case GAVEL__LANE_DOWN:
    case GAVEL__LANE_DIALLING:
        break;
    }
}

/* Something very large is on its way: until the next reply there, questions go elsewhere. */
static void stall(walk *self)
{
    self->stage.lane[below(self, 3)].silent_us = stage_engine_now_us - 2 * GAVEL__QUESTION_SLOW_US;
}

/* ---- Walks ---------------------------------------------------------------------------------- */

static void step(walk *self)
{
    uint64_t what = below(self, 50);
    if (what < 4)
        acquire(self);
    else if (what < 5)
        cancel(self);
    else if (what < 12)
        use(self);
    else if (what < 36)
        answer(self);
    else if (what < 42)
        change_link(self);
    else if (what < 44)
        stall(self);
    else
        self->stage.now_us += (int64_t)below(self, what == 49 ? 12000000 : 200000);
    stage_settle(&self->stage);
}

/* Everybody is told, and nothing is left but what is on its way. */
static void close_all(walk *self, bool is_final)
{
    gavel__locks_close(&self->stage.locks, is_final, self->stage.now_us);
    self->n_held = 0;
    stage_settle(&self->stage);
    for (int i = 0; i < 4 * N_STEPS && self->n_told < self->n_begun; i++) {
        answer(self);
        change_link(self);
        self->stage.now_us += 50000;
        stage_settle(&self->stage);
    }
    cr_expect_eq(self->n_told, self->n_begun);
}

static void walk_from(uint64_t seed)
{
    walk self = {.n_held = 0};
    stage_begin(&self.stage, MEMORY_ENOUGH);
    gavel__random_seed(&self.random, seed);
    for (int i = 0; i < N_STEPS; i++)
        step(&self);
    close_all(&self, seed % 2 == 0);
    stage_end(&self.stage);
}

Test(lock_walks, what_the_drawings_say_holds_after_every_step)
{
    for (uint64_t seed = 1; seed <= 1000; seed++)
        walk_from(seed);
}
