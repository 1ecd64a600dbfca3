/*
 * Credentials that change: see the header.
 */
#include "client/credentials.h"

#include "base/text.h"

#include <signal.h>
#include <string.h>

/* ---- Logins -------------------------------------------------------------------------------- */

static char *keep_string(const char *string, gavel_login *login)
{
    if (string == NULL)
        return NULL;
    char *copy = gavel__copy_string(&gavel__system_allocator, string);
    login->has_failed |= copy == NULL;
    return copy;
}

static void free_secret(char *secret)
{
    gavel__wipe_string(secret);
    gavel__free(&gavel__system_allocator, secret);
}

void gavel__login_finish(gavel_login *login)
{
    free_secret(login->user);
    free_secret(login->password);
    *login = (gavel_login){.user = NULL};
}

void gavel_login_use(gavel_login *login, const char *user, const char *password)
{
    gavel__login_finish(login);
    login->is_said = true;
    login->user = keep_string(user, login);
    login->password = keep_string(password, login);
}

/* ---- Asking -------------------------------------------------------------------------------- */

/* Why there is no login; NULL: there is. */
static const char *refusal_of(const gavel_login *login, const char *reason)
{
    if (reason != NULL)
        return reason[0] != '\0' ? reason : "log_in has failed, and does not say why";
    if (!login->is_said)
        return "log_in has not called gavel_login_use";
    return login->has_failed ? "no memory for the login" : NULL;
}

static void *ask(void *argument)
{
    gavel__credentials *credentials = argument;
    gavel_login login = {.user = NULL};
    char shown[GAVEL_MESSAGE_SIZE];
    const char *reason = refusal_of(&login, credentials->log_in(&login, credentials->user));
    pthread_mutex_lock(&credentials->mutex);
    if (reason != NULL) {
        gavel__login_finish(&login);
        gavel__format(credentials->message, sizeof(credentials->message), "%s",
            gavel__printable(gavel_str(reason), shown, sizeof(shown)));
    }
    credentials->login = login;
    credentials->is_answered = true;
    credentials->wake(credentials->waker);
    pthread_mutex_unlock(&credentials->mutex);
    return NULL;
}

static void begin(gavel__credentials *credentials, const void *asker)
{
    sigset_t all;
    sigset_t before;
    credentials->asker = asker;
    credentials->is_under_way = true;
    credentials->message[0] = '\0';
    credentials->is_answered = false;
    /* The program's signals are for the program's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    credentials->has_thread = pthread_create(&credentials->thread, NULL, ask, credentials) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (credentials->has_thread)
        return;
    credentials->is_answered = true;
    gavel__format(credentials->message, sizeof(credentials->message), "no thread for log_in");
}

/* Whether the answer is there. */
static bool is_answered(gavel__credentials *credentials)
{
    pthread_mutex_lock(&credentials->mutex);
    bool is_answered = credentials->is_answered;
    pthread_mutex_unlock(&credentials->mutex);
    return is_answered;
}

/* The question is over, or else this waits for it; its answer is wiped, unless it was taken. */
static void end(gavel__credentials *credentials)
{
    if (credentials->has_thread)
        pthread_join(credentials->thread, NULL);
    credentials->has_thread = false;
    gavel__login_finish(&credentials->login);
    credentials->is_under_way = false;
    credentials->asker = NULL;
}

/* ---- Life ---------------------------------------------------------------------------------- */

void gavel__credentials_init(gavel__credentials *credentials)
{
    credentials->asker = NULL;
    credentials->has_thread = false;
    credentials->is_under_way = false;
    credentials->is_answered = false;
    credentials->login = (gavel_login){.user = NULL};
    credentials->message[0] = '\0';
    if (credentials->log_in != NULL)
        pthread_mutex_init(&credentials->mutex, NULL);
}

void gavel__credentials_finish(gavel__credentials *credentials, bool is_child)
{
    if (credentials->log_in == NULL)
        return;
    /* In a child the thread is not there, and may have held the mutex; what it has said may be. */
    if (is_child) {
        gavel__login_finish(&credentials->login);
        return;
    }
    end(credentials);
    pthread_mutex_destroy(&credentials->mutex);
}

/* ---- For whoever needs a login ------------------------------------------------------------- */

gavel__credentials_answer gavel__credentials_take(gavel__credentials *credentials,
    const void *asker, gavel_login *ret_login, char message[GAVEL_MESSAGE_SIZE])
{
    bool is_unwanted = credentials->is_under_way && credentials->asker == NULL;
    if (is_unwanted && is_answered(credentials))
        end(credentials);
    if (!credentials->is_under_way)
        begin(credentials, asker);
    if (credentials->asker != asker || !is_answered(credentials))
        return GAVEL__CREDENTIALS_ANSWER_LATER;
    bool is_login = credentials->message[0] == '\0';
    gavel__format(message, GAVEL_MESSAGE_SIZE, "%s", credentials->message);
    if (is_login)
        *ret_login = credentials->login;
    credentials->login = (gavel_login){.user = NULL};
    end(credentials);
    return is_login ? GAVEL__CREDENTIALS_ANSWER_LOGIN : GAVEL__CREDENTIALS_ANSWER_NONE;
}

void gavel__credentials_forget(gavel__credentials *credentials, const void *asker)
{
    if (credentials->asker == asker)
        credentials->asker = NULL;
}
