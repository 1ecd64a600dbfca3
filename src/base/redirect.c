/*
 * Redirects: see the header. Used by rounds and by the map of the slots.
 */
#include "base/redirect.h"

#include "base/text.h"

static bool cut_prefix(gavel_bytes *text, gavel_bytes prefix)
{
    if (!gavel__bytes_start_with(*text, prefix))
        return false;
    *text = (gavel_bytes){text->data + prefix.size, text->size - prefix.size};
    return true;
}

/* Cuts off what stands before the first blank, and the blank. False: there is none. */
static bool cut_word(gavel_bytes *text, gavel_bytes *ret_word)
{
    const char *blank = text->size > 0 ? memchr(text->data, ' ', text->size) : NULL;
    if (blank == NULL)
        return false;
    *ret_word = (gavel_bytes){text->data, (size_t)(blank - text->data)};
    *text = (gavel_bytes){blank + 1, text->size - ret_word->size - 1};
    return true;
}

/* At the last colon: an IPv6 host stands there without brackets. */
static bool split(gavel_bytes place, gavel_bytes *ret_host, gavel_bytes *ret_port)
{
    size_t end = place.size;
    while (end > 0 && place.data[end - 1] != ':')
        end--;
    if (end == 0)
        return false;
    *ret_host = (gavel_bytes){place.data, end - 1};
    *ret_port = (gavel_bytes){place.data + end, place.size - end};
    return true;
}

bool gavel__redirect_read(gavel_bytes error, gavel__redirect *ret_redirect)
{
    gavel_bytes word;
    gavel_bytes host;
    gavel_bytes port_text;
    int64_t slot;
    int64_t port;
    bool is_ask = cut_prefix(&error, GAVEL_STR("ASK "));
    if (!is_ask && !cut_prefix(&error, GAVEL_STR("MOVED ")))
        return false;
    if (!cut_word(&error, &word) || !gavel__parse_int(word, &slot) || slot < 0 ||
        slot >= GAVEL__N_SLOTS)
        return false;
    if (!split(error, &host, &port_text) || !gavel__parse_int(port_text, &port) || port < 1 ||
        port > 65535)
        return false;
    *ret_redirect = (gavel__redirect){
        .is_ask = is_ask, .slot = (uint16_t)slot, .host = host, .port = (int)port};
    return true;
}
