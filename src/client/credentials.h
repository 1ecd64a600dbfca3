/*
 * Credentials that change: asked of the program for each login. For clients.
 *
 *     ask --> ... take: LATER ... take: LOGIN, or NONE
 *
 * The program is asked on a thread of its own, one question at a time, so it may take its time: the
 * answer wakes the client's loop. Whoever has asked may lose interest; the answer is wiped then.
 */
#ifndef GAVEL__CREDENTIALS_H
#define GAVEL__CREDENTIALS_H

#include <gavel/client.h>

#include "base/memory.h"

#include <pthread.h>

/* What the program has said. In malloc's memory. */
struct gavel_login {
    char *user;     /* NULL: the default one */
    char *password; /* NULL: none. A secret */
    bool is_said;
    bool has_failed; /* no memory */
};

/* Wipes and frees the strings. */
void gavel__login_finish(gavel_login *login);

typedef struct gavel__credentials {
    gavel_log_in *log_in;      /* NULL: what the URL or the config says does not change */
    void *user;                /* its `user` */
    void (*wake)(void *waker); /* an answer is there; any thread; it may not call back */
    void *waker;
    bool is_under_way; /* a question, whose answer was not taken yet */
    const void *asker; /* whose; NULL: it does not want to know any more */
    pthread_t thread;
    bool has_thread; /* to be joined */

    pthread_mutex_t mutex; /* of what follows */
    bool is_answered;
    gavel_login login;
    char message[GAVEL_MESSAGE_SIZE]; /* why there is none; "": there is */
} gavel__credentials;

typedef enum gavel__credentials_answer {
    GAVEL__CREDENTIALS_ANSWER_LATER, /* come again when woken */
    GAVEL__CREDENTIALS_ANSWER_NONE,  /* why is in the message */
    GAVEL__CREDENTIALS_ANSWER_LOGIN
} gavel__credentials_answer;

/* Sets all but the first four fields, which the caller has filled in. */
void gavel__credentials_init(gavel__credentials *credentials);

/* Waits for a question under way. In a child process there is none. Wipes a login that was not
 * taken. Takes zeroed credentials. */
void gavel__credentials_finish(gavel__credentials *credentials, bool is_child);

/*
 * Asks for `asker`, which is only compared, unless that was done, or the answer is there: then that
 * is taken, into *ret_login, for gavel__login_finish, or into the message. While the answer to
 * somebody else is awaited nothing is asked.
 */
gavel__credentials_answer gavel__credentials_take(gavel__credentials *credentials,
    const void *asker, gavel_login *ret_login, char message[GAVEL_MESSAGE_SIZE]);

/* `asker` does not want an answer any more, if it did. */
void gavel__credentials_forget(gavel__credentials *credentials, const void *asker);

#endif
