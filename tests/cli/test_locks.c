/* gavel locks: what is listed, and how. */
#include "tool.h"

#include <criterion/criterion.h>

#include <regex.h>
#include <signal.h>
#include <stdio.h>

TestSuite(locks, .timeout = 60);

#define OWNER "0123456789abcdef0123456789abcdef"

static void expect_like(const char *text, const char *pattern)
{
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    cr_expect_eq(regexec(&regex, text, 0, NULL, 0), 0, "\"%s\" is not like: %s", text, pattern);
    regfree(&regex);
}

Test(locks, none)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "locks", NULL), 0);
    expect_like(self.output, "^KIND +NAME +HOLDER +HELD +LEASE +WAITING +FENCE\n$");
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    cr_expect_str_eq(self.output, "[]\n");
    server_stop(server);
}

Test(locks, a_lock_its_holder_and_who_waits)
{
    test_server *server = tool_server(NULL);
    tool holder, waiters[2], self;
    tool_start(
        &holder, "lock", "--lease-ms", "60000", "a%b c", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    for (int i = 0; i < 2; i++)
        tool_start(&waiters[i], "lock", "a%b c", "--", tool_puppet(), "env", NULL);
    tool_await_waiters(server, "a%25b%20c", 2);
    cr_expect_eq(tool_run(&self, "locks", NULL), 0);
    char pattern[256];
    snprintf(pattern, sizeof(pattern),
        "\nlock  a%%b c +[^ ]+:%d +[0-9.]+m?s +([45][0-9]\\.[0-9]s|1m00s) +2 +[0-9]{16}\n$",
        (int)holder.pid);
    expect_like(self.output, pattern);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    snprintf(pattern, sizeof(pattern),
        "^\\[\\{\"kind\": \"lock\", \"name\": \"a%%b c\", \"host\": \"[^\"]+\", \"pid\": %d, "
        "\"held_ms\": "
        "[0-9]+, \"lease_ms\": ([45][0-9]{4}|60000), \"waiting\": 2, \"fence\": [0-9]{16}\\}\\]\n$",
        (int)holder.pid);
    expect_like(self.output, pattern);
    kill(holder.pid, SIGTERM);
    cr_expect_eq(tool_end(&holder), 3);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(tool_end(&waiters[i]), 0);
    server_stop(server);
}

Test(locks, one_that_nobody_holds_is_not_listed)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "lock", "a", "true", NULL), 0);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    cr_expect_str_eq(self.output, "[]\n");
    server_stop(server);
}

Test(locks, gates_and_records_of_other_forms)
{
    test_server *server = tool_server(NULL);
    tool self;
    server_do(
        server, "SET", "gavel:gate:{k}", "0123456789abcdef since=1000 pid=42 host=web3", NULL);
    server_do(
        server, "SET", "gavel:lock:{b}", OWNER " fence=5 since=99999999999999 pid=7 host=h", NULL);
    server_do(server, "SET", "gavel:lock:{c}", "mine", NULL);
    server_do(server, "RPUSH", "gavel:lock:{list}", "x", NULL);
    server_do(server, "SET", "gavel:lock-fence:{b}", "5", NULL);
    server_do(server, "SET", "other:lock:{b}", "x", NULL);
    server_do(server, "SET", "gavel:lock:no-name-of-ours", "x", NULL);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    expect_like(self.output,
        "^\\[\\{\"kind\": \"lock\", \"name\": \"b\", \"host\": \"h\", \"pid\": 7, \"held_ms\": 0, "
        "\"lease_ms\": null, \"waiting\": 0, \"fence\": 5\\},\n"
        " \\{\"kind\": \"lock\", \"name\": \"c\", \"host\": null, \"pid\": null, \"held_ms\": "
        "null, "
        "\"lease_ms\": null, \"waiting\": 0, \"fence\": null\\},\n"
        " \\{\"kind\": \"gate\", \"name\": \"k\", \"host\": \"web3\", \"pid\": 42, \"held_ms\": "
        "[0-9]{13}, \"lease_ms\": null, \"waiting\": 0, \"fence\": null\\}\\]\n$");
    cr_expect_eq(tool_run(&self, "locks", NULL), 0);
    expect_like(self.output, "\nlock  c +\\? +\\? +no end +0 +-\n");
    server_stop(server);
}

Test(locks, names_of_any_bytes)
{
    static const char name[] = "gavel:lock:{a\n\\\"\x1b\xff \xc3\xbc}";
    test_server *server = tool_server(NULL);
    tool self;
    freeReplyObject(server_command_bytes(
        server, (gavel_bytes[]){GAVEL_STR("SET"), {name, sizeof(name) - 1}, GAVEL_STR("x")}, 3));
    cr_expect_eq(tool_run(&self, "locks", NULL), 0);
    cr_expect(live_contains(self.output, "\nlock  a\\x0a\\\\\"\\x1b\\xff \xc3\xbc  "));
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    cr_expect(
        live_contains(self.output, "\"name\": \"a\\\\x0a\\\\\\\\\\\"\\\\x1b\\\\xff \xc3\xbc\""));
    server_stop(server);
}

Test(locks, a_name_with_braces_is_told_as_it_was_given)
{
    static const char *const names[] = {"a{t}b", "a}b", "{k}"};
    test_server *server = tool_server(NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        tool self, other;
        char line[32];
        snprintf(line, sizeof(line), "\nlock  %s  ", names[i]);
        tool_start(&self, "lock", names[i], "--", tool_puppet(), "listen", NULL);
        tool_expect_ready(&self);
        cr_expect_eq(tool_run(&other, "locks", NULL), 0);
        cr_expect(live_contains(other.output, line), "%s", other.output);
        kill(self.pid, SIGTERM);
        cr_expect_eq(tool_end(&self), 3);
    }
    server_stop(server);
}

Test(locks, a_great_many_among_more_keys)
{
    test_server *server = tool_server(NULL);
    tool self;
    for (int i = 0; i < 3000; i++) {
        char key[64];
        snprintf(key, sizeof(key), "gavel:%s:{%04d}", i % 5 == 0 ? "lock" : "id", i);
        server_do(server, "SET", key, "x", NULL);
    }
    tool_start(&self, "locks", NULL);
    cr_assert_not_null(tool_read(&self));
    for (int i = 0; i < 3000; i += 5) {
        char begin[32];
        snprintf(begin, sizeof(begin), "lock  %04d ", i);
        const char *line = tool_read(&self);
        cr_assert(line != NULL && strncmp(line, begin, strlen(begin)) == 0, "%s", line);
    }
    cr_expect_eq(tool_end(&self), 0);
    cr_expect_str_empty(self.output);
    server_stop(server);
}

Test(locks, a_prefix_is_no_pattern)
{
    test_server *server = tool_server(NULL);
    tool self;
    server_do(server, "SET", "*[a]:lock:{mine}", "x", NULL);
    server_do(server, "SET", "xxa:lock:{other}", "x", NULL);
    cr_expect_eq(tool_run(&self, "locks", "--prefix", "*[a]:", NULL), 0);
    cr_expect(live_contains(self.output, "lock  mine "));
    cr_expect_not(live_contains(self.output, "other"));
    server_stop(server);
}

Test(locks, without_leave_to_see_the_connections)
{
    const char *const args[] = {
        "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-client|list", NULL};
    if (server_program_major() < 7)
        cr_skip_test("6.2 can take away CLIENT only as a whole");
    test_server *server = tool_server(&(server_options){.args = args});
    tool self;
    server_do(server, "SET", "gavel:lock:{a}", "x", NULL);
    cr_expect_eq(tool_run(&self, "locks", "--json", NULL), 0);
    cr_expect(live_contains(self.output, "\"waiting\": null"));
    server_stop(server);
}
