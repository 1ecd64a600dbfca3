/*
 * A map of slots, the replies that it is made of, and a clock, for the tests of it. Before each
 * test slots_set_up, and behind it slots_tear_down.
 */
#ifndef SLOTS_STAGE_H
#define SLOTS_STAGE_H

#include "topology/slots.h"

#include "base/heap.h"
#include "base/text.h"

#include <criterion/criterion.h>

#include <string.h>

#define MS INT64_C(1000)
#define SECOND (1000 * MS)

static gavel__slots slots;
static gavel__random randomness;
static gavel__buffer out;
static int64_t now;

static inline void slots_set_up(void)
{
    now = 1000 * SECOND;
    gavel__random_seed(&randomness, 7);
    gavel__buffer_init(&out, &gavel__system_allocator);
    gavel__slots_init(&slots, &gavel__system_allocator, &randomness);
    cr_assert(gavel__slots_add_seed(&slots, "seed", 1));
}

static inline void slots_tear_down(void)
{
    gavel__slots_finish(&slots);
    gavel__buffer_finish(&out);
}

/* ---- Replies ------------------------------------------------------------------------------- */

static inline gavel_reply string(const char *text)
{
    return (gavel_reply){.type = GAVEL_REPLY_STRING, .text = gavel_str(text)};
}

static inline gavel_reply integer(int64_t value)
{
    return (gavel_reply){.type = GAVEL_REPLY_INTEGER, .integer = value};
}

static inline gavel_reply array(const gavel_reply *elements, size_t n)
{
    return (gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = elements, .n_elements = n};
}

static const gavel_reply nil = {.type = GAVEL_REPLY_NIL};

/* What the parts of a reply stand in, until the next test. */
static gavel_reply parts[200000];
static size_t n_parts;

static inline gavel_reply *take_parts(size_t n)
{
    cr_assert(n_parts + n <= sizeof(parts) / sizeof(parts[0]));
    n_parts += n;
    return &parts[n_parts - n];
}

static inline gavel_reply node_at(gavel_reply host, int64_t port)
{
    gavel_reply *node = take_parts(3);
    node[0] = host;
    node[1] = integer(port);
    node[2] = string("c0ffee");
    return array(node, 3);
}

/* A range of slots, its primary at port `port` of "h" and a replica at port `replica`, if not 0. */
static inline gavel_reply range(int64_t first, int64_t last, int64_t port, int64_t replica)
{
    gavel_reply *elements = take_parts(4);
    elements[0] = integer(first);
    elements[1] = integer(last);
    elements[2] = node_at(string("h"), port);
    if (replica != 0)
        elements[3] = node_at(string("h"), replica);
    return array(elements, replica != 0 ? 4 : 3);
}

static inline uint16_t begin(void)
{
    uint16_t node = gavel__slots_begin(&slots, now);
    cr_assert_neq(node, GAVEL__NO_NODE);
    gavel__buffer_clear(&out);
    cr_assert_eq(gavel__slots_ask(&slots, &out, now), 1);
    return node;
}

static inline void hand(gavel_reply reply)
{
    gavel__slots_on_reply(&slots, &reply, "here", now);
}

/* Asks as soon as may be, and answers so. */
static inline void answer(const gavel_reply *ranges, size_t n)
{
    gavel__slots_urge(&slots, now);
    int64_t due_us = gavel__slots_due_us(&slots);
    now = due_us > now ? due_us : now;
    gavel__slots_advance(&slots, now);
    begin();
    hand(array(ranges, n));
}

/* Two nodes of half the slots each, 7001 with the replica 7003. */
static inline void answer_two(void)
{
    const gavel_reply ranges[] = {range(0, 8191, 7001, 7003), range(8192, 16383, 7002, 0)};
    answer(ranges, 2);
}

/* The number of a node, by its name. */
static inline uint16_t find(const char *name)
{
    for (uint16_t i = 0; i < slots.n_nodes; i++) {
        if (slots.nodes[i]->place.host[0] != '\0' && strcmp(slots.nodes[i]->name, name) == 0)
            return i;
    }
    return GAVEL__NO_NODE;
}

static inline uint16_t redirect(const char *error)
{
    gavel__redirect said;
    cr_assert(gavel__redirect_read(gavel_str(error), &said), "%s", error);
    return gavel__slots_on_redirect(&slots, &said, "here", now);
}

static inline size_t count_moved(void)
{
    size_t n = 0;
    bool has_migrated;
    for (uint16_t slot; gavel__slots_take_moved(&slots, &slot, &has_migrated);)
        n++;
    return n;
}

/* Whether no answer was taken, and this is why. */
static inline bool is_refused(const char *reason)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__slots_explain(&slots, message);
    if (slots.n_answers == 0 && strstr(message, reason) != NULL)
        return true;
    cr_log_error("%s", message);
    return false;
}

#endif
