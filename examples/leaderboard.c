/*
 * leaderboard PLAYER SCORE: enters PLAYER's score, unless an earlier one was as good, and says
 * which place it takes. The server is $GAVEL_URL.
 */
#include <gavel/gavel.h>

#include <stdio.h>
#include <stdlib.h>

struct game {
    gavel_bytes player;
    double score;
    int64_t n_ahead;
};

static gavel_verdict enter(gavel_tx *tx, void *user)
{
    struct game *game = user;
    double before;
    const gavel_reply *best, *ahead;
    gavel_bytes board = GAVEL_STR("board"), score = gavel_keyf(tx, "%.17g", game->score);
    gavel_bytes above = gavel_keyf(tx, "(%.17g", game->score);
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("ZSCORE"), board, game->player), &best);
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("ZCOUNT"), board, above, GAVEL_STR("+inf")), &ahead);
    gavel_reply_int(ahead, &game->n_ahead);
    if (!gavel_reply_double(best, &before) || before < game->score)
        gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("ZADD"), board, score, game->player));
    return GAVEL_COMMIT;
}

int main(int argc, char **argv)
{
    char text[256];
    gavel_error error = {"usage: leaderboard PLAYER SCORE"};
    gavel_client *client = argc == 3 ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    struct game game = {gavel_str(argv[1]), atof(argv[2]), 0};
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = enter, .user = &game});
    gavel_close(client);
    if (outcome.status == GAVEL_COMMITTED)
        printf("place %lld\n", (long long)game.n_ahead + 1);
    else
        fprintf(stderr, "%s\n", gavel_outcome_text(&outcome, text, sizeof text));
    return outcome.status == GAVEL_COMMITTED ? 0 : 2;
}
