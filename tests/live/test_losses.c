/*
 * A server that is killed, and comes again with the data that it had saved before: the commits that
 * it has lost are told, and no others.
 */
#include "tools.h"

#include <criterion/criterion.h>

enum { N_SAVED = 120, N = 200, MAX_AFTER = 100 };

typedef struct losses {
    gavel_ticket tickets[N];
    size_t n;
} losses;

static void on_event(const gavel_event *event, void *user)
{
    losses *self = user;
    if (event->type != GAVEL_EVENT_LOST)
        return;
    cr_assert(self->n < N && event->user == NULL);
    self->tickets[self->n++] = event->ticket;
}

static gavel_ticket increment(gavel_client *client)
{
    gavel_outcome outcome = live_increment(client, "counter");
    cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    return outcome.ticket;
}

Test(losses, a_killed_server_has_what_was_told_but_for_what_is_told_to_be_lost, .timeout = 60)
{
    losses lost = {.n = 0};
    gavel_ticket tickets[N];
    live_rig rig =
        live_begin(NULL, &(gavel_config){.hooks = {.on_event = on_event, .user = &lost}});
    for (size_t i = 0; i < N; i++) {
        if (i == N_SAVED)
            server_do(rig.server, "SAVE", NULL);
        tickets[i] = increment(rig.client);
    }
    server_kill(rig.server);
    server_restart(rig.server);
    long long n_after = 0;
    do {
        (void)increment(rig.client);
        n_after++;
    } while (lost.n < N - N_SAVED && n_after < MAX_AFTER);
    cr_assert_eq(lost.n, N - N_SAVED);
    for (size_t i = 0; i < lost.n; i++)
        cr_expect_eq(lost.tickets[i], tickets[N_SAVED + i]);
    cr_expect_eq(server_int(rig.server, "GET", "counter", NULL), N + n_after - (long long)lost.n);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_lost, lost.n);
    live_end(&rig);
}
