/*
 * gavel unlock: takes a lock away from its holder.
 *
 * What is taken is the very grant that was shown: its owner goes along, and the server compares. So
 * a lock that changed hands while somebody thought about the question stays where it is.
 */
#include "cli/nodes.h"
#include "cli/record.h"
#include "cli/text.h"

#include "base/random.h"
#include "base/resp.h"
#include "base/text.h"
#include "cli/cli.h"
#include "lock/scripts.h"

#include <inttypes.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Longer ones are nobody's of ours. */
#define RECORD_SIZE 1024

/* While a slot is on its way to another node: some five seconds. */
#define N_TRIES 50
#define PAUSE_NS 100000000

typedef struct job {
    const cli_options *options;
    cli_nodes nodes;
    uint16_t node; /* that has the lock */
    gavel__lock_keys keys;
    char turn[GAVEL__LOCK_TURN_SIZE + 1]; /* for whom it is given to */
    char record[RECORD_SIZE];             /* as it was shown */
    size_t record_size;                   /* 0: nobody holds it */
    int64_t lease_ms;
    int64_t now_ms; /* the server's */
    bool is_taken;
    bool is_refused;    /* by the server; said on standard error */
    bool is_on_its_way; /* its slot is: to be asked again */
} job;

/* ---- The lock's server --------------------------------------------------------------------- */

/* Writes commands, and returns how many. */
typedef size_t write_commands(job *self, cli_server *server);

static bool ask_once(job *self, write_commands *write, cli_on_reply *on_reply)
{
    cli_server server;
    bool is_told = cli_nodes_connect(&self->nodes, self->node, &server);
    if (is_told) {
        size_t n = write(self, &server);
        is_told = cli_server_ask(&server, n, on_reply, self);
    }
    if (!is_told)
        cli_say("%s", server.trouble);
    cli_server_close(&server);
    return is_told;
}

/* Where the lock is; if its slot has gone elsewhere or is about to, there. False: said on standard
 * error. */
static bool ask_server(job *self, write_commands *write, cli_on_reply *on_reply)
{
    for (int i = 0; i < N_TRIES; i++) {
        self->is_on_its_way = false;
        if (!ask_once(self, write, on_reply) || self->is_refused)
            return false;
        if (!self->is_on_its_way)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    cli_say("%s: the lock's slot is on its way from one node to another: try again later",
        self->options->address.label);
    return false;
}

static bool find_server(job *self)
{
    if (!cli_nodes_open(&self->nodes, self->options))
        return false;
    self->node = cli_nodes_of_slot(&self->nodes, gavel__slot_of(self->keys.record));
    if (self->node == GAVEL__NO_NODE)
        cli_say("%s: no node has the lock's slot", self->options->address.label);
    return self->node != GAVEL__NO_NODE;
}

static bool note_refusal(job *self, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_ERROR)
        return false;
    if (cli_nodes_follow(&self->nodes, self->node, reply, &self->node) ||
        gavel__bytes_start_with(reply->text, GAVEL_STR("TRYAGAIN ")))
        self->is_on_its_way = true;
    if (self->is_on_its_way || self->is_refused)
        return true;
    cli_say("%s: %.*s", self->options->address.label, (int)reply->text.size, reply->text.data);
    self->is_refused = true;
    return true;
}

static cli_holder holder_of(const job *self)
{
    return cli_read_record((gavel_bytes){self->record, self->record_size});
}

/* ---- Looking ------------------------------------------------------------------------------- */

static void on_look(size_t i, const gavel_reply *reply, void *user)
{
    job *self = user;
    if (note_refusal(self, reply))
        return;
    if (i == 0) {
        bool fits = reply->text.size <= sizeof(self->record);
        self->record_size = fits ? reply->text.size : sizeof(self->record);
        if (self->record_size > 0)
            memcpy(self->record, reply->text.data, self->record_size);
    } else if (i == 1) {
        self->lease_ms = reply->integer;
    } else {
        self->now_ms = cli_read_time(reply);
    }
}

static size_t write_look(job *self, cli_server *server)
{
    gavel__resp_command(
        cli_server_next(server), (gavel_bytes[]){GAVEL_STR("GET"), self->keys.record}, 2);
    gavel__resp_command(
        cli_server_next(server), (gavel_bytes[]){GAVEL_STR("PTTL"), self->keys.record}, 2);
    gavel__resp_command(cli_server_next(server), (gavel_bytes[]){GAVEL_STR("TIME")}, 1);
    return 3;
}

/* ---- Asking -------------------------------------------------------------------------------- */

static void print_holder(const job *self, const cli_holder *holder)
{
    char duration[CLI_DURATION_SIZE];
    fprintf(stderr, "lock ");
    cli_print_name(stderr, gavel_str(self->options->name));
    fprintf(stderr, " at %s is held by ", self->options->address.label);
    if (holder->pid < 0)
        fprintf(stderr, "somebody whose record does not say who it is");
    else
        fprintf(stderr, "process %" PRId64 " on ", holder->pid);
    cli_print_name(stderr, holder->host);
    if (holder->since_ms >= 0)
        fprintf(stderr, " for %s", cli_format_ms(self->now_ms - holder->since_ms, duration));
    if (self->lease_ms >= 0)
        fprintf(stderr, "; its lease ends in %s", cli_format_ms(self->lease_ms, duration));
    fprintf(stderr, ".\nIts holder goes on until it notices. Take it away? [y/N] ");
}

static bool is_confirmed(void)
{
    char answer[16];
    if (fgets(answer, sizeof(answer), stdin) == NULL) {
        fputc('\n', stderr);
        return false;
    }
    return strcmp(answer, "y\n") == 0 || strcmp(answer, "Y\n") == 0 || strcmp(answer, "yes\n") == 0;
}

/* An exit status. */
static int ask(const job *self, const cli_holder *holder)
{
    if (self->options->is_forced)
        return CLI_OK;
    if (!isatty(STDIN_FILENO)) {
        cli_say("unlock: there is no terminal to ask on; --force does without");
        return CLI_USAGE;
    }
    print_holder(self, holder);
    if (is_confirmed())
        return CLI_OK;
    cli_say("left alone");
    return CLI_LEFT_ALONE;
}

/* ---- Taking -------------------------------------------------------------------------------- */

static void on_taken(size_t i, const gavel_reply *reply, void *user)
{
    (void)i;
    job *self = user;
    if (!note_refusal(self, reply))
        self->is_taken = gavel__lock_read(reply).verdict == GAVEL__LOCK_VERDICT_OURS;
}

static size_t write_release(job *self, cli_server *server)
{
    cli_holder holder = holder_of(self);
    gavel__lock_write_release(cli_server_next(server), &self->keys, holder.owner,
        (gavel_bytes){self->turn, GAVEL__LOCK_TURN_SIZE});
    return 1;
}

/* Releases the lock in its holder's name, which hands it off to the next. An exit status. */
static int take(job *self)
{
    snprintf(self->turn, sizeof(self->turn), "%016" PRIx64 "%016" PRIx64,
        gavel__random_system_seed(), gavel__random_system_seed());
    if (!ask_server(self, write_release, on_taken))
        return CLI_NO_SERVER;
    if (self->is_taken)
        return CLI_OK;
    cli_say("left alone: its holder has released or lost it meanwhile");
    return CLI_LEFT_ALONE;
}

static int unlock(job *self)
{
    if (!find_server(self) || !ask_server(self, write_look, on_look))
        return CLI_NO_SERVER;
    cli_holder holder = holder_of(self);
    if (self->record_size == 0 || holder.is_handed_off) {
        cli_say("nobody holds this lock at %s", self->options->address.label);
        return CLI_NOTHING;
    }
    int status = ask(self, &holder);
    return status == CLI_OK ? take(self) : status;
}

int cli_unlock(const cli_options *options)
{
    job self = {.options = options};
    gavel__lock_keys_init(&self.keys, options->config.key_prefix, gavel_str(options->name));
    int status = unlock(&self);
    cli_nodes_close(&self.nodes);
    return status;
}
