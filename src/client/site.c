/*
 * Sites: see the header.
 */
#include "client/site.h"

#include "base/text.h"

#include <string.h>

void gavel__site_init(gavel__site *site, const gavel__site *base, const gavel__address *address)
{
    site->link_config = base->link_config;
    site->link_config.address = address;
    site->directory = (gavel__directory){.address = address,
        .look_up = base->directory.look_up,
        .resolver = base->directory.resolver,
        .wake = base->directory.wake,
        .waker = base->directory.waker};
    gavel__directory_init(&site->directory);
}

/* Of a string that may be NULL. False: no memory. */
static bool copy(const gavel_allocator *allocator, const char *string, char **ret_copy)
{
    *ret_copy = string != NULL ? gavel__copy_string(allocator, string) : NULL;
    return string == NULL || *ret_copy != NULL;
}

static bool make_address(
    gavel__address *address, const gavel_allocator *allocator, const gavel__site_name *name)
{
    size_t size = strlen(name->label) + strlen(name->host) + 32;
    bool is_copied = copy(allocator, name->host, &address->host);
    is_copied &= copy(allocator, name->user, &address->user);
    is_copied &= copy(allocator, name->password, &address->password);
    address->port = name->port;
    address->label = gavel__alloc(allocator, size, 1);
    if (address->label != NULL)
        gavel__format(address->label, size, "%s%s:%d", name->label, name->host, name->port);
    return is_copied && address->label != NULL;
}

bool gavel__site_open(gavel__site *site, const gavel__site *base, const gavel__site_name *name)
{
    *site = (gavel__site){.own = {.is_tls = base->link_config.address->is_tls}};
    site->link_config.allocator = base->link_config.allocator; /* for gavel__site_finish */
    if (!make_address(&site->own, base->link_config.allocator, name))
        return false;
    gavel__site_init(site, base, &site->own);
    return true;
}

void gavel__site_finish(gavel__site *site, bool is_child)
{
    gavel__directory_finish(&site->directory, is_child);
    if (site->link_config.allocator != NULL)
        gavel__address_finish(&site->own, site->link_config.allocator);
}
