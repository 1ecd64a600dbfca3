/*
 * rate_limiter WHO LIMIT: lets WHO in, at most LIMIT times in ten seconds. The server is
 * $GAVEL_URL.
 *
 * The window begins with the first call, and the key passes with it: nobody is kept out for ever.
 */
#include <gavel/gavel.h>

#include <stdio.h>
#include <stdlib.h>

enum { REFUSED = 1, WINDOW_MS = 10000 };

struct call {
    const char *who;
    int64_t limit, n_calls, wait_ms;
};

static gavel_verdict let_in(gavel_tx *tx, void *user)
{
    struct call *call = user;
    gavel_bytes key = gavel_keyf(tx, "calls:%s", call->who);
    gavel_get_int(tx, key, &call->n_calls); /* 0 if there is none */
    gavel_ttl_ms(tx, key, &call->wait_ms);
    if (call->n_calls >= call->limit)
        return gavel_abort(tx, REFUSED);
    gavel_incr(tx, key, 1);
    if (call->n_calls == 0)
        gavel_expire_ms(tx, key, WINDOW_MS);
    return GAVEL_COMMIT;
}

int main(int argc, char **argv)
{
    char text[256];
    gavel_error error = {"usage: rate_limiter WHO LIMIT"};
    gavel_client *client = argc == 3 ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    struct call call = {.who = argv[1], .limit = atoll(argv[2])};
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = let_in, .user = &call});
    gavel_close(client);
    if (outcome.status == GAVEL_COMMITTED)
        printf("call %lld of %lld\n", (long long)call.n_calls + 1, (long long)call.limit);
    else if (outcome.status == GAVEL_ABORTED)
        printf("refused for %lld s\n", (long long)call.wait_ms / 1000 + 1);
    else
        fprintf(stderr, "%s\n", gavel_outcome_text(&outcome, text, sizeof text));
    return outcome.status == GAVEL_COMMITTED ? 0 : outcome.status == GAVEL_ABORTED ? 1 : 2;
}
