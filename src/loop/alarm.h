/*
 * Alarms: a time to be awake at, and being woken by other threads, each by an fd that becomes
 * readable. For the loops, which watch both.
 */
#ifndef GAVEL__ALARM_H
#define GAVEL__ALARM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct gavel__alarm {
    int timer_fd;         /* of a timerfd; -1: none */
    int waker_fd;         /* of an eventfd; -1: none */
    int64_t due_us;       /* when to be awake */
    int64_t armed_us;     /* when the timerfd will fire, never later than due_us */
    atomic_bool is_woken; /* the eventfd was written and not read since */
} gavel__alarm;

/* False: no file descriptors; to be finished all the same. */
bool gavel__alarm_init(gavel__alarm *alarm);

void gavel__alarm_finish(gavel__alarm *alarm);

/* The monotonic clock, in microseconds. Any thread. */
int64_t gavel__alarm_now_us(void);

/* As gavel__loop_ops.wake_at, and wake. */
void gavel__alarm_set(gavel__alarm *alarm, int64_t due_us);
void gavel__alarm_wake(gavel__alarm *alarm);

/* Makes the one fd, or the other, unreadable again: before what follows, and for who does not watch
 * them for becoming readable only (EPOLLET). */
void gavel__alarm_drain(int fd);

/* The one fd, or the other, has become readable. */
void gavel__alarm_on_timer(gavel__alarm *alarm);
void gavel__alarm_on_waker(gavel__alarm *alarm);

#endif
