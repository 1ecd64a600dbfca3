/*
 * What the simulator's own tests say about replies, byte for byte.
 */
#ifndef SIM_EXPECT_H
#define SIM_EXPECT_H

#include "sim_raw.h"

#include <criterion/criterion.h>

#include <string.h>

/* A raw client sends lines, and this is all that it gets soon. */
#define ASK(raw, lines, expected)                                                                  \
    do {                                                                                           \
        const char *answer = sim_raw_ask(raw, lines);                                              \
        cr_assert_str_eq(answer, expected, "%s answered %s", lines, answer);                       \
    } while (0)

/* A raw client that has sent before gets this, and no more. */
#define HEAR(raw, expected)                                                                        \
    do {                                                                                           \
        const char *heard = sim_raw_take(raw, 10 * SIM_MILLISECOND);                               \
        cr_assert_str_eq(heard, expected, "heard %s", heard);                                      \
    } while (0)

/* Another client's command, run at once. */
#define DO(world, line, expected)                                                                  \
    do {                                                                                           \
        gavel_bytes done = sim_do(world, line);                                                    \
        cr_assert_eq(                                                                              \
            done.size, strlen(expected), "%s answered %.*s", line, (int)done.size, done.data);     \
        cr_assert_eq(memcmp(done.data, expected, done.size), 0, "%s answered %.*s", line,          \
            (int)done.size, done.data);                                                            \
    } while (0)

#define OK "+OK\r\n"
#define QUEUED "+QUEUED\r\n"
#define NIL "$-1\r\n"
#define NIL_ARRAY "*-1\r\n"

#endif
