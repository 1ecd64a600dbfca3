/*
 * Records: what the server's key of a lock or gate says of its holder. docs/locks.md has the form.
 */
#ifndef GAVEL_CLI_RECORD_H
#define GAVEL_CLI_RECORD_H

#include <gavel/reply.h>

#include <stdbool.h>

/* What a record says; what it does not say is empty or -1. The texts point into the record. */
typedef struct cli_holder {
    bool is_handed_off; /* nobody's for the moment: on its way from one holder to the next */
    gavel_bytes owner;  /* locks: names the grant */
    gavel_bytes host;
    int64_t pid;
    int64_t fence;    /* locks only */
    int64_t since_ms; /* since 1970 */
} cli_holder;

/* "OWNER fence=N since=MS pid=N host=TEXT" of a lock, the same without a fence of a gate, or "-
 * TURN" of a lock that is handed off. Any other text, written by somebody else, is a holder of whom
 * nothing is known. */
cli_holder cli_read_record(gavel_bytes record);

/* What TIME answers, in milliseconds since 1970; -1: nothing that makes sense. */
int64_t cli_read_time(const gavel_reply *reply);

#endif
