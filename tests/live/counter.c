/* The counter of counter.h. */
#include "counter.h"

static const gavel_bytes key = {"counter", 7};

gavel_verdict counter_add(gavel_tx *tx, void *user)
{
    live_counter *self = user;
    int64_t value = 0;
    gavel_get_int(tx, key, &value);
    if (self->n_runs++ == 0 && self->meddle != NULL)
        self->meddle(self->context);
    gavel_set_int(tx, key, value + 1);
    if (self->result != NULL)
        gavel_set_result(tx, gavel_str(self->result));
    return GAVEL_COMMIT;
}

gavel_outcome counter_run(gavel_client *client, live_counter *counter, gavel_transaction more)
{
    live_counter plain = {.n_runs = 0};
    more.body = counter_add;
    more.user = counter != NULL ? counter : &plain;
    more.reads = &(gavel_read){.key = key};
    more.n_reads = 1;
    return gavel_run(client, &more);
}

void counter_forget(gavel_client *client)
{
    ASSERT_TOLD(live_increment(client, "elsewhere"), GAVEL_COMMITTED);
}

long long counter_value(test_server *server)
{
    long long value = server_int(server, "GET", "counter", (char *)NULL);
    return value >= 0 ? value : 0;
}
