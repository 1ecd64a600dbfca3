/* Alarms: see the header. */
#include "loop/alarm.h"

#include "base/heap.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

bool gavel__alarm_init(gavel__alarm *alarm)
{
    alarm->due_us = GAVEL__NEVER;
    alarm->armed_us = GAVEL__NEVER;
    atomic_init(&alarm->is_woken, false);
    alarm->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    alarm->waker_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return alarm->timer_fd >= 0 && alarm->waker_fd >= 0;
}

void gavel__alarm_finish(gavel__alarm *alarm)
{
    if (alarm->timer_fd >= 0)
        close(alarm->timer_fd);
    if (alarm->waker_fd >= 0)
        close(alarm->waker_fd);
}

int64_t gavel__alarm_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void arm(gavel__alarm *alarm, int64_t due_us)
{
    /* A time of 0 would disarm; what is long past fires at once. */
    int64_t at_us = due_us > 0 ? due_us : 1;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_us / 1000000),
                                  .tv_nsec = (long)(at_us % 1000000) * 1000}};
    timerfd_settime(alarm->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    alarm->armed_us = due_us;
}

/* A timer that has become too early stays as it is: that is cheaper than setting it each time. */
void gavel__alarm_set(gavel__alarm *alarm, int64_t due_us)
{
    alarm->due_us = due_us;
    if (due_us < alarm->armed_us)
        arm(alarm, due_us);
}

/* Only the first of several threads pays for the system call. */
void gavel__alarm_wake(gavel__alarm *alarm)
{
    const uint64_t one = 1;
    if (atomic_exchange(&alarm->is_woken, true))
        return;
    while (write(alarm->waker_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* A timerfd and an eventfd are counters. */
void gavel__alarm_drain(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

void gavel__alarm_on_timer(gavel__alarm *alarm)
{
    alarm->armed_us = GAVEL__NEVER;
    if (alarm->due_us <= gavel__alarm_now_us())
        alarm->due_us = GAVEL__NEVER;
    else if (alarm->due_us != GAVEL__NEVER)
        arm(alarm, alarm->due_us);
}

/* What was written comes before this: a wake in between writes nothing, and is served by the
 * on_turn that comes before the next sleep. The other way round what it wrote would be drained, or
 * be taken for the former, and all later wakes would think that it was still there. */
void gavel__alarm_on_waker(gavel__alarm *alarm)
{
    atomic_exchange(&alarm->is_woken, false);
}
