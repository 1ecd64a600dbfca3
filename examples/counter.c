/*
 * counter URL KEY [TIMES]: adds one to the integer at KEY, TIMES times, and prints what it came to.
 *
 * The smallest whole program on gavel: it opens a blocking client, runs one transaction after the
 * other, and says what became of each. Start several at once on the same key: no step is lost.
 *
 *     counter redis://localhost visits 1000
 */
#include <gavel/gavel.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNTER_IS_FULL = 1 };

struct counter {
    gavel_bytes key;
    int64_t value; /* what the body wrote last */
};

/*
 * The body: reads, decides, writes. It runs again whenever somebody else changed the key first, so
 * it sets everything anew each time. A failed read (the key holds no integer, say) needs no check
 * here: it spoils the attempt, nothing is written, and the outcome says why.
 */
static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    struct counter *counter = user;
    int64_t value = 0; /* stays 0 if the key is absent */

    gavel_get_int(tx, counter->key, &value);
    if (value == INT64_MAX)
        return gavel_abort(tx, COUNTER_IS_FULL);
    counter->value = value + 1;
    gavel_set_int(tx, counter->key, counter->value);
    return GAVEL_COMMIT;
}

/* Says on stderr why the counter was not moved, or that nobody knows whether it was. */
static void explain(const gavel_outcome *outcome)
{
    char text[GAVEL_OUTCOME_TEXT_SIZE];
    if (outcome->status == GAVEL_ABORTED && outcome->abort_code == COUNTER_IS_FULL)
        fprintf(stderr, "counter: it is at %" PRId64 " and cannot grow\n", INT64_MAX);
    else
        fprintf(stderr, "counter: %s\n", gavel_outcome_text(outcome, text, sizeof(text)));
}

static int count(gavel_client *client, gavel_bytes key, long times)
{
    struct counter counter = {.key = key};
    /* Declaring the read has it fetched in the first round trip; the second one commits. */
    gavel_read read = {.key = key};
    gavel_transaction transaction = {
        .body = add_one,
        .user = &counter,
        .reads = &read,
        .n_reads = 1,
    };

    for (long i = 0; i < times; i++) {
        gavel_outcome outcome = gavel_run(client, &transaction);
        if (outcome.status != GAVEL_COMMITTED) {
            explain(&outcome);
            fprintf(stderr, "counter: stopped after %ld of %ld\n", i, times);
            return EXIT_FAILURE;
        }
    }
    printf("%" PRId64 "\n", counter.value);
    return EXIT_SUCCESS;
}

/* True for a whole number above 0. */
static bool parse_times(const char *text, long *ret_times)
{
    char *end = NULL;
    errno = 0;
    long times = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || times < 1)
        return false;
    *ret_times = times;
    return true;
}

int main(int argc, char **argv)
{
    long times = 1;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: counter URL KEY [TIMES]\n");
        return 2;
    }
    if (argc == 4 && !parse_times(argv[3], &times)) {
        fprintf(stderr, "counter: TIMES: \"%s\" is not a whole number above 0\n", argv[3]);
        return 2;
    }

    gavel_error error;
    gavel_client *client = gavel_open(argv[1], NULL, &error);
    if (client == NULL) {
        fprintf(stderr, "counter: %s\n", error.message);
        return 2;
    }
    int status = count(client, gavel_str(argv[2]), times);
    gavel_close(client);
    return status;
}
