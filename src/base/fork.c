/*
 * Noticing fork(): a counter that a handler raises in every child. Clients compare it with what it
 * was when they were opened.
 */
#include "base/fork.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

/* Written before there is a second thread in the child, so these need no lock. */
static uint64_t generation;
static bool has_handler;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_child(void)
{
    generation++;
}

static void install_handler(void)
{
    has_handler = pthread_atfork(NULL, NULL, count_child) == 0;
}

uint64_t gavel__fork_generation(void)
{
    pthread_once(&once, install_handler);
    /* No memory for a handler: the process's number differs as well, for a system call a time. */
    return has_handler ? generation : (uint64_t)getpid();
}
