/*
 * Certificates for tests, made by the openssl command in a folder of their own. What goes wrong
 * aborts the test.
 */
#ifndef TEST_LIVE_CERTIFICATES_H
#define TEST_LIVE_CERTIFICATES_H

#include <stdbool.h>

typedef struct certificates {
    char folder[64];
} certificates;

/* A certificate in NAME.pem and its key in NAME.key. */
typedef struct certificate {
    const char *name;
    const char *issuer; /* the name of another one, which has to be an authority; NULL: itself */
    const char *hosts;  /* "DNS:localhost,IP:127.0.0.1", say; NULL: none, an authority */
    bool is_expired;    /* with an issuer only */
} certificate;

/* A folder, with the authority "ca" in it. */
certificates certificates_begin(void);

/* Removes the folder. */
void certificates_end(const certificates *all);

void certificates_make(const certificates *all, const certificate *wanted);

/* The path of a file in the folder: "ca.pem". For free. */
char *certificates_path(const certificates *all, const char *file);

/* Runs a command of the shell in the folder. */
void certificates_run(const certificates *all, const char *command);

#endif
