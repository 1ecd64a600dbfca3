/*
 * Sites: see the header.
 */
#include "client/site.h"

#include "base/text.h"
#include "core/guard.h"

#include <string.h>

void gavel__site_init(gavel__site *site, const gavel__site *base, const gavel__address *address)
{
    site->mapping = base->mapping;
    site->link_config = base->link_config;
    site->link_config.address = address;
    site->directory = (gavel__directory){.address = address,
        .look_up = base->directory.look_up,
        .resolver = base->directory.resolver,
        .wake = base->directory.wake,
        .waker = base->directory.waker};
    gavel__directory_init(&site->directory);
}

/* A host that may be looked up, and a port. */
static bool is_address(const gavel_address *address)
{
    const char *end = memchr(address->host, '\0', sizeof(address->host));
    return end != NULL && end != address->host && address->port > 0 && address->port <= 65535;
}

void gavel__site_map(
    const gavel__mapping *mapping, const char *host, int port, gavel_address *ret_address)
{
    gavel_address mapped = {.port = port};
    gavel__format(mapped.host, sizeof(mapped.host), "%s", host);
    *ret_address = mapped;
    if (mapping->map_address == NULL)
        return;
    gavel__guard_enter();
    mapping->map_address(&mapped, mapping->user);
    gavel__guard_leave();
    if (is_address(&mapped))
        *ret_address = mapped;
}

/* Of a string that may be NULL. False: no memory. */
static bool copy(const gavel_allocator *allocator, const char *string, char **ret_copy)
{
    *ret_copy = string != NULL ? gavel__copy_string(allocator, string) : NULL;
    return string == NULL || *ret_copy != NULL;
}

static bool make_address(
    gavel__address *address, const gavel__site *base, const gavel__site_name *name)
{
    static const gavel__mapping no_mapping;
    gavel_address place;
    const gavel_allocator *allocator = base->link_config.allocator;
    size_t label_size = strlen(name->label);
    size_t size = label_size + strlen(name->host) + 32;
    gavel__site_map(name->is_told ? &base->mapping : &no_mapping, name->host, name->port, &place);
    bool is_copied = copy(allocator, place.host, &address->host);
    is_copied &= copy(allocator, name->user, &address->user);
    is_copied &= copy(allocator, name->password, &address->password);
    address->port = place.port;
    address->database = name->database;
    address->label = gavel__alloc(allocator, size, 1);
    if (address->label != NULL) {
        strcpy(address->label, name->label);
        gavel__format_place(address->label + label_size, size - label_size, name->host, name->port);
    }
    return is_copied && address->label != NULL;
}

bool gavel__site_open(gavel__site *site, const gavel__site *base, const gavel__site_name *name)
{
    *site = (gavel__site){.own = {.is_tls = base->link_config.address->is_tls}};
    site->link_config.allocator = base->link_config.allocator; /* for gavel__site_finish */
    if (!make_address(&site->own, base, name))
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
