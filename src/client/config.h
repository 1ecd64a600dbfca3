/*
 * Configurations: what a program asks of gavel_open and what the URL says besides, with the
 * defaults in place and every bound checked. For clients, and for the command, which reads URLs as
 * they do.
 */
#ifndef GAVEL__CONFIG_H
#define GAVEL__CONFIG_H

#include "redis/tls.h"
#include "redis/url.h"

#include <gavel/client.h>

#include <stdbool.h>
#include <stddef.h>

typedef enum gavel__config_kind {
    GAVEL__CONFIG_NUMBER,        /* uint32_t, uint64_t or size_t; 0 means its default */
    GAVEL__CONFIG_NUMBER_OR_ALL, /* likewise; UINT32_MAX is all */
    GAVEL__CONFIG_WORD,          /* const char *; NULL means its default */
    GAVEL__CONFIG_CHOICE,        /* an enum whose zero is its default */
    GAVEL__CONFIG_SWITCH         /* bool; false is its default */
} gavel__config_kind;

/* One option: in gavel_config, and perhaps in URLs. */
typedef struct gavel__config_field {
    const char *name;
    const char *option; /* its name in a URL; NULL: none, a matter of the program alone */
    gavel__config_kind kind;
    size_t offset; /* in gavel_config */
    size_t size;   /* NUMBER: 4 or 8 */
    uint64_t min;
    uint64_t fallback;   /* NUMBER: its default */
    uint64_t max;        /* CHOICE: the last one */
    const char *because; /* why there is such a minimum, for people; NULL: it goes without saying */
    const char *word;    /* WORD: its default; may be NULL */
    const char *const *choices; /* CHOICE: their names in a URL, from 0 to max */
} gavel__config_field;

/* Ended by one whose name is NULL. */
extern const gavel__config_field gavel__config_fields[];

/* Whether its room is zero. If it is not, it may never have been zeroed: nothing else in it is to
 * be looked at. */
bool gavel__config_is_clean(const gavel_config *config);

/*
 * A copy of the configuration (NULL: all defaults) in which nothing is left to be its default, but
 * for the seed; its strings are the program's, or constants. False, with the reason, if an option
 * is out of bounds.
 */
bool gavel__config_complete(
    const gavel_config *config, gavel_config *ret_config, gavel_error *ret_error);

/* What it says of TLS; the strings are its own. */
gavel__tls_options gavel__config_tls(const gavel_config *config);

/* The names of gavel_log_level's values, and behind them "off"; ended by NULL. */
extern const char *const gavel__config_log_levels[];

/* Which of these $GAVEL_LOG is; -1: it is not set, or empty. False, with the reason: none. */
bool gavel__config_log(int *ret_level, gavel_error *ret_error);

/*
 * As gavel__config_complete, and the address, for a URL (NULL: gavel__url_default). The URL's
 * options count as if they stood in the configuration: what is in both must not differ. A login of
 * the configuration is the address's then. The strings of *ret_config may be the address's too,
 * which lives in the completed configuration's allocator until gavel__address_finish. False, with
 * the reason, for a bad URL as well.
 */
bool gavel__config_read(const char *url, const gavel_config *config, gavel__address *ret_address,
    gavel_config *ret_config, gavel_error *ret_error);

#endif
