/*
 * Counting system calls; see syscalls.h.
 *
 * Each function here counts and goes on to the next definition of its name, the C library's. The
 * cost, a few nanoseconds a call, is the same for everything that is measured.
 */
#define _GNU_SOURCE /* RTLD_NEXT, ppoll; these names are the C library's, not ours to choose */
#undef _FORTIFY_SOURCE

#include "syscalls.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static syscalls counts;

syscalls syscalls_read(void)
{
    return counts;
}

syscalls syscalls_since(syscalls before)
{
    return (syscalls){.n_sends = counts.n_sends - before.n_sends,
        .n_receives = counts.n_receives - before.n_receives,
        .n_waits = counts.n_waits - before.n_waits,
        .n_controls = counts.n_controls - before.n_controls};
}

/* A cast from dlsym's pointer to a function pointer is no C; POSIX promises that this store works.
 */
#define COUNTED(result, name, counter, parameters, arguments)                                      \
    result name parameters                                                                         \
    {                                                                                              \
        static result(*next) parameters;                                                           \
        if (next == NULL)                                                                          \
            *(void **)&next = dlsym(RTLD_NEXT, #name);                                             \
        counts.counter++;                                                                          \
        return next arguments;                                                                     \
    }

COUNTED(ssize_t, write, n_sends, (int fd, const void *data, size_t n), (fd, data, n))
COUNTED(ssize_t, writev, n_sends, (int fd, const struct iovec *parts, int n), (fd, parts, n))
COUNTED(
    ssize_t, send, n_sends, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags))
COUNTED(ssize_t, sendmsg, n_sends, (int fd, const struct msghdr *message, int flags),
    (fd, message, flags))

COUNTED(ssize_t, read, n_receives, (int fd, void *data, size_t n), (fd, data, n))
COUNTED(ssize_t, readv, n_receives, (int fd, const struct iovec *parts, int n), (fd, parts, n))
COUNTED(ssize_t, recv, n_receives, (int fd, void *data, size_t n, int flags), (fd, data, n, flags))
COUNTED(
    ssize_t, recvmsg, n_receives, (int fd, struct msghdr *message, int flags), (fd, message, flags))

COUNTED(int, poll, n_waits, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
COUNTED(int, ppoll, n_waits,
    (struct pollfd * fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
    (fds, n, timeout, mask))
COUNTED(int, epoll_wait, n_waits, (int fd, struct epoll_event *events, int n, int timeout),
    (fd, events, n, timeout))
COUNTED(int, epoll_pwait, n_waits,
    (int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask),
    (fd, events, n, timeout, mask))

COUNTED(int, epoll_ctl, n_controls, (int fd, int operation, int target, struct epoll_event *event),
    (fd, operation, target, event))
