/*
 * Configurations: what a program asks of gavel_open, with the defaults in place and every bound
 * checked. For clients.
 */
#ifndef GAVEL__CONFIG_H
#define GAVEL__CONFIG_H

#include <gavel/client.h>

#include <stdbool.h>
#include <stddef.h>

/* An option that is a number; 0 means its default. */
typedef struct gavel__config_field {
    const char *name;
    size_t offset; /* in gavel_config */
    size_t size;   /* 4 or 8 */
    uint64_t min;
    uint64_t fallback; /* its default */
    uint64_t max;
    const char *because; /* why there is such a minimum, for people; NULL: it goes without saying */
} gavel__config_field;

/* Ended by one whose name is NULL. */
extern const gavel__config_field gavel__config_fields[];

/*
 * A copy of the configuration (NULL: all defaults) in which nothing is left to be its default, but
 * for the seed; its strings are the program's, or constants. False, with the reason, if an option
 * is out of bounds.
 */
bool gavel__config_complete(
    const gavel_config *config, gavel_config *ret_config, gavel_error *ret_error);

#endif
