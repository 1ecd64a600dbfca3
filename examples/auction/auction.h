/*
 * What the files of the auction share: the limits, the exit statuses, the commands.
 */
#ifndef AUCTION_H
#define AUCTION_H

#include <gavel/gavel.h>

#include <inttypes.h>

/* The longest name of an item or a bidder, with its NUL. Letters, digits, '.', '_' and '-'. */
#define NAME_SIZE 41

/* The longest id of a bid, with its NUL; of the same letters. */
#define ID_SIZE 65

/* A sorted set keeps its scores as doubles, which are exact for whole numbers up to 2^53. */
#define AMOUNT_MAX INT64_C(1000000000000000)

enum exit_status {
    EXIT_FINE = 0,
    EXIT_REFUSED = 1, /* a bid or a close was refused, or verify found a violation */
    EXIT_TROUBLE = 2  /* wrong usage, or the server could not be used */
};

/* Everything that the command line can say; which of it a command takes stands in main.c. */
struct options {
    const char *url;
    const char *words[3]; /* the operands: ITEM BIDDER AMOUNT */
    const char *ledger;
    const char *by;
    const char *id;
    int64_t increment;
    int64_t reserve;
    int64_t seconds;
    int64_t window;
    int64_t items;
    int64_t processes;
    int64_t bidders;
    bool now;
};

/* The commands. Each returns the exit status. */
int run_open(const struct options *options);
int run_bid(const struct options *options);
int run_close(const struct options *options);
int run_show(const struct options *options);
int run_watch(const struct options *options);
int run_race(const struct options *options);
int run_verify(const struct options *options);

/* ---- util.c -------------------------------------------------------------------------------- */

/* "auction: " and the message on stderr, as printf. Returns EXIT_TROUBLE. */
int trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for an outcome that is neither a commit nor the body's own refusal. */
int trouble_outcome(const char *what, const gavel_outcome *outcome);

/* A blocking client; NULL, and said so, if it cannot be opened. */
gavel_client *open_client(const struct options *options);

/* The wall clock in milliseconds since 1970: the one clock that all bidders share, more or less. */
int64_t wall_ms(void);

void sleep_ms(int64_t ms);

/* 64 random bits from the system; from the clock and the process if that fails. */
uint64_t random_bits(void);

/* True for 1 to size - 1 letters, digits, '.', '_' and '-'. */
bool is_name(const char *text, size_t size);

/* The same for an operand that is a name; says so if it is none. */
bool is_operand(const char *operand, const char *value);

/* True for a decimal whole number from min to max and nothing else. */
bool parse_number(const char *text, int64_t min, int64_t max, int64_t *ret_number);

#endif
