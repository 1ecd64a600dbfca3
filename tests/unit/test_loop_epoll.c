/*
 * Loops that the program polls: what makes the descriptor readable, and what a turn then does. Time
 * is waited for by polling, never slept through.
 */
#include "loop/loop.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ends a test that hangs. */
#define TEST_TIMEOUT_S 20

static gavel__loop *loop;
static int fds[2] = {-1, -1}; /* of a socket pair; the first one is watched */
static gavel__watch watch;

static struct {
    int n_turns;
    int n_ready;
    bool is_readable;
    bool is_writable;
    void (*on_ready)(void);
    bool is_awake; /* what on_turn returns */
} seen;

static bool on_turn(void *owner)
{
    cr_assert_eq(owner, &seen);
    seen.n_turns++;
    return seen.is_awake;
}

static gavel__loop_owner owner = {.on_turn = on_turn, .owner = &seen};

static void set_up(void)
{
    loop = gavel__loop_create_epoll(&owner, &gavel__system_allocator);
    cr_assert_not_null(loop);
}

static void tear_down(void)
{
    loop->ops->destroy(loop);
    if (fds[0] >= 0) {
        close(fds[0]);
        close(fds[1]);
    }
}

TestSuite(loop_epoll, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT_S);

static bool is_due(int wait_ms)
{
    struct pollfd polled = {.fd = loop->ops->poll_fd(loop), .events = POLLIN};
    return poll(&polled, 1, wait_ms) == 1;
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

static void watch_socket(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    watch = (gavel__watch){.on_ready = on_ready, .fd = fds[0], .wants_read = true};
    cr_assert(loop->ops->watch(loop, &watch));
    cr_assert_not_null(watch.backend);
}

static void say_something(void)
{
    cr_assert_eq(write(fds[1], "x", 1), 1);
}

/* ---- Times and wakes ----------------------------------------------------------------------- */

Test(loop_epoll, nothing_is_due_at_first)
{
    cr_expect_not(is_due(0));
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_turns, 1);
    cr_expect_not(is_due(0));
}

Test(loop_epoll, a_time_makes_it_readable_once)
{
    int64_t due_us = loop->ops->now_us(loop) + 500;
    loop->ops->wake_at(loop, due_us);
    cr_expect(is_due(-1));
    cr_expect_geq(loop->ops->now_us(loop), due_us);
    loop->ops->turn(loop);
    cr_expect_not(is_due(0));
}

Test(loop_epoll, a_time_that_is_past_is_due_at_once)
{
    int64_t times_us[] = {INT64_MIN, -1, 0, 1, loop->ops->now_us(loop)};
    for (size_t i = 0; i < sizeof(times_us) / sizeof(times_us[0]); i++) {
        loop->ops->wake_at(loop, times_us[i]);
        cr_expect(is_due(-1));
        loop->ops->turn(loop);
        cr_expect_not(is_due(0));
    }
}

Test(loop_epoll, a_time_can_be_brought_forward_and_put_off)
{
    int64_t start_us = loop->ops->now_us(loop);
    loop->ops->wake_at(loop, start_us + 3600 * INT64_C(1000000));
    loop->ops->wake_at(loop, start_us + 1000);
    loop->ops->wake_at(loop, start_us + 20000);
    while (loop->ops->now_us(loop) < start_us + 20000) {
        cr_expect(is_due(-1));
        loop->ops->turn(loop);
    }
    /* It woke for the time it had been armed for, and for the one that counted. */
    cr_expect_leq(seen.n_turns, 3);
}

static void *wake_twice(void *unused)
{
    (void)unused;
    loop->ops->wake(loop);
    loop->ops->wake(loop);
    return NULL;
}

/* Several times, for one wake must not spoil the next one. */
Test(loop_epoll, another_thread_wakes)
{
    for (int i = 1; i <= 20; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, wake_twice, NULL), 0);
        cr_expect(is_due(-1));
        pthread_join(thread, NULL);
        loop->ops->turn(loop);
        cr_expect_eq(seen.n_turns, i);
        cr_expect_not(is_due(0));
    }
}

/* The program has work of its own: a turn does not go on for ever. */
Test(loop_epoll, a_turn_that_wants_another_one_makes_it_readable)
{
    seen.is_awake = true;
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_turns, 1);
    cr_expect(is_due(0));
    seen.is_awake = false;
    loop->ops->turn(loop);
    cr_expect_not(is_due(0));
}

/* ---- Watching ------------------------------------------------------------------------------ */

Test(loop_epoll, ready_as_often_as_there_is_something_to_read)
{
    watch_socket();
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 0);
    say_something();
    for (int i = 1; i <= 2; i++) {
        cr_expect(is_due(0));
        loop->ops->turn(loop);
        cr_expect_eq(seen.n_ready, i);
        cr_expect(seen.is_readable);
        cr_expect_not(seen.is_writable);
    }
}

static void expect_ready(bool is_readable, bool is_writable)
{
    int n_ready = seen.n_ready;
    bool is_any = is_readable || is_writable;
    cr_assert(loop->ops->watch(loop, &watch));
    cr_expect_eq(is_due(0), is_any);
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, n_ready + is_any);
    if (is_any) {
        cr_expect_eq(seen.is_readable, is_readable);
        cr_expect_eq(seen.is_writable, is_writable);
    }
}

Test(loop_epoll, wants_can_change)
{
    watch_socket();
    expect_ready(false, false);
    watch.wants_write = true;
    expect_ready(false, true);
    say_something();
    expect_ready(true, true);
    watch.wants_read = false;
    expect_ready(false, true);
    watch.wants_write = false;
    close(fds[1]); /* Not even a hang-up is wanted. */
    expect_ready(false, false);
    watch.wants_read = true;
    expect_ready(true, false);
    fds[1] = dup(fds[0]);
}

static void unwatch_it(void)
{
    loop->ops->unwatch(loop, &watch);
    loop->ops->unwatch(loop, &watch);
}

Test(loop_epoll, unwatching_inside_the_callback)
{
    watch_socket();
    seen.on_ready = unwatch_it;
    say_something();
    loop->ops->turn(loop);
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);
    cr_expect_null(watch.backend);
    cr_expect_not(is_due(0));
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
Test(loop_epoll, unwatching_another_that_is_ready_too)
{
    watch_socket();
    int twin_fd = dup(fds[0]);
    watch.on_ready = on_twin_ready;
    twin = (gavel__watch){.on_ready = on_twin_ready, .fd = twin_fd, .wants_read = true};
    cr_assert(loop->ops->watch(loop, &twin));
    say_something();
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);
    loop->ops->unwatch(loop, &twin);
    close(twin_fd);
}

/* As when a link is lost and dialled again: most often the number of the fd is the same. */
Test(loop_epoll, an_fd_that_is_used_again)
{
    watch_socket();
    for (int i = 1; i <= 3; i++) {
        loop->ops->unwatch(loop, &watch);
        close(fds[0]);
        close(fds[1]);
        watch_socket();
        say_something();
        loop->ops->turn(loop);
        cr_expect_eq(seen.n_ready, i);
    }
}

/* More than one turn looks at. */
Test(loop_epoll, many_that_are_ready_come_in_turns)
{
    enum { N = 100 };
    static gavel__watch crowd[N];
    watch_socket();
    loop->ops->unwatch(loop, &watch);
    say_something();
    for (int i = 0; i < N; i++) {
        crowd[i] = (gavel__watch){.on_ready = on_twin_ready, .fd = dup(fds[0]), .wants_read = true};
        cr_assert(loop->ops->watch(loop, &crowd[i]));
    }
    loop->ops->turn(loop);
    cr_expect_lt(seen.n_ready, N);
    loop->ops->turn(loop);
    cr_expect_geq(seen.n_ready, N);
    for (int i = 0; i < N; i++) {
        loop->ops->unwatch(loop, &crowd[i]);
        close(crowd[i].fd);
    }
}

/* ---- Other processes, failures --------------------------------------------------------------- */

/* The descriptor is the same one in both: what the child does must not reach the parent. */
Test(loop_epoll, a_child_that_destroys_its_copy_does_not_harm_the_parent)
{
    watch_socket();
    loop->ops->wake_at(loop, loop->ops->now_us(loop) + 3600 * INT64_C(1000000));
    pid_t child = fork();
    if (child == 0) {
        loop->ops->unwatch(loop, &watch);
        loop->ops->destroy(loop);
        _exit(0);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    say_something();
    cr_expect(is_due(0));
    loop->ops->turn(loop);
    cr_expect_eq(seen.n_ready, 1);
}

Test(loop_epoll, no_file_descriptors)
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
        gavel__loop *failed = gavel__loop_create_epoll(&owner, &gavel__system_allocator);
        limit.rlim_cur = old;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        cr_expect_null(failed);
    }
    cr_expect_lt(fcntl(n_open, F_GETFD), 0, "a descriptor was left open");
}

Test(loop_epoll, no_memory)
{
    faulty_memory memory = {.n_left = 0};
    gavel_allocator allocator = faulty_allocator(&memory);
    cr_expect_null(gavel__loop_create_epoll(&owner, &allocator));
    memory.n_left = 1;
    gavel__loop *poor = gavel__loop_create_epoll(&owner, &allocator);
    cr_assert_not_null(poor);
    gavel__watch unwatched = {.on_ready = on_ready, .fd = 0, .wants_read = true};
    cr_expect_not(poor->ops->watch(poor, &unwatched));
    cr_expect_null(unwatched.backend);
    poor->ops->unwatch(poor, &unwatched);
    poor->ops->destroy(poor);
    cr_expect_eq(memory.n_blocks, 0);
}

/* As an fd that epoll does not take. */
Test(loop_epoll, an_fd_that_cannot_be_watched)
{
    gavel__watch closed = {.on_ready = on_ready, .fd = 4095, .wants_read = true};
    cr_expect_not(loop->ops->watch(loop, &closed));
    cr_expect_null(closed.backend);
}
