/*
 * Why a lock needs a fencing number, played with two processes and a file:
 *
 *     1. ann takes the lock, and is stopped (SIGSTOP) just before she writes.
 *     2. Her lease passes. bob takes the lock and writes.
 *     3. ann goes on, and writes without a look at the lock, as any program may that is stopped
 *        between the look and the write.
 *
 * The store refuses ann: her number is smaller than bob's. Exit status: 0 if it did, else 1.
 *
 *     fencing [URL]     redis://localhost, or $GAVEL_URL
 */
#include "store.h"

#include <gavel/gavel.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint32_t lease_ms = 500;

static const char *name_of(store_answer answer)
{
    switch (answer) {
    case STORE_WRITTEN:
        return "written";
    case STORE_REFUSED:
        return "refused";
    case STORE_FAILED:
        return "failed";
    }
    return "?";
}

static void say_lost(gavel_lock *lock, gavel_lock_reason reason, void *user)
{
    const char *who = user;
    printf("%s   is told: the lock %" PRId64 " is lost, %s\n", who, gavel_lock_fence(lock),
        gavel_lock_reason_name(reason));
    fflush(stdout);
}

static gavel_lock *take(gavel_client *client, const char *who)
{
    gavel_lock_outcome got = gavel_lock_acquire(client, &(gavel_lock_request){
                                                            .name = GAVEL_STR("fencing"),
                                                            .lease_ms = lease_ms,
                                                            .wait_ms = 10000,
                                                            .on_lost = say_lost,
                                                            .user = (void *)(uintptr_t)who,
                                                        });
    printf("%s   takes the lock: %s, number %" PRId64 "%s%s\n", who,
        gavel_lock_status_name(got.status), got.fence, got.message[0] != '\0' ? ": " : "",
        got.message);
    fflush(stdout);
    return got.lock;
}

static store_answer write_as(const char *who, const char *path, const gavel_lock *lock)
{
    store_answer answer = store_write(path, gavel_lock_fence(lock), who);
    printf("%s   writes with number %" PRId64 ": %s%s%s\n", who, gavel_lock_fence(lock),
        name_of(answer), answer == STORE_FAILED ? ": " : "",
        answer == STORE_FAILED ? strerror(errno) : "");
    fflush(stdout);
    return answer;
}

/* One of the two, in a process of its own. Exit status: the store's answer, or 9. */
static int play(const char *who, const char *url, const char *path, bool is_stopped)
{
    gavel_error error;
    gavel_client *client = gavel_open(url, NULL, &error);
    if (client == NULL) {
        fprintf(stderr, "%s\n", error.message);
        return 9;
    }
    gavel_lock *lock = take(client, who);
    if (lock == NULL) {
        gavel_close(client);
        return 9;
    }
    if (is_stopped)
        raise(SIGSTOP);
    store_answer answer = write_as(who, path, lock);
    gavel_lock_outcome released = gavel_lock_release(lock);
    printf("%s   releases: %s\n", who, gavel_lock_status_name(released.status));
    gavel_close(client);
    fflush(stdout);
    return (int)answer;
}

static pid_t start(const char *who, const char *url, const char *path, bool is_stopped)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(play(who, url, path, is_stopped));
    return child;
}

static int end_of(pid_t child)
{
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 9;
    return WEXITSTATUS(status);
}

static int act(const char *url, const char *path)
{
    int status = 0;
    pid_t ann = start("ann", url, path, true);
    if (ann < 0 || waitpid(ann, &status, WUNTRACED) != ann || !WIFSTOPPED(status))
        return 1;
    printf("ann   is stopped\n");
    int bob = end_of(start("bob", url, path, false));
    kill(ann, SIGCONT);
    printf("ann   goes on\n");
    fflush(stdout);
    int answer = end_of(ann);
    int64_t fence = 0;
    char text[STORE_TEXT_MAX + 1] = "";
    store_read(path, &fence, text);
    printf("store holds \"%s\" with number %" PRId64 "\n", text, fence);
    bool is_safe = bob == STORE_WRITTEN && answer == STORE_REFUSED && strcmp(text, "bob") == 0;
    printf("%s\n", is_safe ? "The late write was refused." : "NOT SAFE");
    return is_safe ? 0 : 1;
}

int main(int n_arguments, char **arguments)
{
    const char *url = getenv("GAVEL_URL");
    if (n_arguments > 1)
        url = arguments[1];
    char folder[] = "/tmp/fencing-XXXXXX";
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    char path[sizeof(folder) + 8];
    snprintf(path, sizeof(path), "%s/store", folder);
    int status = act(url != NULL ? url : "redis://localhost", path);
    unlink(path);
    rmdir(folder);
    return status;
}
