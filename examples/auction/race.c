/*
 * The race: opens the items, starts the teams, lets the auctioneer work, and verifies.
 */
#include "plain.h"
#include "race.h"
#include "verify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the last so many milliseconds before an item's end a bid moves that end. */
#define RACE_WINDOW_MS 1000

static const struct way {
    const char *name;
    int (*run_team)(struct team *team);
} ways[] = {
    {"gavel", team_by_gavel},
    {"textbook", team_by_textbook},
    {"unguarded", team_by_unguarded},
};

/* ---- Preparing ----------------------------------------------------------------------------- */

/* The ledger's folder: the one asked for, or a new temporary one. */
static bool make_dir(struct race *race)
{
    const char *wanted = race->options->ledger;
    const char *base = getenv("TMPDIR");
    char cwd[sizeof(race->dir) / 2] = "";
    int length;

    if (wanted != NULL && wanted[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL) {
        trouble("the current folder: %s", strerror(errno));
        return false;
    }
    if (wanted != NULL)
        length = snprintf(
            race->dir, sizeof(race->dir), "%s%s%s", cwd, cwd[0] != '\0' ? "/" : "", wanted);
    else
        length = snprintf(race->dir, sizeof(race->dir), "%s/auction-XXXXXX",
            base != NULL && base[0] == '/' ? base : "/tmp");
    if (length < 0 || (size_t)length >= sizeof(race->dir)) {
        trouble("the ledger's path is too long");
        return false;
    }
    if (wanted != NULL && ledger_exists(race->dir)) {
        trouble("--ledger: %s holds the ledger of another race", wanted);
        return false;
    }
    if (wanted != NULL ? mkdir(race->dir, 0700) == 0 || errno == EEXIST
                       : mkdtemp(race->dir) != NULL)
        return true;
    trouble("%s: %s", race->dir, strerror(errno));
    return false;
}

static bool prepare(struct race *race, const struct options *options)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(options->by, ways[i].name) == 0)
            race->run_team = ways[i].run_team;
    if (race->run_team == NULL) {
        trouble("--by: \"%s\" is none of gavel, textbook, unguarded", options->by);
        return false;
    }
    if (race->run_team != team_by_gavel && plain_is_cluster(options->url)) {
        trouble("--by %s speaks to one server, not to a Cluster", options->by);
        return false;
    }
    race->options = options;
    race->n_items = (size_t)options->items;
    race->n_processes = (size_t)options->processes;
    race->n_bidders = (size_t)options->bidders;
    race->seconds = options->seconds;
    snprintf(race->id, sizeof(race->id), "race-%08" PRIx32, (uint32_t)random_bits());
    race->items = calloc(race->n_items, sizeof(race->items[0]));
    if (race->items == NULL) {
        trouble("no memory");
        return false;
    }
    for (size_t i = 0; i < race->n_items; i++) {
        snprintf(race->items[i].name, NAME_SIZE, "%.18s-%zu", race->id, i + 1);
        item_keys_set(&race->items[i].keys, race->items[i].name);
    }
    return make_dir(race);
}

/* ---- Opening the items --------------------------------------------------------------------- */

static gavel_verdict remember_ledger(gavel_tx *tx, void *user)
{
    const struct race *race = user;
    char seconds[24];
    /* Gone before the items are. */
    snprintf(seconds, sizeof(seconds), "%" PRId64, RACE_KEEP_S + race->seconds / 2);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR(LEDGER_KEY), gavel_str(race->dir),
                        GAVEL_STR("EX"), gavel_str(seconds)));
    return GAVEL_COMMIT;
}

static bool open_item(gavel_client *client, const struct race *race, size_t i)
{
    struct opening opening = {.keys = race->items[i].keys,
        .name = race->items[i].name,
        .item = {.increment = 1,
            .end_ms = wall_ms() + race->seconds * 750,
            .window_ms = RACE_WINDOW_MS}};
    struct plan plan;

    opening_plan(&opening, &plan);
    gavel_outcome outcome = gavel_run(client, &plan.transaction);
    if (outcome.status == GAVEL_COMMITTED)
        return true;
    trouble_outcome("opening an item", &outcome);
    return false;
}

/* A blocking client that is gone before the teams are forked: no client survives a fork. */
static bool open_items(struct race *race)
{
    const gavel_bytes key = GAVEL_STR(LEDGER_KEY);
    gavel_client *client = open_client(race->options);
    bool is_fine = client != NULL;

    for (size_t i = 0; is_fine && i < race->n_items; i++)
        is_fine = open_item(client, race, i);
    if (is_fine) {
        gavel_outcome outcome = gavel_run(client,
            &(gavel_transaction){.body = remember_ledger, .user = race, .keys = &key, .n_keys = 1});
        is_fine = outcome.status == GAVEL_COMMITTED;
        if (!is_fine)
            trouble_outcome("noting the ledger", &outcome);
    }
    gavel_close(client);
    race->start_ms = wall_ms();
    return is_fine;
}

/* ---- The teams ----------------------------------------------------------------------------- */

/* The life of a team's process. */
static int live(const struct race *race, size_t process, int report_fd)
{
    struct team team = {.race = race, .process = process, .report_fd = report_fd};
    uint64_t n_told = 0;

    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the parent, who closes the items */
    team.ledger = ledger_open(race->dir, process);
    if (team.ledger == NULL)
        return EXIT_TROUBLE;
    int status = race->run_team(&team);
    team_report(&team);
    for (size_t i = 0; i < N_TOLD; i++)
        n_told += atomic_load(&team.tally.n[i]);
    return ledger_close(team.ledger, n_told) ? status : EXIT_TROUBLE;
}

static pid_t fork_team(const struct race *race, size_t process, const int pipe_fds[2])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* A team never outlives its parent. It may have died before this took effect. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_TROUBLE);
    close(pipe_fds[0]);
    int status = live(race, process, pipe_fds[1]);
    fflush(NULL);
    _exit(status);
}

/* Waits for the teams; says which did not end well. */
static int await_teams(const pid_t *pids, size_t n_pids)
{
    int worst = EXIT_FINE;
    for (size_t i = 0; i < n_pids; i++) {
        int status = 0;
        while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FINE)
            continue;
        if (WIFSIGNALED(status))
            trouble("process %zu was ended by signal %d", i + 1, WTERMSIG(status));
        worst = EXIT_TROUBLE;
    }
    return worst;
}

/* Forks the teams, and has the items closed under them. */
static int run_teams(const struct race *race)
{
    int pipe_fds[2];
    size_t n_forked = 0;
    int status = EXIT_TROUBLE;
    sigset_t set;

    /* Held back until each process has said what it wants done with them. */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);

    pid_t *pids = calloc(race->n_processes, sizeof(pids[0]));
    if (pids == NULL || pipe(pipe_fds) != 0) {
        free(pids);
        return trouble("no memory or no pipe: %s", strerror(errno));
    }
    fflush(NULL);
    while (n_forked < race->n_processes) {
        pids[n_forked] = fork_team(race, n_forked + 1, pipe_fds);
        if (pids[n_forked] < 0)
            break;
        n_forked++;
    }
    close(pipe_fds[1]);
    if (n_forked == race->n_processes) {
        status = auctioneer_run(race, pipe_fds[0], pids);
    } else {
        trouble("process %zu could not be started: %s", n_forked + 1, strerror(errno));
        for (size_t i = 0; i < n_forked; i++)
            kill(pids[i], SIGKILL);
    }
    close(pipe_fds[0]);
    if (await_teams(pids, n_forked) != EXIT_FINE)
        status = EXIT_TROUBLE;
    free(pids);
    return status;
}

int run_race(const struct options *options)
{
    static struct race race;
    int status = EXIT_TROUBLE;

    if (!prepare(&race, options))
        goto done;
    if (!open_items(&race)) {
        rmdir(race.dir); /* nothing is in it, unless it was there before */
        goto done;
    }
    struct ledger ledger = {
        .n_items = (uint32_t)race.n_items, .n_processes = (uint32_t)race.n_processes};
    snprintf(ledger.race, sizeof(ledger.race), "%s", race.id);
    snprintf(ledger.by, sizeof(ledger.by), "%s", options->by);
    if (!ledger_create(race.dir, &ledger))
        goto done;
    printf("%s: items %zu, processes %zu, bidders in each %zu, seconds %" PRId64 ", by %s\n",
        race.id, race.n_items, race.n_processes, race.n_bidders, race.seconds, options->by);
    printf("ledger: %s\n", race.dir);
    status = run_teams(&race);
    /* Even after trouble there is something to be learnt; but then it is not all fine. */
    int verdict = verify_ledger(options->url, race.dir);
    if (verdict == EXIT_TROUBLE)
        trouble("not verified; to do it later: auction verify --ledger %s", race.dir);
    if (status == EXIT_FINE || verdict == EXIT_REFUSED)
        status = verdict;
done:
    free(race.items);
    return status;
}
