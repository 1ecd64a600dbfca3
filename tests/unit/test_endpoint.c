/* Endpoints: what needs no look-up, and in which order the resolver's answers are tried. */
#include "redis/endpoint.h"

#include "base/memory.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>

/* ---- The resolver -------------------------------------------------------------------------- */

/* What it finds, in its order; ended by NULL. "unix" is of a family that nobody can dial. */
static const char *const *found;

static struct addrinfo *make_info(const char *number)
{
    gavel__endpoint endpoint = {.size = 0};
    struct addrinfo *info = calloc(1, sizeof(*info));
    struct sockaddr_storage *storage = calloc(1, sizeof(*storage));
    gavel__address address = {.host = (char *)(uintptr_t)number, .port = 6379};
    cr_assert(info != NULL && storage != NULL);
    if (gavel__endpoint_of(&address, &endpoint))
        memcpy(storage, &endpoint.address, endpoint.size);
    else
        endpoint.address.any.sa_family = AF_UNIX;
    info->ai_family = endpoint.address.any.sa_family;
    info->ai_addr = (struct sockaddr *)storage;
    info->ai_addrlen = endpoint.size;
    return info;
}

/* In place of the system's. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
    struct addrinfo **ret_found)
{
    struct addrinfo **end = ret_found;
    cr_expect_str_eq(host, "host");
    cr_expect_str_eq(service, "6379");
    cr_expect_eq(hints->ai_socktype, SOCK_STREAM);
    if (found == NULL)
        return EAI_AGAIN;
    for (const char *const *number = found; *number != NULL; number++) {
        *end = make_info(*number);
        end = &(*end)->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info->ai_addr);
        free(info);
        info = next;
    }
}

/* ---- The tests ----------------------------------------------------------------------------- */

static void expect_order(const char *const numbers[], const char *expected)
{
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    char message[GAVEL_MESSAGE_SIZE];
    char order[1024] = "";
    found = numbers;
    size_t n = gavel__endpoints_look_up("host", 6379, endpoints, message);
    for (size_t i = 0; i < n; i++) {
        char text[GAVEL__ENDPOINT_TEXT_SIZE];
        gavel__endpoint_print(&endpoints[i], text);
        strcat(order, text);
        strcat(order, " ");
    }
    cr_expect_str_eq(order, expected);
}

Test(endpoint, families_take_turns)
{
    expect_order((const char *const[]){"::1", "::2", "::3", "1.0.0.1", "1.0.0.2", NULL},
        "::1 1.0.0.1 ::2 1.0.0.2 ::3 ");
    expect_order(
        (const char *const[]){"1.0.0.1", "::1", "::2", "::3", NULL}, "1.0.0.1 ::1 ::2 ::3 ");
    expect_order((const char *const[]){"1.0.0.2", "1.0.0.1", NULL}, "1.0.0.2 1.0.0.1 ");
    expect_order((const char *const[]){"::1", "1.0.0.1", "1.0.0.2", "1.0.0.3", NULL},
        "::1 1.0.0.1 1.0.0.2 1.0.0.3 ");
    expect_order((const char *const[]){"unix", "1.0.0.1", NULL}, "1.0.0.1 ");
}

Test(endpoint, more_than_enough)
{
    const char *numbers[GAVEL__ENDPOINTS_MAX + 9] = {NULL};
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    char message[GAVEL_MESSAGE_SIZE];
    for (size_t i = 0; i < GAVEL__ENDPOINTS_MAX + 8; i++)
        numbers[i] = i % 2 == 0 ? "::1" : "1.0.0.1";
    found = numbers;
    cr_expect_eq(gavel__endpoints_look_up("host", 6379, endpoints, message), GAVEL__ENDPOINTS_MAX);
}

Test(endpoint, no_answer_is_told)
{
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    char message[GAVEL_MESSAGE_SIZE] = "";
    found = NULL;
    cr_expect_eq(gavel__endpoints_look_up("host", 6379, endpoints, message), 0);
    cr_expect(strstr(message, "cannot be looked up: ") != NULL, "%s", message);
    found = (const char *const[]){NULL};
    cr_expect_eq(gavel__endpoints_look_up("host", 6379, endpoints, message), 0);
    cr_expect_str_eq(message, "the host has no address");
}

static bool needs_no_look_up(const char *url, gavel__endpoint *ret_endpoint)
{
    gavel__address address;
    gavel_error error;
    cr_assert(gavel__address_parse(url, &gavel__system_allocator, &address, &error));
    bool is_found = gavel__endpoint_of(&address, ret_endpoint);
    gavel__address_finish(&address, &gavel__system_allocator);
    return is_found;
}

Test(endpoint, numbers_and_sockets_need_no_look_up)
{
    gavel__endpoint endpoint;
    char text[GAVEL__ENDPOINT_TEXT_SIZE];
    cr_assert(needs_no_look_up("redis://10.1.2.3:99", &endpoint));
    gavel__endpoint_print(&endpoint, text);
    cr_expect_str_eq(text, "10.1.2.3");
    cr_expect_eq(ntohs(endpoint.address.ipv4.sin_port), 99);
    cr_assert(needs_no_look_up("rediss://[0:0::7]", &endpoint));
    gavel__endpoint_print(&endpoint, text);
    cr_expect_str_eq(text, "::7");
    cr_expect_eq(ntohs(endpoint.address.ipv6.sin6_port), 6379);
    cr_assert(needs_no_look_up("unix:///a/path", &endpoint));
    gavel__endpoint_print(&endpoint, text);
    cr_expect_str_eq(text, "");
    cr_expect_str_eq(endpoint.address.local.sun_path, "/a/path");
    cr_expect_not(needs_no_look_up("redis://localhost", &endpoint));
    cr_expect_not(needs_no_look_up("redis://1.2.3", &endpoint));
}
