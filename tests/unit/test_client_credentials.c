/* Credentials: what becomes of a login that nobody takes. */
#include "client/credentials.h"

#include <criterion/criterion.h>

#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

/* May be posted: log_in answers. So its answer never is there before it was asked for. */
static sem_t may_answer;

static const char *say(gavel_login *login, void *user)
{
    (void)user;
    while (sem_wait(&may_answer) != 0)
        continue;
    gavel_login_use(login, "ann", "secret");
    return NULL;
}

static void wake(void *waker)
{
    sem_post(waker);
}

static void ask(gavel__credentials *credentials, sem_t *is_answered)
{
    gavel_login login;
    char message[GAVEL_MESSAGE_SIZE];
    sem_init(is_answered, 0, 0);
    sem_init(&may_answer, 0, 0);
    *credentials = (gavel__credentials){.log_in = say, .wake = wake, .waker = is_answered};
    gavel__credentials_init(credentials);
    cr_assert_eq((int)gavel__credentials_take(credentials, credentials, &login, message),
        (int)GAVEL__CREDENTIALS_ANSWER_LATER);
    sem_post(&may_answer);
    while (sem_wait(is_answered) != 0)
        continue;
}

static bool is_forgotten(const gavel__credentials *credentials)
{
    return credentials->login.user == NULL && credentials->login.password == NULL;
}

Test(client_credentials, a_login_that_nobody_took_is_forgotten_in_a_child_too)
{
    gavel__credentials credentials;
    sem_t is_answered;
    int status = 0;
    ask(&credentials, &is_answered);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        bool is_there = !is_forgotten(&credentials);
        gavel__credentials_finish(&credentials, true);
        _exit(!is_there ? 2 : is_forgotten(&credentials) ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    gavel__credentials_finish(&credentials, false);
    cr_expect(is_forgotten(&credentials));
    sem_destroy(&is_answered);
}
