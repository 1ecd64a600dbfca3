/*
 * Small helpers of the auction: messages, clocks, names and numbers.
 */
#include "auction.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

int trouble(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("auction: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_TROUBLE;
}

int trouble_outcome(const char *what, const gavel_outcome *outcome)
{
    char text[GAVEL_OUTCOME_TEXT_SIZE];
    return trouble("%s: %s", what, gavel_outcome_text(outcome, text, sizeof(text)));
}

gavel_client *open_client(const struct options *options)
{
    gavel_error error;
    gavel_client *client = gavel_open(options->url, &(gavel_config){.name = "auction"}, &error);
    if (client == NULL)
        trouble("%s", error.message);
    return client;
}

int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(int64_t ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        continue;
}

uint64_t random_bits(void)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof(bits), 0) == (ssize_t)sizeof(bits))
        return bits;
    return ((uint64_t)wall_ms() << 20) ^ (uint64_t)getpid();
}

bool is_name(const char *text, size_t size)
{
    size_t length = strlen(text);
    if (length == 0 || length >= size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("._-", text[i]) == NULL)
            return false;
    return true;
}

bool is_operand(const char *operand, const char *value)
{
    if (is_name(value, NAME_SIZE))
        return true;
    trouble("%s: \"%s\" is not a name of 1 to %d letters, digits, '.', '_' or '-'", operand, value,
        NAME_SIZE - 1);
    return false;
}

bool parse_number(const char *text, int64_t min, int64_t max, int64_t *ret_number)
{
    char *end = NULL;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-')
        return false;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < min || number > max)
        return false;
    *ret_number = number;
    return true;
}
