/*
 * gavel unlock: takes a lock away from its holder.
 *
 * What is taken is the very grant that was shown: its owner goes along, and the server compares. So
 * a lock that changed hands while somebody thought about the question stays where it is.
 */
#include "cli/record.h"
#include "cli/server.h"
#include "cli/text.h"

#include "base/random.h"
#include "base/resp.h"
#include "cli/cli.h"
#include "lock/scripts.h"

#include <inttypes.h>
#include <sys/types.h>
#include <unistd.h>

/* Longer ones are nobody's of ours. */
#define RECORD_SIZE 1024

typedef struct job {
    const cli_options *options;
    gavel__lock_keys keys;
    char record[RECORD_SIZE]; /* as it was shown */
    size_t record_size;       /* 0: nobody holds it */
    int64_t lease_ms;
    int64_t now_ms; /* the server's */
    bool is_taken;
    bool is_refused; /* by the server; said on standard error */
} job;

static bool note_refusal(job *self, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_ERROR)
        return false;
    cli_say("%s: %.*s", self->options->address.label, (int)reply->text.size, reply->text.data);
    self->is_refused = true;
    return true;
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

/* Reads the record; an exit status. */
static int look(job *self)
{
    cli_server server;
    bool is_known = cli_server_open(&server, self->options);
    if (is_known) {
        gavel__buffer *out = cli_server_out(&server);
        gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("GET"), self->keys.record}, 2);
        gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("PTTL"), self->keys.record}, 2);
        gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("TIME")}, 1);
        is_known = cli_server_ask(&server, 3, on_look, self);
    }
    cli_server_close(&server);
    return is_known && !self->is_refused ? CLI_OK : CLI_NO_SERVER;
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

/* Releases the lock in its holder's name, which hands it off to the next. An exit status. */
static int take(job *self, const cli_holder *holder)
{
    char turn[GAVEL__LOCK_TURN_SIZE + 1];
    snprintf(turn, sizeof(turn), "%016" PRIx64 "%016" PRIx64, gavel__random_system_seed(),
        gavel__random_system_seed());
    cli_server server;
    bool is_known = cli_server_open(&server, self->options);
    if (is_known) {
        gavel__lock_write_release(cli_server_out(&server), &self->keys, holder->owner,
            (gavel_bytes){turn, GAVEL__LOCK_TURN_SIZE});
        is_known = cli_server_ask(&server, 1, on_taken, self);
    }
    cli_server_close(&server);
    if (!is_known || self->is_refused)
        return CLI_NO_SERVER;
    if (self->is_taken)
        return CLI_OK;
    cli_say("left alone: its holder has released or lost it meanwhile");
    return CLI_LEFT_ALONE;
}

int cli_unlock(const cli_options *options)
{
    job self = {.options = options};
    gavel__lock_keys_init(&self.keys, options->config.key_prefix, gavel_str(options->name));
    int status = look(&self);
    if (status != CLI_OK)
        return status;
    cli_holder holder = cli_read_record((gavel_bytes){self.record, self.record_size});
    if (self.record_size == 0 || holder.is_handed_off) {
        cli_say("nobody holds this lock at %s", options->address.label);
        return CLI_NOTHING;
    }
    status = ask(&self, &holder);
    return status == CLI_OK ? take(&self, &holder) : status;
}
