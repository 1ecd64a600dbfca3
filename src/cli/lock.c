/*
 * gavel lock: runs a command while a lock is held.
 *
 *     WAITING --held--> RUNNING --the command is gone--------> RELEASING --told--> the end
 *        |                 |--the same, but too soon--> KEEPING--^
 *        |                 '--lost--> ENDING --all are gone------^
 *        |--held, and a signal has come--------------------------^
 *        '--busy, no server, a signal--> the end
 *
 * One loop has it all: the client's connections, the signals, the command's process. A gavel that
 * was stopped, and so may have lost its lock without knowing, looks at that first when it goes on.
 */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/text.h"

#include "base/text.h"

#include <gavel/gavel.h>

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* Who waits for a lock without an end should not wait for a server that is not there. */
#define CONTACT_S 5.

/* Passed on to the command. The first ones end gavel while nothing runs yet, which is also their
 * default; the others are left to their default then. WINCH is sent to whoever has the terminal,
 * and that may be gavel. */
static const int passed_on[] = {
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT};

#define N_PASSED_ON (sizeof(passed_on) / sizeof(passed_on[0]))
#define I_FIRST_HARMLESS 6 /* SIGWINCH */
#define I_STOP 7           /* SIGTSTP */

typedef enum phase {
    PHASE_WAITING,
    PHASE_RUNNING,
    PHASE_KEEPING, /* what --at-least asks for: the command is gone, the lock stays */
    PHASE_ENDING,
    PHASE_RELEASING
} phase;

typedef struct job {
    const cli_options *options;
    char what[GAVEL_LOCK_NAME_MAX + 256]; /* the lock, for messages */
    struct ev_loop *loop;
    gavel_client *client;
    gavel_ticket ticket;
    gavel_lock *lock;
    phase phase;
    cli_command command;
    cli_inherited inherited;
    ev_signal signals[N_PASSED_ON];
    int caught[N_PASSED_ON + 2]; /* those that gavel handles; ended by 0 */
    size_t n_caught;
    ev_signal on_child;
    ev_timer contact;
    ev_timer grace;
    ev_timer at_least;                /* runs from the grant on */
    bool has_contact;                 /* a connection came up, ever */
    bool is_cut_off;                  /* none has come up since the last one was lost */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why that was */
    int end_signal;                   /* PHASE_WAITING and KEEPING: what ended it */
    bool is_lost;
    bool is_stopping; /* TSTP was passed on: gavel stops when the command has */
    int status;
} job;

/* Onward only; what was not run need not be ended. */
static void set_phase(job *self, phase next)
{
    assert(next > self->phase);
    assert(self->phase != PHASE_WAITING || next != PHASE_ENDING);
    self->phase = next;
}

static void finish(job *self, int status)
{
    self->status = status;
    ev_break(self->loop, EVBREAK_ALL);
}

/* ---- The end ------------------------------------------------------------------------------- */

static int status_of(const job *self)
{
    return self->is_lost ? CLI_LOST : self->command.status;
}

static void on_released(const gavel_lock_outcome *outcome, void *user)
{
    job *self = user;
    if (outcome->status == GAVEL_LOCK_LOST && !self->is_lost) {
        self->is_lost = true;
        cli_say("%s: was lost before it was released: %s", self->what,
            gavel_lock_reason_meaning(outcome->reason));
    } else if (outcome->status != GAVEL_LOCK_RELEASED && !self->is_lost) {
        cli_say(
            "%s: could not be released, and ends with its lease: %s", self->what, outcome->message);
    }
    finish(self, status_of(self));
}

static void release(job *self)
{
    set_phase(self, PHASE_RELEASING);
    ev_timer_stop(self->loop, &self->grace);
    ev_timer_stop(self->loop, &self->at_least);
    if (!gavel_lock_begin_release(self->lock, on_released, self))
        finish(self, status_of(self));
}

/* ---- Keeping ------------------------------------------------------------------------------- */

static void on_kept(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    job *self = timer->data;
    if (self->phase == PHASE_KEEPING)
        release(self);
}

/* Releases the lock, but not before it was held for as long as it should be. There is no command
 * to stop and to go on with any more: gavel does so like any program. */
static void release_in_time(job *self)
{
    if (!ev_is_active(&self->at_least)) {
        release(self);
        return;
    }
    set_phase(self, PHASE_KEEPING);
    for (size_t i = I_FIRST_HARMLESS; i < N_PASSED_ON; i++)
        ev_signal_stop(self->loop, &self->signals[i]);
}

static void keep_until(job *self, int64_t ms)
{
    ev_now_update(self->loop);
    ev_timer_set(&self->at_least, (double)ms / 1000., 0.);
    if (ms > 0)
        ev_timer_start(self->loop, &self->at_least);
}

/* ---- Losing -------------------------------------------------------------------------------- */

static void on_grace_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    job *self = timer->data;
    cli_command_signal(&self->command, SIGKILL);
}

/* CONT, since a stopped process keeps its TERM for later. */
static void end_command(job *self, const char *reason)
{
    if (self->phase != PHASE_RUNNING)
        return;
    set_phase(self, PHASE_ENDING);
    self->is_lost = true;
    cli_say("%s: lost: %s; ending the command", self->what, reason);
    cli_command_signal(&self->command, SIGTERM);
    cli_command_signal(&self->command, SIGCONT);
    ev_now_update(self->loop); /* We may have been stopped. */
    ev_timer_set(&self->grace, (double)self->options->grace_ms / 1000., 0.);
    ev_timer_start(self->loop, &self->grace);
}

static void on_lost(gavel_lock *lock, gavel_lock_reason reason, void *user)
{
    (void)lock;
    job *self = user;
    end_command(self, gavel_lock_reason_meaning(reason));
    if (self->phase != PHASE_KEEPING)
        return;
    self->is_lost = true;
    cli_say("%s: lost before the time of --at-least was over: %s", self->what,
        gavel_lock_reason_meaning(reason));
    release(self);
}

/* ---- The command --------------------------------------------------------------------------- */

/*
 * The command has stopped, and so does gavel, or the shell would wait for it. Where the terminal
 * would have stopped gavel's whole group, had the command been in it, so does gavel.
 */
static void stop_too(job *self, int stop)
{
    ev_signal *watcher = &self->signals[I_STOP];
    bool is_caught = ev_is_active(watcher);
    bool is_background = stop == SIGTTIN || stop == SIGTTOU;
    bool is_whole = is_background || self->command.is_lent;
    self->is_stopping = false;
    ev_signal_stop(self->loop, watcher);
    kill(is_whole ? 0 : getpid(), is_background ? stop : SIGTSTP);
    /* Somebody has let us go on: SIGCONT is on its way to on_signal. */
    if (is_caught)
        ev_signal_start(self->loop, watcher);
}

static void on_stopped(job *self, int stop)
{
    if (self->phase != PHASE_RUNNING || cli_command_lend(&self->command, stop))
        return;
    if (self->is_stopping || self->command.is_lent || stop == SIGTTIN || stop == SIGTTOU)
        stop_too(self, stop);
}

static void on_child(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    job *self = watcher->data;
    int stop = cli_command_reap(&self->command);
    if (stop != 0)
        on_stopped(self, stop);
    else if (self->phase == PHASE_RUNNING && self->command.is_gone)
        release_in_time(self);
    else if (self->phase == PHASE_ENDING && self->command.is_gone &&
             cli_command_is_over(&self->command))
        release(self);
}

/* ---- Signals ------------------------------------------------------------------------------- */

/* gavel was stopped, or is told to go on all the same. */
static void on_continued(job *self)
{
    if (self->lock != NULL && gavel_lock_remaining_ms(self->lock) == 0)
        end_command(self, gavel_lock_reason_meaning(GAVEL_LOCK_EXPIRED));
    self->is_stopping = false;
    cli_command_resume(&self->command);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    job *self = watcher->data;
    int number = watcher->signum;
    if (self->phase == PHASE_WAITING) {
        self->end_signal = number;
        gavel_lock_cancel(self->client, self->ticket); /* Too late? Then on_acquired comes now. */
    } else if (self->phase == PHASE_KEEPING) {
        self->end_signal = number;
        release(self);
    } else if (number == SIGCONT) {
        on_continued(self);
    } else {
        self->is_stopping = self->is_stopping || number == SIGTSTP;
        cli_command_signal(&self->command, number);
    }
}

/* What gavel's caller ignores stays so, for the command too: nohup(1) does that. */
static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void watch_signals(job *self, size_t i, size_t i_end)
{
    for (; i < i_end; i++) {
        ev_signal_init(&self->signals[i], on_signal, passed_on[i]);
        self->signals[i].data = self;
        if (is_ignored(passed_on[i]))
            continue;
        ev_signal_start(self->loop, &self->signals[i]);
        self->caught[self->n_caught++] = passed_on[i];
    }
}

static bool start_command(job *self)
{
    char fence[GAVEL__INT_SIZE];
    snprintf(fence, sizeof(fence), "%" PRId64, gavel_lock_fence(self->lock));
    watch_signals(self, I_FIRST_HARMLESS, N_PASSED_ON);
    ev_signal_start(self->loop, &self->on_child);
    self->caught[self->n_caught++] = SIGCHLD;
    return setenv("GAVEL_FENCE", fence, 1) == 0 &&
           setenv("GAVEL_LOCK", self->options->name, 1) == 0 &&
           cli_command_start(
               &self->command, self->options->command, &self->inherited, self->caught);
}

static void run_command(job *self)
{
    set_phase(self, PHASE_RUNNING);
    keep_until(self, self->options->at_least_ms);
    if (gavel_lock_remaining_ms(self->lock) == 0) {
        self->is_lost = true;
        cli_say("%s: was lost before the command could be started", self->what);
        release(self);
    } else if (!start_command(self)) {
        self->command.status = CLI_NO_SYSTEM;
        cli_say("%s: %s", self->options->command[0], strerror(errno));
        release(self);
    }
}

/* ---- Acquiring ----------------------------------------------------------------------------- */

static int status_of_failure(const job *self, const gavel_lock_outcome *outcome)
{
    const gavel__address *address = &self->options->address; /* `what` names it */
    const char *message = gavel__address_strip(address, outcome->message);
    if (message[0] == '\0')
        message = gavel_lock_status_meaning(outcome->status);
    switch (outcome->status) {
    case GAVEL_LOCK_BUSY:
        cli_say("%s: not had in time: %s", self->what, message);
        return CLI_BUSY;
    case GAVEL_LOCK_INVALID:
        cli_say("%s: %s", self->what, message);
        return CLI_USAGE;
    case GAVEL_LOCK_CANCELLED:
        if (self->end_signal == 0)
            cli_say("%s: no server: %s", self->what, gavel__address_strip(address, self->trouble));
        return CLI_NO_SERVER;
    case GAVEL_LOCK_HELD:
    case GAVEL_LOCK_RELEASED:
    case GAVEL_LOCK_LOST:
    case GAVEL_LOCK_NOT_SENT:
    case GAVEL_LOCK_REJECTED:
    case GAVEL_LOCK_UNKNOWN:
        break;
    }
    cli_say("%s: %s", self->what, message);
    return CLI_NO_SERVER;
}

static void on_acquired(const gavel_lock_outcome *outcome, void *user)
{
    job *self = user;
    ev_timer_stop(self->loop, &self->contact);
    self->ticket = 0;
    self->lock = outcome->lock;
    if (outcome->status != GAVEL_LOCK_HELD)
        finish(self, status_of_failure(self, outcome));
    else if (self->end_signal != 0)
        release(self);
    else
        run_command(self);
}

static void on_no_contact(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    job *self = timer->data;
    if (!self->has_contact && self->is_cut_off)
        gavel_lock_cancel(self->client, self->ticket);
}

/* An outage is told once, though several connections notice it. */
static void on_event(const gavel_event *event, void *user)
{
    job *self = user;
    if (event->type == GAVEL_EVENT_LINK_UP) {
        self->has_contact = true;
        self->is_cut_off = false;
    } else if (event->type == GAVEL_EVENT_LINK_DOWN) {
        gavel__format(self->trouble, sizeof(self->trouble), "%s", event->message);
        if (self->has_contact && !self->is_cut_off)
            cli_say("%s; trying again", event->message);
        self->is_cut_off = true;
    }
}

/* The loop's four, a connection, and one more that waits. libev aborts the program if it has none
 * for the signals, so they are counted before. */
#define N_DESCRIPTORS 6

static bool has_descriptors(void)
{
    int fds[N_DESCRIPTORS];
    size_t n = 0;
    while (n < N_DESCRIPTORS && (fds[n] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        n++;
    int reason = errno;
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    if (n < N_DESCRIPTORS)
        cli_say("%s: gavel lock needs %d file descriptors beside those that are open, and gets %d "
                "(see ulimit -n)",
            strerror(reason), N_DESCRIPTORS, (int)n);
    return n == N_DESCRIPTORS;
}

static bool begin(job *self)
{
    const cli_options *options = self->options;
    gavel_error error = {{0}};
    if (!has_descriptors())
        return false;
    self->loop = ev_loop_new(EVFLAG_AUTO);
    if (self->loop == NULL) {
        cli_say("no memory or file descriptors for the loop");
        return false;
    }
    gavel_config config = options->config;
    config.loop = self->loop;
    /* There are no transactions that a lost reply could concern, or that could wait for replicas;
     * but a URL that asks for these is good only with markers. */
    config.has_no_markers = config.min_replicas == 0 && !config.needs_fsync;
    config.hooks = (gavel_hooks){.on_event = on_event, .user = self};
    self->client = gavel_open(options->url, &config, &error);
    if (self->client == NULL) {
        cli_say("%s", error.message);
        return false;
    }
    const gavel_lock_request request = {
        .name = gavel_str(options->name),
        .lease_ms = (uint32_t)options->lease_ms,
        .wait_ms = options->wait_ms == CLI_FOR_EVER ? UINT32_MAX : (uint32_t)options->wait_ms,
        .is_try = options->wait_ms == 0,
        .on_lost = on_lost,
        .user = self,
    };
    self->ticket = gavel_lock_begin_acquire(self->client, &request, on_acquired);
    if (self->ticket == 0)
        cli_say("%s: no memory", self->what);
    return self->ticket != 0;
}

static void name_lock(job *self)
{
    char name[256];
    gavel__printable(gavel_str(self->options->name), name, sizeof(name));
    gavel__format(
        self->what, sizeof(self->what), "lock \"%s\" at %s", name, self->options->address.label);
}

/* Dies of the signal that would have ended any other program, so that its caller sees that. */
static int die_of(const job *self)
{
    signal(self->end_signal, SIG_DFL);
    raise(self->end_signal);
    return CLI_BY_SIGNAL + self->end_signal;
}

int cli_lock(const cli_options *options)
{
    job self = {.options = options, .status = CLI_NO_SYSTEM};
    name_lock(&self);
    cli_inherited_note(&self.inherited);
    ev_timer_init(&self.contact, on_no_contact, CONTACT_S, 0.);
    ev_timer_init(&self.grace, on_grace_over, 0., 0.);
    ev_timer_init(&self.at_least, on_kept, 0., 0.);
    ev_signal_init(&self.on_child, on_child, SIGCHLD);
    self.contact.data = self.grace.data = self.at_least.data = self.on_child.data = &self;
    /* A message to a standard error that is gone must not end gavel: it looks after the command. */
    signal(SIGPIPE, SIG_IGN);
    if (begin(&self)) {
        watch_signals(&self, 0, I_FIRST_HARMLESS);
        ev_timer_start(self.loop, &self.contact);
        ev_run(self.loop, 0);
    }
    gavel_close(self.client);
    if (self.loop != NULL)
        ev_loop_destroy(self.loop);
    return self.end_signal != 0 ? die_of(&self) : self.status;
}
