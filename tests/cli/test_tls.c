/* gavel's options for TLS, and what it says where they are wrong. */
#include "certificates.h"
#include "tool.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct tls_rig {
    certificates files;
    test_server *server;
    char *ca;
    char *cert;
    char *key;
} it;

static void tear_down(void)
{
    server_stop(it.server);
    certificates_end(&it.files);
    free(it.ca);
    free(it.cert);
    free(it.key);
}

static void set_up(void)
{
    it.files = certificates_begin();
    certificates_make(
        &it.files, &(certificate){.name = "good", .issuer = "ca", .hosts = "DNS:good.example"});
    it.ca = certificates_path(&it.files, "ca.pem");
    it.cert = certificates_path(&it.files, "good.pem");
    it.key = certificates_path(&it.files, "good.key");
    const char *args[] = {"--tls-cert-file", it.cert, "--tls-key-file", it.key,
        "--tls-ca-cert-file", it.ca, "--tls-auth-clients", "yes", NULL};
    it.server = tool_server(&(server_options){.has_tls = true, .args = args});
    if (it.server == NULL) {
        tear_down(); /* which a skipped test does not do */
        cr_skip_test("a server that was built without TLS");
    }
    setenv("GAVEL_URL", server_tcp_url(it.server), 1);
}

TestSuite(cli_tls, .init = set_up, .fini = tear_down, .timeout = 60);

#define OURS "--cert", it.cert, "--key", it.key

Test(cli_tls, every_command_speaks_it)
{
    tool self;
    tool listing;
    const char *name = "--server-name=good.example";
    tool_start(&self, "lock", "--ca-file", it.ca, name, OURS, "a", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    cr_expect_eq(
        tool_run(&listing, "locks", "--ca-file", it.ca, name, OURS, NULL), 0, "%s", listing.errors);
    cr_expect(live_contains(listing.output, "lock"), "%s", listing.output);
    cr_expect_eq(tool_run(&listing, "unlock", "--insecure", OURS, "--force", "a", NULL), 0, "%s",
        listing.errors);
    kill(self.pid, SIGTERM);
    tool_end(&self);
}

/* What `locks` and `lock` say, with these options, and that they say it at once. */
static void expect_fault(const char *const *options, const char *message)
{
    static const char *const commands[][4] = {{"locks"}, {"lock", "a", "--", "true"}};
    for (size_t i = 0; i < 2; i++) {
        tool self;
        const char *args[16] = {"gavel", commands[i][0]};
        size_t n = 2;
        for (size_t j = 0; options[j] != NULL; j++)
            args[n++] = options[j];
        for (size_t j = 1; j < 4 && commands[i][j] != NULL; j++)
            args[n++] = commands[i][j];
        tool_start_with(&self, args, 0);
        cr_expect_eq(tool_end(&self), 69, "%s", message);
        cr_expect(live_contains(self.errors, message), "%s: %s", message, self.errors);
    }
}

#define EXPECT_FAULT(message, ...) expect_fault((const char *const[]){__VA_ARGS__, NULL}, message)

Test(cli_tls, faults_are_told)
{
    char plain_url[64];
    snprintf(plain_url, sizeof(plain_url), "redis://127.0.0.1:%d", server_port(it.server));
    EXPECT_FAULT("signed by an authority that is not trusted here", OURS);
    EXPECT_FAULT("certificate is not for 127.0.0.1", OURS, "--ca-file", it.ca);
    EXPECT_FAULT("demands a client's certificate", "--insecure");
    EXPECT_FAULT("ca_file /none: No such file or directory", OURS, "--ca-file=/none");
    EXPECT_FAULT(
        "the server speaks TLS on this port: begin the URL with rediss", "--url", plain_url);
}

Test(cli_tls, options_that_contradict_the_url)
{
    tool self;
    cr_expect_eq(tool_run(&self, "locks", "--url=redis://h", "--ca-file=/x", NULL), 64);
    cr_expect(live_contains(self.errors, "ca_file is for TLS"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "locks", "--url=redis://h", "--ca-folder=/x", NULL), 64);
    cr_expect(live_contains(self.errors, "ca_folder is for TLS"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "locks", "--url=rediss://h", "--key=/x", NULL), 64);
    cr_expect(live_contains(self.errors, "no cert_file"), "%s", self.errors);
}
