/*
 * Loops over libev, in both kinds: when they sleep, what ends the sleep, and when the program's own
 * ev_run returns.
 */
#include "loop/loop.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

/* Ends a test that hangs. */
#define TEST_TIMEOUT_S 20

static struct ev_loop *program_loop; /* NULL: a loop of gavel's own */
static gavel__loop *loop;
static int pipe_fds[2] = {-1, -1};
static gavel__watch watch;

static struct {
    int n_turns;
    int n_ready;
    bool is_readable;
    bool is_writable;
    void (*on_turn)(void); /* more to do in on_turn; may be NULL */
    void (*on_ready)(void);
    bool is_awake; /* what on_turn returns */
} seen;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int n_unlocks;

static bool on_turn(void *owner)
{
    cr_assert_eq(owner, &seen);
    seen.n_turns++;
    if (seen.on_turn != NULL)
        seen.on_turn();
    return seen.is_awake;
}

static void unlock(void *owner)
{
    cr_assert_eq(owner, &seen);
    n_unlocks++;
    pthread_mutex_unlock(&mutex);
}

static void lock(void *owner)
{
    (void)owner;
    pthread_mutex_lock(&mutex);
}

static void create(bool is_own)
{
    gavel__loop_owner owner = {.on_turn = on_turn, .owner = &seen};
    if (is_own) {
        owner.unlock = unlock;
        owner.lock = lock;
        pthread_mutex_lock(&mutex);
    } else {
        program_loop = ev_loop_new(EVFLAG_AUTO);
        cr_assert_not_null(program_loop);
    }
    loop = gavel__loop_create_ev(program_loop, &owner, &gavel__system_allocator);
    cr_assert_not_null(loop);
}

static void on_ready(gavel__watch *self, bool is_readable, bool is_writable)
{
    cr_assert_eq(self, &watch);
    seen.n_ready++;
    seen.is_readable = is_readable;
    seen.is_writable = is_writable;
    if (seen.on_ready != NULL)
        seen.on_ready();
}

static void watch_pipe(void)
{
    cr_assert_eq(pipe(pipe_fds), 0);
    watch = (gavel__watch){.on_ready = on_ready, .fd = pipe_fds[0], .wants_read = true};
    cr_assert(loop->ops->watch(loop, &watch));
    cr_assert_not_null(watch.backend);
}

static void tear_down(void)
{
    if (loop != NULL)
        loop->ops->destroy(loop);
    if (program_loop != NULL)
        ev_loop_destroy(program_loop);
    if (pipe_fds[0] >= 0) {
        close(pipe_fds[0]);
        close(pipe_fds[1]);
    }
}

TestSuite(loop_ev, .fini = tear_down, .timeout = TEST_TIMEOUT_S);

static int64_t now_us(void)
{
    return loop->ops->now_us(loop);
}

/* ---- The program's loop -------------------------------------------------------------------- */

Test(loop_ev, the_programs_loop_ends_when_there_is_nothing_to_do)
{
    create(false);
    watch_pipe();
    loop->ops->wake_at(loop, now_us() + 3600 * INT64_C(1000000));
    ev_run(program_loop, 0);
    cr_expect_geq(seen.n_turns, 1);
}

static void do_less(void)
{
    if (seen.n_turns == 3)
        loop->ops->set_busy(loop, false);
    else
        loop->ops->wake(loop);
}

Test(loop_ev, the_programs_loop_goes_on_while_busy)
{
    create(false);
    loop->ops->set_busy(loop, true);
    loop->ops->set_busy(loop, true);
    seen.on_turn = do_less;
    ev_run(program_loop, 0);
    cr_expect_geq(seen.n_turns, 3);
}

static void on_program_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    (*(int *)timer->data)++;
}

/* The counting is such that the program's own watchers count as before, also after the end. */
Test(loop_ev, the_programs_own_watchers_still_count)
{
    int n_fired = 0;
    ev_timer timer;
    create(false);
    watch_pipe();
    loop->ops->set_busy(loop, true);
    loop->ops->set_busy(loop, false);
    for (int i = 1; i <= 2; i++) {
        ev_timer_init(&timer, on_program_timer, 0.001, 0);
        timer.data = &n_fired;
        ev_timer_start(program_loop, &timer);
        ev_run(program_loop, 0);
        cr_expect_eq(n_fired, i);
        if (i == 1) {
            loop->ops->set_busy(loop, true);
            loop->ops->destroy(loop);
            loop = NULL;
            cr_expect_null(watch.backend);
        }
    }
}

static void be_quiet_soon(void)
{
    seen.is_awake = seen.n_turns < 5;
}

/* Without anything that is busy: more to do is enough to go on. */
Test(loop_ev, a_turn_that_wants_another_one_gets_it)
{
    create(false);
    seen.on_turn = be_quiet_soon;
    ev_run(program_loop, 0);
    cr_expect_geq(seen.n_turns, 5);
}

/* ---- Sleeping and waking ------------------------------------------------------------------- */

static void run_once(void)
{
    if (program_loop != NULL)
        ev_run(program_loop, EVRUN_ONCE);
    else
        loop->ops->turn(loop);
}

/* Sleeps until the loop is awake after due_us, and returns how late that is. */
static int64_t sleep_until(int64_t due_us)
{
    loop->ops->wake_at(loop, due_us);
    while (now_us() < due_us)
        run_once();
    return now_us() - due_us;
}

static void expect_fine_timer(void)
{
    int64_t best_us = INT64_MAX;
    loop->ops->set_busy(loop, true);
    for (int i = 0; i < 50; i++) {
        int64_t late_us = sleep_until(now_us() + 100);
        best_us = late_us < best_us ? late_us : best_us;
    }
    cr_expect_lt(best_us, 900, "%lld us late at best", (long long)best_us);
}

Test(loop_ev, timers_are_finer_than_a_millisecond_in_the_programs_loop)
{
    create(false);
    expect_fine_timer();
}

Test(loop_ev, timers_are_finer_than_a_millisecond_in_an_own_loop)
{
    create(true);
    expect_fine_timer();
}

Test(loop_ev, a_time_that_is_past_does_not_sleep)
{
    create(true);
    int64_t times_us[] = {INT64_MIN, -1, 0, 1, now_us()};
    for (size_t i = 0; i < sizeof(times_us) / sizeof(times_us[0]); i++) {
        loop->ops->wake_at(loop, times_us[i]);
        loop->ops->turn(loop);
    }
    cr_expect_eq(seen.n_turns, 5);
}

Test(loop_ev, a_timer_can_be_brought_forward_and_put_off)
{
    create(true);
    int64_t start_us = now_us();
    loop->ops->wake_at(loop, start_us + 3600 * INT64_C(1000000));
    loop->ops->wake_at(loop, start_us + 1000);
    loop->ops->wake_at(loop, start_us + 20000);
    while (now_us() < start_us + 20000)
        loop->ops->turn(loop);
    /* It woke for the time it had been armed for, and for the one that counted. */
    cr_expect_leq(seen.n_turns, 3);
}

Test(loop_ev, an_own_loop_gives_its_lock_up_for_the_sleep)
{
    create(true);
    loop->ops->wake_at(loop, now_us());
    loop->ops->turn(loop);
    cr_expect_geq(n_unlocks, 1);
    cr_expect_eq(pthread_mutex_trylock(&mutex), EBUSY);
}

static void *wake_twice(void *unused)
{
    (void)unused;
    loop->ops->wake(loop);
    loop->ops->wake(loop);
    return NULL;
}

static void *lock_and_wake(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex); /* Not before the loop sleeps. */
    loop->ops->wake(loop);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void *lock_and_bring_forward(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    loop->ops->wake_at(loop, now_us());
    loop->ops->wake(loop);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void *lock_and_watch(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    watch_pipe();
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    loop->ops->wake(loop);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Several times, for one wake must not spoil the next one. */
static void turn_against(void *(*work)(void *))
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, work, NULL), 0);
        loop->ops->turn(loop);
        pthread_mutex_unlock(&mutex);
        pthread_join(thread, NULL);
        pthread_mutex_lock(&mutex);
    }
}

Test(loop_ev, another_thread_wakes_an_own_loop)
{
    create(true);
    turn_against(lock_and_wake);
    cr_expect_eq(seen.n_turns, 20);
}

Test(loop_ev, another_thread_brings_a_timer_forward)
{
    create(true);
    turn_against(lock_and_bring_forward);
    cr_expect_eq(seen.n_turns, 20);
}

Test(loop_ev, another_thread_watches)
{
    pthread_t thread;
    create(true);
    cr_assert_eq(pthread_create(&thread, NULL, lock_and_watch, NULL), 0);
    while (seen.n_ready == 0)
        loop->ops->turn(loop);
    pthread_join(thread, NULL);
    cr_expect(seen.is_readable);
}

/* The wake comes first: the next sleep is the one that ends. */
Test(loop_ev, a_wake_before_the_sleep_counts)
{
    create(true);
    for (int i = 0; i < 3; i++) {
        wake_twice(NULL);
        loop->ops->turn(loop);
    }
    cr_expect_eq(seen.n_turns, 3);
}

Test(loop_ev, another_thread_wakes_the_programs_loop)
{
    pthread_t thread;
    create(false);
    loop->ops->set_busy(loop, true);
    cr_assert_eq(pthread_create(&thread, NULL, wake_twice, NULL), 0);
    ev_run(program_loop, EVRUN_ONCE);
    pthread_join(thread, NULL);
    cr_expect_eq(seen.n_turns, 2, "once before the sleep, once after it");
}

/* ---- Watching ------------------------------------------------------------------------------ */

static void stay_awake(void)
{
    seen.is_awake = true;
}

/* So that a turn without anything ready ends, too. */
static void create_sleepless(void)
{
    create(true);
    seen.on_turn = stay_awake;
    watch_pipe();
}

Test(loop_ev, ready_as_often_as_there_is_something_to_read)
{
    create_sleepless();
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 0);
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    loop->ops->turn(loop);
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 2);
    cr_expect(seen.is_readable);
    cr_expect_not(seen.is_writable);
}

Test(loop_ev, wants_can_change)
{
    create_sleepless();
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    watch.wants_read = false;
    cr_assert(loop->ops->watch(loop, &watch));
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 0);
    watch.wants_read = true;
    cr_assert(loop->ops->watch(loop, &watch));
    cr_assert(loop->ops->watch(loop, &watch));
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);

    loop->ops->unwatch(loop, &watch);
    watch.fd = pipe_fds[1];
    watch.wants_write = true;
    cr_assert(loop->ops->watch(loop, &watch));
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 2);
    cr_expect(seen.is_writable);
}

static void unwatch_it(void)
{
    loop->ops->unwatch(loop, &watch);
    loop->ops->unwatch(loop, &watch);
}

Test(loop_ev, unwatching_inside_the_callback)
{
    create_sleepless();
    seen.on_ready = unwatch_it;
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    loop->ops->turn(loop);
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);
    cr_expect_null(watch.backend);
}

static gavel__watch twin;

static void on_twin_ready(gavel__watch *self, bool is_readable, bool is_writable)
{
    (void)is_readable;
    (void)is_writable;
    seen.n_ready++;
    loop->ops->unwatch(loop, self == &twin ? &watch : &twin);
}

/* Both are ready; whichever comes first takes the other one away. */
Test(loop_ev, unwatching_another_that_is_ready_too)
{
    create_sleepless();
    int twin_fd = dup(pipe_fds[0]);
    watch.on_ready = on_twin_ready;
    twin = (gavel__watch){.on_ready = on_twin_ready, .fd = twin_fd, .wants_read = true};
    cr_assert(loop->ops->watch(loop, &twin));
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);
    loop->ops->unwatch(loop, &twin);
    close(twin_fd);
}

/* As when a link is lost and dialled again: most often the number of the fd is the same. Links
 * close first and are unwatched then, before the loop goes on. */
Test(loop_ev, an_fd_that_is_used_again)
{
    create_sleepless();
    loop->ops->turn(loop);
    for (int i = 1; i <= 3; i++) {
        if (i % 2 == 1)
            loop->ops->unwatch(loop, &watch);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        loop->ops->unwatch(loop, &watch);
        watch_pipe();
        cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
        loop->ops->turn(loop);
        cr_expect_eq(seen.n_ready, i);
    }
}

/* ---- Failures ------------------------------------------------------------------------------ */

static gavel__loop_owner bare_owner = {.on_turn = on_turn, .owner = &seen};

Test(loop_ev, no_file_descriptors)
{
    struct rlimit limit;
    int n_open = 0;
    while (n_open < 4096 && fcntl(n_open, F_GETFD) >= 0)
        n_open++;
    /* With room for none, one, two. */
    for (int n = 0; n < 3; n++) {
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        rlim_t old = limit.rlim_cur;
        limit.rlim_cur = (rlim_t)(n_open + n);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        gavel__loop *failed = gavel__loop_create_ev(NULL, &bare_owner, &gavel__system_allocator);
        limit.rlim_cur = old;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        /* With two it may find a way of polling that takes none. */
        cr_expect(n == 2 || failed == NULL);
        if (failed != NULL)
            failed->ops->destroy(failed);
    }
}

Test(loop_ev, no_memory)
{
    faulty_memory memory = {.n_left = 0};
    gavel_allocator allocator = faulty_allocator(&memory);
    cr_expect_null(gavel__loop_create_ev(NULL, &bare_owner, &allocator));
    memory.n_left = 1;
    gavel__loop *poor = gavel__loop_create_ev(NULL, &bare_owner, &allocator);
    cr_assert_not_null(poor);
    gavel__watch unwatched = {.on_ready = on_ready, .fd = 0, .wants_read = true};
    cr_expect_not(poor->ops->watch(poor, &unwatched));
    cr_expect_null(unwatched.backend);
    poor->ops->unwatch(poor, &unwatched);
    poor->ops->destroy(poor);
    cr_expect_eq(memory.n_blocks, 0);
}
