/*
 * Sites: where a server is dialled that others have named.
 */
#include "client/site.h"

#include "core/guard.h"
#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <string.h>

static gavel_address answer;
static gavel_address asked;
static bool is_inside;

static void translate(gavel_address *address, void *user)
{
    asked = *address;
    is_inside = gavel__guard_is_inside();
    *address = *(const gavel_address *)user;
}

static const gavel__mapping mapping = {.map_address = translate, .user = &answer};

static void expect_mapped(const char *host, int port)
{
    gavel_address mapped;
    gavel__site_map(&mapping, "told", 7, &mapped);
    cr_expect_str_eq(mapped.host, host);
    cr_expect_eq(mapped.port, port);
    cr_expect_str_eq(asked.host, "told");
    cr_expect_eq(asked.port, 7);
}

Test(client_site, the_program_says_where_it_is)
{
    answer = (gavel_address){.host = "elsewhere", .port = 65535};
    expect_mapped("elsewhere", 65535);
    cr_expect(is_inside, "it must not call gavel");
    cr_expect_not(gavel__guard_is_inside());
}

Test(client_site, what_is_no_address_counts_as_unchanged)
{
    answer = (gavel_address){.host = "", .port = 8};
    expect_mapped("told", 7);
    answer = (gavel_address){.host = "elsewhere", .port = 0};
    expect_mapped("told", 7);
    answer.port = -1;
    expect_mapped("told", 7);
    answer.port = 65536;
    expect_mapped("told", 7);
    answer.port = 8;
    memset(answer.host, 'x', sizeof(answer.host));
    expect_mapped("told", 7);
    answer.host[255] = '\0';
    expect_mapped(answer.host, 8);
}

Test(client_site, without_a_mapping_it_is_where_it_was_told)
{
    gavel_address mapped;
    gavel__site_map(&(gavel__mapping){.map_address = NULL}, "told", 7, &mapped);
    cr_expect_str_eq(mapped.host, "told");
    cr_expect_eq(mapped.port, 7);
}

/* The URL's hosts are not asked about. The label is what servers call it, for people. */
Test(client_site, only_what_was_told_is_mapped)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    const gavel__address url = {.is_tls = false};
    const gavel__site base = {
        .mapping = mapping, .link_config = {.address = &url, .allocator = &allocator}};
    answer = (gavel_address){.host = "elsewhere", .port = 8};
    for (int is_told = 0; is_told < 2; is_told++) {
        gavel__site site;
        gavel__site_name name = {.label = "node ", .host = "told", .port = 7, .is_told = is_told};
        cr_assert(gavel__site_open(&site, &base, &name));
        cr_expect_str_eq(site.own.label, "node told:7");
        cr_expect_str_eq(site.own.host, is_told ? "elsewhere" : "told");
        cr_expect_eq(site.own.port, is_told ? 8 : 7);
        gavel__site_finish(&site, false);
    }
    cr_expect_eq(memory.n_blocks, 0);
}
