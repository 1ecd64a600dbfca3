/* The log: what it says of a server that is there, that goes and comes back, and where to. */
#include "counter.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char said[16384];
static gavel_log_level worst;

static void hear(gavel_log_level level, const char *line, void *user)
{
    (void)user;
    size_t used = strlen(said);
    snprintf(said + used, sizeof(said) - used, "%s\n", line);
    worst = level > worst ? level : worst;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

static void assert_lines_begin_with(const char *text, const char *head)
{
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        cr_assert_eq(strncmp(line, head, strlen(head)), 0, "%s", line);
}

Test(log, a_server_that_is_not_there_is_told_once_and_counted)
{
    gavel_config config = {.hooks.on_log = hear};
    live_rig rig = live_begin(NULL, &config);
    ASSERT_TOLD(
        counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 0}), GAVEL_COMMITTED);
    cr_assert_eq(worst, GAVEL_LOG_DEBUG, "%s", said);
    server_kill(rig.server);
    gavel_stats stats;
    do { /* several in vain */
        ASSERT_TOLD(
            counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 100}), GAVEL_DEADLINE);
        gavel_read_stats(rig.client, &stats);
    } while (stats.n_links_down < 5);
    cr_assert_eq(count(said, ": Connection refused\n"), 1, "%s", said);
    cr_assert_eq(worst, GAVEL_LOG_WARNING, "%s", said);
    server_restart(rig.server);
    cr_assert(live_is_usable(&rig));
    cr_assert_eq(count(said, ": up, after "), 1, "%s", said);
    char head[256];
    snprintf(head, sizeof(head), "%s: ", server_url(rig.server));
    assert_lines_begin_with(said, head);
    cr_assert_eq(count(said, head), count(said, "\n"), "it names the server twice: %s", said);
    live_end(&rig);
}

/* Standard error goes to a file, until its end is asked for. */
typedef struct capture {
    int file;
    int before;
} capture;

static capture begin_capture(void)
{
    char path[] = "/tmp/gavel-log-XXXXXX";
    capture self = {.file = mkstemp(path), .before = dup(STDERR_FILENO)};
    cr_assert(self.file >= 0 && self.before >= 0);
    unlink(path);
    dup2(self.file, STDERR_FILENO);
    return self;
}

static const char *end_capture(capture *self)
{
    static char text[16384];
    dup2(self->before, STDERR_FILENO);
    close(self->before);
    ssize_t size = pread(self->file, text, sizeof(text) - 1, 0);
    cr_assert_geq(size, 0);
    text[size] = '\0';
    close(self->file);
    return text;
}

/* Runs a counter with standard error in a file, and returns what that holds then. */
static const char *run_to_stderr(const char *level, gavel_config config)
{
    setenv("GAVEL_LOG", level, 1);
    capture errors = begin_capture();
    live_rig rig = live_begin(NULL, &config);
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 0});
    live_end(&rig);
    const char *text = end_capture(&errors);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    return text;
}

Test(log, a_level_that_is_none_has_no_name)
{
    static const int levels[] = {-1, GAVEL_LOG_WARNING + 1, GAVEL_LOG_WARNING + 2, 1000000};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        capture errors = begin_capture();
        gavel_log_stderr((gavel_log_level)levels[i], "the line", NULL);
        const char *text = end_capture(&errors);
        cr_expect(strstr(text, "Z gavel ?: the line\n") != NULL, "%s", text);
    }
}

Test(log, the_environment_turns_it_on)
{
    const gavel_config none = {.loop = NULL}, ready = {.hooks.on_log = gavel_log_stderr};
    const char *text = run_to_stderr("debug", none);
    cr_assert_not_null(strstr(text, "Z gavel debug: unix://"), "%s", text);
    cr_assert_not_null(strstr(text, ": link 0: up\n"), "%s", text);
    cr_assert_not_null(strstr(text, ": attempt 1\n"), "%s", text);
    cr_assert_not_null(strstr(text, ": COMMITTED in attempt 1\n"), "%s", text);
    assert_lines_begin_with(text, "20");
    cr_assert_str_empty(run_to_stderr("info", none));
    cr_assert_str_empty(run_to_stderr("", none));
    cr_assert_str_empty(run_to_stderr("", ready), "a link that comes up is no news");
    cr_assert_str_empty(run_to_stderr("off", ready));
    cr_assert_not_null(strstr(run_to_stderr("debug", ready), ": up\n"));
}

Test(log, the_programs_own_comes_first)
{
    cr_assert_str_empty(run_to_stderr("debug", (gavel_config){.hooks.on_log = hear}));
    cr_assert_not_null(strstr(said, ": up\n"));
}

/* Fails to open a client, with standard error in a file, and returns what that holds then. */
static const char *fail_to_stderr(const char *level, const gavel_config *config)
{
    setenv("GAVEL_LOG", level, 1);
    capture errors = begin_capture();
    gavel_client *client = gavel_open("redis://u:SECRET@h/x", config, NULL);
    const char *text = end_capture(&errors);
    cr_assert_null(client);
    cr_expect_null(strstr(text, "SECRET"), "%s", text);
    return text;
}

/* A program that passes no gavel_error may look at nothing else. */
Test(log, a_client_that_is_none)
{
    static const char line[] = "gavel_open: bad URL: the database is not a number from 0 to 65535";
    const gavel_config own = {.hooks.on_log = hear}, ready = {.hooks.on_log = gavel_log_stderr};
    const gavel_config garbage = {.hooks.on_log = hear, .reserved = {1}};
    const char *text = fail_to_stderr("info", NULL);
    cr_expect_not_null(strstr(text, "Z gavel warning: "), "%s", text);
    cr_expect_not_null(strstr(text, line), "%s", text);
    cr_expect_not_null(strstr(fail_to_stderr("", &ready), line));
    cr_expect_str_empty(fail_to_stderr("off", &ready));
    cr_expect_str_empty(fail_to_stderr("", NULL));
    cr_expect_str_empty(fail_to_stderr("", &garbage));
    cr_expect_str_empty(said);
    cr_expect_str_empty(fail_to_stderr("off", &own));
    cr_expect_eq(count(said, line), 1, "%s", said);
    cr_expect_eq(worst, GAVEL_LOG_WARNING);
}

Test(log, a_level_that_there_is_not_is_told)
{
    gavel_error error = {{0}};
    setenv("GAVEL_LOG", "verbose", 1);
    capture errors = begin_capture();
    cr_assert_null(gavel_open("unix:///nowhere", NULL, &error));
    const char *text = end_capture(&errors);
    cr_expect_not_null(strstr(error.message, "GAVEL_LOG"), "%s", error.message);
    cr_expect_not_null(strstr(text, error.message), "%s", text);
}
