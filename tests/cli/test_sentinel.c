/* gavel with the primary that Sentinels name. */
#include "tool.h"

#include "sentinels.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

TestSuite(sentinel, .timeout = 120);

/* Of three one is left. */
static void expect_one_alone_is_believed_if_somebody_says_so(live_sentinels *rig, const char *url)
{
    char careless[224];
    tool self;
    server_kill(rig->all[1]);
    server_kill(rig->all[2]);
    setenv("GAVEL_URL", url, 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect(live_contains(self.errors, "unless without_sentinels=yes"), "%s", self.errors);
    snprintf(careless, sizeof(careless), "%s&without_sentinels=yes", url);
    setenv("GAVEL_URL", careless, 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 0, "%s", self.errors);
}

Test(sentinel, locks_of_the_primary)
{
    live_sentinels rig;
    char url[192];
    tool self;
    sentinels_begin_with_password(&rig, "secret");
    snprintf(url, sizeof(url), "%s?sentinel_password=secret", rig.url);
    setenv("GAVEL_URL", url, 1);
    server_do(rig.servers[0], "SET", "gavel:lock:{a}", "mine", NULL);
    cr_expect_eq(tool_run(&self, "locks", NULL), 0, "%s", self.errors);
    cr_expect(live_contains(self.output, "\nlock  a "), "%s", self.output);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 0, "%s", self.errors);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 1, "%s", self.errors);
    cr_expect_eq(tool_run(&self, "lock", "a", "true", NULL), 0, "%s", self.errors);
    setenv("GAVEL_URL", rig.url, 1);
    cr_expect_eq(tool_run(&self, "locks", NULL), 69);
    cr_expect(live_contains(self.errors, "NOAUTH"), "%s", self.errors);
    expect_one_alone_is_believed_if_somebody_says_so(&rig, url);
    sentinels_end(&rig);
}
