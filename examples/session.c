/*
 * session TOKEN USER: logs USER in; an older session of USER ends. session TOKEN: a visit, which
 * says whose session it is. A session lives for half an hour from the last visit on. The server is
 * $GAVEL_URL.
 */
#include <gavel/gavel.h>

#include <stdio.h>

enum { LIFE_MS = 30 * 60 * 1000 };

struct visit {
    const char *token, *user; /* NULL: no login */
};

static gavel_verdict come_in(gavel_tx *tx, void *user)
{
    const struct visit *visit = user;
    gavel_bytes whose = gavel_str(visit->user), old;
    gavel_bytes session = gavel_keyf(tx, "session:%s", visit->token);
    if (visit->user == NULL && gavel_get(tx, session, &whose) != GAVEL_FOUND)
        return GAVEL_ABORT;
    gavel_bytes current = gavel_keyf(tx, "session-of:%.*s", (int)whose.size, whose.data);
    if (gavel_get(tx, current, &old) == GAVEL_FOUND)
        gavel_del(tx, gavel_keyf(tx, "session:%.*s", (int)old.size, old.data));
    gavel_set_px(tx, session, whose, LIFE_MS);
    gavel_set_px(tx, current, gavel_str(visit->token), LIFE_MS);
    gavel_set_result(tx, whose);
    return GAVEL_COMMIT;
}

int main(int argc, char **argv)
{
    char text[256];
    gavel_error error = {"usage: session TOKEN [USER]"};
    gavel_client *client = argc == 2 || argc == 3 ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    struct visit visit = {argv[1], argv[2]}; /* argv ends with NULL */
    gavel_outcome outcome =
        gavel_run(client, &(gavel_transaction){.body = come_in, .user = &visit});
    gavel_close(client);
    if (outcome.status == GAVEL_COMMITTED)
        printf("session of %.*s\n", (int)outcome.result_size, (const char *)outcome.result);
    else if (outcome.status == GAVEL_ABORTED)
        printf("no such session\n");
    else
        fprintf(stderr, "%s\n", gavel_outcome_text(&outcome, text, sizeof text));
    return outcome.status == GAVEL_COMMITTED ? 0 : outcome.status == GAVEL_ABORTED ? 1 : 2;
}
