/* Reports; see report.h. */
#include "report.h"

#include "server.h"

#include <gavel/gavel.h>

#include <ev.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- JSON ---------------------------------------------------------------------------------- */

static void write_text(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            fprintf(file, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(file, "\\u%04x", (unsigned)byte);
        else
            putc(byte, file);
    }
    putc('"', file);
}

static void start_value(struct json *json, const char *key)
{
    if (json->needs_comma)
        fputs(",\n", json->file);
    json->needs_comma = true;
    if (key == NULL)
        return;
    write_text(json->file, key);
    fputs(": ", json->file);
}

void json_open(struct json *json, const char *key, char bracket)
{
    start_value(json, key);
    fprintf(json->file, "%c\n", bracket);
    json->needs_comma = false;
}

void json_close(struct json *json, char bracket)
{
    fprintf(json->file, "\n%c", bracket);
    json->needs_comma = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
    start_value(json, key);
    write_text(json->file, text);
}

void json_number(struct json *json, const char *key, double number)
{
    start_value(json, key);
    fprintf(json->file, "%.6g", number);
}

void json_count(struct json *json, const char *key, uint64_t count)
{
    start_value(json, key);
    fprintf(json->file, "%llu", (unsigned long long)count);
}

/* ---- The environment ----------------------------------------------------------------------- */

static void read_kernel(struct environment *environment)
{
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(environment->kernel, sizeof(environment->kernel), "%.60s %.60s %.60s",
            name.sysname, name.release, name.machine);
}

static void read_load(struct environment *environment)
{
    FILE *file = fopen("/proc/loadavg", "r");
    double load[3];
    if (file != NULL && fscanf(file, "%lf %lf %lf", &load[0], &load[1], &load[2]) == 3)
        snprintf(environment->load, sizeof(environment->load), "%.2f %.2f %.2f", load[0], load[1],
            load[2]);
    if (file != NULL)
        fclose(file);
}

/* From /proc/PID/status; `process` is "self" or a number. */
static void read_cpus(const char *process, char *ret_cpus, size_t size)
{
    char path[64];
    char line[256];
    snprintf(ret_cpus, size, "?");
    snprintf(path, sizeof(path), "/proc/%s/status", process);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "Cpus_allowed_list:", 18) == 0)
            snprintf(ret_cpus, size, "%.*s", (int)strcspn(line + 19, "\n"), line + 19);
    if (file != NULL)
        fclose(file);
}

static void read_server(redisContext *context, struct environment *environment)
{
    char process[32];
    char aof[8];
    char save[64];
    bool is_here = environment->socket[0] == 'u';
    if (is_here && server_read_info(context, "server", "process_id:", process, sizeof(process)))
        read_cpus(process, environment->server_cpus, sizeof(environment->server_cpus));
    else
        snprintf(environment->server_cpus, sizeof(environment->server_cpus), "?");
    snprintf(environment->persistence, sizeof(environment->persistence), "?");
    if (!server_read_info(context, "persistence", "aof_enabled:", aof, sizeof(aof)) ||
        !server_read_config(context, "save", save, sizeof(save)))
        return;
    const char *const names[] = {"none", "rdb", "aof", "rdb and aof"};
    size_t which = (save[0] != '\0' ? 1U : 0U) + (aof[0] == '1' ? 2U : 0U);
    snprintf(environment->persistence, sizeof(environment->persistence), "%s", names[which]);
}

/* Valkey also tells which Redis it is like. */
static bool read_version(redisContext *context, char *ret_version, size_t size)
{
    char number[32];
    const char *name = "Valkey";
    if (!server_read_info(context, "server", "valkey_version:", number, sizeof(number)))
        return false;
    if (number[0] == '?') {
        name = "Redis";
        if (!server_read_info(context, "server", "redis_version:", number, sizeof(number)))
            return false;
    }
    snprintf(ret_version, size, "%s %s", name, number);
    return true;
}

bool environment_read(redisContext *context, const char *url, struct environment *ret_environment)
{
    struct environment read = {.n_cores = sysconf(_SC_NPROCESSORS_ONLN)};
    if (!read_version(context, read.server, sizeof(read.server)))
        return false;
    snprintf(read.gavel, sizeof(read.gavel), "%s", gavel_version());
    snprintf(read.hiredis, sizeof(read.hiredis), "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR,
        HIREDIS_PATCH);
    snprintf(read.libev, sizeof(read.libev), "%d.%d", ev_version_major(), ev_version_minor());
    snprintf(read.compiler, sizeof(read.compiler), "%s", __VERSION__);
    snprintf(read.socket, sizeof(read.socket), "%s", url[0] == 'u' ? "unix" : "tcp");
    read_kernel(&read);
    read_load(&read);
    read_cpus("self", read.client_cpus, sizeof(read.client_cpus));
    read_server(context, &read);
    *ret_environment = read;
    return true;
}

void environment_print(const struct environment *environment)
{
    printf("gavel %s, %s on a %s socket, hiredis %s, libev %s\n", environment->gavel,
        environment->server, environment->socket, environment->hiredis, environment->libev);
    printf("%ld cores, %s, compiler %s, load %s\n", environment->n_cores, environment->kernel,
        environment->compiler, environment->load);
    printf("client on processors %s, server on %s, persistence %s\n", environment->client_cpus,
        environment->server_cpus, environment->persistence);
}

void environment_write(const struct environment *environment, struct json *json, const char *key)
{
    json_open(json, key, '{');
    json_text(json, "gavel", environment->gavel);
    json_text(json, "server", environment->server);
    json_text(json, "hiredis", environment->hiredis);
    json_text(json, "libev", environment->libev);
    json_text(json, "compiler", environment->compiler);
    json_text(json, "kernel", environment->kernel);
    json_text(json, "load", environment->load);
    json_text(json, "socket", environment->socket);
    json_count(json, "cores", (uint64_t)environment->n_cores);
    json_text(json, "client_cpus", environment->client_cpus);
    json_text(json, "server_cpus", environment->server_cpus);
    json_text(json, "persistence", environment->persistence);
    json_close(json, '}');
}
