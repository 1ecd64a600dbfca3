/* The examples on a Cluster: those whose keys have a tag work, the others are told what to do. */
#include "clusters.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

TestSuite(cluster_examples, .timeout = 120);

/* Runs a program of the examples' folder by the shell; what it says last is like that. */
static void expect(int status, const char *part, const char *command)
{
    char line[512];
    char output[16384];
    const char *folder = getenv("GAVEL_EXAMPLES");
    cr_assert_not_null(folder);
    snprintf(line, sizeof(line), "'%s'/%s 2>&1", folder, command);
    FILE *pipe = popen(line, "r");
    cr_assert_not_null(pipe);
    size_t size = fread(output, 1, sizeof(output) - 1, pipe);
    int ended = pclose(pipe);
    output[size] = '\0';
    cr_expect(WIFEXITED(ended) && WEXITSTATUS(ended) == status, "%s: %s", command, output);
    cr_expect(strstr(output, part) != NULL, "%s: \"%s\" is not in: %s", command, part, output);
}

static void small_ones(void)
{
    expect(0, "call 1 of 3", "rate_limiter ann 3");
    expect(0, "5", "counter \"$GAVEL_URL\" visits 5");
    expect(1, "not enough there", "transfer_once 1 '{bank}ann' '{bank}bob' 5");
    expect(2, "give them a common {tag}", "transfer_once 2 ann bob 0");
    expect(1, "not enough there", "transfer_saga pay 7 ann bob 30");
}

static void the_auction(void)
{
    expect(0, "clock is open", "auction/auction open clock");
    expect(0, "bob leads", "auction/auction bid clock bob 120 --id bob-1");
    expect(0, "accepted earlier", "auction/auction bid clock bob 120 --id bob-1");
    expect(0, "sold to bob", "auction/auction close clock --now");
    expect(0, " 0 violations", "auction/auction race --seconds 1 --processes 2");
    expect(0, "verify: 9 items", "auction/auction verify");
    expect(2, "not to a Cluster", "auction/auction race --by textbook");
}

Test(cluster_examples, tagged_ones_work)
{
    live_cluster cluster;
    char folder[] = "/tmp/gavel-examples-XXXXXX"; /* the races' ledgers */
    char line[64];
    clusters_begin(&cluster);
    cr_assert_not_null(mkdtemp(folder));
    setenv("TMPDIR", folder, 1);
    setenv("GAVEL_URL", cluster.url, 1);
    small_ones();
    the_auction();
    snprintf(line, sizeof(line), "rm -r '%s'", folder);
    cr_expect_eq(system(line), 0);
    clusters_end(&cluster);
}
