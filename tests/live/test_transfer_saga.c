/*
 * The example transfer_saga, killed (SIGKILL) at every command that it sends: before the server has
 * it, and between its execution and the reply. Whoever runs it again, recovers, or does so when all
 * ids are forgotten, finds the transfer wholly done or wholly undone, and no money lost or made.
 */
#include "base/slot.h"
#include "relay.h"
#include "tools.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLED = -1, ANN = 100, BOB = 50, AMOUNT = 30 };

/* ---- Programs that are killed --------------------------------------------------------------- */

/* One run of the program behind a relay. */
typedef struct saga_victim {
    pthread_mutex_t mutex; /* of all that follows */
    pid_t pid;
    int n_left;          /* commands that may pass; handshakes are not counted */
    relay_action action; /* what becomes of the one at which it dies */
    uint16_t slots[64];  /* by link, some of which are at work at once: of the last keys */
    bool is_mixed;       /* a transaction had keys in several, which no Cluster would take */
    test_relay *relay;
} saga_victim;

/* Of the program's own arguments only keys have tags. */
static void note_slots(saga_victim *victim, const relay_command *command)
{
    uint16_t *slot = &victim->slots[command->link % 64];
    bool is_first = relay_is(command, "WATCH") || relay_is(command, "HGETALL");
    for (size_t i = 1; i < command->n_args; i++) {
        gavel_bytes key = command->args[i];
        if (memchr(key.data, '{', key.size) == NULL ||
            (key.size > 6 && memcmp(key.data, "gavel:", 6) == 0))
            continue;
        if (is_first)
            *slot = gavel__slot_of(key);
        else if (*slot != gavel__slot_of(key))
            victim->is_mixed = true;
        is_first = false;
    }
}

/* The program is dead when this returns, whatever arrives then. */
static relay_action kill_at(test_relay *relay, const relay_command *command, void *user)
{
    (void)relay;
    saga_victim *victim = user;
    relay_action action = RELAY_PASS;
    pthread_mutex_lock(&victim->mutex);
    note_slots(victim, command);
    if (command->round > 0 && victim->n_left-- == 0) {
        siginfo_t info;
        kill(victim->pid, SIGKILL);
        waitid(P_PID, (id_t)victim->pid, &info, WEXITED | WNOWAIT);
        action = victim->action;
    }
    pthread_mutex_unlock(&victim->mutex);
    return action;
}

static void victim_begin(saga_victim *victim, const test_server *server)
{
    pthread_mutex_init(&victim->mutex, NULL);
    victim->pid = 0;
    victim->n_left = -1;
    victim->is_mixed = false;
    victim->relay = relay_start(server, kill_at, victim, NULL);
}

static void victim_end(saga_victim *victim)
{
    relay_stop(victim->relay);
    cr_assert_not(victim->is_mixed);
    pthread_mutex_destroy(&victim->mutex);
}

/* Starts the program with these words; it is silent, its server is at the URL, and its time does
 * not run out on a slow machine. */
static pid_t start(const char *url, const char *words)
{
    extern char **environ;
    char path[4096], full[256], copy[256], *arguments[16] = {path}, *rest = NULL;
    const char *folder = getenv("GAVEL_EXAMPLES");
    cr_assert_not_null(folder, "GAVEL_EXAMPLES names the folder of the built examples");
    snprintf(path, sizeof(path), "%s/transfer_saga", folder);
    snprintf(copy, sizeof(copy), "%s", words);
    size_t n = 1;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        arguments[n++] = word;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    snprintf(
        full, sizeof(full), "%s%cdeadline_ms=60000", url, strchr(url, '?') != NULL ? '&' : '?');
    setenv("GAVEL_URL", full, 1);
    cr_assert_eq(posix_spawn(&pid, path, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* The same behind the relay: it dies at the command behind the first n. */
static pid_t start_victim(saga_victim *victim, const char *words, int n, relay_action action)
{
    pthread_mutex_lock(&victim->mutex);
    victim->n_left = n;
    victim->action = action;
    pid_t pid = victim->pid = start(relay_url(victim->relay), words);
    pthread_mutex_unlock(&victim->mutex);
    return pid;
}

/* Its exit status, or KILLED. */
static int end_of(pid_t pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return KILLED;
}

static int play(test_server *server, const char *words)
{
    return end_of(start(server_url(server), words));
}

/* ---- Looking -------------------------------------------------------------------------------- */

/* As if a day had passed. */
static void forget_ids(test_server *server)
{
    redisReply *keys = server_command(server, "KEYS", "gavel:id:*", NULL);
    for (size_t i = 0; i < keys->elements; i++)
        server_do(server, "DEL", keys->element[i]->str, NULL);
    freeReplyObject(keys);
}

static bool starts(test_server *server, const char *key, const char *text)
{
    redisReply *reply = server_command(server, "GET", key, NULL);
    bool starts = reply->type == REDIS_REPLY_STRING && strncmp(reply->str, text, strlen(text)) == 0;
    freeReplyObject(reply);
    return starts;
}

static long long balance_of(test_server *server, const char *account)
{
    char key[64];
    snprintf(key, sizeof(key), "balance:{%s}", account);
    long long balance = server_int(server, "GET", key, NULL);
    return balance < 0 ? 0 : balance;
}

/* ---- One transfer --------------------------------------------------------------------------- */

/* Transfer 7 from ann, who has ANN, to bob, who has BOB, or to nobody. */
typedef struct saga_scene {
    test_server *server;
    const char *to;
    relay_action action;
    bool is_late; /* ids are forgotten before the recovery */
} saga_scene;

static bool is_refused(const saga_scene *scene)
{
    return strcmp(scene->to, "nobody") == 0;
}

static void reset(const saga_scene *scene)
{
    server_do(scene->server, "FLUSHALL", NULL);
    server_do(scene->server, "SET", "balance:{ann}", "100", NULL);
    server_do(scene->server, "SET", "balance:{bob}", "50", NULL);
}

static bool is_given(const saga_scene *scene)
{
    return starts(scene->server, "received:{bob}:ann:7", "given");
}

/* At every moment: what ann does not have any more bob has, or it is on its way. */
static void check_sum(const saga_scene *scene, int n)
{
    bool is_on_its_way = starts(scene->server, "sent:{ann}:7", "taken ") && !is_given(scene);
    long long sum = balance_of(scene->server, "ann") + balance_of(scene->server, "bob") +
                    balance_of(scene->server, "nobody");
    cr_assert_eq(sum + (is_on_its_way ? AMOUNT : 0), ANN + BOB, "killed after %d: %lld", n, sum);
}

/* Nothing is on its way: all is done, or nothing. */
static void check_ended(const saga_scene *scene, int n, bool is_begun)
{
    bool is_done = starts(scene->server, "sent:{ann}:7", "done ");
    bool is_undone = starts(scene->server, "sent:{ann}:7", "undone ");
    check_sum(scene, n);
    cr_assert_eq(server_int(scene->server, "EXISTS", "open:{ann}", NULL), 0, "after %d", n);
    cr_assert_eq(server_int(scene->server, "EXISTS", "sent:{ann}:7", NULL), is_done || is_undone);
    cr_assert_eq(is_done, is_given(scene), "after %d", n);
    cr_assert_eq(balance_of(scene->server, "ann"), ANN - (is_done ? AMOUNT : 0), "after %d", n);
    if (is_begun)
        cr_assert(is_refused(scene) ? is_undone : is_done, "after %d", n);
}

/* What comes when the program was killed after n commands: somebody recovers, and ann pays again,
 * and once more when nobody knows the ids. */
static void go_on(const saga_scene *scene, int n)
{
    bool is_begun = server_int(scene->server, "EXISTS", "sent:{ann}:7", NULL) == 1;
    char pay[64];
    snprintf(pay, sizeof(pay), "pay 7 ann %s 30", scene->to);
    check_sum(scene, n);
    if (scene->is_late)
        forget_ids(scene->server);
    cr_assert_eq(play(scene->server, "recover ann"), 0);
    check_ended(scene, n, is_begun);
    cr_assert_eq(play(scene->server, pay), is_refused(scene) ? 1 : 0);
    check_ended(scene, n, true);
    forget_ids(scene->server);
    if (is_refused(scene)) /* there is such an account now, and nothing for it any more */
        server_do(scene->server, "SET", "balance:{nobody}", "0", NULL);
    cr_assert_eq(play(scene->server, pay), is_refused(scene) ? 1 : 0);
    check_ended(scene, n, true);
}

/* Kills it at each command; returns at how many. */
static int sweep(const saga_scene *scene, const char *words, void (*set)(const saga_scene *scene))
{
    saga_victim victim;
    victim_begin(&victim, scene->server);
    int n = 0;
    for (int status = KILLED; status == KILLED; n++) {
        set(scene);
        status = end_of(start_victim(&victim, words, n, scene->action));
        live_await_no_links(scene->server, "gavel"); /* what it has sent is done */
        go_on(scene, n);
    }
    victim_end(&victim);
    return n - 1;
}

/* To lose the n-th reply and not to deliver what comes behind it leaves the server in the same
 * state, so each one is recovered from with ids and without. */
static void sweep_all(const char *words, void (*set)(const saga_scene *scene))
{
    saga_scene scene = {.server = server_start(NULL)};
    for (int i = 0; i < 4; i++) {
        char filled[64];
        scene.to = (i & 1) != 0 ? "nobody" : "bob";
        scene.action = (i & 2) != 0 ? RELAY_LOSE_REPLY : RELAY_CUT;
        scene.is_late = scene.action == RELAY_CUT;
        snprintf(filled, sizeof(filled), words, scene.to);
        int n = sweep(&scene, filled, set);
        cr_assert_geq(n, 12, "killed %d times", n);
    }
    server_stop(scene.server);
}

Test(transfer_saga, is_killed_at_any_command)
{
    sweep_all("pay 7 ann %s 30", reset);
}

/* Whoever began it was killed behind the first step. */
static void reset_taken(const saga_scene *scene)
{
    char order[32], record[64];
    snprintf(order, sizeof(order), "%s 30", scene->to);
    snprintf(record, sizeof(record), "taken %s", order);
    reset(scene);
    server_do(scene->server, "SET", "balance:{ann}", "70", NULL);
    server_do(scene->server, "SET", "sent:{ann}:7", record, NULL);
    server_do(scene->server, "HSET", "open:{ann}", "7", order, NULL);
}

Test(transfer_saga, a_recovery_is_killed_at_any_command)
{
    sweep_all("recover ann", reset_taken);
}

/* What a failover may undo nothing is built on: neither by whoever began, nor by who recovers. */
Test(transfer_saga, goes_no_further_than_what_is_durable)
{
    char url[256];
    saga_scene scene = {.server = server_start(NULL), .to = "bob"};
    snprintf(url, sizeof(url), "%s?min_replicas=1&durable_ms=50", server_url(scene.server));
    reset(&scene);
    cr_assert_eq(end_of(start(url, "pay 7 ann bob 30")), 2);
    cr_assert_eq(end_of(start(url, "recover ann")), 2);
    cr_assert(starts(scene.server, "sent:{ann}:7", "taken "));
    cr_assert_eq(balance_of(scene.server, "bob"), BOB);
    cr_assert_eq(play(scene.server, "recover ann"), 0);
    check_ended(&scene, 0, true);
    server_stop(scene.server);
}

/* ---- Several at once ------------------------------------------------------------------------ */

enum { N_WAVES = 6, N_TRANSFERS = 3, N_PAYING = 2 * N_TRANSFERS, N_ACCOUNTS = 4, RICH = 1000 };

static const char *const accounts[N_ACCOUNTS] = {"ann", "bob", "carl", "dora"};

/* In each wave, from the first three; each fourth transfer is to nobody. */
typedef struct saga_payment {
    char id[16];
    const char *from, *to;
    int amount;
} saga_payment;

static saga_payment payment_of(int number)
{
    int from = number % N_TRANSFERS;
    saga_payment payment = {.from = accounts[from],
        .to = number % 4 == 3 ? "nobody" : accounts[(from + 1 + number % 2) % N_ACCOUNTS],
        .amount = 10 + number};
    snprintf(payment.id, sizeof(payment.id), "t%d", number);
    return payment;
}

/* Two pay the same, and die early, late or not at all; two more recover meanwhile. */
static void play_wave(test_server *server, saga_victim *victims, int wave)
{
    pid_t pids[N_PAYING], recovering[2];
    for (int i = 0; i < N_PAYING; i++) {
        char words[64];
        saga_payment payment = payment_of(wave * N_TRANSFERS + i / 2);
        snprintf(words, sizeof(words), "pay %s %s %s %d", payment.id, payment.from, payment.to,
            payment.amount);
        pids[i] = start_victim(&victims[i], words, (wave * 11 + i * 7) % 29,
            (wave + i) % 2 == 0 ? RELAY_CUT : RELAY_LOSE_REPLY);
    }
    for (int i = 0; i < 2; i++)
        recovering[i] = start(server_url(server), "recover ann bob carl");
    for (int i = 0; i < N_PAYING; i++)
        end_of(pids[i]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(end_of(recovering[i]), 0);
}

/* What the transfer came to, in the balances that it should lead to. */
static void add_payment(test_server *server, const saga_payment *payment, long long *balances)
{
    char sent[64], received[64];
    snprintf(sent, sizeof(sent), "sent:{%s}:%s", payment->from, payment->id);
    snprintf(
        received, sizeof(received), "received:{%s}:%s:%s", payment->to, payment->from, payment->id);
    bool is_done = starts(server, sent, "done ");
    cr_assert(
        is_done || starts(server, sent, "undone ") || server_int(server, "EXISTS", sent, NULL) == 0,
        "%s is not ended", sent);
    cr_assert_eq(is_done, starts(server, received, "given"), "%s", received);
    for (int i = 0; is_done && i < N_ACCOUNTS; i++) {
        balances[i] -= strcmp(accounts[i], payment->from) == 0 ? payment->amount : 0;
        balances[i] += strcmp(accounts[i], payment->to) == 0 ? payment->amount : 0;
    }
}

Test(transfer_saga, many_are_killed_and_recovered_at_once)
{
    test_server *server = server_start(NULL);
    long long balances[N_ACCOUNTS] = {RICH, RICH, RICH, RICH};
    saga_victim victims[N_PAYING];
    for (int i = 0; i < N_PAYING; i++)
        victim_begin(&victims[i], server);
    for (int i = 0; i < N_ACCOUNTS; i++) {
        char key[64];
        snprintf(key, sizeof(key), "balance:{%s}", accounts[i]);
        server_do(server, "SET", key, "1000", NULL);
    }
    for (int wave = 0; wave < N_WAVES; wave++)
        play_wave(server, victims, wave);
    for (int i = 0; i < N_PAYING; i++)
        victim_end(&victims[i]);
    live_await_no_links(server, "gavel"); /* so that nothing of the dead is under way */
    cr_assert_eq(play(server, "recover ann bob carl"), 0);
    for (int i = 0; i < N_WAVES * N_TRANSFERS; i++) {
        saga_payment payment = payment_of(i);
        add_payment(server, &payment, balances);
    }
    for (int i = 0; i < N_ACCOUNTS; i++)
        cr_assert_eq(balance_of(server, accounts[i]), balances[i], "%s", accounts[i]);
    server_stop(server);
}
