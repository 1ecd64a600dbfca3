/*
 * A stage for the locks' state machine: the test is the server, the network and the clock. For the
 * unit tests of locks only.
 */
#ifndef LOCK_STAGE_H
#define LOCK_STAGE_H

#include "faulty_memory.h"

#include "core/node.h"
#include "lock/check.h"

#include <criterion/criterion.h>

/* The engine's clock is another one: whatever looks at it is wrong by years. */
static const int64_t stage_engine_now_us = 77;

#define STAGE_LEASE_MS 9000
#define STAGE_TIMEOUT_US 2000000
#define STAGE_ANSWER_US 1000000

/* So many were told, and the last one this. */
#define EXPECT_TOLD(stage, n, expected)                                                            \
    do {                                                                                           \
        cr_expect_eq((stage).n_told, n);                                                           \
        cr_expect_eq((stage).told.status, GAVEL_LOCK_##expected, "%s: %s",                         \
            gavel_lock_status_name((stage).told.status), (stage).told.message);                    \
    } while (0)

typedef struct lock_stage {
    gavel__locks locks;
    gavel__questions questions;
    gavel__lane lane[3]; /* 0 is an ordinary one, the others are waiting lanes */
    gavel__node node;
    gavel__nodes nodes;
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__buffer out[3]; /* what was written to each lane */
    int64_t now_us;
    int n_told;
    int n_lost;
    gavel_lock_outcome told; /* the last one */
} lock_stage;

static inline void stage_on_done(const gavel_lock_outcome *outcome, void *user)
{
    lock_stage *stage = user;
    stage->told = *outcome;
    stage->n_told++;
}

static inline int64_t stage_read_clock(void *clock)
{
    return ((const lock_stage *)clock)->now_us;
}

static inline void stage_clear_lane(lock_stage *stage, size_t i)
{
    gavel__free(&gavel__system_allocator, stage->lane[i].inflight.ring);
    stage->lane[i] = (gavel__lane){.index = (uint32_t)i,
        .inflight.allocator = &gavel__system_allocator,
        .node = &stage->node,
        .is_waiting_lane = i > 0,
        .following = i < 2 ? &stage->lane[i + 1] : NULL};
}

static inline void stage_begin(lock_stage *stage, size_t n_allocations)
{
    *stage = (lock_stage){.memory = {.n_left = n_allocations}, .now_us = 1000000};
    stage->allocator = faulty_allocator(&stage->memory);
    stage->nodes.first = stage->nodes.only = &stage->node;
    gavel__questions_init(&stage->questions, &stage->nodes);
    stage->node.lanes =
        (gavel__lanes){.n_links = 1, .max_blocking = 2, .first = stage->lane, .node = &stage->node};
    for (size_t i = 0; i < 3; i++) {
        gavel__buffer_init(&stage->out[i], &gavel__system_allocator);
        stage_clear_lane(stage, i);
    }
    gavel__locks_init(&stage->locks, &(gavel__locks_config){.allocator = &stage->allocator,
                                         .questions = &stage->questions,
                                         .read_clock = stage_read_clock,
                                         .clock = stage,
                                         .key_prefix = "gavel:",
                                         .holder = "pid=1 host=stage",
                                         .timeout_us = STAGE_TIMEOUT_US,
                                         .answer_us = STAGE_ANSWER_US,
                                         .seed = 7});
}

static inline void stage_end(lock_stage *stage)
{
    gavel__locks_finish(&stage->locks);
    for (size_t i = 0; i < 3; i++) {
        stage_clear_lane(stage, i);
        gavel__buffer_finish(&stage->out[i]);
    }
    cr_expect_eq(stage->memory.n_blocks, 0, "a leak");
}

/* One more of a kind, if there is one that is DOWN. */
static inline void stage_want_lanes(lock_stage *stage)
{
    bool is_wanted[3] = {gavel__questions_want_lane(&stage->questions, &stage->node, false)};
    bool is_waiting = gavel__questions_want_lane(&stage->questions, &stage->node, true);
    is_wanted[1] = is_waiting && stage->lane[1].state == GAVEL__LANE_DOWN;
    is_wanted[2] = is_waiting && stage->lane[1].state == GAVEL__LANE_UP;
    for (size_t i = 0; i < 3; i++) {
        if (is_wanted[i] && stage->lane[i].state == GAVEL__LANE_DOWN)
            stage->lane[i].state = GAVEL__LANE_WANTED;
    }
}

/* What the client does when it has told the locks something. */
static inline void stage_settle(lock_stage *stage)
{
    gavel__locks_advance(&stage->locks, stage->now_us);
    gavel__questions_serve(&stage->questions, &stage->node, stage_engine_now_us);
    stage_want_lanes(stage);
    gavel__locks_check(&stage->locks);
    while (gavel__locks_take_lost(&stage->locks) != NULL)
        stage->n_lost++;
    for (gavel__lock_op *op; (op = gavel__locks_take_done(&stage->locks)) != NULL;) {
        if (op->done != NULL)
            op->done(&op->outcome, op->user);
        gavel_lock_outcome_clear(&op->outcome);
        gavel__locks_drop_op(op);
    }
    gavel__locks_check(&stage->locks);
}

static inline void stage_pass(lock_stage *stage, int64_t us)
{
    stage->now_us += us;
    stage_settle(stage);
}

static inline gavel_lock *stage_acquire(lock_stage *stage, gavel_lock_request request)
{
    gavel__lock_caller caller = {.done = stage_on_done, .user = stage, .random = {1, 2, 3, 4}};
    caller.random[0] = (uint64_t)stage->now_us;
    request.name = GAVEL_STR("l");
    request.lease_ms = STAGE_LEASE_MS;
    gavel_lock *lock = gavel__locks_acquire(&stage->locks, &request, &caller, stage->now_us);
    stage_settle(stage);
    return lock;
}

static inline void stage_release(lock_stage *stage, gavel_lock *lock)
{
    gavel__lock_caller caller = {.done = stage_on_done, .user = stage};
    gavel__locks_release(lock, &caller, stage->now_us);
    stage_settle(stage);
}

/* A lane that is wanted comes up. */
static inline void stage_up(lock_stage *stage, size_t i)
{
    cr_assert_eq(stage->lane[i].state, GAVEL__LANE_WANTED);
    gavel__buffer_clear(&stage->out[i]);
    stage_clear_lane(stage, i);
    stage->lane[i].state = GAVEL__LANE_UP;
    stage->lane[i].out = &stage->out[i];
    stage->node.trouble[0] = '\0';
    stage_settle(stage);
}

/* As the engine does it. */
static inline void stage_lose(lock_stage *stage, size_t i, const gavel__loss *loss)
{
    gavel__inflight lost = stage->lane[i].inflight;
    stage->lane[i].inflight.ring = NULL;
    bool was_up = stage->lane[i].state == GAVEL__LANE_UP;
    stage_clear_lane(stage, i);
    bool is_reachable = false;
    for (size_t k = 0; k < 3; k++)
        is_reachable = is_reachable || stage->lane[k].state == GAVEL__LANE_UP;
    if (!is_reachable) {
        if (!was_up)
            gavel__questions_on_failed_dial(&stage->questions, &stage->node);
        gavel__questions_on_unreachable(&stage->questions, &stage->node, loss, stage_engine_now_us);
    }
    gavel__questions_on_link_down(&lost, loss, stage_engine_now_us);
    gavel__free(&gavel__system_allocator, lost.ring);
    stage_settle(stage);
}

/* A lane is lost; all that was written had left, or nothing of it. */
static inline void stage_down(lock_stage *stage, size_t i, bool was_sent)
{
    stage_lose(stage, i,
        &(gavel__loss){.n_sent = was_sent ? UINT64_MAX - 1 : 0, .message = "cut by the test"});
}

static inline void stage_reply(lock_stage *stage, size_t i, const gavel_reply *reply)
{
    gavel__awaited awaited = *gavel__inflight_current(&stage->lane[i].inflight);
    gavel__inflight_advance(&stage->lane[i].inflight);
    stage->lane[i].silent_us = 0;
    gavel__question_on_reply(awaited.question, reply, stage_engine_now_us);
    stage_settle(stage);
}

static inline void stage_reply_int(lock_stage *stage, size_t i, int64_t value)
{
    stage_reply(stage, i, &(gavel_reply){.type = GAVEL_REPLY_INTEGER, .integer = value});
}

static inline void stage_reply_text(
    lock_stage *stage, size_t i, gavel_reply_type type, const char *text)
{
    stage_reply(stage, i, &(gavel_reply){.type = type, .text = gavel_str(text)});
}

/* The answer to taking, without the offer's before it. */
static inline void stage_grant(lock_stage *stage, const char *fence)
{
    const gavel_reply parts[] = {{.type = GAVEL_REPLY_INTEGER, .integer = 1},
        {.type = GAVEL_REPLY_STRING, .text = gavel_str(fence)}};
    stage_reply(
        stage, 0, &(gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = parts, .n_elements = 2});
}

static inline void stage_refuse(lock_stage *stage)
{
    const gavel_reply parts[] = {{.type = GAVEL_REPLY_INTEGER},
        {.type = GAVEL_REPLY_INTEGER, .integer = 5000},
        {.type = GAVEL_REPLY_STRING,
            .text = GAVEL_STR("0123456789abcdef0123456789abcdef fence=1 since=2 pid=3 host=x")}};
    stage_reply(
        stage, 0, &(gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = parts, .n_elements = 3});
}

/* The lock is handed off to the lane that waits. */
static inline void stage_hand_off(lock_stage *stage, size_t i, const char *turn)
{
    const gavel_reply parts[] = {{.type = GAVEL_REPLY_STRING, .text = GAVEL_STR("queue")},
        {.type = GAVEL_REPLY_STRING, .text = gavel_str(turn)}};
    stage_reply(
        stage, i, &(gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = parts, .n_elements = 2});
}

/* Lane 0 brings something very large, say: it is sound, and owes a reply for long. Lane 1 is
 * another ordinary one, and up. */
static inline void stage_stall(lock_stage *stage)
{
    stage->lane[0].silent_us = stage_engine_now_us - 2 * GAVEL__QUESTION_SLOW_US;
    stage->lane[1].state = GAVEL__LANE_WANTED;
    stage_up(stage, 1);
    stage->lane[1].is_waiting_lane = false;
    stage->node.lanes.n_links = 2;
}

/* Up to a grant, in one go; the control lane is up. */
static inline gavel_lock *stage_hold(lock_stage *stage)
{
    gavel_lock *lock = stage_acquire(stage, (gavel_lock_request){.wait_ms = 1000});
    if (stage->lane[0].state != GAVEL__LANE_UP)
        stage_up(stage, 0);
    stage_reply_int(stage, 0, 1);
    stage_grant(stage, "77");
    cr_assert_eq(stage->told.status, GAVEL_LOCK_HELD);
    return lock;
}

/* Whether that text stands in what was written to a lane since the last call; forgets it. */
static inline bool stage_wrote(lock_stage *stage, size_t i, const char *text)
{
    gavel__buffer *out = &stage->out[i];
    bool is_there = false;
    size_t size = strlen(text);
    for (size_t at = 0; at + size <= out->size && !is_there; at++)
        is_there = memcmp(out->data + at, text, size) == 0;
    gavel__buffer_clear(out);
    return is_there;
}

/* Whether these stand there in this order; forgets it. */
static inline bool stage_wrote_both(
    lock_stage *stage, size_t i, const char *first, const char *second)
{
    gavel__buffer *out = &stage->out[i];
    gavel__buffer_append(out, (gavel_bytes){"", 1});
    const char *found = out->size > 0 ? strstr((const char *)out->data, first) : NULL;
    bool are_there = found != NULL && strstr(found + strlen(first), second) != NULL;
    gavel__buffer_clear(out);
    return are_there;
}

#endif
