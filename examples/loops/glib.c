/*
 * glib URL KEY: adds one to the integer at KEY, on a GLib main loop.
 *
 *     glib redis://localhost visits
 */
#include <gavel/adapters/glib.h>
#include <gavel/gavel.h>

#include <stdio.h>

struct visit {
    gavel_bytes key;
    int64_t value; /* what the body wrote last */
    bool is_committed;
    GMainLoop *loop;
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
    g_main_loop_quit(visit->loop);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: glib URL KEY\n");
        return 2;
    }
    gavel_error error;
    gavel_client *client = gavel_open(argv[1], &(gavel_config){.is_polled = true}, &error);
    if (client == NULL) {
        fprintf(stderr, "glib: %s\n", error.message);
        return 2;
    }
    struct visit visit = {.key = gavel_str(argv[2])};
    gavel_transaction transaction = {
        .body = add_one,
        .user = &visit,
        .reads = &(gavel_read){.key = visit.key},
        .n_reads = 1,
    };
    visit.loop = g_main_loop_new(NULL, FALSE);
    GSource *source = gavel_glib_attach(client, NULL);
    gavel_submit(client, &transaction, on_done);
    g_main_loop_run(visit.loop);
    gavel_glib_detach(source);
    g_main_loop_unref(visit.loop);
    gavel_close(client);
    return visit.is_committed ? 0 : 1;
}
