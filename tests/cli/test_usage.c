/* gavel's command line, and servers that are not there. */
#include "tool.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(usage, .timeout = 60);

static void expect_usage(const char *const *words, const char *message)
{
    tool self;
    const char *args[8] = {"gavel"};
    for (size_t i = 0; words[i] != NULL; i++)
        args[i + 1] = words[i];
    tool_start_with(&self, args, 0);
    cr_expect_eq(tool_end(&self), 64, "%s", message);
    cr_expect(live_contains(self.errors, message), "\"%s\" is not in: %s", message, self.errors);
    cr_expect_str_empty(self.output);
}

#define EXPECT_USAGE(message, ...) expect_usage((const char *const[]){__VA_ARGS__, NULL}, message)

Test(usage, mistakes_are_named)
{
    setenv("GAVEL_URL", "unix:///nowhere", 1);
    expect_usage((const char *const[]){NULL}, "gavel: a command is missing");
    EXPECT_USAGE("gavel: frob: there is no such command", "frob");
    EXPECT_USAGE("lock: the lock's name is missing", "lock");
    EXPECT_USAGE("lock: the lock's name is missing", "lock", "--");
    EXPECT_USAGE("lock: the command to be run is missing", "lock", "a");
    EXPECT_USAGE("lock: the command to be run is missing", "lock", "a", "--");
    EXPECT_USAGE("lock: : a lock's name has 1 to 512 bytes", "lock", "", "true");
    EXPECT_USAGE("lock: --frob: there is no such option", "lock", "--frob=secret", "a", "true");
    EXPECT_USAGE("lock: --force: there is no such option", "lock", "--force", "a", "true");
    EXPECT_USAGE("lock: 99: --lease-ms takes a number from 100", "lock", "--lease-ms", "99", "a");
    EXPECT_USAGE("lock: 1s: --wait-ms takes a number from 0", "lock", "a", "--wait-ms=1s", "b");
    EXPECT_USAGE("lock: 5: --at-least takes a number with its unit, such as 500ms, 30s, 5m, 2h, up",
        "lock", "--at-least", "5", "a", "true");
    EXPECT_USAGE("lock: 25h: --at-least takes", "lock", "--at-least=25h", "a", "true");
    EXPECT_USAGE("lock: s: --at-least takes", "lock", "--at-least", "s", "a", "true");
    EXPECT_USAGE("lock: -1s: --at-least takes", "lock", "--at-least", "-1s", "a", "true");
    EXPECT_USAGE("lock: 9223372036854775807h: --at-least takes", "lock",
        "--at-least=9223372036854775807h", "a", "true");
    EXPECT_USAGE("lock: --grace-ms: a value is missing", "lock", "--grace-ms");
    EXPECT_USAGE("lock: config: key_prefix holds a brace", "lock", "--prefix", "{a}", "b", "true");
    EXPECT_USAGE("locks: x: one argument too many", "locks", "x");
    EXPECT_USAGE("locks: --json=1: this option takes no value", "locks", "--json=1");
    EXPECT_USAGE("unlock: b: one argument too many", "unlock", "a", "b");
}

Test(usage, a_bad_url_is_named_without_its_password)
{
    tool self;
    int status = tool_run(&self, "locks", "--url", "redis://bob:secret@host:port", NULL);
    cr_expect_eq(status, 64);
    cr_expect_str_not_empty(self.errors);
    cr_expect_not(live_contains(self.errors, "secret"), "%s", self.errors);
}

Test(usage, help_and_version_are_told)
{
    tool self;
    cr_expect_eq(tool_run(&self, "--help", NULL), 0);
    cr_expect(live_contains(self.output, "gavel unlock"));
    cr_expect_eq(tool_run(&self, "lock", "--help", NULL), 0);
    cr_expect(live_contains(self.output, "--lease-ms"));
    cr_expect(live_contains(self.output, "--ca-folder DIR  ca_folder: "), "%s", self.output);
    cr_expect_eq(tool_run(&self, "--version", NULL), 0);
    cr_expect_eq(strncmp(self.output, "gavel ", 6), 0);
}

Test(usage, what_stands_behind_the_name_is_the_commands)
{
    test_server *server = tool_server(NULL);
    tool self;
    const char *puppet = tool_puppet();
    cr_expect_eq(tool_run(&self, "lock", "--", "-a", "--", puppet, "exit", "4", NULL), 4);
    cr_expect_eq(tool_run(&self, "lock", "a", "--wait-ms", "0", puppet, "exit", "5", NULL), 5);
    cr_expect_eq(tool_run(&self, "lock", "a", "--", puppet, "exit", "6", "--help", NULL), 6);
    server_stop(server);
}

Test(usage, a_server_that_is_not_there)
{
    tool self;
    setenv("GAVEL_URL", "unix:///nowhere/socket", 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect(live_contains(self.errors, "/nowhere/socket"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "a", NULL), 69);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "0", "a", "true", NULL), 69);
    cr_expect_str_eq(
        self.errors, "gavel: lock \"a\" at unix:///nowhere/socket: No such file or directory\n");
    /* Waiting without an end, too. */
    cr_expect_eq(tool_run(&self, "lock", "a", "true", NULL), 69);
    cr_expect_str_eq(self.errors,
        "gavel: lock \"a\" at unix:///nowhere/socket: no server: No such file or directory\n");
}

Test(usage, a_cluster_or_sentinels_that_are_not_there)
{
    tool self;
    setenv("GAVEL_URL", "redis+cluster://127.0.0.1:1,localhost:1", 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect(live_contains(self.errors, "no node of the Cluster tells"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "a", NULL), 69);
    cr_expect(live_contains(self.errors, "Connection refused"), "%s", self.errors);
    setenv("GAVEL_URL", "redis+sentinel://127.0.0.1:1/main", 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect(live_contains(self.errors, "no Sentinel tells"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "a", NULL), 69);
    cr_expect(live_contains(self.errors, "Connection refused"), "%s", self.errors);
}

Test(usage, a_server_that_refuses)
{
    test_server *server = tool_server(&(server_options){.password = "right"});
    tool self;
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect_eq(tool_run(&self, "lock", "a", "true", NULL), 69);
    cr_expect(live_contains(self.errors, "NOAUTH"), "%s", self.errors);
    server_stop(server);
}

/* libev would abort the program. */
Test(usage, too_few_descriptors_are_told)
{
    test_server *server = tool_server(NULL);
    const char *gavel = getenv("GAVEL_COMMAND");
    cr_assert_not_null(gavel);
    char *command = strdup(gavel);
    setenv("GAVEL_COMMAND", "/bin/sh", 1);
    int n_runs = 0;
    for (int n = 5; n <= 16; n++) {
        char script[64];
        snprintf(script, sizeof(script), "ulimit -n %d; exec \"$0\" lock a true", n);
        const char *const args[] = {"sh", "-c", script, command, NULL};
        tool self;
        tool_start_with(&self, args, 0);
        int status = tool_end(&self);
        n_runs += status == 0;
        if (status != 0) {
            cr_expect_eq(status, 71, "%d at %d: %s", status, n, self.errors);
            cr_expect(live_contains(self.errors, "file descriptors"), "%d: %s", n, self.errors);
        }
    }
    cr_expect_gt(n_runs, 0);
    cr_expect_lt(n_runs, 12);
    free(command);
    server_stop(server);
}
