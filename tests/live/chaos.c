/* Crews: see the header. What a worker does is in chaos_worker.c. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "chaos.h"

#include "chaos_worker.h"
#include "tools.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_US INT64_C(60000000)

/* A heartbeat that took longer was not ours. */
#define MAX_BEAT_US INT64_C(5000)

struct chaos_crew {
    chaos_plan plan;
    test_server *server;
    chaos_shared *shared;
    pid_t pids[CHAOS_MAX_WORKERS];
    pid_t pulse; /* 0: none */
};

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

uint64_t chaos_draw(uint64_t bound)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % bound;
}

/* ---- Processes ----------------------------------------------------------------------------- */

/* In a child that dies with the test: true. */
static bool fork_child(pid_t *ret_pid)
{
    pid_t parent = getpid();
    fflush(NULL);
    *ret_pid = fork();
    cr_assert_geq(*ret_pid, 0, "fork: %s", strerror(errno));
    if (*ret_pid != 0)
        return false;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    return true;
}

static void spawn(chaos_crew *crew, size_t worker)
{
    if (fork_child(&crew->pids[worker]))
        chaos_work(&crew->plan, crew->shared, worker);
}

chaos_crew *chaos_start(test_server *server, const chaos_plan *plan)
{
    chaos_crew *crew = calloc(1, sizeof(*crew));
    cr_assert_not_null(crew);
    crew->plan = *plan;
    crew->server = server;
    if (crew->plan.n_workers == 0)
        crew->plan.n_workers = 1;
    if (crew->plan.n_callers == 0)
        crew->plan.n_callers = 1;
    if (crew->plan.deadline_ms == 0)
        crew->plan.deadline_ms = 20000;
    if (crew->plan.url == NULL)
        crew->plan.url = server_url(server);
    cr_assert_leq(crew->plan.n_workers, CHAOS_MAX_WORKERS);
    cr_assert_leq(crew->plan.n_callers, CHAOS_MAX_CALLERS);
    crew->shared = mmap(
        NULL, sizeof(*crew->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(crew->shared, MAP_FAILED);
    for (size_t i = 0; i < crew->plan.n_workers; i++)
        spawn(crew, i);
    return crew;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* Waits for a worker that is to end by itself. */
static void await_end(const chaos_crew *crew, size_t worker)
{
    int64_t last_us = live_now_us() + PATIENCE_US;
    int status = 0;
    pid_t pid = crew->pids[worker];
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (live_now_us() > last_us)
            cr_assert_fail("worker %zu does not end", worker);
        pause_a_little();
    }
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "worker %zu crashed: %s %d", worker,
        WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

chaos_tally chaos_join(chaos_crew *crew)
{
    atomic_store(&crew->shared->must_stop, true);
    for (size_t i = 0; i < crew->plan.n_workers; i++)
        await_end(crew, i);
    if (crew->pulse != 0) {
        kill(crew->pulse, SIGKILL);
        reap(crew->pulse);
    }
    chaos_tally tally = chaos_read(crew);
    munmap(crew->shared, sizeof(*crew->shared));
    free(crew);
    return tally;
}

void chaos_kill(chaos_crew *crew, size_t worker)
{
    int status = 0;
    kill(crew->pids[worker], SIGKILL);
    while (waitpid(crew->pids[worker], &status, 0) < 0 && errno == EINTR)
        continue;
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
        "worker %zu had crashed before it was killed (%x)", worker, (unsigned)status);
    spawn(crew, worker);
}

void chaos_pause(chaos_crew *crew, size_t worker)
{
    int status = 0;
    kill(crew->pids[worker], SIGSTOP);
    while (waitpid(crew->pids[worker], &status, WUNTRACED) < 0 && errno == EINTR)
        continue;
    cr_assert(WIFSTOPPED(status), "worker %zu crashed (%x)", worker, (unsigned)status);
}

void chaos_resume(chaos_crew *crew, size_t worker)
{
    kill(crew->pids[worker], SIGCONT);
}

/* ---- Tallies ------------------------------------------------------------------------------- */

static void add(chaos_tally *sum, const chaos_slot *slot)
{
    /* Begun last: what is told meanwhile was begun before. */
    for (size_t i = 0; i <= GAVEL_UNKNOWN; i++)
        sum->n_told[i] += atomic_load(&slot->n_told[i]);
    sum->n_begun += atomic_load(&slot->n_begun);
    sum->n_attempts += atomic_load(&slot->n_attempts);
    sum->n_conflicts += atomic_load(&slot->n_conflicts);
    sum->n_gated += atomic_load(&slot->n_gated);
    int64_t late_us = atomic_load(&slot->max_late_us);
    if (late_us > sum->max_late_us)
        sum->max_late_us = late_us;
    if (slot->message[0] != '\0')
        snprintf(sum->message, sizeof(sum->message), "%s", slot->message);
}

chaos_tally chaos_read_worker(const chaos_crew *crew, size_t worker)
{
    chaos_tally tally = {.max_late_us = INT64_MIN};
    add(&tally, &crew->shared->slots[worker]);
    return tally;
}

chaos_tally chaos_read(const chaos_crew *crew)
{
    chaos_tally tally = {.max_late_us = INT64_MIN};
    for (size_t i = 0; i < crew->plan.n_workers; i++)
        add(&tally, &crew->shared->slots[i]);
    return tally;
}

uint64_t chaos_n_maybe(const chaos_tally *tally)
{
    uint64_t n_told = 0;
    for (size_t i = 0; i < GAVEL_UNKNOWN; i++)
        n_told += tally->n_told[i];
    return tally->n_begun - n_told;
}

/* ---- Who is inside ------------------------------------------------------------------------- */

size_t chaos_holder(chaos_crew *crew, const char *key)
{
    char name[128];
    snprintf(name, sizeof(name), "gavel:gate:{%s}", key);
    redisReply *record = server_command(crew->server, "GET", name, NULL);
    const char *pid = record->str != NULL ? strstr(record->str, "pid=") : NULL;
    long number = pid != NULL ? strtol(pid + strlen("pid="), NULL, 10) : 0;
    freeReplyObject(record);
    for (size_t i = 0; i < crew->plan.n_workers; i++) {
        if (crew->pids[i] == (pid_t)number)
            return i;
    }
    return CHAOS_NOBODY;
}

/* Whether a line of CLIENT LIST is of a worker, and waits or does not. The test's own connections
 * have no name. */
static bool is_cuttable(const char *line, size_t size, bool is_waiting)
{
    char text[1024];
    snprintf(text, sizeof(text), "%.*s", (int)size, line);
    return strstr(text, " name= ") == NULL && (strstr(text, " cmd=blpop ") != NULL) == is_waiting;
}

bool chaos_cut(chaos_crew *crew, bool is_waiting)
{
    char id[32] = "";
    uint64_t n_seen = 0;
    redisReply *list = server_command(crew->server, "CLIENT", "LIST", NULL);
    for (const char *line = list->str; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        if (is_cuttable(line, size, is_waiting) && chaos_draw(++n_seen) == 0)
            snprintf(id, sizeof(id), "%ld", strtol(line + strlen("id="), NULL, 10));
        line += size + (line[size] == '\n');
    }
    freeReplyObject(list);
    return id[0] != '\0' && server_int(crew->server, "CLIENT", "KILL", "ID", id, NULL) > 0;
}

/* ---- Waiting ------------------------------------------------------------------------------- */

void chaos_await(bool (*is_true)(void *context), void *context, const char *what)
{
    int64_t last_us = live_now_us() + PATIENCE_US;
    while (!is_true(context)) {
        cr_assert_lt(live_now_us(), last_us, "in vain: %s", what);
        pause_a_little();
    }
}

typedef struct target {
    const chaos_crew *crew;
    uint64_t n_commits;
} target;

static uint64_t count_commits(const chaos_crew *crew)
{
    return chaos_n_committed(crew->shared, crew->plan.n_workers);
}

static bool is_reached(void *context)
{
    const target *self = context;
    return count_commits(self->crew) >= self->n_commits;
}

void chaos_await_commits(chaos_crew *crew, uint64_t n)
{
    uint64_t n_end = count_commits(crew) + n;
    for (uint64_t n_so_far; (n_so_far = count_commits(crew)) < n_end;)
        chaos_await(is_reached, &(target){crew, n_so_far + 1}, "a commit");
}

static void ping(redisContext **context, const char *path)
{
    if (*context == NULL)
        *context = redisConnectUnix(path);
    redisReply *reply = NULL;
    if (*context != NULL && (*context)->err == 0)
        reply = redisCommand(*context, "PING");
    if (reply == NULL) {
        redisFree(*context);
        *context = NULL;
    }
    freeReplyObject(reply);
}

static void beat(const chaos_crew *crew)
{
    redisContext *context = NULL;
    uint64_t n_before = 0;
    int64_t still_us = 0;
    for (int64_t last_us = live_now_us();;) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        ping(&context, server_path(crew->server));
        int64_t now_us = live_now_us();
        int64_t passed_us = now_us - last_us;
        last_us = now_us;
        uint64_t n = chaos_n_committed(crew->shared, crew->plan.n_workers);
        still_us =
            n != n_before ? 0 : still_us + (passed_us < MAX_BEAT_US ? passed_us : MAX_BEAT_US);
        n_before = n;
        if (still_us > atomic_load(&crew->shared->longest_stall_us))
            atomic_store(&crew->shared->longest_stall_us, still_us);
    }
}

void chaos_watch(chaos_crew *crew)
{
    if (fork_child(&crew->pulse))
        beat(crew);
}

int64_t chaos_longest_stall_us(const chaos_crew *crew)
{
    return atomic_load(&crew->shared->longest_stall_us);
}

/* ---- Judging ------------------------------------------------------------------------------- */

void chaos_expect_value(
    test_server *server, const char *key, const chaos_tally *tallies, size_t n_tallies)
{
    uint64_t n_sure = 0;
    uint64_t n_maybe = 0;
    for (size_t i = 0; i < n_tallies; i++) {
        n_sure += tallies[i].n_told[GAVEL_COMMITTED];
        n_maybe += chaos_n_maybe(&tallies[i]);
    }
    long long value = server_int(server, "GET", key, NULL);
    uint64_t sum = value > 0 ? (uint64_t)value : 0;
    cr_expect_geq(
        sum, n_sure, "%s is %" PRIu64 ", and %" PRIu64 " were told COMMITTED", key, sum, n_sure);
    cr_expect_leq(sum, n_sure + n_maybe,
        "%s is %" PRIu64 ", and %" PRIu64 " were told COMMITTED, %" PRIu64 " nothing", key, sum,
        n_sure, n_maybe);
}

/* A busy machine tells late: sleeps of 60 ms were seen to last for six seconds. What is never told,
 * or by the next thing that happens only, is later than this. */
#define MAX_LATE_US INT64_C(20000000)

void chaos_expect_in_time(const chaos_tally *tally)
{
    cr_expect_lt(tally->max_late_us, MAX_LATE_US);
}

void chaos_expect_all_committed(const chaos_tally *tally)
{
    cr_expect_gt(tally->n_begun, 0);
    cr_expect_eq(tally->n_told[GAVEL_COMMITTED], tally->n_begun,
        "%" PRIu64 " of %" PRIu64 " were not told COMMITTED: %s",
        tally->n_begun - tally->n_told[GAVEL_COMMITTED], tally->n_begun, tally->message);
    chaos_expect_in_time(tally);
}
