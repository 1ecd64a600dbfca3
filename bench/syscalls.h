/*
 * Counting this process's system calls on sockets, the same way for gavel and for its rivals:
 * linked into a program, these definitions stand before the C library's, for libraries too. One
 * counter for the whole process, not synchronised: for programs of one thread.
 */
#ifndef BENCH_SYSCALLS_H
#define BENCH_SYSCALLS_H

#include <stdint.h>

typedef struct syscalls {
    uint64_t n_sends;    /* write, writev, send, sendmsg */
    uint64_t n_receives; /* read, readv, recv, recvmsg */
    uint64_t n_waits;    /* poll, ppoll, epoll_wait, epoll_pwait */
    uint64_t n_controls; /* epoll_ctl */
} syscalls;

/* The counts since the program started. */
syscalls syscalls_read(void);

/* The counts since `before` was read. */
syscalls syscalls_since(syscalls before);

#endif
