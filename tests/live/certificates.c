/*
 * Certificates: see the header.
 */
#include "certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

static void give_up(const char *what)
{
    fprintf(stderr, "certificates: %s\n", what);
    abort();
}

void certificates_run(const certificates *all, const char *command)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "cd %s && { %s; } >log 2>&1", all->folder, command);
    if (n < 0 || (size_t)n >= sizeof(line) || system(line) != 0)
        give_up(command);
}

certificates certificates_begin(void)
{
    certificates all;
    strcpy(all.folder, "/tmp/gavel-test-XXXXXX");
    if (mkdtemp(all.folder) == NULL)
        give_up("no folder");
    certificates_make(&all, &(certificate){.name = "ca"});
    return all;
}

void certificates_end(const certificates *all)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", all->folder);
    if (system(command) != 0)
        give_up(command);
}

/* From 3.4 on OpenSSL takes times of day, and no negative number of days. */
static const char yesterday[] =
    "$(if openssl x509 -help 2>&1 | grep -q not_after; then "
    "echo -not_before 20250101000000Z -not_after 20250102000000Z; else echo -days -1; fi)";

void certificates_make(const certificates *all, const certificate *wanted)
{
    char command[900];
    const char *name = wanted->name;
    char hosts[256] = "";
    if (wanted->hosts != NULL)
        snprintf(hosts, sizeof(hosts), "subjectAltName=%s", wanted->hosts);
    if (wanted->issuer == NULL)
        snprintf(command, sizeof(command),
            "openssl req -x509 -days 2 " NEW_KEY " -keyout %s.key -out %s.pem -subj /CN=%s %s %s",
            name, name, name, hosts[0] != '\0' ? "-addext" : "", hosts);
    else
        snprintf(command, sizeof(command),
            "openssl req " NEW_KEY " -keyout %s.key -out %s.csr -subj /CN=%s && "
            "echo '%s' > %s.ext && openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key "
            "-CAcreateserial %s -extfile %s.ext -out %s.pem",
            name, name, name, hosts, name, name, wanted->issuer, wanted->issuer,
            wanted->is_expired ? yesterday : "-days 2", name, name);
    certificates_run(all, command);
}

char *certificates_path(const certificates *all, const char *file)
{
    size_t size = strlen(all->folder) + strlen(file) + 2;
    char *path = malloc(size);
    if (path == NULL)
        give_up("no memory");
    snprintf(path, size, "%s/%s", all->folder, file);
    return path;
}
