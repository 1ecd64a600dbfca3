/*
 * libuv URL KEY: adds one to the integer at KEY, on a libuv loop.
 *
 *     libuv redis://localhost visits
 */
#include <gavel/adapters/libuv.h>
#include <gavel/gavel.h>

#include <stdio.h>

struct visit {
    gavel_bytes key;
    int64_t value; /* what the body wrote last */
    bool is_committed;
    gavel_libuv *adapter;
};

/* Runs again whenever somebody else changed the key first. */
static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    struct visit *visit = user;
    int64_t value = 0;

    gavel_get_int(tx, visit->key, &value);
    visit->value = value + 1;
    gavel_set_int(tx, visit->key, visit->value);
    return GAVEL_COMMIT;
}

/* Called once, from the loop, which then ends. */
static void on_done(const gavel_outcome *outcome, void *user)
{
    struct visit *visit = user;
    char text[GAVEL_OUTCOME_TEXT_SIZE];

    visit->is_committed = outcome->status == GAVEL_COMMITTED;
    if (visit->is_committed)
        printf("%lld\n", (long long)visit->value);
    else
        printf("%s\n", gavel_outcome_text(outcome, text, sizeof(text)));
    gavel_libuv_detach(visit->adapter); /* nothing else keeps the loop going */
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: libuv URL KEY\n");
        return 2;
    }
    gavel_error error;
    gavel_client *client = gavel_open(argv[1], &(gavel_config){.is_polled = true}, &error);
    if (client == NULL) {
        fprintf(stderr, "libuv: %s\n", error.message);
        return 2;
    }
    struct visit visit = {.key = gavel_str(argv[2])};
    gavel_transaction transaction = {
        .body = add_one,
        .user = &visit,
        .reads = &(gavel_read){.key = visit.key},
        .n_reads = 1,
    };
    visit.adapter = gavel_libuv_attach(client, uv_default_loop());
    gavel_submit(client, &transaction, on_done);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_loop_close(uv_default_loop());
    gavel_close(client);
    return visit.is_committed ? 0 : 1;
}
